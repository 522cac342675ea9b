//! `CrlPublisher`: the CRLs of one authority, made of what its ledger says, under numbers that are
//! recorded before a CRL is released.
//!
//! ```text
//! claim a number, durably ── read all that was revoked until then ── prepare ── sign ──▶ release, unless
//!                                                                     somebody claimed the next meanwhile
//! ```

mod error;
mod list;
mod numbers;
mod pending;

pub use error::CrlPublishError;
pub use pending::{PendingCrl, UnreleasedCrl};

use std::fmt;
use std::time::Duration;

use m2m_crypto::{SecureRandom, SigningKey};
use m2m_store::{Change, Changes, Cursor, Space};
use m2m_types::Timestamp;

use super::{CertificateId, Ledger, LedgerError, REVOCATIONS, ROUNDS, Revocation, id};
use crate::{CrlSignError, CrlSigner, RevocationList, ShardPlan, SignedCrl, UpdateTimes};
use list::List;
use numbers::scope_of;
use pending::{Claim, Form};

/// How many changes are read at once.
const PAGE: usize = 1000;

/// Publishes the CRLs of one authority: one for all its certificates, or one for each shard.
///
/// **No number comes twice, and none is lower than one before**, whatever dies when: a number is
/// durable before anything is signed under it, and used once. **A later CRL never lists less**, though
/// several processes publish: each reads the ledger after it claimed its number, and releases nothing if
/// somebody claimed the next one meanwhile. What a dead process claimed is a gap, which CRLs may have.
/// What has expired leaves a list after a complete CRL listed it once more (RFC 5280 §3.3).
///
/// **A delta** says what changed since the last complete CRL of its list that was released here; after
/// a start there is none, so a complete one comes first. Deltas and complete CRLs of a list share its
/// numbers. Whoever holds a complete CRL from the delta's base on may apply it:
/// [`CrlSet::with_delta`](crate::CrlSet::with_delta).
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
        let list = self.list_of(revocation.id());
        if let Some(list) = self.lists.get_mut(list as usize) {
            list.take(revocation);
        }
    }

    /// The lists to publish at `now`: those that changed, and those whose complete CRL is half through
    /// its life.
    pub fn due(&self, now: Timestamp) -> Vec<u32> {
        let lists = (0..).zip(&self.lists);
        let due = lists.filter(|(_, list)| list.due_at(self.lifetime) <= now);
        due.map(|(number, _)| number).collect()
    }

    /// Whether a delta of list `list` does at `now`: there is a complete CRL that it is to, and that
    /// one is not half through its life.
    pub fn takes_delta(&self, list: u32, now: Timestamp) -> bool {
        let list = self.lists.get(list as usize);
        list.is_some_and(|list| now < list.complete_due_at(self.lifetime))
    }

    /// When the next list is due if nothing changes: at once ([`Timestamp::MIN`]) if one is.
    pub fn next_deadline(&self) -> Timestamp {
        let due = self.lists.iter().map(|list| list.due_at(self.lifetime));
        due.min().unwrap_or(Timestamp::MIN)
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
        Some(self.lists.get(list as usize)?.entries())
    }

    /// Publishes one list completely, signed with the issuer's key.
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
        self.publish_as(Form::Complete, (list, key), now, random)
            .await
    }

    /// Publishes what changed in one list since its last complete CRL, signed with the issuer's key.
    ///
    /// # Errors
    ///
    /// [`CrlPublishError`]; with [`CrlSignError::NoBase`](crate::CrlSignError::NoBase) if no complete
    /// CRL of the list was released since the start.
    pub async fn publish_delta(
        &mut self,
        list: u32,
        key: &SigningKey,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<SignedCrl, CrlPublishError> {
        self.publish_as(Form::Delta, (list, key), now, random).await
    }

    async fn publish_as(
        &mut self,
        form: Form,
        (list, key): (u32, &SigningKey),
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<SignedCrl, CrlPublishError> {
        for _ in 0..ROUNDS {
            let pending = self.prepare_as(form, list, now, random).await?;
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
        self.prepare_as(Form::Complete, list, now, random).await
    }

    /// The first half of [`CrlPublisher::publish_delta`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn prepare_delta(
        &mut self,
        list: u32,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<PendingCrl, CrlPublishError> {
        self.prepare_as(Form::Delta, list, now, random).await
    }

    async fn prepare_as(
        &mut self,
        form: Form,
        list: u32,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<PendingCrl, CrlPublishError> {
        match self.lists.get(list as usize) {
            None => return Err(CrlPublishError::NoList { list }),
            Some(entry) if form == Form::Delta && !entry.has_base() => {
                return Err(CrlSignError::NoBase.into());
            }
            Some(_) => {}
        }
        let times = UpdateTimes::new(now, now.saturating_add(self.lifetime))?;
        let (fresh, version) = self.claim(list, random).await?;
        self.follow().await?;
        let entry = self.lists.get_mut(list as usize);
        let entry = entry.ok_or(CrlPublishError::NoList { list })?;
        let claim = Claim {
            list,
            form,
            number: fresh.number(),
            version,
            times,
            changes: entry.changes(),
        };
        let prepared = entry.prepare(form, &self.signer, fresh, times)?;
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
            list.released(&claim);
        }
        Ok(signed)
    }
}

fn empty(plan: Option<&ShardPlan>) -> Vec<List> {
    let lists = 0..plan.map_or(1, ShardPlan::shards);
    lists.map(|list| List::new(scope_of(plan, list))).collect()
}

impl fmt::Debug for CrlPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrlPublisher")
            .field("issuer", &self.signer.issuer().id())
            .field("lists", &self.lists.len())
            .finish_non_exhaustive()
    }
}
