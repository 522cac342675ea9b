//! What `docs/guides/run-on-postgres.md` tells to type is typed, in its order.

use std::sync::Arc;

use m2m_crypto::{SecretBytes, SystemRandom};
use m2m_store::{Expected, Revision, Store};
use m2m_store_postgres::{PostgresConfig, PostgresStore};
use m2m_testkit::postgres::{Options, PASSWORD, Server};

mod common;

const GUIDE: &str = include_str!("../../../docs/guides/run-on-postgres.md");

/// Statements of the guide, and who runs them.
fn statements() -> impl Iterator<Item = (&'static str, &'static str)> {
    GUIDE.split("<!-- as ").skip(1).map(|part| {
        let (who, rest) = part.split_once(" -->").expect("a mark");
        let (_, rest) = rest.split_once("```sql\n").expect("a block");
        (who, rest.split_once("```").expect("its end").0)
    })
}

#[test]
fn the_guide_can_be_followed_literally() {
    assert_eq!(
        GUIDE.matches("```sql").count(),
        statements().count(),
        "each block says who runs it"
    );
    let Some(server) = Server::start(Options::default()) else {
        return;
    };
    common::run(async {
        let login = |user: &str, password: &str, database: &str| {
            let port = server.port();
            format!(
                "host=127.0.0.1 port={port} user={user} password='{password}' dbname={database}"
            )
        };
        let owner = login("m2m_owner", "change me 1", "m2m");
        let app = login("m2m_app", "change me 2", "m2m");
        let reader = login("m2m_reader", "change me 3", "m2m");
        let mut store = None;
        for (who, statement) in statements() {
            if who == "owner" && store.is_none() && statement.contains("record_list") {
                // All rights were given but those of readers: the program can run.
                let config = PostgresConfig::new(&app).expect("a connection string");
                let outer = common::outer();
                let connected = PostgresStore::connect(config, &outer, Arc::new(SystemRandom));
                let connected = connected.await.expect("the rights suffice");
                let put = common::batch().put_with_summary(
                    common::key("a"),
                    Expected::Absent,
                    b"sealed".as_slice(),
                    "what operators see",
                );
                connected.commit(put).await.expect("committed");
                let delete = common::batch().delete(common::key("a"), Expected::Present);
                let deleted = connected
                    .commit(delete)
                    .await
                    .expect("committed")
                    .revision();
                assert_eq!(connected.prune_tombstones(deleted).await, Ok(1));
                store = Some(connected);
            }
            if who == "owner" && statement.contains("GRANT USAGE") {
                let config = PostgresConfig::new(&owner).expect("a connection string");
                let (before, now) = PostgresStore::migrate(config).await.expect("tables");
                assert!(before == 0 && now > 0);
            }
            let client = match who {
                "superuser" => common::client(&login("postgres", PASSWORD, "postgres")).await,
                "superuser, in m2m" => common::client(&login("postgres", PASSWORD, "m2m")).await,
                "owner" => common::client(&owner).await,
                "reader" => common::client(&reader).await,
                other => panic!("{other}"),
            };
            let done = client.batch_execute(statement).await;
            done.unwrap_or_else(|error| panic!("{who}: {statement}: {error:?}"));
        }

        let nosy = common::client(&reader).await;
        for table in ["records", "meta", "requests", "head"] {
            let read = nosy
                .batch_execute(&format!("SELECT * FROM m2m.{table}"))
                .await;
            let code = read
                .expect_err("refused")
                .code()
                .map(|code| code.code().to_owned());
            assert_eq!(code.as_deref(), Some("42501"), "{table}");
        }
        // After a restore.
        let store = store.expect("the guide gave the rights");
        let before = store.stats().newest.expect("seen");
        let config = PostgresConfig::new(&owner).expect("a connection string");
        let config = config.with_password(SecretBytes::from(&b"change me 1"[..]));
        PostgresStore::begin_new_incarnation(config, &SystemRandom)
            .await
            .expect("begun");
        let put = common::batch().put(common::key("b"), Expected::Absent, vec![1]);
        let after = store.commit(put).await.expect("committed").revision();
        let far = Revision::new(before.revision().number() + (1 << 32)).expect("small");
        assert!(after > far);
    });
}
