//! `Minter`: makes tokens, whole or in two steps with the signature made elsewhere.

mod error;
mod prepared;
mod template;
mod write;

pub use error::MintError;
pub use prepared::PreparedToken;
pub use template::ClaimsTemplate;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use m2m_crypto::SecureRandom;
use m2m_types::Timestamp;
use serde::Serialize;

use crate::MAX_TOKEN_BYTES;
use crate::base64url::{Base64Url, encoded_len};
use crate::claims::MAX_NAME_BYTES;
use crate::header;
use crate::json::{self, FEW_BLOCKS, JsonError, MAX_BLOCKS, Members};
use crate::policy::{Rule, TokenType};
use crate::request::TokenRequest;
use crate::signing_keys::{ActiveKey, SigningKeyRing};
use prepared::Draft;
use write::{Dates, Registered, Writer};

/// How many random bytes a token's name is made of: nobody guesses one, and none comes twice.
const TOKEN_ID_BYTES: usize = 16;
/// How long a caller's own claims are usually at most: that many bytes are kept ready for them.
const SMALL_CLAIMS: usize = 1024;
/// [`TOKEN_ID_BYTES`] in base64url.
const TOKEN_ID_CHARS: usize = encoded_len(TOKEN_ID_BYTES);

/// Makes tokens of one issuer and one type, signed with the active key of a [`SigningKeyRing`].
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
/// use m2m_token::{Minter, SigningKeyRing, TokenRequest, TokenType};
/// use m2m_types::Timestamp;
///
/// let key = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
/// let ring = Arc::new(SigningKeyRing::new(key, Duration::from_secs(3600))?);
/// let minter = Minter::new("https://issuer.example", TokenType::access_token(), ring)?;
///
/// let now = Timestamp::from_unix_seconds(1_700_000_000)?;
/// let request = TokenRequest::new("spiffe://example.org/a", "spiffe://example.org/b", Duration::from_secs(300));
/// let token = minter.mint(&request, now, &SystemRandom)?;
/// assert_eq!(token.split('.').count(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Minter {
    issuer: Box<str>,
    token_type: Box<str>,
    keys: Arc<SigningKeyRing>,
    codec: Base64Url,
    /// The header of tokens of the key that was active when one was last made.
    header: ArcSwapOption<EncodedHeader>,
}

/// A header in base64url: the same in all tokens of a key, so it is written once.
struct EncodedHeader {
    kid: Arc<str>,
    text: Box<[u8]>,
}

impl Minter {
    /// A minter of tokens that say `issuer` (`iss`) and `token_type` (`typ`).
    ///
    /// # Errors
    ///
    /// [`MintError::Unnamed`] if the issuer is empty, or the type is one that only verifiers can
    /// have ([`TokenType::danger_ignored`]).
    pub fn new(
        issuer: &str,
        token_type: TokenType,
        keys: Arc<SigningKeyRing>,
    ) -> Result<Self, MintError> {
        let token_type = match token_type.rule {
            Rule::Named(name) if (1..=header::MAX_NAME_BYTES).contains(&name.len()) => name,
            Rule::JwtOrAbsent => Box::from("JWT"),
            _ => return Err(MintError::Unnamed),
        };
        if !is_name(issuer) {
            return Err(MintError::Unnamed);
        }
        let codec = Base64Url::new();
        let header = EncodedHeader::new(&token_type, &keys.active(), &codec)?;
        Ok(Self {
            issuer: Box::from(issuer),
            token_type,
            keys,
            codec,
            header: ArcSwapOption::from_pointee(header),
        })
    }

    /// Makes a token as of `now`, in one allocation. Its `kid` is in the ring's JWK set.
    ///
    /// # Errors
    ///
    /// [`MintError`]; no token is given out then.
    pub fn mint<C: Serialize + ?Sized>(
        &self,
        request: &TokenRequest<'_, C>,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<String, MintError> {
        let key = self.keys.active();
        let draft = self.draft(&key, request, now, random)?;
        self.sign(&key, draft)
    }

    /// Signs what was drafted.
    #[inline]
    fn sign(&self, key: &ActiveKey, mut draft: Draft) -> Result<String, MintError> {
        let (token, room) = draft.buffer.split_at_mut(draft.front);
        let (input, text) = token.split_at_mut(draft.input_len);
        let text = text.get_mut(..=draft.signature_chars).unwrap_or_default();
        let algorithm = key.signer.algorithm();
        let length = key
            .signer
            .sign(input, room)
            .ok_or(MintError::External)?
            .map_err(|_| MintError::Sign { algorithm })?;
        let signature = room.get(..length).unwrap_or_default();
        self.write_signature(signature, text)
            .ok_or(MintError::Sign { algorithm })?;
        draft.finish()
    }

    /// The first half of [`Minter::mint`]: everything but the signature, which a KMS, an HSM or
    /// another process then makes over [`PreparedToken::signing_input`], at its leisure.
    ///
    /// # Errors
    ///
    /// See [`Minter::mint`].
    pub fn prepare<C: Serialize + ?Sized>(
        &self,
        request: &TokenRequest<'_, C>,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<PreparedToken, MintError> {
        let key = self.keys.active();
        Ok(PreparedToken {
            draft: self.draft(&key, request, now, random)?,
            kid: Arc::clone(&key.kid),
            verifier: key.signer.verifier(),
        })
    }

    /// The second half of [`Minter::mint`]: puts a signature to a prepared token. It must be in the
    /// form that RFC 7518 §3 gives it: for ECDSA two numbers of fixed length, which
    /// [`m2m_crypto::ecdsa_der_to_fixed`] makes from what most key stores answer.
    ///
    /// # Errors
    ///
    /// [`MintError::Attach`] if it is not the signature of the published key over this very token.
    pub fn attach(&self, prepared: PreparedToken, signature: &[u8]) -> Result<String, MintError> {
        let PreparedToken {
            mut draft,
            verifier,
            ..
        } = prepared;
        let refused = MintError::Attach {
            algorithm: verifier.algorithm(),
        };
        let (input, rest) = draft.buffer.split_at_mut(draft.input_len);
        verifier.verify(input, signature).map_err(|_| refused)?;
        let text = rest.get_mut(..=draft.signature_chars).ok_or(refused)?;
        self.write_signature(signature, text).ok_or(refused)?;
        draft.finish()
    }

    /// Writes the dot and the signature; `None` if it is not as long as the key's signatures are.
    fn write_signature(&self, signature: &[u8], text: &mut [u8]) -> Option<()> {
        let (dot, text) = text.split_first_mut()?;
        *dot = b'.';
        let written = self.codec.encode_signature(signature, text)?;
        (written == text.len()).then_some(())
    }

    /// Everything but the signature. The claims are written as JSON behind the place where the token
    /// will end, checked there, and encoded towards the front, so that one allocation is enough.
    fn draft<C: Serialize + ?Sized>(
        &self,
        key: &ActiveKey,
        request: &TokenRequest<'_, C>,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Draft, MintError> {
        let dates = self.dates(request, now)?;
        let texts = [
            ("sub", Some(request.subject)),
            ("aud", Some(request.audience)),
            ("jti", request.token_id),
            ("client_id", request.client_id),
            ("sid", request.session_id),
        ];
        for (name, text) in texts {
            if text.is_some_and(|text| !is_name(text)) {
                return Err(MintError::Text { name });
            }
        }
        // A scope may be of any length, but verifiers refuse control characters in it as well.
        if request.scope.is_some_and(has_control_characters) {
            return Err(MintError::Text { name: "scope" });
        }
        let mut token_id = [0; TOKEN_ID_CHARS];
        let registered = Registered {
            issuer: &self.issuer,
            token_id: match request.token_id {
                Some(token_id) => token_id,
                None => self.random_token_id(random, &mut token_id)?,
            },
            dates,
        };
        let mut small = [0; SMALL_CLAIMS];
        let mut large = Vec::new();
        let further = match request.claims {
            Some(claims) => Some(write::further(claims, &mut small, &mut large)?),
            None => None,
        };
        let further = further.map(join).transpose()?;
        let (registered_room, escapes) = write::registered_room(&registered, request);
        let payload_room = registered_room + further.map_or(0, <[u8]>::len);
        let signature_bytes = key.signer.signature_bytes();
        let signature_chars = encoded_len(signature_bytes);
        // The token in front, and behind it the place where JSON, and in the end the signature, is
        // written before it is encoded.
        let known = self.header.load();
        let made;
        let header = match known.as_ref().filter(|known| known.is_of(key)) {
            Some(known) => &known.text,
            None => {
                made = Arc::new(EncodedHeader::new(&self.token_type, key, &self.codec)?);
                self.header.store(Some(Arc::clone(&made)));
                &made.text
            }
        };
        let front = header.len() + encoded_len(payload_room) + signature_chars + 2;
        if front > 2 * MAX_TOKEN_BYTES {
            return Err(MintError::too_long(front));
        }
        let room = payload_room.max(signature_bytes);
        let mut buffer = vec![0; front + room];
        let (text, room) = buffer.split_at_mut(front);

        let (header_text, text) = text.split_at_mut(header.len());
        header_text.copy_from_slice(header);
        let payload = Writer::fill(room, escapes, |writer| {
            write::payload(writer, &registered, request, further)
        })?;
        let input_len = header.len() + 1 + encoded_len(payload.len());
        let token_len = input_len + 1 + signature_chars;
        if token_len > MAX_TOKEN_BYTES {
            return Err(MintError::too_long(token_len));
        }
        let (dot, text) = text.split_first_mut().ok_or(MintError::Serialize)?;
        *dot = b'.';
        self.codec
            .encode(payload, text)
            .ok_or(MintError::Serialize)?;
        Ok(Draft {
            buffer,
            front,
            input_len,
            signature_chars,
        })
    }

    /// The header of tokens of `key`, kept for the next one.
    fn header_of(&self, key: &ActiveKey) -> Result<Arc<EncodedHeader>, MintError> {
        if let Some(known) = self.header.load_full().filter(|known| known.is_of(key)) {
            return Ok(known);
        }
        let made = Arc::new(EncodedHeader::new(&self.token_type, key, &self.codec)?);
        self.header.store(Some(Arc::clone(&made)));
        Ok(made)
    }

    fn dates<C: ?Sized>(
        &self,
        request: &TokenRequest<'_, C>,
        now: Timestamp,
    ) -> Result<Dates, MintError> {
        let seconds = request.lifetime.as_secs();
        let left = Timestamp::MAX.checked_since(now).unwrap_or_default();
        let limit = self.keys.max_lifetime().min(left).as_secs();
        let expires = now.checked_add(request.lifetime);
        let Some(expires) = expires.filter(|_| (1..=limit).contains(&seconds)) else {
            return Err(MintError::Lifetime { seconds, limit });
        };
        if request
            .not_before
            .is_some_and(|not_before| not_before >= expires)
        {
            return Err(MintError::NeverValid);
        }
        Ok(Dates {
            issued: now,
            expires,
        })
    }

    fn random_token_id<'t>(
        &self,
        random: &dyn SecureRandom,
        text: &'t mut [u8; TOKEN_ID_CHARS],
    ) -> Result<&'t str, MintError> {
        let mut bytes = [0; TOKEN_ID_BYTES];
        random.fill(&mut bytes).map_err(MintError::Random)?;
        self.codec.encode(&bytes, text);
        Ok(std::str::from_utf8(text).unwrap_or_default())
    }
}

impl EncodedHeader {
    fn new(token_type: &str, key: &ActiveKey, codec: &Base64Url) -> Result<Self, MintError> {
        let algorithm = key.signer.algorithm().name();
        let (room, escapes) = write::header_room(token_type, algorithm, &key.kid);
        let mut json = vec![0; room];
        let header = Writer::fill(&mut json, escapes, |writer| {
            write::header(writer, token_type, algorithm, &key.kid)
        })?;
        let mut text = vec![0; encoded_len(header.len())].into_boxed_slice();
        codec
            .encode(header, &mut text)
            .ok_or(MintError::Serialize)?;
        let kid = Arc::clone(&key.kid);
        Ok(Self { kid, text })
    }

    /// Whether it is the header of this very key; no two of a ring share their name.
    fn is_of(&self, key: &ActiveKey) -> bool {
        Arc::ptr_eq(&self.kid, &key.kid)
    }
}

/// Whether verifiers take `text` for a name.
fn is_name(text: &str) -> bool {
    (1..=usize::from(MAX_NAME_BYTES)).contains(&text.len()) && !has_control_characters(text)
}

fn has_control_characters(text: &str) -> bool {
    write::any_byte(text, |byte| byte.is_ascii_control())
}

/// Checks the caller's own claims as a verifier will, and makes them go on where the registered ones
/// end: they must be one strict JSON object, none of whose members has a registered name.
fn join(further: &mut [u8]) -> Result<&[u8], MintError> {
    let is_empty = match further.len() <= Members::<FEW_BLOCKS>::MAX_TEXT {
        true => check(further, &mut Members::<FEW_BLOCKS>::new())?,
        false => check(further, &mut Members::<MAX_BLOCKS>::new())?,
    };
    match further.first_mut() {
        // Nothing follows the registered claims: white space instead of a comma.
        Some(brace @ b'{') if is_empty => *brace = b' ',
        Some(brace @ b'{') => *brace = b',',
        _ => return Err(MintError::Serialize),
    }
    Ok(further)
}

/// Says whether there are no members, if those there are may be there.
// Not inlined: there are two of them, and the larger one's memory is not for all to carry.
#[inline(never)]
fn check<const BLOCKS: usize>(
    further: &[u8],
    members: &mut Members<BLOCKS>,
) -> Result<bool, MintError> {
    let scanned = json::text(further).and_then(|text| members.scan(text));
    for member in members.as_slice() {
        if let Some(name) = write::reserved_name(member, further) {
            return Err(MintError::Reserved { name });
        }
    }
    match scanned {
        Ok(()) => Ok(members.as_slice().is_empty()),
        Err(JsonError::NotAnObject) => Err(MintError::Serialize),
        Err(problem) => Err(MintError::Claims { problem }),
    }
}

impl std::fmt::Debug for Minter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Minter")
            .field("issuer", &self.issuer)
            .field("token_type", &self.token_type)
            .finish_non_exhaustive()
    }
}
