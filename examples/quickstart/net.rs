//! A machine on the network: its name and its TLS, and the connections that it opens to others by it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use m2m_crypto::CertificateThumbprint;
use m2m_pki::tls::{Connector, Identity, LiveTls, Material, TlsEvent, UpdateError, Updated};
use m2m_pki::{ExpectedPeer, RevocationRule};
use m2m_tower::Acceptor;
use m2m_types::{ServiceId, SystemClock};
use rustls::HandshakeKind;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::RwLock;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::Outcome;
use crate::accept::accept;

/// How long anything on the network may take. A machine that is slow is no fault.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The longest answer that is read.
const MAX_ANSWER: usize = 1 << 20;

/// Which machine answers to `orders.example`, and on which port of this machine: the name service.
#[derive(Default)]
pub(crate) struct Names(Mutex<BTreeMap<String, (SocketAddr, ServiceId)>>);

impl Names {
    fn find(&self, host: &str) -> Outcome<(SocketAddr, ServiceId)> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = names.get(host).cloned();
        found.ok_or_else(|| format!("nobody is called {host}").into())
    }

    fn tell(&self, host: &str, address: SocketAddr, service: ServiceId) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(host.to_owned(), (address, service));
    }
}

/// What the TLS of a machine has told its operators.
#[derive(Default)]
pub(crate) struct Seen {
    /// Peers that were refused in a handshake.
    pub(crate) refused: AtomicU64,
    /// Sessions that were not resumed, because their peer is not trusted any more.
    pub(crate) not_resumed: AtomicU64,
    /// Why a peer was refused last.
    why: Mutex<String>,
}

impl Seen {
    fn hear(&self, event: &TlsEvent<'_>) {
        match event {
            TlsEvent::PeerRefused { error, .. } => {
                self.refused.fetch_add(1, Ordering::SeqCst);
                *self.why.lock().unwrap_or_else(PoisonError::into_inner) = error.to_string();
            }
            TlsEvent::NotResumed { .. } => {
                self.not_resumed.fetch_add(1, Ordering::SeqCst);
            }
            _ => {}
        }
    }

    pub(crate) fn why(&self) -> String {
        let why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        why.clone()
    }
}

/// A machine with a certificate.
pub(crate) struct Machine {
    pub(crate) name: ServiceId,
    pub(crate) tls: LiveTls,
    pub(crate) seen: Arc<Seen>,
    pub(crate) full: AtomicU64,
    pub(crate) resumed: AtomicU64,
    names: Arc<Names>,
    connectors: Mutex<BTreeMap<String, Connector>>,
    /// Read while a connection is opened, written while the certificate is replaced: so it is known which
    /// certificate a connection showed, and which token goes with it.
    turn: RwLock<()>,
}

/// A connection to another machine, over which requests go one after the other.
pub(crate) struct Connection {
    client: SendRequest<Full<Bytes>>,
    serving: JoinHandle<Result<(), hyper::Error>>,
    host: HeaderValue,
    /// The certificate that was shown in its handshake.
    pub(crate) shown: CertificateThumbprint,
    pub(crate) is_resumed: bool,
}

impl Machine {
    pub(crate) fn new(
        name: ServiceId,
        material: Material,
        clock: Arc<SystemClock>,
        names: Arc<Names>,
    ) -> Outcome<Self> {
        let seen = Arc::new(Seen::default());
        let hearing = Arc::clone(&seen);
        // Every certificate needs a CRL that speaks for it.
        let tls = LiveTls::builder(material, RevocationRule::strict(), clock)
            .with_observer(move |event| hearing.hear(event))
            .build()?;
        Ok(Self {
            name,
            tls,
            seen,
            full: AtomicU64::new(0),
            resumed: AtomicU64::new(0),
            names,
            connectors: Mutex::default(),
            turn: RwLock::default(),
        })
    }

    /// Answers as `host` on a free port of this machine.
    pub(crate) async fn listen(&self, host: &str, router: axum::Router) -> Outcome<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        self.names
            .tell(host, listener.local_addr()?, self.name.clone());
        let acceptor = Acceptor::new(self.tls.clone()).with_handshake_timeout(PATIENCE);
        tokio::spawn(accept(listener, acceptor, router, PATIENCE, drop));
        Ok(())
    }

    /// Opens a connection to `host`, resuming a session if there is one.
    pub(crate) async fn dial(&self, host: &str) -> Outcome<Connection> {
        let _turn = self.turn.read().await;
        self.dial_now(host, &self.connector(host)?).await
    }

    /// Opens a connection without any session of before.
    pub(crate) async fn dial_anew(&self, host: &str) -> Outcome<Connection> {
        let _turn = self.turn.read().await;
        let (_, service) = self.names.find(host)?;
        let connector = self.tls.connector(ExpectedPeer::service(service))?;
        self.dial_now(host, &connector).await
    }

    /// Shows another certificate from now on. `then` gets a connection to `host` that shows it already,
    /// before any other is opened.
    pub(crate) async fn replace_identity<T>(
        &self,
        identity: Identity,
        host: &str,
        then: impl AsyncFnOnce(Connection) -> Outcome<T>,
    ) -> Outcome<T> {
        let _turn = self.turn.write().await;
        self.update(|material| {
            material.set_identity(identity);
            Ok(())
        })?;
        then(self.dial_now(host, &self.connector(host)?).await?).await
    }

    /// Changes what its TLS goes by.
    pub(crate) fn update(
        &self,
        change: impl FnOnce(&mut Material) -> Result<(), UpdateError>,
    ) -> Outcome<Updated> {
        Ok(self.tls.update(change)?)
    }

    /// One request to the host of its URI, over a connection of its own.
    pub(crate) async fn call(&self, request: Request<Vec<u8>>) -> Outcome<Response<Vec<u8>>> {
        let host = request.uri().host().ok_or("a URI without a host")?;
        let mut connection = self.dial(host).await?;
        connection.send(request).await
    }

    pub(crate) fn shown(&self) -> CertificateThumbprint {
        *self.tls.material().identity().certificate().thumbprint()
    }

    fn connector(&self, host: &str) -> Outcome<Connector> {
        let mut connectors = self
            .connectors
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(connector) = connectors.get(host) {
            return Ok(connector.clone());
        }
        let (_, service) = self.names.find(host)?;
        let connector = self.tls.connector(ExpectedPeer::service(service))?;
        connectors.insert(host.to_owned(), connector.clone());
        Ok(connector)
    }

    async fn dial_now(&self, host: &str, connector: &Connector) -> Outcome<Connection> {
        let opening = async {
            let (address, _) = self.names.find(host)?;
            let shown = self.shown();
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let name = host.to_owned().try_into()?;
            let tls = TlsConnector::from(connector.config());
            let stream = tls.connect(name, stream).await?;
            let (_, session) = stream.get_ref();
            // Whoever is there is whom we expected, by what is trusted now.
            let _ = connector.peer(session)?;
            let is_resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
            let counter = match is_resumed {
                true => &self.resumed,
                false => &self.full,
            };
            counter.fetch_add(1, Ordering::Relaxed);
            let (client, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            let serving = tokio::spawn(connection);
            Ok(Connection {
                client,
                serving,
                host: host.parse()?,
                shown,
                is_resumed,
            })
        };
        tokio::time::timeout(PATIENCE, opening).await?
    }
}

impl Connection {
    pub(crate) async fn send(&mut self, request: Request<Vec<u8>>) -> Outcome<Response<Vec<u8>>> {
        let (mut parts, body) = request.into_parts();
        parts.headers.insert("host", self.host.clone());
        parts.uri = parts.uri.path().parse()?;
        let sending = async {
            self.client.ready().await?;
            let request = Request::from_parts(parts, Full::new(Bytes::from(body)));
            let (head, body) = self.client.send_request(request).await?.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await?;
            Outcome::Ok(Response::from_parts(head, body.to_bytes().to_vec()))
        };
        match tokio::time::timeout(PATIENCE, sending).await? {
            // The task of the connection knows why, and what the other side's TLS said.
            Err(_) if self.client.is_closed() => {
                (&mut self.serving).await??;
                Err("the other side has closed the connection".into())
            }
            sent => sent,
        }
    }

    /// Waits until the other side has closed it.
    pub(crate) async fn closed(self) -> Outcome<Instant> {
        let Self {
            client, serving, ..
        } = self;
        // Whether with an error or without: it was not closed from this side.
        let _ = tokio::time::timeout(PATIENCE, serving).await??;
        drop(client); // it is what would end the connection from this side
        Ok(Instant::now())
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("host", &self.host)
            .field("is_resumed", &self.is_resumed)
            .finish_non_exhaustive()
    }
}
