//! Verdicts and matchings that were written down beforehand, each signed here and sent through a
//! verifier.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

mod common;

use caep_set::{ErrorCode, Event, Matching, Profile, SetError, SubjectId, Verdict};
use common::{Transmitter, at};
use m2m_token::{Audience, Issuers, Scratch, VerifyError};
use serde_json::Value;

/// What a receiver does with a SET: the words of the vectors.
fn answer(transmitter: &Transmitter, case: &Value) -> (&'static str, Option<ErrorCode>) {
    let context = &case["context"];
    let mut profile = Profile::ssf();
    for name in context["critical_subject_members"].as_array().unwrap() {
        profile = profile.with_critical_subject_members([name.as_str().unwrap()]);
    }
    for uris in context["aliases"].as_array().into_iter().flatten() {
        let uris = uris.as_array().unwrap().iter();
        profile = profile.with_event_aliases(uris.map(|uri| uri.as_str().unwrap()));
    }
    let mut audience = context["expected_aud"].as_array().unwrap().iter();
    let first = audience.next().unwrap().as_str().unwrap();
    let audience = audience.fold(Audience::exactly(first), |audience, name| {
        audience.or(name.as_str().unwrap())
    });
    let issuer = context["expected_iss"].as_str().unwrap();
    let verifier =
        caep_set::SetVerifier::new(Issuers::one(issuer, transmitter.keys()), audience, profile)
            .unwrap();
    let set = transmitter.sign(&case["header"].to_string(), &case["claims"].to_string());
    let now = at(context["now"].as_u64().unwrap());
    let set = match verifier.verify(&set, now, &mut Scratch::new()) {
        Ok(set) => set,
        Err(error) => return ("reject", Some(error.code())),
    };
    match set.verdict() {
        Verdict::Violating => return ("reject", Some(ErrorCode::InvalidRequest)),
        Verdict::Discard => return ("accept-discard", None),
        Verdict::Conforming => {}
    }
    let conforming = set.conforming().unwrap();
    if let Some(Event::Verification(event)) = conforming.token().event() {
        if event
            .check_state(context["pending_state"].as_str())
            .is_err()
        {
            return ("reject", Some(ErrorCode::InvalidState));
        }
    }
    ("accept", None)
}

#[test]
fn derived_verdicts_hold() {
    let Some(vectors) = m2m_testkit::vectors::read_json("ssf/derived/set-verdicts.json") else {
        return;
    };
    let transmitter = Transmitter::new();
    let cases = vectors["cases"].as_array().unwrap();
    let mut wrong = Vec::new();
    for case in cases {
        let (verdict, code) = answer(&transmitter, case);
        let expected = &case["expect"];
        let code = code.map(ErrorCode::as_str);
        if expected["verdict"] != verdict || expected["suggested_err"].as_str() != code {
            wrong.push(format!(
                "{}: {verdict} {code:?}, expected {expected}",
                case["name"]
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(cases.len(), 37);
}

#[test]
fn derived_matchings_hold() {
    let Some(vectors) = m2m_testkit::vectors::read_json("ssf/derived/subject-matching.json") else {
        return;
    };
    let literal = Matching::ssf().danger_matching_disjoint();
    for case in vectors["cases"].as_array().unwrap() {
        let read = |name: &str| SubjectId::from_json(&case[name].to_string()).unwrap();
        let (one, two) = (read("subject1"), read("subject2"));
        for (matching, name) in [(literal, "spec_text"), (Matching::ssf(), "with_errata_312")] {
            let expected = case[name].as_bool().unwrap();
            assert_eq!(
                matching.matches(&one, &two),
                expected,
                "{name}: {}",
                case["name"]
            );
            assert_eq!(
                matching.matches(&two, &one),
                expected,
                "turned round: {}",
                case["name"]
            );
        }
    }
}

#[test]
fn aliases_match_only_where_that_is_asked_for() {
    let mail = SubjectId::email("a@x.example").unwrap();
    let phone = SubjectId::phone_number("+12065550100").unwrap();
    let both = SubjectId::aliases([mail.clone(), phone.clone()]).unwrap();
    let turned = SubjectId::aliases([phone, SubjectId::email("b@x.example").unwrap()]).unwrap();
    assert!(!Matching::ssf().matches(&mail, &both));
    let any = Matching::ssf().with_any_alias();
    assert!(any.matches(&mail, &both) && any.matches(&both, &mail));
    assert!(any.matches(&both, &turned));
    assert!(!any.matches(&mail, &turned));
}

/// A code for each cause, and no word beside it that says more.
#[test]
fn codes_tell_the_sender_one_word() {
    let transmitter = Transmitter::new();
    let other = Transmitter::new();
    let verifier = transmitter.verifier(Profile::ssf());
    let claims = common::claims(&serde_json::json!({}));
    let error = common::verify(&verifier, &other.set(&claims)).unwrap_err();
    assert_eq!(error, SetError::Token(VerifyError::Signature));
    assert_eq!(error.code().as_str(), "invalid_key");
    let foreign = common::claims(&serde_json::json!({"iss": "https://other.example"}));
    let error = common::verify(&verifier, &transmitter.set(&foreign)).unwrap_err();
    assert_eq!(error.code().as_str(), "invalid_issuer");
    for code in [
        "invalid_request",
        "invalid_key",
        "invalid_issuer",
        "invalid_audience",
        "authentication_failed",
        "access_denied",
        "invalid_state",
    ] {
        let parsed = ErrorCode::parse(code).unwrap();
        assert_eq!(parsed.to_string(), code);
        for secret in [common::TRANSMITTER, common::RECEIVER, "k1", "ES256"] {
            assert!(!parsed.description().contains(secret));
        }
    }
    assert_eq!(ErrorCode::parse("Invalid_Request"), None);
}
