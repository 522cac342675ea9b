//! `Source`: one transmitter that a receiver takes SETs of, with all that it is believed for.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use caep_set::{Profile, SetVerifier};
use m2m_token::{Audience, Issuers, PolicyError};

use crate::management::{SecretHeader, StreamConfiguration};
use crate::receiver::ceiling::Ceiling;
use crate::receiver::effect::EffectPolicy;
use crate::receiver::heartbeat::{Beat, HeartbeatPolicy};
use crate::receiver::keys::SourceKeys;

/// One transmitter, by the name that its SETs have in `iss`.
///
/// Who may push for it, how much it may revoke in a minute, what its events void and how often it is asked
/// whether it is still there are all its own; nothing of it helps a SET with another `iss`.
///
/// ```
/// use caep_set::Profile;
/// use caep_stream::SecretHeader;
/// use caep_stream::receiver::{Ceiling, Source, SourceKeys};
/// use m2m_token::{Audience, KeySet};
///
/// let keys = SourceKeys::fixed(KeySet::new());
/// let audience = Audience::exactly("https://rc.example");
/// let source = Source::new("https://tr.example", keys, audience, Profile::ssf())?
///     .pushed_with(SecretHeader::new("Bearer sesame")?)
///     .with_ceiling(Ceiling::per_minute(600, 3_000));
/// # let _ = source;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Source {
    pub(crate) issuer: Box<str>,
    pub(crate) keys: SourceKeys,
    pub(crate) verifier: SetVerifier,
    pub(crate) senders: Senders,
    pub(crate) ceiling: Ceiling,
    pub(crate) effects: EffectPolicy,
    pub(crate) heartbeat: HeartbeatPolicy,
    pub(crate) refuses_ignored: bool,
    stream_id: Mutex<Option<Box<str>>>,
    beat: Mutex<Beat>,
}

/// Who may push SETs of a source.
#[derive(Debug)]
pub(crate) enum Senders {
    /// Nobody: they are polled.
    Nobody,
    /// Who shows one of these.
    With(Vec<SecretHeader>),
    /// Anybody: the signature is all there is.
    Anybody,
}

impl Source {
    /// SETs of `issuer`, signed with one of `keys`, meant for `audience`, judged by `profile`.
    ///
    /// Nobody may push until [`Source::pushed_with`] says who.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] if what was said contradicts itself.
    pub fn new(
        issuer: &str,
        keys: SourceKeys,
        audience: Audience,
        profile: Profile,
    ) -> Result<Self, PolicyError> {
        let issuers = Issuers::one(issuer, keys.live());
        Ok(Self {
            issuer: Box::from(issuer),
            keys,
            verifier: SetVerifier::new(issuers, audience, profile)?,
            senders: Senders::Nobody,
            ceiling: Ceiling::default(),
            effects: EffectPolicy::default(),
            heartbeat: HeartbeatPolicy::default(),
            refuses_ignored: false,
            stream_id: Mutex::new(None),
            beat: Mutex::new(Beat::default()),
        })
    }

    /// Whoever shows `authorization` may push. While it is replaced there are two: call it twice.
    #[must_use]
    pub fn pushed_with(mut self, authorization: SecretHeader) -> Self {
        match &mut self.senders {
            Senders::With(known) => known.push(authorization),
            other => *other = Senders::With(vec![authorization]),
        }
        self
    }

    /// Anybody may push, whatever is in `Authorization`: somebody else has checked who it is, or nobody
    /// does. A stranger can then make us verify signatures, and learns which issuers are known here.
    #[must_use]
    pub fn danger_pushed_by_anybody(mut self) -> Self {
        self.senders = Senders::Anybody;
        self
    }

    /// The stream that its SETs come by. Verifications of other streams are refused then, and no
    /// verification is asked for before.
    #[must_use]
    pub fn with_stream(self, stream: &StreamConfiguration) -> Self {
        self.attach(stream);
        self
    }

    /// How much it may revoke before somebody has to look.
    #[must_use]
    pub fn with_ceiling(mut self, ceiling: Ceiling) -> Self {
        self.ceiling = ceiling;
        self
    }

    /// What its events void, and for how long.
    #[must_use]
    pub fn with_effects(mut self, effects: EffectPolicy) -> Self {
        self.effects = effects;
        self
    }

    /// How often it is asked whether it is still there.
    #[must_use]
    pub fn with_heartbeat(mut self, heartbeat: HeartbeatPolicy) -> Self {
        self.heartbeat = heartbeat;
        self
    }

    /// What the trust matrix ignores is refused with `access_denied` when it comes, so that the transmitter
    /// hears of it. Without this it is acknowledged: a transmitter that gives up streams whose SETs are
    /// refused keeps this one, and learns nothing of whom we believe what.
    #[must_use]
    pub fn refusing_what_is_ignored(mut self) -> Self {
        self.refuses_ignored = true;
        self
    }

    /// `iss`.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    pub(crate) fn profile(&self) -> &Profile {
        self.verifier.profile()
    }

    pub(crate) fn attach(&self, stream: &StreamConfiguration) {
        *lock(&self.stream_id) = Some(stream.stream_id.clone());
        let mut beat = self.beat();
        beat.min_interval = stream.min_verification_interval.unwrap_or(0);
    }

    pub(crate) fn stream_id(&self) -> Option<Box<str>> {
        lock(&self.stream_id).clone()
    }

    /// What was read or written of the stream is what is known from now on.
    pub(crate) fn remember(&self, mut beat: Beat) {
        let mut known = self.beat();
        beat.min_interval = known.min_interval;
        *known = beat;
    }

    /// What is known of the stream, as of the last time that the store was read or written.
    pub(crate) fn beat(&self) -> MutexGuard<'_, Beat> {
        lock(&self.beat)
    }
}

/// Whoever panicked with it left a whole value.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("issuer", &self.issuer)
            .field("keys", &self.keys)
            .field("senders", &self.senders)
            .finish_non_exhaustive()
    }
}
