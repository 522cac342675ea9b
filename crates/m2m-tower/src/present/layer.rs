//! `Present`: the layer that attaches tokens to requests that go out, and to no others.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::{AUTHORIZATION, HOST};
use http::request::Parts;
use http::{HeaderMap, Request, Uri};
use m2m_types::Clock;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::not_sent::{NotSent, PresentError};
use super::origin::Origin;
use super::tokens::Tokens;

/// Attaches tokens to requests that go out: each origin gets those that were named for it, and no other gets
/// any.
///
/// Requests have the absolute URI that clients take. One for an origin that was not named is not sent; nor
/// is one whose token has expired, or that has credentials already. The token goes by a copied pointer: no
/// lock, and nothing is waited for.
///
/// Put it directly around the client, *inside* of whatever follows redirects or retries: each hop is then
/// looked at by itself, and another origin gets nothing. A client that follows redirects by itself must not
/// be used: it would carry the token on. Those of hyper follow none.
///
/// ```
/// # use std::sync::Arc;
/// # use m2m_tower::{Origin, Present, Tokens};
/// # use m2m_types::{Clock, SystemClock};
/// # fn example(orders: Tokens, mail: Tokens) -> Result<(), Box<dyn std::error::Error>> {
/// let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
/// let layer = Present::new(clock)
///     .with_tokens(Origin::parse("https://orders.internal:8443")?, orders)
///     .with_tokens(Origin::parse("https://mail.internal")?, mail);
/// # let _ = layer;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Present {
    shared: Arc<Shared>,
}

#[derive(Clone)]
struct Shared {
    clock: Arc<dyn Clock>,
    named: Named<Tokens>,
}

/// What was named for which origin, and what becomes of requests for others.
#[derive(Clone)]
pub(super) struct Named<T> {
    all: Vec<(Origin, T)>,
    elsewhere: Elsewhere,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Elsewhere {
    Refused,
    PassedWithoutCredentials,
}

impl<T> Named<T> {
    pub(super) const fn new() -> Self {
        Self {
            all: Vec::new(),
            elsewhere: Elsewhere::Refused,
        }
    }

    pub(super) fn set(&mut self, origin: Origin, what: T) {
        self.all.retain(|(known, _)| *known != origin);
        self.all.push((origin, what));
    }

    pub(super) fn pass_others(&mut self) {
        self.elsewhere = Elsewhere::PassedWithoutCredentials;
    }

    /// What was named for where the request goes; [`None`] if it is to go there without.
    pub(super) fn find(&self, uri: &Uri, headers: &HeaderMap) -> Result<Option<&T>, NotSent> {
        let found = self.all.iter().find(|(origin, _)| origin.is_of(uri));
        let Some((_, what)) = found else {
            return match self.elsewhere {
                Elsewhere::Refused => Err(NotSent::OtherOrigin),
                Elsewhere::PassedWithoutCredentials => Ok(None),
            };
        };
        // A server goes by `Host`, and so would whoever stands in front of several.
        let authority = uri.authority().map(|authority| authority.as_str());
        let authority = authority.unwrap_or_default().as_bytes();
        let mut hosts = headers.get_all(HOST).iter();
        let is_same = match hosts.next() {
            Some(host) => host.as_bytes().eq_ignore_ascii_case(authority),
            None => true,
        };
        match is_same && hosts.next().is_none() {
            true => Ok(Some(what)),
            false => Err(NotSent::Host),
        }
    }

    pub(super) fn origins(&self) -> impl Iterator<Item = &Origin> {
        self.all.iter().map(|(origin, _)| origin)
    }
}

impl Present {
    /// Attaches nothing yet; `clock` is read once for each request.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            shared: Arc::new(Shared {
                clock,
                named: Named::new(),
            }),
        }
    }

    /// Requests for `origin` get one of `tokens`, which are meant for the service that answers there.
    #[must_use]
    pub fn with_tokens(mut self, origin: Origin, tokens: Tokens) -> Self {
        Arc::make_mut(&mut self.shared).named.set(origin, tokens);
        self
    }

    /// Lets requests for origins that were not named pass, as they are. **A misspelt origin is then called
    /// without credentials, and whatever else the request says goes there.**
    #[must_use]
    pub fn danger_passing_other_origins_without_credentials(mut self) -> Self {
        Arc::make_mut(&mut self.shared).named.pass_others();
        self
    }
}

impl Shared {
    fn attach(&self, parts: &mut Parts) -> Result<(), NotSent> {
        let Some(tokens) = self.named.find(&parts.uri, &parts.headers)? else {
            return Ok(());
        };
        if parts.headers.contains_key(AUTHORIZATION) {
            return Err(NotSent::Credentials {
                header: "authorization",
            });
        }
        let now = self.clock.now().map_err(NotSent::Clock)?;
        let (header, _is_bound) = tokens.newest(now)?;
        parts.headers.insert(AUTHORIZATION, header);
        #[cfg(feature = "tls")]
        if _is_bound {
            let attached = super::tokens::Attached(tokens.clone());
            parts.extensions.insert(attached);
        }
        Ok(())
    }
}

impl<S> Layer<S> for Present {
    type Service = Presenting<S>;

    fn layer(&self, inner: S) -> Presenting<S> {
        Presenting {
            inner,
            shared: Arc::clone(&self.shared),
        }
    }
}

/// What [`Present`] makes of a client.
#[derive(Clone)]
pub struct Presenting<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S, B> Service<Request<B>> for Presenting<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = PresentError<S::Error>;
    type Future = PresentFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context).map_err(PresentError::Inner)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let kind = match self.shared.attach(&mut parts) {
            Ok(()) => Kind::Inner {
                future: self.inner.call(Request::from_parts(parts, body)),
            },
            Err(why) => Kind::NotSent { why: Some(why) },
        };
        PresentFuture { kind }
    }
}

pin_project! {
    /// The response of the client behind, or why the request was not sent.
    pub struct PresentFuture<F> {
        #[pin]
        kind: Kind<F>,
    }
}

pin_project! {
    #[project = KindProjected]
    enum Kind<F> {
        Inner { #[pin] future: F },
        NotSent { why: Option<NotSent> },
    }
}

impl<F, R, E> Future for PresentFuture<F>
where
    F: Future<Output = Result<R, E>>,
{
    type Output = Result<R, PresentError<E>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProjected::Inner { future } => {
                Poll::Ready(ready!(future.poll(context)).map_err(PresentError::Inner))
            }
            // It is there until it was given, after which nobody asks (as with every future).
            KindProjected::NotSent { why } => match why.take() {
                Some(why) => Poll::Ready(Err(PresentError::NotSent(why))),
                None => Poll::Pending,
            },
        }
    }
}

impl fmt::Debug for Present {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origins: Vec<_> = self.shared.named.origins().collect();
        f.debug_struct("Present")
            .field("origins", &origins)
            .field("elsewhere", &self.shared.named.elsewhere)
            .finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for Presenting<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presenting").finish_non_exhaustive()
    }
}

impl<F> fmt::Debug for PresentFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresentFuture").finish_non_exhaustive()
    }
}
