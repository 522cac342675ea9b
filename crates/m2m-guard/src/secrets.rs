//! API keys and signed requests: whose they are, and the proof that they were checked.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use m2m_secrets::{
    ApiKeyId, HttpCoverage, HttpKeyError, HttpKeySetError, HttpRequest, HttpSignatureKey,
    HttpSignatureKeys, HttpVerifyingKeys, KeyVersion, Rehash, RequestKey, RequestParts, Ring,
    SecretName, SecretVersion, VerifiedKey,
};
use m2m_types::{Live, ServiceId, Timestamp};

/// The most callers that share a secret with this service.
const MAX_CALLERS: usize = 1 << 16;

/// A signature over the request, and the request as it came over the wire.
#[derive(Clone, Copy)]
pub struct Signed<'a> {
    pub(crate) form: Form<'a>,
}

#[derive(Clone, Copy)]
pub(crate) enum Form<'a> {
    Compact(&'a [u8], RequestParts<'a>),
    Http(&'a HttpRequest<'a>),
}

impl<'a> Signed<'a> {
    /// In the compact form of [`m2m_secrets::sign_request`]: `header` is the one value of
    /// [`m2m_secrets::REQUEST_SIGNATURE`].
    pub const fn compact(header: &'a [u8], request: RequestParts<'a>) -> Self {
        Self {
            form: Form::Compact(header, request),
        }
    }

    /// By HTTP Message Signatures (RFC 9421), in the fields of `request`.
    pub const fn http(request: &'a HttpRequest<'a>) -> Self {
        Self {
            form: Form::Http(request),
        }
    }
}

/// Which form it has, and nothing of the request, whose fields may be credentials.
impl fmt::Debug for Signed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.form {
            Form::Compact(..) => "Signed(compact)",
            Form::Http(_) => "Signed(RFC 9421)",
        })
    }
}

/// Which caller shares which secret with this service: a caller is known by the name of its secret. Kept
/// in a [`Live`] and replaced whole when callers come and go; rings change by themselves.
#[derive(Debug, Default)]
pub struct CallerSecrets {
    callers: HashMap<Box<str>, Sharer>,
}

/// Who shares a secret with this service.
#[derive(Debug)]
pub(crate) struct Sharer {
    pub(crate) owner: ServiceId,
    pub(crate) ring: Arc<Live<Ring<RequestKey>>>,
}

/// Why a secret was not added.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallerSecretsError {
    /// Two callers share one secret, so a signature would not say who made it.
    #[error("the secret {name} is shared with somebody already")]
    Twice {
        /// Which.
        name: SecretName,
    },
    /// As many callers are known as can be.
    #[error("more than {MAX_CALLERS} callers")]
    Full,
}

impl CallerSecrets {
    /// Nobody's.
    pub fn new() -> Self {
        Self::default()
    }

    /// `owner` signs with the secret of `ring`.
    ///
    /// # Errors
    ///
    /// [`CallerSecretsError`].
    pub fn with_ring(
        mut self,
        owner: ServiceId,
        ring: Arc<Live<Ring<RequestKey>>>,
    ) -> Result<Self, CallerSecretsError> {
        let name = ring.load().secret().clone();
        if self.callers.len() >= MAX_CALLERS {
            return Err(CallerSecretsError::Full);
        }
        if self.callers.contains_key(name.as_str()) {
            return Err(CallerSecretsError::Twice { name });
        }
        self.callers
            .insert(name.as_str().into(), Sharer { owner, ring });
        Ok(self)
    }

    /// Who says that it signed `header`, which is not yet known to be true.
    pub(crate) fn claimed(&self, header: &[u8]) -> Option<&Sharer> {
        let mut parts = header.split(|byte| *byte == b' ');
        let key_id = std::str::from_utf8(parts.nth(1)?).ok()?;
        let (name, _) = key_id.rsplit_once('.')?;
        self.callers.get(name)
    }
}

/// Which caller signs with which key of RFC 9421, by `keyid`. Kept in a [`Live`] and replaced whole.
#[derive(Debug, Default)]
pub struct HttpCallers {
    keys: HttpSignatureKeys,
    owners: HashMap<Box<str>, ServiceId>,
}

/// Why a key was not added: the names of keys are strict, and each stands once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HttpCallersError(HttpKeySetError);

impl HttpCallers {
    /// Nobody's.
    pub fn new() -> Self {
        Self::default()
    }

    /// `owner` signs with `key`, and calls it `key_id`. One owner may have several.
    ///
    /// # Errors
    ///
    /// [`HttpCallersError`].
    pub fn with_key(
        mut self,
        owner: ServiceId,
        key_id: &str,
        key: HttpSignatureKey,
    ) -> Result<Self, HttpCallersError> {
        self.keys = self.keys.with_key(key_id, key).map_err(HttpCallersError)?;
        self.owners.insert(key_id.into(), owner);
        Ok(self)
    }

    pub(crate) fn owner(&self, key_id: &str) -> Option<&ServiceId> {
        self.owners.get(key_id)
    }
}

impl HttpVerifyingKeys for HttpCallers {
    fn verify(
        &self,
        key_id: &str,
        algorithm: Option<&str>,
        base: &[u8],
        signature: &[u8],
        now: Timestamp,
    ) -> Result<(), HttpKeyError> {
        self.keys.verify(key_id, algorithm, base, signature, now)
    }
}

/// An API key that was right and is accepted.
#[derive(Clone)]
pub struct ApiKeyProof {
    pub(crate) owner: ServiceId,
    id: ApiKeyId,
    version: KeyVersion,
    accepted_until: Option<Timestamp>,
    rehash: Option<Rehash>,
}

impl ApiKeyProof {
    pub(crate) fn new(verified: &VerifiedKey<'_>) -> Self {
        Self {
            owner: verified.owner().clone(),
            id: verified.id(),
            version: verified.version(),
            accepted_until: verified.accepted_until(),
            rehash: verified.rehash().cloned(),
        }
    }

    /// Whose it is.
    pub const fn owner(&self) -> &ServiceId {
        &self.owner
    }

    /// Which.
    pub const fn id(&self) -> ApiKeyId {
        self.id
    }

    /// Its number.
    pub const fn version(&self) -> KeyVersion {
        self.version
    }

    /// From when on it is refused, if it has been replaced.
    pub const fn accepted_until(&self) -> Option<Timestamp> {
        self.accepted_until
    }

    /// What to keep in place of its hash, which is under an earlier pepper.
    pub const fn rehash(&self) -> Option<&Rehash> {
        self.rehash.as_ref()
    }
}

impl fmt::Debug for ApiKeyProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeyProof")
            .field("owner", &self.owner)
            .field("id", &self.id)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// A request whose signature holds, which is of this time, and new. What the signature does not cover,
/// nobody signed; a body is covered by its digest, which is for the reader of the body to check.
#[derive(Clone, Debug)]
pub struct SignatureProof {
    pub(crate) owner: ServiceId,
    pub(crate) key_id: Box<str>,
    pub(crate) version: Option<SecretVersion>,
    pub(crate) signed_at: Timestamp,
    pub(crate) coverage: Option<HttpCoverage>,
}

impl SignatureProof {
    /// Who signed.
    pub const fn owner(&self) -> &ServiceId {
        &self.owner
    }

    /// With which key.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Of which version, if the key is one of a [`Ring`].
    pub const fn version(&self) -> Option<SecretVersion> {
        self.version
    }

    /// When.
    pub const fn signed_at(&self) -> Timestamp {
        self.signed_at
    }

    /// What it covers; [`None`] for the compact form, which covers method, authority, path, query and body.
    pub const fn coverage(&self) -> Option<HttpCoverage> {
        self.coverage
    }
}
