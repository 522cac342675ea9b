//! `TokenRequest`: what a token is to say.

use std::time::Duration;

use m2m_crypto::{CertificateThumbprint, Thumbprint};
use m2m_types::Timestamp;
use serde::Serialize;

use crate::claims::Confirmation;

/// What a token is to say. Who issues it, when, its name (`jti`) and its type come from the
/// [`crate::Minter`].
///
/// ```
/// use std::time::Duration;
/// use m2m_token::TokenRequest;
///
/// #[derive(serde::Serialize)]
/// struct Extra {
///     tenant: &'static str,
/// }
/// let request = TokenRequest::new(
///     "spiffe://example.org/billing",
///     "spiffe://example.org/orders",
///     Duration::from_secs(300),
/// )
/// .with_scope("orders:read")
/// .with_claims(&Extra { tenant: "acme" });
/// # let _ = request;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TokenRequest<'a, C: ?Sized = ()> {
    pub(crate) subject: &'a str,
    pub(crate) audience: &'a str,
    pub(crate) lifetime: Duration,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) token_id: Option<&'a str>,
    pub(crate) client_id: Option<&'a str>,
    pub(crate) session_id: Option<&'a str>,
    pub(crate) scope: Option<&'a str>,
    pub(crate) binding: Option<Confirmation>,
    pub(crate) claims: Option<&'a C>,
}

impl<'a> TokenRequest<'a> {
    /// A token about `subject` (`sub`), meant for `audience` (`aud`), that lives for `lifetime`:
    /// whole seconds, at least one, at most what the minter's keys allow.
    pub const fn new(subject: &'a str, audience: &'a str, lifetime: Duration) -> Self {
        Self {
            subject,
            audience,
            lifetime,
            not_before: None,
            token_id: None,
            client_id: None,
            session_id: None,
            scope: None,
            binding: None,
            claims: None,
        }
    }
}

impl<'a, C: ?Sized> TokenRequest<'a, C> {
    /// `nbf`: not valid before this.
    #[must_use]
    pub fn with_not_before(mut self, not_before: Timestamp) -> Self {
        self.not_before = Some(not_before);
        self
    }

    /// `jti`: the token's own name. By default 128 random bits.
    #[must_use]
    pub fn with_token_id(mut self, token_id: &'a str) -> Self {
        self.token_id = Some(token_id);
        self
    }

    /// `client_id`: the OAuth client it is issued to. RFC 9068 wants it in access tokens.
    #[must_use]
    pub fn with_client_id(mut self, client_id: &'a str) -> Self {
        self.client_id = Some(client_id);
        self
    }

    /// `sid`: the session it belongs to, with which it can be revoked.
    #[must_use]
    pub fn with_session_id(mut self, session_id: &'a str) -> Self {
        self.session_id = Some(session_id);
        self
    }

    /// `scope`: what it allows, values with a single space between them.
    #[must_use]
    pub fn with_scope(mut self, scope: &'a str) -> Self {
        self.scope = Some(scope);
        self
    }

    /// Binds it to this certificate (`x5t#S256`, RFC 8705 §3.1): nobody else can use it. A bare hash
    /// is that of the certificate's DER.
    #[must_use]
    pub fn with_certificate_binding(
        mut self,
        thumbprint: impl Into<CertificateThumbprint>,
    ) -> Self {
        self.binding = Some(Confirmation::Certificate(thumbprint.into()));
        self
    }

    /// Binds it to this key (`jkt`, RFC 9449 §6.1). A bare hash is the key's RFC 7638 thumbprint.
    #[must_use]
    pub fn with_key_binding(mut self, thumbprint: impl Into<Thumbprint>) -> Self {
        self.binding = Some(Confirmation::Key(thumbprint.into()));
        self
    }

    /// Further claims: anything that serialises as a JSON object. Names of registered claims that
    /// the minter or this request writes are refused when the token is minted.
    #[must_use]
    pub fn with_claims<D: Serialize + ?Sized>(self, claims: &'a D) -> TokenRequest<'a, D> {
        TokenRequest {
            subject: self.subject,
            audience: self.audience,
            lifetime: self.lifetime,
            not_before: self.not_before,
            token_id: self.token_id,
            client_id: self.client_id,
            session_id: self.session_id,
            scope: self.scope,
            binding: self.binding,
            claims: Some(claims),
        }
    }
}
