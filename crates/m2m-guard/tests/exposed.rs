//! What is public, and what of it holds secrets: each such type is listed, cannot be copied by accident, has no
//! form to be written in, and shows nothing.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;

use m2m_guard::{
    Admitted, Caller, CallerToken, Credential, Guard, GuardBuilder, GuardScratch, Presented, Proven,
};
use support::*;

/// What holds something that is secret: what a caller presents or shares, or what is proven by it. An exported
/// type is in this list or in the other one.
const SECRET: &[&str] = &[
    "Admitted",
    "ApiKeyProof",
    "Caller",
    "CallerSecrets",
    "CallerToken",
    "Guard",
    "GuardBuilder",
    "GuardScratch",
    "HttpCallers",
    "Presented",
    "Proven",
    "SignatureProof",
    "Signed",
];

/// What holds nothing that anybody might not read.
const PLAIN: &[&str] = &[
    "Age",
    "Ages",
    "AllowList",
    "Basis",
    "BuildError",
    "Call",
    "CallerSecretsError",
    "CanonicalPath",
    "Check",
    "Credential",
    "Decide",
    "Decision",
    "Denial",
    "Disagreement",
    "Freshness",
    "Grant",
    "HttpCallersError",
    "LastConfirmed",
    "LiveTrust",
    "PathProblem",
    "PeerTrust",
    "Refusal",
    "RefusalReason",
    "Rejection",
    "Remedy",
    "Resources",
    "ResourcesError",
];

/// The names that `lib.rs` exports.
fn exported() -> BTreeSet<&'static str> {
    let text = include_str!("../src/lib.rs");
    let uses = text.split("pub use ").skip(1);
    let lists = uses.filter_map(|rest| rest.split(';').next());
    let words = lists.flat_map(|list| list.split(|c: char| !c.is_alphanumeric() && c != '_'));
    words
        .filter(|word| word.starts_with(|c: char| c.is_ascii_uppercase()))
        .collect()
}

#[test]
fn api_003_each_public_type_is_said_to_hold_secrets_or_none() {
    let listed: BTreeSet<_> = SECRET.iter().chain(PLAIN).copied().collect();
    assert_eq!(listed.len(), SECRET.len() + PLAIN.len());
    assert_eq!(exported(), listed);
}

/// Nothing here can be serialised: there is nothing to do it with.
#[test]
fn api_003_there_is_no_serialize() {
    let manifest = include_str!("../Cargo.toml");
    let dependencies = manifest
        .split("[dependencies]")
        .nth(1)
        .and_then(|rest| rest.split("[dev-dependencies]").next())
        .unwrap();
    assert!(dependencies.contains("m2m-token") && !dependencies.contains("serde"));
}

/// Fails to compile if a type is `Clone`: then `f` is ambiguous.
macro_rules! is_not_clone {
    ($($type:ty),+) => {$({
        trait Ambiguous<A> { fn f() {} }
        impl<T: ?Sized> Ambiguous<()> for T {}
        struct Cloned;
        impl<T: ?Sized + Clone> Ambiguous<Cloned> for T {}
        let _ = <$type as Ambiguous<_>>::f;
    })+};
}

#[test]
fn api_003_what_holds_secrets_is_not_copied_and_shows_none() {
    is_not_clone!(
        Guard,
        GuardBuilder,
        GuardScratch,
        Proven<'static>,
        Admitted<'static>,
        CallerToken
    );
    #[cfg(feature = "secrets")]
    is_not_clone!(m2m_guard::CallerSecrets, m2m_guard::HttpCallers);

    let world = World::new();
    let builder = format!("{:?}", world.bearer());
    let guard = world.bearer().build().unwrap();
    let token = world.bearer_token(BILLING);
    let presented = Presented::nothing().with_token(&token);
    let mut scratch = GuardScratch::new();
    let shown = {
        let admitted = guard.admit(&presented, &READ, now(), &mut scratch).unwrap();
        let caller: Caller = admitted.to_caller().unwrap();
        assert!(caller.has(Credential::Token));
        let token = caller.token().unwrap();
        format!(
            "{admitted:?} {admitted:#?} {:?} {caller:?} {caller:#?} {token:?} {token:#?}",
            admitted.proven()
        )
    };
    // The guard remembers the token by now, and the scratch memory has its claims.
    let shown = format!("{shown} {guard:?} {guard:#?} {scratch:?} {presented:?} {builder}");
    for part in token.split('.') {
        assert!(!shown.contains(part), "{shown}");
    }
    assert!(!shown.contains(ISSUER), "nor a claim: {shown}");
}

#[cfg(feature = "secrets")]
#[test]
fn api_003_shared_secrets_and_signatures_are_not_shown() {
    use std::sync::Arc;

    use m2m_crypto::SystemRandom;
    use m2m_guard::{CallerSecrets, HttpCallers, Signed};
    use m2m_secrets::{
        HttpSignatureKey, RequestKey, RequestParts, Ring, SecretName, SecretVersion, SharedSecret,
        sign_request,
    };
    use m2m_types::Live;

    let secret = SharedSecret::generate(&SystemRandom).unwrap();
    let name = SecretName::new("billing").unwrap();
    let versions = [(SecretVersion::FIRST, &secret)];
    let ring = Ring::fixed_with(
        &name,
        versions,
        SecretVersion::FIRST,
        now(),
        RequestKey::derive,
    );
    let ring = ring.unwrap();
    let parts = RequestParts::new(b"GET", b"orders.example.org", b"/orders?key=hidden");
    let header = sign_request(&ring, &parts, now(), &SystemRandom).unwrap();
    let signed = Signed::compact(header.as_bytes(), parts);
    let presented = Presented::nothing().with_signature(signed);
    let callers = CallerSecrets::new()
        .with_ring(service(BILLING), Arc::new(Live::new(ring)))
        .unwrap();
    let key = HttpSignatureKey::secret(&secret).unwrap();
    let http = HttpCallers::new().with_key(service(BILLING), "billing.1", key);
    let http = http.unwrap();
    let shown =
        format!("{signed:?} {signed:#?} {presented:?} {callers:?} {callers:#?} {http:?} {http:#?}");
    let tag = header.rsplit(' ').next().unwrap();
    for hidden in ["hidden", tag] {
        assert!(!shown.contains(hidden), "{hidden}: {shown}");
    }
    // Neither the secret nor the signature as numbers, in any base that bytes are shown in.
    let lower = shown.to_ascii_lowercase();
    let bytes = secret.expose_secret().expose_secret();
    for part in bytes.windows(4).chain(tag.as_bytes().windows(4)) {
        let of = |form: fn(&u8) -> String, between: &str| {
            part.iter().map(form).collect::<Vec<_>>().join(between)
        };
        let decimal: fn(&u8) -> String = |byte| format!("{byte}");
        let hexadecimal: fn(&u8) -> String = |byte| format!("{byte:02x}");
        for form in [
            of(decimal, ", "),
            of(hexadecimal, ""),
            of(hexadecimal, ", "),
        ] {
            assert!(!lower.contains(&form), "{form}");
        }
    }
}
