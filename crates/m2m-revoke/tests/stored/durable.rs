//! Revoking: what is acknowledged is durable and in force; what failed is said to have failed.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use m2m_crypto::SecureRandom;
use m2m_revoke::{
    Kind, Revocation, RevokeError, StoredOptions, StoredRevocations, StoredRevokeError, Target,
};
use m2m_store::{
    Batch, Expected, IdempotencyKey, Key, MemoryStore, Revision, Space, Store, StoreError,
};
use m2m_types::{ServiceIdRef, Timestamp};
use pollster::block_on;

use crate::support::{
    Fault, Faulty, ISSUER, NOW, Seeded, assert_fit_for_a_log, at, is_revoked, open, open_at,
    records, stored, token,
};

#[test]
fn what_is_acknowledged_is_in_force_at_once_and_after_a_restart() {
    let store = Faulty::new();
    let node = open(&store, 1);
    block_on(node.revoke(token("a"), at(NOW + 300))).unwrap();
    assert!(is_revoked(node.revocations(), "a", NOW));
    assert!(!is_revoked(node.revocations(), "b", NOW));
    drop(node);
    let node = open(&store, 2);
    assert!(is_revoked(node.revocations(), "a", NOW));
    assert!(!is_revoked(node.revocations(), "b", NOW));
}

#[test]
fn every_kind_of_target_survives() {
    let store = Faulty::new();
    let service = ServiceIdRef::parse("spiffe://example.org/billing").unwrap();
    let targets = [
        token("a"),
        Target::Subject {
            issuer: ISSUER,
            subject: "s",
        },
        Target::Service(service),
        Target::Session {
            issuer: ISSUER,
            sid: "s",
        },
        Target::Certificate {
            issuer: b"\x30\x00",
            serial: b"\x00\xff",
        },
        Target::CertificateThumbprint(&[1; 32]),
        Target::Key {
            issuer: ISSUER,
            thumbprint: &[2; 32],
        },
        Target::SecretVersion {
            name: "billing",
            version: 3,
        },
    ];
    let revocations = targets.map(|target| Revocation::of(target, at(NOW + 300)));
    block_on(open(&store, 1).revoke_many(revocations)).unwrap();
    let node = open(&store, 2);
    for target in &targets {
        assert!(node.revocations().check(target, None, at(NOW)).is_err());
    }
    for kind in Kind::ALL {
        assert_eq!(node.stats().set().count(kind), 1, "{kind:?}");
    }
}

#[test]
fn a_refusal_by_the_store_revokes_nothing() {
    let store = Faulty::new();
    let node = open(&store, 1);
    store.fail([Fault::Refused]);
    let error = block_on(node.revoke(token("a"), at(NOW + 300))).unwrap_err();
    assert!(
        matches!(error, StoredRevokeError::NotStored(_)),
        "{error:?}"
    );
    assert!(!is_revoked(node.revocations(), "a", NOW));
    assert!(records(&*store).is_empty());
    block_on(node.revoke(token("a"), at(NOW + 300))).unwrap();
    assert!(is_revoked(node.revocations(), "a", NOW));
}

#[test]
fn sto_018_an_unknown_outcome_is_settled_by_asking_again_and_written_once() {
    for faults in [
        vec![Fault::WrittenUnknown],
        vec![Fault::LostUnknown],
        vec![
            Fault::LostUnknown,
            Fault::WrittenUnknown,
            Fault::LostUnknown,
        ],
    ] {
        let store = Faulty::new();
        let node = open(&store, 1);
        let before = node.as_of().revision();
        let repeats = faults.len() as u64;
        store.fail(faults);
        block_on(node.revoke(token("a"), at(NOW + 300))).unwrap();
        assert!(is_revoked(node.revocations(), "a", NOW));
        assert_eq!(records(&*store)[0].version(), before.next().unwrap());
        assert_eq!(node.stats().repeats(), repeats);
        block_on(node.catch_up(at(NOW))).unwrap();
        assert_eq!(
            node.as_of().revision(),
            before.next().unwrap(),
            "one commit"
        );
    }
}

#[test]
fn sto_018_what_stays_unknown_is_refused_here_and_said_to_be_unknown() {
    for (fault, is_written) in [(Fault::WrittenUnknown, true), (Fault::LostUnknown, false)] {
        // Unknown to the end, or unknown and then refused, which is said of the later attempt.
        for end in [fault, Fault::Refused] {
            let store = Faulty::new();
            let node = open(&store, 1);
            store.fail([fault, end, fault, fault]);
            let error = block_on(node.revoke(token("a"), at(NOW + 300))).unwrap_err();
            assert!(matches!(error, StoredRevokeError::Unknown(_)), "{error:?}");
            assert_fit_for_a_log(&error);
            assert!(is_revoked(node.revocations(), "a", NOW));
            assert_eq!(records(&*store).len(), usize::from(is_written));

            store.forget_faults();
            block_on(node.revoke(token("a"), at(NOW + 300))).unwrap();
            assert!(is_revoked(open(&store, 2).revocations(), "a", NOW));
        }
    }
}

#[test]
fn memory_store_failures_are_told_apart() {
    use m2m_store::Failure;
    for failure in [
        Failure::NotWritten,
        Failure::WrittenButUnknown,
        Failure::NotWrittenAndUnknown,
    ] {
        let store = Arc::new(MemoryStore::new());
        let node = open(&store, 1);
        store.fail_next(failure);
        let answer = block_on(node.revoke(token("a"), at(NOW + 300)));
        let acknowledged = failure != Failure::NotWritten;
        assert_eq!(answer.is_ok(), acknowledged);
        assert_eq!(is_revoked(node.revocations(), "a", NOW), acknowledged);
        assert_eq!(
            is_revoked(open(&store, 2).revocations(), "a", NOW),
            acknowledged
        );
    }
}

#[test]
fn the_longer_and_the_wider_of_two_revocations_stay() {
    let store = Faulty::new();
    let (one, other) = (open(&store, 1), open(&store, 2));
    let subject = Target::Subject {
        issuer: ISSUER,
        subject: "s",
    };
    block_on(one.revoke_issued_until(subject, at(NOW + 10), at(NOW + 9_000))).unwrap();
    // This one has not heard of it.
    block_on(other.revoke_issued_until(subject, at(NOW + 20), at(NOW + 100))).unwrap();
    // Nor this one of that.
    block_on(one.revoke_issued_until(subject, at(NOW + 5), at(NOW + 100))).unwrap();
    assert_eq!(other.stats().conflicts() + one.stats().conflicts(), 0);
    for node in [&one, &other] {
        block_on(node.catch_up(at(NOW))).unwrap();
    }
    for node in [one, other, open(&store, 3)] {
        let check = |issued, now| {
            let set = node.revocations();
            set.check(&subject, Some(at(issued)), at(now)).is_err()
        };
        assert!(check(NOW + 20, NOW + 9_000));
        assert!(!check(NOW + 21, NOW));
    }
    // All of it is wider than any time of issue.
    let node = open(&store, 4);
    block_on(node.revoke(subject, at(NOW + 100))).unwrap();
    let node = open(&store, 5);
    let late = Some(Timestamp::MAX);
    assert!(
        node.revocations()
            .check(&subject, late, at(NOW + 9_000))
            .is_err()
    );
}

#[test]
fn what_comes_one_by_one_goes_into_few_records() {
    let store = Faulty::new();
    let node = open(&store, 1);
    for n in 0..1_000 {
        block_on(node.revoke(token(&n.to_string()), at(NOW + 300))).unwrap();
    }
    assert_eq!(stored(&*store), 1_000);
    assert!(records(&*store).len() <= 20, "{}", records(&*store).len());
    let largest = records(&*store).iter().map(|one| one.value().len()).max();
    assert!(largest <= Some(2_048));
    assert_eq!(open(&store, 2).stats().set().entries(), 1_000);
    assert_eq!(node.stats().conflicts(), 0);
    // A commit each and nothing else, so that each was durable by itself.
    assert_eq!(store.commits.load(Ordering::Relaxed), 1 + 1_000);
}

#[test]
fn a_segment_that_others_merged_is_not_written_to_again() {
    let store = Faulty::new();
    let node = open(&store, 1);
    block_on(node.revoke(token("a"), at(NOW + 300))).unwrap();
    let record = records(&*store).remove(0);
    let batch = |name| Batch::new(IdempotencyKey::from_bytes([name; 16]));
    let elsewhere = Key::new(&Space::new("revocation").unwrap(), b"\x03merged").unwrap();
    let merged = batch(1).delete(record.key().clone(), Expected::Version(record.version()));
    store.rival(merged.put(elsewhere.clone(), Expected::Absent, record.value().clone()));
    block_on(node.revoke(token("b"), at(NOW + 300))).unwrap();
    assert_eq!(node.stats().conflicts(), 1);
    let keys: Vec<Key> = records(&*store).iter().map(|r| r.key().clone()).collect();
    assert!(!keys.contains(record.key()) && keys.contains(&elsewhere));
    let fresh = open(&store, 2);
    for name in ["a", "b"] {
        assert!(is_revoked(fresh.revocations(), name, NOW), "{name}");
    }
}

#[test]
fn who_finds_the_place_taken_each_time_gives_up_and_revokes_nothing() {
    let store = Faulty::new();
    let node = open(&store, 1);
    store.fail([Fault::Conflict; 100]);
    let error = block_on(node.revoke(token("a"), at(NOW + 5_000))).unwrap_err();
    assert_eq!(error, StoredRevokeError::Contended { attempts: 4 });
    assert_fit_for_a_log(&error);
    assert!(!is_revoked(node.revocations(), "a", NOW));
    assert!(records(&*store).is_empty());
    store.forget_faults();
    block_on(node.revoke(token("a"), at(NOW + 5_000))).unwrap();
}

#[test]
fn again_is_durable_again_and_kept_once_when_merged() {
    let store = Faulty::new();
    let node = open(&store, 1);
    for n in 0..2_000 {
        block_on(node.revoke(token("a"), at(NOW + 300 - n % 3))).unwrap();
    }
    assert!(records(&*store).len() >= 8);
    block_on(node.compact(at(NOW))).unwrap();
    assert_eq!(stored(&*store), 1);
    assert!(is_revoked(open(&store, 2).revocations(), "a", NOW + 300));
}

#[test]
fn many_go_in_large_segments_each_once() {
    let store = Faulty::new();
    let node = open(&store, 1);
    let names: Vec<String> = (0..30_000)
        .map(|n| format!("token-{:026}", n % 20_000))
        .collect();
    let revoke = |node: &StoredRevocations, expires| {
        let many = names
            .iter()
            .map(|name| Revocation::of(token(name), at(expires)));
        block_on(node.revoke_many(many))
    };
    revoke(&node, NOW + 300).unwrap();
    assert_eq!(stored(&*store), 20_000);
    let found = records(&*store);
    let bytes: usize = found.iter().map(|record| record.value().len()).sum();
    assert!(bytes <= 40 * 20_000, "{bytes}");
    assert_eq!(found.len(), bytes.div_ceil(252 << 10));
    assert_eq!(store.commits.load(Ordering::Relaxed), 1 + found.len());

    let other = open_at(&store, 2, NOW).unwrap();
    revoke(&other, NOW + 600).unwrap();
    block_on(node.catch_up(at(NOW))).unwrap();
    for node in [node, other, open(&store, 5)] {
        assert_eq!(node.stats().set().entries(), 20_000);
        assert!(
            names
                .iter()
                .all(|name| is_revoked(node.revocations(), name, NOW + 600))
        );
    }
    block_on(open(&store, 7).revoke_many([])).unwrap();
}

#[test]
fn many_that_fail_in_the_middle_are_done_by_calling_again() {
    let names: Vec<String> = (0..20_000).map(|n| format!("token-{n:026}")).collect();
    let (none, refused, unknown) = (Fault::None, Fault::Refused, Fault::WrittenUnknown);
    for faults in [
        vec![none, refused],
        vec![refused],
        vec![none, none, refused],
        vec![none, unknown, unknown, unknown, unknown],
    ] {
        let store = Faulty::new();
        let node = open(&store, 1);
        store.fail(faults);
        let many = || {
            names
                .iter()
                .map(|name| Revocation::of(token(name), at(NOW + 300)))
        };
        assert!(block_on(node.revoke_many(many())).is_err());
        assert_eq!(node.stats().set().entries(), stored(&*store));
        block_on(node.revoke_many(many())).unwrap();
        assert_eq!(node.stats().set().entries(), 20_000);
        assert_eq!(open(&store, 2).stats().set().entries(), 20_000);
    }
}

#[test]
fn large_targets_are_spread_over_batches_a_store_takes() {
    let store = Faulty::new();
    let node = open(&store, 1);
    let issuer = "i".repeat(60_000);
    let names: Vec<String> = (0..100).map(|n| format!("{n:060000}")).collect();
    let many = names.iter().map(|jti| {
        let target = Target::Token {
            issuer: &issuer,
            jti,
        };
        Revocation::of(target, at(NOW + 300))
    });
    block_on(node.revoke_many(many)).unwrap();
    assert_eq!(open(&store, 2).stats().set().entries(), 100);
}

#[test]
fn a_target_that_is_too_long_is_refused_before_anything_is_written() {
    let store = Faulty::new();
    let node = open(&store, 1);
    let long = "x".repeat(65_536);
    let many = [token("a"), token(&long)].map(|target| Revocation::of(target, at(NOW + 300)));
    let error = block_on(node.revoke_many(many)).unwrap_err();
    let (kind, length) = (Kind::Token, 65_536);
    assert_eq!(error, StoredRevokeError::FieldTooLong { kind, length });
    assert!(records(&*store).is_empty());
    assert!(!is_revoked(node.revocations(), "a", NOW));
}

#[test]
fn a_full_set_refuses_before_anything_is_written() {
    let store: Arc<dyn Store> = Faulty::new();
    let options = StoredOptions::default().with_capacity_limit(1);
    let random = Seeded::new(1);
    let node = StoredRevocations::open(Arc::clone(&store), at(NOW), &random, options);
    let node = block_on(node).unwrap();
    block_on(node.revoke(token("a"), at(NOW + 300))).unwrap();
    let error = block_on(node.revoke(token("b"), at(NOW + 300))).unwrap_err();
    let (entries, limit) = (1, 1);
    let full = RevokeError::Full { entries, limit };
    assert_eq!(error, StoredRevokeError::NoRoom(full));
    block_on(node.revoke(token("a"), at(NOW + 600))).unwrap();
    assert_eq!(records(&store).len(), 1);
}

#[test]
fn sto_010_a_record_that_is_not_understood_is_not_overwritten() {
    let store = Faulty::new();
    let node = open(&store, 1);
    block_on(node.revoke(token("a"), at(NOW + 300))).unwrap();
    let key = records(&*store)[0].key().clone();
    let batch = Batch::new(IdempotencyKey::from_bytes([1; 16]));
    let batch = batch.put(key.clone(), Expected::Present, b"\x02later".as_slice());
    block_on(store.commit(batch)).unwrap();
    block_on(node.revoke(token("b"), at(NOW + 600))).unwrap();
    assert!(block_on(node.compact(at(NOW))).is_err());
    let kept = block_on(store.get(&key)).unwrap().unwrap();
    assert_eq!(kept.value().as_bytes(), b"\x02later");
    assert_eq!(records(&*store).len(), 2);
}

#[test]
fn sto_015_at_the_last_revision_nothing_is_revoked_and_the_error_says_so() {
    let nearly = Revision::new(Revision::MAX.number() - 1).unwrap();
    let store = Arc::new(MemoryStore::new().with_head(nearly));
    let node = open(&store, 1);
    let error = block_on(node.revoke(token("a"), at(NOW + 300))).unwrap_err();
    assert_eq!(error, StoredRevokeError::NotStored(StoreError::Exhausted));
    assert!(!is_revoked(node.revocations(), "a", NOW));
    assert!(block_on(node.compact(at(NOW + 300))).is_err());
}

#[test]
fn sto_017_whatever_a_name_holds_it_is_kept_as_it_is() {
    let store = Faulty::new();
    let names = [
        "a\0b",
        "';--",
        "%_\\",
        "\u{202e}\u{7}\r\n",
        "",
        "\u{10ffff}",
    ];
    let many = names.map(|name| Revocation::of(token(name), at(NOW + 300)));
    block_on(open(&store, 1).revoke_many(many)).unwrap();
    let node = open(&store, 2);
    assert!(
        names
            .iter()
            .all(|name| is_revoked(node.revocations(), name, NOW))
    );
    assert!(!is_revoked(node.revocations(), "a", NOW));
}

#[test]
fn what_lies_in_the_clear_names_nobody() {
    let store = Faulty::new();
    block_on(open(&store, 1).revoke(token("some-token"), at(NOW + 300))).unwrap();
    let record = records(&*store).remove(0);
    assert_eq!(
        record.summary(),
        Some(r#"{"entries":1,"kinds":{"token":1}}"#)
    );
    // A number that was drawn, and not a digest of anything.
    assert_eq!(record.key().id().len(), 17);
    let other = Faulty::new();
    block_on(open(&other, 2).revoke(token("some-token"), at(NOW + 300))).unwrap();
    assert_ne!(records(&*other)[0].key(), record.key());
}

#[test]
fn what_is_shown_of_a_set_holds_no_key() {
    let store = Faulty::new();
    let node = open(&store, 1);
    let shown = format!("{node:?}");
    // What the set's random bytes began with.
    let random = Seeded::new(1);
    let mut bytes = [0; 16];
    random.fill(&mut bytes).unwrap();
    assert!(
        !shown.contains(&format!("{bytes:?}")) && shown.len() < 1_000,
        "{shown}"
    );
}

#[test]
fn futures_can_be_sent_to_other_threads() {
    fn assert_send<T: Send>(value: T) -> T {
        value
    }
    let store = Faulty::new();
    let node = Arc::new(open(&store, 1));
    block_on(assert_send(node.revoke(token("a"), at(NOW + 300)))).unwrap();
    let many = [Revocation::of(token("b"), at(NOW + 300))];
    block_on(assert_send(node.revoke_many(many))).unwrap();
    block_on(assert_send(node.catch_up(at(NOW)))).unwrap();
    block_on(assert_send(node.compact(at(NOW)))).unwrap();
    drop(assert_send(node.changed()));
    drop(assert_send(node));
}
