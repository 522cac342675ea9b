//! `Invitation`: lets one machine join once, from afar, over whatever network lies between.
//!
//! ```text
//! issuer ── invitation: code, root, URLs ─▶ operator ─▶ service         (out of band: it is a secret)
//! service ── id of the code, CSR, MAC under the code over both ─▶ issuer: unused? in time? spends it, then signs
//! service ◀── chain, CRL ── issuer                                      checked by the root of the invitation
//! ```
//!
//! The code itself is not sent. Whoever is on the way can neither join in the place of the service, since the
//! MAC is over the key that joins, nor pass for the issuer, since the answer holds by its root or not at all.
//! So a request to join needs no TLS, which a machine without a certificate could not speak here anyway.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use m2m_crypto::{SecretBytes, SecureRandom, sha256};
use m2m_pki::{Certificate, UnverifiedCsr, VerifiedCsr};
use m2m_secrets::{Purpose, PurposeKey, SharedSecret};
use m2m_store::Expected;
use m2m_types::{ServiceId, Timestamp};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::error::RuntimeError;
use super::records::{Records, RecordsError};

const SPACE: &str = "runtime-invitation";
const PREFIX: &str = "m2m-invitation-1.";
/// For what codes are keys.
const PURPOSE: &str = "m2m/join/1";
/// Longer ones are none: two URLs, two names and a certificate fit.
const MAX_BYTES: usize = 16 << 10;

/// Lets one machine join once. **It is a secret** until it is used: whoever has it can join in the place of
/// that machine.
pub struct Invitation {
    facts: Facts,
    service: ServiceId,
    issuer: ServiceId,
    root: Certificate,
    code: SharedSecret,
}

/// Where the endpoints of an issuer are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerUrls {
    join: Box<str>,
    members: Box<str>,
}

impl IssuerUrls {
    /// Machines join at `join`, which may be `http`, and renew and get tokens at `members`, `https` by the
    /// issuer's own certificate: the URLs that [`IssuerEndpoints`](super::IssuerEndpoints) are reached at, each
    /// without the last segment.
    pub fn new(join: &str, members: &str) -> Self {
        Self {
            join: join.trim_end_matches('/').into(),
            members: members.trim_end_matches('/').into(),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    service: Box<str>,
    issuer: Box<str>,
    iss: Box<str>,
    join: Box<str>,
    members: Box<str>,
    expires: u64,
    root: Box<str>,
    #[serde(with = "wiped")]
    code: Zeroizing<String>,
}

/// What the issuer keeps of an invitation, by the id of its code.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    service: Box<str>,
    expires: u64,
    #[serde(with = "wiped")]
    code: Zeroizing<String>,
}

/// What a service sends to join.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JoinRequest {
    invitation: String,
    csr: String,
    tag: String,
}

/// Why a request to join was not followed: for operators. Who asks is told that it was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum JoinRefused {
    #[error("it is not a request to join")]
    Form,
    #[error("there is no such invitation: it was used, or has expired, or never was")]
    Unknown,
    #[error("the request was not made with the code of its invitation")]
    Tag,
    #[error("somebody else used the invitation at that very moment")]
    Raced,
    #[error("{0}")]
    Records(RecordsError),
}

impl Invitation {
    /// Makes one, and keeps what the issuer needs to know it by.
    pub(super) async fn make(
        records: &Records,
        (iss, issuer): (&str, &ServiceId),
        (service, urls): (&ServiceId, &IssuerUrls),
        root: &Certificate,
        expires: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Self, RuntimeError> {
        let code = SharedSecret::generate(random)?;
        let text = Zeroizing::new(BASE64URL.encode(code.expose_secret().expose_secret()));
        let kept = Kept {
            service: service.as_str().into(),
            expires: expires.unix_seconds(),
            code: text.clone(),
        };
        let value = serde_json::to_vec(&kept).map_err(RecordsError::made)?;
        let id = id_of(&code);
        records
            .write(SPACE, id.as_bytes(), None, value, random)
            .await?;
        Ok(Self {
            facts: Facts {
                service: service.as_str().into(),
                issuer: issuer.as_str().into(),
                iss: iss.into(),
                join: urls.join.clone(),
                members: urls.members.clone(),
                expires: expires.unix_seconds(),
                root: BASE64URL.encode(root.der()).into(),
                code: text,
            },
            service: service.clone(),
            issuer: issuer.clone(),
            root: root.clone(),
            code,
        })
    }

    /// Reads what [`Invitation::expose_secret`] gave.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::Invitation`].
    pub fn parse(text: &str) -> Result<Self, RuntimeError> {
        Self::read(text).ok_or(RuntimeError::Invitation)
    }

    fn read(text: &str) -> Option<Self> {
        let encoded = text.trim().strip_prefix(PREFIX)?;
        if encoded.len() > MAX_BYTES {
            return None;
        }
        let json = Zeroizing::new(BASE64URL.decode(encoded).ok()?);
        let facts: Facts = serde_json::from_slice(&json).ok()?;
        let code = SecretBytes::new(BASE64URL.decode(facts.code.as_bytes()).ok()?);
        Some(Self {
            service: facts.service.parse().ok()?,
            issuer: facts.issuer.parse().ok()?,
            root: Certificate::from_der(&BASE64URL.decode(facts.root.as_bytes()).ok()?).ok()?,
            code: SharedSecret::new(code).ok()?,
            facts,
        })
    }

    /// One line to give to the machine that is invited, as secretly as a password.
    pub fn expose_secret(&self) -> Zeroizing<String> {
        let json = Zeroizing::new(serde_json::to_vec(&self.facts).unwrap_or_default());
        Zeroizing::new(format!("{PREFIX}{}", BASE64URL.encode(&*json)))
    }

    /// Who is invited.
    pub fn service_id(&self) -> &ServiceId {
        &self.service
    }

    /// From when on it is refused.
    pub fn expires_at(&self) -> Timestamp {
        Timestamp::from_unix_seconds(self.facts.expires).unwrap_or(Timestamp::MIN)
    }

    pub(super) fn issuer(&self) -> &ServiceId {
        &self.issuer
    }

    pub(super) fn iss(&self) -> &str {
        &self.facts.iss
    }

    pub(super) fn root(&self) -> &Certificate {
        &self.root
    }

    pub(super) fn join_url(&self) -> &str {
        &self.facts.join
    }

    pub(super) fn members_url(&self) -> &str {
        &self.facts.members
    }

    /// What is sent to join with the key of `csr`.
    pub(super) fn request(&self, csr: &[u8]) -> Result<JoinRequest, RuntimeError> {
        let invitation = id_of(&self.code);
        let tag = key_of(&self.code)?.sign(&[invitation.as_bytes(), csr]);
        Ok(JoinRequest {
            csr: BASE64URL.encode(csr),
            tag: BASE64URL.encode(tag.map_err(RuntimeError::issuer)?),
            invitation,
        })
    }
}

impl JoinRequest {
    /// Whose request it is, and the request; its invitation is spent when this returns, and works no more,
    /// whatever happens next.
    pub(super) async fn accept(
        body: &[u8],
        records: &Records,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<(ServiceId, VerifiedCsr), JoinRefused> {
        let request: Self = serde_json::from_slice(body).map_err(|_| JoinRefused::Form)?;
        let decode = |text: &str| BASE64URL.decode(text).map_err(|_| JoinRefused::Form);
        let (csr, tag) = (decode(&request.csr)?, decode(&request.tag)?);
        let id = request.invitation.as_bytes();
        if id.len() != ID_CHARACTERS {
            return Err(JoinRefused::Form);
        }
        let record = records.read(SPACE, id).await?.ok_or(JoinRefused::Unknown)?;
        let damaged = || RecordsError::damaged(SPACE, &request.invitation);
        let kept: Kept =
            serde_json::from_slice(record.value().as_bytes()).map_err(|_| damaged())?;
        if now.unix_seconds() >= kept.expires {
            return Err(JoinRefused::Unknown);
        }
        let code = BASE64URL
            .decode(kept.code.as_bytes())
            .map_err(|_| damaged())?;
        let code = SharedSecret::new(SecretBytes::new(code)).map_err(|_| damaged())?;
        let key = key_of(&code).map_err(|_| damaged())?;
        key.verify(&[id, &csr], &tag)
            .map_err(|_| JoinRefused::Tag)?;
        // Who has the code holds the key of the request too, or joins nobody.
        let verified = UnverifiedCsr::from_der(&csr).and_then(UnverifiedCsr::verify);
        let verified = verified.map_err(|_| JoinRefused::Form)?;
        let service = kept.service.parse().map_err(|_| damaged())?;
        let place = Records::key(SPACE, id)?;
        let spent = Records::batch(random)?.delete(place, Expected::Version(record.version()));
        match records.commit(spent).await {
            Ok(_) => Ok((service, verified)),
            Err(RecordsError::Store(m2m_store::StoreError::Conflict { .. })) => {
                Err(JoinRefused::Raced)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Takes away invitations that nobody used in time.
pub(super) async fn forget_expired(
    records: &Records,
    now: Timestamp,
    random: &dyn SecureRandom,
) -> Result<(), RecordsError> {
    for record in records.all(SPACE).await? {
        let kept = serde_json::from_slice::<Kept>(record.value().as_bytes());
        // One that cannot be read can be used by nobody.
        if kept.is_ok_and(|kept| now.unix_seconds() < kept.expires) {
            continue;
        }
        let version = Expected::Version(record.version());
        let gone = Records::batch(random)?.delete(record.key().clone(), version);
        match records.commit(gone).await {
            Ok(_) | Err(RecordsError::Store(m2m_store::StoreError::Conflict { .. })) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Text that is wiped when it is dropped.
mod wiped {
    use serde::{Deserialize as _, Deserializer, Serializer};
    use zeroize::Zeroizing;

    pub(super) fn serialize<S: Serializer>(
        text: &Zeroizing<String>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(text)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(
        from: D,
    ) -> Result<Zeroizing<String>, D::Error> {
        String::deserialize(from).map(Zeroizing::new)
    }
}

/// How long an invitation is good for if nothing is said.
pub(super) const LIFETIME: Duration = Duration::from_secs(3600);

/// Sixteen bytes in base64url.
const ID_CHARACTERS: usize = 22;

/// The name of a code, from which nobody finds it.
fn id_of(code: &SharedSecret) -> String {
    let digest = sha256(&[b"m2m invitation id", code.expose_secret().expose_secret()].concat());
    BASE64URL.encode(digest.first_chunk::<16>().copied().unwrap_or_default())
}

fn key_of(code: &SharedSecret) -> Result<PurposeKey, RuntimeError> {
    let purpose = Purpose::new(PURPOSE).ok_or(RuntimeError::Invitation)?;
    PurposeKey::derive(purpose, code).map_err(RuntimeError::issuer)
}

impl From<RecordsError> for JoinRefused {
    fn from(error: RecordsError) -> Self {
        Self::Records(error)
    }
}

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invitation")
            .field("service", &self.service)
            .field("expires", &self.expires_at())
            .finish_non_exhaustive()
    }
}
