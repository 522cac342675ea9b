//! `Checked`: whether what is not a token has been revoked. Tokens are looked up by their verifier.

use m2m_revoke::{RevocationReader, Target};
use m2m_types::Timestamp;

use crate::presented::Credential;
use crate::refusal::{Refusal, RefusalReason};

/// Looks up what is not a token.
pub(super) struct Checked<'r> {
    pub(super) reader: &'r mut RevocationReader,
    pub(super) now: Timestamp,
}

impl Checked<'_> {
    #[inline]
    pub(super) fn check(
        &mut self,
        credential: Credential,
        target: &Target<'_>,
        issued_at: Option<Timestamp>,
    ) -> Result<(), Refusal> {
        self.reader
            .check(target, issued_at, self.now)
            .map_err(|revoked| {
                RefusalReason::Revoked {
                    credential,
                    revoked,
                }
                .into()
            })
    }

    /// Each certificate of its path, and whose it is.
    #[cfg(feature = "pki")]
    pub(super) fn check_peer(&mut self, peer: &m2m_pki::VerifiedPeer) -> Result<(), Refusal> {
        let credential = Credential::Certificate;
        for certificate in peer.path() {
            let issued_at = Some(certificate.not_before());
            let target = Target::CertificateThumbprint(certificate.thumbprint().as_bytes());
            self.check(credential, &target, issued_at)?;
            let target = Target::Certificate {
                issuer: certificate.issuer_der(),
                serial: certificate.serial().as_bytes(),
            };
            self.check(credential, &target, issued_at)?;
        }
        let issued_at = Some(peer.certificate().not_before());
        match peer.service_id() {
            Some(service) => self.check(credential, &Target::Service(service.as_ref()), issued_at),
            None => Ok(()),
        }
    }

    #[cfg(feature = "secrets")]
    pub(super) fn check_api_key(&mut self, proof: &crate::ApiKeyProof) -> Result<(), Refusal> {
        let credential = Credential::ApiKey;
        let target = Target::SecretVersion {
            name: proof.owner.as_str(),
            version: proof.version().number().into(),
        };
        self.check(credential, &target, None)
            .and_then(|()| self.check(credential, &Target::Service(proof.owner.as_ref()), None))
            .map_err(|refusal| refusal.of_caller(Some(proof.owner.clone())))
    }

    #[cfg(feature = "secrets")]
    pub(super) fn check_signature(&mut self, proof: &crate::SignatureProof) -> Result<(), Refusal> {
        let credential = Credential::Signature;
        if let Some(version) = proof.version() {
            let name = proof.key_id().rsplit_once('.');
            let target = Target::SecretVersion {
                name: name.map_or(proof.key_id(), |(name, _)| name),
                version: version.number(),
            };
            self.check(credential, &target, None)
                .map_err(|refusal| refusal.of_caller(Some(proof.owner.clone())))?;
        }
        self.check(credential, &Target::Service(proof.owner.as_ref()), None)
            .map_err(|refusal| refusal.of_caller(Some(proof.owner.clone())))
    }
}
