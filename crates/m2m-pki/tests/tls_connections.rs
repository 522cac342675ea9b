//! Open connections end when trust in their peers does.
#![cfg(feature = "rustls")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod tls_support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use m2m_pki::tls::*;
use m2m_pki::*;
use rustls::StreamOwned;
use tls_support::*;

/// A hook that counts.
fn counting(calls: &Arc<AtomicUsize>) -> impl FnOnce(&PeerError) + Send + 'static {
    let calls = calls.clone();
    move |_| {
        calls.fetch_add(1, Ordering::SeqCst);
    }
}

fn count(calls: &Arc<AtomicUsize>) -> usize {
    calls.load(Ordering::SeqCst)
}

#[test]
fn pki_061_revocation_closes_the_connections_of_that_peer_and_no_other() {
    let mut world = World::new();
    let (server, shop, mail) = (
        world.live("billing"),
        world.live("shop"),
        world.live("mail"),
    );
    let expected = world.expect("billing");
    let (_, shop_peer, _) = meet(&shop.connector(expected.clone()).unwrap(), &server).unwrap();
    let (_, mail_peer, _) = meet(&mail.connector(expected).unwrap(), &server).unwrap();
    let (shops, mails) = (Arc::default(), Arc::default());
    let first = server.watch(&shop_peer, counting(&shops)).unwrap();
    let second = server.watch(&shop_peer, counting(&shops)).unwrap();
    let other = server.watch(&mail_peer, counting(&mails)).unwrap();
    assert_eq!(server.connections(), 3);
    assert_eq!(first.check(world.now()), Ok(()));

    world.publish(&[&server]);
    assert_eq!((count(&shops), count(&mails)), (0, 0));

    world.revoke(shop_peer.certificate(), &[&server]);
    assert_eq!((count(&shops), count(&mails)), (2, 0));
    for ended in [&first, &second] {
        let error = ended.check(world.now()).unwrap_err();
        assert!(matches!(
            error,
            PeerError::Chain(ChainError::Revocation { .. })
        ));
    }
    assert_eq!(other.check(world.now()), Ok(()));
    assert_eq!(server.connections(), 1);

    world.publish(&[&server]);
    assert_eq!((count(&shops), count(&mails)), (2, 0), "once is enough");
    let late = server.watch(&shop_peer, counting(&shops));
    assert!(late.is_err(), "who is revoked is not watched");
    drop((first, second, other));
    assert_eq!(server.connections(), 0);
    world.revoke(mail_peer.certificate(), &[&server]);
    assert_eq!(count(&mails), 0, "nobody is there any more");
}

#[test]
fn pki_061_in_the_second_after_the_certificate_expires_the_next_request_is_denied() {
    let mut world = World::new();
    let (server, client) = (world.live("billing"), world.live("shop"));
    let connector = client.connector(world.expect("billing")).unwrap();
    let (_, shop, billing) = meet(&connector, &server).unwrap();
    let (clients, servers) = (Arc::default(), Arc::default());
    let at_server = server.watch(&shop, counting(&clients)).unwrap();
    let at_client = connector.watch(&billing, counting(&servers)).unwrap();
    let not_after = shop.certificate().not_after();
    assert_eq!(server.next_deadline(), Some(not_after));

    world.clock.set(not_after);
    assert_eq!(server.close_overdue(), Ok(0));
    assert_eq!(at_server.check(world.now()), Ok(()));

    world.clock.advance(Duration::from_secs(1));
    let now = world.now();
    // Whether or not somebody looked after the connections.
    assert_eq!(at_server.check(now), Err(PeerError::Overdue { now }));
    assert_eq!(at_client.check(now), Err(PeerError::Overdue { now }));
    assert_eq!((count(&clients), count(&servers)), (0, 0));
    assert_eq!(server.close_overdue(), Ok(1));
    assert_eq!(client.close_overdue(), Ok(1));
    assert_eq!((count(&clients), count(&servers)), (1, 1));
    assert!(matches!(
        at_server.ended(),
        Some(PeerError::Chain(ChainError::Validity { .. }))
    ));
    assert_eq!(server.next_deadline(), None);
}

#[test]
fn pki_061_trust_that_is_taken_back_closes_connections() {
    let mut world = World::new();
    let partner = World::of("partner.example");
    let (server, client) = (world.live("billing"), world.live("shop"));
    let connector = client.connector(world.expect("billing")).unwrap();
    let (_, shop, billing) = meet(&connector, &server).unwrap();
    let calls = Arc::default();
    let _at_server = server.watch(&shop, counting(&calls)).unwrap();
    let _at_client = connector.watch(&billing, counting(&calls)).unwrap();
    for (live, expected) in [(&server, 1), (&client, 2)] {
        // Our own authority is gone, so that our own identity would be refused too; the others count.
        let updated = live
            .update(|material| {
                material.set_bundles(bundles_of([partner.bundle()]));
                Ok(())
            })
            .unwrap();
        assert_eq!((updated.closed, count(&calls)), (1, expected));
        assert!(matches!(
            updated.own_fault,
            Some(IdentityError::Chain { .. })
        ));
        assert_eq!(live.connections(), 0);
    }
}

#[test]
fn pki_061_a_stale_crl_closes_connections_as_it_refuses_new_ones() {
    let mut world = World::new();
    let profile = world.profile();
    let long = world.own_by(&profile, "shop", DAY);
    let server = world.live("billing");
    let mut pair = Pair::new(Arc::new(stranger(Some(&long))), server.server_config());
    pair.handshake().unwrap();
    let shop = server.peer(&pair.server).unwrap();
    let calls = Arc::default();
    let open = server.watch(&shop, counting(&calls)).unwrap();

    world.clock.advance(Duration::from_secs(3600 * 23));
    world.publish(&[&server]);
    assert_eq!(open.check(world.now()), Ok(()));
    // The CRL of the root is a day old now, and that of the issuing CA is not.
    world.clock.set(start().checked_add(DAY).unwrap());
    let now = world.now();
    assert_eq!(open.check(now), Err(PeerError::Overdue { now }));
    let deadline = server.next_deadline().unwrap();
    assert!(deadline < now);
    assert_eq!(server.close_overdue(), Ok(1));
    assert_eq!(count(&calls), 1);
    assert!(matches!(
        open.ended(),
        Some(PeerError::Chain(ChainError::Revocation { .. }))
    ));
}

#[test]
fn only_so_many_connections_are_watched() {
    let mut world = World::new();
    let server = world.builder("billing").with_connection_limit(2).build();
    let (server, client) = (server.unwrap(), world.live("shop"));
    let connector = client.connector(world.expect("billing")).unwrap();
    let (_, shop, _) = meet(&connector, &server).unwrap();
    let first = server.watch(&shop, |_| ()).unwrap();
    let _second = server.watch(&shop, |_| ()).unwrap();
    let third = server.watch(&shop, |_| ());
    let full = PeerError::TooManyConnections { limit: 2 };
    assert_eq!(third.unwrap_err(), full);
    drop(first);
    let _third = server.watch(&shop, |_| ()).unwrap();
}

#[test]
fn a_hook_that_panics_keeps_no_other_from_running() {
    let mut world = World::new();
    let (server, client) = (world.live("billing"), world.live("shop"));
    let connector = client.connector(world.expect("billing")).unwrap();
    let (_, shop, _) = meet(&connector, &server).unwrap();
    let calls = Arc::default();
    let open: Vec<_> = (0..8)
        .map(|number| match number {
            3 => server
                .watch(&shop, |_| panic!("a hook of somebody"))
                .unwrap(),
            _ => server.watch(&shop, counting(&calls)).unwrap(),
        })
        .collect();
    let (now, leaf) = (world.now(), shop.certificate().clone());
    world.issuing.revoke(&leaf, now);
    let crl = world.issuing.crl(now, DAY);
    let update = || server.update(|material| material.set_crl(crl));
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(update));
    assert!(caught.is_err());
    assert_eq!(count(&calls), 7);
    assert!(open.iter().all(|one| one.check(now).is_err()));
    // And nothing is poisoned.
    let _ = server.update(|_| Ok(())).unwrap();
    assert_eq!(server.connections(), 0);
}

#[test]
fn whoever_waits_for_the_end_is_woken() {
    let mut world = World::new();
    let (server, client) = (world.live("billing"), world.live("shop"));
    let connector = client.connector(world.expect("billing")).unwrap();
    let (_, shop, _) = meet(&connector, &server).unwrap();
    let open = server.watch(&shop, |_| ()).unwrap();
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| pollster::block_on(open.closed()));
        world.revoke(shop.certificate(), &[&server]);
        waiting.join().unwrap()
    });
    assert_eq!(Some(&waiting), open.ended());
    assert_eq!(pollster::block_on(open.closed()), waiting);
}

#[test]
fn a_connection_that_comes_while_its_peer_is_revoked_does_not_slip_through() {
    let mut world = World::new();
    let server = world.live("billing");
    for round in 0..20 {
        let client = world.live(&format!("shop-{round}"));
        let connector = client.connector(world.expect("billing")).unwrap();
        let (_, shop, _) = meet(&connector, &server).unwrap();
        let open = std::thread::scope(|scope| {
            let (server, shop) = (&server, &shop);
            let watching = scope.spawn(move || {
                let one = || server.watch(shop, |_| ()).ok();
                (0..200).filter_map(|_| one()).collect::<Vec<_>>()
            });
            world.revoke(shop.certificate(), &[server]);
            watching.join().unwrap()
        });
        let now = world.now();
        assert!(open.iter().all(|one| one.check(now).is_err()), "{round}");
    }
}

#[test]
fn pki_061_a_socket_that_blocks_in_read_is_closed() {
    let mut world = World::new();
    let (server, client) = (world.live("billing"), world.live("shop"));
    let connector = client.connector(world.expect("billing")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let name = "service.internal".try_into().unwrap();
    let connection = rustls::ClientConnection::new(connector.config(), name).unwrap();
    let mut calling = StreamOwned::new(connection, TcpStream::connect(address).unwrap());
    let (socket, _) = listener.accept().unwrap();
    let (told, heard) = std::sync::mpsc::channel();
    let serving = std::thread::spawn({
        let server = server.clone();
        move || {
            let connection = rustls::ServerConnection::new(server.server_config()).unwrap();
            let closer = socket.try_clone().unwrap();
            let mut stream = StreamOwned::new(connection, socket);
            let mut request = [0; 4];
            stream.read_exact(&mut request).unwrap();
            let peer = server.peer(&stream.conn).unwrap();
            let close = move |_: &PeerError| drop(closer.shutdown(Shutdown::Both));
            let _open = server.watch(&peer, close).unwrap();
            told.send(peer.certificate().clone()).unwrap();
            // Nothing comes any more: this would wait for ever.
            let end = stream.read(&mut request);
            (Instant::now(), end.map_or(0, |read| read))
        }
    });
    calling.write_all(b"ping").unwrap();
    calling.flush().unwrap();
    let leaf: Certificate = heard.recv().unwrap();
    world.revoke(&leaf, &[&server]);
    let (_, read) = serving.join().unwrap();
    assert_eq!(read, 0);
    // The client sees the end too.
    assert!(calling.read(&mut [0]).map_or(true, |read| read == 0));
}
