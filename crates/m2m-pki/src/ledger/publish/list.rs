//! One list of a publisher: what it lists, what of that was released, and what has expired since.

use std::collections::BTreeMap;
use std::time::Duration;

use m2m_types::Timestamp;

use super::pending::{Claim, Form};
use crate::ledger::Revocation;
use crate::{
    CrlSignError, CrlSigner, FreshCrlNumber, ListedRevocation, PreparedCrl, RevocationList, Scope,
    Serial, UpdateTimes,
};

pub(super) struct List {
    entries: RevocationList,
    /// Counts what changed.
    changes: u64,
    /// How much of that the newest CRL says, complete or delta.
    said: Option<u64>,
    /// When the newest complete CRL was made.
    complete: Option<Timestamp>,
    /// When what is listed expires, and which change listed it.
    expiring: BTreeMap<(Timestamp, Serial), u64>,
    /// What expired and was on a complete CRL that was made later.
    expired: BTreeMap<Box<[u8]>, Timestamp>,
}

impl List {
    pub(super) fn new(scope: Scope) -> Self {
        Self {
            entries: RevocationList::new(scope),
            changes: 0,
            said: None,
            complete: None,
            expiring: BTreeMap::new(),
            expired: BTreeMap::new(),
        }
    }

    pub(super) fn entries(&self) -> &RevocationList {
        &self.entries
    }

    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn has_base(&self) -> bool {
        self.entries.has_base()
    }

    pub(super) fn take(&mut self, revocation: &Revocation) {
        let serial = revocation.id().serial().clone();
        let (at, reason) = (revocation.revoked_at(), revocation.reason());
        self.entries
            .replace(&ListedRevocation::new(serial.clone(), at, reason));
        self.changes += 1;
        self.expired.remove(serial.as_bytes());
        self.expiring
            .insert((revocation.not_after(), serial), self.changes);
    }

    /// When the next CRL is due.
    pub(super) fn due_at(&self, lifetime: Duration) -> Timestamp {
        match self.said == Some(self.changes) {
            true => self.complete_due_at(lifetime),
            false => Timestamp::MIN,
        }
    }

    /// When the next complete one is, if nothing else is: half through its life.
    pub(super) fn complete_due_at(&self, lifetime: Duration) -> Timestamp {
        let half = |made: Timestamp| made.saturating_add(lifetime / 2);
        self.complete.map_or(Timestamp::MIN, half)
    }

    pub(super) fn prepare(
        &mut self,
        form: Form,
        signer: &CrlSigner,
        number: FreshCrlNumber,
        times: UpdateTimes,
    ) -> Result<PreparedCrl, CrlSignError> {
        match form {
            Form::Complete => {
                self.remove_expired(times.this_update());
                self.entries.prepare_unconfirmed(signer, number, times)
            }
            Form::Delta => self.entries.prepare_delta(signer, number, times),
        }
    }

    fn remove_expired(&mut self, now: Timestamp) {
        let expired = &self.expired;
        let is_expired = |serial: &[u8]| {
            expired
                .get(serial)
                .is_some_and(|not_after| *not_after < now)
        };
        if expired.values().any(|not_after| *not_after < now) {
            self.entries.remove_expired(is_expired);
        }
        self.expired.retain(|_, not_after| *not_after >= now);
    }

    pub(super) fn released(&mut self, claim: &Claim) {
        self.said = Some(claim.changes);
        if claim.form == Form::Delta {
            return;
        }
        let made = claim.times.this_update();
        self.complete = Some(made);
        self.entries.confirm(claim.number);
        // What was listed after it expired need not be listed again (RFC 5280 §3.3).
        let mut kept = BTreeMap::new();
        while let Some(first) = self.expiring.first_entry() {
            if first.key().0 >= made {
                break;
            }
            match first.remove_entry() {
                (key, since) if since > claim.changes => {
                    kept.insert(key, since);
                }
                ((not_after, serial), _) => {
                    self.expired.insert(serial.as_bytes().into(), not_after);
                }
            }
        }
        self.expiring.append(&mut kept);
    }
}
