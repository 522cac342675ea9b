//! The examples that the standards print, each with the verdict that it should have.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

use caep_set::{Members, Profile, Reading, SecurityEvent, Severity, SubjectId, Verdict};
use m2m_types::Timestamp;
use serde_json::Value;

fn index() -> Option<Vec<Value>> {
    let index = m2m_testkit::vectors::read_json("ssf/index.json")?;
    Some(index["vectors"].as_array().unwrap().clone())
}

fn read(file: &str) -> String {
    m2m_testkit::vectors::read(&format!("ssf/{file}")).unwrap()
}

/// After all that is printed, but for one that is a mistake.
fn now() -> Timestamp {
    Timestamp::from_unix_seconds(2_000_000_000).unwrap()
}

fn profile_of(file: &str) -> Profile {
    match file.split('/').next().unwrap() {
        "rfc9967" => Profile::scim(),
        "rfc8417" | "rfc8935" | "rfc8936" | "rfc9493" => Profile::rfc8417(),
        _ => Profile::ssf(),
    }
}

#[test]
fn sets_of_the_standards_have_the_verdict_they_should() {
    let Some(index) = index() else { return };
    let mut seen = 0;
    let mut wrong = Vec::new();
    for vector in &index {
        let (file, kind) = (
            vector["file"].as_str().unwrap(),
            vector["kind"].as_str().unwrap(),
        );
        if !matches!(kind, "set-claims" | "decoded-jwt" | "broken-json")
            || file.ends_with("body.json.txt")
        {
            continue;
        }
        seen += 1;
        let text = read(file);
        // A decoded token has its claims beside its header.
        let claims = serde_json::from_str::<Value>(&text)
            .ok()
            .and_then(|value| Some(value.get("payload").or(value.get("claims"))?.to_string()))
            .unwrap_or(text);
        let verdict = |profile: &Profile| Reading::of_claims(&claims, profile, now());
        let reading = verdict(&profile_of(file));
        let expected = match vector["valid"].as_str().unwrap() {
            "valid" => Verdict::Conforming,
            // RFC 9493 prints one without `jti`.
            "valid-legacy" if file.starts_with("rfc9493") => Verdict::Violating,
            "valid-legacy" => {
                if verdict(&Profile::ssf()).verdict() != Verdict::Violating {
                    wrong.push(format!("{file} is taken for SSF 1.0"));
                }
                Verdict::Conforming
            }
            _ => Verdict::Violating,
        };
        if reading.verdict() != expected {
            wrong.push(format!(
                "{file}: {:?} {:?}",
                reading.verdict(),
                reading.findings()
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    println!("{seen} SETs of the standards");
    assert!(seen > 50, "{seen}");
}

#[test]
fn what_the_standards_print_survives_a_round_trip() {
    let Some(index) = index() else { return };
    for vector in &index {
        let file = vector["file"].as_str().unwrap();
        if vector["kind"] != "set-claims" || vector["valid"] != "valid" {
            continue;
        }
        let text = read(file);
        let original: Value = serde_json::from_str(&text).unwrap();
        let reading = Reading::of_claims(&text, &profile_of(file), now());
        let token = reading.into_token().unwrap();
        let [event] = token.events() else {
            panic!("{file} has {} events", token.events().len());
        };
        let mut again = SecurityEvent::new(token.subject().unwrap().clone(), event.clone());
        if let Some(transaction) = token.transaction() {
            again = again.with_transaction(transaction);
        }
        let written: Value = serde_json::to_value(&again).unwrap();
        for name in ["sub_id", "events", "txn"] {
            assert_eq!(written.get(name), original.get(name), "{file}: {name}");
        }
    }
}

#[test]
fn subjects_of_the_standards_are_read_and_written() {
    let Some(index) = index() else { return };
    let mut seen = 0;
    for vector in &index {
        let file = vector["file"].as_str().unwrap();
        let text = match vector["kind"].as_str().unwrap() {
            "subject-identifier" => read(file),
            "subject-request" | "jwt-claims" => {
                let value: Value = serde_json::from_str(&read(file)).unwrap();
                let subject = value.get("subject").or(value.get("sub_id")).unwrap();
                subject.to_string()
            }
            _ => continue,
        };
        let subject = SubjectId::from_json(&text);
        if vector["valid"] == "invalid" {
            let error = subject.unwrap_err();
            assert_eq!(error.member(), "format", "{file}");
            continue;
        }
        seen += 1;
        let subject = subject.unwrap_or_else(|error| panic!("{file}: {error}"));
        let written: Value = serde_json::to_value(&subject).unwrap();
        assert_eq!(
            written,
            serde_json::from_str::<Value>(&text).unwrap(),
            "{file}"
        );
        assert!(subject.is_known(), "{file}");
    }
    assert!(seen >= 25, "{seen}");
}

/// Forms from before the standards: refused by default, taken where that is asked for.
#[test]
fn older_dialects_are_switches() {
    let google = r#"{
        "iss": "https://accounts.google.example/", "aud": "client", "iat": 1508184845, "jti": "756E",
        "events": {"https://schemas.openid.net/secevent/risc/event-type/account-disabled": {
            "subject": {"subject_type": "iss-sub", "iss": "https://accounts.google.example/", "sub": "7375"},
            "reason": "hijacking"
        }}
    }"#;
    let reading = Reading::of_claims(google, &Profile::google_risc(), now());
    assert_eq!(
        reading.verdict(),
        Verdict::Conforming,
        "{:?}",
        reading.findings()
    );
    let subject = SubjectId::issuer_subject("https://accounts.google.example/", "7375").unwrap();
    assert_eq!(reading.token().unwrap().subject(), Some(&subject));
    let strict = Reading::of_claims(google, &Profile::ssf(), now());
    assert_eq!(strict.verdict(), Verdict::Violating);

    let apple = r#"{
        "iss": "https://transmitter.example", "aud": "client", "iat": 1508184845, "jti": "1",
        "events": {"https://schemas.openid.net/secevent/caep/event-type/session-revoked": {
            "subject": {"user": {"format": "email", "email": "a@x.example"},
                        "tenant": {"format": "opaque", "id": "acme"}}
        }}
    }"#;
    let reading = Reading::of_claims(apple, &Profile::apple(), now());
    assert_eq!(
        reading.verdict(),
        Verdict::Conforming,
        "{:?}",
        reading.findings()
    );
    let token = reading.token().unwrap();
    assert_eq!(token.subject().unwrap().format_name(), "complex");
    assert_eq!(
        Reading::of_claims(apple, &Profile::ssf(), now()).verdict(),
        Verdict::Violating
    );

    let verification = r#"{
        "iss": "https://transmitter.example", "aud": "client", "iat": 1508184845, "jti": "1",
        "events": {"https://schemas.openid.net/secevent/sse/event-type/verification": {"state": "abc"}}
    }"#;
    let reading = Reading::of_claims(verification, &Profile::apple(), now());
    let event = reading.token().unwrap().event();
    assert!(
        matches!(event, Some(caep_set::Event::Verification(_))),
        "{event:?}"
    );
}

#[test]
fn members_that_formats_do_not_name_are_kept_and_can_be_refused() {
    let json = r#"{"format":"email","email":"a@x.example","note":{"b":[1.50]}}"#;
    let subject = SubjectId::from_json(json).unwrap();
    assert_eq!(serde_json::to_string(&subject).unwrap(), json);
    assert_eq!(subject, SubjectId::email("a@x.example").unwrap());
    let claims = format!(
        r#"{{"iss":"a","jti":"b","iat":1,"aud":"c","txn":"d","sub_id":{json},"events":{{"urn:x":{{}}}}}}"#
    );
    let reading = Reading::of_claims(&claims, &Profile::ssf(), now());
    assert_eq!(reading.verdict(), Verdict::Conforming);
    let strict = Profile::ssf().with_only_known_subject_members();
    let reading = Reading::of_claims(&claims, &strict, now());
    assert_eq!(reading.findings()[0].rule(), "RFC 9493 §3");
    assert_eq!(reading.findings()[0].severity(), Severity::Violation);
}

#[test]
fn members_keep_numbers_as_they_were_written() {
    let json = r#"{"a":123456789012345678901234567890,"b":1.10,"c":1e400}"#;
    let members = Members::from_json(json).unwrap();
    assert_eq!(serde_json::to_string(&members).unwrap(), json);
}
