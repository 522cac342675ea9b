//! Peers that mean harm get an error, and nobody else notices.
#![cfg(feature = "rustls")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod tls_support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use m2m_pki::tls::*;
use rustls::server::Acceptor;
use rustls::{Error, InvalidMessage, ServerConnection, StreamOwned};
use tls_support::*;

/// The first thing a client says.
fn hello(world: &World) -> Vec<u8> {
    let config = Arc::new(stranger(Some(&world.own("shop"))));
    let name = "service.internal".try_into().unwrap();
    let mut client = rustls::ClientConnection::new(config, name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// A record of TLS.
fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[kind, 3, 3], &length[..], payload].concat()
}

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const CLOSE_NOTIFY: &[u8] = &[1, 0];

/// Whether an honest client still gets through.
fn serves(world: &World, server: &LiveTls) -> bool {
    let config = Arc::new(stranger(Some(&world.own("shop"))));
    let mut pair = Pair::new(config, server.server_config());
    pair.handshake().is_ok() && server.peer(&pair.server).is_ok()
}

#[test]
fn tls_003_close_notify_in_the_handshake_ends_it() {
    let mut world = World::new();
    let server = world.live("billing");
    let hello = hello(&world);
    let closing = record(ALERT, CLOSE_NOTIFY);
    let openings = [
        closing.clone(),
        [&hello[..], &closing].concat(),
        [&hello[..hello.len() / 2], &closing].concat(),
        closing.repeat(1_000),
    ];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for opening in openings {
        let mut attacker = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        let (told, heard) = channel();
        let config = server.server_config();
        std::thread::spawn(move || {
            let connection = ServerConnection::new(config).unwrap();
            let mut stream = StreamOwned::new(connection, socket);
            let read = stream.read(&mut [0; 16]);
            told.send((read.map_or(0, |read| read), stream.conn.is_handshaking()))
                .unwrap();
        });
        // The server may have hung up before the last of it.
        let _ = attacker.write_all(&opening);
        let _ = attacker.shutdown(std::net::Shutdown::Write);
        // The limit is for a hang, which would be for ever.
        let (read, is_handshaking) = heard.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!((read, is_handshaking), (0, true));
    }
    assert!(serves(&world, &server));
}

#[test]
fn tls_003_a_hello_in_fragments_of_one_byte_is_read_or_refused() {
    let mut world = World::new();
    let server = world.live("billing");
    let hello = hello(&world);
    let fragments: Vec<_> = hello[5..]
        .iter()
        .map(|byte| record(HANDSHAKE, &[*byte]))
        .collect();
    let mut connection = ServerConnection::new(server.server_config()).unwrap();
    let taken = fragments
        .iter()
        .try_for_each(|fragment| feed(&mut connection, fragment));
    assert!(taken.is_err() || connection.wants_write());
    assert!(server.peer(&connection).is_err());

    // The same through the part of rustls that reads a hello first.
    let mut acceptor = Acceptor::default();
    for fragment in &fragments {
        acceptor.read_tls(&mut &fragment[..]).unwrap();
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                let connection = accepted.into_connection(server.server_config());
                assert!(server.peer(&connection.unwrap()).is_err());
                break;
            }
            Err(_) => break,
        }
    }
    // One byte of a record at a time, as a slow network brings it.
    let mut connection = ServerConnection::new(server.server_config()).unwrap();
    for byte in hello.chunks(1) {
        feed(&mut connection, byte).unwrap();
    }
    assert!(connection.wants_write());
    assert!(serves(&world, &server));
}

#[test]
fn tls_003_a_flood_of_key_updates_makes_no_pile() {
    let mut world = World::new();
    let (server, client) = (world.live("billing"), world.live("shop"));
    let connector = client.connector(world.expect("billing")).unwrap();
    let (mut pair, _, _) = meet(&connector, &server).unwrap();
    for _ in 0..5_000 {
        // Each asks for one in return.
        pair.client.refresh_traffic_keys().unwrap();
        let mut bytes = Vec::new();
        pair.client.write_tls(&mut bytes).unwrap();
        if feed(&mut pair.server, &bytes).is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    while pair.server.wants_write() {
        pair.server.write_tls(&mut answer).unwrap();
    }
    assert!(answer.len() < 64 << 10, "{} bytes of answers", answer.len());
    assert!(serves(&world, &server));
}

#[test]
fn tls_003_an_oversized_handshake_message_is_refused_by_its_header() {
    let mut world = World::new();
    let server = world.live("billing");
    let mut connection = ServerConnection::new(server.server_config()).unwrap();
    let mut message = vec![1, 0xff, 0xff, 0xff];
    message.resize(16 << 10, 0);
    let mut fed = 0;
    let error = loop {
        match feed(&mut connection, &record(HANDSHAKE, &message)) {
            Ok(()) => fed += message.len(),
            Err(error) => break error,
        }
        assert!(fed < 256 << 10, "{fed} bytes were taken");
        message.fill(0);
    };
    let expected = Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge);
    assert_eq!(error, expected);
    assert!(serves(&world, &server));
}

#[test]
fn tls_003_a_chain_that_is_too_long_is_refused_unread() {
    let mut world = World::new();
    let notes = Notes::default();
    let server = world.builder("billing").with_observer(notes.observe());
    let server = server.build().unwrap();
    for certificates in [11, 40, 400] {
        let mut owned = world.own("shop");
        let filler = world.root.certificate().clone();
        owned.chain.resize(certificates, filler);
        let config = Arc::new(stranger(Some(&owned)));
        let mut pair = Pair::new(config, server.server_config());
        let result = pair.drive();
        assert!(matches!(result, Err(Failed::Server(_))), "{result:?}");
    }
    assert!(notes.has("TooManyCertificates"), "{:?}", notes.all());
    assert!(serves(&world, &server));
}

#[test]
fn tls_003_half_open_connections_hold_nothing_of_ours() {
    let mut world = World::new();
    let server = world.live("billing");
    let hello = hello(&world);
    let config = server.server_config();
    let idle = Arc::strong_count(&config);
    let mut half_open = Vec::new();
    for number in 0..10_000 {
        let mut connection = ServerConnection::new(server.server_config()).unwrap();
        // Some say nothing, some half of a hello; some all of it, and then nothing more.
        let length = [0, hello.len() / 2, hello.len()][usize::from(number % 100 == 0) + number % 2];
        feed(&mut connection, &hello[..length]).unwrap();
        half_open.push(connection);
    }
    assert_eq!(server.connections(), 0);
    // Each shares the one configuration.
    assert_eq!(Arc::strong_count(&config), idle + half_open.len());
    assert!(serves(&world, &server));
    drop(half_open);
    assert_eq!(Arc::strong_count(&config), idle);
}
