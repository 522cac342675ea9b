//! What is the same at all edges: who calls, and short answers.

use http::{Request, Response, StatusCode};

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
