//! What an authority has signed and what of it still lives; and what `m2m-revoke` knows of it.

use std::collections::HashSet;
use std::time::Duration;

use m2m_revoke::{Revocations, RevokeError as SetError, Target};
use m2m_types::Timestamp;

use super::format::CertificateRecord;
use super::{
    CERTIFICATES, CertificateId, CertificatePage, Entry, Ledger, LedgerError, Operator,
    RevokeError, Revoker, id,
};
use crate::{Certificate, RevocationReason};

/// What of an authority's still lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Living {
    /// How many certificates that are no CA's.
    pub leaves: u64,
    /// Until when the last of them is valid.
    pub latest_not_after: Option<Timestamp>,
}

/// Why certificates could not be compared with a set of revocations.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpreadError {
    /// The set takes no more.
    #[error("the set of revocations did not take it")]
    Set(#[from] SetError),
    /// The ledger did not take it.
    #[error("the ledger did not take it")]
    Revoke(#[from] RevokeError),
    /// The ledger could not be read.
    #[error("the ledger failed")]
    Ledger(#[from] LedgerError),
}

impl Certificate {
    /// Its name in a set of revocations: its thumbprint, which is also what a bound token says.
    pub fn revocation_target(&self) -> Target<'_> {
        Target::CertificateThumbprint(self.thumbprint().as_bytes())
    }
}

impl Ledger {
    /// All certificates that the key with this `subjectKeyIdentifier` signed, a page at a time, expired
    /// and revoked ones too.
    ///
    /// # Errors
    ///
    /// [`LedgerError`]; never fewer than there are.
    pub async fn certificates_by(
        &self,
        issuer_key_id: &[u8],
        after: Option<&CertificateId>,
    ) -> Result<CertificatePage, LedgerError> {
        let prefix = id::prefix(issuer_key_id);
        let (records, next) = self.page(CERTIFICATES, &prefix, &[], after).await?;
        let mut entries = Vec::with_capacity(records.len());
        for (id, value) in records {
            let damaged = LedgerError::Damaged {
                space: CERTIFICATES,
            };
            let record = CertificateRecord::decode(&value).ok_or(damaged)?;
            let revocation = self.revocation(&id).await?;
            entries.push(Entry::new(record, revocation));
        }
        Ok(CertificatePage::new(entries, next))
    }

    /// What lives at `now` of all that `authority` signed, and of what the intermediates that it signed
    /// signed in turn: neither expired nor revoked. Looks at every certificate there ever was of them.
    ///
    /// # Errors
    ///
    /// [`LedgerError`] if it cannot be said.
    pub async fn living_under(
        &self,
        authority: &Certificate,
        now: Timestamp,
    ) -> Result<Living, LedgerError> {
        let mut living = Living::default();
        let own = authority.subject_key_id().map(Box::<[u8]>::from);
        let mut to_visit: Vec<Box<[u8]>> = own.into_iter().collect();
        let mut visited: HashSet<Box<[u8]>> = to_visit.iter().cloned().collect();
        while let Some(issuer) = to_visit.pop() {
            let mut after = None;
            loop {
                let page = self.certificates_by(&issuer, after.as_ref()).await?;
                for entry in page.entries() {
                    let certificate = entry.certificate();
                    if certificate.not_after() < now || entry.revocation().is_some() {
                        continue;
                    }
                    match certificate.subject_key_id() {
                        Some(key_id) if certificate.is_ca() => {
                            if visited.insert(key_id.into()) {
                                to_visit.push(key_id.into());
                            }
                        }
                        _ => living.count(certificate),
                    }
                }
                match page.next() {
                    Some(next) => after = Some(next.clone()),
                    None => break,
                }
            }
        }
        Ok(living)
    }

    /// Tells `set` of all revocations of what this key signed, each until its certificate has expired,
    /// and returns how many. Telling it again changes nothing.
    ///
    /// # Errors
    ///
    /// [`SpreadError`]; some may have been told.
    pub async fn tell(
        &self,
        set: &Revocations,
        issuer_key_id: &[u8],
    ) -> Result<usize, SpreadError> {
        let (mut told, mut after) = (0, None);
        loop {
            let page = self.revocations_of(issuer_key_id, after.as_ref()).await?;
            for revocation in page.revocations() {
                let damaged = LedgerError::Damaged {
                    space: CERTIFICATES,
                };
                let entry = self.find(revocation.id()).await?.ok_or(damaged)?;
                let certificate = entry.certificate();
                // `notAfter` is the last second in which it is valid.
                let expires = certificate
                    .not_after()
                    .saturating_add(Duration::from_secs(1));
                set.revoke(certificate.revocation_target(), expires)?;
                told += 1;
            }
            match page.next() {
                Some(next) => after = Some(next.clone()),
                None => return Ok(told),
            }
        }
    }

    /// Revokes here, for `by`, what `set` says is revoked of what this key signed and lives at `now`: by
    /// the certificate's thumbprint, or because all of its machine's is void. Then the next CRL lists
    /// it. A set holds no names, so every certificate is looked at. Returns what was revoked.
    ///
    /// # Errors
    ///
    /// [`SpreadError`]; some may have been revoked.
    pub async fn hear(
        &self,
        set: &Revocations,
        issuer_key_id: &[u8],
        by: &Operator,
        now: Timestamp,
    ) -> Result<Vec<CertificateId>, SpreadError> {
        let (mut heard, mut after) = (Vec::new(), None);
        loop {
            let page = self.certificates_by(issuer_key_id, after.as_ref()).await?;
            for entry in page.entries() {
                let certificate = entry.certificate();
                let is_old = certificate.not_after() < now || entry.revocation().is_some();
                if is_old || !is_void(set, entry, now) {
                    continue;
                }
                if let Some(id) = certificate.id() {
                    let reason = RevocationReason::Unspecified;
                    self.revoke(&id, reason, Revoker::Operator(by), now).await?;
                    heard.push(id);
                }
            }
            match page.next() {
                Some(next) => after = Some(next.clone()),
                None => return Ok(heard),
            }
        }
    }
}

fn is_void(set: &Revocations, entry: &Entry, now: Timestamp) -> bool {
    let certificate = entry.certificate();
    let issued_at = Some(certificate.not_before());
    let machine = Target::Service(entry.identity().as_ref());
    [certificate.revocation_target(), machine]
        .iter()
        .any(|target| set.check(target, issued_at, now).is_err())
}

impl Living {
    fn count(&mut self, leaf: &Certificate) {
        self.leaves += 1;
        self.latest_not_after = self.latest_not_after.max(Some(leaf.not_after()));
    }
}
