//! Responses of the management API (SSF 1.0 §8.1), and those that the edge gives to whom it does not know.

use std::time::Duration;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::body::BodyError;

/// To a caller that did not show who it is, or not well enough (RFC 6750 §3): 401. `challenge` says how it
/// could, such as `Bearer`; that is all that a stranger learns.
pub fn unauthorized(challenge: HeaderValue) -> Response<Vec<u8>> {
    let mut response = empty(StatusCode::UNAUTHORIZED);
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

/// To a caller that is known and may not do this: 403 `insufficient_scope` (RFC 6750 §3.1), with the scope
/// that it would need, such as `ssf.manage`.
pub fn forbidden(scope: &str) -> Response<Vec<u8>> {
    let mut response = empty(StatusCode::FORBIDDEN);
    let is_scope = |byte: u8| (b'!'..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
    let challenge = match scope.bytes().all(|byte| byte == b' ' || is_scope(byte)) {
        true => format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\""),
        false => String::from("Bearer error=\"insufficient_scope\""),
    };
    if let Ok(challenge) = HeaderValue::from_str(&challenge) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// What is wrong with a request, to a caller that is known.
#[derive(Serialize)]
struct Problem<'p> {
    err: &'p str,
    description: &'p str,
}

pub(crate) fn empty(status: StatusCode) -> Response<Vec<u8>> {
    let mut response = Response::new(Vec::new());
    *response.status_mut() = status;
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    response
}

pub(crate) fn json<T: Serialize + ?Sized>(status: StatusCode, body: &T) -> Response<Vec<u8>> {
    // Strings, numbers, and what was read as JSON.
    bytes(status, serde_json::to_vec(body).unwrap_or_default())
}

pub(crate) fn bytes(status: StatusCode, body: Vec<u8>) -> Response<Vec<u8>> {
    let mut response = empty(status);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    *response.body_mut() = body;
    response
}

/// 400, or 413 for a body that is too long.
pub(crate) fn bad(error: &BodyError) -> Response<Vec<u8>> {
    problem(error.status(), &error.to_string())
}

pub(crate) fn problem(status: StatusCode, description: &str) -> Response<Vec<u8>> {
    let err = match status {
        StatusCode::CONFLICT => "conflict",
        StatusCode::TOO_MANY_REQUESTS => "too_many_requests",
        _ => "invalid_request",
    };
    json(status, &Problem { err, description })
}

/// What is not there, and what is another's.
pub(crate) fn missing() -> Response<Vec<u8>> {
    empty(StatusCode::NOT_FOUND)
}

pub(crate) fn wrong_method(allowed: &'static str) -> Response<Vec<u8>> {
    let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

pub(crate) fn too_many(description: &str, wait: Duration) -> Response<Vec<u8>> {
    later(
        problem(StatusCode::TOO_MANY_REQUESTS, description),
        wait.as_secs().max(1),
    )
}

/// The store failed: nothing was done, or nobody knows.
pub(crate) fn unavailable() -> Response<Vec<u8>> {
    later(empty(StatusCode::SERVICE_UNAVAILABLE), 5)
}

fn later(mut response: Response<Vec<u8>>, seconds: u64) -> Response<Vec<u8>> {
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}
