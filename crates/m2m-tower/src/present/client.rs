//! `OriginClient`: HTTP/1.1 over mutual TLS to one service, by the certificate of the hour.
//!
//! ```text
//! request ─ ours? ─ connection ─▶ an idle one that shows the current certificate, or a new one
//!                       │
//!                       └ the token that is bound to the certificate it shows ─▶ sent ─▶ response
//! ```

mod body;
mod connect;

pub use body::ClientBody;

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{AUTHORIZATION, HOST};
use http::{HeaderValue, Request, Response, Uri};
use http_body::Body;
use m2m_crypto::CertificateThumbprint;
use m2m_pki::ExpectedPeer;
use m2m_pki::tls::{Connector, LiveTls, PeerError, UpdateError};
use m2m_types::{Clock, ClockError, Timestamp};
use tokio::sync::Semaphore;
use tower_service::Service;

use self::connect::Open;
use super::origin::Origin;
use super::tokens::Attached;

/// A client for one service over mutual TLS: it shows the certificate of the hour, and sends to nobody but
/// whom it expects. HTTP/1.1; cloning copies a pointer.
///
/// - **Who answers** is known by its certificate ([`ExpectedPeer`]), in each handshake and before each
///   request; a connection whose other end is not trusted any more is closed.
/// - **Certificates that are renewed** ([`LiveTls::update`]) are shown from the next connection on, and
///   connections that show an older one are not used again. A token of [`Present`](super::Present) that is
///   bound to a certificate goes over a connection that shows this very one: where a connection shows
///   another, the token is exchanged for the one that fits, which is waited for if it is on its way.
/// - **No redirects, no retries**: only what was certainly not sent is sent again.
///
/// Needs a runtime of tokio with time and I/O.
pub struct OriginClient<B> {
    inner: Arc<Inner<B>>,
}

struct Inner<B> {
    origin: Origin,
    tls: LiveTls,
    connector: Connector,
    clock: Arc<dyn Clock>,
    limits: Limits,
    /// How many requests may be under way.
    turns: Arc<Semaphore>,
    idle: Mutex<Vec<Open<B>>>,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    requests: usize,
    connect: Duration,
}

/// Why there is no response.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The request is for another origin than this client's, or has another `Host`.
    #[error("the request is not for {origin}")]
    OtherOrigin {
        /// Whom this client calls.
        origin: Origin,
    },
    /// The name was not resolved.
    #[error("resolving the name: {0}")]
    Resolve(std::io::ErrorKind),
    /// No connection.
    #[error("connecting: {0}")]
    Connect(std::io::ErrorKind),
    /// The handshake failed.
    #[error("handshake: {0}")]
    Handshake(std::io::ErrorKind),
    /// Name, connection, handshake and token took too long together.
    #[error("connecting took longer than {limit:?}")]
    Slow {
        /// How long it may take.
        limit: Duration,
    },
    /// Who answers is not trusted, or not whom is expected.
    #[error("{0}")]
    Peer(PeerError),
    /// Our own certificate was replaced during each handshake that was tried.
    #[error("the own certificate was replaced during each of {handshakes} handshakes")]
    Unsettled {
        /// How many were tried.
        handshakes: usize,
    },
    /// What time it is is not known.
    #[error("{0}")]
    Clock(ClockError),
    /// HTTP went wrong, or the connection broke.
    #[error("http: {0}")]
    Http(Box<str>),
}

impl<B> OriginClient<B> {
    /// How many requests are under way at once, unless told otherwise; further ones wait.
    pub const REQUESTS: usize = 64;
    /// How long it may take to connect, unless told otherwise.
    pub const CONNECT: Duration = Duration::from_secs(10);

    /// Calls `expected` at `origin`, which is one of `https`, by the identity of `tls`.
    ///
    /// # Errors
    ///
    /// [`UpdateError::Provider`].
    pub fn new(
        tls: &LiveTls,
        expected: ExpectedPeer,
        origin: Origin,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, UpdateError> {
        let limits = Limits {
            requests: Self::REQUESTS,
            connect: Self::CONNECT,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                origin,
                connector: tls.connector(expected)?,
                tls: tls.clone(),
                clock,
                turns: Arc::new(Semaphore::new(limits.requests)),
                limits,
                idle: Mutex::default(),
            }),
        })
    }

    /// With at most `requests` under way at once, and `connect` for a connection. Before it is cloned.
    #[must_use]
    pub fn with_limits(self, requests: usize, connect: Duration) -> Self {
        let Inner {
            origin,
            tls,
            connector,
            clock,
            ..
        } = &*self.inner;
        Self {
            inner: Arc::new(Inner {
                origin: origin.clone(),
                tls: tls.clone(),
                connector: connector.clone(),
                clock: Arc::clone(clock),
                turns: Arc::new(Semaphore::new(requests)),
                limits: Limits { requests, connect },
                idle: Mutex::default(),
            }),
        }
    }
}

impl<B> Inner<B> {
    /// Guards a few pointers: nothing is done under it that waits or panics.
    fn idle(&self) -> MutexGuard<'_, Vec<Open<B>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The certificate that a handshake would show now.
    fn certificate(&self) -> CertificateThumbprint {
        *self.tls.material().identity().certificate().thumbprint()
    }

    fn now(&self) -> Result<Timestamp, ClientError> {
        self.clock.now().map_err(ClientError::Clock)
    }

    /// Puts a connection back that can take another request.
    fn put_back(&self, open: Open<B>) {
        let mut idle = self.idle();
        if idle.len() < self.limits.requests {
            idle.push(open);
        }
    }

    /// An idle connection that may be used with such a token.
    fn take_idle(&self, attached: Option<&Attached>, now: Timestamp) -> Option<Open<B>> {
        let current = self.certificate();
        let has = |certificate: &CertificateThumbprint| {
            attached.is_none_or(|Attached(tokens)| tokens.bound_to(certificate, now).is_some())
        };
        let may_replace = has(&current);
        if let (Some(Attached(tokens)), false) = (attached, may_replace) {
            tokens.look();
        }
        let mut idle = self.idle();
        idle.retain(|open| {
            // Until there is a token for the new certificate, the older one is good.
            let shows_enough = *open.shown() == current || !may_replace && has(open.shown());
            shows_enough && open.is_usable(now)
        });
        idle.pop()
    }
}

impl<B> Inner<B>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    async fn send(
        self: Arc<Self>,
        mut request: Request<B>,
    ) -> Result<Response<ClientBody<B>>, ClientError> {
        self.address(&mut request)?;
        let attached = request.extensions_mut().remove::<Attached>();
        // Never closed.
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let turn = turn.map_err(|_| ClientError::Http("closed".into()))?;
        loop {
            let now = self.now()?;
            let (mut open, is_new) = match self.take_idle(attached.as_ref(), now) {
                Some(open) => (open, false),
                None => (self.open(attached.as_ref()).await?, true),
            };
            if let Some(Attached(tokens)) = &attached {
                match tokens.bound_to(open.shown(), self.now()?) {
                    Some(header) => {
                        request.headers_mut().insert(AUTHORIZATION, header);
                    }
                    // It expired meanwhile: another connection, another token.
                    None if !is_new => continue,
                    None => {
                        let limit = self.limits.connect;
                        return Err(ClientError::Slow { limit });
                    }
                }
            }
            match open.send(request).await {
                Ok(response) => return Ok(ClientBody::wrap(response, open, turn, &self)),
                Err((Some(unsent), _)) if !is_new => request = unsent,
                Err((_, error)) => return Err(error),
            }
        }
    }

    /// Looks whether the request is for here, and puts it into the form that goes over a connection.
    fn address(&self, request: &mut Request<B>) -> Result<(), ClientError> {
        let other = || ClientError::OtherOrigin {
            origin: self.origin.clone(),
        };
        if !self.origin.is_of(request.uri()) || self.origin.is_plain() {
            return Err(other());
        }
        let authority = request.uri().authority().map(|one| one.as_str());
        let host = HeaderValue::try_from(authority.unwrap_or_default()).map_err(|_| other())?;
        let mut hosts = request.headers().get_all(HOST).iter();
        let same = |there: &HeaderValue| there.as_bytes().eq_ignore_ascii_case(host.as_bytes());
        if !hosts.all(same) {
            return Err(other());
        }
        request.headers_mut().insert(HOST, host);
        let target = request.uri().path_and_query().cloned();
        *request.uri_mut() = target.map_or_else(|| Uri::from_static("/"), Uri::from);
        Ok(())
    }
}

impl<B> Service<Request<B>> for OriginClient<B>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<ClientBody<B>>;
    type Error = ClientError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ClientError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Box::pin(Arc::clone(&self.inner).send(request))
    }
}

impl<B> Clone for OriginClient<B> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<B> fmt::Debug for OriginClient<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OriginClient")
            .field("origin", &self.inner.origin)
            .field("expected", self.inner.connector.expected())
            .field("limits", &self.inner.limits)
            .finish_non_exhaustive()
    }
}
