//! The question: is this revoked? Without a lock and without an allocation.

use std::sync::atomic::Ordering;

use m2m_types::Timestamp;

use crate::fingerprint::Fingerprint;
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

/// The kinds that a token can be revoked by.
const TOKEN_KINDS: u32 = ISSUER_KINDS | kind_bit(Kind::Service.tag());
/// Those of them that an issuer's name is part of.
const ISSUER_KINDS: u32 = kind_bit(Kind::Token.tag())
    | kind_bit(Kind::Subject.tag())
    | kind_bit(Kind::Session.tag())
    | kind_bit(Kind::Key.tag());

impl Revoked {
    fn by(kind: Kind, term: Term) -> Self {
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
        let present = self.present() & TOKEN_KINDS;
        if present == 0 {
            return Ok(());
        }
        self.check_token_by(present, facts, now)
    }

    #[inline(never)]
    fn check_token_by(
        &self,
        present: u32,
        facts: &TokenFacts<'_>,
        now: Timestamp,
    ) -> Result<(), Revoked> {
        // All hashing before the first look-up: the look-ups then wait for memory together.
        let fingerprints = self.fingerprints_of(present, facts);
        let state = self.state.load();
        for (kind, fingerprint) in fingerprints {
            if let Some(fingerprint) = fingerprint {
                judge(&state, fingerprint, facts.issued_at, now)
                    .map_err(|term| Revoked::by(kind, term))?;
            }
        }
        Ok(())
    }

    /// What to look up for a token, in the order of [`Revocations::check_token`]: nothing for what
    /// it does not say and for kinds that are not `present`.
    #[inline]
    fn fingerprints_of(
        &self,
        present: u32,
        facts: &TokenFacts<'_>,
    ) -> [(Kind, Option<Fingerprint>); 5] {
        let is_present = |kind: Kind| present & kind_bit(kind.tag()) != 0;
        let mut issuer =
            (present & ISSUER_KINDS != 0).then(|| self.fingerprints.scope(facts.issuer.as_bytes()));
        let mut of = |kind: Kind, name: Option<&[u8]>| {
            let scope = issuer.as_mut().filter(|_| is_present(kind))?;
            Some(scope.fingerprint(kind, name?))
        };
        let subject = facts.subject.map(str::as_bytes);
        // Only a well-formed service name is ever revoked as one, and equal names are equal bytes,
        // so the subject need not be parsed.
        let service = subject.filter(|_| is_present(Kind::Service));
        let service = service.map(|name| {
            let mut scope = self.fingerprints.scope(&[]);
            scope.fingerprint(Kind::Service, name)
        });
        [
            (Kind::Token, of(Kind::Token, facts.jti.map(str::as_bytes))),
            (
                Kind::Session,
                of(Kind::Session, facts.session.map(str::as_bytes)),
            ),
            (Kind::Subject, of(Kind::Subject, subject)),
            (Kind::Service, service),
            (
                Kind::Key,
                of(Kind::Key, facts.key.map(<[u8; 32]>::as_slice)),
            ),
        ]
    }

    /// The kinds of which something is revoked.
    ///
    /// `Acquire`, and set before an entry is written: whoever was told that something is revoked
    /// sees its kind here.
    #[inline]
    fn present(&self) -> u32 {
        self.present.load(Ordering::Acquire)
    }
}

/// Looks up one target; the term that voids it is the error.
#[inline]
fn judge(
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
