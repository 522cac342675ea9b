//! `SetMinter`: makes SETs, one at a time or one event for many audiences.

use std::fmt;
use std::sync::Arc;

use m2m_crypto::SecureRandom;
use m2m_token::{ClaimsTemplate, MintError, Minter, SigningKeyRing, TokenType};
use m2m_types::Timestamp;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::event::{Event, Payload};
use crate::finding::Findings;
use crate::members::{Json, Members, MembersError};
use crate::subject::SubjectId;
use crate::value::{EventTime, Value as _};
use crate::verify::SET_TYPE;

/// What a SET is to say: what happened to whom. Who says it, to whom, when and under which name comes
/// from the [`SetMinter`].
///
/// ```
/// use caep_set::{SecurityEvent, SessionRevoked, SubjectId};
///
/// let session = SubjectId::complex([("session", SubjectId::opaque("7f3a")?)])?;
/// let event = SecurityEvent::new(session, SessionRevoked::new()).with_transaction("login-4711");
/// # let _ = event;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct SecurityEvent {
    subject: SubjectId,
    event: Event,
    transaction: Option<Box<str>>,
    time_of_event: Option<EventTime>,
    others: Members,
}

impl SecurityEvent {
    /// `event` happened to `subject`.
    pub fn new(subject: SubjectId, event: impl Into<Event>) -> Self {
        Self {
            subject,
            event: event.into(),
            transaction: None,
            time_of_event: None,
            others: Members::new(),
        }
    }

    /// `txn`: the cause, which other SETs may have in common with it. Recommended (SSF 1.0 §4.1.8).
    #[must_use]
    pub fn with_transaction(mut self, transaction: &str) -> Self {
        self.transaction = Some(Box::from(transaction));
        self
    }

    /// `toe`: when it happened, where the event has no member for that (RFC 8417 §2.2).
    #[must_use]
    pub fn with_time_of_event(mut self, time: Timestamp) -> Self {
        self.time_of_event = Some(EventTime::from(time));
        self
    }

    /// Further claims of the SET itself. None of its own names, nor `sub` and `exp` (SSF 1.0 §4.1).
    #[must_use]
    pub fn with_claims(mut self, others: Members) -> Self {
        self.others = others;
        self
    }

    /// Reads what was written as JSON, to be sent later or again: all claims but `iss`, `iat`, `aud` and
    /// `jti`.
    ///
    /// ```
    /// use caep_set::{SecurityEvent, SessionRevoked, SubjectId};
    ///
    /// let event = SecurityEvent::new(SubjectId::opaque("7f3a")?, SessionRevoked::new());
    /// let json = serde_json::to_string(&event)?;
    /// assert_eq!(SecurityEvent::from_json(&json)?, event);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`MembersError`] if it is no subject and one event. This is for what was written here; what others
    /// send is judged by a [`crate::SetVerifier`].
    pub fn from_json(json: &str) -> Result<Self, MembersError> {
        fn wrong(problem: &'static str) -> MembersError {
            <serde_json::Error as serde::de::Error>::custom(problem).into()
        }
        let mut members = Json::new(json)?
            .members()
            .ok_or_else(|| wrong("no object"))?;
        let mut taken = |name| members.take(name);
        let (transaction, time) = (taken("txn"), taken("toe"));
        let subject = taken("sub_id").ok_or_else(|| wrong("no subject"))?;
        let subject =
            SubjectId::from_json(subject.get()).map_err(|error| wrong(error.problem()))?;
        let events = taken("events").and_then(Json::members).unwrap_or_default();
        let [(uri, payload)] =
            <[_; 1]>::try_from(events.into_list()).map_err(|_| wrong("not one event"))?;
        let payload = payload.members().ok_or_else(|| wrong("no payload"))?;
        let transaction = transaction.map(|text| serde_json::from_str(text.get()));
        let time_of_event = time.map(EventTime::read).transpose().map_err(wrong)?;
        Ok(Self {
            subject,
            event: Event::read(&uri, payload, &mut Findings::default()),
            transaction: transaction.transpose()?,
            time_of_event,
            others: members.to_members(),
        })
    }

    /// Whom it is about.
    pub fn subject(&self) -> &SubjectId {
        &self.subject
    }

    /// What happened.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// `txn`.
    pub fn transaction(&self) -> Option<&str> {
        self.transaction.as_deref()
    }
}

/// All claims but `iss`, `iat`, `aud` and `jti`.
impl Serialize for SecurityEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(transaction) = &self.transaction {
            map.serialize_entry("txn", transaction)?;
        }
        if let Some(time) = &self.time_of_event {
            map.serialize_entry("toe", time)?;
        }
        map.serialize_entry("sub_id", &self.subject)?;
        map.serialize_entry("events", &Events(&self.event))?;
        self.others.write(&mut map)?;
        map.end()
    }
}

struct Events<'e>(&'e Event);

impl Serialize for Events<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.0.uri(), &Payload(self.0))?;
        map.end()
    }
}

/// A SET that was made, and its name.
#[derive(Clone, PartialEq, Eq)]
pub struct MintedSet {
    token_id: Box<str>,
    token: String,
}

impl MintedSet {
    /// `jti`.
    pub fn token_id(&self) -> &str {
        &self.token_id
    }

    /// The SET as it is sent.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Takes the SET as it is sent.
    pub fn into_token(self) -> String {
        self.token
    }
}

impl fmt::Debug for MintedSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MintedSet")
            .field("token_id", &self.token_id)
            .finish_non_exhaustive()
    }
}

/// Makes the SETs of one transmitter, signed with the active key of a ring.
///
/// `typ` is `secevent+jwt`, and `iat` the moment it is made, never rounded up (SSF 1.0 §4.1).
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use caep_set::{Profile, SecurityEvent, SessionRevoked, SetMinter, SetVerifier, SubjectId};
/// use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
/// use m2m_token::{Audience, Issuers, Scratch, SigningKeyRing};
/// use m2m_types::Timestamp;
///
/// let key = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
/// let ring = Arc::new(SigningKeyRing::new(key, Duration::from_secs(3600))?);
/// let minter = SetMinter::new("https://tr.example", Arc::clone(&ring))?;
/// let event = SecurityEvent::new(SubjectId::opaque("7f3a")?, SessionRevoked::new());
/// let now = Timestamp::from_unix_seconds(1_790_000_000)?;
/// let set = minter.mint(&event, "https://rc.example", now, &SystemRandom)?;
///
/// let verifier = SetVerifier::new(
///     Issuers::one("https://tr.example", ring.verifying_keys()),
///     Audience::exactly("https://rc.example"),
///     Profile::ssf(),
/// )?;
/// let received = verifier.verify(set.token(), now, &mut Scratch::new())?.conforming()?;
/// assert_eq!(received.token().token_id(), set.token_id());
/// assert_eq!(received.token().subject(), Some(event.subject()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SetMinter {
    minter: Minter,
}

impl SetMinter {
    /// For the transmitter called `issuer`.
    ///
    /// # Errors
    ///
    /// [`MintError::Unnamed`] if the name is empty.
    pub fn new(issuer: &str, keys: Arc<SigningKeyRing>) -> Result<Self, MintError> {
        Ok(Self {
            minter: Minter::new(issuer, TokenType::named(SET_TYPE), keys)?,
        })
    }

    /// Makes a SET for `audience` as of `now`, with a new name.
    ///
    /// # Errors
    ///
    /// [`MintError`]; no SET is given out then.
    pub fn mint(
        &self,
        event: &SecurityEvent,
        audience: &str,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<MintedSet, MintError> {
        let template = self.template(event, now)?;
        self.mint_from(&template, audience, random)
    }

    /// One event for many audiences: everything that they have in common is written once. Each gets a
    /// SET with a name of its own, so that nobody's can be shown to another.
    ///
    /// # Errors
    ///
    /// [`MintError`] if the event cannot be written, or has claims that the minter writes.
    pub fn template(
        &self,
        event: &SecurityEvent,
        now: Timestamp,
    ) -> Result<SetTemplate, MintError> {
        Ok(SetTemplate {
            claims: self.minter.template(event, now)?,
        })
    }

    /// Makes a SET for one of the audiences, with a new name.
    ///
    /// # Errors
    ///
    /// See [`SetMinter::mint`].
    pub fn mint_from(
        &self,
        template: &SetTemplate,
        audience: &str,
        random: &dyn SecureRandom,
    ) -> Result<MintedSet, MintError> {
        let mut bytes = [0; 16];
        random.fill(&mut bytes).map_err(MintError::Random)?;
        let token_id = hex(bytes);
        let token = self.mint_named(template, audience, &token_id)?;
        Ok(MintedSet { token_id, token })
    }

    /// Makes a SET for one of the audiences, with a name that the caller gives and has recorded.
    ///
    /// # Errors
    ///
    /// See [`SetMinter::mint`].
    pub fn mint_named(
        &self,
        template: &SetTemplate,
        audience: &str,
        token_id: &str,
    ) -> Result<String, MintError> {
        self.minter.mint_from(&template.claims, audience, token_id)
    }
}

impl fmt::Debug for SetMinter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetMinter")
            .field("minter", &self.minter)
            .finish()
    }
}

/// A SET that lacks only its audience and its name; see [`SetMinter::template`].
#[derive(Clone, Debug)]
pub struct SetTemplate {
    claims: ClaimsTemplate,
}

fn hex(bytes: [u8; 16]) -> Box<str> {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or('0');
    digits.map(digit).collect::<String>().into_boxed_str()
}
