//! What is promised of commits: conditions, all or nothing, idempotency.

use super::setting::{Names, Setting, expect_record, key, space};
use super::{Case, Violation};
use crate::{Expected, Revision};

pub(super) const CASES: &[Case] = &[Case {
    name: "what was written is read",
    run: |setting| Box::pin(what_was_written_is_read(setting)),
}];

async fn what_was_written_is_read(setting: Setting) -> Result<(), Violation> {
    let mut names = Names::default();
    let key = key(&space("a")?, b"k")?;
    expect_record("a new store", None, setting.get(&key).await?.as_ref())?;
    let batch = names
        .batch()
        .put(key.clone(), Expected::Absent, b"1".as_slice());
    let first = setting.commit(batch).await?;
    super::setting::expect_eq("the first commit", &Revision::new(1), &Some(first))?;
    let found = setting.get(&key).await?;
    expect_record("what was put", Some((first, b"1")), found.as_ref())
}
