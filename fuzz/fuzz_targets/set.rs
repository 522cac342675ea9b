#![no_main]
//! Any text as the claims of a SET, in each dialect: what is read can be written and read again, and says
//! the same.

use caep_set::{Event, Profile, Reading, SecurityEvent, Verdict};
use libfuzzer_sys::fuzz_target;
use m2m_types::Timestamp;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let now = Timestamp::from_unix_seconds(1_790_000_000).expect("a time");
    for profile in [
        Profile::ssf(),
        Profile::rfc8417(),
        Profile::scim(),
        Profile::google_risc(),
        Profile::apple().with_critical_subject_members(["tenant"]),
    ] {
        let reading = Reading::of_claims(text, &profile, now);
        assert!(reading.findings().len() <= 64);
        for finding in reading.findings() {
            let message = finding.to_string();
            assert!(
                message.len() < 1024 && !message.contains(char::is_control),
                "{message}"
            );
        }
        let Some(token) = reading.token() else {
            assert_eq!(reading.verdict(), Verdict::Violating);
            continue;
        };
        assert!(token.happened_at() <= token.issued_at());
        let (Some(subject), Some(event)) = (token.subject(), token.event()) else {
            continue;
        };
        if matches!(event, Event::Malformed(_)) || reading.verdict() == Verdict::Violating {
            continue;
        }
        // The claims that a minter adds, and the event as it would write it.
        let written = SecurityEvent::new(subject.clone(), event.clone());
        let written = serde_json::to_string(&written).expect("what was read can be written");
        let head = r#"{"iss":"a","jti":"b","iat":1,"aud":"c","txn":"d","#;
        let again = format!("{head}{}", &written[1..]);
        let again = Reading::of_claims(&again, &profile, now);
        // Only texts that grow by being escaped are too long the second time.
        if let Some(again) = again.token() {
            assert_eq!(again.subject(), Some(subject));
            assert_eq!(again.event(), Some(event));
        } else {
            assert!(text.len() > 1000, "{:?}", again.findings());
        }
    }
});
