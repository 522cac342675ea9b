//! Signed requests in our own form, and keys for other purposes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

use allocation_counter::measure;
use m2m_crypto::{Algorithm, MacKey, RandomError, SecretBytes, SecureRandom, SystemRandom, sha256};
use m2m_secrets::{
    MAX_CANONICAL_BYTES, MAX_PURPOSE_FIELDS, Purpose, PurposeKey, PurposeSignError, ReplayError,
    ReplayMemory, RequestError, RequestKey, RequestParts, RequestRejection, RequestSignError, Ring,
    RingVerifyError, SecretName, SecretVersion, SharedSecret, TimeWindow, WebhookSecret,
    WebhookSigner, sign_request, verify_request,
};
use m2m_types::Timestamp;
use proptest::prelude::*;

const REQUEST: RequestParts<'static> =
    RequestParts::new(b"POST", b"orders.example.org", b"/v1/orders?dry-run=1");

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds).unwrap()
}

fn now() -> Timestamp {
    at(1_700_000_000)
}

fn secret() -> SharedSecret {
    SharedSecret::generate(&SystemRandom).unwrap()
}

fn version(number: u64) -> SecretVersion {
    SecretVersion::new(number).unwrap()
}

fn ring(versions: &[(u64, &SharedSecret)], sign: u64) -> Ring<RequestKey> {
    let name = SecretName::new("billing").unwrap();
    let versions = versions
        .iter()
        .map(|(number, secret)| (version(*number), *secret));
    Ring::fixed_with(&name, versions, version(sign), now(), RequestKey::derive).unwrap()
}

fn memory() -> ReplayMemory {
    ReplayMemory::new(1_000, TimeWindow::FIVE_MINUTES, &SystemRandom).unwrap()
}

fn verify(
    ring: &Ring<RequestKey>,
    header: impl AsRef<[u8]>,
    request: &RequestParts<'_>,
) -> Result<SecretVersion, RequestError> {
    let verified = verify_request(ring, &memory(), header.as_ref(), request, now())?;
    assert_eq!(verified.key_id().split_at(7).0, "billing");
    Ok(verified.version())
}

#[test]
fn what_one_signs_the_other_verifies_while_the_secret_rotates() {
    let (old, new) = (secret(), secret());
    let request = REQUEST.with_body(b"{}");
    let both = ring(&[(1, &old), (2, &new)], 2);
    for (signer, expected) in [
        (ring(&[(1, &old)], 1), 1),
        (ring(&[(2, &new), (1, &old)], 2), 2),
    ] {
        let header = sign_request(&signer, &request, now(), &SystemRandom).unwrap();
        assert_eq!(verify(&both, &header, &request), Ok(version(expected)));
        let stranger = verify(
            &ring(&[(1, &secret()), (2, &secret())], 1),
            &header,
            &request,
        );
        assert_eq!(stranger, Err(RequestError::Signature));
    }
    let header = sign_request(&both, &request, now(), &SystemRandom).unwrap();
    let refused = verify(&ring(&[(1, &old)], 1), &header, &request).unwrap_err();
    assert!(matches!(
        refused,
        RequestError::Ring(RingVerifyError::UnknownKey { .. })
    ));
}

#[test]
fn a_request_comes_through_once_and_counts_as_a_use() {
    let secret = secret();
    let (ring, memory) = (ring(&[(1, &secret)], 1), memory());
    let header = sign_request(&ring, &REQUEST, now(), &SystemRandom).unwrap();
    let verify = |now| verify_request(&ring, &memory, header.as_bytes(), &REQUEST, now);
    assert_eq!(verify(now()).unwrap().time(), now());
    let refused = verify(at(1_700_000_300)).unwrap_err();
    assert_eq!(refused, RequestError::Replay(ReplayError::Replayed));
    let refused = verify(at(1_700_000_301)).unwrap_err();
    assert!(matches!(refused, RequestError::OutsideWindow(_)));
    assert_eq!(refused.rejection(), RequestRejection::Unauthenticated);
    let held = ring
        .by_key_id(header.split(' ').nth(1).unwrap(), now())
        .unwrap();
    assert_eq!(held.uses().count(), 1, "a replay is no use");
}

#[test]
fn verifying_allocates_nothing() {
    let secret = secret();
    let (ring, memory) = (ring(&[(1, &secret)], 1), memory());
    let header = sign_request(&ring, &REQUEST, now(), &SystemRandom).unwrap();
    let spent = measure(|| {
        for refused in [false, true] {
            let verified = verify_request(&ring, &memory, header.as_bytes(), &REQUEST, now());
            assert_eq!(verified.is_err(), refused);
        }
    });
    assert_eq!(spent.count_total, 0, "{spent:?}");
}

#[test]
fn the_canonical_form_is_what_is_documented_and_fits_its_blocks() {
    // Four blocks of SHA-256 hold 183 bytes behind HMAC's own; three hold 119.
    const { assert!(MAX_CANONICAL_BYTES <= 183) }
    struct Fixed;
    impl SecureRandom for Fixed {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
            bytes.fill(7);
            Ok(())
        }
    }
    let secret = SharedSecret::new(SecretBytes::from(&(0..32).collect::<Vec<u8>>()[..])).unwrap();
    let ring = ring(&[(1, &secret)], 1);
    let key_id = ring.signing(now()).unwrap().key_id().as_str().to_owned();
    let long = [b'x'; 33];
    for (request, method, authority, target, body) in [
        (
            REQUEST,
            &b"POST"[..],
            &b"orders.example.org"[..],
            &b"/v1/orders?dry-run=1"[..],
            &b""[..],
        ),
        (
            REQUEST.with_body(b"{}"),
            b"POST",
            b"orders.example.org",
            b"/v1/orders?dry-run=1",
            b"{}",
        ),
        (
            RequestParts::new(&long, &long, &long),
            &long,
            &long,
            &long,
            b"",
        ),
    ] {
        let mut canonical = vec![0, 0x65, 0x53, 0xf1, 0x00]; // 1,700,000,000
        canonical.extend([7; 16]);
        for field in [method, key_id.as_bytes(), authority, target] {
            match field.len() {
                length @ 0..=32 => {
                    canonical.push(length as u8);
                    canonical.extend(field);
                }
                _ => {
                    canonical.push(0xff);
                    canonical.extend(sha256(field));
                }
            }
        }
        match body {
            [] => canonical.push(0),
            body => {
                canonical.push(0xff);
                canonical.extend(sha256(body));
            }
        }
        assert!(
            canonical.len()
                <= if body.is_empty() && method != long {
                    119
                } else {
                    183
                }
        );
        let hkdf = m2m_crypto::Hkdf::extract(
            m2m_crypto::HkdfHash::Sha256,
            b"m2m-secrets/purpose/v1",
            secret.expose_secret(),
        );
        let key = MacKey::new(Algorithm::Hs256, hkdf.expand(&[b"request"], 32).unwrap()).unwrap();
        let mut tag = [0; 32];
        key.sign(&canonical, &mut tag).unwrap();
        let header = sign_request(&ring, &request, now(), &Fixed).unwrap();
        let parts: Vec<&str> = header.split(' ').collect();
        assert_eq!(
            parts[..4],
            ["v1", &key_id, "1700000000", "BwcHBwcHBwcHBwcHBwcHBw"]
        );
        assert_eq!(parts[4], base64url(&tag));
        assert_eq!(parts.len(), 5);
    }
}

fn base64url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

#[test]
fn sec_010_a_mac_for_one_purpose_is_refused_for_every_other() {
    let secret = secret();
    let names = ["request", "cookie", "pagination", "webhook", "cookie2"];
    let keys = names.map(|name| PurposeKey::derive(Purpose::new(name).unwrap(), &secret).unwrap());
    for (made, key) in keys.iter().enumerate() {
        let tag = key.sign(&[b"user-7"]).unwrap();
        for (used, other) in keys.iter().enumerate() {
            assert_eq!(other.verify(&[b"user-7"], &tag).is_ok(), made == used);
        }
    }
    // The webhook of one who shares the secret is signed with the secret itself, as its standard says.
    let webhook = WebhookSecret::from_shared(&secret).unwrap();
    let header = WebhookSigner::new([&webhook])
        .unwrap()
        .sign("m", now(), b"x")
        .unwrap();
    use base64::Engine as _;
    let tag = base64::engine::general_purpose::STANDARD
        .decode(&header[3..])
        .unwrap();
    for key in &keys {
        assert!(key.verify(&[b"m.1700000000.x"], &tag).is_err());
        assert!(key.verify(&[b"m", b"1700000000", b"x"], &tag).is_err());
    }
    let ring = ring(&[(1, &secret)], 1);
    let good = sign_request(&ring, &REQUEST, now(), &SystemRandom).unwrap();
    let end = good.rfind(' ').unwrap() + 1;
    let swapped = format!("{}{}", &good[..end], base64url(&tag));
    assert_eq!(
        verify(&ring, swapped, &REQUEST),
        Err(RequestError::Signature)
    );
    assert!(Purpose::new("").is_none() && Purpose::new("a b").is_none());
    assert!(Purpose::new(&"p".repeat(65)).is_none());
    assert_eq!(Purpose::new("request"), Some(Purpose::REQUEST));
}

#[test]
fn sec_011_no_byte_moves_from_one_field_to_another() {
    let key = PurposeKey::derive(Purpose::new("cookie").unwrap(), &secret()).unwrap();
    let messages: [&[&[u8]]; 9] = [
        &[b"ab", b"c"],
        &[b"a", b"bc"],
        &[b"abc"],
        &[b"ab", b"c", b""],
        &[b"", b"ab", b"c"],
        &[b"ab", b"", b"c"],
        &[],
        &[b""],
        &[b"", b""],
    ];
    for (made, message) in messages.iter().enumerate() {
        let tag = key.sign(message).unwrap();
        for (used, other) in messages.iter().enumerate() {
            assert_eq!(
                key.verify(other, &tag).is_ok(),
                made == used,
                "{message:?} {other:?}"
            );
        }
    }
    let many = [&b"x"[..]; MAX_PURPOSE_FIELDS + 1];
    assert!(key.sign(&many[1..]).is_ok());
    let refused = PurposeSignError::TooManyFields { found: many.len() };
    assert_eq!(key.sign(&many), Err(refused));

    let ring = ring(&[(1, &secret())], 1);
    let header = sign_request(&ring, &REQUEST, now(), &SystemRandom).unwrap();
    assert!(verify(&ring, &header, &REQUEST).is_ok());
    for other in [
        RequestParts::new(b"POS", b"Torders.example.org", b"/v1/orders?dry-run=1"),
        RequestParts::new(b"POST", b"orders.example.org/", b"v1/orders?dry-run=1"),
        RequestParts::new(b"POST", b"orders.example.org", b"/v1/orders?dry-run=1\0"),
        RequestParts::new(b"POST", b"", b"orders.example.org/v1/orders?dry-run=1"),
        RequestParts::new(b"post", b"orders.example.org", b"/v1/orders?dry-run=1"),
        RequestParts::new(b"POST", b"orders.example.org", b"/V1/orders?dry-run=1"),
        REQUEST.with_body(b"{}"),
        REQUEST.with_body_sha256([0; 32]),
    ] {
        assert_eq!(
            verify(&ring, &header, &other),
            Err(RequestError::Signature),
            "{other:?}"
        );
    }
    // What HTTP makes no difference of, makes none here.
    let same = RequestParts::new(b"POST", b"Orders.EXAMPLE.org", b"/v1/orders?dry-run=1");
    assert!(verify(&ring, &header, &same.with_body(b"")).is_ok());
}

#[test]
fn sec_015_a_header_has_one_form_and_every_change_of_it_is_refused() {
    let ring = ring(&[(1, &secret())], 1);
    let good = sign_request(&ring, &REQUEST, now(), &SystemRandom).unwrap();
    for at in 0..good.len() {
        for flip in [1, 2, 32, 128] {
            let mut changed = good.clone().into_bytes();
            changed[at] ^= flip;
            assert!(verify(&ring, &changed, &REQUEST).is_err(), "{at} {flip}");
        }
        assert_eq!(
            verify(&ring, &good[..at], &REQUEST),
            Err(RequestError::Malformed)
        );
    }
    let parts: Vec<&str> = good.split(' ').collect();
    let [_, key, time, nonce, tag] = parts[..] else {
        panic!("five parts")
    };
    for header in [
        format!("v2 {key} {time} {nonce} {tag}"),
        format!("v1  {key} {time} {nonce} {tag}"),
        format!("v1 {key} 0{time} {nonce} {tag}"),
        format!("v1 {key} +{time} {nonce} {tag}"),
        format!("v1 {key} -9223372036854775808 {nonce} {tag}"),
        format!("v1 {key} 99999999999999999999 {nonce} {tag}"),
        format!("v1 {key} {time} {nonce}== {tag}"),
        format!("v1 {key} {time} {nonce} {tag}="),
        format!("v1 {key} {time} {nonce} {tag}\n"),
        format!("v1 {key} {time} {nonce} {tag} "),
        format!("v1 {key} {time} {nonce} {tag} {tag}"),
        format!("v1 {key} {time} {nonce} {}", &tag[..42]),
        format!("v1 {key}é {time} {nonce} {tag}"),
        format!("v1 {} {time} {nonce} {tag}", "k".repeat(10_000)),
        format!("v1  {time} {nonce} {tag}"),
    ] {
        assert_eq!(
            verify(&ring, &header, &REQUEST),
            Err(RequestError::Malformed),
            "{header}"
        );
    }
}

#[test]
fn a_source_of_randomness_that_fails_or_writes_nothing_signs_nothing() {
    struct Source(Result<(), RandomError>);
    impl SecureRandom for Source {
        fn fill(&self, _: &mut [u8]) -> Result<(), RandomError> {
            self.0
        }
    }
    let ring = ring(&[(1, &secret())], 1);
    for source in [Source(Ok(())), Source(Err(RandomError))] {
        let refused = sign_request(&ring, &REQUEST, now(), &source).unwrap_err();
        assert_eq!(refused, RequestSignError::Random(RandomError));
    }
}

#[test]
fn sec_016_no_key_is_shown() {
    let secret = secret();
    let key = PurposeKey::derive(Purpose::REQUEST, &secret).unwrap();
    let ring = ring(&[(1, &secret)], 1);
    let header = sign_request(&ring, &REQUEST, now(), &SystemRandom).unwrap();
    let refused = verify(&ring, header, &REQUEST.with_body(b"x")).unwrap_err();
    let shown = format!("{key:?} {ring:?} {refused:?} {refused} {secret:?}");
    let bytes = secret.expose_secret().expose_secret();
    for part in bytes.windows(4) {
        let hex: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
        let list = format!("{part:?}").trim_matches(['[', ']']).to_owned();
        for form in [hex, list, base64url(part)] {
            assert!(!shown.contains(&form), "{form} in {shown}");
        }
    }
}

proptest! {
    #[test]
    fn requests_that_differ_have_signatures_that_differ(
        one: (Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>),
        other: (Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>),
    ) {
        fn parts((method, authority, target, body): &(Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>)) -> RequestParts<'_> {
            RequestParts::new(method, authority, target).with_body(body)
        }
        let ring = ring(&[(1, &secret())], 1);
        let header = sign_request(&ring, &parts(&one), now(), &SystemRandom).unwrap();
        prop_assert!(verify(&ring, &header, &parts(&one)).is_ok());
        let mut lower = other.clone();
        lower.1.make_ascii_lowercase();
        let mut same = one.clone();
        same.1.make_ascii_lowercase();
        prop_assert_eq!(verify(&ring, &header, &parts(&other)).is_ok(), same == lower);
    }

    #[test]
    fn no_header_of_any_bytes_panics(header: Vec<u8>) {
        let ring = ring(&[(1, &secret())], 1);
        prop_assert_eq!(verify(&ring, &header, &REQUEST), Err(RequestError::Malformed));
    }
}
