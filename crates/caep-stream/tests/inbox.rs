//! What a receiver was told is recorded before it is acknowledged, and acted upon once.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

use std::sync::Arc;
use std::time::Duration;

use caep_set::{
    AuthenticSet, Profile, SecurityEvent, SessionRevoked, SetMinter, SetVerifier, SubjectId,
    Verdict,
};
use caep_stream::{Finished, Inbox, InboxError, Recorded};
use m2m_crypto::{Algorithm, RandomError, SecureRandom, SigningKey, SystemRandom};
use m2m_store::{Batch, Expected, Failure, Key, MemoryStore, Space, Store, StoreError};
use m2m_token::{Audience, Issuers, Scratch, SigningKeyRing};
use m2m_types::Timestamp;
use pollster::block_on;

const NOW: u64 = 1_790_000_000;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds).unwrap()
}

/// Two transmitters, and a receiver that knows both.
struct World {
    minters: [SetMinter; 2],
    verifier: SetVerifier,
}

impl World {
    fn new() -> Self {
        let ring = || {
            let key = SigningKey::generate(Algorithm::Ed25519, &SystemRandom).unwrap();
            Arc::new(SigningKeyRing::new(key, Duration::from_secs(3600)).unwrap())
        };
        let rings = [ring(), ring()];
        let names = ["https://a.example", "https://b.example"];
        let issuers = Issuers::one(names[0], rings[0].verifying_keys())
            .and(names[1], rings[1].verifying_keys());
        let profile = Profile::ssf().with_critical_subject_members(["tenant"]);
        Self {
            minters: [0, 1].map(|n| SetMinter::new(names[n], Arc::clone(&rings[n])).unwrap()),
            verifier: SetVerifier::new(issuers, Audience::exactly("https://rc.example"), profile)
                .unwrap(),
        }
    }

    fn set_about(&self, from: usize, jti: &str, subject: SubjectId) -> AuthenticSet {
        let event = SecurityEvent::new(subject, SessionRevoked::new()).with_transaction("t");
        let minter = &self.minters[from];
        let template = minter.template(&event, at(NOW)).unwrap();
        let set = minter
            .mint_named(&template, "https://rc.example", jti)
            .unwrap();
        self.verifier
            .verify(&set, at(NOW), &mut Scratch::new())
            .unwrap()
    }

    fn set(&self, from: usize, jti: &str) -> AuthenticSet {
        self.set_about(
            from,
            jti,
            SubjectId::opaque(&format!("session-{jti}")).unwrap(),
        )
    }

    fn inbox(&self, store: &Arc<dyn Store>) -> Inbox {
        Inbox::new(Arc::clone(store), "test", self.verifier.profile().clone()).unwrap()
    }
}

fn record(inbox: &Inbox, set: &AuthenticSet, now: u64) -> Result<Recorded, InboxError> {
    block_on(inbox.record(set, at(now), &SystemRandom))
}

fn memory() -> (Arc<MemoryStore>, Arc<dyn Store>) {
    let store = Arc::new(MemoryStore::new());
    (Arc::clone(&store), store)
}

fn counter() -> Key {
    Key::new(&Space::new("effects").unwrap(), b"count").unwrap()
}

/// Acts upon what is pending: counts it in the store, in the commit that finishes it.
fn act(inbox: &Inbox, store: &Arc<dyn Store>) -> usize {
    let mut done = 0;
    for set in block_on(inbox.pending(100)).unwrap() {
        let found = block_on(store.get(&counter())).unwrap();
        let expected = found
            .as_ref()
            .map_or(Expected::Absent, |r| Expected::Version(r.version()));
        let count = found.map_or(0, |r| r.value().as_bytes()[0]) + 1;
        let effects = |batch: Batch| batch.put(counter(), expected, &[count][..]);
        if block_on(inbox.finish(&set, effects, &SystemRandom)) == Ok(Finished::Now) {
            done += 1;
        }
    }
    done
}

fn effects(store: &Arc<dyn Store>) -> u8 {
    block_on(store.get(&counter()))
        .unwrap()
        .map_or(0, |record| record.value().as_bytes()[0])
}

#[test]
fn a_set_is_recorded_once_however_often_it_comes() {
    let world = World::new();
    let (_, store) = memory();
    let inbox = world.inbox(&store);
    let set = world.set(0, "1");
    assert_eq!(record(&inbox, &set, NOW), Ok(Recorded::New));
    assert_eq!(record(&inbox, &set, NOW + 1), Ok(Recorded::Repeated));
    // The same name, and another transmitter's: another SET.
    assert_eq!(
        record(&inbox, &world.set(1, "1"), NOW + 2),
        Ok(Recorded::New)
    );
    assert_eq!(
        record(&inbox, &world.set(0, "2"), NOW + 3),
        Ok(Recorded::New)
    );
    let pending = block_on(inbox.pending(10)).unwrap();
    let names: Vec<_> = pending
        .iter()
        .map(|set| (set.token().issuer(), set.token().token_id()))
        .collect();
    assert_eq!(
        names,
        [
            ("https://a.example", "1"),
            ("https://b.example", "1"),
            ("https://a.example", "2")
        ],
        "the oldest first"
    );
    assert_ne!(pending[0].effect_key(), pending[1].effect_key());
    assert_eq!(pending[0].token(), set.token().unwrap());
    assert_eq!(act(&inbox, &store), 3);
    assert!(block_on(inbox.pending(10)).unwrap().is_empty());
    assert_eq!(
        record(&inbox, &set, NOW + 9),
        Ok(Recorded::Repeated),
        "also when it was acted upon"
    );
    assert_eq!(act(&inbox, &store), 0);
    assert_eq!(effects(&store), 3);
}

#[test]
fn set_016_whatever_fails_between_nothing_is_lost_and_nothing_done_twice() {
    let world = World::new();
    for failure in [
        Failure::NotWritten,
        Failure::WrittenButUnknown,
        Failure::NotWrittenAndUnknown,
    ] {
        let (memory, store) = memory();
        let set = world.set(0, "1");

        // The commit that records it fails: not acknowledged, or recorded.
        memory.fail_next(failure);
        let first = record(&world.inbox(&store), &set, NOW);
        let pending = block_on(world.inbox(&store).pending(10)).unwrap().len();
        assert_eq!(pending == 1, first == Ok(Recorded::New), "{failure:?}");
        // It comes again, to a process that knows nothing of the first.
        let again = record(&world.inbox(&store), &set, NOW + 5);
        assert!(
            matches!(again, Ok(Recorded::New | Recorded::Repeated)),
            "{failure:?}"
        );
        assert_eq!(
            block_on(world.inbox(&store).pending(10)).unwrap().len(),
            1,
            "{failure:?}"
        );

        // The commit that finishes it fails: pending still, or done.
        memory.fail_next(failure);
        act(&world.inbox(&store), &store);
        act(&world.inbox(&store), &store);
        assert_eq!(effects(&store), 1, "{failure:?}");
        assert!(
            block_on(world.inbox(&store).pending(10))
                .unwrap()
                .is_empty()
        );
        assert_eq!(
            record(&world.inbox(&store), &set, NOW + 9),
            Ok(Recorded::Repeated)
        );
    }
}

/// Two workers have read the same pending SET: one of them does it.
#[test]
fn of_two_who_act_upon_one_set_one_writes() {
    let world = World::new();
    let (_, store) = memory();
    let inbox = world.inbox(&store);
    record(&inbox, &world.set(0, "1"), NOW).unwrap();
    let (one, two) = (
        block_on(inbox.pending(1)).unwrap(),
        block_on(inbox.pending(1)).unwrap(),
    );
    let put = |batch: Batch| batch.put(counter(), Expected::Anything, &[7][..]);
    assert_eq!(
        block_on(inbox.finish(&one[0], put, &SystemRandom)),
        Ok(Finished::Now)
    );
    let put = |batch: Batch| batch.put(counter(), Expected::Anything, &[8][..]);
    assert_eq!(
        block_on(inbox.finish(&two[0], put, &SystemRandom)),
        Ok(Finished::Before)
    );
    assert_eq!(effects(&store), 7);
    // An effect that cannot be written leaves it pending.
    record(&inbox, &world.set(0, "2"), NOW).unwrap();
    let pending = block_on(inbox.pending(1)).unwrap();
    let conflict = |batch: Batch| batch.put(counter(), Expected::Absent, &[9][..]);
    let error = block_on(inbox.finish(&pending[0], conflict, &SystemRandom)).unwrap_err();
    assert!(matches!(
        error,
        InboxError::Store(StoreError::Conflict { .. })
    ));
    assert_eq!(block_on(inbox.pending(9)).unwrap().len(), 1);
}

#[test]
fn what_is_not_understood_is_recorded_and_not_acted_upon() {
    let world = World::new();
    let (_, store) = memory();
    let inbox = world.inbox(&store);
    let tenant = r#"{"format":"complex","tenant":{"format":"x-unknown","id":"1"}}"#;
    let set = world.set_about(0, "1", SubjectId::from_json(tenant).unwrap());
    assert_eq!(set.verdict(), Verdict::Discard);
    assert_eq!(record(&inbox, &set, NOW), Ok(Recorded::Discarded));
    assert_eq!(record(&inbox, &set, NOW), Ok(Recorded::Repeated));
    assert!(block_on(inbox.pending(9)).unwrap().is_empty());
}

#[test]
fn names_are_forgotten_behind_the_window_and_not_before() {
    let world = World::new();
    let (_, store) = memory();
    let inbox = world.inbox(&store);
    for jti in 0..450 {
        record(&inbox, &world.set(0, &jti.to_string()), NOW + jti).unwrap();
    }
    let window = Duration::from_secs(1000);
    let forget = |now: u64| {
        let (mut forgotten, mut after) = (0, None);
        loop {
            let forget = inbox.forget(at(now), window, after.take(), &SystemRandom);
            let (count, next) = block_on(forget).unwrap();
            forgotten += count;
            match next {
                Some(next) => after = Some(next),
                None => return forgotten,
            }
        }
    };
    assert_eq!(forget(NOW + 1000), 0);
    assert_eq!(forget(NOW + 1100), 100);
    assert_eq!(
        record(&inbox, &world.set(0, "100"), NOW + 1100),
        Ok(Recorded::Repeated)
    );
    assert_eq!(forget(NOW + 9999), 350);
}

struct Broken;

impl SecureRandom for Broken {
    fn fill(&self, _: &mut [u8]) -> Result<(), RandomError> {
        Err(RandomError)
    }
}

#[test]
fn what_cannot_be_recorded_is_not_acknowledged() {
    let world = World::new();
    let (_, store) = memory();
    let inbox = world.inbox(&store);
    let set = world.set(0, "1");
    let error = block_on(inbox.record(&set, at(NOW), &Broken)).unwrap_err();
    assert_eq!(error, InboxError::Random(RandomError));
    for name in ["", "Upper", "with space", "seventeen-letters", "a/b"] {
        let inbox = Inbox::new(Arc::clone(&store), name, Profile::ssf());
        assert!(matches!(inbox, Err(InboxError::Name { .. })), "{name}");
    }
    // A record that nobody can read is not passed over.
    let space = Space::new("set-new-test").unwrap();
    let batch = Batch::new(m2m_store::IdempotencyKey::from_bytes([1; 16]));
    let batch = batch.put(
        Key::new(&space, b"\0").unwrap(),
        Expected::Absent,
        b"rubbish".as_slice(),
    );
    block_on(store.commit(batch)).unwrap();
    assert!(matches!(
        block_on(inbox.pending(9)),
        Err(InboxError::Record { .. })
    ));
}

/// On a file: the process is gone after each step.
#[test]
fn an_inbox_survives_its_process() {
    use m2m_store::EmbeddedStore;

    let world = World::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let options = common_options();
    EmbeddedStore::create(&path, &options)
        .unwrap()
        .close()
        .unwrap();
    let open = || -> Arc<dyn Store> { Arc::new(EmbeddedStore::open(&path, &options).unwrap()) };
    for (jti, expected) in [
        ("1", Recorded::New),
        ("2", Recorded::New),
        ("1", Recorded::Repeated),
    ] {
        let store = open();
        assert_eq!(
            record(&world.inbox(&store), &world.set(0, jti), NOW),
            Ok(expected)
        );
    }
    let store = open();
    assert_eq!(act(&world.inbox(&store), &store), 2);
    drop(store);
    let store = open();
    assert_eq!(act(&world.inbox(&store), &store), 0);
    assert_eq!(effects(&store), 2);
}

fn common_options() -> m2m_store::EmbeddedOptions {
    let key = m2m_crypto::SecretBytes::new(vec![1; m2m_store::LocalKey::BYTES]);
    m2m_store::EmbeddedOptions::new(Arc::new(m2m_store::LocalKey::new(key).unwrap()))
}
