//! `GuardBuilder`: which credentials a guard takes, and what each check goes by.

use std::fmt;
use std::sync::Arc;

use m2m_revoke::Revocations;
use m2m_token::{PolicyError, VerifierBuilder};

use crate::decision::Decide;
use crate::freshness::Freshness;
use crate::guard::{Guard, Several};
use crate::presented::{Credential, Kinds};

/// Builds a [`Guard`]. Nothing is taken that was not named, and what every check goes by is said.
#[must_use]
pub struct GuardBuilder {
    decide: Box<dyn Decide>,
    verifier: Option<(VerifierBuilder, Freshness)>,
    revocations: Revoked,
    required: Kinds,
    several: Several,
    #[cfg(feature = "pki")]
    peers: Option<crate::guard::Peers>,
    #[cfg(feature = "secrets")]
    secrets: crate::guard::Secrets,
}

/// What was said about revocation.
enum Revoked {
    Unsaid,
    Looked(Arc<Revocations>, Freshness),
    Ignored,
}

/// Why no guard was built.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// No credential is taken, so nobody could ever be admitted.
    #[error("the guard takes no credential; say which, for example by `with_bound_tokens`")]
    NothingTaken,
    /// Nothing was said about revocation.
    #[error(
        "say where revocations are looked up (`with_revocations`), or that they are not \
         (`danger_without_revocations`)"
    )]
    RevocationsUnsaid,
    /// A credential is required that is not taken.
    #[error("a {credential} is required, and none is taken")]
    RequiredNotTaken {
        /// Which.
        credential: Credential,
    },
    /// What was said about tokens contradicts itself.
    #[error("tokens: {0}")]
    Tokens(PolicyError),
}

impl GuardBuilder {
    pub(crate) fn new(decide: impl Decide + 'static) -> Self {
        Self {
            decide: Box::new(decide),
            verifier: None,
            revocations: Revoked::Unsaid,
            required: Kinds::default(),
            several: Several::MustAgree,
            #[cfg(feature = "pki")]
            peers: None,
            #[cfg(feature = "secrets")]
            secrets: crate::guard::Secrets::default(),
        }
    }

    /// Takes tokens that are bound to a certificate or a key (RFC 8705, RFC 9449), from whoever proves to
    /// hold it. One that is not bound is refused, whoever presents it. `keys` says how old the issuers'
    /// keys may be.
    ///
    /// `verifier` says of whom, for whom and of which type; the guard adds its revocations.
    pub fn with_bound_tokens(self, verifier: VerifierBuilder, keys: Freshness) -> Self {
        self.with_bearer_tokens(verifier.with_binding_required(), keys)
    }

    /// As [`GuardBuilder::with_bound_tokens`], and takes tokens that are not bound too, **from whoever has
    /// them**. One that is bound needs its proof nevertheless.
    pub fn with_bearer_tokens(mut self, verifier: VerifierBuilder, keys: Freshness) -> Self {
        self.verifier = Some((verifier, keys));
        self
    }

    /// Takes peers by their certificates, and asks `trust` at each call whether they are still trusted.
    /// `crls` says how old what it goes by may be, besides what each CRL says of itself.
    #[cfg(feature = "pki")]
    pub fn with_peers(mut self, trust: impl crate::PeerTrust + 'static, crls: Freshness) -> Self {
        self.peers = Some(crate::guard::Peers {
            trust: Box::new(trust),
            crls,
        });
        self
    }

    /// Takes API keys that `table` knows.
    #[cfg(feature = "secrets")]
    pub fn with_api_keys(mut self, table: Arc<m2m_types::Live<m2m_secrets::KeyTable>>) -> Self {
        self.secrets.keys = Some(table);
        self
    }

    /// Takes requests that one of `callers` signed in the compact form, each once, by `memory`.
    #[cfg(feature = "secrets")]
    pub fn with_signed_requests(
        mut self,
        callers: Arc<m2m_types::Live<crate::CallerSecrets>>,
        memory: Arc<m2m_secrets::ReplayMemory>,
    ) -> Self {
        self.secrets.compact = Some((callers, memory));
        self
    }

    /// Takes requests that one of `callers` signed by RFC 9421, if the signature covers what `policy`
    /// demands.
    #[cfg(feature = "secrets")]
    pub fn with_http_signatures(
        mut self,
        callers: Arc<m2m_types::Live<crate::HttpCallers>>,
        policy: m2m_secrets::HttpSignaturePolicy,
    ) -> Self {
        self.secrets.http = Some((callers, policy));
        self
    }

    /// Refuses what is void, whatever kind of credential it is; `freshness` says how old that may be.
    pub fn with_revocations(mut self, set: Arc<Revocations>, freshness: Freshness) -> Self {
        self.revocations = Revoked::Looked(set, freshness);
        self
    }

    /// Looks nothing up: **what was issued stays good until it expires**. CRLs are asked nevertheless, and
    /// so is whatever `verifier` was told.
    pub fn danger_without_revocations(mut self) -> Self {
        self.revocations = Revoked::Ignored;
        self
    }

    /// Refuses every call that does not come with this. Without it, any one of those that are taken will
    /// do.
    pub fn requiring(mut self, credential: Credential) -> Self {
        self.required.add(credential);
        self
    }

    /// Takes several credentials that name different machines: for a token that somebody else passes on.
    /// The caller is then whom the first of token, signature, API key and certificate names, and
    /// **whoever is at the other end acts in its name**.
    pub fn danger_accepting_disagreement(mut self) -> Self {
        self.several = Several::MayDisagree;
        self
    }

    /// The guard.
    ///
    /// # Errors
    ///
    /// [`BuildError`].
    pub fn build(self) -> Result<Guard, BuildError> {
        let taken = self.taken();
        if taken == Kinds::default() {
            return Err(BuildError::NothingTaken);
        }
        if let Some(credential) = self.required.without(taken).iter().next() {
            return Err(BuildError::RequiredNotTaken { credential });
        }
        let revocations = match self.revocations {
            Revoked::Unsaid => return Err(BuildError::RevocationsUnsaid),
            Revoked::Looked(set, freshness) => Some((set, freshness)),
            Revoked::Ignored => None,
        };
        let tokens = match self.verifier {
            None => None,
            Some((verifier, keys)) => {
                let verifier = match &revocations {
                    Some((set, _)) => verifier.with_revocations(Arc::clone(set)),
                    None => verifier,
                };
                Some((verifier.build().map_err(BuildError::Tokens)?, keys))
            }
        };
        Ok(Guard {
            decide: self.decide,
            tokens,
            revocations,
            taken,
            required: self.required,
            several: self.several,
            #[cfg(feature = "pki")]
            peers: self.peers,
            #[cfg(feature = "secrets")]
            secrets: self.secrets,
        })
    }

    fn taken(&self) -> Kinds {
        let mut taken = Kinds::default();
        if self.verifier.is_some() {
            taken.add(Credential::Token);
        }
        #[cfg(feature = "pki")]
        if self.peers.is_some() {
            taken.add(Credential::Certificate);
        }
        #[cfg(feature = "secrets")]
        {
            if self.secrets.keys.is_some() {
                taken.add(Credential::ApiKey);
            }
            if self.secrets.compact.is_some() || self.secrets.http.is_some() {
                taken.add(Credential::Signature);
            }
        }
        taken
    }
}

impl fmt::Debug for GuardBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardBuilder")
            .field("taken", &self.taken())
            .field("required", &self.required)
            .finish_non_exhaustive()
    }
}
