//! `HttpSender`: requests of protocols, with bodies and answers of any status, over connections that are used
//! again.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, HOST};
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::client::{FetchFailure, FetchLimits, Fetcher};
use super::open::OpenConnection;
use super::url::{FetchUrl, Host, Scheme, UrlError};

/// Sends requests with all that a [`Fetcher`] promises: to an address that its rule allows and that was asked
/// about after the name was resolved, over TLS with the host that is meant, no redirect followed, within
/// limits of time and size. What differs: any method and headers, a body, and answers of all statuses.
///
/// Connections are kept and used again: at most [`HttpSender::IDLE_EACH`] to one origin and
/// [`HttpSender::IDLE`] in all, for [`HttpSender::LIFE`] at most, so that a name that has moved is followed. One
/// connection carries one request at a time. Cloning shares them.
///
/// ```no_run
/// use http::Request;
/// use m2m_tower::{Fetcher, HttpSender};
///
/// # async fn example(fetcher: Fetcher) -> Result<(), Box<dyn std::error::Error>> {
/// let sender = HttpSender::new(fetcher);
/// let request = Request::post("https://rc.example/events").body(b"{}".to_vec())?;
/// let response = sender.send(&request).await?;
/// assert_eq!(response.status(), 202);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct HttpSender {
    fetcher: Fetcher,
    idle: Arc<Mutex<Vec<Idle>>>,
    plain: Plain,
}

/// Whether `http://` is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plain {
    Never,
    Too,
}

/// A connection that nobody uses now.
struct Idle {
    origin: (Scheme, Host, u16),
    connection: OpenConnection,
    opened: Instant,
    since: Instant,
}

/// What is done with a request that was sent and came to nothing on a connection that was used before: the
/// other side may have ended it just then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It is sent once more, on a new one: to receive it twice is to receive it once.
    Harmless,
    /// It is not: it may have been received.
    Harmful,
}

/// What is done with an answer whose body is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    /// There is no answer.
    Refused,
    /// Its head counts, and the body is as good as empty.
    CutOff,
}

/// An answer, and whether its connection can be used again.
struct Answered {
    response: Response<Vec<u8>>,
    is_whole: bool,
}

impl HttpSender {
    /// How many connections are kept to one origin while nobody uses them.
    pub const IDLE_EACH: usize = 4;
    /// How many are kept in all.
    pub const IDLE: usize = 128;
    /// How long a connection is used for. After that the name is resolved and its addresses are asked about
    /// anew.
    pub const LIFE: Duration = Duration::from_secs(300);
    /// How long one is kept while nobody uses it.
    const UNUSED: Duration = Duration::from_secs(90);

    /// Sends by the means and within the bounds of `fetcher`.
    pub fn new(fetcher: Fetcher) -> Self {
        Self {
            fetcher,
            idle: Arc::default(),
            plain: Plain::Never,
        }
    }

    /// Sends to `http://` as well. **Whoever is on the way reads and writes all of it**, credentials too: for
    /// one's own machine.
    #[must_use]
    pub fn danger_with_plain(mut self) -> Self {
        self.plain = Plain::Too;
        self
    }

    /// Sends `request`, whose URI says all: scheme, host, path. `Host` is set here. An answer of any status is
    /// an answer; redirects are not followed. Dropping the future ends it.
    ///
    /// # Errors
    ///
    /// [`FetchFailure`]. The request may have been received all the same.
    pub async fn send(
        &self,
        request: &Request<Vec<u8>>,
    ) -> Result<Response<Vec<u8>>, FetchFailure> {
        self.send_within(request, self.fetcher.limits).await
    }

    /// [`HttpSender::send`] within other limits: for what takes longer, such as long polls.
    ///
    /// # Errors
    ///
    /// See [`HttpSender::send`].
    pub async fn send_within(
        &self,
        request: &Request<Vec<u8>>,
        limits: FetchLimits,
    ) -> Result<Response<Vec<u8>>, FetchFailure> {
        // RFC 9110 §9.2.2.
        let repeat = match *request.method() {
            Method::GET | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS => {
                Repeat::Harmless
            }
            _ => Repeat::Harmful,
        };
        self.exchange(request, limits, repeat, Excess::Refused)
            .await
    }

    pub(crate) async fn exchange(
        &self,
        request: &Request<Vec<u8>>,
        limits: FetchLimits,
        repeat: Repeat,
        excess: Excess,
    ) -> Result<Response<Vec<u8>>, FetchFailure> {
        let limit = limits.time;
        let exchange = self.exchange_at_leisure(request, limits.bytes, repeat, excess);
        tokio::time::timeout(limit, exchange)
            .await
            .unwrap_or(Err(FetchFailure::Slow { limit }))
    }

    /// The limits of its fetcher.
    #[cfg(feature = "ssf")]
    pub(crate) const fn limits(&self) -> FetchLimits {
        self.fetcher.limits
    }

    async fn exchange_at_leisure(
        &self,
        request: &Request<Vec<u8>>,
        limit: usize,
        repeat: Repeat,
        excess: Excess,
    ) -> Result<Response<Vec<u8>>, FetchFailure> {
        let url = self.url(request.uri()).map_err(FetchFailure::Url)?;
        let origin = (url.scheme, url.host.clone(), url.port);
        let outgoing = outgoing(request, &url)?;
        if let Some(mut idle) = self.take(&origin).await {
            let asked = idle
                .connection
                .ask(outgoing.clone(), |r| read(r, limit, excess));
            match asked.await {
                Ok(answered) => return self.done(idle, answered?).await,
                Err(problem) if problem.is_unsent || repeat == Repeat::Harmless => {}
                Err(_) => return Err(FetchFailure::Http),
            }
        }
        let now = Instant::now();
        let mut fresh = Idle {
            origin,
            connection: self.fetcher.open(&url).await?,
            opened: now,
            since: now,
        };
        let asked = fresh.connection.ask(outgoing, |r| read(r, limit, excess));
        let answered = asked.await.map_err(|_| FetchFailure::Http)?;
        self.done(fresh, answered?).await
    }

    fn url(&self, uri: &Uri) -> Result<FetchUrl, UrlError> {
        let text = uri.to_string();
        match self.plain {
            Plain::Too if text.starts_with("http://") => FetchUrl::danger_parse_plain(&text),
            _ => FetchUrl::parse(&text),
        }
    }

    /// A connection to `origin` that was used before, if one is still good.
    async fn take(&self, origin: &(Scheme, Host, u16)) -> Option<Idle> {
        loop {
            let mut found = {
                let mut idle = self.idle();
                let now = Instant::now();
                idle.retain(|one| one.is_young(now));
                // The one that was used last: the others may go.
                let at = idle.iter().rposition(|one| one.origin == *origin)?;
                idle.remove(at)
            };
            if found.connection.is_alive().await {
                return Some(found);
            }
        }
    }

    /// Keeps the connection, if it can be used again.
    async fn done(
        &self,
        mut used: Idle,
        answered: Answered,
    ) -> Result<Response<Vec<u8>>, FetchFailure> {
        if answered.is_whole && used.connection.is_alive().await {
            used.since = Instant::now();
            let mut idle = self.idle();
            idle.retain(|one| one.is_young(used.since));
            let same = idle.iter().filter(|one| one.origin == used.origin);
            if same.count() < Self::IDLE_EACH && idle.len() < Self::IDLE {
                idle.push(used);
            }
        }
        Ok(answered.response)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        // Whoever panicked with it left whole entries.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    fn is_young(&self, now: Instant) -> bool {
        let young = |since, limit| now.saturating_duration_since(since) < limit;
        young(self.opened, HttpSender::LIFE) && young(self.since, HttpSender::UNUSED)
    }
}

fn outgoing(
    request: &Request<Vec<u8>>,
    url: &FetchUrl,
) -> Result<Request<Full<Bytes>>, FetchFailure> {
    let body = Full::new(Bytes::copy_from_slice(request.body()));
    let mut outgoing = Request::new(body);
    *outgoing.method_mut() = request.method().clone();
    *outgoing.uri_mut() = url.target.parse().map_err(|_| FetchFailure::Http)?;
    *outgoing.headers_mut() = request.headers().clone();
    let host = HeaderValue::try_from(url.authority()).map_err(|_| FetchFailure::Http)?;
    outgoing.headers_mut().insert(HOST, host);
    Ok(outgoing)
}

async fn read(
    response: Response<Incoming>,
    limit: usize,
    excess: Excess,
) -> Result<Answered, FetchFailure> {
    let (head, body) = response.into_parts();
    let (body, is_whole) = match Limited::new(body, limit).collect().await {
        Ok(body) => (body.to_bytes().to_vec(), true),
        Err(_) if excess == Excess::CutOff => (Vec::new(), false),
        Err(error) if error.is::<LengthLimitError>() => {
            return Err(FetchFailure::TooLong { limit });
        }
        Err(_) => return Err(FetchFailure::Http),
    };
    if head.headers.contains_key(CONTENT_ENCODING) && !body.is_empty() {
        return Err(FetchFailure::Encoded);
    }
    let response = Response::from_parts(head, body);
    Ok(Answered { response, is_whole })
}

impl fmt::Debug for HttpSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSender")
            .field("fetcher", &self.fetcher)
            .field("plain", &self.plain)
            .finish_non_exhaustive()
    }
}
