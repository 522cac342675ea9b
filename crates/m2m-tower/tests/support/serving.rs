//! A server that runs, and what asks it.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use m2m_pki::ExpectedPeer;
use m2m_pki::tls::LiveTls;
use m2m_tower::{Drained, ServeCounts, ServeError, Server};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::{ORDERS, service};

/// Longer than anything takes here, however busy the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A server that runs.
pub(crate) struct Running {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    pub(crate) stop: Option<oneshot::Sender<()>>,
    pub(crate) ended: JoinHandle<Result<Drained, ServeError>>,
}

impl Running {
    pub(crate) async fn start(server: Server, router: Router) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(4096).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = server.clone();
        let ended = tokio::spawn(async move {
            let until = async {
                let _ = stopped.await;
            };
            running.serve(listener, router, until).await
        });
        let stop = Some(stop);
        Self {
            server,
            address,
            stop,
            ended,
        }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Waits until the counts are as `expected` says.
    pub(crate) async fn until(&self, what: &str, expected: impl Fn(&ServeCounts) -> bool) {
        let begun = std::time::Instant::now();
        while !expected(&self.server.counts()) {
            assert!(
                begun.elapsed() < PATIENCE,
                "{what}: {:?}",
                self.server.counts()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn stop(mut self) -> Drained {
        let _ = self.stop.take().unwrap().send(());
        let ended = tokio::time::timeout(PATIENCE, self.ended).await;
        ended.expect("it ends").unwrap().unwrap()
    }
}

/// Asks in the form of HTTP/1.1, and reads until the answer is complete.
pub(crate) async fn ask<I: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut I,
    text: &str,
) -> Option<String> {
    stream.write_all(text.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece).await.ok()?;
        answer.extend_from_slice(piece.get(..count)?);
        let text = String::from_utf8(answer.clone()).ok()?;
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            if count == 0 {
                return None;
            }
            continue;
        };
        let length = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
        if body.len() >= length.1.parse().ok()? {
            return Some(text);
        }
    }
}

pub(crate) const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

pub(crate) async fn is_served<I: AsyncRead + AsyncWrite + Unpin>(stream: &mut I) -> bool {
    let answer = ask(stream, GET).await;
    answer.is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

pub(crate) async fn tls(
    machine: &LiveTls,
    address: SocketAddr,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let expected = ExpectedPeer::service(service(ORDERS));
    let connector = machine.connector(expected).unwrap();
    let stream = TcpStream::connect(address).await?;
    let name = "orders.internal".try_into().unwrap();
    TlsConnector::from(connector.config())
        .connect(name, stream)
        .await
}
