//! `RevocationList` and `RevocationLists`: what is revoked, kept in the form it is signed in.

use std::collections::HashSet;

use m2m_types::Timestamp;

use crate::crl::entry::{self, RevokedEntry};
use crate::crl::number::{CrlNumber, FreshCrlNumber};
use crate::crl::prepare::{CrlSignError, CrlSigner, Parts, PreparedCrl, UpdateTimes};
use crate::crl::scope::Scope;
use crate::crl::shard::ShardPlan;
use crate::der::Reader;
use crate::reason::RevocationReason;
use crate::serial::Serial;

/// One revocation, as a CRL lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRevocation {
    pub(crate) serial: Serial,
    pub(crate) at: Timestamp,
    pub(crate) reason: RevocationReason,
    pub(crate) invalid_since: Option<Timestamp>,
}

impl ListedRevocation {
    /// The certificate with this serial was revoked at `at` for `reason`.
    pub const fn new(serial: Serial, at: Timestamp, reason: RevocationReason) -> Self {
        Self {
            serial,
            at,
            reason,
            invalid_since: None,
        }
    }

    /// It should not have been trusted since `since` (`invalidityDate`, RFC 5280 §5.3.2).
    #[must_use]
    pub fn with_invalid_since(self, since: Timestamp) -> Self {
        Self {
            invalid_since: Some(since),
            ..self
        }
    }
}

/// Why a list stays as it is.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// The serial is listed already, and not on hold.
    #[error("serial {0} is listed already")]
    AlreadyListed(Serial),
    /// The serial is not listed.
    #[error("serial {0} is not listed")]
    NotListed(Serial),
    /// The serial is listed for good: only from `certificateHold` is there a way back.
    #[error("serial {0} is not on hold")]
    NotOnHold(Serial),
}

/// What one CRL lists, and what changed since the last complete one.
///
/// Entries are encoded when they come. To issue a CRL copies them once, in the order in which they
/// came; those since the last complete CRL are the end of them, which is what a delta lists.
#[derive(Debug)]
pub struct RevocationList {
    scope: Scope,
    entries: Vec<u8>,
    serials: HashSet<Key>,
    held: HashSet<Key>,
    last: Option<CrlNumber>,
    base: Option<Base>,
    /// The next base, if the complete CRL is given out that was prepared last.
    pending: Option<Base>,
    spare: Vec<u8>,
}

/// A complete CRL.
#[derive(Debug)]
struct Base {
    number: CrlNumber,
    /// How much of `entries` it has.
    bytes: usize,
    /// What it has and the list no longer has.
    removed: HashSet<Key>,
}

/// A serial as 20 octets: as a number, so leading zeroes say nothing.
type Key = [u8; Serial::MAX_BYTES];

fn key_of(serial: &[u8]) -> Key {
    let mut key = [0; Serial::MAX_BYTES];
    for (to, from) in key.iter_mut().rev().zip(serial.iter().rev()) {
        *to = *from;
    }
    key
}

impl RevocationList {
    /// Nothing is revoked yet of what `scope` is.
    pub fn new(scope: Scope) -> Self {
        Self {
            scope,
            entries: Vec::new(),
            serials: HashSet::new(),
            held: HashSet::new(),
            last: None,
            base: None,
            pending: None,
            spare: Vec::new(),
        }
    }

    /// Gives back the memory of an old CRL for the next complete one: to get tens of megabytes anew
    /// takes longer than to fill them.
    pub fn recycle(&mut self, der: Vec<u8>) {
        self.spare = der;
    }

    /// How many certificates are listed.
    pub fn len(&self) -> usize {
        self.serials.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.serials.is_empty()
    }

    /// Whether the certificate of this serial is.
    pub fn contains(&self, serial: &Serial) -> bool {
        self.serials.contains(&key_of(serial.as_bytes()))
    }

    /// Lists a certificate. One that is on hold may get a final reason.
    ///
    /// # Errors
    ///
    /// [`ListError::AlreadyListed`].
    pub fn revoke(&mut self, revocation: &ListedRevocation) -> Result<(), ListError> {
        let key = key_of(revocation.serial.as_bytes());
        let is_hold = revocation.reason == RevocationReason::CertificateHold;
        if self.serials.contains(&key) {
            if is_hold || !self.held.contains(&key) {
                return Err(ListError::AlreadyListed(revocation.serial.clone()));
            }
            self.remove(|listed| key_of(listed) == key);
        }
        entry::write_revocation(revocation, &mut self.entries);
        self.serials.insert(key);
        if is_hold {
            self.held.insert(key);
        }
        Ok(())
    }

    /// Lists a certificate as it is now said to be revoked, whatever was listed of it.
    pub(crate) fn replace(&mut self, revocation: &ListedRevocation) {
        let key = key_of(revocation.serial.as_bytes());
        if self.serials.contains(&key) {
            self.remove(|listed| key_of(listed) == key);
        }
        // Nothing is listed of it any more, so there is nothing to refuse.
        let _ = self.revoke(revocation);
    }

    /// Takes a certificate off that is on hold. A delta says so by `removeFromCRL`.
    ///
    /// # Errors
    ///
    /// [`ListError::NotListed`], [`ListError::NotOnHold`].
    pub fn release(&mut self, serial: &Serial) -> Result<(), ListError> {
        let key = key_of(serial.as_bytes());
        if !self.serials.contains(&key) {
            return Err(ListError::NotListed(serial.clone()));
        }
        if !self.held.contains(&key) {
            return Err(ListError::NotOnHold(serial.clone()));
        }
        self.remove(|listed| key_of(listed) == key);
        Ok(())
    }

    /// Takes off the certificates that `is_expired` says it of, by serial, and returns how many. A
    /// CRL issued after a certificate expired has to list it once more (RFC 5280 §3.3).
    pub fn remove_expired(&mut self, is_expired: impl Fn(&[u8]) -> bool) -> usize {
        let before = self.len();
        self.remove(is_expired);
        before - self.len()
    }

    fn remove(&mut self, is_gone: impl Fn(&[u8]) -> bool) {
        let mut kept = Vec::with_capacity(self.entries.len());
        let mut reader = Reader::new(&self.entries);
        let bases = [&self.base, &self.pending];
        let ends = bases.map(|base| base.as_ref().map_or(0, |base| base.bytes));
        let mut kept_ends = [0; 2];
        loop {
            let start = self.entries.len() - reader.remaining();
            let Ok(entry) = RevokedEntry::read(&mut reader) else {
                break;
            };
            let end = self.entries.len() - reader.remaining();
            if is_gone(entry.serial) {
                let key = key_of(entry.serial);
                self.serials.remove(&key);
                self.held.remove(&key);
                let bases = [&mut self.base, &mut self.pending].into_iter().flatten();
                for base in bases.filter(|base| end <= base.bytes) {
                    base.removed.insert(key);
                }
            } else {
                kept.extend_from_slice(self.entries.get(start..end).unwrap_or_default());
                for (kept_end, base_end) in kept_ends.iter_mut().zip(ends) {
                    if end <= base_end {
                        *kept_end = kept.len();
                    }
                }
            }
        }
        self.entries = kept;
        let bases = [&mut self.base, &mut self.pending].into_iter();
        for (base, kept_end) in bases.zip(kept_ends) {
            if let Some(base) = base {
                base.bytes = kept_end;
            }
        }
    }

    /// A complete CRL. Deltas that follow are to this one.
    ///
    /// # Errors
    ///
    /// [`CrlSignError::Number`].
    pub fn prepare(
        &mut self,
        signer: &CrlSigner,
        number: FreshCrlNumber,
        times: UpdateTimes,
    ) -> Result<PreparedCrl, CrlSignError> {
        let number = self.take(&number)?;
        self.base = Some(self.mark(number));
        Ok(self.complete(signer, number, times))
    }

    /// A complete CRL that deltas are to from [`RevocationList::confirm`] on.
    pub(crate) fn prepare_unconfirmed(
        &mut self,
        signer: &CrlSigner,
        number: FreshCrlNumber,
        times: UpdateTimes,
    ) -> Result<PreparedCrl, CrlSignError> {
        let number = self.take(&number)?;
        self.pending = Some(self.mark(number));
        Ok(self.complete(signer, number, times))
    }

    /// The complete CRL of this number was given out.
    pub(crate) fn confirm(&mut self, number: CrlNumber) {
        if let Some(base) = self.pending.take_if(|base| base.number == number) {
            self.base = Some(base);
        }
    }

    /// Whether there is a complete CRL to make a delta to.
    pub(crate) fn has_base(&self) -> bool {
        self.base.is_some()
    }

    /// A delta CRL: what changed since the last complete one.
    ///
    /// # Errors
    ///
    /// [`CrlSignError::NoBase`], [`CrlSignError::Number`].
    pub fn prepare_delta(
        &mut self,
        signer: &CrlSigner,
        number: FreshCrlNumber,
        times: UpdateTimes,
    ) -> Result<PreparedCrl, CrlSignError> {
        if self.base.is_none() {
            return Err(CrlSignError::NoBase);
        }
        let number = self.take(&number)?;
        self.delta(signer, number, times)
    }

    /// A complete CRL and a delta to the one before it, which say the same and so have the same
    /// number (RFC 5280 §5.2.3): for verifiers that still hold the old one.
    ///
    /// # Errors
    ///
    /// [`CrlSignError::NoBase`], [`CrlSignError::Number`].
    pub fn prepare_with_delta(
        &mut self,
        signer: &CrlSigner,
        number: FreshCrlNumber,
        times: UpdateTimes,
    ) -> Result<(PreparedCrl, PreparedCrl), CrlSignError> {
        if self.base.is_none() {
            return Err(CrlSignError::NoBase);
        }
        let number = self.take(&number)?;
        let delta = self.delta(signer, number, times)?;
        self.base = Some(self.mark(number));
        Ok((self.complete(signer, number, times), delta))
    }

    fn take(&mut self, number: &FreshCrlNumber) -> Result<CrlNumber, CrlSignError> {
        let asked = number.number();
        match self.last {
            Some(last) if asked <= last => Err(CrlSignError::Number { asked, last }),
            _ => {
                self.last = Some(asked);
                Ok(asked)
            }
        }
    }

    /// What the list is now, as a base.
    fn mark(&self, number: CrlNumber) -> Base {
        Base {
            number,
            bytes: self.entries.len(),
            removed: HashSet::new(),
        }
    }

    fn complete(
        &mut self,
        signer: &CrlSigner,
        number: CrlNumber,
        times: UpdateTimes,
    ) -> PreparedCrl {
        let parts = Parts {
            number,
            base: None,
            times,
            scope: &self.scope,
            entries: [&self.entries, &[]],
        };
        PreparedCrl::new(signer, &parts, std::mem::take(&mut self.spare))
    }

    fn delta(
        &self,
        signer: &CrlSigner,
        number: CrlNumber,
        times: UpdateTimes,
    ) -> Result<PreparedCrl, CrlSignError> {
        let base = self.base.as_ref().ok_or(CrlSignError::NoBase)?;
        let mut removals = Vec::new();
        let mut removed: Vec<&Key> = base.removed.iter().collect();
        removed.sort_unstable();
        for key in removed {
            // Revoked again since: the entry among the new ones says all.
            if !self.serials.contains(key) {
                entry::write_removal(key, times.this_update(), &mut removals);
            }
        }
        let parts = Parts {
            number,
            base: Some(base.number),
            times,
            scope: &self.scope,
            entries: [
                self.entries.get(base.bytes..).unwrap_or_default(),
                &removals,
            ],
        };
        Ok(PreparedCrl::new(signer, &parts, Vec::new()))
    }
}

/// The lists of all shards of an issuer. A revocation goes to the one that its certificate names.
#[derive(Debug)]
pub struct RevocationLists {
    plan: ShardPlan,
    lists: Vec<RevocationList>,
}

impl RevocationLists {
    /// Nothing is revoked yet.
    pub fn new(plan: ShardPlan) -> Self {
        let lists = (0..plan.shards()).map(|shard| RevocationList::new(plan.scope(shard)));
        Self {
            lists: lists.collect(),
            plan,
        }
    }

    /// How certificates are spread over the lists.
    pub const fn plan(&self) -> &ShardPlan {
        &self.plan
    }

    /// Lists a certificate, and returns in which shard: the one to sign anew.
    ///
    /// # Errors
    ///
    /// [`ListError::AlreadyListed`].
    pub fn revoke(&mut self, revocation: &ListedRevocation) -> Result<u32, ListError> {
        let shard = self.plan.shard_of(&revocation.serial);
        if let Some(list) = self.lists.get_mut(shard as usize) {
            list.revoke(revocation)?;
        }
        Ok(shard)
    }

    /// The list of one shard; `None` if there is no such shard.
    pub fn shard(&self, shard: u32) -> Option<&RevocationList> {
        self.lists.get(shard as usize)
    }

    /// The list of one shard, to issue a CRL or to take something off.
    pub fn shard_mut(&mut self, shard: u32) -> Option<&mut RevocationList> {
        self.lists.get_mut(shard as usize)
    }

    /// A complete CRL of one shard: [`RevocationList::prepare`].
    ///
    /// # Errors
    ///
    /// [`CrlSignError::NoShard`], [`CrlSignError::Number`].
    pub fn prepare(
        &mut self,
        shard: u32,
        signer: &CrlSigner,
        number: FreshCrlNumber,
        times: UpdateTimes,
    ) -> Result<PreparedCrl, CrlSignError> {
        let list = self
            .shard_mut(shard)
            .ok_or(CrlSignError::NoShard { shard })?;
        list.prepare(signer, number, times)
    }
}
