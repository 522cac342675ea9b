//! `ClaimsTemplate`: claims that many tokens have in common, written and encoded once.

use m2m_types::Timestamp;
use serde::Serialize;

use super::write::{self, Room};
use super::{Minter, encoded_len, join, signature};
use crate::MAX_TOKEN_BYTES;
use crate::mint::MintError;
use crate::policy::TokenType;

/// Claims that many tokens have in common: all of them but `aud` and `jti`.
///
/// For statements that do not expire and go to many, like Security Event Tokens (RFC 8417): what they
/// have in common is checked, written and encoded once, by [`Minter::template`].
#[derive(Clone)]
pub struct ClaimsTemplate {
    /// As much of the claims as makes whole groups of base64url, encoded.
    encoded: Box<str>,
    /// The rest, up to two bytes.
    rest: Box<[u8]>,
    issuer: Box<str>,
}

impl Minter {
    /// Writes what tokens have in common: `iss`, `iat` as of `issued`, and `claims`, which must be a
    /// JSON object without claims that a minter writes.
    ///
    /// There is no `exp` and no `sub`: such a token is a statement, and authorises nobody.
    ///
    /// # Errors
    ///
    /// [`MintError::Statement`] if this minter makes access tokens; else see [`Minter::mint`].
    pub fn template<C: Serialize + ?Sized>(
        &self,
        claims: &C,
        issued: Timestamp,
    ) -> Result<ClaimsTemplate, MintError> {
        if TokenType::named(&self.token_type).is_access_token() {
            return Err(MintError::Statement);
        }
        let mut room = Room::new();
        let (json, claims_at) = write::statement(&mut room, &self.issuer, issued, claims)?;
        join(json.get_mut(claims_at..).ok_or(MintError::Serialize)?)?;
        // Behind the claims come others, so the brace that ends them goes.
        let json = json.strip_suffix(b"}").ok_or(MintError::Serialize)?;
        let whole = json.len() - json.len() % 3;
        let (whole, rest) = json.split_at_checked(whole).unwrap_or_default();
        let mut encoded = String::with_capacity(encoded_len(whole.len()));
        self.codec
            .append(whole, &mut encoded)
            .ok_or(MintError::Serialize)?;
        Ok(ClaimsTemplate {
            encoded: encoded.into_boxed_str(),
            rest: Box::from(rest),
            issuer: self.issuer.clone(),
        })
    }

    /// Makes one of the tokens: for `audience`, with the name `token_id`, which must be new.
    ///
    /// # Errors
    ///
    /// [`MintError::Statement`] if the template is another minter's; else see [`Minter::mint`].
    pub fn mint_from(
        &self,
        template: &ClaimsTemplate,
        audience: &str,
        token_id: &str,
    ) -> Result<String, MintError> {
        if template.issuer != self.issuer {
            return Err(MintError::Statement);
        }
        let key = self.keys.active();
        let mut room = Room::<FEW_BYTES>::new();
        let tail = write::address(&mut room, &template.rest, audience, token_id)?;
        let mut token = self.with_header_of(&key, |header| {
            let input_len = header.len() + 1 + template.encoded.len() + encoded_len(tail.len());
            let token_len = input_len + 1 + encoded_len(key.signer.signature_bytes());
            if token_len > MAX_TOKEN_BYTES {
                return Err(MintError::too_long(token_len));
            }
            let mut token = String::with_capacity(token_len);
            token.push_str(header);
            token.push('.');
            token.push_str(&template.encoded);
            Ok(token)
        })?;
        self.codec
            .append(tail, &mut token)
            .ok_or(MintError::Serialize)?;
        let signature = signature(&key, token.as_bytes(), &mut room)?;
        token.push('.');
        self.codec
            .append(signature, &mut token)
            .ok_or(MintError::Serialize)?;
        Ok(token)
    }
}

/// Enough for an audience and a name, and for the signatures of elliptic curves.
const FEW_BYTES: usize = 256;

impl std::fmt::Debug for ClaimsTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClaimsTemplate")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}
