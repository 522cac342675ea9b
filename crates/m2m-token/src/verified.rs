//! `Verified`: the proof that a token was checked, and the way to its claims.

use std::fmt;
use std::sync::Arc;

use arc_swap::Guard;
use m2m_crypto::VerifyingKey;
use m2m_types::{ServiceIdError, ServiceIdRef, Timestamp};

use crate::cache::CachedToken;
use crate::claims::{Claims, Confirmation};
use crate::error::VerifyError;
use crate::policy::Presenter;

/// A token whose signature, issuer, audience, type, dates, binding and revocation were checked.
///
/// Only [`crate::Verifier::verify`] makes one, so code that takes a `Verified` cannot be reached
/// with claims that nobody checked:
///
/// ```compile_fail,E0277
/// # // jwt_016: unverified claims are another type, and there is no way from one to the other
/// # use m2m_token::{Unverified, Verified};
/// fn authorise(caller: &Verified<'_>) {}
/// fn careless(token: Unverified<'_>) {
///     let verified: Verified<'_> = token.into();
///     authorise(&verified);
/// }
/// ```
pub struct Verified<'s> {
    pub(crate) body: Body<'s>,
}

pub(crate) enum Body<'s> {
    /// Borrowed from the caller's scratch memory.
    Fresh(Claims<'s>),
    /// Held in the cache, which does not let go of it while this lives.
    Cached(Guard<Option<Arc<CachedToken>>>),
}

impl Verified<'_> {
    /// The claims.
    #[inline]
    pub fn claims(&self) -> Claims<'_> {
        match &self.body {
            Body::Fresh(claims) => *claims,
            Body::Cached(entry) => match entry.as_deref() {
                Some(token) => token.claims(),
                // A body is made only from an entry that is there.
                None => CachedToken::NONE,
            },
        }
    }

    /// Whether the signature was checked before, and this token was found in the verifier's cache.
    pub fn was_cached(&self) -> bool {
        matches!(self.body, Body::Cached(_))
    }

    /// `iss`; see [`Claims::issuer`].
    pub fn issuer(&self) -> Option<&str> {
        self.claims().issuer()
    }

    /// `sub`; see [`Claims::subject`].
    pub fn subject(&self) -> Option<&str> {
        self.claims().subject()
    }

    /// `sub` as the name of a machine.
    ///
    /// # Errors
    ///
    /// [`ServiceIdError`] if it is not a SPIFFE ID; never if the verifier was built with
    /// [`crate::VerifierBuilder::with_trust_domain`].
    pub fn service_id(&self) -> Result<ServiceIdRef<'_>, ServiceIdError> {
        self.claims().service_id()
    }

    /// Whether `sub` is the name of a machine, as [`Verified::service_id`] would find. Of a token from the
    /// cache that is known already.
    #[inline]
    pub fn names_service(&self) -> bool {
        match &self.body {
            Body::Fresh(claims) => claims.service_id().is_ok(),
            Body::Cached(entry) => entry.as_deref().is_some_and(|token| token.names_service),
        }
    }

    /// `jti`; see [`Claims::token_id`].
    pub fn token_id(&self) -> Option<&str> {
        self.claims().token_id()
    }

    /// `exp`; see [`Claims::expires_at`].
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.claims().expires_at()
    }

    /// Whether `scope` contains `wanted`; see [`Claims::has_scope`].
    pub fn has_scope(&self, wanted: &str) -> bool {
        self.claims().has_scope(wanted)
    }
}

impl fmt::Debug for Verified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("claims", &self.claims())
            .field("was_cached", &self.was_cached())
            .finish()
    }
}

/// A bound token of which everything was checked but whether its presenter is who it is bound to.
///
/// [`crate::Verifier::verify_bound`] makes one. It says what the proof must be, and nothing else until
/// [`Unproven::prove`] is given that proof:
///
/// ```
/// # use m2m_token::{Presenter, Scratch, Verifier, VerifyError};
/// # use m2m_types::Timestamp;
/// # fn proof_verifies_with(_: &m2m_crypto::VerifyingKey) -> bool { false }
/// /// A workload identity token, whose proof is signed with the key that stands in it.
/// fn subject(verifier: &Verifier, token: &str, now: Timestamp) -> Result<Option<String>, VerifyError> {
///     let mut scratch = Scratch::new();
///     let unproven = verifier.verify_bound(token, now, &mut scratch)?;
///     let mut presenter = Presenter::unknown();
///     if let Some(key) = unproven.embedded_key().filter(proof_verifies_with) {
///         presenter = presenter.with_key(key.thumbprint());
///     }
///     let verified = unproven.prove(&presenter)?;
///     Ok(verified.subject().map(str::to_owned))
/// }
/// ```
pub struct Unproven<'s> {
    verified: Verified<'s>,
    confirmation: Confirmation,
}

impl<'s> Unproven<'s> {
    pub(crate) fn new(verified: Verified<'s>) -> Option<Self> {
        let confirmation = verified.claims().confirmation()?;
        Some(Self {
            verified,
            confirmation,
        })
    }

    /// What the presenter must prove to hold.
    pub fn confirmation(&self) -> Confirmation {
        self.confirmation
    }

    /// The key that the token contains, if it is bound to one that it contains; see
    /// [`Claims::embedded_key`].
    pub fn embedded_key(&self) -> Option<VerifyingKey> {
        self.verified.claims().embedded_key()
    }

    /// Gives the token, if `presenter` is who it is bound to.
    ///
    /// # Errors
    ///
    /// [`VerifyError::BindingMissing`] or [`VerifyError::BindingMismatch`].
    pub fn prove(self, presenter: &Presenter) -> Result<Verified<'s>, VerifyError> {
        self.confirmation.check(presenter)?;
        Ok(self.verified)
    }
}

/// Shows what it is bound to; nothing else is anybody's business yet.
impl fmt::Debug for Unproven<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unproven")
            .field("confirmation", &self.confirmation)
            .finish_non_exhaustive()
    }
}
