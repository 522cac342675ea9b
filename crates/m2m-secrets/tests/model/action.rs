//! `Action`: one thing that can happen.

use std::sync::Arc;
use std::time::Duration;

use m2m_secrets::{
    Acknowledgement, Command, CommandId, Membership, Mutation, Order, Overlap, Reach, Rotation,
    SecretVersion, Snapshot, Stage,
};

use super::scope::{Scope, member_name};
use super::world::{Node, World, bit};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Tick,
    Stage,
    Activate,
    Force,
    Repair,
    Retire,
    Abort,
    Emergency,
    Settle,
    Register(usize),
    Remove(usize),
    Publish,
    IssuerCrashes,
    Adopt(usize, usize),
    /// An acknowledgement is heard, and its lease arrives.
    Talk(usize),
    /// An acknowledgement is heard, and its lease is lost.
    Shout(usize),
    /// An acknowledgement is sent, and arrives later.
    Send(usize),
    Arrive,
    Sign(usize),
    Accept(usize),
    Crash(usize),
}

/// Names an order by what it is and the ring it was given in, so that giving it again is a repetition.
pub(crate) fn order_id(issuer: &Rotation, kind: u8) -> CommandId {
    let mut bytes = [kind; 16];
    bytes[..8].copy_from_slice(&issuer.ring().epoch().number().to_be_bytes());
    CommandId::from_bytes(bytes)
}

impl World {
    /// All that might happen now.
    pub(crate) fn possible(&self) -> Vec<Action> {
        let mut all = vec![
            Action::Tick,
            Action::Stage,
            Action::Activate,
            Action::Force,
            Action::Repair,
            Action::Retire,
            Action::Abort,
            Action::Emergency,
            Action::Settle,
            Action::Publish,
            Action::IssuerCrashes,
            Action::Arrive,
        ];
        for seat in 0..self.nodes.len() {
            let rings = 0..self.network.len();
            all.extend(rings.map(|ring| Action::Adopt(seat, ring)));
            all.extend([
                Action::Register(seat),
                Action::Remove(seat),
                Action::Talk(seat),
                Action::Shout(seat),
                Action::Send(seat),
                Action::Sign(seat),
                Action::Accept(seat),
                Action::Crash(seat),
            ]);
        }
        all
    }

    /// The world after `action`; [`None`] if it cannot happen, or is not allowed as often.
    pub(crate) fn after(&self, action: Action, scope: &Scope) -> Option<Self> {
        let mut next = self.clone();
        match action {
            Action::Tick => {
                spend(&mut next.left.ticks)?;
                next.ticks += 1;
            }
            Action::Stage => {
                spend(&mut next.left.versions)?;
                // One at a time is what the policy advises.
                if self.waiting().is_some() {
                    return None;
                }
                let version = next.draft(scope)?;
                let has = |ring: &Arc<_>| Snapshot::accepted(ring).any(|(held, _)| held == version);
                next.reused = self.network.iter().any(has).then_some(version);
                next.order(scope, 2, |_| Some(Command::Stage { version }))?;
            }
            Action::Activate => {
                let version = self.waiting()?;
                let overlap = Overlap::Refuse;
                next.order(scope, 3, |_| Some(Command::Activate { version, overlap }))?;
            }
            Action::Force => {
                spend(&mut next.left.forced)?;
                let version = self.waiting()?;
                let overlap = Overlap::EndOldest;
                next.order(scope, 4, |_| Some(Command::Activate { version, overlap }))?;
                // What is under way may be refused: that is what was asked for.
                let message = next.message.take();
                let alive = |(version, _): &(SecretVersion, u8)| next.is_alive(*version);
                next.message = message.filter(alive);
            }
            Action::Repair => {
                spend(&mut next.left.repairs)?;
                let version = self.waiting()?;
                next.order(scope, 10, |_| Some(Command::Repair { version }))?;
            }
            Action::Retire => {
                let now = scope.time(self.ticks);
                let version = self.retirable(scope)?;
                next.order(scope, 5, |issuer| {
                    Some(Command::Retire(issuer.can_retire(version, now).ok()?))
                })?;
            }
            Action::Abort => {
                spend(&mut next.left.aborts)?;
                let version = self.waiting()?;
                next.order(scope, 6, |_| Some(Command::Abort { version }))?;
            }
            Action::Emergency => {
                spend(&mut next.left.emergencies)?;
                let now = scope.time(self.ticks);
                let version = self.issuer.ring().sign();
                next.order(scope, 7, |issuer| {
                    Some(Command::Emergency(
                        issuer.plan_emergency(version, now).ok()?,
                    ))
                })?;
                next.compromised.push((version, self.ticks));
            }
            Action::Settle => next.order(scope, 8, |_| Some(Command::Settle))?,
            Action::Register(seat) => {
                let node = Arc::make_mut(&mut next.nodes[seat]);
                if node.declared || !scope.seats[seat].joins_later {
                    return None;
                }
                node.declared = true;
                let register = || Command::Register {
                    member: member_name(seat),
                    role: scope.seats[seat].role,
                    reach: Reach::Acknowledges,
                };
                next.order(scope, 9, |_| Some(register()))?;
            }
            Action::Remove(seat) => {
                spend(&mut next.left.removals)?;
                let member = member_name(seat);
                let kind = 20 + seat as u8;
                next.order(scope, kind, |_| {
                    let member = member.clone();
                    Some(Command::Remove { member })
                })?;
            }
            Action::Publish => {
                if !scope.publishing_takes_time || self.is_published() {
                    return None;
                }
                next.network.push(Arc::new(self.issuer.ring().clone()));
            }
            Action::IssuerCrashes => {
                spend(&mut next.left.issuer_crashes)?;
                next.issuer = self.recorded.clone();
            }
            Action::Adopt(seat, ring) => {
                let local = scope.time_at(seat, self.ticks);
                let ring = &self.network[ring];
                let adoption = self.nodes[seat].memory.consider(ring, local).ok()?;
                let node = Arc::make_mut(&mut next.nodes[seat]);
                node.note_dropped(adoption.unrecorded());
                if scope.mutation == Mutation::AcknowledgeUnrecorded {
                    node.memory = adoption.unrecorded().clone();
                } else {
                    // What a crash leaves is what was recorded: the bytes, read again.
                    let read = Membership::recover(&adoption.record(), local).unwrap();
                    node.recorded = read.with_mutation(scope.mutation);
                    node.memory = adoption.recorded();
                }
            }
            Action::Talk(seat) if scope.leases_end || scope.seats[seat].joins_later => {
                let acknowledgement = self.acknowledgement(seat, scope)?;
                let grant = next.hear(&acknowledgement, scope)?;
                let node = Arc::make_mut(&mut next.nodes[seat]);
                node.memory.granted(&grant?, &scope.keyring).ok()?;
            }
            Action::Talk(_) => return None,
            Action::Shout(seat) => {
                let acknowledgement = self.acknowledgement(seat, scope)?;
                let _lost = next.hear(&acknowledgement, scope)?;
            }
            Action::Send(seat) => {
                spend(&mut next.left.letters)?;
                next.letter = Some(self.acknowledgement(seat, scope)?);
            }
            Action::Arrive => {
                let letter = next.letter.take()?;
                let _lost = next.hear(&letter, scope);
            }
            Action::Sign(seat) => {
                spend(&mut next.left.messages)?;
                if self.message.is_some() {
                    return None;
                }
                let local = scope.time_at(seat, self.ticks);
                let version = self.nodes[seat].memory.signs_with(local)?;
                next.message = Some((version, self.ticks));
            }
            Action::Accept(seat) => {
                let (version, _) = self.message?;
                let node = Arc::make_mut(&mut next.nodes[seat]);
                if !node
                    .memory
                    .accepts(version, scope.time_at(seat, self.ticks))
                {
                    return None;
                }
                node.used = Some((version, self.ticks));
            }
            Action::Crash(seat) => {
                spend(&mut next.left.crashes)?;
                let node = Arc::make_mut(&mut next.nodes[seat]);
                node.memory = node.recorded.clone();
                node.booted = self.ticks;
                node.used = None;
            }
        }
        next.settle_clocks(scope);
        (next != *self).then_some(next)
    }

    /// The version that is on its way to being the next to sign.
    pub(crate) fn waiting(&self) -> Option<SecretVersion> {
        let now = m2m_types::Timestamp::MIN;
        let living: Vec<_> = self.issuer.living().collect();
        let waits = |version: &SecretVersion| {
            let stage = self.issuer.stage(*version, now);
            matches!(stage, Some(Stage::Staged | Stage::Ready))
        };
        living.into_iter().rev().find(waits)
    }

    fn is_alive(&self, version: SecretVersion) -> bool {
        self.issuer.living().any(|living| living == version)
    }

    fn retirable(&self, scope: &Scope) -> Option<SecretVersion> {
        let now = scope.time(self.ticks);
        let living: Vec<_> = self.issuer.living().collect();
        let can = |version: &SecretVersion| self.issuer.can_retire(*version, now).is_ok();
        living.into_iter().find(can)
    }

    /// Reserves the number of the next version.
    fn draft(&mut self, scope: &Scope) -> Option<SecretVersion> {
        let (id, token) = (order_id(&self.issuer, 1), self.issuer.token());
        let now = scope.time(self.ticks);
        let issuer = Arc::make_mut(&mut self.issuer);
        let _ = issuer
            .apply(&Order { id, token, now }, Command::Draft)
            .ok()?;
        issuer.draft()
    }

    /// Gives an order, twice, records it, and publishes what follows from it.
    fn order(
        &mut self,
        scope: &Scope,
        kind: u8,
        command: impl Fn(&Rotation) -> Option<Command>,
    ) -> Option<()> {
        let now = scope.time(self.ticks);
        let (id, token) = (order_id(&self.issuer, kind), self.issuer.token());
        let order = Order { id, token, now };
        let (first, again) = (command(&self.issuer)?, command(&self.issuer)?);
        let mut issuer = Rotation::clone(&self.issuer);
        let applied = issuer.apply(&order, first).ok()?;
        if applied.events().is_empty() {
            return None;
        }
        let before = issuer.clone();
        // I7: the same order again changes nothing.
        let repeated = issuer.apply(&order, again).unwrap();
        assert!(repeated.was_repeated() && issuer == before, "I7: {kind}");
        self.issuer = Arc::new(issuer);
        let careless = scope.mutation == Mutation::PublishUnrecorded;
        if !careless {
            self.recorded = self.issuer.clone();
        }
        if careless || (!scope.publishing_takes_time && !self.is_published()) {
            self.network.push(Arc::new(self.issuer.ring().clone()));
        }
        Some(())
    }

    fn acknowledgement(&self, seat: usize, scope: &Scope) -> Option<Acknowledgement> {
        let node = &self.nodes[seat];
        if !node.declared || !self.has_news(seat, scope) {
            return None;
        }
        let idle: Vec<(SecretVersion, Duration)> = node
            .memory
            .ring()?
            .accepted()
            .map(|(version, _)| (version, node.idle(version, self.ticks)))
            .collect();
        let local = scope.time_at(seat, self.ticks);
        node.memory.acknowledge(&scope.keyring, &idle, local)
    }

    /// Members talk when they have a newer ring, want a lease, or are waited for.
    fn has_news(&self, seat: usize, scope: &Scope) -> bool {
        let now = scope.time(self.ticks);
        let name = member_name(seat);
        let retiring = || {
            let mut living = self.issuer.living();
            living.any(|version| self.issuer.stage(version, now) == Some(Stage::Retiring))
        };
        let acknowledged = self.issuer.acknowledged(&name);
        acknowledged.is_none_or(|acknowledged| acknowledged < self.nodes[seat].memory.epoch())
            || scope.leases_end
            || (scope.seats[seat].role.verifies() && retiring())
    }

    /// [`None`] if it counts for nothing; else the lease, if there is one.
    fn hear(
        &mut self,
        acknowledgement: &Acknowledgement,
        scope: &Scope,
    ) -> Option<Option<m2m_secrets::LeaseGrant>> {
        let now = scope.time(self.ticks);
        let issuer = Arc::make_mut(&mut self.issuer);
        let heard = issuer.hear(acknowledgement, &scope.keyring, now).ok()?;
        if heard.record() == m2m_secrets::Record::First {
            self.recorded = self.issuer.clone();
        }
        Some(heard.grant().cloned())
    }
}

impl Node {
    /// Seconds without use: since the last one, or since it began to count.
    fn idle(&self, version: SecretVersion, ticks: u8) -> Duration {
        let used = self.used.filter(|(used, _)| *used == version);
        let since = used.map_or(self.booted, |(_, at)| at);
        Duration::from_secs(u64::from(ticks - since))
    }

    fn note_dropped(&mut self, next: &Membership) {
        let bits = |member: &Membership| -> u32 {
            let ring = member.ring().unwrap();
            ring.accepted().map(|(version, _)| bit(version)).sum()
        };
        self.dropped |= bits(&self.memory) & !bits(next);
    }
}

fn spend(left: &mut u8) -> Option<()> {
    *left = left.checked_sub(1)?;
    Some(())
}
