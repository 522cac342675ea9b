//! Webhooks that somebody made up.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

use m2m_crypto::SystemRandom;
use m2m_secrets::{
    MAX_WEBHOOK_SIGNATURES, RequestRejection, TimeWindow, WebhookError, WebhookHeaders,
    WebhookSecret, WebhookSecretError, WebhookSignError, WebhookSigner, WebhookVerifier,
};
use m2m_types::Timestamp;

const SECRET: &[u8] = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const TIME: &str = "1614265330";
const PAYLOAD: &[u8] = br#"{"test": 2432232314}"#;
const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

fn now() -> Timestamp {
    Timestamp::from_unix_seconds(1_614_265_330).unwrap()
}

fn secret() -> WebhookSecret {
    WebhookSecret::parse(SECRET).unwrap()
}

fn verify(id: &str, time: &str, signature: &[u8], payload: &[u8]) -> Result<(), WebhookError> {
    let verifier = WebhookVerifier::new([&secret()], TimeWindow::FIVE_MINUTES).unwrap();
    let headers = WebhookHeaders {
        id: id.as_bytes(),
        timestamp: time.as_bytes(),
        signature,
    };
    verifier.verify(headers, payload, now()).map(|_| ())
}

fn refusal(id: &str, time: &str, signature: impl AsRef<[u8]>) -> WebhookError {
    let refused = verify(id, time, signature.as_ref(), PAYLOAD).unwrap_err();
    assert_eq!(refused.rejection(), RequestRejection::Unauthenticated);
    refused
}

#[test]
fn the_message_that_is_abused_is_good() {
    assert_eq!(verify(ID, TIME, SIGNATURE.as_bytes(), PAYLOAD), Ok(()));
}

#[test]
fn a_change_of_any_byte_and_a_cut_at_any_place_are_refused() {
    for (at, flip) in (0..SIGNATURE.len()).flat_map(|at| [1, 4, 32, 128].map(|flip| (at, flip))) {
        let mut changed = SIGNATURE.as_bytes().to_vec();
        changed[at] ^= flip;
        assert!(verify(ID, TIME, &changed, PAYLOAD).is_err(), "{at} {flip}");
        let cut = &SIGNATURE.as_bytes()[..at];
        assert!(verify(ID, TIME, cut, PAYLOAD).is_err(), "{at}");
    }
    for at in 0..PAYLOAD.len() {
        let mut changed = PAYLOAD.to_vec();
        changed[at] ^= 1;
        let refused = verify(ID, TIME, SIGNATURE.as_bytes(), &changed);
        assert_eq!(refused, Err(WebhookError::Signature));
        let refused = verify(ID, TIME, SIGNATURE.as_bytes(), &PAYLOAD[..at]);
        assert_eq!(refused, Err(WebhookError::Signature));
    }
    for at in 0..ID.len() {
        let mut changed = ID.as_bytes().to_vec();
        changed[at] ^= 1;
        let changed = String::from_utf8(changed).unwrap();
        assert_eq!(refusal(&changed, TIME, SIGNATURE), WebhookError::Signature);
    }
    assert_eq!(
        refusal(ID, "1614265331", SIGNATURE),
        WebhookError::Signature
    );
}

/// That none takes longer than another is counted in instructions by `.ci/run ctgrind`.
#[test]
fn sec_001_a_wrong_byte_is_refused_alike_wherever_it_stands() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let tag = STANDARD.decode(&SIGNATURE[3..]).unwrap();
    for at in 0..tag.len() {
        let mut wrong = tag.clone();
        wrong[at] ^= 0x80;
        let refused = refusal(ID, TIME, format!("v1,{}", STANDARD.encode(wrong)));
        assert_eq!(refused, WebhookError::Signature);
    }
    for length in [0, 1, 31] {
        let header = format!("v1,{}", STANDARD.encode(&tag[..length]));
        assert_eq!(refusal(ID, TIME, header), WebhookError::SignatureMalformed);
    }
    let header = format!("v1,{}", STANDARD.encode([&tag[..], b"x"].concat()));
    assert_eq!(refusal(ID, TIME, header), WebhookError::SignatureMalformed);
}

#[test]
fn sec_011_a_boundary_between_fields_cannot_be_moved() {
    // What is signed reads the same for ("a.1", "2", "3") and ("a", "1", "2.3").
    for id in ["a.1614265330", ".", "", "a b", "a\n", "é"] {
        let refused = refusal(id, TIME, SIGNATURE);
        assert_eq!(refused, WebhookError::IdMalformed { length: id.len() });
        let refused = WebhookSigner::new([&secret()])
            .unwrap()
            .sign(id, now(), b"2.3");
        assert_eq!(refused, Err(WebhookSignError::Id { length: id.len() }));
    }
    let long = "i".repeat(257);
    assert_eq!(
        refusal(&long, TIME, SIGNATURE),
        WebhookError::IdMalformed { length: 257 }
    );
    for time in ["1614265330.", "1614265330.{", "."] {
        assert_eq!(
            refusal(ID, time, SIGNATURE),
            WebhookError::TimestampMalformed
        );
    }
}

#[test]
fn a_timestamp_of_any_size_and_sign_is_refused_without_a_panic() {
    for time in [
        "-9223372036854775808",
        "-1",
        "+1614265330",
        "01614265330",
        "",
        " 1614265330",
        "1614265330 ",
        "1614265330\n",
        "1_614_265_330",
        "1614265330.0",
        "1.6e9",
        "0x60000000",
        "253402300800",
        "18446744073709551615",
        "18446744073709551616",
        "١٦١٤٢٦٥٣٣٠",
    ] {
        assert_eq!(
            refusal(ID, time, SIGNATURE),
            WebhookError::TimestampMalformed,
            "{time}"
        );
    }
    for time in ["0", "9", "253402300799"] {
        let refused = refusal(ID, time, SIGNATURE);
        assert!(matches!(refused, WebhookError::OutsideWindow(_)), "{time}");
    }
}

#[test]
fn sec_013_signatures_are_counted_and_only_those_of_v1_count() {
    let many = |count: usize, each: &str| [each].repeat(count).join(" ");
    let wrong = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc=";
    for (header, found) in [
        (many(10_000, wrong), 489_999),
        (many(10_000, SIGNATURE), 479_999),
    ] {
        let header = header.as_bytes();
        assert!(header.len() >= found - 10_000);
        let refused = refusal(ID, TIME, header);
        assert_eq!(
            refused,
            WebhookError::SignatureHeaderLong {
                found: header.len()
            }
        );
    }
    let refused = refusal(ID, TIME, many(MAX_WEBHOOK_SIGNATURES + 1, SIGNATURE));
    assert_eq!(refused, WebhookError::TooManySignatures);

    let full = format!("{} {SIGNATURE}", many(MAX_WEBHOOK_SIGNATURES - 1, wrong));
    assert_eq!(verify(ID, TIME, full.as_bytes(), PAYLOAD), Ok(()));
    // The standard's other scheme and versions to come are passed over.
    let other =
        format!("v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZ {SIGNATURE}");
    assert_eq!(verify(ID, TIME, other.as_bytes(), PAYLOAD), Ok(()));

    let tag = &SIGNATURE[3..];
    for version in ["v0", "v2", "v10", "V1", "v1a", "1"] {
        let refused = refusal(ID, TIME, format!("{version},{tag}"));
        assert_eq!(refused, WebhookError::NoSignature, "{version}");
    }
}

#[test]
fn sec_014_only_the_bytes_of_the_wire_count() {
    for written_anew in [
        &br#"{"test":2432232314}"#[..],
        b"{\"test\": 2432232314}\n",
        b"{\n  \"test\": 2432232314\n}",
        b"\xef\xbb\xbf{\"test\": 2432232314}",
        b"{\"test\": 2432232314.0}",
    ] {
        let refused = verify(ID, TIME, SIGNATURE.as_bytes(), written_anew);
        assert_eq!(refused, Err(WebhookError::Signature));
    }
    // Bytes that are no text are as good as any.
    let signer = WebhookSigner::new([&secret()]).unwrap();
    let gzip = [0x1f, 0x8b, 0x08, 0x00, 0xff, 0xfe, 0x80];
    let header = signer.sign(ID, now(), &gzip).unwrap();
    assert_eq!(verify(ID, TIME, header.as_bytes(), &gzip), Ok(()));
}

#[test]
fn sec_015_a_signature_has_one_encoding() {
    let tag = &SIGNATURE[3..];
    let hex = "8348 4cf52b04f8e4cf2531adfed9882ad4b2665137b852442d594d20e2c9d4e1".replace(' ', "");
    for header in [
        format!("v1,{}", tag.trim_end_matches('=')),
        format!("v1,{tag}="),
        format!("v1,{}", tag.replace('+', "-").replace('/', "_")),
        format!("v1,{}", tag.replace("OE=", "OF=")), // unused bits that are not zero
        format!("v1,{tag}\n"),
        format!("v1,{tag}\r"),
        format!("v1,{tag}\t"),
        format!("v1,{tag} "),
        format!(" v1,{tag}"),
        format!("v1,{tag}  v1,{tag}"),
        format!("v1, {tag}"),
        format!("v1,{tag}v1,{tag}"),
        format!("v1,{tag},v1,{tag}"),
        format!("v1={tag}"),
        format!("v1,\"{tag}\""),
        format!("v1,:{tag}:"),
        format!("v1,{hex}"),
        format!("v1,{}", hex.to_uppercase()),
        format!("v1,{}", &hex[1..]),
        "v1,".to_owned(),
        "v1".to_owned(),
        String::new(),
    ] {
        assert_eq!(
            refusal(ID, TIME, &header),
            WebhookError::SignatureMalformed,
            "{header:?}"
        );
    }
}

#[test]
fn a_secret_in_any_other_writing_is_none() {
    for text in [
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n",
        " whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2La_aSw",
        "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    ] {
        let refused = WebhookSecret::parse(text.as_bytes()).unwrap_err();
        assert_eq!(refused, WebhookSecretError::Encoding, "{text}");
    }
    let endless = "A".repeat(1 << 20);
    let refused = WebhookSecret::parse(endless.as_bytes()).unwrap_err();
    assert_eq!(refused, WebhookSecretError::Encoding);
    let zeroes = "A".repeat(32);
    let refused = WebhookSecret::parse(zeroes.as_bytes()).unwrap_err();
    assert_eq!(refused, WebhookSecretError::Guessable);
    let placeholder = "whsec_Y2hhbmdlbWUtY2hhbmdlbWUtY2hhbmdlbWUh";
    let refused = WebhookSecret::parse(placeholder.as_bytes()).unwrap_err();
    assert_eq!(refused, WebhookSecretError::Guessable);
}

#[test]
fn sec_016_nothing_that_can_be_shown_shows_a_secret() {
    let secret = WebhookSecret::generate(&SystemRandom).unwrap();
    let text = secret.expose_text();
    let text = std::str::from_utf8(text.expose_secret())
        .unwrap()
        .trim_start_matches("whsec_");
    let signer = WebhookSigner::new([&secret]).unwrap();
    let verifier = WebhookVerifier::new([&secret], TimeWindow::FIVE_MINUTES).unwrap();
    let header = signer.sign("m", now(), b"{}").unwrap();
    let headers = WebhookHeaders {
        id: b"m",
        timestamp: b"1614265330",
        signature: header.as_bytes(),
    };
    let refused = verifier.verify(headers, b"[]", now()).unwrap_err();
    assert_eq!(refused, WebhookError::Signature);
    let almost = format!("whsec_{text}=");
    let unread = WebhookSecret::parse(almost.as_bytes()).unwrap_err();
    let shown =
        format!("{secret:?} {signer:?} {verifier:?} {refused:?} {refused} {unread:?} {unread}");
    for part in text.as_bytes().windows(6) {
        let part = std::str::from_utf8(part).unwrap();
        assert!(!shown.contains(part), "{part} of {text} in {shown}");
    }
}
