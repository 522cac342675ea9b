//! `SeenSets`: the names of millions of SETs in memory, so that one that comes again is known without
//! asking the store.

use std::fmt;

use m2m_crypto::{RandomError, SecureRandom};
use m2m_types::Timestamp;

use crate::inbox::SetName;

/// The names of SETs that are recorded, (`iss`, `jti`) by (`iss`, `jti`), each with the second at which it
/// was.
///
/// It stands in front of a store and changes no answer: a SET that is here was recorded, and one that is
/// not may have been, by another process say, which the commit that records it finds out. A name takes 128
/// bits of the hash that it has in the store; that two of one issuer meet takes 2⁶⁴ of them, made on
/// purpose by that issuer, against itself.
///
/// What it knows is as old as the process: if an older copy of the store is put in the store's place, start
/// the processes anew, or what that copy lacks is taken for recorded.
///
/// At most 36 bytes a name, and a few thousand on top. When it grows or forgets there are two tables for
/// the moment that takes. Beyond its limit it takes no more, and the store is asked again.
///
/// ```
/// use caep_stream::receiver::SeenSets;
/// use m2m_crypto::SystemRandom;
/// use m2m_types::Timestamp;
///
/// let now = Timestamp::from_unix_seconds(1_790_000_000)?;
/// let mut seen = SeenSets::new(1_000_000, &SystemRandom)?;
/// assert!(seen.insert("https://tr.example", "4d35", now));
/// assert!(seen.contains("https://tr.example", "4d35"));
/// assert!(!seen.contains("https://other.example", "4d35"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SeenSets {
    /// Drawn at random: whoever chooses names cannot choose where they crowd.
    key: (u64, u64),
    homes: u64,
    /// Ascending, each at its home or behind it; zero where there is none.
    names: Vec<u128>,
    /// When each was recorded, in seconds since 1970, until 2106.
    times: Vec<u32>,
    /// Four bits in one word for each name: of a name that is new, one of them is mostly missing. It is
    /// small enough to stay in the caches of the machine, where the table is not.
    filter: Vec<u64>,
    len: usize,
    limit: usize,
}

/// A table is this full at most, in percent: of what is not there, two places are looked at on average.
const MOST: usize = 80;
/// And this full after it has grown.
const LEAST: usize = 60;
/// Bits of the filter for each home: of a hundred new names, one at most is looked for in the table.
const FILTER_BITS: usize = 12;
/// Places behind the last home.
const BEHIND: usize = 256;

impl SeenSets {
    /// None yet, and at most `limit`.
    ///
    /// # Errors
    ///
    /// [`RandomError`].
    pub fn new(limit: usize, random: &dyn SecureRandom) -> Result<Self, RandomError> {
        let mut bytes = [0; 16];
        random.fill(&mut bytes)?;
        let key = u128::from_le_bytes(bytes);
        let mut seen = Self {
            key: (key as u64, (key >> 64) as u64),
            homes: 0,
            names: Vec::new(),
            times: Vec::new(),
            filter: Vec::new(),
            len: 0,
            limit,
        };
        seen.rebuild(64, 0);
        Ok(seen)
    }

    /// Whether this SET is here. Then it was recorded.
    pub fn contains(&self, issuer: &str, token_id: &str) -> bool {
        self.has(SetName::of_parts(issuer, token_id))
    }

    /// Takes in a SET that was recorded at `time`. `false` if there is no room.
    pub fn insert(&mut self, issuer: &str, token_id: &str, time: Timestamp) -> bool {
        self.add(SetName::of_parts(issuer, token_id), time.unix_seconds())
    }

    /// Forgets those that were recorded before `horizon`, in one pass.
    pub fn forget_before(&mut self, horizon: Timestamp) {
        let horizon = u32::try_from(horizon.unix_seconds()).unwrap_or(u32::MAX);
        let live = self.times.iter().zip(&self.names);
        let live = live.filter(|(time, name)| **name != 0 && **time >= horizon);
        let live = live.count();
        if live < self.len {
            self.rebuild(live, horizon);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bytes of memory they take.
    pub fn memory(&self) -> usize {
        self.names.capacity() * size_of::<u128>()
            + self.times.capacity() * size_of::<u32>()
            + self.filter.capacity() * size_of::<u64>()
    }

    pub(crate) fn has(&self, name: SetName) -> bool {
        let name = self.mixed(name);
        let (at, bits) = self.filtered(name);
        let word = self.filter.get(at).copied().unwrap_or(u64::MAX);
        word & bits == bits && self.find(name).1
    }

    pub(crate) fn add(&mut self, name: SetName, time: u64) -> bool {
        let name = self.mixed(name);
        let time = u32::try_from(time).unwrap_or(u32::MAX);
        let (at, found) = self.find(name);
        if found {
            return true;
        }
        if self.len >= self.limit {
            return false;
        }
        if (self.len + 1) * 100 > self.homes as usize * MOST {
            self.rebuild(self.len + 1, 0);
            return self.place(self.find(name).0, name, time);
        }
        self.place(at, name, time)
    }

    /// Where a name is, or where it belongs.
    fn find(&self, name: u128) -> (usize, bool) {
        let home = home(name, self.homes);
        let places = self.names.get(home..).unwrap_or_default();
        let ahead = places
            .iter()
            .position(|there| *there == 0 || *there >= name);
        let at = home + ahead.unwrap_or(places.len());
        (at, self.names.get(at) == Some(&name))
    }

    /// Puts a name where it belongs, and moves those behind it up to the next free place.
    fn place(&mut self, at: usize, name: u128, time: u32) -> bool {
        let behind = self.names.get(at..).unwrap_or_default();
        let Some(run) = behind.iter().position(|there| *there == 0) else {
            // They crowd at the end, where no key that was drawn at random puts them.
            self.rebuild(self.len * 2, 0);
            return self.place(self.find(name).0, name, time);
        };
        if let (Some(names), Some(times)) = (
            self.names.get_mut(at..=at + run),
            self.times.get_mut(at..=at + run),
        ) {
            names.rotate_right(1);
            times.rotate_right(1);
            if let (Some(first), Some(when)) = (names.first_mut(), times.first_mut()) {
                (*first, *when) = (name, time);
            }
            self.note(name);
            self.len += 1;
        }
        true
    }

    /// A new table with room for `count`, of those that were recorded at `horizon` or later.
    fn rebuild(&mut self, count: usize, horizon: u32) {
        let homes = count.max(64) * 100 / LEAST;
        let places = homes + BEHIND;
        let old = (
            std::mem::take(&mut self.names),
            std::mem::take(&mut self.times),
        );
        self.names = vec![0; places];
        self.times = vec![0; places];
        self.filter = vec![0; homes * FILTER_BITS / 64 + 1];
        self.homes = homes as u64;
        self.len = 0;
        let mut next = 0;
        for (name, time) in old.0.into_iter().zip(old.1) {
            if name == 0 || time < horizon {
                continue;
            }
            let at = home(name, self.homes).max(next);
            // They are in order, and there are fewer than homes: with a key drawn at random they do not
            // crowd at the end. One that did would be asked for in the store.
            if let (Some(place), Some(when)) = (self.names.get_mut(at), self.times.get_mut(at)) {
                (*place, *when) = (name, time);
                self.note(name);
                self.len += 1;
            }
            next = at + 1;
        }
    }

    /// Which word of the filter, and which bits of it.
    fn filtered(&self, name: u128) -> (usize, u64) {
        let low = name as u64;
        let at = (u128::from(low) * self.filter.len() as u128) >> 64;
        let bits = [0, 6, 12, 18].map(|shift| 1_u64 << (low >> shift & 63));
        (at as usize, bits.into_iter().fold(0, |all, bit| all | bit))
    }

    fn note(&mut self, name: u128) {
        let (at, bits) = self.filtered(name);
        if let Some(word) = self.filter.get_mut(at) {
            *word |= bits;
        }
    }

    /// The name as it is kept: under our key, different for different ones, and never zero.
    fn mixed(&self, name: SetName) -> u128 {
        let name = name.short();
        let mut low = (name as u64).wrapping_add(self.key.0);
        let mut high = ((name >> 64) as u64).wrapping_add(self.key.1);
        high ^= stirred(low);
        low ^= stirred(high);
        high ^= stirred(low);
        ((u128::from(high) << 64) | u128::from(low)).max(1)
    }
}

/// The home of a name: in proportion, so that names in order have homes in order.
#[inline]
fn home(name: u128, homes: u64) -> usize {
    let high = (name >> 64) as u64;
    ((u128::from(high) * u128::from(homes)) >> 64) as usize
}

/// Its high bits depend on all bits of `half`.
#[inline]
const fn stirred(half: u64) -> u64 {
    (half ^ (half >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl fmt::Debug for SeenSets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeenSets")
            .field("len", &self.len)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::collections::HashMap;

    use m2m_crypto::SystemRandom;
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds).unwrap()
    }

    proptest! {
        #[test]
        fn it_answers_like_a_map(
            steps in proptest::collection::vec((0..3_u8, 0..400_u32, 0..50_u64), 0..600),
        ) {
            let mut seen = SeenSets::new(1 << 20, &SystemRandom).unwrap();
            let mut model: HashMap<String, u64> = HashMap::new();
            for (step, number, time) in steps {
                let name = number.to_string();
                match step {
                    0 | 1 => {
                        prop_assert!(seen.insert("i", &name, at(time)));
                        model.entry(name).or_insert(time);
                    }
                    _ => {
                        seen.forget_before(at(time));
                        model.retain(|_, recorded| *recorded >= time);
                    }
                }
                prop_assert_eq!(seen.len(), model.len());
            }
            for number in 0..400 {
                let name = number.to_string();
                prop_assert_eq!(seen.contains("i", &name), model.contains_key(&name));
            }
        }
    }

    #[test]
    fn it_holds_a_hundred_thousand_in_few_bytes_each() {
        let mut seen = SeenSets::new(usize::MAX, &SystemRandom).unwrap();
        let mut most = 0;
        for number in 0..100_000_usize {
            assert!(seen.insert("https://tr.example", &number.to_string(), at(7)));
            if number > 10_000 {
                most = most.max(seen.memory() / (number + 1));
            }
        }
        assert!(most <= 37, "{most} bytes");
        assert_eq!(seen.len(), 100_000);
        let is_there = |n: usize| seen.contains("https://tr.example", &n.to_string());
        assert!((0..100_000).all(is_there));
        assert!(!(100_000..200_000).any(is_there));
        assert!(
            !seen.contains("https://tr.example1", "0"),
            "no shifted boundary"
        );
    }

    #[test]
    fn beyond_its_limit_it_takes_no_more_and_loses_none() {
        let mut seen = SeenSets::new(100, &SystemRandom).unwrap();
        let taken = (0..200).filter(|n: &u32| seen.insert("i", &n.to_string(), at(1)));
        assert_eq!(taken.count(), 100);
        assert!(seen.insert("i", "7", at(1)), "it is there");
        assert!(seen.contains("i", "99") && !seen.contains("i", "100"));
    }
}
