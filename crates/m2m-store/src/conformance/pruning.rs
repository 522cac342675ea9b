//! Forgetting what was deleted, for stores that can.

use std::collections::BTreeMap;

use super::Violation;
use super::feed::apply;
use super::setting::{Names, Setting, expect_conflict, expect_eq, key, space};
use crate::{Change, Cursor, Expected, Follower, Revision, Scan, Step};

/// More records than a page of the feed has.
const COMMITS: u8 = 12;
const EACH: u8 = 100;

pub(super) async fn check<F: Future<Output = ()>>(
    setting: Setting,
    prune: impl Fn(Revision) -> F,
) -> Result<(), Violation> {
    let a = space("a")?;
    let mut names = Names::default();
    for commit in 0..COMMITS {
        let mut batch = names.batch();
        for place in 0..EACH {
            batch = batch.put(key(&a, [commit, place])?, Expected::Absent, vec![1]);
        }
        setting.commit(batch).await?;
    }
    let before = setting.head(&a).await?;
    let on_the_way = setting.changes(&a, Cursor::START, 1).await?;
    let gone = key(&a, [0, 0])?;
    let version = setting.get(&gone).await?.map(|record| record.version());
    let delete = names.batch().delete(gone.clone(), Expected::Present);
    let deleted = setting.commit(delete).await?;
    let between = setting.head(&a).await?;
    let later = key(&a, [0, 1])?;
    let delete = names.batch().delete(later.clone(), Expected::Present);
    let revision = setting.commit(delete).await?;
    let head = setting.head(&a).await?;

    prune(deleted).await;
    // Who may have missed a deletion has to begin anew, also on the way from the start.
    for place in [before, on_the_way.next()] {
        setting.is_too_old(&a, place).await?;
    }
    let told = Change::Deleted {
        key: later,
        revision,
    };
    let (found, _) = setting.feed(&a, between, 10).await?;
    expect_eq("a deletion behind what was pruned", &vec![told], &found)?;

    // As if all that will ever be should be forgotten: only what was, is.
    prune(Revision::MAX).await;
    setting.is_too_old(&a, between).await?;
    let nothing = setting.feed(&a, head, 10).await?;
    expect_eq("the feed from its end", &(vec![], head), &nothing)?;
    walk(&setting, 7).await?;
    follow(&setting, before).await?;

    // What was forgotten is as if it never was, but no version comes back.
    let expected = Expected::Version(version.unwrap_or_default());
    for expected in [expected, Expected::Version(deleted), Expected::Present] {
        let put = names.batch().put(gone.clone(), expected, vec![2]);
        let answer = setting.store.commit(put).await;
        expect_conflict("what was forgotten", &gone, expected, None, answer)?;
    }
    let delete = names.batch().delete(gone.clone(), Expected::Absent);
    setting.commit(delete).await?;
    let nothing = setting.feed(&a, head, 10).await?.0;
    expect_eq("a deletion of what was forgotten", &vec![], &nothing)?;
    let put = names.batch().put(gone.clone(), Expected::Absent, vec![2]);
    let again = setting.commit(put).await?;
    let rises = again > deleted && Some(again) > version;
    expect_eq("that the new version is newer", &true, &rises)?;
    let delete = names.batch().delete(gone, Expected::Version(again));
    setting.commit(delete).await?;
    let told = setting.feed(&a, head, 10).await?.0;
    expect_eq("deletions after pruning are told", &1, &told.len())
}

/// From the start, in small pages, one comes to the end.
async fn walk(setting: &Setting, limit: usize) -> Result<(), Violation> {
    let a = space("a")?;
    let mut there = BTreeMap::new();
    apply(setting.feed(&a, Cursor::START, limit).await?.0, &mut there);
    let there: Vec<_> = there.into_values().collect();
    expect_eq("all there is", &setting.scan(&Scan::new(a)).await?, &there)
}

/// A follower who was away for too long reloads once.
async fn follow(setting: &Setting, place: Cursor) -> Result<(), Violation> {
    let a = space("a")?;
    let mut follower = Follower::from_place(setting.store.clone(), a.clone(), place);
    let step = setting.next_step(&mut follower).await?;
    expect_eq("the first step of one who was away", &Step::Reload, &step)?;
    follower.done(&step);
    let mut there = BTreeMap::new();
    loop {
        let step = setting.next_step(&mut follower).await?;
        follower.done(&step);
        match step {
            Step::Changes { changes, more, .. } => {
                apply(changes, &mut there);
                if !more {
                    break;
                }
            }
            Step::Reload => {
                return Err(Violation::new(
                    "after a reload",
                    "changes",
                    "another reload",
                ));
            }
        }
    }
    let there: Vec<_> = there.into_values().collect();
    expect_eq("what a follower has", &setting.scan_all(&a).await?, &there)
}
