//! A rotation as it is recorded: everything but the secrets.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use m2m_types::Timestamp;

use super::encoding::{Reader, Writer};
use super::engine::{
    CommandId, Ended, FencingToken, MAX_MEMBERS, Mark, Party, Reach, Rotation, Slot,
};
use super::mutation::Mutation;
use super::name::SecretVersion;
use super::policy::{Policy, Standby};
use super::ring::MAX_RING_VERSIONS;
use super::snapshot::{Role, Snapshot};

const KIND: &[u8] = b"m2m-secrets rotation 1\0";
/// More of anything than is ever written.
const MANY: usize = 64;

impl Rotation {
    /// For the store. Holds no secret.
    pub(crate) fn to_record(&self) -> Vec<u8> {
        Writer::of(KIND)
            .bytes(&self.ring.to_bytes())
            .policy(&self.policy)
            .number(self.token.number())
            .number(self.next.number())
            .number(self.draft.map_or(0, SecretVersion::number))
            .time(self.latest)
            .each(self.slots.iter(), |to, (version, slot)| {
                to.number(version.number()).slot(slot)
            })
            .each(self.ended.iter(), |to, (version, ended)| {
                to.number(version.number())
                    .byte(u8::from(ended.revoked))
                    .mark(ended.mark)
                    .deadline(ended.drop_at)
            })
            .each(self.members.iter(), |to, (name, party)| {
                to.bytes(name.as_str().as_bytes()).party(party)
            })
            .each(self.done.iter(), |to, (id, digest)| {
                to.fixed(id.as_bytes()).fixed(digest)
            })
            .done()
    }

    /// What [`Rotation::to_record`] gave.
    pub(crate) fn from_record(record: &[u8]) -> Option<Self> {
        let mut from = Reader::of(KIND, record)?;
        let ring = Snapshot::from_bytes(from.bytes()?)?;
        let policy = from.policy()?;
        let token = FencingToken::new(from.number()?);
        let next = from.version()?;
        let draft = match from.number()? {
            0 => None,
            number => Some(SecretVersion::new(number).ok()?),
        };
        let latest = from.time()?;
        let slots = from.each(MAX_RING_VERSIONS, |from| {
            Some((from.version()?, from.slot()?))
        })?;
        let ended = from.each(MANY, |from| {
            let version = from.version()?;
            let ended = Ended {
                revoked: from.flag()?,
                mark: from.mark()?,
                drop_at: from.deadline()?,
            };
            Some((version, ended))
        })?;
        let members = from.each(MAX_MEMBERS, |from| {
            Some((from.member_name()?, from.party()?))
        })?;
        let done = from.each(MANY, |from| {
            Some((CommandId::from_bytes(from.fixed()?), from.fixed()?))
        })?;
        from.end()?;
        let slots: BTreeMap<SecretVersion, Slot> = slots.into_iter().collect();
        slots.contains_key(&ring.sign()).then_some(())?;
        Some(Self {
            policy,
            token,
            ring,
            next,
            draft,
            slots,
            ended: VecDeque::from(ended),
            members: members.into_iter().collect(),
            latest,
            done: VecDeque::from(done),
            mutation: Mutation::None,
        })
    }
}

impl Writer {
    fn seconds(self, time: Duration) -> Self {
        self.number(time.as_secs())
            .number(u64::from(time.subsec_nanos()))
    }

    fn policy(self, policy: &Policy) -> Self {
        let standby = policy.standby() == Standby::Kept;
        self.seconds(policy.max_message_age())
            .seconds(policy.skew())
            .seconds(policy.lease())
            .seconds(policy.emergency())
            .byte(u8::from(policy.overlap().is_some()))
            .seconds(policy.overlap().unwrap_or_default())
            .number(policy.versions() as u64)
            .byte(u8::from(standby))
    }

    fn mark(self, mark: Mark) -> Self {
        self.number(mark.epoch.number()).time(mark.at)
    }

    fn optional_mark(self, mark: Option<Mark>) -> Self {
        match mark {
            Some(mark) => self.byte(1).mark(mark),
            None => self.byte(0),
        }
    }

    fn deadline(self, deadline: Option<(Timestamp, Mark)>) -> Self {
        match deadline {
            Some((at, mark)) => self.byte(1).time(at).mark(mark),
            None => self.byte(0),
        }
    }

    fn slot(self, slot: &Slot) -> Self {
        self.mark(slot.accepted_from)
            .byte(u8::from(slot.has_signed))
            .optional_mark(slot.left_from)
            .optional_time(slot.left_at)
            .byte(u8::from(slot.compromised))
            .deadline(slot.drop_at)
    }

    fn party(self, party: &Party) -> Self {
        let time = match party.reach {
            Reach::Acknowledges => None,
            Reach::TimeBound(time) => Some(time),
        };
        self.byte(party.role.to_byte())
            .byte(u8::from(time.is_some()))
            .seconds(time.unwrap_or_default())
            .byte(u8::from(party.live))
            .mark(party.joined)
            .number(party.acknowledged.number())
            .time(party.sent_at)
            .time(party.lease_until)
            .time(party.reported_at)
            .each(party.idle.iter(), |to, (version, seconds)| {
                to.number(version.number()).number(*seconds)
            })
    }
}

impl Reader<'_> {
    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn duration(&mut self) -> Option<Duration> {
        let (seconds, nanoseconds) = (self.number()?, self.number()?);
        let nanoseconds = u32::try_from(nanoseconds).ok()?;
        (nanoseconds < 1_000_000_000).then(|| Duration::new(seconds, nanoseconds))
    }

    fn policy(&mut self) -> Option<Policy> {
        let mut policy = Policy::builder()
            .with_max_message_age(self.duration()?)
            .with_skew(self.duration()?)
            .with_lease(self.duration()?)
            .with_emergency(self.duration()?);
        let (has_overlap, overlap) = (self.flag()?, self.duration()?);
        if has_overlap {
            policy = policy.with_overlap_at_most(overlap);
        }
        policy = policy.with_versions_at_most(usize::try_from(self.number()?).ok()?);
        if !self.flag()? {
            policy = policy.with_standby(Standby::OnDemand);
        }
        policy.build().ok()
    }

    fn mark(&mut self) -> Option<Mark> {
        Some(Mark {
            epoch: self.epoch()?,
            at: self.time()?,
        })
    }

    fn optional_mark(&mut self) -> Option<Option<Mark>> {
        match self.flag()? {
            true => self.mark().map(Some),
            false => Some(None),
        }
    }

    fn deadline(&mut self) -> Option<Option<(Timestamp, Mark)>> {
        match self.flag()? {
            true => Some(Some((self.time()?, self.mark()?))),
            false => Some(None),
        }
    }

    fn slot(&mut self) -> Option<Slot> {
        Some(Slot {
            accepted_from: self.mark()?,
            has_signed: self.flag()?,
            left_from: self.optional_mark()?,
            left_at: self.optional_time()?,
            compromised: self.flag()?,
            drop_at: self.deadline()?,
        })
    }

    fn party(&mut self) -> Option<Party> {
        let role = Role::from_byte(self.byte()?)?;
        let (bound, time) = (self.flag()?, self.duration()?);
        Some(Party {
            role,
            reach: match bound {
                true => Reach::TimeBound(time),
                false => Reach::Acknowledges,
            },
            live: self.flag()?,
            joined: self.mark()?,
            acknowledged: self.epoch()?,
            sent_at: self.time()?,
            lease_until: self.time()?,
            reported_at: self.time()?,
            idle: self.each(MAX_RING_VERSIONS, |from| {
                Some((from.version()?, from.number()?))
            })?,
        })
    }
}
