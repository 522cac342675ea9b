//! `Rotation`: the state of one secret at its issuer.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use m2m_types::Timestamp;

use super::event::{Event, EventKind};
use super::mutation::Mutation;
use super::name::{Epoch, MemberName, SecretName, SecretVersion};
use super::policy::{Policy, Standby};
use super::snapshot::{Offered, Role, Snapshot, SnapshotParts};

/// The most members of one secret: what one snapshot, one record and one look at all of them can bear.
pub const MAX_MEMBERS: usize = 1_024;
/// How many versions that ended are remembered by how they ended.
const REMEMBERED_ENDS: usize = 16;

/// The rotation of one secret, as its issuer knows it: a plain value that holds no secret. Time is an
/// argument, and nothing is sent: what members are to hear is [`Rotation::ring`].
///
/// A change gives a new value; record it before anybody hears of it. The feature `store` does that.
///
/// ```
/// use m2m_secrets::{
///     Command, CommandId, FencingToken, Order, Policy, Rotation, SecretName, SecretVersion, Stage,
/// };
/// use m2m_types::Timestamp;
///
/// let now = Timestamp::from_unix_seconds(1_700_000_000)?;
/// let policy = Policy::builder().build()?;
/// let token = FencingToken::FIRST;
/// let mut rotation = Rotation::begin(SecretName::new("billing")?, policy, token, now);
/// let order = |id| Order { id: CommandId::from_bytes([id; 16]), token, now };
///
/// rotation.apply(&order(1), Command::Draft)?;
/// let second = SecretVersion::new(2)?;
/// rotation.apply(&order(2), Command::Stage { version: second })?;
/// // Nobody is declared who would have to hear of it first.
/// assert_eq!(rotation.stage(second, now), Some(Stage::Ready));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    pub(crate) policy: Policy,
    pub(crate) token: FencingToken,
    pub(crate) ring: Snapshot,
    /// The number that the next version gets.
    pub(crate) next: SecretVersion,
    pub(crate) draft: Option<SecretVersion>,
    pub(crate) slots: BTreeMap<SecretVersion, Slot>,
    pub(crate) ended: VecDeque<(SecretVersion, Ended)>,
    pub(crate) members: BTreeMap<MemberName, Party>,
    /// The latest time seen: guards never go by an earlier one.
    pub(crate) latest: Timestamp,
    pub(crate) done: VecDeque<(CommandId, [u8; 32])>,
    pub(crate) mutation: Mutation,
}

/// A published version that is alive.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Slot {
    /// From this ring on every one accepts it.
    pub(crate) accepted_from: Mark,
    pub(crate) has_signed: bool,
    /// From this ring on none signs with it.
    pub(crate) left_from: Option<Mark>,
    /// When the last live signer had left it.
    pub(crate) left_at: Option<Timestamp>,
    pub(crate) compromised: bool,
    pub(crate) drop_at: Option<(Timestamp, Mark)>,
}

/// A ring and when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) epoch: Epoch,
    pub(crate) at: Timestamp,
}

/// How a version ended, and in which ring.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ended {
    pub(crate) revoked: bool,
    pub(crate) mark: Mark,
    pub(crate) drop_at: Option<(Timestamp, Mark)>,
}

/// A declared member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Party {
    pub(crate) role: Role,
    pub(crate) reach: Reach,
    /// It may act, so it counts.
    pub(crate) live: bool,
    pub(crate) joined: Mark,
    pub(crate) acknowledged: Epoch,
    /// By the member's clock: what was sent earlier says nothing new.
    pub(crate) sent_at: Timestamp,
    /// Until when it may have been told to act.
    pub(crate) lease_until: Timestamp,
    /// When it last reported uses.
    pub(crate) reported_at: Timestamp,
    /// Seconds without use of each version, as reported; no more than matter.
    pub(crate) idle: Vec<(SecretVersion, u64)>,
}

/// How a member tells which ring it has.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// It acknowledges, with proof.
    Acknowledges,
    /// It cannot: it has each ring after this time at the latest (RFC 7583 §3.3: propagation plus cache
    /// lifetimes). Certificates then say "by time, not by proof".
    TimeBound(Duration),
}

/// Whether a declared member counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "there is no third way")]
pub enum Presence {
    /// Declared; it has not proved to hold the newest ring, and so may not act yet.
    Expected,
    /// It may act, and every step waits for it.
    Live,
}

/// Who is the issuer: whoever takes over has a higher one, and orders with a lower one are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FencingToken(u64);

/// Names one order, so that giving it twice does nothing the second time.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CommandId([u8; 16]);

/// How far a version has come.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// It has a number; nobody has it.
    Draft,
    /// Verifiers are told to accept it; some may not yet.
    Staged,
    /// Every live verifier proved to accept it; nobody signs with it. This is the standby.
    Ready,
    /// Signers sign with it.
    Active,
    /// It was replaced; some may still sign with it, and verifiers accept it.
    Retiring,
    /// It ended. It is never accepted again.
    Retired,
    /// It was compromised, and ended. It is never accepted again.
    Revoked,
}

/// What is to be done next, in the eyes of the policy.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advice {
    /// There is no standby: draft a version.
    Draft,
    /// Stage this draft.
    Stage(SecretVersion),
    /// This version can be retired now.
    Retire(SecretVersion),
    /// The time of a version has run out: settle.
    Settle,
}

impl Rotation {
    /// Begins with version 1, which signs and is accepted, in ring 1. Nobody is a member yet.
    #[expect(clippy::missing_panics_doc, reason = "it does not panic")]
    pub fn begin(secret: SecretName, policy: Policy, token: FencingToken, now: Timestamp) -> Self {
        let first = SecretVersion::FIRST;
        let mark = Mark {
            epoch: Epoch::new(1),
            at: now,
        };
        let mut slot = Slot::new(mark);
        slot.has_signed = true;
        let parts = SnapshotParts {
            secret,
            epoch: mark.epoch,
            horizon: first,
            versions: vec![Offered {
                version: first,
                drop_at: None,
            }],
            sign: first,
            lease: policy.lease(),
            previous: [0; 32],
        };
        Self {
            ring: Snapshot::new(parts).expect("one version that is accepted and signs"),
            policy,
            token,
            next: SecretVersion::new(2).expect("2 is a version"),
            draft: None,
            slots: BTreeMap::from([(first, slot)]),
            ended: VecDeque::new(),
            members: BTreeMap::new(),
            latest: now,
            done: VecDeque::new(),
            mutation: Mutation::None,
        }
    }

    /// Makes a mistake on purpose: only for this crate's own tests.
    #[cfg(feature = "_mutants")]
    #[doc(hidden)]
    #[must_use]
    pub fn with_mutation(mut self, mutation: Mutation) -> Self {
        self.mutation = mutation;
        self
    }

    /// Of which secret.
    pub fn secret(&self) -> &SecretName {
        self.ring.secret()
    }

    /// The policy it goes by.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What members are to hear: the newest ring.
    pub fn ring(&self) -> &Snapshot {
        &self.ring
    }

    /// The token that orders must carry, or a higher one.
    pub fn token(&self) -> FencingToken {
        self.token
    }

    /// The version that was drafted and not staged.
    pub fn draft(&self) -> Option<SecretVersion> {
        self.draft
    }

    /// The versions whose secrets are needed, from the oldest to the newest: all that are not dead.
    pub fn living(&self) -> impl Iterator<Item = SecretVersion> {
        self.slots.keys().copied().chain(self.draft)
    }

    /// Who is declared, with what role, and whether it counts.
    pub fn members(&self) -> impl Iterator<Item = (&MemberName, Role, Presence)> {
        self.members
            .iter()
            .map(|(name, party)| (name, party.role, party.presence()))
    }

    /// The newest ring that `member` has proved to hold; [`None`] if it is not declared.
    pub fn acknowledged(&self, member: &MemberName) -> Option<Epoch> {
        self.members.get(member).map(|party| party.acknowledged)
    }

    /// How far `version` has come; [`None`] if there never was such a number.
    pub fn stage(&self, version: SecretVersion, now: Timestamp) -> Option<Stage> {
        if version >= self.next {
            return None;
        }
        if self.draft == Some(version) {
            return Some(Stage::Draft);
        }
        if version == self.ring.sign() {
            return Some(Stage::Active);
        }
        let Some(slot) = self.slots.get(&version) else {
            let revoked = self.ended(version).is_some_and(|ended| ended.revoked);
            return Some(match revoked {
                true => Stage::Revoked,
                false => Stage::Retired,
            });
        };
        Some(match slot.left_from {
            Some(_) => Stage::Retiring,
            None if self.not_accepting(slot.accepted_from, now).is_empty() => Stage::Ready,
            None => Stage::Staged,
        })
    }

    /// The newest version that could sign from now on: accepted everywhere, never used, not compromised.
    pub fn standby(&self, now: Timestamp) -> Option<SecretVersion> {
        let ready = |version: &SecretVersion| {
            self.stage(*version, now) == Some(Stage::Ready) && self.is_usable(*version)
        };
        self.slots.keys().copied().rev().find(ready)
    }

    /// Notes the time, and whose time ran out. Call it now and then; every order and every
    /// acknowledgement does it too.
    pub fn tick(&mut self, now: Timestamp) {
        self.latest = self.moment(now);
        self.note_who_left();
    }

    /// What is to be done now, in order. Nothing while all waits for members or for time.
    pub fn advice(&self, now: Timestamp) -> Vec<Advice> {
        let now = self.moment(now);
        let mut advice = Vec::new();
        if self.slots.iter().any(|(_, slot)| self.is_due(slot, now)) {
            advice.push(Advice::Settle);
        }
        let retirable = |version: &&SecretVersion| self.can_retire(**version, now).is_ok();
        advice.extend(
            self.slots
                .keys()
                .find(retirable)
                .copied()
                .map(Advice::Retire),
        );
        let waiting = |(version, slot): (&SecretVersion, &Slot)| {
            *version != self.ring.sign() && slot.left_from.is_none() && self.is_usable(*version)
        };
        if let Some(draft) = self.draft {
            advice.push(Advice::Stage(draft));
        } else if self.policy.standby() == Standby::Kept && !self.slots.iter().any(waiting) {
            advice.push(Advice::Draft);
        }
        advice
    }

    pub(crate) fn is_usable(&self, version: SecretVersion) -> bool {
        let slot = self.slots.get(&version);
        slot.is_some_and(|slot| !slot.compromised && slot.drop_at.is_none())
    }

    pub(crate) fn ended(&self, version: SecretVersion) -> Option<&Ended> {
        let ended = self.ended.iter().find(|(ended, _)| *ended == version);
        ended.map(|(_, ended)| ended)
    }

    pub(crate) fn end(&mut self, version: SecretVersion, mark: Mark) {
        let Some(slot) = self.slots.remove(&version) else {
            return;
        };
        let ended = Ended {
            revoked: slot.compromised,
            mark,
            drop_at: slot.drop_at,
        };
        self.ended.push_front((version, ended));
        self.ended.truncate(REMEMBERED_ENDS);
    }

    /// `now`, or the latest time seen if the clock was set back.
    pub(crate) fn moment(&self, now: Timestamp) -> Timestamp {
        now.max(self.latest)
    }

    /// The ring after this one, made at `at`; none after the last number.
    pub(crate) fn next_mark(&self, at: Timestamp) -> Option<Mark> {
        let epoch = self.ring.epoch().next()?;
        Some(Mark { epoch, at })
    }

    pub(crate) fn event(&self, what: EventKind) -> Event {
        Event {
            secret: self.secret().clone(),
            at: self.latest,
            epoch: self.ring.epoch(),
            what,
        }
    }

    /// Makes the ring of `mark` from what is alive. [`None`] if that is no ring (R6).
    pub(crate) fn publish(&mut self, sign: SecretVersion, mark: Mark) -> Option<()> {
        let offered = |(version, slot): (&SecretVersion, &Slot)| Offered {
            version: *version,
            drop_at: slot.drop_at.map(|(at, _)| at),
        };
        let horizon = self.ring.horizon();
        let newest = self.slots.keys().copied().max().unwrap_or(horizon);
        self.ring = Snapshot::new(SnapshotParts {
            secret: self.secret().clone(),
            epoch: mark.epoch,
            horizon: horizon.max(newest),
            versions: self.slots.iter().map(offered).collect(),
            sign,
            lease: self.policy.lease(),
            previous: *self.ring.hash(),
        })?;
        Some(())
    }
}

impl Slot {
    pub(crate) fn new(accepted_from: Mark) -> Self {
        Self {
            accepted_from,
            has_signed: false,
            left_from: None,
            left_at: None,
            compromised: false,
            drop_at: None,
        }
    }
}

impl Party {
    pub(crate) fn presence(&self) -> Presence {
        match self.live {
            true => Presence::Live,
            false => Presence::Expected,
        }
    }
}

/// Without the orders that were followed before: what they did shows.
impl Hash for Rotation {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.ring, self.next, self.draft, self.token, self.latest).hash(state);
        (&self.slots, &self.ended, &self.members).hash(state);
    }
}

/// By the ring alone: it was made once.
impl Hash for Mark {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.epoch.hash(state);
    }
}

impl FencingToken {
    /// Of the process that began.
    pub const FIRST: Self = Self(1);

    /// The token with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The one after it; none after the last.
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }
}

impl CommandId {
    /// The one with these bytes: drawn at random, or a digest of what caused the order.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommandId({:032x})", u128::from_be_bytes(self.0))
    }
}
