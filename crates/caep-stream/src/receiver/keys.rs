//! `SourceKeys`: the keys of one transmitter, and what is done about SETs whose key is not among them.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT, CACHE_CONTROL};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use m2m_crypto::sha256;
use m2m_token::{FetchError, FetchId, KeySet, RemoteKeySet};
use m2m_types::{Live, Timestamp};

use crate::receiver::discovery::Transmitter;

/// How many SETs with unknown keys are told apart. Of more, the oldest is met as if for the first time.
const MAX_WAITING: usize = 256;

/// The keys that a transmitter signs with: known from the beginning, or fetched from its `jwks_uri`.
pub struct SourceKeys {
    live: Arc<Live<KeySet>>,
    remote: Option<Mutex<Remote>>,
}

struct Remote {
    set: RemoteKeySet,
    location: Uri,
    begun: u64,
    confirmed: u64,
    under_way: u64,
    /// SETs whose key was not known, each with how many fetches had begun when it came.
    waiting: VecDeque<([u8; 32], u64)>,
}

/// A JWK set to be fetched now: [`crate::receiver::Receiver::poll_keys`].
#[derive(Debug)]
pub struct KeyFetch {
    pub(crate) issuer: Box<str>,
    id: FetchId,
    request: Request<Vec<u8>>,
}

/// Why fetched keys are not taken. Those in use stay in use until they are too old.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// The answer is no 200.
    #[error("the answer to the request for keys has the status {status}")]
    Status {
        /// Its status.
        status: StatusCode,
    },
    /// The answer is not one that can be used.
    #[error("{0}")]
    Fetch(FetchError),
    /// Nothing of the kind was to be fetched.
    #[error("no keys of this issuer are fetched here")]
    NotFetched,
}

/// What is done about a SET whose key is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnknownKey {
    /// Keys are fetched; it is neither acknowledged nor refused until that was done.
    Wait,
    /// Keys were fetched since it came first, and its is not among them.
    Refuse,
}

impl KeyFetch {
    /// Whose keys.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The request to send. Follow no redirection, and read no more of the answer than
    /// [`m2m_token::JwkSet::MAX_BYTES`] and one byte.
    pub fn request(&self) -> &Request<Vec<u8>> {
        &self.request
    }
}

impl SourceKeys {
    /// These keys: a set that stays as it is, or one that somebody else keeps up to date.
    pub fn fixed(keys: impl Into<Arc<Live<KeySet>>>) -> Self {
        Self {
            live: keys.into(),
            remote: None,
        }
    }

    /// The keys at the `jwks_uri` of `transmitter`, fetched as `set` says: how often, and at most how often
    /// because of SETs with unknown keys.
    pub fn fetched(set: RemoteKeySet, transmitter: &Transmitter) -> Self {
        Self {
            live: set.keys(),
            remote: Some(Mutex::new(Remote {
                set,
                location: transmitter.jwks_uri().clone(),
                begun: 0,
                confirmed: 0,
                under_way: 0,
                waiting: VecDeque::new(),
            })),
        }
    }

    pub(crate) fn live(&self) -> Arc<Live<KeySet>> {
        Arc::clone(&self.live)
    }

    fn remote(&self) -> Option<MutexGuard<'_, Remote>> {
        let remote = self.remote.as_ref()?;
        // Whoever panicked with it left counters at worst, which are whole.
        Some(remote.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A SET came whose key is not among ours, or ours are too old.
    pub(crate) fn met_unknown(&self, set: &str) -> UnknownKey {
        let Some(mut remote) = self.remote() else {
            return UnknownKey::Refuse;
        };
        let name = sha256(set.as_bytes());
        let found = remote.waiting.iter().position(|(known, _)| *known == name);
        match found.and_then(|at| Some((at, remote.waiting.get(at)?.1))) {
            Some((at, since)) if remote.confirmed > since => {
                remote.waiting.remove(at);
                UnknownKey::Refuse
            }
            Some(_) => {
                remote.set.handle_unknown_key();
                UnknownKey::Wait
            }
            None => {
                if remote.waiting.len() == MAX_WAITING {
                    remote.waiting.pop_front();
                }
                let since = remote.begun;
                remote.waiting.push_back((name, since));
                remote.set.handle_unknown_key();
                UnknownKey::Wait
            }
        }
    }

    pub(crate) fn poll_fetch(&self, issuer: &str, now: Timestamp) -> Option<KeyFetch> {
        let mut remote = self.remote()?;
        let fetch = remote.set.poll_fetch(now)?;
        remote.begun += 1;
        remote.under_way = remote.begun;
        let mut request = Request::new(Vec::new());
        *request.uri_mut() = remote.location.clone();
        let accept = HeaderValue::from_static("application/jwk-set+json, application/json");
        request.headers_mut().insert(ACCEPT, accept);
        Some(KeyFetch {
            issuer: Box::from(issuer),
            id: fetch.id(),
            request,
        })
    }

    pub(crate) fn handle_response(
        &self,
        fetch: &KeyFetch,
        response: &Response<&[u8]>,
        now: Timestamp,
    ) -> Result<(), KeysError> {
        let mut remote = self.remote().ok_or(KeysError::NotFetched)?;
        let status = response.status();
        if status != StatusCode::OK {
            remote.set.handle_failure(fetch.id, now);
            return Err(KeysError::Status { status });
        }
        let mut answer = m2m_token::Response::new(response.body());
        if let Some(fresh) = max_age(response) {
            answer = answer.with_max_age(fresh);
        }
        let taken = remote.set.handle_response(fetch.id, &answer, now);
        taken.map_err(KeysError::Fetch)?;
        remote.confirmed = remote.under_way;
        Ok(())
    }

    pub(crate) fn handle_failure(&self, fetch: &KeyFetch, now: Timestamp) {
        if let Some(mut remote) = self.remote() {
            remote.set.handle_failure(fetch.id, now);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Timestamp> {
        Some(self.remote()?.set.poll_timeout())
    }
}

/// `max-age` of an answer (RFC 9111 §5.2.2.1), unless it says not to keep it.
fn max_age(response: &Response<&[u8]>) -> Option<Duration> {
    let header = response.headers().get(CACHE_CONTROL)?.to_str().ok()?;
    let mut directives = header.split(',').map(str::trim);
    directives.find_map(|directive| {
        let (name, value) = directive.split_once('=')?;
        let seconds = value.trim_matches('"').parse().ok()?;
        name.eq_ignore_ascii_case("max-age")
            .then(|| Duration::from_secs(seconds))
    })
}

impl fmt::Debug for SourceKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceKeys")
            .field("keys", &self.live.load().len())
            .field("fetched", &self.remote.is_some())
            .finish()
    }
}
