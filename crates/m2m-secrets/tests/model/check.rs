//! The invariants, looked for in every state and at every step.

use std::fmt::Write;
use std::sync::Arc;

use m2m_secrets::{Mutation, SecretVersion};

use super::scope::Scope;
use super::world::{Node, World, bit};

impl World {
    /// What is wrong with this state.
    pub(crate) fn violation(&self, scope: &Scope) -> Option<String> {
        self.outage(scope)
            .or_else(|| self.false_claim(scope))
            .or_else(|| self.late_drop(scope))
            .or_else(|| self.unusable_ring())
    }

    /// I1: every live verifier accepts what any live signer would sign now, and what is under way.
    fn outage(&self, scope: &Scope) -> Option<String> {
        let mut signed: Vec<(String, SecretVersion)> = Vec::new();
        for (seat, node) in self.nodes.iter().enumerate() {
            let version = node.memory.signs_with(scope.time_at(seat, self.ticks));
            signed.extend(version.map(|version| (format!("prod/{seat} signs"), version)));
        }
        let message = self.message.map(|(version, _)| version);
        signed.extend(message.map(|version| (String::from("under way"), version)));
        for (seat, node) in self.nodes.iter().enumerate() {
            let local = scope.time_at(seat, self.ticks);
            if !scope.seats[seat].role.verifies() || !node.memory.is_live(local) {
                continue;
            }
            let refused = |(_, version): &&(String, _)| !node.memory.accepts(*version, local);
            if let Some((who, version)) = signed.iter().find(refused) {
                return Some(format!("I1: {who} v{version}, prod/{seat} refuses it"));
            }
        }
        None
    }

    /// I2: what is called revoked everywhere is accepted nowhere. I5: nor is it ever again.
    fn false_claim(&self, scope: &Scope) -> Option<String> {
        let now = scope.time(self.ticks);
        let newest = self.issuer.living().max()?.number();
        for number in 1..=newest {
            let version = SecretVersion::new(number).unwrap();
            let alive = self
                .issuer
                .ring()
                .accepted()
                .any(|(held, drop_at)| held == version && drop_at.is_none());
            if alive || self.issuer.draft() == Some(version) {
                continue;
            }
            if !self.issuer.revocation(version, now).is_complete() {
                continue;
            }
            if let Some(seat) = self.accepting(version, scope) {
                return Some(format!(
                    "I2: v{number} is claimed dead, prod/{seat} accepts it"
                ));
            }
        }
        None
    }

    /// I2: and after T it is accepted nowhere, heard or not.
    fn late_drop(&self, scope: &Scope) -> Option<String> {
        let bound = scope.policy.emergency() + scope.policy.past_every_clock();
        for (version, at) in &self.compromised {
            if u64::from(self.ticks - at) < bound.as_secs() {
                continue;
            }
            if let Some(seat) = self.accepting(*version, scope) {
                return Some(format!("I2: v{version} is accepted by prod/{seat} after T"));
            }
        }
        None
    }

    fn accepting(&self, version: SecretVersion, scope: &Scope) -> Option<usize> {
        let accepts = |(seat, node): &(usize, &Arc<Node>)| {
            let local = scope.time_at(*seat, self.ticks);
            node.memory.accepts(version, local)
        };
        self.nodes
            .iter()
            .enumerate()
            .find(accepts)
            .map(|(seat, _)| seat)
    }

    /// I3: the ring signs with what it accepts for good.
    fn unusable_ring(&self) -> Option<String> {
        let ring = self.issuer.ring();
        let usable = ring
            .accepted()
            .any(|(version, drop_at)| version == ring.sign() && drop_at.is_none());
        (!usable).then(|| format!("I3: {ring:?}"))
    }

    /// What is wrong with getting from `before` to here.
    pub(crate) fn wrong_step(&self, before: &Self, scope: &Scope) -> Option<String> {
        for (seat, (node, earlier)) in self.nodes.iter().zip(&before.nodes).enumerate() {
            // I4: what is recorded only goes forward.
            if node.recorded.epoch() < earlier.recorded.epoch() {
                let (from, to) = (earlier.recorded.epoch(), node.recorded.epoch());
                return Some(format!(
                    "I4: prod/{seat} goes back from ring {from} to {to}"
                ));
            }
            // I5: what was dropped does not come back.
            let mut accepted = node.memory.ring().unwrap().accepted();
            let again = accepted.find(|(version, _)| node.dropped & bit(*version) != 0);
            if let Some((version, _)) = again {
                return Some(format!("I5: prod/{seat} holds dead v{version} again"));
            }
        }
        // I4: no number is given to two rings.
        if let Some((ring, published)) = self.network.split_last() {
            if let Some(other) = published
                .iter()
                .find(|other| other.epoch() == ring.epoch() && other.hash() != ring.hash())
            {
                return Some(format!("I4: {other:?} and {ring:?}"));
            }
        }
        if let Some(version) = self.reused {
            return Some(format!("I4: the number v{version} is given twice"));
        }
        if self.recorded.token() < before.recorded.token() {
            return Some(String::from("I11: the token went back"));
        }
        self.stuck(scope)
    }

    /// I8: what is staged can be aborted, and the world is as well as before.
    fn stuck(&self, scope: &Scope) -> Option<String> {
        if scope.mutation != Mutation::None || scope.budget.aborts == 0 {
            return None;
        }
        self.waiting()?;
        let mut freed = self.clone();
        freed.left.aborts = 1;
        let aborted = freed.after(super::action::Action::Abort, scope);
        match aborted {
            None => Some(String::from("I8: what is staged cannot be aborted")),
            Some(world) => world.violation(scope).map(|why| format!("I8: {why}")),
        }
    }

    /// For people: what there is.
    pub(crate) fn describe(&self) -> String {
        let mut text = format!("second {}: issuer {:?}", self.ticks, self.issuer.ring());
        for (seat, node) in self.nodes.iter().enumerate() {
            let _ = write!(
                text,
                "; prod/{seat} {:?} leased until {}",
                node.memory.ring(),
                node.memory.lease_until()
            );
        }
        text
    }
}
