//! The targets and whether the measured values reach them.

use super::Measured;
use crate::fixture::Algorithm;

pub(super) struct Target {
    pub(super) what: String,
    pub(super) wanted: String,
    pub(super) measured: String,
    /// `None`: not measured.
    pub(super) reached: Option<bool>,
}

/// Half an allocation: a count of zero that a rare refill must not spoil, nor hide one.
pub(super) const NO_ALLOCATION: f64 = 0.5;

pub(super) fn targets(measured: &Measured) -> Vec<Target> {
    let mut targets = vec![without_signature(measured)];
    targets.extend(cold(measured));
    targets.push(software(measured.software));
    targets.extend(warm(measured));
    targets.extend(revocation(measured));
    targets.extend(mint(measured));
    targets.extend(garbage(measured));
    // One file for each subject from here on, in the order of the page.
    targets.extend(super::sets::targets(measured));
    targets.extend(super::secrets::targets(measured));
    targets.extend(super::pki::targets(&measured.pki));
    targets.extend(super::store::targets(measured.store.as_ref()));
    targets
}

/// Ed25519 and its raw call differ by exactly the work that is not the signature.
fn without_signature(measured: &Measured) -> Target {
    let ours = measured.row("token/verify/ed25519/m2m-ring");
    let raw = measured.row("token/verify/ed25519/ring");
    let value = ours.zip(raw).and_then(|(ours, raw)| {
        let instructions = ours.instructions? as i64 - raw.instructions? as i64;
        Some((instructions, ours.calm - raw.calm, ours.allocations))
    });
    Target {
        what: "verify without the signature's cost, 751 bytes, borrowed claims".into(),
        wanted: "≤ 4,500 instructions, 0 allocations".into(),
        measured: shown(value, |(instructions, nanoseconds, allocations)| {
            format!(
                "{instructions} instructions, {allocations:.0} allocations ({nanoseconds:.0} ns)"
            )
        }),
        reached: value.map(|(count, _, allocations)| count <= 4500 && allocations < NO_ALLOCATION),
    }
}

fn cold(measured: &Measured) -> Vec<Target> {
    let limits = [
        (Algorithm::Hs256, "m2m-ring", 1.25),
        (Algorithm::Es256, "m2m-ring", 1.03),
        (Algorithm::EdDsa, "m2m-ring", 1.03),
        (Algorithm::Rs256, "m2m-ring", 1.06),
        (Algorithm::Rs256, "m2m-aws-lc", 0.80),
    ];
    limits
        .into_iter()
        .map(|(algorithm, library, limit)| {
            let id = format!("token/verify/{}/{library}", algorithm.id());
            let what = format!("verify {} cold, {library}", algorithm.name());
            measured.beside_ring(&id, what, limit)
        })
        .collect()
}

/// The limit of HS256 was set where SHA-256 is done in software.
fn software(ratio: Option<f64>) -> Target {
    Target {
        what: "verify HS256 cold, m2m-aws-lc, without instructions for SHA-256".into(),
        wanted: "≤ 1.25 × raw aws-lc, neither".into(),
        measured: shown(ratio, |ratio| format!("{ratio:.3} ×")),
        reached: ratio.map(|ratio| ratio <= 1.25),
    }
}

fn warm(measured: &Measured) -> Vec<Target> {
    let warm = measured.row("token/verify/es256/m2m-warm");
    let cheaper = measured.times(
        "token/verify/es256/jsonwebtoken-aws-lc",
        "token/verify/es256/m2m-warm",
    );
    let threads = measured.facts.threads;
    vec![
        Target {
            what: "verify warm, with dates and revocation".into(),
            wanted: "≤ 300 instructions, 0 allocations".into(),
            measured: shown(warm, |warm| {
                let count = warm
                    .instructions
                    .map_or("?".to_owned(), |count| count.to_string());
                format!(
                    "{count} instructions, {:.0} allocations ({:.0} ns)",
                    warm.allocations, warm.calm
                )
            }),
            reached: warm.and_then(|warm| {
                Some(warm.instructions? <= 300 && warm.allocations < NO_ALLOCATION)
            }),
        },
        Target {
            what: "verify warm beside jsonwebtoken's ES256".into(),
            wanted: "≥ 1,000 × cheaper".into(),
            measured: shown(cheaper, |times| format!("{times:.0} ×")),
            reached: cheaper.map(|times| times >= 1000.0),
        },
        Target {
            what: "verify warm on two threads, one verifier".into(),
            wanted: "≥ 1.8 × one thread; no write to shared memory".into(),
            measured: shown(threads, |threads| {
                format!(
                    "{:.2} × (with nothing shared {:.2} ×)",
                    threads.shared, threads.apart
                )
            }),
            reached: threads.map(|threads| threads.shared >= 1.8),
        },
    ]
}

fn revocation(measured: &Measured) -> Vec<Target> {
    let bytes = measured.facts.revocation_bytes_per_entry;
    let beside = measured.facts.lookup_beside_writer;
    let lookup = |name: &str, kind: &str| {
        let row = measured.row(&format!("revoke/{kind}/10m/m2m"));
        Target {
            what: format!("look up {name} among 10,000,000 revocations"),
            wanted: "≤ 2 × hashbrown with foldhash".into(),
            measured: shown(row, |row| {
                format!("{:.2} × ({:.0} ns)", row.ratio, row.calm)
            }),
            reached: row.map(|row| row.ratio <= 2.0),
        }
    };
    vec![
        lookup("a revoked token", "hit"),
        lookup("a token that is not revoked", "miss"),
        Target {
            what: "memory of the revocation set".into(),
            wanted: "≤ 32 bytes an entry".into(),
            measured: shown(bytes, |bytes| format!("{bytes:.1} bytes")),
            reached: bytes.map(|bytes| bytes <= 32.0),
        },
        Target {
            what: "look-up while a writer swaps snapshots".into(),
            wanted: "unaffected (≤ 1.10 × with a set of the reader's own)".into(),
            measured: shown(beside, |times| format!("{times:.2} ×")),
            reached: beside.map(|times| times <= 1.10),
        },
    ]
}

fn mint(measured: &Measured) -> Vec<Target> {
    let es256 = measured.row("token/mint/es256/m2m-ring");
    let rs256 = measured.times(
        "token/mint/rs256/m2m-aws-lc",
        "token/mint/rs256/jsonwebtoken-aws-lc",
    );
    // ring's and AWS-LC's own allocations are the signature's price, not ours.
    let allocations = measured
        .row("token/mint/es256/m2m-ring")
        .zip(measured.row("token/mint/es256/ring"))
        .map(|(ours, raw)| ours.allocations - raw.allocations);
    vec![
        Target {
            what: "mint ES256".into(),
            wanted: "≤ 1.05 × raw signing".into(),
            measured: shown(es256, |row| format!("{:.3} ×", row.ratio)),
            reached: es256.map(|row| row.ratio <= 1.05),
        },
        Target {
            what: "mint RS256, aws-lc-rs".into(),
            wanted: "≤ 0.6 × jsonwebtoken with aws-lc-rs".into(),
            measured: shown(rs256, |times| format!("{times:.3} ×")),
            reached: rs256.map(|times| times <= 0.6),
        },
        Target {
            what: "mint, allocations beyond the signature's own".into(),
            wanted: "1".into(),
            measured: shown(allocations, |count| format!("{count:.0}")),
            reached: allocations.map(|count| count < 1.0 + NO_ALLOCATION),
        },
    ]
}

/// Refused before cryptography: no kind of garbage costs even a tenth of a hash of the token.
fn garbage(measured: &Measured) -> Option<Target> {
    let dearest = measured
        .rows
        .iter()
        .filter(|row| row.id.starts_with("token/refuse/") && row.id.ends_with("/m2m"))
        .max_by(|one, other| one.calm.total_cmp(&other.calm));
    let allocations = measured
        .rows
        .iter()
        .filter(|row| row.id.starts_with("token/refuse/") && row.id.ends_with("/m2m"))
        .map(|row| row.allocations)
        .fold(0.0, f64::max);
    let signature = measured.row("token/verify/es256/ring").map(|row| row.calm);
    let reached = dearest
        .zip(signature)
        .map(|(row, signature)| row.calm * 20.0 <= signature && allocations < NO_ALLOCATION);
    Some(Target {
        what: "garbage".into(),
        wanted: "refused before any cryptography, 0 allocations".into(),
        measured: shown(dearest, |row| {
            let kind = crate::contender::group(&row.id).trim_start_matches("token/refuse/");
            format!(
                "dearest: {kind}, {:.0} ns; {allocations:.0} allocations",
                row.calm
            )
        }),
        reached,
    })
}

pub(super) fn shown<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "not measured".to_owned(), show)
}
