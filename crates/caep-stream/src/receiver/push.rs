//! The endpoint that transmitters push to (RFC 8935).

use http::header::{AUTHORIZATION, CONTENT_LANGUAGE, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use m2m_crypto::SecureRandom;
use m2m_types::Timestamp;

use caep_set::ErrorCode;

use crate::delivery::{SetFailure, push};
use crate::receiver::Receiver;
use crate::receiver::accept::Received;
use crate::receiver::source::{Senders, Source};

/// What became of a push: what to answer, and what to count and to log.
#[derive(Debug)]
pub struct Pushed {
    /// To be sent as it is. It says nothing of what is configured here.
    pub response: Response<Vec<u8>>,
    /// What became of its SET; `None` if it brought none, or its sender is nobody we know.
    pub received: Option<Received>,
}

/// After how many seconds a sender is to try again: keys are fetched meanwhile, or a store recovers.
const TRY_AGAIN: &str = "30";

impl Receiver {
    /// Answers a request at the endpoint that SETs are pushed to. When it says 202 the SET survives.
    ///
    /// Whoever shows none of the values of `Authorization` that sources have gets 401, whatever else the
    /// request is: nothing of it is looked at. Then come method, media type and size, and then the SET,
    /// in the order of RFC 8935 §2.
    ///
    /// Give it at most [`push::MAX_BODY`] bytes of a body and one more, and drop connections whose bodies do
    /// not end.
    pub async fn handle_push(
        &self,
        request: &Request<&[u8]>,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Pushed {
        let senders = self.who_sends(request.headers());
        if !senders.contains(&true) {
            return Pushed {
                response: unauthenticated(),
                received: None,
            };
        }
        let set = match push::read(request) {
            Ok(set) => set,
            Err(error) => {
                return Pushed {
                    response: error.response(),
                    received: None,
                };
            }
        };
        let may_bring = |source: &Source| {
            let mut known = self.sources.iter().zip(&senders);
            known.any(|(one, may)| *may && one.issuer == source.issuer)
        };
        let received = self.accept(set, None, may_bring, now, random).await;
        Pushed {
            response: response_to(&received),
            received: Some(received),
        }
    }

    /// Whether a request with these headers comes from somebody who may push at all. If not,
    /// [`Receiver::handle_push`] answers 401 whatever its body is, so the body need not be read.
    pub fn knows_sender(&self, headers: &HeaderMap) -> bool {
        self.who_sends(headers).contains(&true)
    }

    /// For each source, whether this request may bring its SETs. Each secret is compared, in constant
    /// time, whatever was found before.
    fn who_sends(&self, headers: &HeaderMap) -> Vec<bool> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let shown = values.next().filter(|_| values.next().is_none());
        let shows = |senders: &Senders| match (senders, shown) {
            (Senders::Anybody, _) => true,
            (Senders::With(known), Some(shown)) => known
                .iter()
                .fold(false, |found, one| one.is(shown.as_bytes()) | found),
            (Senders::Nobody | Senders::With(_), _) => false,
        };
        self.sources.iter().map(|one| shows(&one.senders)).collect()
    }
}

fn response_to(received: &Received) -> Response<Vec<u8>> {
    match received {
        Received::Refused(refusal) => push::refused(refusal.code()),
        // The answer is the same for both causes: which of them it is is ours to know.
        Received::Later(_) => {
            let mut response = Response::new(Vec::new());
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            let later = HeaderValue::from_static(TRY_AGAIN);
            response.headers_mut().insert(RETRY_AFTER, later);
            response
        }
        _ => push::accepted(),
    }
}

/// The same to everybody who is nobody we know.
fn unauthenticated() -> Response<Vec<u8>> {
    let failure = SetFailure::new(ErrorCode::AuthenticationFailed);
    // Two strings without anything to escape.
    let mut response = Response::new(serde_json::to_vec(&failure).unwrap_or_default());
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    let headers = response.headers_mut();
    headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static("en"));
    response
}
