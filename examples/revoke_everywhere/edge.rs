//! What is the same at all edges: who calls, short answers, and bodies that are lent.

use http::{Request, Response, StatusCode};

/// The same request, with a body that is lent.
pub(crate) fn lent(request: &Request<Vec<u8>>) -> Request<&[u8]> {
    let mut lent = Request::new(request.body().as_slice());
    *lent.method_mut() = request.method().clone();
    *lent.uri_mut() = request.uri().clone();
    *lent.headers_mut() = request.headers().clone();
    lent
}

/// The same response, with a body that is lent.
pub(crate) fn lent_response(response: &Response<Vec<u8>>) -> Response<&[u8]> {
    let mut lent = Response::new(response.body().as_slice());
    *lent.status_mut() = response.status();
    *lent.headers_mut() = response.headers().clone();
    lent
}

/// What comes behind `Bearer`.
pub(crate) fn bearer<B>(request: &Request<B>) -> Option<&str> {
    let shown = request.headers().get("authorization")?.to_str().ok()?;
    shown.strip_prefix("Bearer ")
}

pub(crate) fn status(status: StatusCode) -> Response<Vec<u8>> {
    let mut response = Response::new(Vec::new());
    *response.status_mut() = status;
    response
}
