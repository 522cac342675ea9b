//! `SetName`: what a SET is called in a store.

use caep_set::{AuthenticSet, SecurityEventToken, Verdict};
use m2m_crypto::Sha256;
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
        let issuer = issuer.as_bytes();
        let mut hash = Sha256::new();
        // With its length in front, no issuer's name runs over into a token's.
        hash.update(&(issuer.len() as u64).to_be_bytes());
        hash.update(issuer);
        hash.update(token_id.as_bytes());
        Self(hash.finish())
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
