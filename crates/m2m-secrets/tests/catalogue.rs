//! Every number of the catalogue of abuse that concerns shared secrets has a test that bears it, in the
//! crate where it can happen: `sec_…` in a function's name. The list below says where each is shown.

use std::fs;
use std::path::Path;

/// `SEC-…`, and a file with a test of it. Some have more.
const SHOWN: [(&str, &str); 20] = [
    // By what is decided; by processors, `.ci/run ctgrind` and `examples/constant_time.rs`.
    ("001", "m2m-crypto/tests/secrets.rs"),
    ("002", "m2m-secrets/tests/weak_secrets.rs"),
    ("003", "m2m-secrets/tests/rotation_life.rs"),
    ("004", "m2m-secrets/tests/rotation_life.rs"),
    // By each failure of a store; by kill -9, `.ci/run crash` and the example `survive`.
    ("005", "m2m-secrets/tests/rotation_stored.rs"),
    ("006", "m2m-secrets/tests/rotation_stored.rs"),
    ("007", "m2m-secrets/tests/rotation_hot_path.rs"),
    ("008", "m2m-secrets/tests/rotation_stored.rs"),
    ("010", "m2m-secrets/tests/request.rs"),
    ("011", "m2m-secrets/tests/request.rs"),
    ("013", "m2m-secrets/tests/webhook_abuse.rs"),
    ("014", "m2m-secrets/tests/webhook_abuse.rs"),
    ("015", "m2m-secrets/tests/webhook_abuse.rs"),
    ("016", "m2m-secrets/tests/redaction.rs"),
    ("019", "m2m-secrets/tests/secret_json.rs"),
    ("020", "m2m-secrets/tests/scanner.rs"),
    ("021", "m2m-secrets/tests/redaction.rs"),
    ("022", "m2m-secrets/tests/redaction.rs"),
    ("024", "m2m-secrets/tests/rotation_life.rs"),
    ("026", "m2m-secrets/tests/rotation_stored.rs"),
];

#[test]
fn every_number_has_a_test_that_bears_it_where_it_is_said() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let crates = crates.expect("beside the others");
    let without: Vec<_> = SHOWN
        .iter()
        .filter(|(number, file)| {
            let text = fs::read_to_string(crates.join(file)).expect("the file is there");
            let bears = |line: &str| {
                let head = line.trim_start().strip_prefix("fn ");
                head.is_some_and(|head| head.contains(&format!("sec_{number}_")))
                    || head.is_some_and(|head| head.contains(&format!("_{number}_")))
                        && line.contains("sec_")
            };
            !text.lines().any(bears)
        })
        .collect();
    assert!(without.is_empty(), "no test bears {without:?}");
}
