//! Acting upon what was recorded: judged, held or voided, and finished, in a way that can be begun again.

use std::fmt;

use caep_set::{Event, SecurityEventToken};
use m2m_crypto::SecureRandom;
use m2m_revoke::{StoredRevocations, StoredRevokeError};
use m2m_store::{Batch, Expected, Key, Space, StoreError};
use m2m_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::inbox::{InboxError, PendingSet};
use crate::receiver::ceiling::Level;
use crate::receiver::effect::{Plan, Voided, family_of};
use crate::receiver::kept::Kept;
use crate::receiver::source::Source;
use crate::receiver::trust::Judgement;
use crate::receiver::{LogText, Receiver, Trust};

/// How often a SET is decided anew because somebody else has changed what it was decided by.
const ATTEMPTS: usize = 8;

/// What was done about a SET.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What it names is void, durably and in this process.
    Voided(Vec<Voided>),
    /// It takes something away from a subject of which nothing is known here: nothing was voided. **Look
    /// at these**: either the transmitter names its subjects in a way that nobody understands here, and
    /// [`crate::receiver::Receiver::with_resolver`] is what is missing, or they are none of ours.
    NoMatch,
    /// It takes something away of which all has expired: there is nothing left to void.
    Moot,
    /// It takes nothing away: a change of risk, of compliance, of claims. It is the application's to act.
    Told,
    /// As [`Outcome::Told`] or [`Outcome::Advised`], and something newer was said before. Do not act upon
    /// it.
    Superseded,
    /// Its transmitter may advise and not act: nothing was done.
    Advised,
    /// Its transmitter is not believed this.
    Ignored,
    /// Its transmitter has reached its [`crate::receiver::Ceiling`]: it is held until somebody has looked.
    /// **Raise an alarm.**
    Held,
    /// Somebody else has acted upon it.
    Before,
}

/// A SET that was acted upon, and how.
#[derive(Clone, Debug)]
pub struct Acted {
    set: PendingSet,
    outcome: Outcome,
}

/// What [`Receiver::act`] has done.
#[derive(Debug, Default)]
pub struct ActReport {
    /// Each SET that was acted upon.
    pub acted: Vec<Acted>,
    /// The first thing that went wrong, if something did: a SET that could not be acted upon, or a store
    /// that failed, after which nothing else was tried. What was not acted upon is still there.
    pub problem: Option<ActError>,
}

/// Why a SET was not acted upon. It is pending still.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActError {
    /// The inbox failed.
    #[error("{0}")]
    Inbox(InboxError),
    /// What it voids could not be voided.
    #[error("{0}")]
    Revoke(StoredRevokeError),
}

impl ActError {
    /// Whether it is the store that failed, so that other SETs are not acted upon either.
    pub fn is_of_the_store(&self) -> bool {
        matches!(
            self,
            Self::Inbox(InboxError::Store(_))
                | Self::Revoke(StoredRevokeError::NotStored(_) | StoredRevokeError::Unknown(_))
        )
    }
}

impl From<InboxError> for ActError {
    fn from(error: InboxError) -> Self {
        Self::Inbox(error)
    }
}

impl Acted {
    /// What it says. Texts in it are a stranger's: show them as [`LogText`].
    pub fn token(&self) -> &SecurityEventToken {
        self.set.token()
    }

    /// The SET.
    pub fn set(&self) -> &PendingSet {
        &self.set
    }

    /// What was done.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }
}

/// One line for a log: what was done, and whose SET it was. Whom it is about is not said.
impl fmt::Display for Acted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token();
        match &self.outcome {
            Outcome::Voided(voided) => write!(f, "voided {}", voided.len())?,
            other => write!(f, "{other:?}")?,
        }
        let event = token.event().map_or("", Event::uri);
        write!(f, " iss={}", LogText::new(token.issuer()))?;
        write!(f, " jti={}", LogText::new(token.token_id()))?;
        write!(f, " event={}", LogText::new(event))?;
        match token.transaction() {
            Some(transaction) => write!(f, " txn={}", LogText::new(transaction)),
            None => Ok(()),
        }
    }
}

/// What was said last, of the kind that a later word replaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Latest {
    happened: u64,
    made: u64,
    jti: Box<str>,
    recorded: u64,
}

impl Latest {
    fn of(token: &SecurityEventToken, now: Timestamp) -> Self {
        Self {
            happened: token.happened_at().unix_seconds(),
            made: token.issued_at().unix_seconds(),
            jti: Box::from(token.token_id()),
            recorded: now.unix_seconds(),
        }
    }

    fn is_newer_than(&self, other: &Self) -> bool {
        let order = |one: &Self| (one.happened, one.made);
        (order(self), &self.jti) > (order(other), &other.jti)
    }

    pub(crate) fn recorded_before(&self, horizon: Timestamp) -> bool {
        self.recorded < horizon.unix_seconds()
    }
}

/// What a SET is to do, and the batch that says that it is done.
struct Decision {
    outcome: Outcome,
    batch: Batch,
}

impl Receiver {
    /// Acts upon SETs that are pending, the oldest first, up to `limit` (256 at most): what the trust matrix
    /// and the ceilings let through is revoked in `revocations`, and then each SET is finished.
    ///
    /// It can die at any place: what is pending is acted upon again, and revoking twice is revoking once.
    pub async fn act(
        &self,
        revocations: &StoredRevocations,
        limit: usize,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> ActReport {
        let nothing = |_: &PendingSet, _: &Outcome, batch: Batch| batch;
        self.act_with(revocations, nothing, limit, now, random)
            .await
    }

    /// [`Receiver::act`], with what the application writes in the same store: `effects` adds it to the batch
    /// that finishes a SET, so that it is written exactly once. It is asked again when that commit must be
    /// made anew, so it must do nothing else.
    pub async fn act_with(
        &self,
        revocations: &StoredRevocations,
        effects: impl Fn(&PendingSet, &Outcome, Batch) -> Batch,
        limit: usize,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> ActReport {
        let mut report = ActReport::default();
        let space = self.inbox.pending_space();
        let reads = self.reads();
        let pending = self.inbox.pending_in(space, limit, None, &reads).await;
        let pending = match pending {
            Ok((pending, _)) => pending,
            Err(error) => {
                report.problem = Some(error.into());
                return report;
            }
        };
        for set in pending {
            let acted = self.act_upon(&set, revocations, &effects, now, random);
            match acted.await {
                Ok(outcome) => report.acted.push(Acted { set, outcome }),
                // The others would fail like this one.
                Err(error) if error.is_of_the_store() => {
                    report.problem = Some(error);
                    break;
                }
                // It stays, and does not keep the others.
                Err(error) => report.problem = report.problem.or(Some(error)),
            }
        }
        report
    }

    async fn act_upon(
        &self,
        set: &PendingSet,
        revocations: &StoredRevocations,
        effects: &impl Fn(&PendingSet, &Outcome, Batch) -> Batch,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Outcome, ActError> {
        for _ in 0..ATTEMPTS {
            let decision = self.decide(set, now, random).await?;
            if let Outcome::Voided(voided) = &decision.outcome {
                let all = voided.iter().map(Voided::as_revocation);
                let revoked = revocations.revoke_many(all).await;
                revoked.map_err(ActError::Revoke)?;
            }
            let batch = effects(set, &decision.outcome, decision.batch);
            match self.inbox.commit(batch).await {
                Ok(()) => return Ok(decision.outcome),
                Err(StoreError::Conflict { key, .. }) if key == *set.key() => {
                    return Ok(Outcome::Before);
                }
                // What it was decided by has changed: decide anew.
                Err(StoreError::Conflict { key, .. }) if self.is_ours(&key) => {}
                Err(error) => return Err(InboxError::Store(error).into()),
            }
        }
        Err(InboxError::Contended.into())
    }

    async fn decide(
        &self,
        set: &PendingSet,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Decision, ActError> {
        let token = set.token();
        let mut batch = set.finishing(random)?;
        let (trust, is_tenant_settled, events) = self.judge(token);
        let source = self.source(token.issuer());
        let Some(source) = source.filter(|_| trust != Trust::Ignore) else {
            let outcome = Outcome::Ignored;
            return Ok(Decision { outcome, batch });
        };
        let is_latest = self.write_latest(token, &events, now, &mut batch).await?;
        let told = |outcome| {
            if is_latest {
                outcome
            } else {
                Outcome::Superseded
            }
        };
        if trust == Trust::Advise {
            let outcome = told(Outcome::Advised);
            return Ok(Decision { outcome, batch });
        }
        let resolver = self.resolver.as_deref();
        let plan = source
            .effects
            .plan(token, &events, is_tenant_settled, resolver, now);
        let outcome = match plan {
            Plan::Tell => told(Outcome::Told),
            Plan::Moot => Outcome::Moot,
            Plan::NoMatch => Outcome::NoMatch,
            Plan::Void(voided) => {
                return self.charge(set, source, voided, batch, now, random).await;
            }
        };
        Ok(Decision { outcome, batch })
    }

    /// Takes what a SET voids from the ceiling of its source, or holds it.
    async fn charge(
        &self,
        set: &PendingSet,
        source: &Source,
        voided: Vec<Voided>,
        batch: Batch,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Decision, ActError> {
        let kept = self.kept_level(source).await?;
        let mut level = Level::at(source.ceiling, kept.value, now);
        if level.take(voided.len(), now) {
            return Ok(Decision {
                outcome: Outcome::Voided(voided),
                batch: kept.put(batch, &level),
            });
        }
        let held = Key::new(&self.held, set.key().id()).map_err(|_| InboxError::Violating)?;
        // It is not what was said last until it is acted upon.
        let batch = set
            .finishing(random)?
            .put(held, Expected::Absent, set.compact().as_bytes());
        Ok(Decision {
            outcome: Outcome::Held,
            batch: kept.put(batch, &level),
        })
    }

    /// What is done with a SET, and the events in it that it is done for.
    fn judge<'t>(&self, token: &'t SecurityEventToken) -> (Trust, bool, Vec<&'t Event>) {
        let judged: Vec<(Judgement, &Event)> = token
            .events()
            .iter()
            .map(|event| (self.matrix.judgement_of(token, event), event))
            .collect();
        for trust in [Trust::Act, Trust::Advise] {
            let those = judged.iter().filter(|(found, _)| found.trust == trust);
            let is_tenant_settled = those.clone().all(|(found, _)| found.is_tenant_settled);
            let events: Vec<&Event> = those.map(|(_, event)| *event).collect();
            if !events.is_empty() {
                return (trust, is_tenant_settled, events);
            }
        }
        (Trust::Ignore, false, Vec::new())
    }

    /// Whether nothing newer was said of the same; if so, that this was said is written with the batch.
    async fn write_latest(
        &self,
        token: &SecurityEventToken,
        events: &[&Event],
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<bool, InboxError> {
        let Some(subject) = token.subject() else {
            return Ok(true);
        };
        let mut written: Vec<[u8; 32]> = Vec::new();
        let mut is_latest = true;
        for event in events {
            let Some(family) = family_of(token.issuer(), subject, event) else {
                continue;
            };
            let kept: Kept<Latest> = Kept::at(&*self.inbox.store, &self.latest, &family).await?;
            let this = Latest::of(token, now);
            if kept
                .value
                .as_ref()
                .is_some_and(|last| !this.is_newer_than(last))
            {
                is_latest = false;
            } else if !written.contains(&family) {
                let unchanged = std::mem::replace(batch, Batch::new(batch.idempotency_key()));
                *batch = kept.put(unchanged, &this);
                written.push(family);
            }
        }
        Ok(is_latest)
    }

    pub(crate) async fn kept_level(&self, source: &Source) -> Result<Kept<Level>, InboxError> {
        Kept::of_issuer(&*self.inbox.store, &self.levels, &source.issuer).await
    }

    /// Whether a record is one that decisions are made by.
    fn is_ours(&self, key: &Key) -> bool {
        let is_in = |space: &Space| key.space() == space.as_str();
        is_in(&self.levels) || is_in(&self.latest)
    }
}
