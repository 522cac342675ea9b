//! A proxy that cuts a connection at a chosen message of PostgreSQL's protocol.

use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    ToServer,
    ToClient,
}

/// What happens at the chosen message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accident {
    /// The connection is cut before the message gets through.
    CutBefore,
    /// The connection is cut right behind it.
    CutBehind,
    /// The message and all behind it are kept back; nobody is told.
    Freeze,
}

/// Counted from the message that begins a transaction, on its connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// How many transactions are left alone before.
    pub(crate) transaction: usize,
    pub(crate) direction: Direction,
    pub(crate) message: usize,
    pub(crate) accident: Accident,
}

#[derive(Default)]
struct State {
    plan: Option<Plan>,
    // Which connection the transaction is on, and how many messages went which way on it.
    connection: Option<usize>,
    begun: usize,
    seen: usize,
    happened: bool,
}

pub(crate) struct Proxy {
    pub(crate) port: u16,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    pub(crate) async fn start(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            for number in 0.. {
                let Ok((client, _)) = listener.accept().await else {
                    return;
                };
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await {
                        forward(number, client, server, shared).await;
                    }
                });
            }
        });
        Self { port, state }
    }

    /// From the next transaction on.
    pub(crate) fn arm(&self, plan: Plan) {
        *self.state.lock().expect("no panic") = State {
            plan: Some(plan),
            ..State::default()
        };
    }

    /// Whether it happened.
    pub(crate) fn disarm(&self) -> bool {
        std::mem::take(&mut *self.state.lock().expect("no panic")).happened
    }
}

async fn forward(number: usize, client: TcpStream, server: TcpStream, state: Arc<Mutex<State>>) {
    client.set_nodelay(true).expect("a socket");
    server.set_nodelay(true).expect("a socket");
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let there = Leg {
        number,
        direction: Direction::ToServer,
        from: from_client,
        to: to_server,
        state: Arc::clone(&state),
    };
    let back = Leg {
        number,
        direction: Direction::ToClient,
        from: from_server,
        to: to_client,
        state,
    };
    // Whichever ends first ends both: the sockets are closed.
    tokio::select! {
        _ = there.run() => {}
        _ = back.run() => {}
    }
}

struct Leg {
    number: usize,
    direction: Direction,
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    state: Arc<Mutex<State>>,
}

impl Leg {
    async fn run(mut self) -> io::Result<()> {
        // The start-up packet has no type.
        let mut has_type = self.direction == Direction::ToClient;
        loop {
            let message = self.message(has_type).await?;
            has_type = true;
            match self.accident(&message) {
                Some(Accident::CutBefore) => return Ok(()),
                Some(Accident::CutBehind) => {
                    self.to.write_all(&message).await?;
                    self.to.flush().await?;
                    // What was sent arrives, although the connection ends.
                    return self.to.shutdown().await;
                }
                Some(Accident::Freeze) => std::future::pending::<()>().await,
                None => self.to.write_all(&message).await?,
            }
        }
    }

    async fn message(&mut self, has_type: bool) -> io::Result<Vec<u8>> {
        let mut message = vec![0; if has_type { 5 } else { 4 }];
        self.from.read_exact(&mut message).await?;
        let length = message.last_chunk::<4>().expect("4 bytes");
        let length = u32::from_be_bytes(*length) as usize - 4;
        let mut body = vec![0; length];
        self.from.read_exact(&mut body).await?;
        message.extend(body);
        Ok(message)
    }

    fn accident(&self, message: &[u8]) -> Option<Accident> {
        let mut state = self.state.lock().expect("no panic");
        let plan = state.plan.filter(|_| !state.happened)?;
        if state.connection.is_none() && message.starts_with(b"Q") {
            let text = String::from_utf8_lossy(message);
            if text.contains("BEGIN ISOLATION LEVEL") {
                state.begun += 1;
                if state.begun > plan.transaction {
                    state.connection = Some(self.number);
                }
            }
        }
        if state.connection != Some(self.number) || plan.direction != self.direction {
            return None;
        }
        state.seen += 1;
        state.happened = state.seen > plan.message;
        state.happened.then_some(plan.accident)
    }
}
