//! Conditions, and all or nothing.

use super::setting::{
    Names, Setting, expect_conflict, expect_eq, expect_ok, expect_record, key, space, stored,
};
use super::{Case, Violation};
use crate::{Batch, Expected, Key, MAX_BATCH_OPERATIONS, Revision, Scan};

pub(super) const CASES: &[Case] = cases![
    "what was written is read" => what_was_written_is_read,
    "each commit has the next revision" => each_commit_has_the_next_revision,
    "a condition decides, whatever is there and whatever is done" => conditions_decide,
    "a conflict in any place undoes the whole batch" => a_conflict_undoes_the_whole_batch,
    "a batch is written whole and as one revision" => a_batch_is_one_revision,
    "STO-010 a condition on a version before a deletion never holds again" => versions_do_not_return,
];

/// What has happened to a record.
#[derive(Clone, Copy, Debug, PartialEq)]
enum History {
    Never,
    Written,
    Overwritten,
    Deleted,
    Recreated,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Deed {
    Put,
    Delete,
    Check,
}

/// A record with a history: its versions so far, and which of them is there.
struct Subject {
    key: Key,
    versions: Vec<Revision>,
    is_there: bool,
}

async fn what_was_written_is_read(setting: Setting) -> Result<(), Violation> {
    let mut names = Names::default();
    let a = space("a")?;
    let one = key(&a, b"k")?;
    let other = key(&space("b")?, b"k")?;
    expect_record("a new store", None, setting.get(&one).await?.as_ref())?;

    let put = names
        .batch()
        .put(one.clone(), Expected::Absent, b"1".as_slice());
    let first = setting.commit(put).await?;
    let found = setting.get(&one).await?;
    expect_record("what was put", Some((first, b"1")), found.as_ref())?;
    let elsewhere = setting.get(&other).await?;
    expect_record("the same id in another space", None, elsewhere.as_ref())?;

    // Empty is not absent, and no summary is not an empty one.
    let put = names
        .batch()
        .put_with_summary(one.clone(), Expected::Version(first), Vec::new(), "")
        .put(other.clone(), Expected::Absent, Vec::new());
    let second = setting.commit(put).await?;
    let found = [setting.get(&one).await?, setting.get(&other).await?];
    let expected = [
        stored(&one, second, b"", Some("")),
        stored(&other, second, b"", None),
    ];
    expect_eq("empty values", &expected.map(Some), &found)?;

    let delete = names.batch().delete(one.clone(), Expected::Present);
    setting.commit(delete).await?;
    let found = setting.get(&one).await?;
    expect_record("what was deleted", None, found.as_ref())
}

async fn each_commit_has_the_next_revision(setting: Setting) -> Result<(), Violation> {
    let mut names = Names::default();
    let key = key(&space("a")?, b"k")?;
    let deeds = [
        names
            .batch()
            .put(key.clone(), Expected::Absent, b"1".as_slice()),
        names.batch().check(key.clone(), Expected::Present),
        names.batch().delete(key.clone(), Expected::Present),
        names.batch().delete(key.clone(), Expected::Anything),
        names
            .batch()
            .put(key.clone(), Expected::Absent, b"2".as_slice()),
    ];
    for (batch, number) in deeds.into_iter().zip(1..) {
        let refused = names
            .batch()
            .check(key.clone(), Expected::Version(Revision::MAX));
        let refused = setting.store.commit(refused).await;
        expect_eq("a refused batch", &false, &refused.is_ok())?;
        let revision = setting.commit(batch).await?;
        expect_eq("a revision", &number, &revision.number())?;
        let page = setting.page(&Scan::new(space("b")?)).await?;
        expect_eq("as of", &revision, &page.as_of().revision())?;
    }
    Ok(())
}

async fn conditions_decide(setting: Setting) -> Result<(), Violation> {
    let mut names = Names::default();
    let a = space("a")?;
    let elsewhere = key(&a, b"elsewhere")?;
    let put = names
        .batch()
        .put(elsewhere, Expected::Absent, b"1".as_slice());
    let elsewhere = setting.commit(put).await?;
    let mut id = 0_u32;
    for history in [
        History::Never,
        History::Written,
        History::Overwritten,
        History::Deleted,
        History::Recreated,
    ] {
        for deed in [Deed::Put, Deed::Delete, Deed::Check] {
            for choice in 0.. {
                id += 1;
                let key = key(&a, id.to_be_bytes())?;
                let subject = subject(&setting, &mut names, key, history).await?;
                let Some((expected, holds)) = subject.expectation(choice, elsewhere) else {
                    break;
                };
                let promise = format!("{deed:?} if {expected:?} of what was {history:?}");
                judge(
                    &setting,
                    &mut names,
                    &subject,
                    (deed, expected, holds),
                    &promise,
                )
                .await?;
            }
        }
    }
    Ok(())
}

async fn subject(
    setting: &Setting,
    names: &mut Names,
    key: Key,
    history: History,
) -> Result<Subject, Violation> {
    let mut versions = Vec::new();
    let put = |batch: Batch| batch.put(key.clone(), Expected::Anything, b"before".as_slice());
    if history != History::Never {
        versions.push(setting.commit(put(names.batch())).await?);
    }
    if history == History::Overwritten {
        versions.push(setting.commit(put(names.batch())).await?);
    }
    if matches!(history, History::Deleted | History::Recreated) {
        let delete = names.batch().delete(key.clone(), Expected::Anything);
        versions.push(setting.commit(delete).await?);
    }
    if history == History::Recreated {
        versions.push(setting.commit(put(names.batch())).await?);
    }
    Ok(Subject {
        is_there: !matches!(history, History::Never | History::Deleted),
        key,
        versions,
    })
}

impl Subject {
    fn found(&self) -> Option<Revision> {
        self.versions.last().copied().filter(|_| self.is_there)
    }

    /// Each condition that can be made, one after the other, and whether it holds.
    fn expectation(&self, choice: usize, elsewhere: Revision) -> Option<(Expected, bool)> {
        let fixed = [
            (Expected::Anything, true),
            (Expected::Absent, !self.is_there),
            (Expected::Present, self.is_there),
            (Expected::Version(Revision::ZERO), false),
            (Expected::Version(Revision::MAX), false),
            (Expected::Version(elsewhere), false),
        ];
        let versions = self.versions.iter().map(|version| {
            let is_it = Some(*version) == self.found();
            (Expected::Version(*version), is_it)
        });
        fixed.into_iter().chain(versions).nth(choice)
    }
}

async fn judge(
    setting: &Setting,
    names: &mut Names,
    subject: &Subject,
    (deed, expected, holds): (Deed, Expected, bool),
    promise: &str,
) -> Result<(), Violation> {
    let key = &subject.key;
    let before = setting.page(&Scan::new(space("a")?)).await?.as_of();
    let batch = names.batch();
    let batch = match deed {
        Deed::Put => batch.put(key.clone(), expected, b"after".as_slice()),
        Deed::Delete => batch.delete(key.clone(), expected),
        Deed::Check => batch.check(key.clone(), expected),
    };
    let answer = setting.store.commit(batch).await;
    let there = match (holds, deed) {
        (false, _) => {
            expect_conflict(promise, key, expected, subject.found(), answer)?;
            setting.expect_nothing_since(before, promise).await?;
            subject
                .found()
                .map(|version| (version, b"before".as_slice()))
        }
        (true, Deed::Check) => {
            expect_ok(promise, answer)?;
            setting.expect_nothing_since(before, promise).await?;
            subject
                .found()
                .map(|version| (version, b"before".as_slice()))
        }
        (true, Deed::Delete) => {
            expect_ok(promise, answer)?;
            None
        }
        (true, Deed::Put) => {
            let version = expect_ok(promise, answer)?.revision();
            Some((version, b"after".as_slice()))
        }
    };
    let found = setting.get(key).await?;
    expect_record(format!("after {promise}"), there, found.as_ref())
}

async fn a_conflict_undoes_the_whole_batch(setting: Setting) -> Result<(), Violation> {
    let mut names = Names::default();
    let (a, b) = (space("a")?, space("b")?);
    let (taken, gone) = (key(&a, b"taken")?, key(&b, b"gone")?);
    let put = names
        .batch()
        .put(taken.clone(), Expected::Absent, b"1".as_slice())
        .put(gone.clone(), Expected::Absent, b"1".as_slice());
    let version = setting.commit(put).await?;
    let before = setting.page(&Scan::new(a.clone())).await?.as_of();

    let last = MAX_BATCH_OPERATIONS - 1;
    for place in [0, last / 2, last] {
        let mut batch = names.batch().delete(gone.clone(), Expected::Present);
        for number in 1..=last {
            let new = key(if number % 2 == 0 { &a } else { &b }, number.to_be_bytes())?;
            batch = match number == place.max(1) {
                true => batch.put(taken.clone(), Expected::Absent, b"2".as_slice()),
                false => batch.put(new, Expected::Absent, b"2".as_slice()),
            };
        }
        let promise = format!("a batch of {} with a conflict at {place}", last + 1);
        let answer = setting.store.commit(batch).await;
        expect_conflict(&promise, &taken, Expected::Absent, Some(version), answer)?;
        setting.expect_nothing_since(before, &promise).await?;
        for (space, left) in [(&a, &taken), (&b, &gone)] {
            let found = setting.scan_all(space).await?;
            let left = stored(left, version, b"1", None);
            expect_eq(&promise, &vec![left], &found)?;
        }
    }
    Ok(())
}

async fn a_batch_is_one_revision(setting: Setting) -> Result<(), Violation> {
    let mut names = Names::default();
    let (a, b) = (space("a")?, space("b")?);
    let mut batch = names.batch();
    let mut expected = Vec::new();
    for number in 0..MAX_BATCH_OPERATIONS {
        let space = if number % 2 == 0 { &a } else { &b };
        let key = key(space, number.to_be_bytes())?;
        expected.push(key.clone());
        batch = batch.put(key, Expected::Absent, number.to_be_bytes().as_slice());
    }
    let revision = setting.commit(batch).await?;
    let mut found = setting.scan_all(&a).await?;
    found.extend(setting.scan_all(&b).await?);
    for record in &found {
        expect_eq("the version of each record", &revision, &record.version())?;
    }
    expected.sort();
    let found: Vec<_> = found.iter().map(|record| record.key().clone()).collect();
    expect_eq("the records of a batch", &expected, &found)
}

async fn versions_do_not_return(setting: Setting) -> Result<(), Violation> {
    let mut names = Names::default();
    let key = key(&space("a")?, b"k")?;
    let mut versions = Vec::<Revision>::new();
    for round in 0..5_u8 {
        for old in &versions {
            let expected = Expected::Version(*old);
            let put = names.batch().put(key.clone(), expected, b"back".as_slice());
            let answer = setting.store.commit(put).await;
            expect_conflict("an old version", &key, expected, None, answer)?;
        }
        let put = names
            .batch()
            .put(key.clone(), Expected::Absent, vec![round]);
        let version = setting.commit(put).await?;
        expect_eq("a new version", &false, &versions.contains(&version))?;
        for old in &versions {
            let expected = Expected::Version(*old);
            let delete = names.batch().delete(key.clone(), expected);
            let answer = setting.store.commit(delete).await;
            expect_conflict("an old version", &key, expected, Some(version), answer)?;
        }
        let delete = names
            .batch()
            .delete(key.clone(), Expected::Version(version));
        let deleted = setting.commit(delete).await?;
        versions.extend([version, deleted]);
    }
    Ok(())
}
