//! `Drawn`: randomness drawn in larger pieces than it is used in.

use std::sync::{Mutex, PoisonError};

use m2m_crypto::{RandomError, SecureRandom};

/// Twenty nonces: as much as Linux gives at once without being interrupted.
const DRAWN_AT_ONCE: usize = 256;

/// Asking the system for the nonce of a value costs more than sealing a short one. Each byte is
/// given out once, and what is left is forgotten with the group it was drawn for. Only for what is
/// not secret: it is not wiped.
pub(super) struct Drawn<'a> {
    from: &'a dyn SecureRandom,
    left: Mutex<Vec<u8>>,
}

impl<'a> Drawn<'a> {
    pub(super) fn new(from: &'a dyn SecureRandom) -> Self {
        Self {
            from,
            left: Mutex::new(Vec::new()),
        }
    }
}

impl SecureRandom for Drawn<'_> {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        if bytes.len() > DRAWN_AT_ONCE {
            return self.from.fill(bytes);
        }
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if left.len() < bytes.len() {
            let mut drawn = [0; DRAWN_AT_ONCE];
            self.from.fill(&mut drawn)?;
            left.clear();
            left.extend_from_slice(&drawn);
        }
        let rest = left.len() - bytes.len();
        bytes.copy_from_slice(left.get(rest..).unwrap_or_default());
        left.truncate(rest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

    use super::*;

    /// Counts: no byte twice in 256, and how often it was asked.
    #[derive(Default)]
    struct Counting {
        next: AtomicU8,
        asked: AtomicUsize,
        fails: bool,
    }

    impl SecureRandom for Counting {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            for byte in bytes {
                *byte = self.next.fetch_add(1, Ordering::Relaxed);
            }
            match self.fails {
                true => Err(RandomError),
                false => Ok(()),
            }
        }
    }

    #[test]
    fn no_byte_is_given_out_twice_and_the_source_is_asked_once_for_many() {
        let source = Counting::default();
        let drawn = Drawn::new(&source);
        let mut seen = [false; DRAWN_AT_ONCE];
        for _ in 0..DRAWN_AT_ONCE / 16 {
            let mut bytes = [0; 16];
            drawn.fill(&mut bytes).unwrap();
            for byte in bytes {
                assert!(!std::mem::replace(&mut seen[usize::from(byte)], true));
            }
        }
        assert_eq!(source.asked.load(Ordering::Relaxed), 1);
        drawn.fill(&mut [0; 1_000]).unwrap();
        drawn.fill(&mut [0; 12]).unwrap();
        assert_eq!(source.asked.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_source_that_fails_gives_nothing() {
        let source = Counting {
            fails: true,
            ..Counting::default()
        };
        let drawn = Drawn::new(&source);
        for _ in 0..2 {
            assert_eq!(drawn.fill(&mut [0; 12]), Err(RandomError));
        }
    }
}
