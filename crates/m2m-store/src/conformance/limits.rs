//! What a store takes: exactly up to its limits, and every byte.

use super::setting::{Names, Setting, expect_eq, expect_ok, key, space, stored};
use super::{Case, Violation};
use crate::{
    Batch, BatchError, Expected, Key, MAX_BATCH_BYTES, MAX_BATCH_OPERATIONS, MAX_ID_BYTES,
    MAX_SPACE_BYTES, MAX_SUMMARY_BYTES, MAX_VALUE_BYTES, Scan, Space, StoreError,
};

pub(super) const CASES: &[Case] = cases![
    "STO-017 every byte can be in an id and in a value" => every_byte,
    "STO-017 a summary is text, and comes back as it was" => summaries,
    "what is exactly at a limit is taken" => at_the_limits,
    "G-2 what is beyond a limit is refused, and nothing is written" => beyond_the_limits,
];

async fn every_byte(setting: Setting) -> Result<(), Violation> {
    let mut names = Names::default();
    let spaces = [
        space("a")?,
        space(&"z".repeat(MAX_SPACE_BYTES))?,
        space("0-_.9")?,
        space("select")?,
    ];
    let mut ids: Vec<Vec<u8>> = (0..=u8::MAX).map(|byte| vec![byte]).collect();
    ids.extend(
        (0..=u8::MAX)
            .step_by(15)
            .map(|byte| vec![byte; MAX_ID_BYTES]),
    );
    let all: Vec<u8> = (0..=u8::MAX).collect();
    ids.push(all.clone());
    ids.push([all.clone(), all].concat());
    let texts: [&[u8]; 9] = [
        b"'; DROP TABLE records; --",
        b"\"quoted\"",
        b"50%_off\\",
        b"\\x00",
        b"\\000",
        b"\0\0\0",
        b"\xc3\x28 is not UTF-8",
        b"\xed\xa0\x80 neither",
        "ü € 𝄞 \u{202e}".as_bytes(),
    ];
    ids.extend(texts.map(Vec::from));
    for space in spaces {
        let mut expected = Vec::new();
        for ids in ids.chunks(MAX_BATCH_OPERATIONS) {
            let mut batch = names.batch();
            let mut keys = Vec::new();
            for id in ids {
                let key = key(&space, id)?;
                batch = batch.put(key.clone(), Expected::Absent, id.as_slice());
                keys.push(key);
            }
            let version = setting.commit(batch).await?;
            expected.extend(keys.iter().map(|key| stored(key, version, key.id(), None)));
        }
        for record in &expected {
            let found = setting.get(record.key()).await?;
            expect_eq(
                format!("get {}", record.key()),
                &Some(record),
                &found.as_ref(),
            )?;
        }
        expected.sort_by(|one, other| one.key().cmp(other.key()));
        let found = setting.scan_all(&space).await?;
        expect_eq(format!("all of {space}"), &expected, &found)?;
    }
    Ok(())
}

async fn summaries(setting: Setting) -> Result<(), Violation> {
    let mut names = Names::default();
    let a = space("a")?;
    let summaries = [
        None,
        Some(String::new()),
        Some(r#"{"name":"it's \"x\" \\u0000","n":1.50}"#.into()),
        Some("'; DROP TABLE records; -- 50%_off $1 {} \\x00".into()),
        Some("line\nline\r\ttab \u{1} \u{1b}[31m \u{7f} \u{85} \u{202e}".into()),
        Some("ü € 𝄞 \u{fffe} \u{10ffff}".into()),
        Some("x".repeat(MAX_SUMMARY_BYTES)),
        Some("𝄞".repeat(MAX_SUMMARY_BYTES / 4)),
    ];
    for (number, summary) in (0_u8..).zip(&summaries) {
        let key = key(&a, [number])?;
        // Also over another one.
        for summary in [summary.as_deref(), None, summary.as_deref()] {
            let batch = names.batch();
            let batch = match summary {
                Some(text) => {
                    batch.put_with_summary(key.clone(), Expected::Anything, vec![number], text)
                }
                None => batch.put(key.clone(), Expected::Anything, vec![number]),
            };
            let version = setting.commit(batch).await?;
            let expected = stored(&key, version, &[number], summary);
            let found = setting.get(&key).await?;
            expect_eq("a record with its summary", &Some(expected), &found)?;
        }
    }
    let found = setting.scan_all(&a).await?;
    let found: Vec<_> = found.iter().map(|record| record.summary()).collect();
    let expected: Vec<_> = summaries.iter().map(Option::as_deref).collect();
    expect_eq("the summaries in a scan", &expected, &found)
}

/// Batches that a store must take, each as large as can be in one way.
fn largest(space: &Space) -> Result<Vec<Batch>, Violation> {
    let mut names = Names::default();
    let mut many = names.batch();
    for number in 0..MAX_BATCH_OPERATIONS {
        let mut id = [0xff; MAX_ID_BYTES];
        let (end, _) = id.split_at_mut(size_of::<usize>());
        end.copy_from_slice(&number.to_be_bytes());
        many = many.put(key(space, id)?, Expected::Absent, Vec::new());
    }
    let value = names.batch().put(
        key(space, b"value")?,
        Expected::Absent,
        vec![0; MAX_VALUE_BYTES],
    );
    let summary = "s".repeat(MAX_SUMMARY_BYTES);
    let summary =
        names
            .batch()
            .put_with_summary(key(space, b"summary")?, Expected::Absent, vec![1], summary);
    Ok(vec![many, value, summary, full(space, names.batch(), 0)?])
}

/// Fills `batch` up to the last byte, and `more`.
fn full(space: &Space, mut batch: Batch, more: usize) -> Result<Batch, Violation> {
    for number in 0..5_u8 {
        let key = key(space, [b'f', number])?;
        let left = MAX_BATCH_BYTES + more - batch.bytes() - key.as_sorted_bytes().len();
        let value = vec![number; left.min(MAX_VALUE_BYTES - 1024)];
        batch = batch.put(key, Expected::Absent, value);
    }
    Ok(batch)
}

async fn at_the_limits(setting: Setting) -> Result<(), Violation> {
    let a = space("a")?;
    for batch in largest(&a)? {
        let values: Vec<_> = batch.operations().to_vec();
        let promise = format!("{} operations, {} bytes", values.len(), batch.bytes());
        let version = expect_ok(&promise, setting.store.commit(batch).await)?.revision();
        for operation in values {
            let found = setting.get(operation.key()).await?;
            let action = found.map(|record| crate::Action::Put {
                summary: record.summary().map(Into::into),
                value: record.into_value(),
            });
            expect_eq(&promise, &Some(operation.action()), &action.as_ref())?;
        }
        expect_eq(&promise, &true, &(version.number() > 0))?;
    }
    Ok(())
}

async fn beyond_the_limits(setting: Setting) -> Result<(), Violation> {
    let mut names = Names::default();
    let a = space("a")?;
    let one = key(&a, b"1")?;
    let put = |batch: Batch, key: &Key| batch.put(key.clone(), Expected::Anything, vec![1]);

    let mut many = names.batch();
    for number in 0..=MAX_BATCH_OPERATIONS {
        many = put(many, &key(&a, number.to_be_bytes())?);
    }
    let anything = Expected::Anything;
    let large = vec![0; MAX_VALUE_BYTES + 1];
    let long = "s".repeat(MAX_SUMMARY_BYTES + 1);
    let refused = [
        (names.batch(), BatchError::Empty),
        (
            many,
            BatchError::TooManyOperations {
                found: MAX_BATCH_OPERATIONS + 1,
            },
        ),
        (
            full(&a, names.batch(), 1)?,
            BatchError::TooManyBytes {
                found: MAX_BATCH_BYTES + 1,
            },
        ),
        (
            put(names.batch(), &key(&a, b"2")?).put(one.clone(), anything, large),
            BatchError::ValueTooLarge {
                key: one.clone(),
                found: MAX_VALUE_BYTES + 1,
            },
        ),
        (
            put(names.batch(), &key(&a, b"2")?).put_with_summary(
                one.clone(),
                anything,
                vec![1],
                long,
            ),
            BatchError::Summary {
                key: one.clone(),
                found: MAX_SUMMARY_BYTES + 1,
            },
        ),
        (
            names
                .batch()
                .put_with_summary(one.clone(), anything, vec![1], "a\0b"),
            BatchError::Summary {
                key: one.clone(),
                found: 3,
            },
        ),
        (
            put(put(names.batch(), &key(&a, b"2")?), &one).check(one.clone(), anything),
            BatchError::SameKeyTwice { key: one.clone() },
        ),
    ];
    let before = setting.page(&Scan::new(a.clone())).await?.as_of();
    for (batch, error) in refused {
        let promise = format!("a batch with {error}");
        let name = batch.idempotency_key();
        let answer = setting.store.commit(batch).await;
        expect_eq(&promise, &Err(StoreError::Batch(error)), &answer)?;
        setting.expect_nothing_since(before, &promise).await?;
        // Its name was not used up.
        let small = Batch::new(name).check(one.clone(), Expected::Absent);
        setting.commit(small).await?;
    }
    Ok(())
}
