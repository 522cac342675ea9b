//! `CrlPublisher`: the CRLs of one authority, made of what its ledger says, under numbers that are
//! recorded before a CRL is released.
//!
//! ```text
//! claim a number, durably ── read all that was revoked until then ── prepare ── sign ──▶ release, unless
//!                                                                     somebody claimed the next meanwhile
//! ```

use std::fmt;
use std::time::Duration;

use m2m_crypto::{Algorithm, RandomError, SecureRandom, SigningKey, sha256};
use m2m_store::{
    Batch, Change, Changes, Cursor, Expected, IdempotencyKey, Key, Revision, Space, StoreError,
};
use m2m_types::Timestamp;

use super::{ATTEMPTS, CertificateId, Ledger, LedgerError, REVOCATIONS, ROUNDS, Revocation, id};
use crate::{
    CrlNumber, CrlNumberError, CrlNumbers, CrlSignError, CrlSigner, FreshCrlNumber,
    ListedRevocation, PreparedCrl, RevocationList, Scope, ShardPlan, SignedCrl, UpdateTimes,
};

/// By issuer and list: the greatest number that was claimed.
const NUMBERS: &str = "pki-crl-number";
/// How many changes are read at once.
const PAGE: usize = 1000;

/// Publishes the CRLs of one authority: one for all its certificates, or one for each shard.
///
/// **No number comes twice, and none is lower than one before**, whatever dies when: a number is
/// durable before anything is signed under it, and used once. **A later CRL never lists less**, though
/// several processes publish: each reads the ledger after it claimed its number, and releases nothing if
/// somebody claimed the next one meanwhile. What a dead process claimed is a gap, which CRLs may have.
///
/// It keeps the lists in memory and follows the ledger's feed; one revocation makes one list due. It has
/// no thread and no clock: [`CrlPublisher::follow`], then publish what is [`CrlPublisher::due`], then
/// wait until [`CrlPublisher::next_deadline`] or a change in the store.
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
/// # use m2m_pki::{Authority, Profile, Subject};
/// use m2m_pki::{CrlIssuer, CrlPublisher, CrlSigner, Ledger};
/// # pollster::block_on(async {
/// # let now = m2m_types::Timestamp::from_unix_seconds(1_767_225_600)?;
/// # let (day, operator) = (Duration::from_secs(86_400), "spiffe://example.org/ca".parse()?);
/// # let root = Profile::root("root", "example.org".parse()?, Subject::new("Example Root")?, 90 * day)?;
/// # let key = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
/// # let issued = Authority::create_root(&root, &operator, &key, 90 * day, now, &SystemRandom)?;
/// # let ledger = Ledger::new(Arc::new(m2m_store::MemoryStore::new()));
/// # let certificate = ledger.record(issued).await?;
///
/// let signer = CrlSigner::new(CrlIssuer::from_certificate(&certificate)?, key.verifying_key())?;
/// let mut publisher = CrlPublisher::open(ledger, signer, None, day).await?;
/// publisher.follow().await?;
/// for list in publisher.due(now) {
///     let crl = publisher.publish(list, &key, now, &SystemRandom).await?;
///     assert!(crl.der().len() > 100);
/// }
/// assert!(publisher.due(now).is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub struct CrlPublisher {
    ledger: Ledger,
    signer: CrlSigner,
    /// With what the ids of its revocations begin.
    prefix: Vec<u8>,
    plan: Option<ShardPlan>,
    lists: Vec<List>,
    place: Cursor,
    lifetime: Duration,
}

struct List {
    list: RevocationList,
    /// Counts what changed.
    changes: u64,
    released: Option<Release>,
}

#[derive(Clone, Copy)]
struct Release {
    times: UpdateTimes,
    changes: u64,
}

/// A CRL on its way to its signature, under a number that is claimed.
pub struct PendingCrl {
    prepared: PreparedCrl,
    claim: Claim,
}

/// A CRL that is signed. Nobody has it before [`CrlPublisher::release`] gives it out.
pub struct UnreleasedCrl {
    signed: SignedCrl,
    claim: Claim,
}

#[derive(Clone, Copy)]
struct Claim {
    list: u32,
    number: CrlNumber,
    /// Of the record that says it.
    version: Revision,
    times: UpdateTimes,
    changes: u64,
}

/// Why no CRL was published. What was published before stays good until its `nextUpdate`.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrlPublishError {
    /// The issuer's certificate has no `subjectKeyIdentifier`, so the ledger does not know what is its.
    #[error("the issuer's certificate has no subjectKeyIdentifier")]
    NoKeyId,
    /// There is no such list.
    #[error("there is no list {list}")]
    NoList {
        /// Which.
        list: u32,
    },
    /// Somebody else claimed a greater number meanwhile. Theirs will list as much and more.
    #[error("CRL {number} was overtaken before it was released")]
    Overtaken {
        /// The number that is not used.
        number: CrlNumber,
    },
    /// Others publish the same list all the time.
    #[error("overtaken {rounds} times")]
    Contended {
        /// How often it was tried.
        rounds: u32,
    },
    /// There is no next number.
    #[error("there is no next number")]
    Number(#[from] CrlNumberError),
    /// It cannot be signed.
    #[error("it cannot be signed")]
    Sign(#[from] CrlSignError),
    /// There were no random bytes.
    #[error("no random bytes")]
    Random(#[from] RandomError),
    /// The ledger could not be read or written. A number may have been claimed; it is not used.
    #[error("the ledger failed")]
    Ledger(#[from] LedgerError),
}

impl From<StoreError> for CrlPublishError {
    fn from(error: StoreError) -> Self {
        Self::Ledger(error.into())
    }
}

impl CrlPublisher {
    /// Reads all revocations of `signer`'s certificates from `ledger`. Every list is due then: which
    /// were published before, and what they said, is not remembered, but for their numbers.
    ///
    /// With `shards`, one list each; without, one for all. A CRL is good for `lifetime` and made anew
    /// after half of it, so that an outage of the other half is survived.
    ///
    /// # Errors
    ///
    /// [`CrlPublishError::NoKeyId`], [`CrlPublishError::Ledger`].
    pub async fn open(
        ledger: Ledger,
        signer: CrlSigner,
        shards: Option<ShardPlan>,
        lifetime: Duration,
    ) -> Result<Self, CrlPublishError> {
        let key_id = signer.issuer().key_id().ok_or(CrlPublishError::NoKeyId)?;
        let prefix = id::prefix(key_id);
        let mut publisher = Self {
            lists: empty(shards.as_ref()),
            plan: shards,
            ledger,
            signer,
            prefix,
            place: Cursor::START,
            lifetime,
        };
        publisher.follow().await?;
        Ok(publisher)
    }

    /// Takes over what was revoked since, and returns how much that was.
    ///
    /// # Errors
    ///
    /// [`LedgerError`]. What was read so far counts; ask again.
    pub async fn follow(&mut self) -> Result<usize, LedgerError> {
        let damaged = LedgerError::Damaged { space: REVOCATIONS };
        let space = Space::new(REVOCATIONS).map_err(|_| damaged.clone())?;
        let mut taken = 0;
        loop {
            let changes = self.ledger.store.changes(&space, self.place, PAGE).await?;
            let page = match changes {
                Changes::Some(page) => page,
                // From the start, and with new lists: a store that was set back may hold less.
                _ => {
                    self.place = Cursor::START;
                    self.lists = empty(self.plan.as_ref());
                    continue;
                }
            };
            for change in page.changes() {
                // There is no way back from a revocation, so nothing is ever deleted here.
                let Change::Put(record) = change else {
                    continue;
                };
                let key = record.key().id();
                if key.starts_with(&self.prefix) {
                    let id = CertificateId::from_bytes(key);
                    let decode = |id| Revocation::decode(id, record.value().as_bytes());
                    self.take(&id.and_then(decode).ok_or(damaged.clone())?);
                    taken += 1;
                }
            }
            self.place = page.next();
            if !page.has_more() {
                return Ok(taken);
            }
        }
    }

    fn take(&mut self, revocation: &Revocation) {
        let serial = revocation.id().serial();
        let shard = self.plan.as_ref().map_or(0, |plan| plan.shard_of(serial));
        if let Some(list) = self.lists.get_mut(shard as usize) {
            let listed =
                ListedRevocation::new(serial.clone(), revocation.revoked_at(), revocation.reason());
            list.list.replace(&listed);
            list.changes += 1;
        }
    }

    /// The lists to publish at `now`: those that changed, and those whose CRL is half through its life.
    pub fn due(&self, now: Timestamp) -> Vec<u32> {
        let lists = (0..).zip(&self.lists);
        let due = lists.filter(|(_, list)| self.due_at(list) <= now);
        due.map(|(number, _)| number).collect()
    }

    /// When the next list is due if nothing changes: at once ([`Timestamp::MIN`]) if one is.
    pub fn next_deadline(&self) -> Timestamp {
        let due = self.lists.iter().map(|list| self.due_at(list));
        due.min().unwrap_or(Timestamp::MIN)
    }

    fn due_at(&self, list: &List) -> Timestamp {
        match &list.released {
            Some(release) if release.changes == list.changes => {
                let this_update = release.times.this_update();
                this_update.saturating_add(self.lifetime / 2)
            }
            _ => Timestamp::MIN,
        }
    }

    /// The list that the certificate of this name is or would be in.
    pub fn list_of(&self, id: &CertificateId) -> u32 {
        let plan = self.plan.as_ref();
        plan.map_or(0, |plan| plan.shard_of(id.serial()))
    }

    /// How many lists there are.
    pub fn lists(&self) -> u32 {
        self.plan.as_ref().map_or(1, ShardPlan::shards)
    }

    /// What list `list` lists; [`None`] if there is no such list.
    pub fn list(&self, list: u32) -> Option<&RevocationList> {
        Some(&self.lists.get(list as usize)?.list)
    }

    /// Publishes one list, signed with the issuer's key.
    ///
    /// # Errors
    ///
    /// [`CrlPublishError`].
    pub async fn publish(
        &mut self,
        list: u32,
        key: &SigningKey,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<SignedCrl, CrlPublishError> {
        for _ in 0..ROUNDS {
            let pending = self.prepare(list, now, random).await?;
            match self.release(pending.sign(key)?).await {
                Err(CrlPublishError::Overtaken { .. }) => {}
                done => return done,
            }
        }
        Err(CrlPublishError::Contended { rounds: ROUNDS })
    }

    /// The first half of [`CrlPublisher::publish`], for keys that are elsewhere: claims a number, takes
    /// over what was revoked until then, and puts the CRL together but for its signature.
    ///
    /// # Errors
    ///
    /// [`CrlPublishError`]. A number that was claimed is not used.
    pub async fn prepare(
        &mut self,
        list: u32,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<PendingCrl, CrlPublishError> {
        if self.list(list).is_none() {
            return Err(CrlPublishError::NoList { list });
        }
        let times = UpdateTimes::new(now, now.saturating_add(self.lifetime))?;
        let (fresh, version) = self.claim(list, random).await?;
        self.follow().await?;
        let entry = self.lists.get_mut(list as usize);
        let entry = entry.ok_or(CrlPublishError::NoList { list })?;
        let claim = Claim {
            list,
            number: fresh.number(),
            version,
            times,
            changes: entry.changes,
        };
        let prepared = entry.list.prepare(&self.signer, fresh, times)?;
        Ok(PendingCrl { prepared, claim })
    }

    /// Gives out a CRL that is signed, unless somebody claimed a greater number of the list since.
    ///
    /// # Errors
    ///
    /// [`CrlPublishError::Overtaken`], [`CrlPublishError::Ledger`].
    pub async fn release(&mut self, crl: UnreleasedCrl) -> Result<SignedCrl, CrlPublishError> {
        let UnreleasedCrl { signed, claim } = crl;
        let record = self.ledger.store.get(&self.number_key(claim.list)?).await?;
        if record.is_none_or(|record| record.version() != claim.version) {
            let number = claim.number;
            return Err(CrlPublishError::Overtaken { number });
        }
        if let Some(list) = self.lists.get_mut(claim.list as usize) {
            list.released = Some(Release {
                times: claim.times,
                changes: claim.changes,
            });
        }
        Ok(signed)
    }

    /// A number that nobody had, durably before this returns.
    async fn claim(
        &self,
        list: u32,
        random: &dyn SecureRandom,
    ) -> Result<(FreshCrlNumber, Revision), CrlPublishError> {
        let key = self.number_key(list)?;
        let store = &self.ledger.store;
        for _ in 0..ROUNDS {
            let (expected, mut numbers) = match store.get(&key).await? {
                None => (Expected::Absent, CrlNumbers::first()),
                Some(record) => {
                    let last = decode(record.value().as_bytes());
                    let last = last.ok_or(LedgerError::Damaged { space: NUMBERS })?;
                    (
                        Expected::Version(record.version()),
                        CrlNumbers::resume(last),
                    )
                }
            };
            let fresh = numbers.claim()?;
            // A name of its own: with one that two processes share, both would believe to have it.
            let name = IdempotencyKey::generate(random)?;
            let summary = format!(r#"{{"list":{list},"number":"{}"}}"#, fresh.number());
            let value = encode(fresh.number());
            let batch = Batch::new(name).put_with_summary(key.clone(), expected, value, summary);
            let mut outcome = store.commit(batch.clone()).await;
            for _ in 1..ATTEMPTS {
                if !matches!(outcome, Err(StoreError::OutcomeUnknown { .. })) {
                    break;
                }
                outcome = store.commit(batch.clone()).await;
            }
            match outcome {
                Ok(committed) => return Ok((fresh, committed.revision())),
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(CrlPublishError::Contended { rounds: ROUNDS })
    }

    /// The numbers of a list are those of what it speaks for, so another plan does not begin anew.
    fn number_key(&self, list: u32) -> Result<Key, LedgerError> {
        let scope = scope_of(self.plan.as_ref(), list).to_der();
        let digest = sha256(&scope.unwrap_or_default());
        let id = [&self.prefix[..], &digest].concat();
        self.ledger.key(NUMBERS, &id)
    }
}

const VERSION: u8 = 1;

fn encode(number: CrlNumber) -> Vec<u8> {
    [&[VERSION][..], &number.to_be_bytes()].concat()
}

fn decode(bytes: &[u8]) -> Option<CrlNumber> {
    let number = bytes.strip_prefix(&[VERSION])?;
    CrlNumber::from_be_bytes(number.try_into().ok()?)
}

fn scope_of(plan: Option<&ShardPlan>, list: u32) -> Scope {
    plan.map_or_else(Scope::everything, |plan| plan.scope(list))
}

fn empty(plan: Option<&ShardPlan>) -> Vec<List> {
    let lists = 0..plan.map_or(1, ShardPlan::shards);
    lists
        .map(|list| List {
            list: RevocationList::new(scope_of(plan, list)),
            changes: 0,
            released: None,
        })
        .collect()
}

impl PendingCrl {
    /// What is to be signed.
    pub fn message(&self) -> &[u8] {
        self.prepared.message()
    }

    /// The algorithm to sign it with.
    pub fn algorithm(&self) -> Algorithm {
        self.prepared.algorithm()
    }

    /// Its number.
    pub fn number(&self) -> CrlNumber {
        self.claim.number
    }

    /// Signs it with the issuer's key.
    ///
    /// # Errors
    ///
    /// As [`PreparedCrl::sign`].
    pub fn sign(self, key: &SigningKey) -> Result<UnreleasedCrl, CrlSignError> {
        let (signed, claim) = (self.prepared.sign(key)?, self.claim);
        Ok(UnreleasedCrl { signed, claim })
    }

    /// Takes the signature that somebody else made of [`PendingCrl::message`].
    ///
    /// # Errors
    ///
    /// As [`PreparedCrl::attach`].
    pub fn attach(self, signature: &[u8]) -> Result<UnreleasedCrl, CrlSignError> {
        let (signed, claim) = (self.prepared.attach(signature)?, self.claim);
        Ok(UnreleasedCrl { signed, claim })
    }
}

impl fmt::Debug for CrlPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrlPublisher")
            .field("issuer", &self.signer.issuer().id())
            .field("lists", &self.lists.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PendingCrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingCrl")
            .field("number", &self.claim.number)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for UnreleasedCrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnreleasedCrl")
            .field("number", &self.claim.number)
            .finish_non_exhaustive()
    }
}
