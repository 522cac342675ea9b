//! Keys of pairs and trios: who has which, and how they are taken back.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::collections::HashSet;

use m2m_crypto::{Hkdf, HkdfHash, SecretBytes, SystemRandom};
use m2m_secrets::{
    Generation, PairRefusal, PairRoot, Parties, PeerFloors, RequestRejection, RootVersion,
    SharedSecret,
};
use m2m_types::ServiceId;
use proptest::prelude::*;

fn id(name: &str) -> ServiceId {
    format!("spiffe://example.org/{name}").parse().unwrap()
}

fn secret() -> SharedSecret {
    let bytes: Vec<u8> = (1..=32).collect();
    SharedSecret::new(SecretBytes::new(bytes)).unwrap()
}

fn root() -> PairRoot {
    PairRoot::new(&secret(), RootVersion(1))
}

fn floors() -> PeerFloors {
    PeerFloors::new(&SystemRandom).unwrap()
}

fn generation(number: u32) -> Generation {
    Generation::new(number).unwrap()
}

#[test]
fn the_key_is_hkdf_over_what_is_documented() {
    let (a, b) = (id("a"), id("b"));
    let hkdf = Hkdf::extract(
        HkdfHash::Sha256,
        b"m2m-secrets pair 1\x00\x00\x00\x01",
        secret().expose_secret(),
    );
    let expected = |info: &[u8]| hkdf.expand(&[info], 32).unwrap();
    let found = root().secret(&Parties::pair(&b, &a).unwrap(), generation(7));
    let info = b"\x02\x00\x00\x00\x07\x00\x0dexample.org/aexample.org/b";
    assert!(found.ct_eq(expected(info).expose_secret()));
    let c = id("c");
    let found = root().secret(&Parties::trio(&c, &a, &b).unwrap(), generation(7));
    let info = b"\x03\x00\x00\x00\x07\x00\x0dexample.org/a\x00\x0dexample.org/bexample.org/c";
    assert!(found.ct_eq(expected(info).expose_secret()));
}

#[test]
fn what_is_derived_and_what_is_kept_sign_alike() {
    let (a, b) = (id("a"), id("b"));
    let (root, floors) = (root(), floors());
    let parties = Parties::directed(&a, &b).unwrap();
    let (mut kept, message) = ([0; 32], [7; 200]);
    root.key(&parties, Generation::FIRST)
        .sign(&message, &mut kept)
        .unwrap();
    assert_eq!(root.sign(&parties, Generation::FIRST, &message), kept);
    root.verify(&parties, Generation::FIRST, &floors, &message, &kept)
        .unwrap();
    for at in 0..32 {
        let mut wrong = kept;
        wrong[at] ^= 1;
        let refused = root.verify(&parties, Generation::FIRST, &floors, &message, &wrong);
        assert_eq!(refused, Err(PairRefusal::Wrong));
    }
    for end in 0..32 {
        let cut = root.verify(&parties, Generation::FIRST, &floors, &message, &kept[..end]);
        assert_eq!(cut, Err(PairRefusal::Wrong));
    }
}

#[test]
fn sec_011_every_difference_makes_another_key() {
    let names = [id("a"), id("ab"), id("b"), id("a/b"), id("bc"), id("c")];
    let other_domain: ServiceId = "spiffe://example.orga/b".parse().unwrap();
    let [a, ab, b, a_b, bc, c] = &names;
    let all = [
        Parties::pair(a, bc),
        Parties::pair(ab, c),
        Parties::pair(a, b),
        Parties::pair(a_b, c),
        Parties::pair(a, &other_domain),
        Parties::directed(a, b),
        Parties::directed(b, a),
        Parties::trio(a, b, c),
        Parties::trio(a, bc, c),
    ];
    let (secret, mut seen) = (secret(), HashSet::new());
    let mut count = 0;
    for parties in all.map(Result::unwrap) {
        for version in [1, 2, 256] {
            let group = PairRoot::new(&secret, RootVersion(version));
            for root in [group.for_verifier(a), group.for_verifier(b), group] {
                for number in [1, 2, 256] {
                    seen.insert(root.sign(&parties, generation(number), b"m"));
                    count += 1;
                }
            }
        }
    }
    assert_eq!(seen.len(), count);
}

#[test]
fn a_trio_has_one_key_whatever_the_order() {
    let (a, b, c) = (id("a"), id("b"), id("c"));
    let orders = [
        [&a, &b, &c],
        [&a, &c, &b],
        [&b, &a, &c],
        [&b, &c, &a],
        [&c, &a, &b],
        [&c, &b, &a],
    ];
    let keys: HashSet<[u8; 32]> = orders
        .into_iter()
        .map(|[x, y, z]| Parties::trio(x, y, z).unwrap())
        .map(|parties| root().sign(&parties, Generation::FIRST, b"m"))
        .collect();
    assert_eq!(keys.len(), 1);
    assert!(Parties::trio(&a, &b, &a).is_err());
    assert!(Parties::pair(&a, &a).is_err() && Parties::directed(&a, &a).is_err());
}

#[test]
fn a_peer_whose_floor_is_raised_is_refused_and_the_others_are_not() {
    let (a, b, c) = (id("a"), id("b"), id("c"));
    let root = root();
    let (ab, cb) = (
        Parties::pair(&a, &b).unwrap(),
        Parties::pair(&c, &b).unwrap(),
    );
    let mut floors = floors();
    let verify = |floors: &PeerFloors, parties, number| {
        let tag = root.sign(parties, generation(number), b"m");
        root.verify(parties, generation(number), floors, b"m", &tag)
    };
    assert_eq!(floors.raise(&a, generation(3)), Ok(true));
    let refused = verify(&floors, &ab, 2).unwrap_err();
    let (peer, floor) = (a.clone(), generation(3));
    assert_eq!(
        refused,
        PairRefusal::Revoked {
            peer,
            floor,
            generation: generation(2)
        }
    );
    assert_eq!(refused.rejection(), RequestRejection::Unauthenticated);
    assert_eq!(verify(&floors, &ab, 3), Ok(()));
    assert_eq!(verify(&floors, &cb, 1), Ok(()));
    // It never falls.
    assert_eq!(floors.raise(&a, generation(2)), Ok(false));
    assert_eq!(floors.floor_of(&a), generation(3));
    // Never again.
    floors.raise(&a, Generation::NEVER).unwrap();
    for number in [1, 3, u32::MAX - 1, u32::MAX] {
        assert!(verify(&floors, &ab, number).is_err());
    }
    assert!(
        verify(&floors, &cb, u32::MAX).is_err(),
        "there are no such keys"
    );
    assert_eq!(Generation::NEVER.next(), Generation::NEVER);
    assert_eq!(Generation::new(0), None);
}

proptest! {
    /// Merging is the maximum: in whatever order, however often, nothing falls.
    #[test]
    fn floors_agree_in_whatever_order_they_are_told(
        told in proptest::collection::vec((0_usize..4, 1_u32..6), 0..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let names = [id("a"), id("b"), id("c"), id("d")];
        let of = |told: &[(usize, u32)]| {
            let mut floors = floors();
            for (peer, floor) in told {
                let before = floors.floor_of(&names[*peer]);
                floors.raise(&names[*peer], generation(*floor)).unwrap();
                assert!(floors.floor_of(&names[*peer]) >= before);
            }
            floors
        };
        let whole = of(&told);
        let (one, other) = told.split_at(cut.index(told.len() + 1));
        let (one, other) = (of(one), of(other));
        let mut forth = one.clone();
        forth.merge(&other).unwrap();
        forth.merge(&one).unwrap();
        let mut back = other;
        back.merge(&one).unwrap();
        prop_assert_eq!(&forth, &whole);
        prop_assert_eq!(&back, &whole);
        for (at, name) in names.iter().enumerate() {
            let highest = told.iter().filter(|(peer, _)| *peer == at).map(|(_, f)| *f).max();
            prop_assert_eq!(whole.floor_of(name), generation(highest.unwrap_or(1)));
        }
    }
}
