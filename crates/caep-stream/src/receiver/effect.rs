//! `EffectPolicy`: what an event voids: sessions, what a subject was issued until then, tokens,
//! certificates.

mod name;
mod plan;
mod serial;
mod target;

pub(crate) use plan::{Plan, family_of};
pub use target::{VoidTarget, Voided};

use std::fmt;
use std::time::Duration;

use caep_set::{Event, SubjectId};

use name::Name;
use serial::Digits;

/// What the events of one transmitter void, and for how long.
///
/// | event | voids |
/// |---|---|
/// | `session-revoked` with a `session` | that session |
/// | `session-revoked` of a user, application or device; RISC `sessions-revoked`, `account-disabled`, `account-purged`, `credential-compromise`; SCIM `deactivate`, `delete` | what the subject was issued until it happened |
/// | `credential-change` (`revoke`, `delete`) of `x509` | the certificate, by `x509_issuer` and `x509_serial`, or by `x5t#S256` |
/// | `credential-change` (`revoke`, `delete`, `update`) of anything else | what the subject was issued until it happened |
/// | of a `jwt_id` | that token |
/// | all others | nothing: they are told to the application |
///
/// A subject is never widened. One with parts that together name less than any of them (a user **on** a
/// device, a user **in** a tenant), a group, an address that is in no token: what these stand for is known
/// to the application alone, and it says so through [`ResolveSubject`]. Where it does not, nothing is
/// voided, and [`crate::receiver::Outcome::NoMatch`] says that loudly.
///
/// What was issued **at** the second when it happened is void as well: better one login too many.
#[derive(Clone)]
pub struct EffectPolicy {
    token_issuer: Option<Box<str>>,
    credential_life: Duration,
    session_life: Duration,
    certificate_life: Duration,
    margin: Duration,
    certificate_issuers: Vec<(Name, Box<[u8]>)>,
    digits: Digits,
}

/// Why certificates of an issuer cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not the DER of a `Name` of at most 4096 bytes")]
pub struct NameError;

/// Finds what the application knows about a subject that tokens and certificates do not name.
///
/// Say what the subject means **exactly**: of a complex one, what matches all its parts
/// ([`caep_set::Matching`]). An empty answer means that there is nothing of the kind.
pub trait ResolveSubject: Send + Sync {
    /// What `event` about `subject`, of the transmitter `issuer`, voids.
    fn resolve(&self, issuer: &str, subject: &SubjectId, event: &Event) -> Vec<VoidTarget>;
}

impl EffectPolicy {
    /// Tokens live for a day at most, sessions for a month, certificates for 398 days.
    pub fn new() -> Self {
        const DAY: u64 = 86_400;
        Self {
            token_issuer: None,
            credential_life: Duration::from_secs(DAY),
            session_life: Duration::from_secs(30 * DAY),
            certificate_life: Duration::from_secs(398 * DAY),
            margin: Duration::ZERO,
            certificate_issuers: Vec::new(),
            digits: Digits::Decimal,
        }
    }

    /// Whose tokens have the `sid` and `sub` that an `opaque` subject names; the transmitter's own,
    /// unless it is said here.
    #[must_use]
    pub fn with_token_issuer(mut self, issuer: &str) -> Self {
        self.token_issuer = Some(Box::from(issuer));
        self
    }

    /// How long after it was issued the longest-lived token expires. A revocation that is forgotten
    /// earlier lets it in again.
    #[must_use]
    pub fn with_credential_life(mut self, life: Duration) -> Self {
        self.credential_life = life;
        self
    }

    /// How long after it is revoked a session's last token expires.
    #[must_use]
    pub fn with_session_life(mut self, life: Duration) -> Self {
        self.session_life = life;
        self
    }

    /// How long after it is revoked a certificate expires.
    #[must_use]
    pub fn with_certificate_life(mut self, life: Duration) -> Self {
        self.certificate_life = life;
        self
    }

    /// By how much the clock that issues tokens may be ahead of the transmitter's: what was issued so
    /// long after the event is void as well.
    #[must_use]
    pub fn with_margin(mut self, margin: Duration) -> Self {
        self.margin = margin;
        self
    }

    /// Certificates of this issuer can be revoked by `x509_issuer` and `x509_serial`, however these are
    /// written. `der` is the DER of its `Name`, as certificates have it.
    ///
    /// # Errors
    ///
    /// [`NameError`].
    pub fn with_certificate_issuer(mut self, der: &[u8]) -> Result<Self, NameError> {
        let name = Name::from_der(der).ok_or(NameError)?;
        self.certificate_issuers.push((name, Box::from(der)));
        Ok(self)
    }

    /// The transmitter means `10` in `x509_serial` to be sixteen. Without this it is ten, and only what
    /// has a letter, a colon or `0x` is hexadecimal.
    #[must_use]
    pub fn with_hexadecimal_serials(mut self) -> Self {
        self.digits = Digits::Hexadecimal;
        self
    }
}

impl Default for EffectPolicy {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for EffectPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EffectPolicy")
            .field("token_issuer", &self.token_issuer)
            .field("credential_life", &self.credential_life)
            .field("session_life", &self.session_life)
            .field("certificate_life", &self.certificate_life)
            .field("certificate_issuers", &self.certificate_issuers.len())
            .finish_non_exhaustive()
    }
}
