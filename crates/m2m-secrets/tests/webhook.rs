//! Standard Webhooks: the vectors of the specification's libraries, and what rotation needs.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

use allocation_counter::measure;
use m2m_crypto::{SecretBytes, SystemRandom};
use m2m_secrets::{
    MAX_WEBHOOK_SECRETS, SharedSecret, TimeWindow, WebhookError, WebhookHeaders, WebhookSecret,
    WebhookSecretError, WebhookSignError, WebhookSigner, WebhookVerifier,
};
use m2m_testkit::vectors;
use m2m_types::Timestamp;
use proptest::prelude::*;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds).unwrap()
}

fn secret() -> WebhookSecret {
    WebhookSecret::generate(&SystemRandom).unwrap()
}

fn verifier<const N: usize>(secrets: [&WebhookSecret; N]) -> WebhookVerifier {
    WebhookVerifier::new(secrets, TimeWindow::FIVE_MINUTES).unwrap()
}

fn verify(
    verifier: &WebhookVerifier,
    (id, timestamp, signature): (&str, &str, &str),
    payload: &[u8],
    now: Timestamp,
) -> Result<usize, WebhookError> {
    let headers = WebhookHeaders {
        id: id.as_bytes(),
        timestamp: timestamp.as_bytes(),
        signature: signature.as_bytes(),
    };
    let verified = verifier.verify(headers, payload, now)?;
    assert_eq!(verified.id(), id);
    assert_eq!(verified.timestamp().unix_seconds().to_string(), timestamp);
    Ok(verified.secret_index())
}

#[test]
fn the_vectors_of_the_specifications_libraries_agree() {
    let Some(vectors) = vectors::read_json("secrets/standard-webhooks/vectors.json") else {
        return;
    };
    let text = |value: &serde_json::Value, name: &str| value[name].as_str().unwrap().to_owned();
    let signed = vectors["sign"].as_array().unwrap();
    assert_eq!(signed.len(), 2);
    for vector in signed {
        let secret = WebhookSecret::parse(text(vector, "secret").as_bytes()).unwrap();
        let (id, payload) = (text(vector, "id"), text(vector, "payload"));
        let time = at(vector["timestamp"].as_u64().unwrap());
        let signature = text(vector, "signature");
        let signer = WebhookSigner::new([&secret]).unwrap();
        assert_eq!(
            signer.sign(&id, time, payload.as_bytes()).unwrap(),
            signature
        );
        let stamp = time.unix_seconds().to_string();
        let headers = (id.as_str(), stamp.as_str(), signature.as_str());
        let found = verify(&verifier([&secret]), headers, payload.as_bytes(), time);
        assert_eq!(found, Ok(0));
    }

    let first = &signed[0];
    let secret = WebhookSecret::parse(text(first, "secret").as_bytes()).unwrap();
    let judge = |signature: &str, stamp: &str, now: u64| {
        let payload = text(first, "payload");
        let id = text(first, "id");
        let headers = (id.as_str(), stamp, signature);
        verify(&verifier([&secret]), headers, payload.as_bytes(), at(now))
    };
    let (time, stamp) = (1_614_265_330, "1614265330");
    let mut judged = 0;
    for vector in vectors["accept"].as_array().unwrap() {
        if let Some(header) = vector["signature_header"].as_str() {
            assert_eq!(judge(header, stamp, time), Ok(0), "{}", vector["why"]);
            judged += 1;
        }
        if let Some(text) = vector["secret"].as_str() {
            let other = WebhookSecret::parse(text.as_bytes()).unwrap();
            assert!(
                other
                    .expose_text()
                    .ct_eq(secret.expose_text().expose_secret())
            );
            judged += 1;
        }
        // Python's library takes base64 without its padding. Here there is one encoding.
        for text in vector["secrets"].as_array().into_iter().flatten() {
            let refused = WebhookSecret::parse(text.as_str().unwrap().as_bytes());
            assert_eq!(refused.unwrap_err(), WebhookSecretError::Encoding);
            judged += 1;
        }
    }
    for vector in vectors["reject"].as_array().unwrap() {
        if let Some(header) = vector["signature_header"].as_str() {
            assert!(judge(header, stamp, time).is_err(), "{}", vector["why"]);
            judged += 1;
        }
        for text in vector["secrets"].as_array().into_iter().flatten() {
            let refused = WebhookSecret::parse(text.as_str().unwrap().as_bytes());
            assert_eq!(
                refused.unwrap_err(),
                WebhookSecretError::Length { found: 0 }
            );
            judged += 1;
        }
        if let Some(stamp) = vector["timestamp"].as_str() {
            let header = text(first, "signature");
            assert_eq!(
                judge(&header, stamp, time),
                Err(WebhookError::TimestampMalformed)
            );
            judged += 1;
        }
        if let Some(tolerance) = vector["tolerance_seconds"].as_u64() {
            let header = text(first, "signature");
            for offset in [tolerance, 0] {
                assert_eq!(judge(&header, stamp, time + offset), Ok(0));
                assert_eq!(judge(&header, stamp, time - offset), Ok(0));
            }
            for now in [time + tolerance + 1, time - tolerance - 1] {
                let refused = judge(&header, stamp, now).unwrap_err();
                assert!(
                    matches!(refused, WebhookError::OutsideWindow(_)),
                    "{refused:?}"
                );
            }
            judged += 1;
        }
    }
    assert_eq!(judged, 12);
}

#[test]
fn every_pair_of_a_signing_and_an_accepted_secret_meets_during_a_rotation() {
    let [old, new, stranger] = [secret(), secret(), secret()];
    let senders = [
        WebhookSigner::new([&old]).unwrap(),
        WebhookSigner::new([&new, &old]).unwrap(),
        WebhookSigner::new([&new]).unwrap(),
    ];
    let overlapping = verifier([&new, &old]);
    let found: Vec<_> = senders
        .iter()
        .map(|sender| {
            let header = sender.sign("msg_1", at(100), b"{}").unwrap();
            verify(&overlapping, ("msg_1", "100", &header), b"{}", at(100)).unwrap()
        })
        .collect();
    assert_eq!(found, [1, 0, 0], "which secret was used is told");

    let both = senders[1].sign("msg_1", at(100), b"{}").unwrap();
    for one in [&old, &new] {
        let found = verify(&verifier([one]), ("msg_1", "100", &both), b"{}", at(100));
        assert_eq!(found, Ok(0));
    }
    let found = verify(
        &verifier([&stranger]),
        ("msg_1", "100", &both),
        b"{}",
        at(100),
    );
    assert_eq!(found, Err(WebhookError::Signature));
}

#[test]
fn as_many_secrets_as_are_allowed_and_no_more() {
    let secrets: Vec<_> = (0..=MAX_WEBHOOK_SECRETS).map(|_| secret()).collect();
    for count in [0, MAX_WEBHOOK_SECRETS + 1] {
        let refused = WebhookSigner::new(&secrets[..count]).unwrap_err();
        assert_eq!(refused, WebhookSignError::SecretCount { found: count });
        let refused = WebhookVerifier::new(&secrets[..count], TimeWindow::FIVE_MINUTES);
        assert_eq!(
            refused.unwrap_err(),
            WebhookError::SecretCount { found: count }
        );
    }
    let allowed = &secrets[..MAX_WEBHOOK_SECRETS];
    assert!(WebhookSigner::new(allowed).is_ok());
    assert!(WebhookVerifier::new(allowed, TimeWindow::FIVE_MINUTES).is_ok());
}

#[test]
fn a_secret_has_24_to_64_bytes_and_reads_as_it_was_written() {
    let bytes: Vec<u8> = (1..=65).collect();
    for length in 0..=65 {
        let made = WebhookSecret::new(SecretBytes::from(&bytes[..length]));
        if !(24..=64).contains(&length) {
            assert_eq!(
                made.unwrap_err(),
                WebhookSecretError::Length { found: length }
            );
            continue;
        }
        let text = made.unwrap().expose_text();
        assert!(text.expose_secret().starts_with(b"whsec_"));
        let read = WebhookSecret::parse(text.expose_secret()).unwrap();
        assert!(read.expose_text().ct_eq(text.expose_secret()));
    }
}

#[test]
fn a_secret_that_rotates_elsewhere_signs_webhooks_too() {
    let shared = SharedSecret::generate(&SystemRandom).unwrap();
    let secret = WebhookSecret::from_shared(&shared).unwrap();
    let header = WebhookSigner::new([&secret])
        .unwrap()
        .sign("m", at(9), b"x")
        .unwrap();
    assert_eq!(
        verify(&verifier([&secret]), ("m", "9", &header), b"x", at(9)),
        Ok(0)
    );
    let long = SharedSecret::new(SecretBytes::random(65, &SystemRandom).unwrap()).unwrap();
    let refused = WebhookSecret::from_shared(&long).unwrap_err();
    assert_eq!(refused, WebhookSecretError::Length { found: 65 });
}

#[test]
fn verifying_allocates_nothing() {
    let [old, new] = [secret(), secret()];
    let header = WebhookSigner::new([&old])
        .unwrap()
        .sign("msg_1", at(100), b"{}")
        .unwrap();
    let verifier = verifier([&new, &old]);
    let headers = |timestamp: &'static str| WebhookHeaders {
        id: b"msg_1",
        timestamp: timestamp.as_bytes(),
        signature: header.as_bytes(),
    };
    let spent = measure(|| {
        assert!(verifier.verify(headers("100"), b"{}", at(100)).is_ok());
        assert!(verifier.verify(headers("100"), b"[]", at(100)).is_err());
        assert!(verifier.verify(headers("101"), b"{}", at(100)).is_err());
        assert!(verifier.verify(headers("1e2"), b"{}", at(100)).is_err());
    });
    assert_eq!(spent.count_total, 0, "{spent:?}");
}

proptest! {
    #[test]
    fn what_is_signed_is_verified_whatever_its_bytes(
        id in "[!-\\-/-~]{1,256}",
        seconds in 0..=253_402_300_799_u64,
        payload: Vec<u8>,
    ) {
        let secret = secret();
        let header = WebhookSigner::new([&secret]).unwrap().sign(&id, at(seconds), &payload).unwrap();
        let stamp = seconds.to_string();
        let found = verify(&verifier([&secret]), (&id, &stamp, &header), &payload, at(seconds));
        prop_assert_eq!(found, Ok(0));
    }

    #[test]
    fn no_header_of_any_bytes_panics(
        id: Vec<u8>, timestamp: Vec<u8>, signature: Vec<u8>, seconds in 0..=253_402_300_799_u64,
    ) {
        let headers = WebhookHeaders { id: &id, timestamp: &timestamp, signature: &signature };
        let refused = verifier([&secret()]).verify(headers, b"{}", at(seconds)).is_err();
        prop_assert!(refused);
    }
}
