//! `SetVerifier`: from bytes that somebody sent to a SET whose sender is known.

mod error;

pub use error::{ErrorCode, SetError};

use std::fmt;

use m2m_token::{
    Audience, Issuers, PolicyError, Scratch, TokenType, Unverified, Verifier, VerifyError,
};
use m2m_types::Timestamp;

use crate::finding::Finding;
use crate::profile::Profile;
use crate::reading::{Reading, Verdict};
use crate::token::SecurityEventToken;

/// The media type of a SET (RFC 8417 §7.2), as it stands in `typ`.
pub const SET_TYPE: &str = "secevent+jwt";

/// Verifies SETs: of these transmitters, for this receiver, by the rules of one dialect.
///
/// Whatever is not a SET is refused, also with the right key and audience: an access token has another
/// `typ` and no `events`, and [`m2m_token::TokenType::access_token`] refuses a SET in turn.
///
/// ```
/// use caep_set::{Profile, SetVerifier};
/// use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
/// use m2m_token::{Audience, Issuers, KeySet, Scratch};
/// use m2m_types::Timestamp;
///
/// # let public = SigningKey::generate(Algorithm::Es256, &SystemRandom)?.verifying_key().clone();
/// let keys = KeySet::new().with_key("2026-11", public)?;
/// let verifier = SetVerifier::new(
///     Issuers::one("https://transmitter.example", keys),
///     Audience::exactly("https://receiver.example"),
///     Profile::ssf(),
/// )?;
/// let now = Timestamp::from_unix_seconds(1_790_000_000)?;
/// let refused = verifier.verify("no.such.token", now, &mut Scratch::new()).unwrap_err();
/// assert_eq!(refused.code().as_str(), "invalid_request");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SetVerifier {
    verifier: Verifier,
    profile: Profile,
}

impl SetVerifier {
    /// Takes the SETs of `transmitters`, meant for `receiver`, by the rules of `profile`.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] if what was said contradicts itself.
    pub fn new(
        transmitters: Issuers,
        receiver: Audience,
        profile: Profile,
    ) -> Result<Self, PolicyError> {
        let token_type = match profile.dialect.allows_untyped() {
            // The type is looked at below.
            true => TokenType::danger_ignored(),
            false => TokenType::named(SET_TYPE),
        };
        // A SET states what happened, and that does not expire (RFC 8417 §2.2).
        let verifier = Verifier::builder(transmitters, receiver, token_type)
            .danger_accepting_no_expiry()
            .with_leeway(profile.leeway)
            .with_required_claim("jti")
            .with_required_claim("iat")
            .with_required_claim("events")
            .build()?;
        Ok(Self { verifier, profile })
    }

    /// The rules that SETs are judged by.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Checks who made a SET, for whom, and reads it, as of `now`.
    ///
    /// This is the first of two verdicts: *authentic*. What comes out may still break the rules of its
    /// dialect; [`AuthenticSet::conforming`] is the second.
    ///
    /// # Errors
    ///
    /// [`SetError`], which has the code to answer with (RFC 8935 §2.4).
    pub fn verify(
        &self,
        set: &str,
        now: Timestamp,
        scratch: &mut Scratch,
    ) -> Result<AuthenticSet, SetError> {
        if self.profile.dialect.allows_untyped() {
            let unverified = Unverified::danger_decode(set, scratch)?;
            let named = |name: &str| {
                let subtype = name.rsplit_once('/').map_or(name, |(_, subtype)| subtype);
                subtype.eq_ignore_ascii_case(SET_TYPE) || subtype.eq_ignore_ascii_case("JWT")
            };
            if !unverified.token_type().is_none_or(named) {
                return Err(SetError::Type);
            }
        }
        let verified = self.verifier.verify(set, now, scratch)?;
        let reading = Reading::of_verified(&verified.claims(), &self.profile, now);
        Ok(AuthenticSet {
            reading,
            compact: Box::from(set),
        })
    }
}

impl fmt::Debug for SetVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetVerifier")
            .field("verifier", &self.verifier)
            .field("profile", &self.profile)
            .finish()
    }
}

/// A SET that its transmitter made, for us. Only [`SetVerifier::verify`] makes one.
///
/// Whether it keeps the rules is another question: see [`AuthenticSet::conforming`].
#[derive(Clone)]
pub struct AuthenticSet {
    reading: Reading,
    compact: Box<str>,
}

impl AuthenticSet {
    /// What is to be done with it.
    pub fn verdict(&self) -> Verdict {
        self.reading.verdict()
    }

    /// What it says; `None` if so much is missing that it says nothing.
    pub fn token(&self) -> Option<&SecurityEventToken> {
        self.reading.token()
    }

    /// The rules that it bends or breaks.
    pub fn findings(&self) -> &[Finding] {
        self.reading.findings()
    }

    /// The SET as it was sent, to be kept.
    pub fn compact(&self) -> &str {
        &self.compact
    }

    /// The second verdict: it is authentic and keeps the rules, so that it may be acted upon.
    ///
    /// # Errors
    ///
    /// [`NonConforming`] if it breaks a rule, or is to be discarded.
    pub fn conforming(self) -> Result<ConformingSet, NonConforming> {
        let verdict = self.verdict();
        let (token, findings) = self.reading.into_parts();
        match (verdict, token) {
            (Verdict::Conforming, Some(token)) => Ok(ConformingSet { token }),
            _ => Err(NonConforming { verdict, findings }),
        }
    }
}

impl fmt::Debug for AuthenticSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AuthenticSet").field(&self.reading).finish()
    }
}

/// A SET that its transmitter made, for us, and that keeps the rules. Holding one is the proof.
///
/// ```compile_fail,E0451
/// # // nobody makes one but a verifier
/// fn forge(token: caep_set::SecurityEventToken) -> caep_set::ConformingSet {
///     caep_set::ConformingSet { token }
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ConformingSet {
    token: SecurityEventToken,
}

impl ConformingSet {
    /// What it says.
    pub fn token(&self) -> &SecurityEventToken {
        &self.token
    }

    /// Takes what it says; the proof is gone then.
    pub fn into_token(self) -> SecurityEventToken {
        self.token
    }
}

/// An authentic SET that is not to be acted upon.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct NonConforming {
    verdict: Verdict,
    findings: Vec<Finding>,
}

impl NonConforming {
    /// [`Verdict::Discard`] if it is to be acknowledged all the same.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The rules that it bends or breaks.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    fn text(&self) -> String {
        if self.verdict == Verdict::Discard {
            return "a critical part of the subject is not understood (SSF 1.0 §3.6)".to_owned();
        }
        let mut findings = self.findings.iter();
        let broken = findings.find(|finding| finding.severity() == crate::Severity::Violation);
        broken.map_or_else(|| "it breaks a rule".to_owned(), ToString::to_string)
    }
}

impl From<VerifyError> for SetError {
    fn from(error: VerifyError) -> Self {
        Self::Token(error)
    }
}
