//! As much HTTP/1.1 as tests and examples need, on loopback: one request, one answer, and the connection
//! is closed.
//!
//! There is no TLS. What a standard demands to be `https` keeps its `https` name all the same, and
//! [`Loopback`] says which port answers to it: it stands for the name service and for the proxy that
//! ends TLS. Nothing here proves that a peer is who it says; a test of that needs certificates.

mod message;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use http::{Request, Response, StatusCode};

pub use message::MAX_BODY;

/// How many connections a server answers at once; those beyond get 503.
const MAX_CONNECTIONS: usize = 64;
/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers requests on a port of 127.0.0.1, each in a thread of its own, until it is dropped.
///
/// ```
/// use std::time::Duration;
/// use http::{Request, Response};
/// use m2m_testkit::http::{Server, call};
///
/// let server = Server::start(|request| Response::new(request.into_body()))?;
/// let request = Request::post("http://anybody.example/echo").body(b"hello".to_vec())?;
/// let response = call(server.address(), &request, Duration::from_secs(5))?;
/// assert_eq!(response.body(), b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    ending: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    /// Begins to answer, on a port that is free.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn start<H>(handler: H) -> io::Result<Self>
    where
        H: Fn(Request<Vec<u8>>) -> Response<Vec<u8>> + Send + Sync + 'static,
    {
        Self::start_on(0, handler)
    }

    /// Begins to answer on `port`, which somebody else may have just left.
    ///
    /// # Errors
    ///
    /// If it is not free.
    pub fn start_on<H>(port: u16, handler: H) -> io::Result<Self>
    where
        H: Fn(Request<Vec<u8>>) -> Response<Vec<u8>> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let address = listener.local_addr()?;
        let ending = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&ending);
        let acceptor = std::thread::spawn(move || accept(&listener, &ended, &Arc::new(handler)));
        Ok(Self {
            address,
            ending,
            acceptor: Some(acceptor),
        })
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        // Wakes it up; if nobody listens any more, it has ended.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            // What a handler panics about is said by its own thread.
            let _ = acceptor.join();
        }
    }
}

fn accept<H>(listener: &TcpListener, ended: &AtomicBool, handler: &Arc<H>)
where
    H: Fn(Request<Vec<u8>>) -> Response<Vec<u8>> + Send + Sync + 'static,
{
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        if ended.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let place = Place::taken(&open);
        let handler = Arc::clone(handler);
        std::thread::spawn(move || {
            // A client that is gone, or speaks something else, is nobody's fault here.
            let _ = match place.is_within_bounds() {
                true => answer(&stream, &*handler),
                false => message::write_response(&stream, &bare(StatusCode::SERVICE_UNAVAILABLE)),
            };
        });
    }
}

/// Counts the connections that are open.
struct Place {
    open: Arc<AtomicUsize>,
    before: usize,
}

impl Place {
    fn taken(open: &Arc<AtomicUsize>) -> Self {
        Self {
            before: open.fetch_add(1, Ordering::SeqCst),
            open: Arc::clone(open),
        }
    }

    fn is_within_bounds(&self) -> bool {
        self.before < MAX_CONNECTIONS
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

fn answer<H>(stream: &TcpStream, handler: &H) -> io::Result<()>
where
    H: Fn(Request<Vec<u8>>) -> Response<Vec<u8>>,
{
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let response = match message::read_request(stream) {
        Ok(request) => handler(request),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => bare(StatusCode::BAD_REQUEST),
        Err(error) => return Err(error),
    };
    message::write_response(stream, &response)
}

fn bare(status: StatusCode) -> Response<Vec<u8>> {
    let mut response = Response::new(Vec::new());
    *response.status_mut() = status;
    response
}

/// Sends `request` to `to`, whatever its URI says of hosts, and waits for the answer for so long.
///
/// # Errors
///
/// Where nobody answers, not in time, or not in HTTP/1.1; and for a body of more than [`MAX_BODY`].
pub fn call(
    to: SocketAddr,
    request: &Request<Vec<u8>>,
    patience: Duration,
) -> io::Result<Response<Vec<u8>>> {
    let stream = TcpStream::connect_timeout(&to, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.set_nodelay(true)?;
    message::write_request(&stream, request)?;
    message::read_response(&stream)
}

/// Which port of 127.0.0.1 answers to which name, as `https://transmitter.example`.
///
/// Only names that were told are ever called.
#[derive(Clone, Debug, Default)]
pub struct Loopback {
    names: Arc<RwLock<BTreeMap<Box<str>, SocketAddr>>>,
}

impl Loopback {
    /// Knows no name.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on `address` answers to `host`.
    pub fn tell(&self, host: &str, address: SocketAddr) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        names.insert(Box::from(host), address);
    }

    /// Sends `request` to whoever answers to the host of its URI.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] for a name that was not told; else as [`call`].
    pub fn call(
        &self,
        request: &Request<Vec<u8>>,
        patience: Duration,
    ) -> io::Result<Response<Vec<u8>>> {
        let host = request.uri().host().unwrap_or_default();
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let address = names.get(host).copied();
        drop(names);
        let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("nobody is {host:?}"));
        call(address.ok_or_else(unknown)?, request, patience)
    }
}
