//! `Outages`: when nobody could be renewed, and how the queue behind it is worked off.

use std::time::Duration;

use m2m_types::Timestamp;

/// A time during which an authority renewed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    began: Timestamp,
    ended: Timestamp,
}

/// Why there is no such outage.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutageError {
    /// It ends before it begins.
    #[error("an outage from {began} cannot end at {ended}")]
    Order {
        /// When it began.
        began: Timestamp,
        /// When it ended.
        ended: Timestamp,
    },
    /// It begins before the one that was noted last has ended.
    #[error("an outage from {began} overlaps the one until {ended}, noted before")]
    Overlap {
        /// When it began.
        began: Timestamp,
        /// When the last one ended.
        ended: Timestamp,
    },
}

/// The outages of an authority that still matter.
///
/// After one of length D that ended at h, who was due at m comes at h + (m − h + D) · 8/9: in the order
/// in which they were due, and nine come in the time of eight. So the rate of signing is an eighth above
/// the mean until the queue is empty, after nine times D, and whoever was due first, whose certificate
/// expires first, is served at once. Everybody computes this alike, from their certificate and this
/// value; nobody keeps a queue.
///
/// A value: the authority notes when it was away (it knows when it last signed) and hands it to who asks,
/// or answers who comes too early with the moment that it gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outages {
    list: Vec<Outage>,
}

/// The queue moves this much faster than time: 9 to 8.
const FASTER: u64 = 9;
const USUAL: u64 = 8;

impl Outage {
    /// Nothing was renewed from `began` to `ended`.
    ///
    /// # Errors
    ///
    /// [`OutageError::Order`].
    pub fn new(began: Timestamp, ended: Timestamp) -> Result<Self, OutageError> {
        match began <= ended {
            true => Ok(Self { began, ended }),
            false => Err(OutageError::Order { began, ended }),
        }
    }

    /// How long it was.
    pub fn length(&self) -> Duration {
        self.ended.checked_since(self.began).unwrap_or_default()
    }

    /// When the queue that it left is empty.
    pub fn is_over_at(&self) -> Timestamp {
        let queue = self
            .length()
            .saturating_mul(u32::try_from(FASTER).unwrap_or(1));
        self.began.saturating_add(queue)
    }

    /// When who was due at `moment` comes instead. Never earlier.
    fn put_off(&self, moment: Timestamp) -> Timestamp {
        // Who was due before it began was renewed, or had other troubles.
        let Some(place) = moment.checked_since(self.began) else {
            return moment;
        };
        let place = place.as_secs().saturating_mul(USUAL) / FASTER;
        let turn = self.ended.saturating_add(Duration::from_secs(place));
        turn.max(moment)
    }
}

impl Outages {
    /// The most that are remembered; older ones are forgotten, whose queues are long empty.
    pub const MAX: usize = 16;

    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more, which is the newest.
    ///
    /// # Errors
    ///
    /// [`OutageError::Overlap`].
    pub fn with(mut self, outage: Outage) -> Result<Self, OutageError> {
        if let Some(last) = self.list.last().filter(|last| outage.began < last.ended) {
            return Err(OutageError::Overlap {
                began: outage.began,
                ended: last.ended,
            });
        }
        if self.list.len() == Self::MAX {
            self.list.remove(0);
        }
        self.list.push(outage);
        Ok(self)
    }

    /// Without those whose queues were empty before `now`.
    #[must_use]
    pub fn without_past(mut self, now: Timestamp) -> Self {
        self.list.retain(|outage| outage.is_over_at() >= now);
        self
    }

    /// When who was due at `moment` comes, after all of them.
    pub fn put_off(&self, moment: Timestamp) -> Timestamp {
        self.list
            .iter()
            .fold(moment, |moment, outage| outage.put_off(moment))
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}
