//! Every number of the catalogue of abuse that concerns stores has a test that bears it, in the crate
//! where it can happen: `sto_…` in a function's name, or `STO-…` in the name of a conformance case.

use std::fs;
use std::path::Path;

const NUMBERS: [&str; 18] = [
    "001", "002", "003", "004", "005", "006", "007", "010", "011", "013", "015", "016", "017",
    "018", "019", "020", "023", "025",
];
const CRATES: [&str; 3] = ["m2m-store", "m2m-store-postgres", "m2m-revoke"];

fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(&path).expect("it is text"));
        }
    }
}

#[test]
fn every_number_has_a_test_that_bears_it() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("beside the others");
    let mut text = String::new();
    for (name, part) in CRATES
        .iter()
        .flat_map(|name| [(name, "src"), (name, "tests")])
    {
        sources(&crates.join(name).join(part), &mut text);
    }
    let without: Vec<_> = NUMBERS
        .iter()
        .filter(|number| {
            !text.contains(&format!("fn sto_{number}_"))
                && !text.contains(&format!("\"STO-{number} "))
        })
        .collect();
    assert!(without.is_empty(), "no test bears {without:?}");
}
