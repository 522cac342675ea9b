//! `Scratch`: the memory that verifying needs, made once and used again.

use std::fmt;
use std::sync::Arc;

use m2m_revoke::{RevocationReader, Revocations};
use zeroize::Zeroize;

use crate::MAX_TOKEN_BYTES;
use crate::base64url::{Filled, decoded_len};
use crate::claims::Facts;
use crate::json::Members;
use crate::recent::{RecentHeader, RecentKeys};

/// The longest decoded part: all of the token but two dots.
pub(crate) const MAX_PART_BYTES: usize = MAX_TOKEN_BYTES / 4 * 3;

/// How much longer it is what two parts make that are decoded together.
const FILLING_BYTES: usize = 64;

const _: () = assert!(decoded_len(MAX_TOKEN_BYTES).is_some());

/// Memory for one verification at a time, about 36 KiB. Make one for each worker thread or each
/// connection and use it again and again: verifying then allocates nothing.
///
/// What was decoded is wiped when this is dropped, because bearer tokens and their claims are
/// nobody else's business.
///
/// It keeps the keys of the issuer and the revocations of the verifier it was used with last, and the
/// table it looked into (see [`RevocationReader`] and [`m2m_types::LiveReader`]). It does not use keys
/// that were replaced, but lets go of them only when it is used again: drop what is idle for long.
pub struct Scratch {
    pub(crate) header: Box<[u8]>,
    /// The payload, maybe the signature, and behind them texts whose escapes were undone.
    pub(crate) payload: Box<[u8]>,
    pub(crate) signature: Box<[u8]>,
    pub(crate) filled: Filled,
    pub(crate) members: Box<Members>,
    pub(crate) facts: Facts,
    pub(crate) reader: Reader,
    pub(crate) recent_header: RecentHeader,
    pub(crate) recent_keys: RecentKeys,
}

/// What reads the revocations of the verifier that the scratch was used with last.
#[derive(Default)]
pub(crate) struct Reader(Option<RevocationReader>);

impl Reader {
    /// The one of `revocations`.
    #[inline]
    pub(crate) fn of(&mut self, revocations: &Arc<Revocations>) -> &mut RevocationReader {
        let is_theirs = |reader: &&mut RevocationReader| Arc::ptr_eq(reader.set(), revocations);
        if self.0.as_mut().filter(is_theirs).is_none() {
            self.0 = None;
        }
        self.0
            .get_or_insert_with(|| RevocationReader::new(Arc::clone(revocations)))
    }
}

impl Scratch {
    /// Memory for one verification at a time.
    pub fn new() -> Self {
        let zeroes = |length| vec![0; length].into_boxed_slice();
        Self {
            header: zeroes(MAX_PART_BYTES),
            payload: zeroes(2 * MAX_PART_BYTES + FILLING_BYTES),
            signature: zeroes(MAX_PART_BYTES),
            filled: Filled::new(MAX_TOKEN_BYTES),
            members: Box::new(Members::new()),
            facts: Facts::EMPTY,
            reader: Reader::default(),
            recent_header: RecentHeader::default(),
            recent_keys: RecentKeys::default(),
        }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.header.zeroize();
        self.payload.zeroize();
        self.signature.zeroize();
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
    }
}
