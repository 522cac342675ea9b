//! Renewal: another certificate for whoever holds one that is good.

use std::time::Duration;

use m2m_types::{ServiceId, Timestamp};

use super::{Ledger, LedgerError};
use crate::profile::short;
use crate::{ApproveError, Approved, Certificate, Profile, Rejection, Serial, VerifiedCsr};

/// Who wants a certificate renewed, and with what.
#[derive(Debug)]
pub struct RenewalRequest<'a> {
    presented: &'a Certificate,
    caller: &'a ServiceId,
    csr: VerifiedCsr,
    lifetime: Duration,
}

/// Why nothing is renewed: for operators. Who asked gets [`RenewError::rejection`].
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenewError {
    /// It is not one that this ledger's authorities released, byte by byte.
    #[error("certificate {serial} is not in the ledger")]
    Unknown {
        /// Which.
        serial: Serial,
    },
    /// It is not valid now.
    #[error("valid from {not_before} to {not_after}; now is {now}")]
    NotCurrent {
        /// Now.
        now: Timestamp,
        /// Its `notBefore`.
        not_before: Timestamp,
        /// Its `notAfter`.
        not_after: Timestamp,
    },
    /// It is revoked.
    #[error("certificate {serial} is revoked")]
    Revoked {
        /// Which.
        serial: Serial,
    },
    /// It is somebody else's.
    #[error("{} may not renew what is {}'s", short(caller), short(holder))]
    NotHolder {
        /// Who asked.
        caller: ServiceId,
        /// Whose it is.
        holder: ServiceId,
    },
    /// It was issued under another profile.
    #[error("issued under {found}, to be renewed under {wanted}")]
    Profile {
        /// Which it was.
        found: Box<str>,
        /// Which it should become.
        wanted: Box<str>,
    },
    /// The new one would have other names.
    #[error("the new certificate would have other names")]
    Names,
    /// The profile does not allow it.
    #[error("the profile does not allow it")]
    Approve(#[from] ApproveError),
    /// The ledger could not be read.
    #[error("the ledger failed")]
    Ledger(#[from] LedgerError),
}

impl<'a> RenewalRequest<'a> {
    /// `caller` is whom the connection has **authenticated**, and `presented` the certificate by which
    /// it did: who merely sends a copy of one has shown nothing.
    pub fn new(
        presented: &'a Certificate,
        caller: &'a ServiceId,
        csr: VerifiedCsr,
        lifetime: Duration,
    ) -> Self {
        Self {
            presented,
            caller,
            csr,
            lifetime,
        }
    }
}

impl Ledger {
    /// Approves another certificate for the holder of one that is recorded, valid at `now`, not
    /// revoked, and of the same profile and names. Whether the new key may be used is checked when it
    /// is recorded.
    ///
    /// # Errors
    ///
    /// [`RenewError`].
    pub async fn renew(
        &self,
        request: RenewalRequest<'_>,
        profile: &Profile,
        now: Timestamp,
    ) -> Result<Approved, RenewError> {
        let RenewalRequest {
            presented,
            caller,
            csr,
            lifetime,
        } = request;
        let serial = || presented.serial().clone();
        let unknown = || RenewError::Unknown { serial: serial() };
        let id = presented.id().ok_or_else(unknown)?;
        let entry = self.find(&id).await?.ok_or_else(unknown)?;
        if entry.certificate() != presented {
            return Err(unknown());
        }
        if entry.identity() != caller {
            return Err(RenewError::NotHolder {
                caller: caller.clone(),
                holder: entry.identity().clone(),
            });
        }
        if entry.revocation().is_some() {
            return Err(RenewError::Revoked { serial: serial() });
        }
        if !presented.is_valid_at(now) {
            return Err(RenewError::NotCurrent {
                now,
                not_before: presented.not_before(),
                not_after: presented.not_after(),
            });
        }
        if entry.profile() != profile.name() {
            return Err(RenewError::Profile {
                found: entry.profile().into(),
                wanted: profile.name().into(),
            });
        }
        let approved = profile.approve(csr, caller, lifetime)?;
        match has_same_names(&approved, presented) {
            true => Ok(approved),
            false => Err(RenewError::Names),
        }
    }
}

fn has_same_names(approved: &Approved, presented: &Certificate) -> bool {
    let mut names: Vec<&str> = approved.dns_names.iter().map(|name| &**name).collect();
    let mut before: Vec<&str> = presented.dns_names().collect();
    let mut addresses = approved.ip_addresses.clone();
    let mut addresses_before = presented.ip_addresses().to_vec();
    names.sort_unstable();
    before.sort_unstable();
    addresses.sort_unstable();
    addresses_before.sort_unstable();
    names == before && addresses == addresses_before
}

impl RenewError {
    /// What whoever asked may learn.
    pub fn rejection(&self) -> Rejection {
        match self {
            Self::Ledger(_) => Rejection::Unavailable,
            _ => Rejection::Refused,
        }
    }
}
