//! `Position`: where a SET stands in a queue; and where all that a transmitter keeps is in its store.

use m2m_crypto::Sha256;
use m2m_store::{Key, KeyError, Scan, Space};
use m2m_types::Timestamp;

/// Where a SET stands in the queue of its stream, and by that its name: `jti` is this in hexadecimal.
///
/// So an acknowledgement leads to its record without an index, and the same event has the same name in the
/// same stream however often it is written there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Position([u8; Self::BYTES]);

/// What goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rank {
    /// What a stream says of itself. Goes out even when the stream is paused.
    Control,
    /// All others, in the order in which they were published.
    Event,
}

impl Position {
    // One byte for the rank, six for the commit, six for the second, seven that are its own.
    const BYTES: usize = 20;
    /// Where its own bytes begin.
    const OWN: usize = 13;
    /// With what the positions begin of what a stream says of itself.
    pub(crate) const CONTROL: u8 = 0;

    /// Of what is called `name` and was published at this time, with the commit `revision`. The order is
    /// that of the commits: the clocks of several processes do not agree on it.
    pub(crate) fn new(rank: Rank, time: Timestamp, revision: u64, name: &[u8]) -> Self {
        let rank = match rank {
            Rank::Control => Self::CONTROL,
            Rank::Event => 1,
        };
        // Enough for a thousand years, both.
        let (revision, time) = (revision.to_be_bytes(), time.unix_seconds().to_be_bytes());
        let name = m2m_crypto::sha256(name);
        let parts = [&[rank][..], &revision[2..], &time[2..], &name[..7]];
        let mut bytes = [0; Self::BYTES];
        for (byte, part) in bytes.iter_mut().zip(parts.concat()) {
            *byte = part;
        }
        Self(bytes)
    }

    /// The same, with the commit that is known now.
    pub(crate) fn committed_as(self, revision: u64) -> Self {
        let Self(mut bytes) = self;
        if let Some(order) = bytes.get_mut(1..7) {
            order.copy_from_slice(&revision.to_be_bytes()[2..]);
        }
        Self(bytes)
    }

    /// The same in the queue of `stream`: each stream's SET has a name of its own.
    pub(crate) fn in_stream(self, stream: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(&self.0);
        hash.update(stream.as_bytes());
        let Self(mut bytes) = self;
        let (_, own) = bytes.split_at_mut(Self::OWN);
        own.copy_from_slice(&hash.finish()[..7]);
        Self(bytes)
    }

    /// The first of those that were published together with it or later, whatever the stream.
    pub(crate) fn without_own(self) -> Self {
        let Self(mut bytes) = self;
        let (_, own) = bytes.split_at_mut(Self::OWN);
        own.fill(0);
        Self(bytes)
    }

    pub(crate) fn is_control(self) -> bool {
        self.0.first() == Some(&Self::CONTROL)
    }

    /// When it was published.
    pub(crate) fn time(self) -> Timestamp {
        let seconds = self.0.iter().skip(7).take(6);
        let seconds = seconds.fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        Timestamp::from_unix_seconds(seconds).unwrap_or(Timestamp::MAX)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.try_into().ok()?))
    }

    /// `jti`.
    pub(crate) fn token_id(self) -> String {
        hex(&self.0)
    }

    /// What [`Position::token_id`] gave; `None` for any other name.
    pub(crate) fn of_token_id(token_id: &str) -> Option<Self> {
        if token_id.len() != 2 * Self::BYTES {
            return None;
        }
        let mut bytes = [0; Self::BYTES];
        for (byte, pair) in bytes.iter_mut().zip(token_id.as_bytes().chunks_exact(2)) {
            let digit = |at: usize| match pair.get(at).copied()? {
                digit @ b'0'..=b'9' => Some(digit - b'0'),
                digit @ b'a'..=b'f' => Some(digit - b'a' + 10),
                _ => None,
            };
            *byte = digit(0)? << 4 | digit(1)?;
        }
        Some(Self(bytes))
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(digit).collect()
}

/// The spaces of one transmitter.
#[derive(Debug)]
pub(crate) struct Spaces {
    /// Streams by their names.
    pub(crate) streams: Space,
    /// How many streams a receiver has: a record for each.
    pub(crate) slots: Space,
    /// Subjects that were added and removed, by stream.
    pub(crate) subjects: Space,
    /// Events that are published and not yet given to the streams.
    pub(crate) fresh: Space,
    /// Events that were, for replay.
    pub(crate) past: Space,
    /// SETs to be delivered, by stream.
    pub(crate) queue: Space,
    /// SETs that were not taken, by stream.
    pub(crate) dead: Space,
    /// Streams that are gone, or whose queue is to be emptied, and what of them is still to be swept.
    pub(crate) swept: Space,
}

impl Spaces {
    pub(crate) fn new(name: &str) -> Option<Self> {
        let is_name = (1..=16).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        let space = |kind: &str| Space::new(&format!("ssf-{kind}-{name}")).ok();
        is_name.then_some(())?;
        Some(Self {
            streams: space("stream")?,
            slots: space("slot")?,
            subjects: space("subject")?,
            fresh: space("new")?,
            past: space("past")?,
            queue: space("queue")?,
            dead: space("dead")?,
            swept: space("sweep")?,
        })
    }

    pub(crate) fn stream(&self, id: &str) -> Result<Key, KeyError> {
        Key::new(&self.streams, id.as_bytes())
    }

    pub(crate) fn queued(
        &self,
        stream: &str,
        life: u32,
        position: Position,
    ) -> Result<Key, KeyError> {
        let id = [&queue_prefix(stream, life), position.as_bytes()].concat();
        Key::new(&self.queue, &id)
    }

    pub(crate) fn dead(&self, stream: &str, position: Position) -> Result<Key, KeyError> {
        let id = [&prefix(stream), position.as_bytes()].concat();
        Key::new(&self.dead, &id)
    }

    pub(crate) fn subject(&self, stream: &str, digest: &[u8; 32]) -> Result<Key, KeyError> {
        Key::new(&self.subjects, &[&prefix(stream), &digest[..]].concat())
    }
}

/// With what the keys of a stream's records begin.
pub(crate) fn prefix(stream: &str) -> Vec<u8> {
    // Names of streams have no zero byte.
    [stream.as_bytes(), &[0]].concat()
}

/// With what the keys of a stream's queue begin.
pub(crate) fn queue_prefix(stream: &str, life: u32) -> Vec<u8> {
    [&prefix(stream)[..], &life.to_be_bytes()].concat()
}

/// The name of the stream in a key that begins with it.
pub(crate) fn stream_of(key: &Key) -> Option<&str> {
    let name = key.id().split(|byte| *byte == 0).next()?;
    std::str::from_utf8(name).ok()
}

/// The last bytes of a key as a position.
pub(crate) fn position_of(key: &Key) -> Option<Position> {
    let (_, position) = key.id().split_last_chunk::<{ Position::BYTES }>()?;
    Position::from_bytes(position)
}

/// Reads what begins with `prefix`. Says where that is, so that stores need not look for it.
pub(crate) fn scan(space: &Space, prefix: &[u8]) -> Result<Scan, KeyError> {
    let before = Key::new(space, prefix)?;
    Ok(Scan::new(space.clone()).with_prefix(prefix).after(before))
}

/// Reads all of `space`, where no id is a zero byte alone.
pub(crate) fn scan_all(space: &Space) -> Result<Scan, KeyError> {
    Ok(Scan::new(space.clone()).after(Key::new(space, &[0])?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds).unwrap()
    }

    #[test]
    fn positions_are_in_the_order_in_which_things_were_published() {
        let sorted = [
            Position::new(Rank::Control, at(9), 7, b"a"),
            Position::new(Rank::Event, at(5), 0, b"b").without_own(),
            Position::new(Rank::Event, at(5), 0, b"b"),
            Position::new(Rank::Event, at(5), 1, b"a"),
            // By a process whose clock is late.
            Position::new(Rank::Event, at(4), 2, b"a"),
            Position::new(Rank::Event, Timestamp::MAX, (1 << 48) - 1, b"a"),
        ];
        assert!(sorted.is_sorted(), "{sorted:?}");
        for position in sorted {
            let name = position.token_id();
            assert_eq!(Position::of_token_id(&name), Some(position));
            assert_eq!(
                Position::of_token_id(&name.to_uppercase().replace('0', "A")),
                None
            );
            assert!(position.without_own() <= position);
        }
        assert_eq!(sorted[3].time(), at(5));
        assert_eq!(sorted[5].time(), Timestamp::MAX);
        assert!(sorted[0].is_control() && !sorted[1].is_control());
    }

    #[test]
    fn each_stream_has_its_own_name_for_an_event_and_the_same_place() {
        let event = Position::new(Rank::Event, at(5), 0, b"event").committed_as(3);
        assert_eq!(event, Position::new(Rank::Event, at(5), 3, b"event"));
        let (one, two) = (event.in_stream("one"), event.in_stream("two"));
        assert_ne!(one, two);
        assert_eq!(one, event.in_stream("one"));
        assert_eq!(
            (one.time(), one.without_own()),
            (event.time(), event.without_own())
        );
    }

    #[test]
    fn what_is_no_name_of_ours_leads_nowhere() {
        for name in [
            "",
            "4d35",
            &"g".repeat(40),
            &"é".repeat(20),
            &"0".repeat(41),
        ] {
            assert_eq!(Position::of_token_id(name), None, "{name}");
        }
    }
}
