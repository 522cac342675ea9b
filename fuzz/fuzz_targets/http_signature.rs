#![no_main]
//! `Signature-Input`, `Signature`, another field, the target and `Content-Digest` of a request, parted by
//! NUL: refused, or the signature is that of the base, over what was read.

use libfuzzer_sys::fuzz_target;
use m2m_crypto::SecretBytes;
use m2m_fuzz::{at, check_message};
use m2m_secrets::{
    ContentDigest, HttpRequest, HttpSignatureKey, HttpSignatureKeys, HttpSignaturePolicy,
    HttpSignatureScratch, HttpSigner, HttpSigningKey, SharedSecret, TimeWindow, signature_base,
};

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(5, |byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let (input, signature, field, target, digest) = (part(), part(), part(), part(), part());
    if let Err(error) = ContentDigest::parse([digest]).map(|read| {
        let again = read.to_string();
        assert_eq!(ContentDigest::parse([again.as_bytes()]), Ok(read));
    }) {
        check_message(&error);
    }

    let fields = [
        ("Date", &b"Tue, 20 Apr 2021 02:07:55 GMT"[..]),
        ("X-Field", field),
        ("Signature-Input", input),
        ("Signature", signature),
    ];
    let request = HttpRequest {
        method: b"POST",
        scheme: b"https",
        authority: b"example.com",
        target,
        fields: &fields,
    };
    let secret: Vec<u8> = (0..32).collect();
    let secret = SharedSecret::new(SecretBytes::new(secret)).expect("32 bytes that differ");
    let key = HttpSignatureKey::secret(&secret).expect("it is no public key");
    let keys = HttpSignatureKeys::new().with_key("k", key).expect("one");
    let window = TimeWindow::FIVE_MINUTES;
    let policy = HttpSignaturePolicy::danger_accepting_replays(&["@method"], window);
    let policy = policy.expect("one component");
    let mut scratch = HttpSignatureScratch::new();
    let now = at(1_618_884_473);
    if let Err(error) = policy.verify(&request, &keys, &mut scratch, now) {
        check_message(&error);
    }

    // The base has one line for each component, whatever is in them, and ends with what was read.
    match signature_base(&request, input) {
        Err(error) => check_message(&error),
        Ok(base) => {
            let base = String::from_utf8(base).expect("a base is ASCII");
            let (_, member) = base
                .rsplit_once("\"@signature-params\": ")
                .expect("its last line");
            assert_eq!(member.as_bytes(), input);
            let covered = member.split(')').next().unwrap_or_default();
            assert!(base.lines().count() <= covered.len() / 3 + 2);
            assert!(
                base.bytes()
                    .all(|byte| matches!(byte, b'\n' | b'\t' | 0x20..=0x7e))
            );
        }
    }

    // What we sign ourselves is verified, if it can be signed.
    let key = HttpSigningKey::secret(&secret).expect("it is no public key");
    let covered = ["@method", "@path", "@query", "x-field", "\"x-field\";bs"];
    let signer = HttpSigner::new("sig1", &covered, "k", key).expect("five components");
    let unsigned = HttpRequest {
        fields: &fields[..2],
        ..request
    };
    let Ok(signed) = signer.sign(&unsigned, now, &m2m_fuzz::FixedRandom) else {
        return;
    };
    let fields = [
        fields[0],
        fields[1],
        ("signature-input", signed.signature_input().as_bytes()),
        ("signature", signed.signature().as_bytes()),
    ];
    let signed = HttpRequest {
        fields: &fields,
        ..request
    };
    let verified = policy.verify(&signed, &keys, &mut scratch, now);
    assert_eq!(verified.expect("it was signed").key_id(), "k");
});
