//! The same batch again.

use super::setting::{
    Names, Setting, expect_conflict, expect_eq, expect_ok, expect_record, idempotency_key, key,
    space,
};
use super::{Case, Violation};
use crate::{
    Batch, Committed, Expected, IdempotencyKey, MAX_VALUE_BYTES, Revision, Scan, StoreError,
};

pub(super) const CASES: &[Case] = cases![
    "STO-018 the same batch again is answered as the first time and writes nothing" => repeated,
    "an idempotency key of another batch is refused, however little differs" => reused,
    "a refused batch does not use its idempotency key up" => refused,
    "idempotency keys are remembered over a thousand commits" => remembered,
    "any sixteen bytes are an idempotency key" => any_bytes,
];

async fn repeated(setting: Setting) -> Result<(), Violation> {
    let a = space("a")?;
    let (one, other, third) = (key(&a, b"1")?, key(&a, b"2")?, key(&a, b"3")?);
    let put = Batch::new(idempotency_key(1))
        .put(one.clone(), Expected::Absent, b"1".as_slice())
        .put(other.clone(), Expected::Absent, b"1".as_slice());
    let check = Batch::new(idempotency_key(2)).check(one.clone(), Expected::Present);
    let delete = Batch::new(idempotency_key(3))
        .delete(one.clone(), Expected::Present)
        .delete(third.clone(), Expected::Absent);
    let again = Batch::new(idempotency_key(4)).put(one, Expected::Absent, b"2".as_slice());
    let over = Batch::new(idempotency_key(5))
        .put(other, Expected::Present, b"2".as_slice())
        .put(third, Expected::Anything, b"2".as_slice());

    let mut done = Vec::<(Batch, Revision)>::new();
    for batch in [put, check, delete, again, over] {
        let revision = setting.commit(batch.clone()).await?;
        done.push((batch, revision));
        // Each batch so far, whether what it expected is still true or not.
        let before = setting.page(&Scan::new(a.clone())).await?;
        for (batch, revision) in &done {
            let answer = setting.store.commit(batch.clone()).await;
            let repeated = Committed::repeated(*revision);
            expect_eq("a repeated batch", &Ok(repeated), &answer)?;
        }
        setting
            .expect_nothing_since(before.as_of(), "a repeated batch")
            .await?;
        let after = setting.page(&Scan::new(a.clone())).await?;
        expect_eq("what is there", &before, &after)?;
    }
    Ok(())
}

async fn reused(setting: Setting) -> Result<(), Violation> {
    let (a, b) = (space("a")?, space("b")?);
    let (one, other) = (key(&a, b"1")?, key(&a, b"2")?);
    let name = idempotency_key(1);
    let batch = || Batch::new(name);
    let anything = Expected::Anything;
    let first = batch().put(one.clone(), anything, b"1".as_slice());
    let revision = setting.commit(first.clone()).await?;
    let before = setting.page(&Scan::new(a.clone())).await?.as_of();

    let others = [
        batch().put(one.clone(), anything, b"2".as_slice()),
        batch().put(one.clone(), anything, b"1\0".as_slice()),
        batch().put(one.clone(), anything, Vec::new()),
        batch().put(other.clone(), anything, b"1".as_slice()),
        batch().put(key(&b, b"1")?, anything, b"1".as_slice()),
        batch().put(one.clone(), Expected::Present, b"1".as_slice()),
        batch().put(one.clone(), Expected::Absent, b"1".as_slice()),
        batch().put(one.clone(), Expected::Version(revision), b"1".as_slice()),
        batch().put_with_summary(one.clone(), anything, b"1".as_slice(), ""),
        batch().put_with_summary(one.clone(), anything, b"1".as_slice(), "s"),
        batch().delete(one.clone(), anything),
        batch().check(one.clone(), anything),
        first.clone().check(other.clone(), anything),
        first.clone().put(other, anything, b"1".as_slice()),
    ];
    for other in others {
        let promise = format!("{other:?} under a used key");
        let answer = setting.store.commit(other).await;
        let reused = StoreError::IdempotencyKeyReused {
            key: name,
            revision,
        };
        expect_eq(&promise, &Err(reused), &answer)?;
        setting.expect_nothing_since(before, &promise).await?;
    }
    let answer = setting.store.commit(first).await;
    expect_eq("the first one", &Ok(Committed::repeated(revision)), &answer)
}

async fn refused(setting: Setting) -> Result<(), Violation> {
    let key = key(&space("a")?, b"k")?;
    let name = idempotency_key(1);
    let update = Batch::new(name).put(key.clone(), Expected::Present, b"2".as_slice());
    for _ in 0..2 {
        let answer = setting.store.commit(update.clone()).await;
        expect_conflict(
            "an update of nothing",
            &key,
            Expected::Present,
            None,
            answer,
        )?;
    }
    let too_large = vec![0; MAX_VALUE_BYTES + 1];
    let too_large = Batch::new(name).put(key.clone(), Expected::Anything, too_large);
    let answer = setting.store.commit(too_large).await;
    let refused = matches!(answer, Err(StoreError::Batch(_)));
    expect_eq("a value that is too large is refused", &true, &refused)?;

    let create = Batch::new(idempotency_key(2)).put(key.clone(), Expected::Absent, vec![1]);
    setting.commit(create).await?;
    let revision = setting.commit(update.clone()).await?;
    let answer = setting.store.commit(update).await;
    expect_eq(
        "now it is used",
        &Ok(Committed::repeated(revision)),
        &answer,
    )?;
    let found = setting.get(&key).await?;
    expect_record("what was put", Some((revision, b"2")), found.as_ref())
}

async fn remembered(setting: Setting) -> Result<(), Violation> {
    let key = key(&space("a")?, b"k")?;
    let mut names = Names::default();
    let first = names
        .batch()
        .put(key.clone(), Expected::Absent, b"1".as_slice());
    let revision = setting.commit(first.clone()).await?;
    for _ in 0..1_000 {
        let other = names
            .batch()
            .put(key.clone(), Expected::Present, b"2".as_slice());
        setting.commit(other).await?;
    }
    let answer = setting.store.commit(first).await;
    expect_eq(
        "the first batch again",
        &Ok(Committed::repeated(revision)),
        &answer,
    )
}

async fn any_bytes(setting: Setting) -> Result<(), Violation> {
    let a = space("a")?;
    for byte in [0, b'\'', b'\\', b'%', 0x7f, 0x80, 0xff] {
        let name = IdempotencyKey::from_bytes([byte; 16]);
        let batch = Batch::new(name).put(key(&a, [byte])?, Expected::Absent, vec![byte]);
        let revision = setting.commit(batch.clone()).await?;
        let answer = expect_ok(format!("{name:?} again"), setting.store.commit(batch).await)?;
        expect_eq("its answer", &Committed::repeated(revision), &answer)?;
    }
    Ok(())
}
