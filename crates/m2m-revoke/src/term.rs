//! `Term`: how far a revocation reaches and how long it is kept, packed into one word.

use std::time::Duration;

use m2m_types::Timestamp;

use crate::fingerprint::Fingerprint;

/// How long an entry outlives the credential it revokes.
///
/// Ten minutes: more than the leeway any verifier grants for skewed clocks (five minutes is the
/// most that is usual), so that an entry is still there when the last verifier stops accepting the
/// credential. It is also the most by which one compaction may move the set's own clock, see
/// [`Revocations::compact`](crate::Revocations::compact).
pub const REVOCATION_MARGIN: Duration = Duration::from_secs(600);

/// `kept_until` in the low half, `issued_until` in the high half, in seconds since 1970.
///
/// One word, so that an entry changes in one store and a reader never sees half a change. Seconds
/// end in the year 2106 here; what lies beyond becomes [`NO_END`], which revokes more and longer,
/// never less. Zero means that there is no entry: `kept_until` is at least the margin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Term(u64);

/// As `kept_until`: for ever. As `issued_until`: whenever it was issued.
const NO_END: u32 = u32::MAX;

/// One entry of a set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) term: Term,
}

impl Term {
    /// No entry.
    pub(crate) const NONE: Self = Self(0);

    /// Everything, for ever: the answer when a table cannot be believed.
    pub(crate) const EVERYTHING: Self = Self(u64::MAX);

    pub(crate) fn new(expires: Timestamp, issued_until: Option<Timestamp>) -> Self {
        let kept_until = seconds(expires.saturating_add(REVOCATION_MARGIN));
        let issued_until = issued_until.map_or(NO_END, seconds);
        Self((u64::from(issued_until) << 32) | u64::from(kept_until))
    }

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    pub(crate) const fn is_none(self) -> bool {
        self.0 == Self::NONE.0
    }

    /// What revokes all that either of the two revokes: the later of both ends.
    pub(crate) fn union(self, other: Self) -> Self {
        let kept_until = self.kept_until().max(other.kept_until());
        let issued_until = self.issued_until().max(other.issued_until());
        Self((u64::from(issued_until) << 32) | u64::from(kept_until))
    }

    /// Whether the entry may be forgotten at `now`.
    pub(crate) fn is_over(self, now: Timestamp) -> bool {
        let kept_until = self.kept_until();
        kept_until != NO_END && u64::from(kept_until) <= now.unix_seconds()
    }

    /// Whether this voids what was issued at `issued_at`. What does not say when it was issued is
    /// taken to be old.
    pub(crate) fn revokes(self, issued_at: Option<Timestamp>, now: Timestamp) -> bool {
        let reaches = match (self.issued_until(), issued_at) {
            (NO_END, _) | (_, None) => true,
            (until, Some(at)) => at.unix_seconds() <= u64::from(until),
        };
        reaches && !self.is_over(now)
    }

    /// The last second of issue that is voided; `None` if any is.
    pub(crate) fn limit(self) -> Option<Timestamp> {
        match self.issued_until() {
            NO_END => None,
            until => Timestamp::from_unix_seconds(u64::from(until)).ok(),
        }
    }

    const fn kept_until(self) -> u32 {
        self.0 as u32
    }

    const fn issued_until(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

fn seconds(time: Timestamp) -> u32 {
    u32::try_from(time.unix_seconds()).unwrap_or(NO_END)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds).unwrap()
    }

    #[test]
    fn an_entry_is_over_a_margin_after_its_credential() {
        let term = Term::new(at(1_000), None);
        assert!(term.revokes(None, at(1_599)));
        assert!(!term.revokes(None, at(1_600)));
        assert!(term.revokes(None, at(0)), "a clock set back revokes again");
    }

    #[test]
    fn what_was_issued_in_the_second_of_the_limit_is_void() {
        let term = Term::new(Timestamp::MAX, Some(at(500)));
        assert!(term.revokes(Some(at(499)), at(600)));
        assert!(term.revokes(Some(at(500)), at(600)));
        assert!(!term.revokes(Some(at(501)), at(600)));
        assert!(term.revokes(None, at(600)), "no iat fails closed");
        assert_eq!(term.limit(), Some(at(500)));
    }

    #[test]
    fn sto_016_times_after_2106_revoke_more_and_longer_never_less() {
        let beyond = at(u64::from(u32::MAX) + 5);
        let term = Term::new(beyond, Some(beyond));
        assert!(term.revokes(Some(Timestamp::MAX), Timestamp::MAX));
        assert_eq!(term.limit(), None);
        let near = at(u64::from(u32::MAX) - 600);
        assert!(Term::new(near, None).revokes(None, Timestamp::MAX));
    }

    #[test]
    fn a_union_takes_the_later_of_both_ends() {
        let long = Term::new(at(9_000), Some(at(10)));
        let wide = Term::new(at(1_000), Some(at(20)));
        let both = Term::new(at(9_000), Some(at(20)));
        assert_eq!(long.union(wide), both);
        assert_eq!(wide.union(long), both);
        assert_eq!(both.union(Term::NONE), both);
        assert_eq!(Term::new(at(1), None).union(long).limit(), None);
    }

    #[test]
    fn no_term_looks_like_no_entry() {
        assert!(!Term::new(Timestamp::MIN, Some(Timestamp::MIN)).is_none());
        assert!(Term::EVERYTHING.revokes(Some(Timestamp::MAX), Timestamp::MAX));
    }
}
