//! What is signed of a request, in few bytes and with unmistakable boundaries.

use m2m_crypto::sha256;
use m2m_types::Timestamp;

/// The longest field that is signed as it is; a longer one is signed as its SHA-256.
const LITERAL_BYTES: usize = 32;
/// Stands where a field's length would, before its SHA-256.
const HASHED: u8 = 0xff;

/// The longest canonical form there is: four blocks of SHA-256, where 183 bytes are the limit. A
/// request with a target and authority of usual length and no body has at most 119: three blocks.
pub const MAX_CANONICAL_BYTES: usize = 5 + 16 + 4 * (1 + LITERAL_BYTES) + 1;

/// What a request says: the part of it that its signature covers. Bytes, as they go over the wire.
#[derive(Clone, Copy, Debug)]
pub struct RequestParts<'a> {
    method: &'a [u8],
    authority: &'a [u8],
    target: &'a [u8],
    body: Option<[u8; 32]>,
}

impl<'a> RequestParts<'a> {
    /// A request without a body: its method, the authority that it is for (`Host`, or `:authority`;
    /// upper and lower case are one), and its target: path and query.
    ///
    /// Both sides must see the same target: put the signature where no proxy rewrites it any more.
    pub const fn new(method: &'a [u8], authority: &'a [u8], target: &'a [u8]) -> Self {
        Self {
            method,
            authority,
            target,
            body: None,
        }
    }

    /// With this body, as it goes over the wire; an empty one is as good as none.
    #[must_use]
    pub fn with_body(self, body: &[u8]) -> Self {
        match body {
            [] => Self { body: None, ..self },
            body => self.with_body_sha256(sha256(body)),
        }
    }

    /// With a body that is not empty and has this SHA-256.
    #[must_use]
    pub const fn with_body_sha256(self, sha256: [u8; 32]) -> Self {
        Self {
            body: Some(sha256),
            ..self
        }
    }
}

/// The bytes that are signed: 5 of time, 16 of nonce, then method, key id, authority and target, each
/// behind its length (or [`HASHED`]), and the body's hash behind [`HASHED`], or 0 if there is none.
///
/// Every part either has a fixed length or says its length before it comes, so no two requests have
/// the same form.
pub(super) struct Canonical {
    bytes: [u8; MAX_CANONICAL_BYTES + LITERAL_BYTES],
    length: usize,
}

impl Canonical {
    pub(super) fn new(
        parts: &RequestParts<'_>,
        key_id: &[u8],
        time: Timestamp,
        nonce: &[u8; 16],
    ) -> Self {
        let mut canonical = Self {
            bytes: [0; MAX_CANONICAL_BYTES + LITERAL_BYTES],
            length: 0,
        };
        // 40 bits last until the year 36812; a `Timestamp` ends in 9999.
        let [_, _, _, time @ ..] = time.unix_seconds().to_be_bytes();
        canonical.push(&time);
        canonical.push(nonce);
        canonical.field(parts.method);
        canonical.field(key_id);
        let authority = canonical.length + 1;
        match parts.authority.len() {
            0..=LITERAL_BYTES => {
                canonical.field(parts.authority);
                let written = canonical.bytes.get_mut(authority..canonical.length);
                written.unwrap_or_default().make_ascii_lowercase();
            }
            // Longer than usual: only then is it copied to the heap.
            _ => canonical.field(&parts.authority.to_ascii_lowercase()),
        }
        canonical.field(parts.target);
        match &parts.body {
            Some(hash) => {
                canonical.push(&[HASHED]);
                canonical.push(hash);
            }
            None => canonical.push(&[0]),
        }
        canonical
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn field(&mut self, field: &[u8]) {
        match field.len() {
            length @ 0..=LITERAL_BYTES => {
                self.push(&[length as u8]);
                self.push(field);
            }
            _ => {
                self.push(&[HASHED]);
                self.push(&sha256(field));
            }
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        let place = self.bytes.get_mut(self.length..end);
        place
            .expect("five fields of at most 33 bytes, and there is room for them")
            .copy_from_slice(bytes);
        self.length = end;
    }
}
