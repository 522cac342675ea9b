//! `TrustBundle`: by which keys a trust domain is known (SPIFFE Trust Domain and Bundle §3).

mod error;
mod read;
mod set;
mod write;

pub use error::{AuthorityError, BundleError, SkipReason, SkippedEntry};
pub use set::{TrustBundles, TrustBundlesError};

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::Jwk;
use m2m_types::TrustDomain;

use crate::Certificate;

/// The authorities of **one** trust domain: CA certificates for X.509-SVIDs, public keys for
/// JWT-SVIDs. A value: changing it gives another one, and cloning it copies a pointer.
///
/// An authority is a whole certificate, and only those very bytes are it: one with the same name,
/// number or key is another one. What is read is checked: each is a CA's, may sign certificates, has a
/// key that is known and strong enough, and belongs to the trust domain as far as it says. That, and
/// whether it is valid *now*, is asked again when a path ends in it.
///
/// ```
/// use m2m_pki::TrustBundle;
///
/// let domain = "example.org".parse()?;
/// let bundle = TrustBundle::from_json(domain, br#"{"keys":[],"spiffe_sequence":7}"#)?;
/// assert_eq!((bundle.sequence(), bundle.authorities().len()), (Some(7), 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct TrustBundle {
    inner: Arc<Inner>,
}

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    domain: TrustDomain,
    x509: Vec<Certificate>,
    jwt: Vec<Jwk>,
    sequence: Option<u64>,
    refresh_hint: Option<Duration>,
    skipped: Vec<SkippedEntry>,
}

impl TrustBundle {
    /// The longest text that is read, in bytes: 32 post-quantum certificates fit.
    pub const MAX_BYTES: usize = 1 << 20;
    /// The most authorities of either kind. Two are usual, and four in the midst of a rollover; each
    /// one more is one more key that can speak for the domain.
    pub const MAX_AUTHORITIES: usize = 64;
    /// The most entries of a text, those that are skipped included.
    pub const MAX_ENTRIES: usize = 256;

    /// The bundle of `trust_domain` with these authorities, as the caller vouches for them: whether
    /// each may be one is not looked at before a path ends in it. A certificate that stands there twice
    /// is taken once. Without any it trusts nobody; [`TrustBundle::with_authority`] checks each.
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
            inner: Arc::new(Inner {
                domain: trust_domain,
                x509: distinct,
                jwt: Vec::new(),
                sequence: None,
                refresh_hint: None,
                skipped: Vec::new(),
            }),
        }
    }

    /// Reads a SPIFFE bundle, a JWK set with more members (SPIFFE Trust Domain and Bundle §4), of at
    /// most [`TrustBundle::MAX_BYTES`]. It does not say whose it is: `domain` is what the caller knows
    /// from where it came.
    ///
    /// Entries of a `use` or `kty` that is not known are skipped, and those that cannot be used here;
    /// [`TrustBundle::skipped`] says why. What is malformed makes the whole refused. No entries at all
    /// are fine: all keys of the domain were taken back.
    ///
    /// # Errors
    ///
    /// [`BundleError`]; keep the bundle you have.
    pub fn from_json(domain: TrustDomain, json: &[u8]) -> Result<Self, BundleError> {
        read::json(domain, json)
    }

    /// Reads the CA certificates in `pem` (RFC 7468 §5), one at least, and nothing else.
    ///
    /// # Errors
    ///
    /// [`BundleError`].
    pub fn from_pem(domain: TrustDomain, pem: &[u8]) -> Result<Self, BundleError> {
        read::pem(domain, pem)
    }

    /// The bundle as a SPIFFE bundle, in JSON without whitespace.
    pub fn to_json(&self) -> String {
        write::json(self)
    }

    /// The CA certificates in PEM, one after the other.
    pub fn to_pem(&self) -> String {
        self.inner.x509.iter().map(Certificate::to_pem).collect()
    }

    /// The bundle with one more authority for X.509-SVIDs.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`] if it cannot be one of this domain, or is there already.
    pub fn with_authority(mut self, authority: Certificate) -> Result<Self, AuthorityError> {
        read::check_authority(&self.inner.domain, &authority)?;
        if self.holds(&authority) {
            return Err(AuthorityError::Duplicate);
        }
        if self.inner.x509.len() == Self::MAX_AUTHORITIES {
            return Err(AuthorityError::TooMany);
        }
        self.change().x509.push(authority);
        Ok(self)
    }

    /// The bundle without this very certificate.
    #[must_use]
    pub fn without_authority(mut self, authority: &Certificate) -> Self {
        self.change().x509.retain(|held| held != authority);
        self
    }

    /// The bundle with one more authority for JWT-SVIDs. Its `kid` names it; its `use` does not count.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::KidMissing`], [`AuthorityError::Duplicate`] if its name is taken, and
    /// [`AuthorityError::PrivateKey`] if it was read with its private half.
    #[expect(
        clippy::missing_panics_doc,
        reason = "a use of three letters is short enough"
    )]
    pub fn with_jwt_authority(mut self, authority: Jwk) -> Result<Self, AuthorityError> {
        let kid = authority.kid().filter(|kid| !kid.is_empty());
        let kid = kid.ok_or(AuthorityError::KidMissing)?;
        if authority.has_private_members() {
            return Err(AuthorityError::PrivateKey);
        }
        if self.inner.jwt.iter().any(|held| held.kid() == Some(kid)) {
            return Err(AuthorityError::Duplicate);
        }
        if self.inner.jwt.len() == Self::MAX_AUTHORITIES {
            return Err(AuthorityError::TooMany);
        }
        let authority = authority.with_usage(Some("sig"));
        self.change()
            .jwt
            .push(authority.expect("three letters are no long use"));
        Ok(self)
    }

    /// The bundle without the JWT authority of this name.
    #[must_use]
    pub fn without_jwt_authority(mut self, kid: &str) -> Self {
        self.change().jwt.retain(|held| held.kid() != Some(kid));
        self
    }

    /// The bundle as number `sequence` of its domain: greater with each change (§4.1.1).
    #[must_use]
    pub fn with_sequence(mut self, sequence: u64) -> Self {
        self.change().sequence = Some(sequence);
        self
    }

    /// The bundle with the advice to look for a newer one after `interval`, told in whole seconds.
    #[must_use]
    pub fn with_refresh_hint(mut self, interval: Duration) -> Self {
        self.change().refresh_hint = Some(Duration::from_secs(interval.as_secs()));
        self
    }

    /// Whose authorities these are.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.inner.domain
    }

    /// The CA certificates, in the order they came.
    pub fn authorities(&self) -> &[Certificate] {
        &self.inner.x509
    }

    /// Whether this very certificate, byte by byte, is an authority.
    pub fn holds(&self, authority: &Certificate) -> bool {
        self.inner.x509.contains(authority)
    }

    /// The public keys for JWT-SVIDs, each with a `kid`, and with "sig" as its `use`, so that
    /// [`VerifyingKey::from_jwk`](m2m_crypto::VerifyingKey::from_jwk) takes it.
    pub fn jwt_authorities(&self) -> &[Jwk] {
        &self.inner.jwt
    }

    /// [`TrustBundle::jwt_authorities`] as a plain JWK set (RFC 7517 §5), as token verifiers read it.
    pub fn jwk_set_json(&self) -> String {
        write::jwk_set(self)
    }

    /// `spiffe_sequence`: which of two bundles of the domain is newer.
    pub fn sequence(&self) -> Option<u64> {
        self.inner.sequence
    }

    /// `spiffe_refresh_hint`: after which time its publisher wants it to be fetched again. Anything
    /// from zero on; give it a floor of your own.
    pub fn refresh_hint(&self) -> Option<Duration> {
        self.inner.refresh_hint
    }

    /// The entries of the text it was read from that are not used.
    pub fn skipped(&self) -> &[SkippedEntry] {
        &self.inner.skipped
    }

    /// Whether both trust the same, whatever their numbers and the order.
    pub fn has_same_authorities(&self, other: &Self) -> bool {
        let same_jwt = self
            .inner
            .jwt
            .iter()
            .all(|held| other.inner.jwt.contains(held));
        self.inner.domain == other.inner.domain
            && (self.inner.x509.len(), self.inner.jwt.len())
                == (other.inner.x509.len(), other.inner.jwt.len())
            && self.inner.x509.iter().all(|held| other.holds(held))
            && same_jwt
    }

    /// Copies what others share.
    fn change(&mut self) -> &mut Inner {
        Arc::make_mut(&mut self.inner)
    }
}

impl fmt::Debug for TrustBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustBundle")
            .field("domain", &self.inner.domain)
            .field("sequence", &self.inner.sequence)
            .field("authorities", &self.inner.x509)
            .field("jwt_authorities", &self.inner.jwt)
            .finish_non_exhaustive()
    }
}
