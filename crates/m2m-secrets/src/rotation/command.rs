//! `Command`: what an operator or a timer orders, each checked before it is done.

use m2m_crypto::sha256;
use m2m_types::Timestamp;

use super::blocker::Blocker;
use super::certificate::RetireCertificate;
use super::emergency::EmergencyPlan;
use super::encoding::Writer;
use super::engine::{
    CommandId, FencingToken, MAX_MEMBERS, Mark, Party, Reach, Rotation, Slot, Stage,
};
use super::event::{Event, EventKind};
use super::mutation::Mutation;
use super::name::{Epoch, MemberName, SecretVersion};
use super::snapshot::Role;

/// How many orders are remembered, so that a repeated one is recognised.
const REMEMBERED_ORDERS: usize = 32;

/// One step of a rotation.
#[non_exhaustive]
#[derive(Debug)]
pub enum Command {
    /// Gives a number to a new version. At most one draft at a time. The number is never given again,
    /// whatever happens to the version.
    Draft,
    /// Publishes the draft: verifiers accept it, nobody signs with it.
    Stage {
        /// Which.
        version: SecretVersion,
    },
    /// Lets signers sign with a version that every live verifier accepts; the one before retires. Goes
    /// back the same way, to one that retires.
    Activate {
        /// Which.
        version: SecretVersion,
        /// What happens to a version that still retires.
        overlap: Overlap,
    },
    /// Activates a version although some verifiers have not proved to accept it, if each of those
    /// accepts nothing at all now: it is silent, and its lease has ended by every clock. What is broken
    /// already is not made worse (R10): it refuses the version before, too, and gets no lease before it
    /// holds the newest ring. It stays declared.
    Repair {
        /// Which.
        version: SecretVersion,
    },
    /// Ends a version that nobody uses.
    Retire(RetireCertificate),
    /// Ends a version that nobody ever signed with.
    Abort {
        /// Which.
        version: SecretVersion,
    },
    /// Swaps a compromised version away.
    Emergency(EmergencyPlan),
    /// Ends the versions whose time has run out.
    Settle,
    /// Declares a member. It counts once it has proved to hold the newest ring; one that is bound by
    /// time counts at once.
    Register {
        /// Who.
        member: MemberName,
        /// What it does.
        role: Role,
        /// How it tells which ring it has.
        reach: Reach,
    },
    /// A member no longer counts: one that never became live, that is bound by time (you vouch for it
    /// having stopped), or that is silent and stopped by its lease.
    Remove {
        /// Who.
        member: MemberName,
    },
    /// This process becomes the issuer: orders with lower tokens are refused from now on.
    TakeOver,
}

/// What a rotation does to a version that still retires from the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third way")]
pub enum Overlap {
    /// Refuse the new rotation.
    Refuse,
    /// End the oldest at once, if no live signer may use it. Messages under way are refused.
    EndOldest,
}

/// Who orders, under which name, and when.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "an order is nothing else")]
pub struct Order {
    /// The name of the order. The same order under the same name changes nothing the second time.
    pub id: CommandId,
    /// Of the process that orders.
    pub token: FencingToken,
    /// The time.
    pub now: Timestamp,
}

/// An order was followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    events: Vec<Event>,
    repeated: bool,
}

/// Why an order was not followed. Nothing was changed.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Another process is the issuer now.
    #[error("the order came with token {}, and {} is the issuer's", found.number(), current.number())]
    FencedOff {
        /// What came.
        found: FencingToken,
        /// What is needed.
        current: FencingToken,
    },
    /// The name belongs to another order, followed before.
    #[error("{id:?} named another order before")]
    IdReused {
        /// Which.
        id: CommandId,
    },
    /// The step is not safe yet.
    #[error("not safe yet: {}", first_of(blockers))]
    Blocked {
        /// Who or what is in the way.
        blockers: Vec<Blocker>,
    },
    /// The version has not come that far, or further.
    #[error("version {version} is {stage:?}, and cannot be ordered so")]
    Stage {
        /// Which.
        version: SecretVersion,
        /// How far it has come; never given if nothing.
        stage: Option<Stage>,
    },
    /// A version is being dropped, because it is compromised or replaced.
    #[error("version {version} is being dropped")]
    Dropping {
        /// Which.
        version: SecretVersion,
    },
    /// A rotation is under way.
    #[error("version {retiring} still retires; wait, or end it")]
    OverlapOpen {
        /// Which version retires.
        retiring: SecretVersion,
    },
    /// No more versions at once.
    #[error("{limit} versions are there at once; retire or abort one")]
    TooManyVersions {
        /// By the policy.
        limit: usize,
    },
    /// The certificate or plan was made in another ring.
    #[error("it was made for ring {made}, and this is ring {current}; ask anew")]
    OutOfDate {
        /// When it was made.
        made: Epoch,
        /// Now.
        current: Epoch,
    },
    /// The certificate or plan is of another secret.
    #[error("it was made for another secret")]
    OtherSecret,
    /// There is a member of this name, in another role.
    #[error("{member} is declared already, and not so; remove it first")]
    MemberExists {
        /// Who.
        member: MemberName,
    },
    /// Nobody has this name.
    #[error("{member} is not declared")]
    UnknownMember {
        /// Who.
        member: MemberName,
    },
    /// More than [`MAX_MEMBERS`].
    #[error("a secret has at most {MAX_MEMBERS} members")]
    TooManyMembers,
    /// No number is left for a version or a ring.
    #[error("no number is left")]
    Exhausted,
}

fn first_of(blockers: &[Blocker]) -> String {
    let more = blockers.len().saturating_sub(1);
    match (blockers.first(), more) {
        (None, _) => String::from("nothing to do"),
        (Some(first), 0) => first.to_string(),
        (Some(first), more) => format!("{first}, and {more} more"),
    }
}

impl Rotation {
    /// Follows `command`, if it is safe. Record the rotation before anything of it is released.
    ///
    /// # Errors
    ///
    /// [`CommandError`]; nothing has changed then.
    pub fn apply(&mut self, order: &Order, command: Command) -> Result<Applied, CommandError> {
        let digest = command.digest();
        if let Some((_, before)) = self.done.iter().find(|(id, _)| *id == order.id) {
            return match *before == digest {
                true => Ok(Applied {
                    events: Vec::new(),
                    repeated: true,
                }),
                false => Err(CommandError::IdReused { id: order.id }),
            };
        }
        let taking_over = matches!(command, Command::TakeOver);
        let outranked = order.token < self.token || (taking_over && order.token == self.token);
        if outranked && !self.mutation.is(Mutation::NoFencing) {
            let (found, current) = (order.token, self.token);
            return Err(CommandError::FencedOff { found, current });
        }
        let mut next = self.clone();
        next.token = next.token.max(order.token);
        next.latest = next.moment(order.now);
        let what = next.follow(command)?;
        next.note_who_left();
        next.done.push_front((order.id, digest));
        next.done.truncate(REMEMBERED_ORDERS);
        let events = what.into_iter().map(|what| next.event(what)).collect();
        *self = next;
        Ok(Applied {
            events,
            repeated: false,
        })
    }

    fn follow(&mut self, command: Command) -> Result<Vec<EventKind>, CommandError> {
        match command {
            Command::Draft => self.draft_version(),
            Command::Stage { version } => self.stage_version(version),
            Command::Activate { version, overlap } => {
                let blockers = self.activation_blockers(version, self.latest);
                self.activate(version, overlap, blockers)
            }
            Command::Repair { version } => {
                let blockers = self.repair_blockers(version, self.latest);
                self.activate(version, Overlap::Refuse, blockers)
            }
            Command::Retire(certificate) => self.retire(certificate),
            Command::Abort { version } => self.abort(version),
            Command::Emergency(plan) => self.swap(plan),
            Command::Settle => self.settle(),
            Command::Register {
                member,
                role,
                reach,
            } => self.register(member, role, reach),
            Command::Remove { member } => self.remove(member),
            Command::TakeOver => Ok(vec![EventKind::TakenOver]),
        }
    }

    fn draft_version(&mut self) -> Result<Vec<EventKind>, CommandError> {
        if let Some(version) = self.draft {
            return Err(self.wrong_stage(version));
        }
        let version = self.next;
        self.next = version.next().ok_or(CommandError::Exhausted)?;
        self.draft = Some(version);
        Ok(vec![EventKind::Drafted(version)])
    }

    fn stage_version(&mut self, version: SecretVersion) -> Result<Vec<EventKind>, CommandError> {
        if self.draft != Some(version) {
            return Err(self.wrong_stage(version));
        }
        let limit = self.policy.versions();
        if self.slots.len() >= limit {
            return Err(CommandError::TooManyVersions { limit });
        }
        let mark = self.mark()?;
        self.draft = None;
        self.slots.insert(version, Slot::new(mark));
        self.publish_or_fail(self.ring.sign(), mark)?;
        Ok(vec![EventKind::Staged(version)])
    }

    fn activate(
        &mut self,
        version: SecretVersion,
        overlap: Overlap,
        blockers: Vec<Blocker>,
    ) -> Result<Vec<EventKind>, CommandError> {
        let from = self.ring.sign();
        if version == from || !self.slots.contains_key(&version) {
            return Err(self.wrong_stage(version));
        }
        if !self.is_usable(version) {
            return Err(CommandError::Dropping { version });
        }
        if !blockers.is_empty() {
            return Err(CommandError::Blocked { blockers });
        }
        let mark = self.mark()?;
        let mut events = self.end_overlap(version, overlap, mark)?;
        let drop_at = self.policy.overlap().and_then(|overlap| {
            let at = self.latest.checked_add(overlap)?;
            Some((at, mark))
        });
        self.hand_over(from, version, mark);
        if let Some(slot) = self.slots.get_mut(&from) {
            slot.drop_at = drop_at;
        }
        self.publish_or_fail(version, mark)?;
        events.push(EventKind::Activated { from, to: version });
        Ok(events)
    }

    /// What retires is refused, or ended, before another one does.
    fn end_overlap(
        &mut self,
        next: SecretVersion,
        overlap: Overlap,
        mark: Mark,
    ) -> Result<Vec<EventKind>, CommandError> {
        let open = |(version, slot): (&SecretVersion, &Slot)| {
            let left = slot.left_from.filter(|_| *version != next)?;
            Some((*version, left))
        };
        let open: Vec<(SecretVersion, Mark)> = self.slots.iter().filter_map(open).collect();
        let mut events = Vec::new();
        for (retiring, left) in open {
            let careless = self.mutation.is(Mutation::TwoSlots);
            if overlap == Overlap::Refuse && !careless {
                return Err(CommandError::OverlapOpen { retiring });
            }
            let blockers = self.may_sign(left, self.latest);
            if !blockers.is_empty() && !careless {
                return Err(CommandError::Blocked { blockers });
            }
            self.end(retiring, mark);
            events.push(EventKind::EndedEarly(retiring));
        }
        Ok(events)
    }

    fn hand_over(&mut self, from: SecretVersion, to: SecretVersion, mark: Mark) {
        if let Some(slot) = self.slots.get_mut(&from) {
            slot.left_from = Some(mark);
            slot.left_at = None;
        }
        if let Some(slot) = self.slots.get_mut(&to) {
            slot.has_signed = true;
            slot.left_from = None;
            slot.left_at = None;
        }
    }

    fn retire(&mut self, certificate: RetireCertificate) -> Result<Vec<EventKind>, CommandError> {
        let RetireCertificate {
            secret,
            version,
            epoch,
            ..
        } = certificate;
        self.check_made_for(&secret, epoch)?;
        // Asked again, because time has passed and members may have joined.
        let certificate = self.can_retire(version, self.latest);
        if let Err(blockers) = certificate {
            return Err(CommandError::Blocked { blockers });
        }
        let mark = self.mark()?;
        self.end(version, mark);
        self.publish_or_fail(self.ring.sign(), mark)?;
        Ok(vec![EventKind::Retired(version)])
    }

    fn abort(&mut self, version: SecretVersion) -> Result<Vec<EventKind>, CommandError> {
        if self.draft == Some(version) {
            self.draft = None;
            return Ok(vec![EventKind::Aborted(version)]);
        }
        let slot = self.slots.get(&version);
        if slot.is_none_or(|slot| slot.has_signed) {
            return Err(self.wrong_stage(version));
        }
        let mark = self.mark()?;
        self.end(version, mark);
        self.publish_or_fail(self.ring.sign(), mark)?;
        Ok(vec![EventKind::Aborted(version)])
    }

    fn swap(&mut self, plan: EmergencyPlan) -> Result<Vec<EventKind>, CommandError> {
        self.check_made_for(&plan.secret, plan.epoch)?;
        let version = plan.version;
        if let Some(successor) = plan.successor {
            // Asked again, because members may have joined.
            let blockers = self.activation_blockers(successor, self.latest);
            if !blockers.is_empty() && !self.mutation.is(Mutation::EmergencyFresh) {
                return Err(CommandError::Blocked { blockers });
            }
        }
        let mark = self.mark()?;
        let end = self.latest.checked_add(self.policy.emergency());
        let end = end.ok_or(CommandError::Exhausted)?;
        let mut events = vec![EventKind::Compromised {
            version,
            drop_at: end,
        }];
        if let Some(to) = plan.successor {
            self.hand_over(version, to, mark);
            events.push(EventKind::Activated { from: version, to });
        }
        if let Some(slot) = self.slots.get_mut(&version) {
            slot.compromised = true;
        }
        // What retires ends with it, so that the versions at once stay few.
        for slot in self.slots.values_mut() {
            let sooner = slot.drop_at.is_none_or(|(at, _)| at > end);
            if slot.left_from.is_some() && sooner {
                slot.drop_at = Some((end, mark));
            }
        }
        if self.mutation.is(Mutation::EmergencyDropsFirst) {
            self.end(version, mark);
        }
        let sign = plan.successor.unwrap_or(self.ring.sign());
        self.publish_or_fail(sign, mark)?;
        Ok(events)
    }

    fn settle(&mut self) -> Result<Vec<EventKind>, CommandError> {
        let due = |(version, slot): (&SecretVersion, &Slot)| {
            self.is_due(slot, self.latest).then_some(*version)
        };
        let due: Vec<SecretVersion> = self.slots.iter().filter_map(due).collect();
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let mark = self.mark()?;
        for version in &due {
            self.end(*version, mark);
        }
        self.publish_or_fail(self.ring.sign(), mark)?;
        Ok(due.into_iter().map(EventKind::Dropped).collect())
    }

    fn register(
        &mut self,
        member: MemberName,
        role: Role,
        reach: Reach,
    ) -> Result<Vec<EventKind>, CommandError> {
        if let Some(party) = self.members.get(&member) {
            return match party.role == role && party.reach == reach {
                true => Ok(Vec::new()),
                false => Err(CommandError::MemberExists { member }),
            };
        }
        if self.members.len() >= MAX_MEMBERS {
            return Err(CommandError::TooManyMembers);
        }
        let joined = Mark {
            epoch: self.ring.epoch(),
            at: self.latest,
        };
        let party = Party {
            role,
            reach,
            live: reach != Reach::Acknowledges,
            joined,
            acknowledged: Epoch::ZERO,
            sent_at: Timestamp::MIN,
            lease_until: Timestamp::MIN,
            reported_at: Timestamp::MIN,
            idle: Vec::new(),
        };
        self.members.insert(member.clone(), party);
        Ok(vec![EventKind::Registered(member)])
    }

    fn remove(&mut self, member: MemberName) -> Result<Vec<EventKind>, CommandError> {
        let Some(party) = self.members.get(&member) else {
            return Err(CommandError::UnknownMember { member });
        };
        let until = self.may_act_until(party);
        let counts = party.live && party.reach == Reach::Acknowledges;
        if counts && self.latest < until && !self.mutation.is(Mutation::RemoveUnfenced) {
            let blockers = vec![Blocker::LeaseRunning { member, until }];
            return Err(CommandError::Blocked { blockers });
        }
        self.members.remove(&member);
        Ok(vec![EventKind::Removed(member)])
    }

    fn mark(&self) -> Result<Mark, CommandError> {
        self.next_mark(self.latest).ok_or(CommandError::Exhausted)
    }

    fn publish_or_fail(&mut self, sign: SecretVersion, mark: Mark) -> Result<(), CommandError> {
        let failed = CommandError::Dropping { version: sign };
        self.publish(sign, mark).ok_or(failed)
    }

    fn check_made_for(
        &self,
        secret: &super::name::SecretName,
        made: Epoch,
    ) -> Result<(), CommandError> {
        let current = self.ring.epoch();
        if secret != self.secret() {
            return Err(CommandError::OtherSecret);
        }
        match made == current {
            true => Ok(()),
            false => Err(CommandError::OutOfDate { made, current }),
        }
    }

    fn wrong_stage(&self, version: SecretVersion) -> CommandError {
        let stage = self.stage(version, self.latest);
        CommandError::Stage { version, stage }
    }
}

impl Command {
    /// What tells orders apart that share a name.
    fn digest(&self) -> [u8; 32] {
        let of = |kind: u8| Writer::default().byte(kind);
        let version = |kind, version: &SecretVersion| of(kind).number(version.number());
        let bytes = match self {
            Self::Draft => of(1),
            Self::Stage { version: staged } => version(2, staged),
            Self::Activate {
                version: next,
                overlap,
            } => version(3, next).byte(u8::from(*overlap == Overlap::EndOldest)),
            Self::Retire(certificate) => {
                version(4, &certificate.version).number(certificate.epoch.number())
            }
            Self::Abort { version: aborted } => version(5, aborted),
            Self::Emergency(plan) => version(6, &plan.version).number(plan.epoch.number()),
            Self::Settle => of(7),
            Self::Register {
                member,
                role,
                reach,
            } => {
                let time = match reach {
                    Reach::Acknowledges => u64::MAX,
                    Reach::TimeBound(time) => time.as_secs(),
                };
                let named = of(8).bytes(member.as_str().as_bytes());
                named.byte(role.to_byte()).number(time)
            }
            Self::Remove { member } => of(9).bytes(member.as_str().as_bytes()),
            Self::TakeOver => of(10),
            Self::Repair { version: next } => version(11, next),
        };
        sha256(&bytes.done())
    }
}

impl Applied {
    /// For the audit log. None if the order had been followed before.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Whether the same order was followed before, so that nothing happened now.
    pub fn was_repeated(&self) -> bool {
        self.repeated
    }
}
