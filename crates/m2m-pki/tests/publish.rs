//! CRLs from the ledger: no number twice, no later list that lists less, and no way back for who checks.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod publish_support;
mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use m2m_crypto::SystemRandom;
use m2m_pki::{
    Certificate, CrlFloorError, CrlFloors, CrlNumber, CrlPublishError, CrlSet, CrlSetError,
    Operator, RevocationReason, RevocationStatus, ShardPlan,
};
use m2m_revoke::{Revocations, Target};
use m2m_store::{Failure, MemoryStore};
use pollster::block_on;
use publish_support::{Issuer, number};
use support::{DAY, after, now, service};

#[test]
fn what_is_revoked_in_the_ledger_is_on_the_next_crl() {
    let issuer = Issuer::new();
    let mut publisher = issuer.open(None);
    assert_eq!(publisher.due(now()), [0]);
    let (good, bad) = (issuer.leaf("good"), issuer.leaf("bad"));
    let first = issuer.publish(&mut publisher, 0, now()).unwrap();
    assert!(publisher.due(now()).is_empty());
    assert_eq!(publisher.next_deadline(), after(DAY / 2));
    assert_eq!(publisher.due(after(DAY / 2)), [0]);

    issuer.revoke(&bad, RevocationReason::Superseded);
    assert_eq!(block_on(publisher.follow()), Ok(1));
    assert_eq!(publisher.due(now()), [0]);
    let second = issuer.publish(&mut publisher, 0, now()).unwrap();
    assert_eq!(
        [number(&first), number(&second)],
        [CrlNumber::from(1), CrlNumber::from(2)]
    );
    let set = CrlSet::new().with(issuer.index(&second)).unwrap();
    assert!(matches!(
        issuer.status(&set, &good),
        RevocationStatus::NotRevoked(_)
    ));
    assert!(matches!(
        issuer.status(&set, &bad),
        RevocationStatus::Revoked(_)
    ));

    // It turns out to be worse. The list says so, once.
    issuer.revoke(&bad, RevocationReason::KeyCompromise);
    let third = issuer.publish(&mut publisher, 0, now()).unwrap();
    let set = set.with(issuer.index(&third)).unwrap();
    let RevocationStatus::Revoked(revoked) = issuer.status(&set, &bad) else {
        panic!("revoked");
    };
    assert_eq!(revoked.reason, RevocationReason::KeyCompromise);
    assert_eq!(publisher.list(0).unwrap().len(), 1);
    assert_eq!(block_on(publisher.follow()), Ok(0));
}

#[test]
fn one_revocation_makes_one_shard_due() {
    let issuer = Issuer::new();
    let plan = ShardPlan::new("http://crl.example.org/", 4).unwrap();
    let mut publisher = issuer.open(Some(plan));
    assert_eq!((publisher.lists(), publisher.due(now()).len()), (16, 16));
    for list in publisher.due(now()) {
        issuer.publish(&mut publisher, list, now()).unwrap();
    }
    let bad = issuer.leaf("bad");
    issuer.revoke(&bad, RevocationReason::KeyCompromise);
    block_on(publisher.follow()).unwrap();
    let list = publisher.list_of(&bad.id().unwrap());
    assert_eq!(publisher.due(now()), [list]);
    let crl = issuer.publish(&mut publisher, list, now()).unwrap();
    assert_eq!(
        (number(&crl), issuer.index(&crl).len()),
        (CrlNumber::from(2), 1)
    );
    assert!(publisher.due(now()).is_empty());
    let none = issuer.publish(&mut publisher, 16, now());
    assert_eq!(none.unwrap_err(), CrlPublishError::NoList { list: 16 });
}

#[test]
fn pki_037_whatever_fails_when_no_number_comes_twice_or_falls() {
    let issuer = Issuer::new();
    let mut released = BTreeSet::new();
    let mut claimed = BTreeSet::new();
    for round in 0..40 {
        // A new process each time.
        let mut publisher = issuer.open(None);
        let failure = [
            None,
            Some(Failure::NotWritten),
            Some(Failure::WrittenButUnknown),
            Some(Failure::NotWrittenAndUnknown),
        ][round % 4];
        if let Some(failure) = failure {
            issuer.store.fail_next(failure);
        }
        if round % 5 == 0 {
            // It dies when the number is claimed, or when the CRL is signed.
            if let Ok(pending) = block_on(publisher.prepare(0, now(), &SystemRandom)) {
                assert!(claimed.insert(pending.number()), "claimed twice");
                assert!(released.iter().all(|before| *before < pending.number()));
                drop(pending.sign(&issuer.key).unwrap());
            }
            continue;
        }
        match issuer.publish(&mut publisher, 0, now()) {
            Ok(crl) => {
                assert!(claimed.iter().all(|before| *before < number(&crl)));
                assert!(claimed.insert(number(&crl)), "claimed twice");
                released.insert(number(&crl));
            }
            Err(error) => assert!(failure.is_some(), "{error}"),
        }
    }
    assert!(released.len() > 15, "{}", released.len());
}

#[test]
fn a_later_crl_never_lists_less_though_two_publish() {
    let issuer = Issuer::new();
    let (mut one, mut two) = (issuer.open(None), issuer.open(None));
    let bad = issuer.leaf("bad");
    // One has its number, then the other one takes the next, then something is revoked.
    let first = block_on(one.prepare(0, now(), &SystemRandom)).unwrap();
    let second = block_on(two.prepare(0, now(), &SystemRandom)).unwrap();
    issuer.revoke(&bad, RevocationReason::KeyCompromise);
    let overtaken = block_on(one.release(first.sign(&issuer.key).unwrap()));
    let one_number = CrlNumber::from(1);
    assert_eq!(
        overtaken.unwrap_err(),
        CrlPublishError::Overtaken { number: one_number }
    );
    let second = block_on(two.release(second.sign(&issuer.key).unwrap())).unwrap();
    assert_eq!(issuer.index(&second).len(), 0);
    // Whoever comes next has read what was revoked before it claimed.
    let third = issuer.publish(&mut one, 0, now()).unwrap();
    assert!(number(&second) < number(&third));
    assert_eq!(issuer.index(&third).len(), 1);
    // The other one hears of it too, and does not know that it is published.
    block_on(two.follow()).unwrap();
    assert_eq!(two.due(now()), [0]);
}

#[test]
fn keys_elsewhere_sign_what_is_prepared_and_nothing_else() {
    let issuer = Issuer::new();
    let mut publisher = issuer.open(None);
    let pending = block_on(publisher.prepare(0, now(), &SystemRandom)).unwrap();
    assert!(pending.attach(&[1; 64]).is_err());
    let pending = block_on(publisher.prepare(0, now(), &SystemRandom)).unwrap();
    let mut signature = [0; 64];
    issuer.key.sign(pending.message(), &mut signature).unwrap();
    let unreleased = pending.attach(&signature).unwrap();
    let crl = block_on(publisher.release(unreleased)).unwrap();
    assert_eq!(number(&crl), CrlNumber::from(2));
    issuer.index(&crl);
}

#[test]
fn pki_055_after_a_restart_no_older_crl_is_taken() {
    let issuer = Issuer::new();
    let mut publisher = issuer.open(None);
    let crls: Vec<_> = (0..3)
        .map(|_| issuer.index(&issuer.publish(&mut publisher, 0, now()).unwrap()))
        .collect();
    let verifier: Arc<MemoryStore> = Arc::new(MemoryStore::new());
    let floors = CrlFloors::new(verifier.clone());
    let set = block_on(floors.take(&CrlSet::new(), crls[1].clone())).unwrap();
    assert_eq!(set.len(), 1);

    // A new process knows nothing but the store.
    let fresh = block_on(floors.restore(CrlSet::new())).unwrap();
    assert!(fresh.is_empty());
    let older = block_on(floors.take(&fresh, crls[0].clone()));
    assert!(matches!(
        older.unwrap_err(),
        CrlFloorError::Set(CrlSetError::Older { .. })
    ));
    // One that did not restore is told by the store.
    let older = block_on(floors.take(&CrlSet::new(), crls[0].clone()));
    assert!(matches!(older.unwrap_err(), CrlFloorError::Older { .. }));
    verifier.fail_next(Failure::NotWritten);
    assert!(block_on(floors.take(&fresh, crls[2].clone())).is_err());
    let same = block_on(floors.take(&fresh, crls[1].clone())).unwrap();
    verifier.fail_next(Failure::WrittenButUnknown);
    let newest = block_on(floors.take(&same, crls[2].clone())).unwrap();
    assert_eq!(newest.crls().next().unwrap().number(), CrlNumber::from(3));
}

#[test]
fn what_one_knows_the_other_is_told() {
    let issuer = Issuer::new();
    let certificates = ["ledger", "thumbprint", "machine", "good"].map(|path| issuer.leaf(path));
    let [in_ledger, by_thumbprint, by_machine, good] = &certificates;
    issuer.revoke(in_ledger, RevocationReason::KeyCompromise);
    let set = Revocations::new([7; 16], now());
    let key_id = issuer.authority.key_id();
    let is_void = |certificate: &Certificate| {
        set.check(&certificate.revocation_target(), None, now())
            .is_err()
    };
    assert!(!is_void(in_ledger));
    assert_eq!(block_on(issuer.ledger.tell(&set, key_id)), Ok(1));
    assert_eq!(block_on(issuer.ledger.tell(&set, key_id)), Ok(1));
    assert!(is_void(in_ledger) && !is_void(good));
    // Until it has expired, its last second included.
    let target = in_ledger.revocation_target();
    assert!(set.check(&target, None, in_ledger.not_after()).is_err());

    let expires = after(2 * DAY);
    set.revoke(by_thumbprint.revocation_target(), expires)
        .unwrap();
    let machine = service("machine");
    set.revoke(Target::Service(machine.as_ref()), expires)
        .unwrap();
    let by = Operator::danger_vouched_for("set").unwrap();
    let heard = block_on(issuer.ledger.hear(&set, key_id, &by, now())).unwrap();
    let expected = [by_thumbprint, by_machine].map(|certificate| certificate.id().unwrap());
    let sorted = |ids: &[m2m_pki::CertificateId]| ids.iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(sorted(&heard), sorted(&expected));
    let again = block_on(issuer.ledger.hear(&set, key_id, &by, now())).unwrap();
    assert_eq!(again, []);
    let mut publisher = issuer.open(None);
    let crl = issuer.publish(&mut publisher, 0, now()).unwrap();
    assert_eq!(issuer.index(&crl).len(), 3);
}
