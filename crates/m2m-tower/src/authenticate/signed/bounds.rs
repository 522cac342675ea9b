//! `SignedRequests`: for whom requests may be signed, and how much of their content is read.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::header::HOST;
use http::request::Parts;

use crate::credentials::RequestProblem;
use crate::refused::Refused;

/// For whom requests may be signed, and how much of their content is read before it is known who sent it.
///
/// ```
/// use std::time::Duration;
/// use m2m_tower::SignedRequests;
///
/// let bounds = SignedRequests::to(["orders.internal:8443"])
///     .with_content(256 * 1024, Duration::from_secs(5))
///     .with_total(16 << 20);
/// ```
#[derive(Clone)]
pub struct SignedRequests {
    authorities: Arc<[Box<str>]>,
    pub(super) limit: usize,
    pub(super) time: Duration,
    room: Arc<Room>,
}

/// What may be read at once by all requests together.
struct Room {
    total: usize,
    left: AtomicUsize,
}

/// A part of the room, given back when it is dropped.
pub(super) struct Reserved {
    room: Arc<Room>,
    bytes: usize,
}

impl SignedRequests {
    /// The most content of one request, unless told otherwise.
    pub const CONTENT: usize = 1 << 20;
    /// How long its content may take to come, unless told otherwise.
    pub const TIME: Duration = Duration::from_secs(10);
    /// The most content of all requests that is held here at once, unless told otherwise.
    pub const TOTAL: usize = 64 << 20;

    /// Takes requests that were signed to one of `authorities`: all the names that clients call this
    /// service by, as they stand in `Host`; `:443` may be left out.
    ///
    /// Who else got a request of a client that shares its key with several services could pass it on to
    /// this one. So a request that names another service is refused, whoever signed it.
    pub fn to<'a>(authorities: impl IntoIterator<Item = &'a str>) -> Self {
        let authorities = authorities.into_iter();
        Self {
            authorities: authorities
                .map(|authority| without_port(authority).to_ascii_lowercase().into())
                .collect(),
            limit: Self::CONTENT,
            time: Self::TIME,
            room: Arc::new(Room::new(Self::TOTAL)),
        }
    }

    /// Reads at most `bytes` of content, within `time`. More is answered with 413, and later with 408.
    #[must_use]
    pub fn with_content(mut self, bytes: usize, time: Duration) -> Self {
        self.limit = bytes;
        self.time = time;
        self
    }

    /// Holds at most `bytes` of content of all requests together; for more than that, the answer is 503.
    #[must_use]
    pub fn with_total(mut self, bytes: usize) -> Self {
        self.room = Arc::new(Room::new(bytes));
        self
    }

    /// For whom the request is, if that is us.
    pub(super) fn authority<'p>(&self, parts: &'p Parts) -> Result<&'p str, RequestProblem> {
        let mut hosts = parts.headers.get_all(HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (None, _) => None,
            (Some(host), None) => host.to_str().ok().map(Some).unwrap_or_default(),
            (Some(_), Some(_)) => return Err(RequestProblem::SignatureAuthority),
        };
        let named = match (parts.uri.authority(), host) {
            (Some(one), None) => one.as_str(),
            (None, Some(one)) => one,
            // The handler may look at either (RFC 9112 §3.2.2).
            (Some(one), Some(other)) if one.as_str().eq_ignore_ascii_case(other) => other,
            _ => return Err(RequestProblem::SignatureAuthority),
        };
        let bare = without_port(named);
        let mut ours = self.authorities.iter();
        match ours.any(|ours| ours.eq_ignore_ascii_case(bare)) {
            true => Ok(named),
            false => Err(RequestProblem::SignatureAuthority),
        }
    }

    /// Room for content of which at most `announced` bytes will come.
    pub(super) fn reserve(&self, announced: Option<u64>) -> Result<Reserved, Refused> {
        let announced = announced.and_then(|bytes| usize::try_from(bytes).ok());
        // What is announced and longer is refused before it is read.
        let bytes = announced.unwrap_or(self.limit).min(self.limit);
        let take = |left: usize| left.checked_sub(bytes);
        let taken = self
            .room
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        match taken {
            Ok(_) => Ok(Reserved {
                room: Arc::clone(&self.room),
                bytes,
            }),
            Err(_) => Err(Refused::ContentRoom {
                total: self.room.total,
            }),
        }
    }
}

impl Room {
    const fn new(total: usize) -> Self {
        Self {
            total,
            left: AtomicUsize::new(total),
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.room.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

fn without_port(authority: &str) -> &str {
    authority.strip_suffix(":443").unwrap_or(authority)
}

impl fmt::Debug for SignedRequests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedRequests")
            .field("authorities", &self.authorities)
            .field("limit", &self.limit)
            .field("time", &self.time)
            .field("total", &self.room.total)
            .finish_non_exhaustive()
    }
}
