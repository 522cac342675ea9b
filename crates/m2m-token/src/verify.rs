//! `Verifier`: the hot path. From presented bytes to a `Verified`, in one direction, without a lock,
//! without I/O and without allocating.

mod builder;
mod checks;
mod signature;

pub use builder::{PolicyError, VerifierBuilder};
use checks::missing;
pub use signature::MAX_KEYS_TRIED;
use signature::Signed;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use m2m_revoke::{PreparedIssuer, Revocations};
use m2m_types::{Timestamp, TrustDomain};

use crate::algorithms::AlgorithmSet;
use crate::base64url::Base64Url;
use crate::cache::{CacheFigures, CachedToken, Grounds, TokenCache};
use crate::claims::{self, Bound, Claims};
use crate::error::{Part, VerifyError};
use crate::excerpt::Excerpt;
use crate::header::{Header, KnownHeaders};
use crate::policy::{Audience, Issuer, Issuers, Presenter, TokenType};
use crate::scratch::{Reader, Scratch};
use crate::split::{Split, check_length};
use crate::verified::{Body, Unproven, Verified};

/// Verifies tokens for one purpose: of these issuers, for this audience, of this type.
///
/// Built once and shared by all threads. Cold, a verification costs little more than its signature;
/// warm (see [`VerifierBuilder::with_cache`]) it costs a look-up. What it checks is in the
/// [crate's front page](crate).
///
/// ```
/// use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
/// use m2m_token::{Audience, Issuers, KeySet, Scratch, TokenType, Verifier, VerifyError};
/// use m2m_types::Timestamp;
///
/// # let public = SigningKey::generate(Algorithm::Es256, &SystemRandom)?.verifying_key().clone();
/// let keys = KeySet::new().with_key("2026-11", public)?;
/// let verifier = Verifier::builder(
///     Issuers::one("https://issuer.example", keys),
///     Audience::exactly("spiffe://example.org/orders"),
///     TokenType::access_token(),
/// )
/// .build()?;
///
/// let mut scratch = Scratch::new();
/// let now = Timestamp::from_unix_seconds(1_700_000_000)?;
/// let refused = verifier.verify("no.such.token", now, &mut scratch).unwrap_err();
/// assert_eq!(refused.code(), "base64");
/// assert_eq!(refused.rejection().status(), 401);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Verifier {
    /// Sorted by name.
    issuers: Vec<Issuer>,
    issuer_is_checked: bool,
    audience: Audience,
    token_type: TokenType,
    subject_required: bool,
    algorithms: AlgorithmSet,
    leeway: Duration,
    expiry_required: bool,
    max_lifetime: Option<Duration>,
    required: Vec<Box<str>>,
    trust_domain: Option<TrustDomain>,
    binding: BindingRule,
    /// Whether tokens may contain the key they are bound to.
    embedded_keys: bool,
    revocations: Option<Arc<Revocations>>,
    /// In the order of `issuers`; empty without revocations.
    prepared: Vec<PreparedIssuer>,
    codec: Base64Url,
    known_headers: Arc<KnownHeaders>,
    cache: Option<TokenCache>,
}

/// What is asked of `cnf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BindingRule {
    /// A token that is bound needs its proof; one that is not is a bearer token.
    Checked,
    /// Every token must be bound.
    Required,
    /// Nobody looks.
    Ignored,
}

impl Verifier {
    /// Starts a verifier. It cannot be had without saying whose tokens, for whom and of which type
    /// it takes; each of the three can be ignored, but only out loud.
    pub fn builder(issuers: Issuers, audience: Audience, token_type: TokenType) -> VerifierBuilder {
        VerifierBuilder::new(issuers, audience, token_type)
    }

    /// Checks a bearer token and gives its claims.
    ///
    /// `token` is a compact JWS (RFC 7515 §7.1) of at most [`crate::MAX_TOKEN_BYTES`] bytes; `now`
    /// is compared with its dates. A token that is bound to its presenter (`cnf`) is refused: see
    /// [`Verifier::verify_presented`].
    ///
    /// # Errors
    ///
    /// [`VerifyError`], which says why. What is wrong with the signature is found before what is
    /// wrong with dates and audience, and no claim is given out with an error.
    #[inline]
    pub fn verify<'s>(
        &'s self,
        token: &str,
        now: Timestamp,
        scratch: &'s mut Scratch,
    ) -> Result<Verified<'s>, VerifyError> {
        // A constant: made anew it would be written to the stack at each call.
        const UNKNOWN: &Presenter = &Presenter::unknown();
        self.verify_presented(token, UNKNOWN, now, scratch)
    }

    /// [`Verifier::verify`] for a caller who knows who presents the token: a bound token is taken
    /// from the one it is bound to. This is checked at every call, cached or not.
    ///
    /// # Errors
    ///
    /// See [`Verifier::verify`].
    #[inline]
    pub fn verify_presented<'s>(
        &'s self,
        token: &str,
        presenter: &Presenter,
        now: Timestamp,
        scratch: &'s mut Scratch,
    ) -> Result<Verified<'s>, VerifyError> {
        if let Some(entry) = self.cache.as_ref().and_then(|c| c.find(token.as_bytes())) {
            if let Some(cached) = entry
                .as_deref()
                .filter(|cached| self.still_holds(cached, now))
            {
                self.check_still_unrevoked(cached, now, &mut scratch.reader)?;
                self.check_binding(&cached.claims(), presenter)?;
                return Ok(Verified {
                    body: Body::Cached(entry),
                });
            }
        }
        self.verify_cold(token.as_bytes(), presenter, now, scratch)
    }

    /// Checks a bound token in all but who presents it, for protocols in which the token itself says what
    /// the proof is checked with. It gives no claims before that is done: see [`Unproven`].
    ///
    /// # Errors
    ///
    /// See [`Verifier::verify`]; [`VerifyError::BindingRequired`] for a token that is not bound.
    pub fn verify_bound<'s>(
        &'s self,
        token: &str,
        now: Timestamp,
        scratch: &'s mut Scratch,
    ) -> Result<Unproven<'s>, VerifyError> {
        let verified = self.verify_presented(token, &Presenter::later(), now, scratch)?;
        Unproven::new(verified).ok_or(VerifyError::BindingRequired)
    }

    /// Lets go of cached tokens that have expired. They are never accepted anyway; this frees and
    /// wipes their memory before something else needs the place.
    pub fn purge_cache(&self, now: Timestamp) {
        if let Some(cache) = &self.cache {
            cache.purge(now);
        }
    }

    /// How full the cache is, for metrics; [`None`] without one. Looks at every place of it, so it is not for
    /// the way of a call.
    pub fn cache_figures(&self) -> Option<CacheFigures> {
        self.cache.as_ref().map(TokenCache::figures)
    }

    /// Whether the dates of a cached token hold, and the keys it was verified with are still the
    /// ones to use.
    #[inline]
    fn still_holds(&self, cached: &CachedToken, now: Timestamp) -> bool {
        cached.holds_at(now)
            && self
                .issuers
                .get(cached.issuer())
                .is_some_and(|issuer| issuer.keys.version() == cached.keys_version())
    }

    #[inline]
    fn check_still_unrevoked(
        &self,
        cached: &CachedToken,
        now: Timestamp,
        reader: &mut Reader,
    ) -> Result<(), VerifyError> {
        let Some(revocations) = &self.revocations else {
            return Ok(());
        };
        // Read before the check: what is revoked in between changes it again.
        let epoch = revocations.epoch();
        if !cached.was_checked_in(epoch) {
            let (at, key) = (cached.issuer(), cached.key.as_ref());
            let reader = reader.of(revocations);
            self.check_revocation(reader, at, &cached.claims(), key, now)?;
            cached.set_checked_in(epoch);
        }
        Ok(())
    }

    fn verify_cold<'s>(
        &'s self,
        token: &[u8],
        presenter: &Presenter,
        now: Timestamp,
        scratch: &'s mut Scratch,
    ) -> Result<Verified<'s>, VerifyError> {
        let Scratch {
            header: header_buffer,
            payload,
            signature: signature_buffer,
            filled,
            members,
            facts,
            reader,
            recent_header,
            recent_keys,
        } = scratch;

        check_length(token)?;
        let recent = recent_header.of(&self.known_headers, token);
        let is_recent = recent.is_some();
        let mut found = None;
        let (first, known) = match recent {
            Some(known) => {
                let first = Split::behind_header(token, known.text.len());
                (first.ok_or(VerifyError::Parts)?, Some(known))
            }
            None => {
                let first = Split::at_first_dot(token)?;
                found = self.known_headers.find(first.header);
                let known = found.as_ref().and_then(|known| known.as_deref());
                (first, known)
            }
        };
        // Behind a known header the signature is as long as it was. If that is so and all is sound
        // then its bytes and those of the payload are had at once; if not, it is found out what for.
        let at_once = known.and_then(|known| {
            let split = first.at_signature(known.signature_characters)?;
            let (claims, signature) = (split.payload, split.signature);
            let both = self.codec.decode_both(claims, signature, filled, payload)?;
            Some((split, both))
        });
        let split = match at_once {
            Some((split, _)) => split,
            None => first.at_last_dot()?,
        };
        let parsed;
        let header = match known {
            Some(known) => &known.header,
            None => {
                let text = self.decode(Part::Header, split.header, header_buffer)?;
                parsed = Header::parse(text, members)?;
                self.check_header(&parsed)?;
                &parsed
            }
        };
        let (claims_len, behind) = match at_once {
            Some((_, both)) => (
                both.first_len,
                both.second_at..both.second_at + both.second_len,
            ),
            None => {
                let len = self.decode(Part::Claims, split.payload, payload)?.len();
                (len, len..len)
            }
        };
        let (claims, rest) = payload.split_at_mut(behind.start);
        let (signature, room) = rest.split_at_mut(behind.len());
        let mut signed = Signed {
            split,
            signature: Some(&*signature).filter(|signature| !signature.is_empty()),
            buffer: signature_buffer,
        };

        let claims = claims.get(..claims_len).unwrap_or_default();
        let (json, unescaped) = claims::parse(claims, room, members, facts)?;
        let claims = Claims {
            json,
            unescaped,
            members: members.as_slice(),
            facts,
        };

        let (at, issuer) = self.issuer_of(&claims)?;
        // Read before the keys: if they are replaced in between, what is cached is thrown away.
        let keys_version = issuer.keys.version();
        let recent = recent_keys.of(&issuer.keys);
        let are_recent = recent.is_some();
        let loaded;
        let keys = match recent {
            Some(keys) => keys,
            None => {
                loaded = issuer.keys.load();
                &*loaded
            }
        };
        let usable_until = keys.usable_until_time().unwrap_or(Timestamp::MAX);
        if now >= usable_until {
            return Err(VerifyError::KeysStale {
                until: usable_until,
                now,
            });
        }
        let entry = self.check_signature(header, keys, &mut signed, now)?;
        let key = entry.key.thumbprint();
        let usable_until = usable_until.min(entry.until.unwrap_or(Timestamp::MAX));
        // Only from here on are these the words of the issuer.
        if let Some(Bound::EmbeddedKey) = claims.facts.confirmation {
            let bound = self.embedded_key(&claims)?;
            facts.confirmation = Some(bound);
        }
        let claims = Claims {
            json,
            unescaped,
            members: members.as_slice(),
            facts,
        };
        let (from, until) = self.check_claims(&claims, now)?;
        self.check_binding(&claims, presenter)?;
        let mut epoch = 0;
        if let Some(revocations) = &self.revocations {
            epoch = revocations.epoch();
            let reader = reader.of(revocations);
            self.check_revocation(reader, at, &claims, key.as_ref(), now)?;
        }

        if known.is_none() {
            let signature_characters = split.signature.len();
            self.known_headers
                .insert(split.header, header.clone(), signature_characters);
        }
        if !is_recent {
            if let Some(known) = found.as_ref().and_then(|known| known.as_ref()) {
                recent_header.keep(&self.known_headers, known);
            }
        }
        if !are_recent {
            recent_keys.keep(&issuer.keys);
        }
        if let Some(cache) = &self.cache {
            let grounds = Grounds {
                from,
                until: until.min(usable_until),
                issuer: at,
                keys_version,
                key,
                epoch,
            };
            cache.insert(token, claims, grounds, now);
        }
        Ok(Verified {
            body: Body::Fresh(claims),
        })
    }

    #[inline]
    fn decode<'b>(
        &self,
        part: Part,
        text: &[u8],
        buffer: &'b mut [u8],
    ) -> Result<&'b [u8], VerifyError> {
        let length = self
            .codec
            .decode(text, buffer)
            .ok_or(VerifyError::Base64 { part })?;
        Ok(buffer.get(..length).unwrap_or_default())
    }

    /// What a header must say whatever the claims say. A known header was found to say it before.
    fn check_header(&self, header: &Header<'_>) -> Result<(), VerifyError> {
        let algorithm = header.algorithm;
        if !self.algorithms.contains(algorithm) {
            return Err(VerifyError::AlgorithmNotAllowed { algorithm });
        }
        self.token_type.check(header.typ.as_deref())
    }

    /// Whose keys to look in. The claim is not to be believed yet; it only says where to look.
    fn issuer_of(&self, claims: &Claims<'_>) -> Result<(usize, &Issuer), VerifyError> {
        if !self.issuer_is_checked {
            return self
                .issuers
                .first()
                .map(|issuer| (0, issuer))
                .ok_or_else(|| VerifyError::IssuerUnknown {
                    found: Excerpt::new(""),
                });
        }
        let name = claims.issuer().ok_or_else(|| missing("iss"))?;
        self.issuers
            .binary_search_by(|issuer| (*issuer.name).cmp(name))
            .ok()
            .and_then(|at| Some((at, self.issuers.get(at)?)))
            .ok_or_else(|| VerifyError::IssuerUnknown {
                found: Excerpt::new(name),
            })
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let issuers: Vec<_> = self.issuers.iter().map(|issuer| &issuer.name).collect();
        f.debug_struct("Verifier")
            .field("issuers", &issuers)
            .field("audience", &self.audience)
            .field("token_type", &self.token_type)
            .finish_non_exhaustive()
    }
}
