//! Rotations in a store: wholly old or wholly new after each failure, one winner among two processes, no
//! older copy, and nothing left of a secret that ended.
#![cfg(feature = "store")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::{RandomError, SecretBytes, SecureRandom, SystemRandom};
use m2m_secrets::{
    Command, CommandError, CommandId, FencingToken, Member, MemberName, Membership, Order, Overlap,
    Policy, Reach, Role, Rotation, SecretName, SecretVersion, Stage, StoredRotation,
    StoredRotationError,
};
use m2m_store::{
    EmbeddedOptions, EmbeddedStore, Failure, FileAnchor, LocalKey, MemoryStore, Store, StoreError,
};
use m2m_types::Timestamp;
use pollster::block_on;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(1_700_000_000 + seconds).unwrap()
}

fn name() -> SecretName {
    SecretName::new("billing").unwrap()
}

fn version(number: u64) -> SecretVersion {
    SecretVersion::new(number).unwrap()
}

fn id(nth: u8) -> CommandId {
    CommandId::from_bytes([nth; 16])
}

fn order(nth: u8, seconds: u64) -> Order {
    Order {
        id: id(nth),
        token: FencingToken::FIRST,
        now: at(seconds),
    }
}

fn begin(store: &Arc<impl Store>) -> StoredRotation {
    let store: Arc<dyn Store> = store.clone();
    let policy = Policy::builder().build().unwrap();
    block_on(StoredRotation::begin(
        store,
        &name(),
        policy,
        id(0),
        at(0),
        &SystemRandom,
    ))
    .unwrap()
}

fn open(store: &Arc<impl Store>) -> StoredRotation {
    let store: Arc<dyn Store> = store.clone();
    block_on(StoredRotation::open(store, &name()))
        .unwrap()
        .unwrap()
}

/// A whole rotation: each step by its number, so that it can be given again.
fn command(rotation: &Rotation, nth: u8, seconds: u64) -> Option<Command> {
    let (version, overlap) = (version(2), Overlap::Refuse);
    Some(match nth {
        1 => Command::Draft,
        2 => Command::Stage { version },
        3 => Command::Activate { version, overlap },
        _ => Command::Retire(
            rotation
                .can_retire(SecretVersion::FIRST, at(seconds))
                .ok()?,
        ),
    })
}

fn give(rotation: &mut StoredRotation, nth: u8) -> Result<(), StoredRotationError> {
    let seconds = u64::from(nth) * 1_000;
    let Some(command) = command(rotation.rotation(), nth, seconds) else {
        return Ok(());
    };
    block_on(rotation.order(&order(nth, seconds), command, &SystemRandom)).map(|_| ())
}

fn secret(rotation: &StoredRotation, number: u64) -> Option<Vec<u8>> {
    let secret = rotation.keyring().get(version(number))?;
    Some(secret.expose_secret().expose_secret().to_vec())
}

#[test]
fn sec_005_each_failure_leaves_the_old_state_or_the_new() {
    let failures = [
        Failure::NotWritten,
        Failure::WrittenButUnknown,
        Failure::NotWrittenAndUnknown,
    ];
    for failure in failures {
        let store = Arc::new(MemoryStore::new());
        let mut rotation = begin(&store);
        for nth in 1..=4 {
            let before = open(&store);
            store.fail_next(failure);
            let answered = give(&mut rotation, nth);
            let after = open(&store);
            let common = before
                .rotation()
                .living()
                .find(|living| secret(&before, living.number()) == secret(&after, living.number()));
            assert!(
                common.is_some(),
                "{failure:?}: the parties share nothing at step {nth}"
            );
            match answered {
                Ok(()) => assert_eq!(after.rotation(), rotation.rotation()),
                Err(_) => assert_eq!(after.rotation(), before.rotation()),
            }
            // Whatever was answered, the same order leads to the same place.
            rotation.reload_now();
            give(&mut rotation, nth).unwrap();
            assert_eq!(open(&store).rotation(), rotation.rotation());
        }
        assert_eq!(
            rotation.rotation().stage(version(1), at(9_000)),
            Some(Stage::Retired)
        );
        assert_eq!(secret(&open(&store), 1), None);
        assert!(secret(&open(&store), 2).is_some());
    }
}

trait Reload {
    fn reload_now(&mut self);
}

impl Reload for StoredRotation {
    fn reload_now(&mut self) {
        block_on(self.reload()).unwrap();
    }
}

#[test]
fn sec_006_of_two_processes_one_rotates() {
    let store = Arc::new(MemoryStore::new());
    let mut one = begin(&store);
    let mut other = open(&store);
    give(&mut one, 1).unwrap();
    let draft = || block_on(async { Command::Draft });
    let late = block_on(other.order(&order(77, 5), draft(), &SystemRandom));
    assert_eq!(late.unwrap_err(), StoredRotationError::Conflict);
    other.reload_now();
    assert_eq!(secret(&other, 2), secret(&one, 2));
    let again = block_on(other.order(&order(77, 5), draft(), &SystemRandom)).unwrap_err();
    assert!(matches!(
        again,
        StoredRotationError::Command(CommandError::Stage { .. })
    ));
    // Whoever takes over is the issuer; the one before gives no more orders, not even after reading.
    let take_over = Order {
        token: FencingToken::new(2),
        ..order(78, 6)
    };
    block_on(other.order(&take_over, Command::TakeOver, &SystemRandom)).unwrap();
    one.reload_now();
    let fenced = give(&mut one, 2).unwrap_err();
    assert!(matches!(
        fenced,
        StoredRotationError::Command(CommandError::FencedOff { .. })
    ));
    let begun = block_on(StoredRotation::begin(
        store.clone(),
        &name(),
        Policy::builder().build().unwrap(),
        id(99),
        at(0),
        &SystemRandom,
    ));
    assert_eq!(begun.unwrap_err(), StoredRotationError::Conflict);
    assert_eq!(block_on(StoredRotation::names(&*store)).unwrap(), [name()]);
}

/// A source that fails.
struct Broken;

impl SecureRandom for Broken {
    fn fill(&self, _: &mut [u8]) -> Result<(), RandomError> {
        Err(RandomError)
    }
}

#[test]
fn sec_024_a_version_without_randomness_is_not_drafted() {
    let store = Arc::new(MemoryStore::new());
    let mut rotation = begin(&store);
    let refused = block_on(rotation.order(&order(1, 1), Command::Draft, &Broken));
    assert_eq!(refused.unwrap_err(), StoredRotationError::Random);
    assert_eq!(open(&store).rotation(), rotation.rotation());
    assert_eq!(rotation.rotation().draft(), None);
}

#[test]
fn a_lease_is_recorded_before_it_is_given() {
    let store = Arc::new(MemoryStore::new());
    let mut rotation = begin(&store);
    let who = MemberName::new("prod/verifier").unwrap();
    let register = Command::Register {
        member: who.clone(),
        role: Role::Verifier,
        reach: Reach::Acknowledges,
    };
    block_on(rotation.order(&order(50, 1), register, &SystemRandom)).unwrap();
    let membership = Membership::new(who.clone(), name(), Role::Verifier);
    let mut member = Member::new(membership, Vec::new()).unwrap();
    let adoption = member
        .consider(rotation.delivery(Role::Verifier).unwrap(), at(1))
        .unwrap();
    member.adopt(adoption, at(1)).unwrap();
    let acknowledgement = member.acknowledge(at(1)).unwrap();
    store.fail_next(Failure::NotWritten);
    let refused = block_on(rotation.hear(&acknowledgement, at(1), &SystemRandom));
    assert!(matches!(
        refused,
        Err(StoredRotationError::Store(StoreError::Unavailable { .. }))
    ));
    let heard = block_on(rotation.hear(&acknowledgement, at(1), &SystemRandom)).unwrap();
    member.granted(heard.grant().unwrap()).unwrap();
    // Another process knows that this member may act.
    let mut other = open(&store);
    let remove = Command::Remove { member: who };
    let refused = block_on(other.order(&order(51, 2), remove, &SystemRandom)).unwrap_err();
    assert!(matches!(
        refused,
        StoredRotationError::Command(CommandError::Blocked { .. })
    ));
    // Two leases long nothing has to be recorded.
    let later = at(1).saturating_add(Duration::from_secs(300));
    let before = open(&store);
    let again = member.acknowledge(later).unwrap();
    assert!(
        block_on(rotation.hear(&again, later, &SystemRandom))
            .unwrap()
            .grant()
            .is_some()
    );
    assert_eq!(open(&store).rotation(), before.rotation());
}

fn options(directory: &Path) -> EmbeddedOptions {
    let key = SecretBytes::new(vec![7; LocalKey::BYTES]);
    let anchor = FileAnchor::new(directory.join("anchor"));
    EmbeddedOptions::new(Arc::new(LocalKey::new(key).unwrap())).with_anchor(Arc::new(anchor))
}

#[test]
fn sec_008_an_older_copy_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (path, copy) = (
        directory.path().join("state"),
        directory.path().join("copy"),
    );
    let store = Arc::new(EmbeddedStore::create(&path, &options(directory.path())).unwrap());
    let mut rotation = begin(&store);
    for nth in 1..=3 {
        give(&mut rotation, nth).unwrap();
    }
    drop(rotation);
    Arc::into_inner(store).unwrap().close().unwrap();
    std::fs::copy(&path, &copy).unwrap();
    let store = Arc::new(EmbeddedStore::open(&path, &options(directory.path())).unwrap());
    give(&mut open(&store), 4).unwrap();
    assert_eq!(
        open(&store).rotation().stage(version(1), at(0)),
        Some(Stage::Retired)
    );
    Arc::into_inner(store).unwrap().close().unwrap();
    std::fs::copy(&copy, &path).unwrap();
    let older = EmbeddedStore::open(&path, &options(directory.path()));
    assert!(
        older.is_err(),
        "a copy in which version 1 is alive was opened"
    );
}

#[test]
fn sec_026_nothing_is_left_of_a_version_that_ended() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let store = Arc::new(EmbeddedStore::create(&path, &options(directory.path())).unwrap());
    let mut rotation = begin(&store);
    let first = secret(&rotation, 1).unwrap();
    // Where the sealed secret lies, its key stands in the clear.
    let place = [name().as_str().as_bytes(), b"\0", &1_u64.to_be_bytes()].concat();
    let holds = |part: &[u8]| {
        let files = std::fs::read_dir(directory.path()).unwrap();
        let mut files = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
        files.any(|bytes| bytes.windows(part.len()).any(|window| window == part))
    };
    assert!(holds(&place));
    for nth in 1..=4 {
        give(&mut rotation, nth).unwrap();
        assert!(!holds(&first), "the secret is in the clear");
    }
    let head = store.head().revision();
    block_on(store.prune_tombstones(head)).unwrap();
    block_on(store.compact()).unwrap();
    drop(rotation);
    Arc::into_inner(store).unwrap().close().unwrap();
    assert!(!holds(&place), "the record of version 1 is still in a file");
    assert!(!holds(&first));
}
