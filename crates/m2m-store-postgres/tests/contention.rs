//! Nodes that are in each other's way: STO-019, STO-020, and a follower that misses nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use m2m_store::{
    Change, Cursor, Expected, Follower, IdempotencyKey, Scan, Step, Store, StoreError,
};
use m2m_store_postgres::{PostgresConfig, PostgresLimits};

mod common;

/// The schema's quoted name, as a statement of the test's own needs it.
fn schema(config: &PostgresConfig) -> String {
    format!("\"{}\"", config.schema_name())
}

/// Makes the next `times` writes of the head fail with `code`.
async fn inject(config: &PostgresConfig, code: &str, times: u32) {
    let schema = schema(config);
    let client = common::client(m2m_testkit::postgres::shared().expect("a server")).await;
    // Sequences are not rolled back, so the count of failures survives them.
    let statements = format!(
        "CREATE SEQUENCE {schema}.failures;
         CREATE FUNCTION {schema}.fail() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF nextval('{schema}.failures') <= {times} THEN
                 RAISE EXCEPTION 'injected' USING ERRCODE = '{code}';
             END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER fail BEFORE UPDATE ON {schema}.head
         FOR EACH ROW EXECUTE FUNCTION {schema}.fail()"
    );
    client.batch_execute(&statements).await.expect("a trigger");
}

#[test]
fn sto_019_injected_failures_are_retried_and_the_effect_is_exactly_once() {
    let Some(_) = common::fresh() else { return };
    common::run(async {
        // Serialisation failure, deadlock, and "nobody knows whether it was completed".
        for code in ["40001", "40P01", "40003"] {
            let config = common::fresh().expect("a server");
            let store = common::store(&config).await;
            inject(&config, code, 5).await;
            let batch = common::batch().put(common::key("a"), Expected::Absent, vec![1]);
            let committed = store.commit(batch.clone()).await.expect("retried");
            assert!(!committed.was_repeated());
            assert_eq!(committed.revision().number(), 1, "{code}");
            assert_eq!(store.stats().retries, 5, "{code}");
            assert!(store.commit(batch).await.expect("known").was_repeated());
        }
    });
}

#[test]
fn sto_019_what_never_ends_is_given_up_within_its_time_and_was_not_written() {
    let Some(config) = common::fresh() else {
        return;
    };
    common::run(async {
        let limits = PostgresLimits::new().with_commit_time(Duration::from_millis(300));
        let config = config.with_limits(limits);
        let store = common::store(&config).await;
        inject(&config, "40001", 1_000_000).await;
        let batch = common::batch().put(common::key("a"), Expected::Absent, vec![1]);
        let refused = store.commit(batch).await;
        assert!(
            matches!(refused, Err(StoreError::Unavailable { .. })),
            "{refused:?}"
        );
        assert_eq!(store.get(&common::key("a")).await, Ok(None));

        // Where the server itself does not know, neither is it said to be unwritten.
        let config = common::fresh().expect("a server").with_limits(limits);
        let store = common::store(&config).await;
        inject(&config, "40003", 1_000_000).await;
        let batch = common::batch().put(common::key("a"), Expected::Absent, vec![1]);
        let unknown = store.commit(batch).await;
        assert!(
            matches!(unknown, Err(StoreError::OutcomeUnknown { .. })),
            "{unknown:?}"
        );
    });
}

#[test]
fn sto_019_a_real_deadlock_is_resolved() {
    let Some(config) = common::fresh() else {
        return;
    };
    common::run(async {
        let store = common::store(&config).await;
        let schema = schema(&config);
        let put = |value| common::batch().put(common::key("a"), Expected::Anything, vec![value]);
        store.commit(put(1)).await.expect("committed");
        let client = common::client(m2m_testkit::postgres::shared().expect("a server")).await;
        // Takes the locks in the other order than the store does. PostgreSQL cancels whoever waited
        // a second; the store waits longer than that for its lock.
        let row = format!("BEGIN; UPDATE {schema}.records SET place = place");
        client.batch_execute(&row).await.expect("a lock");
        let committing = store.commit(put(2));
        let crossing = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let head = format!("UPDATE {schema}.head SET floor = floor");
            // One of the two is told; it may be this one.
            let _ = client.batch_execute(&head).await;
            let _ = client.batch_execute("ROLLBACK").await;
        };
        let (committed, ()) = tokio::join!(committing, crossing);
        assert_eq!(committed.expect("committed").revision().number(), 2);
    });
}

#[test]
fn sto_020_one_of_a_hundred_claims_on_two_nodes_wins() {
    let Some(config) = common::fresh() else {
        return;
    };
    common::run(async {
        let nodes = [common::store(&config).await, common::connect(&config).await];
        let nodes = nodes.map(Arc::new);
        for round in 0..5_u8 {
            let claims = (0..100_u8).map(|claim| {
                let node = Arc::clone(&nodes[usize::from(claim % 2)]);
                tokio::spawn(async move {
                    let key = common::key([round]);
                    let batch = common::batch().put(key, Expected::Absent, vec![claim]);
                    (claim, node.commit(batch).await)
                })
            });
            let claims: Vec<_> = claims.collect();
            let mut winners = Vec::new();
            for claim in claims {
                match claim.await.expect("no panic") {
                    (claim, Ok(_)) => winners.push(claim),
                    (_, Err(error)) => assert!(
                        matches!(error, StoreError::Conflict { found: Some(_), .. }),
                        "{error:?}"
                    ),
                }
            }
            let [winner] = winners[..] else {
                panic!("{winners:?}");
            };
            let record = nodes[0]
                .get(&common::key([round]))
                .await
                .expect("an answer");
            assert_eq!(record.expect("claimed").value().as_bytes(), [winner]);
        }
    });
}

#[test]
fn two_nodes_write_and_a_third_follows_without_missing_anything() {
    const BATCHES: u64 = 400;
    let Some(config) = common::fresh() else {
        return;
    };
    common::run(async {
        let writers = [common::store(&config).await, common::connect(&config).await];
        let reader = Arc::new(common::connect(&config).await);
        let writing = writers.map(|store| {
            let store = Arc::new(store);
            tokio::spawn(async move {
                let mut revisions = Vec::new();
                let mut waiting = Vec::new();
                for number in 0..BATCHES {
                    let store = Arc::clone(&store);
                    waiting.push(tokio::spawn(async move {
                        let own = IdempotencyKey::generate(&m2m_crypto::SystemRandom);
                        let own = own.expect("randomness");
                        // A key of its own, and one that all fight for.
                        let batch = m2m_store::Batch::new(own)
                            .put(common::key(own.as_bytes()), Expected::Absent, vec![1])
                            .put(common::key([number as u8 % 7]), Expected::Anything, vec![2]);
                        store.commit(batch).await.expect("committed").revision()
                    }));
                    if number % 20 == 19 {
                        for commit in waiting.drain(..) {
                            revisions.push(commit.await.expect("no panic"));
                        }
                    }
                }
                revisions
            })
        });
        let mut follower = Follower::new(reader.clone(), common::space());
        let (mut state, mut last) = (BTreeMap::new(), m2m_store::Revision::ZERO);
        while state.len() < 2 * BATCHES as usize + 7 || last.number() < 2 * BATCHES {
            let step = follower.next().await.expect("a step");
            let Step::Changes { changes, .. } = &step else {
                panic!("nothing was pruned");
            };
            for change in changes {
                // In their order, and nothing behind what was passed.
                assert!(change.revision() >= last, "{change:?} after {last}");
                last = change.revision();
                assert!(matches!(change, Change::Put(_)));
                state.insert(change.key().clone(), change.revision());
            }
            follower.done(&step);
        }
        let mut revisions = Vec::new();
        for writer in writing {
            revisions.extend(writer.await.expect("no panic"));
        }
        revisions.sort_unstable();
        let expected: Vec<_> = (1..=2 * BATCHES)
            .filter_map(m2m_store::Revision::new)
            .collect();
        assert_eq!(revisions, expected);

        // What was followed is what is there.
        let (mut scan, mut scanned) = (Scan::new(common::space()), BTreeMap::new());
        loop {
            let page = reader.scan(&scan).await.expect("a page");
            let records = page.records().iter();
            scanned.extend(records.map(|record| (record.key().clone(), record.version())));
            match page.next() {
                Some(key) => scan = scan.after(key.clone()),
                None => break,
            }
        }
        assert_eq!(state, scanned);
    });
}

#[test]
fn a_follower_that_is_behind_what_was_pruned_loads_anew_and_then_knows_all() {
    let Some(config) = common::fresh() else {
        return;
    };
    common::run(async {
        let store = Arc::new(common::store(&config).await);
        let put = |id: u8| common::batch().put(common::key([id]), Expected::Anything, vec![id]);
        let delete = |id: u8| common::batch().delete(common::key([id]), Expected::Present);
        for id in 0..20 {
            store.commit(put(id)).await.expect("committed");
        }
        let Ok(m2m_store::Changes::Some(page)) =
            store.changes(&common::space(), Cursor::START, 100).await
        else {
            panic!("from the start");
        };
        let behind = page.next();
        for id in 0..10 {
            store.commit(delete(id)).await.expect("committed");
        }
        let until = m2m_store::Revision::new(25).expect("small");
        assert_eq!(store.prune_tombstones(until).await, Ok(5));
        let size = store.size().await.expect("a size");
        assert_eq!((size.records, size.tombstones), (10, 5));
        let answer = store.changes(&common::space(), behind, 100).await;
        assert_eq!(answer, Ok(m2m_store::Changes::TooOld));
        // A walk from the start in small steps comes to its end.
        let (mut place, mut seen) = (Cursor::START, 0);
        loop {
            let Ok(m2m_store::Changes::Some(page)) =
                store.changes(&common::space(), place, 3).await
            else {
                panic!("a walk from the start");
            };
            seen += page.changes().len();
            place = page.next();
            if !page.has_more() {
                break;
            }
        }
        assert_eq!(seen, 15);
    });
}
