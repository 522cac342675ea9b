//! Secrets from JSON: what is read, and that an error says where and never what.

use std::error::Error;
use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use m2m_secrets::{
    MAX_JSON_BYTES, SecretJsonError, SecretJsonFileError, read_json, read_json_file,
};

const CANARY: &[u8; 32] = b"\xf3canary-that-no-error-may-show!\xff";

fn encoded() -> String {
    URL_SAFE_NO_PAD.encode(CANARY)
}

fn text() -> String {
    format!(
        r#"{{"secrets":[{{"name":"billing","version":1,"secret":"{0}"}},
 {{"name":"orders/eu","version":9223372036854775807,"secret":"{0}"}}]}}"#,
        encoded()
    )
}

/// All that can be seen of an error.
fn shown(error: &dyn Error) -> String {
    let mut text = format!("{error} {error:?} {error:#?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!("{error} {error:?}"));
        cause = error.source();
    }
    text
}

fn shows_nothing(error: &dyn Error) {
    let shown = shown(error);
    let encoded = encoded();
    for at in 0..encoded.len() - 6 {
        assert!(!shown.contains(&encoded[at..at + 6]), "{shown}");
    }
    assert!(
        !shown.contains("canary") && !shown.contains("billing"),
        "{shown}"
    );
    assert!(shown.len() < 512, "{shown}");
}

#[test]
fn names_versions_and_secrets_are_read() {
    let read = read_json(text().as_bytes()).unwrap();
    assert_eq!(read.len(), 2);
    assert_eq!(
        (read[0].name().as_str(), read[0].version().number()),
        ("billing", 1)
    );
    assert_eq!(read[1].version().number(), i64::MAX as u64);
    assert!(read[1].secret().expose_secret().ct_eq(CANARY));
    assert!(!format!("{read:?}").contains("canary"));
    assert!(read_json(br#"{"secrets":[]}"#).unwrap().is_empty());
}

#[test]
fn sec_019_every_damage_is_refused_with_a_place_and_without_content() {
    let whole = text();
    for end in 0..whole.len() {
        let refused = read_json(&whole.as_bytes()[..end]).unwrap_err();
        assert!(
            matches!(refused, SecretJsonError::Malformed { .. }),
            "{end}"
        );
        shows_nothing(&refused);
    }
    let mut accepted = 0;
    for at in 0..whole.len() {
        for byte in [b'"', b'{', b'}', b'!', b'\\', 0, 0xff, b'A'] {
            let mut damaged = whole.clone().into_bytes();
            damaged[at] = byte;
            match read_json(&damaged) {
                Ok(_) => accepted += 1,
                Err(error) => shows_nothing(&error),
            }
        }
    }
    assert!(accepted > 0, "a letter may become another one");
}

#[test]
fn sec_019_each_error_says_where() {
    let one = |name: &str, version: &str, secret: &str| {
        let text = format!(
            r#"{{"secrets":[{{"name":"{name}","version":{version},"secret":"{secret}"}}]}}"#
        );
        (read_json(text.as_bytes()).unwrap_err(), text)
    };
    let good = encoded();
    let (error, text) = one("bil ling", "1", &good);
    assert!(matches!(error, SecretJsonError::Name { at, .. } if text[at..].starts_with("bil ")));
    let (error, text) = one("billing", "0", &good);
    assert!(matches!(error, SecretJsonError::Version { at, .. } if text[at..].starts_with("bill")));
    let (error, text) = one("billing", "1", "not base64url!");
    assert!(matches!(error, SecretJsonError::Encoding { at } if text[at..].starts_with("not ")));
    for weak in ["", "Y2hhbmdlbWU", &URL_SAFE_NO_PAD.encode([0; 32])] {
        let (error, text) = one("billing", "1", weak);
        let SecretJsonError::Weak { at, .. } = error else {
            panic!("{error}");
        };
        assert!(text[at..].starts_with(weak));
    }
    let (error, text) = one("bill\\u0069ng", "1", &good);
    assert!(matches!(error, SecretJsonError::Escape { at } if text.as_bytes()[at] == b'\\'));
    for version in ["-1", "1.0", "18446744073709551616", "null", "\"1\""] {
        let (error, _) = one("billing", version, &good);
        assert!(
            matches!(error, SecretJsonError::Malformed { line: 1, .. }),
            "{version}"
        );
    }
    let padded = URL_SAFE_NO_PAD.encode(CANARY) + "=";
    assert!(matches!(
        one("billing", "1", &padded).0,
        SecretJsonError::Encoding { .. }
    ));
}

#[test]
fn what_is_not_asked_for_is_refused() {
    for text in [
        r#"{"secrets":[],"more":1}"#,
        r#"{"secrets":[],"secrets":[]}"#,
        r#"{"secrets":[{"name":"a","version":1}]}"#,
        r#"{}"#,
        r#"[]"#,
        r#"{"secrets":[]} x"#,
    ] {
        let refused = read_json(text.as_bytes());
        assert!(
            matches!(refused, Err(SecretJsonError::Malformed { .. })),
            "{text}"
        );
    }
    let deep = format!(r#"{{"secrets":{}"#, "[".repeat(100_000));
    assert!(matches!(
        read_json(deep.as_bytes()),
        Err(SecretJsonError::Malformed { .. })
    ));
    let long = vec![b' '; MAX_JSON_BYTES + 1];
    assert_eq!(
        read_json(&long).unwrap_err(),
        SecretJsonError::TooLong {
            found: MAX_JSON_BYTES + 1
        }
    );
}

#[test]
fn sec_019_a_file_is_named_and_its_content_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secrets.json");
    fs::write(&path, text()).unwrap();
    assert_eq!(read_json_file(&path).unwrap().len(), 2);

    fs::write(&path, &text()[..90]).unwrap();
    let refused = read_json_file(&path).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("secrets.json: malformed at line 1, column 90"),
        "{refused}"
    );
    shows_nothing(&refused);

    let missing = read_json_file(&folder.path().join("nowhere")).unwrap_err();
    assert!(matches!(missing, SecretJsonFileError::Io { .. }));
    assert!(missing.to_string().contains("nowhere"));
}
