//! Many at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::feed::apply;
use super::setting::{Setting, expect_eq, expect_ok, idempotency_key, key, part, space};
use super::{Case, Violation};
use crate::{
    Batch, Change, Committed, Cursor, Expected, Follower, Key, Revision, Scan, Step, StoreError,
};

pub(super) const CASES: &[Case] = cases![
    "STO-020 of many who claim one key at once, one gets it" => one_winner,
    "STO-020 of an update and a deletion at once, one happens" => update_or_delete,
    "STO-018 the same batch from many at once happens once" => same_batch,
    "different batches under one idempotency key: one happens" => same_key,
    "those who write different records do not hinder each other" => no_false_conflict,
    "no increment of many is lost" => increments,
    "whoever looks while others write sees whole commits" => whole_states,
    "what was acknowledged is read by all" => read_what_was_written,
    "a follower sees versions only rise, and ends with what is there" => follower_converges,
];

const RACERS: u64 = 32;

async fn one_winner(setting: Setting) -> Result<(), Violation> {
    for round in 0..5_u64 {
        let key = key(&space("a")?, round.to_be_bytes())?;
        let racers = (0..RACERS).map(|racer| {
            let (setting, key) = (setting.clone(), key.clone());
            let name = idempotency_key(round * RACERS + racer);
            let value = racer.to_be_bytes().as_slice().to_vec();
            let claim = Batch::new(name).put(key, Expected::Absent, value);
            part(async move { setting.commit_surely(claim).await })
        });
        let answers = setting.at_once(racers).await?;
        let winners = answers.iter().zip(0_u64..);
        let winners: Vec<_> = winners
            .filter_map(|(answer, racer)| Some((answer.as_ref().ok()?, racer)))
            .collect();
        expect_eq("winners", &1, &winners.len())?;
        for (winner, racer) in winners {
            let record = setting.get(&key).await?;
            let found = record
                .as_ref()
                .map(|record| (record.version(), record.value().as_bytes()));
            let expected = (winner.revision(), racer.to_be_bytes());
            expect_eq(
                "who has it",
                &Some((expected.0, expected.1.as_slice())),
                &found,
            )?;
            let lost = StoreError::Conflict {
                key: key.clone(),
                expected: Expected::Absent,
                found: Some(winner.revision()),
            };
            for loser in answers.iter().filter(|answer| answer.is_err()) {
                expect_eq("a loser's answer", &Err(lost.clone()), loser)?;
            }
        }
    }
    Ok(())
}

async fn update_or_delete(setting: Setting) -> Result<(), Violation> {
    for round in 0..10_u64 {
        let key = key(&space("a")?, round.to_be_bytes())?;
        let create = Batch::new(idempotency_key(round * 100));
        let version = setting
            .commit(create.put(key.clone(), Expected::Absent, vec![0]))
            .await?;
        let expected = Expected::Version(version);
        let racers = (1..=8_u64).map(|racer| {
            let (setting, key) = (setting.clone(), key.clone());
            let batch = Batch::new(idempotency_key(round * 100 + racer));
            let batch = match racer % 2 {
                0 => batch.put(key, expected, vec![1]),
                _ => batch.delete(key, expected),
            };
            part(async move { setting.commit_surely(batch).await })
        });
        let answers = setting.at_once(racers).await?;
        let happened: Vec<_> = (1..=8_u64)
            .zip(&answers)
            .filter(|(_, answer)| answer.is_ok())
            .collect();
        expect_eq("how many happened", &1, &happened.len())?;
        let put = happened.iter().any(|(racer, _)| racer % 2 == 0);
        let there = setting.get(&key).await?.is_some();
        expect_eq("that it is there if it was updated", &put, &there)?;
    }
    Ok(())
}

async fn same_batch(setting: Setting) -> Result<(), Violation> {
    for round in 0..5_u64 {
        let key = key(&space("a")?, round.to_be_bytes())?;
        let batch = Batch::new(idempotency_key(round)).put(key, Expected::Absent, vec![1]);
        let racers = (0..RACERS).map(|_| {
            let (setting, batch) = (setting.clone(), batch.clone());
            part(async move { setting.commit_surely(batch).await })
        });
        let answers = setting.at_once(racers).await?;
        let mut revisions = BTreeSet::new();
        let mut first = 0;
        for answer in answers {
            let committed = expect_ok("the same batch", answer)?;
            revisions.insert(committed.revision());
            first += usize::from(!committed.was_repeated());
        }
        expect_eq("its revisions", &1, &revisions.len())?;
        expect_eq("how many were told that they were first", &1, &first)?;
    }
    Ok(())
}

async fn same_key(setting: Setting) -> Result<(), Violation> {
    let a = space("a")?;
    let mut racers = Vec::new();
    for racer in 0..RACERS {
        let setting = setting.clone();
        let key = key(&a, racer.to_be_bytes())?;
        let batch = Batch::new(idempotency_key(1)).put(key, Expected::Absent, vec![1]);
        racers.push(part(async move { setting.commit_surely(batch).await }));
    }
    let answers = setting.at_once(racers).await?;
    let written = setting.scan_all(&a).await?;
    let versions: Vec<_> = written.iter().map(|record| record.version()).collect();
    let happened: Vec<_> = answers
        .iter()
        .flatten()
        .map(|done| done.revision())
        .collect();
    expect_eq("the versions of what is there", &happened, &versions)?;
    expect_eq("how many happened", &1, &happened.len())?;
    for answer in answers {
        let refused = match &answer {
            Ok(_) => true,
            Err(StoreError::IdempotencyKeyReused { key, revision }) => {
                *key == idempotency_key(1) && happened.contains(revision)
            }
            Err(_) => false,
        };
        if !refused {
            let promise = "another batch under that key";
            return Err(Violation::new(promise, "a refusal", format!("{answer:?}")));
        }
    }
    Ok(())
}

async fn no_false_conflict(setting: Setting) -> Result<(), Violation> {
    let a = space("a")?;
    let shared = key(&a, b"shared")?;
    let put = Batch::new(idempotency_key(1)).put(shared.clone(), Expected::Absent, vec![1]);
    let version = setting.commit(put).await?;
    let mut racers = Vec::new();
    for racer in 0..RACERS {
        let setting = setting.clone();
        // All rely on the same record, which nobody changes.
        let batch = Batch::new(idempotency_key(2 + racer))
            .put(key(&a, racer.to_be_bytes())?, Expected::Absent, vec![1])
            .check(shared.clone(), Expected::Version(version));
        racers.push(part(async move { setting.commit_surely(batch).await }));
    }
    let mut revisions = BTreeSet::new();
    for answer in setting.at_once(racers).await? {
        revisions.insert(expect_ok("a batch that conflicts with none", answer)?.revision());
    }
    expect_eq(
        "revisions, each another one",
        &(RACERS as usize),
        &revisions.len(),
    )
}

async fn increments(setting: Setting) -> Result<(), Violation> {
    const WRITERS: u64 = 8;
    const EACH: u64 = 25;
    let key = key(&space("a")?, b"counter")?;
    let create = Batch::new(idempotency_key(0)).put(
        key.clone(),
        Expected::Absent,
        0_u64.to_be_bytes().as_slice(),
    );
    setting.commit(create).await?;
    let writers = (0..WRITERS).map(|writer| {
        let (setting, key) = (setting.clone(), key.clone());
        part(async move {
            let (mut done, mut tries) = (0, 0);
            while done < EACH {
                tries += 1;
                let name = idempotency_key((writer + 1) << 32 | tries);
                done += u64::from(increment(&setting, &key, name).await?);
            }
            Ok(())
        })
    });
    setting.at_once(writers).await?;
    let found = setting.get(&key).await?.map(|record| counter(&record));
    expect_eq("the counter", &Some(WRITERS * EACH), &found)
}

async fn increment(
    setting: &Setting,
    key: &Key,
    name: crate::IdempotencyKey,
) -> Result<bool, Violation> {
    let Some(record) = setting.get(key).await? else {
        return Err(Violation::new("the counter", "a record", "nothing"));
    };
    let next = counter(&record) + 1;
    let expected = Expected::Version(record.version());
    let batch = Batch::new(name).put(key.clone(), expected, next.to_be_bytes().as_slice());
    match setting.commit_surely(batch).await? {
        Ok(_) => Ok(true),
        Err(StoreError::Conflict { .. }) => Ok(false),
        Err(error) => Err(Violation::new(
            "an increment",
            "success or a conflict",
            error,
        )),
    }
}

fn counter(record: &crate::Record) -> u64 {
    let bytes = record.value().as_bytes().try_into();
    bytes.map(u64::from_be_bytes).unwrap_or(u64::MAX)
}

async fn whole_states(setting: Setting) -> Result<(), Violation> {
    let a = space("a")?;
    let keys = [key(&a, b"1")?, key(&a, b"2")?, key(&a, b"3")?];
    let writers_left = Arc::new(AtomicUsize::new(4));
    let mut parts = Vec::new();
    for writer in 0..4_u64 {
        let (setting, keys) = (setting.clone(), keys.clone());
        let left = writers_left.clone();
        parts.push(part(async move {
            for number in 0..40 {
                let mut batch = Batch::new(idempotency_key(writer * 1_000 + number));
                for key in keys.clone() {
                    batch = match number % 5 {
                        4 => batch.delete(key, Expected::Anything),
                        _ => batch.put(key, Expected::Anything, vec![number as u8]),
                    };
                }
                expect_ok("a write", setting.commit_surely(batch).await?)?;
            }
            left.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }));
    }
    for _ in 0..2 {
        let (setting, a) = (setting.clone(), a.clone());
        let left = writers_left.clone();
        parts.push(part(async move {
            let (mut place, mut head) = (Cursor::START, Revision::ZERO);
            loop {
                let last = left.load(Ordering::SeqCst) == 0;
                let page = setting.page(&Scan::new(a.clone())).await?;
                let versions = page.records().iter().map(|record| record.version());
                let found = (page.records().len(), versions.collect::<BTreeSet<_>>());
                if !matches!((found.0, found.1.len()), (0, 0) | (3, 1)) {
                    let found = format!("{found:?}");
                    return Err(Violation::new(
                        "a page",
                        "three of one version, or none",
                        found,
                    ));
                }
                let as_of = page.as_of().revision();
                let newest = found.1.last().copied().unwrap_or_default();
                if as_of < head.max(newest) {
                    let expected = format!("{} or more", head.max(newest));
                    return Err(Violation::new("as of", expected, as_of));
                }
                head = as_of;

                let page = setting.changes(&a, place, 1).await?;
                let revisions: BTreeSet<_> = page.changes().iter().map(Change::revision).collect();
                let found = (page.changes().len(), revisions.len());
                if !matches!(found, (0, 0) | (3, 1)) {
                    let found = format!("{found:?}");
                    return Err(Violation::new(
                        "the feed",
                        "three of one revision, or none",
                        found,
                    ));
                }
                place = page.next();
                if last {
                    return Ok(());
                }
                pause().await;
            }
        }));
    }
    setting.at_once(parts).await.map(drop)
}

async fn read_what_was_written(setting: Setting) -> Result<(), Violation> {
    let a = space("a")?;
    let mut parts = Vec::new();
    for writer in 0..8_u64 {
        let (setting, a) = (setting.clone(), a.clone());
        parts.push(part(async move {
            let key = key(&a, writer.to_be_bytes())?;
            let mut since = setting.head(&a).await?;
            let mut revisions = Vec::<Revision>::new();
            for number in 0..20_u64 {
                let batch = Batch::new(idempotency_key(writer * 1_000 + number));
                let batch = batch.put(
                    key.clone(),
                    Expected::Anything,
                    number.to_be_bytes().as_slice(),
                );
                let revision =
                    expect_ok("a write", setting.commit_surely(batch).await?)?.revision();
                let found = setting.get(&key).await?.map(|record| record.version());
                expect_eq("get after a commit", &Some(revision), &found)?;
                let page = setting.page(&Scan::new(a.clone())).await?;
                let found = page.records().iter().find(|record| *record.key() == key);
                let found = found.map(|record| record.version());
                expect_eq("scan after a commit", &Some(revision), &found)?;
                let changes;
                (changes, since) = setting.feed(&a, since, 1_000).await?;
                let found = changes.iter().rev().find(|change| *change.key() == key);
                let found = found.map(Change::revision);
                expect_eq("changes after a commit", &Some(revision), &found)?;
                revisions.push(revision);
            }
            Ok(revisions)
        }));
    }
    let mut all = BTreeSet::<Revision>::new();
    let written = setting.at_once(parts).await?;
    for revisions in &written {
        let rising = revisions.is_sorted_by(|one, other| one < other);
        expect_eq("that revisions rise", &true, &rising)?;
        all.extend(revisions);
    }
    expect_eq("revisions, each another one", &(8 * 20), &all.len())
}

async fn follower_converges(setting: Setting) -> Result<(), Violation> {
    const WRITERS: usize = 6;
    let a = space("a")?;
    let end = key(&space("b")?, b"end")?;
    let left = Arc::new(AtomicUsize::new(WRITERS));
    let mut parts = Vec::new();
    for writer in 0..WRITERS as u64 {
        let (setting, a, end, left) = (setting.clone(), a.clone(), end.clone(), left.clone());
        parts.push(part(async move {
            for number in 0..50_u64 {
                // Each record is written by several.
                let one = key(&a, [(number % 7) as u8])?;
                let own = key(&a, [0xff, writer as u8, (number % 3) as u8])?;
                let batch = Batch::new(idempotency_key(writer * 1_000 + number));
                let batch = match number % 4 {
                    0 => batch.delete(one, Expected::Anything),
                    _ => batch.put(one, Expected::Anything, number.to_be_bytes().as_slice()),
                };
                let batch = batch.put(own, Expected::Anything, vec![number as u8]);
                expect_ok("a write", setting.commit_surely(batch).await?)?;
                pause().await;
            }
            // Whoever is the last says so: in another space, which also wakes.
            if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                let last =
                    Batch::new(idempotency_key(u64::MAX)).put(end, Expected::Absent, vec![1]);
                expect_ok("the end", setting.commit_surely(last).await?)?;
            }
            Ok(())
        }));
    }
    for _ in 0..3 {
        let (setting, a, end) = (setting.clone(), a.clone(), end.clone());
        parts.push(part(async move {
            let follower = Follower::new(setting.store.clone(), a.clone());
            follow(&setting, follower, &end).await
        }));
    }
    setting.at_once(parts).await.map(drop)
}

async fn follow(setting: &Setting, mut follower: Follower, end: &Key) -> Result<(), Violation> {
    let mut there = BTreeMap::new();
    let mut newest = BTreeMap::<Key, Revision>::new();
    loop {
        let ended = setting.get(end).await?.is_some();
        let step = match ended {
            true => expect_ok("the last steps", follower.look().await)?,
            false => setting.next_step(&mut follower).await?,
        };
        follower.done(&step);
        let Step::Changes { changes, more, .. } = step else {
            return Err(Violation::new("a step", "changes", "Reload"));
        };
        for change in &changes {
            let before = newest.insert(change.key().clone(), change.revision());
            if before.is_some_and(|before| before >= change.revision()) {
                let promise = format!("what the feed says of {} after {before:?}", change.key());
                return Err(Violation::new(
                    promise,
                    "a newer revision",
                    change.revision(),
                ));
            }
        }
        apply(changes, &mut there);
        if ended && !more {
            break;
        }
    }
    let there: Vec<_> = there.into_values().collect();
    expect_eq(
        "all there is",
        &setting.scan_all(&space("a")?).await?,
        &there,
    )
}

/// Lets the others go on.
async fn pause() {
    let mut paused = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut paused, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

impl Setting {
    /// The answer that stays when what passes has passed.
    async fn commit_surely(
        &self,
        batch: Batch,
    ) -> Result<Result<Committed, StoreError>, Violation> {
        for _ in 0..1_000 {
            match self.store.commit(batch.clone()).await {
                Err(error) if error.is_transient() => pause().await,
                answer => return Ok(answer),
            }
        }
        Err(Violation::new(
            "a commit",
            "an answer",
            "a thousand that say: try again",
        ))
    }
}
