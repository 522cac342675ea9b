//! No secret in what is shown: in whatever form, of whatever type.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

use std::error::Error;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use m2m_crypto::{SecretBytes, SystemRandom};
use m2m_secrets::{
    ClientKeys, Generation, KeyFormat, KeyHasher, KeyScanner, KeyTable, PairRoot, Parties,
    PeerFloors, PepperError, PepperVersion, RootVersion, SharedSecret,
};
use m2m_types::{ServiceId, Timestamp};

/// Whether `shown` has any six bytes of `secret` in one of the forms that bytes are printed in.
fn shows(shown: &str, secret: &[u8]) -> bool {
    let lower = shown.to_ascii_lowercase();
    secret.windows(6).any(|part| {
        let hex: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
        let list = |separator: &str| {
            let numbers: Vec<String> = part.iter().map(u8::to_string).collect();
            numbers.join(separator)
        };
        let raw = std::str::from_utf8(part).is_ok_and(|text| shown.contains(text));
        let escaped = part.escape_ascii().to_string();
        raw || shown.contains(&escaped)
            || lower.contains(&hex)
            || shown.contains(&STANDARD_NO_PAD.encode(part))
            || shown.contains(&URL_SAFE_NO_PAD.encode(part))
            || shown.contains(&list(", "))
            || shown.contains(&list(","))
    })
}

/// An error and all its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = format!("{error} {error:?} {error:#?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!("{error} {error:?}"));
        cause = error.source();
    }
    text
}

fn now() -> Timestamp {
    Timestamp::from_unix_seconds(1_700_000_000).unwrap()
}

#[test]
fn the_search_finds_each_form() {
    let secret = b"\x01secret\xfe\xff\x00bytes";
    for shown in [
        format!("{secret:?}"),
        format!("{:02x?}", secret).replace(", ", ""),
        format!("{:02X?}", secret).replace(", ", ""),
        STANDARD_NO_PAD.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
        secret.escape_ascii().to_string(),
        String::from("text with secret in it"),
    ] {
        assert!(shows(&shown, secret), "{shown}");
    }
    assert!(!shows("text without", secret));
}

#[test]
fn sec_016_no_type_that_holds_a_secret_shows_it() {
    let pepper = SharedSecret::generate(&SystemRandom).unwrap();
    let format = KeyFormat::new("acme", "live").unwrap();
    let (one, two) = (
        PepperVersion::new(1).unwrap(),
        PepperVersion::new(2).unwrap(),
    );
    let old = KeyHasher::new(format.clone(), one, &pepper).unwrap();
    let owner: ServiceId = "spiffe://example.org/a".parse().unwrap();
    let (mut client, issued) =
        ClientKeys::issue(owner.clone(), &old, &SystemRandom, now()).unwrap();
    let newer = SharedSecret::generate(&SystemRandom).unwrap();
    let hasher = KeyHasher::new(format.clone(), two, &newer).unwrap();
    let hasher = Arc::new(hasher.with_former(one, &pepper).unwrap());
    let table = KeyTable::build(Arc::clone(&hasher), [&client], &SystemRandom, now()).unwrap();
    let text = issued.key().expose_secret().to_owned();
    let verified = table.check(text.as_bytes(), now()).unwrap();
    let rehash = verified.rehash().unwrap().clone();
    let scanner = KeyScanner::new(vec![format.clone()]).unwrap();
    let found = scanner.find_in(text.as_bytes()).next().unwrap();
    let root = PairRoot::new(&pepper, RootVersion(1));
    let other: ServiceId = "spiffe://example.org/b".parse().unwrap();
    let parties = Parties::pair(&owner, &other).unwrap();
    let floors = PeerFloors::new(&SystemRandom).unwrap();
    let pair_secret = root.secret(&parties, Generation::FIRST);
    let pair_key = root.key(&parties, Generation::FIRST);

    let mut shown = vec![
        format!("{pepper:?} {pepper:#?}"),
        format!("{hasher:?} {hasher:#?}"),
        format!("{:?} {:#?}", issued.key(), issued),
        format!("{client:?} {client:#?}"),
        format!("{table:?} {table:#?}"),
        format!("{verified:?} {verified:#?}"),
        format!("{rehash:?} {rehash:#?}"),
        format!("{found:?} {found:#?} {:?}", found.key()),
        format!("{scanner:?}"),
        format!("{root:?} {parties:?} {pair_secret:?} {pair_key:?} {floors:?}"),
    ];
    let events = issued.events().iter();
    shown.extend(events.map(|event| format!("{event} {event:?}")));

    // Errors that such a secret caused.
    for at in 0..text.len() {
        let mut typo = text.clone().into_bytes();
        typo[at] = b'!';
        shown.push(chain(&table.check(&typo, now()).unwrap_err()));
        shown.push(chain(&scanner.recognise(&typo).unwrap_err()));
    }
    let cut = &text.as_bytes()[..40];
    shown.push(chain(&table.check(cut, now()).unwrap_err()));
    let empty = KeyTable::build(hasher, [], &SystemRandom, now()).unwrap();
    shown.push(chain(&empty.check(text.as_bytes(), now()).unwrap_err()));
    let repeated = old.with_former(one, &pepper).unwrap_err();
    assert!(matches!(repeated, PepperError::Repeated { .. }));
    shown.push(chain(&repeated));
    let weak = SharedSecret::new(SecretBytes::from(&text.as_bytes()[22..50]));
    shown.push(chain(&weak.unwrap_err()));
    let tag = root.sign(&parties, Generation::FIRST, b"m");
    let refused = root.verify(&parties, Generation::FIRST, &floors, b"n", &tag);
    shown.push(chain(&refused.unwrap_err()));
    let answer = client.report_leak(
        issued.key().id(),
        &empty_hasher(&pepper),
        &SystemRandom,
        now(),
    );
    let answer = answer.unwrap();
    let m2m_secrets::LeakAnswer::Replaced(replacement) = &answer else {
        panic!("there was no other key");
    };
    shown.push(format!("{answer:?} {answer:#?}"));

    let secrets: [&[u8]; 8] = [
        pepper.expose_secret().expose_secret(),
        newer.expose_secret().expose_secret(),
        &text.as_bytes()[22..],
        &replacement.key().expose_secret().as_bytes()[22..],
        rehash.to().as_bytes(),
        pair_secret.expose_secret(),
        &tag,
        client.ended()[0].hash().as_bytes(),
    ];
    for shown in &shown {
        for secret in secrets {
            assert!(!shows(shown, secret), "{shown}");
        }
    }
}

fn empty_hasher(pepper: &SharedSecret) -> KeyHasher {
    let format = KeyFormat::new("acme", "live").unwrap();
    KeyHasher::new(format, PepperVersion::new(1).unwrap(), pepper).unwrap()
}

#[test]
fn sec_021_a_panic_that_carries_one_shows_nothing() {
    let key = KeyFormat::new("acme", "live")
        .unwrap()
        .generate(&SystemRandom)
        .unwrap();
    let secret = key.expose_secret().as_bytes()[22..].to_vec();
    let panicked = std::panic::catch_unwind(move || {
        // What a template engine or a failed command does with what it was given.
        failed(key).unwrap();
    });
    let payload = panicked.unwrap_err();
    let message = payload.downcast_ref::<String>().unwrap();
    assert!(
        message.contains("[redacted]") && !shows(message, &secret),
        "{message}"
    );
}

fn failed(key: m2m_secrets::ApiKey) -> Result<(), m2m_secrets::ApiKey> {
    Err(key)
}

#[test]
fn sec_022_a_key_in_a_url_or_on_a_command_line_is_no_key_and_is_cut_out() {
    let format = KeyFormat::new("acme", "live").unwrap();
    let key = format.generate(&SystemRandom).unwrap();
    let scanner = KeyScanner::new(vec![format.clone()]).unwrap();
    for around in [
        "https://api.example/?key=@",
        "https://@@api.example/",
        "--key=@",
        "-k @",
    ] {
        let given = around.replacen('@', key.expose_secret(), 1);
        assert!(format.parse(given.as_bytes()).is_err());
        let clean = String::from_utf8(scanner.redact(given.as_bytes())).unwrap();
        assert!(
            !shows(&clean, &key.expose_secret().as_bytes()[22..]),
            "{clean}"
        );
    }
}
