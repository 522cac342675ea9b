//! Material changes under running handshakes, and what is bad about new material is told.
#![cfg(feature = "rustls")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod tls_support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_pki::tls::*;
use m2m_pki::*;
use rustls::sign::{Signer, SigningKey as TlsKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use tls_support::*;

#[test]
fn tls_004_certificate_and_key_change_under_handshakes_and_none_fails() {
    const HANDSHAKES: usize = 400;
    const SWAPS: usize = 100;
    let mut world = World::new();
    let (server, client) = (world.live("billing"), world.live("shop"));
    let connector = client.connector(world.expect("billing")).unwrap();
    let pool = |path| -> Vec<_> { (0..16).map(|_| world.identity(path)).collect() };
    let (servers, clients) = (pool("billing"), pool("shop"));
    let (done, swapped) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let is_over =
        || done.load(Ordering::Relaxed) >= HANDSHAKES && swapped.load(Ordering::Relaxed) >= SWAPS;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 0.. {
                let (live, pool) = match turn % 2 {
                    0 => (&server, &servers),
                    _ => (&client, &clients),
                };
                let identity = pool[turn / 2 % pool.len()].clone();
                let update = live.update(|material| {
                    material.set_identity(identity);
                    Ok(())
                });
                assert_eq!(update.unwrap().own_fault, None);
                swapped.fetch_add(1, Ordering::Relaxed);
                if is_over() {
                    break;
                }
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over() {
                    // A certificate with the key of another one would fail here.
                    let (_, shop, billing) = meet(&connector, &server).unwrap();
                    assert_eq!(shop.service_id(), Some(&service("shop")));
                    assert_eq!(billing.service_id(), Some(&service("billing")));
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert!(done.into_inner() >= HANDSHAKES);
}

#[test]
fn authorities_roll_over_under_handshakes_and_none_fails() {
    let mut world = World::new();
    let (server, client) = (world.live("billing"), world.live("shop"));
    let connector = client.connector(world.expect("billing")).unwrap();
    let (is_over, handshakes) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let _ = meet(&connector, &server).unwrap();
                handshakes.fetch_add(1, Ordering::Relaxed);
            }
        });
        for name in ["Root B", "Root C", "Root D"] {
            let domain = world.domain.clone();
            let mut root = new_root(&world.ledger, &domain, name);
            let mut issuing = new_issuing(&world.ledger, &domain, &root);
            let (old, new) = (world.root.certificate().clone(), root.certificate().clone());
            let (root_crl, crl) = (root.crl(start(), DAY), issuing.crl(start(), DAY));
            let all = |change: &dyn Fn(&LiveTls, &mut Material)| {
                for live in [&server, &client] {
                    let updated = live.update(|material| {
                        change(live, material);
                        Ok(())
                    });
                    assert_eq!(updated.unwrap().own_fault, None);
                }
            };
            // Known first, used second, forgotten last.
            all(&|_, material| {
                material.set_bundles(bundles_of([bundle_of(&domain, [old.clone(), new.clone()])]));
                material.set_crl(root_crl.clone()).unwrap();
                material.set_crl(crl.clone()).unwrap();
            });
            (world.root, world.issuing) = (root, issuing);
            all(&|_, material| {
                let own = material.identity().service_id().path()[1..].to_owned();
                material.set_identity(world.identity(&own));
            });
            // Until nobody is under way with the old one: of two handshakes that end, the second began
            // behind this line.
            let before = handshakes.load(Ordering::Relaxed);
            while handshakes.load(Ordering::Relaxed) < before + 2 && !running.is_finished() {
                std::thread::yield_now();
            }
            all(&|_, material| {
                material.set_bundles(bundles_of([bundle_of(&domain, [new.clone()])]));
            });
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(handshakes.into_inner() > 0);
    let (_, _, billing) = meet(&connector, &server).unwrap();
    assert_eq!(billing.verified().authority(), world.root.certificate());
}

/// What is wrong with a chain and key in PEM, if nothing else is.
fn fault(chain: &str, key: &str) -> IdentityError {
    Identity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err()
}

#[test]
fn tls_006_files_that_are_half_written_or_mixed_up_are_no_identity() {
    let world = World::new();
    let (chain, key) = world.own("billing").pem();
    let (other_chain, other_key) = world.own("billing").pem();
    assert!(Identity::from_pem(chain.as_bytes(), key.as_bytes()).is_ok());

    assert_eq!(fault("", &key), IdentityError::Empty);
    assert_eq!(fault("# to be written\n", &key), IdentityError::Empty);
    assert_eq!(fault(&chain, &other_key), IdentityError::OtherKey);
    assert_eq!(fault(&other_chain, &key), IdentityError::OtherKey);
    assert!(matches!(fault(&chain, ""), IdentityError::Key(_)));
    assert!(matches!(fault(&chain, &chain), IdentityError::Key(_)));
    let ed25519 = SigningKey::generate(Algorithm::Ed25519, &SystemRandom).unwrap();
    let ed25519 = ed25519.to_pkcs8_pem();
    let ed25519 = std::str::from_utf8(ed25519.expose_secret()).unwrap();
    assert_eq!(fault(&chain, ed25519), IdentityError::OtherKey);

    // However little of a file was written.
    let good = Identity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
    for length in 0..chain.len() {
        if let Ok(half) = Identity::from_pem(&chain.as_bytes()[..length], key.as_bytes()) {
            // Nothing but the whole leaf alone, which no longer leads to an authority.
            let ends = half.chain().len() < good.chain().len() || chain[length..].trim().is_empty();
            assert!(ends, "{length}");
        }
    }
    for length in 0..key.trim_end().len() {
        let half = Identity::from_pem(chain.as_bytes(), &key.as_bytes()[..length]);
        assert!(half.is_err(), "{length}");
    }

    let authority = world.issuing.certificate().to_pem();
    assert!(matches!(
        fault(&authority, &key),
        IdentityError::OtherKey | IdentityError::NotService(_)
    ));
    let long = chain.repeat(Identity::MAX_CERTIFICATES);
    let limit = Identity::MAX_CERTIFICATES;
    assert_eq!(fault(&long, &key), IdentityError::TooMany { limit });
    let huge = " ".repeat(Identity::MAX_PEM_BYTES + 1);
    assert_eq!(fault(&huge, &key), IdentityError::Pem { complete: 0 });
}

#[test]
fn tls_006_what_others_would_refuse_is_not_taken_and_the_old_identity_stays() {
    let mut world = World::new();
    let notes = Notes::default();
    let server = world.builder("billing").with_observer(notes.observe());
    let (server, client) = (server.build().unwrap(), world.live("shop"));
    let connector = client.connector(world.expect("billing")).unwrap();
    let own = server.material().identity().certificate().clone();

    let foreign = World::new().identity("billing");
    let mut alone = world.own("billing");
    alone.chain.truncate(1);
    let only_client = world.profile().with_client_auth_only();
    let only_client = world.own_by(&only_client, "billing", HOUR).identity();
    let short = world.own_by(&world.profile(), "billing", Duration::from_secs(60));
    let revoked = world.own("billing");
    world.clock.advance(Duration::from_secs(1800));
    let early = world.identity("billing");
    world.clock.set(start());
    world.revoke(&revoked.leaf(), &[&server, &client]);
    world.clock.advance(Duration::from_secs(61));

    let bad = [
        ("another root", foreign),
        ("without its intermediate", alone.identity()),
        ("for clients only", only_client),
        ("expired", short.identity()),
        ("not yet valid", early),
        ("revoked", revoked.identity()),
    ];
    for (what, identity) in bad {
        let update = server.update(|material| {
            material.set_identity(identity);
            Ok(())
        });
        let Err(UpdateError::Identity(IdentityError::Chain { error, .. })) = update else {
            panic!("{what}: {update:?}");
        };
        assert!(
            notes.all().last().unwrap().contains("UpdateRefused"),
            "{what}"
        );
        assert_eq!(server.material().identity().certificate(), &own, "{what}");
        let (_, _, billing) = meet(&connector, &server).unwrap();
        assert_eq!(billing.certificate(), &own, "{what}: {error}");
    }
}

#[test]
fn tls_006_nothing_goes_back_to_an_older_crl_or_bundle() {
    let mut world = World::new();
    let server = world.live("billing");
    let old = world.crls();
    let new = world.crls();
    let set = |crls: CrlSet| {
        server.update(|material| {
            material.set_crls(crls);
            Ok(())
        })
    };
    let _ = set(new).unwrap();
    assert!(matches!(
        set(old.clone()),
        Err(UpdateError::CrlOlder { .. })
    ));
    let one = old.crls().next().unwrap().clone();
    let added = server.update(|material| material.set_crl(one));
    assert!(matches!(
        added,
        Err(UpdateError::Crls(CrlSetError::Older { .. }))
    ));

    let numbered = |sequence| world.bundle().with_sequence(sequence);
    let _ = server
        .update(|material| material.set_bundle(numbered(7)))
        .unwrap();
    let older = server.update(|material| material.set_bundle(numbered(6)));
    assert!(matches!(older, Err(UpdateError::Bundles(_))));
    let replaced = server.update(|material| {
        material.set_bundles(bundles_of([numbered(6)]));
        Ok(())
    });
    assert!(matches!(replaced, Err(UpdateError::BundleOlder { .. })));
}

#[test]
fn a_bad_first_identity_is_refused_too() {
    let mut world = World::new();
    let foreign = World::new().identity("billing");
    let material = Material::new(foreign, world.bundles(), world.crls());
    let rule = RevocationRule::strict();
    let built = LiveTls::builder(material, rule, world.clock.clone()).build();
    assert!(matches!(
        built.unwrap_err(),
        UpdateError::Identity(IdentityError::Chain { .. })
    ));
    // A certificate for clients is enough for who is only a client.
    let profile = world.profile().with_client_auth_only();
    let own = world.own_by(&profile, "shop", HOUR).identity();
    let material = Material::new(own, world.bundles(), world.crls());
    let builder = || LiveTls::builder(material.clone(), rule, world.clock.clone());
    assert!(builder().build().is_err());
    let client = builder().with_role(PeerRole::Client).build().unwrap();
    let server = world.live("billing");
    let connector = client.connector(world.expect("billing")).unwrap();
    let _ = meet(&connector, &server).unwrap();
}

/// A key in a device that can be another one than it says, or gone.
#[derive(Debug)]
struct Device {
    key: Mutex<Option<SigningKey>>,
}

impl TlsKey for Device {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = SignatureScheme::ECDSA_NISTP256_SHA256;
        let key = self.key.lock().unwrap();
        let key = key.as_ref().map(copy_of);
        (offered.contains(&scheme)).then(|| Box::new(Request(key)) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

#[derive(Debug)]
struct Request(Option<SigningKey>);

impl Signer for Request {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let gone = || rustls::Error::General("the device does not answer".into());
        let key = self.0.as_ref().ok_or_else(gone)?;
        let mut fixed = [0; 64];
        key.sign(message, &mut fixed).unwrap();
        Ok(m2m_crypto::ecdsa_fixed_to_der(Algorithm::Es256, &fixed).unwrap())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP256_SHA256
    }
}

#[test]
fn tls_006_a_key_that_is_elsewhere_has_to_sign_before_it_is_taken() {
    let mut world = World::new();
    let server = world.live("billing");
    let client = world.live("shop");
    let owned = world.own("billing");
    let offer = |key| {
        let device = Device {
            key: Mutex::new(key),
        };
        let identity = Identity::with_signer(owned.chain.clone(), Arc::new(device)).unwrap();
        server.update(|material| {
            material.set_identity(identity);
            Ok(())
        })
    };
    let mute = Err(UpdateError::Identity(IdentityError::Signer));
    assert_eq!(offer(None), mute, "a device that does not answer");
    assert_eq!(offer(Some(world.own("mail").key)), mute, "another key");
    assert!(offer(Some(copy_of(&owned.key))).is_ok());
    let connector = client.connector(world.expect("billing")).unwrap();
    let (_, _, billing) = meet(&connector, &server).unwrap();
    assert_eq!(billing.certificate(), &owned.leaf());
}

#[test]
fn keys_of_each_kind_shake_hands() {
    let mut world = World::new();
    let server = world.live("billing");
    for algorithm in [Algorithm::Es256, Algorithm::Es384, Algorithm::Ed25519] {
        let key = SigningKey::generate(algorithm, &SystemRandom).unwrap();
        let csr = CsrBuilder::new().sign(&key).unwrap().verify().unwrap();
        let id = service("shop");
        let approved = world.profile().approve(csr, &id, HOUR).unwrap();
        let authority = &world.issuing.authority;
        let issued = authority.issue(approved, world.now(), &SystemRandom);
        let leaf = pollster::block_on(world.ledger.record(issued.unwrap())).unwrap();
        let chain = vec![leaf, world.issuing.certificate().clone()];
        let identity = Identity::new(chain, key).unwrap();
        let material = Material::new(identity, world.bundles(), world.crls());
        let rule = RevocationRule::strict();
        let client = LiveTls::builder(material, rule, world.clock.clone());
        let connector = client.build().unwrap().connector(world.expect("billing"));
        let (_, shop, _) = meet(&connector.unwrap(), &server).unwrap();
        assert_eq!(shop.service_id(), Some(&id), "{algorithm}");
    }
}

#[test]
fn no_chain_and_the_key_of_another_one_are_no_identity() {
    let world = World::new();
    let owned = world.own("billing");
    let refused = Identity::new(owned.chain, world.own("mail").key);
    assert_eq!(refused.unwrap_err(), IdentityError::OtherKey);
    let empty = Identity::new(Vec::new(), owned.key);
    assert_eq!(empty.unwrap_err(), IdentityError::Empty);
}
