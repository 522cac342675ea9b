//! `Authenticate`: the layer that asks a guard before anything behind it runs.

mod service;
#[cfg(feature = "secrets")]
mod signed;

pub use service::{AuthenticateFuture, Authenticated};
#[cfg(feature = "secrets")]
pub use signed::{
    AuthenticateSigned, AuthenticatedSigned, SignedFuture, SignedRequests, UnsignedPart,
};

use std::fmt;
use std::sync::Arc;

use http::HeaderName;
use http::request::Parts;
use m2m_guard::{Call, Caller, CanonicalPath, Guard, GuardScratch, Presented, Rejection};
use m2m_types::{Clock, Timestamp};
use tower_layer::Layer;

use crate::connection::{PeerAddress, PeerThumbprint};
use crate::credentials::{RequestProblem, bearer_token};
use crate::headers::drop_claims;
use crate::observe::Observed;
use crate::refused::Refused;
use crate::scratches::Scratches;

/// Asks a [`Guard`] about each request, before anything behind it runs: who sends it, and whether it may.
///
/// A request that is admitted has its [`Caller`] as an extension. One that is not is answered here, in one
/// word, whatever it is for: there are no paths and no user agents that need no credentials. A service
/// that must answer everybody stands outside of this layer.
///
/// On the way of a request that is admitted no future is boxed and nothing is waited for.
#[derive(Clone)]
pub struct Authenticate {
    shared: Arc<Shared>,
}

#[derive(Clone)]
struct Shared {
    guard: Arc<Guard>,
    clock: Arc<dyn Clock>,
    mode: Mode,
    describe: Arc<dyn DescribeCall>,
    #[cfg_attr(not(feature = "secrets"), expect(dead_code, reason = "of secrets"))]
    api_key: Option<HeaderName>,
    #[cfg(feature = "tls")]
    proxies: Option<Arc<crate::TrustedProxies>>,
    observed: Observed,
    scratches: Arc<Scratches>,
}

/// What is done with a request that is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Enforce,
    Annotate,
}

/// An extension of a request that was not admitted, and was let through because the layer only annotates:
/// what its sender would have been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAdmitted(pub Rejection);

/// Says what a request asks for, in the words that the decision knows.
///
/// Without one, the action is the method and the resource the path, which has one meaning
/// ([`CanonicalPath`]). Functions are such: `fn(&Parts) -> Call<'_>`.
pub trait DescribeCall: Send + Sync {
    /// What `request` asks for. What it says of the address is overwritten by what the acceptor knows.
    fn describe<'r>(&'r self, request: &'r Parts) -> Call<'r>;
}

impl<F> DescribeCall for F
where
    F: for<'r> Fn(&'r Parts) -> Call<'r> + Send + Sync,
{
    fn describe<'r>(&'r self, request: &'r Parts) -> Call<'r> {
        self(request)
    }
}

/// What came with a request besides what its head says by itself.
#[derive(Clone, Copy, Default)]
struct Besides<'a> {
    presented: Presented<'a>,
    /// Whether something follows the head, which a signature then has to cover.
    #[cfg(feature = "secrets")]
    has_content: bool,
}

fn method_and_path(request: &Parts) -> Call<'_> {
    Call::new(request.method.as_str(), request.uri.path())
}

impl Authenticate {
    /// Asks `guard`; `clock` is read once for each request.
    pub fn new(guard: Arc<Guard>, clock: Arc<dyn Clock>) -> Self {
        Self {
            shared: Arc::new(Shared {
                guard,
                clock,
                mode: Mode::Enforce,
                describe: Arc::new(method_and_path),
                api_key: None,
                #[cfg(feature = "tls")]
                proxies: None,
                observed: Observed::new(),
                scratches: Arc::new(Scratches::new()),
            }),
        }
    }

    /// Lets requests that are not admitted through, with a [`NotAdmitted`] in the place of a [`Caller`]:
    /// to see who would be refused before anybody is, or where handlers decide. A request that has two
    /// meanings is refused nevertheless.
    #[must_use]
    pub fn only_annotating(self) -> Self {
        self.with(|shared| shared.mode = Mode::Annotate)
    }

    /// Asks `describe` what a request is for.
    #[must_use]
    pub fn with_calls(self, describe: impl DescribeCall + 'static) -> Self {
        self.with(|shared| shared.describe = Arc::new(describe))
    }

    /// Takes API keys from the header `name`, where the guard takes them.
    #[cfg(feature = "secrets")]
    #[must_use]
    pub fn with_api_key_header(self, name: HeaderName) -> Self {
        self.with(|shared| shared.api_key = Some(name))
    }

    /// Takes the client's certificate from a header, if one of `proxies` wrote it.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn behind(self, proxies: crate::TrustedProxies) -> Self {
        self.with(|shared| shared.proxies = Some(Arc::new(proxies)))
    }

    /// Tells `observe` why requests were refused, and how many were refused since without being told of:
    /// at most a hundred a second are. It should not block; if it panics, the answer is the same.
    #[must_use]
    pub fn with_observer(self, observe: impl Fn(&Refused, u64) + Send + Sync + 'static) -> Self {
        self.with(|shared| shared.observed.watcher.observe(Arc::new(observe)))
    }

    /// Counts requests in `metrics`, by what became of them. What is made anew of the layer counts in them too.
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn with_metrics(self, metrics: &crate::Metrics) -> Self {
        self.with(|shared| shared.observed.measure(metrics))
    }

    /// Emits an event `m2m.refused` for each refusal, at most a hundred a second together with what the observer
    /// is told, and a span `m2m.admission` at `DEBUG` for each request.
    #[cfg(feature = "tracing")]
    #[must_use]
    pub fn with_tracing(self) -> Self {
        self.with(|shared| shared.observed.trace())
    }

    fn with(mut self, change: impl FnOnce(&mut Shared)) -> Self {
        change(Arc::make_mut(&mut self.shared));
        self
    }
}

impl<S> Layer<S> for Authenticate {
    type Service = Authenticated<S>;

    fn layer(&self, inner: S) -> Authenticated<S> {
        Authenticated::new(inner, Arc::clone(&self.shared))
    }
}

impl fmt::Debug for Authenticate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Authenticate");
        shown
            .field("guard", &self.shared.guard)
            .field("mode", &self.shared.mode);
        #[cfg(feature = "tls")]
        shown.field("proxies", &self.shared.proxies);
        shown.finish_non_exhaustive()
    }
}

impl Shared {
    /// Whether the request goes on. If so, who sends it is among its extensions.
    fn check(&self, parts: &mut Parts) -> Result<(), Refused> {
        self.conclude(parts, |shared, parts, now| {
            shared.admit(parts, Besides::default(), now)
        })
    }

    /// As [`Shared::check`], for who is asked otherwise.
    fn conclude(
        &self,
        parts: &mut Parts,
        ask: impl FnOnce(&Self, &Parts, Timestamp) -> Result<Caller, Refused>,
    ) -> Result<(), Refused> {
        // What somebody else put there is not ours.
        parts.extensions.remove::<Caller>();
        parts.extensions.remove::<NotAdmitted>();
        let begun = self.observed.begin();
        let now = self.clock.now();
        let result = match now {
            Ok(now) => ask(self, parts, now),
            Err(error) => Err(Refused::Clock(error)),
        };
        drop_claims(parts);
        match result {
            Ok(caller) => {
                self.observed.admitted(&begun, &caller, now.ok());
                parts.extensions.insert(caller);
                Ok(())
            }
            Err(refused) => {
                let annotation = refused.rejection().filter(|_| self.mode == Mode::Annotate);
                self.observed
                    .refused(&begun, &refused, annotation.is_some(), now.ok());
                match annotation {
                    Some(rejection) => {
                        parts.extensions.insert(NotAdmitted(rejection));
                        Ok(())
                    }
                    None => Err(refused),
                }
            }
        }
    }

    /// Asks about what is in the head, and about what came besides.
    fn admit(
        &self,
        parts: &Parts,
        besides: Besides<'_>,
        now: Timestamp,
    ) -> Result<Caller, Refused> {
        // Routers and decisions must not differ on what is asked for.
        if let Some(problem) = CanonicalPath::parse(parts.uri.path()).err() {
            let is_asterisk = parts.uri.path() == "*"; // OPTIONS * (RFC 9112 §3.2.4)
            if !is_asterisk {
                return Err(RequestProblem::Path(problem).into());
            }
        }
        let token = bearer_token(parts)?;
        self.scratches
            .with(|scratch| self.ask(parts, besides, token, now, scratch))
    }

    fn ask(
        &self,
        parts: &Parts,
        besides: Besides<'_>,
        token: Option<&str>,
        now: Timestamp,
        scratch: &mut GuardScratch,
    ) -> Result<Caller, Refused> {
        let mut presented = besides.presented;
        if let Some(token) = token {
            presented = presented.with_token(token);
        }
        if let Some(PeerThumbprint(thumbprint)) = parts.extensions.get() {
            presented = presented.with_certificate(*thumbprint);
        }
        #[cfg(feature = "secrets")]
        if let Some(name) = &self.api_key {
            let repeated = |count| RequestProblem::ApiKeyRepeated { count };
            if let Some(key) = crate::credentials::only(&parts.headers, name, repeated)? {
                presented = presented.with_api_key(key);
            }
        }
        #[cfg(feature = "tls")]
        let forwarded = self.peer(parts, now)?;
        #[cfg(feature = "tls")]
        if let Some(peer) = &forwarded {
            presented = presented.with_peer(peer);
        }
        let mut call = self.describe.describe(parts);
        if let Some(PeerAddress(address)) = parts.extensions.get() {
            call = call.from_address(address.ip().to_canonical());
        }
        let admitted = self.guard.admit(&presented, &call, now, scratch)?;
        #[cfg(feature = "secrets")]
        if let Some(proof) = admitted.signature() {
            signed::check_coverage(proof, parts, besides.has_content)?;
        }
        admitted.to_caller().map_err(|_| Refused::Name)
    }

    /// Who is at the other end of the connection, or of that of the proxy.
    #[cfg(feature = "tls")]
    fn peer<'p>(
        &self,
        parts: &'p Parts,
        now: Timestamp,
    ) -> Result<Option<AtOtherEnd<'p>>, Refused> {
        let Some(connected) = parts.extensions.get::<crate::ConnectedPeer>() else {
            return Ok(None);
        };
        connected.check(now).map_err(Refused::Connection)?;
        let peer = connected.peer().verified();
        match &self.proxies {
            Some(proxies) if proxies.has(peer) => {
                let forwarded = proxies.forwarded(&parts.headers, now)?;
                Ok(forwarded.map(AtOtherEnd::OfProxy))
            }
            _ => Ok(Some(AtOtherEnd::OfConnection(peer))),
        }
    }
}

/// The peer of the connection, or one that a proxy forwarded.
#[cfg(feature = "tls")]
enum AtOtherEnd<'p> {
    OfConnection(&'p m2m_pki::VerifiedPeer),
    OfProxy(Arc<m2m_pki::VerifiedPeer>),
}

#[cfg(feature = "tls")]
impl std::ops::Deref for AtOtherEnd<'_> {
    type Target = m2m_pki::VerifiedPeer;

    fn deref(&self) -> &m2m_pki::VerifiedPeer {
        match self {
            Self::OfConnection(peer) => peer,
            Self::OfProxy(peer) => peer,
        }
    }
}
