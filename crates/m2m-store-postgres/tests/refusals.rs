//! What is refused, and with which words.

use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::{SecretBytes, SystemRandom};
use m2m_store::{Expected, LocalKey, Scan, Store, StoreError};
use m2m_store_postgres::{ConnectError, PostgresConfig, PostgresLimits, PostgresStore};
use m2m_testkit::postgres::{Options, Server};

mod common;

/// Nothing takes that long, however busy the machine is.
const LONG: Duration = Duration::from_secs(120);

/// How long who is told to wait a third of a second may wait for being refused.
const PROMPT: Duration = Duration::from_secs(1);

/// What `call` says, and whether it said so before a timer that was set with it. A machine that stands
/// still makes both late, and who is asked first answers.
async fn timed<T>(call: impl Future<Output = T>) -> (T, bool) {
    let mut call = std::pin::pin!(call);
    tokio::select! {
        biased;
        answer = &mut call => (answer, true),
        () = tokio::time::sleep(PROMPT) => (call.await, false),
    }
}

async fn refusal(config: &PostgresConfig) -> ConnectError {
    let (outer, random) = (common::outer(), Arc::new(SystemRandom));
    let connected = PostgresStore::connect(config.clone(), &outer, random).await;
    connected.expect_err("refused")
}

#[test]
fn sto_017_what_could_be_mistaken_for_sql_is_data() {
    let Some(config) = common::fresh() else {
        return;
    };
    common::run(async {
        let store = common::store(&config).await;
        let hostile: [&[u8]; 8] = [
            b"'; DROP TABLE records; --",
            b"\"",
            b"\\",
            b"%",
            b"_",
            b"\0",
            b"\xff\xfe\0\n",
            b"$1",
        ];
        for id in hostile {
            let key = common::key(id);
            let put = common::batch().put_with_summary(
                key.clone(),
                Expected::Absent,
                [id, &[0; 1 << 20][id.len()..]].concat(),
                "it's \"quoted\" \\ % _ $1 \u{e9}",
            );
            store.commit(put).await.expect("committed");
            let record = store.get(&key).await.expect("an answer").expect("there");
            assert!(record.value().as_bytes().starts_with(id));
            assert_eq!(record.summary(), Some("it's \"quoted\" \\ % _ $1 \u{e9}"));
            let scan = Scan::new(common::space()).with_prefix(id);
            let page = store.scan(&scan).await.expect("a page");
            assert_eq!(page.records().len(), 1, "{id:?}");
        }
        let nul =
            common::batch().put_with_summary(common::key("nul"), Expected::Absent, vec![1], "a\0b");
        let refused = store.commit(nul).await;
        assert!(matches!(refused, Err(StoreError::Batch(_))), "{refused:?}");
        // Nothing of a value is in what operators see, or anywhere else in the database.
        let client = common::client(m2m_testkit::postgres::shared().expect("a server")).await;
        let asked = format!(
            "SELECT count(*) FROM \"{}\".records WHERE position('DROP TABLE'::bytea IN sealed) > 0",
            config.schema_name()
        );
        let found = client.query_one(&asked, &[]).await.expect("a count");
        assert_eq!(found.get::<_, i64>(0), 0);
        let listed = format!("SELECT * FROM \"{}\".record_list", config.schema_name());
        let listed = client.query(&listed, &[]).await.expect("a view");
        assert_eq!(listed.len(), hostile.len());
        let names: Vec<_> = listed[0]
            .columns()
            .iter()
            .map(|column| column.name())
            .collect();
        assert_eq!(
            names,
            ["space", "id", "version", "summary", "bytes", "written_at"]
        );
    });
}

#[test]
fn sto_023_a_standby_is_refused() {
    let Some(mut server) = Server::start(Options::default()) else {
        return;
    };
    common::run(async {
        let config = common::on(&server.connection_string());
        let limits = PostgresLimits::new()
            .with_read_time(Duration::from_millis(500))
            .with_commit_time(Duration::from_millis(500));
        let config = config.with_limits(limits);
        let store = common::store(&config).await;
        tokio::task::block_in_place(|| server.become_standby().expect("it starts"));
        let error = refusal(&config).await;
        // The driver is told to look for a server that takes writes, and asks first.
        let text = error.to_string();
        assert!(
            matches!(
                error,
                ConnectError::Standby | ConnectError::Unreachable { .. }
            ),
            "{text}"
        );
        // A store that was open does not begin to read from it.
        let read = store.get(&common::key("a")).await;
        assert!(
            matches!(read, Err(StoreError::Unavailable { .. })),
            "{read:?}"
        );
        let batch = common::batch().put(common::key("a"), Expected::Absent, vec![1]);
        let written = store.commit(batch).await;
        assert!(
            matches!(written, Err(StoreError::Unavailable { .. })),
            "{written:?}"
        );
    });
}

#[test]
fn formats_that_are_older_or_newer_are_refused_with_what_to_do() {
    let Some(config) = common::fresh() else {
        return;
    };
    common::run(async {
        let error = refusal(&config).await;
        assert!(
            matches!(error, ConnectError::NotMigrated { found: 0, .. }),
            "{error:?}"
        );
        assert!(
            error
                .to_string()
                .contains("run PostgresStore::migrate first")
        );

        let migrated = PostgresStore::migrate(config.clone()).await;
        assert_eq!(migrated, Ok((0, 2)));
        assert_eq!(PostgresStore::migrate(config.clone()).await, Ok((2, 2)));

        let client = common::client(m2m_testkit::postgres::shared().expect("a server")).await;
        let newer = format!(
            "INSERT INTO \"{}\".migrations (version) VALUES (3)",
            config.schema_name()
        );
        client.batch_execute(&newer).await.expect("a newer format");
        let refused = [
            refusal(&config).await,
            PostgresStore::migrate(config).await.expect_err("refused"),
        ];
        for error in refused {
            assert!(
                matches!(error, ConnectError::TooNew { found: 3, .. }),
                "{error:?}"
            );
            assert!(error.to_string().contains("upgrade the program"));
        }
    });
}

#[test]
fn a_server_that_would_forget_or_misspell_is_refused() {
    let options = Options {
        settings: "full_page_writes = off\nsynchronous_commit = off",
        ..Options::default()
    };
    let Some(server) = Server::start(options) else {
        return;
    };
    common::run(async {
        let config = common::on(&server.connection_string());
        let error = refusal(&config).await;
        let setting = "full_page_writes";
        assert_eq!(error, ConnectError::NotDurable { setting });

        let client = common::client(&server.connection_string()).await;
        for statement in [
            "ALTER SYSTEM SET full_page_writes = on",
            "SELECT pg_reload_conf()",
            "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0",
        ] {
            client.batch_execute(statement).await.expect(statement);
        }
        // Reloading takes a moment. What is left is set right for the session.
        while matches!(refusal(&config).await, ConnectError::NotDurable { .. }) {}
        let store = common::store(&config).await;
        let put = common::batch().put(common::key("a"), Expected::Absent, vec![1]);
        store.commit(put).await.expect("committed");

        let latin = server
            .connection_string()
            .replace("dbname=postgres", "dbname=latin");
        let error = refusal(&common::on(&latin)).await;
        assert!(
            error.to_string().contains("its encoding is LATIN1"),
            "{error}"
        );
    });
}

#[test]
fn many_programs_may_start_at_once_and_share_one_store() {
    let Some(config) = common::fresh() else {
        return;
    };
    common::run(async {
        let starting = (0..8).map(|_| {
            let config = config.clone();
            tokio::spawn(async move { common::store(&config).await })
        });
        let starting: Vec<_> = starting.collect();
        let mut stores = Vec::new();
        for store in starting {
            stores.push(store.await.expect("it starts"));
        }
        let batch = common::batch().put(common::key("a"), Expected::Absent, vec![1]);
        stores[0].commit(batch).await.expect("committed");
        for store in stores {
            assert!(
                store
                    .get(&common::key("a"))
                    .await
                    .expect("opened")
                    .is_some()
            );
        }
    });
}

#[test]
fn another_outer_key_opens_nothing_and_a_changed_one_does() {
    let Some(config) = common::fresh() else {
        return;
    };
    common::run(async {
        let store = common::store(&config).await;
        let batch = common::batch().put(common::key("a"), Expected::Absent, vec![1]);
        store.commit(batch).await.expect("committed");
        let other = LocalKey::new(SecretBytes::new(vec![8; LocalKey::BYTES])).expect("32 bytes");
        let connect =
            |config: PostgresConfig| PostgresStore::connect(config, &other, Arc::new(SystemRandom));
        let error = connect(config.clone()).await.expect_err("refused");
        let wrong = ConnectError::Key(m2m_store::KeyEncryptionError::WrongKey);
        assert_eq!(error, wrong);

        let (config_again, outer) = (config.clone(), common::outer());
        let changed = PostgresStore::change_outer_key(config_again, &outer, &other);
        changed.await.expect("changed");
        assert_eq!(refusal(&config).await, wrong);
        let store = connect(config).await.expect("opened");
        assert!(
            store
                .get(&common::key("a"))
                .await
                .expect("opened")
                .is_some()
        );
    });
}

#[test]
fn a_value_that_was_moved_in_the_database_is_refused() {
    let Some(config) = common::fresh() else {
        return;
    };
    common::run(async {
        let store = common::store(&config).await;
        for id in ["a", "b"] {
            let batch = common::batch().put(common::key(id), Expected::Absent, id.as_bytes());
            store.commit(batch).await.expect("committed");
        }
        let client = common::client(m2m_testkit::postgres::shared().expect("a server")).await;
        let moved = format!(
            "UPDATE \"{0}\".records SET sealed = (SELECT sealed FROM \"{0}\".records WHERE id = 'b')",
            config.schema_name()
        );
        client.batch_execute(&moved).await.expect("moved");
        let read = store.get(&common::key("a")).await;
        assert!(matches!(read, Err(StoreError::Corrupt { .. })), "{read:?}");
        assert!(store.scan(&Scan::new(common::space())).await.is_err());
        assert!(store.get(&common::key("b")).await.is_ok());
    });
}

#[test]
fn a_wrong_password_and_a_missing_server_are_told_apart_and_nothing_secret_is_shown() {
    let Some(server) = Server::start(Options::default()) else {
        return;
    };
    common::run(async {
        let wrong = common::on(&server.connection_string())
            .with_password(SecretBytes::from(&b"hunter2"[..]));
        let error = refusal(&wrong).await;
        assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
        assert!(!format!("{error} {error:?} {wrong:?}").contains("hunter2"));
        let nobody = common::on("host=127.0.0.1 port=1 user=postgres password=hunter2");
        let error = refusal(&nobody).await;
        assert!(
            matches!(error, ConnectError::Unreachable { .. }),
            "{error:?}"
        );
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    });
}

#[test]
fn too_much_is_refused_in_time_and_was_not_written() {
    let Some(config) = common::fresh() else {
        return;
    };
    common::run(async {
        let limits = PostgresLimits::new()
            .with_read_connections(1)
            .with_waiting_reads(4)
            .with_wait(Duration::from_millis(300))
            .with_queue(2, 0)
            .with_statement_time(LONG)
            .with_read_time(LONG)
            .with_commit_time(LONG);
        let config = config.with_limits(limits);
        let store = Arc::new(common::store(&config).await);
        store.get(&common::key("warm")).await.expect("an answer");
        let client = common::client(m2m_testkit::postgres::shared().expect("a server")).await;
        // Somebody else holds what everything needs, until as many as must be are refused.
        let lock = format!(
            "BEGIN; LOCK \"{0}\".head, \"{0}\".records IN ACCESS EXCLUSIVE MODE",
            config.schema_name()
        );
        client.batch_execute(&lock).await.expect("a lock");
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        for number in 0..20_u8 {
            let (store, tell) = (Arc::clone(&store), tell.clone());
            tokio::spawn(async move {
                let batch = common::batch().put(common::key([number]), Expected::Absent, vec![1]);
                let (written, prompt) = timed(store.commit(batch)).await;
                let _ = tell.send(("write", written.map(drop), prompt));
                let (read, prompt) = timed(store.get(&common::key("warm"))).await;
                let _ = tell.send(("read", read.map(drop), prompt));
            });
        }
        drop(tell);
        let (mut written, mut refused_writes, mut refused_reads, mut answers) = (0, 0, 0, 0);
        let mut locked = true;
        while let Some((what, answer, prompt)) = tokio::time::timeout(LONG, told.recv())
            .await
            .expect("refused while it waits, or answered afterwards")
        {
            answers += 1;
            assert!(prompt || answer.is_ok(), "{what}: refused too late");
            match (what, answer) {
                ("write", Ok(())) => written += 1,
                (_, Ok(())) => {}
                ("write", Err(StoreError::Overloaded { .. })) => refused_writes += 1,
                (_, Err(StoreError::Overloaded { .. })) => refused_reads += 1,
                (what, Err(error)) => panic!("{what}: {error:?}"),
            }
            assert!(!locked || written == 0, "nobody can write yet");
            if locked && refused_writes > 10 && refused_reads > 5 {
                client.batch_execute("ROLLBACK").await.expect("unlocked");
                locked = false;
            }
        }
        println!("{written} written, {refused_writes} writes and {refused_reads} reads refused");
        assert!(!locked && answers == 40, "each has its answers");
        // The database takes the lock back, and all is well; what was refused is not there.
        let page = store
            .scan(&Scan::new(common::space()))
            .await
            .expect("a page");
        assert_eq!(page.records().len(), written);
    });
}
