//! `VerifiedPeer`: the proof that a chain held, and what to ask of it later.

use m2m_crypto::CertificateThumbprint;
use m2m_types::{ServiceId, Timestamp, TrustDomain};

use super::error::ChainError;
use super::place::{PeerRole, Place};
use super::revocation::RevocationRule;
use super::rules::{Path, Question, is_valid};
use crate::crl::IssuerId;
use crate::{Certificate, CrlSet, Serial, TrustBundles};

/// A peer whose chain held. Only [`ChainVerifier`](crate::ChainVerifier) makes one.
///
/// Everything it says stands in certificates whose signatures were checked. That the peer holds the
/// leaf's key is for the handshake to show.
#[derive(Clone, Debug)]
#[must_use]
pub struct VerifiedPeer {
    service: Option<ServiceId>,
    trust_domain: TrustDomain,
    role: PeerRole,
    leaf: Certificate,
    /// The leaf, the intermediates, and the authority last; each with who issued it.
    path: Box<[(Place, Certificate, IssuerId)]>,
    authority: Certificate,
    not_after: Timestamp,
    revocation: RevocationRule,
}

impl VerifiedPeer {
    /// [`None`] unless the path has an end.
    pub(super) fn new(
        path: &Path<'_>,
        trust_domain: &TrustDomain,
        question: &Question<'_>,
    ) -> Option<Self> {
        let leaf = Certificate::clone(path.presented.first()?);
        let authority = path.authority?.clone();
        let certificates = || path.certificates().map(|(_, certificate)| certificate);
        let links = path.certificates().zip(certificates().skip(1));
        let links = links.map(|((place, one), issuer)| (place, one.clone(), issuer.issuer_id()));
        Some(Self {
            service: leaf
                .service_id()
                .ok()
                .filter(|service| service.is_member_of(trust_domain)),
            trust_domain: trust_domain.clone(),
            role: question.role,
            path: links.collect(),
            not_after: certificates().map(Certificate::not_after).min()?,
            leaf,
            authority,
            revocation: question.revocation,
        })
    }

    /// Which machine it is. Always there if a machine was expected.
    pub fn service_id(&self) -> Option<&ServiceId> {
        self.service.as_ref()
    }

    /// Whose bundle holds the authority.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// What it is in the handshake for which its chain was verified.
    pub fn role(&self) -> PeerRole {
        self.role
    }

    /// Its own certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.leaf
    }

    /// The serial number of its certificate.
    pub fn serial(&self) -> &Serial {
        self.leaf.serial()
    }

    /// SHA-256 of its certificate, to which tokens are bound (RFC 8705 §3.1).
    pub fn thumbprint(&self) -> &CertificateThumbprint {
        self.leaf.thumbprint()
    }

    /// [`VerifiedPeer::thumbprint`] as a token says it.
    pub fn x5t_s256(&self) -> String {
        self.leaf.x5t_s256()
    }

    /// Who issued its certificate, by name and key.
    pub fn issuer(&self) -> IssuerId {
        self.path
            .first()
            .map_or_else(|| self.authority.issuer_id(), |(_, _, issuer)| *issuer)
    }

    /// The certificates of the path that was used: the leaf, then intermediates, the authority last.
    pub fn path(&self) -> impl Iterator<Item = &Certificate> {
        let below = self.path.iter().map(|(_, certificate, _)| certificate);
        below.chain(std::iter::once(&self.authority))
    }

    /// The authority at the end of the path.
    pub fn authority(&self) -> &Certificate {
        &self.authority
    }

    /// The last second in which the whole path is valid.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Asks again what can change: the authority is still in the bundle, every certificate is still
    /// valid, none is revoked by the rule of the verifier. For connections that stay open and sessions
    /// that are resumed. Checks no signature.
    ///
    /// # Errors
    ///
    /// [`ChainError::NoBundle`], [`ChainError::AuthorityGone`], [`ChainError::Validity`] or
    /// [`ChainError::Revocation`].
    pub fn recheck(
        &self,
        trust: &TrustBundles,
        crls: &CrlSet,
        now: Timestamp,
    ) -> Result<(), ChainError> {
        self.good_until(trust, crls, now).map(|_| ())
    }

    /// As [`VerifiedPeer::recheck`]: the last second in which the answer stays if nothing changes.
    pub(crate) fn good_until(
        &self,
        trust: &TrustBundles,
        crls: &CrlSet,
        now: Timestamp,
    ) -> Result<Timestamp, ChainError> {
        let trust_domain = &self.trust_domain;
        let bundle = trust.of(trust_domain).ok_or_else(|| ChainError::NoBundle {
            trust_domain: trust_domain.clone(),
        })?;
        if !bundle.holds(&self.authority) {
            return Err(ChainError::AuthorityGone {
                trust_domain: trust_domain.clone(),
            });
        }
        is_valid(Place::Authority, &self.authority, now)?;
        let mut until = self.not_after;
        for (place, certificate, issuer) in &self.path {
            is_valid(*place, certificate, now)?;
            let subject = (*place, certificate, *issuer);
            until = until.min(self.revocation.check(subject, crls, now)?);
        }
        Ok(until)
    }
}
