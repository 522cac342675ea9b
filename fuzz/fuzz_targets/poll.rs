#![no_main]
//! Any bytes as a poll request and as a poll response (RFC 8936): refused in few words, or the same when it
//! is written and read again.

use caep_stream::poll::{PollRequest, PollResponse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    match PollRequest::from_json(data) {
        Ok(request) => {
            let written = serde_json::to_vec(&request).expect("what was read can be written");
            let again = PollRequest::from_json(&written).expect("and read again");
            assert_eq!(again, request);
        }
        Err(error) => assert!(error.to_string().len() < 512),
    }
    match PollResponse::from_json(data) {
        Ok(response) => {
            let written = serde_json::to_vec(&response).expect("what was read can be written");
            let again = PollResponse::from_json(&written).expect("and read again");
            assert_eq!(again, response);
        }
        Err(error) => assert!(error.to_string().len() < 512),
    }
});
