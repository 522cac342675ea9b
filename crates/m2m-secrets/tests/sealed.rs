//! Sealed secrets: what opens, what does not, and that a file is old or new.
#![cfg(feature = "store")]
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::fs;

use m2m_crypto::{RandomError, SecretBytes, SecureRandom, SystemRandom};
use m2m_secrets::{
    NamedSecret, OpenSealedError, SealError, SealedFileError, SecretName, SecretVersion,
    SharedSecret, draw_next_versions, open_sealed, read_sealed_file, seal, write_sealed_file,
};
use m2m_store::LocalKey;

fn outer(byte: u8) -> LocalKey {
    LocalKey::new(SecretBytes::new(vec![byte; LocalKey::BYTES])).unwrap()
}

fn secrets(count: usize) -> Vec<NamedSecret> {
    let named = |number: usize| {
        NamedSecret::new(
            SecretName::new(&format!("secret-{number}")).unwrap(),
            SecretVersion::new(number as u64 + 1).unwrap(),
            SharedSecret::generate(&SystemRandom).unwrap(),
        )
    };
    (0..count).map(named).collect()
}

fn sealed(secrets: &[NamedSecret]) -> Vec<u8> {
    seal(secrets, &outer(1), &SystemRandom, |_, _| ()).unwrap()
}

fn same(one: &[NamedSecret], other: &[NamedSecret]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|(one, other)| {
            let bytes = other.secret().expose_secret().expose_secret();
            (one.name(), one.version()) == (other.name(), other.version())
                && one.secret().expose_secret().ct_eq(bytes)
        })
}

#[test]
fn what_was_sealed_opens_again_and_progress_is_told() {
    for count in [0, 1, 1_023, 1_024, 1_025, 3_000] {
        let secrets = secrets(count);
        let mut told = Vec::new();
        let text = seal(&secrets, &outer(1), &SystemRandom, |done, all| {
            told.push((done, all))
        });
        assert!(same(
            &open_sealed(&text.unwrap(), &outer(1)).unwrap(),
            &secrets
        ));
        assert_eq!(told.len(), count.div_ceil(1_024));
        assert!(count == 0 || told.last() == Some(&(count, count)));
    }
}

#[test]
fn sec_019_every_damage_is_noticed_and_nothing_is_shown() {
    let secrets = secrets(3);
    let text = sealed(&secrets);
    for at in 0..text.len() {
        let mut damaged = text.clone();
        damaged[at] ^= 0x40;
        let refused = open_sealed(&damaged, &outer(1)).unwrap_err();
        assert!(refused.to_string().len() < 200 && !refused.to_string().contains("secret-"));
    }
    for end in 0..text.len() {
        assert!(open_sealed(&text[..end], &outer(1)).is_err(), "{end}");
    }
    let longer = [text.as_slice(), b"x"].concat();
    assert_eq!(
        open_sealed(&longer, &outer(1)).unwrap_err(),
        OpenSealedError::Malformed { at: text.len() }
    );
    assert!(matches!(
        open_sealed(&text, &outer(2)),
        Err(OpenSealedError::Outer(_))
    ));
    assert_eq!(
        open_sealed(b"{}", &outer(1)).unwrap_err(),
        OpenSealedError::CutShort { at: 0 }
    );
    assert_eq!(
        open_sealed(&[b'x'; 99], &outer(1)).unwrap_err(),
        OpenSealedError::OtherFormat
    );
}

#[test]
fn parts_are_bound_to_their_places() {
    // Three parts of equal length: exchanged, repeated, left out, or from another text.
    let many = secrets(3 * 1_024);
    let names_of_one_length = many.into_iter().map(|named| {
        let (_, version, secret) = named.into_parts();
        NamedSecret::new(SecretName::new("equal").unwrap(), version, secret)
    });
    let many: Vec<NamedSecret> = names_of_one_length.collect();
    let (text, other) = (sealed(&many), sealed(&many));
    let part = 8 + 12 + 16 + 1_024 * (2 + 5 + 8 + 2 + 32);
    let head = text.len() - 3 * part;
    let put = |from: &[u8], order: [usize; 3]| {
        let parts = order.map(|nth| &from[head + nth * part..][..part]);
        [&text[..head], parts[0], parts[1], parts[2]].concat()
    };
    assert!(open_sealed(&put(&text, [0, 1, 2]), &outer(1)).is_ok());
    for order in [[1, 0, 2], [0, 0, 2], [0, 1, 1], [2, 1, 0]] {
        let refused = open_sealed(&put(&text, order), &outer(1));
        assert!(
            matches!(refused, Err(OpenSealedError::NotAuthentic { .. })),
            "{order:?}"
        );
    }
    let refused = open_sealed(&put(&other, [0, 1, 2]), &outer(1));
    assert!(matches!(refused, Err(OpenSealedError::NotAuthentic { at }) if at == head + 8));
    assert!(open_sealed(&text[..head + 2 * part], &outer(1)).is_err());
}

#[test]
fn a_promise_of_a_million_secrets_makes_no_room_for_them() {
    // Magic, id, count, length of the wrapped key: none of it is authentic yet.
    let mut text = sealed(&secrets(1));
    text[21 + 16..21 + 24].copy_from_slice(&(1_u64 << 20).to_be_bytes());
    let counted = allocation_counter::measure(|| {
        assert!(open_sealed(&text, &outer(1)).is_err());
    });
    assert!(counted.bytes_max < 64 * 1024, "{}", counted.bytes_max);
    text[21 + 16..21 + 24].copy_from_slice(&u64::MAX.to_be_bytes());
    assert_eq!(
        open_sealed(&text, &outer(1)).unwrap_err(),
        OpenSealedError::Malformed { at: 37 }
    );
}

#[test]
fn the_next_version_of_each_is_drawn_or_none() {
    let old = secrets(2_000);
    let mut told = Vec::new();
    let next = draw_next_versions(&old, &SystemRandom, |done, all| told.push((done, all))).unwrap();
    for (old, next) in old.iter().zip(&next) {
        assert_eq!(
            (old.name(), old.version().next()),
            (next.name(), Some(next.version()))
        );
        assert!(
            !old.secret()
                .expose_secret()
                .ct_eq(next.secret().expose_secret().expose_secret())
        );
    }
    assert_eq!(told, [(1_024, 2_000), (2_000, 2_000)]);
}

struct Broken;

impl SecureRandom for Broken {
    fn fill(&self, _: &mut [u8]) -> Result<(), RandomError> {
        Err(RandomError)
    }
}

#[test]
fn sec_024_without_randomness_nothing_is_sealed_or_replaced() {
    let secrets = secrets(2);
    assert_eq!(
        seal(&secrets, &outer(1), &Broken, |_, _| ()).unwrap_err(),
        SealError::Random(RandomError)
    );
    assert!(draw_next_versions(&secrets, &Broken, |_, _| ()).is_err());
}

#[test]
fn a_file_is_replaced_whole_and_is_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secrets.sealed");
    let (old, new) = (secrets(2), secrets(3));
    write_sealed_file(&path, &sealed(&old)).unwrap();
    assert!(same(&read_sealed_file(&path, &outer(1)).unwrap(), &old));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    // What a crash left beside it is not taken for the file, and not overwritten unseen.
    let left = folder.path().join("secrets.sealed.new");
    fs::write(&left, b"half").unwrap();
    let refused = write_sealed_file(&path, &sealed(&new)).unwrap_err();
    assert!(
        refused.to_string().contains("secrets.sealed.new"),
        "{refused}"
    );
    assert!(same(&read_sealed_file(&path, &outer(1)).unwrap(), &old));
    fs::remove_file(&left).unwrap();
    write_sealed_file(&path, &sealed(&new)).unwrap();
    assert!(same(&read_sealed_file(&path, &outer(1)).unwrap(), &new));
    assert!(!left.exists());
}

#[test]
fn sec_019_a_damaged_file_is_named_and_its_content_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secrets.sealed");
    let mut text = sealed(&secrets(1));
    *text.last_mut().unwrap() ^= 1;
    write_sealed_file(&path, &text).unwrap();
    let refused = read_sealed_file(&path, &outer(1)).unwrap_err();
    let shown = refused.to_string();
    assert!(shown.contains("secrets.sealed: the part at byte ") && !shown.contains("secret-0"));
    assert!(matches!(refused, SealedFileError::Sealed { .. }));
    let missing = read_sealed_file(&folder.path().join("nowhere"), &outer(1)).unwrap_err();
    assert!(missing.to_string().contains("nowhere"), "{missing}");
}
