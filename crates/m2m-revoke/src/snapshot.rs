//! `RevocationSnapshot`: a whole set as bytes, to be stored, sent and used as it is.

use std::fmt;
use std::sync::Arc;

use m2m_types::Timestamp;

use crate::checksum::checksum;
use crate::error::SnapshotError;
use crate::header::{Header, UNSUMMED_BYTES};
use crate::table::{self, Bytes, Table};
use crate::target::Kind;

/// A revocation set at one moment, in its transfer form.
///
/// The bytes are the table: nothing is decoded to use them. Cloning copies a pointer.
///
/// They hold the fingerprint key. Give them to verifiers, over a channel that proves where they
/// come from: whoever can put other bytes in their place decides what is revoked, and whoever knows
/// the key can guess at what is in it and make up names that are revoked together with others.
#[derive(Clone)]
pub struct RevocationSnapshot {
    pub(crate) table: Table,
}

impl RevocationSnapshot {
    /// Takes `bytes` as a snapshot, after checking that they are one. They stay where they are: a
    /// memory map is used as a memory map.
    ///
    /// The check is one pass at about the speed of memory. It allocates nothing, whatever the bytes
    /// say, and afterwards every entry is known to stand where a look-up finds it. It does not show
    /// who wrote them.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, see [`SnapshotError`].
    pub fn from_bytes<B>(bytes: B) -> Result<Self, SnapshotError>
    where
        B: AsRef<[u8]> + Send + Sync + 'static,
    {
        let (header, stated) = Header::parse(bytes.as_ref())?;
        let summed = bytes.as_ref().get(UNSUMMED_BYTES..).unwrap_or_default();
        let computed = checksum(summed);
        if computed != stated {
            return Err(SnapshotError::Checksum { stated, computed });
        }
        table::check(bytes.as_ref(), &header)?;
        Ok(Self {
            table: Table::new(Bytes::Given(Arc::new(bytes)), header),
        })
    }

    /// The transfer form. The same entries, key and revision give the same bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.table.bytes()
    }

    /// Which of the states of its set this is: it goes up with each change. Of two snapshots of one
    /// publisher the one with the higher revision is the later.
    pub fn revision(&self) -> u64 {
        self.table.header().revision
    }

    /// The set's own time: everything that expired before it may be missing here. See
    /// [`Revocations::compact`](crate::Revocations::compact).
    pub fn compacted_until(&self) -> Timestamp {
        self.table.header().horizon
    }

    /// How many entries it has.
    pub fn len(&self) -> u64 {
        self.table.header().counts.total()
    }

    /// Whether nothing is revoked.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many entries it has of one kind.
    pub fn count(&self, kind: Kind) -> u64 {
        self.table.header().counts.of(kind)
    }
}

impl fmt::Debug for RevocationSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationSnapshot")
            .field("entries", &self.len())
            .field("revision", &self.revision())
            .field("compacted_until", &self.compacted_until())
            .finish_non_exhaustive()
    }
}
