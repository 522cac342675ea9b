//! A proxy in front of PostgreSQL that cuts each connection at another message: one at its first, a
//! later one at its second, and so on, before the message gets through or right behind it. Every
//! second one may work for a while before.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// After so many messages the cuts begin again at the first.
const MESSAGES: u64 = 60;
/// How many messages a connection that may work gets through before it is cut, at least.
const WORK: u64 = 1_000;

pub(crate) struct Cutter {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    cutting: AtomicBool,
    connections: AtomicU64,
    cuts: AtomicU64,
}

impl Cutter {
    pub(crate) fn start(server: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared::default());
        let cutter = Self {
            port,
            shared: Arc::clone(&shared),
        };
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    // Whoever is cut off notices by itself.
                    let _ = forward(&client, server, &shared);
                    let _ = client.shutdown(Shutdown::Both);
                });
            }
        });
        Ok(cutter)
    }

    pub(crate) fn cut(&self, cutting: bool) {
        self.shared.cutting.store(cutting, Ordering::SeqCst);
    }

    /// How many connections were cut.
    pub(crate) fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::SeqCst)
    }
}

fn forward(client: &TcpStream, server: u16, shared: &Shared) -> io::Result<()> {
    let number = shared.connections.fetch_add(1, Ordering::SeqCst);
    let server = TcpStream::connect(("127.0.0.1", server))?;
    server.set_nodelay(true)?;
    client.set_nodelay(true)?;
    let answers = {
        let (mut from, mut to) = (server.try_clone()?, client.try_clone()?);
        std::thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        })
    };
    let ended = forward_messages(client, &server, number, shared);
    let _ = server.shutdown(Shutdown::Both);
    // Only a panic could be behind it, and it panics at nothing.
    let _ = answers.join();
    ended
}

fn forward_messages(
    client: &TcpStream,
    server: &TcpStream,
    number: u64,
    shared: &Shared,
) -> io::Result<()> {
    let (mut from, mut to) = (client, server);
    // The first message has no type.
    let mut message = read_message(&mut from, 0)?;
    let chosen = match number / 2 % 2 {
        0 => number / 4 % MESSAGES,
        _ => WORK + number / 4 % MESSAGES,
    };
    for count in 0_u64.. {
        let due = count >= chosen && shared.cutting.load(Ordering::SeqCst);
        if due && number.is_multiple_of(2) {
            break;
        }
        to.write_all(&message)?;
        if due {
            break;
        }
        message = read_message(&mut from, 1)?;
    }
    shared.cuts.fetch_add(1, Ordering::SeqCst);
    Ok(())
}

/// `head` bytes of type, then a length that counts itself, then the rest.
fn read_message(from: &mut impl Read, head: usize) -> io::Result<Vec<u8>> {
    let mut message = vec![0; head + 4];
    from.read_exact(&mut message)?;
    let (_, length) = message
        .split_last_chunk::<4>()
        .ok_or(io::ErrorKind::InvalidData)?;
    let rest = u64::from(u32::from_be_bytes(*length)).saturating_sub(4);
    let read = from.take(rest).read_to_end(&mut message)?;
    match read as u64 == rest {
        true => Ok(message),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
