//! `RevocationReader`: one caller's way to ask a set, which keeps what it asks.

use std::fmt;
use std::sync::Arc;

use m2m_types::Timestamp;

use crate::check::{Revoked, TokenFacts, judge};
use crate::fingerprint::{IssuerScopes, PreparedIssuer};
use crate::header::kind_bit;
use crate::set::{Revocations, State};
use crate::target::Target;

/// Asks a set for one caller: a worker thread, a connection. The answers are those of
/// [`Revocations`], sooner.
///
/// Between two checks it keeps the table that it used, and finds out by one load whether that is
/// still the current one. [`Revocations::check_token`] takes the table anew each time, and the two
/// barriers of that keep the processor from working on the next look-up while it waits for memory.
///
/// ```
/// use std::sync::Arc;
///
/// use m2m_revoke::{RevocationReader, Revocations, Target};
/// use m2m_types::Timestamp;
///
/// let now = Timestamp::from_unix_seconds(1_700_000_000)?;
/// let set = Arc::new(Revocations::new([7; 16], now)); // from a random generator, in earnest
/// let mut reader = RevocationReader::new(Arc::clone(&set));
///
/// let target = Target::Token { issuer: "https://issuer.example", jti: "a-1" };
/// assert!(reader.check(&target, Some(now), now).is_ok());
/// set.revoke(target, Timestamp::MAX)?;
/// assert!(reader.check(&target, Some(now), now).is_err()); // at once
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What it sees
///
/// All that was revoked before the check began, as with the set itself. The version of the set's
/// state goes up after each swap and before the call that swapped returns, and new entries go into
/// the state of that moment. So whoever was told of an entry sees either the version of the state
/// it went into, and takes that or a later one, or an unchanged version: then it holds the very
/// state that the entry was put into, and finds it there.
///
/// # What it keeps
///
/// An idle reader keeps a table alive that may have been replaced: until its next check,
/// [`RevocationReader::release`] or its end. However many there are, they keep two such tables at
/// most. As long as they do, what is swapped in is not kept by anybody, and readers ask as
/// [`Revocations`] does. A table is freed by the next writer that comes after the last reader has
/// let go of it ([`Revocations::compact`] on its timer is one).
pub struct RevocationReader {
    set: Arc<Revocations>,
    held: Held,
}

/// A state, and the version that was read before it was taken: it is of that version or later.
#[derive(Default)]
struct Held {
    version: u64,
    state: Option<Arc<State>>,
}

impl RevocationReader {
    /// Asks `set`. Nothing is kept until the first check.
    pub fn new(set: Arc<Revocations>) -> Self {
        Self {
            set,
            held: Held::default(),
        }
    }

    /// The set that is asked.
    pub const fn set(&self) -> &Arc<Revocations> {
        &self.set
    }

    /// Lets go of the table; the next check takes it anew. For a caller who will be idle for long.
    pub fn release(&mut self) {
        self.held = Held::default();
    }

    /// As [`Revocations::check`].
    ///
    /// # Errors
    ///
    /// [`Revoked`] if it is.
    #[inline]
    pub fn check(
        &mut self,
        target: &Target<'_>,
        issued_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), Revoked> {
        let kind = target.kind();
        if self.set.present() & kind_bit(kind.tag()) == 0 {
            return Ok(());
        }
        let Some(state) = self.held.current(&self.set) else {
            return self.set.check(target, issued_at, now);
        };
        let fingerprint = target.fingerprint(&self.set.fingerprints);
        judge(state, fingerprint, issued_at, now).map_err(|term| Revoked::by(kind, term))
    }

    /// As [`Revocations::check_token`].
    ///
    /// # Errors
    ///
    /// [`Revoked`], as there.
    #[inline]
    pub fn check_token(&mut self, facts: &TokenFacts<'_>, now: Timestamp) -> Result<(), Revoked> {
        let present = self.set.present_of_tokens();
        if present == 0 {
            return Ok(());
        }
        self.check_token_by(present, None, facts, now)
    }

    /// As [`Revocations::check_token_of`].
    ///
    /// # Errors
    ///
    /// [`Revoked`], as there.
    #[inline]
    pub fn check_token_of(
        &mut self,
        issuer: &PreparedIssuer,
        facts: &TokenFacts<'_>,
        now: Timestamp,
    ) -> Result<(), Revoked> {
        let present = self.set.present_of_tokens();
        if present == 0 {
            return Ok(());
        }
        let scopes = self.set.fingerprints.prepared(issuer, facts.issuer);
        self.check_token_by(present, scopes, facts, now)
    }

    #[inline]
    fn check_token_by(
        &mut self,
        present: u32,
        scopes: Option<&IssuerScopes>,
        facts: &TokenFacts<'_>,
        now: Timestamp,
    ) -> Result<(), Revoked> {
        match self.held.current(&self.set) {
            Some(state) => self.set.look_up(state, present, scopes, facts, now),
            None => self.set.check_token_by(present, scopes, facts, now),
        }
    }
}

impl Held {
    /// The current state, if it may be held.
    #[inline]
    fn current(&mut self, set: &Revocations) -> Option<&State> {
        // `Acquire`, and before the state is looked into: see "What it sees" above.
        let version = set.state.version();
        if self.version != version || self.state.is_none() {
            self.take(set, version);
        }
        self.state.as_deref()
    }

    #[cold]
    #[inline(never)]
    fn take(&mut self, set: &Revocations, version: u64) {
        self.state = None;
        // Looked at first because this may be at every check as long as it may not be held.
        if set.state.load().may_be_held() {
            let state = set.state.load_full();
            self.state = state.may_be_held().then_some(state);
        }
        self.version = version;
    }
}

impl fmt::Debug for RevocationReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationReader")
            .field("holds", &self.held.state.is_some())
            .finish_non_exhaustive()
    }
}
