//! Clients in a store: recorded before released, one winner among two processes, read again after each
//! failure, and moved to a newer pepper by use.
#![cfg(feature = "store")]
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::SystemRandom;
use m2m_secrets::{
    ClientKeys, Issued, KeyFormat, KeyHasher, KeyRefusal, LeakAnswer, PepperVersion, SharedSecret,
    StoredClients, StoredClientsError,
};
use m2m_store::{
    Batch, EmbeddedOptions, EmbeddedStore, Expected, Failure, IdempotencyKey, Key, LocalKey,
    MemoryStore, Scan, Space, Store,
};
use m2m_types::{ServiceId, Timestamp};
use pollster::block_on;

const DAY: Duration = Duration::from_secs(86_400);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(1_700_000_000 + seconds).unwrap()
}

fn owner(name: &str) -> ServiceId {
    format!("spiffe://example.org/{name}").parse().unwrap()
}

fn pepper(byte: u8) -> SharedSecret {
    let bytes: Vec<u8> = (0..32).map(|at| byte.wrapping_add(at * 7)).collect();
    SharedSecret::new(m2m_crypto::SecretBytes::new(bytes)).unwrap()
}

fn version(number: u32) -> PepperVersion {
    PepperVersion::new(number).unwrap()
}

fn hasher() -> Arc<KeyHasher> {
    let format = KeyFormat::new("acme", "live").unwrap();
    Arc::new(KeyHasher::new(format, version(1), &pepper(1)).unwrap())
}

fn newer_hasher() -> Arc<KeyHasher> {
    let format = KeyFormat::new("acme", "live").unwrap();
    let hasher = KeyHasher::new(format, version(2), &pepper(2)).unwrap();
    Arc::new(hasher.with_former(version(1), &pepper(1)).unwrap())
}

fn load(store: &Arc<impl Store>, hasher: Arc<KeyHasher>) -> StoredClients {
    let store: Arc<dyn Store> = store.clone();
    block_on(StoredClients::load(store, hasher)).unwrap()
}

fn text(issued: &Issued) -> Vec<u8> {
    issued.key().expose_secret().as_bytes().to_vec()
}

fn accepted(clients: &StoredClients, key: &[u8], now: Timestamp) -> bool {
    let table = clients.table(&SystemRandom, now).unwrap();
    table.check(key, now).is_ok()
}

#[test]
fn two_keys_live_during_an_overlap_and_all_is_there_after_a_restart() {
    let store = Arc::new(MemoryStore::new());
    let mut clients = load(&store, hasher());
    let billing = owner("billing");
    let first = block_on(clients.issue(billing.clone(), &SystemRandom, at(0))).unwrap();
    let second = block_on(clients.rotate(&billing, DAY, &SystemRandom, at(10))).unwrap();
    for clients in [&clients, &load(&store, hasher())] {
        assert_eq!(clients.client(&billing).unwrap().live().count(), 2);
        for (key, seconds, is_accepted) in [
            (&first, 20, true),
            (&second, 20, true),
            (&first, 10 + 86_400, false),
            (&second, 10 + 86_400, true),
        ] {
            assert_eq!(accepted(clients, &text(key), at(seconds)), is_accepted);
        }
    }
    let again = load(&store, hasher());
    assert_eq!(again.client(&billing), clients.client(&billing));
    assert_eq!(again.iter().count(), 1);
}

#[test]
fn a_key_that_was_not_recorded_is_not_handed_out() {
    for failure in [
        Failure::NotWritten,
        Failure::WrittenButUnknown,
        Failure::NotWrittenAndUnknown,
    ] {
        let store = Arc::new(MemoryStore::new());
        let mut clients = load(&store, hasher());
        let billing = owner("billing");
        block_on(clients.issue(billing.clone(), &SystemRandom, at(0))).unwrap();
        let before = clients.client(&billing).cloned();
        store.fail_next(failure);
        let issued = block_on(clients.rotate(&billing, DAY, &SystemRandom, at(1)));
        let read = load(&store, hasher());
        match issued {
            Ok(issued) => {
                assert_eq!(read.client(&billing), clients.client(&billing));
                assert!(accepted(&read, &text(&issued), at(2)), "{failure:?}");
            }
            Err(_) => {
                assert_eq!(clients.client(&billing).cloned(), before, "{failure:?}");
                assert_eq!(read.client(&billing).cloned(), before, "{failure:?}");
            }
        }
    }
}

#[test]
fn of_two_processes_one_changes_a_client() {
    let store = Arc::new(MemoryStore::new());
    let (mut one, mut other) = (load(&store, hasher()), load(&store, hasher()));
    let billing = owner("billing");
    block_on(one.issue(billing.clone(), &SystemRandom, at(0))).unwrap();
    let twice = block_on(other.issue(billing.clone(), &SystemRandom, at(0)));
    assert_eq!(twice.unwrap_err(), StoredClientsError::Conflict);
    assert_eq!(block_on(other.follow()), Ok(1));
    assert_eq!(block_on(other.follow()), Ok(0));

    let rotated = block_on(one.rotate(&billing, DAY, &SystemRandom, at(1))).unwrap();
    let late = block_on(other.rotate(&billing, DAY, &SystemRandom, at(1)));
    assert_eq!(late.unwrap_err(), StoredClientsError::Conflict);
    assert_eq!(block_on(other.follow()), Ok(1));
    assert!(accepted(&other, &text(&rotated), at(2)));
    block_on(other.rotate(&billing, DAY, &SystemRandom, at(2))).unwrap();
    assert_eq!(block_on(one.follow()), Ok(1));
    assert_eq!(one.client(&billing), other.client(&billing));
}

#[test]
fn a_used_key_moves_to_the_newer_pepper_and_that_is_recorded() {
    let store = Arc::new(MemoryStore::new());
    let billing = owner("billing");
    let mut clients = load(&store, hasher());
    let issued = block_on(clients.issue(billing.clone(), &SystemRandom, at(0))).unwrap();

    let mut clients = load(&store, newer_hasher());
    let table = clients.table(&SystemRandom, at(1)).unwrap();
    let key = text(&issued);
    let verified = table.check(&key, at(1)).unwrap();
    let rehash = verified
        .rehash()
        .expect("it is kept under the first pepper")
        .clone();
    let event = block_on(clients.rehash(&billing, &rehash, &SystemRandom)).unwrap();
    assert!(event.is_some());
    assert_eq!(
        block_on(clients.rehash(&billing, &rehash, &SystemRandom)),
        Ok(None)
    );

    // The first pepper is needed no more.
    let format = KeyFormat::new("acme", "live").unwrap();
    let second_alone = Arc::new(KeyHasher::new(format, version(2), &pepper(2)).unwrap());
    let clients = load(&store, second_alone);
    let table = clients.table(&SystemRandom, at(2)).unwrap();
    let verified = table.check(&key, at(2)).unwrap();
    assert!(verified.rehash().is_none());
}

#[test]
fn a_leaked_key_is_dead_after_a_restart_too() {
    let store = Arc::new(MemoryStore::new());
    let billing = owner("billing");
    let mut clients = load(&store, hasher());
    let first = block_on(clients.issue(billing.clone(), &SystemRandom, at(0))).unwrap();
    let id = first.key().id();
    let answer = block_on(clients.report_leak(&billing, id, &SystemRandom, at(1))).unwrap();
    let LeakAnswer::Replaced(second) = answer else {
        panic!("{answer:?}");
    };
    let clients = load(&store, hasher());
    let table = clients.table(&SystemRandom, at(2)).unwrap();
    assert!(matches!(
        table.check(&text(&first), at(2)),
        Err(KeyRefusal::Ended { .. })
    ));
    assert!(table.check(&text(&second), at(2)).is_ok());

    let mut clients = clients;
    block_on(clients.revoke(&billing, second.key().id(), &SystemRandom, at(3))).unwrap();
    assert!(!accepted(&load(&store, hasher()), &text(&second), at(4)));
    let gone = block_on(clients.revoke(&billing, id, &SystemRandom, at(5))).unwrap_err();
    assert!(matches!(gone, StoredClientsError::NoSuchKey(_)));
    let nobody = block_on(clients.rotate(&owner("nobody"), DAY, &SystemRandom, at(5)));
    assert!(matches!(
        nobody,
        Err(StoredClientsError::UnknownClient { .. })
    ));
}

#[test]
fn an_embedded_store_has_no_key_in_it_and_gives_all_clients_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clients.m2m");
    let options = || {
        let outer = LocalKey::new(m2m_crypto::SecretBytes::new(vec![7; LocalKey::BYTES]));
        EmbeddedOptions::new(Arc::new(outer.unwrap()))
    };
    let long = owner(&"x".repeat(900));
    let mut keys = Vec::new();
    {
        let store = Arc::new(EmbeddedStore::create(&path, &options()).unwrap());
        let mut clients = load(&store, hasher());
        for owner in [owner("billing"), long.clone()] {
            keys.push(block_on(clients.issue(owner, &SystemRandom, at(0))).unwrap());
        }
    }
    let store = EmbeddedStore::open(&path, &options()).unwrap();
    let clients = load(&Arc::new(store), hasher());
    for key in &keys {
        assert!(accepted(&clients, &text(key), at(1)));
    }
    assert!(clients.client(&long).is_some());
    let file = std::fs::read(&path).unwrap();
    for key in &keys {
        let secret = &text(key)[22..54];
        assert!(
            !file
                .windows(8)
                .any(|window| secret.windows(8).any(|part| part == window))
        );
    }
}

#[test]
fn a_record_that_is_damaged_or_elsewhere_is_no_client() {
    let (mut client, _) = ClientKeys::issue(owner("a"), &hasher(), &SystemRandom, at(0)).unwrap();
    for nth in 1..20 {
        client
            .rotate(&hasher(), DAY, &SystemRandom, at(nth))
            .unwrap();
    }
    let record = client.to_record();
    assert_eq!(ClientKeys::from_record(&record), Some(client.clone()));
    for end in 0..record.len() {
        assert_eq!(ClientKeys::from_record(&record[..end]), None, "{end}");
    }
    assert_eq!(
        ClientKeys::from_record(&[record.as_slice(), &[0]].concat()),
        None
    );
    for at in 0..record.len() {
        for bit in [0x01, 0x80] {
            let mut damaged = record.clone();
            damaged[at] ^= bit;
            // What is read is another record, or none; never a panic, never the same.
            let read = ClientKeys::from_record(&damaged);
            assert_ne!(read.as_ref(), Some(&client), "{at}");
            if let Some(read) = read {
                assert_eq!(read.to_record(), damaged);
            }
        }
    }

    let store = Arc::new(MemoryStore::new());
    let space = Space::new("api-client").unwrap();
    let elsewhere = Key::new(&space, b"spiffe://example.org/b").unwrap();
    let batch = Batch::new(IdempotencyKey::from_bytes([1; 16]));
    let batch = batch.put(elsewhere, Expected::Absent, record);
    block_on(store.commit(batch)).unwrap();
    let store: Arc<dyn Store> = store;
    let refused = block_on(StoredClients::load(store, hasher())).unwrap_err();
    assert!(
        matches!(refused, StoredClientsError::Malformed { .. }),
        "{refused}"
    );
    assert!(refused.to_string().contains("api-client"));
}

#[test]
fn a_deleted_client_is_forgotten_by_those_who_follow() {
    let store = Arc::new(MemoryStore::new());
    let mut clients = load(&store, hasher());
    block_on(clients.issue(owner("a"), &SystemRandom, at(0))).unwrap();
    block_on(clients.issue(owner("b"), &SystemRandom, at(0))).unwrap();
    let space = Space::new("api-client").unwrap();
    let page = block_on(store.scan(&Scan::new(space))).unwrap();
    let batch = Batch::new(IdempotencyKey::from_bytes([2; 16]));
    let batch = batch.delete(page.records()[0].key().clone(), Expected::Present);
    block_on(store.commit(batch)).unwrap();
    assert_eq!(block_on(clients.follow()), Ok(1));
    assert_eq!(clients.iter().count(), 1);
}
