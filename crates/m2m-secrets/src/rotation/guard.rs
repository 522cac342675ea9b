//! What must be known before each step (R3, R4, R8), and who stands in its way.

use std::time::Duration;

use m2m_types::Timestamp;

use super::blocker::Blocker;
use super::certificate::{Evidence, Ground, RetireCertificate};
use super::engine::{Mark, Party, Reach, Rotation, Slot};
use super::mutation::Mutation;
use super::name::{Epoch, MemberName, SecretVersion};

impl Rotation {
    /// Whether signers can move to `version` at `now` without one refused call: every live verifier
    /// proved to accept it (R3). Nothing if so.
    pub fn activation_blockers(&self, version: SecretVersion, now: Timestamp) -> Vec<Blocker> {
        let slot = self.slots.get(&version);
        slot.map(|slot| self.not_accepting(slot.accepted_from, now))
            .unwrap_or_default()
    }

    /// Of [`Rotation::activation_blockers`] those that accept something now, and so would refuse what
    /// they do not refuse yet. Nothing if [`Command::Repair`](super::Command::Repair) would make nothing
    /// worse (R10).
    pub fn repair_blockers(&self, version: SecretVersion, now: Timestamp) -> Vec<Blocker> {
        let mut blockers = self.activation_blockers(version, now);
        let now = self.moment(now);
        let careless = self.mutation.is(Mutation::RepairUnfenced);
        let is_fenced = |party: &Party| {
            party.reach == Reach::Acknowledges && (now >= self.may_act_until(party) || careless)
        };
        blockers.retain(|blocker| {
            let party = blocker.member().and_then(|name| self.members.get(name));
            !party.is_some_and(is_fenced)
        });
        blockers
    }

    /// Whether `version` can be retired at `now`: every live signer proved to have left it, and by then
    /// no message made with it was accepted for as long as one may be under way, as every live verifier
    /// reported (R4).
    ///
    /// # Errors
    ///
    /// Who or what is in the way. Empty if there is nothing to retire: never published, or dead.
    pub fn can_retire(
        &self,
        version: SecretVersion,
        now: Timestamp,
    ) -> Result<RetireCertificate, Vec<Blocker>> {
        let now = self.moment(now);
        let slot = self.slots.get(&version).ok_or_else(Vec::new)?;
        let blockers = self.retirement_blockers(version, slot, now);
        if !blockers.is_empty() {
            return Err(blockers);
        }
        Ok(RetireCertificate {
            secret: self.secret().clone(),
            version,
            epoch: self.ring.epoch(),
            left_at: slot.left_at.unwrap_or(now),
            made_at: now,
            evidence: self.evidence(slot),
        })
    }

    /// A drill: who would be refused, or may be, if `version` were dropped at `now`. This may be asked
    /// of any version, the one that signs too. Nobody if the list is empty.
    pub fn who_breaks_without(&self, version: SecretVersion, now: Timestamp) -> Vec<Blocker> {
        let now = self.moment(now);
        let Some(slot) = self.slots.get(&version) else {
            return Vec::new();
        };
        if version != self.ring.sign() {
            return self.retirement_blockers(version, slot, now);
        }
        let signs = |(name, party): (&MemberName, &Party)| Blocker::MaySign {
            member: name.clone(),
            acknowledged: party.acknowledged,
            needed: Epoch::new(self.ring.epoch().number().saturating_add(1)),
        };
        let mut blockers = vec![Blocker::Signs];
        blockers.extend(self.live_signers().map(signs));
        blockers
    }

    fn retirement_blockers(
        &self,
        version: SecretVersion,
        slot: &Slot,
        now: Timestamp,
    ) -> Vec<Blocker> {
        if version == self.ring.sign() {
            return vec![Blocker::Signs];
        }
        let Some(left_from) = slot.left_from else {
            return vec![Blocker::Signs];
        };
        if self.mutation.is(Mutation::RetireUnacknowledged) {
            return Vec::new();
        }
        let mut blockers = self.may_sign(left_from, now);
        if !blockers.is_empty() || self.mutation.is(Mutation::RetireInFlight) {
            return blockers;
        }
        let left_at = slot.left_at.unwrap_or(now);
        let quiet_from = left_at.saturating_add(self.policy.quiet());
        if now < quiet_from {
            blockers.push(Blocker::InFlight { until: quiet_from });
        }
        let verifiers = self.live_verifiers();
        let reports =
            verifiers.filter_map(|(name, party)| self.not_quiet(name, party, version, quiet_from));
        blockers.extend(reports);
        blockers
    }

    fn not_quiet(
        &self,
        name: &MemberName,
        party: &Party,
        version: SecretVersion,
        quiet_from: Timestamp,
    ) -> Option<Blocker> {
        if matches!(party.reach, Reach::TimeBound(_)) {
            return None;
        }
        let member = name.clone();
        let reported = party.idle.iter().find(|(reported, _)| *reported == version);
        let Some((_, idle)) = reported.filter(|_| party.reported_at >= quiet_from) else {
            let since = quiet_from;
            return Some(Blocker::NoReport { member, since });
        };
        let idle = Duration::from_secs(*idle);
        (idle < self.policy.quiet()).then_some(Blocker::InUse { member, idle })
    }

    fn evidence(&self, slot: &Slot) -> Vec<Evidence> {
        let ground = |party: &Party| match party.reach {
            Reach::TimeBound(time) => {
                let from = slot.left_from.map_or(party.joined.at, |mark| mark.at);
                Ground::ByTime(self.given_until(time, from, party))
            }
            Reach::Acknowledges if party.role.signs() => Ground::LeftByProof(party.acknowledged),
            Reach::Acknowledges => Ground::QuietByReport(party.reported_at),
        };
        let live = self.members.iter().filter(|(_, party)| party.live);
        live.map(|(name, party)| Evidence {
            member: name.clone(),
            ground: ground(party),
        })
        .collect()
    }

    /// Live verifiers that have not proved to hold `mark` or a later ring.
    pub(crate) fn not_accepting(&self, mark: Mark, now: Timestamp) -> Vec<Blocker> {
        if self.mutation.is(Mutation::ActivateUnacknowledged) {
            return Vec::new();
        }
        let behind = |name: &MemberName, party: &Party| Blocker::NotAccepting {
            member: name.clone(),
            acknowledged: party.acknowledged,
            needed: mark.epoch,
        };
        let now = self.moment(now);
        self.live_verifiers()
            .filter_map(|(name, party)| self.behind(name, party, mark, now, behind))
            .collect()
    }

    /// Live signers that have not proved to hold `mark` or a later ring.
    pub(crate) fn may_sign(&self, mark: Mark, now: Timestamp) -> Vec<Blocker> {
        let behind = |name: &MemberName, party: &Party| Blocker::MaySign {
            member: name.clone(),
            acknowledged: party.acknowledged,
            needed: mark.epoch,
        };
        let now = self.moment(now);
        self.live_signers()
            .filter_map(|(name, party)| self.behind(name, party, mark, now, behind))
            .collect()
    }

    fn behind(
        &self,
        name: &MemberName,
        party: &Party,
        mark: Mark,
        now: Timestamp,
        blocker: impl Fn(&MemberName, &Party) -> Blocker,
    ) -> Option<Blocker> {
        match party.reach {
            Reach::Acknowledges => (party.acknowledged < mark.epoch).then(|| blocker(name, party)),
            Reach::TimeBound(time) => {
                let until = self.given_until(time, mark.at, party);
                let member = name.clone();
                (now < until).then_some(Blocker::TimeBound { member, until })
            }
        }
    }

    /// Until when a member that cannot acknowledge may not have what was published `at`.
    pub(crate) fn given_until(&self, time: Duration, at: Timestamp, party: &Party) -> Timestamp {
        let from = at.max(party.joined.at);
        from.saturating_add(time)
            .saturating_add(self.policy.past_every_clock())
    }

    /// Until when a member may act, by whatever clock.
    pub(crate) fn may_act_until(&self, party: &Party) -> Timestamp {
        party
            .lease_until
            .saturating_add(self.policy.past_every_clock())
    }

    /// Notes for each version that was replaced whether its last signer has left it.
    pub(crate) fn note_who_left(&mut self) {
        let now = self.latest;
        let left: Vec<SecretVersion> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.left_at.is_none())
            .filter(|(_, slot)| {
                let mark = slot.left_from;
                mark.is_some_and(|mark| self.may_sign(mark, now).is_empty())
            })
            .map(|(version, _)| *version)
            .collect();
        for version in left {
            if let Some(slot) = self.slots.get_mut(&version) {
                slot.left_at = Some(now);
            }
        }
    }

    fn live_signers(&self) -> impl Iterator<Item = (&MemberName, &Party)> {
        let counted = |(_, party): &(&MemberName, &Party)| party.role.signs();
        self.counted().filter(counted)
    }

    pub(crate) fn live_verifiers(&self) -> impl Iterator<Item = (&MemberName, &Party)> {
        let counted = |(_, party): &(&MemberName, &Party)| party.role.verifies();
        self.counted().filter(counted)
    }

    fn counted(&self) -> impl Iterator<Item = (&MemberName, &Party)> {
        let uncounted = |party: &Party| {
            self.mutation.is(Mutation::JoinerUncounted) && party.joined.epoch > Epoch::new(1)
        };
        self.members
            .iter()
            .filter(move |(_, party)| party.live && !uncounted(party))
    }
}
