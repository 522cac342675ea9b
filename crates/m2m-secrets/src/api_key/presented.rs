//! `PresentedKey`: what somebody shows, well-formed and not yet believed.

use std::fmt;

use super::checksum::Checksum;
use super::{
    ApiKeyId, BODY_BYTES, CHECKSUM_CHARACTERS, KEY_ID_BYTES, MalformedKey, TAIL_BYTES, base62,
};

/// A text that has the form of a key, its checksum included; borrowed from where it was read.
///
/// Whoever holds it holds a secret, perhaps somebody's real one. Nothing is known of it but its form.
#[derive(Clone, Copy)]
pub struct PresentedKey<'k> {
    body: &'k [u8; BODY_BYTES],
}

impl<'k> PresentedKey<'k> {
    /// The public part that names it.
    #[inline]
    pub fn id(&self) -> ApiKeyId {
        ApiKeyId::of_base62(*id_of(self.body))
    }

    /// Takes what follows a format's head.
    #[inline]
    pub(super) fn read(
        tail: &'k [u8; TAIL_BYTES],
        checksum: &Checksum,
    ) -> Result<Self, MalformedKey> {
        let (body, rest) = tail
            .split_first_chunk::<BODY_BYTES>()
            .expect("a tail begins with a body");
        let (_, sum) = rest
            .split_last_chunk::<CHECKSUM_CHARACTERS>()
            .expect("a tail ends with a checksum");
        // All characters are looked at, and all at once. Underscores become letters for the while.
        let mut letters = *tail;
        for at in SEPARATORS {
            if let Some(byte) = letters.get_mut(at) {
                *byte ^= b'_' ^ b'a';
            }
        }
        let separated = SEPARATORS.iter().all(|at| tail.get(*at) == Some(&b'_'));
        if !base62::is_base62(&letters) || !separated {
            return Err(why_not(tail));
        }
        match base62::decode(sum) == u64::from(checksum.of(body)) {
            true => Ok(Self { body }),
            false => Err(MalformedKey::Checksum),
        }
    }

    #[inline]
    pub(super) fn of_body(body: &'k [u8; BODY_BYTES]) -> Self {
        Self { body }
    }

    /// What is hashed: key id, `_` and secret.
    #[inline]
    pub(crate) fn expose_body(&self) -> &'k [u8] {
        self.body
    }
}

#[inline]
fn id_of(body: &[u8; BODY_BYTES]) -> &[u8; KEY_ID_BYTES] {
    body.first_chunk().expect("a body begins with a key id")
}

/// Where `_` stands in what follows the head.
const SEPARATORS: [usize; 2] = [KEY_ID_BYTES, BODY_BYTES];

/// The first byte that is out of place.
#[cold]
fn why_not(tail: &[u8]) -> MalformedKey {
    let wrong = tail
        .iter()
        .enumerate()
        .position(|(at, byte)| match SEPARATORS.contains(&at) {
            true => *byte != b'_',
            false => !base62::is_one(*byte),
        });
    MalformedKey::Character {
        at: wrong.unwrap_or_default(),
    }
}

impl fmt::Debug for PresentedKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PresentedKey({}, [redacted])", self.id())
    }
}
