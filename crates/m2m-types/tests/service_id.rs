//! The grammar of SPIFFE IDs, seen from outside.

use m2m_types::ServiceIdError as E;
use m2m_types::{ServiceId, ServiceIdRef, TrustDomain};
use proptest::prelude::*;

#[test]
fn sound_names_are_taken_as_they_are() {
    for text in [
        "spiffe://example.org/billing",
        "spiffe://example.org/ns/prod/sa/api",
        "spiffe://a/b",
        "spiffe://a.b-c_d.9/A.b-C_d/...",
        "spiffe://1.2.3.4/x",
    ] {
        let id: ServiceId = text.parse().unwrap();
        assert_eq!(id.as_str(), text);
        assert_eq!(
            format!("spiffe://{}{}", id.trust_domain(), id.path()),
            text,
            "its parts make it up"
        );
        assert!(id.is_member_of(&id.trust_domain()));
        assert_eq!(id, ServiceIdRef::parse(text).unwrap());
    }
}

#[test]
fn jwt_067_what_the_spiffe_grammar_does_not_allow_is_refused() {
    let long_domain = format!("spiffe://{}/x", "a".repeat(256));
    let long = format!("spiffe://a/{}", "b".repeat(2048 - 10));
    for (text, error) in [
        ("", E::Scheme),
        ("spiffe:/td/x", E::Scheme),
        ("SPIFFE://td/x", E::Scheme),
        ("https://td/x", E::Scheme),
        (" spiffe://td/x", E::Scheme),
        ("spiffe:///x", E::TrustDomainEmpty),
        ("spiffe://", E::TrustDomainEmpty),
        ("spiffe://td", E::PathMissing),
        ("spiffe://td/", E::SegmentEmpty { at: 12 }),
        ("spiffe://td/a/", E::SegmentEmpty { at: 14 }),
        ("spiffe://td//a", E::SegmentEmpty { at: 12 }),
        ("spiffe://td/a/../b", E::SegmentRelative { at: 14 }),
        ("spiffe://td/./b", E::SegmentRelative { at: 12 }),
        ("spiffe://td/%2e", E::PathCharacter { at: 12 }),
        ("spiffe://td/a?b", E::PathCharacter { at: 13 }),
        ("spiffe://td/a#b", E::PathCharacter { at: 13 }),
        ("spiffe://td/a b", E::PathCharacter { at: 13 }),
        ("spiffe://td/a\0", E::PathCharacter { at: 13 }),
        ("spiffe://td/é", E::PathCharacter { at: 12 }),
        ("spiffe://Td/a", E::TrustDomainCharacter { at: 9 }),
        ("spiffe://u@td/a", E::TrustDomainCharacter { at: 10 }),
        ("spiffe://td:8080/a", E::TrustDomainCharacter { at: 11 }),
        ("spiffe://td?q/a", E::TrustDomainCharacter { at: 11 }),
        ("spiffe://tд/a", E::TrustDomainCharacter { at: 10 }),
        (
            &long_domain,
            E::TrustDomainTooLong {
                length: 256,
                limit: 255,
            },
        ),
        (
            &long,
            E::TooLong {
                length: 2049,
                limit: 2048,
            },
        ),
    ] {
        assert_eq!(text.parse::<ServiceId>(), Err(error), "{text:?}");
    }
    assert!(
        long[..2048].parse::<ServiceId>().is_ok(),
        "the limit itself"
    );
}

#[test]
fn another_trust_domain_is_not_a_member() {
    let id: ServiceId = "spiffe://example.org/a".parse().unwrap();
    for other in ["example.or", "example.org.evil", "xample.org", "org"] {
        let other: TrustDomain = other.parse().unwrap();
        assert!(!id.is_member_of(&other));
    }
    for bad in ["", "Example.org", "a/b", "spiffe://a"] {
        assert!(bad.parse::<TrustDomain>().is_err());
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in ".*") {
        let _ = text.parse::<ServiceId>();
        let _ = format!("spiffe://{text}").parse::<ServiceId>();
    }

    #[test]
    fn what_parses_is_ascii_and_unchanged(text in "spiffe://[a-z0-9._-]{1,20}(/[A-Za-z0-9._%?-]{1,9}){1,4}") {
        if let Ok(id) = text.parse::<ServiceId>() {
            prop_assert_eq!(id.as_str(), &text);
            prop_assert!(text.is_ascii());
            prop_assert!(!text.contains("/../"));
        }
    }
}
