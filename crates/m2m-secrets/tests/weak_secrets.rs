//! What is no secret.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

use m2m_crypto::{RandomError, SecretBytes, SecureRandom, SystemRandom};
use m2m_secrets::{SharedSecret, WeakSecret};

fn refusal(bytes: &[u8]) -> WeakSecret {
    SharedSecret::new(SecretBytes::from(bytes)).unwrap_err()
}

#[test]
fn sec_002_weak_secrets_cannot_be_built() {
    assert_eq!(refusal(b""), WeakSecret::Short { found: 0 });
    assert_eq!(refusal(b"changeme"), WeakSecret::Short { found: 8 });
    assert_eq!(refusal(&[7; 31]), WeakSecret::Short { found: 31 });
    assert_eq!(refusal(&[0; 32]), WeakSecret::Repeats);
    assert_eq!(refusal(&[0; 1024]), WeakSecret::Repeats);
    assert_eq!(refusal(&b"abcd".repeat(9)), WeakSecret::Repeats);
    assert_eq!(
        refusal(b"ChangeMe-before-production-please!"),
        WeakSecret::Placeholder
    );
    assert_eq!(refusal(&[1; 1025]), WeakSecret::Long { found: 1025 });
    let drawn = SecretBytes::random(32, &SystemRandom).unwrap();
    assert!(SharedSecret::new(drawn).is_ok());
}

/// A source that says it has written.
struct Silent;

impl SecureRandom for Silent {
    fn fill(&self, _: &mut [u8]) -> Result<(), RandomError> {
        Ok(())
    }
}

#[test]
fn sec_024_a_source_that_writes_nothing_gives_no_secret() {
    assert_eq!(SharedSecret::generate(&Silent).unwrap_err(), RandomError);
}
