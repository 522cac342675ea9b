//! What somebody may send to a receiver of SETs.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

mod common;

use std::time::Duration;

use caep_set::{
    ErrorCode, EventTime, Format, Matching, Profile, Reading, SetError, SubjectId, Verdict,
};
use common::{NOW, RECEIVER, SESSION_REVOKED, TRANSMITTER, Transmitter, at, claims, verify};
use m2m_token::{Audience, Issuers, Scratch, TokenType, Verifier, VerifyError};
use serde_json::{Value, json};

fn verdict(changes: &Value) -> Verdict {
    verdict_by(changes, &Profile::ssf())
}

fn verdict_by(changes: &Value, profile: &Profile) -> Verdict {
    let transmitter = Transmitter::new();
    let set = transmitter.set(&claims(changes));
    let verifier = transmitter.verifier(profile.clone());
    verify(&verifier, &set).map_or(Verdict::Violating, |set| set.verdict())
}

fn problems(changes: &Value) -> Vec<String> {
    let reading = Reading::of_claims(&claims(changes), &Profile::ssf(), at(NOW));
    reading.findings().iter().map(ToString::to_string).collect()
}

#[test]
fn set_001_other_tokens_are_no_sets() {
    let transmitter = Transmitter::new();
    let plain = json!({
        "iss": TRANSMITTER, "aud": RECEIVER, "sub": "alice", "iat": NOW - 10, "exp": NOW + 300,
        "jti": "1", "htm": "POST", "htu": RECEIVER, "nonce": "n",
    });
    for profile in [
        Profile::ssf(),
        Profile::rfc8417(),
        Profile::scim(),
        Profile::google_risc(),
        Profile::apple(),
    ] {
        let verifier = transmitter.verifier(profile);
        for typ in [
            r#""typ":"at+jwt","#,
            r#""typ":"JWT","#,
            r#""typ":"dpop+jwt","#,
            "",
        ] {
            let header = format!(r#"{{{typ}"alg":"ES256","kid":"k1"}}"#);
            let error = verify(&verifier, &transmitter.sign(&header, &plain.to_string()));
            assert_eq!(
                error.unwrap_err().code(),
                ErrorCode::InvalidRequest,
                "{typ}"
            );
        }
        // Nor does it help to say that it is one.
        let error = verify(&verifier, &transmitter.set(&plain.to_string())).unwrap_err();
        assert!(
            matches!(error, SetError::Token(VerifyError::ClaimMissing { .. })),
            "{error}"
        );
        // Nor to be one for everything but the type.
        let header = r#"{"typ":"at+jwt","alg":"ES256","kid":"k1"}"#;
        let error = verify(&verifier, &transmitter.sign(header, &claims(&json!({}))));
        assert_eq!(error.unwrap_err().code(), ErrorCode::InvalidRequest);
    }
}

#[test]
fn set_002_a_set_is_no_access_token() {
    let transmitter = Transmitter::new();
    let verifier = |token_type| {
        Verifier::builder(
            Issuers::one(TRANSMITTER, transmitter.keys()),
            Audience::exactly(RECEIVER),
            token_type,
        )
        .build()
        .unwrap()
    };
    let set = transmitter.set(&claims(&json!({"sub": "alice", "exp": NOW + 300})));
    for token_type in [
        TokenType::access_token(),
        TokenType::jwt(),
        TokenType::jwt_or_absent(),
        TokenType::named("client-authentication+jwt"),
    ] {
        let verifier = verifier(token_type);
        let error = verifier
            .verify(&set, at(NOW), &mut Scratch::new())
            .unwrap_err();
        assert!(matches!(error, VerifyError::Type { .. }), "{error}");
    }
    // With the right type it would have been taken: the type alone keeps them apart.
    let verifier = verifier(TokenType::named("secevent+jwt"));
    assert!(verifier.verify(&set, at(NOW), &mut Scratch::new()).is_ok());
}

/// Each kind of damage gets the same answer from a verifier of SETs as from one of tokens.
#[test]
fn set_003_a_set_is_checked_like_any_token() {
    let transmitter = Transmitter::new();
    let sets = transmitter.verifier(Profile::rfc8417());
    let tokens = Verifier::builder(
        Issuers::one(TRANSMITTER, transmitter.keys()),
        Audience::exactly(RECEIVER),
        TokenType::named("secevent+jwt"),
    )
    .danger_accepting_no_expiry()
    .with_leeway(Duration::from_secs(60))
    .build()
    .unwrap();
    let good = transmitter.set(&claims(&json!({})));
    let header = |text: &str| transmitter.sign(text, &claims(&json!({})));
    let mut damaged = vec![
        String::new(),
        "..".to_owned(),
        good.replace('.', " ."),
        format!("{good}="),
        format!("{good}.x"),
        good[..good.len() - 1].to_owned(),
        good.rsplit_once('.').unwrap().0.to_owned() + ".",
        "a".repeat(9000),
        header(r#"{"typ":"secevent+jwt","alg":"none","kid":"k1"}"#),
        header(r#"{"typ":"secevent+jwt","alg":"HS256","kid":"k1"}"#),
        header(r#"{"typ":"secevent+jwt","alg":"ES384","kid":"k1"}"#),
        header(r#"{"typ":"secevent+jwt","alg":"ES256","kid":"k2"}"#),
        header(r#"{"typ":"secevent+jwt","alg":"ES256","kid":"k1","crit":["x"],"x":1}"#),
        header(r#"{"typ":"secevent+jwt","alg":"ES256","kid":"k1","b64":false}"#),
        header(r#"{"typ":"secevent+jwt","typ":"secevent+jwt","alg":"ES256","kid":"k1"}"#),
        transmitter.set("[]"),
        transmitter.set("{"),
        transmitter.set(&format!("{}x", claims(&json!({})))),
        transmitter.set(&claims(&json!({"iss": null}))),
        transmitter.set(&claims(&json!({"aud": null}))),
        transmitter.set(&claims(
            &json!({"aud": [RECEIVER, "https://other.example"]}),
        )),
        transmitter.set(&claims(&json!({"iat": NOW + 61}))),
        transmitter.set(&claims(&json!({"exp": "soon"}))),
        transmitter.set(&claims(&json!({"nbf": NOW + 61}))),
        transmitter.set(&claims(&json!({})).replacen('{', r#"{"iss":"x","#, 1)),
        transmitter.set(&claims(&json!({"deep": nested(40)}))),
    ];
    // Every byte of it, once.
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] ^= 1;
        damaged.extend(String::from_utf8(bytes));
    }
    for set in damaged {
        let mut scratch = Scratch::new();
        let expected = tokens.verify(&set, at(NOW), &mut scratch).err();
        let found = verify(&sets, &set).err();
        assert_eq!(found, expected.map(SetError::Token), "{set}");
        assert!(found.is_some(), "{set}");
    }
    assert!(verify(&sets, &good).is_ok());
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!([inner]))
}

#[test]
fn set_004_events_are_one_object_of_objects() {
    let revoked = SESSION_REVOKED;
    let changed = "https://schemas.openid.net/secevent/caep/event-type/credential-change";
    for events in [
        json!({}),
        json!([]),
        json!("x"),
        json!([revoked]),
        json!({revoked: null}),
        json!({revoked: []}),
        json!({revoked: "x"}),
        json!({revoked: {}, changed: {"credential_type": "x509", "change_type": "revoke"}}),
        json!({revoked.to_uppercase(): {}}),
        json!({"HTTPS://schemas.openid.net/secevent/caep/event-type/session-revoked": {}}),
    ] {
        assert_eq!(
            verdict(&json!({"events": events.clone()})),
            Verdict::Violating,
            "{events}"
        );
    }
    // `null` takes the claim away.
    assert_eq!(verdict(&json!({"events": null})), Verdict::Violating);
    let twice = claims(&json!({})).replacen(
        r#""events":{"#,
        &format!(r#""events":{{"{revoked}":{{}},"#),
        1,
    );
    let reading = Reading::of_claims(&twice, &Profile::ssf(), at(NOW));
    assert_eq!(reading.verdict(), Verdict::Violating);
    // What is not known is no mistake, and means nothing.
    let unknown = json!({"events": {"https://x.example/event": {"a": 1}}});
    assert_eq!(verdict(&unknown), Verdict::Conforming);
    // RFC 8417 alone and SCIM allow several.
    let both = json!({"events": {revoked: {}, "https://x.example/event": {}}});
    assert_eq!(verdict(&both), Verdict::Violating);
    assert_eq!(verdict_by(&both, &Profile::rfc8417()), Verdict::Conforming);
    assert_eq!(verdict_by(&both, &Profile::scim()), Verdict::Conforming);
}

#[test]
fn set_005_payloads_are_bounded() {
    let events = |payload: Value| json!({"events": {SESSION_REVOKED: payload}});
    for payload in [
        json!(null),
        json!([]),
        json!("x".repeat(1 << 20)),
        nested(1000),
    ] {
        assert_eq!(verdict(&events(payload)), Verdict::Violating);
    }
    let many: serde_json::Map<String, Value> =
        (0..1000).map(|at| (format!("m{at}"), json!(at))).collect();
    assert_eq!(
        verdict(&events(Value::Object(many.clone()))),
        Verdict::Violating
    );
    // Also where no token bounds it.
    let reading = Reading::of_claims(
        &claims(&events(Value::Object(many))),
        &Profile::ssf(),
        at(NOW),
    );
    assert_eq!(reading.verdict(), Verdict::Violating);
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    let text = claims(&json!({})).replacen('{', &format!(r#"{{"deep":{deep},"#), 1);
    let reading = Reading::of_claims(&text, &Profile::ssf(), at(NOW));
    assert_eq!(reading.verdict(), Verdict::Violating);
    let events: serde_json::Map<String, Value> = (0..100)
        .map(|at| (format!("urn:x:{at}"), json!({})))
        .collect();
    let reading = Reading::of_claims(
        &claims(&json!({"events": events})),
        &Profile::rfc8417(),
        at(NOW),
    );
    assert_eq!(reading.verdict(), Verdict::Violating);
}

#[test]
fn set_006_sub_and_exp_have_no_place_in_ssf() {
    for name in ["sub", "exp"] {
        let value = if name == "sub" {
            json!("alice")
        } else {
            json!(NOW + 300)
        };
        let changes = json!({name: value});
        assert_eq!(verdict(&changes), Verdict::Violating, "{name}");
        assert!(problems(&changes)[0].contains("must not be there"));
        assert_eq!(
            verdict_by(&changes, &Profile::rfc8417()),
            Verdict::Conforming,
            "{name}"
        );
    }
}

#[test]
fn set_007_a_set_for_others_is_not_for_us() {
    let transmitter = Transmitter::new();
    let verifier = transmitter.verifier(Profile::ssf());
    for aud in [
        json!(null),
        json!("https://other.example"),
        json!(["https://other.example"]),
        json!([RECEIVER, "https://other.example"]),
        json!(RECEIVER.to_uppercase()),
        json!(format!("{RECEIVER}/")),
    ] {
        let set = transmitter.set(&claims(&json!({"aud": aud.clone()})));
        let error = verify(&verifier, &set).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidAudience, "{aud}");
    }
    let set = transmitter.set(&claims(&json!({"aud": [RECEIVER]})));
    assert!(verify(&verifier, &set).is_ok());
    // Several names of one receiver, if it says so.
    let verifier = caep_set::SetVerifier::new(
        Issuers::one(TRANSMITTER, transmitter.keys()),
        Audience::exactly(RECEIVER).allowing_others(),
        Profile::ssf(),
    )
    .unwrap();
    let set = transmitter.set(&claims(
        &json!({"aud": [RECEIVER, "https://other.example"]}),
    ));
    assert!(verify(&verifier, &set).is_ok());
}

#[test]
fn set_008_a_key_speaks_for_its_own_transmitter() {
    let (one, two) = (Transmitter::new(), Transmitter::new());
    let verifier = caep_set::SetVerifier::new(
        Issuers::one(TRANSMITTER, one.keys()).and("https://b.example", two.keys()),
        Audience::exactly(RECEIVER),
        Profile::ssf(),
    )
    .unwrap();
    let as_b = claims(&json!({"iss": "https://b.example"}));
    let error = verify(&verifier, &one.set(&as_b)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidKey);
    assert!(verify(&verifier, &two.set(&as_b)).is_ok());
    let error = verify(&verifier, &two.set(&claims(&json!({})))).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidKey);
}

#[test]
fn set_011_times_that_cannot_be_are_not_believed() {
    let time = |time: Value| json!({"events": {SESSION_REVOKED: {"event_timestamp": time}}});
    for (value, expected) in [
        (json!(NOW - 366 * 86_400), Some(NOW - 366 * 86_400)),
        // In the future, also within the leeway: not after the SET was made.
        (json!(NOW + 30), Some(NOW - 10)),
        (json!(NOW + 1_000_000), Some(NOW - 10)),
        // In milliseconds.
        (json!((NOW - 100) * 1000 + 123), Some(NOW - 100)),
        (json!((NOW + 1_000_000) * 1000), Some(NOW - 10)),
        (json!(1_789_999_000.75), Some(1_789_999_000)),
        (json!(-1), None),
        (json!(-1.5), None),
        (json!(1e300), None),
        (json!("1789999000"), None),
        (json!(true), None),
    ] {
        let reading = Reading::of_claims(&claims(&time(value.clone())), &Profile::ssf(), at(NOW));
        let expected_verdict = match expected {
            Some(_) => Verdict::Conforming,
            None => Verdict::Violating,
        };
        assert_eq!(
            reading.verdict(),
            expected_verdict,
            "{value}: {:?}",
            reading.findings()
        );
        if let Some(expected) = expected {
            assert_eq!(
                reading.token().unwrap().happened_at(),
                at(expected),
                "{value}"
            );
        }
    }
    assert!(problems(&time(json!(NOW * 1000)))[0].contains("milliseconds"));
    assert!(problems(&time(json!(NOW + 1_000_000)))[0].contains("in the future"));
    for iat in [
        json!(NOW + 61),
        json!(-1),
        json!(1.5),
        json!(NOW * 1000),
        json!("1"),
        json!(null),
    ] {
        assert_eq!(
            verdict(&json!({"iat": iat.clone()})),
            Verdict::Violating,
            "{iat}"
        );
    }
    assert_eq!(verdict(&json!({"iat": NOW + 60})), Verdict::Conforming);
    assert_eq!(verdict(&json!({"iat": 1})), Verdict::Conforming, "history");
    assert!(EventTime::from(at(NOW)).timestamp() == Some(at(NOW)));
}

#[test]
fn set_012_a_subject_is_matched_whole_or_not_at_all() {
    let subject = |subject: Value| json!({"sub_id": subject});
    for wrong in [
        json!(null),
        json!({}),
        json!([]),
        json!("alice"),
        json!({"format": 1}),
        json!({"format": ""}),
        json!({"format": "email"}),
        json!({"format": "email", "email": null}),
        json!({"format": "email", "email": "a@x@y"}),
        json!({"format": "email", "email": "a b@x"}),
        json!({"format": "iss_sub", "iss": "a"}),
        json!({"format": "iss_sub", "iss": "a", "sub": ""}),
        json!({"format": "phone_number", "phone_number": "+1 206 555 0123"}),
        json!({"format": "phone_number", "phone_number": "2065550123"}),
        json!({"format": "did", "url": "did:"}),
        json!({"format": "uri", "uri": "no scheme"}),
        json!({"format": "account", "uri": "https://x.example"}),
        json!({"format": "ip-addresses", "ip-addresses": []}),
        json!({"format": "ip-addresses", "ip-addresses": ["10.0.0.256"]}),
        json!({"format": "aliases", "identifiers": []}),
        json!({"format": "aliases", "identifiers": [{"format": "aliases", "identifiers": [
            {"format": "opaque", "id": "x"}]}]}),
        json!({"format": "complex", "user": "alice"}),
        json!({"format": "complex", "note": "nobody"}),
        json!({"format": "complex", "user": {"format": "opaque", "id": "a"}, "group": {"id": "b"}}),
    ] {
        assert_eq!(
            verdict(&subject(wrong.clone())),
            Verdict::Violating,
            "{wrong}"
        );
    }
    let one = json!({"format": "opaque", "id": "x"});
    let crowd = json!({"format": "aliases", "identifiers": vec![one.clone(); 10_000]});
    let reading = Reading::of_claims(&claims(&subject(crowd)), &Profile::ssf(), at(NOW));
    assert_eq!(reading.verdict(), Verdict::Violating);

    // Nothing is made equal that is not written alike.
    let mail = |text: &str| SubjectId::email(text).unwrap();
    for other in [
        "A@x.example",
        "a@X.example",
        "a+b@x.example",
        "\u{ff41}@x.example",
    ] {
        assert!(
            !Matching::ssf().matches(&mail("a@x.example"), &mail(other)),
            "{other}"
        );
    }
    // An unknown part is a part: who has another there is not meant.
    let complex = |part: &str| {
        let json = json!({"format": "complex",
            "user": {"format": "opaque", "id": "alice"},
            "tenant": {"format": "x-unknown", "name": part}});
        SubjectId::from_json(&json.to_string()).unwrap()
    };
    assert!(Matching::ssf().matches(&complex("acme"), &complex("acme")));
    assert!(!Matching::ssf().matches(&complex("acme"), &complex("other")));
    // And where that part is critical, nothing is to be done at all.
    let profile = Profile::ssf().with_critical_subject_members(["tenant"]);
    let tenant = json!({"format": "complex", "user": {"format": "opaque", "id": "alice"},
        "tenant": {"format": "x-unknown", "name": "acme"}});
    assert_eq!(
        verdict_by(&subject(tenant.clone()), &profile),
        Verdict::Discard
    );
    let transmitter = Transmitter::new();
    let set = verify(
        &transmitter.verifier(profile),
        &transmitter.set(&claims(&subject(tenant))),
    );
    let refused = set.unwrap().conforming().unwrap_err();
    assert_eq!(refused.verdict(), Verdict::Discard);
    assert!(refused.to_string().contains("SSF 1.0 §3.6"));
    let Format::Complex { parts } = complex("acme").format().clone() else {
        unreachable!()
    };
    assert_eq!(parts.len(), 2);
}

#[test]
fn set_013_a_verification_has_the_state_that_was_asked_for() {
    let uri = caep_set::Verification::URI;
    let stream = json!({"format": "opaque", "id": "f67e39a0"});
    let of = |payload: Value, subject: &Value| json!({"sub_id": subject, "events": {uri: payload}});
    for (payload, expected) in [
        (json!({}), Verdict::Conforming),
        (json!({"state": "abc"}), Verdict::Conforming),
        (json!({"state": 7}), Verdict::Violating),
        (json!({"state": null}), Verdict::Violating),
    ] {
        assert_eq!(verdict(&of(payload, &stream)), expected);
    }
    let long = Reading::of_claims(
        &claims(&of(json!({"state": "x".repeat(1 << 20)}), &stream)),
        &Profile::ssf(),
        at(NOW),
    );
    assert_eq!(long.verdict(), Verdict::Violating);
    // It is about the stream and nothing else.
    let user = json!({"format": "email", "email": "a@x.example"});
    assert_eq!(verdict(&of(json!({}), &user)), Verdict::Violating);

    let mut event = caep_set::Verification::new();
    assert!(event.check_state(None).is_ok() && event.check_state(Some("abc")).is_ok());
    event.state = Some("abc".into());
    assert!(event.check_state(Some("abc")).is_ok());
    assert!(event.check_state(Some("abd")).is_err());
    assert!(event.check_state(None).is_err());
}

#[test]
fn set_024_what_strangers_write_reaches_no_log_as_it_is() {
    let evil = "a\r\nforged: line\u{1b}[31m\u{202e}";
    let changes = json!({
        "txn": evil,
        "sub_id": {"format": "complex", evil: {"format": "opaque", "id": ""}},
        "events": {evil: null, SESSION_REVOKED: {"reason_admin": {"en": evil}, "event_timestamp": evil}},
        evil: evil,
    });
    let reading = Reading::of_claims(&claims(&changes), &Profile::rfc8417(), at(NOW));
    let transmitter = Transmitter::new();
    let set = transmitter.set(&claims(
        &json!({"txn": evil, "events": {"urn:x": {evil: evil}}}),
    ));
    let set = verify(&transmitter.verifier(Profile::ssf()), &set);
    let mut shown = format!("{reading:?} {set:?}");
    for finding in reading.findings() {
        shown += &finding.to_string();
    }
    assert!(!reading.findings().is_empty());
    for forbidden in ['\r', '\n', '\u{1b}', '\u{202e}'] {
        assert!(!shown.contains(forbidden), "{forbidden:?} in {shown}");
    }
    let long = "x".repeat(5000);
    let reading = Reading::of_claims(
        &claims(&json!({"events": {long: null}})),
        &Profile::ssf(),
        at(NOW),
    );
    assert!(
        reading
            .findings()
            .iter()
            .all(|finding| finding.to_string().len() < 300)
    );
}
