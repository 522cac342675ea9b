//! `HttpSigner`: signs requests and responses.

use std::fmt::{self, Write as _};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use m2m_crypto::{KeyError, MacKey, RandomError, SecureRandom, SignError, SigningKey};
use m2m_types::Timestamp;

use super::base::{SignatureBaseError, write_base};
use super::component::{Component, ComponentError, Components, MAX_COMPONENTS};
use super::input::Input;
use super::keys::{HttpSignatureAlgorithm, is_word, mac_key};
use super::message::{HttpMessage, HttpRequest};
use super::structured::Cursor;
use crate::SharedSecret;

/// A key to sign with: a shared secret or a private key. Wiped on drop, never shown.
pub struct HttpSigningKey(Key);

enum Key {
    Secret(MacKey),
    Private(SigningKey),
}

impl HttpSigningKey {
    /// `secret`, for `hmac-sha256`.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if the secret is something public.
    pub fn secret(secret: &SharedSecret) -> Result<Self, KeyError> {
        mac_key(secret).map(Key::Secret).map(Self)
    }

    /// A private key; `None` unless it is of Ed25519 or P-256.
    pub fn private(key: SigningKey) -> Option<Self> {
        HttpSignatureAlgorithm::of(key.verifying_key().algorithm())?;
        Some(Self(Key::Private(key)))
    }

    fn sign(&self, base: &[u8], signature: &mut [u8]) -> Result<usize, SignError> {
        match &self.0 {
            Key::Secret(key) => key.sign(base, signature),
            Key::Private(key) => key.sign(base, signature),
        }
    }
}

impl fmt::Debug for HttpSigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpSigningKey([redacted])")
    }
}

/// Signs messages with one key, under one label, always covering the same.
///
/// ```
/// use m2m_crypto::SystemRandom;
/// use m2m_secrets::{HttpRequest, HttpSigner, HttpSigningKey, SharedSecret};
/// use m2m_types::Timestamp;
///
/// let secret = SharedSecret::generate(&SystemRandom)?;
/// let key = HttpSigningKey::secret(&secret)?;
/// let signer = HttpSigner::new("sig1", &["@method", "@authority", "@path"], "billing.1", key)?;
///
/// let request = HttpRequest {
///     method: b"GET", scheme: b"https", authority: b"example.com", target: b"/", fields: &[],
/// };
/// let now = Timestamp::from_unix_seconds(1_700_000_000)?;
/// let fields = signer.sign(&request, now, &SystemRandom)?;
/// assert!(fields.signature_input().starts_with("sig1=(\"@method\" \"@authority\" \"@path\");created=1700000000;"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct HttpSigner {
    label: Box<str>,
    /// The list of what is covered, in canonical form.
    covered: Vec<u8>,
    key_id: Box<str>,
    key: HttpSigningKey,
    tag: Option<Box<str>>,
    lifetime: Option<Duration>,
}

/// The values of the two fields that a signature adds to a message. During an overlap, a message has
/// those of two signers, of different labels: as further lines, or joined by `, `.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSignatureFields {
    signature_input: String,
    signature: String,
}

impl HttpSignatureFields {
    /// Of [`SIGNATURE_INPUT`](super::SIGNATURE_INPUT).
    pub fn signature_input(&self) -> &str {
        &self.signature_input
    }

    /// Of [`SIGNATURE`](super::SIGNATURE).
    pub fn signature(&self) -> &str {
        &self.signature
    }
}

impl HttpSigner {
    /// Signs `covered` (see [`HttpSignaturePolicy::new`](super::HttpSignaturePolicy::new)) with `key`,
    /// which its verifiers call `key_id`, under `label`: a lower-case letter, then letters, digits and
    /// `_-.*`, up to 64 bytes.
    ///
    /// # Errors
    ///
    /// [`HttpSignError`].
    pub fn new(
        label: &str,
        covered: &[&str],
        key_id: &str,
        key: HttpSigningKey,
    ) -> Result<Self, HttpSignError> {
        let mut cursor = Cursor::new(label.as_bytes());
        if cursor.key().is_err() || cursor.peek().is_some() || label.len() > 64 {
            return Err(HttpSignError::Label);
        }
        if !is_word(key_id) {
            return Err(HttpSignError::Parameter);
        }
        if !(1..=MAX_COMPONENTS).contains(&covered.len()) {
            return Err(HttpSignError::Count {
                found: covered.len(),
            });
        }
        let mut list = vec![b'('];
        let mut components = Components::new();
        for text in covered {
            let component = Component::from_text(text).map_err(HttpSignError::Component)?;
            if components.cover(&component) {
                return Err(HttpSignError::Twice);
            }
            components.push(component);
            if list.len() > 1 {
                list.push(b' ');
            }
            component.write(&mut list);
        }
        list.push(b')');
        Ok(Self {
            label: label.into(),
            covered: list,
            key_id: key_id.into(),
            key,
            tag: None,
            lifetime: None,
        })
    }

    /// Adds a `tag`: what the signature is for. 1 to 256 bytes of visible ASCII without quotation marks.
    ///
    /// # Errors
    ///
    /// [`HttpSignError::Parameter`].
    pub fn with_tag(mut self, tag: &str) -> Result<Self, HttpSignError> {
        if !is_word(tag) {
            return Err(HttpSignError::Parameter);
        }
        self.tag = Some(tag.into());
        Ok(self)
    }

    /// Adds `expires`, so long after `created`.
    #[must_use]
    pub fn with_lifetime(self, lifetime: Duration) -> Self {
        Self {
            lifetime: Some(lifetime),
            ..self
        }
    }

    /// Signs `message` at `now`, with a nonce of 16 bytes from `random`.
    ///
    /// # Errors
    ///
    /// [`HttpSignError`].
    pub fn sign(
        &self,
        message: &impl HttpMessage,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<HttpSignatureFields, HttpSignError> {
        self.sign_related(message, None::<&HttpRequest<'_>>, now, random)
    }

    /// [`Self::sign`] for the response to `request`, which `req` may cover.
    ///
    /// # Errors
    ///
    /// [`HttpSignError`].
    pub fn sign_response(
        &self,
        response: &impl HttpMessage,
        request: &impl HttpMessage,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<HttpSignatureFields, HttpSignError> {
        self.sign_related(response, Some(request), now, random)
    }

    fn sign_related<M: HttpMessage, R: HttpMessage>(
        &self,
        message: &M,
        request: Option<&R>,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<HttpSignatureFields, HttpSignError> {
        let member = self.member(now, random)?;
        let mut cursor = Cursor::new(member.as_bytes());
        let mut input = Input::new();
        input
            .read(&mut cursor)
            .map_err(|error| HttpSignError::Base(SignatureBaseError::Input(error)))?;
        let mut base = Vec::new();
        write_base(&mut base, &input, message, request).map_err(HttpSignError::Base)?;
        let mut room = [0; 64];
        let length = self
            .key
            .sign(&base, &mut room)
            .map_err(HttpSignError::Failed)?;
        let signature = STANDARD.encode(room.get(..length).unwrap_or_default());
        let label = &self.label;
        Ok(HttpSignatureFields {
            signature: format!("{label}=:{signature}:"),
            signature_input: format!("{label}={member}"),
        })
    }

    /// The list of what is covered with its parameters.
    fn member(&self, now: Timestamp, random: &dyn SecureRandom) -> Result<String, HttpSignError> {
        let mut nonce = [0; 16];
        random.fill(&mut nonce).map_err(HttpSignError::Random)?;
        // A source that says it has written, and has not, would make all messages replays of the first.
        if nonce == [0; 16] {
            return Err(HttpSignError::Random(RandomError));
        }
        let mut member = String::from_utf8_lossy(&self.covered).into_owned();
        let nonce = URL_SAFE_NO_PAD.encode(nonce);
        // Writing to a string does not fail.
        let _ = write!(member, ";created={}", now.unix_seconds());
        if let Some(lifetime) = self.lifetime {
            let expires = now.saturating_add(lifetime);
            let _ = write!(member, ";expires={}", expires.unix_seconds());
        }
        let _ = write!(member, ";nonce=\"{nonce}\";keyid=\"{}\"", self.key_id);
        if let Some(tag) = &self.tag {
            let _ = write!(member, ";tag=\"{tag}\"");
        }
        Ok(member)
    }
}

/// Why a message was not signed, or a signer not made.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpSignError {
    /// The label is no key of a dictionary (RFC 9651 §3.1.2), or has more than 64 bytes.
    #[error("a label is a lower-case letter, then letters, digits and _-.*, up to 64 bytes")]
    Label,
    /// The key id or the tag is empty, longer than 256 bytes, or has something else than visible ASCII.
    #[error("a key id and a tag have 1 to 256 bytes of visible ASCII without \" and \\")]
    Parameter,
    /// Nothing is covered, or too much.
    #[error("{found} components; a signature covers 1 to {MAX_COMPONENTS}")]
    Count {
        /// How many.
        found: usize,
    },
    /// What is to be covered is no component.
    #[error("{0}")]
    Component(ComponentError),
    /// A component is to be covered twice.
    #[error("a component is to be covered twice")]
    Twice,
    /// The message does not have what is to be covered.
    #[error("{0}")]
    Base(SignatureBaseError),
    /// No randomness, so no nonce.
    #[error("{0}")]
    Random(RandomError),
    /// The library failed.
    #[error("{0}")]
    Failed(SignError),
}
