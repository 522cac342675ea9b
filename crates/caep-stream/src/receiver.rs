//! The receiver of Shared Signals: takes SETs in by push and poll, records them before it acknowledges
//! them, and voids what they say is void. No sockets, no clock, no runtime, no hidden threads: requests
//! and responses of the `http` crate go in and out, time and randomness are arguments, and all state lies
//! in a [`m2m_store::Store`].
//!
//! ```text
//!   Discovery ──▶ Transmitter ──▶ StreamClient ──▶ Call ──▶ Answer        streams are made and managed
//!                      │
//!                      ▼
//!   SourceKeys ──▶   Source  ─────────────┐   one for each transmitter, by its `iss`
//!                                         ▼
//!   POST from a transmitter ──▶ Receiver::handle_push ─┐   iss → keys → aud → conforming?
//!                                                      ├──▶ recorded with (iss, jti), one commit
//!   Poller::poll_request ──▶ POST to a transmitter     │        │
//!          ▲                       │                   │        └─▶ 202 / ack   or   400 / setErrs
//!          └── Poller::handle_response ◀───────────────┘
//!                                                               │
//!   Receiver::act:   pending ─▶ TrustMatrix ─▶ Ceiling ─▶ EffectPolicy ─▶ StoredRevocations ─▶ finished
//!                                 ignore        hold       void what            at once in        one
//!                                 advise                                        force             commit
//! ```
//!
//! # The loops
//!
//! Four things are to be done again and again; how, with which HTTP stack and on how many tasks, is the
//! application's. Each can die at any place and be started again: nothing is lost, and nothing is done
//! twice that does not bear it.
//!
//! ```text
//! on a push:    let pushed = receiver.handle_push(&request, now, random).await;
//!               send pushed.response
//!
//! polling:      if let Some(request) = poller.poll_request(now) {
//!                   match send(request) {
//!                       Ok(response) => poller.handle_response(&receiver, &response, now, random).await,
//!                       Err(_)       => poller.handle_failure(now, random),
//!                   }
//!               } else { wait until poller.poll_timeout() }
//!
//! acting:       receiver.act(&revocations, 100, now, random).await      after each push or poll, and now and then
//!
//! staying:      while let Some(fetch) = receiver.poll_keys(now) { send(fetch.request()), then handle_keys }
//!               if let Some(wanted) = receiver.poll_verification(issuer, now, random).await? {
//!                   let answer = send(client.verify(&wanted)?);
//!                   receiver.handle_verification_answer(issuer, &answer, now, random).await?;
//!               }
//!               receiver.forget(now, random).await                       every hour or so
//! ```
//!
//! # What holds
//!
//! - `iss` decides everything: which keys, which audience, which profile, whose word counts for what. A
//!   transmitter's key signs for no other, and whoever may push for one may not for another.
//! - A SET is acknowledged when it is durable together with its name, and not before; one that cannot be
//!   taken is refused with the code of RFC 8935, so that it does not come for ever; one whose key is not
//!   known waits until keys were fetched.
//! - Effects are monotone: what is void stays void, whatever comes later or late.
//! - By default nobody is believed anything, and nobody can revoke more than a [`Ceiling`].

mod accept;
mod act;
mod ceiling;
mod client;
mod discovery;
mod effect;
mod heartbeat;
mod held;
mod kept;
mod keys;
mod log_text;
mod namespace;
mod poller;
mod push;
mod seen;
mod source;
mod staying;
mod trust;

pub use accept::{Postponed, Received, Refusal};
pub use act::{ActError, ActReport, Acted, Outcome};
pub use ceiling::Ceiling;
pub use client::{Answer, Call, ClientError, StreamClient};
pub use discovery::{Discovery, DiscoveryError, MAX_METADATA, Transmitter};
pub use effect::{EffectPolicy, NameError, ResolveSubject, VoidTarget, Voided};
pub use heartbeat::{Freshness, HeartbeatPolicy};
pub use held::Release;
pub use keys::{KeyFetch, KeysError, SourceKeys};
pub use log_text::LogText;
pub use namespace::Namespace;
pub use poller::{PollReport, Poller, PollerError, Waiting};
pub use push::Pushed;
pub use seen::SeenSets;
pub use source::Source;
pub use trust::{Trust, TrustMatrix, TrustRule};

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use caep_set::Profile;
use http::Response;
use http::header::RETRY_AFTER;
use m2m_crypto::SecureRandom;
use m2m_store::{Key, Space, Store};
use m2m_token::Scratch;

use crate::inbox::{Inbox, InboxError};
use crate::receiver::kept::space;

/// How many SETs are known without asking the store, unless it is said otherwise.
const SEEN_LIMIT: usize = 1 << 24;
/// How many scratches are kept for those who verify at the same time.
const SCRATCHES: usize = 16;

/// Takes SETs of several transmitters in, and acts upon them. Share it as `Arc<Receiver>`; several
/// processes may share its store under the same name.
///
/// See the [module](self) for how it is driven.
pub struct Receiver {
    inbox: Inbox,
    sources: Vec<Source>,
    matrix: TrustMatrix,
    resolver: Option<Arc<dyn ResolveSubject>>,
    /// What is not of any source any more is read by this.
    profile: Profile,
    retry_horizon: Duration,
    seen: Mutex<SeenSets>,
    scratches: Mutex<Vec<Scratch>>,
    /// How far forgetting has come, in names and in what was said last.
    swept: Mutex<[Option<Key>; 2]>,
    beats: Space,
    levels: Space,
    held: Space,
    latest: Space,
}

impl Receiver {
    /// Opens the receiver called `name` in `store`, and loads what it needs before its first answer: the
    /// names of the SETs that it has, and what is known of each stream.
    ///
    /// `name` is up to 16 of `a`-`z`, `0`-`9` and `-`. Each source has an issuer of its own, and one stream.
    /// Nobody is believed anything until
    /// [`Receiver::with_trust`].
    ///
    /// # Errors
    ///
    /// [`InboxError`]; take nothing in then.
    pub async fn open(
        store: Arc<dyn Store>,
        name: &str,
        sources: Vec<Source>,
        random: &dyn SecureRandom,
    ) -> Result<Self, InboxError> {
        let mut issuers = HashSet::new();
        let again = |source: &&Source| !issuers.insert(source.issuer.clone());
        if let Some(source) = sources.iter().find(again) {
            let issuer = source.issuer.clone();
            return Err(InboxError::SameIssuer { issuer });
        }
        let profile = Profile::ssf();
        let inbox = Inbox::new(store, name, profile.clone())?;
        let seen = SeenSets::new(SEEN_LIMIT, random).map_err(InboxError::Random)?;
        let receiver = Self {
            inbox,
            sources,
            matrix: TrustMatrix::new(),
            resolver: None,
            profile,
            retry_horizon: Duration::from_secs(7 * 86_400),
            seen: Mutex::new(seen),
            scratches: Mutex::new(Vec::new()),
            swept: Mutex::new([None, None]),
            beats: space("beat", name)?,
            levels: space("level", name)?,
            held: space("held", name)?,
            latest: space("latest", name)?,
        };
        receiver.load().await?;
        Ok(receiver)
    }

    /// Whose word counts for what.
    #[must_use]
    pub fn with_trust(mut self, matrix: TrustMatrix) -> Self {
        self.matrix = matrix;
        self
    }

    /// Who knows what subjects mean that tokens do not name.
    #[must_use]
    pub fn with_resolver(mut self, resolver: Arc<dyn ResolveSubject>) -> Self {
        self.resolver = Some(resolver);
        self
    }

    /// For how long the most patient transmitter sends a SET again: a week, unless it is said here. Names
    /// are remembered for twice as long; what comes after that is taken for new.
    #[must_use]
    pub fn with_retry_horizon(mut self, horizon: Duration) -> Self {
        self.retry_horizon = horizon;
        self
    }

    /// The transmitters.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter()
    }

    /// Where SETs are recorded.
    pub fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// How many SETs are known without asking the store.
    pub fn seen_count(&self) -> usize {
        self.seen().len()
    }

    pub(crate) fn source(&self, issuer: &str) -> Option<&Source> {
        let mut sources = self.sources.iter();
        sources.find(|source| *source.issuer == *issuer)
    }

    fn profile_of(&self, issuer: &str) -> &Profile {
        self.source(issuer).map_or(&self.profile, Source::profile)
    }

    async fn load(&self) -> Result<(), InboxError> {
        let mut after = None;
        loop {
            let (names, next) = self.inbox.names(after).await?;
            let mut seen = self.seen();
            for (name, time) in names {
                seen.add(name, time);
            }
            drop(seen);
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        for source in &self.sources {
            let kept = self.kept_beat(source).await?;
            source.remember(kept.value.unwrap_or_default());
        }
        Ok(())
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, SeenSets> {
        lock(&self.seen)
    }

    fn scratch(&self) -> Scratch {
        lock(&self.scratches).pop().unwrap_or_default()
    }

    fn put_back(&self, scratch: Scratch) {
        let mut scratches = lock(&self.scratches);
        if scratches.len() < SCRATCHES {
            scratches.push(scratch);
        }
    }
}

/// Whoever panicked with it left a whole value.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The longest pause that a transmitter can ask for: an hour. It is not for it to switch us off.
const MAX_RETRY_AFTER: u32 = 3600;

/// After how many seconds the other side wants to be asked again (RFC 9110 §10.2.3). Dates are passed
/// over.
pub(crate) fn retry_after(response: &Response<&[u8]>) -> Option<u32> {
    let header = response.headers().get(RETRY_AFTER)?;
    let seconds = header.to_str().ok()?.trim().parse::<u32>().ok()?;
    Some(seconds.min(MAX_RETRY_AFTER))
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("inbox", &self.inbox)
            .field("sources", &self.sources)
            .finish_non_exhaustive()
    }
}
