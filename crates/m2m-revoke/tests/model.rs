//! The set against a map that does the same in the plainest way.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

use std::collections::HashMap;

use m2m_revoke::{REVOCATION_MARGIN, Revocation, RevocationSnapshot, Revocations, Target};
use m2m_types::Timestamp;
use proptest::prelude::*;

/// Far enough that nothing underflows, near enough that entries expire.
const START: u64 = 1_700_000_000;

#[derive(Clone, Debug)]
struct One {
    name: u16,
    expires: u64,
    until: Option<u64>,
}

#[derive(Clone, Debug)]
enum Step {
    Revoke(One),
    RevokeMany(Vec<One>),
    /// So many distinct tokens that the tail grows and is merged.
    RevokeRun {
        first: u16,
        length: u16,
        expires: u64,
        at_once: bool,
    },
    Compact(u64),
    /// Keeps a snapshot for [`Step::MergeKept`].
    Keep,
    MergeKept,
    /// Goes on from the bytes.
    Restart,
}

#[derive(Clone)]
struct Model {
    /// Until when an entry is kept, and up to which second of issue it reaches.
    entries: HashMap<u16, (u64, u64)>,
    horizon: u64,
}

impl Model {
    fn revoke(&mut self, one: &One) {
        let kept_until = one.expires + REVOCATION_MARGIN.as_secs();
        self.unite(one.name, (kept_until, one.until.unwrap_or(u64::MAX)));
    }

    fn unite(&mut self, name: u16, term: (u64, u64)) {
        let held = self.entries.entry(name).or_default();
        *held = (held.0.max(term.0), held.1.max(term.1));
    }

    fn merge(&mut self, other: &Self) {
        for (name, term) in &other.entries {
            self.unite(*name, *term);
        }
        self.horizon = self.horizon.max(other.horizon);
    }

    fn compact(&mut self, now: u64) {
        let line = now.min(self.horizon + REVOCATION_MARGIN.as_secs());
        self.entries.retain(|_, (kept_until, _)| *kept_until > line);
        self.horizon = self.horizon.max(line);
    }

    fn is_revoked(&self, name: u16, issued_at: Option<u64>, now: u64) -> bool {
        self.entries.get(&name).is_some_and(|(kept_until, until)| {
            now < *kept_until && issued_at.is_none_or(|at| at <= *until)
        })
    }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds).unwrap()
}

/// Runs `use_target` with the target of a number; the lowest numbers are of all kinds.
fn with_target<R>(name: u16, use_target: impl FnOnce(Target<'_>) -> R) -> R {
    let text = format!("name-{name}");
    let issuer = "https://issuer.example";
    let mut thumbprint = [0; 32];
    thumbprint[..2].copy_from_slice(&name.to_le_bytes());
    let service = format!("spiffe://example.org/{name}").parse::<m2m_types::ServiceId>();
    let service = service.unwrap();
    use_target(match name {
        0..8 => match name {
            0 => Target::Subject {
                issuer,
                subject: &text,
            },
            1 => Target::Service(service.as_ref()),
            2 => Target::Session { issuer, sid: &text },
            3 => Target::Certificate {
                issuer: issuer.as_bytes(),
                serial: text.as_bytes(),
            },
            4 => Target::CertificateThumbprint(&thumbprint),
            5 => Target::Key {
                issuer,
                thumbprint: &thumbprint,
            },
            _ => Target::SecretVersion {
                name: issuer,
                version: u64::from(name),
            },
        },
        _ => Target::Token { issuer, jti: &text },
    })
}

fn time() -> impl Strategy<Value = u64> {
    START..START + 4_000
}

fn one() -> impl Strategy<Value = One> {
    (0..24_u16, time(), proptest::option::of(time())).prop_map(|(name, expires, until)| One {
        name,
        expires,
        until,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => one().prop_map(Step::Revoke),
        3 => proptest::collection::vec(one(), 0..8).prop_map(Step::RevokeMany),
        1 => (8..4_000_u16, 400..6_000_u16, time(), any::<bool>()).prop_map(
            |(first, length, expires, at_once)| Step::RevokeRun { first, length, expires, at_once }
        ),
        4 => (START - 2_000..START + 9_000).prop_map(Step::Compact),
        2 => Just(Step::Keep),
        2 => Just(Step::MergeKept),
        2 => Just(Step::Restart),
    ]
}

fn many(revocations: &Revocations, ones: &[One]) {
    // Targets borrow their names, so those are made first.
    let texts: Vec<String> = ones
        .iter()
        .map(|one| format!("name-{}", one.name))
        .collect();
    let all = ones.iter().zip(&texts).filter(|(one, _)| one.name >= 8);
    let tokens = all.map(|(one, text)| {
        let target = Target::Token {
            issuer: "https://issuer.example",
            jti: text,
        };
        let revocation = Revocation::of(target, at(one.expires));
        match one.until {
            Some(until) => revocation.with_issued_until(at(until)),
            None => revocation,
        }
    });
    revocations.revoke_many(tokens).unwrap();
    for one in ones.iter().filter(|one| one.name < 8) {
        revoke(revocations, one);
    }
}

fn revoke(revocations: &Revocations, one: &One) {
    with_target(one.name, |target| match one.until {
        Some(until) => revocations.revoke_issued_until(target, at(until), at(one.expires)),
        None => revocations.revoke(target, at(one.expires)),
    })
    .unwrap();
}

fn restarted(revocations: &Revocations) -> Revocations {
    let bytes = revocations.snapshot().unwrap().as_bytes().to_vec();
    Revocations::from_snapshot(RevocationSnapshot::from_bytes(bytes).unwrap())
}

fn assert_same(revocations: &Revocations, model: &Model, now: u64, issued_at: Option<u64>) {
    let names = (0..24).chain([100, 1_000, 3_999, 5_000, 9_999]);
    for name in names {
        let refused = with_target(name, |target| {
            revocations
                .check(&target, issued_at.map(at), at(now))
                .is_err()
        });
        let expected = model.is_revoked(name, issued_at, now);
        assert_eq!(refused, expected, "{name} issued {issued_at:?} at {now}");
    }
    assert_eq!(revocations.stats().entries(), model.entries.len() as u64);
    assert_eq!(revocations.stats().compacted_until(), at(model.horizon));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sto_010_the_set_answers_as_a_map_does_through_growth_restart_merge_and_compaction(
        steps in proptest::collection::vec(step(), 1..24),
        now in START - 100..START + 5_000,
        issued_at in proptest::option::of(time()),
    ) {
        let mut revocations = Revocations::new([3; 16], at(START));
        let mut model = Model { entries: HashMap::new(), horizon: START };
        let mut kept = (revocations.snapshot().unwrap(), model.clone());
        for step in steps {
            match step {
                Step::Revoke(one) => {
                    revoke(&revocations, &one);
                    model.revoke(&one);
                }
                Step::RevokeMany(ones) => {
                    many(&revocations, &ones);
                    ones.iter().for_each(|one| model.revoke(one));
                }
                Step::RevokeRun { first, length, expires, at_once } => {
                    let run: Vec<One> = (first..first + length)
                        .map(|name| One { name, expires, until: None })
                        .collect();
                    if at_once {
                        many(&revocations, &run);
                    } else {
                        run.iter().for_each(|one| revoke(&revocations, one));
                    }
                    run.iter().for_each(|one| model.revoke(one));
                }
                Step::Compact(now) => {
                    let before = model.entries.len() as u64;
                    model.compact(now);
                    let done = revocations.compact(at(now)).unwrap();
                    prop_assert_eq!(done.kept(), model.entries.len() as u64);
                    prop_assert_eq!(done.dropped(), before - done.kept());
                }
                Step::Keep => kept = (revocations.snapshot().unwrap(), model.clone()),
                Step::MergeKept => {
                    revocations.merge(&kept.0).unwrap();
                    model.merge(&kept.1);
                }
                Step::Restart => revocations = restarted(&revocations),
            }
            assert_same(&revocations, &model, now, issued_at);
        }
    }
}
