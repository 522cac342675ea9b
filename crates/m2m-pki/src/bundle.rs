//! `TrustBundle`: whose certificates are believed about one trust domain; `TrustBundles`: about several.

use std::collections::BTreeMap;
use std::sync::Arc;

use m2m_types::TrustDomain;

use crate::Certificate;

/// The X.509 authorities of one trust domain: exactly these certificates, byte for byte.
///
/// An authority here speaks for this trust domain and for no other. Whether a certificate may be an
/// authority at all is judged when a path ends in it. Cloning copies a pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustBundle {
    trust_domain: TrustDomain,
    authorities: Arc<[Certificate]>,
}

/// The bundles of several trust domains, never mixed: what one says counts for its own names alone.
///
/// A value: changing it gives a new one, to be put into a [`Live`](m2m_types::Live).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustBundles {
    bundles: BTreeMap<TrustDomain, TrustBundle>,
}

impl TrustBundle {
    /// The bundle of `trust_domain`. A certificate that stands there twice is taken once. Without any
    /// it trusts nobody.
    pub fn new(
        trust_domain: TrustDomain,
        authorities: impl IntoIterator<Item = Certificate>,
    ) -> Self {
        let mut distinct: Vec<Certificate> = Vec::new();
        for authority in authorities {
            if !distinct.contains(&authority) {
                distinct.push(authority);
            }
        }
        Self {
            trust_domain,
            authorities: distinct.into(),
        }
    }

    /// For which trust domain it speaks.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Its authorities.
    pub fn authorities(&self) -> &[Certificate] {
        &self.authorities
    }

    /// Whether `certificate` is one of its authorities, byte for byte.
    pub fn holds(&self, certificate: &Certificate) -> bool {
        self.authorities.contains(certificate)
    }
}

impl TrustBundles {
    /// Without a bundle: nobody is trusted.
    pub fn new() -> Self {
        Self::default()
    }

    /// The bundles with `bundle` in the place of the one of its trust domain.
    #[must_use]
    pub fn with(mut self, bundle: TrustBundle) -> Self {
        self.bundles.insert(bundle.trust_domain.clone(), bundle);
        self
    }

    /// The bundles without that of `trust_domain`.
    #[must_use]
    pub fn without(mut self, trust_domain: &TrustDomain) -> Self {
        self.bundles.remove(trust_domain);
        self
    }

    /// The bundle of `trust_domain`.
    pub fn of(&self, trust_domain: &TrustDomain) -> Option<&TrustBundle> {
        self.bundles.get(trust_domain)
    }

    /// All of them, by the name of their trust domain.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &TrustBundle> {
        self.bundles.values()
    }
}
