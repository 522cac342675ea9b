//! The feed, and those who follow it.

use std::collections::{BTreeMap, BTreeSet};

use super::setting::{
    Names, Setting, expect_at_most, expect_eq, expect_ok, key, part, space, stored,
};
use super::{Case, Violation};
use crate::{
    Change, Cursor, Expected, Follower, Incarnation, Key, MAX_BATCH_BYTES, MAX_PAGE_BYTES,
    MAX_PAGE_RECORDS, MAX_VALUE_BYTES, Record, Revision, Scan, Step,
};

pub(super) const CASES: &[Case] = cases![
    "the feed tells of each record once, as it is now, the oldest first" => each_once,
    "STO-010 a deletion is told, also of what came back and went again" => deletions,
    "what was never there leaves no deletion" => no_deletion_of_nothing,
    "what one commit wrote is never spread over two pages" => whole_commits,
    "a page of the feed is bounded, whatever is asked for" => bounded,
    "from the start, the feed gives all there is" => from_the_start,
    "each space has its own feed, and all places move on" => by_space,
    "STO-011 a place of another life of the store, or ahead of it, is too old" => too_old,
    "whoever is behind does not wait" => no_wait,
    "a commit in any space wakes all who wait" => wakes,
    "a place that was kept goes on where it was" => kept_places,
    "a follower loses no step that was not done" => follower_steps,
    "a follower from a place of another life begins anew" => follower_reloads,
];

async fn each_once(setting: Setting) -> Result<(), Violation> {
    let a = space("a")?;
    let (one, two, three) = (key(&a, b"1")?, key(&a, b"2")?, key(&a, b"3")?);
    let mut names = Names::default();
    let mut put = |key: &Key, value: &[u8]| {
        names
            .batch()
            .put_with_summary(key.clone(), Expected::Anything, value, "s")
    };
    let start = setting.head(&a).await?;
    setting.commit(put(&one, b"old")).await?;
    let second = setting.commit(put(&two, b"2")).await?;
    setting.commit(put(&one, b"older")).await?;
    let middle = setting.head(&a).await?;
    let third = setting.commit(put(&three, b"3")).await?;
    let first = setting.commit(put(&one, b"new")).await?;

    let put = |key, version, value| Change::Put(stored(key, version, value, Some("s")));
    let expected = [
        put(&two, second, b"2"),
        put(&three, third, b"3"),
        put(&one, first, b"new"),
    ];
    for limit in [1, 2, 3, MAX_PAGE_RECORDS] {
        let (found, head) = setting.feed(&a, start, limit).await?;
        expect_eq("the feed from the start", &expected.to_vec(), &found)?;
        let (found, same) = setting.feed(&a, middle, limit).await?;
        let expected = expected.iter().skip(1).cloned().collect();
        expect_eq("the feed from the middle", &expected, &found)?;
        expect_eq("where it ends", &head, &same)?;
        let (found, same) = setting.feed(&a, head, limit).await?;
        expect_eq("the feed from its end", &(vec![], head), &(found, same))?;
    }
    Ok(())
}

async fn deletions(setting: Setting) -> Result<(), Violation> {
    let a = space("a")?;
    let key = key(&a, b"1")?;
    let mut names = Names::default();
    let mut since = vec![setting.head(&a).await?];
    for round in 0..3_u8 {
        let put = names
            .batch()
            .put(key.clone(), Expected::Absent, vec![round]);
        let written = setting.commit(put).await?;
        for since in &since {
            let expected = vec![Change::Put(stored(&key, written, &[round], None))];
            let found = setting.feed(&a, *since, 10).await?.0;
            expect_eq("a record that is there again", &expected, &found)?;
        }
        since.push(setting.head(&a).await?);

        let delete = names.batch().delete(key.clone(), Expected::Present);
        let revision = setting.commit(delete).await?;
        for since in &since {
            let key = key.clone();
            let expected = vec![Change::Deleted { key, revision }];
            let found = setting.feed(&a, *since, 10).await?.0;
            expect_eq("a deletion", &expected, &found)?;
        }
        since.push(setting.head(&a).await?);
    }
    Ok(())
}

async fn no_deletion_of_nothing(setting: Setting) -> Result<(), Violation> {
    let a = space("a")?;
    let mut names = Names::default();
    let before = setting.head(&a).await?;
    let delete = names
        .batch()
        .delete(key(&a, b"1")?, Expected::Anything)
        .delete(key(&a, b"2")?, Expected::Absent);
    setting.commit(delete).await?;
    let check = names.batch().check(key(&a, b"3")?, Expected::Absent);
    setting.commit(check).await?;
    setting
        .expect_nothing_since(before, "a deletion of nothing")
        .await?;
    setting
        .expect_nothing_since(Cursor::START, "a deletion of nothing")
        .await
}

async fn whole_commits(setting: Setting) -> Result<(), Violation> {
    let (a, b) = (space("a")?, space("b")?);
    let mut names = Names::default();
    let sizes = [1, 7, 256, 2, 1, 1, 30];
    let (mut before, mut number) = (setting.head(&a).await?, 0_u32);
    let mut commits = Vec::new();
    for size in sizes {
        let mut batch = names.batch();
        for place in 0..size {
            number += 1;
            let space = if place % 4 == 3 { &b } else { &a };
            batch = batch.put(key(space, number.to_be_bytes())?, Expected::Absent, vec![1]);
        }
        let revision = setting.commit(batch).await?;
        commits.push((revision, size - size / 4));
    }
    for since in [before, Cursor::START] {
        for limit in [1, 2, 5, 8, 300] {
            before = since;
            let mut found = Vec::<(Revision, usize)>::new();
            loop {
                let page = setting.changes(&a, before, limit).await?;
                let here: BTreeSet<_> = page.changes().iter().map(Change::revision).collect();
                for revision in here {
                    let of_it = |change: &&Change| change.revision() == revision;
                    found.push((revision, page.changes().iter().filter(of_it).count()));
                }
                before = page.next();
                if !page.has_more() {
                    break;
                }
            }
            expect_eq(format!("commits in pages of {limit}"), &commits, &found)?;
        }
    }
    Ok(())
}

async fn bounded(setting: Setting) -> Result<(), Violation> {
    let a = space("a")?;
    let mut names = Names::default();
    let start = setting.head(&a).await?;
    let count = MAX_PAGE_RECORDS / 250 + 2;
    for number in 0..count {
        let mut batch = names.batch();
        for place in 0..250_u8 {
            let id = [number.to_be_bytes().as_slice(), &[place]].concat();
            batch = batch.put(key(&a, id)?, Expected::Absent, vec![1]);
        }
        setting.commit(batch).await?;
    }
    // As much as one asks for, and never more than a page.
    for limit in [0, usize::MAX, i64::MAX as usize + 1, u32::MAX as usize] {
        for since in [start, Cursor::START] {
            let changes = setting.store.changes(&a, since, limit).await;
            let crate::Changes::Some(page) = expect_ok(format!("{limit} changes"), changes)? else {
                return Err(Violation::new("changes", "a page", "TooOld"));
            };
            expect_at_most("changes", MAX_PAGE_RECORDS + 250, page.changes().len())?;
            expect_eq(
                "a first page",
                &(false, true),
                &(page.changes().is_empty(), page.has_more()),
            )?;
        }
    }
    let small = setting.head(&a).await?;
    for number in 0..MAX_PAGE_BYTES / MAX_VALUE_BYTES + 2 {
        let put = names.batch();
        let id = [b"large".as_slice(), &number.to_be_bytes()].concat();
        let put = put.put(key(&a, id)?, Expected::Absent, vec![1; MAX_VALUE_BYTES]);
        setting.commit(put).await?;
    }
    let page = setting.changes(&a, small, MAX_PAGE_RECORDS).await?;
    let bytes = page.changes().iter().map(|change| match change {
        Change::Put(record) => record.value().len(),
        Change::Deleted { .. } => 0,
    });
    expect_at_most(
        "bytes of a page",
        MAX_PAGE_BYTES + MAX_BATCH_BYTES,
        bytes.sum(),
    )?;
    let (all, _) = setting.feed(&a, small, MAX_PAGE_RECORDS).await?;
    expect_eq(
        "all changes",
        &(MAX_PAGE_BYTES / MAX_VALUE_BYTES + 2),
        &all.len(),
    )
}

async fn from_the_start(setting: Setting) -> Result<(), Violation> {
    let a = space("a")?;
    let mut names = Names::default();
    let (nothing, begin) = setting.feed(&a, Cursor::START, 10).await?;
    expect_eq("an empty store", &Vec::new(), &nothing)?;
    expect_eq(
        "that its place is no start",
        &false,
        &(begin == Cursor::START),
    )?;
    for number in 0..20_u8 {
        let key = key(&a, [number / 2])?;
        let batch = match number % 4 {
            3 => names.batch().delete(key, Expected::Present),
            _ => names.batch().put(key, Expected::Anything, vec![number]),
        };
        setting.commit(batch).await?;
        for limit in [1, 3, 100] {
            let (changes, head) = setting.feed(&a, Cursor::START, limit).await?;
            let mut there = BTreeMap::new();
            apply(changes, &mut there);
            let page = setting.page(&Scan::new(a.clone())).await?;
            expect_eq("the end of the feed", &page.as_of(), &head)?;
            let there: Vec<_> = there.into_values().collect();
            expect_eq("all there is", &page.into_records(), &there)?;
        }
    }
    Ok(())
}

async fn by_space(setting: Setting) -> Result<(), Violation> {
    let spaces = [space("a")?, space("a-b")?, space("ab")?, space("b")?];
    let mut names = Names::default();
    let head = setting.head(&space("a")?).await?;
    let mut places = spaces.each_ref().map(|_| head);
    for (turn, space) in (0..12_u8).zip(spaces.iter().cycle()) {
        let key = key(space, b"k")?;
        let put = names
            .batch()
            .put(key.clone(), Expected::Anything, vec![turn]);
        let version = setting.commit(put).await?;
        for (other, place) in spaces.iter().zip(&mut places) {
            let changes;
            let before = *place;
            (changes, *place) = setting.feed(other, before, 1).await?;
            let expected = match other == space {
                true => vec![Change::Put(stored(&key, version, &[turn], None))],
                false => vec![],
            };
            expect_eq(format!("what is new in {other}"), &expected, &changes)?;
            expect_eq("the place", &version, &place.revision())?;
            setting.changed(before).await?;
        }
    }
    Ok(())
}

async fn too_old(setting: Setting) -> Result<(), Violation> {
    let a = space("a")?;
    let mut names = Names::default();
    for number in 0..3_u8 {
        let put = names
            .batch()
            .put(key(&a, [number])?, Expected::Absent, vec![1]);
        setting.commit(put).await?;
    }
    let head = setting.head(&a).await?;
    let flipped = head.incarnation().as_bytes().map(|byte| byte ^ 1);
    let others = [flipped, [0; 16], [0xff; 16]].map(Incarnation::from_bytes);
    for revision in [
        Some(Revision::ZERO),
        Revision::new(1),
        Some(head.revision()),
        Some(Revision::MAX),
    ] {
        for incarnation in others {
            let place = Cursor::new(incarnation, revision.unwrap_or_default());
            if place != Cursor::START {
                setting.is_too_old(&a, place).await?;
                // Whoever waits there has to hear of it.
                setting.changed(place).await?;
            }
        }
    }
    for ahead in [head.revision().next(), Some(Revision::MAX)] {
        let ahead = ahead.unwrap_or(Revision::MAX);
        setting
            .is_too_old(&a, Cursor::new(head.incarnation(), ahead))
            .await?;
    }
    let (changes, _) = setting.feed(&a, Cursor::START, 10).await?;
    expect_eq("the start is never too old", &3, &changes.len())
}

async fn no_wait(setting: Setting) -> Result<(), Violation> {
    let a = space("a")?;
    let mut names = Names::default();
    let empty = setting.head(&a).await?;
    let put = names.batch().put(key(&a, b"1")?, Expected::Absent, vec![1]);
    setting.commit(put).await?;
    let one = setting.head(&a).await?;
    let delete = names.batch().delete(key(&a, b"1")?, Expected::Present);
    setting.commit(delete).await?;
    for since in [Cursor::START, empty, one] {
        setting.changed(since).await?;
    }
    Ok(())
}

async fn wakes(setting: Setting) -> Result<(), Violation> {
    let mut names = Names::default();
    for name in ["a", "b", "z"] {
        let head = setting.head(&space("a")?).await?;
        let put = names
            .batch()
            .put(key(&space(name)?, b"k")?, Expected::Absent, vec![1]);
        let writes = setting.clone();
        let write = part(async move { writes.commit(put).await.map(drop) });
        let waiting = (0..8).map(|_| {
            let waits = setting.clone();
            part(async move { waits.wait_until_behind(head).await })
        });
        // Those who wait are asked first.
        setting.at_once(waiting.chain([write])).await?;
    }
    // Whoever stops waiting does no harm.
    let head = setting.head(&space("a")?).await?;
    drop(setting.store.changed(head));
    let key = key(&space("a")?, b"last")?;
    let put = names.batch().put(key, Expected::Absent, vec![1]);
    setting.commit(put).await?;
    setting.changed(head).await
}

async fn kept_places(setting: Setting) -> Result<(), Violation> {
    let a = space("a")?;
    let mut names = Names::default();
    let mut there = BTreeMap::new();
    let mut place = Cursor::START;
    for number in 0..30_u8 {
        let put = names
            .batch()
            .put(key(&a, [number % 7])?, Expected::Anything, vec![number]);
        setting.commit(put).await?;
        if number % 3 == 0 {
            let page = setting.changes(&a, place, 2).await?;
            let kept = Cursor::from_bytes(&page.next().to_bytes());
            expect_eq("a place that was kept", &Some(page.next()), &kept)?;
            place = page.next();
            apply(page.into_changes(), &mut there);
        }
    }
    let (changes, _) = setting.feed(&a, place, 2).await?;
    apply(changes, &mut there);
    let there: Vec<_> = there.into_values().collect();
    expect_eq("all there is", &setting.scan_all(&a).await?, &there)
}

async fn follower_steps(setting: Setting) -> Result<(), Violation> {
    let a = space("a")?;
    let mut names = Names::default();
    let mut follower = Follower::new(setting.store.clone(), a.clone());
    let step = expect_ok("the first step", follower.next().await)?;
    expect_changes(&step, 0)?;
    follower.done(&step);

    let put = names.batch().put(key(&a, b"1")?, Expected::Absent, vec![1]);
    setting.commit(put).await?;
    let place = follower.place();
    for _ in 0..3 {
        let step = expect_ok("a step", follower.next().await)?;
        expect_changes(&step, 1)?;
        expect_eq("the place", &place, &follower.place())?;
    }
    let step = expect_ok("a step", follower.look().await)?;
    follower.done(&step);
    let nothing = expect_ok("nothing new", follower.look().await)?;
    expect_changes(&nothing, 0)?;

    // Another one goes on at its place.
    let put = names.batch().put(key(&a, b"2")?, Expected::Absent, vec![1]);
    setting.commit(put).await?;
    let mut heir = Follower::from_place(setting.store.clone(), a, follower.place());
    let step = expect_ok("the heir's step", heir.next().await)?;
    expect_changes(&step, 1)
}

async fn follower_reloads(setting: Setting) -> Result<(), Violation> {
    let a = space("a")?;
    let mut names = Names::default();
    let put = names.batch().put(key(&a, b"1")?, Expected::Absent, vec![1]);
    setting.commit(put).await?;
    let elsewhere = Cursor::new(Incarnation::from_bytes([0xee; 16]), Revision::ZERO);
    let mut follower = Follower::from_place(setting.store.clone(), a, elsewhere);
    for _ in 0..2 {
        let step = expect_ok("a step", follower.next().await)?;
        expect_eq("a step", &Step::Reload, &step)?;
    }
    follower.done(&Step::Reload);
    let step = expect_ok("a step", follower.next().await)?;
    expect_changes(&step, 1)
}

/// Does what the feed says.
pub(super) fn apply(changes: Vec<Change>, there: &mut BTreeMap<Key, Record>) {
    for change in changes {
        match change {
            Change::Put(record) => there.insert(record.key().clone(), record),
            Change::Deleted { key, .. } => there.remove(&key),
        };
    }
}

fn expect_changes(step: &Step, count: usize) -> Result<(), Violation> {
    let found = match step {
        Step::Changes { changes, .. } => Some(changes.len()),
        Step::Reload => None,
    };
    expect_eq("the changes of a step", &Some(count), &found)
}
