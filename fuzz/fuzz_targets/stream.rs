#![no_main]
//! Any bytes as each of the bodies by which streams are managed (SSF 1.0 §8.1): refused in few words, or
//! the same when it is written and read again.

use caep_stream::{
    StatusUpdate, StreamConfiguration, StreamRequest, SubjectRequest, VerificationRequest,
};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;

const ISSUER: &str = "https://transmitter.example";

fuzz_target!(|data: &[u8]| {
    survives(data, StreamRequest::from_json);
    survives(data, |body| StreamConfiguration::from_json(ISSUER, body));
    survives(data, StatusUpdate::from_json);
    survives(data, SubjectRequest::from_json);
    survives(data, VerificationRequest::from_json);
});

fn survives<T: Serialize, E: std::fmt::Display + std::fmt::Debug>(
    data: &[u8],
    read: impl Fn(&[u8]) -> Result<T, E>,
) {
    let value = match read(data) {
        Ok(value) => value,
        Err(error) => return assert!(error.to_string().len() < 512),
    };
    let written = serde_json::to_vec(&value).expect("what was read can be written");
    let again = read(&written).expect("and read again");
    assert_eq!(serde_json::to_vec(&again).expect("as before"), written);
}
