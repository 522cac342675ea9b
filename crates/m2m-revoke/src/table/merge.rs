//! The union of two ascending runs of entries, itself ascending.

use std::iter::Peekable;

use crate::term::Entry;

/// All entries of both runs, each fingerprint once, with all that either run revokes of it.
pub(crate) fn union<A, B>(first: A, second: B) -> impl Iterator<Item = Entry>
where
    A: Iterator<Item = Entry>,
    B: Iterator<Item = Entry>,
{
    Union {
        first: first.peekable(),
        second: second.peekable(),
    }
}

struct Union<A: Iterator, B: Iterator> {
    first: Peekable<A>,
    second: Peekable<B>,
}

impl<A, B> Iterator for Union<A, B>
where
    A: Iterator<Item = Entry>,
    B: Iterator<Item = Entry>,
{
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let (Some(first), Some(second)) = (self.first.peek(), self.second.peek()) else {
            return self.first.next().or_else(|| self.second.next());
        };
        if first.fingerprint < second.fingerprint {
            return self.first.next();
        }
        if second.fingerprint < first.fingerprint {
            return self.second.next();
        }
        let both = Entry {
            fingerprint: first.fingerprint,
            term: first.term.union(second.term),
        };
        self.first.next();
        self.second.next();
        Some(both)
    }
}
