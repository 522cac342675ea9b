//! Every number of the catalogue of abuse that concerns tokens has a test, and `README.md` beside this
//! file says where. A number without a test fails here, and so does a line about a test that is gone.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

use std::fs;
use std::path::Path;

/// What can be done to JSON Web Tokens, by number; the gaps are the catalogue's.
const JWT: [u32; 61] = [
    1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 21, 23, 24, 25, 26, 27, 28, 30, 31, 32,
    33, 34, 35, 37, 38, 39, 40, 41, 43, 44, 50, 51, 52, 53, 55, 56, 60, 61, 62, 63, 64, 65, 66, 67,
    68, 69, 70, 71, 72, 73, 80, 82, 84, 85, 86,
];
const JWT_MORE: [u32; 10] = [87, 88, 89, 90, 91, 100, 101, 102, 103, 106];
const OTHERS: [&str; 7] = [
    "jwt_107", "dos_001", "dos_002", "dos_003", "dos_004", "api_001", "api_002",
];

fn ids() -> Vec<String> {
    let numbered = JWT
        .iter()
        .chain(&JWT_MORE)
        .map(|number| format!("jwt_{number:03}"));
    numbered.chain(OTHERS.map(str::to_owned)).collect()
}

/// The names of all functions in the sources of this workspace's crates.
fn functions(folder: &Path, names: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let heads = text
                .lines()
                .filter_map(|line| line.trim_start().strip_prefix("fn "));
            names.extend(
                heads
                    .filter_map(|head| head.split(['(', '<']).next())
                    .map(str::to_owned),
            );
        }
    }
}

fn tests() -> Vec<String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names = Vec::new();
    for name in ["m2m-token", "m2m-crypto", "m2m-types"] {
        for part in ["src", "tests"] {
            functions(&here.join("..").join(name).join(part), &mut names);
        }
    }
    names
}

#[test]
fn every_number_has_a_test_that_bears_it() {
    let tests = tests();
    let without: Vec<_> = ids()
        .into_iter()
        .filter(|id| !tests.iter().any(|test| test.contains(id.as_str())))
        .collect();
    assert!(without.is_empty(), "no test bears {without:?}");
}

#[test]
fn the_table_names_tests_that_exist_and_leaves_no_number_out() {
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/README.md");
    let table = fs::read_to_string(table).unwrap();
    let rows: Vec<&str> = table
        .lines()
        .filter(|line| ids().iter().any(|id| line.starts_with(&format!("| `{id}"))))
        .collect();
    let tests = tests();
    for row in &rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let id = cells[1].trim_matches('`');
        let named: Vec<&str> = cells[2]
            .split(", ")
            .map(|name| name.trim_matches('`'))
            .collect();
        assert!(!named.is_empty(), "{row}");
        for name in named {
            assert!(
                tests.iter().any(|test| test == name),
                "{name} is in the table only"
            );
            assert!(name.contains(id), "{name} does not bear {id}");
        }
    }
    for id in ids() {
        let cell = format!("| `{id}` |");
        assert!(
            rows.iter().any(|row| row.starts_with(&cell)),
            "no row for {id}"
        );
    }
}
