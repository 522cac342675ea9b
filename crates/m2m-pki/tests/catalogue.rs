//! Every number of the catalogue of abuse that concerns certificates and TLS has a test, and `README.md`
//! beside this file says where. A number without a test fails here, and so does a line about a test that
//! is gone.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;

/// What can be done to certificates, requests and revocation lists, by number; the gaps are the
/// catalogue's.
const PKI: [u32; 40] = [
    1, 2, 4, 5, 6, 7, 9, 10, 11, 13, 14, 16, 17, 18, 22, 24, 25, 26, 27, 30, 32, 34, 35, 36, 37,
    38, 39, 41, 43, 50, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62,
];
/// What can be done to connections.
const TLS: [u32; 8] = [1, 2, 3, 4, 6, 7, 8, 9];

fn ids() -> Vec<String> {
    let pki = PKI.iter().map(|number| format!("pki_{number:03}"));
    let tls = TLS.iter().map(|number| format!("tls_{number:03}"));
    pki.chain(tls).collect()
}

/// The names of all functions in a folder's sources.
fn functions(folder: &Path, names: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let lines = text.lines().map(str::trim_start);
            let heads = lines.filter_map(|line| line.strip_prefix("fn "));
            let found = heads.filter_map(|head| head.split(['(', '<']).next());
            names.extend(found.map(str::to_owned));
        }
    }
}

fn tests() -> Vec<String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names = Vec::new();
    // Keys are loaded, and points checked, by m2m-crypto.
    for name in ["m2m-pki", "m2m-crypto"] {
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
        .filter(|line| {
            ids()
                .iter()
                .any(|id| line.starts_with(&format!("| `{id}` ")))
        })
        .collect();
    let tests = tests();
    for row in &rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let id = cells[1].trim_matches('`');
        for name in cells[2].split(", ").map(|name| name.trim_matches('`')) {
            assert!(
                tests.iter().any(|test| test == name),
                "{name} is in the table only"
            );
            assert!(name.contains(id), "{name} does not bear {id}");
        }
    }
    let listed: Vec<&str> = rows
        .iter()
        .filter_map(|row| row.split('`').nth(1))
        .collect();
    assert_eq!(listed, ids());
}
