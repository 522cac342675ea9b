#![no_main]
//! The three headers of a webhook and its body, parted by NUL: refused, or what was signed.

use libfuzzer_sys::fuzz_target;
use m2m_fuzz::{at, check_message};
use m2m_secrets::{TimeWindow, WebhookHeaders, WebhookSecret, WebhookSigner, WebhookVerifier};

/// Of the specification's examples.
const SECRETS: [&[u8]; 2] = [
    b"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
];

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(4, |byte| *byte == 0);
    let (Some(id), Some(timestamp), Some(signature), Some(payload)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return;
    };
    let secrets = SECRETS.map(|text| WebhookSecret::parse(text).expect("an example is a secret"));
    let verifier =
        WebhookVerifier::new(&secrets, TimeWindow::FIVE_MINUTES).expect("two are allowed");
    let headers = WebhookHeaders {
        id,
        timestamp,
        signature,
    };
    let now = at(1_614_265_330);
    match verifier.verify(headers, payload, now) {
        Err(error) => check_message(&error),
        Ok(verified) => {
            let signer = WebhookSigner::new([&secrets[verified.secret_index()]]).expect("one");
            let signed = signer.sign(verified.id(), verified.timestamp(), payload);
            let signed = signed.expect("what was verified can be signed");
            let mut all = signature.split(|byte| *byte == b' ');
            assert!(all.any(|one| one == signed.as_bytes()), "nobody signed it");
        }
    }

    // What we sign ourselves is verified, whatever the payload.
    let signer = WebhookSigner::new(&secrets).expect("two are allowed");
    let id = "msg_1";
    let signature = signer.sign(id, now, payload).expect("a good id");
    let headers = WebhookHeaders {
        id: id.as_bytes(),
        timestamp: b"1614265330",
        signature: signature.as_bytes(),
    };
    let verified = verifier
        .verify(headers, payload, now)
        .expect("it was signed");
    assert_eq!(verified.secret_index(), 0);
});
