//! `Authenticated`: the service that the layer makes.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::Shared;
use crate::answer::{answer, is_grpc};
use crate::body::GuardedBody;

/// What [`super::Authenticate`] makes of a service.
#[derive(Clone)]
pub struct Authenticated<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Authenticated<S> {
    pub(super) const fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

impl<S, B, R> Service<Request<B>> for Authenticated<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<GuardedBody<R>>;
    type Error = S::Error;
    type Future = AuthenticateFuture<S::Future, R>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        match self.shared.check(&mut parts) {
            Ok(()) => AuthenticateFuture::inner(self.inner.call(Request::from_parts(parts, body))),
            Err(refused) => {
                let response = answer(&refused, is_grpc(&parts));
                AuthenticateFuture::refused(response.map(GuardedBody::own))
            }
        }
    }
}

impl<S> fmt::Debug for Authenticated<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticated").finish_non_exhaustive()
    }
}

pin_project! {
    /// The response of the service behind, or a refusal.
    pub struct AuthenticateFuture<F, R> {
        #[pin]
        kind: Kind<F, R>,
    }
}

pin_project! {
    #[project = KindProjected]
    enum Kind<F, R> {
        Inner { #[pin] future: F },
        Refused { response: Option<Response<GuardedBody<R>>> },
    }
}

impl<F, R> AuthenticateFuture<F, R> {
    const fn inner(future: F) -> Self {
        Self {
            kind: Kind::Inner { future },
        }
    }

    const fn refused(response: Response<GuardedBody<R>>) -> Self {
        Self {
            kind: Kind::Refused {
                response: Some(response),
            },
        }
    }
}

impl<F, R, E> Future for AuthenticateFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<GuardedBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProjected::Inner { future } => {
                let response = ready!(future.poll(context))?;
                Poll::Ready(Ok(response.map(GuardedBody::inner)))
            }
            // It is there until it was given, after which nobody asks (as with every future).
            KindProjected::Refused { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                None => Poll::Pending,
            },
        }
    }
}

impl<F, R> fmt::Debug for AuthenticateFuture<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticateFuture").finish_non_exhaustive()
    }
}
