//! Writes what was measured to `docs/`: a page of tables and a chart.

mod chart;
mod machine;
mod page;
mod pki;
mod pki_chart;
mod secrets;
mod sets;
mod store;
mod targets;

use std::fs;
use std::io;
use std::path::Path;

use crate::measure::Row;
use crate::pki::Said;
use crate::store::Figures;
use targets::{Target, shown};

/// Everything the report is made of.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// One row per contender, groups together.
    pub rows: Vec<Row>,
    /// What is not a time of one operation.
    pub facts: Facts,
    /// What keeping state costs.
    pub store: Option<Figures>,
    /// HS256 without instructions for SHA-256 ÷ the bare HMAC.
    pub software: Option<f64>,
    /// What certificates and revocation lists cost.
    pub pki: Said,
}

/// Measurements that are not the cost of one operation of one contender.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Bytes of the revocation set per entry.
    pub revocation_bytes_per_entry: Option<f64>,
    /// Look-up time while a writer swaps snapshots, divided by that without a writer.
    pub lookup_beside_writer: Option<f64>,
    /// Warm verification on two threads.
    pub threads: Option<Threads>,
}

/// Throughput of two threads divided by that of one.
#[derive(Clone, Copy, Debug)]
pub struct Threads {
    /// Both use one verifier and one cache.
    pub shared: f64,
    /// Each has its own: what the machine allows.
    pub apart: f64,
}

impl Measured {
    fn row(&self, id: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.id == id)
    }

    /// The rows of one group, in the order they were measured.
    fn group<'a>(&'a self, group: &'a str) -> impl Iterator<Item = &'a Row> {
        self.rows
            .iter()
            .filter(move |row| crate::contender::group(&row.id) == group)
    }

    /// How many times the cost of `other` is that of `id`; both in one group.
    fn times(&self, id: &str, other: &str) -> Option<f64> {
        Some(self.row(id)?.ratio / self.row(other)?.ratio)
    }
}

impl Measured {
    /// That the contender `id` takes at most `limit` times as long as ring in its group.
    fn beside_ring(&self, id: &str, what: String, limit: f64) -> Target {
        let ours = self.row(id);
        let by_count = ours.and_then(|ours| {
            let group = crate::contender::group(id);
            let ring = self.row(&format!("{group}/ring"))?.instructions?;
            Some(ours.instructions? as f64 / ring as f64)
        });
        Target {
            what,
            wanted: format!("≤ {limit:.2} × raw ring"),
            measured: shown(ours, |ours| {
                let by_count = by_count.map_or(String::new(), |ratio| {
                    format!(" (instructions {ratio:.3} ×)")
                });
                format!("{:.3} ×{by_count}", ours.ratio)
            }),
            reached: ours.map(|ours| ours.ratio <= limit),
        }
    }
}

/// The picture of what certificates and revocation lists cost, beside the page.
const PKI_CHART: &str = "benchmarks-pki.svg";

/// Puts what was measured of certificates and revocation lists into the page that is there: its targets, its
/// section and its picture. The rest stays.
///
/// # Errors
///
/// If the page cannot be read or written, or has no such part.
pub fn rewrite_pki(said: &Said) -> io::Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let page = fs::read_to_string(docs.join("BENCHMARKS.md"))?;
    let page = pki::rewritten(&page, said)
        .ok_or_else(|| io::Error::other("the page has no part of certificates"))?;
    if let Some(chart) = pki_chart::draw(said) {
        fs::write(docs.join(PKI_CHART), chart)?;
    }
    fs::write(docs.join("BENCHMARKS.md"), page)
}

/// What the page would say of certificates and revocation lists.
pub fn of_pki(said: Said) -> String {
    let mut page = lines(pki::targets(&said));
    pki::section(&mut page, &said);
    page
}

/// What the page would say of stores.
pub fn of_store(figures: Figures) -> String {
    let mut page = lines(store::targets(Some(&figures)));
    store::section(&mut page, Some(&figures));
    page
}

/// The targets that the measured rows decide; nothing is said of those that were not measured.
pub fn of_rows(rows: Vec<Row>) -> String {
    let measured = Measured {
        rows,
        ..Measured::default()
    };
    let targets = targets::targets(&measured).into_iter();
    lines(targets.filter(|target| target.reached.is_some()).collect())
}

fn lines(targets: Vec<Target>) -> String {
    targets
        .iter()
        .map(|target| {
            let Target {
                what,
                wanted,
                measured,
                ..
            } = target;
            format!("{what}: {measured} ({wanted})\n")
        })
        .collect()
}

/// Writes `BENCHMARKS.md` and `benchmarks.svg` into the repository's `docs`.
///
/// # Errors
///
/// When the files cannot be written.
pub fn write(measured: &Measured) -> io::Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    fs::create_dir_all(&docs)?;
    fs::write(docs.join("benchmarks.svg"), chart::draw(measured))?;
    if let Some(chart) = pki_chart::draw(&measured.pki) {
        fs::write(docs.join(PKI_CHART), chart)?;
    }
    fs::write(docs.join("BENCHMARKS.md"), page::page(measured))
}
