//! `TrustBundles`: the bundles of several trust domains, never mixed.

use std::collections::BTreeMap;

use m2m_types::TrustDomain;

use super::TrustBundle;
use crate::Certificate;

/// The bundles of the trust domains that are known here: one's own and those it is federated with.
///
/// Authorities are never put together: whoever asks for them names the trust domain, which for an
/// X.509-SVID is the one of the identity it claims. So an authority of one domain has no say in another.
///
/// A value, to be put into a [`Live`](m2m_types::Live): a change gives another one that shares the
/// bundles.
///
/// ```
/// use m2m_pki::{TrustBundle, TrustBundles};
///
/// let ours = TrustBundle::new("example.org".parse()?, []).with_sequence(2);
/// let bundles = TrustBundles::new().updated(ours.clone())?;
/// assert!(bundles.of(&"elsewhere.example".parse()?).is_none());
/// // There is no way back to an older one.
/// assert!(bundles.updated(ours.with_sequence(1)).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustBundles {
    bundles: BTreeMap<TrustDomain, TrustBundle>,
}

/// Why a bundle was not taken. The set stays as it was.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustBundlesError {
    /// A newer one is there.
    #[error("bundle {offered} of {domain} is older than {held}, which is held")]
    Older {
        /// Whose it is.
        domain: TrustDomain,
        /// The number of the bundle that was offered.
        offered: u64,
        /// The number of the one that is held.
        held: u64,
    },
    /// One with this number and other authorities is there: its publisher's numbers repeat.
    #[error("number {sequence} of {domain} was used for two bundles")]
    SequenceRepeats {
        /// Whose it is.
        domain: TrustDomain,
        /// The number.
        sequence: u64,
    },
    /// The one that is held has a number and this one has none, so it is not known to be newer.
    #[error("the bundle of {domain} has no number, and {held} is held")]
    SequenceMissing {
        /// Whose it is.
        domain: TrustDomain,
        /// The number of the one that is held.
        held: u64,
    },
    /// There are too many trust domains.
    #[error("at most {} trust domains are known", TrustBundles::MAX_DOMAINS)]
    TooMany,
}

impl TrustBundles {
    /// The most trust domains.
    pub const MAX_DOMAINS: usize = 1024;

    /// None: nobody is trusted.
    pub fn new() -> Self {
        Self::default()
    }

    /// The set with `bundle` in the place of the one of its trust domain, **older or not**: for one's
    /// own configuration. What was fetched goes through [`TrustBundles::updated`].
    #[must_use]
    pub fn with(mut self, bundle: TrustBundle) -> Self {
        self.bundles.insert(bundle.trust_domain().clone(), bundle);
        self
    }

    /// The set with `bundle` in the place of the older one of its trust domain.
    ///
    /// A bundle without a number takes the place of another without one; who fetches them has to see
    /// that they do not come out of order.
    ///
    /// # Errors
    ///
    /// [`TrustBundlesError`]; keep the set you have.
    pub fn updated(&self, bundle: TrustBundle) -> Result<Self, TrustBundlesError> {
        let domain = || bundle.trust_domain().clone();
        match self.of(bundle.trust_domain()) {
            None if self.len() >= Self::MAX_DOMAINS => return Err(TrustBundlesError::TooMany),
            None => {}
            Some(old) => match (old.sequence(), bundle.sequence()) {
                (None, _) => {}
                (Some(held), None) => {
                    let domain = domain();
                    return Err(TrustBundlesError::SequenceMissing { domain, held });
                }
                (Some(held), Some(offered)) if offered < held => {
                    return Err(TrustBundlesError::Older {
                        domain: domain(),
                        offered,
                        held,
                    });
                }
                (Some(held), Some(sequence)) if sequence == held => {
                    if !old.has_same_authorities(&bundle) {
                        let domain = domain();
                        return Err(TrustBundlesError::SequenceRepeats { domain, sequence });
                    }
                }
                (Some(_), Some(_)) => {}
            },
        }
        Ok(self.clone().with(bundle))
    }

    /// The set without the bundle of `domain`, whose identities are refused from then on. Its number
    /// is forgotten too, so this is also how to start anew with a publisher that lost count.
    #[must_use]
    pub fn without(mut self, domain: &TrustDomain) -> Self {
        self.bundles.remove(domain);
        self
    }

    /// The bundle of `domain`; [`None`] if it is not known, and then nobody speaks for it.
    pub fn of(&self, domain: &TrustDomain) -> Option<&TrustBundle> {
        self.bundles.get(domain)
    }

    /// The CA certificates that speak for `domain`; none if it is not known.
    pub fn authorities_of(&self, domain: &TrustDomain) -> &[Certificate] {
        self.of(domain).map_or(&[], TrustBundle::authorities)
    }

    /// All bundles, in the order of their domains.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &TrustBundle> {
        self.bundles.values()
    }

    /// How many trust domains are known.
    pub fn len(&self) -> usize {
        self.bundles.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.bundles.is_empty()
    }
}
