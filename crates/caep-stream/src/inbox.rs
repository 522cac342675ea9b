//! `Inbox`: SETs that were received, recorded before they are acknowledged, and acted upon once.

mod name;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use caep_set::{AuthenticSet, Profile, Reading, SecurityEventToken, Verdict};
use m2m_crypto::{RandomError, SecureRandom};
use m2m_store::{
    Batch, Expected, IdempotencyKey, Key, Record, Revision, Scan, Space, Store, StoreError,
};
use m2m_token::{Scratch, Unverified};
use m2m_types::Timestamp;

use name::read_name;
pub(crate) use name::{NamePage, SetName};

/// How often a commit is tried whose outcome is not known. Its idempotency key makes that safe.
const ATTEMPTS: usize = 5;
/// The most records that one call of [`Inbox::forget`] removes.
const FORGOTTEN_AT_ONCE: usize = 200;

/// What a receiver was told, in a store: SETs are recorded with their (`iss`, `jti`) in one commit before
/// they are acknowledged, and each is acted upon once, whatever dies in between.
///
/// ```text
/// push or poll ─▶ verify ─▶ Inbox::record ─▶ 202 or ack      durable, the second time "repeated"
///                               │
///                  Inbox::pending ─▶ act ─▶ Inbox::finish    together with what it wrote there
/// ```
///
/// What is done inside the same store is done exactly once, in the commit that finishes the SET. What is
/// done elsewhere may be done again after a crash: make it so that this does not matter, as revocation is
/// by nature, or give [`PendingSet::effect_key`] along.
///
/// Several inboxes may share a store if their names differ; several processes may share one inbox.
pub struct Inbox {
    pub(crate) store: Arc<dyn Store>,
    seen: Space,
    pending: Space,
    profile: Profile,
}

/// What became of a SET that was to be recorded. Each is to be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "receivers count each")]
pub enum Recorded {
    /// It is recorded, and will be acted upon.
    New,
    /// It was recorded before (RFC 8935 §2: answered as if it were new).
    Repeated,
    /// It is recorded, and will not be acted upon: a critical part of its subject is not understood
    /// (SSF 1.0 §3.6).
    Discarded,
}

/// What became of a SET that was acted upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third way")]
pub enum Finished {
    /// It is done, with all that was to be written.
    Now,
    /// Somebody else had done it; nothing was written.
    Before,
}

/// Why an inbox could not do what it was asked. Do not acknowledge then: the SET will come again.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InboxError {
    /// The store failed.
    #[error("{0}")]
    Store(StoreError),
    /// There is no randomness to name a commit.
    #[error("{0}")]
    Random(RandomError),
    /// The name is none that spaces can have.
    #[error("{name:?} cannot be an inbox's name: up to 16 of `a`-`z`, `0`-`9` and `-`")]
    Name {
        /// The name.
        name: Box<str>,
    },
    /// The SET breaks a rule: it is answered with `invalid_request` and not recorded.
    #[error("the SET breaks a rule and is not recorded")]
    Violating,
    /// Two sources of a receiver have the same issuer. Which of them would count?
    #[error("two sources have the issuer {issuer:?}")]
    SameIssuer {
        /// Which.
        issuer: Box<str>,
    },
    /// Each time that a record was to be changed somebody else had changed it. Try again.
    #[error("a record was changed by somebody else each time; try again")]
    Contended,
    /// A record cannot be read. Nothing is skipped: somebody must look.
    #[error("the record {key} of an inbox cannot be read: {problem}")]
    Record {
        /// Which.
        key: Key,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl From<StoreError> for InboxError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Inbox {
    /// The inbox called `name` in `store`. SETs were verified by the rules of `profile`, and are read by
    /// them again.
    ///
    /// # Errors
    ///
    /// [`InboxError::Name`].
    pub fn new(store: Arc<dyn Store>, name: &str, profile: Profile) -> Result<Self, InboxError> {
        let space = |kind: &str| {
            let is_name = (1..=16).contains(&name.len())
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
            let space = Space::new(&format!("set-{kind}-{name}"))
                .ok()
                .filter(|_| is_name);
            space.ok_or_else(|| InboxError::Name {
                name: name.chars().take(32).collect::<String>().into_boxed_str(),
            })
        };
        Ok(Self {
            store,
            seen: space("seen")?,
            pending: space("new")?,
            profile,
        })
    }

    /// Records a SET. When this has returned [`Ok`] it survives, and may be acknowledged.
    ///
    /// # Errors
    ///
    /// [`InboxError`]; it is not to be acknowledged then.
    pub async fn record(
        &self,
        set: &AuthenticSet,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Recorded, InboxError> {
        let name = SetName::of_authentic(set)?;
        self.record_named(name, set, now, random).await
    }

    /// [`Inbox::record`] of a SET whose name is known.
    pub(crate) async fn record_named(
        &self,
        name: SetName,
        set: &AuthenticSet,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Recorded, InboxError> {
        let batch = self.recording(name, now, random)?;
        let discarded = set.verdict() == Verdict::Discard;
        let batch = match discarded {
            true => batch,
            false => {
                let key = pending_key(&self.pending, now, name)?;
                batch.put(key, Expected::Absent, set.compact().as_bytes())
            }
        };
        match self.commit_recording(name, batch).await? {
            Recorded::New if discarded => Ok(Recorded::Discarded),
            recorded => Ok(recorded),
        }
    }

    /// The batch that records the name of a SET, and nothing that is to be done.
    pub(crate) fn recording(
        &self,
        name: SetName,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Batch, InboxError> {
        let seen = self.seen_key(name)?;
        let time = now.unix_seconds().to_be_bytes();
        Ok(Batch::new(intent(random)?).put(seen, Expected::Absent, &time[..]))
    }

    /// Commits what [`Inbox::recording`] began.
    pub(crate) async fn commit_recording(
        &self,
        name: SetName,
        batch: Batch,
    ) -> Result<Recorded, InboxError> {
        let seen = self.seen_key(name)?;
        match self.commit(batch).await {
            Ok(()) => Ok(Recorded::New),
            Err(StoreError::Conflict { key, .. }) if key == seen => Ok(Recorded::Repeated),
            Err(error) => Err(InboxError::Store(error)),
        }
    }

    /// Whether a SET is recorded.
    pub(crate) async fn has(&self, name: SetName) -> Result<bool, InboxError> {
        Ok(self.store.get(&self.seen_key(name)?).await?.is_some())
    }

    /// Some of the names that are recorded, with the second at which each was, behind `after`.
    pub(crate) async fn names(&self, after: Option<Key>) -> Result<NamePage, InboxError> {
        let mut scan = Scan::new(self.seen.clone());
        if let Some(after) = after {
            scan = scan.after(after);
        }
        let page = self.store.scan(&scan).await?;
        let names = page.records().iter().map(read_name);
        Ok((names.collect::<Result<_, _>>()?, page.next().cloned()))
    }

    /// SETs that are still to be acted upon, the oldest first, up to `limit`.
    ///
    /// # Errors
    ///
    /// [`InboxError`]; never fewer than there are because one cannot be read.
    pub async fn pending(&self, limit: usize) -> Result<Vec<PendingSet>, InboxError> {
        let reads = |_: &str| &self.profile;
        let (sets, _) = self.pending_in(&self.pending, limit, None, &reads).await?;
        Ok(sets)
    }

    /// [`Inbox::pending`] of a space of such SETs, behind `after`, each read by the rules of its issuer;
    /// and where to go on.
    pub(crate) async fn pending_in<'p>(
        &self,
        space: &Space,
        limit: usize,
        after: Option<Key>,
        profile_of: &(dyn Fn(&str) -> &'p Profile + Sync),
    ) -> Result<(Vec<PendingSet>, Option<Key>), InboxError> {
        let mut scan = Scan::new(space.clone()).with_limit(limit.clamp(1, 256));
        if let Some(after) = after {
            scan = scan.after(after);
        }
        let page = self.store.scan(&scan).await?;
        let next = page.next().cloned();
        let records = page.into_records().into_iter();
        let sets = records.map(|record| read(record, profile_of));
        Ok((sets.collect::<Result<_, _>>()?, next))
    }

    /// Where SETs wait to be acted upon.
    pub(crate) fn pending_space(&self) -> &Space {
        &self.pending
    }

    /// Says that a SET was acted upon. What `effects` adds to the batch it is given is written in the same
    /// commit, so it is written once.
    ///
    /// # Errors
    ///
    /// [`InboxError`]; the SET stays pending then. A conflict on another record is one of them.
    pub async fn finish(
        &self,
        set: &PendingSet,
        effects: impl FnOnce(Batch) -> Batch,
        random: &dyn SecureRandom,
    ) -> Result<Finished, InboxError> {
        let batch = effects(set.finishing(random)?);
        match self.commit(batch).await {
            Ok(()) => Ok(Finished::Now),
            Err(StoreError::Conflict { key, .. }) if key == set.key => Ok(Finished::Before),
            Err(error) => Err(InboxError::Store(error)),
        }
    }

    /// Forgets names of SETs that were recorded more than `window` ago, up to 200 of them, and says how
    /// many. The window must be longer than any transmitter sends a SET again; what comes after it is
    /// taken for new.
    ///
    /// # Errors
    ///
    /// [`InboxError`].
    pub async fn forget(
        &self,
        now: Timestamp,
        window: Duration,
        after: Option<Key>,
        random: &dyn SecureRandom,
    ) -> Result<(usize, Option<Key>), InboxError> {
        let mut scan = Scan::new(self.seen.clone()).with_limit(FORGOTTEN_AT_ONCE);
        if let Some(after) = after {
            scan = scan.after(after);
        }
        let page = self.store.scan(&scan).await?;
        let next = page.next().cloned();
        let horizon = now.saturating_sub(window).unix_seconds();
        let mut batch = Batch::new(intent(random)?);
        let mut count = 0;
        for record in page.records() {
            let time = <[u8; 8]>::try_from(record.value().as_bytes());
            let time = time.map_err(|_| InboxError::Record {
                key: record.key().clone(),
                problem: "it is no time",
            })?;
            if u64::from_be_bytes(time) < horizon {
                let version = Expected::Version(record.version());
                batch = batch.delete(record.key().clone(), version);
                count += 1;
            }
        }
        if count > 0 {
            self.commit(batch).await?;
        }
        Ok((count, next))
    }

    /// Commits, and asks again under the same name while nobody knows what became of it.
    pub(crate) async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let mut attempts = 1;
        loop {
            match self.store.commit(batch.clone()).await {
                Err(StoreError::OutcomeUnknown { .. }) if attempts < ATTEMPTS => attempts += 1,
                other => return other.map(drop),
            }
        }
    }

    fn seen_key(&self, name: SetName) -> Result<Key, InboxError> {
        Key::new(&self.seen, &name.0).map_err(|_| InboxError::Violating)
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("pending", &self.pending)
            .finish_non_exhaustive()
    }
}

/// A SET that is recorded and still to be acted upon.
#[derive(Clone, Debug)]
pub struct PendingSet {
    token: SecurityEventToken,
    compact: Box<str>,
    name: SetName,
    key: Key,
    version: Revision,
}

impl PendingSet {
    /// What it says. It was authentic and conforming when it was recorded.
    pub fn token(&self) -> &SecurityEventToken {
        &self.token
    }

    /// Names what it causes, so that another system can tell that it is asked a second time.
    pub fn effect_key(&self) -> IdempotencyKey {
        let [first, ..] = self.name.halves();
        IdempotencyKey::from_bytes(first)
    }

    /// The batch that takes it from where it waits.
    pub(crate) fn finishing(&self, random: &dyn SecureRandom) -> Result<Batch, InboxError> {
        let expected = Expected::Version(self.version);
        Ok(Batch::new(intent(random)?).delete(self.key.clone(), expected))
    }

    /// The SET as it was sent.
    pub fn compact(&self) -> &str {
        &self.compact
    }

    /// Where it waits.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// In which version.
    pub(crate) fn version(&self) -> Revision {
        self.version
    }
}

fn read<'p>(
    record: Record,
    profile_of: &(dyn Fn(&str) -> &'p Profile + Sync),
) -> Result<PendingSet, InboxError> {
    let (key, version) = (record.key().clone(), record.version());
    let wrong = |problem| InboxError::Record {
        key: key.clone(),
        problem,
    };
    let compact = std::str::from_utf8(record.value().as_bytes()).ok();
    let compact = compact.ok_or_else(|| wrong("it is no text"))?;
    let mut scratch = Scratch::new();
    // Its signature was checked before it was recorded; the key may be gone by now.
    let unverified = Unverified::danger_decode(compact, &mut scratch);
    let unverified = unverified.map_err(|_| wrong("it is no token"))?;
    let claims = unverified.danger_claims();
    let profile = profile_of(claims.issuer().unwrap_or_default());
    // It was judged by its own time.
    let reading = Reading::of_claims(claims.json(), profile, Timestamp::MAX);
    let token = reading.into_token().ok_or_else(|| wrong("it is no SET"))?;
    Ok(PendingSet {
        name: SetName::of(&token),
        token,
        compact: Box::from(compact),
        key,
        version,
    })
}

/// Pending SETs in the order in which they came.
fn pending_key(space: &Space, now: Timestamp, name: SetName) -> Result<Key, InboxError> {
    let id = [&now.unix_seconds().to_be_bytes()[..], &name.0].concat();
    Key::new(space, &id).map_err(|_| InboxError::Violating)
}

pub(crate) fn intent(random: &dyn SecureRandom) -> Result<IdempotencyKey, InboxError> {
    IdempotencyKey::generate(random).map_err(InboxError::Random)
}
