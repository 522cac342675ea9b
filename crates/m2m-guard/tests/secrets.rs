//! API keys and signed requests, alone and with other credentials.
#![cfg(feature = "secrets")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::SystemRandom;
use m2m_guard::{
    CallerSecrets, CallerSecretsError, Credential, Guard, GuardBuilder, GuardScratch, HttpCallers,
    Presented, RefusalReason, Rejection, Signed,
};
use m2m_revoke::{Kind, Target};
use m2m_secrets::{
    ClientKeys, HttpRequest, HttpSignatureKey, HttpSignaturePolicy, HttpSigner, HttpSigningKey,
    KeyFormat, KeyHasher, KeyTable, PepperVersion, ReplayMemory, RequestKey, RequestParts, Ring,
    SecretName, SecretVersion, SharedSecret, TimeWindow, sign_request,
};
use m2m_types::{Live, Timestamp};
use support::*;

const REQUEST: RequestParts<'static> =
    RequestParts::new(b"GET", b"orders.example.org", b"/orders/17");

fn secret() -> SharedSecret {
    SharedSecret::generate(&SystemRandom).unwrap()
}

fn memory() -> Arc<ReplayMemory> {
    Arc::new(ReplayMemory::new(1_000, TimeWindow::FIVE_MINUTES, &SystemRandom).unwrap())
}

fn ring(name: &str, secret: &SharedSecret) -> Ring<RequestKey> {
    let name = SecretName::new(name).unwrap();
    let versions = [(SecretVersion::FIRST, secret)];
    Ring::fixed_with(
        &name,
        versions,
        SecretVersion::FIRST,
        now(),
        RequestKey::derive,
    )
    .unwrap()
}

fn guard(world: &World, with: impl FnOnce(GuardBuilder) -> GuardBuilder) -> Guard {
    with(world.bearer()).build().unwrap()
}

fn name_of(guard: &Guard, presented: &Presented<'_>) -> String {
    let mut scratch = GuardScratch::new();
    let admitted = guard.admit(presented, &READ, now(), &mut scratch).unwrap();
    admitted
        .to_caller()
        .unwrap()
        .service_id()
        .as_str()
        .to_owned()
}

fn refused(guard: &Guard, presented: &Presented<'_>) -> (RefusalReason, Rejection) {
    let mut scratch = GuardScratch::new();
    let refusal = guard
        .admit(presented, &READ, now(), &mut scratch)
        .unwrap_err();
    (refusal.reason().clone(), refusal.rejection())
}

/// A client with one key, and the table that knows it.
struct Keys {
    table: Arc<Live<KeyTable>>,
    hasher: Arc<KeyHasher>,
    client: ClientKeys,
    key: Box<str>,
}

impl Keys {
    fn new() -> Self {
        let format = KeyFormat::new("acme", "live").unwrap();
        let hasher = KeyHasher::new(format, PepperVersion::new(1).unwrap(), &secret()).unwrap();
        let hasher = Arc::new(hasher);
        let (client, issued) =
            ClientKeys::issue(service(BILLING), &hasher, &SystemRandom, now()).unwrap();
        let table = KeyTable::build(Arc::clone(&hasher), [&client], &SystemRandom, now()).unwrap();
        Self {
            table: Arc::new(Live::new(table)),
            hasher,
            key: issued.key().expose_secret().into(),
            client,
        }
    }
}

#[test]
fn an_api_key_names_its_owner_and_dies_with_its_table_or_by_revocation() {
    let (world, mut keys) = (World::new(), Keys::new());
    let guard = guard(&world, |g| g.with_api_keys(Arc::clone(&keys.table)));
    let key = keys.key.clone();
    let presented = Presented::nothing().with_api_key(key.as_bytes());
    assert_eq!(name_of(&guard, &presented), BILLING);
    let wrong = "acme_live_0123456789A_abcdefghijklmnopqrstuvwxyzABCDEF_2cDmTM";
    for wrong in [wrong, "", "acme", key.get(1..).unwrap()] {
        let (reason, rejection) =
            refused(&guard, &Presented::nothing().with_api_key(wrong.as_bytes()));
        assert!(matches!(reason, RefusalReason::ApiKey(_)), "{reason:?}");
        assert_eq!(rejection, Rejection::Unauthenticated);
    }
    world
        .revocations
        .revoke(
            Target::SecretVersion {
                name: BILLING,
                version: 1,
            },
            Timestamp::MAX,
        )
        .unwrap();
    match refused(&guard, &presented).0 {
        RefusalReason::Revoked {
            credential,
            revoked,
        } => {
            assert_eq!(
                (credential, revoked.kind()),
                (Credential::ApiKey, Kind::SecretVersion)
            );
        }
        other => panic!("{other:?}"),
    }
    // The next key of the same owner is another version.
    let next = keys
        .client
        .rotate(&keys.hasher, Duration::from_secs(60), &SystemRandom, now())
        .unwrap();
    let table = keys
        .table
        .load()
        .rebuild([&keys.client], &SystemRandom, now())
        .unwrap();
    keys.table.store(table);
    let next = Presented::nothing().with_api_key(next.key().expose_secret().as_bytes());
    assert_eq!(name_of(&guard, &next), BILLING);
    let billing = service(BILLING);
    world
        .revocations
        .revoke(Target::Service(billing.as_ref()), Timestamp::MAX)
        .unwrap();
    assert!(matches!(
        refused(&guard, &next).0,
        RefusalReason::Revoked { .. }
    ));
}

#[test]
fn a_signed_request_names_whose_secret_it_was_signed_with_and_counts_once() {
    let world = World::new();
    let (billing, shop) = (secret(), secret());
    let ring_of = |name, secret| Arc::new(Live::new(ring(name, secret)));
    let callers = CallerSecrets::new()
        .with_ring(service(BILLING), ring_of("billing", &billing))
        .unwrap()
        .with_ring(service(SHOP), ring_of("shop/orders", &shop))
        .unwrap();
    let guard = guard(&world, |g| {
        g.with_signed_requests(Arc::new(Live::new(callers)), memory())
    });
    let sign =
        |name, secret| sign_request(&ring(name, secret), &REQUEST, now(), &SystemRandom).unwrap();
    let header = sign("shop/orders", &shop);
    let signed = |header| {
        let request = REQUEST;
        Presented::nothing().with_signature(Signed::compact(header, request))
    };
    assert_eq!(name_of(&guard, &signed(header.as_bytes())), SHOP);
    // A second time it is nobody's.
    let (reason, rejection) = refused(&guard, &signed(header.as_bytes()));
    assert!(matches!(reason, RefusalReason::Signature(_)), "{reason:?}");
    assert_eq!(rejection, Rejection::Unauthenticated);
    // One caller's secret does not sign in the name of another.
    let forged = sign("billing", &shop);
    assert!(matches!(
        refused(&guard, &signed(forged.as_bytes())).0,
        RefusalReason::Signature(_)
    ));
    for header in [
        "",
        "v1",
        "v1 ",
        "v1 nobody.1 1 a b",
        "v1 billing 1 a b",
        "v1  billing.1",
    ] {
        let (reason, _) = refused(&guard, &signed(header.as_bytes()));
        assert_eq!(reason, RefusalReason::SignatureUnknown, "{header:?}");
    }
    let twice = CallerSecrets::new()
        .with_ring(service(BILLING), ring_of("billing", &billing))
        .unwrap()
        .with_ring(service(SHOP), ring_of("billing", &billing));
    let name = SecretName::new("billing").unwrap();
    assert_eq!(twice.unwrap_err(), CallerSecretsError::Twice { name });
    // One version is revoked, by its own name.
    world
        .revocations
        .revoke(
            Target::SecretVersion {
                name: "billing",
                version: 1,
            },
            Timestamp::MAX,
        )
        .unwrap();
    let header = sign("billing", &billing);
    assert!(matches!(
        refused(&guard, &signed(header.as_bytes())).0,
        RefusalReason::Revoked {
            credential: Credential::Signature,
            ..
        }
    ));
}

#[test]
fn an_http_signature_names_whose_key_it_was_made_with_and_covers_what_the_policy_demands() {
    let world = World::new();
    let shared = secret();
    let callers = HttpCallers::new()
        .with_key(
            service(BILLING),
            "billing.1",
            HttpSignatureKey::secret(&shared).unwrap(),
        )
        .unwrap();
    let covered = ["@method", "@authority", "@path", "@query"];
    let policy = HttpSignaturePolicy::new(&covered, memory()).unwrap();
    let guard = guard(&world, |g| {
        g.with_http_signatures(Arc::new(Live::new(callers)), policy)
    });
    let request = HttpRequest {
        method: b"GET",
        scheme: b"https",
        authority: b"orders.example.org",
        target: b"/orders/17",
        fields: &[],
    };
    let signed_with = |covered: &[&str], key_id: &str, secret: &SharedSecret| {
        let key = HttpSigningKey::secret(secret).unwrap();
        let signer = HttpSigner::new("sig1", covered, key_id, key).unwrap();
        signer.sign(&request, now(), &SystemRandom).unwrap()
    };
    let ask = |signed: &m2m_secrets::HttpSignatureFields, target: &'static [u8]| {
        let fields = [
            ("signature-input", signed.signature_input().as_bytes()),
            ("signature", signed.signature().as_bytes()),
        ];
        let received = HttpRequest {
            fields: &fields,
            target,
            ..request
        };
        let presented = Presented::nothing().with_signature(Signed::http(&received));
        let mut scratch = GuardScratch::new();
        let admitted = guard.admit(&presented, &READ, now(), &mut scratch);
        admitted
            .map(|admitted| admitted.name().to_owned())
            .map_err(|refusal| refusal.rejection())
    };
    let good = signed_with(&covered, "billing.1", &shared);
    assert_eq!(ask(&good, b"/orders/18"), Err(Rejection::Unauthenticated));
    assert_eq!(ask(&good, b"/orders/17").as_deref(), Ok(BILLING));
    assert_eq!(ask(&good, b"/orders/17"), Err(Rejection::Unauthenticated)); // it came before
    for bad in [
        signed_with(&covered, "billing.2", &shared),
        signed_with(&covered, "billing.1", &secret()),
        signed_with(&["@method"], "billing.1", &shared),
    ] {
        assert_eq!(ask(&bad, b"/orders/17"), Err(Rejection::Unauthenticated));
    }
}

#[test]
fn credentials_of_different_machines_are_refused_and_kinds_that_are_not_taken_too() {
    let (world, keys) = (World::new(), Keys::new());
    let guard = guard(&world, |g| g.with_api_keys(Arc::clone(&keys.table)));
    let with = |token| {
        Presented::nothing()
            .with_api_key(keys.key.as_bytes())
            .with_token(token)
    };
    let (own, other) = (world.bearer_token(BILLING), world.bearer_token(SHOP));
    assert_eq!(name_of(&guard, &with(&own)), BILLING);
    assert!(matches!(
        refused(&guard, &with(&other)).0,
        RefusalReason::Disagree(_)
    ));
    // One that holds does not make up for one that does not.
    assert!(matches!(
        refused(&guard, &with("a.b.c")).0,
        RefusalReason::Token(_)
    ));
    let tokens = world.bearer().build().unwrap();
    let credential = Credential::ApiKey;
    assert_eq!(
        refused(&tokens, &with(&own)).0,
        RefusalReason::NotTaken { credential }
    );
    let shown = format!("{:?} {:?}", with(&own), guard);
    assert!(!shown.contains(&*keys.key), "{shown}");
}

/// A list is replaced whole, and only by one that was whole.
#[test]
fn api_002_a_list_with_one_bad_entry_leaves_the_old_one_in_force() {
    let (world, keys) = (World::new(), Keys::new());
    let shared = secret();
    let ring_of = |name: &str| Arc::new(Live::new(ring(name, &shared)));
    let callers = CallerSecrets::new()
        .with_ring(service(BILLING), ring_of("billing"))
        .unwrap();
    let callers = Arc::new(Live::new(callers));
    let guard = guard(&world, |g| {
        g.with_api_keys(Arc::clone(&keys.table))
            .with_signed_requests(Arc::clone(&callers), memory())
    });
    let by_signature = |at: u64| {
        let time = self::at(at);
        let header =
            sign_request(&ring("billing", &shared), &REQUEST, time, &SystemRandom).unwrap();
        let presented =
            Presented::nothing().with_signature(Signed::compact(header.as_bytes(), REQUEST));
        let mut scratch = GuardScratch::new();
        guard.admit(&presented, &READ, time, &mut scratch).is_ok()
    };
    let by_key = || {
        let presented = Presented::nothing().with_api_key(keys.key.as_bytes());
        let mut scratch = GuardScratch::new();
        guard.admit(&presented, &READ, now(), &mut scratch).is_ok()
    };
    assert!(by_signature(0) && by_key());

    // As a configuration is loaded: all of it, and then it is put in force.
    let reload = |names: &[&str]| -> Result<(), CallerSecretsError> {
        let mut anew = CallerSecrets::new();
        for name in names {
            anew = anew.with_ring(service(SHOP), ring_of(name))?;
        }
        callers.store(anew);
        Ok(())
    };
    let name = SecretName::new("shop").unwrap();
    assert_eq!(
        reload(&["shop", "stock", "shop"]),
        Err(CallerSecretsError::Twice { name })
    );
    assert!(by_signature(1), "who is not in the bad list is still known");
    // One client of the table, twice.
    let anew = keys
        .table
        .load()
        .rebuild([&keys.client, &keys.client], &SystemRandom, now());
    assert!(anew.is_err());
    assert!(by_key());
    // One that is whole is taken.
    assert_eq!(reload(&["shop", "stock"]), Ok(()));
    assert!(!by_signature(2));
}
