//! Reading a space in order, a page at a time.

use std::collections::BTreeMap;

use super::feed::apply;
use super::setting::{
    Names, Setting, expect_at_most, expect_eq, idempotency_key, key, space, stored,
};
use super::{Case, Violation};
use crate::{
    Batch, Cursor, Expected, Key, MAX_PAGE_BYTES, MAX_PAGE_RECORDS, MAX_VALUE_BYTES, Record, Scan,
    Space,
};

pub(super) const CASES: &[Case] = cases![
    "a scan gives the records of its space in the order of their bytes" => order,
    "a prefix means these bytes, whatever they are" => prefixes,
    "behind a key means behind it, whether it is there or not" => behind,
    "a page ends at its limit and says where to go on" => limits,
    "a page ends at its limit of bytes" => byte_limit,
    "a scan goes on while others write, and the feed says what it missed" => while_others_write,
];

/// Ids that are sorted wrongly by what compares text, and matched wrongly by patterns.
const IDS: [&[u8]; 24] = [
    b"\0",
    b"\0\0",
    b"\0\xff",
    b"\x01",
    b"%",
    b"%%",
    b"1",
    b"10",
    b"2",
    b"A",
    b"B",
    b"\\",
    b"\\%",
    b"_",
    b"_a",
    b"a",
    b"a%",
    b"a_",
    b"ab",
    "ä".as_bytes(),
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\xff\xff",
];

const SPACES: [&str; 7] = ["a", "a-b", "a.b", "a_b", "aa", "ab", "b"];

/// Writes each of [`IDS`] into each of [`SPACES`], and gives the records of each, in order.
async fn fill(setting: &Setting) -> Result<BTreeMap<Space, Vec<Record>>, Violation> {
    let mut names = Names::default();
    let mut records = BTreeMap::new();
    for name in SPACES {
        let space = space(name)?;
        let mut written = Vec::new();
        // Not in their order.
        for ids in IDS.rchunks(5) {
            let mut batch = names.batch();
            for id in ids.iter().rev() {
                let value = [name.as_bytes(), id].concat();
                batch = batch.put(key(&space, id)?, Expected::Absent, value);
            }
            let version = setting.commit(batch).await?;
            for id in ids {
                let value = [name.as_bytes(), id].concat();
                written.push(stored(&key(&space, id)?, version, &value, None));
            }
        }
        written.sort_by(|one, other| one.key().id().cmp(other.key().id()));
        records.insert(space, written);
    }
    Ok(records)
}

async fn order(setting: Setting) -> Result<(), Violation> {
    for (space, expected) in fill(&setting).await? {
        for limit in [1, 2, 7, IDS.len() - 1, IDS.len(), IDS.len() + 1] {
            let scan = Scan::new(space.clone()).with_limit(limit);
            let found = setting.scan(&scan).await?;
            expect_eq(format!("{scan:?}"), &expected, &found)?;
        }
    }
    let nothing = setting.page(&Scan::new(space("c")?)).await?;
    expect_eq(
        "an empty space",
        &(true, None),
        &(nothing.records().is_empty(), nothing.next()),
    )
}

async fn prefixes(setting: Setting) -> Result<(), Violation> {
    for (space, records) in fill(&setting).await? {
        for prefix in IDS
            .into_iter()
            .chain([&b""[..], b"c", b"%_", b"\xff\xff\xff", b"\xfe"])
        {
            let meant = |record: &&Record| record.key().id().starts_with(prefix);
            let expected: Vec<_> = records.iter().filter(meant).cloned().collect();
            for limit in [1, 2, MAX_PAGE_RECORDS] {
                let scan = Scan::new(space.clone())
                    .with_prefix(prefix)
                    .with_limit(limit);
                let found = setting.scan(&scan).await?;
                expect_eq(format!("{scan:?}"), &expected, &found)?;
            }
        }
    }
    Ok(())
}

async fn behind(setting: Setting) -> Result<(), Violation> {
    let records = fill(&setting).await?;
    let mut places: Vec<Key> = Vec::new();
    for name in ["a", "a-b", "ab"] {
        for id in IDS {
            let space = space(name)?;
            places.push(key(&space, id)?);
            places.push(key(&space, [id, b"\0"].concat())?);
        }
    }
    for name in ["a", "a-b"] {
        let space = space(name)?;
        let there = records.get(&space).map(Vec::as_slice).unwrap_or_default();
        for prefix in [&b""[..], b"a", b"\xff"] {
            for place in &places {
                let meant = |record: &&Record| {
                    record.key() > place && record.key().id().starts_with(prefix)
                };
                let expected: Vec<_> = there.iter().filter(meant).cloned().collect();
                let scan = Scan::new(space.clone());
                let scan = scan.with_prefix(prefix).after(place.clone());
                let page = setting.page(&scan).await?;
                expect_eq(format!("{scan:?}"), &expected, &page.into_records())?;
            }
        }
    }
    Ok(())
}

async fn limits(setting: Setting) -> Result<(), Violation> {
    let a = space("a")?;
    let mut names = Names::default();
    let count = MAX_PAGE_RECORDS + 1;
    let numbers: Vec<_> = (0..count).collect();
    for numbers in numbers.chunks(250) {
        let mut batch = names.batch();
        for number in numbers {
            batch = batch.put(key(&a, number.to_be_bytes())?, Expected::Absent, vec![1]);
        }
        setting.commit(batch).await?;
    }
    for limit in [0, 1, 999, MAX_PAGE_RECORDS, usize::MAX] {
        let scan = Scan::new(a.clone()).with_limit(limit);
        let page = setting.page(&scan).await?;
        let expected = limit.clamp(1, MAX_PAGE_RECORDS);
        expect_eq(format!("{scan:?}"), &expected, &page.records().len())?;
        expect_eq("that more is left", &true, &page.next().is_some())?;
    }
    let all = setting.scan_all(&a).await?;
    expect_eq("all records", &count, &all.len())?;
    // Where a page is full and nothing is left, the page says so.
    let delete = setting.commit(
        names
            .batch()
            .delete(key(&a, 0_usize.to_be_bytes())?, Expected::Present),
    );
    delete.await?;
    let page = setting.page(&Scan::new(a)).await?;
    expect_eq("a full page", &MAX_PAGE_RECORDS, &page.records().len())?;
    expect_eq("where nothing is left", &None, &page.next())
}

async fn byte_limit(setting: Setting) -> Result<(), Violation> {
    let a = space("a")?;
    let count = MAX_PAGE_BYTES / MAX_VALUE_BYTES + 3;
    for number in 0..count {
        let value = vec![number as u8; MAX_VALUE_BYTES];
        let batch = Batch::new(idempotency_key(number as u64 + 1));
        let put = batch.put(key(&a, number.to_be_bytes())?, Expected::Absent, value);
        setting.commit(put).await?;
    }
    let mut scan = Scan::new(a);
    let mut found = 0;
    loop {
        let page = setting.page(&scan).await?;
        let but_last = page.records().iter().rev().skip(1);
        let bytes = but_last.map(|record| record.value().len()).sum();
        expect_at_most(
            "bytes of a page but for its last record",
            MAX_PAGE_BYTES,
            bytes,
        )?;
        found += page.records().len();
        match page.next() {
            Some(next) => scan = scan.after(next.clone()),
            None => break,
        }
    }
    expect_eq("records in all pages", &count, &found)
}

async fn while_others_write(setting: Setting) -> Result<(), Violation> {
    let a = space("a")?;
    let mut names = Names::default();
    let mut batch = names.batch();
    for number in (0..60_u8).step_by(2) {
        batch = batch.put(key(&a, [number])?, Expected::Absent, vec![0]);
    }
    setting.commit(batch).await?;

    let mut seen = BTreeMap::<Key, Record>::new();
    let mut scan = Scan::new(a.clone()).with_limit(4);
    let mut first_page = None;
    for turn in 1.. {
        let page = setting.page(&scan).await?;
        first_page = first_page.or(Some(page.as_of()));
        let next = page.next().cloned();
        for record in page.into_records() {
            let key = record.key().clone();
            let before = seen.insert(key.clone(), record);
            expect_eq(format!("that {key} comes once"), &None, &before)?;
        }
        let Some(next) = next else { break };
        scan = scan.after(next.clone());
        // In front of the place and behind it, and the place itself.
        let place = next.id().first().copied().unwrap_or_default();
        let write = names
            .batch()
            .delete(next, Expected::Present)
            .put(key(&a, [0])?, Expected::Anything, vec![turn])
            .put(
                key(&a, [place.saturating_sub(3)])?,
                Expected::Anything,
                vec![turn],
            )
            .put(
                key(&a, [place.saturating_add(1)])?,
                Expected::Anything,
                vec![turn],
            )
            .delete(key(&a, [place.saturating_add(2)])?, Expected::Anything);
        setting.commit(write).await?;
        let behind = seen.contains_key(&key(&a, [place.saturating_add(2)])?);
        expect_eq("that nothing behind the place was seen", &false, &behind)?;
    }
    let since = first_page.unwrap_or(Cursor::START);
    apply(setting.feed(&a, since, 3).await?.0, &mut seen);
    let seen: Vec<_> = seen.into_values().collect();
    expect_eq(
        "the scan and the feed since",
        &setting.scan_all(&a).await?,
        &seen,
    )
}
