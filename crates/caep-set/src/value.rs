//! What members of events are made of: texts, words from a list, times, reasons.

use std::borrow::Cow;
use std::fmt;

use m2m_types::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::Number;

use crate::finding::Severity;
use crate::members::{Json, Members};

/// What can be the value of a member.
pub(crate) trait Value: Sized + Serialize {
    /// Reads JSON.
    ///
    /// # Errors
    ///
    /// What it is not.
    fn read(json: Json<'_>) -> Result<Self, &'static str>;

    /// What is odd about a value that has the right type.
    fn doubt(&self) -> Option<(Severity, &'static str)> {
        None
    }
}

/// The longest text that is read into a member. What people are to read is shorter.
const MAX_TEXT: usize = 4096;

impl Value for Box<str> {
    fn read(json: Json<'_>) -> Result<Self, &'static str> {
        text(json).map(Cow::into_owned).map(String::into_boxed_str)
    }
}

/// The text that a JSON string stands for; where it stands, if it has no escapes.
pub(crate) fn text(json: Json<'_>) -> Result<Cow<'_, str>, &'static str> {
    let json = json.get();
    let plain = json
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let is_plain = |text: &&str| {
        let special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
        !text
            .bytes()
            .fold(false, |found, byte| found | special(byte))
    };
    let text = match plain.filter(is_plain) {
        Some(text) => Cow::Borrowed(text),
        None => serde_json::from_str(json).map_err(|_| "is not a string")?,
    };
    match text.len() {
        0..=MAX_TEXT => Ok(text),
        _ => Err("is longer than 4096 bytes"),
    }
}

impl Value for Vec<Box<str>> {
    fn read(json: Json<'_>) -> Result<Self, &'static str> {
        serde_json::from_str(json.get()).map_err(|_| "is not an array of strings")
    }
}

impl Value for Members {
    fn read(json: Json<'_>) -> Result<Self, &'static str> {
        Self::from_json(json.get()).map_err(|_| "is not an object")
    }
}

/// A moment as events give it: a JSON number of seconds since 1970 (CAEP 1.0 §2).
///
/// Some transmitters send milliseconds; what no clock shows in seconds is taken for them and reported as
/// a slip. The number itself goes out as it came in.
///
/// ```
/// use caep_set::EventTime;
/// use m2m_types::Timestamp;
///
/// let time = EventTime::from(Timestamp::from_unix_seconds(1_790_000_000)?);
/// assert_eq!(time.timestamp(), Some(Timestamp::from_unix_seconds(1_790_000_000)?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTime(Number);

/// Beyond this, a number is milliseconds: it is the year 5138 in seconds, and 1973 in milliseconds.
const MILLISECONDS_FROM: f64 = 1e11;

impl EventTime {
    /// The second it names; `None` if it is before 1970 or after the year 9999.
    pub fn timestamp(&self) -> Option<Timestamp> {
        let seconds = match (self.0.as_u64(), self.0.as_f64()) {
            (Some(number), _) if !self.is_in_milliseconds() => number,
            (Some(number), _) => number / 1000,
            // Fractions of seconds are cut off. `as` saturates.
            (None, Some(number)) if number >= 0.0 && self.is_in_milliseconds() => {
                (number / 1000.0) as u64
            }
            (None, Some(number)) if number >= 0.0 => number as u64,
            _ => return None,
        };
        Timestamp::from_unix_seconds(seconds).ok()
    }

    /// Whether it is so large that it must be meant in milliseconds.
    pub fn is_in_milliseconds(&self) -> bool {
        self.0
            .as_f64()
            .is_some_and(|number| number > MILLISECONDS_FROM)
    }
}

impl From<Timestamp> for EventTime {
    fn from(time: Timestamp) -> Self {
        Self(Number::from(time.unix_seconds()))
    }
}

impl Serialize for EventTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl Value for EventTime {
    fn read(json: Json<'_>) -> Result<Self, &'static str> {
        serde_json::from_str(json.get())
            .map(Self)
            .map_err(|_| "is not a number")
    }

    fn doubt(&self) -> Option<(Severity, &'static str)> {
        if self.timestamp().is_none() {
            return Some((Severity::Violation, "is no time between 1970 and 9999"));
        }
        self.is_in_milliseconds()
            .then_some((Severity::Advice, "is in milliseconds, not in seconds"))
    }
}

/// Why something happened, in words, in one or more languages (CAEP 1.0 §2: `reason_admin`,
/// `reason_user`).
///
/// ```
/// use caep_set::Reasons;
///
/// let reasons = Reasons::in_language("en", "landspeed policy violated").and("de", "zu schnell gereist");
/// assert_eq!(reasons.get("de"), Some("zu schnell gereist"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reasons(Vec<(Box<str>, Box<str>)>);

impl Reasons {
    /// One, in the language with this BCP 47 tag.
    pub fn in_language(tag: &str, text: &str) -> Self {
        Self(Vec::new()).and(tag, text)
    }

    /// A further language; the same one again is replaced.
    #[must_use]
    pub fn and(mut self, tag: &str, text: &str) -> Self {
        self.0.retain(|(known, _)| &**known != tag);
        self.0.push((Box::from(tag), Box::from(text)));
        self
    }

    /// The text in the language with this tag.
    pub fn get(&self, tag: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| &**known == tag);
        found.map(|(_, text)| &**text)
    }

    /// All of them: tag and text.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(tag, text)| (&**tag, &**text))
    }
}

impl Serialize for Reasons {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl Value for Reasons {
    fn read(json: Json<'_>) -> Result<Self, &'static str> {
        let members = json
            .members()
            .ok_or("is not an object of languages and texts")?;
        if members.is_empty() {
            return Err("is empty");
        }
        let texts = members.into_list().into_iter().map(|(tag, json)| {
            let text = Box::read(json).map_err(|_| "has a text that is not a string")?;
            Ok((Box::from(tag), text))
        });
        texts.collect::<Result<_, _>>().map(Self)
    }
}

/// A word from a list that a standard gives, or another one.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $other:expr, { $($(#[$word_doc:meta])* $word:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[non_exhaustive]
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$word_doc])* $word,)+
            /// A word that is not in the standard.
            Other(Box<str>),
        }

        impl $name {
            /// The word as it is written.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$word => $text,)+
                    Self::Other(text) => text,
                }
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                match text {
                    $($text => Self::$word,)+
                    _ => Self::Other(Box::from(text)),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl Value for $name {
            fn read(json: Json<'_>) -> Result<Self, &'static str> {
                text(json).map(|text| Self::from(&*text))
            }

            fn doubt(&self) -> Option<(Severity, &'static str)> {
                match self {
                    Self::Other(_) => $other,
                    _ => None,
                }
            }
        }
    };
}

/// The list is closed: another word breaks a rule.
const CLOSED: Option<(Severity, &str)> = Some((
    Severity::Violation,
    "is none of the words that the standard lists",
));
/// The list is open: other words are by agreement.
const OPEN: Option<(Severity, &str)> = None;

words! {
    /// Who made it happen (CAEP 1.0 §2).
    InitiatingEntity, CLOSED, {
        /// An administrator.
        Admin = "admin",
        /// The user.
        User = "user",
        /// A rule.
        Policy = "policy",
        /// The system itself.
        System = "system",
    }
}

words! {
    /// What kind of credential (CAEP 1.0 §3.3, RISC 1.0 §2.7). Further ones by agreement.
    CredentialType, OPEN, {
        /// A password.
        Password = "password",
        /// A PIN.
        Pin = "pin",
        /// An X.509 certificate.
        X509 = "x509",
        /// A FIDO2 authenticator of the platform.
        Fido2Platform = "fido2-platform",
        /// A FIDO2 authenticator that is carried around.
        Fido2Roaming = "fido2-roaming",
        /// A FIDO U2F authenticator.
        FidoU2f = "fido-u2f",
        /// A verifiable credential.
        VerifiableCredential = "verifiable-credential",
        /// A number that is called.
        PhoneVoice = "phone-voice",
        /// A number that is sent messages.
        PhoneSms = "phone-sms",
        /// An application.
        App = "app",
    }
}

words! {
    /// What happened to a credential (CAEP 1.0 §3.3).
    ChangeType, CLOSED, {
        /// It was made.
        Create = "create",
        /// It was revoked.
        Revoke = "revoke",
        /// It was changed.
        Update = "update",
        /// It was deleted.
        Delete = "delete",
    }
}

words! {
    /// In which scale a level of assurance is given (CAEP 1.0 §3.4). Further ones by agreement.
    AssuranceNamespace, OPEN, {
        /// Authentication methods of RFC 8176.
        Rfc8176 = "RFC8176",
        /// Levels registered by RFC 6711.
        Rfc6711 = "RFC6711",
        /// ISO/IEC 29115.
        IsoIec29115 = "ISO-IEC-29115",
        /// NIST SP 800-63A, identity.
        NistIal = "NIST-IAL",
        /// NIST SP 800-63B, authentication.
        NistAal = "NIST-AAL",
        /// NIST SP 800-63C, federation.
        NistFal = "NIST-FAL",
    }
}

words! {
    /// Whether more or less is assured than before (CAEP 1.0 §3.4).
    ChangeDirection, CLOSED, {
        /// More.
        Increase = "increase",
        /// Less.
        Decrease = "decrease",
    }
}

words! {
    /// Whether a device keeps the rules (CAEP 1.0 §3.5).
    ComplianceStatus, CLOSED, {
        /// It does.
        Compliant = "compliant",
        /// It does not.
        NotCompliant = "not-compliant",
    }
}

words! {
    /// How risky something is (CAEP 1.0 §3.8).
    RiskLevel, CLOSED, {
        /// Low.
        Low = "LOW",
        /// Medium.
        Medium = "MEDIUM",
        /// High.
        High = "HIGH",
    }
}

words! {
    /// What is at risk (CAEP 1.0 §3.8), a kind of subject of SSF 1.0 §2. Further ones by agreement.
    Principal, OPEN, {
        /// A user.
        User = "USER",
        /// A device.
        Device = "DEVICE",
        /// A session.
        Session = "SESSION",
        /// A tenant.
        Tenant = "TENANT",
        /// A part of an organisation.
        OrgUnit = "ORG_UNIT",
        /// A group.
        Group = "GROUP",
    }
}

words! {
    /// Why an account was disabled (RISC 1.0 §2.3).
    DisabledReason, Some((Severity::Advice, "is none of the words that the standard lists")), {
        /// It was taken over.
        Hijacking = "hijacking",
        /// It was made in bulk.
        BulkAccount = "bulk-account",
    }
}

words! {
    /// The state of a stream (SSF 1.0 §8.1.2).
    StreamStatus, CLOSED, {
        /// Events are sent.
        Enabled = "enabled",
        /// Events are held.
        Paused = "paused",
        /// Events are neither sent nor held.
        Disabled = "disabled",
    }
}
