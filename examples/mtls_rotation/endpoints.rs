//! Two services that talk over TCP: one answers, one calls.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use m2m_pki::tls::{Connector, LiveTls, OpenConnection};
use rustls::{ClientConnection, HandshakeKind, ServerConnection, StreamOwned};

use crate::Outcome;

/// A socket that hears nothing for this long is given up: longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a server has seen.
#[derive(Default)]
pub(crate) struct Seen {
    /// Connections that failed, whether in the handshake or after it.
    pub(crate) failures: AtomicUsize,
}

/// Answers connections until the listener is told `bye`, each in a thread of its own. When a peer's
/// trust ends its connection is closed, and `closed` hears when.
pub(crate) fn serve(tls: LiveTls, listener: TcpListener, seen: Arc<Seen>, closed: Sender<Instant>) {
    for socket in listener.incoming().flatten() {
        let (tls, seen, closed) = (tls.clone(), Arc::clone(&seen), closed.clone());
        std::thread::spawn(move || {
            if let Err(error) = answer(&tls, socket, closed) {
                seen.failures.fetch_add(1, Ordering::Relaxed);
                crate::report("the server", &*error);
            }
        });
    }
}

fn answer(tls: &LiveTls, socket: TcpStream, closed: Sender<Instant>) -> Outcome<()> {
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let closer = socket.try_clone()?;
    let connection = ServerConnection::new(tls.server_config())?;
    let mut stream = StreamOwned::new(connection, socket);
    let mut open: Option<OpenConnection> = None;
    let mut request = [0; 4];
    loop {
        let result = stream.read_exact(&mut request);
        if let Some(open) = &open {
            if open.ended().is_some() {
                // Closed because nobody trusts the peer any more.
                let _ = closed.send(Instant::now());
                return Ok(());
            }
            if result.is_err() {
                // The peer is gone.
                return Ok(());
            }
        }
        result?;
        if open.is_none() {
            // The first request: who asks? From here on this connection ends when that peer does.
            let peer = tls.peer(&stream.conn)?;
            let closer = closer.try_clone()?;
            let hook = move |_: &_| drop(closer.shutdown(Shutdown::Both));
            open = Some(tls.watch(&peer, hook)?);
        }
        stream.write_all(b"pong")?;
        stream.flush()?;
    }
}

/// A connection that has been answered once.
pub(crate) struct Call {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Call {
    /// Connects, and asks once.
    pub(crate) fn new(connector: &Connector, address: SocketAddr) -> Outcome<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let name = "billing.internal".try_into()?;
        let connection = ClientConnection::new(connector.config(), name)?;
        let mut call = Self {
            stream: StreamOwned::new(connection, socket),
        };
        // Until the handshake is done nothing is said; and nothing before it is known to whom.
        while call.stream.conn.is_handshaking() {
            call.stream.conn.complete_io(&mut call.stream.sock)?;
        }
        let _ = connector.peer(&call.stream.conn)?;
        call.ask()?;
        Ok(call)
    }

    pub(crate) fn ask(&mut self) -> Outcome<()> {
        self.stream.write_all(b"ping")?;
        self.stream.flush()?;
        let mut answer = [0; 4];
        self.stream.read_exact(&mut answer)?;
        match &answer {
            b"pong" => Ok(()),
            _ => Err("another answer than pong".into()),
        }
    }

    pub(crate) fn is_resumed(&self) -> bool {
        self.stream.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Waits until the other side closes.
    pub(crate) fn wait_for_end(mut self) -> Instant {
        let mut byte = [0];
        while self.stream.read(&mut byte).is_ok_and(|read| read > 0) {}
        Instant::now()
    }

    /// Ends as connections should.
    pub(crate) fn close(mut self) {
        self.stream.conn.send_close_notify();
        let _ = self.stream.flush();
    }
}
