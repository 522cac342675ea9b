//! Deltas from the ledger, and certificates that leave the lists when they have expired.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod publish_support;
mod support;

use std::sync::Arc;

use m2m_crypto::SystemRandom;
use m2m_pki::{
    Certificate, CrlIndex, CrlLimits, CrlNumber, CrlPublishError, CrlSet, CrlSetError,
    CrlSignError, DeltaError, RevocationReason, RevocationStatus, ShardPlan, SignedCrl,
    UnverifiedCrl,
};
use pollster::block_on;
use publish_support::{Issuer, number};
use support::{DAY, HOUR, after, now};

const REASON: RevocationReason = RevocationReason::KeyCompromise;

/// The set with this delta, as a verifier takes it.
fn apply(issuer: &Issuer, set: &CrlSet, delta: &SignedCrl) -> Result<CrlSet, CrlSetError> {
    let delta = UnverifiedCrl::parse(delta.der(), &CrlLimits::default()).unwrap();
    set.with_delta(&delta.verify(&issuer.id()).unwrap())
}

fn is_revoked(issuer: &Issuer, set: &CrlSet, certificate: &Certificate) -> bool {
    match issuer.status(set, certificate) {
        RevocationStatus::Revoked(_) => true,
        RevocationStatus::NotRevoked(_) => false,
        status => panic!("{status:?}"),
    }
}

fn with(issuer: &Issuer, set: &CrlSet, crl: &SignedCrl) -> CrlSet {
    set.with(issuer.index(crl)).unwrap()
}

#[test]
fn complete_and_deltas_share_numbers_and_say_the_same() {
    let issuer = Issuer::new();
    let mut publisher = issuer.open(None);
    let [before, first, second, good] = ["a", "b", "c", "d"].map(|path| issuer.leaf(path));
    issuer.revoke(&before, REASON);
    assert!(!publisher.takes_delta(0, now()));
    let complete = issuer.publish(&mut publisher, 0, now()).unwrap();
    assert!(publisher.takes_delta(0, now()) && !publisher.takes_delta(0, after(DAY / 2)));
    let set = with(&issuer, &CrlSet::new(), &complete);

    // Two deltas, both to the complete one. Either may be missed.
    issuer.revoke(&first, REASON);
    block_on(publisher.follow()).unwrap();
    assert_eq!(publisher.due(now()), [0]);
    let one = issuer.publish_delta(&mut publisher, 0, now()).unwrap();
    assert!(publisher.due(now()).is_empty());
    assert_eq!(publisher.due(after(DAY / 2)), [0]);
    issuer.revoke(&second, REASON);
    let two = issuer.publish_delta(&mut publisher, 0, now()).unwrap();
    let numbers = [&complete, &one, &two].map(number);
    assert_eq!(numbers, [1, 2, 3].map(CrlNumber::from));
    let after_one = apply(&issuer, &set, &one).unwrap();
    assert!(is_revoked(&issuer, &after_one, &before) && is_revoked(&issuer, &after_one, &first));
    assert!(!is_revoked(&issuer, &after_one, &second));
    for set in [apply(&issuer, &set, &two), apply(&issuer, &after_one, &two)] {
        let set = set.unwrap();
        let lists = [&before, &first, &second].map(|one| is_revoked(&issuer, &set, one));
        assert_eq!(
            (lists, is_revoked(&issuer, &set, &good)),
            ([true; 3], false)
        );
        assert_eq!(set.crls().next().unwrap().number(), CrlNumber::from(3));
    }
    // The next complete one says the same as that, and is the base from then on.
    let next = issuer.publish(&mut publisher, 0, now()).unwrap();
    assert_eq!(
        (number(&next), issuer.index(&next).len()),
        (CrlNumber::from(4), 3)
    );
    let empty = issuer.publish_delta(&mut publisher, 0, now()).unwrap();
    let refused = apply(&issuer, &after_one, &empty).unwrap_err();
    let (base, number) = (CrlNumber::from(4), CrlNumber::from(2));
    assert_eq!(
        refused,
        CrlSetError::Delta(DeltaError::BaseTooOld { base, number })
    );
}

#[test]
fn a_delta_of_a_shard_is_for_that_shard() {
    let issuer = Issuer::new();
    let plan = ShardPlan::new("http://crl.example.org/", 1).unwrap();
    let mut publisher = issuer.open(Some(plan));
    let complete: Vec<_> = (0..2)
        .map(|list| issuer.publish(&mut publisher, list, now()).unwrap())
        .collect();
    let bad = issuer.leaf("bad");
    issuer.revoke(&bad, REASON);
    let list = publisher.list_of(&bad.id().unwrap());
    let delta = issuer.publish_delta(&mut publisher, list, now()).unwrap();
    let (own, other) = (&complete[list as usize], &complete[1 - list as usize]);
    let delta = UnverifiedCrl::parse(delta.der(), &CrlLimits::default()).unwrap();
    let delta = delta.verify(&issuer.id()).unwrap();
    assert_eq!(issuer.index(own).with_delta(&delta).unwrap().len(), 1);
    let refused = issuer.index(other).with_delta(&delta).unwrap_err();
    assert_eq!(refused, DeltaError::Scope);
    let set = with(&issuer, &CrlSet::new(), other);
    assert_eq!(set.with_delta(&delta).unwrap_err(), CrlSetError::NoBase);
}

#[test]
fn a_delta_is_to_what_was_given_out_and_never_to_what_was_not() {
    let issuer = Issuer::new();
    let none = |result: Result<SignedCrl, CrlPublishError>| {
        assert_eq!(
            result.unwrap_err(),
            CrlPublishError::Sign(CrlSignError::NoBase)
        );
    };
    let mut publisher = issuer.open(None);
    none(issuer.publish_delta(&mut publisher, 0, now()));
    let base = issuer.publish(&mut publisher, 0, now()).unwrap();
    assert_eq!(number(&base), CrlNumber::from(1));
    // A complete one with `bad` in it is signed, and nobody ever gets it.
    let bad = issuer.leaf("bad");
    issuer.revoke(&bad, REASON);
    let lost = block_on(publisher.prepare(0, now(), &SystemRandom)).unwrap();
    drop(lost.sign(&issuer.key).unwrap());
    let delta = issuer.publish_delta(&mut publisher, 0, now()).unwrap();
    let set = apply(&issuer, &with(&issuer, &CrlSet::new(), &base), &delta).unwrap();
    assert!(is_revoked(&issuer, &set, &bad));
    // A process that has just begun knows no base.
    none(issuer.publish_delta(&mut issuer.open(None), 0, now()));
}

#[test]
fn who_holds_the_complete_crl_of_another_publisher_may_take_the_delta() {
    let issuer = Issuer::new();
    let (mut one, mut two) = (issuer.open(None), issuer.open(None));
    let [first, second, third] = ["a", "b", "c"].map(|path| issuer.leaf(path));
    issuer.publish(&mut one, 0, now()).unwrap();
    issuer.revoke(&first, REASON);
    let others = issuer.publish(&mut two, 0, now()).unwrap();
    issuer.revoke(&second, REASON);
    let overtaken = block_on(one.prepare_delta(0, now(), &SystemRandom)).unwrap();
    issuer.revoke(&third, REASON);
    let newer = issuer.publish_delta(&mut two, 0, now()).unwrap();
    let refused = block_on(one.release(overtaken.sign(&issuer.key).unwrap()));
    assert!(matches!(refused, Err(CrlPublishError::Overtaken { .. })));
    let delta = issuer.publish_delta(&mut one, 0, now()).unwrap();
    let set = with(&issuer, &CrlSet::new(), &others);
    for delta in [&newer, &delta] {
        let set = apply(&issuer, &set, delta).unwrap();
        for revoked in [&first, &second, &third] {
            assert!(is_revoked(&issuer, &set, revoked));
        }
    }
}

#[test]
fn a_delta_may_say_more_of_what_its_base_lists() {
    let issuer = Issuer::new();
    let mut publisher = issuer.open(None);
    let bad = issuer.leaf("bad");
    issuer.revoke(&bad, RevocationReason::Superseded);
    let complete = issuer.publish(&mut publisher, 0, now()).unwrap();
    issuer.revoke(&bad, REASON);
    let delta = issuer.publish_delta(&mut publisher, 0, now()).unwrap();
    let set = apply(&issuer, &with(&issuer, &CrlSet::new(), &complete), &delta).unwrap();
    let RevocationStatus::Revoked(revoked) = issuer.status(&set, &bad) else {
        panic!("not revoked");
    };
    assert_eq!(revoked.reason, REASON);
}

#[test]
fn what_has_expired_is_listed_once_more_and_then_no_longer() {
    let issuer = Issuer::new();
    let mut publisher = issuer.open(None);
    // Leaves live for an hour.
    let [bad, late] = ["bad", "late"].map(|path| issuer.leaf(path));
    let ends = bad.not_after();
    issuer.revoke(&bad, REASON);
    let mut publish = |at| {
        let crl = issuer.publish(&mut publisher, 0, at).unwrap();
        issuer.index(&crl).len()
    };
    assert_eq!(publish(now()), 1);
    // In its last second it is valid, so the CRL of that second is not yet the one.
    assert_eq!(ends, after(HOUR));
    assert_eq!(publish(ends), 1);
    let second = std::time::Duration::from_secs(1);
    let past = ends.checked_add(second).unwrap();
    assert_eq!(publish(past), 1);
    assert_eq!(publish(past), 0);
    assert_eq!(publish(past), 0);
    // What is revoked afterwards is on one CRL too.
    issuer.revoke_at(&late, REASON, past);
    assert_eq!(publish(past), 1);
    assert_eq!(publish(past), 0);
}

#[test]
fn a_delta_takes_off_what_expired_since_its_base() {
    let issuer = Issuer::new();
    let mut publisher = issuer.open(None);
    let [bad, other] = ["bad", "other"].map(|path| issuer.leaf(path));
    issuer.revoke(&bad, REASON);
    let past = after(2 * HOUR);
    let complete = issuer.publish(&mut publisher, 0, past).unwrap();
    let set = with(&issuer, &CrlSet::new(), &complete);
    // The next complete one leaves it out, and is not given out: the delta is to the one before.
    drop(block_on(publisher.prepare(0, past, &SystemRandom)).unwrap());
    issuer.revoke_at(&other, REASON, past);
    let delta = issuer.publish_delta(&mut publisher, 0, past).unwrap();
    let set = apply(&issuer, &set, &delta).unwrap();
    let index: &Arc<CrlIndex> = set.crls().next().unwrap();
    let find = |one: &Certificate| index.find(one.serial().as_bytes()).unwrap();
    assert!(find(&bad).is_none() && find(&other).is_some());
}
