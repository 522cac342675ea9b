//! The life of a version: what is refused, by whom, and why.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

mod support;

use std::time::Duration;

use m2m_crypto::{AeadAlgorithm, AeadKey, RandomError, SecureRandom, SystemRandom};
use m2m_secrets::{
    Acknowledgement, AdoptError, Blocker, Command, CommandError, EmergencyError, Epoch,
    FencingToken, GrantError, Ground, HearError, LeaseGrant, Membership, Order, Overlap, Policy,
    PolicyError, Reach, RingDelivery, Role, SecretVersion, SharedSecret, Snapshot, Stage,
};
use m2m_types::Timestamp;
use proptest::prelude::*;
use support::{Fleet, member, version};

const SECOND: Duration = Duration::from_secs(1);

/// Active 2, retiring 1.
fn rotated() -> Fleet {
    let mut fleet = Fleet::new();
    fleet.stage();
    fleet.activate(Overlap::Refuse);
    fleet
}

#[test]
fn a_version_goes_one_way() {
    let mut fleet = Fleet::new();
    assert_eq!(fleet.stage_of(2), None);
    let _ = fleet.order(Command::Draft).unwrap();
    assert_eq!(fleet.stage_of(2), Some(Stage::Draft));
    let secret = SharedSecret::generate(&SystemRandom).unwrap();
    fleet.keyring.insert(version(2), secret).unwrap();
    let staged = fleet
        .order(Command::Stage {
            version: version(2),
        })
        .unwrap();
    assert_eq!(fleet.stage_of(2), Some(Stage::Staged));
    assert!(
        staged.events()[0]
            .to_string()
            .ends_with("epoch 2: version 2 staged")
    );
    fleet.distribute();
    assert_eq!(fleet.stage_of(2), Some(Stage::Ready));
    fleet.activate(Overlap::Refuse);
    assert_eq!(
        (fleet.stage_of(2), fleet.stage_of(1)),
        (Some(Stage::Active), Some(Stage::Retiring))
    );
    fleet.now = fleet
        .now
        .checked_add(fleet.rotation.policy().quiet())
        .unwrap();
    fleet.talk();
    let certificate = fleet.rotation.can_retire(version(1), fleet.now).unwrap();
    assert_eq!(
        certificate.evidence()[0].ground(),
        Ground::LeftByProof(Epoch::new(3))
    );
    assert_eq!(
        certificate.evidence()[1].ground(),
        Ground::QuietByReport(fleet.now)
    );
    let _ = fleet.order(Command::Retire(certificate)).unwrap();
    assert_eq!(fleet.stage_of(1), Some(Stage::Retired));
    fleet.distribute();
    assert_eq!(fleet.accepted(), [2]);
    assert!(
        fleet
            .rotation
            .revocation(version(1), fleet.now)
            .is_complete()
    );
}

#[test]
fn who_stands_in_the_way_is_named() {
    let mut fleet = Fleet::new();
    let _ = fleet.order(Command::Draft).unwrap();
    let _ = fleet
        .order(Command::Stage {
            version: version(2),
        })
        .unwrap();
    let overlap = Overlap::Refuse;
    let refused = fleet.order(Command::Activate {
        version: version(2),
        overlap,
    });
    let waiting = Blocker::NotAccepting {
        member: member("prod/verifier"),
        acknowledged: Epoch::new(1),
        needed: Epoch::new(2),
    };
    let blockers = vec![waiting];
    assert_eq!(refused.unwrap_err(), CommandError::Blocked { blockers });

    let fleet = rotated();
    let quiet = fleet.rotation.policy().quiet();
    let now = fleet.now;
    let until = now.checked_add(quiet).unwrap();
    let reporter = member("prod/verifier");
    assert_eq!(
        fleet.rotation.can_retire(version(1), now).unwrap_err(),
        [
            Blocker::InFlight { until },
            Blocker::NoReport {
                member: reporter.clone(),
                since: until
            }
        ]
    );
    assert_eq!(
        fleet.rotation.can_retire(version(2), now).unwrap_err(),
        [Blocker::Signs]
    );
    assert_eq!(fleet.rotation.can_retire(version(9), now).unwrap_err(), []);
    let broken = fleet.rotation.who_breaks_without(version(2), now);
    assert_eq!(broken[1].member(), Some(&member("prod/signer")));
}

#[test]
fn a_version_that_is_used_is_not_retired() {
    let mut fleet = rotated();
    let ring = fleet.verifier.ring().unwrap();
    fleet.now = fleet
        .now
        .checked_add(fleet.rotation.policy().quiet())
        .unwrap();
    let used_at = fleet.now.checked_sub(SECOND * 12).unwrap();
    ring.by_key_id("billing.1", used_at)
        .unwrap()
        .record_use(used_at);
    fleet.talk();
    let blockers = fleet
        .rotation
        .can_retire(version(1), fleet.now)
        .unwrap_err();
    let text = blockers[0].to_string();
    assert_eq!(
        (blockers.len(), text.as_str()),
        (1, "prod/verifier accepted it 12s ago")
    );
}

#[test]
fn a_certificate_is_good_for_one_ring() {
    let mut fleet = rotated();
    fleet.now = fleet
        .now
        .checked_add(fleet.rotation.policy().quiet())
        .unwrap();
    fleet.talk();
    let certificate = fleet.rotation.can_retire(version(1), fleet.now).unwrap();
    fleet.stage();
    let refused = fleet.order(Command::Retire(certificate)).unwrap_err();
    assert!(
        matches!(refused, CommandError::OutOfDate { .. }),
        "{refused}"
    );
}

#[test]
fn sec_004_a_third_rotation_refuses_or_ends_the_oldest() {
    let mut fleet = rotated();
    fleet.stage();
    let order = |overlap| Command::Activate {
        version: version(3),
        overlap,
    };
    let refused = fleet.order(order(Overlap::Refuse)).unwrap_err();
    assert_eq!(
        refused,
        CommandError::OverlapOpen {
            retiring: version(1)
        }
    );
    assert_eq!(fleet.accepted(), [1, 2, 3]);
    let _ = fleet.order(order(Overlap::EndOldest)).unwrap();
    fleet.distribute();
    assert_eq!(fleet.accepted(), [2, 3]);
    assert_eq!(fleet.stage_of(1), Some(Stage::Retired));
}

#[test]
fn sec_004_forcing_ends_nothing_that_a_signer_may_use() {
    let mut fleet = Fleet::new();
    fleet.stage();
    let activate = |number| Command::Activate {
        version: version(number),
        overlap: Overlap::EndOldest,
    };
    // The signer does not hear of it.
    let _ = fleet.order(activate(2)).unwrap();
    let _ = fleet.order(Command::Draft).unwrap();
    let secret = SharedSecret::generate(&SystemRandom).unwrap();
    fleet.keyring.insert(version(3), secret).unwrap();
    let _ = fleet
        .order(Command::Stage {
            version: version(3),
        })
        .unwrap();
    let delivery = RingDelivery::new(fleet.rotation.ring(), &fleet.keyring, Role::Verifier);
    let adoption = fleet
        .verifier
        .consider(delivery.unwrap(), fleet.now)
        .unwrap();
    fleet.verifier.adopt(adoption, fleet.now).unwrap();
    let heard = fleet.verifier.acknowledge(fleet.now).unwrap();
    let _ = fleet
        .rotation
        .hear(&heard, &fleet.keyring, fleet.now)
        .unwrap();
    let refused = fleet.order(activate(3)).unwrap_err().to_string();
    assert!(
        refused.contains("prod/signer may still sign with it"),
        "{refused}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// Whatever is ordered, whenever: one version signs, at most two that ever signed are accepted, and
    /// none is after its time.
    #[test]
    fn sec_003_two_overlap_and_one_signs(steps in prop::collection::vec((0_u8..6, 0_u64..2_000), 1..60)) {
        let hour = SECOND * 3_600;
        let policy = Policy::builder().with_overlap_at_most(hour).build().unwrap();
        let mut fleet = Fleet::with_policy(policy);
        let mut replaced: Vec<(u64, Timestamp)> = Vec::new();
        for (step, seconds) in steps {
            fleet.now = fleet.now.saturating_add(Duration::from_secs(seconds));
            fleet.talk();
            let signed = fleet.rotation.ring().sign().number();
            match step {
                0 => fleet.stage(),
                1 => fleet.activate(Overlap::Refuse),
                2 => fleet.activate(Overlap::EndOldest),
                3 => fleet.retire_what_can_be(),
                4 => { let _ = fleet.order(Command::Settle).unwrap(); fleet.distribute(); }
                _ => {}
            }
            let signs = fleet.rotation.ring().sign().number();
            if signs != signed {
                replaced.push((signed, fleet.now));
            }
            let accepted = fleet.accepted();
            prop_assert!(accepted.contains(&signs));
            let have_signed = accepted.iter().filter(|number| {
                **number == signs || replaced.iter().any(|(old, _)| old == *number)
            });
            prop_assert!(have_signed.count() <= 2, "{accepted:?}");
            for (old, at) in &replaced {
                let late = fleet.now >= at.saturating_add(hour);
                prop_assert!(!(late && accepted.contains(old)), "v{old} after its time");
            }
            let signer = fleet.signer.ring().unwrap();
            prop_assert_eq!(signer.accepted(fleet.now).unwrap().count(), 1);
        }
    }
}

#[test]
fn an_order_given_twice_is_followed_once() {
    let mut fleet = Fleet::new();
    let order = fleet.next_order();
    let first = fleet.rotation.apply(&order, Command::Draft).unwrap();
    let before = fleet.rotation.clone();
    let again = fleet.rotation.apply(&order, Command::Draft).unwrap();
    assert!(!first.was_repeated() && again.was_repeated() && again.events().is_empty());
    assert_eq!(fleet.rotation, before);
    let other = fleet.rotation.apply(&order, Command::Settle).unwrap_err();
    assert_eq!(other, CommandError::IdReused { id: order.id });
}

#[test]
fn an_issuer_that_was_replaced_orders_nothing() {
    let mut fleet = Fleet::new();
    let mut order = fleet.next_order();
    order.token = FencingToken::new(2);
    let _ = fleet.rotation.apply(&order, Command::TakeOver).unwrap();
    let mut late = Order {
        token: FencingToken::FIRST,
        ..fleet.next_order()
    };
    let refused = fleet.rotation.apply(&late, Command::Draft).unwrap_err();
    let (found, current) = (FencingToken::FIRST, FencingToken::new(2));
    assert_eq!(refused, CommandError::FencedOff { found, current });
    late.token = current;
    let refused = fleet.rotation.apply(&late, Command::TakeOver).unwrap_err();
    assert!(
        matches!(refused, CommandError::FencedOff { .. }),
        "two cannot have one token"
    );
}

#[test]
fn an_emergency_says_first_what_it_does() {
    let mut fleet = Fleet::new();
    let none = fleet
        .rotation
        .plan_emergency(version(1), fleet.now)
        .unwrap_err();
    assert_eq!(
        none,
        EmergencyError::NoStandby {
            waiting: Vec::new()
        }
    );
    fleet.stage();
    let unused = fleet
        .rotation
        .plan_emergency(version(2), fleet.now)
        .unwrap_err();
    assert_eq!(
        unused,
        EmergencyError::NeverSigned {
            version: version(2)
        }
    );
    let slow = Command::Register {
        member: member("prod/appliance"),
        role: Role::Signer,
        reach: Reach::TimeBound(SECOND * 86_400),
    };
    let _ = fleet.order(slow).unwrap();
    let plan = fleet
        .rotation
        .plan_emergency(version(1), fleet.now)
        .unwrap();
    assert_eq!(
        (plan.version(), plan.successor()),
        (version(1), Some(version(2)))
    );
    assert_eq!(plan.refused_everywhere_after(), SECOND * (20 * 60 + 61));
    assert_eq!(plan.late(), [member("prod/appliance")]);
    let text = plan.to_string();
    assert!(
        text.contains("no call is refused; version 1 is refused everywhere at most 1261s"),
        "{text}"
    );
    let _ = fleet.order(Command::Emergency(plan)).unwrap();
    assert!(
        !fleet
            .rotation
            .revocation(version(1), fleet.now)
            .is_complete()
    );
    fleet.distribute();
    let under = fleet
        .rotation
        .plan_emergency(version(1), fleet.now)
        .unwrap_err();
    assert!(matches!(under, EmergencyError::Under { .. }));
    fleet.now = fleet.now.checked_add(SECOND * 1_261).unwrap();
    fleet.talk();
    assert!(
        fleet
            .rotation
            .revocation(version(1), fleet.now)
            .is_complete()
    );
    let _ = fleet.order(Command::Settle).unwrap();
    assert_eq!(fleet.stage_of(1), Some(Stage::Revoked));
}

#[test]
fn a_member_that_cannot_acknowledge_is_given_time() {
    let mut fleet = Fleet::new();
    let day = SECOND * 86_400;
    let register = Command::Register {
        member: member("partner"),
        role: Role::SignerAndVerifier,
        reach: Reach::TimeBound(day),
    };
    let _ = fleet.order(register).unwrap();
    fleet.stage();
    let until = fleet.now.checked_add(day + SECOND * 61).unwrap();
    let blockers = fleet.rotation.activation_blockers(version(2), fleet.now);
    assert_eq!(
        blockers,
        [Blocker::TimeBound {
            member: member("partner"),
            until
        }]
    );
    fleet.now = until;
    fleet.talk();
    fleet.activate(Overlap::Refuse);
    assert_eq!(fleet.stage_of(2), Some(Stage::Active));
    let mut waited = Duration::ZERO;
    while fleet.rotation.can_retire(version(1), fleet.now).is_err() {
        fleet.now = fleet.now.checked_add(SECOND * 60).unwrap();
        waited += SECOND * 60;
        fleet.rotation.tick(fleet.now);
        fleet.talk();
        assert!(waited < day * 2);
    }
    assert!(waited > day);
    let certificate = fleet.rotation.can_retire(version(1), fleet.now).unwrap();
    assert!(
        certificate
            .to_string()
            .contains("partner: by time, not by proof"),
        "{certificate}"
    );
}

#[test]
fn a_rotation_goes_on_past_a_verifier_that_accepts_nothing_any_more() {
    let mut fleet = Fleet::new();
    let _ = fleet.order(Command::Draft).unwrap();
    let secret = SharedSecret::generate(&SystemRandom).unwrap();
    fleet.keyring.insert(version(2), secret).unwrap();
    let version = version(2);
    let _ = fleet.order(Command::Stage { version }).unwrap();
    // The verifier has not heard of it, and its lease runs: it would refuse what it accepts now.
    let repair = |fleet: &mut Fleet| fleet.order(Command::Repair { version });
    let refused = repair(&mut fleet).unwrap_err();
    assert!(matches!(refused, CommandError::Blocked { ref blockers } if blockers.len() == 1));
    let lease = fleet.rotation.policy().lease();
    let mut last = fleet.now;
    while repair(&mut fleet).is_err() {
        last = fleet.now;
        fleet.now = fleet.now.checked_add(SECOND).unwrap();
        assert!(fleet.now.checked_since(last).is_some());
        let blockers = fleet.rotation.activation_blockers(version, fleet.now);
        assert_eq!(blockers.len(), 1, "it still has not proved anything");
    }
    assert_eq!(fleet.stage_of(2), Some(Stage::Active));
    // Whatever it holds, it accepts nothing: neither the old version nor the new one.
    let begun = Timestamp::from_unix_seconds(1_700_000_000).unwrap();
    assert!(last.checked_since(begun).unwrap() >= lease);
    let membership = fleet.verifier.membership();
    assert!(!membership.accepts(SecretVersion::FIRST, last));
    // It comes back, and accepts the new version before it accepts anything.
    fleet.distribute();
    assert!(fleet.verifier.membership().accepts(version, fleet.now));
    assert!(
        fleet
            .rotation
            .activation_blockers(version, fleet.now)
            .is_empty()
    );
}

#[test]
fn a_live_member_is_removed_only_after_its_lease() {
    let mut fleet = Fleet::new();
    let remove = || Command::Remove {
        member: member("prod/verifier"),
    };
    let refused = fleet.order(remove()).unwrap_err().to_string();
    assert!(refused.contains("prod/verifier may act until"), "{refused}");
    fleet.now = fleet.now.checked_add(SECOND * (20 * 60 + 61)).unwrap();
    let _ = fleet.order(remove()).unwrap();
    let acknowledgement = fleet.verifier.acknowledge(fleet.now).unwrap();
    let heard = fleet
        .rotation
        .hear(&acknowledgement, &fleet.keyring, fleet.now);
    assert_eq!(
        heard.unwrap_err(),
        HearError::UnknownMember {
            member: member("prod/verifier")
        }
    );
}

#[test]
fn an_acknowledgement_proves_possession() {
    let mut fleet = Fleet::new();
    let good = fleet.verifier.acknowledge(fleet.now).unwrap();
    let bytes = good.to_bytes();
    assert_eq!(Acknowledgement::from_bytes(&bytes).unwrap(), good);
    assert!(bytes.len() <= Acknowledgement::MAX_BYTES);
    let hear = |bytes: &[u8]| {
        let read = Acknowledgement::from_bytes(bytes)?;
        fleet
            .rotation
            .clone()
            .hear(&read, &fleet.keyring, fleet.now)
            .ok()
    };
    assert!(hear(&bytes).is_some());
    for place in 0..bytes.len() {
        assert!(hear(&bytes[..place]).is_none());
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        assert!(hear(&changed).is_none(), "byte {place}");
    }
    let mut grant = fleet
        .rotation
        .clone()
        .hear(&good, &fleet.keyring, fleet.now)
        .unwrap()
        .grant()
        .unwrap()
        .to_bytes();
    fleet
        .verifier
        .granted(&LeaseGrant::from_bytes(&grant).unwrap())
        .unwrap();
    *grant.last_mut().unwrap() ^= 1;
    let forged = LeaseGrant::from_bytes(&grant).unwrap();
    assert_eq!(
        fleet.verifier.granted(&forged),
        Err(GrantError::NotAuthentic)
    );
    let other = fleet.signer.acknowledge(fleet.now).unwrap();
    let other = fleet
        .rotation
        .hear(&other, &fleet.keyring, fleet.now)
        .unwrap();
    assert_eq!(
        fleet.verifier.granted(other.grant().unwrap()),
        Err(GrantError::NotMine)
    );
}

#[test]
fn a_member_only_goes_forward() {
    let mut fleet = Fleet::new();
    let first = fleet.rotation.ring().clone();
    let mut twin = fleet.rotation.clone();
    fleet.stage();
    let membership = fleet.verifier.membership();
    let stale = membership.consider(&first, fleet.now).unwrap_err();
    assert_eq!(
        stale,
        AdoptError::Stale {
            found: Epoch::new(1),
            held: Epoch::new(2)
        }
    );
    // Another issuer, or this one set back, makes another ring 2.
    let order = Order {
        now: fleet.now,
        ..fleet.next_order()
    };
    let _ = twin.apply(&order, Command::Draft).unwrap();
    let abort = Order {
        id: m2m_secrets::CommandId::from_bytes([9; 16]),
        ..order
    };
    let _ = twin
        .apply(
            &abort,
            Command::Abort {
                version: version(2),
            },
        )
        .unwrap();
    let again = Order {
        id: m2m_secrets::CommandId::from_bytes([8; 16]),
        ..order
    };
    let _ = twin.apply(&again, Command::Draft).unwrap();
    let stage = Order {
        id: m2m_secrets::CommandId::from_bytes([7; 16]),
        ..order
    };
    let _ = twin
        .apply(
            &stage,
            Command::Stage {
                version: version(3),
            },
        )
        .unwrap();
    let forked = fleet
        .verifier
        .membership()
        .consider(twin.ring(), fleet.now)
        .unwrap_err();
    assert_eq!(
        forked,
        AdoptError::Forked {
            epoch: Epoch::new(2)
        }
    );
    let record = fleet.verifier.membership().record();
    let recovered = Membership::recover(&record, fleet.now).unwrap();
    assert_eq!(&recovered, fleet.verifier.membership());
    let snapshot = fleet.rotation.ring();
    assert_eq!(
        Snapshot::from_bytes(&snapshot.to_bytes()).as_ref(),
        Some(snapshot)
    );
}

#[test]
fn a_delivery_opens_for_one_member() {
    let fleet = rotated();
    let key = AeadKey::generate(AeadAlgorithm::Aes256Gcm, &SystemRandom).unwrap();
    let delivery =
        RingDelivery::new(fleet.rotation.ring(), &fleet.keyring, Role::Verifier).unwrap();
    let sealed = delivery.seal(&member("a"), &key, &SystemRandom).unwrap();
    let opened = RingDelivery::open(&sealed, &member("a"), &key).unwrap();
    assert_eq!(opened.snapshot(), fleet.rotation.ring());
    assert!(RingDelivery::open(&sealed, &member("b"), &key).is_none());
    // A signer is given what signs, and never the standby.
    let signer = RingDelivery::new(fleet.rotation.ring(), &fleet.keyring, Role::Signer).unwrap();
    let refused = fleet.verifier.consider(signer, fleet.now).unwrap_err();
    assert!(matches!(refused, AdoptError::Stale { .. }));
    let shorter = signer_bytes(&fleet, &key).len();
    assert!(shorter < sealed.len());
}

fn signer_bytes(fleet: &Fleet, key: &AeadKey) -> Vec<u8> {
    let signer = RingDelivery::new(fleet.rotation.ring(), &fleet.keyring, Role::Signer).unwrap();
    signer.seal(&member("a"), key, &SystemRandom).unwrap()
}

#[test]
fn times_that_would_refuse_calls_make_no_policy() {
    let short = Policy::builder()
        .with_emergency(SECOND * 600)
        .build()
        .unwrap_err();
    let needed = SECOND * (600 + 300 + 120 + 1);
    assert_eq!(
        short,
        PolicyError::EmergencyTooShort {
            found: SECOND * 600,
            needed
        }
    );
    let short = Policy::builder()
        .with_overlap_at_most(SECOND)
        .build()
        .unwrap_err();
    assert_eq!(
        short,
        PolicyError::OverlapTooShort {
            found: SECOND,
            needed
        }
    );
    for found in [Duration::MAX, Duration::ZERO] {
        let refused = Policy::builder().with_lease(found).build().unwrap_err();
        assert_eq!(refused, PolicyError::Time { found });
    }
    let refused = Policy::builder()
        .with_versions_at_most(2)
        .build()
        .unwrap_err();
    assert_eq!(refused, PolicyError::Versions { found: 2 });
    let text = Policy::builder().build().unwrap().to_string();
    assert!(text.contains("refused everywhere after 1261s"), "{text}");
}

/// A source that always gives the same.
struct Broken;

impl SecureRandom for Broken {
    fn fill(&self, _: &mut [u8]) -> Result<(), RandomError> {
        Err(RandomError)
    }
}

#[test]
fn sec_024_without_randomness_nothing_is_sealed_and_nothing_drawn() {
    let fleet = rotated();
    assert_eq!(SharedSecret::generate(&Broken).unwrap_err(), RandomError);
    let key = AeadKey::generate(AeadAlgorithm::Aes256Gcm, &SystemRandom).unwrap();
    let delivery = RingDelivery::new(fleet.rotation.ring(), &fleet.keyring, Role::Verifier);
    assert!(delivery.unwrap().seal(&member("a"), &key, &Broken).is_err());
}

#[test]
fn sec_016_no_secret_is_shown() {
    let fleet = rotated();
    let secret = fleet.keyring.get(SecretVersion::FIRST).unwrap();
    let bytes = secret.expose_secret().expose_secret();
    let shown = format!(
        "{:?} {:?} {:?} {:?} {:?} {:?}",
        fleet.rotation,
        fleet.keyring,
        fleet.verifier,
        fleet.verifier.ring().unwrap(),
        RingDelivery::new(fleet.rotation.ring(), &fleet.keyring, Role::Verifier),
        fleet.rotation.ring(),
    );
    let hex: String = bytes[..4]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let decimal = format!("{}, {}, {}", bytes[0], bytes[1], bytes[2]);
    for form in [hex, decimal] {
        assert!(!shown.to_lowercase().contains(&form), "{form} in {shown}");
    }
}
