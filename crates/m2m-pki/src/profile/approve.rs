//! Approving: what a request asks for, held against what the profile gives.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use m2m_types::{ServiceId, TrustDomain};

use super::{Kind, Profile, RequestedName, excerpt, short};
use crate::certificate::{Extensions, KeyUsage};
use crate::{KeyAlgorithm, PublicKey, Rejection, VerifiedCsr};

/// The DER of a name that says nothing.
const EMPTY_NAME: &[u8] = &[0x30, 0];

/// A certificate that may be issued: a key whose holder was verified, for a machine that the caller
/// knows to be the one that asks, under a profile. Only [`Profile::approve`] and
/// [`Ledger::renew`](crate::Ledger::renew) make one.
pub struct Approved {
    pub(crate) key: PublicKey,
    pub(crate) identity: ServiceId,
    pub(crate) profile: Profile,
    pub(crate) lifetime: Duration,
    pub(crate) dns_names: Vec<Box<str>>,
    pub(crate) ip_addresses: Vec<IpAddr>,
}

/// Why nothing is issued for a request: for operators. Who sent it gets [`ApproveError::rejection`].
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApproveError {
    /// The profile is for another trust domain.
    #[error(
        "{} is not in {trust_domain}, which this profile is for",
        short(identity)
    )]
    TrustDomain {
        /// Who asked.
        identity: ServiceId,
        /// Whom the profile is for.
        trust_domain: TrustDomain,
    },
    /// Longer than the profile allows, or less than a second.
    #[error("a lifetime of {requested:?} is not between one second and {limit:?}")]
    Lifetime {
        /// What was asked for.
        requested: Duration,
        /// The profile's limit.
        limit: Duration,
    },
    /// The profile does not take this kind of key.
    #[error("{found} keys are not taken")]
    KeyAlgorithm {
        /// Which kind it is.
        found: KeyAlgorithm,
    },
    /// Nobody requests a root.
    #[error("a root is created, not requested")]
    Root,
    /// The request asks for a subject.
    #[error("it asks for a subject, {length} bytes long")]
    Subject {
        /// Its length in DER.
        length: usize,
    },
    /// The request asks to be a CA or not to be one, or with more CAs below, against the profile.
    #[error("it asks for CA:{is_ca} with path length {path_len:?}")]
    Authority {
        /// Whether it wants to be one.
        is_ca: bool,
        /// What it wants below.
        path_len: Option<u32>,
    },
    /// The request asks for a use that the profile does not give.
    #[error("it asks for {usage:?}")]
    KeyUsage {
        /// What it asks for.
        usage: KeyUsage,
    },
    /// The request asks for a purpose that the profile does not give.
    #[error("it asks for an extended key usage that the profile does not give")]
    ExtendedKeyUsage,
    /// The request asks for a URI that is not the identity of who asked.
    #[error("it asks for the URI {uri:?}")]
    Uri {
        /// Its first 64 characters.
        uri: Box<str>,
    },
    /// The request asks for a DNS name that the profile does not allow to who asked.
    #[error("it asks for the DNS name {name:?}")]
    DnsName {
        /// Its first 64 characters.
        name: Box<str>,
    },
    /// The request asks for an IP address that the profile does not allow to who asked.
    #[error("it asks for the IP address {address}")]
    IpAddress {
        /// Which.
        address: IpAddr,
    },
    /// The request asks for e-mail addresses, directory names or others that no profile gives.
    #[error("it asks for {found} names that are neither URI, DNS name nor IP address")]
    OtherNames {
        /// How many.
        found: usize,
    },
    /// The request asks for an extension that is not the requester's to choose.
    #[error("it asks for the extension {oid}")]
    Extension {
        /// Which.
        oid: Box<str>,
    },
}

impl Profile {
    /// Approves `csr` for `identity`: whom the caller has **authenticated** as its sender, by a join
    /// token, an attestation, an operator, or a certificate. What the request says of itself plays
    /// no part in that.
    ///
    /// `lifetime` counts from the moment of issuing. A CA's certificate does not name `identity`
    /// (X.509-SVID §4.1 wants no path there); the ledger notes it as the holder.
    ///
    /// # Errors
    ///
    /// [`ApproveError`]. What a request asks for beyond the profile is never left out: it is refused.
    pub fn approve(
        &self,
        csr: VerifiedCsr,
        identity: &ServiceId,
        lifetime: Duration,
    ) -> Result<Approved, ApproveError> {
        if self.kind == Kind::Root {
            return Err(ApproveError::Root);
        }
        if csr.subject != EMPTY_NAME.into() && !self.ignores_subject {
            let length = csr.subject.len();
            return Err(ApproveError::Subject { length });
        }
        let mut approved = self.approve_key(csr.key, identity, lifetime)?;
        self.check_usage(&csr.requested)?;
        self.check_extensions(&csr.requested)?;
        self.take_names(&csr.requested, &mut approved)?;
        Ok(approved)
    }

    /// What needs no request: the caller holds the key, or the signature shows who does.
    pub(crate) fn approve_key(
        &self,
        key: PublicKey,
        identity: &ServiceId,
        lifetime: Duration,
    ) -> Result<Approved, ApproveError> {
        if !identity.is_member_of(&self.trust_domain) {
            return Err(ApproveError::TrustDomain {
                identity: identity.clone(),
                trust_domain: self.trust_domain.clone(),
            });
        }
        if lifetime.as_secs() == 0 || lifetime > self.max_lifetime {
            return Err(ApproveError::Lifetime {
                requested: lifetime,
                limit: self.max_lifetime,
            });
        }
        let found = key.algorithm();
        // CAs of ours do not sign with RSA, so none is made.
        let unfit = self.is_for_authorities() && found == KeyAlgorithm::Rsa;
        if unfit || !self.key_algorithms.contains(&found) {
            return Err(ApproveError::KeyAlgorithm { found });
        }
        Ok(Approved {
            key,
            identity: identity.clone(),
            profile: self.clone(),
            lifetime,
            dns_names: self.dns_names.clone(),
            ip_addresses: self.ip_addresses.clone(),
        })
    }

    /// The bits of `keyUsage` that its certificates have.
    pub(crate) fn key_usage(&self) -> u16 {
        match self.is_for_authorities() {
            true => KeyUsage::KEY_CERT_SIGN | KeyUsage::CRL_SIGN,
            false => KeyUsage::DIGITAL_SIGNATURE,
        }
    }

    fn check_usage(&self, requested: &Extensions) -> Result<(), ApproveError> {
        let (is_ca, path_len) = (requested.is_ca, requested.path_len);
        let fits = match self.kind {
            Kind::Intermediate { path_len: limit } => {
                // Without a limit of its own it asks for no more than it gets.
                !requested.has_basic_constraints
                    || is_ca && path_len.is_none_or(|asked| asked <= u32::from(limit))
            }
            _ => !is_ca,
        };
        if !fits {
            return Err(ApproveError::Authority { is_ca, path_len });
        }
        match requested.key_usage {
            Some(usage) if !usage.is_within(self.key_usage()) => {
                return Err(ApproveError::KeyUsage { usage });
            }
            _ => {}
        }
        let beyond = requested.extended_key_usage.is_some_and(|purpose| {
            purpose.any
                || purpose.others > 0
                || (purpose.client && !self.client_auth)
                || (purpose.server && !self.server_auth)
        });
        match beyond {
            true => Err(ApproveError::ExtendedKeyUsage),
            false => Ok(()),
        }
    }

    /// All that describes the issuer, or that nobody here understands.
    fn check_extensions(&self, requested: &Extensions) -> Result<(), ApproveError> {
        let known = [
            (requested.subject_key_id.is_some(), "2.5.29.14"),
            (requested.authority_key_id.is_some(), "2.5.29.35"),
            (!requested.crl_distribution_points.is_empty(), "2.5.29.31"),
            (requested.name_constraints.is_some(), "2.5.29.30"),
            (requested.has_no_rev_avail, "2.5.29.56"),
        ];
        let known = known.into_iter().find(|(asked, _)| *asked);
        let other = requested.others.first().map(|oid| &**oid);
        match known.map(|(_, oid)| oid).or(other) {
            Some(oid) => Err(ApproveError::Extension { oid: oid.into() }),
            None => Ok(()),
        }
    }

    fn take_names(
        &self,
        requested: &Extensions,
        approved: &mut Approved,
    ) -> Result<(), ApproveError> {
        let found = requested.other_names;
        if found > 0 {
            return Err(ApproveError::OtherNames { found });
        }
        let identity = approved.identity.clone();
        let named = |uri: &str| self.kind == Kind::Workload && uri == identity.as_str();
        if let Some(uri) = requested.uris.iter().find(|uri| !named(uri)) {
            return Err(ApproveError::Uri { uri: excerpt(uri) });
        }
        let allows = |name: RequestedName<'_>| match &self.allows {
            Some(allows) => allows(&identity, name),
            None => false,
        };
        for name in &requested.dns_names {
            // One spelling for names that are compared without regard to case.
            let name: Box<str> = name.to_ascii_lowercase().into();
            if approved.dns_names.contains(&name) {
                continue;
            }
            if name.contains('*') || !allows(RequestedName::Dns(&name)) {
                return Err(ApproveError::DnsName {
                    name: excerpt(&name),
                });
            }
            approved.dns_names.push(name);
        }
        for &address in &requested.ip_addresses {
            if approved.ip_addresses.contains(&address) {
                continue;
            }
            // An IPv4 address dressed as IPv6 is a second name for the same machine.
            let mapped =
                matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some());
            if mapped || !allows(RequestedName::Ip(address)) {
                return Err(ApproveError::IpAddress { address });
            }
            approved.ip_addresses.push(address);
        }
        Ok(())
    }
}

impl Approved {
    /// For whom.
    pub fn identity(&self) -> &ServiceId {
        &self.identity
    }

    /// Under which profile.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// For how long, from the moment of issuing.
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }
}

impl ApproveError {
    /// What the sender of the request may learn: the same whatever the cause.
    pub fn rejection(&self) -> Rejection {
        Rejection::Refused
    }
}

impl fmt::Debug for Approved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Approved")
            .field("identity", &self.identity)
            .field("profile", &self.profile.name)
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}
