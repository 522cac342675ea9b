//! What the page says of certificates and revocation lists.

use std::fmt::Write as _;

use super::targets::{Target, shown};
use crate::pki::Said;

pub(super) fn targets(said: &Said) -> Vec<Target> {
    let handshake = |title, label| first(said.of_handshake(title, label));
    let crl = |label| first(said.of_crl(label));
    let (full, resumed) = ("full handshake", "resumed handshake");
    vec![
        at_most(
            "mutual TLS with 1,000,000 revoked ÷ the same without revocation",
            ("≤ 1.03", 1.03, " ×"),
            handshake(full, "with revocation ÷ without"),
        ),
        at_most(
            "mutual TLS, intermediates known to both sides, with CRLs ÷ stock rustls without",
            ("≤ 0.90", 0.90, " ×"),
            handshake(full, "intermediates cached, with CRLs ÷ stock without"),
        ),
        at_most(
            "resumed handshake with revocation ÷ without",
            ("≤ 1.03", 1.03, " ×"),
            handshake(resumed, "with revocation ÷ without"),
        ),
        at_most(
            "revoke a peer → its connection is closed",
            ("< 10 ms", 10.0, " ms"),
            // Behind the numbers of connections and of peers.
            said.of_handshake("revoke one peer", "1 connections of")
                .and_then(|numbers| numbers.get(1).copied()),
        ),
        at_most(
            "memory of a CRL's index",
            ("≤ 20 bytes an entry", 20.0, " bytes"),
            crl("bytes an entry in the index"),
        ),
        at_most(
            "open an index of 1,000,000 → the first right answer",
            ("< 1 ms", 1.0, " ms"),
            crl("open and first answer"),
        ),
        at_most(
            "rebuild and sign a CRL of 1,000,000 ÷ SHA-256 of it",
            ("≤ 1.5", 1.5, " ×"),
            crl("rebuild and sign / SHA-256 of it"),
        ),
        at_most(
            "revoke one, with 256 shards → its shard is signed",
            ("≤ 1 ms", 1.0, " ms"),
            crl("revoke one of 256 shards and sign it"),
        ),
    ]
}

fn first(numbers: Option<Vec<f64>>) -> Option<f64> {
    numbers?.first().copied()
}

fn at_most(what: &str, (wanted, limit, unit): (&str, f64, &str), value: Option<f64>) -> Target {
    Target {
        what: what.into(),
        wanted: wanted.into(),
        measured: shown(value, |value| format!("{value:.3}{unit}")),
        reached: value.map(|value| value <= limit),
    }
}

pub(super) fn section(page: &mut String, said: &Said) {
    let programs = [("handshake_cost", &said.handshake), ("crl_cost", &said.crl)];
    if programs.iter().all(|(_, said)| said.is_none()) {
        return;
    }
    page.push_str("\n## Certificates and revocation lists\n");
    for (example, said) in programs {
        let Some(said) = said else { continue };
        let _ = write!(
            page,
            "\n`cargo run --release -p m2m-pki --features rustls --example {example}`\n\n\
             ```text\n{}\n```\n",
            said.trim_end()
        );
    }
}
