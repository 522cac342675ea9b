//! Two threads that verify, one after the other, a token that one verifier has in its cache. What each
//! reads and writes meanwhile, valgrind's lackey tells; `.ci/shared_lines` looks for memory that one of
//! them writes and the other uses too. Phases are marked by stores to a place whose address is printed.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use m2m_crypto::{Algorithm, MacKey, SecretBytes, SystemRandom};
use m2m_revoke::{Revocations, Target};
use m2m_token::{
    Audience, Issuers, Minter, Scratch, SigningKeyRing, TokenRequest, TokenType, Verifier,
};
use m2m_types::Timestamp;

const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "https://ledger.example";

/// On a cache line of its own: whoever marks touches nothing else.
#[repr(align(128))]
struct Mark(AtomicU64);

static MARK: Mark = Mark(AtomicU64::new(0));

/// Verifies `times` times in each of two threads; if `counts`, each of them also takes a share in the
/// verifier at each call, as is easily done, and that must be found.
pub(crate) fn warm(times: usize, counts: bool) {
    println!("{:x}", MARK.0.as_ptr() as usize);
    let now = Timestamp::from_unix_seconds(1_700_000_000).expect("before the year 9999");
    let (verifier, token) = world(now);
    let ready = Arc::new(Barrier::new(3));
    let threads = [1, 3].map(|phase| {
        let (go, gone) = channel::<()>();
        let (verifier, token, ready) = (Arc::clone(&verifier), token.clone(), Arc::clone(&ready));
        let thread = thread::spawn(move || {
            let mut scratch = Scratch::new();
            // What a thread does but once is not meant.
            verify(&verifier, &token, now, &mut scratch, 3, counts);
            ready.wait();
            gone.recv().expect("it is told to go");
            MARK.0.store(phase, Ordering::SeqCst);
            verify(&verifier, &token, now, &mut scratch, times, counts);
            MARK.0.store(phase + 1, Ordering::SeqCst);
        });
        (go, thread)
    });
    ready.wait();
    for (go, thread) in threads {
        go.send(()).expect("it waits");
        thread.join().expect("it verifies");
    }
}

#[inline(never)]
fn verify(
    verifier: &Arc<Verifier>,
    token: &str,
    now: Timestamp,
    scratch: &mut Scratch,
    times: usize,
    counts: bool,
) {
    for _ in 0..times {
        let share = counts.then(|| Arc::clone(verifier));
        let verified = verifier.verify(black_box(token), now, scratch);
        assert!(verified.expect("it verifies").was_cached());
        drop(black_box(share));
    }
}

/// A verifier with revocations that has the token in its cache.
fn world(now: Timestamp) -> (Arc<Verifier>, String) {
    let lifetime = Duration::from_secs(300);
    let secret = SecretBytes::new((1..=32).collect());
    let key = MacKey::new(Algorithm::Hs256, secret).expect("a sound secret");
    let ring = Arc::new(SigningKeyRing::secret("2026-11", key, lifetime).expect("a sound key"));
    let revocations = Arc::new(Revocations::new([7; 16], now));
    let other = Target::Token {
        issuer: ISSUER,
        jti: "another",
    };
    revocations.revoke(other, Timestamp::MAX).expect("room");
    let issuers = Issuers::one(ISSUER, ring.verifying_keys());
    let audience = Audience::exactly(AUDIENCE);
    let verifier = Verifier::builder(issuers, audience, TokenType::access_token())
        .with_revocations(revocations)
        .with_cache(1 << 16, &SystemRandom)
        .expect("the system has randomness")
        .build()
        .expect("a sound policy");
    let minter = Minter::new(ISSUER, TokenType::access_token(), ring).expect("a name");
    let request = TokenRequest::new("orders", AUDIENCE, lifetime).with_client_id("orders-1");
    let token = minter.mint(&request, now, &SystemRandom);
    let token = token.expect("it is minted");
    let mut scratch = Scratch::new();
    let first = verifier.verify(&token, now, &mut scratch);
    assert!(!first.expect("it verifies").was_cached());
    (Arc::new(verifier), token)
}
