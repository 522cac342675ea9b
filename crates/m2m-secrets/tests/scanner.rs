//! Keys where they should not be: found, told from typos, cut out; and the rules for other programs.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

use m2m_crypto::SystemRandom;
use m2m_secrets::{KeyFormat, KeyScanner, MalformedKey, ScannerError};
use proptest::prelude::*;
use regex::bytes::Regex;

fn formats() -> Vec<KeyFormat> {
    let new = |prefix, environment| KeyFormat::new(prefix, environment).unwrap();
    vec![new("acme", "live"), new("acme", "test"), new("m2m", "prod")]
}

fn scanner() -> KeyScanner {
    KeyScanner::new(formats()).unwrap()
}

fn new_key(format: &KeyFormat) -> String {
    let key = format.generate(&SystemRandom).unwrap();
    key.expose_secret().to_owned()
}

#[test]
fn keys_are_found_whatever_stands_around_them() {
    let formats = formats();
    let keys: Vec<String> = formats.iter().map(new_key).collect();
    let scanner = scanner();
    for (before, after) in [
        ("", ""),
        ("KEY=", "\n"),
        ("https://api.example/?key=", "&page=2"),
        ("{\"log\":\"first line\\n", "\\nlast line\"}"),
        ("aacme_live_acme_", "_"),
        ("acme_live_acme_test_0123456789_", "zzz"),
        ("\u{0}\u{fffd}", "\u{fffd}"),
    ] {
        let mut text = String::new();
        let mut places = Vec::new();
        for key in &keys {
            text.push_str(before);
            places.push((text.len(), text.len() + key.len()));
            text.push_str(key);
            text.push_str(after);
        }
        let found: Vec<_> = scanner.find_in(text.as_bytes()).collect();
        let found_at: Vec<_> = found.iter().map(|key| (key.start(), key.end())).collect();
        assert_eq!(found_at, places, "{before:?} {after:?}");
        for ((key, format), text) in found.iter().zip(&formats).zip(&keys) {
            assert_eq!(key.format(), format);
            assert_eq!(key.key().id(), format.parse(text.as_bytes()).unwrap().id());
        }
    }
}

#[test]
fn a_key_begins_where_a_false_start_ends() {
    let key = new_key(&formats()[0]);
    for cut in 1..key.len() {
        let text = format!("{}{key}", &key[..cut]);
        let found: Vec<_> = scanner()
            .find_in(text.as_bytes())
            .map(|f| f.start())
            .collect();
        assert_eq!(found, [cut], "behind {cut} bytes of the same key");
    }
}

#[test]
fn what_only_looks_like_a_key_is_not_found() {
    let key = new_key(&formats()[0]);
    let typo = match key.ends_with('0') {
        true => format!("{}1", &key[..key.len() - 1]),
        false => format!("{}0", &key[..key.len() - 1]),
    };
    let text = format!("{typo} acme_live_xxxxxxxxxxx_{}_xxxxxx", "x".repeat(32));
    assert_eq!(scanner().find_in(text.as_bytes()).count(), 0);
    assert_eq!(
        scanner().recognise(typo.as_bytes()).unwrap_err(),
        MalformedKey::Checksum
    );
}

#[test]
fn real_and_typo_are_told_apart_without_a_database() {
    let scanner = scanner();
    for format in formats() {
        let key = new_key(&format);
        assert_eq!(*scanner.recognise(key.as_bytes()).unwrap().format(), format);
        let cut = scanner.recognise(&key.as_bytes()[..key.len() - 1]);
        let (found, expected) = (key.len() - 1, key.len());
        assert_eq!(cut.unwrap_err(), MalformedKey::Length { found, expected });
    }
    let refused = |text: &str| scanner.recognise(text.as_bytes()).unwrap_err();
    assert_eq!(refused("acme_stage_1"), MalformedKey::Environment);
    assert_eq!(refused("hunter2"), MalformedKey::Prefix);
    let none = KeyScanner::new(Vec::new());
    assert!(matches!(none, Err(ScannerError { .. })));
    assert!(KeyScanner::new(vec![formats().remove(0); 65]).is_err());
}

#[test]
fn sec_020_what_strangers_sent_is_fit_for_a_record_after_redaction() {
    let key = new_key(&formats()[0]);
    let secret = &key[22..54];
    let request = [
        b"POST /pay HTTP/1.1\r\nAuthorization: Bearer ".as_slice(),
        key.as_bytes(),
        b"\r\n\r\n{\"key\":\"",
        key.as_bytes(),
        b"\"}\xff\x00",
    ]
    .concat();
    let clean = scanner().redact(&request);
    let text = String::from_utf8_lossy(&clean);
    for part in secret.as_bytes().windows(4) {
        assert!(!clean.windows(4).any(|window| window == part), "{text}");
    }
    let shown = format!("acme_live_{}_[redacted]", &key[10..21]);
    assert_eq!(text.matches(&shown).count(), 2, "{text}");
    assert!(clean.ends_with(b"\"}\xff\x00"));
    assert_eq!(scanner().redact(b"nothing here"), b"nothing here");
}

fn expressions() -> Vec<(KeyFormat, Regex)> {
    let compile = |format: KeyFormat| {
        let expression = Regex::new(&format.regular_expression()).unwrap();
        (format, expression)
    };
    formats().into_iter().map(compile).collect()
}

#[test]
fn the_expression_matches_what_is_made_and_no_near_miss() {
    let expressions = expressions();
    for (format, expression) in &expressions {
        for _ in 0..50 {
            let key = new_key(format);
            for text in [
                key.clone(),
                format!("\"{key}\""),
                format!("KEY={key}\n"),
                format!("\\n{key}\\n"),
            ] {
                let found = expression.find(text.as_bytes()).expect("a key is there");
                assert_eq!(found.as_bytes(), key.as_bytes());
            }
            for near in [
                &key[..key.len() - 1],
                &format!("{key}0"),
                &key.replacen('_', "-", 1),
                &key.to_uppercase(),
                &format!("{}!{}", &key[..30], &key[31..]),
                &format!("{}{}", &key[..30], &key[31..]),
                &format!("{}0{}", &key[..30], &key[30..]),
            ] {
                assert!(!expression.is_match(near.as_bytes()), "{near}");
            }
            for (other, theirs) in &expressions {
                assert_eq!(theirs.is_match(key.as_bytes()), other == format);
            }
        }
    }
}

#[test]
fn the_rules_hold_the_expressions() {
    let scanner = scanner();
    let (gitleaks, trufflehog) = (scanner.gitleaks_rules(), scanner.trufflehog_detectors());
    let of = |text: &str, begin: &str, end: &str| -> Vec<String> {
        let lines = text.lines().map(str::trim);
        let inner = lines.filter_map(|line| line.strip_prefix(begin)?.strip_suffix(end));
        inner.map(str::to_owned).collect()
    };
    let expected: Vec<String> = formats()
        .iter()
        .map(KeyFormat::regular_expression)
        .collect();
    assert_eq!(of(&gitleaks, "regex = '''", "'''"), expected);
    assert_eq!(of(&trufflehog, "key: '", "'"), expected);
    let names = ["acme-live-api-key", "acme-test-api-key", "m2m-prod-api-key"];
    assert_eq!(of(&gitleaks, "id = \"", "\""), names);
    assert_eq!(of(&trufflehog, "- name: ", ""), names);
    assert_eq!(
        gitleaks.lines().take(5).collect::<Vec<_>>(),
        [
            "[[rules]]",
            "id = \"acme-live-api-key\"",
            "description = \"API key of acme for live\"",
            r"regex = '''acme_live_[0-9A-Za-z]{11}_[0-9A-Za-z]{32}_[0-9A-Za-z]{6}\b'''",
            "keywords = [\"acme_live_\"]",
        ]
    );
    assert!(trufflehog.starts_with("detectors:\n  - name: acme-live-api-key\n    keywords:\n      - acme_live_\n    regex:\n      key: 'acme_live_"));
}

proptest! {
    /// The finder finds all that the expressions match and whose checksum fits, and nothing else.
    #[test]
    fn finder_and_expressions_agree(
        pieces in proptest::collection::vec((0_usize..5, any::<prop::sample::Index>(), "[a-z_ \\n]{0,6}"), 0..12)
    ) {
        let formats = formats();
        let mut text = Vec::new();
        for (kind, index, noise) in &pieces {
            let mut key = new_key(&formats[kind % 3]).into_bytes();
            if *kind >= 3 {
                let at = index.index(key.len());
                key[at] = b'x';
            }
            text.extend_from_slice(&key);
            // Expressions want a boundary behind.
            text.push(b' ');
            text.extend_from_slice(noise.as_bytes());
        }
        let scanner = scanner();
        let found: Vec<usize> = scanner.find_in(&text).map(|key| key.start()).collect();
        let mut matched = Vec::new();
        for (format, expression) in expressions() {
            for place in expression.find_iter(&text) {
                if format.parse(place.as_bytes()).is_ok() {
                    matched.push(place.start());
                }
            }
        }
        matched.sort_unstable();
        prop_assert_eq!(found, matched);
    }
}
