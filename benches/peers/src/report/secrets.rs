//! What the page says of shared secrets, API keys and signed messages.

use super::Measured;
use super::targets::{NO_ALLOCATION, Target, shown};

pub(super) fn targets(measured: &Measured) -> Vec<Target> {
    let ours = |id: &str, what: &str, limit| measured.beside_ring(id, what.to_owned(), limit);
    vec![
        by_key_id(measured, "one", "always the same secret"),
        by_key_id(measured, "all", "100,000 secrets in turn"),
        ours(
            "webhook/verify/v1/m2m",
            "verify a webhook (Standard Webhooks)",
            1.35,
        ),
        faster(
            measured,
            "verify a webhook beside `standardwebhooks`",
            (
                "webhook/verify/v1/standardwebhooks",
                "webhook/verify/v1/m2m",
            ),
            2.3,
        ),
        ours(
            "http-signature/verify/hmac/m2m",
            "verify an HTTP message (RFC 9421) from its headers",
            1.6,
        ),
        faster(
            measured,
            "verify an HTTP message beside `httpsig`",
            (
                "http-signature/verify/hmac/httpsig",
                "http-signature/verify/hmac/m2m",
            ),
            4.5,
        ),
        ours(
            "api-key/check/one/m2m",
            "check an API key among 100,000, always the same",
            1.15,
        ),
        ours(
            "api-key/check/all/m2m",
            "check an API key among 100,000, each in turn",
            1.15,
        ),
        malformed(measured),
        ours(
            "pair-key/verify/hmac/m2m",
            "derive the key of a pair and verify, nothing stored",
            1.9,
        ),
    ]
}

fn by_key_id(measured: &Measured, group: &str, which: &str) -> Target {
    let id = format!("secret/verify/{group}/m2m");
    let mut target = measured.beside_ring(&id, format!("verify by key id, {which}"), 1.05);
    target.wanted.push_str(", 0 allocations");
    if let Some(row) = measured.row(&id) {
        let allocates = row.allocations >= NO_ALLOCATION;
        target.reached = target.reached.map(|reached| reached && !allocates);
        target
            .measured
            .push_str(&format!(", {:.0} allocations", row.allocations));
    }
    target
}

/// Before any hash: what is malformed costs less than one.
fn malformed(measured: &Measured) -> Target {
    let group = "api-key/refuse/malformed";
    let dearest = measured
        .group(group)
        .filter(|row| !row.id.ends_with("/ring"))
        .max_by(|one, other| one.ratio.total_cmp(&other.ratio));
    Target {
        what: "refuse what is malformed as an API key".into(),
        wanted: "before any hash".into(),
        measured: shown(dearest, |row| {
            format!("{:.2} × one hash ({:.0} ns)", row.ratio, row.calm)
        }),
        reached: dearest.map(|row| row.ratio < 1.0),
    }
}

fn faster(measured: &Measured, what: &str, (peer, ours): (&str, &str), limit: f64) -> Target {
    let times = measured.times(peer, ours);
    Target {
        what: what.into(),
        wanted: format!("≥ {limit:.1} × faster"),
        measured: shown(times, |times| format!("{times:.2} ×")),
        reached: times.map(|times| times >= limit),
    }
}
