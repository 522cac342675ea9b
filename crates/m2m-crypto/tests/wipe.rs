//! What is left of a secret in freed memory: the allocator of this program looks at each block
//! before it lets go of it.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that panics has failed; a skipped one must be heard of"
)]
#![allow(
    unsafe_code,
    reason = "an allocator that reads what is freed cannot be written without"
)]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
use std::hint::black_box;

use m2m_crypto::{
    AeadAlgorithm, AeadKey, Algorithm, Hkdf, HkdfHash, MacKey, SecretBytes, SigningKey,
    SystemRandom,
};
use support::{backends, sign, signing_key};

/// Copies every freed block of the recording thread into a fixed buffer: looking must not allocate.
struct Watcher;

const CAPACITY: usize = 1 << 20;

struct Freed {
    on: Cell<bool>,
    used: Cell<usize>,
    bytes: UnsafeCell<[u8; CAPACITY]>,
}

thread_local! {
    static FREED: Freed = const {
        Freed { on: Cell::new(false), used: Cell::new(0), bytes: UnsafeCell::new([0; CAPACITY]) }
    };
}

#[global_allocator]
static WATCHER: Watcher = Watcher;

// SAFETY: every call goes to `System` unchanged; before a block is freed it is only read, and it is
// valid for `layout.size()` bytes until then. `realloc` is the default one, made of these two, so a
// moved block is seen as freed.
unsafe impl GlobalAlloc for Watcher {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Zeroed, so that bytes never written by the owner are not taken for leftovers.
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let _ = FREED.try_with(|freed| {
            if !freed.on.get() || freed.used.get() + layout.size() + 8 > CAPACITY {
                return;
            }
            let used = freed.used.get();
            // SAFETY: the block is readable (above); the buffer belongs to this thread, has room
            // (checked), and nobody holds a reference to it while this runs.
            unsafe {
                let to = freed.bytes.get().cast::<u8>().add(used);
                std::ptr::copy_nonoverlapping(block, to, layout.size());
            }
            // Eight zeroes between blocks, so that no pattern spans two.
            freed.used.set(used + layout.size() + 8);
        });
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }
}

/// All bytes that `run` left in blocks that were freed.
fn freed_by(run: impl FnOnce()) -> Vec<u8> {
    FREED.with(|freed| {
        // SAFETY: recording is off, so this is the only access to this thread's buffer.
        unsafe { (*freed.bytes.get()).fill(0) };
        freed.used.set(0);
        freed.on.set(true);
        run();
        freed.on.set(false);
        assert!(
            freed.used.get() + 64 * 1024 < CAPACITY,
            "more was freed than can be looked at"
        );
        // SAFETY: as above.
        unsafe { (&(*freed.bytes.get()))[..freed.used.get()].to_vec() }
    })
}

/// Whether any 8 bytes of `secret` in a row are in `memory`.
fn has_part_of(memory: &[u8], secret: &[u8]) -> bool {
    assert!(secret.len() >= 8);
    secret.windows(8).any(|part| contains(memory, part))
}

fn contains(memory: &[u8], part: &[u8]) -> bool {
    memory.windows(part.len()).any(|window| window == part)
}

const CANARY: [u8; 64] = *b"canary: sixty-four bytes that no honest program has by accident!";

fn canary() -> SecretBytes {
    SecretBytes::from(&CANARY[..])
}

#[test]
fn the_watcher_sees_a_secret_that_is_not_wiped() {
    let freed = freed_by(|| drop(black_box(CANARY.to_vec())));
    assert!(has_part_of(&freed, &CANARY));
}

#[test]
fn a_dropped_secret_leaves_nothing() {
    let freed = freed_by(|| {
        let mut spare_room = Vec::with_capacity(200);
        spare_room.extend_from_slice(&CANARY);
        drop(SecretBytes::new(spare_room));
        let secret = SecretBytes::new(CANARY.to_vec());
        drop(secret.duplicate_secret_in_memory());
        assert!(secret.ct_eq(&CANARY));
    });
    assert!(freed.len() >= 3 * CANARY.len());
    assert!(!has_part_of(&freed, &CANARY));
}

#[test]
fn a_prepared_hmac_key_of_ring_alone_leaves_its_state() {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &CANARY);
    let key = Box::new(key);
    let freed = freed_by(|| drop(black_box(key)));
    let left = freed.iter().filter(|byte| **byte != 0).count();
    assert!(left >= 32, "the positive control: {left} bytes");
}

#[test]
fn a_dropped_mac_key_leaves_nothing_at_all() {
    for algorithm in [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512] {
        for backend in backends() {
            let key = MacKey::new_with_backend(algorithm, canary(), backend).unwrap();
            let mut tag = [0; 64];
            key.sign(b"message", &mut tag).unwrap();
            let freed = freed_by(|| drop(key));
            // Two states of SHA-256 at least.
            assert!(
                freed.len() >= 64,
                "{algorithm}: the block of the prepared key"
            );
            // Not a byte of the inner and outer states, which forge as well as the secret does.
            assert_eq!(
                freed.iter().filter(|byte| **byte != 0).count(),
                0,
                "{algorithm}"
            );
        }
    }
}

#[test]
fn making_a_mac_key_leaves_nothing_of_the_secret() {
    let json = format!(
        r#"{{"kty":"oct","alg":"HS256","k":"{}"}}"#,
        support::base64url(&CANARY)
    );
    let freed = freed_by(|| {
        drop(MacKey::new(Algorithm::Hs512, canary()).unwrap());
        let json = SecretBytes::from(json.as_bytes());
        drop(MacKey::from_jwk(&json).unwrap());
        drop(json);
        assert!(MacKey::new(Algorithm::Hs512, SecretBytes::from(&CANARY[..40])).is_err());
    });
    assert!(!has_part_of(&freed, &CANARY));
    assert!(!has_part_of(&freed, support::base64url(&CANARY).as_bytes()));
}

/// How many pieces of the private part of `key` are in `freed`.
fn leaks(key: &SigningKey, freed: &[u8]) -> usize {
    let (der, spki) = (key.to_pkcs8_der(), key.verifying_key().to_spki_der());
    let big_endian = &der.expose_secret()[16..];
    let words: Vec<u8> = big_endian.iter().rev().copied().collect();
    let backwards: Vec<u8> = spki.iter().rev().copied().collect();
    // What stands before the private part is public; an EC key ends with its public point.
    let is_public = |part: &[u8]| contains(&spki, part) || contains(&backwards, part);
    [big_endian, &words]
        .iter()
        .flat_map(|form| form.windows(8))
        .filter(|part| !is_public(part) && contains(freed, part))
        .count()
}

#[test]
fn a_dropped_signing_key_leaves_nothing_of_its_private_part() {
    for algorithm in support::signing_algorithms() {
        if support::is_rsa(algorithm) {
            continue; // see below
        }
        for backend in backends() {
            let Ok(key) = signing_key(algorithm).with_backend(backend) else {
                assert!(support::beyond_ring(algorithm));
                continue;
            };
            let kept = key.with_backend(backend).unwrap();
            let freed = freed_by(move || {
                sign(&key, b"message");
                drop(key.to_pkcs8_der());
                drop(key);
            });
            assert_eq!(leaks(&kept, &freed), 0, "{algorithm} {backend}");
        }
    }
}

#[test]
fn loading_a_signing_key_leaves_nothing_of_its_private_part() {
    for algorithm in [Algorithm::Es256, Algorithm::Es384, Algorithm::Ed25519] {
        let key = signing_key(algorithm);
        let (der, pem) = (key.to_pkcs8_der(), key.to_pkcs8_pem());
        let freed = freed_by(|| {
            drop(SigningKey::from_pkcs8_der(algorithm, der.expose_secret()).unwrap());
            drop(SigningKey::from_pem(algorithm, pem.expose_secret()).unwrap());
            drop(SigningKey::generate(algorithm, &SystemRandom).unwrap());
        });
        assert_eq!(leaks(&key, &freed), 0, "{algorithm}");
        // Neither as base64: behind the label and the algorithm, before the public point.
        let text = &pem.expose_secret()[60..90];
        assert!(!has_part_of(&freed, text), "{algorithm}: PEM text");
    }
}

#[test]
fn loading_a_private_jwk_leaves_neither_its_text_nor_its_numbers() {
    let numbers: serde_json::Value = serde_json::from_str(support::RFC7515_A2).unwrap();
    let json = support::secret(support::RFC7515_A2);
    let freed = freed_by(|| drop(SigningKey::from_jwk_as(&json, Algorithm::Ps256).unwrap()));
    for name in ["d", "p", "q", "dp", "dq", "qi"] {
        let text = numbers[name].as_str().unwrap();
        assert!(!has_part_of(&freed, text.as_bytes()), "{name}");
        assert!(!has_part_of(&freed, &support::unbase64url(text)), "{name}");
    }
}

/// The honest part: *ring* frees the numbers of RSA keys as they are, so a dropped key leaves its
/// primes behind (as words, least significant first). When this test fails, *ring* has learnt to
/// wipe and the documentation is to be changed.
#[test]
fn ring_leaves_the_primes_of_an_rsa_key_in_freed_memory() {
    let prime: serde_json::Value = serde_json::from_str(support::RFC7515_A2).unwrap();
    let mut prime = support::unbase64url(prime["p"].as_str().unwrap());
    prime.reverse();
    let key = signing_key(Algorithm::Rs256);
    assert!(has_part_of(&freed_by(|| drop(key)), &prime));
}

#[test]
#[cfg(feature = "aws-lc-rs")]
fn an_rsa_key_of_aws_lc_rs_leaves_nothing() {
    // Its numbers lie in memory of its own allocator, which cleanses each block it frees; this
    // program's allocator sees what crosses into Rust.
    let numbers: serde_json::Value = serde_json::from_str(support::RFC7515_A2).unwrap();
    let (json, backend) = (
        support::secret(support::RFC7515_A2),
        m2m_crypto::Backend::AwsLcRs,
    );
    let pem = signing_key(Algorithm::Rs256).to_pkcs8_pem();
    let freed = freed_by(|| {
        let key = SigningKey::from_jwk_with_backend(&json, Algorithm::Rs256, backend).unwrap();
        sign(&key, b"message");
        drop(key.with_backend(backend).unwrap());
        let (algorithm, der) = (Algorithm::Rs256, key.to_pkcs8_der());
        let der = der.expose_secret();
        drop(SigningKey::from_pkcs8_der_with_backend(algorithm, der, backend).unwrap());
        let pem = pem.expose_secret();
        drop(SigningKey::from_pem_with_backend(algorithm, pem, backend).unwrap());
    });
    for name in ["d", "p", "q", "dp", "dq", "qi"] {
        let mut number = support::unbase64url(numbers[name].as_str().unwrap());
        assert!(!has_part_of(&freed, &number), "{name}");
        number.reverse();
        assert!(!has_part_of(&freed, &number), "{name}");
    }
}

#[test]
fn hkdf_and_aead_keys_leave_nothing() {
    let secret = SecretBytes::from(&CANARY[..32]);
    let freed = freed_by(|| {
        let hkdf = Hkdf::extract(HkdfHash::Sha256, b"salt", &secret);
        drop(hkdf.expand(&[b"purpose"], 64).unwrap());
        drop(hkdf);
    });
    assert_eq!(freed.iter().filter(|byte| **byte != 0).count(), 0);

    for algorithm in [AeadAlgorithm::Aes256Gcm, AeadAlgorithm::ChaCha20Poly1305] {
        let key = AeadKey::new(algorithm, secret.duplicate_secret_in_memory()).unwrap();
        let sealed = key.seal(&CANARY, b"", &SystemRandom).unwrap();
        let freed = freed_by(|| {
            drop(key.open(&sealed, b"").unwrap());
            assert!(key.open(&sealed, b"other").is_err());
            drop(key);
        });
        assert!(!has_part_of(&freed, &CANARY), "{algorithm:?}");
    }
}
