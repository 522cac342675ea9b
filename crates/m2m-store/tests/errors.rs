//! G-4: what a store says in errors, logs and Debug is short, in one line, and holds no value.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

use std::fmt;

use m2m_store::{
    Batch, BatchError, Expected, IdempotencyKey, Key, KeyError, MAX_BATCH_BYTES, MAX_ID_BYTES,
    MAX_SPACE_BYTES, MAX_SUMMARY_BYTES, MAX_VALUE_BYTES, MemoryStore, Reason, Record, Revision,
    Space, Store, StoreError, Value,
};

const MAX_ERROR_BYTES: usize = 512;
/// CR, LF, ESC, NUL, a character that turns the direction of a line, and what is no UTF-8.
const NASTY: &[u8] = b"a\r\n\x1b[31m\0\xe2\x80\xae\xff\"'%";

fn nasty_ids() -> Vec<Vec<u8>> {
    let mut ids: Vec<Vec<u8>> = (0..=u8::MAX).map(|byte| vec![byte; MAX_ID_BYTES]).collect();
    ids.push(NASTY.iter().copied().cycle().take(MAX_ID_BYTES).collect());
    ids
}

fn longest_space() -> Space {
    Space::new(&"s".repeat(MAX_SPACE_BYTES)).unwrap()
}

fn check(shown: &dyn fmt::Display) {
    let text = shown.to_string();
    assert!(
        text.len() <= MAX_ERROR_BYTES,
        "{} bytes: {text}",
        text.len()
    );
    let bad =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(!text.contains(bad), "{text:?}");
}

fn check_both<T: fmt::Display + fmt::Debug>(error: &T) {
    check(error);
    check(&format_args!("{error:?}"));
}

fn batch_errors(key: &Key) -> Vec<BatchError> {
    let (key, found) = (key.clone(), usize::MAX);
    vec![
        BatchError::Empty,
        BatchError::TooManyOperations { found },
        BatchError::TooManyBytes { found },
        BatchError::ValueTooLarge {
            key: key.clone(),
            found,
        },
        BatchError::Summary {
            key: key.clone(),
            found,
        },
        BatchError::SameKeyTwice { key },
    ]
}

fn store_errors(key: &Key, reason: &Reason) -> Vec<StoreError> {
    let reason = || reason.clone();
    let mut errors: Vec<_> = batch_errors(key)
        .into_iter()
        .map(StoreError::Batch)
        .collect();
    for expected in [
        Expected::Anything,
        Expected::Absent,
        Expected::Present,
        Expected::Version(Revision::MAX),
    ] {
        for found in [None, Some(Revision::MAX)] {
            let key = key.clone();
            errors.push(StoreError::Conflict {
                key,
                expected,
                found,
            });
        }
    }
    errors.extend([
        StoreError::IdempotencyKeyReused {
            key: IdempotencyKey::from_bytes([0xff; 16]),
            revision: Revision::MAX,
        },
        StoreError::Full { reason: reason() },
        StoreError::Overloaded { reason: reason() },
        StoreError::Unavailable { reason: reason() },
        StoreError::OutcomeUnknown { reason: reason() },
        StoreError::Poisoned { reason: reason() },
        StoreError::Corrupt { reason: reason() },
        StoreError::Exhausted,
        StoreError::Random,
    ]);
    errors
}

#[test]
fn g_4_each_error_is_one_short_line_whatever_the_key() {
    let space = longest_space();
    let said = String::from_utf8_lossy(NASTY).repeat(50);
    let reason = Reason::new(&said);
    for id in nasty_ids() {
        let key = Key::new(&space, &id).unwrap();
        for error in store_errors(&key, &reason) {
            check_both(&error);
        }
        check_both(&key);
    }
}

#[test]
fn g_4_each_reason_is_one_short_line_whatever_was_said() {
    let said = [
        "\0",
        "\u{202e}",
        "\u{10ffff}",
        "\"",
        "\\",
        "é",
        "x",
        "\n",
        "\u{85}",
        "\u{2028}",
    ];
    for said in said {
        let reason = Reason::new(said.repeat(1_000));
        check_both(&reason);
        assert!(reason.to_string().len() <= 200);
        assert!(reason.to_string().is_ascii());
        let key = Key::new(&longest_space(), &[0; MAX_ID_BYTES]).unwrap();
        for error in store_errors(&key, &reason) {
            check_both(&error);
        }
    }
}

#[test]
fn g_4_what_is_no_key_is_refused_in_one_short_line() {
    let names = [
        "",
        "\r",
        "\0",
        "\u{202e}",
        "\u{1b}[31m",
        &"\u{10ffff}".repeat(10_000),
    ];
    for name in names {
        check_both(&Space::new(name).unwrap_err());
    }
    let error: KeyError = Key::new(&longest_space(), &[0; 100_000]).unwrap_err();
    check_both(&error);
    for bytes in [&b"\xff\xff\0a"[..], b"\0", b"\x1b\0a", NASTY] {
        check_both(&Key::from_sorted_bytes(bytes).unwrap_err());
    }
}

#[test]
fn g_4_no_error_of_a_commit_and_no_debug_text_holds_a_value() {
    let secret = b"correct horse battery staple".as_slice();
    let text = std::str::from_utf8(secret).unwrap();
    let bytes = format!("{secret:?}");
    let bytes = bytes.trim_matches(['[', ']']);
    let hides = |shown: String| {
        assert!(
            !shown.contains("correct") && !shown.contains("99, 111"),
            "{shown}"
        );
        assert!(!shown.contains(text) && !shown.contains(bytes), "{shown}");
    };

    let store = MemoryStore::new();
    let key = Key::new(&Space::new("a").unwrap(), b"k").unwrap();
    let name = IdempotencyKey::from_bytes([1; 16]);
    let batch = |name: u8, expected| {
        Batch::new(IdempotencyKey::from_bytes([name; 16])).put(key.clone(), expected, secret)
    };
    pollster::block_on(store.commit(batch(1, Expected::Absent))).unwrap();
    let large = secret.repeat(MAX_VALUE_BYTES / secret.len() + 1);
    let large = |name: u8, count: usize| {
        let mut batch = Batch::new(IdempotencyKey::from_bytes([name; 16]));
        for number in 0..count {
            let key = Key::new(&Space::new("a").unwrap(), &number.to_be_bytes()).unwrap();
            let size = if count == 1 {
                large.len()
            } else {
                MAX_VALUE_BYTES
            };
            batch = batch.put(key, Expected::Anything, &large[..size]);
        }
        batch
    };
    let long = "s".repeat(MAX_SUMMARY_BYTES + 1);
    let refused = [
        batch(2, Expected::Absent),
        batch(1, Expected::Present),
        batch(3, Expected::Present).put(key.clone(), Expected::Anything, secret),
        large(4, 1),
        large(5, MAX_BATCH_BYTES / MAX_VALUE_BYTES + 1),
        Batch::new(name).put_with_summary(key.clone(), Expected::Anything, secret, long),
    ];
    for batch in refused {
        hides(format!("{batch:?}"));
        let error = pollster::block_on(store.commit(batch)).unwrap_err();
        check_both(&error);
        hides(format!("{error} {error:?}"));
    }
    let record: Record = pollster::block_on(store.get(&key)).unwrap().unwrap();
    assert_eq!(record.value().as_bytes(), secret);
    hides(format!("{record:?} {:?} {store:?}", Value::from(secret)));
}
