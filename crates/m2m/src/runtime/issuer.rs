//! `Issuer`: who gives machines certificates and tokens, and publishes what others verify them by.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use m2m_crypto::{CertificateThumbprint, SecureRandom};
use m2m_revoke::Revocations;
use m2m_token::{Minter, SigningKeyRing, TokenRequest, TokenType};
use m2m_tower::Published;
use m2m_types::{ServiceId, Timestamp, TrustDomain};

use super::authority::CertificateAuthority;
use super::error::RuntimeError;
use super::invitation::{self, Invitation, IssuerUrls};
use super::records::Records;
use super::signing_keys::{KeySchedule, SigningKeys};

/// For how long caches may keep what is published. The time for which a signing key is published before
/// it is used is three times as long.
const FRESH: Duration = Duration::from_secs(300);

/// The issuing half of a runtime: a certificate authority, a ring of signing keys, and the documents by
/// which others know both.
pub struct Issuer {
    url: Box<str>,
    service: ServiceId,
    authority: CertificateAuthority,
    keys: SigningKeys,
    minter: Minter,
    token_lifetime: Duration,
    records: Records,
    jwk_set: Published,
    crl: Published,
    bundle: Published,
}

/// Of whom an issuer is, and for how long it issues.
pub(super) struct IssuerOptions {
    pub(super) url: Box<str>,
    pub(super) service: ServiceId,
    pub(super) certificate_lifetime: Duration,
    pub(super) token_lifetime: Duration,
    pub(super) rotate_keys_every: Duration,
}

impl Issuer {
    /// For how long a signing key is published before it is used.
    pub const PROPAGATION: Duration = Duration::from_secs(900);

    pub(super) async fn open(
        records: &Records,
        options: IssuerOptions,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Self, RuntimeError> {
        let domain: TrustDomain = options.service.trust_domain();
        let lifetime = options.certificate_lifetime;
        let authority = CertificateAuthority::open(records, domain, lifetime, now, random).await?;
        let schedule = KeySchedule {
            rotate_every: options.rotate_keys_every,
            propagation: Self::PROPAGATION,
            token_lifetime: options.token_lifetime,
        };
        let keys = SigningKeys::open(records.clone(), schedule, now, random).await?;
        let minter = Minter::new(
            &options.url,
            TokenType::access_token(),
            Arc::clone(keys.ring()),
        );
        Ok(Self {
            minter: minter.map_err(RuntimeError::tokens)?,
            jwk_set: Published::jwk_set(&keys.ring().jwk_set(), FRESH),
            crl: Published::crl(Bytes::from_owner(authority.crl_der()), FRESH),
            bundle: Published::trust_bundle(authority.bundle().to_json(), FRESH),
            url: options.url,
            service: options.service,
            token_lifetime: options.token_lifetime,
            records: records.clone(),
            authority,
            keys,
        })
    }

    /// `iss` of its tokens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The machine that issues.
    pub fn service_id(&self) -> &ServiceId {
        &self.service
    }

    /// Its certificate authority.
    pub fn authority(&self) -> &CertificateAuthority {
        &self.authority
    }

    /// The keys that tokens are signed with; they rotate by themselves.
    pub fn signing_keys(&self) -> &Arc<SigningKeyRing> {
        self.keys.ring()
    }

    /// What makes tokens of any form. [`Issuer::token`] makes those that its services take.
    pub fn minter(&self) -> &Minter {
        &self.minter
    }

    /// How long its tokens live.
    pub fn token_lifetime(&self) -> Duration {
        self.token_lifetime
    }

    /// A token by which `subject` may call `audience`, bound to the certificate that it shows there
    /// (RFC 8705): who steals the token cannot use it. Whether the subject may have one is for the
    /// caller to know.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::Tokens`].
    pub fn token(
        &self,
        subject: &ServiceId,
        audience: &ServiceId,
        certificate: CertificateThumbprint,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<String, RuntimeError> {
        let request = TokenRequest::new(subject.as_str(), audience.as_str(), self.token_lifetime)
            .with_client_id(subject.as_str())
            .with_certificate_binding(certificate);
        let minted = self.minter.mint(&request, now, random);
        minted.map_err(RuntimeError::tokens)
    }

    /// Invites `service` to join by HTTP once, within an hour: give it the text of the invitation, as
    /// secretly as a password. Where our [`IssuerEndpoints`](super::IssuerEndpoints) are, `urls` says.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::Records`].
    pub async fn invite(
        &self,
        service: &ServiceId,
        urls: &IssuerUrls,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Invitation, RuntimeError> {
        let expires = now.saturating_add(invitation::LIFETIME);
        let root = self.authority.certificate();
        let (ours, theirs) = ((self.url(), &self.service), (service, urls));
        Invitation::make(&self.records, ours, theirs, root, expires, random).await
    }

    pub(super) fn records(&self) -> &Records {
        &self.records
    }

    /// Publishes the next signing key now, whatever the schedule says. It signs after
    /// [`Issuer::PROPAGATION`], when every verifier can know it.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::Records`].
    pub async fn rotate_signing_key(
        &self,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<(), RuntimeError> {
        self.keys.rotate(now, random).await?;
        self.jwk_set.replace_jwk_set(&self.keys.ring().jwk_set());
        Ok(())
    }

    /// Its JWK set, for everybody: `/.well-known/jwks.json`, say. It stays up to date by itself.
    pub fn jwk_set(&self) -> Published {
        self.jwk_set.clone()
    }

    /// Its CRL in DER, for everybody. It stays up to date by itself.
    pub fn crl(&self) -> Published {
        self.crl.clone()
    }

    /// The trust bundle in the SPIFFE format, for everybody.
    pub fn trust_bundle(&self) -> Published {
        self.bundle.clone()
    }

    pub(super) async fn step_keys(
        &self,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Timestamp, RuntimeError> {
        let next = self.keys.step(now, random).await?;
        invitation::forget_expired(&self.records, now, random).await?;
        self.jwk_set.replace_jwk_set(&self.keys.ring().jwk_set());
        Ok(next)
    }

    pub(super) async fn step_crl(
        &self,
        set: &Revocations,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Timestamp, RuntimeError> {
        let stepped = self.authority.step(set, now, random).await;
        // Also if it failed half way: what is newest is published.
        self.publish_crl();
        stepped
    }

    pub(super) fn publish_crl(&self) {
        self.crl
            .replace(Bytes::from_owner(self.authority.crl_der()));
    }
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer")
            .field("url", &self.url)
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}
