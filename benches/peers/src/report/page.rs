//! The page `docs/BENCHMARKS.md`.

use std::fmt::Write as _;

use super::Measured;
use super::chart::{label, time};
use super::machine::Machine;
use super::targets::{Target, targets};
use super::{pki, store};
use crate::fixture::Algorithm;
use crate::measure::Row;

pub(super) fn page(measured: &Measured) -> String {
    let mut page = introduction(&Machine::this());
    target_table(&mut page, measured);
    page.push_str(
        "\n## Verify\n\n![Cost of verifying, by algorithm and library](benchmarks.svg)\n",
    );
    for algorithm in Algorithm::ALL {
        table(
            &mut page,
            measured,
            algorithm.name(),
            &format!("token/verify/{}", algorithm.id()),
        );
    }
    page.push_str(
        "\n## Mint\n\nThe raw rows sign a prepared input; the others build the token too.\n",
    );
    for algorithm in Algorithm::ALL {
        table(
            &mut page,
            measured,
            algorithm.name(),
            &format!("token/mint/{}", algorithm.id()),
        );
    }
    sets(&mut page, measured);
    others(&mut page, measured);
    pki::section(&mut page, &measured.pki);
    store::section(&mut page, measured.store.as_ref());
    page.push_str(METHOD);
    page
}

fn introduction(machine: &Machine) -> String {
    let Machine {
        processor,
        cores,
        sha_ni,
        avx512,
        compiler,
        commit,
        date,
    } = machine;
    let with = |present: &bool| if *present { "with" } else { "without" };
    format!(
        "# Benchmarks\n\n\
         Written by `m2m-peers report`; not edited by hand.\n\n\
         | | |\n|---|---|\n\
         | machine | {processor}, {cores} virtual cores, {} SHA-NI, {} AVX-512 |\n\
         | compiler | {compiler}, `lto = \"thin\"`, one codegen unit, no `target-cpu` |\n\
         | commit | {commit} |\n\
         | date | {date} |\n\n\
         To repeat: `cargo run --release --manifest-path benches/peers/Cargo.toml -- report` \
         (what it needs is in [its README](../benches/peers/README.md)).\n\n\
         ## Targets\n\n",
        with(sha_ni),
        with(avx512),
    )
}

fn target_table(page: &mut String, measured: &Measured) {
    page.push_str("| what | wanted | measured | |\n|---|---|---|---|\n");
    for target in targets(measured) {
        let _ = writeln!(page, "{}", target_row(&target));
    }
}

pub(super) fn target_row(target: &Target) -> String {
    let verdict = match target.reached {
        Some(true) => "reached",
        Some(false) => "**not reached**",
        None => "–",
    };
    format!(
        "| {} | {} | {} | {verdict} |",
        target.what, target.wanted, target.measured
    )
}

fn table(page: &mut String, measured: &Measured, title: &str, group: &str) {
    let rows: Vec<&Row> = measured.group(group).collect();
    let Some(raw) = rows.first() else { return };
    let _ = write!(
        page,
        "\n### {title}\n\n\
         | | calm | × raw ring | instructions | × raw ring | allocations |\n\
         |---|---:|---:|---:|---:|---:|\n"
    );
    for row in &rows {
        let library = row.id.rsplit('/').next().unwrap_or_default();
        let by_count = row
            .instructions
            .zip(raw.instructions)
            .map_or("–".to_owned(), |(own, raw)| {
                format!("{:.3}", own as f64 / raw as f64)
            });
        let _ = writeln!(
            page,
            "| {} | {} | {:.3} | {} | {by_count} | {:.0} |",
            label(library),
            time(row.calm),
            row.ratio,
            grouped(row.instructions),
            row.allocations,
        );
    }
}

fn sets(page: &mut String, measured: &Measured) {
    page.push_str(
        "\n## Security Event Tokens\n\n\
         A SET of CAEP with a complex subject and all optional members. Ours is held against every rule of SSF 1.0 \
         and comes out typed; jsonwebtoken checks issuer and audience and fills a struct for this one event. \
         `m2m-sign` is our bare signature, which wipes the memory that ring went through, and `m2m-audience-more` the \
         same event for one audience more.\n",
    );
    for (kind, title) in [("receive", "Receive"), ("mint", "Mint")] {
        for algorithm in crate::sets::ALGORITHMS {
            table(
                page,
                measured,
                &format!("{title}, {}", algorithm.name()),
                &format!("set/{kind}/{}", algorithm.id()),
            );
        }
    }
}

/// Groups that have no table of their own: revocation, refusals, secrets, signed messages.
fn others(page: &mut String, measured: &Measured) {
    let rows: Vec<&Row> = measured
        .rows
        .iter()
        .filter(|row| {
            let tables = ["token/verify/", "token/mint/", "set/"];
            !tables.iter().any(|table| row.id.starts_with(table))
        })
        .collect();
    if rows.is_empty() {
        return;
    }
    page.push_str(
        "\n## Revocation, refusal and secrets\n\n\
         | | calm | × first of its group | instructions | allocations |\n|---|---:|---:|---:|---:|\n",
    );
    for row in rows {
        let _ = writeln!(
            page,
            "| `{}` | {} | {:.3} | {} | {:.0} |",
            row.id,
            time(row.calm),
            row.ratio,
            grouped(row.instructions),
            row.allocations,
        );
    }
}

/// `1234567` as `1,234,567`.
pub(super) fn grouped(number: Option<u64>) -> String {
    let Some(number) = number else {
        return "–".to_owned();
    };
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

const METHOD: &str = "
## How it is measured

Every contender gets the same access token (443 bytes of claims; 708 bytes with HS256, 751 with ES256
and EdDSA, 1007 with RS256), checks the signature, `iss`, `aud`, `exp` and `nbf`, and hands out all
claims: m2m as borrowed values, the others in a struct. The raw rows check the signature alone, over a
token that was split and decoded beforehand. Before anything is timed it must succeed, and must refuse
the token with one bit flipped in the header, in the payload and in the signature.

Contenders of a table run interleaved, a few milliseconds each per round, in an order that turns. *Calm*
is the best round; *× raw ring* is the median over the rounds of the ratio in the same round. Trust the
ratios and the instructions more than the times.

Instructions are counted by callgrind, whose processor has AVX2 but neither SHA-NI nor AVX-512. Where the
real one hashes in hardware, a hash takes about a quarter of the time its instructions suggest, and all
that is not hashing weighs more: HS256 is harder by the clock than by the count. Its limit was set where
SHA-256 is done in software; the row *without instructions for SHA-256* is that case by the clock, on
aws-lc-rs, which can be told not to use them (`OPENSSL_ia32cap`), on both sides.

What is durable is timed by the clock on the wall: callers and redb take turns, less than half a second each,
on one file system, and the ratio is the median over the turns. A disk that syncs in no time would leave only
the processor's work, of which sealing, the feed and idempotency keys are a good part: with `M2M_STORE_DIR` on a
file system in memory, `m2m-peers store commits 10` tells that ratio.

Allocations are those of Rust code; what AWS-LC and OpenSSL take from C is not counted. jsonwebtoken runs
with both of its back ends in one process and is told to require `iss`, `aud` and `nbf`; jwt-simple runs
on its pure Rust back end; josekit on the system's OpenSSL.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        assert_eq!(grouped(Some(999)), "999");
        assert_eq!(grouped(Some(1_234_567)), "1,234,567");
        assert_eq!(grouped(None), "–");
    }
}
