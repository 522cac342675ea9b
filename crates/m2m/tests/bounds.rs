//! How much is compiled: the default stays small, and the figures of the README are those of `cargo tree`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::collections::BTreeSet;
use std::process::Command;

/// The crates that a user with these features compiles, m2m itself included:
/// `cargo tree -e normal --prefix none | sort -u | wc -l`.
fn tree(features: &[&str]) -> usize {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["tree", "-p", "m2m", "--offline", "--locked"]);
    command.args(["-e", "normal", "--prefix", "none"]);
    let output = command.args(features).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    // Name and version: what is shown a second time is marked.
    let crates: BTreeSet<_> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.next()?))
        })
        .collect();
    crates.len()
}

#[test]
fn the_default_is_small_and_the_readme_says_how_much_each_is() {
    let (small, runtime) = (tree(&[]), tree(&["--features", "runtime"]));
    assert!((10..=43).contains(&small), "default: {small} crates");
    assert!((50..=180).contains(&runtime), "runtime: {runtime} crates");
    let readme = include_str!("../README.md");
    for line in [
        format!("| default | {small} |"),
        format!("| `runtime` | {runtime} |"),
    ] {
        assert!(readme.contains(&line), "the README should have: {line}");
    }
}
