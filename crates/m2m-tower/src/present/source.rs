//! `TokenSource`: where tokens for calls come from: a minter of one's own, or whatever an application asks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use m2m_crypto::{CertificateThumbprint, SecretBytes, SecureRandom};
use m2m_token::{MAX_TOKEN_BYTES, MintError, Minter, TokenRequest};
use m2m_types::Timestamp;

/// Gives tokens. Asked by a [`Refresher`](super::Refresher) in the background, one question at a time.
///
/// ```
/// use m2m_tower::{FreshToken, TokenDemand, TokenFormError, TokenSource};
/// use std::time::Duration;
///
/// /// Asks the token endpoint of an authorization server.
/// struct Endpoint;
///
/// impl TokenSource for Endpoint {
///     type Error = TokenFormError;
///
///     async fn token(&self, demand: &TokenDemand<'_>) -> Result<FreshToken, TokenFormError> {
///         // … a request for `demand.audience()`, over mutual TLS; then, of its answer:
///         let (access_token, expires_in) = (String::from("2YotnFZFEjr1zCsicMWpAA"), 3600);
///         let expires = demand.now().saturating_add(Duration::from_secs(expires_in));
///         FreshToken::new(access_token, expires)
///     }
/// }
/// ```
pub trait TokenSource: Send + Sync {
    /// Why there is no token. Must not have a secret in it: it is reported.
    type Error: std::error::Error + Send + Sync;

    /// A token as `demand` says. Dropped if it takes too long.
    fn token(
        &self,
        demand: &TokenDemand<'_>,
    ) -> impl Future<Output = Result<FreshToken, Self::Error>> + Send;
}

/// What a token is wanted for.
#[derive(Clone, Copy, Debug)]
pub struct TokenDemand<'a> {
    pub(super) audience: &'a str,
    pub(super) certificate: Option<CertificateThumbprint>,
    pub(super) now: Timestamp,
}

impl<'a> TokenDemand<'a> {
    /// Who is called (`aud`).
    pub const fn audience(&self) -> &'a str {
        self.audience
    }

    /// The certificate that connections will show: what the token has to be bound to (`x5t#S256`, RFC 8705
    /// §3.1). [`None`] if it need not be bound.
    pub const fn certificate(&self) -> Option<&CertificateThumbprint> {
        self.certificate.as_ref()
    }

    /// The time now.
    pub const fn now(&self) -> Timestamp {
        self.now
    }
}

/// A token and when it ends. Wiped when nothing uses it any more.
pub struct FreshToken {
    /// `Bearer`, a space, and the token.
    pub(super) header: HeaderValue,
    pub(super) expires: Timestamp,
}

/// Why a text is no token. Has nothing of it in it.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFormError {
    /// It is empty, or longer than any that is taken.
    #[error("a token of {length} bytes; 1 to {MAX_TOKEN_BYTES} are taken")]
    Length {
        /// Its length.
        length: usize,
    },
    /// It has a character in it that cannot stand in `Authorization` (RFC 6750 §2.1).
    #[error("the byte at {at} does not belong in a token")]
    Character {
        /// Where.
        at: usize,
    },
}

/// Memory of a header value, wiped when the last copy of the value is gone.
struct Wiped(SecretBytes);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

impl FreshToken {
    /// `token`, which is refused by others from the second `expires` on. It is taken over and wiped.
    ///
    /// # Errors
    ///
    /// [`TokenFormError`].
    pub fn new(token: String, expires: Timestamp) -> Result<Self, TokenFormError> {
        const SCHEME: &[u8] = b"Bearer ";
        let token = SecretBytes::new(token.into_bytes());
        let length = token.len();
        if !(1..=MAX_TOKEN_BYTES).contains(&length) {
            return Err(TokenFormError::Length { length });
        }
        let belongs = |byte: &u8| crate::credentials::is_token68(*byte);
        let text = token.expose_secret();
        if let Some(at) = text.iter().position(|byte| !belongs(byte)) {
            return Err(TokenFormError::Character { at });
        }
        let mut value = Vec::with_capacity(SCHEME.len() + length);
        value.extend_from_slice(SCHEME);
        value.extend_from_slice(text);
        let value = Bytes::from_owner(Wiped(SecretBytes::new(value)));
        let header = HeaderValue::from_maybe_shared(value);
        let mut header = header.map_err(|_| TokenFormError::Character { at: 0 })?;
        // Whoever prints it, indexes it (RFC 7541 §7.1.3) or follows a redirect elsewhere knows better.
        header.set_sensitive(true);
        Ok(Self { header, expires })
    }

    /// When it ends.
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }
}

impl fmt::Debug for FreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FreshToken")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Mints tokens in this process.
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
/// # use m2m_token::{Minter, SigningKeyRing, TokenType};
/// use m2m_tower::MintSource;
///
/// # let key = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
/// # let ring = Arc::new(SigningKeyRing::new(key, Duration::from_secs(3600))?);
/// let minter = Arc::new(Minter::new("https://issuer.example", TokenType::access_token(), ring)?);
/// let lifetime = Duration::from_secs(300);
/// let source = MintSource::new(minter, "spiffe://example.org/billing", lifetime, Arc::new(SystemRandom))
///     .with_scope("orders:read");
/// # let _ = source;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct MintSource {
    minter: Arc<Minter>,
    subject: Box<str>,
    lifetime: Duration,
    scope: Option<Box<str>>,
    random: Arc<dyn SecureRandom>,
}

/// Why no token was minted.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MintSourceError {
    /// The minter did not.
    #[error("{0}")]
    Mint(MintError),
    /// What it minted is no token.
    #[error("{0}")]
    Form(TokenFormError),
}

impl MintSource {
    /// Tokens of `minter` about `subject`, each for `lifetime`.
    pub fn new(
        minter: Arc<Minter>,
        subject: &str,
        lifetime: Duration,
        random: Arc<dyn SecureRandom>,
    ) -> Self {
        Self {
            minter,
            subject: subject.into(),
            lifetime,
            scope: None,
            random,
        }
    }

    /// With this `scope`: values with a single space between them.
    #[must_use]
    pub fn with_scope(mut self, scope: &str) -> Self {
        self.scope = Some(scope.into());
        self
    }
}

impl TokenSource for MintSource {
    type Error = MintSourceError;

    async fn token(&self, demand: &TokenDemand<'_>) -> Result<FreshToken, MintSourceError> {
        let mut request = TokenRequest::new(&self.subject, demand.audience, self.lifetime);
        if let Some(scope) = &self.scope {
            request = request.with_scope(scope);
        }
        if let Some(certificate) = demand.certificate {
            request = request.with_certificate_binding(certificate);
        }
        let token = self.minter.mint(&request, demand.now, &*self.random);
        let expires = demand.now.saturating_add(self.lifetime);
        FreshToken::new(token.map_err(MintSourceError::Mint)?, expires)
            .map_err(MintSourceError::Form)
    }
}

impl fmt::Debug for MintSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MintSource")
            .field("minter", &self.minter)
            .field("subject", &self.subject)
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}
