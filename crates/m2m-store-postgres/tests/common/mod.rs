//! Stores for tests, each in a schema of its own.
#![allow(dead_code)] // each test file uses some of it

pub(crate) mod proxy;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use m2m_crypto::{SecretBytes, SystemRandom};
use m2m_store::{Batch, IdempotencyKey, Key, LocalKey, Space};
use m2m_store_postgres::{PostgresConfig, PostgresStore};

/// A runtime of two threads, for `body`.
pub(crate) fn run<T>(body: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(body)
}

/// A configuration for a new schema on the shared server; none where there is no server.
pub(crate) fn fresh() -> Option<PostgresConfig> {
    Some(on(m2m_testkit::postgres::shared()?))
}

/// A configuration for a new schema there.
pub(crate) fn on(connection_string: &str) -> PostgresConfig {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let started = std::time::SystemTime::UNIX_EPOCH.elapsed();
    let started = started.expect("after 1970").as_nanos() % 1_000_000_000;
    let schema = format!("test_{}_{started}_{number}", std::process::id());
    PostgresConfig::new(connection_string)
        .expect("a connection string")
        .with_schema(&schema)
        .expect("a plain name")
}

pub(crate) fn outer() -> LocalKey {
    LocalKey::new(SecretBytes::new(vec![7; LocalKey::BYTES])).expect("32 bytes")
}

/// Migrated, and connected to.
pub(crate) async fn store(config: &PostgresConfig) -> PostgresStore {
    PostgresStore::migrate(config.clone())
        .await
        .expect("tables");
    connect(config).await
}

pub(crate) async fn connect(config: &PostgresConfig) -> PostgresStore {
    let (outer, random) = (outer(), Arc::new(SystemRandom));
    let connected = PostgresStore::connect(config.clone(), &outer, random);
    connected.await.expect("a store")
}

pub(crate) fn space() -> Space {
    Space::new("test").expect("a plain name")
}

pub(crate) fn key(id: impl AsRef<[u8]>) -> Key {
    Key::new(&space(), id.as_ref()).expect("a short id")
}

pub(crate) fn batch() -> Batch {
    Batch::new(IdempotencyKey::generate(&SystemRandom).expect("randomness"))
}

/// A connection of the test's own, past the store.
pub(crate) async fn client(connection_string: &str) -> tokio_postgres::Client {
    let connected = tokio_postgres::connect(connection_string, tokio_postgres::NoTls);
    let (client, connection) = connected.await.expect("a connection");
    tokio::spawn(connection);
    client
}

/// Past the test harness, which hides what a passing test prints.
#[expect(
    clippy::print_stderr,
    reason = "figures and skipped tests must be heard of"
)]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}
