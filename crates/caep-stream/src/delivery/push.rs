//! Push (RFC 8935): one SET in the body of one request.

use caep_set::ErrorCode;
use http::header::{ACCEPT, ALLOW, AUTHORIZATION, CONTENT_LANGUAGE, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};

use crate::delivery::{SetFailure, is_media_type};

/// The media type of a SET (RFC 8417 §7.1.2).
pub const SET_MEDIA_TYPE: &str = "application/secevent+jwt";
/// The longest body that is read: a token, and a line end behind it.
pub const MAX_BODY: usize = 8192 + 2;

/// Why a request brings no SET. [`PushError::response`] is what to answer.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// It is no POST.
    #[error("SETs are pushed with POST")]
    Method,
    /// `Content-Type` is missing, comes twice or is another.
    #[error("`Content-Type` is not {SET_MEDIA_TYPE}")]
    MediaType,
    /// The body is longer than a SET.
    #[error("the body has {length} bytes, more than the {limit} of a SET")]
    TooLong {
        /// Its length.
        length: usize,
        /// [`MAX_BODY`].
        limit: usize,
    },
    /// The body is not the one text that a SET is.
    #[error("the body is not one SET in its compact form")]
    NotASet,
}

impl PushError {
    /// The answer.
    pub fn response(&self) -> Response<Vec<u8>> {
        let status = match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotASet => return refused(ErrorCode::InvalidRequest),
        };
        let mut response = Response::new(Vec::new());
        *response.status_mut() = status;
        if status == StatusCode::METHOD_NOT_ALLOWED {
            let post = HeaderValue::from_static("POST");
            response.headers_mut().insert(ALLOW, post);
        }
        response
    }
}

/// The SET that a request brings, still to be verified. Read at most [`MAX_BODY`] bytes and one more of
/// the body before calling this, and authenticate the sender before verifying: a signature costs more
/// than a stranger should be able to cause (RFC 8935 §5.4).
///
/// `Accept` is not looked at: senders must send it, and some do not.
///
/// # Errors
///
/// [`PushError`], with the answer.
///
/// ```
/// use caep_stream::push;
///
/// let request = http::Request::post("/events")
///     .header("content-type", "application/secevent+jwt")
///     .body(b"eyJh.eyJi.c2ln".as_slice())?;
/// assert_eq!(push::read(&request), Ok("eyJh.eyJi.c2ln"));
/// # Ok::<(), http::Error>(())
/// ```
pub fn read<'b>(request: &Request<&'b [u8]>) -> Result<&'b str, PushError> {
    if request.method() != Method::POST {
        return Err(PushError::Method);
    }
    let mut types = request.headers().get_all(CONTENT_TYPE).iter();
    let is_set = |value| is_media_type(value, SET_MEDIA_TYPE);
    if !types.next().is_some_and(is_set) || types.next().is_some() {
        return Err(PushError::MediaType);
    }
    let body: &'b [u8] = request.body();
    if body.len() > MAX_BODY {
        return Err(PushError::TooLong {
            length: body.len(),
            limit: MAX_BODY,
        });
    }
    let text = std::str::from_utf8(body).map_err(|_| PushError::NotASet)?;
    // A line end behind it is forgiven; anything else that is not of a SET is not.
    let set = text.strip_suffix('\n').unwrap_or(text);
    let set = set.strip_suffix('\r').unwrap_or(set);
    let is_compact = set.bytes().filter(|byte| *byte == b'.').count() == 2
        && set
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    is_compact.then_some(set).ok_or(PushError::NotASet)
}

/// The answer to a SET that was recorded, new or not: 202 and nothing else (RFC 8935 §2.2).
pub fn accepted() -> Response<Vec<u8>> {
    let mut response = Response::new(Vec::new());
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

/// The answer to a SET that is not taken: 400, and the one word (RFC 8935 §2.3).
pub fn refused(code: ErrorCode) -> Response<Vec<u8>> {
    // Two strings without anything to escape.
    let body = serde_json::to_vec(&SetFailure::new(code)).unwrap_or_default();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static("en"));
    response
}

/// The request that pushes `set` to `endpoint` (RFC 8935 §2.1). `authorization` is the whole value of the
/// header, as the receiver gave it.
pub fn request(endpoint: Uri, authorization: Option<HeaderValue>, set: &str) -> Request<Vec<u8>> {
    let mut request = Request::new(set.as_bytes().to_vec());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = endpoint;
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(SET_MEDIA_TYPE));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(mut value) = authorization {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    request
}

/// What an answer to a push means for the SET.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushOutcome {
    /// The receiver has it: it need not be kept.
    Delivered,
    /// The receiver will not take it, also not later: it belongs among the dead letters.
    Refused(SetFailure),
    /// It may be taken later: the receiver is busy, broken, or does not know us or our keys (any more,
    /// or yet).
    Later {
        /// The status of the answer.
        status: StatusCode,
        /// After how many seconds, if the receiver says so.
        retry_after: Option<u32>,
    },
}

/// The longest pause that a receiver can ask for: an hour. It is not for it to switch us off.
const MAX_RETRY_AFTER: u32 = 3600;

/// Reads the answer to a push. Only 202 says that a SET is delivered (RFC 8935 §2.2), but 200 and 204 are
/// taken for it; redirections are not followed.
pub fn outcome(response: &Response<&[u8]>) -> PushOutcome {
    let status = response.status();
    match status {
        StatusCode::ACCEPTED | StatusCode::OK | StatusCode::NO_CONTENT => PushOutcome::Delivered,
        StatusCode::BAD_REQUEST => match SetFailure::from_json(response.body()) {
            Ok(failure) if failure.may_succeed_later() => later(response),
            Ok(failure) => PushOutcome::Refused(failure),
            // Without a reason, none was found in the SET.
            Err(_) => later(response),
        },
        // It is the same SET for ever, and there it is too large or of the wrong type.
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            PushOutcome::Refused(SetFailure::new(ErrorCode::InvalidRequest))
        }
        _ => later(response),
    }
}

fn later(response: &Response<&[u8]>) -> PushOutcome {
    let header = response.headers().get(http::header::RETRY_AFTER);
    let seconds = header.and_then(|value| value.to_str().ok()?.trim().parse::<u32>().ok());
    PushOutcome::Later {
        status: response.status(),
        retry_after: seconds.map(|seconds| seconds.min(MAX_RETRY_AFTER)),
    }
}
