//! `CrlIndex`: the serials of one CRL, built once, exact, used in place from its bytes.
//!
//! A serial of up to 20 octets is a number; a permutation spreads it, and entries are sorted by what
//! comes out. Its highest bits name one of 2ᵇ buckets of four to eight entries, and a table says
//! where each bucket starts. Because the permutation can be undone nothing is lost: two serials are
//! equal if and only if what comes out is. Whole bytes that the bucket already says are not stored.
//!
//! The last byte of each entry stands apart from the rest, as a tag. To find that a serial is not listed
//! takes its bucket's start and tags, a million of which stay in a processor's cache, and hardly ever an
//! entry, most of which do not.
//!
//! ```text
//! header │ a checksum for each block of 4096 bytes │ starts of buckets │ tags │ entries
//! ```
//!
//! Opening looks at the header alone, whose checksum covers it. The first look-up in a block checks
//! that block. So whatever happened to the bytes on disk is an error, never a wrong "not revoked";
//! the checksums are against accidents, so keep the file as safe as the trust anchors. What the
//! bytes are must not change while they are used, as with every memory map.

mod blocks;
mod build;
mod header;
mod key;

use std::fmt;
use std::sync::Arc;

use m2m_types::Timestamp;

use crate::crl::issuer::IssuerId;
use crate::crl::number::CrlNumber;
use crate::crl::read::VerifiedCrl;
use crate::crl::scope::Scope;
use crate::reason::RevocationReason;

use blocks::Checked;
use header::Header;
use key::{Key, Record};

/// What an index knows of a revoked certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listing {
    /// When it was revoked; `None` if the index does not keep it, which is so for lists with serials
    /// of more than 16 octets and for dates over eight years apart.
    pub at: Option<Timestamp>,
    /// The reason.
    pub reason: RevocationReason,
}

/// Why an index gives no answer.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrlIndexError {
    /// These bytes are no index.
    #[error("not a CRL index")]
    NotAnIndex,
    /// A format from the future.
    #[error("CRL index of format {found}; this release reads {known}")]
    Version {
        /// The format of the bytes.
        found: u32,
        /// The newest one this release knows.
        known: u32,
    },
    /// The header or the length is not what was written.
    #[error("the header of the CRL index is corrupt, or its length")]
    Header,
    /// A block is not what was written.
    #[error("block {block} of the CRL index is corrupt")]
    Block {
        /// Which one.
        block: usize,
    },
    /// What was asked for is no serial: over 20 octets.
    #[error("a serial has over 20 octets")]
    Serial,
    /// A delta is no index of its own: it changes one.
    #[error("a delta CRL alone says nothing about what it does not list")]
    Delta,
    /// A serial is listed twice, so that it is not clear since when or why it is revoked.
    #[error("a CRL lists a serial twice")]
    ListedTwice,
    /// More entries than an index counts.
    #[error("more entries than an index holds")]
    TooManyEntries,
}

/// Why a delta does not fit a CRL (RFC 5280 §5.2.4).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeltaError {
    /// It is a complete CRL.
    #[error("not a delta CRL")]
    NotADelta,
    /// Another issuer, or another key of it.
    #[error("the delta is of another issuer or key")]
    Issuer,
    /// Another scope, or another authority key identifier.
    #[error("the delta has another scope or authority key identifier")]
    Scope,
    /// The delta is to a newer CRL than this.
    #[error("the delta is to CRL {base}, and this one is {number}")]
    BaseTooOld {
        /// The number the delta builds on.
        base: CrlNumber,
        /// The number of the index.
        number: CrlNumber,
    },
    /// The delta is not newer than the CRL.
    #[error("the delta {delta} is not newer than CRL {number}")]
    NotNewer {
        /// The number of the delta.
        delta: CrlNumber,
        /// The number of the index.
        number: CrlNumber,
    },
    /// The index cannot be read, or the new one not be built.
    #[error("the index cannot be read: {0}")]
    Index(CrlIndexError),
}

/// The certificates one CRL lists, and what the CRL says of itself.
///
/// A look-up costs the same whatever the size. [`CrlIndex::as_bytes`] can be written to a file that
/// the next start maps and gives to [`CrlIndex::open`].
pub struct CrlIndex {
    bytes: Bytes,
    header: Header,
    scope: Scope,
    checked: Checked,
}

/// Where the bytes are.
enum Bytes {
    Built(Vec<u8>),
    Given(Arc<dyn AsRef<[u8]> + Send + Sync>),
}

impl CrlIndex {
    /// The newest format, and the one that is written.
    pub const VERSION: u32 = header::VERSION;

    /// The index of a complete CRL.
    ///
    /// # Errors
    ///
    /// [`CrlIndexError::Delta`] if it is a delta, see [`CrlIndex::with_delta`];
    /// [`CrlIndexError::ListedTwice`].
    pub fn build(crl: &VerifiedCrl<'_>) -> Result<Self, CrlIndexError> {
        if crl.base_number().is_some() {
            return Err(CrlIndexError::Delta);
        }
        build::from_crl(crl)
    }

    /// The index of what this one and `delta` say together: the complete CRL that has the delta's
    /// number and times.
    ///
    /// # Errors
    ///
    /// [`DeltaError`] unless all conditions of RFC 5280 §5.2.4 hold.
    pub fn with_delta(&self, delta: &VerifiedCrl<'_>) -> Result<Self, DeltaError> {
        let base = delta.base_number().ok_or(DeltaError::NotADelta)?;
        let header = &self.header;
        if delta.issuer() != header.issuer {
            return Err(DeltaError::Issuer);
        }
        let same_key = delta.key_id().unwrap_or_default() == header.key_id(self.bytes());
        if !same_key || delta.scope_der() != header.scope_der(self.bytes()) {
            return Err(DeltaError::Scope);
        }
        let number = header.number;
        if number < base {
            return Err(DeltaError::BaseTooOld { base, number });
        }
        if number >= delta.number() {
            return Err(DeltaError::NotNewer {
                delta: delta.number(),
                number,
            });
        }
        build::with_delta(self, delta).map_err(DeltaError::Index)
    }

    /// Uses `bytes`, a memory map for example, as the index they are. Looks at the header alone.
    ///
    /// # Errors
    ///
    /// [`CrlIndexError`] if they are no index, one of a newer format, or damaged there.
    pub fn open(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Self, CrlIndexError> {
        let (header, scope) = Header::read(bytes.as_ref())?;
        Ok(Self {
            checked: Checked::none_of(header.blocks()),
            bytes: Bytes::Given(Arc::new(bytes)),
            header,
            scope,
        })
    }

    /// The bytes for [`CrlIndex::open`].
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes()
    }

    /// What is known of the certificate with this serial: `None` if the CRL does not list it.
    ///
    /// `serial` is big-endian; leading zeroes say nothing, so that the content of a DER INTEGER and
    /// [`Serial::as_bytes`](crate::Serial::as_bytes) give the same answer.
    ///
    /// # Errors
    ///
    /// [`CrlIndexError::Serial`]; [`CrlIndexError::Block`] if the bytes are damaged.
    #[inline]
    pub fn find(&self, serial: &[u8]) -> Result<Option<Listing>, CrlIndexError> {
        let key = Key::of(serial).ok_or(CrlIndexError::Serial)?;
        if key.is_wide() && !self.header.is_wide {
            return Ok(None);
        }
        let bytes = self.bytes();
        let header = &self.header;
        let bucket = key.bucket(header.bits);
        let (from, to) = self.bucket(bytes, bucket)?;
        self.search(bytes, from, to, key)
    }

    /// Checks every block now.
    ///
    /// # Errors
    ///
    /// [`CrlIndexError::Block`] for the first that is damaged.
    pub fn check_all(&self) -> Result<(), CrlIndexError> {
        let end = self.header.payload_bytes();
        self.checked.touch(self.bytes(), &self.header, 0, end)
    }

    /// Which issuer signed the CRL.
    pub const fn issuer(&self) -> IssuerId {
        self.header.issuer
    }

    /// The number of the CRL, or of the last delta that was applied.
    pub const fn number(&self) -> CrlNumber {
        self.header.number
    }

    /// `thisUpdate` of the same.
    pub const fn this_update(&self) -> Timestamp {
        self.header.this_update
    }

    /// `nextUpdate` of the same, if it has one.
    pub const fn next_update(&self) -> Option<Timestamp> {
        self.header.next_update
    }

    /// Which certificates it speaks for.
    pub const fn scope(&self) -> &Scope {
        &self.scope
    }

    /// How many certificates are listed.
    pub const fn len(&self) -> usize {
        self.header.count
    }

    /// Whether none is.
    pub const fn is_empty(&self) -> bool {
        self.header.count == 0
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Built(bytes) => bytes,
            Bytes::Given(bytes) => (**bytes).as_ref(),
        }
    }

    /// The entries of a bucket.
    #[inline]
    fn bucket(&self, bytes: &[u8], bucket: usize) -> Result<(usize, usize), CrlIndexError> {
        let start = bucket * header::START_BYTES;
        self.checked.touch(bytes, &self.header, start, start + 8)?;
        let both = self.header.payload(bytes, start, 8);
        let corrupt = CrlIndexError::Header;
        let both = both.and_then(|b| b.first_chunk::<8>()).ok_or(corrupt)?;
        let both = u64::from_le_bytes(*both);
        let (from, to) = ((both & 0xffff_ffff) as usize, (both >> 32) as usize);
        if from > to || to > self.header.count {
            return Err(corrupt);
        }
        Ok((from, to))
    }

    /// Halves what is left until few are, then looks at those: also someone who crowds a bucket
    /// makes no look-up long.
    #[inline]
    fn search(
        &self,
        bytes: &[u8],
        from: usize,
        to: usize,
        key: Key,
    ) -> Result<Option<Listing>, CrlIndexError> {
        const FEW: usize = 16;
        let (mut from, mut to) = (from, to);
        let key = key.within_bucket(self.header.stripped);
        while to - from > FEW {
            let middle = from + (to - from) / 2;
            let record = self.record(bytes, middle)?;
            match record.key.cmp(&key) {
                std::cmp::Ordering::Less => from = middle + 1,
                std::cmp::Ordering::Equal => return Ok(Some(record.listing(&self.header))),
                std::cmp::Ordering::Greater => to = middle,
            }
        }
        for (at, tag) in (from..to).zip(self.tags(bytes, from, to)?) {
            if *tag == key.tag() {
                let record = self.record(bytes, at)?;
                if record.key == key {
                    return Ok(Some(record.listing(&self.header)));
                }
            }
        }
        Ok(None)
    }

    /// The tags of these entries.
    #[inline]
    fn tags<'a>(&self, bytes: &'a [u8], from: usize, to: usize) -> Result<&'a [u8], CrlIndexError> {
        let header = &self.header;
        let start = header.starts_bytes() + from;
        self.checked
            .touch(bytes, header, start, start + (to - from))?;
        header
            .payload(bytes, start, to - from)
            .ok_or(CrlIndexError::Header)
    }

    #[inline]
    fn record(&self, bytes: &[u8], at: usize) -> Result<Record, CrlIndexError> {
        let header = &self.header;
        let tag = self.tags(bytes, at, at + 1)?.first();
        let start = header.front_bytes() + at * header.width;
        self.checked
            .touch(bytes, header, start, start + header.width)?;
        let slot = header.payload(bytes, start, header.width);
        slot.zip(tag)
            .and_then(|(slot, tag)| Record::read(slot, *tag, header))
            .ok_or(CrlIndexError::Header)
    }

    /// Every entry, its key whole again, in the order of the keys.
    fn records(&self) -> Result<Vec<Record>, CrlIndexError> {
        let bytes = self.bytes();
        let mut records = Vec::with_capacity(self.header.count);
        for bucket in 0..1_usize << self.header.bits {
            let (from, to) = self.bucket(bytes, bucket)?;
            for at in from..to {
                let record = self.record(bytes, at)?;
                let key = record
                    .key
                    .with_bucket(bucket, self.header.bits, self.header.stripped);
                records.push(Record { key, ..record });
            }
        }
        Ok(records)
    }
}

impl fmt::Debug for CrlIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrlIndex")
            .field("issuer", &self.issuer())
            .field("number", &self.number())
            .field("this_update", &self.this_update())
            .field("next_update", &self.next_update())
            .field("scope", &self.scope)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
