//! What the verified claims must say: audience, subject, dates, binding, revocation.

use m2m_crypto::Thumbprint;
use m2m_revoke::{RevocationReader, Revoked, Target, TokenFacts};
use m2m_types::{ServiceIdRef, Timestamp};

use super::{BindingRule, Verifier};
use crate::claims::{Bound, Claims, Confirmation, Text, not_one};
use crate::error::{ClaimName, VerifyError};
use crate::excerpt::Excerpt;
use crate::policy::Presenter;

impl Verifier {
    /// Checks what the issuer says against what this verifier is for. Gives the span of time in
    /// which that holds.
    pub(super) fn check_claims(
        &self,
        claims: &Claims<'_>,
        now: Timestamp,
    ) -> Result<(Timestamp, Timestamp), VerifyError> {
        self.check_audience(claims)?;
        if self.subject_required && !claims.facts.has(Text::Subject) {
            return Err(missing("sub"));
        }
        if let Some(domain) = &self.trust_domain {
            let subject = claims.subject().ok_or_else(|| missing("sub"))?;
            let id = ServiceIdRef::parse(subject)
                .map_err(|problem| VerifyError::SubjectNotSpiffe { problem })?;
            if !id.is_member_of(domain) {
                return Err(VerifyError::TrustDomain {
                    expected: Excerpt::new(domain.as_str()),
                });
            }
        }
        if let Some(name) = self.required.iter().find(|name| !claims.contains(name)) {
            return Err(missing(name));
        }
        self.check_dates(claims, now)
    }

    fn check_audience(&self, claims: &Claims<'_>) -> Result<(), VerifyError> {
        if self.audience.is_ignored() {
            return Ok(());
        }
        let count = claims.facts.audiences;
        if count == 0 {
            return Err(missing("aud"));
        }
        let names = &self.audience.names;
        if !names.iter().any(|name| claims.has_audience(name)) {
            return Err(VerifyError::Audience {
                expected: Excerpt::new(names.first().map_or("", |name| name)),
            });
        }
        if count > 1 && !self.audience.others {
            return Err(VerifyError::OtherAudiences { count });
        }
        Ok(())
    }

    /// The dates of RFC 7519 §4.1.4 to §4.1.6. A token holds from the second `nbf` and `iat` name
    /// until before the one `exp` names, either way stretched by the leeway.
    fn check_dates(
        &self,
        claims: &Claims<'_>,
        now: Timestamp,
    ) -> Result<(Timestamp, Timestamp), VerifyError> {
        let leeway = self.leeway;
        let (issued, not_before) = (claims.issued_at(), claims.not_before());
        let expires = match claims.expires_at() {
            None if !self.expiry_required => Timestamp::MAX,
            expires => expires.ok_or_else(|| missing("exp"))?,
        };
        let from = issued.max(not_before).unwrap_or(Timestamp::MIN);
        if (issued.is_some() || not_before.is_some()) && from >= expires {
            return Err(VerifyError::Lifetime { from, expires });
        }
        let until = expires.saturating_add(leeway);
        if now >= until {
            return Err(VerifyError::Expired {
                expires,
                now,
                leeway,
            });
        }
        let latest = now.saturating_add(leeway);
        if let Some(not_before) = not_before.filter(|time| *time > latest) {
            return Err(VerifyError::NotYetValid {
                not_before,
                now,
                leeway,
            });
        }
        if let Some(issued) = issued.filter(|time| *time > latest) {
            return Err(VerifyError::IssuedInFuture {
                issued,
                now,
                leeway,
            });
        }
        if let Some(limit) = self.max_lifetime {
            let issued = issued.ok_or_else(|| missing("iat"))?;
            let lifetime = expires.checked_since(issued).unwrap_or_default();
            if lifetime > limit {
                return Err(VerifyError::LifetimeTooLong { lifetime, limit });
            }
        }
        Ok((from.saturating_sub(leeway), until))
    }

    #[inline]
    pub(super) fn check_binding(
        &self,
        claims: &Claims<'_>,
        presenter: &Presenter,
    ) -> Result<(), VerifyError> {
        match (&claims.facts.confirmation, self.binding) {
            (_, BindingRule::Ignored) | (None, BindingRule::Checked) => Ok(()),
            (None, BindingRule::Required) => Err(VerifyError::BindingRequired),
            (Some(bound), _) => bound.check(presenter),
        }
    }

    /// Looks at the key that the token itself contains. Not inlined: few tokens have one.
    #[cold]
    #[inline(never)]
    pub(super) fn embedded_key(&self, claims: &Claims<'_>) -> Result<Bound, VerifyError> {
        if !self.embedded_keys {
            return Err(not_one());
        }
        let key = claims.embedded_key().ok_or(VerifyError::ClaimValue {
            name: ClaimName::new("cnf"),
            problem: "has a `jwk` that is not a public key for signatures",
        })?;
        Ok(Bound::To(Confirmation::EmbeddedKey(key.thumbprint())))
    }

    /// `at` is the place of the issuer among ours. If its tokens say another name, as they may where
    /// that is not checked, they are looked for under that one.
    pub(super) fn check_revocation(
        &self,
        reader: &mut RevocationReader,
        at: usize,
        claims: &Claims<'_>,
        key: Option<&Thumbprint>,
        now: Timestamp,
    ) -> Result<(), VerifyError> {
        let facts = TokenFacts {
            issuer: claims.issuer().unwrap_or_default(),
            jti: claims.token_id(),
            subject: claims.subject(),
            session: claims.session_id(),
            key: key.map(Thumbprint::as_bytes),
            issued_at: claims.issued_at(),
        };
        match self.prepared.get(at) {
            Some(issuer) => reader.check_token_of(issuer, &facts, now),
            None => reader.check_token(&facts, now),
        }
        .map_err(|revoked: Revoked| VerifyError::Revoked(revoked))?;
        match &claims.facts.confirmation {
            Some(Bound::To(Confirmation::Certificate(certificate))) => {
                let target = Target::CertificateThumbprint(certificate.as_bytes());
                // When it was issued is not known here: it counts as old.
                let checked = reader.check(&target, None, now);
                checked.map_err(VerifyError::Revoked)
            }
            _ => Ok(()),
        }
    }
}

#[cold]
#[inline(never)]
pub(super) fn missing(name: &str) -> VerifyError {
    VerifyError::ClaimMissing {
        name: ClaimName::new(name),
    }
}
