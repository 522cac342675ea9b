//! What the page says of stores.

use std::fmt::Write as _;

use super::chart::time;
use super::targets::Target;
use crate::store::Figures;
use crate::store::compare::ROWS;

pub(super) fn targets(figures: Option<&Figures>) -> Vec<Target> {
    let Some(figures) = figures else {
        return Vec::new();
    };
    let commits = &figures.commits;
    let reopen = &figures.reopen;
    let rate = 1.0 / figures.feed.single;
    let in_memory = 1.0 / figures.feed_in_memory.single;
    vec![
        Target {
            what: "durable commits a second, 64 callers that wait".into(),
            wanted: "≥ 0.8 × bare redb, 64 in a transaction".into(),
            measured: format!(
                "{:.2} × as threads, {:.2} × as tasks on one thread ({:.0}/s and {:.0}/s; a sync takes {})",
                commits.threads_ratio,
                commits.tasks_ratio,
                commits.threads,
                commits.tasks,
                seconds(figures.sync),
            ),
            reached: Some(commits.threads_ratio.min(commits.tasks_ratio) >= 0.8),
        },
        Target {
            what: format!(
                "reopen with {} revocations, to the first right answer",
                thousands(reopen.revocations)
            ),
            wanted: "< 1 s".into(),
            measured: format!(
                "{:.2} s, {:.2} s of processor time ({:.2} and {:.2} s to open the file)",
                reopen.answered, reopen.answered_processor, reopen.opened, reopen.opened_processor
            ),
            reached: Some(reopen.answered < 1.0),
        },
        Target {
            what: "follow the feed, change by change".into(),
            wanted: "≥ 10,000 changes a second on one core".into(),
            measured: format!("{rate:.0}/s from a file, {in_memory:.0}/s from memory"),
            reached: Some(rate.min(in_memory) >= 10_000.0),
        },
    ]
}

pub(super) fn section(page: &mut String, figures: Option<&Figures>) {
    let Some(figures) = figures else { return };
    let commits = &figures.commits;
    let _ = write!(
        page,
        "\n## Keeping state\n\n\
         On {}, where a sync of one page takes {}. Keys of 16 bytes that lie scattered, values of 100 bytes.\n\n\
         | | |\n|---|---:|\n\
         | commits a second, 64 tasks on one thread | {:.0} ({:.1} share a transaction) |\n\
         | commits a second, 64 threads | {:.0} |\n\
         | rows a second, bare redb, 64 in a transaction | {:.0} |\n\
         | commit, a caller alone | {} |\n\
         | commit, bare redb, one row | {} |\n\
         | follow from a file, a thousand at a time | {} a change |\n\
         | follow from a file, one at a time | {} a change |\n\
         | follow from memory, one at a time | {} a change |\n\
         | file of {} revocations | {} MB |\n",
        figures.file_system,
        seconds(figures.sync),
        commits.tasks,
        commits.per_group,
        commits.threads,
        commits.bare,
        seconds(commits.alone),
        seconds(commits.bare_alone),
        seconds(figures.feed.backlog),
        seconds(figures.feed.single),
        seconds(figures.feed_in_memory.single),
        thousands(figures.reopen.revocations),
        figures.reopen.bytes / 1_000_000,
    );
    engines(page, figures);
}

fn engines(page: &mut String, figures: &Figures) {
    let _ = write!(
        page,
        "\nThe engines with {} such rows, every commit synced: redb in two phases, SQLite with a write-ahead log and \
         `synchronous=FULL`, fjall with `SyncAll`, 64 MiB of cache each. `m2m` is `EmbeddedStore`, which seals and \
         keeps the feed. Reading is processor time, files are in the page cache.\n\n\
         | | one durable row | 64 in a transaction | read a row | scan, a row | open, closed before | open, killed before | files |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|\n",
        thousands(ROWS),
    );
    for engine in &figures.engines {
        let _ = writeln!(
            page,
            "| {} | {} | {:.0} rows/s | {} | {} | {} | {} | {} MB |",
            engine.name,
            seconds(engine.one),
            engine.sixty_four,
            seconds(engine.get),
            seconds(engine.scan),
            seconds(engine.reopen),
            seconds(engine.reopen_killed),
            engine.bytes / 1_000_000,
        );
    }
}

fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => time(s * 1e9),
        s => format!("{s:.2} s"),
    }
}

fn thousands(number: u64) -> String {
    super::page::grouped(Some(number))
}
