//! HMAC-SHA256 and HKDF-SHA256 by RustCrypto, for processors that have instructions for SHA-256.
//!
//! There a block takes 45 ns, and what *ring* does around the blocks (contexts that are cloned, an
//! algorithm that is looked up) takes half as long as the blocks themselves; `hmac` does little. Where
//! the instructions are missing, *ring*'s SHA-256 is far quicker than that of `sha2`, and this is not used.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroize;

use crate::memory::{Wiped, with_stack_scrubbed};

const HASH_BYTES: usize = 32;
/// Two prepared keys with their buffers, and the frame of the compression function.
const DERIVING_STACK_BYTES: usize = match cfg!(debug_assertions) {
    true => 16 * 1024,
    false => 2 * 1024,
};

/// Whether this processor has the instructions, so that this backend is the quicker one.
pub(crate) fn is_quicker() -> bool {
    std::arch::is_x86_feature_detected!("sha") && std::arch::is_x86_feature_detected!("sse4.1")
}

/// A prepared key for HMAC-SHA256. Copies that are made for a message wipe themselves.
pub(crate) struct MacKey(Wiped<Hmac<Sha256>>);

impl MacKey {
    pub(crate) fn prepare(secret: &[u8]) -> Self {
        Self(Wiped::new(|| prepared(secret)))
    }

    /// The MAC of `message`.
    #[inline]
    pub(crate) fn mac(&self, message: &[u8]) -> [u8; HASH_BYTES] {
        self.mac_parts(&[message])
    }

    /// The MAC of what the parts are when joined.
    #[inline]
    pub(crate) fn mac_parts(&self, parts: &[&[u8]]) -> [u8; HASH_BYTES] {
        let mut mac = Hmac::clone(&self.0);
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

/// A prepared pseudorandom key for HKDF-SHA256.
pub(crate) struct Root(Wiped<Hkdf<Sha256>>);

impl Root {
    pub(crate) fn extract(salt: &[u8], secret: &[u8]) -> Self {
        Self(Wiped::new(|| Hkdf::new(Some(salt), secret)))
    }

    /// None for a key that is shorter than a hash, which `hkdf` does not take.
    pub(crate) fn from_uniform_key(key: &[u8]) -> Option<Self> {
        let root = Wiped::try_new(|| Hkdf::from_prk(key));
        root.ok().map(Self)
    }

    /// The MAC of `message` under the key that `info` expands to. The key is wiped by name, and the
    /// frames of the library by overwriting them.
    pub(crate) fn mac_derived(&self, info: &[&[u8]], message: &[u8]) -> [u8; HASH_BYTES] {
        with_stack_scrubbed::<DERIVING_STACK_BYTES, _>(|| {
            let mut key = [0; HASH_BYTES];
            let expanded = self.0.expand_multi_info(info, &mut key);
            expanded.expect("HKDF gives 32 bytes with each hash");
            let mut mac = prepared(&key);
            key.zeroize();
            mac.update(message);
            mac.finalize().into_bytes().into()
        })
    }
}

fn prepared(secret: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret).expect("HMAC takes keys of each length (RFC 2104 §2)")
}

#[cfg(test)]
mod tests {
    use ring::hmac;

    use super::*;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 31 % 253) as u8).collect()
    }

    fn of_ring(key: &[u8], message: &[u8]) -> Vec<u8> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        hmac::sign(&key, message).as_ref().to_vec()
    }

    #[test]
    fn it_is_ring_s_hmac_at_every_length_of_message_and_key() {
        for length in 0..=260 {
            let message = bytes(length);
            let key = MacKey::prepare(&bytes(32));
            assert_eq!(
                key.mac(&message)[..],
                of_ring(&bytes(32), &message),
                "{length}"
            );
            let key = MacKey::prepare(&message);
            assert_eq!(key.mac(b"text")[..], of_ring(&message, b"text"), "{length}");
        }
        let long = bytes(1 << 20);
        let key = MacKey::prepare(&long);
        assert_eq!(key.mac(&long)[..], of_ring(&long, &long));
    }

    #[test]
    fn parts_are_joined_wherever_they_are_cut() {
        let key = MacKey::prepare(&bytes(32));
        for length in [0, 1, 63, 64, 65, 119, 120, 128, 200] {
            let message = bytes(length);
            let whole = key.mac(&message);
            for one in 0..=length {
                for other in one..=length {
                    let (start, rest) = message.split_at(one);
                    let (middle, end) = rest.split_at(other - one);
                    assert_eq!(key.mac_parts(&[start, middle, b"", end]), whole);
                }
            }
        }
        assert_eq!(key.mac_parts(&[]), key.mac(b""));
    }

    #[test]
    fn a_derived_key_is_the_one_that_ring_derives() {
        struct Tag;
        impl ring::hkdf::KeyType for Tag {
            fn len(&self) -> usize {
                HASH_BYTES
            }
        }
        let (secret, message) = (bytes(32), bytes(77));
        for salt in [&b""[..], b"salt", &bytes(100)] {
            let of_ring_s = ring::hkdf::Salt::new(ring::hkdf::HKDF_SHA256, salt).extract(&secret);
            let root = Root::extract(salt, &secret);
            for info in [&[&b""[..]][..], &[b"a", b"bc"], &[&bytes(90), b"z"]] {
                let mut key = [0; HASH_BYTES];
                let material = of_ring_s.expand(info, Tag).expect("it is one hash");
                material.fill(&mut key).expect("it is one hash");
                assert_eq!(
                    root.mac_derived(info, &message)[..],
                    of_ring(&key, &message)
                );
            }
        }
        assert!(Root::from_uniform_key(&bytes(31)).is_none());
        assert!(Root::from_uniform_key(&bytes(32)).is_some());
    }
}
