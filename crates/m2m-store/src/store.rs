//! `Store`: the trait.

use std::pin::Pin;
use std::sync::Arc;

use crate::{Batch, Changes, Committed, Cursor, Key, Page, Record, Scan, Space, StoreError};

/// What the methods of a [`Store`] return. Boxed so that `Arc<dyn Store>` is possible: which store a
/// program has is said in its `main`, and not in the type of everything that keeps state.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Versioned records with a feed of what changes, and nothing else: what they mean is said where
/// they are used.
///
/// What every store promises:
///
/// - **Durable before acknowledged.** When [`Store::commit`] has returned [`Ok`], the batch survives
///   the death of the process and a power cut. When it has returned an error other than
///   [`StoreError::OutcomeUnknown`], it was not written and never appears.
/// - **All or nothing**, and one after the other: there is one order of commits, their revisions
///   tell it, and each sees all those before it.
/// - **Read what was written.** Whoever has seen a commit acknowledged, by whatever way, finds it in
///   every later [`Store::get`], [`Store::scan`] and [`Store::changes`] on the same store.
/// - **The feed misses nothing.** Whoever follows it has, at each place, the state of each record
///   as of that place or newer; or hears [`Changes::TooOld`].
///
/// A future that is dropped before it is ready may still have its effect; with the idempotency key
/// one can ask.
///
/// ```
/// use m2m_store::{Batch, Expected, IdempotencyKey, Key, MemoryStore, Space, Store, StoreError};
///
/// # pollster::block_on(async {
/// let store = MemoryStore::new();
/// let key = Key::new(&Space::new("secret")?, b"billing")?;
/// let first = Batch::new(IdempotencyKey::from_bytes([1; 16]));
/// let committed = store.commit(first.put(key.clone(), Expected::Absent, b"v1".as_slice())).await?;
///
/// // Whoever has not seen version 1 does not overwrite it.
/// let second = Batch::new(IdempotencyKey::from_bytes([2; 16]));
/// let late = store.commit(second.put(key.clone(), Expected::Absent, b"v1b".as_slice())).await;
/// assert!(matches!(late, Err(StoreError::Conflict { .. })));
///
/// let record = store.get(&key).await?.expect("just written");
/// assert_eq!((record.value().as_bytes(), record.version()), (b"v1".as_slice(), committed.revision()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub trait Store: Send + Sync + 'static {
    /// The record at `key`, with its version.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it cannot be said whether there is one.
    fn get<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, Option<Record>>;

    /// Writes all of `batch` if all it expects is true. The same batch again, under the same
    /// idempotency key, is answered as the first time and writes nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`], [`StoreError::Batch`] and all others but
    /// [`StoreError::OutcomeUnknown`] mean that nothing was written.
    fn commit(&self, batch: Batch) -> StoreFuture<'_, Committed>;

    /// Some of the records of a space, in the order of their keys.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; never fewer records than there are.
    fn scan<'a>(&'a self, scan: &'a Scan) -> StoreFuture<'a, Page>;

    /// What became different in `space` since the place `since`: about `limit` changes (1 to
    /// [`MAX_PAGE_RECORDS`](crate::MAX_PAGE_RECORDS)), more where one commit wrote more.
    ///
    /// A record that changed several times is told of once, as it is now. Begin at
    /// [`Cursor::START`] to get all there is.
    ///
    /// # Errors
    ///
    /// [`StoreError`]. That the place is too old is no error but an answer: [`Changes::TooOld`].
    fn changes<'a>(
        &'a self,
        space: &'a Space,
        since: Cursor,
        limit: usize,
    ) -> StoreFuture<'a, Changes>;

    /// Waits until there may be changes behind `since`, in whatever space, and returns at once if
    /// there are. May wake for nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store can no longer tell.
    fn changed(&self, since: Cursor) -> StoreFuture<'_, ()>;
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn get<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, Option<Record>> {
        (**self).get(key)
    }

    fn commit(&self, batch: Batch) -> StoreFuture<'_, Committed> {
        (**self).commit(batch)
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> StoreFuture<'a, Page> {
        (**self).scan(scan)
    }

    fn changes<'a>(
        &'a self,
        space: &'a Space,
        since: Cursor,
        limit: usize,
    ) -> StoreFuture<'a, Changes> {
        (**self).changes(space, since, limit)
    }

    fn changed(&self, since: Cursor) -> StoreFuture<'_, ()> {
        (**self).changed(since)
    }
}
