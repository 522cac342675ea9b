//! Looking things up.

use m2m_crypto::sha256;
use m2m_store::{Key, Scan, Space};
use m2m_types::ServiceId;

use super::format::CertificateRecord;
use super::{
    CERTIFICATES, CertificateId, IDENTITIES, Ledger, LedgerError, REVOCATIONS, Revocation, id,
};
use crate::Certificate;

/// A certificate that was released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    certificate: Certificate,
    identity: ServiceId,
    profile: Box<str>,
    revocation: Option<Revocation>,
}

/// Some of an identity's certificates.
#[derive(Debug)]
pub struct CertificatePage {
    entries: Vec<Entry>,
    next: Option<CertificateId>,
}

/// Some of an issuer's revocations.
#[derive(Debug)]
pub struct RevocationPage {
    revocations: Vec<Revocation>,
    next: Option<CertificateId>,
}

/// How many entries a page has at most.
const PAGE: usize = 100;

impl Ledger {
    /// The certificate of this name, if it was recorded.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] if it cannot be said.
    pub async fn find(&self, id: &CertificateId) -> Result<Option<Entry>, LedgerError> {
        let key = self.key(CERTIFICATES, &id.to_bytes())?;
        let Some(record) = self.store.get(&key).await? else {
            return Ok(None);
        };
        let damaged = LedgerError::Damaged {
            space: CERTIFICATES,
        };
        let record = CertificateRecord::decode(record.value().as_bytes()).ok_or(damaged)?;
        Ok(Some(Entry::new(record, self.revocation(id).await?)))
    }

    /// Whether and why the certificate of this name is revoked.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] if it cannot be said, which is not a no.
    pub async fn revocation(&self, id: &CertificateId) -> Result<Option<Revocation>, LedgerError> {
        let key = self.key(REVOCATIONS, &id.to_bytes())?;
        match self.store.get(&key).await? {
            None => Ok(None),
            Some(record) => Revocation::decode(id.clone(), record.value().as_bytes())
                .map(Some)
                .ok_or(LedgerError::Damaged { space: REVOCATIONS }),
        }
    }

    /// All certificates ever released to `identity`, expired and revoked ones too, a page at a time:
    /// `after` is [`CertificatePage::next`] of the page before.
    ///
    /// # Errors
    ///
    /// [`LedgerError`]; never fewer than there are.
    pub async fn certificates_of(
        &self,
        identity: &ServiceId,
        after: Option<&CertificateId>,
    ) -> Result<CertificatePage, LedgerError> {
        let digest = sha256(identity.as_str().as_bytes());
        let (ids, next) = self.page(IDENTITIES, &digest, &digest, after).await?;
        let mut entries = Vec::with_capacity(ids.len());
        for (id, _) in ids {
            let damaged = LedgerError::Damaged { space: IDENTITIES };
            entries.push(self.find(&id).await?.ok_or(damaged)?);
        }
        Ok(CertificatePage { entries, next })
    }

    /// All revocations of certificates that the key with this `subjectKeyIdentifier` signed, a page at
    /// a time: what its CRL is made of.
    ///
    /// # Errors
    ///
    /// [`LedgerError`]; never fewer than there are.
    pub async fn revocations_of(
        &self,
        issuer_key_id: &[u8],
        after: Option<&CertificateId>,
    ) -> Result<RevocationPage, LedgerError> {
        let prefix = id::prefix(issuer_key_id);
        let (records, next) = self.page(REVOCATIONS, &prefix, &[], after).await?;
        let decode = |(id, value): (CertificateId, Vec<u8>)| {
            Revocation::decode(id, &value).ok_or(LedgerError::Damaged { space: REVOCATIONS })
        };
        Ok(RevocationPage {
            revocations: records.into_iter().map(decode).collect::<Result<_, _>>()?,
            next,
        })
    }

    /// Ids and values of records that begin with `prefix`; the certificate's id stands behind `front`.
    pub(super) async fn page(
        &self,
        space: &'static str,
        prefix: &[u8],
        front: &[u8],
        after: Option<&CertificateId>,
    ) -> Result<(Vec<(CertificateId, Vec<u8>)>, Option<CertificateId>), LedgerError> {
        let damaged = LedgerError::Damaged { space };
        let name = Space::new(space).map_err(|_| damaged.clone())?;
        let mut scan = Scan::new(name).with_prefix(prefix).with_limit(PAGE);
        if let Some(after) = after {
            scan = scan.after(self.key(space, &[front, &after.to_bytes()].concat())?);
        }
        let page = self.store.scan(&scan).await?;
        let id_of = |key: &Key| {
            let id = key
                .id()
                .strip_prefix(front)
                .and_then(CertificateId::from_bytes);
            id.ok_or(damaged.clone())
        };
        let next = page.next().map(id_of).transpose()?;
        let records = page.records().iter().map(|record| {
            let value = record.value().as_bytes().to_vec();
            Ok((id_of(record.key())?, value))
        });
        Ok((records.collect::<Result<_, LedgerError>>()?, next))
    }
}

impl Entry {
    pub(super) fn new(record: CertificateRecord, revocation: Option<Revocation>) -> Self {
        Self {
            certificate: record.certificate,
            identity: record.identity,
            profile: record.profile,
            revocation,
        }
    }

    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Whose it is; the holder, if it is a CA's.
    pub fn identity(&self) -> &ServiceId {
        &self.identity
    }

    /// The name of the profile it was issued under.
    pub fn profile(&self) -> &str {
        &self.profile
    }

    /// Its revocation, if it is revoked.
    pub fn revocation(&self) -> Option<&Revocation> {
        self.revocation.as_ref()
    }
}

impl CertificatePage {
    pub(super) fn new(entries: Vec<Entry>, next: Option<CertificateId>) -> Self {
        Self { entries, next }
    }

    /// The certificates.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Where to go on; [`None`] when nothing is left.
    pub fn next(&self) -> Option<&CertificateId> {
        self.next.as_ref()
    }
}

impl RevocationPage {
    /// The revocations.
    pub fn revocations(&self) -> &[Revocation] {
        &self.revocations
    }

    /// Where to go on; [`None`] when nothing is left.
    pub fn next(&self) -> Option<&CertificateId> {
        self.next.as_ref()
    }
}
