//! `Live<T>`: an immutable snapshot that is swapped whole, so that readers never wait.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::cache::Cache;
use arc_swap::{ArcSwap, Guard};

/// A value that changes as a whole while others read it: keys, trust bundles, revocations, policy.
///
/// Readers take the current snapshot without a lock and without writing to memory that other
/// threads read; a writer replaces it in one step. A reader sees the old value or the new one,
/// never a mixture, and keeps what it took for as long as it holds it.
///
/// [`Live::version`] counts the replacements, so that something derived from a snapshot can be
/// thrown away when it is out of date at the price of one load.
///
/// ```
/// use m2m_types::Live;
///
/// let keys = Live::new(vec!["k1"]);
/// let before = keys.load();
/// keys.store(vec!["k1", "k2"]);
/// assert_eq!(*before, ["k1"]);
/// assert_eq!(*keys.load(), ["k1", "k2"]);
/// ```
pub struct Live<T> {
    current: ArcSwap<T>,
    version: AtomicU64,
}

impl<T> Live<T> {
    /// Starts with `value`, at version 0.
    pub fn new(value: T) -> Self {
        Self {
            current: ArcSwap::from_pointee(value),
            version: AtomicU64::new(0),
        }
    }

    /// The current snapshot. It stays as it is for as long as it is held; take it anew for each
    /// request.
    pub fn load(&self) -> Snapshot<T> {
        Snapshot {
            guard: self.current.load(),
        }
    }

    /// The current snapshot, to keep: costs a shared write, so not for the hot path.
    pub fn load_full(&self) -> Arc<T> {
        self.current.load_full()
    }

    /// Replaces the value. When this returns, every later [`Live::load`] on every thread gets the
    /// new one, and [`Live::version`] has gone up.
    pub fn store(&self, value: T) {
        self.store_arc(Arc::new(value));
    }

    /// [`Live::store`] for a value that is already shared.
    pub fn store_arc(&self, value: Arc<T>) {
        self.current.store(value);
        // After the swap: who reads a version and then the value may get a newer value than that
        // version says, never an older one. So what is stamped with it dies too early, not too late.
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Replaces the value by one from which the same would be derived (confirmed anew, or with a
    /// later end): [`Live::version`] stays, so what was derived from the old value stays in use.
    pub fn renew(&self, value: T) {
        self.current.store(Arc::new(value));
    }

    /// How often the value has been replaced. Read it *before* [`Live::load`] to stamp what is
    /// derived from the snapshot.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}

impl<T: fmt::Debug> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("version", &self.version())
            .field("current", &*self.load())
            .finish()
    }
}

/// What [`Live::load`] returns: one snapshot, held.
pub struct Snapshot<T> {
    guard: Guard<Arc<T>>,
}

impl<T> Deref for Snapshot<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T: fmt::Debug> fmt::Debug for Snapshot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// A reader of one [`Live`] who keeps the snapshot that it took: while that is the current one, taking it
/// again is one load and a comparison, where [`Live::load`] has to exchange words with the memory. It
/// holds an old snapshot until it looks again, so one that is idle for long is better dropped.
///
/// ```
/// use std::sync::Arc;
/// use m2m_types::{Live, LiveReader};
///
/// let keys = Arc::new(Live::new(vec!["k1"]));
/// let mut reader = LiveReader::new(Arc::clone(&keys));
/// assert_eq!(*reader.load(), ["k1"]);
/// keys.store(vec!["k1", "k2"]);
/// assert_eq!(*reader.load(), ["k1", "k2"]);
/// ```
pub struct LiveReader<T> {
    live: Arc<Live<T>>,
    cache: Cache<Current<T>, Arc<T>>,
}

impl<T> LiveReader<T> {
    /// A reader of `live`.
    pub fn new(live: Arc<Live<T>>) -> Self {
        Self {
            cache: Cache::new(Current(Arc::clone(&live))),
            live,
        }
    }

    /// What it reads.
    #[inline]
    pub fn live(&self) -> &Arc<Live<T>> {
        &self.live
    }

    /// The current snapshot, never an older one than [`Live::load`] would give.
    #[inline]
    pub fn load(&mut self) -> &T {
        self.cache.load()
    }
}

impl<T: fmt::Debug> fmt::Debug for LiveReader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveReader")
            .field("live", &self.live)
            .finish()
    }
}

/// Where a [`LiveReader`] looks.
struct Current<T>(Arc<Live<T>>);

impl<T> Deref for Current<T> {
    type Target = ArcSwap<T>;

    fn deref(&self) -> &ArcSwap<T> {
        &self.0.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_outlives_its_replacement() {
        let live = Live::new(String::from("old"));
        let held = live.load();
        live.store(String::from("new"));
        assert_eq!((held.as_str(), live.load().as_str()), ("old", "new"));
        assert_eq!(live.version(), 1);
    }

    #[test]
    fn readers_never_see_a_mixture() {
        let live = Arc::new(Live::new((0_u64, 0_u64)));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for i in 1..=20_000 {
                    live.store((i, i));
                }
            });
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut last = 0;
                    let mut reader = LiveReader::new(Arc::clone(&live));
                    while last < 20_000 {
                        let version = live.version();
                        let kept = *reader.load();
                        assert_eq!(kept.0, kept.1);
                        assert!(kept.0 >= version, "kept for too long");
                        assert!(kept.0 >= last, "went back");
                        let snapshot = live.load();
                        assert!(snapshot.0 >= kept.0, "went back");
                        assert_eq!(snapshot.0, snapshot.1);
                        assert!(snapshot.0 >= version, "older than its version says");
                        assert!(snapshot.0 >= last, "went back");
                        last = snapshot.0;
                    }
                });
            }
        });
    }
}
