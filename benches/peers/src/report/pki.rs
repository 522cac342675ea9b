//! What the page says of certificates and revocation lists.

use std::fmt::Write as _;

use super::targets::{Target, shown};
use crate::pki::Said;

pub(super) fn targets(said: &Said) -> Vec<Target> {
    let at_most = |what, limits, name| at_most(what, limits, said.figure(name));
    let look_up = said.figure("lookup_webpki_vs_index");
    vec![
        at_most(
            "mutual TLS with 1,000,000 revoked ÷ the same without revocation",
            ("≤ 1.03", 1.03, " ×"),
            "handshake_revocation_vs_none",
        ),
        at_most(
            "mutual TLS, intermediates known to both sides, with CRLs ÷ stock rustls without",
            ("≤ 0.90", 0.90, " ×"),
            "handshake_cached_vs_stock",
        ),
        at_most(
            "resumed handshake with revocation ÷ without",
            ("≤ 1.03", 1.03, " ×"),
            "resumed_revocation_vs_none",
        ),
        at_most(
            "revoke a peer → its connection is closed",
            ("< 10 ms", 10.0, " ms"),
            "revoke_to_closed_ms",
        ),
        Target {
            what: "not revoked, among 1,000,000: rustls-webpki's owned CRL ÷ index".into(),
            wanted: "≥ 10 ×".into(),
            measured: shown(look_up, |times| format!("{times:.1} ×")),
            reached: look_up.map(|times| times >= 10.0),
        },
        at_most(
            "memory of a CRL's index",
            ("≤ 20 bytes an entry", 20.0, " bytes"),
            "index_bytes_per_entry",
        ),
        at_most(
            "open an index of 1,000,000 → the first right answer",
            ("< 1 ms", 1.0, " ms"),
            "index_first_answer_ms",
        ),
        at_most(
            "rebuild and sign a CRL of 1,000,000 ÷ SHA-256 of it",
            ("≤ 1.5", 1.5, " ×"),
            "crl_rebuild_vs_sha256",
        ),
        at_most(
            "revoke one, with 256 shards → its shard is signed",
            ("≤ 1 ms", 1.0, " ms"),
            "crl_shard_ms",
        ),
        at_most(
            "issue from a request ÷ (verify + sign)",
            ("≤ 1.10", 1.10, " ×"),
            "issue_vs_verify_and_sign",
        ),
    ]
}

fn at_most(what: &str, (wanted, limit, unit): (&str, f64, &str), value: Option<f64>) -> Target {
    Target {
        what: what.into(),
        wanted: wanted.into(),
        measured: shown(value, |value| format!("{value:.3}{unit}")),
        reached: value.map(|value| value <= limit),
    }
}

const TITLE: &str = "\n## Certificates and revocation lists\n";

pub(super) fn section(page: &mut String, said: &Said) {
    let tables = said.tables();
    if tables.is_empty() {
        return;
    }
    let _ = write!(
        page,
        "{TITLE}\n![Handshakes, look-ups and reading of lists, beside others]({})\n",
        super::PKI_CHART
    );
    for (example, table) in tables {
        let _ = write!(
            page,
            "\n`cargo run --release -p m2m-pki --features rustls --example {example}`\n\n\
             ```text\n{}\n```\n",
            table.trim_end()
        );
    }
}

/// `page` with this section and these targets in the place of those that it has.
pub(super) fn rewritten(page: &str, said: &Said) -> Option<String> {
    let begin = page.find(TITLE)?;
    let behind = page.get(begin + TITLE.len()..)?;
    let rest = behind.get(behind.find("\n## ")?..)?;
    let mut whole = page.get(..begin)?.to_owned();
    for target in targets(said) {
        let from = whole.find(&format!("| {} |", target.what))?;
        let to = from + whole.get(from..)?.find('\n')?;
        whole.replace_range(from..to, &super::page::target_row(&target));
    }
    section(&mut whole, said);
    whole.push_str(rest);
    Some(whole)
}
