//! `Material`: everything a handshake goes by, which changes as a whole.

use std::sync::Arc;

use super::identity::Identity;
use super::live::UpdateError;
use crate::{CrlIndex, CrlSet, TrustBundle, TrustBundles};

/// Who we are, whom we trust, and what is revoked: what [`LiveTls`](super::LiveTls) goes by, swapped
/// whole. Cloning copies pointers.
#[derive(Clone, Debug)]
pub struct Material {
    identity: Identity,
    bundles: Arc<TrustBundles>,
    crls: Arc<CrlSet>,
}

impl Material {
    /// `identity` among those that `bundles` and `crls` speak of. Without CRLs nobody is known not to
    /// be revoked: who passes then is for the [`RevocationRule`](crate::RevocationRule) to say.
    pub fn new(
        identity: Identity,
        bundles: impl Into<Arc<TrustBundles>>,
        crls: impl Into<Arc<CrlSet>>,
    ) -> Self {
        Self {
            identity,
            bundles: bundles.into(),
            crls: crls.into(),
        }
    }

    /// Who we are.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whom we trust.
    pub fn bundles(&self) -> &TrustBundles {
        &self.bundles
    }

    /// What is revoked.
    pub fn crls(&self) -> &CrlSet {
        &self.crls
    }

    /// With another certificate, another key, or both.
    pub fn set_identity(&mut self, identity: Identity) {
        self.identity = identity;
    }

    /// With these bundles and no others.
    pub fn set_bundles(&mut self, bundles: impl Into<Arc<TrustBundles>>) {
        self.bundles = bundles.into();
    }

    /// With this bundle in the place of the older one of its trust domain.
    ///
    /// # Errors
    ///
    /// [`UpdateError::Bundles`] if it is older than the one that is there.
    pub fn set_bundle(&mut self, bundle: TrustBundle) -> Result<(), UpdateError> {
        self.bundles = Arc::new(self.bundles.updated(bundle)?);
        Ok(())
    }

    /// With these CRLs and no others.
    pub fn set_crls(&mut self, crls: impl Into<Arc<CrlSet>>) {
        self.crls = crls.into();
    }

    /// With this CRL in the place of the older one of the same issuer and scope.
    ///
    /// # Errors
    ///
    /// [`UpdateError::Crls`] if it is older than the one that is there.
    pub fn set_crl(&mut self, crl: Arc<CrlIndex>) -> Result<(), UpdateError> {
        self.crls = Arc::new(self.crls.with(crl)?);
        Ok(())
    }

    /// Whether the same authorities speak for the same trust domains.
    pub(super) fn trusts_the_same(&self, other: &Self) -> bool {
        let (ours, theirs) = (&self.bundles, &other.bundles);
        let same = |(a, b): (&TrustBundle, &TrustBundle)| {
            a.trust_domain() == b.trust_domain() && a.has_same_authorities(b)
        };
        Arc::ptr_eq(ours, theirs)
            || ours.len() == theirs.len() && ours.iter().zip(theirs.iter()).all(same)
    }

    /// Whether anything goes back behind `held`: an older CRL or bundle than one that was in use says
    /// nothing about what was revoked or taken back since.
    pub(super) fn check_not_before(&self, held: &Self) -> Result<(), UpdateError> {
        for old in held.crls.crls() {
            if let Some(new) = self.crls.held(old.issuer(), old.scope())
                && new.number() < old.number()
            {
                return Err(UpdateError::CrlOlder {
                    offered: new.number(),
                    held: old.number(),
                });
            }
        }
        for old in held.bundles.iter() {
            if let Some(new) = self.bundles.of(old.trust_domain())
                && new.sequence() < old.sequence()
            {
                return Err(UpdateError::BundleOlder {
                    trust_domain: old.trust_domain().clone(),
                });
            }
        }
        Ok(())
    }
}
