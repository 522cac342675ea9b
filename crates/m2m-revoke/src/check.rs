//! The question: is this revoked? Without a lock and without an allocation.

use std::sync::atomic::Ordering;

use m2m_types::Timestamp;

use crate::fingerprint::{Fingerprint, IssuerScopes, PreparedIssuer};
use crate::header::kind_bit;
use crate::set::{Revocations, State};
use crate::target::{Kind, Target};
use crate::term::Term;

/// What a verified token says that a revocation could name.
///
/// Every field must be given, and a field that is added later will not compile until it is: what a
/// verifier forgets to mention is not checked.
#[derive(Clone, Copy, Debug)]
pub struct TokenFacts<'a> {
    /// `iss`, compared byte by byte.
    pub issuer: &'a str,
    /// `jti`. A token without one cannot be revoked alone.
    pub jti: Option<&'a str>,
    /// `sub`; looked for under the issuer, and as the name of a service whoever the issuer is.
    pub subject: Option<&'a str>,
    /// `sid`.
    pub session: Option<&'a str>,
    /// The thumbprint of the key that signed it.
    pub key: Option<&'a [u8; 32]>,
    /// `iat`, rounded down to a second. A token without one counts as issued before any moment.
    pub issued_at: Option<Timestamp>,
}

/// Why something is refused: what of it was revoked. For logs and operators; a peer learns no more
/// than that its credential is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("revoked by {kind:?}")]
pub struct Revoked {
    kind: Kind,
    issued_until: Option<Timestamp>,
}

/// The kinds that a token can be revoked by, in the order they are looked for.
const TOKEN_KINDS: [Kind; 5] = [
    Kind::Token,
    Kind::Session,
    Kind::Subject,
    Kind::Service,
    Kind::Key,
];

/// Their bits.
const TOKEN_BITS: u32 = kind_bit(Kind::Token.tag())
    | kind_bit(Kind::Session.tag())
    | kind_bit(Kind::Subject.tag())
    | kind_bit(Kind::Service.tag())
    | kind_bit(Kind::Key.tag());

impl Revoked {
    pub(crate) fn by(kind: Kind, term: Term) -> Self {
        Self {
            kind,
            issued_until: term.limit(),
        }
    }

    /// What was revoked.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The last second of issue that is void; `None` if all is, whenever it was issued.
    pub const fn issued_until(&self) -> Option<Timestamp> {
        self.issued_until
    }
}

impl Revocations {
    /// Checks whether `target`, issued at `issued_at` (`None` if that is not known: it then counts
    /// as old), is revoked at `now`.
    ///
    /// # Errors
    ///
    /// [`Revoked`] if it is.
    #[inline]
    pub fn check(
        &self,
        target: &Target<'_>,
        issued_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), Revoked> {
        let kind = target.kind();
        if self.present() & kind_bit(kind.tag()) == 0 {
            return Ok(());
        }
        let fingerprint = target.fingerprint(&self.fingerprints);
        judge(&self.state.load(), fingerprint, issued_at, now)
            .map_err(|term| Revoked::by(kind, term))
    }

    /// Checks a token against everything it could be revoked by: its id, its session, its subject,
    /// its subject as the name of a service, and the key that signed it.
    ///
    /// Kinds of which nothing is revoked cost nothing; if none of these is, the whole check is one
    /// load and one comparison.
    ///
    /// ```
    /// use m2m_revoke::{Kind, Revocations, Target, TokenFacts};
    /// use m2m_types::Timestamp;
    ///
    /// let now = Timestamp::from_unix_seconds(1_700_000_000)?;
    /// let revocations = Revocations::new([7; 16], now); // from a random generator, in earnest
    /// let facts = TokenFacts {
    ///     issuer: "https://issuer.example",
    ///     jti: Some("a-1"),
    ///     subject: Some("spiffe://example.org/billing"),
    ///     session: None,
    ///     key: None,
    ///     issued_at: Some(now),
    /// };
    /// assert!(revocations.check_token(&facts, now).is_ok());
    ///
    /// let billing: m2m_types::ServiceId = "spiffe://example.org/billing".parse()?;
    /// revocations.revoke_issued_until(Target::Service(billing.as_ref()), now, Timestamp::MAX)?;
    /// let revoked = revocations.check_token(&facts, now).unwrap_err();
    /// assert_eq!(revoked.kind(), Kind::Service);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Revoked`], with the first kind that voids it, in the order above.
    #[inline]
    pub fn check_token(&self, facts: &TokenFacts<'_>, now: Timestamp) -> Result<(), Revoked> {
        let present = self.present_of_tokens();
        if present == 0 {
            return Ok(());
        }
        self.check_token_by(present, None, facts, now)
    }

    /// Prepares for tokens of `issuer`, the exact text of their `iss`, so that
    /// [`Revocations::check_token_of`] need not hash it every time.
    pub fn prepare_issuer(&self, issuer: &str) -> PreparedIssuer {
        self.fingerprints.prepare(issuer)
    }

    /// [`Revocations::check_token`] with less to do if the token is of the issuer that was prepared
    /// for. The answer is the same in any case.
    ///
    /// ```
    /// use m2m_revoke::{Revocations, Target, TokenFacts};
    /// use m2m_types::Timestamp;
    ///
    /// let now = Timestamp::from_unix_seconds(1_700_000_000)?;
    /// let revocations = Revocations::new([7; 16], now); // from a random generator, in earnest
    /// let issuer = revocations.prepare_issuer("https://issuer.example"); // once
    ///
    /// let facts = TokenFacts {
    ///     issuer: "https://issuer.example",
    ///     jti: Some("a-1"),
    ///     subject: None,
    ///     session: None,
    ///     key: None,
    ///     issued_at: Some(now),
    /// };
    /// assert!(revocations.check_token_of(&issuer, &facts, now).is_ok());
    ///
    /// let target = Target::Token { issuer: facts.issuer, jti: "a-1" };
    /// revocations.revoke(target, Timestamp::MAX)?;
    /// assert!(revocations.check_token_of(&issuer, &facts, now).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Revoked`], as [`Revocations::check_token`].
    #[inline]
    pub fn check_token_of(
        &self,
        issuer: &PreparedIssuer,
        facts: &TokenFacts<'_>,
        now: Timestamp,
    ) -> Result<(), Revoked> {
        let present = self.present_of_tokens();
        if present == 0 {
            return Ok(());
        }
        let scopes = self.fingerprints.prepared(issuer, facts.issuer);
        self.check_token_by(present, scopes, facts, now)
    }

    #[inline(never)]
    pub(crate) fn check_token_by(
        &self,
        present: u32,
        scopes: Option<&IssuerScopes>,
        facts: &TokenFacts<'_>,
        now: Timestamp,
    ) -> Result<(), Revoked> {
        self.look_up(&self.state.load(), present, scopes, facts, now)
    }

    /// Looks up in `state` what a token could be revoked by of the kinds that are `present`.
    #[inline(always)]
    pub(crate) fn look_up(
        &self,
        state: &State,
        present: u32,
        scopes: Option<&IssuerScopes>,
        facts: &TokenFacts<'_>,
        now: Timestamp,
    ) -> Result<(), Revoked> {
        if present == kind_bit(Kind::Token.tag()) {
            // Where tokens alone are revoked, one look-up is the whole check.
            let Some(jti) = facts.jti.map(str::as_bytes) else {
                return Ok(());
            };
            let fingerprint = match scopes {
                Some(scopes) => self.fingerprints.of_inlined(&scopes.token, jti),
                None => self.fingerprint_anew(Kind::Token, facts.issuer, jti),
            };
            return judge(state, fingerprint, facts.issued_at, now)
                .map_err(|term| Revoked::by(Kind::Token, term));
        }
        self.look_up_all(state, present, scopes, facts, now)
    }

    #[inline(never)]
    fn look_up_all(
        &self,
        state: &State,
        present: u32,
        scopes: Option<&IssuerScopes>,
        facts: &TokenFacts<'_>,
        now: Timestamp,
    ) -> Result<(), Revoked> {
        // All hashing before the first look-up: the look-ups then wait for memory together.
        let mut all = TOKEN_KINDS.map(|_| None);
        for (wanted, kind) in all.iter_mut().zip(TOKEN_KINDS) {
            if present & kind_bit(kind.tag()) != 0 {
                *wanted = self.wanted(kind, scopes, facts);
            }
        }
        for (wanted, kind) in all.into_iter().zip(TOKEN_KINDS) {
            if let Some(fingerprint) = wanted {
                judge(state, fingerprint, facts.issued_at, now)
                    .map_err(|term| Revoked::by(kind, term))?;
            }
        }
        Ok(())
    }

    /// The fingerprint to look for to find out whether a token is revoked by `kind`; `None` if it
    /// says nothing that could be.
    #[inline]
    fn wanted(
        &self,
        kind: Kind,
        scopes: Option<&IssuerScopes>,
        facts: &TokenFacts<'_>,
    ) -> Option<Fingerprint> {
        let (scope, name) = match kind {
            Kind::Token => (scopes.map(|of| &of.token), facts.jti.map(str::as_bytes)),
            Kind::Session => (
                scopes.map(|of| &of.session),
                facts.session.map(str::as_bytes),
            ),
            Kind::Subject => (
                scopes.map(|of| &of.subject),
                facts.subject.map(str::as_bytes),
            ),
            // Only a well-formed service name is ever revoked as one, and equal names are equal
            // bytes, so the subject need not be parsed.
            Kind::Service => (
                Some(self.fingerprints.services()),
                facts.subject.map(str::as_bytes),
            ),
            Kind::Key => (
                scopes.map(|of| &of.key),
                facts.key.map(<[u8; 32]>::as_slice),
            ),
            Kind::Certificate | Kind::CertificateThumbprint | Kind::SecretVersion => return None,
        };
        let name = name?;
        Some(match scope {
            Some(scope) => self.fingerprints.of(scope, name),
            None => self.fingerprint_anew(kind, facts.issuer, name),
        })
    }

    /// The fingerprint of what a token says of itself, for an issuer that was not prepared.
    #[inline(never)]
    fn fingerprint_anew(&self, kind: Kind, issuer: &str, name: &[u8]) -> Fingerprint {
        let scope = self.fingerprints.scope(kind, issuer.as_bytes());
        self.fingerprints.of(&scope, name)
    }

    /// The kinds of which something is revoked and by which a token can be.
    #[inline]
    pub(crate) fn present_of_tokens(&self) -> u32 {
        self.present() & TOKEN_BITS
    }

    /// The kinds of which something is revoked.
    ///
    /// `Acquire`, and set before an entry is written: whoever was told that something is revoked
    /// sees its kind here.
    #[inline]
    pub(crate) fn present(&self) -> u32 {
        self.present.load(Ordering::Acquire)
    }
}

/// Looks up one target; the term that voids it is the error.
#[inline(always)] // with the hash before it, one run of instructions
pub(crate) fn judge(
    state: &State,
    fingerprint: Fingerprint,
    issued_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), Term> {
    let term = state.find(fingerprint);
    if term.is_none() || !term.revokes(issued_at, now) {
        return Ok(());
    }
    Err(term)
}
