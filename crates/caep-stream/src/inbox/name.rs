//! `SetName`: what a SET is called in a store.

use caep_set::{AuthenticSet, SecurityEventToken, Verdict};
use m2m_crypto::{Sha256, sha256};
use m2m_store::{Key, Record};

use super::InboxError;

/// Names of SETs, each with the second at which it was recorded, and where to go on.
pub(crate) type NamePage = (Vec<(SetName, u64)>, Option<Key>);

/// The name of a SET: `iss` and `jti` together, hashed, since each alone comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SetName(pub(super) [u8; 32]);

impl SetName {
    pub(crate) fn of(token: &SecurityEventToken) -> Self {
        Self::of_parts(token.issuer(), token.token_id())
    }

    pub(crate) fn of_parts(issuer: &str, token_id: &str) -> Self {
        // With its length in front, no issuer's name runs over into a token's.
        let length = (issuer.len() as u64).to_be_bytes();
        let parts = [&length[..], issuer.as_bytes(), token_id.as_bytes()];
        // In one piece where it fits: that is half of the time it takes.
        let mut piece = [0; 256];
        let mut end = 0;
        for part in parts {
            let Some(place) = piece.get_mut(end..end + part.len()) else {
                let mut hash = Sha256::new();
                parts.iter().for_each(|part| hash.update(part));
                return Self(hash.finish());
            };
            place.copy_from_slice(part);
            end += part.len();
        }
        Self(sha256(piece.get(..end).unwrap_or_default()))
    }

    /// Of one that breaks no rule.
    pub(crate) fn of_authentic(set: &AuthenticSet) -> Result<Self, InboxError> {
        let token = set.token().filter(|_| set.verdict() != Verdict::Violating);
        token.map(Self::of).ok_or(InboxError::Violating)
    }

    /// Its first half: what tells it from others in memory.
    pub(crate) fn short(self) -> u128 {
        let [first, ..] = self.halves();
        u128::from_be_bytes(first)
    }

    pub(super) fn halves(self) -> [[u8; 16]; 2] {
        let (first, second) = self.0.split_at(16);
        [first, second].map(|half| <[u8; 16]>::try_from(half).unwrap_or_default())
    }
}

/// What a record says of a name.
pub(super) fn read_name(record: &Record) -> Result<(SetName, u64), InboxError> {
    let wrong = |problem| InboxError::Record {
        key: record.key().clone(),
        problem,
    };
    let name = <[u8; 32]>::try_from(record.key().id()).map_err(|_| wrong("it is no name"))?;
    let time = <[u8; 8]>::try_from(record.value().as_bytes());
    let time = time.map_err(|_| wrong("it is no time"))?;
    Ok((SetName(name), u64::from_be_bytes(time)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_hash_however_long_its_parts_are() {
        for (issuer, jti) in [
            (0, 0),
            (1, 0),
            (100, 147),
            (100, 148),
            (100, 149),
            (249, 1),
            (4000, 4000),
        ] {
            let (issuer, jti) = ("i".repeat(issuer), "j".repeat(jti));
            let mut text = (issuer.len() as u64).to_be_bytes().to_vec();
            text.extend(issuer.bytes());
            text.extend(jti.bytes());
            assert_eq!(SetName::of_parts(&issuer, &jti).0, sha256(&text));
        }
        assert_ne!(SetName::of_parts("ab", "c"), SetName::of_parts("a", "bc"));
    }
}
