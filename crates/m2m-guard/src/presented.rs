//! `Presented`: what came with a call, before anybody looked at it.

use std::fmt;

use m2m_crypto::{CertificateThumbprint, Thumbprint};
#[cfg(feature = "pki")]
use m2m_pki::VerifiedPeer;

#[cfg(feature = "secrets")]
use crate::secrets::Signed;

/// A kind of thing that a machine proves itself with.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Credential {
    /// A JWT.
    Token,
    /// An X.509 certificate, whose key was shown in the TLS handshake.
    Certificate,
    /// An API key.
    ApiKey,
    /// A signature over the request.
    Signature,
}

impl Credential {
    /// Every kind there is.
    pub const ALL: [Self; 4] = [
        Self::Token,
        Self::Certificate,
        Self::ApiKey,
        Self::Signature,
    ];

    m2m_types::codes! {
        pub fn code;
        Self::Token => "token",
        Self::Certificate => "certificate",
        Self::ApiKey => "api_key",
        Self::Signature => "signature",
    }

    pub(crate) const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token => "token",
            Self::Certificate => "certificate",
            Self::ApiKey => "API key",
            Self::Signature => "signature",
        })
    }
}

/// What came with a call. A guard looks at all of it: what it does not take is refused, never passed over.
///
/// ```
/// use m2m_crypto::CertificateThumbprint;
/// use m2m_guard::Presented;
///
/// let shown_in_the_handshake = CertificateThumbprint::of_der(b"\x30\x03\x02\x01\x05");
/// let presented = Presented::nothing()
///     .with_token("eyJhbGciOiJFUzI1NiJ9.e30.c2ln")
///     .with_certificate(shown_in_the_handshake);
/// # let _ = presented;
/// ```
#[derive(Clone, Copy, Default)]
pub struct Presented<'a> {
    pub(crate) token: Option<&'a str>,
    pub(crate) certificate: Option<CertificateThumbprint>,
    pub(crate) key: Option<Thumbprint>,
    #[cfg(feature = "pki")]
    pub(crate) peer: Option<&'a VerifiedPeer>,
    #[cfg(feature = "secrets")]
    pub(crate) api_key: Option<&'a [u8]>,
    #[cfg(feature = "secrets")]
    pub(crate) signed: Option<Signed<'a>>,
}

impl<'a> Presented<'a> {
    /// Nothing came.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// This token: a compact JWS.
    #[must_use]
    pub const fn with_token(mut self, token: &'a str) -> Self {
        self.token = Some(token);
        self
    }

    /// The caller proved in the TLS handshake that it holds the key of this certificate. Tokens that are
    /// bound to it are taken from it (RFC 8705 §3); who it is, this alone does not say.
    ///
    /// Never from a header, unless a proxy wrote it that is known by its own certificate.
    #[must_use]
    pub fn with_certificate(mut self, thumbprint: impl Into<CertificateThumbprint>) -> Self {
        self.certificate = Some(thumbprint.into());
        self
    }

    /// The caller proved that it holds this key. Tokens that are bound to it are taken from it
    /// (RFC 9449 §6).
    #[must_use]
    pub fn with_key(mut self, thumbprint: impl Into<Thumbprint>) -> Self {
        self.key = Some(thumbprint.into());
        self
    }

    /// The caller is this peer, whose chain was verified, and which proved in the TLS handshake that it
    /// holds the key. It is asked again whether it is still trusted.
    #[cfg(feature = "pki")]
    #[must_use]
    pub const fn with_peer(mut self, peer: &'a VerifiedPeer) -> Self {
        self.peer = Some(peer);
        self
    }

    /// This API key, and nothing around it.
    #[cfg(feature = "secrets")]
    #[must_use]
    pub const fn with_api_key(mut self, key: &'a [u8]) -> Self {
        self.api_key = Some(key);
        self
    }

    /// The request is signed.
    #[cfg(feature = "secrets")]
    #[must_use]
    pub const fn with_signature(mut self, signed: Signed<'a>) -> Self {
        self.signed = Some(signed);
        self
    }

    /// The certificate whose key was shown.
    pub(crate) fn thumbprint(&self) -> Option<CertificateThumbprint> {
        #[cfg(feature = "pki")]
        if let Some(peer) = self.peer {
            return Some(*peer.certificate().thumbprint());
        }
        self.certificate
    }

    /// The kinds that came, as bits.
    #[inline]
    pub(crate) fn kinds(&self) -> u8 {
        let mut kinds = 0;
        let mut add = |came: bool, kind: Credential| {
            if came {
                kinds |= kind.bit();
            }
        };
        add(self.token.is_some(), Credential::Token);
        #[cfg(feature = "pki")]
        add(self.peer.is_some(), Credential::Certificate);
        #[cfg(feature = "secrets")]
        {
            add(self.api_key.is_some(), Credential::ApiKey);
            add(self.signed.is_some(), Credential::Signature);
        }
        kinds
    }
}

/// Which kinds there are, never what they say.
impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = Kinds(self.kinds());
        f.debug_tuple("Presented").field(&kinds).finish()
    }
}

/// A set of [`Credential`]s.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Kinds(pub(crate) u8);

impl Kinds {
    pub(crate) fn add(&mut self, kind: Credential) {
        self.0 |= kind.bit();
    }

    pub(crate) const fn has(self, kind: Credential) -> bool {
        self.0 & kind.bit() != 0
    }

    /// Those that are here and not there.
    pub(crate) const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Credential> {
        Credential::ALL
            .into_iter()
            .filter(move |kind| self.has(*kind))
    }
}

impl fmt::Debug for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
