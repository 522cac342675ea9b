//! What a peer presented, read: the leaf, and certificates that may help to find a path.

use rustls_pki_types::CertificateDer;

use super::error::ChainError;
use super::limits::ChainLimits;
use super::place::Place;
use crate::{Certificate, CertificateError, TrustBundle};

/// The certificates that can be read.
#[derive(Debug)]
pub(super) struct Presented {
    pub(super) leaf: Certificate,
    /// In the order in which they came, none twice.
    pub(super) others: Vec<Certificate>,
    /// What could not be read, by its place in what came.
    pub(super) unreadable: Vec<(usize, CertificateError)>,
}

impl Presented {
    pub(super) fn read(
        chain: &[CertificateDer<'_>],
        limits: ChainLimits,
    ) -> Result<Self, ChainError> {
        let (leaf, rest) = chain.split_first().ok_or(ChainError::NoCertificate)?;
        if chain.len() > limits.certificates {
            return Err(ChainError::TooManyCertificates {
                found: chain.len(),
                limit: limits.certificates,
            });
        }
        let leaf = Certificate::from_der(leaf).map_err(|error| ChainError::Malformed {
            place: Place::Leaf,
            error,
        })?;
        let mut presented = Self {
            leaf,
            others: Vec::with_capacity(rest.len()),
            unreadable: Vec::new(),
        };
        for (number, der) in rest.iter().enumerate() {
            match Certificate::from_der(der) {
                Ok(other) if presented.holds(&other) => {}
                Ok(other) => presented.others.push(other),
                // Peers send what is not needed (RFC 8446 §4.4.2); what is needed will be missed.
                Err(error) => presented.unreadable.push((number + 1, error)),
            }
        }
        Ok(presented)
    }

    fn holds(&self, certificate: &Certificate) -> bool {
        self.leaf == *certificate || self.others.contains(certificate)
    }

    /// Those of the others that may stand above the leaf, by names and key identifiers. What the rules
    /// would refuse afterwards costs no signature, so crowds of CAs of one name are no burden.
    pub(super) fn related(&self, bundle: &TrustBundle) -> Vec<&Certificate> {
        let mut related: Vec<&Certificate> = Vec::new();
        let mut rest: Vec<&Certificate> = self
            .others
            .iter()
            .filter(|other| !bundle.holds(other))
            .collect();
        let mut next = 0;
        let mut below = Some(&self.leaf);
        while let Some(issued) = below {
            let (found, others) = rest.iter().partition(|other| may_issue(other, issued));
            rest = others;
            related.extend::<Vec<&Certificate>>(found);
            below = related.get(next).copied();
            next += 1;
        }
        related
    }

    /// The path that was meant, by names alone: from the leaf to an authority of the bundle, or as far
    /// as it goes. To say what is wrong with a chain for which no path was found.
    pub(super) fn by_name<'a>(
        &'a self,
        bundle: &'a TrustBundle,
    ) -> (Vec<&'a Certificate>, Option<&'a Certificate>) {
        let mut path = vec![&self.leaf];
        let mut last = &self.leaf;
        while path.len() <= ChainLimits::MAX_INTERMEDIATES + 1 {
            let authorities = bundle.authorities().iter();
            let unused = self.others.iter().filter(|other| !path.contains(other));
            match issuer_of(last, authorities.chain(unused)) {
                Some(authority) if bundle.holds(authority) => return (path, Some(authority)),
                Some(next) => {
                    path.push(next);
                    last = next;
                }
                None => break,
            }
        }
        (path, None)
    }
}

/// Whether names, and key identifiers where both have one, allow that `issuer` issued `issued`.
fn may_issue(issuer: &Certificate, issued: &Certificate) -> bool {
    let has_key = match (issuer.subject_key_id(), issued.authority_key_id()) {
        (Some(own), Some(named)) => own == named,
        _ => true,
    };
    has_key && issuer.subject_der() == issued.issuer_der()
}

/// Which of `candidates` has the name of the issuer; if several do, the one with its key identifier.
fn issuer_of<'a>(
    issued: &Certificate,
    candidates: impl Iterator<Item = &'a Certificate>,
) -> Option<&'a Certificate> {
    let named = candidates.filter(|one| one.subject_der() == issued.issuer_der());
    let has_key_id = |one: &Certificate| {
        one.subject_key_id().is_some() && one.subject_key_id() == issued.authority_key_id()
    };
    let mut first = None;
    for candidate in named {
        if has_key_id(candidate) {
            return Some(candidate);
        }
        first = first.or(Some(candidate));
    }
    first
}
