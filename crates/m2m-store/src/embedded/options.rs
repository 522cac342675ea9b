//! `EmbeddedOptions`: with which keys and limits a store is opened.

use std::fmt;
use std::sync::Arc;

use m2m_crypto::{SecureRandom, SystemRandom};

use crate::{Anchor, KeyEncryption};

/// How an [`EmbeddedStore`](crate::EmbeddedStore) is opened.
#[derive(Clone)]
pub struct EmbeddedOptions {
    pub(super) outer: Arc<dyn KeyEncryption>,
    pub(super) anchor: Option<Arc<dyn Anchor>>,
    pub(super) random: Arc<dyn SecureRandom>,
    pub(super) cache_bytes: usize,
    pub(super) accept_new_anchor: bool,
    pub(super) restored_copy: bool,
}

impl EmbeddedOptions {
    /// Opens the store's data key with `outer`. No anchor, 64 MiB of cache.
    pub fn new(outer: Arc<dyn KeyEncryption>) -> Self {
        Self {
            outer,
            anchor: None,
            random: Arc::new(SystemRandom),
            cache_bytes: 64 << 20,
            accept_new_anchor: false,
            restored_copy: false,
        }
    }

    /// Remembers in `anchor` how far the store has come, and refuses to open an older copy.
    #[must_use]
    pub fn with_anchor(mut self, anchor: Arc<dyn Anchor>) -> Self {
        self.anchor = Some(anchor);
        self
    }

    /// Takes an anchor that knows nothing yet, for a store that was used without one.
    #[must_use]
    pub fn accept_new_anchor(mut self) -> Self {
        self.accept_new_anchor = true;
        self
    }

    /// Opens the file as what was restored from a backup: begins a new incarnation, so that whoever
    /// followed the feed reloads, and goes on at revisions that were never used. What was written
    /// after the backup, **revocations too, is lost**:
    /// [`EmbeddedStore::restored_from`](crate::EmbeddedStore::restored_from) says from which
    /// revision on.
    #[must_use]
    pub fn danger_as_restored_copy(mut self) -> Self {
        self.restored_copy = true;
        self
    }

    /// Keeps at most about so many bytes of the file in memory.
    #[must_use]
    pub fn with_cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Draws randomness for sealing from `random`.
    #[must_use]
    pub fn with_random(mut self, random: Arc<dyn SecureRandom>) -> Self {
        self.random = random;
        self
    }
}

impl fmt::Debug for EmbeddedOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedOptions")
            .field("anchor", &self.anchor.is_some())
            .field("cache_bytes", &self.cache_bytes)
            .finish_non_exhaustive()
    }
}
