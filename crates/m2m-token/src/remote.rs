//! `RemoteKeySet`: keeps the keys of an issuer elsewhere up to date. It decides when to fetch and what
//! to make of the answer; it does no I/O.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::sha256;
use m2m_types::{Live, Timestamp};

use crate::jwk_set::{JwkSet, JwkSetError, JwkSetOptions};
use crate::key_set::KeySet;

/// Keeps one issuer's JWK set fresh.
///
/// Give [`RemoteKeySet::keys`] to a verifier, and drive this from wherever the application does its
/// I/O:
///
/// ```text
///            ┌────────────── poll_fetch(now) ──► Some(fetch): GET the set, once
///            │                                     │
///    wait until poll_timeout()                     ├─ 200 ──► handle_response(id, response, now)
///    or a verifier says `KeyUnknown`:              └─ else ─► handle_failure(id, now)
///       handle_unknown_key()
/// ```
///
/// - It fetches ahead of the time at which the set goes stale, and one fetch is under way at most.
/// - If fetching fails or the answer is wrong, the last good set stays in use, and it tries again,
///   with growing pauses, until that set is older than [`RemoteKeySet::with_max_age`]: then nothing
///   verifies any more ([`crate::VerifyError::KeysStale`]).
/// - Tokens with unknown keys make it fetch at most once in [`RemoteKeySet::with_cooldown`],
///   however many come. A stranger cannot make it fetch more, and one fetch brings every new key, so
///   honest users wait that long at most; tokens with known keys never wait.
/// - An answer that is older than the set in use is ignored: keys that were taken away do not come
///   back.
/// - A fleet that was started together does not fetch together, if each of its instances says who it is:
///   [`RemoteKeySet::with_instance`].
///
/// ```
/// use m2m_token::{RemoteKeySet, Response};
/// use m2m_types::Timestamp;
///
/// let now = Timestamp::from_unix_seconds(1_700_000_000)?;
/// let mut remote = RemoteKeySet::new();
/// let fetch = remote.poll_fetch(now).expect("there are no keys yet");
/// assert!(remote.poll_fetch(now).is_none(), "one is under way");
///
/// let body = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"2026-11",
///     "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
/// let set = remote.handle_response(fetch.id(), &Response::new(body), now)?;
/// assert_eq!(set.len(), 1);
/// assert_eq!(remote.keys().load().len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RemoteKeySet {
    keys: Arc<Live<KeySet>>,
    options: JwkSetOptions,
    refresh: Duration,
    max_age: Duration,
    cooldown: Duration,
    /// A hash of this instance's name.
    instance: Option<[u8; 32]>,
    under_way: Option<UnderWay>,
    next_id: u64,
    /// When the set in use is to be fetched again.
    due: Timestamp,
    /// When the issuer made the set that is in use, as far as that is known.
    generated: Option<Timestamp>,
    last_fetch: Option<Timestamp>,
    unknown_key: bool,
    failures: u32,
}

struct UnderWay {
    id: FetchId,
    since: Timestamp,
}

/// Something to do: fetch the set now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    id: FetchId,
}

impl Fetch {
    /// Which fetch this is; its outcome is reported with it.
    pub const fn id(&self) -> FetchId {
        self.id
    }
}

/// Which fetch an answer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchId(u64);

/// What came back from a fetch: the body of a 200 answer, and what its header says.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    body: &'a [u8],
    max_age: Option<Duration>,
    generated: Option<Timestamp>,
}

impl<'a> Response<'a> {
    /// The body alone. Read no more of it than [`JwkSet::MAX_BYTES`] and one, follow no redirect
    /// elsewhere, and do not wait for ever.
    pub const fn new(body: &'a [u8]) -> Self {
        Self {
            body,
            max_age: None,
            generated: None,
        }
    }

    /// For how long the answer is fresh (`Cache-Control: max-age`, RFC 9111 §5.2.2.1). It can make
    /// the next fetch earlier or later, within bounds.
    #[must_use]
    pub const fn with_max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// When the answer was made at its origin (`Date` less `Age`, RFC 9110 §6.6.1).
    #[must_use]
    pub const fn with_generated_at(mut self, generated: Timestamp) -> Self {
        self.generated = Some(generated);
        self
    }
}

/// Why an answer was not taken. The set in use stays in use.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// No such fetch is under way: it took too long, or its outcome was reported before.
    #[error("this fetch is not under way (any more); its answer is ignored")]
    NotUnderWay,
    /// The answer is older than the set in use.
    #[error("the answer was made at {generated}, before the set in use, of {current}")]
    Older {
        /// When the answer was made.
        generated: Timestamp,
        /// When the set in use was made.
        current: Timestamp,
    },
    /// The answer is not a set that can be used.
    #[error("the answer is not a usable key set: {0}")]
    Set(JwkSetError),
}

impl RemoteKeySet {
    /// The shortest time between two fetches, whatever the issuer says and whatever fails.
    pub const MIN_INTERVAL: Duration = Duration::from_secs(5);
    /// A fetch that takes longer than this is given up.
    pub const FETCH_TIMEOUT: Duration = Duration::from_secs(30);
    /// The longest pause between attempts that fail.
    const MAX_BACKOFF: Duration = Duration::from_secs(300);

    /// A set that has not been fetched yet, so that nothing verifies. Refreshed every 5 minutes,
    /// used for an hour at most after it was last confirmed; one extra fetch for unknown keys in 30
    /// seconds at most.
    pub fn new() -> Self {
        Self {
            keys: Arc::new(Live::new(KeySet::new())),
            options: JwkSetOptions::new(),
            refresh: Duration::from_secs(300),
            max_age: Duration::from_secs(3600),
            cooldown: Duration::from_secs(30),
            instance: None,
            under_way: None,
            next_id: 0,
            due: Timestamp::MIN,
            generated: None,
            last_fetch: None,
            unknown_key: false,
            failures: 0,
        }
    }

    /// How to read the set.
    #[must_use]
    pub fn with_options(mut self, options: JwkSetOptions) -> Self {
        self.options = options;
        self
    }

    /// How often to fetch if the issuer does not say how long its answer is fresh.
    #[must_use]
    pub fn with_refresh(mut self, refresh: Duration) -> Self {
        self.refresh = refresh.max(Self::MIN_INTERVAL);
        self
    }

    /// For how long a set may be used after it was fetched. A key that the issuer has taken away is
    /// refused after this time at the latest, even if the issuer cannot be reached.
    #[must_use]
    pub fn with_max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// The least time between fetches that unknown keys cause.
    #[must_use]
    pub fn with_cooldown(mut self, cooldown: Duration) -> Self {
        self.cooldown = cooldown.max(Self::MIN_INTERVAL);
        self
    }

    /// Spreads the fetches of a fleet. `name` tells this instance from the others: a pod's or a host's
    /// name. It decides, together with how many fetches were made, by how much of a fifth this one
    /// refreshes earlier than it would, and tries again later after a failure. The first fetch is made at
    /// once, and one for an unknown key as soon as it may be: there others wait.
    ///
    /// Without a name there is nothing to tell instances apart by, and all do the same at the same time.
    #[must_use]
    pub fn with_instance(mut self, name: &str) -> Self {
        self.instance = Some(sha256(name.as_bytes()));
        self
    }

    /// The keys, for verifiers. They change when an answer is taken.
    pub fn keys(&self) -> Arc<Live<KeySet>> {
        Arc::clone(&self.keys)
    }

    /// A verifier met a key that the set does not have ([`crate::VerifyError::KeyUnknown`]). The set
    /// is fetched soon, unless that was done just now. Any number of calls cost the same.
    pub fn handle_unknown_key(&mut self) {
        self.unknown_key = true;
    }

    /// The fetch to make now, if there is one. Call until `None`.
    pub fn poll_fetch(&mut self, now: Timestamp) -> Option<Fetch> {
        if let Some(fetch) = &self.under_way {
            if now < fetch.since.saturating_add(Self::FETCH_TIMEOUT) {
                return None;
            }
            let id = fetch.id;
            self.handle_failure(id, now);
        }
        if now < self.next_fetch() {
            return None;
        }
        let id = FetchId(self.next_id);
        self.next_id += 1;
        self.under_way = Some(UnderWay { id, since: now });
        self.last_fetch = Some(now);
        self.unknown_key = false;
        Some(Fetch { id })
    }

    /// When to call [`RemoteKeySet::poll_fetch`] again if nothing happens before.
    pub fn poll_timeout(&self) -> Timestamp {
        match &self.under_way {
            Some(fetch) => fetch.since.saturating_add(Self::FETCH_TIMEOUT),
            None => self.next_fetch(),
        }
    }

    /// When the next fetch may begin.
    fn next_fetch(&self) -> Timestamp {
        match self.last_fetch.filter(|_| self.unknown_key) {
            Some(last) => self.due.min(last.saturating_add(self.cooldown)),
            None => self.due,
        }
    }

    /// Takes an answer: from now on verifiers use its keys. Gives the set, so that what was skipped
    /// in it can be reported.
    ///
    /// # Errors
    ///
    /// [`FetchError`]: the set in use stays in use until it is too old, and the next attempt follows
    /// soon.
    pub fn handle_response(
        &mut self,
        id: FetchId,
        response: &Response<'_>,
        now: Timestamp,
    ) -> Result<JwkSet, FetchError> {
        if self.under_way.as_ref().is_none_or(|fetch| fetch.id != id) {
            return Err(FetchError::NotUnderWay);
        }
        match self.read(response, now) {
            Ok(set) => {
                self.under_way = None;
                self.failures = 0;
                let fresh = response.max_age.unwrap_or(self.refresh);
                // Ahead of the time at which the set may not be used any more.
                let latest = (self.max_age / 2).max(Self::MIN_INTERVAL);
                let wait = fresh.clamp(Self::MIN_INTERVAL, latest);
                let wait = (wait - self.spread(wait)).max(Self::MIN_INTERVAL);
                self.due = now.saturating_add(wait);
                Ok(set)
            }
            Err(error) => {
                self.handle_failure(id, now);
                Err(error)
            }
        }
    }

    fn read(&mut self, response: &Response<'_>, now: Timestamp) -> Result<JwkSet, FetchError> {
        // A clock that is ahead at the origin must not keep its later answers out.
        let generated = response.generated.map(|time| time.min(now));
        if let (Some(generated), Some(current)) = (generated, self.generated) {
            if generated < current {
                return Err(FetchError::Older { generated, current });
            }
        }
        let set = JwkSet::parse_with(response.body, &self.options).map_err(FetchError::Set)?;
        self.generated = generated.or(self.generated);
        let until = now.saturating_add(self.max_age);
        let keys = set.keys().clone().usable_until(until);
        if self.keys.load().has_same_keys(&keys) {
            // Confirmed: tokens that were verified with these keys need not be verified again.
            self.keys.renew(keys);
        } else {
            self.keys.store(keys);
        }
        Ok(set)
    }

    /// A fetch came to nothing: no connection, no 200, too slow, too long.
    pub fn handle_failure(&mut self, id: FetchId, now: Timestamp) {
        if self.under_way.as_ref().is_none_or(|fetch| fetch.id != id) {
            return;
        }
        self.under_way = None;
        self.failures = self.failures.saturating_add(1);
        let pause = Self::MIN_INTERVAL * 2_u32.pow(self.failures.min(6) - 1);
        let pause = pause.min(Self::MAX_BACKOFF);
        self.due = now.saturating_add(pause + self.spread(pause));
    }

    /// How much of a wait this instance makes its own: up to a fifth of it, another part each time.
    fn spread(&self, wait: Duration) -> Duration {
        const PARTS: u32 = 1 << 16;
        let Some(instance) = self.instance else {
            return Duration::ZERO;
        };
        let mut seed = [0; 40];
        let (name, count) = seed.split_at_mut(instance.len());
        name.copy_from_slice(&instance);
        count.copy_from_slice(&self.next_id.to_le_bytes());
        let [low, high, ..] = sha256(&seed);
        wait / (5 * PARTS) * u32::from(u16::from_le_bytes([low, high]))
    }
}

impl Default for RemoteKeySet {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RemoteKeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteKeySet")
            .field("keys", &self.keys.load().len())
            .field("due", &self.due)
            .field("failures", &self.failures)
            .finish_non_exhaustive()
    }
}
