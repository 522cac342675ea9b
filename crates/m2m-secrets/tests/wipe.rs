//! What is left of keys, peppers and roots in freed memory: this program's allocator keeps a copy of
//! every block that is given back.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]
#![allow(
    unsafe_code,
    reason = "an allocator that reads what is freed cannot be written without"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::{SecretBytes, SystemRandom};
use m2m_secrets::{
    ClientKeys, Generation, KeyFormat, KeyHasher, KeyScanner, KeyTable, PairRoot, Parties,
    PeerFloors, PepperVersion, RootVersion, SharedSecret,
};
use m2m_types::{ServiceId, Timestamp};

struct Watcher;

const CAPACITY: usize = 1 << 20;

struct Freed {
    is_on: Cell<bool>,
    used: Cell<usize>,
    bytes: UnsafeCell<[u8; CAPACITY]>,
}

thread_local! {
    static FREED: Freed = const {
        Freed { is_on: Cell::new(false), used: Cell::new(0), bytes: UnsafeCell::new([0; CAPACITY]) }
    };
}

#[global_allocator]
static WATCHER: Watcher = Watcher;

// SAFETY: every call is `System`'s, unchanged but for zeroing what is given out. A block that is given
// back is only read, and is valid for its size until `System` has it. `realloc` is the default one and
// made of these two.
unsafe impl GlobalAlloc for Watcher {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let _ = FREED.try_with(|freed| {
            let used = freed.used.get();
            if freed.is_on.get() && used + layout.size() + 8 <= CAPACITY {
                // SAFETY: the block is readable (above), the buffer is this thread's, has room, and is
                // not borrowed while recording is on.
                unsafe {
                    let to = freed.bytes.get().cast::<u8>().add(used);
                    std::ptr::copy_nonoverlapping(block, to, layout.size());
                }
                freed.used.set(used + layout.size() + 8); // zeroes between blocks
            }
        });
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }
}

/// The content of all blocks that `run` gave back.
fn freed_by(run: impl FnOnce()) -> Vec<u8> {
    FREED.with(|freed| {
        // SAFETY: recording is off: nobody else looks at the buffer.
        unsafe { (*freed.bytes.get()).fill(0) };
        freed.used.set(0);
        freed.is_on.set(true);
        run();
        freed.is_on.set(false);
        assert!(
            freed.used.get() + 100_000 < CAPACITY,
            "more than can be looked at"
        );
        // SAFETY: as above.
        unsafe { (&(*freed.bytes.get()))[..freed.used.get()].to_vec() }
    })
}

fn has_part_of(memory: &[u8], secret: &[u8]) -> bool {
    secret
        .windows(8)
        .any(|part| memory.windows(8).any(|window| window == part))
}

fn now() -> Timestamp {
    Timestamp::from_unix_seconds(1_700_000_000).unwrap()
}

fn format() -> KeyFormat {
    KeyFormat::new("acme", "live").unwrap()
}

const CANARY: [u8; 32] = *b"canary: not by accident anywhere";

fn shared() -> SharedSecret {
    SharedSecret::new(SecretBytes::from(&CANARY[..])).unwrap()
}

fn hasher() -> KeyHasher {
    KeyHasher::new(format(), PepperVersion::new(1).unwrap(), &shared()).unwrap()
}

/// The secret part, kept where nothing is freed: on the stack.
fn secret_of(text: &str) -> [u8; 32] {
    text.as_bytes()[22..54].try_into().unwrap()
}

#[test]
fn the_watcher_sees_what_is_not_wiped() {
    assert!(has_part_of(
        &freed_by(|| drop(black_box(CANARY.to_vec()))),
        &CANARY
    ));
}

#[test]
fn keys_leave_nothing_when_they_are_made_used_and_dropped() {
    let mut secrets = [[0; 32]; 4];
    let freed = freed_by(|| {
        let hasher = Arc::new(hasher());
        let owner: ServiceId = "spiffe://example.org/a".parse().unwrap();
        let (mut client, first) = ClientKeys::issue(owner, &hasher, &SystemRandom, now()).unwrap();
        let day = Duration::from_secs(86_400);
        let second = client.rotate(&hasher, day, &SystemRandom, now()).unwrap();
        let table = KeyTable::build(Arc::clone(&hasher), [&client], &SystemRandom, now()).unwrap();
        for (issued, secret) in [&first, &second].into_iter().zip(&mut secrets) {
            let text = issued.key().expose_secret();
            *secret = secret_of(text);
            table.check(text.as_bytes(), now()).unwrap();
            assert!(table.check(&text.as_bytes()[1..], now()).is_err());
        }
        let leaked = first.key().id();
        client
            .report_leak(leaked, &hasher, &SystemRandom, now())
            .unwrap();
        let format = format();
        let key = format.generate(&SystemRandom).unwrap();
        secrets[2] = secret_of(key.expose_secret());
        let scanner = KeyScanner::new(vec![format]).unwrap();
        let _ = black_box(scanner.redact(key.expose_secret().as_bytes()));
        assert_eq!(scanner.find_in(key.expose_secret().as_bytes()).count(), 1);
    });
    assert!(freed.len() > 1_000);
    for secret in &secrets[..3] {
        assert!(!has_part_of(&freed, secret));
    }
}

#[test]
fn a_dropped_pepper_leaves_nothing() {
    let freed = freed_by(|| drop(hasher()));
    assert!(!has_part_of(&freed, &CANARY));
    // Nor what was derived from it.
    let hkdf = m2m_crypto::Hkdf::extract(
        m2m_crypto::HkdfHash::Sha256,
        b"m2m-secrets api key 1",
        shared().expose_secret(),
    );
    let derived = hkdf.expand(&[b"acme_live_"], 32).unwrap();
    assert!(!has_part_of(&freed, derived.expose_secret()));
}

#[test]
fn roots_and_keys_of_pairs_leave_nothing() {
    let one: ServiceId = "spiffe://example.org/one".parse().unwrap();
    let two: ServiceId = "spiffe://example.org/two".parse().unwrap();
    let parties = Parties::pair(&one, &two).unwrap();
    let root = PairRoot::new(&shared(), RootVersion(1));
    let kept = root.secret(&parties, Generation::FIRST);
    let freed = freed_by(|| {
        let floors = PeerFloors::new(&SystemRandom).unwrap();
        let root = PairRoot::new(&shared(), RootVersion(1));
        drop(root.secret(&parties, Generation::FIRST));
        drop(root.key(&parties, Generation::FIRST));
        drop(root.for_verifier(&one));
        let tag = root.sign(&parties, Generation::FIRST, b"m");
        root.verify(&parties, Generation::FIRST, &floors, b"m", &tag)
            .unwrap();
    });
    assert!(!has_part_of(&freed, &CANARY));
    assert!(!has_part_of(&freed, kept.expose_secret()));
}
