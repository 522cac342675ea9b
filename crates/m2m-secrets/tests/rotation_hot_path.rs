//! What a message costs: no allocation, whoever sends what; and what the ring decides is what the
//! member's state says.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

mod support;

use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure;
use m2m_secrets::{Command, Overlap, RingSignError, RingVerifyError, SecretVersion};
use m2m_types::Live;
use support::Fleet;

#[test]
fn verifying_and_signing_allocate_nothing() {
    let mut fleet = Fleet::new();
    fleet.stage();
    let verifier = Live::new(fleet.verifier.ring().unwrap());
    let signer = Live::new(fleet.signer.ring().unwrap());
    let now = fleet.now;
    let mut tag = [0; 32];
    let counted = measure(|| {
        for _ in 0..100 {
            let (signer, verifier) = (signer.load(), verifier.load());
            let signed = signer.sign(b"message", &mut tag, now).unwrap();
            let key_id = signed.key_id().as_str();
            verifier.verify(key_id, b"message", &tag, now).unwrap();
            verifier.verify_any(b"message", &tag, now).unwrap();
            assert!(verifier.verify(key_id, b"other", &tag, now).is_err());
            assert!(
                verifier
                    .verify("billing.99", b"message", &tag, now)
                    .is_err()
            );
        }
    });
    assert_eq!((counted.count_total, counted.bytes_total), (0, 0));
    let uses = fleet.verifier.uses(SecretVersion::FIRST).unwrap();
    assert_eq!((uses.count(), uses.last()), (200, Some(now)));
}

#[test]
fn a_new_ring_goes_on_counting() {
    let mut fleet = Fleet::new();
    let live = Live::new(fleet.verifier.ring().unwrap());
    fleet.call(&live).unwrap();
    fleet.stage();
    live.store(fleet.verifier.ring().unwrap());
    fleet.call(&live).unwrap();
    assert_eq!(
        fleet.verifier.uses(SecretVersion::FIRST).unwrap().count(),
        2
    );
    // Version 2 was never used: nothing is known of before it came.
    let second = fleet.verifier.uses(SecretVersion::new(2).unwrap()).unwrap();
    assert_eq!(
        second
            .idle(fleet.now.saturating_add(Duration::from_secs(9)))
            .as_secs(),
        9
    );
}

#[test]
fn a_silent_issuer_stops_its_members() {
    let mut fleet = Fleet::new();
    let live = Live::new(fleet.verifier.ring().unwrap());
    let lease = fleet.rotation.policy().lease();
    let until = fleet.now.checked_add(lease).unwrap();
    fleet.now = until;
    assert_eq!(
        fleet.call(&live).unwrap_err().to_string(),
        RingSignError::Fenced { until }.to_string()
    );
    let ring = live.load();
    let refused = ring.verify("billing.1", b"", &[0; 32], until).unwrap_err();
    assert_eq!(refused, RingVerifyError::Fenced { until });
    assert_eq!(refused.rejection(), "invalid_request_signature");
    // A lease counts for rings that are in use already.
    fleet.talk();
    drop(ring);
    fleet.call(&live).unwrap();
}

#[test]
fn sec_007_a_clock_set_back_revives_nothing() {
    let mut fleet = Fleet::new();
    fleet.stage();
    let plan = fleet
        .rotation
        .plan_emergency(SecretVersion::FIRST, fleet.now)
        .unwrap();
    let bound = plan.bound();
    fleet.order(Command::Emergency(plan)).unwrap();
    let old_signer = fleet.signer.ring().unwrap();
    let mut tag = [0; 32];
    old_signer.sign(b"message", &mut tag, fleet.now).unwrap();
    fleet.distribute();
    let live = Arc::new(Live::new(fleet.verifier.ring().unwrap()));
    let begun = fleet.now;
    live.load()
        .verify("billing.1", b"message", &tag, begun)
        .unwrap();

    fleet.now = begun.checked_add(bound).unwrap();
    let verify = |at| {
        live.load()
            .verify("billing.1", b"message", &tag, at)
            .map(|_| ())
    };
    let expected = |refused| {
        matches!(
            refused,
            Err(RingVerifyError::Fenced { .. } | RingVerifyError::UnknownKey { .. })
        )
    };
    assert!(expected(verify(fleet.now)));
    fleet.talk();
    // The lease is fresh; the version is dead, whatever the clock says now.
    for back in [0, 1, 1_000, 100_000] {
        let earlier = begun.saturating_sub(Duration::from_secs(back));
        assert!(expected(verify(earlier)), "{back} s before the swap");
        assert!(
            !fleet
                .verifier
                .membership()
                .accepts(SecretVersion::FIRST, earlier)
        );
    }
    live.load().verify_any(b"message", &tag, begun).unwrap_err();
}

#[test]
fn the_ring_decides_what_the_members_state_says() {
    let mut fleet = Fleet::new();
    let mut checked = 0;
    for round in 0..60_u64 {
        match round % 6 {
            0 => fleet.stage(),
            1 => fleet.activate(Overlap::EndOldest),
            4 => fleet.retire_what_can_be(),
            _ => fleet.talk(),
        }
        fleet.now = fleet
            .now
            .saturating_add(Duration::from_secs(97 * (round % 5)));
        let ring = fleet.verifier.ring().unwrap();
        for number in 1..20 {
            let version = SecretVersion::new(number).unwrap();
            let said = fleet.verifier.membership().accepts(version, fleet.now);
            let done = ring
                .by_key_id(&format!("billing.{number}"), fleet.now)
                .is_ok();
            assert_eq!(said, done, "v{number} in {ring:?}");
            checked += usize::from(said);
        }
        let said = fleet.signer.membership().signs_with(fleet.now);
        let signer = fleet.signer.ring().unwrap();
        let done = signer.signing(fleet.now).ok().map(|held| held.version());
        assert_eq!(said, done);
    }
    assert!(checked > 30, "{checked}");
}
