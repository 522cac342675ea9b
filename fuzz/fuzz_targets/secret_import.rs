#![no_main]
//! What people paste and other systems export: an API key, a text with keys in it, JSON with secrets, the
//! record of a client. Refused with a place and without content, or read as what it says.

use libfuzzer_sys::fuzz_target;
use m2m_fuzz::check_message;
use m2m_secrets::{ClientKeys, KeyFormat, KeyScanner, read_json};

fuzz_target!(|data: &[u8]| {
    let format = KeyFormat::new("acme", "live").expect("two labels");
    match format.parse(data) {
        Err(error) => check_message(&error),
        Ok(key) => {
            assert_eq!(data.len(), format.key_bytes());
            let id = &data[b"acme_live_".len()..][..key.id().as_bytes().len()];
            assert_eq!(key.id().as_bytes(), id);
            // One that was typed wrongly is no other key.
            for at in 0..data.len() {
                let mut typo = data.to_vec();
                typo[at] = if typo[at] == b'x' { b'y' } else { b'x' };
                assert!(format.parse(&typo).is_err(), "a typo at {at} is a key");
            }
        }
    }

    // What is found is a key, and whatever is cut out leaves none.
    let scanner = KeyScanner::new(vec![format.clone()]).expect("one format");
    let found = scanner.find_in(data).count();
    assert!(found <= data.len() / format.key_bytes());
    assert!(
        found > 0 || format.parse(data).is_err(),
        "a key is found in itself"
    );

    match read_json(data) {
        Err(error) => check_message(&error),
        Ok(secrets) => {
            let text = std::str::from_utf8(data).expect("JSON is UTF-8");
            for named in &secrets {
                assert!(text.contains(named.name().as_str()));
                assert!(named.secret().expose_secret().len() >= 32);
            }
        }
    }

    if let Some(client) = ClientKeys::from_record(data) {
        assert_eq!(client.to_record(), data, "a record has one form");
        assert!(client.live().count() <= 2);
    }
});
