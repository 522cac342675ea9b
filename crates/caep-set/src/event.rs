//! `Event`: what happened, typed where a standard defines it, and kept as it is where none does.

mod caep;
mod macros;
mod risc;
mod scim;
mod ssf;

pub use caep::{
    AssuranceLevelChange, CredentialChange, DeviceComplianceChange, RiskLevelChange,
    SessionEstablished, SessionPresented, SessionRevoked, TokenClaimsChange,
};
pub use risc::{
    AccountCredentialChangeRequired, AccountDisabled, AccountEnabled, AccountPurged,
    CredentialCompromise, IdentifierChanged, IdentifierRecycled, OptIn, OptOutCancelled,
    OptOutEffective, OptOutInitiated, RecoveryActivated, RecoveryInformationChanged,
    SessionsRevoked,
};
pub use scim::{
    AsyncResponse, FeedAdd, FeedRemove, ProvActivate, ProvCreateFull, ProvCreateNotice,
    ProvDeactivate, ProvDelete, ProvPatchFull, ProvPatchNotice, ProvPutFull, ProvPutNotice,
};
pub use ssf::{StateMismatch, StreamUpdated, Verification};

use serde::de::DeserializeOwned;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::finding::Findings;
use crate::members::{Borrowed, Members, MembersError};
use crate::subject::SubjectId;
use crate::value::{EventTime, InitiatingEntity, Reasons, Value};

/// An event of a type that no standard here defines: anybody's own.
///
/// ```
/// use caep_set::{CustomEvent, Event};
///
/// #[derive(serde::Serialize, serde::Deserialize, Debug, PartialEq)]
/// struct LimitRaised {
///     from: u32,
///     to: u32,
/// }
/// impl CustomEvent for LimitRaised {
///     const URI: &'static str = "https://bank.example/event/limit-raised";
/// }
///
/// let event = Event::custom(&LimitRaised { from: 1, to: 2 })?;
/// assert_eq!(event.uri(), LimitRaised::URI);
/// assert_eq!(event.as_custom::<LimitRaised>()?, Some(LimitRaised { from: 1, to: 2 }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait CustomEvent: Serialize + DeserializeOwned {
    /// The URI of this type of event: what names it in `events` (RFC 8417 §2).
    const URI: &'static str;
}

/// An event that is kept as it came: of a type that is not known here, or one that breaks the rules of
/// its type.
#[derive(Clone, Debug, PartialEq)]
pub struct RawEvent {
    uri: Box<str>,
    payload: Members,
}

impl RawEvent {
    /// An event of any type.
    pub fn new(uri: &str, payload: Members) -> Self {
        Self {
            uri: Box::from(uri),
            payload,
        }
    }

    /// The URI of its type.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// What it says.
    pub fn payload(&self) -> &Members {
        &self.payload
    }
}

macro_rules! catalogue {
    ($($name:ident),+ $(,)?) => {
        /// What happened.
        ///
        /// One variant for each event of CAEP 1.0, RISC 1.0, SSF 1.0 and RFC 9967; the others are kept
        /// raw and go out as they came.
        #[non_exhaustive]
        #[derive(Clone, Debug, PartialEq)]
        #[expect(missing_docs, reason = "each is documented where it is declared")]
        pub enum Event {
            $($name($name),)+
            /// Of a type that is not known here. It means nothing to us, and is no error.
            Other(RawEvent),
            /// Of a known type, whose rules it breaks: what is broken is among the findings.
            Malformed(RawEvent),
        }

        impl Event {
            /// The URI of its type.
            pub fn uri(&self) -> &str {
                match self {
                    $(Self::$name(_) => $name::URI,)+
                    Self::Other(raw) | Self::Malformed(raw) => &raw.uri,
                }
            }

            /// Reads the payload of an event of the type `uri`.
            pub(crate) fn read(uri: &str, members: Borrowed<'_>, findings: &mut Findings) -> Self {
                let known = canonical(uri);
                let read = match &*known {
                    $(_ if known == $name::URI => $name::read(members, findings).map(Self::$name),)+
                    _ => {
                        const KNOWN: &[&str] = &[$($name::URI),+];
                        if KNOWN.iter().any(|known| known.eq_ignore_ascii_case(uri)) {
                            findings.violation("RFC 8417 §2.2", "", "is a known URI in other letters");
                        }
                        return Self::Other(RawEvent { uri: Box::from(uri), payload: members.to_members() });
                    }
                };
                read.unwrap_or_else(|payload| {
                    let payload = payload.to_members();
                    Self::Malformed(RawEvent { uri: Box::from(uri), payload })
                })
            }

            pub(crate) fn write_payload<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Self::$name(event) => event.serialize(serializer),)+
                    Self::Other(raw) | Self::Malformed(raw) => raw.payload.serialize(serializer),
                }
            }
        }
    };
}

catalogue!(
    SessionRevoked,
    TokenClaimsChange,
    CredentialChange,
    AssuranceLevelChange,
    DeviceComplianceChange,
    SessionEstablished,
    SessionPresented,
    RiskLevelChange,
    Verification,
    StreamUpdated,
    AccountCredentialChangeRequired,
    AccountPurged,
    AccountDisabled,
    AccountEnabled,
    IdentifierChanged,
    IdentifierRecycled,
    CredentialCompromise,
    OptIn,
    OptOutInitiated,
    OptOutCancelled,
    OptOutEffective,
    RecoveryActivated,
    RecoveryInformationChanged,
    SessionsRevoked,
    FeedAdd,
    FeedRemove,
    ProvCreateFull,
    ProvPutFull,
    ProvPatchFull,
    ProvCreateNotice,
    ProvPutNotice,
    ProvPatchNotice,
    ProvDelete,
    ProvActivate,
    ProvDeactivate,
    AsyncResponse,
);

impl Event {
    /// An event of the caller's own type.
    ///
    /// # Errors
    ///
    /// [`MembersError`] if it cannot be written as a JSON object.
    pub fn custom<E: CustomEvent>(event: &E) -> Result<Self, MembersError> {
        let json = serde_json::to_string(event)?;
        Ok(Self::Other(RawEvent::new(
            E::URI,
            Members::from_json(&json)?,
        )))
    }

    /// The event as one of the caller's own type; `None` if it is of another.
    ///
    /// # Errors
    ///
    /// [`MembersError`] if it is of that type and does not fit.
    pub fn as_custom<E: CustomEvent>(&self) -> Result<Option<E>, MembersError> {
        match self {
            Self::Other(raw) if &*raw.uri == E::URI => {
                let json = serde_json::to_string(&raw.payload)?;
                Ok(Some(serde_json::from_str(&json)?))
            }
            _ => Ok(None),
        }
    }

    /// What it says, as a JSON object.
    ///
    /// # Errors
    ///
    /// [`MembersError`] if a member of the caller's cannot be written.
    pub fn payload_json(&self) -> Result<String, MembersError> {
        Ok(serde_json::to_string(&Payload(self))?)
    }

    /// What every CAEP event may say; `None` for events of other standards.
    pub fn common(&self) -> Option<&Common> {
        match self {
            Self::SessionRevoked(event) => Some(&event.common),
            Self::TokenClaimsChange(event) => Some(&event.common),
            Self::CredentialChange(event) => Some(&event.common),
            Self::AssuranceLevelChange(event) => Some(&event.common),
            Self::DeviceComplianceChange(event) => Some(&event.common),
            Self::SessionEstablished(event) => Some(&event.common),
            Self::SessionPresented(event) => Some(&event.common),
            Self::RiskLevelChange(event) => Some(&event.common),
            Self::CredentialCompromise(event) => Some(&event.common),
            _ => None,
        }
    }

    /// Whether it takes something away from its subject for good or until further notice: a session, a
    /// credential, an account. Such an event must never be dropped in favour of a later one, and is
    /// never undone by an older one (SSF 1.0 §8.1.2.1).
    pub fn is_revocation(&self) -> bool {
        match self {
            Self::SessionRevoked(_)
            | Self::SessionsRevoked(_)
            | Self::AccountPurged(_)
            | Self::AccountDisabled(_)
            | Self::IdentifierRecycled(_)
            | Self::CredentialCompromise(_)
            | Self::ProvDelete(_)
            | Self::ProvDeactivate(_) => true,
            Self::CredentialChange(event) => matches!(
                event.change_type,
                crate::value::ChangeType::Revoke | crate::value::ChangeType::Delete
            ),
            _ => false,
        }
    }
}

/// The payload of an event, to be written.
pub(crate) struct Payload<'e>(pub(crate) &'e Event);

impl Serialize for Payload<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.write_payload(serializer)
    }
}

/// The URI as it is compared. Older drafts of RFC 9967 wrote `SCIM` and `asyncResp`.
fn canonical(uri: &str) -> std::borrow::Cow<'_, str> {
    let is_scim = uri
        .get(..scim::BASE.len())
        .is_some_and(|base| base.eq_ignore_ascii_case(scim::BASE));
    match is_scim {
        true => uri.to_ascii_lowercase().into(),
        false => uri.into(),
    }
}

/// What every CAEP event may say (CAEP 1.0 §2).
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Common {
    /// `event_timestamp`: when it happened.
    pub event_timestamp: Option<EventTime>,
    /// `initiating_entity`: who made it happen.
    pub initiating_entity: Option<InitiatingEntity>,
    /// `reason_admin`: why, for administrators.
    pub reason_admin: Option<Reasons>,
    /// `reason_user`: why, for the user.
    pub reason_user: Option<Reasons>,
    /// `subject`: where older transmitters repeat what `sub_id` says (SSF 1.0 §3.1.1).
    pub subject: Option<SubjectId>,
}

const COMMON_RULE: &str = "CAEP 1.0 §2";

impl Common {
    fn read(members: &Borrowed<'_>, findings: &mut Findings) -> Result<Self, ()> {
        findings.check(COMMON_RULE);
        Ok(Self {
            event_timestamp: optional(members, "event_timestamp", COMMON_RULE, findings)?,
            initiating_entity: optional(members, "initiating_entity", COMMON_RULE, findings)?,
            reason_admin: optional(members, "reason_admin", COMMON_RULE, findings)?,
            reason_user: optional(members, "reason_user", COMMON_RULE, findings)?,
            subject: optional(members, "subject", "SSF 1.0 §3.1.1", findings)?,
        })
    }

    fn forget(&self, members: &mut Borrowed<'_>) {
        for name in [
            "event_timestamp",
            "initiating_entity",
            "reason_admin",
            "reason_user",
            "subject",
        ] {
            members.take(name);
        }
    }

    fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        if let Some(time) = &self.event_timestamp {
            map.serialize_entry("event_timestamp", time)?;
        }
        if let Some(entity) = &self.initiating_entity {
            map.serialize_entry("initiating_entity", entity)?;
        }
        if let Some(reasons) = &self.reason_admin {
            map.serialize_entry("reason_admin", reasons)?;
        }
        if let Some(reasons) = &self.reason_user {
            map.serialize_entry("reason_user", reasons)?;
        }
        if let Some(subject) = &self.subject {
            map.serialize_entry("subject", subject)?;
        }
        Ok(())
    }
}

/// Reads a member that must be there.
fn required<T: Value>(
    members: &Borrowed<'_>,
    name: &str,
    rule: &'static str,
    findings: &mut Findings,
) -> Option<T> {
    let read = optional(members, name, rule, findings).ok()?;
    if read.is_none() {
        findings.violation(rule, name, "is missing");
    }
    read
}

/// Reads a member that may be there. What is there and cannot be read is a violation, and an error.
fn optional<T: Value>(
    members: &Borrowed<'_>,
    name: &str,
    rule: &'static str,
    findings: &mut Findings,
) -> Result<Option<T>, ()> {
    let Some(json) = members.get(name) else {
        return Ok(None);
    };
    match T::read(json) {
        Ok(value) => {
            if let Some((severity, problem)) = value.doubt() {
                findings.add(severity, rule, name, problem);
            }
            Ok(Some(value))
        }
        Err(problem) => {
            findings.violation(rule, name, problem);
            Err(())
        }
    }
}
