//! When certificates are renewed: 100,000 that started together, through restarts and an outage.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may panic and says what it found"
)]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use m2m_crypto::{Algorithm, SystemRandom};
use m2m_pki::{Authority, Certificate, Outage, OutageError, Outages, RenewalPlan, RenewalState};
use m2m_types::Timestamp;
use support::{DAY, HOUR, after, csr_of, key, ledger, now, root_of, service, workload};

const LIFE: Duration = DAY;

/// A certificate that is real, of which copies differ in name and dates as a simulation needs them.
fn leaf(authority: &Authority, path: &str, at: Timestamp) -> Certificate {
    let key = key(Algorithm::Ed25519);
    let approved = workload()
        .approve(csr_of(&key), &service(path), LIFE)
        .unwrap();
    let issued = authority.issue(approved, at, &SystemRandom).unwrap();
    let (_, ledger) = ledger();
    support::record(&ledger, issued)
}

#[test]
fn the_moment_is_in_the_window_and_the_window_ends_at_two_thirds_of_life() {
    let (_, ledger) = ledger();
    let root = root_of(&ledger, Algorithm::Ed25519);
    let certificate = leaf(&root, "billing", now());
    for instance in ["", "a", "b", "c"] {
        let plan = RenewalPlan::of(&certificate, instance);
        assert_eq!(plan.window(), (after(LIFE / 12), after(LIFE * 2 / 3)));
        assert!((plan.window().0..plan.window().1).contains(&plan.moment()));
        // The same whenever and wherever it is asked.
        assert_eq!(plan, RenewalPlan::of(&certificate, instance));
    }
    let moments = ["a", "b"].map(|instance| RenewalPlan::of(&certificate, instance).moment());
    assert_ne!(moments[0], moments[1]);

    let plan = RenewalPlan::of(&certificate, "");
    let before = plan.moment().saturating_sub(Duration::from_secs(1));
    let until = plan.moment();
    assert_eq!(plan.state(before), RenewalState::Waiting { until });
    assert_eq!(plan.state(until), RenewalState::Due { since: until });
    let since = certificate.not_after();
    assert_eq!(plan.state(since), RenewalState::Due { since: until });
    let late = since.saturating_add(Duration::from_secs(1));
    assert_eq!(plan.state(late), RenewalState::Expired { since });
}

#[test]
fn a_renewal_in_time_is_followed_by_the_next_one_period_later() {
    let (_, ledger) = ledger();
    let root = root_of(&ledger, Algorithm::Ed25519);
    for path in ["a", "b", "c", "d"] {
        let mut plan = RenewalPlan::of(&leaf(&root, path, now()), "");
        let period = LIFE * 7 / 12;
        for late in [0, 1, 600] {
            let moment = plan.moment();
            let at = moment.saturating_add(Duration::from_secs(late));
            plan = RenewalPlan::of(&leaf(&root, path, at), "");
            assert_eq!(plan.moment(), moment.saturating_add(period), "{path}");
        }
    }
}

#[test]
fn a_life_of_minutes_is_renewed_in_time_and_not_in_a_loop() {
    let (_, ledger) = ledger();
    let root = root_of(&ledger, Algorithm::Ed25519);
    let own = key(Algorithm::Ed25519);
    for minutes in [1, 2, 5, 60] {
        let life = Duration::from_secs(60 * minutes);
        let mut at = now();
        for _ in 0..20 {
            let approved = workload().approve(csr_of(&own), &service("brief"), life);
            let issued = root.issue(approved.unwrap(), at, &SystemRandom).unwrap();
            let (_, ledger) = support::ledger();
            let plan = RenewalPlan::of(&support::record(&ledger, issued), "");
            assert!(plan.moment() > at, "renewed at once, again and again");
            assert!(plan.moment() <= at.saturating_add(life * 2 / 3));
            at = plan.moment();
        }
    }
}

#[test]
fn tries_again_come_sooner_and_sooner_and_never_at_once() {
    let (_, ledger) = ledger();
    let root = root_of(&ledger, Algorithm::Ed25519);
    let certificate = leaf(&root, "billing", now());
    let plan = RenewalPlan::of(&certificate, "");
    let (mut at, mut tries) = (plan.moment(), 0);
    while at < certificate.not_after() {
        let next = plan.retry_at(at);
        let left = certificate.not_after().checked_since(at).unwrap();
        let wait = next.checked_since(at).unwrap();
        assert!(wait >= Duration::from_secs(1) && wait <= (left / 8).max(Duration::from_secs(2)));
        (at, tries) = (next, tries + 1);
    }
    assert!((50..500).contains(&tries), "{tries}");
}

/// How many signatures were asked for in each stretch of time.
struct World {
    signed: BTreeMap<u64, u32>,
    bucket: u64,
}

impl World {
    fn sign(&mut self, at: Timestamp) {
        let begun = at.unix_seconds() - now().unix_seconds();
        *self.signed.entry(begun / self.bucket).or_default() += 1;
    }

    /// Larger buckets.
    fn merge(&mut self, bucket: u64) {
        let mut merged = BTreeMap::new();
        for (at, count) in &self.signed {
            *merged.entry(at * self.bucket / bucket).or_default() += count;
        }
        (self.signed, self.bucket) = (merged, bucket);
    }

    /// The most in one bucket, from one time to another.
    fn peak(&self, from: u64, to: u64) -> f64 {
        let buckets = from / self.bucket..to / self.bucket;
        let counts = buckets.map(|at| self.signed.get(&at).copied().unwrap_or(0));
        f64::from(counts.max().unwrap_or(0))
    }
}

/// A certificate issued at each time that is asked for, made once.
struct Issuer {
    root: Authority,
    made: BTreeMap<Timestamp, Certificate>,
}

impl Issuer {
    fn certificate(&mut self, at: Timestamp) -> &Certificate {
        let root = &self.root;
        self.made
            .entry(at)
            .or_insert_with(|| leaf(root, "fleet", at))
    }
}

/// 100,000 workloads of the same start run for `lives`; renewals in an outage wait for its end. Returns
/// the signatures by bucket, and how many workloads ever were without a valid certificate.
fn simulate(outage: Option<(Timestamp, Timestamp)>, lives: u32, bucket: u64) -> (World, u32) {
    const WORKLOADS: u32 = 100_000;
    let (_, ledger) = ledger();
    let root = root_of(&ledger, Algorithm::Ed25519);
    let mut issuer = Issuer {
        root,
        made: BTreeMap::new(),
    };
    let mut world = World {
        signed: BTreeMap::new(),
        bucket,
    };
    let end = after(LIFE * lives);
    let known = match outage {
        Some((began, ended)) => {
            let outage = Outage::new(began, ended).unwrap();
            Outages::new().with(outage).unwrap()
        }
        None => Outages::new(),
    };
    // Issuing a certificate for each of a million renewals is what a real authority is measured with;
    // here one for ten minutes is enough, and its dates are those of all that are issued in them.
    let rounded =
        |at: Timestamp| Timestamp::from_unix_seconds(at.unix_seconds() / 600 * 600).unwrap();
    let mut lost = 0;
    for workload in 0..WORKLOADS {
        let instance = format!("pod-{workload}");
        let mut issued = now();
        let mut is_lost = false;
        loop {
            let certificate = issuer.certificate(rounded(issued));
            let not_after = certificate.not_after();
            // The plan is made anew each time: a workload that restarts remembers nothing.
            let plan = RenewalPlan::of(certificate, &instance);
            let at = match outage {
                // Who is due before the outage has not heard of it.
                Some((began, _)) if plan.moment() >= began => plan.after(&known).moment(),
                _ => plan.moment(),
            };
            if at >= end {
                break;
            }
            is_lost |= at > not_after;
            world.sign(at);
            issued = at;
        }
        lost += u32::from(is_lost);
    }
    (world, lost)
}

#[test]
fn a_hundred_thousand_that_start_together_do_not_come_together() {
    const PERIOD: f64 = 7.0 / 12.0;
    let day = LIFE.as_secs();
    let (mut world, lost) = simulate(None, 4, day / 288);
    assert_eq!(lost, 0);
    for (bucket, name) in [(day / 288, "five minutes"), (day / 24, "hour")] {
        world.merge(bucket);
        let mean = 100_000.0 / (PERIOD * day as f64) * bucket as f64;
        let peak = world.peak(0, 4 * day);
        println!(
            "100000 workloads, 4 lives: peak / mean per {name} of a life of a day: {:.3}",
            peak / mean
        );
        assert!(peak <= 1.2 * mean, "{peak} to {mean}");
    }
}

#[test]
fn after_an_outage_everybody_is_late_and_still_they_do_not_come_together() {
    const PERIOD: f64 = 7.0 / 12.0;
    let day = LIFE.as_secs();
    let bucket = day / 24;
    let mean = 100_000.0 / (PERIOD * day as f64) * bucket as f64;
    // Away for longer than it takes to renew all: nobody is not late. Those whose certificates expire
    // meanwhile have to join anew; they too come in their turn.
    for (hours, may_lose) in [(8, false), (15, true)] {
        let began = after(LIFE);
        let ended = began.saturating_add(HOUR * hours);
        let (world, lost) = simulate(Some((began, ended)), 5, bucket);
        let peak = world.peak(0, 5 * day);
        let quiet = world.peak(day, day + u64::from(hours) * 3600);
        println!(
            "100000 workloads, {hours} h away: peak / mean per hour {:.3}, {lost} expired",
            peak / mean
        );
        assert!(peak <= 1.2 * mean, "{peak} to {mean}");
        assert_eq!(quiet, 0.0);
        assert_eq!(lost > 0, may_lose, "{lost} of 100000 expired");
    }
}

#[test]
fn outages_are_ordered_and_forgotten() {
    let at = |hours: u32| after(HOUR * hours);
    let order = Outage::new(at(2), at(1));
    assert!(matches!(order, Err(OutageError::Order { .. })));
    let first = Outage::new(at(1), at(3)).unwrap();
    let outages = Outages::new().with(first).unwrap();
    let overlapping = Outage::new(at(2), at(4)).unwrap();
    assert!(matches!(
        outages.clone().with(overlapping),
        Err(OutageError::Overlap { .. })
    ));
    // Nobody is moved forward, the order stays, and the queue ends.
    let mut last = Timestamp::MIN;
    for minute in 0..30 * 60 {
        let moment = after(Duration::from_secs(60 * minute));
        let turn = outages.put_off(moment);
        assert!(turn >= moment && turn >= last);
        assert!(moment < at(1) || turn >= at(3));
        last = turn;
    }
    let over = first.is_over_at();
    assert_eq!(over, at(1).saturating_add(HOUR * 18));
    assert_eq!(outages.put_off(over), over);
    assert_eq!(outages.clone().without_past(at(4)).len(), 1);
    assert!(outages.without_past(at(20)).is_empty());
    let many = (0..40).fold(Outages::new(), |outages, nth| {
        outages
            .with(Outage::new(at(nth * 2), at(nth * 2 + 1)).unwrap())
            .unwrap()
    });
    assert_eq!(many.len(), Outages::MAX);
}
