//! `SecurityEventToken`: what a SET says, as a value.

use m2m_types::Timestamp;

use crate::event::Event;
use crate::members::Members;
use crate::subject::SubjectId;
use crate::value::EventTime;

/// What a SET says (RFC 8417 §2.2), whoever says it. [`crate::AuthenticSet`] is the proof of who does.
#[derive(Clone, Debug, PartialEq)]
pub struct SecurityEventToken {
    pub(crate) issuer: Box<str>,
    pub(crate) token_id: Box<str>,
    pub(crate) issued_at: Timestamp,
    pub(crate) audience: Vec<Box<str>>,
    pub(crate) transaction: Option<Box<str>>,
    pub(crate) time_of_event: Option<EventTime>,
    pub(crate) subject: Option<SubjectId>,
    pub(crate) events: Vec<Event>,
    pub(crate) others: Members,
}

impl SecurityEventToken {
    /// `iss`: the transmitter.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `jti`: the name of the SET. Two SETs are the same if both this and the issuer are.
    pub fn token_id(&self) -> &str {
        &self.token_id
    }

    /// `iat`: when it was made. That is not when it happened, and says nothing about order.
    pub fn issued_at(&self) -> Timestamp {
        self.issued_at
    }

    /// `aud`: for whom it is.
    pub fn audience(&self) -> impl Iterator<Item = &str> {
        self.audience.iter().map(|name| &**name)
    }

    /// `txn`: the cause that it has in common with other SETs.
    pub fn transaction(&self) -> Option<&str> {
        self.transaction.as_deref()
    }

    /// Whom it is about: `sub_id`, and in older dialects what the payload says.
    pub fn subject(&self) -> Option<&SubjectId> {
        self.subject.as_ref()
    }

    /// What happened. The same in several words if there is more than one, but for RFC 8417 and SCIM.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// What happened: the first of [`SecurityEventToken::events`] that is known here, or else the first.
    pub fn event(&self) -> Option<&Event> {
        let known = |event: &&Event| !matches!(event, Event::Other(_) | Event::Malformed(_));
        self.events.iter().find(known).or(self.events.first())
    }

    /// Claims that are read into nothing here, as they came.
    pub fn others(&self) -> &Members {
        &self.others
    }

    /// When it happened, as far as can be believed: the `event_timestamp` of the event, or `toe`, but
    /// never after the SET was made, and without either, when the SET was made.
    ///
    /// This is what to compare with the start of a session: one that began after it is not meant
    /// (RFC 8417 §5.4). A time in the future would reach sessions that do not exist yet.
    pub fn happened_at(&self) -> Timestamp {
        let common = self.events.iter().find_map(Event::common);
        let stated = common.and_then(|common| common.event_timestamp.as_ref());
        let stated = stated.or(self.time_of_event.as_ref());
        let time = stated.and_then(EventTime::timestamp);
        time.map_or(self.issued_at, |time| time.min(self.issued_at))
    }
}
