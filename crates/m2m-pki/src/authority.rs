//! `Authority`: a CA's certificate and its key, here or elsewhere.

mod encode;
mod error;
mod issued;
mod prepared;

pub use error::{IssueError, LoadError};
pub use issued::Issued;
pub use prepared::Prepared;

use std::fmt;
use std::time::Duration;

use m2m_crypto::{SecureRandom, SigningKey};
use m2m_types::{ServiceId, Timestamp};

use crate::profile::Kind;
use crate::{Approved, Certificate, KeyAlgorithm, Profile, PublicKey, Serial, key};
use encode::{Draft, IssuerName};

/// A certification authority: signs what was [`Approved`].
///
/// What it signs is not released by it: see [`Ledger::record`](crate::Ledger::record).
pub struct Authority {
    certificate: Certificate,
    public_key: PublicKey,
    signing_key: Option<SigningKey>,
    key_id: Box<[u8]>,
}

impl Authority {
    /// How far `notBefore` lies before the moment of issuing, for verifiers whose clocks are behind.
    /// Never before the issuer's own `notBefore`.
    pub const BACKDATE: Duration = Duration::from_secs(60);

    /// An authority that signs with `key` and is known by `certificate`.
    ///
    /// # Errors
    ///
    /// [`LoadError`], unless the certificate is a CA's with `keyCertSign` and a
    /// `subjectKeyIdentifier`, and for this key.
    pub fn load(certificate: Certificate, key: SigningKey) -> Result<Self, LoadError> {
        let mut authority = Self::load_external(certificate)?;
        if PublicKey::of(&key)? != authority.public_key {
            return Err(LoadError::OtherKey {
                serial: authority.certificate.serial().clone(),
            });
        }
        authority.signing_key = Some(key);
        Ok(authority)
    }

    /// An authority whose key is elsewhere: it prepares certificates, and whoever has the key signs.
    ///
    /// # Errors
    ///
    /// As [`Authority::load`].
    pub fn load_external(certificate: Certificate) -> Result<Self, LoadError> {
        let usage = certificate.key_usage();
        if !certificate.is_ca() || !usage.is_some_and(|usage| usage.key_cert_sign()) {
            return Err(LoadError::NotAuthority {
                is_ca: certificate.is_ca(),
            });
        }
        let public_key = certificate.public_key()?;
        let algorithm = public_key.algorithm();
        if algorithm == KeyAlgorithm::Rsa {
            return Err(LoadError::KeyAlgorithm { algorithm });
        }
        if certificate.subject_der() == [0x30, 0] {
            return Err(LoadError::Unnamed);
        }
        let key_id = certificate.subject_key_id().ok_or(LoadError::KeyId)?.into();
        Ok(Self {
            certificate,
            public_key,
            signing_key: None,
            key_id,
        })
    }

    /// Signs the certificate of a root with its own `key`. `holder` is whom the ledger notes.
    ///
    /// # Errors
    ///
    /// [`IssueError`].
    pub fn create_root(
        profile: &Profile,
        holder: &ServiceId,
        key: &SigningKey,
        lifetime: Duration,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Issued, IssueError> {
        let public_key = PublicKey::of(key)?;
        let prepared = Self::prepare_root(profile, holder, public_key, lifetime, now, random)?;
        sign(key, prepared)
    }

    /// [`Authority::create_root`] for a key that is elsewhere.
    ///
    /// # Errors
    ///
    /// [`IssueError`].
    pub fn prepare_root(
        profile: &Profile,
        holder: &ServiceId,
        key: PublicKey,
        lifetime: Duration,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Prepared, IssueError> {
        if profile.kind != Kind::Root {
            return Err(IssueError::Profile {
                name: profile.name.clone(),
            });
        }
        let approved = profile.approve_key(key.clone(), holder, lifetime)?;
        let not_after = now
            .checked_add(lifetime)
            .ok_or(IssueError::Overflow { now })?;
        let key_id = key.key_identifier();
        Draft {
            approved: &approved,
            issuer: IssuerName::Itself,
            issuer_key: &key,
            issuer_key_id: &key_id,
            issuer_id: None,
            serial: Serial::random(random)?,
            not_before: now.saturating_sub(Self::BACKDATE),
            not_after,
        }
        .prepare()
    }

    /// Signs what was approved, a machine's certificate or an intermediate's, as of `now`.
    ///
    /// Its lifetime is as approved, or it is not issued: never cut to what the issuer has left, since
    /// whoever plans a renewal would not notice.
    ///
    /// # Errors
    ///
    /// [`IssueError`]; [`IssueError::KeyElsewhere`] if this authority does not have its key here.
    pub fn issue(
        &self,
        approved: Approved,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Issued, IssueError> {
        let key = self.signing_key.as_ref().ok_or(IssueError::KeyElsewhere)?;
        sign(key, self.prepare(approved, now, random)?)
    }

    /// The first half of [`Authority::issue`]: everything but the signature, which a KMS, an HSM or
    /// another process then makes over [`Prepared::signing_input`].
    ///
    /// # Errors
    ///
    /// [`IssueError`].
    pub fn prepare(
        &self,
        approved: Approved,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Prepared, IssueError> {
        let (not_before, issuer_not_after) =
            (self.certificate.not_before(), self.certificate.not_after());
        if !self.certificate.is_valid_at(now) {
            return Err(IssueError::NotCurrent {
                now,
                not_before,
                not_after: issuer_not_after,
            });
        }
        if approved.key == self.public_key {
            return Err(IssueError::OwnKey);
        }
        if let Kind::Intermediate { path_len } = approved.profile.kind
            && let Some(limit) = self.certificate.path_len()
            && limit <= u32::from(path_len)
        {
            return Err(IssueError::PathLength { path_len, limit });
        }
        let not_after = now
            .checked_add(approved.lifetime)
            .ok_or(IssueError::Overflow { now })?;
        if not_after > issuer_not_after {
            return Err(IssueError::BeyondIssuer {
                not_after,
                issuer_not_after,
            });
        }
        Draft {
            approved: &approved,
            issuer: IssuerName::Der(self.certificate.subject_der()),
            issuer_key: &self.public_key,
            issuer_key_id: &self.key_id,
            issuer_id: self.certificate.id(),
            serial: Serial::random(random)?,
            not_before: now.saturating_sub(Self::BACKDATE).max(not_before),
            not_after,
        }
        .prepare()
    }

    /// Its certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The key its signatures are checked with.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// Its `subjectKeyIdentifier`, which its certificates have as `authorityKeyIdentifier`.
    pub fn key_id(&self) -> &[u8] {
        &self.key_id
    }
}

fn sign(key: &SigningKey, prepared: Prepared) -> Result<Issued, IssueError> {
    let signature = key::sign(key, prepared.signing_input()).ok_or(IssueError::Sign)?;
    prepared.put_together(&signature)
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("certificate", &self.certificate)
            .field("public_key", &self.public_key)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
