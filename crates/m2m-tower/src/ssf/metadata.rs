//! `MetadataService`: what a transmitter says of itself, to everybody.

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use caep_stream::transmitter::Transmitter;
use http::header::{ALLOW, CACHE_CONTROL};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use tower_service::Service;

use super::body::empty;
use super::whole;
use crate::body::WholeBody;

/// Answers `GET` and `HEAD` of a transmitter's metadata (SSF 1.0 §7.2), at the path that its issuer's name
/// gives, such as `/.well-known/ssf-configuration`. Whoever asks is answered: it stands outside of
/// [`crate::Authenticate`], as the JWK set does ([`crate::Published`]).
#[derive(Clone)]
pub struct MetadataService {
    transmitter: Arc<Transmitter>,
}

impl MetadataService {
    /// What `transmitter` says.
    pub fn new(transmitter: Arc<Transmitter>) -> Self {
        Self { transmitter }
    }

    fn answer<B>(&self, request: &Request<B>) -> Response<WholeBody> {
        let is_head = request.method() == Method::HEAD;
        if !is_head && request.method() != Method::GET {
            let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
            let allowed = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(ALLOW, allowed);
            return whole(response);
        }
        let mut asked: Request<&[u8]> = Request::new(&[]);
        *asked.uri_mut() = request.uri().clone();
        let response = self.transmitter.metadata(&asked);
        let mut response = response.unwrap_or_else(|| empty(StatusCode::NOT_FOUND));
        if response.status() == StatusCode::OK {
            // It changes when the transmitter is started with another.
            let fresh = HeaderValue::from_static("public, max-age=300");
            response.headers_mut().insert(CACHE_CONTROL, fresh);
        }
        if is_head {
            response.body_mut().clear();
        }
        whole(response)
    }
}

impl<B> Service<Request<B>> for MetadataService {
    type Response = Response<WholeBody>;
    type Error = Infallible;
    type Future = Ready<Result<Response<WholeBody>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(self.answer(&request)))
    }
}

impl fmt::Debug for MetadataService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetadataService")
            .field("transmitter", &self.transmitter)
            .finish()
    }
}
