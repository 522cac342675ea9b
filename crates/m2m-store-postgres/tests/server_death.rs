//! The server is killed under load, again and again; nothing that was acknowledged is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use m2m_store::{Anchor, AnchorError, AnchorMark, Batch, Committed, Expected, Store, StoreError};
use m2m_store_postgres::{ConnectError, PostgresLimits, PostgresStore};
use m2m_testkit::postgres::{Options, Server};

mod common;

/// Again until the answer is known, as the documentation of `OutcomeUnknown` says.
async fn until_known(store: &PostgresStore, batch: Batch) -> Committed {
    loop {
        match store.commit(batch.clone()).await {
            Ok(committed) => return committed,
            Err(error) => assert!(error.is_transient(), "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_server_that_is_killed_under_load_has_lost_nothing_acknowledged() {
    const DEATHS: u32 = 5;
    let Some(mut server) = Server::start(Options::default()) else {
        return;
    };
    common::run(async {
        let limits = PostgresLimits::new()
            .with_statement_time(Duration::from_millis(500))
            .with_commit_time(Duration::from_secs(2));
        let config = common::on(&server.connection_string()).with_limits(limits);
        let nodes = [common::store(&config).await, common::connect(&config).await];
        let nodes = nodes.map(Arc::new);
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = (0..16_u8).map(|task| {
            let (store, stop) = (Arc::clone(&nodes[usize::from(task % 2)]), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for number in 0_u32.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let id = [&[task][..], &number.to_be_bytes()].concat();
                    let key = common::key(id);
                    let batch = common::batch().put(key.clone(), Expected::Absent, vec![task]);
                    acknowledged.push((key, until_known(&store, batch).await.revision()));
                }
                acknowledged
            })
        });
        let tasks: Vec<_> = tasks.collect();
        for _ in 0..DEATHS {
            tokio::time::sleep(Duration::from_millis(400)).await;
            tokio::task::block_in_place(|| {
                server.kill().expect("killed");
                server.resume().expect("it recovers");
            });
        }
        tokio::time::sleep(Duration::from_millis(400)).await;
        stop.store(true, Ordering::Relaxed);
        let (mut all, mut revisions) = (0, Vec::new());
        for task in tasks {
            for (key, revision) in task.await.expect("no panic") {
                let record = nodes[0].get(&key).await.expect("an answer");
                assert_eq!(record.expect("acknowledged").version(), revision, "{key}");
                revisions.push(revision);
                all += 1;
            }
        }
        // Each exactly once: as many records as were acknowledged, and as many revisions.
        let size = nodes[0].size().await.expect("a size");
        assert_eq!(size.records, all);
        revisions.sort_unstable();
        revisions.dedup();
        assert_eq!(revisions.len() as u64, all);
        assert_eq!(revisions.last().map(|last| last.number()), Some(all));
        let unknown: u64 = nodes.iter().map(|node| node.stats().unknown_outcomes).sum();
        println!("{DEATHS} deaths, {all} commits, {unknown} lost answers");
    });
}

#[test]
fn a_database_that_was_set_back_is_noticed_until_a_new_incarnation_begins() {
    let Some(config) = common::fresh() else {
        return;
    };
    common::run(async {
        let store = common::store(&config).await;
        let put = |value| common::batch().put(common::key("a"), Expected::Anything, vec![value]);
        store.commit(put(1)).await.expect("committed");
        let newest = store.commit(put(2)).await.expect("committed").revision();
        let place = store.stats().newest.expect("seen");
        // What restoring an older dump does to the head.
        let client = common::client(m2m_testkit::postgres::shared().expect("a server")).await;
        let back = format!("UPDATE \"{}\".head SET revision = 1", config.schema_name());
        client.batch_execute(&back).await.expect("set back");

        let corrupt = |error: StoreError| matches!(error, StoreError::Corrupt { .. });
        let space = common::space();
        assert!(corrupt(store.commit(put(3)).await.unwrap_err()));
        assert!(corrupt(store.changes(&space, place, 10).await.unwrap_err()));
        assert!(corrupt(store.changed(place).await.unwrap_err()));

        let random = m2m_crypto::SystemRandom;
        let begun = PostgresStore::begin_new_incarnation(config.clone(), &random);
        begun.await.expect("begun");
        let answer = store.changes(&space, place, 10).await;
        assert_eq!(answer, Ok(m2m_store::Changes::TooOld));
        store.changed(place).await.expect("there is something new");
        let again = store.commit(put(3)).await.expect("committed").revision();
        // No revision means two states.
        assert!(again > newest);
    });
}

/// Remembers in memory, and fails when told to.
#[derive(Default)]
struct TestAnchor {
    mark: std::sync::Mutex<Option<AnchorMark>>,
    fails: AtomicBool,
}

impl Anchor for TestAnchor {
    fn load(&self) -> Result<Option<AnchorMark>, AnchorError> {
        Ok(*self.mark.lock().expect("no panic"))
    }

    fn advance(&self, mark: AnchorMark) -> Result<(), AnchorError> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(AnchorError::new(m2m_store::Reason::new(
                "as the test asked",
            )));
        }
        *self.mark.lock().expect("no panic") = Some(mark);
        Ok(())
    }
}

#[test]
fn a_node_with_an_anchor_refuses_an_older_copy_also_after_a_restart() {
    let Some(config) = common::fresh() else {
        return;
    };
    common::run(async {
        let anchor = Arc::new(TestAnchor::default());
        let config = config.with_anchor(Arc::clone(&anchor) as Arc<dyn Anchor>);
        let store = common::store(&config).await;
        let put = || common::batch().put(common::key("a"), Expected::Anything, vec![1]);
        for _ in 0..3 {
            let committed = store.commit(put()).await.expect("committed");
            let mark = anchor.load().expect("a mark").expect("advanced");
            assert_eq!(mark.place().revision(), committed.revision());
        }

        // What the anchor could not remember is not acknowledged; asked again, it is.
        anchor.fails.store(true, Ordering::Relaxed);
        let batch = put();
        let unknown = store.commit(batch.clone()).await;
        assert!(
            matches!(unknown, Err(StoreError::OutcomeUnknown { .. })),
            "{unknown:?}"
        );
        anchor.fails.store(false, Ordering::Relaxed);
        let committed = store.commit(batch).await.expect("known");
        assert!(committed.was_repeated());
        drop(store);

        let client = common::client(m2m_testkit::postgres::shared().expect("a server")).await;
        let back = format!("UPDATE \"{}\".head SET revision = 2", config.schema_name());
        client.batch_execute(&back).await.expect("set back");
        let (outer, random) = (common::outer(), m2m_crypto::SystemRandom);
        let connect = || PostgresStore::connect(config.clone(), &outer, Arc::new(random));
        let (found, anchored) = (m2m_store::Revision::new(2), m2m_store::Revision::new(4));
        let expected = ConnectError::SetBack {
            found: found.expect("small"),
            anchored: anchored.expect("small"),
        };
        assert_eq!(connect().await.expect_err("refused"), expected);
        let begun = PostgresStore::begin_new_incarnation(config.clone(), &random);
        begun.await.expect("begun");
        let store = connect().await.expect("begun anew");
        store.commit(put()).await.expect("committed");
    });
}
