//! `Anchor`: remembers, outside a store, how far it had come, so that an older copy is noticed.

use crate::{Cursor, Reason};

/// A small memory outside the store for its newest place: on another volume, on another machine, in
/// a counter that only goes up. It is moved on before a commit is acknowledged, and asked when the
/// store is opened: a file that is behind its anchor is an older copy, in which revocations are
/// missing.
///
/// [`FileAnchor`](crate::FileAnchor) is a file. Without an anchor an older copy of the whole file
/// cannot be told from the newest.
pub trait Anchor: Send + Sync + 'static {
    /// What was remembered last. [`None`] if nothing ever was.
    ///
    /// # Errors
    ///
    /// [`AnchorError`] if that cannot be said. "Nothing" must not be said instead.
    fn load(&self) -> Result<Option<AnchorMark>, AnchorError>;

    /// Remembers `mark`, durably, before it returns.
    ///
    /// # Errors
    ///
    /// [`AnchorError`] if it may not be remembered.
    fn advance(&self, mark: AnchorMark) -> Result<(), AnchorError>;
}

/// What an [`Anchor`] remembers: which store, and where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnchorMark {
    store: [u8; 16],
    place: Cursor,
}

/// An [`Anchor`] failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the anchor failed: {reason}")]
pub struct AnchorError {
    reason: Reason,
}

impl AnchorMark {
    /// Bytes of a mark.
    pub const BYTES: usize = 16 + Cursor::BYTES;

    /// `store` was at `place`.
    pub const fn new(store: [u8; 16], place: Cursor) -> Self {
        Self { store, place }
    }

    /// Which store: 16 bytes, drawn when it was created.
    pub const fn store(&self) -> &[u8; 16] {
        &self.store
    }

    /// Where it was.
    pub const fn place(&self) -> Cursor {
        self.place
    }

    /// To keep it.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let (store, place) = bytes.split_at_mut(16);
        store.copy_from_slice(&self.store);
        place.copy_from_slice(&self.place.to_bytes());
        bytes
    }

    /// What [`AnchorMark::to_bytes`] gave. [`None`] if those bytes are none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (store, place) = bytes.split_first_chunk::<16>()?;
        Some(Self {
            store: *store,
            place: Cursor::from_bytes(place)?,
        })
    }
}

impl AnchorError {
    /// For those who write an anchor.
    pub fn new(reason: Reason) -> Self {
        Self { reason }
    }
}
