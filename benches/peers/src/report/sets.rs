//! What the page says of Security Event Tokens.

use super::Measured;
use super::targets::{Target, shown};
use crate::fixture::Algorithm;
use crate::sets::ALGORITHMS;

pub(super) fn targets(measured: &Measured) -> Vec<Target> {
    let limits = [(Algorithm::Es256, 1.10), (Algorithm::EdDsa, 1.15)];
    let received = limits.map(|(algorithm, limit)| {
        let name = algorithm.name();
        let id = format!("set/receive/{}/m2m", algorithm.id());
        measured.beside_ring(
            &id,
            format!("receive a SET, {name}, with all rules of SSF"),
            limit,
        )
    });
    let minted = ALGORITHMS.map(|algorithm| {
        let name = algorithm.name();
        let id = format!("set/mint/{}/m2m", algorithm.id());
        measured.beside_ring(&id, format!("mint a SET, {name}, from a typed event"), 1.15)
    });
    let mut targets: Vec<Target> = received.into_iter().chain(minted).collect();
    targets.extend(ALGORITHMS.map(|algorithm| faster(measured, algorithm)));
    targets.extend(ALGORITHMS.map(|algorithm| one_more(measured, algorithm)));
    targets
}

fn faster(measured: &Measured, algorithm: Algorithm) -> Target {
    let group = format!("set/mint/{}", algorithm.id());
    let times = measured.times(
        &format!("{group}/jsonwebtoken-aws-lc"),
        &format!("{group}/m2m-aws-lc"),
    );
    Target {
        what: format!(
            "mint a SET, {}, beside jsonwebtoken with serde_json, both on aws-lc-rs",
            algorithm.name()
        ),
        wanted: "≥ 1.4 × faster".into(),
        measured: shown(times, |times| format!("{times:.2} ×")),
        reached: times.map(|times| times >= 1.4),
    }
}

/// Beyond the signature, as we make it and as ring does.
fn one_more(measured: &Measured, algorithm: Algorithm) -> Target {
    let row = |library: &str| measured.row(&format!("set/mint/{}/{library}", algorithm.id()));
    let more = row("m2m-audience-more")
        .zip(row("m2m-sign"))
        .zip(row("ring"))
        .map(|((more, sign), ring)| {
            let beyond = |ratio: f64| (more.ratio - ratio) * ring.calm;
            (beyond(sign.ratio), beyond(1.0))
        });
    Target {
        what: format!(
            "one audience more for the same event, {}, beyond its signature",
            algorithm.name()
        ),
        wanted: "≤ 0.3 µs".into(),
        measured: shown(more, |(beyond, raw)| {
            format!(
                "{:.2} µs ({:.2} µs beyond raw ring, which wipes nothing)",
                beyond / 1e3,
                raw / 1e3
            )
        }),
        reached: more.map(|(beyond, _)| beyond <= 300.0),
    }
}
