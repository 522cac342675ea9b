//! Sessions that a server keeps for clients to resume, and to whom each belongs.
//!
//! rustls asks nobody when it resumes a session: neither the verifier nor the time of expiry. So here
//! a session is kept together with the peer that was verified when it was made, and given out only
//! while that peer would still pass. Otherwise the client gets a full handshake, and is refused there
//! if it must be.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use m2m_crypto::SecretBytes;
use rustls::server::StoresServerSessions;

use super::judge::{Judge, Known};
use super::shared::Shared;
use crate::PeerRole;

/// The sessions of one epoch: others begin when the identity or a bundle changes.
pub(super) struct Sessions {
    shared: Arc<Shared>,
    judge: Arc<Judge>,
    epoch: u64,
    limit: usize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    sessions: HashMap<Box<[u8]>, Session>,
    /// In the order they came; those that were taken meanwhile are still named.
    order: VecDeque<(u64, Box<[u8]>)>,
    next: u64,
}

struct Session {
    number: u64,
    known: Arc<Known>,
    /// What rustls keeps in it: the secret that resumes, among others.
    value: SecretBytes,
}

impl Sessions {
    pub(super) fn new(shared: Arc<Shared>, judge: Arc<Judge>, epoch: u64, limit: usize) -> Self {
        Self {
            shared,
            judge,
            epoch,
            limit,
            table: Mutex::default(),
        }
    }

    fn is_over(&self) -> bool {
        self.shared.epoch() != self.epoch
    }

    /// Nothing that is done under this lock can panic half way.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StoresServerSessions for Sessions {
    /// A session whose peer is not known is not kept; its client then gets no ticket.
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let value = SecretBytes::new(value);
        if self.is_over() || self.limit == 0 {
            return false;
        }
        let known =
            client_certificate(value.expose_secret()).and_then(|leaf| self.judge.known(leaf));
        let Some(known) = known else { return false };
        self.table().put(key.into(), known, value, self.limit);
        true
    }

    /// Only TLS 1.2 would ask.
    fn get(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        let session = self.table().sessions.remove(key)?;
        if self.is_over() {
            return None;
        }
        let now = self.shared.now();
        match now.and_then(|now| self.shared.may_resume(&session.known, now)) {
            Ok(_) => Some(session.value.expose_secret().to_vec()),
            Err(error) => {
                self.shared.not_resumed(PeerRole::Client, &error);
                None
            }
        }
    }

    fn can_cache(&self) -> bool {
        self.limit > 0
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl Table {
    fn put(&mut self, key: Box<[u8]>, known: Arc<Known>, value: SecretBytes, limit: usize) {
        let number = self.next;
        self.next += 1;
        self.order.push_back((number, key.clone()));
        let session = Session {
            number,
            known,
            value,
        };
        self.sessions.insert(key, session);
        while self.sessions.len() > limit {
            let Some((number, key)) = self.order.pop_front() else {
                break;
            };
            self.forget(number, &key);
        }
        // Names of taken sessions may not pile up while few are there.
        if self.order.len() > 2 * limit {
            let sessions = &self.sessions;
            self.order
                .retain(|(number, key)| sessions.get(key).is_some_and(|s| s.number == *number));
        }
    }

    fn forget(&mut self, number: u64, key: &[u8]) {
        if self.sessions.get(key).is_some_and(|s| s.number == number) {
            self.sessions.remove(key);
        }
    }
}

/// The client's own certificate in a session as rustls 0.23 writes it:
///
/// ```text
/// sni? u8 [u8 length, sni] │ version u16 │ suite u16 │ u8 length, secret │ ems u8 │
/// chain? u8 [u24 length, (u24 length, certificate)*] │ …
/// ```
///
/// That is no promise of rustls. If another release writes something else, this finds nothing that
/// was verified, and clients get no tickets; it cannot lead to a wrong peer, whose certificate would
/// have to stand there.
fn client_certificate(session: &[u8]) -> Option<&[u8]> {
    let rest = match session.split_first()? {
        (0, rest) => rest,
        (1, rest) => skip_short(rest)?,
        _ => return None,
    };
    let rest = skip_short(rest.get(4..)?)?;
    let rest = rest.get(1..)?.strip_prefix(&[1])?;
    let (_, chain) = rest.split_first_chunk::<3>()?;
    let ([high, middle, low], certificates) = chain.split_first_chunk::<3>()?;
    let length = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
    certificates.get(..length)
}

fn skip_short(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first()?;
    rest.get(usize::from(*length)..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_read_as_rustls_writes_it() {
        let after_name = [
            3, 4, 0x13, 1, 2, 0xaa, 0xbb, 0, 1, 0, 0, 6, 0, 0, 3, 7, 8, 9, 0,
        ];
        let without_name = [&[0][..], &after_name].concat();
        assert_eq!(client_certificate(&without_name), Some(&[7, 8, 9][..]));
        let with_name = [&[1, 2, b'h', b'i'][..], &after_name].concat();
        assert_eq!(client_certificate(&with_name), Some(&[7, 8, 9][..]));
        for length in 0..without_name.len() - 1 {
            assert_eq!(
                client_certificate(&without_name[..length]),
                None,
                "{length}"
            );
        }
        // No certificate, or something else where one is told.
        for flag in [0, 2] {
            let mut none = without_name.clone();
            none[9] = flag;
            assert_eq!(client_certificate(&none), None);
        }
    }
}
