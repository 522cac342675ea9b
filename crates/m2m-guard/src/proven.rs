//! `Proven`: who a caller was proven to be; and `Admitted`, that it may do what it asked for.

use std::fmt;

use m2m_crypto::CertificateThumbprint;
#[cfg(feature = "pki")]
use m2m_pki::VerifiedPeer;
use m2m_token::Verified;
use m2m_types::{ServiceId, ServiceIdError, ServiceIdRef, Timestamp};

use crate::caller::Caller;
use crate::freshness::Ages;
use crate::presented::{Credential, Kinds};
#[cfg(feature = "secrets")]
use crate::secrets::{ApiKeyProof, SignatureProof};

/// A caller of whom every credential that it showed was checked. What decides is given one; only a
/// [`crate::Guard`] makes one.
pub struct Proven<'a> {
    pub(crate) name: Name<'a>,
    pub(crate) kinds: Kinds,
    pub(crate) token: Option<Verified<'a>>,
    pub(crate) certificate: Option<CertificateThumbprint>,
    #[cfg(feature = "pki")]
    pub(crate) peer: Option<&'a VerifiedPeer>,
    #[cfg(feature = "secrets")]
    pub(crate) api_key: Option<ApiKeyProof>,
    #[cfg(feature = "secrets")]
    pub(crate) signature: Option<SignatureProof>,
    pub(crate) ages: Ages,
    pub(crate) now: Timestamp,
}

/// Where the caller's name stands.
pub(crate) enum Name<'a> {
    /// In the token, whose `sub` was found to be one.
    Token,
    #[cfg_attr(not(feature = "pki"), expect(dead_code, reason = "of peers"))]
    Borrowed(&'a ServiceId),
    #[cfg_attr(not(feature = "secrets"), expect(dead_code, reason = "of secrets"))]
    Owned(ServiceId),
}

impl Proven<'_> {
    /// Who it is, as text.
    #[inline]
    pub fn name(&self) -> &str {
        match &self.name {
            Name::Token => self.token.as_ref().and_then(Verified::subject),
            Name::Borrowed(service) => Some(service.as_str()),
            Name::Owned(service) => Some(service.as_str()),
        }
        .unwrap_or_default()
    }

    /// Who it is.
    ///
    /// # Errors
    ///
    /// None in practice: the guard refuses whoever has no such name.
    pub fn service_id(&self) -> Result<ServiceIdRef<'_>, ServiceIdError> {
        match &self.name {
            Name::Token => ServiceIdRef::parse(self.name()),
            Name::Borrowed(service) => Ok(service.as_ref()),
            Name::Owned(service) => Ok(service.as_ref()),
        }
    }

    /// Whether it showed a credential of this kind, and it held.
    pub const fn has(&self, credential: Credential) -> bool {
        self.kinds.has(credential)
    }

    /// The kinds of credentials it showed. All of them held.
    pub fn credentials(&self) -> impl Iterator<Item = Credential> {
        self.kinds.iter()
    }

    /// Its token.
    pub const fn token(&self) -> Option<&Verified<'_>> {
        self.token.as_ref()
    }

    /// Whether it has a token whose `scope` contains `wanted`; see [`Verified::has_scope`].
    pub fn has_scope(&self, wanted: &str) -> bool {
        self.token
            .as_ref()
            .is_some_and(|token| token.has_scope(wanted))
    }

    /// Whether it has a token that nobody else can use: bound to a certificate or a key, of which it
    /// gave proof.
    pub fn is_bound(&self) -> bool {
        let token = self.token.as_ref();
        token.is_some_and(|token| token.claims().confirmation().is_some())
    }

    /// The certificate whose key it showed.
    pub const fn certificate(&self) -> Option<&CertificateThumbprint> {
        self.certificate.as_ref()
    }

    /// Its certificate's chain, which was asked again whether it holds.
    #[cfg(feature = "pki")]
    pub const fn peer(&self) -> Option<&VerifiedPeer> {
        self.peer
    }

    /// Its API key.
    #[cfg(feature = "secrets")]
    pub const fn api_key(&self) -> Option<&ApiKeyProof> {
        self.api_key.as_ref()
    }

    /// The signature of its request.
    #[cfg(feature = "secrets")]
    pub const fn signature(&self) -> Option<&SignatureProof> {
        self.signature.as_ref()
    }

    /// How old what was asked was.
    pub const fn ages(&self) -> &Ages {
        &self.ages
    }

    /// The time it was checked against.
    pub const fn at(&self) -> Timestamp {
        self.now
    }
}

impl fmt::Debug for Proven<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proven")
            .field("name", &self.name())
            .field("credentials", &self.kinds)
            .finish_non_exhaustive()
    }
}

/// A caller who may do what it asked for. Only [`crate::Guard::admit`] makes one, so code that takes an
/// `Admitted` cannot be reached by a call that nobody admitted:
///
/// ```compile_fail,E0451
/// # fn forge(proven: m2m_guard::Proven<'_>) {
/// let admitted = m2m_guard::Admitted { proven };
/// # }
/// ```
pub struct Admitted<'a> {
    pub(crate) proven: Proven<'a>,
}

impl<'a> Admitted<'a> {
    /// Who it is, and how that is known.
    pub const fn proven(&self) -> &Proven<'a> {
        &self.proven
    }

    /// The same to keep: it owns what it says, and no memory of the guard's. Allocates.
    ///
    /// # Errors
    ///
    /// See [`Proven::service_id`].
    pub fn to_caller(&self) -> Result<Caller, ServiceIdError> {
        Caller::new(&self.proven)
    }
}

impl<'a> std::ops::Deref for Admitted<'a> {
    type Target = Proven<'a>;

    fn deref(&self) -> &Proven<'a> {
        &self.proven
    }
}

impl fmt::Debug for Admitted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Admitted").field(&self.proven).finish()
    }
}
