//! `World`: everything there is at one moment.

use std::sync::Arc;

use m2m_secrets::{
    Command, FencingToken, Membership, Order, Reach, Rotation, SecretVersion, Snapshot,
};

use super::action::order_id;
use super::scope::{Budget, Scope, member_name, secret_name};

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) ticks: u8,
    /// What the issuer has in memory, and what it has recorded.
    pub(crate) issuer: Arc<Rotation>,
    pub(crate) recorded: Arc<Rotation>,
    /// Every ring that was ever published: any of them may arrive anywhere, at any time, again.
    pub(crate) network: Vec<Arc<Snapshot>>,
    pub(crate) nodes: Vec<Arc<Node>>,
    /// An acknowledgement that is under way.
    pub(crate) letter: Option<m2m_secrets::Acknowledgement>,
    /// A message that is under way: its version, and when it was made.
    pub(crate) message: Option<(SecretVersion, u8)>,
    pub(crate) left: Budget,
    /// A number that was given to a second version.
    pub(crate) reused: Option<SecretVersion>,
    /// When an emergency was confirmed, and for what.
    pub(crate) compromised: Vec<(SecretVersion, u8)>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) memory: Membership,
    pub(crate) recorded: Membership,
    /// Whether it was declared.
    pub(crate) declared: bool,
    /// Versions it had and has no more, by their bits.
    pub(crate) dropped: u32,
    /// When it began to count uses.
    pub(crate) booted: u8,
    /// The version it accepted last besides the one that signs, and when.
    pub(crate) used: Option<(SecretVersion, u8)>,
}

impl World {
    /// Version 1 is in use; those who are there from the beginning hold ring 1 and a lease.
    pub(crate) fn begin(scope: &Scope) -> Self {
        let now = scope.time(0);
        let token = FencingToken::FIRST;
        let policy = scope.policy.clone();
        let mut issuer = Rotation::begin(secret_name(), policy, token, now);
        let ring = issuer.ring().clone();
        let mut nodes = Vec::new();
        for (seat, about) in scope.seats.iter().enumerate() {
            let local = scope.time_at(seat, 0);
            let member = Membership::new(member_name(seat), secret_name(), about.role);
            let mut member = member.consider(&ring, local).unwrap().recorded();
            if !about.joins_later {
                let register = Command::Register {
                    member: member_name(seat),
                    role: about.role,
                    reach: Reach::Acknowledges,
                };
                let id = order_id(&issuer, 100 + seat as u8);
                let _ = issuer.apply(&Order { id, token, now }, register).unwrap();
                let acknowledgement = member.acknowledge(&scope.keyring, &[], local).unwrap();
                let heard = issuer.hear(&acknowledgement, &scope.keyring, now).unwrap();
                member
                    .granted(heard.grant().unwrap(), &scope.keyring)
                    .unwrap();
            }
            let member = member.with_mutation(scope.mutation);
            nodes.push(Arc::new(Node {
                recorded: member.clone(),
                memory: member,
                declared: !about.joins_later,
                dropped: 0,
                booted: 0,
                used: None,
            }));
        }
        let issuer = Arc::new(issuer.with_mutation(scope.mutation));
        Self {
            ticks: 0,
            recorded: issuer.clone(),
            issuer,
            network: vec![Arc::new(ring)],
            nodes,
            letter: None,
            message: None,
            left: scope.budget,
            reused: None,
            compromised: Vec::new(),
        }
    }

    /// Clocks only go forward here, so noting the time changes nothing that can be seen later; it makes
    /// equal what behaves equally.
    pub(crate) fn settle_clocks(&mut self, scope: &Scope) {
        let now = scope.time(self.ticks);
        let mut issuer = Rotation::clone(&self.issuer);
        issuer.tick(now);
        if issuer != *self.issuer {
            self.issuer = Arc::new(issuer);
        }
        if !scope.publishing_takes_time {
            self.recorded = self.issuer.clone();
        }
        for (seat, node) in self.nodes.iter_mut().enumerate() {
            let local = scope.time_at(seat, self.ticks);
            let mut settled = Node::clone(node);
            settled.memory.observe(local);
            settled.recorded.observe(local);
            // Counters matter as far as the longest quiet time.
            let longest = scope.policy.quiet().as_secs();
            let old = |at: u8| u64::from(self.ticks - at) > longest;
            settled.used = settled.used.filter(|(_, at)| !old(*at));
            settled.booted = settled
                .booted
                .max(self.ticks.saturating_sub(longest as u8 + 1));
            if settled != **node {
                *node = Arc::new(settled);
            }
        }
        let age = scope.policy.max_message_age().as_secs();
        let gone = |(_, made): &(SecretVersion, u8)| u64::from(self.ticks - made) > age;
        if self.message.as_ref().is_some_and(gone) {
            self.message = None;
        }
    }

    pub(crate) fn is_published(&self) -> bool {
        let newest = self.issuer.ring();
        self.network.iter().any(|ring| ring.hash() == newest.hash())
    }
}

pub(crate) fn bit(version: SecretVersion) -> u32 {
    1 << version.number()
}
