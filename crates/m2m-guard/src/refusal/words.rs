//! The stable words for refusals: which check said no, why, and all of the words that there are.

use std::fmt;

use m2m_revoke::Kind;
use m2m_token::VerifyError;

use super::RefusalReason;
use crate::freshness::Basis;
use crate::guard::hook;
use crate::presented::Credential;

/// The checks of an admission, in their order.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Check {
    /// Whether what came is what may and must come.
    Presented,
    /// Whether what the other checks go by is fresh.
    Freshness,
    /// The peer's certificate.
    Certificate,
    /// The token, and who may present it.
    Token,
    /// The signature of the request.
    Signature,
    /// The API key.
    ApiKey,
    /// Whether all of them name one machine.
    Name,
    /// Whether anything of it was taken back.
    Revocation,
    /// Whether the caller may.
    Decision,
}

impl Check {
    m2m_types::codes! {
        pub fn code;
        Self::Presented => "presented",
        Self::Freshness => "freshness",
        Self::Certificate => "certificate",
        Self::Token => "token",
        Self::Signature => "signature",
        Self::ApiKey => "api_key",
        Self::Name => "name",
        Self::Revocation => "revocation",
        Self::Decision => "decision",
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl RefusalReason {
    m2m_types::codes! {
        pub fn code;
        Self::NothingPresented => "nothing_presented",
        Self::NotTaken { .. } => "not_taken",
        Self::Required { .. } => "required",
        Self::Stale { .. } => "stale",
        Self::Token(_) => "token",
        #[cfg(feature = "pki")]
        Self::Peer(_) => "peer",
        #[cfg(feature = "pki")]
        Self::PeerRole => "peer_role",
        #[cfg(feature = "secrets")]
        Self::ApiKey(_) => "api_key",
        #[cfg(feature = "secrets")]
        Self::SignatureUnknown => "signature_unknown",
        #[cfg(feature = "secrets")]
        Self::Signature(_) | Self::HttpSignature(_) => "signature",
        Self::NotService { .. } => "not_service",
        Self::Disagree(_) => "disagree",
        Self::Revoked { .. } => "revoked",
        Self::Denied(_) => "denied",
        Self::Panicked { .. } => "panicked",
    }

    /// See [`super::Refusal::detail`].
    pub fn detail(&self) -> &'static str {
        match self {
            Self::NotTaken { credential }
            | Self::Required { credential }
            | Self::NotService { credential, .. } => credential.code(),
            Self::Stale { basis, .. } => basis.code(),
            Self::Token(error) => error.code(),
            #[cfg(feature = "pki")]
            Self::Peer(error) => error.code(),
            #[cfg(feature = "secrets")]
            Self::ApiKey(refusal) => refusal.code(),
            #[cfg(feature = "secrets")]
            Self::Signature(error) => error.code(),
            #[cfg(feature = "secrets")]
            Self::HttpSignature(error) => error.code(),
            Self::Revoked { revoked, .. } => revoked.kind().code(),
            Self::Panicked { .. } => self.check().code(),
            _ => NONE,
        }
    }

    /// The check that said no.
    pub fn check(&self) -> Check {
        match self {
            Self::NothingPresented | Self::NotTaken { .. } | Self::Required { .. } => {
                Check::Presented
            }
            Self::Stale { .. } | Self::Token(VerifyError::KeysStale { .. }) => Check::Freshness,
            Self::Revoked { .. } | Self::Token(VerifyError::Revoked(_)) => Check::Revocation,
            Self::Token(_) => Check::Token,
            #[cfg(feature = "pki")]
            Self::Peer(_) | Self::PeerRole => Check::Certificate,
            #[cfg(feature = "secrets")]
            Self::ApiKey(_) => Check::ApiKey,
            #[cfg(feature = "secrets")]
            Self::SignatureUnknown | Self::Signature(_) | Self::HttpSignature(_) => {
                Check::Signature
            }
            Self::NotService { .. } | Self::Disagree(_) => Check::Name,
            Self::Denied(_) => Check::Decision,
            Self::Panicked { hook } => hook::check(hook),
        }
    }

    /// The kind of credential at fault, if it is one.
    pub fn credential(&self) -> Option<Credential> {
        match self {
            Self::NotTaken { credential }
            | Self::Required { credential }
            | Self::NotService { credential, .. }
            | Self::Revoked { credential, .. } => Some(*credential),
            Self::Disagree(disagreement) => Some(disagreement.first),
            _ => match self.check() {
                Check::Token => Some(Credential::Token),
                Check::Revocation => Some(Credential::Token), // looked up by the verifier
                Check::Certificate => Some(Credential::Certificate),
                Check::Signature => Some(Credential::Signature),
                Check::ApiKey => Some(Credential::ApiKey),
                _ => None,
            },
        }
    }

    /// Whether a peer's certificate was found good before this was found.
    #[cfg(feature = "pki")]
    pub(crate) fn is_past_peers(&self) -> bool {
        match self {
            // Between the ages and the keys of tokens lies the certificate.
            Self::Token(_) => true,
            _ => !matches!(
                self.check(),
                Check::Presented | Check::Freshness | Check::Certificate
            ),
        }
    }
}

const NONE: &str = "";

/// See [`super::Refusal::codes`].
pub(super) fn codes() -> impl Iterator<Item = (&'static str, &'static str)> {
    let pairs = |code: &'static str| details(code).iter().map(move |detail| (code, *detail));
    RefusalReason::CODES.iter().copied().flat_map(pairs)
}

/// What [`RefusalReason::detail`] can say beside a code.
fn details(code: &'static str) -> &'static [&'static str] {
    match code {
        "not_taken" | "required" | "not_service" => Credential::CODES,
        "stale" => Basis::CODES,
        "token" => VerifyError::CODES,
        #[cfg(feature = "pki")]
        "peer" => m2m_pki::ChainError::CODES,
        #[cfg(feature = "secrets")]
        "api_key" => m2m_secrets::KeyRefusal::CODES,
        #[cfg(feature = "secrets")]
        "signature" => SIGNATURES,
        "revoked" => Kind::CODES,
        "panicked" => &["freshness", "certificate", "decision"],
        _ => &[NONE],
    }
}

/// Of both forms of signatures, each word once.
#[cfg(feature = "secrets")]
const SIGNATURES: &[&str] = &[
    "malformed",
    "outside_window",
    "fenced",
    "key",
    "wrong",
    "replay",
    "field",
    "none_wanted",
    "not_covered",
    "created_missing",
    "time",
    "expired",
    "nonce_missing",
    "key_id_missing",
    "signature_encoding",
    "base",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_pair_of_words_stands_once() {
        let all: Vec<_> = codes().collect();
        let each: BTreeSet<_> = all.iter().collect();
        assert_eq!(all.len(), each.len());
        // Few enough to be made beforehand, and to be kept by whoever stores metrics.
        assert!((30..200).contains(&all.len()), "{}", all.len());
        for (code, detail) in all {
            for word in [code, detail] {
                let is_plain =
                    |byte: u8| byte.is_ascii_lowercase() || b"_0123456789".contains(&byte);
                assert!(word.len() <= 32 && word.bytes().all(is_plain), "{word}");
            }
        }
    }

    #[cfg(feature = "secrets")]
    #[test]
    fn both_forms_of_signatures_have_their_words() {
        let request = m2m_secrets::RequestError::CODES.iter();
        let both: BTreeSet<_> = request
            .chain(m2m_secrets::HttpSignatureError::CODES)
            .collect();
        assert_eq!(both, SIGNATURES.iter().collect());
    }

    #[test]
    fn what_panics_is_a_check() {
        let listed: BTreeSet<_> = details("panicked").iter().copied().collect();
        let said = hook::ALL.map(|hook| RefusalReason::Panicked { hook }.detail());
        assert_eq!(listed, BTreeSet::from(said));
    }
}
