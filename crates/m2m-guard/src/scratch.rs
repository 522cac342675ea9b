//! `GuardScratch`: the memory that an admission needs, made once and used again.

use std::fmt;
use std::sync::Arc;

use m2m_revoke::{RevocationReader, Revocations};

/// Memory for one admission at a time, about 36 KiB. Make one for each worker thread or each connection
/// and use it again and again: admitting then allocates nothing.
///
/// It keeps the table of revocations that it looked into last: drop what is idle for long.
#[derive(Default)]
pub struct GuardScratch {
    pub(crate) token: m2m_token::Scratch,
    pub(crate) reader: Reader,
    #[cfg(feature = "secrets")]
    pub(crate) signature: m2m_secrets::HttpSignatureScratch,
}

/// What reads the revocations of the guard that the scratch was used with last.
#[derive(Default)]
pub(crate) struct Reader(Option<RevocationReader>);

impl Reader {
    pub(crate) fn of(&mut self, revocations: &Arc<Revocations>) -> &mut RevocationReader {
        let is_theirs = |reader: &&mut RevocationReader| Arc::ptr_eq(reader.set(), revocations);
        if self.0.as_mut().filter(is_theirs).is_none() {
            self.0 = None;
        }
        self.0
            .get_or_insert_with(|| RevocationReader::new(Arc::clone(revocations)))
    }
}

impl GuardScratch {
    /// Memory for one admission at a time.
    pub fn new() -> Self {
        Self::default()
    }
}

impl fmt::Debug for GuardScratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardScratch").finish_non_exhaustive()
    }
}
