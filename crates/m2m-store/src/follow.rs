//! `Follower`: walks the feed of one space and never loses its place.

use std::sync::Arc;

use crate::{Change, Changes, Cursor, MAX_PAGE_RECORDS, Space, Store, StoreError};

/// Follows what changes in one space.
///
/// Take [`Follower::next`] in a loop; the place moves on only when the step that was returned is
/// given back to [`Follower::done`], so a step that could not be applied comes again.
///
/// ```
/// use std::sync::Arc;
/// use m2m_store::{Batch, Expected, Follower, IdempotencyKey, Key, MemoryStore, Space, Step, Store};
///
/// # pollster::block_on(async {
/// let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
/// let space = Space::new("revocation")?;
/// let batch = Batch::new(IdempotencyKey::from_bytes([1; 16]));
/// let key = Key::new(&space, b"a")?;
/// store.commit(batch.put(key, Expected::Anything, b"1".as_slice())).await?;
///
/// let mut follower = Follower::new(store, space);
/// let step = follower.next().await?;
/// assert!(matches!(&step, Step::Changes { changes, .. } if changes.len() == 1));
/// follower.done(&step);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub struct Follower {
    store: Arc<dyn Store>,
    space: Space,
    place: Cursor,
    caught_up: bool,
}

/// What a [`Follower`] found.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// These changes, oldest first. May be none.
    Changes {
        /// The changes.
        changes: Vec<Change>,
        /// The place behind them.
        next: Cursor,
        /// Whether more was there already.
        more: bool,
    },
    /// The place is too old: forget what was derived from the feed. All records follow.
    Reload,
}

impl Follower {
    /// Follows `space` from the start.
    pub fn new(store: Arc<dyn Store>, space: Space) -> Self {
        Self::from_place(store, space, Cursor::START)
    }

    /// Follows `space` from a place that was kept together with what was derived up to it.
    pub fn from_place(store: Arc<dyn Store>, space: Space, place: Cursor) -> Self {
        Self {
            store,
            space,
            place,
            caught_up: false,
        }
    }

    /// What is next. While more is there returns at once, and then waits for the next change. The
    /// first time it does not wait.
    ///
    /// # Errors
    ///
    /// [`StoreError`]. The place stays; try again.
    pub async fn next(&mut self) -> Result<Step, StoreError> {
        if self.caught_up {
            self.store.changed(self.place).await?;
        }
        self.look().await
    }

    /// What is next, without waiting for anything to change.
    ///
    /// # Errors
    ///
    /// [`StoreError`]. The place stays; try again.
    pub async fn look(&self) -> Result<Step, StoreError> {
        let changes = self
            .store
            .changes(&self.space, self.place, MAX_PAGE_RECORDS);
        Ok(match changes.await? {
            Changes::TooOld => Step::Reload,
            Changes::Some(page) => Step::Changes {
                next: page.next(),
                more: page.has_more(),
                changes: page.into_changes(),
            },
        })
    }

    /// `step` was applied: goes on behind it.
    pub fn done(&mut self, step: &Step) {
        match step {
            Step::Changes { next, more, .. } => {
                self.place = *next;
                self.caught_up = !more;
            }
            Step::Reload => {
                self.place = Cursor::START;
                self.caught_up = false;
            }
        }
    }

    /// Up to where all steps were applied.
    pub fn place(&self) -> Cursor {
        self.place
    }
}
