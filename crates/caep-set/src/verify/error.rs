//! `SetError`: why a SET was refused, and `ErrorCode`: the word for it that its sender is told.

use std::fmt;

use m2m_token::VerifyError;

/// Why a SET is not taken for one of its transmitter's: for operators. Its sender is told
/// [`SetError::code`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// It is no token that its transmitter made for us.
    #[error("{0}")]
    Token(VerifyError),
    /// `typ` names something else than a SET.
    #[error("`typ` is neither `secevent+jwt` nor `JWT`")]
    Type,
}

impl SetError {
    /// The code to answer with.
    ///
    /// No standard maps each cause to a code; this is ours: what concerns key or signature is
    /// `invalid_key`, what concerns `iss` and `aud` has codes of its own, and the rest, all that a
    /// stranger can bring about without any key, is `invalid_request`.
    pub fn code(&self) -> ErrorCode {
        let Self::Token(error) = self else {
            return ErrorCode::InvalidRequest;
        };
        match error {
            VerifyError::AlgorithmUnknown
            | VerifyError::AlgorithmMismatch { .. }
            | VerifyError::AlgorithmNotAllowed { .. }
            | VerifyError::KeyUnknown { .. }
            | VerifyError::KeyAmbiguous { .. }
            | VerifyError::KeysStale { .. }
            | VerifyError::Revoked(_)
            | VerifyError::Signature => ErrorCode::InvalidKey,
            VerifyError::IssuerUnknown { .. } => ErrorCode::InvalidIssuer,
            VerifyError::Audience { .. } | VerifyError::OtherAudiences { .. } => {
                ErrorCode::InvalidAudience
            }
            VerifyError::ClaimMissing { name } if name.to_string() == "aud" => {
                ErrorCode::InvalidAudience
            }
            VerifyError::ClaimMissing { name } if name.to_string() == "iss" => {
                ErrorCode::InvalidIssuer
            }
            _ => ErrorCode::InvalidRequest,
        }
    }
}

/// The codes of IANA's registry "Security Event Token Error Codes" (RFC 8935 §2.4, SSF 1.0 §11).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// It is no SET, or breaks the rules of its event.
    InvalidRequest,
    /// The key or the signature is not acceptable.
    InvalidKey,
    /// Its issuer is not one we take SETs of.
    InvalidIssuer,
    /// It is not for us.
    InvalidAudience,
    /// The sender has not shown who it is.
    AuthenticationFailed,
    /// The sender may not send this SET.
    AccessDenied,
    /// The `state` of a verification is not the one that was asked for.
    InvalidState,
}

impl ErrorCode {
    /// The code as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidKey => "invalid_key",
            Self::InvalidIssuer => "invalid_issuer",
            Self::InvalidAudience => "invalid_audience",
            Self::AuthenticationFailed => "authentication_failed",
            Self::AccessDenied => "access_denied",
            Self::InvalidState => "invalid_state",
        }
    }

    /// What a sender may read beside the code: nothing about keys, claims or configuration.
    pub const fn description(self) -> &'static str {
        match self {
            Self::InvalidRequest => "the request is not a valid Security Event Token",
            Self::InvalidKey => "the token could not be authenticated",
            Self::InvalidIssuer => "the issuer is not accepted",
            Self::InvalidAudience => "the audience is not this receiver",
            Self::AuthenticationFailed => "the sender is not authenticated",
            Self::AccessDenied => "the sender may not send this token",
            Self::InvalidState => "the state is not the one that was asked for",
        }
    }

    /// Reads a code; names of older drafts too. `None` for one that is not registered.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "invalid_request" | "json" | "jwtParse" => Self::InvalidRequest,
            "invalid_key" | "jws_signature_failed" | "jwe_decryption_failed" => Self::InvalidKey,
            "invalid_issuer" => Self::InvalidIssuer,
            "invalid_audience" => Self::InvalidAudience,
            "authentication_failed" => Self::AuthenticationFailed,
            "access_denied" => Self::AccessDenied,
            "invalid_state" => Self::InvalidState,
            _ => return None,
        })
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
