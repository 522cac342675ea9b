//! `TokenRequest`: what a token is to say.

use std::time::Duration;

use serde::Serialize;

use m2m_types::Timestamp;

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
    pub(crate) binding: Option<Binding>,
    pub(crate) claims: Option<&'a C>,
}

/// What a token is to be bound to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binding {
    pub(crate) method: &'static str,
    pub(crate) hash: [u8; 32],
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

    /// Binds it to the certificate whose DER has this SHA-256 (`x5t#S256`, RFC 8705 §3.1): nobody
    /// else can use it.
    #[must_use]
    pub fn with_certificate_binding(mut self, sha256_of_der: [u8; 32]) -> Self {
        self.binding = Some(Binding {
            method: "x5t#S256",
            hash: sha256_of_der,
        });
        self
    }

    /// Binds it to the key with this RFC 7638 thumbprint (`jkt`, RFC 9449 §6.1).
    #[must_use]
    pub fn with_key_binding(mut self, thumbprint: [u8; 32]) -> Self {
        self.binding = Some(Binding {
            method: "jkt",
            hash: thumbprint,
        });
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
