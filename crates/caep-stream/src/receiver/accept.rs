//! Taking a SET in: from the bytes that somebody sent to a record that survives, or a refusal.

use caep_set::{
    AuthenticSet, ErrorCode, Event, SecurityEventToken, SetError, StreamStatus, Verdict,
};
use m2m_crypto::SecureRandom;
use m2m_token::{Scratch, Unverified, VerifyError};
use m2m_types::Timestamp;

use crate::inbox::{InboxError, Recorded, SetName};
use crate::receiver::heartbeat::{Beat, Heard, NotHeard};
use crate::receiver::kept::Kept;
use crate::receiver::keys::UnknownKey;
use crate::receiver::source::Source;
use crate::receiver::{Receiver, Trust};

/// How often the state of a stream is read again because somebody else has changed it.
const ATTEMPTS: usize = 8;

/// What became of a SET that came.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// It is recorded, and will be acted upon.
    New,
    /// It was recorded before, and is acknowledged again.
    Repeated,
    /// It is recorded, and will not be acted upon: a critical part of its subject is not understood.
    Discarded,
    /// It verifies the stream (SSF 1.0 §8.1.4).
    Verified {
        /// Whether it answers what we asked. Transmitters may send others at any time.
        was_asked_for: bool,
    },
    /// The transmitter has changed the state of the stream (SSF 1.0 §8.1.5).
    StreamUpdated(StreamStatus),
    /// It is not taken, and its sender is told with [`Refusal::code`].
    Refused(Refusal),
    /// It is neither acknowledged nor refused, and will come again.
    Later(Postponed),
}

/// Why a SET is not taken: for operators.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is no token, or has no `iss`.
    #[error("it is no token with an issuer")]
    Form,
    /// Nobody of this name is known here.
    #[error("its issuer is not one of ours")]
    Issuer,
    /// Its issuer is known, and whoever brought it may not bring that one's SETs.
    #[error("whoever brought it may not bring SETs of its issuer")]
    Sender,
    /// It is not authentic.
    #[error("{0}")]
    Set(SetError),
    /// It breaks a rule of its profile, which is named.
    #[error("it is authentic and does not conform: {finding}")]
    NonConforming {
        /// The first rule that it breaks.
        finding: Box<str>,
    },
    /// It verifies a stream with a `state` that was not asked for, or was answered before.
    #[error("its state is none that was asked for")]
    State,
    /// It is about a stream that is not ours.
    #[error("it is about another stream than ours")]
    Stream,
    /// Its transmitter is not believed this, and [`Source::refusing_what_is_ignored`] was said.
    #[error("its transmitter is not believed this")]
    Ignored,
    /// The name that it was delivered under is not its `jti`.
    #[error("it was delivered under another name than its `jti`")]
    Name,
}

/// Why a SET is left for later.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Postponed {
    /// Its key is not known, and keys are to be fetched before it is refused for that.
    #[error("its key is not known, and keys are to be fetched")]
    KeyUnknown,
    /// It could not be recorded.
    #[error("{0}")]
    NotRecorded(InboxError),
}

impl Received {
    /// Whether it is to be acknowledged.
    pub fn is_acknowledged(&self) -> bool {
        !matches!(self, Self::Refused(_) | Self::Later(_))
    }
}

impl Refusal {
    /// What its sender is told (RFC 8935 §2.4).
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Form | Self::NonConforming { .. } | Self::Stream | Self::Name => {
                ErrorCode::InvalidRequest
            }
            Self::Issuer => ErrorCode::InvalidIssuer,
            Self::Sender | Self::Ignored => ErrorCode::AccessDenied,
            Self::Set(error) => error.code(),
            Self::State => ErrorCode::InvalidState,
        }
    }
}

impl Receiver {
    /// Takes a SET in that was brought by somebody who may bring those of the sources that `may_bring`
    /// says, as `name` if it was given one; the order is that of RFC 8935 §2.
    pub(crate) async fn accept(
        &self,
        compact: &str,
        name: Option<&str>,
        may_bring: impl Fn(&Source) -> bool,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Received {
        let (source, set) = match self.authenticate(compact, may_bring, now) {
            Ok(authentic) => authentic,
            Err(received) => return received,
        };
        if set.verdict() == Verdict::Violating {
            return Received::Refused(non_conforming(&set));
        }
        if set
            .token()
            .is_some_and(|token| name.is_some_and(|name| name != token.token_id()))
        {
            return Received::Refused(Refusal::Name);
        }
        if source.refuses_ignored && set.token().is_some_and(|token| self.ignores(token)) {
            return Received::Refused(Refusal::Ignored);
        }
        let recorded = self.record(source, &set, now, random).await;
        recorded.unwrap_or_else(|error| Received::Later(Postponed::NotRecorded(error)))
    }

    /// Whether nobody here believes it. What is about the stream itself is not a matter of belief.
    fn ignores(&self, token: &SecurityEventToken) -> bool {
        let is_of_the_stream = matches!(
            token.event(),
            Some(Event::Verification(_) | Event::StreamUpdated(_))
        );
        !is_of_the_stream && self.matrix.judge(token) == Trust::Ignore
    }

    fn authenticate(
        &self,
        compact: &str,
        may_bring: impl Fn(&Source) -> bool,
        now: Timestamp,
    ) -> Result<(&Source, AuthenticSet), Received> {
        let mut scratch = self.scratch();
        let source = self.source_of(compact, &mut scratch)?;
        let verified = source.verifier.verify(compact, now, &mut scratch);
        self.put_back(scratch);
        let set = match verified {
            Ok(set) => set,
            Err(SetError::Token(
                VerifyError::KeyUnknown { .. } | VerifyError::KeysStale { .. },
            )) if may_bring(source) && source.keys.met_unknown(compact) == UnknownKey::Wait => {
                return Err(Received::Later(Postponed::KeyUnknown));
            }
            Err(SetError::Token(VerifyError::IssuerUnknown { .. })) => {
                return Err(Received::Refused(Refusal::Issuer));
            }
            Err(error) => return Err(Received::Refused(Refusal::Set(error))),
        };
        // The last of the checks (RFC 8935 §2): whether it may come from there.
        match may_bring(source) {
            true => Ok((source, set)),
            false => Err(Received::Refused(Refusal::Sender)),
        }
    }

    /// Whose SET it says that it is. Everything else is decided by that: keys, audience, profile.
    fn source_of(&self, compact: &str, scratch: &mut Scratch) -> Result<&Source, Received> {
        if let [only] = self.sources.as_slice() {
            // Its verifier refuses those of others.
            return Ok(only);
        }
        let unverified = Unverified::danger_decode(compact, scratch);
        let unverified =
            unverified.map_err(|error| Received::Refused(Refusal::Set(SetError::Token(error))))?;
        let issuer = unverified.danger_claims().issuer();
        let issuer = issuer.ok_or(Received::Refused(Refusal::Form))?;
        self.source(issuer)
            .ok_or(Received::Refused(Refusal::Issuer))
    }

    async fn record(
        &self,
        source: &Source,
        set: &AuthenticSet,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Received, InboxError> {
        let name = SetName::of_authentic(set)?;
        if self.seen().has(name) {
            return Ok(Received::Repeated);
        }
        let received = match self.hear(source, name, set, now, random).await? {
            Some(heard) => heard,
            None => match self.inbox.record_named(name, set, now, random).await? {
                Recorded::New => Received::New,
                Recorded::Repeated => Received::Repeated,
                Recorded::Discarded => Received::Discarded,
            },
        };
        if received.is_acknowledged() {
            self.seen().add(name, now.unix_seconds());
        }
        Ok(received)
    }

    /// Takes in what a SET says about its own stream, together with its name. `None` if it says nothing
    /// of that.
    async fn hear(
        &self,
        source: &Source,
        name: SetName,
        set: &AuthenticSet,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Option<Received>, InboxError> {
        let Some(token) = set.token() else {
            return Ok(None);
        };
        let stream_id = source.stream_id();
        for _ in 0..ATTEMPTS {
            let kept = self.kept_beat(source).await?;
            let mut beat = kept.value.clone().unwrap_or_default();
            let heard = match beat.hear(token, stream_id.as_deref(), now) {
                None => return Ok(None),
                Some(Ok(heard)) => heard,
                Some(Err(refused)) => {
                    // What was answered once is answered again.
                    let is_known = self.inbox.has(name).await?;
                    return Ok(Some(match refused {
                        _ if is_known => Received::Repeated,
                        NotHeard::State => Received::Refused(Refusal::State),
                        NotHeard::Stream => Received::Refused(Refusal::Stream),
                    }));
                }
            };
            let batch = self.inbox.recording(name, now, random)?;
            let batch = kept.put(batch, &beat);
            match self.inbox.commit_recording(name, batch).await {
                Ok(Recorded::Repeated) => return Ok(Some(Received::Repeated)),
                Ok(_) => {
                    source.remember(beat);
                    return Ok(Some(match heard {
                        Heard::Verified { was_asked_for } => Received::Verified { was_asked_for },
                        Heard::Updated(status) => Received::StreamUpdated(status),
                    }));
                }
                // Somebody else has changed what is known of the stream.
                Err(InboxError::Store(m2m_store::StoreError::Conflict { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        Err(InboxError::Contended)
    }

    pub(crate) async fn kept_beat(&self, source: &Source) -> Result<Kept<Beat>, InboxError> {
        Kept::of_issuer(&*self.inbox.store, &self.beats, &source.issuer).await
    }
}

fn non_conforming(set: &AuthenticSet) -> Refusal {
    let mut findings = set.findings().iter();
    let broken = findings.find(|finding| finding.severity() == caep_set::Severity::Violation);
    Refusal::NonConforming {
        finding: broken.map_or_else(Box::default, |finding| finding.to_string().into()),
    }
}
