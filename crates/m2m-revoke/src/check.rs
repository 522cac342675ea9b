//! The question: is this revoked? Without a lock and without an allocation.

use std::sync::atomic::Ordering;

use m2m_types::Timestamp;

use crate::fingerprint::Fingerprint;
use crate::header::kind_bit;
use crate::set::{Revocations, State};
use crate::target::{Kind, Target};

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
        let question = Question {
            state: &self.state.load(),
            issued_at,
            now,
        };
        question.ask(kind, target.fingerprint(&self.fingerprints))
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
        let question = Question {
            state: &self.state.load(),
            issued_at: facts.issued_at,
            now,
        };
        let is_present = |kind: Kind| present & kind_bit(kind.tag()) != 0;
        if present & ISSUER_KINDS != 0 {
            let scope = self.fingerprints.scope(facts.issuer.as_bytes());
            let named = [
                (Kind::Token, facts.jti.map(str::as_bytes)),
                (Kind::Session, facts.session.map(str::as_bytes)),
                (Kind::Subject, facts.subject.map(str::as_bytes)),
                (Kind::Key, facts.key.map(<[u8; 32]>::as_slice)),
            ];
            for (kind, name) in named {
                if let (true, Some(name)) = (is_present(kind), name) {
                    question.ask(kind, scope.fingerprint(kind, name))?;
                }
            }
        }
        // Only a well-formed service name is ever revoked as one, and equal names are equal bytes,
        // so the subject need not be parsed.
        if let (true, Some(subject)) = (is_present(Kind::Service), facts.subject) {
            let scope = self.fingerprints.scope(&[]);
            let fingerprint = scope.fingerprint(Kind::Service, subject.as_bytes());
            question.ask(Kind::Service, fingerprint)?;
        }
        Ok(())
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

/// One check against one state of the set.
struct Question<'a> {
    state: &'a State,
    issued_at: Option<Timestamp>,
    now: Timestamp,
}

impl Question<'_> {
    #[inline]
    fn ask(&self, kind: Kind, fingerprint: Fingerprint) -> Result<(), Revoked> {
        let term = self.state.find(fingerprint);
        if term.is_none() || !term.revokes(self.issued_at, self.now) {
            return Ok(());
        }
        Err(Revoked {
            kind,
            issued_until: term.limit(),
        })
    }
}
