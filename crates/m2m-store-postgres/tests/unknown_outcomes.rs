//! STO-018: the connection is lost at each message of a commit, and each batch is there once.

use std::time::Duration;

use m2m_store::{Expected, Store};
use m2m_store_postgres::{PostgresConfig, PostgresLimits, PostgresStore};
use m2m_testkit::postgres::{Options, Server};

use common::proxy::{Accident, Direction, Plan, Proxy};

mod common;

/// A server, a store that is reached through a proxy, and the same store reached directly.
async fn setting(server: &Server) -> (Proxy, PostgresStore, PostgresStore) {
    let direct = common::on(&server.connection_string());
    let watcher = common::store(&direct).await;
    let proxy = Proxy::start(server.port()).await;
    let limits = PostgresLimits::new()
        .with_statement_time(Duration::from_millis(400))
        .with_commit_time(Duration::from_secs(20));
    let config = PostgresConfig::new(&server.connection_string_on(proxy.port))
        .expect("a connection string")
        .with_schema(direct.schema_name())
        .expect("a name")
        .with_limits(limits);
    let store = common::connect(&config).await;
    (proxy, store, watcher)
}

/// Commits two batches at once while the accident happens. Whether it happened.
async fn survives(
    (proxy, store, watcher): &(Proxy, PostgresStore, PostgresStore),
    plan: Plan,
) -> bool {
    let name = |part: u8| {
        let kind = plan.direction as u8 * 3 + plan.accident as u8;
        common::key([
            kind,
            u8::try_from(plan.message).expect("few messages"),
            part,
        ])
    };
    let value = vec![7; 50];
    let one = common::batch().put(name(1), Expected::Absent, value.clone());
    let other = common::batch().put(name(2), Expected::Absent, value.clone());
    let ahead = common::batch().put(name(3), Expected::Absent, value);
    let before = watcher.size().await.expect("a size").records;
    proxy.arm(plan);
    // While the first is on its way, the two others wait, and become one group.
    let (ahead, first, second) = tokio::join!(
        biased;
        store.commit(ahead),
        store.commit(one.clone()),
        store.commit(other)
    );
    let happened = proxy.disarm();
    ahead.expect("committed");
    let (first, second) = (first.expect("committed"), second.expect("committed"));
    assert!(!first.was_repeated() && !second.was_repeated(), "{plan:?}");

    // Each is there as what was answered, and nothing was written twice: each commit has one
    // revision and makes one record.
    for (part, committed) in [(1, first), (2, second)] {
        let record = watcher.get(&name(part)).await.expect("an answer");
        let record = record.expect("acknowledged");
        assert_eq!(record.version(), committed.revision(), "{plan:?}");
    }
    let page = watcher
        .scan(&m2m_store::Scan::new(common::space()).with_limit(1))
        .await
        .expect("a page");
    let records = watcher.size().await.expect("a size").records;
    assert_eq!(records, before + 3, "{plan:?}");
    assert_eq!(page.as_of().revision().number(), records, "{plan:?}");
    assert!(store.commit(one).await.expect("an answer").was_repeated());
    happened
}

/// After so many messages that never came, none will.
const BEYOND: usize = 5;

fn at_each_message(accident: Accident, step: usize) {
    let Some(server) = Server::start(Options::default()) else {
        return;
    };
    common::run(async {
        let setting = setting(&server).await;
        let mut cut = 0;
        for direction in [Direction::ToServer, Direction::ToClient] {
            // How many messages a transaction takes differs a little from one to the next.
            let mut beyond = 0;
            for message in (0..).step_by(step) {
                let plan = Plan {
                    transaction: 1,
                    direction,
                    message,
                    accident,
                };
                match survives(&setting, plan).await {
                    true => (cut, beyond) = (cut + 1, 0),
                    false => beyond += 1,
                }
                if beyond > BEYOND {
                    break;
                }
            }
        }
        let stats = setting.1.stats();
        common::say(&format!("{accident:?}: {cut} accidents, {stats:?}"));
        assert!(cut * step > 20, "only {cut}");
        // What is lost behind the last message of an answer is not missed.
        assert!(stats.unknown_outcomes > 0 && stats.retries > cut as u64 / 2);
    });
}

#[test]
fn sto_018_a_connection_that_is_cut_before_any_message_loses_and_doubles_nothing() {
    at_each_message(Accident::CutBefore, 1);
}

#[test]
fn sto_018_a_connection_that_is_cut_behind_any_message_loses_and_doubles_nothing() {
    at_each_message(Accident::CutBehind, 1);
}

#[test]
fn sto_018_a_connection_that_falls_silent_loses_and_doubles_nothing() {
    at_each_message(Accident::Freeze, 4);
}
