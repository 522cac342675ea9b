//! What a set promises: at once, for good, bounded, without waiting.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

use std::time::Duration;

use m2m_revoke::{
    Kind, REVOCATION_MARGIN, Revocation, Revocations, RevokeError, Target, TokenFacts,
};
use m2m_types::{ServiceId, Timestamp};

const ISSUER: &str = "https://issuer.example";
const NOW: u64 = 1_700_000_000;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds).unwrap()
}

fn empty() -> Revocations {
    Revocations::new([5; 16], at(NOW))
}

fn token(jti: &str) -> Target<'_> {
    Target::Token {
        issuer: ISSUER,
        jti,
    }
}

fn facts<'a>() -> TokenFacts<'a> {
    TokenFacts {
        issuer: ISSUER,
        jti: Some("a-1"),
        subject: Some("spiffe://example.org/billing"),
        session: Some("s-1"),
        key: Some(&[9; 32]),
        issued_at: Some(at(NOW)),
    }
}

#[test]
fn a_token_is_refused_by_each_kind_that_names_it_and_by_no_other() {
    let service: ServiceId = "spiffe://example.org/billing".parse().unwrap();
    let subject = "spiffe://example.org/billing";
    let naming = [
        token("a-1"),
        Target::Session {
            issuer: ISSUER,
            sid: "s-1",
        },
        Target::Subject {
            issuer: ISSUER,
            subject,
        },
        Target::Service(service.as_ref()),
        Target::Key {
            issuer: ISSUER,
            thumbprint: &[9; 32],
        },
    ];
    for target in naming {
        let revocations = empty();
        revocations.revoke(target, Timestamp::MAX).unwrap();
        let revoked = revocations.check_token(&facts(), at(NOW)).unwrap_err();
        assert_eq!(
            (revoked.kind(), revoked.issued_until()),
            (target.kind(), None)
        );
        assert!(revocations.check(&target, None, at(NOW)).is_err());
    }
    let other: ServiceId = "spiffe://example.org/billing/api".parse().unwrap();
    let elsewhere = "https://other.example";
    let beside = [
        Target::Token {
            issuer: elsewhere,
            jti: "a-1",
        },
        Target::Token {
            issuer: ISSUER,
            jti: "s-1",
        },
        Target::Session {
            issuer: ISSUER,
            sid: "a-1",
        },
        Target::Session {
            issuer: elsewhere,
            sid: "s-1",
        },
        Target::Subject {
            issuer: elsewhere,
            subject,
        },
        Target::Service(other.as_ref()),
        Target::Key {
            issuer: elsewhere,
            thumbprint: &[9; 32],
        },
        Target::Key {
            issuer: ISSUER,
            thumbprint: &[8; 32],
        },
        Target::CertificateThumbprint(&[9; 32]),
        Target::Certificate {
            issuer: ISSUER.as_bytes(),
            serial: b"a-1",
        },
        Target::SecretVersion {
            name: "a-1",
            version: 1,
        },
    ];
    let revocations = empty();
    for target in beside {
        revocations.revoke(target, Timestamp::MAX).unwrap();
    }
    assert_eq!(revocations.check_token(&facts(), at(NOW)), Ok(()));
    assert_eq!(revocations.stats().entries(), beside.len() as u64);
}

#[test]
fn sec_011_targets_whose_fields_join_to_the_same_text_are_different() {
    let revocations = empty();
    revocations
        .revoke(
            Target::Token {
                issuer: "ab",
                jti: "c",
            },
            Timestamp::MAX,
        )
        .unwrap();
    revocations
        .revoke(
            Target::SecretVersion {
                name: "k",
                version: 1,
            },
            Timestamp::MAX,
        )
        .unwrap();
    let others = [
        Target::Token {
            issuer: "a",
            jti: "bc",
        },
        Target::Token {
            issuer: "abc",
            jti: "",
        },
        Target::Token {
            issuer: "",
            jti: "abc",
        },
        Target::Session {
            issuer: "ab",
            sid: "c",
        },
        Target::Subject {
            issuer: "ab",
            subject: "c",
        },
        Target::Certificate {
            issuer: b"ab",
            serial: b"c",
        },
        Target::SecretVersion {
            name: "k",
            version: 256,
        },
        Target::SecretVersion {
            name: "k\u{1}",
            version: 0,
        },
    ];
    for other in others {
        assert_eq!(
            revocations.check(&other, None, at(NOW)),
            Ok(()),
            "{other:?}"
        );
    }
}

#[test]
fn what_was_issued_until_the_moment_is_void_and_what_is_issued_after_it_is_good() {
    let revocations = empty();
    let subject = Target::Subject {
        issuer: ISSUER,
        subject: "alice",
    };
    revocations
        .revoke_issued_until(subject, at(NOW), Timestamp::MAX)
        .unwrap();
    let issued = |issued_at| TokenFacts {
        subject: Some("alice"),
        issued_at,
        ..facts()
    };
    for old in [None, Some(at(0)), Some(at(NOW - 1)), Some(at(NOW))] {
        let revoked = revocations.check_token(&issued(old), at(NOW)).unwrap_err();
        assert_eq!(revoked.kind(), Kind::Subject);
        assert_eq!(revoked.issued_until(), Some(at(NOW)));
    }
    let later = issued(Some(at(NOW + 1)));
    assert_eq!(revocations.check_token(&later, at(NOW + 1)), Ok(()));
}

#[test]
fn a_second_revocation_can_only_reach_later_and_last_longer() {
    let revocations = empty();
    let session = Target::Session {
        issuer: ISSUER,
        sid: "s",
    };
    revocations
        .revoke_issued_until(session, at(500), at(2_000))
        .unwrap();
    let epoch = revocations.epoch();
    revocations
        .revoke_issued_until(session, at(400), at(1_000))
        .unwrap();
    assert_eq!(revocations.epoch(), epoch, "that one added nothing");
    revocations
        .revoke_issued_until(session, at(600), at(1_000))
        .unwrap();
    assert!(revocations.epoch() > epoch);
    assert!(
        revocations
            .check(&session, Some(at(600)), at(2_599))
            .is_err()
    );
    assert!(
        revocations
            .check(&session, Some(at(601)), at(1_000))
            .is_ok()
    );
    assert!(
        revocations
            .check(&session, Some(at(600)), at(2_600))
            .is_ok()
    );
    assert_eq!(revocations.stats().entries(), 1);
}

#[test]
fn dos_003_a_full_set_says_so_and_goes_on_revoking_what_it_holds() {
    let limit = 10_000;
    let revocations = empty().with_capacity_limit(limit);
    for number in 0..limit {
        revocations
            .revoke(token(&number.to_string()), at(NOW + 300))
            .unwrap();
    }
    let full = Err(RevokeError::Full {
        entries: limit,
        limit,
    });
    for number in 0..1_000_000 {
        let jti = format!("more-{number}");
        assert_eq!(revocations.revoke(token(&jti), at(NOW + 300)), full);
    }
    let (one, none) = (["7", "more-1"], ["more-2", "more-3"]);
    for names in [one, none] {
        let many = names.map(|jti| Revocation::of(token(jti), at(NOW + 900)));
        assert!(matches!(
            revocations.revoke_many(many),
            Err(RevokeError::Full { .. })
        ));
    }
    assert!(revocations.check(&token("more-1"), None, at(NOW)).is_ok());
    assert_eq!(
        revocations.revoke(token("7"), at(NOW + 900)),
        Ok(()),
        "a known one may grow"
    );
    for number in 0..limit {
        assert!(
            revocations
                .check(&token(&number.to_string()), None, at(NOW))
                .is_err()
        );
    }
    let stats = revocations.stats();
    assert_eq!(stats.entries(), limit);
    assert!(
        stats.bytes() <= 32 * limit + 200_000,
        "{} bytes",
        stats.bytes()
    );
}

#[test]
fn dos_003_a_million_entries_take_at_most_32_bytes_each() {
    let entries = 1_000_000_u64;
    let revocations = empty();
    let names: Vec<String> = (0..entries).map(|number| number.to_string()).collect();
    let many = names
        .iter()
        .map(|jti| Revocation::of(token(jti), at(NOW + 300)));
    revocations.revoke_many(many).unwrap();
    let bytes = revocations.stats().bytes();
    assert!(bytes <= 32 * entries, "{bytes} bytes");
    for name in names.iter().step_by(997) {
        assert!(revocations.check(&token(name), None, at(NOW)).is_err());
    }
}

#[test]
fn revoking_many_is_all_or_nothing_and_one_change() {
    let revocations = empty().with_capacity_limit(5_000);
    let names: Vec<String> = (0..5_001).map(|number| number.to_string()).collect();
    let many = |length: usize| {
        let part = names[..length].iter();
        part.map(|jti| Revocation::of(token(jti), at(NOW + 300)))
    };
    assert!(matches!(
        revocations.revoke_many(many(5_001)),
        Err(RevokeError::Full { .. })
    ));
    assert_eq!((revocations.stats().entries(), revocations.epoch()), (0, 0));
    for length in [100, 4_999] {
        let epoch = revocations.epoch();
        revocations
            .revoke_many(many(length).chain(many(length)))
            .unwrap();
        assert_eq!(revocations.stats().entries(), length as u64);
        assert_eq!(revocations.epoch(), epoch + 1);
        revocations.revoke_many(many(length)).unwrap();
        assert_eq!(revocations.epoch(), epoch + 1, "nothing new");
    }
}

#[test]
fn dos_005_a_panic_in_the_callers_iterator_locks_nobody_out() {
    let revocations = empty();
    let panicking = std::iter::once(()).map(|()| -> Revocation<'_> { panic!("the caller's") });
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = revocations.revoke_many(panicking);
    }));
    assert!(caught.is_err());
    revocations.revoke(token("a-1"), Timestamp::MAX).unwrap();
    assert!(revocations.check_token(&facts(), at(NOW)).is_err());
}

#[test]
fn sto_016_a_clock_ten_years_ahead_makes_no_compaction_forget_what_is_still_good() {
    let ten_years = 10 * 365 * 86_400;
    let revocations = empty();
    for number in 0..100_u64 {
        let jti = number.to_string();
        revocations
            .revoke(token(&jti), at(NOW + 60 * number))
            .unwrap();
    }
    let wrong = revocations.compact(at(NOW + ten_years)).unwrap();
    // Only what had expired when the set was made.
    assert_eq!((wrong.dropped(), wrong.kept()), (1, 99));
    let behind = Duration::from_secs(ten_years) - REVOCATION_MARGIN;
    assert_eq!(wrong.behind(), behind);
    let right = revocations.compact(at(NOW + 1)).unwrap();
    assert_eq!((right.dropped(), right.behind()), (0, Duration::ZERO));
    for number in 1..100 {
        let jti = number.to_string();
        assert!(revocations.check(&token(&jti), None, at(NOW + 1)).is_err());
    }
}

#[test]
fn sto_016_a_clock_set_back_revokes_again_what_it_makes_valid_again() {
    let revocations = empty();
    revocations.revoke(token("a"), at(NOW + 300)).unwrap();
    assert!(
        revocations
            .check(&token("a"), None, at(NOW + 5_000))
            .is_ok()
    );
    assert!(revocations.check(&token("a"), None, at(NOW)).is_err());
    let back = revocations.compact(at(5)).unwrap();
    assert_eq!((back.dropped(), back.kept()), (0, 1));
    assert_eq!(
        revocations.stats().compacted_until(),
        at(NOW),
        "does not go back"
    );
}

#[test]
fn a_set_that_slept_catches_up_ten_minutes_a_call_or_on_an_operators_word() {
    let day = 86_400;
    let revocations = empty();
    revocations.revoke(token("a"), at(NOW + 300)).unwrap();
    revocations.revoke(token("b"), at(NOW + 10 * day)).unwrap();
    let mut calls = 1;
    while revocations.compact(at(NOW + day)).unwrap().behind() > Duration::ZERO {
        calls += 1;
    }
    assert_eq!(calls, 144);
    assert_eq!(revocations.stats().entries(), 1);

    revocations.danger_trust_clock(at(NOW + 11 * day));
    let done = revocations.compact(at(NOW + 11 * day)).unwrap();
    assert_eq!(
        (done.dropped(), done.kept(), done.behind()),
        (1, 0, Duration::ZERO)
    );
    assert_eq!(revocations.stats().count(Kind::Token), 0);
    assert!(
        revocations.check(&token("b"), None, at(NOW)).is_ok(),
        "forgotten, as was said"
    );
}

#[test]
fn compaction_does_not_count_as_a_change_and_a_kind_can_come_back_after_it() {
    let revocations = empty();
    revocations.revoke(token("a"), at(NOW - 900)).unwrap();
    let epoch = revocations.epoch();
    assert_eq!(revocations.compact(at(NOW)).unwrap().dropped(), 1);
    assert_eq!(revocations.epoch(), epoch);
    revocations.revoke(token("a"), at(NOW + 300)).unwrap();
    assert!(revocations.check(&token("a"), None, at(NOW)).is_err());
}

#[test]
fn a_check_allocates_nothing() {
    let revocations = empty();
    let check = || revocations.check_token(&facts(), at(NOW)).is_err();
    check();
    let quiet = allocation_counter::measure(|| assert!(!check()));
    for number in 0..10_000 {
        let jti = number.to_string();
        revocations.revoke(token(&jti), at(NOW + 300)).unwrap();
        revocations
            .revoke(
                Target::Session {
                    issuer: ISSUER,
                    sid: &jti,
                },
                at(NOW),
            )
            .unwrap();
    }
    revocations
        .revoke(
            Target::Key {
                issuer: ISSUER,
                thumbprint: &[9; 32],
            },
            at(NOW),
        )
        .unwrap();
    // The first look at a snapshot on a thread makes room for all later ones.
    check();
    let busy = allocation_counter::measure(|| assert!(check()));
    assert_eq!((quiet.count_total, busy.count_total), (0, 0));
}

#[test]
fn debug_shows_numbers_and_no_names() {
    let revocations = empty();
    revocations
        .revoke(token("secret-name"), at(NOW + 300))
        .unwrap();
    let text = format!("{revocations:?} {:?}", revocations.snapshot().unwrap());
    assert!(
        text.contains("entries: 1") && text.contains("Token: 1"),
        "{text}"
    );
    assert!(
        !text.contains("secret") && !text.contains("5, 5") && text.len() <= 512,
        "{text}"
    );
}
