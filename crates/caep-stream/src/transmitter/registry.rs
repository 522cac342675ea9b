//! `Registry`: streams and interests in memory, as new as the store's feed says.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use m2m_store::{Change, Changes, Cursor, Record};
use m2m_types::Timestamp;

use super::interest::{Entry, Interest};
use super::place::stream_of;
use super::record::Stream;

/// What is known of all streams.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    streams: BTreeMap<Box<str>, Arc<Stream>>,
    interests: HashMap<Box<str>, Interest>,
    depths: HashMap<Box<str>, Depth>,
    places: Option<Places>,
}

/// Up to where the feed was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) streams: Cursor,
    pub(crate) subjects: Cursor,
}

impl Places {
    pub(crate) const START: Self = Self {
        streams: Cursor::START,
        subjects: Cursor::START,
    };
}

/// How many SETs a queue has at most: what was counted, and what this process has added since.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Depth {
    pub(crate) estimate: usize,
    pub(crate) counted: usize,
    pub(crate) counted_at: Timestamp,
    /// Whether it was cleared of what is moot when it was counted.
    pub(crate) coalesced: bool,
}

impl Depth {
    pub(crate) fn counted(count: usize, now: Timestamp) -> Self {
        Self {
            estimate: count,
            counted: count,
            counted_at: now,
            coalesced: false,
        }
    }
}

impl Registry {
    pub(crate) fn places(&self) -> Places {
        self.places.unwrap_or(Places::START)
    }

    /// Takes in what changed since `since`, unless somebody else was faster. Says whether there is more,
    /// or what record cannot be read.
    pub(crate) fn apply(
        &mut self,
        since: Places,
        streams: Changes,
        subjects: Changes,
    ) -> Result<bool, Record> {
        if self.places() != since {
            return Ok(true);
        }
        let (Changes::Some(streams), Changes::Some(subjects)) = (streams, subjects) else {
            // What was deleted is not known any more: all is read again.
            let depths = std::mem::take(&mut self.depths);
            *self = Self {
                depths,
                ..Self::default()
            };
            return Ok(true);
        };
        for change in streams.changes() {
            self.stream(change)?;
        }
        for change in subjects.changes() {
            self.subject(change)?;
        }
        self.places = Some(Places {
            streams: streams.next(),
            subjects: subjects.next(),
        });
        Ok(streams.has_more() || subjects.has_more())
    }

    fn stream(&mut self, change: &Change) -> Result<(), Record> {
        match change {
            Change::Put(record) => {
                let stream = Stream::decode(record).ok_or_else(|| record.clone())?;
                self.streams.insert(stream.id.clone(), Arc::new(stream));
            }
            gone => {
                let id = std::str::from_utf8(gone.key().id()).unwrap_or_default();
                self.streams.remove(id);
                self.interests.remove(id);
                self.depths.remove(id);
            }
        }
        Ok(())
    }

    fn subject(&mut self, change: &Change) -> Result<(), Record> {
        let key = change.key();
        let digest = key.id().split_last_chunk::<32>().map(|(_, digest)| *digest);
        let (Some(stream), Some(digest)) = (stream_of(key), digest) else {
            return Ok(());
        };
        match change {
            Change::Put(record) => {
                let entry = Entry::decode(record).ok_or_else(|| record.clone())?;
                let interest = self.interests.entry(Box::from(stream)).or_default();
                interest.put(digest, entry);
            }
            _ => {
                if let Some(interest) = self.interests.get_mut(stream) {
                    interest.forget(&digest);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn streams(&self) -> impl Iterator<Item = &Arc<Stream>> {
        self.streams.values()
    }

    pub(crate) fn stream_called(&self, id: &str) -> Option<Arc<Stream>> {
        self.streams.get(id).cloned()
    }

    pub(crate) fn interest(&self, stream: &str) -> Option<&Interest> {
        self.interests.get(stream)
    }

    pub(crate) fn depth(&self, stream: &str) -> Option<Depth> {
        self.depths.get(stream).copied()
    }

    /// Says how many SETs are in a queue.
    pub(crate) fn know(&mut self, stream: &str, depth: Depth) {
        self.depths.insert(Box::from(stream), depth);
    }

    /// Says that SETs were added to a queue that was counted before.
    pub(crate) fn added(&mut self, stream: &str, count: usize) {
        if let Some(depth) = self.depths.get_mut(stream) {
            depth.estimate = depth.estimate.saturating_add(count);
        }
    }

    /// Says that SETs were taken out of a queue.
    pub(crate) fn taken(&mut self, stream: &str, count: usize) {
        if let Some(depth) = self.depths.get_mut(stream) {
            depth.estimate = depth.estimate.saturating_sub(count);
        }
    }
}
