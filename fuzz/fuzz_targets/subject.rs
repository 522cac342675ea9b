#![no_main]
//! Two texts as subjects: each survives being written, equals itself, and matching does not depend on the
//! order.

use caep_set::{Matching, SubjectId};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (one, two) = text.split_once('\n').unwrap_or((text, text));
    let read = |text: &str| match SubjectId::from_json(text) {
        Ok(subject) => Some(subject),
        Err(error) => {
            assert!(error.to_string().len() < 512);
            None
        }
    };
    let (one, two) = (read(one), read(two));
    for subject in [&one, &two].into_iter().flatten() {
        let written = serde_json::to_string(subject).expect("what was read can be written");
        let again = SubjectId::from_json(&written).expect("and read again");
        assert_eq!(&again, subject);
        assert!(Matching::ssf().matches(subject, &again));
    }
    if let (Some(one), Some(two)) = (&one, &two) {
        let literal = Matching::ssf().danger_matching_disjoint();
        for matching in [Matching::ssf(), literal, Matching::ssf().with_any_alias()] {
            assert_eq!(matching.matches(one, two), matching.matches(two, one));
        }
        // The erratum only takes away.
        assert!(literal.matches(one, two) || !Matching::ssf().matches(one, two));
        assert_eq!(one == two, two == one);
    }
});
