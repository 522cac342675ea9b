#![no_main]
//! Any bytes as a transmitter's metadata (SSF 1.0 §7.1), and any text as its issuer: refused in few words,
//! or the same when it is written and read again.

use caep_stream::{TransmitterMetadata, well_known_url};
use libfuzzer_sys::fuzz_target;

const ISSUER: &str = "https://transmitter.example/tenant";

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        match well_known_url(text) {
            Ok(url) => assert!(
                url.starts_with("https://") && url.contains("/.well-known/ssf-configuration")
            ),
            Err(error) => assert!(error.to_string().len() < 512),
        }
    }
    match TransmitterMetadata::from_json(ISSUER, data) {
        Ok(metadata) => {
            assert_eq!(metadata.issuer(), ISSUER);
            let written = serde_json::to_vec(&metadata).expect("what was read can be written");
            let again = TransmitterMetadata::from_json(ISSUER, &written).expect("and read again");
            assert_eq!(again, metadata);
        }
        Err(error) => assert!(error.to_string().len() < 512),
    }
});
