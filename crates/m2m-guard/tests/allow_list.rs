//! What an allow list lets through: what was named, byte by byte, in one form.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use m2m_guard::{
    AllowList, Call, CanonicalPath, Freshness, Grant, Guard, GuardScratch, PathProblem, Presented,
    RefusalReason, Remedy, Resources,
};
use proptest::prelude::*;
use support::*;

/// Whether `subject` may do `action` on `resource`, and what else it needs.
fn ask(list: &AllowList, subject: &str, action: &str, resource: &str) -> Result<(), Remedy> {
    let world = World::new();
    let guard = Guard::builder(list.clone())
        .with_bearer_tokens(world.verifier(), Freshness::in_process())
        .danger_without_revocations()
        .build()
        .unwrap();
    let token = world.bearer_token(subject);
    let presented = Presented::nothing().with_token(&token);
    let mut scratch = GuardScratch::new();
    let call = Call::new(action, resource);
    match guard.admit(&presented, &call, now(), &mut scratch) {
        Ok(_) => Ok(()),
        Err(refusal) => {
            assert!(
                matches!(refusal.reason(), RefusalReason::Denied(_)),
                "{refusal}"
            );
            Err(refusal.remedy().clone())
        }
    }
}

fn list() -> AllowList {
    let under = |path| Resources::under(path).unwrap();
    AllowList::new()
        .allow(&service(BILLING), Grant::new("GET", under("/orders")))
        .allow(
            &service(BILLING),
            Grant::new("POST", Resources::exactly("/orders")).requiring_scope("orders:write"),
        )
        .allow(
            &service(BILLING),
            Grant::new("publish", Resources::exactly("queue:paid")),
        )
        .allow(&service(BILLING), Grant::new("GET", under("/a/b/c")))
        .allow_members_of(
            &"example.org".parse().unwrap(),
            Grant::new("GET", Resources::exactly("/health")),
        )
}

/// The same among so many others that they are searched, and not looked at one by one.
fn longer_list() -> AllowList {
    (0..20).fold(list(), |list, n| {
        let under = Resources::under(&format!("/other/{n}/x")).unwrap();
        let exactly = Resources::exactly(&format!("/one/{n}"));
        let billing = service(BILLING);
        let list = list.allow(&billing, Grant::new("GET", under));
        list.allow(&billing, Grant::new("POST", exactly))
    })
}

#[test]
fn what_is_named_is_allowed_and_nothing_around_it() {
    what_is_named_is_allowed_by(&list());
    let long = longer_list();
    what_is_named_is_allowed_by(&long);
    assert_eq!(ask(&long, BILLING, "GET", "/other/7/x/y"), Ok(()));
    assert!(ask(&long, BILLING, "GET", "/other/7").is_err());
    assert!(ask(&long, BILLING, "GET", "/other/7/x/../y").is_err());
    assert!(ask(&long, BILLING, "GET", "/orders/../y").is_err());
    assert_eq!(ask(&long, BILLING, "POST", "/one/19"), Ok(()));
    assert!(ask(&long, BILLING, "POST", "/one/20").is_err());
    assert_eq!(
        ask(&long, BILLING, "POST", "/orders"),
        Err(Remedy::Scope("orders:write".into()))
    );
}

fn what_is_named_is_allowed_by(list: &AllowList) {
    for (action, resource) in [
        ("GET", "/orders"),
        ("GET", "/orders/"),
        ("GET", "/orders/17"),
        ("GET", "/orders/17/lines"),
        ("publish", "queue:paid"),
        ("GET", "/a/b/c/d"),
        ("GET", "/health"),
    ] {
        assert_eq!(
            ask(list, BILLING, action, resource),
            Ok(()),
            "{action} {resource}"
        );
    }
    for (action, resource) in [
        ("get", "/orders"),
        ("GET", "/ORDERS"),
        ("GET", "/orders-of-others"),
        ("GET", "/"),
        ("GET", ""),
        ("DELETE", "/orders/17"),
        ("GET", "orders"),
        ("publish", "queue:paid "),
        ("publish", "queue"),
        ("GET", "/a/b"),
        ("GET", "/a/b/cd"),
        ("GET", "/health/"),
        ("", ""),
    ] {
        assert_eq!(
            ask(list, BILLING, action, resource),
            Err(Remedy::Nothing),
            "{action} {resource}"
        );
    }
    // Another machine of the domain has what the domain has.
    assert_eq!(ask(list, SHOP, "GET", "/health"), Ok(()));
    assert_eq!(ask(list, SHOP, "GET", "/orders"), Err(Remedy::Nothing));
    assert!(ask(list, "spiffe://example.com/billing", "GET", "/health").is_err());
    assert!(ask(list, "spiffe://example.org.evil/billing", "GET", "/health").is_err());
}

#[test]
fn jwt_068_a_scope_that_is_lacking_is_told_and_a_similar_one_is_another() {
    let needs = Err(Remedy::Scope("orders:write".into()));
    assert_eq!(ask(&list(), BILLING, "POST", "/orders"), needs);
    for scope in ["orders:rea", "orders", "orders:read2", "ORDERS:READ"] {
        let grant = Grant::new("GET", Resources::exactly("/x")).requiring_scope(scope);
        let list = AllowList::new().allow(&service(BILLING), grant);
        assert_eq!(
            ask(&list, BILLING, "GET", "/x"),
            Err(Remedy::Scope(scope.into()))
        );
    }
    // Two ways in: the one without the scope is enough.
    let list = AllowList::new()
        .allow(
            &service(BILLING),
            Grant::new("GET", Resources::exactly("/x")).requiring_scope("nobody"),
        )
        .allow(
            &service(BILLING),
            Grant::new("GET", Resources::exactly("/x")).requiring_scope("orders:read"),
        );
    assert_eq!(ask(&list, BILLING, "GET", "/x"), Ok(()));
}

#[test]
fn net_005_a_path_with_two_meanings_is_under_nothing() {
    let list = AllowList::new()
        .allow(
            &service(BILLING),
            Grant::new("GET", Resources::under("/").unwrap()),
        )
        .allow(&service(BILLING), Grant::new("GET", Resources::all()));
    assert_eq!(ask(&list, BILLING, "GET", "/public/x"), Ok(()));
    for path in [
        "/public/../admin",
        "/public/./x",
        "//admin",
        "/public//admin",
        "/public/%2e%2e/admin",
        "/public/..%2fadmin",
        "/public%2Fadmin",
        "/public/%2F",
        "/public/%5C..",
        "/public\\..\\admin",
        "/public/%252e%252e/admin",
        "/public/%00",
        "/public/%0a",
        "/public;x=/../admin",
        "/public/%41",
        "/public/%c3%a9",
        "/public/\u{e9}",
        "/public/ x",
        "/public/%",
        "/public/%4",
        "/public/%zz",
        "/public?x=/admin",
        "/public#admin",
        "/public/\r\n",
    ] {
        assert_eq!(
            ask(&list, BILLING, "GET", path),
            Err(Remedy::Nothing),
            "{path:?}"
        );
    }
    assert!(Resources::under("/orders/../admin").is_err() && Resources::under("orders").is_err());
    assert_eq!(
        CanonicalPath::parse("/%C3%A9/a b"),
        Err(PathProblem::Character { at: 9 })
    );
    assert!(CanonicalPath::parse("/%C3%A9/a%20b").is_ok());
}

proptest! {
    /// Whatever passes has no second reading by the usual steps: decoding, merging, resolving.
    #[test]
    fn net_005_a_canonical_path_stays_what_it_is_when_it_is_normalised(path in "[/.%2fFeE5cC;a-c\\\\]{0,24}") {
        if let Ok(path) = CanonicalPath::parse(&path) {
            let decoded = decode(path.as_str());
            prop_assert!(!decoded.contains("//") && !decoded.contains('\\'));
            prop_assert!(decoded.split('/').all(|segment| segment != "." && segment != ".."));
            prop_assert_eq!(decode(&decoded), decoded);
        }
    }
}

fn decode(path: &str) -> String {
    let mut bytes = path.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        let escaped = (byte == b'%').then(|| {
            let digits = [bytes.next()?, bytes.next()?];
            u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()
        });
        decoded.push(escaped.flatten().unwrap_or(byte));
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
