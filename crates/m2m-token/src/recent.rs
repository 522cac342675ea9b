//! What a scratch was used with last, so that it need not be looked up where threads share it.
//!
//! Most services see few headers and few issuers, and then what is shared with other threads is compared
//! with what is kept here, and not taken hold of. Nothing is decided here: a header is taken if the token
//! has it byte for byte and the verifier knows it, a key set if it is the current one of the issuer that
//! the token names.

use std::sync::Arc;

use m2m_types::{Live, LiveReader};

use crate::header::{KnownHeader, KnownHeaders};
use crate::key_set::KeySet;

/// The header that was used last, and the verifier's ones to which it belongs.
#[derive(Default)]
pub(crate) struct RecentHeader {
    kept: Option<(Arc<KnownHeaders>, Arc<KnownHeader>)>,
    others: Others,
}

impl RecentHeader {
    /// The header of `headers` that `token` begins with, if it is the one that was used last; a dot
    /// follows it there.
    #[inline(always)]
    pub(crate) fn of(&self, headers: &Arc<KnownHeaders>, token: &[u8]) -> Option<&KnownHeader> {
        let (theirs, known) = self.kept.as_ref()?;
        let text = &*known.text;
        let begins = Arc::ptr_eq(theirs, headers)
            && token.get(text.len()) == Some(&b'.')
            && token.get(..text.len()) == Some(text);
        begins.then_some(known)
    }

    /// A token with another header of `headers` was genuine.
    #[cold]
    #[inline(never)]
    pub(crate) fn keep(&mut self, headers: &Arc<KnownHeaders>, known: &Arc<KnownHeader>) {
        if self.kept.is_none() || self.others.is_time() {
            self.kept = Some((Arc::clone(headers), Arc::clone(known)));
        }
    }
}

/// The keys that were used last.
#[derive(Default)]
pub(crate) struct RecentKeys {
    kept: Option<LiveReader<KeySet>>,
    others: Others,
}

impl RecentKeys {
    /// The current keys of `live`, if those were used last.
    #[inline(always)]
    pub(crate) fn of(&mut self, live: &Arc<Live<KeySet>>) -> Option<&KeySet> {
        let is_theirs = |reader: &&mut LiveReader<KeySet>| Arc::ptr_eq(reader.live(), live);
        self.kept.as_mut().filter(is_theirs).map(LiveReader::load)
    }

    /// A token with keys of `live` was genuine, and they were not those that are kept.
    #[cold]
    #[inline(never)]
    pub(crate) fn keep(&mut self, live: &Arc<Live<KeySet>>) {
        if self.kept.is_none() || self.others.is_time() {
            self.kept = Some(LiveReader::new(Arc::clone(live)));
        }
    }
}

/// Counts what was needed and is not what is kept. To take hold of something is a write that other threads
/// see, so that is done once in a while, and not at each token of a service that sees many issuers.
#[derive(Default)]
struct Others(u8);

impl Others {
    fn is_time(&mut self) -> bool {
        self.0 = (self.0 + 1) % 16;
        self.0 == 0
    }
}
