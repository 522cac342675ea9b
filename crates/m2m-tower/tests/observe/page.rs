//! `docs/OBSERVABILITY.md` names all that there is with all features, and nothing else.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use m2m_guard::Check;
use m2m_tower::{Metrics, Refused, Task, TaskReporter};

use crate::recorder::Recording;
use crate::support::*;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of the tables under a heading, as cells.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let page = read("../../docs/OBSERVABILITY.md");
    let section = page
        .split("\n## ")
        .find(|section| section.starts_with(heading))
        .unwrap_or_else(|| panic!("no section {heading}"))
        .to_owned();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells = row.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().to_owned()).collect()
    })
    .collect()
}

/// The words in backticks.
fn words(cell: &str) -> Vec<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn firsts(heading: &str) -> BTreeSet<String> {
    let firsts = rows(heading);
    firsts.iter().flat_map(|row| words(&row[0])).collect()
}

fn owned<'w>(words: impl IntoIterator<Item = &'w str>) -> BTreeSet<String> {
    words.into_iter().map(str::to_owned).collect()
}

#[test]
fn each_reason_of_a_refusal_is_explained_and_none_is_made_up() {
    let mut explained = BTreeSet::new();
    for row in rows("Why requests are refused") {
        let [reason, details, meaning, remedy] = &row[..] else {
            panic!("{row:?}");
        };
        assert!(meaning.len() > 10 && remedy.len() > 3, "{row:?}");
        let details = match words(details) {
            none if none.is_empty() => vec![String::new()],
            details => details,
        };
        for detail in details {
            let pair = (words(reason)[0].clone(), detail);
            assert!(explained.insert(pair.clone()), "twice: {pair:?}");
        }
    }
    let known: BTreeSet<_> = Refused::codes()
        .map(|(code, detail)| (code.to_owned(), detail.to_owned()))
        .collect();
    let missing: Vec<_> = known.difference(&explained).collect();
    let made_up: Vec<_> = explained.difference(&known).collect();
    assert!(
        missing.is_empty() && made_up.is_empty(),
        "missing: {missing:?}, made up: {made_up:?}"
    );
    assert_eq!(firsts("The checks"), owned(Check::CODES.iter().copied()));
}

#[test]
fn each_metric_stands_in_the_page_with_its_kind_unit_and_labels() {
    let known: BTreeSet<_> = Metrics::ALL
        .iter()
        .map(|info| {
            let kind = format!("{:?}", info.kind).to_lowercase();
            let labels: Vec<_> = info
                .labels
                .iter()
                .map(|label| (*label).to_owned())
                .collect();
            (info.name.to_owned(), kind, info.unit.to_owned(), labels)
        })
        .collect();
    let explained: BTreeSet<_> = rows("Metrics")
        .iter()
        .map(|row| {
            let [name, kind, unit, labels, meaning, remedy] = &row[..] else {
                panic!("{row:?}");
            };
            assert!(meaning.len() > 5 && !remedy.is_empty(), "{row:?}");
            (
                words(name)[0].clone(),
                kind.clone(),
                unit.clone(),
                words(labels),
            )
        })
        .collect();
    assert_eq!(known, explained);
    assert_eq!(known.len(), Metrics::ALL.len(), "each once");
}

/// What is made when all of it is used is what is listed.
#[test]
fn what_is_listed_is_what_is_made() {
    let recording = Recording::new();
    let metrics = Metrics::recording_to(Arc::<Recording>::clone(&recording));
    let world = World::new();
    let guard = world.bearer();
    let guard = guard.build().unwrap();
    metrics.record_guard(&guard, now());
    let cached = m2m_guard::Guard::builder(m2m_guard::AllowList::new())
        .with_bearer_tokens(
            world
                .verifier()
                .with_cache(1 << 16, &m2m_crypto::SystemRandom)
                .unwrap(),
            m2m_guard::Freshness::in_process(),
        )
        .danger_without_revocations()
        .build()
        .unwrap();
    metrics.record_guard(&cached, now());
    metrics.record_revocations(&world.revocations.stats());
    metrics.record_certificate("identity", now());
    let _ = metrics.store("state");
    let _ = TaskReporter::new(Task::KeyFetch).with_metrics(&metrics);
    let _ = metrics.tls_observer();
    let mut made: BTreeSet<_> = recording
        .names()
        .iter()
        .map(|name| name.split('{').next().unwrap().to_owned())
        .collect();
    // An acceptor makes these, which tests/tls.rs has.
    made.extend(owned(["m2m_handshakes_total", "m2m_handshake_seconds"]));
    assert_eq!(made, owned(Metrics::ALL.iter().map(|info| info.name)));
    let described = recording.described();
    assert_eq!(described.len(), Metrics::ALL.len());
    for info in Metrics::ALL {
        let (kind, unit) = &described[info.name];
        assert_eq!(*kind, format!("{:?}", info.kind).to_lowercase());
        // Prometheus' conventions, which exporters do not add.
        let name = info.name;
        assert_eq!(name.ends_with("_total"), *kind == "counter", "{name}");
        assert_eq!(name.ends_with("_seconds"), info.unit == "s", "{name}");
        assert_eq!(name.contains("_bytes"), info.unit == "By", "{name}");
        assert!(unit.is_some() && name.starts_with("m2m_"), "{name}");
        for full in recording.names() {
            if full.split('{').next() != Some(name) {
                continue;
            }
            let labels = full.split(['{', ',']).skip(1);
            let labels: Vec<_> = labels.filter_map(|label| label.split('=').next()).collect();
            assert_eq!(labels, info.labels, "{full}");
        }
    }
}

#[test]
fn each_task_event_and_span_stands_in_the_page() {
    assert_eq!(
        firsts("Tasks in the background"),
        owned(Task::CODES.iter().copied())
    );
    let source = read("src/observe/events.rs");
    let named = source.split('"').skip(1).step_by(2);
    let named = owned(named.filter(|text| text.starts_with("m2m.")));
    assert_eq!(firsts("Events and spans"), named);
    assert!(named.len() >= 4, "{named:?}");
}
