//! HTTP message signatures: made here, verified here, and made up.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure;
use m2m_crypto::{Algorithm, SecretBytes, SigningKey, SystemRandom};
use m2m_secrets::{
    ComponentError, ContentDigest, HttpKeyError, HttpKeySetError, HttpPolicyError, HttpRequest,
    HttpResponse, HttpSignError, HttpSignatureError, HttpSignatureFields, HttpSignatureKey,
    HttpSignatureKeys, HttpSignaturePolicy, HttpSignatureScratch, HttpSigner, HttpSigningKey,
    HttpVerifyingKeys, MAX_COMPONENTS, MAX_SIGNATURE_BASE_BYTES, MAX_SIGNATURE_FIELD_BYTES,
    ReplayError, ReplayMemory, RequestRejection, Ring, SecretName, SecretVersion, SharedSecret,
    SignatureBaseError, SignatureFieldError, TimeWindow, signature_base,
};
use m2m_types::Timestamp;

const BODY: &[u8] = br#"{"hello": "world"}"#;
const COVERED: [&str; 5] = ["@method", "@authority", "@path", "@query", "content-digest"];

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds).unwrap()
}

fn now() -> Timestamp {
    at(1_700_000_000)
}

fn secret() -> SharedSecret {
    SharedSecret::generate(&SystemRandom).unwrap()
}

fn memory() -> Arc<ReplayMemory> {
    Arc::new(ReplayMemory::new(1_000, TimeWindow::FIVE_MINUTES, &SystemRandom).unwrap())
}

fn policy() -> HttpSignaturePolicy {
    HttpSignaturePolicy::new(&COVERED, memory()).unwrap()
}

fn request<'a>(fields: &'a [(&'a str, &'a [u8])]) -> HttpRequest<'a> {
    HttpRequest {
        method: b"POST",
        scheme: b"https",
        authority: b"example.com",
        target: b"/foo?param=Value&Pet=dog",
        fields,
    }
}

fn signer(label: &str, key_id: &str, secret: &SharedSecret) -> HttpSigner {
    let key = HttpSigningKey::secret(secret).unwrap();
    HttpSigner::new(label, &COVERED, key_id, key).unwrap()
}

fn keys(all: &[(&str, &SharedSecret)]) -> HttpSignatureKeys {
    all.iter()
        .fold(HttpSignatureKeys::new(), |keys, (key_id, secret)| {
            keys.with_key(key_id, HttpSignatureKey::secret(secret).unwrap())
                .unwrap()
        })
}

fn digest() -> String {
    ContentDigest::sha256(BODY).to_string()
}

fn sign(signer: &HttpSigner, digest: &str) -> HttpSignatureFields {
    let fields = [("Content-Digest", digest.as_bytes())];
    signer
        .sign(&request(&fields), now(), &SystemRandom)
        .unwrap()
}

/// The key whose signature held.
fn verify(
    policy: &HttpSignaturePolicy,
    input: &str,
    signature: &str,
    keys: &impl HttpVerifyingKeys,
    now: Timestamp,
) -> Result<String, HttpSignatureError> {
    let digest = digest();
    let fields = [
        ("Content-Digest", digest.as_bytes()),
        ("Signature-Input", input.as_bytes()),
        ("Signature", signature.as_bytes()),
    ];
    let request = request(&fields);
    let mut scratch = HttpSignatureScratch::new();
    let verified = policy.verify(&request, keys, &mut scratch, now)?;
    Ok(format!("{} {}", verified.label(), verified.key_id()))
}

#[test]
fn what_is_signed_with_each_algorithm_is_verified_once() {
    let shared = secret();
    for algorithm in [None, Some(Algorithm::Ed25519), Some(Algorithm::Es256)] {
        let (signing, verifying) = match algorithm {
            None => (
                HttpSigningKey::secret(&shared).unwrap(),
                HttpSignatureKey::secret(&shared).unwrap(),
            ),
            Some(algorithm) => {
                let key = SigningKey::generate(algorithm, &SystemRandom).unwrap();
                let public = HttpSignatureKey::public(key.verifying_key().clone()).unwrap();
                (HttpSigningKey::private(key).unwrap(), public)
            }
        };
        let signer = HttpSigner::new("sig1", &COVERED, "k1", signing)
            .and_then(|signer| signer.with_tag("billing"))
            .unwrap()
            .with_lifetime(Duration::from_secs(60));
        let keys = HttpSignatureKeys::new().with_key("k1", verifying).unwrap();
        let policy = policy().with_tag("billing").unwrap();
        let fields = sign(&signer, &digest());
        let (input, signature) = (fields.signature_input(), fields.signature());
        assert_eq!(
            verify(&policy, input, signature, &keys, now()).unwrap(),
            "sig1 k1"
        );
        let again = verify(&policy, input, signature, &keys, at(1_700_000_060)).unwrap_err();
        assert_eq!(again, HttpSignatureError::Replay(ReplayError::Replayed));
        let late = verify(&policy, input, signature, &keys, at(1_700_000_061)).unwrap_err();
        assert!(matches!(late, HttpSignatureError::Expired { .. }), "{late}");
        let later = verify(&policy, input, signature, &keys, at(1_700_000_301)).unwrap_err();
        assert!(
            matches!(later, HttpSignatureError::OutsideWindow(_)),
            "{later}"
        );
        let early = verify(&policy, input, signature, &keys, at(1_699_999_699)).unwrap_err();
        assert!(
            matches!(early, HttpSignatureError::OutsideWindow(_)),
            "{early}"
        );
        assert_eq!(early.rejection(), RequestRejection::Unauthenticated);
        let other = policy_with_tag("orders");
        let unwanted = verify(&other, input, signature, &keys, now()).unwrap_err();
        assert_eq!(unwanted, HttpSignatureError::NoneWanted);
    }
}

fn policy_with_tag(tag: &str) -> HttpSignaturePolicy {
    policy().with_tag(tag).unwrap()
}

#[test]
fn during_an_overlap_either_of_two_labels_will_do() {
    let (old, new, stranger) = (secret(), secret(), secret());
    let (first, second) = (signer("sig1", "k1", &old), signer("sig2", "k2", &new));
    let (one, other) = (sign(&first, &digest()), sign(&second, &digest()));
    let input = format!("{}, {}", one.signature_input(), other.signature_input());
    let signature = format!("{}, {}", other.signature(), one.signature());
    for (keys, expected) in [
        (keys(&[("k1", &old)]), "sig1 k1"),
        (keys(&[("k2", &new)]), "sig2 k2"),
        (keys(&[("k1", &old), ("k2", &new)]), "sig1 k1"),
        (keys(&[("k1", &stranger), ("k2", &new)]), "sig2 k2"),
    ] {
        let found = verify(&policy(), &input, &signature, &keys, now());
        assert_eq!(found.as_deref(), Ok(expected));
    }
    for (keys, expected) in [
        (keys(&[("k3", &old)]), HttpKeyError::Unknown),
        (
            keys(&[("k1", &stranger), ("k2", &stranger)]),
            HttpKeyError::Signature,
        ),
    ] {
        let refused = verify(&policy(), &input, &signature, &keys, now());
        assert_eq!(refused, Err(HttpSignatureError::Key(expected)));
    }
    // The signatures of one label are worth nothing under the other.
    let swapped = signature
        .replace("sig1", "x")
        .replace("sig2", "sig1")
        .replace('x', "sig2");
    let both = keys(&[("k1", &old), ("k2", &new)]);
    assert!(verify(&policy(), &input, &swapped, &both, now()).is_err());
}

#[test]
fn a_ring_that_rotates_verifies_and_counts() {
    let (old, new) = (secret(), secret());
    let name = SecretName::new("billing").unwrap();
    let versions = [
        (SecretVersion::FIRST, &old),
        (SecretVersion::new(2).unwrap(), &new),
    ];
    let ring = Ring::fixed(&name, versions, SecretVersion::FIRST, now()).unwrap();
    let version = ring.signing(now()).unwrap();
    let fields = sign(&signer("sig1", version.key_id().as_str(), &old), &digest());
    let (input, signature) = (fields.signature_input(), fields.signature());
    assert!(verify(&policy(), input, signature, &ring, now()).is_ok());
    assert_eq!(version.uses().count(), 1);
    let fields = sign(&signer("sig1", "nobody", &old), &digest());
    let (input, signature) = (fields.signature_input(), fields.signature());
    let refused = verify(&policy(), input, signature, &ring, now());
    assert_eq!(refused, Err(HttpSignatureError::Key(HttpKeyError::Unknown)));
}

#[test]
fn a_response_is_bound_to_its_request() {
    let shared = secret();
    let covered = [
        "@status",
        "content-type",
        "\"@method\";req",
        "\"@path\";req",
        "\"x-id\";req",
    ];
    let key = HttpSigningKey::secret(&shared).unwrap();
    let signer = HttpSigner::new("sig1", &covered, "k1", key).unwrap();
    let policy = HttpSignaturePolicy::new(&covered, memory()).unwrap();
    let keys = keys(&[("k1", &shared)]);
    let plain = [("content-type", &b"text/plain"[..])];
    let (x, y) = ([("X-Id", &b"7"[..])], [("X-Id", &b"8"[..])]);
    let response = HttpResponse {
        status: 200,
        fields: &plain,
    };
    let fields = signer
        .sign_response(&response, &request(&x), now(), &SystemRandom)
        .unwrap();
    let signed = [
        plain[0],
        ("signature-input", fields.signature_input().as_bytes()),
        ("signature", fields.signature().as_bytes()),
    ];
    let mut scratch = HttpSignatureScratch::new();
    let response = HttpResponse {
        status: 200,
        fields: &signed,
    };
    let mut verify = |response: &HttpResponse<'_>, to: &HttpRequest<'_>| {
        let verified = policy.verify_response(response, to, &keys, &mut scratch, now());
        verified.map(|_| ())
    };
    let forged = HttpSignatureError::Key(HttpKeyError::Signature);
    assert_eq!(verify(&response, &request(&y)), Err(forged.clone()));
    let other = HttpResponse {
        status: 201,
        ..response
    };
    assert_eq!(verify(&other, &request(&x)), Err(forged));
    assert_eq!(verify(&response, &request(&x)), Ok(()));
    let alone = policy.verify(&response, &keys, &mut HttpSignatureScratch::new(), now());
    let missing = SignatureBaseError::Missing { position: 2 };
    assert_eq!(alone.unwrap_err(), HttpSignatureError::Base(missing));
    assert!(signer.sign(&response, now(), &SystemRandom).is_err());
}

#[test]
fn verifying_allocates_nothing_once_the_scratch_has_grown() {
    let shared = secret();
    let keys = keys(&[("k1", &shared)]);
    let digest = digest();
    let fields = sign(&signer("sig1", "k1", &shared), &digest);
    let fields = [
        ("Content-Digest", digest.as_bytes()),
        ("Signature-Input", fields.signature_input().as_bytes()),
        ("Signature", fields.signature().as_bytes()),
    ];
    let request = request(&fields);
    let window = TimeWindow::FIVE_MINUTES;
    let often = HttpSignaturePolicy::danger_accepting_replays(&COVERED, window).unwrap();
    let once = policy();
    let mut scratch = HttpSignatureScratch::new();
    often.verify(&request, &keys, &mut scratch, now()).unwrap();
    let spent = measure(|| {
        often.verify(&request, &keys, &mut scratch, now()).unwrap();
        once.verify(&request, &keys, &mut scratch, now()).unwrap();
        once.verify(&request, &keys, &mut scratch, now())
            .unwrap_err();
    });
    assert_eq!(spent.count_total, 0, "{spent:?}");
}

#[test]
fn a_change_of_any_byte_and_a_cut_at_any_place_are_refused() {
    let shared = secret();
    let keys = keys(&[("k1", &shared)]);
    let fields = sign(&signer("sig1", "k1", &shared), &digest());
    let (input, signature) = (fields.signature_input(), fields.signature());
    let policy = policy();
    let refused = |input: &[u8], signature: &[u8]| {
        let digest = digest();
        let fields = [
            ("Content-Digest", digest.as_bytes()),
            ("Signature-Input", input),
            ("Signature", signature),
        ];
        let mut scratch = HttpSignatureScratch::new();
        policy
            .verify(&request(&fields), &keys, &mut scratch, now())
            .is_err()
    };
    for flip in [1, 2, 4, 32, 128] {
        for at in 0..input.len() {
            let mut changed = input.as_bytes().to_vec();
            changed[at] ^= flip;
            assert!(refused(&changed, signature.as_bytes()), "{at} {flip}");
            assert!(refused(&input.as_bytes()[..at], signature.as_bytes()));
        }
        for at in 0..signature.len() {
            let mut changed = signature.as_bytes().to_vec();
            changed[at] ^= flip;
            assert!(refused(input.as_bytes(), &changed), "{at} {flip}");
            assert!(refused(input.as_bytes(), &signature.as_bytes()[..at]));
        }
    }
    assert!(
        !refused(input.as_bytes(), signature.as_bytes()),
        "what was changed is good"
    );
}

#[test]
fn a_signature_that_leaves_out_what_matters_is_worth_nothing() {
    let shared = secret();
    let keys = keys(&[("k1", &shared)]);
    for (left_out, name) in COVERED.iter().enumerate() {
        let mut covered = COVERED.to_vec();
        covered.remove(left_out);
        let key = HttpSigningKey::secret(&shared).unwrap();
        let signer = HttpSigner::new("sig1", &covered, "k1", key).unwrap();
        let fields = sign(&signer, &digest());
        let (input, signature) = (fields.signature_input(), fields.signature());
        let refused = verify(&policy(), input, signature, &keys, now()).unwrap_err();
        let component = Arc::from(*name);
        assert_eq!(refused, HttpSignatureError::NotCovered { component });
        assert!(refused.to_string().contains(name));
    }
    // A part of a field is not the field.
    let mut covered = COVERED.to_vec();
    covered[4] = "\"content-digest\";key=\"sha-256\"";
    let key = HttpSigningKey::secret(&shared).unwrap();
    let fields = sign(
        &HttpSigner::new("sig1", &covered, "k1", key).unwrap(),
        &digest(),
    );
    let (input, signature) = (fields.signature_input(), fields.signature());
    let refused = verify(&policy(), input, signature, &keys, now()).unwrap_err();
    assert!(matches!(refused, HttpSignatureError::NotCovered { .. }));

    for found in [0, MAX_COMPONENTS + 1] {
        let refused = HttpSignaturePolicy::new(&vec!["date"; found], memory()).unwrap_err();
        assert_eq!(refused, HttpPolicyError::Count { found });
    }
}

#[test]
fn parameters_that_a_policy_needs_must_be_there_and_right() {
    let shared = secret();
    let keys = keys(&[("k1", &shared)]);
    let fields = sign(&signer("sig1", "k1", &shared), &digest());
    let (input, signature) = (fields.signature_input(), fields.signature());
    let refuse = |from: &str, to: &str| {
        let changed = input.replace(from, to);
        assert_ne!(changed, input);
        verify(&policy(), &changed, signature, &keys, now()).unwrap_err()
    };
    let nonce = &input[input.find(";nonce").unwrap()..input.find(";keyid").unwrap()];
    assert_eq!(refuse(nonce, ""), HttpSignatureError::NonceMissing);
    assert_eq!(
        refuse(";keyid=\"k1\"", ""),
        HttpSignatureError::KeyIdMissing
    );
    assert_eq!(
        refuse(";created=1700000000", ""),
        HttpSignatureError::CreatedMissing
    );
    for seconds in [
        -1,
        -999_999_999_999_999,
        253_402_300_800,
        999_999_999_999_999,
    ] {
        let to = format!("created={seconds}");
        assert_eq!(
            refuse("created=1700000000", &to),
            HttpSignatureError::Time { seconds }
        );
    }
    for (from, to) in [
        ("created=1700000000", "created=-9223372036854775808"),
        ("created=1700000000", "created=01700000000"),
        ("created=1700000000", "created=1700000000."),
        ("created=1700000000", "created=-0"),
    ] {
        let refused = refuse(from, to);
        let malformed = matches!(
            refused,
            HttpSignatureError::Field(SignatureFieldError::Malformed { .. })
        );
        assert!(malformed, "{to} {refused}");
    }
    let parameter = HttpSignatureError::Field(SignatureFieldError::Parameter);
    for (from, to) in [
        ("created=1700000000", "created=\"1700000000\""),
        ("created=1700000000", "created=1700000000.5"),
        ("created=1700000000", "created"),
        (
            "created=1700000000",
            "created=1700000000;created=1700000000",
        ),
        ("keyid=\"k1\"", "keyid=k1"),
        ("keyid=\"k1\"", "keyid=\"k\\\"1\""),
        ("keyid=\"k1\"", "keyid=\"k1\";keyid=\"k1\""),
        ("keyid=\"k1\"", "keyid=\"k1\";x=1;x=2"),
        ("keyid=\"k1\"", "keyid=\"k1\";a;b;c;d;e"),
        ("keyid=\"k1\"", "keyid=\"k1\";tag=:AAAA:"),
    ] {
        assert_eq!(refuse(from, to), parameter, "{to}");
    }
    let ours = m2m_secrets::HttpSignatureAlgorithm::HmacSha256;
    for said in ["none", "ed25519", "rsa-pss-sha512", "HMAC-SHA256", ""] {
        let refused = refuse("keyid=", &format!("alg=\"{said}\";keyid="));
        assert_eq!(
            refused,
            HttpSignatureError::Key(HttpKeyError::Algorithm { ours })
        );
    }
    let refused = refuse("keyid=", "alg=\"hmac-sha256\";keyid=");
    assert_eq!(refused, HttpSignatureError::Key(HttpKeyError::Signature));
}

#[test]
fn what_is_not_canonical_doubled_or_unknown_is_refused() {
    let shared = secret();
    let keys = keys(&[("k1", &shared)]);
    let fields = sign(&signer("sig1", "k1", &shared), &digest());
    let (input, signature) = (fields.signature_input(), fields.signature());
    let refuse =
        |input: &str, signature: &str| match verify(&policy(), input, signature, &keys, now())
            .unwrap_err()
        {
            HttpSignatureError::Field(error) => error,
            error => panic!("{input} {signature} {error}"),
        };
    let with = |from: &str, to: &str| refuse(&input.replacen(from, to, 1), signature);
    for (from, to) in [
        ("(\"", "( \""),
        ("\")", "\" )"),
        ("\" \"", "\"  \""),
        ("\" \"", "\",\""),
        ("\" \"", "\"\t\""),
        ("\" \"", "\"\""),
        (";created", "; created"),
        (";created", ";Created"),
        ("sig1", "Sig1"),
        ("sig1=", "sig1 ="),
        ("sig1=(", "sig1=\"("),
        ("sig1=", "sig1"),
        ("sig1=", ",sig1="),
        ("\"@method\"", "@method"),
        ("\"@method\"", "\"@method\";req=?1"),
    ] {
        let refused = with(from, to);
        assert!(
            matches!(refused, SignatureFieldError::Malformed { .. }),
            "{to} {refused}"
        );
    }
    for (from, to, expected) in [
        ("\"@method\"", "\"@methods\"", ComponentError::Unknown),
        (
            "\"@method\"",
            "\"@signature-params\"",
            ComponentError::Unknown,
        ),
        ("\"@method\"", "\"@Method\"", ComponentError::Unknown),
        ("\"@method\"", "\"Content-Type\"", ComponentError::Unknown),
        ("\"@method\"", "\"content type\"", ComponentError::Unknown),
        ("\"@method\"", "\"\"", ComponentError::Unknown),
        (
            "\"@method\"",
            "\"date\";sf",
            ComponentError::UnsupportedParameter,
        ),
        (
            "\"@method\"",
            "\"date\";foo",
            ComponentError::UnsupportedParameter,
        ),
        (
            "\"@method\"",
            "\"date\";bs;key=\"a\"",
            ComponentError::Parameters,
        ),
        ("\"@method\"", "\"date\";bs;bs", ComponentError::Parameters),
        ("\"@method\"", "\"date\";bs=?0", ComponentError::Parameters),
        ("\"@method\"", "\"date\";key=a", ComponentError::Parameters),
        (
            "\"@method\"",
            "\"date\";name=\"a\"",
            ComponentError::Parameters,
        ),
        ("\"@method\"", "\"@method\";tr", ComponentError::Parameters),
        ("\"@method\"", "\"@status\";req", ComponentError::Parameters),
        (
            "\"@method\"",
            "\"@query-param\"",
            ComponentError::Parameters,
        ),
        (
            "\"@method\"",
            "\"@path\";name=\"a\"",
            ComponentError::Parameters,
        ),
        (
            "\"@method\"",
            "\"@query-param\";name=\"a\\\"\"",
            ComponentError::Parameters,
        ),
    ] {
        assert_eq!(
            with(from, to),
            SignatureFieldError::Component(expected),
            "{to}"
        );
    }
    for twice in [
        "\"@method\" \"@method\"",
        "\"date\" \"@method\" \"date\"",
        "\"date\";bs;tr \"date\";tr;bs",
    ] {
        assert_eq!(
            with("\"@method\"", twice),
            SignatureFieldError::ComponentTwice,
            "{twice}"
        );
    }
    let many: Vec<String> = (0..=20).map(|number| format!("\"f{number}\"")).collect();
    let refused = with("\"@method\"", &many.join(" "));
    assert_eq!(refused, SignatureFieldError::TooManyComponents);

    assert_eq!(
        refuse(&format!("{input}, {input}"), signature),
        SignatureFieldError::LabelTwice
    );
    let twice = format!("{signature}, {signature}");
    assert_eq!(refuse(input, &twice), SignatureFieldError::LabelTwice);
    assert_eq!(
        refuse(input, &signature.replace("sig1", "sig2")),
        SignatureFieldError::LabelsDiffer
    );
    let other = format!("{signature}, sig2=:AAAA:");
    assert_eq!(refuse(input, &other), SignatureFieldError::LabelsDiffer);
    let other = format!("{input}, {}", input.replace("sig1", "sig2"));
    assert_eq!(refuse(&other, signature), SignatureFieldError::LabelsDiffer);
    for broken in [
        "sig1=\"AAAA\"",
        "sig1",
        "sig1=:AA AA:",
        "sig1=:AAAA",
        "sig1=(:AAAA:)",
    ] {
        let refused = refuse(input, broken);
        assert!(
            matches!(refused, SignatureFieldError::Malformed { .. }),
            "{broken} {refused}"
        );
    }
    let field = "signature-input";
    assert_eq!(
        refuse("", signature),
        SignatureFieldError::Missing { field }
    );
    let field = "signature";
    assert_eq!(refuse(input, ""), SignatureFieldError::Missing { field });
}

#[test]
fn sec_013_signatures_are_counted_and_their_fields_bounded() {
    let shared = secret();
    let keys = keys(&[("k1", &shared)]);
    let fields = sign(&signer("sig1", "k1", &shared), &digest());
    let (input, signature) = (fields.signature_input(), fields.signature());
    let many = |text: &str, count: usize| {
        let all: Vec<String> = (0..count)
            .map(|n| text.replace("sig1", &format!("s{n}")))
            .collect();
        all.join(", ")
    };
    let refuse = |count| {
        verify(
            &policy(),
            &many(input, count),
            &many(signature, count),
            &keys,
            now(),
        )
        .unwrap_err()
    };
    assert!(
        verify(
            &policy(),
            &many(input, 8),
            &many(signature, 8),
            &keys,
            now()
        )
        .is_ok()
    );
    let too_many = HttpSignatureError::Field(SignatureFieldError::TooManyLabels);
    assert_eq!(refuse(9), too_many);
    let field = "signature-input";
    let too_long = HttpSignatureError::Field(SignatureFieldError::TooLong { field });
    assert_eq!(refuse(10_000), too_long);
    // Over many lines, too.
    let lines: Vec<_> = vec![("signature-input", b"".as_slice()); 2];
    let long = vec![b' '; MAX_SIGNATURE_FIELD_BYTES / 2 + 1];
    let lines: Vec<_> = lines
        .into_iter()
        .map(|(name, _)| (name, &long[..]))
        .collect();
    let mut scratch = HttpSignatureScratch::new();
    let refused = policy()
        .verify(&request(&lines), &keys, &mut scratch, now())
        .unwrap_err();
    assert_eq!(refused, too_long);

    let huge = vec![b'x'; MAX_SIGNATURE_BASE_BYTES + 1];
    let fields = [("x", &huge[..])];
    let refused = signature_base(&request(&fields), b"(\"x\")");
    assert_eq!(refused, Err(SignatureBaseError::TooLong));
}

#[test]
fn sec_011_no_value_can_look_like_another_line() {
    let member = b"(\"x\")";
    for value in [
        &b"a\n\"@method\": GET"[..],
        b"a\r\n\"@method\": GET",
        b"a\0",
        b"a\x7f",
        b"caf\xc3\xa9",
        b"a\x0bb",
    ] {
        let fields = [("x", value)];
        let refused = signature_base(&request(&fields), member);
        assert_eq!(
            refused,
            Err(SignatureBaseError::Unprintable { position: 0 })
        );
        // Encoded it can be signed.
        assert!(signature_base(&request(&fields), b"(\"x\";bs)").is_ok());
        let target = HttpRequest {
            target: value,
            ..request(&[])
        };
        assert!(signature_base(&target, b"(\"@path\")").is_err());
        let method = HttpRequest {
            method: value,
            ..request(&[])
        };
        assert!(signature_base(&method, b"(\"@method\")").is_err());
    }
    // Lines that are joined differ from a line that has the comma in it only where `bs` says so.
    let (joined, split) = ([("x", &b"a, b"[..])], [("x", &b"a"[..]), ("x", b"b")]);
    let base = |fields, member: &[u8]| signature_base(&request(fields), member).unwrap();
    assert_eq!(base(&joined, member), base(&split, member));
    assert_ne!(base(&joined, b"(\"x\";bs)"), base(&split, b"(\"x\";bs)"));
}

#[test]
fn what_is_covered_must_be_there_exactly_once_where_it_must_be() {
    let fields = [
        ("dict", &b"a=1, b"[..]),
        ("dict", b"a=2"),
        ("loose", b"a = 1"),
        ("other", b"a=?1"),
    ];
    let base = |member: &str| signature_base(&request(&fields), member.as_bytes());
    for (member, expected) in [
        ("(\"missing\")", SignatureBaseError::Missing { position: 0 }),
        (
            "(\"@method\" \"@status\")",
            SignatureBaseError::Missing { position: 1 },
        ),
        (
            "(\"dict\";key=\"c\")",
            SignatureBaseError::Missing { position: 0 },
        ),
        (
            "(\"dict\";key=\"a\")",
            SignatureBaseError::Ambiguous { position: 0 },
        ),
        (
            "(\"loose\";key=\"a\")",
            SignatureBaseError::NoDictionary { position: 0 },
        ),
        (
            "(\"other\";key=\"a\")",
            SignatureBaseError::NoDictionary { position: 0 },
        ),
        ("(\"dict\";tr)", SignatureBaseError::Missing { position: 0 }),
        (
            "(\"@method\";req)",
            SignatureBaseError::Missing { position: 0 },
        ),
        (
            "(\"@query-param\";name=\"pet\")",
            SignatureBaseError::Missing { position: 0 },
        ),
    ] {
        assert_eq!(base(member), Err(expected), "{member}");
    }
    assert!(base("(\"dict\";key=\"b\")").is_ok());
    let twice = HttpRequest {
        target: b"/?a=1&b=2&%61=3",
        ..request(&[])
    };
    let refused = signature_base(&twice, b"(\"@query-param\";name=\"a\")");
    assert_eq!(refused, Err(SignatureBaseError::Ambiguous { position: 0 }));
    assert!(signature_base(&twice, b"(\"@query-param\";name=\"b\")").is_ok());
    for behind in [" ", ", x", "x"] {
        let refused = base(&format!("(\"@method\"){behind}"));
        assert!(
            matches!(refused, Err(SignatureBaseError::Input(_))),
            "{behind:?}"
        );
    }
}

#[test]
fn what_a_signer_or_a_key_set_is_given_is_checked() {
    let shared = secret();
    let make = |label: &str, covered: &[&str], key_id: &str| {
        let key = HttpSigningKey::secret(&shared).unwrap();
        HttpSigner::new(label, covered, key_id, key).map(|_| ())
    };
    for label in ["", "1a", "A", "a b", "a\"", &"a".repeat(65)] {
        assert_eq!(
            make(label, &["date"], "k"),
            Err(HttpSignError::Label),
            "{label}"
        );
    }
    for key_id in ["", "a b", "a\"", "a\\", "é", &"a".repeat(257)] {
        assert_eq!(make("a", &["date"], key_id), Err(HttpSignError::Parameter));
        let key = HttpSignatureKey::secret(&shared).unwrap();
        let refused = HttpSignatureKeys::new().with_key(key_id, key).unwrap_err();
        assert_eq!(
            refused,
            HttpKeySetError::KeyId {
                length: key_id.len()
            }
        );
    }
    assert_eq!(make("a", &[], "k"), Err(HttpSignError::Count { found: 0 }));
    assert_eq!(make("a", &["date", "date"], "k"), Err(HttpSignError::Twice));
    let unknown = HttpSignError::Component(ComponentError::Unknown);
    assert_eq!(make("a", &["Date"], "k"), Err(unknown));
    let key = || HttpSignatureKey::secret(&shared).unwrap();
    let keys = HttpSignatureKeys::new().with_key("k", key()).unwrap();
    assert_eq!(
        keys.with_key("k", key()).unwrap_err(),
        HttpKeySetError::Twice
    );
    let full = (0..128).fold(HttpSignatureKeys::new(), |keys, number| {
        keys.with_key(&number.to_string(), key()).unwrap()
    });
    assert_eq!(
        full.with_key("k", key()).unwrap_err(),
        HttpKeySetError::Full
    );
    assert!(matches!(
        policy().with_tag("a b"),
        Err(HttpPolicyError::Tag { length: 3 })
    ));
}

#[test]
fn sec_016_no_key_is_shown() {
    let bytes: Vec<u8> = (100..164).collect();
    let shared = SharedSecret::new(SecretBytes::from(&bytes[..])).unwrap();
    let signing = HttpSigningKey::secret(&shared).unwrap();
    let shown_key = format!("{signing:?}");
    let signer = HttpSigner::new("sig1", &COVERED, "k1", signing).unwrap();
    let keys = keys(&[("k1", &shared)]);
    let shown = format!("{shown_key} {signer:?} {keys:?} {:?}", policy());
    assert!(shown.contains("redacted"));
    for part in bytes.windows(4) {
        let hex: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
        let list = format!("{part:?}").trim_matches(['[', ']']).to_owned();
        let raw = String::from_utf8_lossy(part).into_owned();
        for form in [hex, list, raw] {
            assert!(!shown.contains(&form), "{form} in {shown}");
        }
    }
}
