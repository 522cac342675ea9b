//! Small records of a receiver's own: how they are found, read and written.

use m2m_crypto::sha256;
use m2m_store::{Batch, Expected, Key, Space, Store};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::inbox::InboxError;

/// A record as it was read: what it says, and what a commit expects to find.
#[derive(Debug)]
pub(crate) struct Kept<T> {
    key: Key,
    pub(crate) expected: Expected,
    pub(crate) value: Option<T>,
}

/// The space `set-<kind>-<name>`.
pub(crate) fn space(kind: &str, name: &str) -> Result<Space, InboxError> {
    Space::new(&format!("set-{kind}-{name}")).map_err(|_| InboxError::Name {
        name: name.chars().take(32).collect::<String>().into_boxed_str(),
    })
}

impl<T: Serialize + DeserializeOwned> Kept<T> {
    /// The record of an issuer in `space`.
    pub(crate) async fn of_issuer(
        store: &dyn Store,
        space: &Space,
        issuer: &str,
    ) -> Result<Self, InboxError> {
        Self::at(store, space, &sha256(issuer.as_bytes())).await
    }

    /// The record called `id` in `space`.
    pub(crate) async fn at(
        store: &dyn Store,
        space: &Space,
        id: &[u8; 32],
    ) -> Result<Self, InboxError> {
        let key = Key::new(space, id).map_err(|_| InboxError::Violating)?;
        let found = store.get(&key).await?;
        let value = found.as_ref().map(|record| {
            serde_json::from_slice(record.value().as_bytes()).map_err(|_| InboxError::Record {
                key: key.clone(),
                problem: "it is not what a receiver writes",
            })
        });
        Ok(Self {
            expected: found.map_or(Expected::Absent, |record| {
                Expected::Version(record.version())
            }),
            value: value.transpose()?,
            key,
        })
    }

    /// Writes `value` in its place, if that is as it was read.
    pub(crate) fn put(&self, batch: Batch, value: &T) -> Batch {
        // Numbers, texts and lists of them: there is nothing that cannot be written.
        let bytes = serde_json::to_vec(value).unwrap_or_default();
        batch.put(self.key.clone(), self.expected, bytes)
    }
}
