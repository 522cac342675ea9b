//! Each way of abuse that concerns a SET by itself has a test that is named after it.

/// Those of streams are the concern of whoever moves SETs.
const IDS: [u16; 12] = [1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 24];

#[test]
fn every_abuse_case_has_its_test() {
    let tests = include_str!("abuse.rs");
    for id in IDS {
        let name = format!("\nfn set_{id:03}_");
        assert!(tests.contains(&name), "SET-{id:03} has no test");
    }
}
