#![no_main]
//! Any words in a request for a token: either the minter refuses them, or a verifier takes the token
//! and finds the same words in it.
//!
//! The input is fields with bytes of 0 between them: audience, subject, token id, scope, and further
//! claims as JSON.

use std::cell::RefCell;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use m2m_crypto::Algorithm;
use m2m_fuzz::{FixedRandom, ISSUER, check_message, mac_key, now};
use m2m_token::{
    Audience, Issuers, Minter, Scratch, SigningKeyRing, TokenRequest, TokenType, Verifier,
};
use serde_json::value::RawValue;

const HOUR: Duration = Duration::from_secs(3600);

static RING: LazyLock<Arc<SigningKeyRing>> = LazyLock::new(|| {
    let ring = SigningKeyRing::secret("hs", mac_key(Algorithm::Hs256), HOUR);
    Arc::new(ring.expect("one key"))
});

static MINTER: LazyLock<Minter> = LazyLock::new(|| {
    Minter::new(ISSUER, TokenType::access_token(), Arc::clone(&RING)).expect("both have names")
});

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::new());
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut fields = text.splitn(5, '\0');
    let mut field = || fields.next().unwrap_or_default();
    let (audience, subject, id, scope, further) = (field(), field(), field(), field(), field());
    let further: Option<&RawValue> = serde_json::from_str(further).ok();

    let mut request = TokenRequest::new(subject, audience, Duration::from_secs(300));
    if !id.is_empty() {
        request = request.with_token_id(id);
    }
    if !scope.is_empty() {
        request = request.with_scope(scope);
    }
    let minted = match further {
        Some(further) => MINTER.mint(&request.with_claims(further), now(), &FixedRandom),
        None => MINTER.mint(&request, now(), &FixedRandom),
    };
    let token = match minted {
        Ok(token) => token,
        Err(error) => return check_message(&error),
    };

    let verifier = Verifier::builder(
        Issuers::one(ISSUER, RING.verifying_keys()),
        Audience::exactly(audience),
        TokenType::access_token(),
    )
    .build()
    .expect("an audience that the minter takes has a name");
    SCRATCH.with_borrow_mut(|scratch| {
        let verified = verifier
            .verify(&token, now(), scratch)
            .expect("what is minted verifies");
        let claims = verified.claims();
        assert_eq!(claims.issuer(), Some(ISSUER));
        assert_eq!(claims.subject(), Some(subject));
        assert_eq!(claims.scope().unwrap_or_default(), scope);
        assert!(id.is_empty() || claims.token_id() == Some(id));
        assert!(claims.token_id().is_some_and(|id| !id.is_empty()));
        assert_eq!(claims.issued_at(), Some(now()));
    });
});
