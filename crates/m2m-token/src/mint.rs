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
use crate::header;
use crate::json::{self, FewMembers, JsonError, Members};
use crate::policy::{Rule, TokenType};
use crate::request::TokenRequest;
use crate::signing_keys::{ActiveKey, SigningKeyRing};
use prepared::Draft;
use write::{Dates, Registered, Room};

/// How many random bytes a token's name is made of: nobody guesses one, and none comes twice.
const TOKEN_ID_BYTES: usize = 16;
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
    /// What the claims of all its tokens begin with.
    opening: Box<[u8]>,
    token_type: Box<str>,
    keys: Arc<SigningKeyRing>,
    codec: Base64Url,
    /// The header of tokens of the key that was active when one was last made.
    header: ArcSwapOption<EncodedHeader>,
}

/// A header in base64url: the same in all tokens of a key, so it is written once.
struct EncodedHeader {
    kid: Arc<str>,
    text: Box<str>,
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
        let opening = write::opening(issuer).map_err(|_| MintError::Unnamed)?;
        let codec = Base64Url::new();
        let header = EncodedHeader::new(&token_type, &keys.active(), &codec)?;
        Ok(Self {
            issuer: Box::from(issuer),
            opening,
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
        let mut room = <Room>::new();
        let draft = self.draft(&key, request, now, random, &mut room)?;
        self.sign(&key, draft, &mut room)
    }

    /// Signs what was drafted.
    #[inline]
    fn sign(
        &self,
        key: &ActiveKey,
        mut draft: Draft,
        room: &mut Room,
    ) -> Result<String, MintError> {
        let (input, text) = draft.text.split_at_mut(draft.input_len);
        let algorithm = key.signer.algorithm();
        self.write_signature(signature(key, input, room)?, text)
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
            draft: self.draft(&key, request, now, random, &mut <Room>::new())?,
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
        let (input, text) = draft.text.split_at_mut(draft.input_len);
        verifier.verify(input, signature).map_err(|_| refused)?;
        self.write_signature(signature, text).ok_or(refused)?;
        draft.finish()
    }

    /// Writes the dot and the signature; `None` if it is not as long as the key's signatures are.
    fn write_signature(&self, signature: &[u8], text: &mut [u8]) -> Option<()> {
        let (dot, text) = text.split_first_mut()?;
        *dot = b'.';
        let written = self.codec.encode_short(signature, text)?;
        (written == text.len()).then_some(())
    }

    /// Everything but the signature. The claims are written as JSON into `room`, checked there, and
    /// encoded to where the token will be.
    fn draft<C: Serialize + ?Sized>(
        &self,
        key: &ActiveKey,
        request: &TokenRequest<'_, C>,
        now: Timestamp,
        random: &dyn SecureRandom,
        room: &mut Room,
    ) -> Result<Draft, MintError> {
        let dates = self.dates(request, now)?;
        let mut token_id = [0; TOKEN_ID_CHARS];
        let registered = Registered {
            opening: &self.opening,
            token_id: match request.token_id {
                Some(token_id) => token_id,
                None => self.random_token_id(random, &mut token_id)?,
            },
            dates,
        };
        let (payload, further_at) = write::payload(room, &registered, request)?;
        if let Some(further) = further_at.and_then(|at| payload.get_mut(at..)) {
            join(further)?;
        }
        self.with_header_of(key, |header| {
            let input_len = header.len() + 1 + encoded_len(payload.len());
            let token_len = input_len + 1 + encoded_len(key.signer.signature_bytes());
            if token_len > MAX_TOKEN_BYTES {
                return Err(MintError::too_long(token_len));
            }
            let mut text = vec![0; token_len];
            let (header_text, rest) = text.split_at_mut(header.len());
            header_text.copy_from_slice(header.as_bytes());
            let (dot, rest) = rest.split_first_mut().ok_or(MintError::Serialize)?;
            *dot = b'.';
            self.codec
                .encode(payload, rest)
                .ok_or(MintError::Serialize)?;
            Ok(Draft { text, input_len })
        })
    }

    /// Writes with the header of tokens of `key`.
    #[inline(always)]
    fn with_header_of<R>(
        &self,
        key: &ActiveKey,
        write: impl FnOnce(&str) -> Result<R, MintError>,
    ) -> Result<R, MintError> {
        let known = self.header.load();
        match known.as_ref().filter(|known| known.is_of(key)) {
            Some(known) => write(&known.text),
            None => write(&self.header_of(key)?.text),
        }
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
        let header = write::header(token_type, algorithm, &key.kid)?;
        let mut text = String::with_capacity(encoded_len(header.len()));
        codec
            .append(&header, &mut text)
            .ok_or(MintError::Serialize)?;
        Ok(Self {
            kid: Arc::clone(&key.kid),
            text: text.into_boxed_str(),
        })
    }

    /// Whether it is the header of this very key; no two of a ring share their name.
    fn is_of(&self, key: &ActiveKey) -> bool {
        Arc::ptr_eq(&self.kid, &key.kid)
    }
}

/// The signature of `input` with `key`, in `room`.
fn signature<'r, const USUAL: usize>(
    key: &ActiveKey,
    input: &[u8],
    room: &'r mut Room<USUAL>,
) -> Result<&'r [u8], MintError> {
    let algorithm = key.signer.algorithm();
    let room = room.bytes(key.signer.signature_bytes());
    let length = key
        .signer
        .sign(input, room)
        .ok_or(MintError::External)?
        .map_err(|_| MintError::Sign { algorithm })?;
    match length == room.len() {
        true => Ok(room),
        false => Err(MintError::Sign { algorithm }),
    }
}

/// Checks the caller's own claims as a verifier will, and makes them go on where the registered ones
/// end: they must be one strict JSON object, none of whose members has a registered name.
fn join(further: &mut [u8]) -> Result<(), MintError> {
    let is_empty = match check(further, &mut FewMembers::new()) {
        Err(MintError::Claims {
            problem: JsonError::TooLong | JsonError::TooManyMembers,
        }) => check(further, &mut <Members>::new())?,
        checked => checked?,
    };
    match further.first_mut() {
        // Nothing follows the registered claims: white space instead of a comma.
        Some(brace @ b'{') if is_empty => *brace = b' ',
        Some(brace @ b'{') => *brace = b',',
        _ => return Err(MintError::Serialize),
    }
    Ok(())
}

/// Says whether there are no members, if those there are may be there.
// Not inlined: there are two of them, and the larger one's memory is not for all to carry.
#[inline(never)]
fn check<const BLOCKS: usize, const MEMBERS: usize, const NESTED: usize>(
    further: &[u8],
    members: &mut Members<BLOCKS, MEMBERS, NESTED>,
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
