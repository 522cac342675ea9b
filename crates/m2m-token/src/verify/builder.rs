//! Builds a `Verifier`: three things that must be said, and the rest with strict defaults.

use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::{Algorithm, RandomError, SecureRandom};
use m2m_revoke::Revocations;
use m2m_types::TrustDomain;

use super::{BindingRule, Verifier};
use crate::algorithms::AlgorithmSet;
use crate::base64url::Base64Url;
use crate::cache::TokenCache;
use crate::header::KnownHeaders;
use crate::policy::{Audience, Issuers, TokenType};

/// Collects what a [`Verifier`] is to check. Defaults: no leeway, `exp` required, every algorithm
/// that the issuers' keys are for, bound tokens only with proof, no cache, no revocation.
///
/// There is none without issuers, audience and type, and so no `Default`:
///
/// ```compile_fail,E0061
/// # // jwt_017: what must be said cannot be left out
/// let builder = m2m_token::Verifier::builder(); // this function takes 3 arguments
/// ```
///
/// ```compile_fail,E0277
/// # // jwt_017: and there is nothing to fall back to
/// fn fallback<T: Default>() {}
/// fallback::<m2m_token::Verifier>(); // `Verifier: Default` is not satisfied
/// ```
#[derive(Debug)]
pub struct VerifierBuilder {
    issuers: Issuers,
    audience: Audience,
    token_type: TokenType,
    algorithms: AlgorithmSet,
    leeway: Duration,
    expiry_required: bool,
    max_lifetime: Option<Duration>,
    required: Vec<Box<str>>,
    trust_domain: Option<TrustDomain>,
    binding: BindingRule,
    embedded_keys: bool,
    revocations: Option<Arc<Revocations>>,
    cache: Option<TokenCache>,
}

/// Why a verifier cannot be built.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// An issuer has no name.
    #[error("an issuer's name is empty; name it, or say `Issuers::danger_ignored`")]
    IssuerEmpty,
    /// Two issuers have the same name, so it would not be clear whose keys count.
    #[error("issuer {name:?} is named twice; put all of its keys in one set")]
    IssuerTwice {
        /// The name.
        name: Box<str>,
    },
    /// An audience has no name.
    #[error("an audience's name is empty; name it, or say `Audience::danger_ignored`")]
    AudienceEmpty,
    /// A token type has no name.
    #[error("the token type's name is empty; name it, or say `TokenType::danger_ignored`")]
    TypeEmpty,
    /// The leeway is more than clocks can be apart.
    #[error("a leeway of {leeway:?} is more than {limit:?}; synchronise the clocks instead")]
    LeewayTooLong {
        /// What was asked for.
        leeway: Duration,
        /// [`VerifierBuilder::MAX_LEEWAY`].
        limit: Duration,
    },
    /// No algorithm is allowed, so no token could be taken.
    #[error("the list of allowed algorithms is empty")]
    NoAlgorithms,
}

impl VerifierBuilder {
    /// The most leeway there is: clocks further apart than this are broken.
    pub const MAX_LEEWAY: Duration = Duration::from_secs(600);

    pub(super) fn new(issuers: Issuers, audience: Audience, token_type: TokenType) -> Self {
        Self {
            issuers,
            audience,
            token_type,
            algorithms: AlgorithmSet::ALL,
            leeway: Duration::ZERO,
            expiry_required: true,
            max_lifetime: None,
            required: Vec::new(),
            trust_domain: None,
            binding: BindingRule::Checked,
            embedded_keys: false,
            revocations: None,
            cache: None,
        }
    }

    /// Takes only these algorithms, whatever else the issuers' keys are for.
    #[must_use]
    pub fn with_algorithms(mut self, algorithms: &[Algorithm]) -> Self {
        self.algorithms = AlgorithmSet::of(algorithms);
        self
    }

    /// How far apart the clocks of issuer and verifier may be, in whole seconds: `exp`, `nbf` and
    /// `iat` are all stretched by it. At most [`Self::MAX_LEEWAY`]; by default nothing.
    #[must_use]
    pub fn with_leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Takes tokens without `exp` as well: they hold until their key is taken away, or they are
    /// revoked. An `exp` that is there is checked, and one that is malformed refused.
    ///
    /// For old tokens of others, which nobody can give an end any more.
    #[must_use]
    pub fn danger_accepting_no_expiry(mut self) -> Self {
        self.expiry_required = false;
        self
    }

    /// Takes only tokens that live no longer than this, from `iat`, which is then required, to
    /// `exp`.
    #[must_use]
    pub fn with_max_lifetime(mut self, lifetime: Duration) -> Self {
        self.max_lifetime = Some(lifetime);
        self
    }

    /// Takes only tokens that have this claim, of whatever type.
    #[must_use]
    pub fn with_required_claim(mut self, name: &str) -> Self {
        self.required.push(Box::from(name));
        self
    }

    /// Takes only tokens whose `sub` is a [`m2m_types::ServiceId`] of this trust domain.
    #[must_use]
    pub fn with_trust_domain(mut self, domain: TrustDomain) -> Self {
        self.trust_domain = Some(domain);
        self
    }

    /// Takes only tokens that are bound to a certificate or key (`cnf`), with their proof.
    #[must_use]
    pub fn with_binding_required(mut self) -> Self {
        self.binding = BindingRule::Required;
        self
    }

    /// Takes tokens that contain the key they are bound to (`cnf.jwk`, RFC 7800 §3.2) as well, as
    /// workload identity tokens do (draft-ietf-wimse-workload-creds). They need their proof as others do:
    /// [`Verifier::verify_bound`] hands out the key before anything was proved with it.
    ///
    /// Otherwise they are refused, because reading a key costs memory and time; it is done only once the
    /// signature of the issuer is found good.
    #[must_use]
    pub fn with_embedded_keys(mut self) -> Self {
        self.embedded_keys = true;
        self
    }

    /// Takes bound tokens from whoever presents them. For a place that cannot know who does and
    /// leaves the check to one that can.
    #[must_use]
    pub fn danger_ignoring_binding(mut self) -> Self {
        self.binding = BindingRule::Ignored;
        self
    }

    /// Refuses what has been revoked: the token, its subject's older tokens, its session, its key, the
    /// certificate it is bound to.
    /// A revocation holds from the next call on, for cached tokens too.
    #[must_use]
    pub fn with_revocations(mut self, revocations: Arc<Revocations>) -> Self {
        self.revocations = Some(revocations);
        self
    }

    /// Remembers tokens that were found valid, in at most `max_bytes` of memory (4 KiB hold one
    /// token in any case, and at least four are kept), so that the next call with the same one costs
    /// no signature check. Dates, binding, revocation and the issuer's keys are checked each time.
    ///
    /// The tokens themselves are kept, and wiped when they are let go. `random` seeds the hash that
    /// finds them.
    ///
    /// # Errors
    ///
    /// [`RandomError`] if there is no randomness.
    pub fn with_cache(
        mut self,
        max_bytes: usize,
        random: &dyn SecureRandom,
    ) -> Result<Self, RandomError> {
        self.cache = Some(TokenCache::new(max_bytes, random)?);
        Ok(self)
    }

    /// The verifier.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] if what was said contradicts itself.
    pub fn build(self) -> Result<Verifier, PolicyError> {
        let mut issuers = self.issuers.list;
        issuers.sort_by(|a, b| a.name.cmp(&b.name));
        if self.issuers.checked {
            if issuers.iter().any(|issuer| issuer.name.is_empty()) {
                return Err(PolicyError::IssuerEmpty);
            }
            let twice = issuers.windows(2).find_map(|pair| match pair {
                [a, b] if a.name == b.name => Some(Box::from(&*a.name)),
                _ => None,
            });
            if let Some(name) = twice {
                return Err(PolicyError::IssuerTwice { name });
            }
        }
        if self.audience.names.iter().any(|name| name.is_empty()) {
            return Err(PolicyError::AudienceEmpty);
        }
        if self.token_type.is_empty() {
            return Err(PolicyError::TypeEmpty);
        }
        if self.leeway > Self::MAX_LEEWAY {
            return Err(PolicyError::LeewayTooLong {
                leeway: self.leeway,
                limit: Self::MAX_LEEWAY,
            });
        }
        if self.algorithms.is_empty() {
            return Err(PolicyError::NoAlgorithms);
        }
        let prepared = self.revocations.iter().flat_map(|revocations| {
            let names = issuers.iter().map(|issuer| &*issuer.name);
            names.map(|name| revocations.prepare_issuer(name))
        });
        Ok(Verifier {
            prepared: prepared.collect(),
            issuers,
            issuer_is_checked: self.issuers.checked,
            audience: self.audience,
            subject_required: self.token_type.is_access_token(),
            token_type: self.token_type,
            algorithms: self.algorithms,
            leeway: self.leeway,
            expiry_required: self.expiry_required,
            max_lifetime: self.max_lifetime,
            required: self.required,
            trust_domain: self.trust_domain,
            binding: self.binding,
            embedded_keys: self.embedded_keys,
            revocations: self.revocations,
            codec: Base64Url::new(),
            known_headers: Arc::new(KnownHeaders::new()),
            cache: self.cache,
        })
    }
}
