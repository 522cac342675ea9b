//! Revoking: who may, and what it does.

use std::fmt;

use m2m_store::{Batch, Expected, StoreError};
use m2m_types::{ServiceId, Timestamp};

use super::{
    Binding, CertificateId, KEYS, Ledger, LedgerError, REVOCATIONS, ROUNDS, idempotency_key,
};
use crate::profile::short;
use crate::{Rejection, RevocationReason};

/// Who wants a certificate revoked, as the caller has **authenticated** them.
#[non_exhaustive]
#[derive(Clone, Copy, Debug)]
pub enum Revoker<'a> {
    /// A machine. It may revoke its own certificates, and nobody else's.
    Holder(&'a ServiceId),
    /// Somebody who may revoke any.
    Operator(&'a Operator),
}

/// Somebody who may revoke any certificate, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator(Box<str>);

/// Why something does not name an operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an operator is named by 1 to 128 visible characters without quotes and backslashes, not by {length} bytes"
)]
pub struct OperatorError {
    length: usize,
}

/// That a certificate is revoked. There is no way back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    pub(super) id: CertificateId,
    pub(super) reason: RevocationReason,
    pub(super) revoked_at: Timestamp,
    pub(super) not_after: Timestamp,
    pub(super) by: Box<str>,
}

/// Why nothing was revoked: for operators. Who asked gets [`RevokeError::rejection`].
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevokeError {
    /// No such certificate was ever released.
    #[error("there is no certificate {serial}")]
    Unknown {
        /// Which.
        serial: crate::Serial,
    },
    /// It is not the certificate of who asked.
    #[error("{} may not revoke what is {}'s", short(asked), short(holder))]
    NotHolder {
        /// Who asked.
        asked: ServiceId,
        /// Whose it is.
        holder: ServiceId,
    },
    /// Others wrote about the same certificate or key all the time.
    #[error("the records changed {rounds} times while they were read")]
    Contended {
        /// How often it was tried.
        rounds: u32,
    },
    /// The ledger could not be read or written. **Ask again**: it may not be revoked.
    #[error("the ledger failed")]
    Ledger(#[from] LedgerError),
}

impl Ledger {
    /// Revokes a certificate, durably before this returns.
    ///
    /// Its key is void from then on, so that nobody gets another certificate for it, unless the reason
    /// says that the key is sound: `superseded` and `certificateHold`. Revoking again changes nothing,
    /// but for a reason that makes void a key which the first one left sound.
    ///
    /// # Errors
    ///
    /// [`RevokeError`].
    pub async fn revoke(
        &self,
        id: &CertificateId,
        reason: RevocationReason,
        by: Revoker<'_>,
        now: Timestamp,
    ) -> Result<Revocation, RevokeError> {
        let entry = self.find(id).await?;
        let entry = entry.ok_or_else(|| RevokeError::Unknown {
            serial: id.serial().clone(),
        })?;
        let holder = entry.identity();
        let by: Box<str> = match by {
            Revoker::Holder(asked) if asked != holder => {
                return Err(RevokeError::NotHolder {
                    asked: asked.clone(),
                    holder: holder.clone(),
                });
            }
            Revoker::Holder(asked) => asked.as_str().into(),
            Revoker::Operator(operator) => operator.0.clone(),
        };
        let wanted = Revocation {
            id: id.clone(),
            reason,
            revoked_at: now,
            not_after: entry.certificate().not_after(),
            by,
        };
        let thumbprint = m2m_crypto::sha256(entry.certificate().spki_der());
        for _ in 0..ROUNDS {
            if let Some(done) = self.try_revoke(&wanted, &thumbprint).await? {
                return Ok(done);
            }
        }
        Err(RevokeError::Contended { rounds: ROUNDS })
    }

    /// [`None`] if somebody wrote in between.
    async fn try_revoke(
        &self,
        wanted: &Revocation,
        thumbprint: &[u8; 32],
    ) -> Result<Option<Revocation>, LedgerError> {
        let key = self.key(REVOCATIONS, &wanted.id.to_bytes())?;
        let found = self.store.get(&key).await.map_err(LedgerError::Store)?;
        let (expected, revocation) = match &found {
            None => (Expected::Absent, wanted.clone()),
            Some(record) => {
                let before = Revocation::decode(wanted.id.clone(), record.value().as_bytes());
                let before = before.ok_or(LedgerError::Damaged { space: REVOCATIONS })?;
                if voids_key(before.reason) || !voids_key(wanted.reason) {
                    return Ok(Some(before));
                }
                // It was revoked since then, and for more than was known then.
                let revoked_at = before.revoked_at;
                let more = Revocation {
                    revoked_at,
                    ..wanted.clone()
                };
                (Expected::Version(record.version()), more)
            }
        };
        let version = found.map_or(0, |record| record.version().number());
        let cause = [
            &b"revoke"[..],
            &wanted.id.to_bytes(),
            &version.to_be_bytes(),
        ];
        let value = revocation.encode();
        let name = [cause.as_slice(), &[value.as_bytes()]].concat();
        let batch = Batch::new(idempotency_key(&name));
        let summary = revocation.summary();
        let batch = batch.put_with_summary(key, expected, value, summary);
        let batch = match voids_key(revocation.reason) {
            true => self.void_key(batch, thumbprint).await?,
            false => batch,
        };
        match self.commit(batch).await {
            Ok(()) => Ok(Some(revocation)),
            Err(StoreError::Conflict { .. } | StoreError::IdempotencyKeyReused { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn void_key(&self, batch: Batch, thumbprint: &[u8; 32]) -> Result<Batch, LedgerError> {
        let key = self.key(KEYS, thumbprint)?;
        let damaged = LedgerError::Damaged { space: KEYS };
        // Whoever has a certificate has a key that is recorded.
        let record = self.store.get(&key).await?.ok_or(damaged.clone())?;
        let bound = Binding::decode(record.value().as_bytes()).ok_or(damaged)?;
        let void = Binding {
            is_void: true,
            ..bound
        };
        Ok(batch.put(key, Expected::Version(record.version()), void.encode()))
    }
}

fn voids_key(reason: RevocationReason) -> bool {
    !matches!(
        reason,
        RevocationReason::Superseded | RevocationReason::CertificateHold
    )
}

impl Operator {
    /// The operator of this name, whom the caller vouches for: nothing here knows who may operate.
    ///
    /// # Errors
    ///
    /// [`OperatorError`] unless the name has 1 to 128 visible ASCII characters other than `"` and `\`.
    pub fn danger_vouched_for(name: &str) -> Result<Self, OperatorError> {
        let allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        match (1..=128).contains(&name.len()) && name.bytes().all(allowed) {
            true => Ok(Self(name.into())),
            false => Err(OperatorError { length: name.len() }),
        }
    }
}

impl Revocation {
    /// Of which certificate.
    pub fn id(&self) -> &CertificateId {
        &self.id
    }

    /// Why.
    pub fn reason(&self) -> RevocationReason {
        self.reason
    }

    /// Since when.
    pub fn revoked_at(&self) -> Timestamp {
        self.revoked_at
    }

    /// When the certificate expires, after which nobody need be told of it any more.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Who wanted it: an identity, or an operator's name.
    pub fn by(&self) -> &str {
        &self.by
    }
}

impl RevokeError {
    /// What whoever asked may learn: not whether there is such a certificate.
    pub fn rejection(&self) -> Rejection {
        match self {
            Self::Unknown { .. } | Self::NotHolder { .. } => Rejection::Refused,
            Self::Contended { .. } | Self::Ledger(_) => Rejection::Unavailable,
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
