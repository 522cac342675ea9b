//! The one place where a refusal becomes a response: status, `WWW-Authenticate`, body; or a gRPC status.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use m2m_guard::{Rejection, Remedy};

use crate::body::WholeBody;
use crate::refused::Refused;

/// What a client is told: a status, and nothing that helps a stranger.
struct Told {
    status: StatusCode,
    /// gRPC's (its `statuscodes.md`).
    grpc: u8,
    /// RFC 6750 §3.1, or a word of ours.
    error: &'static str,
}

const fn told(status: StatusCode, grpc: u8, error: &'static str) -> Told {
    Told {
        status,
        grpc,
        error,
    }
}

/// The same answer for every cause of one [`Rejection`].
const fn of(refused: Option<Rejection>) -> Told {
    match refused {
        None => told(StatusCode::BAD_REQUEST, 3, "invalid_request"),
        Some(Rejection::CredentialRequired) => told(StatusCode::UNAUTHORIZED, 16, "unauthorized"),
        Some(Rejection::Forbidden) => told(StatusCode::FORBIDDEN, 7, "forbidden"),
        Some(Rejection::Unavailable) => told(StatusCode::SERVICE_UNAVAILABLE, 14, "unavailable"),
        // What is added later is refused as what is not known.
        Some(_) => told(StatusCode::UNAUTHORIZED, 16, "invalid_token"),
    }
}

/// How long whoever is told "not now" should wait, in seconds.
const PAUSE: u64 = 1;

/// The answer to a request that was refused.
pub(crate) fn answer(refused: &Refused, is_grpc: bool) -> Response<WholeBody> {
    let mut response = answer_to(refused.rejection(), refused.remedy(), is_grpc);
    if let (Refused::Request(problem), false) = (refused, is_grpc) {
        *response.status_mut() = problem.status();
    }
    response
}

/// The same for who knows no more than this; no rejection is a request that is none.
pub(crate) fn answer_to(
    rejection: Option<Rejection>,
    remedy: &Remedy,
    is_grpc: bool,
) -> Response<WholeBody> {
    let told = of(rejection);
    match is_grpc {
        true => grpc(&told),
        false => plain(&told, rejection, remedy),
    }
}

/// Whether the request is one of gRPC, which reads its status from trailers.
pub(crate) fn is_grpc(parts: &Parts) -> bool {
    let Some(kind) = parts.headers.get(CONTENT_TYPE) else {
        return false;
    };
    let rest = kind.as_bytes().strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// "Trailers-Only": the status in the head, and no body.
fn grpc(told: &Told) -> Response<WholeBody> {
    let mut response = Response::new(WholeBody::new(Bytes::new()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(u16::from(told.grpc)));
    headers.insert("grpc-message", HeaderValue::from_static(told.error));
    response
}

fn plain(told: &Told, rejection: Option<Rejection>, remedy: &Remedy) -> Response<WholeBody> {
    let error = match (rejection, remedy) {
        (Some(Rejection::Forbidden), Remedy::Scope(_)) => "insufficient_scope",
        (Some(Rejection::Forbidden), Remedy::Reauthenticate) => "insufficient_user_authentication",
        _ => told.error,
    };
    let body = Bytes::from(format!("{{\"error\":\"{error}\"}}\n"));
    let mut response = Response::new(WholeBody::new(body));
    *response.status_mut() = told.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(challenge) = challenge(rejection, error, remedy) {
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    let wait = match remedy {
        Remedy::Later(wait) => Some(wait.as_secs().max(PAUSE)),
        _ => (told.status == StatusCode::SERVICE_UNAVAILABLE).then_some(PAUSE),
    };
    if let Some(seconds) = wait {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// `WWW-Authenticate` (RFC 6750 §3). A request without credentials is told the scheme and no error.
fn challenge(rejection: Option<Rejection>, error: &str, remedy: &Remedy) -> Option<HeaderValue> {
    let text = match rejection {
        Some(Rejection::Unavailable) => return None,
        Some(Rejection::CredentialRequired) => return Some(HeaderValue::from_static("Bearer")),
        Some(Rejection::Forbidden) => match remedy {
            Remedy::Scope(scope) if scope.bytes().all(is_scope) => {
                format!("Bearer error=\"{error}\", scope=\"{scope}\"")
            }
            Remedy::Scope(_) | Remedy::Reauthenticate => format!("Bearer error=\"{error}\""),
            _ => return None,
        },
        _ => format!("Bearer error=\"{error}\""),
    };
    HeaderValue::try_from(text).ok()
}

/// What a scope is made of, and the space between two (RFC 6749 §3.3).
fn is_scope(byte: u8) -> bool {
    matches!(byte, b' ' | 0x21 | 0x23..=0x5b | 0x5d..=0x7e)
}
