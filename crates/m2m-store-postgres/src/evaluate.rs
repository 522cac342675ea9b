//! `evaluate`: what a group of batches comes to. Values in, values out.

use std::collections::HashMap;

use m2m_store::{
    Action, Batch, Committed, IdempotencyKey, Key, Operation, Revision, StoreError, Value,
};

/// What a batch is told apart by when its idempotency key comes again.
pub(crate) type Fingerprint = [u8; 32];

/// A batch that waits for its revision.
#[derive(Clone, Copy)]
pub(crate) struct Candidate<'a> {
    pub(crate) batch: &'a Batch,
    pub(crate) fingerprint: Fingerprint,
    /// Whether it may have been committed by an earlier attempt, whose answer was lost.
    pub(crate) attempted: bool,
}

/// What was read while the head was locked.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) head: Revision,
    pub(crate) remembered: HashMap<IdempotencyKey, (Fingerprint, Revision)>,
    /// Tombstones included; what was never there is missing.
    pub(crate) records: HashMap<Key, State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) revision: Revision,
    pub(crate) is_live: bool,
}

/// What is to be written, and what is to be answered once it is.
#[derive(Debug, Default)]
pub(crate) struct Decision<'a> {
    /// One for each candidate, in their order.
    pub(crate) answers: Vec<Result<Committed, StoreError>>,
    /// One for each record: what the last batch that wrote it makes of it.
    pub(crate) writes: HashMap<&'a Key, Write<'a>>,
    pub(crate) requests: Vec<(IdempotencyKey, Fingerprint, Revision)>,
    pub(crate) head: Revision,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Write<'a> {
    pub(crate) revision: Revision,
    pub(crate) place: usize,
    /// [`None`] for a tombstone.
    pub(crate) content: Option<(&'a Value, Option<&'a str>)>,
    /// The version in the database, if it has a row.
    pub(crate) seen: Option<Revision>,
}

/// Takes `candidates` one after the other; each finds what those before it leave. One that does not
/// find what it expects writes nothing and hinders no other.
pub(crate) fn evaluate<'a>(
    candidates: impl IntoIterator<Item = Candidate<'a>>,
    seen: &Seen,
) -> Decision<'a> {
    let mut group = Group {
        seen,
        now: HashMap::new(),
        remembered: HashMap::new(),
        decision: Decision {
            head: seen.head,
            ..Decision::default()
        },
    };
    for candidate in candidates {
        let answer = group.commit(candidate);
        group.decision.answers.push(answer);
    }
    group.decision
}

struct Group<'s, 'a> {
    seen: &'s Seen,
    now: HashMap<&'a Key, State>,
    remembered: HashMap<IdempotencyKey, (Fingerprint, Revision)>,
    decision: Decision<'a>,
}

impl<'a> Group<'_, 'a> {
    fn commit(&mut self, candidate: Candidate<'a>) -> Result<Committed, StoreError> {
        let Candidate {
            batch, fingerprint, ..
        } = candidate;
        let key = batch.idempotency_key();
        if let Some(before) = self.seen.remembered.get(&key) {
            // The attempt whose answer was lost was the first one that this caller made.
            return match repeated(key, *before, fingerprint)? {
                committed if candidate.attempted => Ok(Committed::new(committed.revision())),
                committed => Ok(committed),
            };
        }
        if let Some(before) = self.remembered.get(&key) {
            return repeated(key, *before, fingerprint);
        }
        for operation in batch.operations() {
            self.check(operation)?;
        }
        let revision = self.decision.head.next().ok_or(StoreError::Exhausted)?;
        self.decision.head = revision;
        for (place, operation) in batch.operations().iter().enumerate() {
            self.write(operation, revision, place);
        }
        self.remembered.insert(key, (fingerprint, revision));
        self.decision.requests.push((key, fingerprint, revision));
        Ok(Committed::new(revision))
    }

    fn state(&self, key: &Key) -> Option<State> {
        let now = self.now.get(key).or_else(|| self.seen.records.get(key));
        now.copied()
    }

    fn check(&self, operation: &Operation) -> Result<(), StoreError> {
        let (key, expected) = (operation.key(), operation.expected());
        let live = self.state(key).filter(|state| state.is_live);
        let found = live.map(|state| state.revision);
        match expected.is_met_by(found) {
            true => Ok(()),
            false => Err(StoreError::Conflict {
                key: key.clone(),
                expected,
                found,
            }),
        }
    }

    fn write(&mut self, operation: &'a Operation, revision: Revision, place: usize) {
        let key = operation.key();
        let content = match operation.action() {
            Action::Put { value, summary } => Some((value, summary.as_deref())),
            // What was never there leaves no tombstone.
            Action::Delete if self.state(key).is_none() => return,
            Action::Delete => None,
            _ => return,
        };
        let write = Write {
            revision,
            place,
            seen: self.seen.records.get(key).map(|state| state.revision),
            content,
        };
        let is_live = write.content.is_some();
        self.now.insert(key, State { revision, is_live });
        self.decision.writes.insert(key, write);
    }
}

fn repeated(
    key: IdempotencyKey,
    (before, revision): (Fingerprint, Revision),
    fingerprint: Fingerprint,
) -> Result<Committed, StoreError> {
    match before == fingerprint {
        true => Ok(Committed::repeated(revision)),
        false => Err(StoreError::IdempotencyKeyReused { key, revision }),
    }
}

#[cfg(test)]
mod tests {
    use m2m_store::{Expected, Space};

    use super::*;

    fn key(id: u8) -> Key {
        Key::new(&Space::new("s").unwrap(), &[id]).unwrap()
    }

    fn batch(name: u8) -> Batch {
        Batch::new(IdempotencyKey::from_bytes([name; 16]))
    }

    fn candidate(batch: &Batch) -> Candidate<'_> {
        Candidate {
            batch,
            fingerprint: [batch.operations().len() as u8; 32],
            attempted: false,
        }
    }

    fn at(revision: u64) -> Revision {
        Revision::new(revision).unwrap()
    }

    fn seen(head: u64, records: &[(u8, u64, bool)]) -> Seen {
        let records = records.iter().map(|&(id, revision, is_live)| {
            let revision = at(revision);
            (key(id), State { revision, is_live })
        });
        Seen {
            head: at(head),
            records: records.collect(),
            ..Seen::default()
        }
    }

    #[test]
    fn each_batch_finds_what_those_before_it_leave() {
        let batches = [
            batch(1).put(key(1), Expected::Absent, b"a".as_slice()),
            batch(2).put(key(1), Expected::Absent, b"b".as_slice()),
            batch(3).put(key(1), Expected::Version(at(8)), b"c".as_slice()),
            batch(4).delete(key(1), Expected::Version(at(9))),
            batch(5).put(key(1), Expected::Absent, b"d".as_slice()),
        ];
        // A tombstone is in the way of nobody.
        let seen = seen(7, &[(1, 3, false)]);
        let decision = evaluate(batches.iter().map(candidate), &seen);
        let revisions: Vec<_> = decision
            .answers
            .iter()
            .map(|answer| answer.as_ref().ok().map(|c| c.revision().number()))
            .collect();
        assert_eq!(
            revisions,
            [Some(8), None, Some(9), Some(10), Some(11)],
            "{:?}",
            decision.answers
        );
        assert_eq!(decision.head, at(11));
        assert_eq!(decision.requests.len(), 4);
        let write = &decision.writes[&key(1)];
        assert_eq!((write.revision, write.seen), (at(11), Some(at(3))));
        assert_eq!(decision.writes.len(), 1);
    }

    #[test]
    fn what_does_not_hold_writes_nothing_at_all() {
        let conflicting = batch(1)
            .put(key(1), Expected::Anything, b"a".as_slice())
            .check(key(2), Expected::Present);
        let decision = evaluate([candidate(&conflicting)], &seen(7, &[]));
        assert!(matches!(
            decision.answers[..],
            [Err(StoreError::Conflict { .. })]
        ));
        assert!(decision.writes.is_empty() && decision.requests.is_empty());
        assert_eq!(decision.head, at(7));
    }

    #[test]
    fn what_was_never_there_leaves_no_tombstone() {
        let deletes = batch(1).delete(key(1), Expected::Anything);
        let decision = evaluate([candidate(&deletes)], &seen(7, &[]));
        assert_eq!(decision.answers, [Ok(Committed::new(at(8)))]);
        assert!(decision.writes.is_empty());
    }

    #[test]
    fn sto_018_a_request_that_is_remembered_is_not_done_again() {
        let again = batch(1).put(key(1), Expected::Absent, b"a".as_slice());
        let mut seen = seen(7, &[(1, 5, true)]);
        let name = again.idempotency_key();
        seen.remembered.insert(name, ([1; 32], at(5)));
        let mut candidate = candidate(&again);
        let answer = |candidate| evaluate([candidate], &seen).answers.remove(0);
        assert_eq!(answer(candidate), Ok(Committed::repeated(at(5))));
        // It was this caller's own attempt, whose answer was lost.
        candidate.attempted = true;
        assert_eq!(answer(candidate), Ok(Committed::new(at(5))));
        candidate.fingerprint = [9; 32];
        let reused = StoreError::IdempotencyKeyReused {
            key: name,
            revision: at(5),
        };
        assert_eq!(answer(candidate), Err(reused));
    }

    #[test]
    fn the_same_request_twice_in_a_group_is_done_once() {
        let once = batch(1).put(key(1), Expected::Absent, b"a".as_slice());
        let twice = once.clone();
        let decision = evaluate([candidate(&once), candidate(&twice)], &seen(0, &[]));
        let expected = [Ok(Committed::new(at(1))), Ok(Committed::repeated(at(1)))];
        assert_eq!(decision.answers, expected);
        assert_eq!(decision.writes.len(), 1);
    }

    #[test]
    fn no_revision_is_left() {
        let last = batch(1).put(key(1), Expected::Anything, b"a".as_slice());
        let seen = Seen {
            head: Revision::MAX,
            ..Seen::default()
        };
        let decision = evaluate([candidate(&last)], &seen);
        assert_eq!(decision.answers, [Err(StoreError::Exhausted)]);
        assert!(decision.writes.is_empty());
    }
}
