//! `Ledger`: every certificate, whose keys they are, and what was revoked. On a store that survives.

mod error;
mod floors;
mod format;
mod id;
mod living;
mod publish;
mod read;
mod renew;
mod revoke;

pub use error::{LedgerError, RecordError};
pub use floors::{CrlFloorError, CrlFloors};
pub use id::CertificateId;
pub use living::{Living, SpreadError};
pub use publish::{CrlPublishError, CrlPublisher, PendingCrl, UnreleasedCrl};
pub use read::{CertificatePage, Entry, RevocationPage};
pub use renew::{RenewError, RenewalRequest};
pub use revoke::{Operator, OperatorError, Revocation, RevokeError, Revoker};

use std::fmt;
use std::sync::Arc;

use m2m_crypto::sha256;
use m2m_store::{Batch, Expected, IdempotencyKey, Key, Space, Store, StoreError};
use m2m_types::ServiceId;

use crate::{Certificate, Issued};
use format::{Binding, CertificateRecord};

/// By [`CertificateId`]: the certificate, whose it is, under which profile.
const CERTIFICATES: &str = "pki-certificate";
/// By digest of the identity and [`CertificateId`]: that there is one.
const IDENTITIES: &str = "pki-identity";
/// By thumbprint of the public key: whose it is, and whether it is void.
const KEYS: &str = "pki-key";
/// By [`CertificateId`]: when, why and by whom it was revoked.
const REVOCATIONS: &str = "pki-revocation";

/// How often a batch is committed again while the store does not know whether it was written. Each
/// time under the same idempotency key, so that it is written once.
const ATTEMPTS: u32 = 4;
/// How often a key's record is read anew because somebody else wrote it in between.
const ROUNDS: u32 = 4;

/// The record of an authority, on any [`Store`]. Several processes may share one.
///
/// **Record before release**: only [`Ledger::record`] turns what an authority signed into bytes, and
/// only after the store has said that the record is durable.
#[derive(Clone)]
pub struct Ledger {
    store: Arc<dyn Store>,
}

impl Ledger {
    /// The ledger kept in `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Records `issued` and releases it.
    ///
    /// In one commit it is checked that nobody had the number before, that its key is nobody else's
    /// and not revoked, and that its issuer's certificate is not revoked.
    ///
    /// # Errors
    ///
    /// [`RecordError`]. The certificate is then gone, whatever the store did: nobody has it.
    pub async fn record(&self, issued: Issued) -> Result<Certificate, RecordError> {
        let binding = Binding {
            identity: issued.identity.clone(),
            is_ca: issued.certificate.is_ca(),
            is_void: false,
        };
        let key = self.key(KEYS, &sha256(issued.certificate.spki_der()))?;
        let batch = self.batch_of(&issued)?;
        for _ in 0..ROUNDS {
            let batch = match self.store.get(&key).await? {
                None => batch
                    .clone()
                    .put(key.clone(), Expected::Absent, binding.encode()),
                Some(record) => {
                    let bound = Binding::decode(record.value().as_bytes());
                    check_binding(
                        &bound.ok_or(LedgerError::Damaged { space: KEYS })?,
                        &binding,
                    )?;
                    let unchanged = Expected::Version(record.version());
                    batch.clone().check(key.clone(), unchanged)
                }
            };
            match self.commit(batch).await {
                Ok(()) => return Ok(issued.certificate),
                // Somebody wrote the key's record since it was read: look who it is.
                Err(StoreError::Conflict { key, .. }) if key.space() == KEYS => {}
                Err(StoreError::Conflict { key, .. }) if key.space() == REVOCATIONS => {
                    return Err(RecordError::IssuerRevoked);
                }
                Err(StoreError::Conflict { .. }) => {
                    return Err(RecordError::SerialTaken {
                        serial: issued.serial().clone(),
                    });
                }
                Err(error) => return Err(LedgerError::Store(error).into()),
            }
        }
        Err(RecordError::Contended { rounds: ROUNDS })
    }

    /// All that is written of a certificate but its key's record.
    fn batch_of(&self, issued: &Issued) -> Result<Batch, RecordError> {
        let certificate = &issued.certificate;
        let id = certificate.id().ok_or(RecordError::Unnamed)?;
        let record = CertificateRecord {
            certificate: certificate.clone(),
            identity: issued.identity.clone(),
            profile: issued.profile.clone(),
        };
        let key = self.key(CERTIFICATES, &id.to_bytes())?;
        let index = self.key(IDENTITIES, &index_of(&issued.identity, &id))?;
        let batch = Batch::new(idempotency_key(&[b"issue", certificate.der()]))
            .put_with_summary(key, Expected::Absent, record.encode(), record.summary())
            .put(index, Expected::Absent, format::MARK.as_slice());
        Ok(match &issued.issuer {
            // Were the issuer revoked in this very moment, the commit fails.
            Some(issuer) => {
                let revocation = self.key(REVOCATIONS, &issuer.to_bytes())?;
                batch.check(revocation, Expected::Absent)
            }
            None => batch,
        })
    }

    /// Commits, asking again with the same batch while the outcome is not known.
    async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let mut outcome = self.store.commit(batch.clone()).await;
        for _ in 1..ATTEMPTS {
            if !matches!(outcome, Err(StoreError::OutcomeUnknown { .. })) {
                break;
            }
            outcome = self.store.commit(batch.clone()).await;
        }
        outcome.map(|_| ())
    }

    fn key(&self, space: &'static str, id: &[u8]) -> Result<Key, LedgerError> {
        let space = Space::new(space).map_err(|_| LedgerError::Damaged { space })?;
        // Ids are digests and bounded identifiers, so this always is one.
        Key::new(&space, id).map_err(|_| LedgerError::Damaged { space: "id" })
    }
}

fn check_binding(bound: &Binding, wanted: &Binding) -> Result<(), RecordError> {
    if bound.is_void {
        return Err(RecordError::KeyRevoked {
            identity: bound.identity.clone(),
        });
    }
    // A CA's key never becomes a machine's, nor the other way round.
    match bound.identity == wanted.identity && bound.is_ca == wanted.is_ca {
        true => Ok(()),
        false => Err(RecordError::KeyBound {
            bound: bound.identity.clone(),
            is_ca: bound.is_ca,
            asked: wanted.identity.clone(),
        }),
    }
}

fn index_of(identity: &ServiceId, id: &CertificateId) -> Vec<u8> {
    [&sha256(identity.as_str().as_bytes())[..], &id.to_bytes()].concat()
}

/// The name of a write: the same cause, the same name. The parts are told apart by their digests.
fn idempotency_key(parts: &[&[u8]]) -> IdempotencyKey {
    let digests: Vec<u8> = parts.iter().flat_map(|part| sha256(part)).collect();
    let digest = sha256(&digests);
    IdempotencyKey::from_bytes(std::array::from_fn(|at| {
        digest.get(at).copied().unwrap_or(0)
    }))
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}
