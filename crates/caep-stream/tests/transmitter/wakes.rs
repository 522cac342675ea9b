//! Who waits for something to push is woken by whatever is published, at whichever moment.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use caep_stream::DefaultSubjects;
use caep_stream::transmitter::{Pusher, Transmitter, TransmitterOptions};
use m2m_store::{
    Batch, Changes, Committed, Cursor, IdempotencyKey, Key, MemoryStore, Page, Record, Scan, Space,
    Store, StoreFuture,
};
use m2m_testkit::wait;
use pollster::block_on;

use crate::support::*;

/// A store in which somebody publishes just before the changes of a queue are read.
struct Busy {
    store: Arc<MemoryStore>,
    is_armed: AtomicBool,
    somebody: OnceLock<Arc<Transmitter>>,
}

impl Store for Busy {
    fn get<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, Option<Record>> {
        self.store.get(key)
    }

    fn commit(&self, batch: Batch) -> StoreFuture<'_, Committed> {
        self.store.commit(batch)
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> StoreFuture<'a, Page> {
        self.store.scan(scan)
    }

    fn changes<'a>(
        &'a self,
        space: &'a Space,
        since: Cursor,
        limit: usize,
    ) -> StoreFuture<'a, Changes> {
        Box::pin(async move {
            if space.as_str().contains("-queue-") && self.is_armed.swap(false, Ordering::SeqCst) {
                let name = IdempotencyKey::generate(RANDOM).unwrap();
                let somebody = self.somebody.get().unwrap();
                let event = revoked("a");
                let published = somebody.publish(&event, name, at(NOW));
                published.await.unwrap();
            }
            self.store.changes(space, since, limit).await
        })
    }

    fn changed(&self, since: Cursor) -> StoreFuture<'_, ()> {
        self.store.changed(since)
    }
}

#[test]
fn what_is_published_while_a_pusher_looks_wakes_it() {
    let world = World::new();
    world.pushed("rc");
    let store = Arc::new(Busy {
        store: Arc::clone(&world.store),
        is_armed: AtomicBool::new(false),
        somebody: OnceLock::new(),
    });
    store.somebody.set(world.another()).unwrap();
    let kept: Arc<dyn Store> = Arc::<Busy>::clone(&store);
    let options = TransmitterOptions::default();
    let transmitter = open_on(kept, &world.keys, &options, DefaultSubjects::All);
    let mut pusher = Pusher::new(transmitter);
    let mut next = || block_on(pusher.poll_delivery(at(NOW), RANDOM)).unwrap();
    assert!(next().is_none());
    store.is_armed.store(true, Ordering::SeqCst);
    assert!(next().is_none(), "it was published after it looked");
    assert!(!store.is_armed.load(Ordering::SeqCst));
    let woken = wait::at_most(Duration::from_secs(5), pusher.changed());
    assert_eq!(woken, Some(Ok(())));
    let mut next = || block_on(pusher.poll_delivery(at(NOW), RANDOM)).unwrap();
    assert!(next().is_some());
}
