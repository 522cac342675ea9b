//! `AuthenticateSigned`: takes signed requests too, whose content it reads before the handler does.
//!
//! ```text
//! RFC 9421       head ─ signature, guard ─ what is covered ─ content, within bounds ─ its digest ─▶ handler
//! compact form   head ─ content, within bounds ─ signature over its hash, guard ──────────────────▶ handler
//! ```

mod bounds;
mod reading;

pub use bounds::SignedRequests;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use m2m_guard::SignatureProof;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use self::reading::{Reading, Signature, Step};
use super::{Authenticate, Shared};
use crate::answer::{answer, is_grpc};
use crate::body::GuardedBody;
use crate::refused::Refused;

/// [`Authenticate`] that takes signed requests too: by HTTP Message Signatures (RFC 9421) with
/// `Content-Digest` (RFC 9530), and in the compact form of [`m2m_secrets::sign_request`], as far as the guard
/// takes them.
///
/// What a handler sees of a signed request is what was signed: method, authority, path, query and content
/// are covered, or it is refused. The content is read here, within the bounds of [`SignedRequests`], and the
/// handler gets the same bytes. A request that is not signed goes the way of [`Authenticate`], its body
/// unread.
///
/// Bodies must be makeable of bytes, as those of axum are; for others, wrap them. Needs a runtime of tokio
/// with time.
#[derive(Clone)]
pub struct AuthenticateSigned {
    shared: Arc<Shared>,
    bounds: SignedRequests,
}

/// A part of a request that its signature has to cover.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnsignedPart {
    /// `@method`.
    Method,
    /// `@authority`, or `@target-uri`.
    Authority,
    /// `@path`, `@request-target` or `@target-uri`.
    Path,
    /// `@query`, `@request-target` or `@target-uri`, if there is a query.
    Query,
    /// `content-digest`, if there is content.
    ContentDigest,
}

impl fmt::Display for UnsignedPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Method => "the method",
            Self::Authority => "the authority",
            Self::Path => "the path",
            Self::Query => "the query",
            Self::ContentDigest => "the digest of the content",
        })
    }
}

/// Whether everything is covered that a handler goes by.
pub(super) fn check_coverage(
    proof: &SignatureProof,
    parts: &Parts,
    has_content: bool,
) -> Result<(), Refused> {
    let Some(coverage) = proof.coverage() else {
        return Ok(()); // the compact form covers it all
    };
    let has_query = parts.uri.query().is_some();
    let demanded = [
        (UnsignedPart::Method, coverage.has_method()),
        (UnsignedPart::Authority, coverage.has_authority()),
        (UnsignedPart::Path, coverage.has_path()),
        (UnsignedPart::Query, coverage.has_query() || !has_query),
        (
            UnsignedPart::ContentDigest,
            coverage.has_content_digest() || !has_content,
        ),
    ];
    match demanded.into_iter().find(|(_, is_covered)| !is_covered) {
        Some((part, _)) => Err(Refused::Unsigned { part }),
        None => Ok(()),
    }
}

impl Authenticate {
    /// Takes signed requests within `bounds`, where the guard takes them.
    #[must_use]
    pub fn with_signed_requests(self, bounds: SignedRequests) -> AuthenticateSigned {
        AuthenticateSigned {
            shared: self.shared,
            bounds,
        }
    }
}

impl<S> Layer<S> for AuthenticateSigned {
    type Service = AuthenticatedSigned<S>;

    fn layer(&self, inner: S) -> AuthenticatedSigned<S> {
        AuthenticatedSigned {
            inner,
            shared: Arc::clone(&self.shared),
            bounds: self.bounds.clone(),
        }
    }
}

/// What [`AuthenticateSigned`] makes of a service.
#[derive(Clone)]
pub struct AuthenticatedSigned<S> {
    inner: S,
    shared: Arc<Shared>,
    bounds: SignedRequests,
}

impl<S, B, R> Service<Request<B>> for AuthenticatedSigned<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    B: Body + From<Bytes>,
{
    type Response = Response<GuardedBody<R>>;
    type Error = S::Error;
    type Future = SignedFuture<S, B, R>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let step = match Signature::of(&parts) {
            Ok(None) => match self.shared.check(&mut parts) {
                Ok(()) => Step::Go(Request::from_parts(parts, body)),
                Err(refused) => Step::Refused(refused, is_grpc(&parts)),
            },
            Ok(Some(signature)) => {
                Reading::begin(&self.shared, &self.bounds, signature, parts, body)
            }
            Err(problem) => {
                let refused = self.shared.refuse(problem.into());
                Step::Refused(refused, is_grpc(&parts))
            }
        };
        match step {
            Step::Go(request) => SignedFuture::new(Kind::Inner {
                future: self.inner.call(request),
            }),
            Step::Refused(refused, is_grpc) => SignedFuture::new(Kind::Refused {
                response: Some(answer(&refused, is_grpc).map(GuardedBody::own)),
            }),
            Step::Read(reading) => {
                // The one that is ready goes with the request, and another stays here.
                let another = self.inner.clone();
                let inner = Some(std::mem::replace(&mut self.inner, another));
                SignedFuture::new(Kind::Reading { reading, inner })
            }
        }
    }
}

pin_project! {
    /// The response of the service behind, or a refusal; first, for a signed request, the reading of its
    /// content.
    pub struct SignedFuture<S, B, R>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        kind: Kind<S, B, R>,
    }
}

pin_project! {
    #[project = KindProjected]
    enum Kind<S, B, R>
    where
        S: Service<Request<B>>,
    {
        Inner { #[pin] future: S::Future },
        Refused { response: Option<Response<GuardedBody<R>>> },
        Reading { reading: Pin<Box<Reading<B>>>, inner: Option<S> },
    }
}

impl<S, B, R> SignedFuture<S, B, R>
where
    S: Service<Request<B>>,
{
    const fn new(kind: Kind<S, B, R>) -> Self {
        Self { kind }
    }
}

impl<S, B, R> Future for SignedFuture<S, B, R>
where
    S: Service<Request<B>, Response = Response<R>>,
    B: Body + From<Bytes>,
{
    type Output = Result<Response<GuardedBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.kind.as_mut().project() {
                KindProjected::Inner { future } => {
                    let response = ready!(future.poll(context))?;
                    return Poll::Ready(Ok(response.map(GuardedBody::inner)));
                }
                // It is there until it was given, after which nobody asks (as with every future).
                KindProjected::Refused { response } => {
                    return match response.take() {
                        Some(response) => Poll::Ready(Ok(response)),
                        None => Poll::Pending,
                    };
                }
                KindProjected::Reading { reading, inner } => {
                    match (ready!(reading.as_mut().poll(context)), inner.take()) {
                        (Ok(request), Some(mut inner)) => Kind::Inner {
                            future: inner.call(request),
                        },
                        (Ok(_), None) => return Poll::Pending,
                        (Err((refused, is_grpc)), _) => Kind::Refused {
                            response: Some(answer(&refused, is_grpc).map(GuardedBody::own)),
                        },
                    }
                }
            };
            this.kind.set(next);
        }
    }
}

impl fmt::Debug for AuthenticateSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticateSigned")
            .field("bounds", &self.bounds)
            .finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for AuthenticatedSigned<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticatedSigned")
            .finish_non_exhaustive()
    }
}

impl<S, B, R> fmt::Debug for SignedFuture<S, B, R>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedFuture").finish_non_exhaustive()
    }
}
