#![no_main]
//! Any text as a token: through a verifier with a key of each kind, with and without a cache, and
//! through the reader that believes nothing.

use std::cell::RefCell;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use m2m_fuzz::{cached, check_message, lenient, now, strict};
use m2m_token::{Scratch, Unverified, Verifier};

static VERIFIERS: LazyLock<[[Verifier; 2]; 2]> = LazyLock::new(|| {
    [strict, lenient].map(|rules| {
        [rules(), cached(rules())].map(|builder| builder.build().expect("the rules agree"))
    })
});

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::new());
}

fuzz_target!(|data: &[u8]| {
    let Ok(token) = std::str::from_utf8(data) else {
        return;
    };
    SCRATCH.with_borrow_mut(|scratch| {
        for [cold, warm] in &*VERIFIERS {
            let first = accepted(cold, token, scratch);
            assert_eq!(
                first,
                accepted(warm, token, scratch),
                "a first verification"
            );
            assert_eq!(first, accepted(warm, token, scratch), "a second, warm one");
        }
        if let Err(error) = Unverified::danger_decode(token, scratch) {
            check_message(&error);
        }
    });
});

/// The claims of a token that is taken.
fn accepted(verifier: &Verifier, token: &str, scratch: &mut Scratch) -> Result<Vec<u8>, String> {
    match verifier.verify(token, now(), scratch) {
        Ok(verified) => {
            let json: &[u8] = verified.claims().json().as_ref();
            Ok(json.to_vec())
        }
        Err(error) => {
            check_message(&error);
            Err(error.to_string())
        }
    }
}
