//! `Peer`: who is at the other end, as its certificate says and a verified chain proves.

use std::fmt;
use std::sync::Arc;

use m2m_crypto::CertificateThumbprint;
use m2m_types::{ClockError, ServiceId, Timestamp};
use rustls::{CertificateError as Alert, Error};

use super::judge::Known;
use crate::{Certificate, ChainError, RevocationError, UnknownRevocation, VerifiedPeer};

/// Who is at the other end of a connection: the proof that its chain was verified, and found good
/// again when this was made, with what is trusted and revoked by then. Only
/// [`LiveTls::peer`](super::LiveTls::peer) and [`Connector::peer`](super::Connector::peer) make one.
///
/// All it says comes from the certificate. What the peer said by SNI, by ALPN or in a request is
/// nobody's identity.
#[derive(Clone)]
#[must_use]
pub struct Peer {
    pub(super) known: Arc<Known>,
    pub(super) is_resumed: bool,
}

/// Why a peer, or a handshake with it, is refused: for operators. The peer gets an alert.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The handshake is not complete, so nobody is known yet.
    #[error("the handshake is not complete")]
    Handshaking,
    /// The peer showed no certificate.
    #[error("the peer showed no certificate")]
    NoCertificate,
    /// Its chain does not hold, or no longer, or is somebody else's.
    #[error("{0}")]
    Chain(ChainError),
    /// Nobody looked again since the time to which the peer was good.
    #[error("at {now} the peer has to be judged again")]
    Overdue {
        /// The time of the check.
        now: Timestamp,
    },
    /// What time it is is not known.
    #[error("the time is not known: {0}")]
    Clock(ClockError),
    /// The session began too long ago to be resumed.
    #[error("the key was shown at {shown}; a session is resumed until {until}")]
    SessionTooOld {
        /// When the peer last showed that it has the key.
        shown: Timestamp,
        /// Until when that counts.
        until: Timestamp,
    },
    /// As many connections are known as are allowed.
    #[error("{limit} connections are open")]
    TooManyConnections {
        /// How many are allowed.
        limit: usize,
    },
}

impl PeerError {
    m2m_types::codes! {
        pub fn code;
        Self::Handshaking => "handshaking",
        Self::NoCertificate => "no_certificate",
        Self::Chain(_) => "chain",
        Self::Overdue { .. } => "overdue",
        Self::Clock(_) => "clock",
        Self::SessionTooOld { .. } => "session_too_old",
        Self::TooManyConnections { .. } => "too_many_connections",
    }
}

impl Peer {
    /// Which machine it is; [`None`] for a server that is known by a DNS name or an address.
    pub fn service_id(&self) -> Option<&ServiceId> {
        self.known.service_id()
    }

    /// Its certificate.
    pub fn certificate(&self) -> &Certificate {
        self.known.leaf()
    }

    /// SHA-256 of its certificate: what a bound token says (RFC 8705 §3.1).
    pub fn thumbprint(&self) -> &CertificateThumbprint {
        self.certificate().thumbprint()
    }

    /// Whether the session is a resumed one. Its certificate was then not shown but remembered.
    pub fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// The proof about its chain: the path that was used, and its last valid second.
    pub fn verified(&self) -> &VerifiedPeer {
        self.known.verified()
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("service_id", &self.service_id())
            .field("certificate", self.certificate())
            .field("is_resumed", &self.is_resumed)
            .finish_non_exhaustive()
    }
}

impl From<ChainError> for PeerError {
    fn from(error: ChainError) -> Self {
        Self::Chain(error)
    }
}

impl From<ClockError> for PeerError {
    fn from(error: ClockError) -> Self {
        Self::Clock(error)
    }
}

impl PeerError {
    /// What rustls tells the peer by it (RFC 8446 §6.2): enough to renew what can be renewed, nothing
    /// of what is trusted here.
    pub(super) fn to_rustls(&self) -> Error {
        let alert = match self {
            Self::NoCertificate => return Error::NoCertificatesPresented,
            Self::Clock(_) => return Error::FailedToGetCurrentTime,
            Self::Chain(error) => alert(error),
            _ => Alert::ApplicationVerificationFailure,
        };
        Error::InvalidCertificate(alert)
    }
}

fn alert(error: &ChainError) -> Alert {
    match error {
        ChainError::Malformed { .. }
        | ChainError::Form
        | ChainError::TooManyCertificates { .. } => Alert::BadEncoding,
        ChainError::Validity {
            not_before, now, ..
        } if now < not_before => Alert::NotValidYet,
        ChainError::Validity { .. } => Alert::Expired,
        ChainError::Revocation { error, .. } => match error {
            RevocationError::Revoked(_) => Alert::Revoked,
            RevocationError::Unknown(UnknownRevocation::Stale { .. }) => {
                Alert::ExpiredRevocationList
            }
            RevocationError::Unknown(_) => Alert::UnknownRevocationStatus,
        },
        ChainError::NoBundle { .. }
        | ChainError::NoPath { .. }
        | ChainError::AuthorityGone { .. } => Alert::UnknownIssuer,
        ChainError::Signature => Alert::BadSignature,
        ChainError::Purpose { .. } | ChainError::KeyUsage { .. } => Alert::InvalidPurpose,
        ChainError::Unexpected { .. } | ChainError::NotService { .. } => Alert::NotValidForName,
        _ => Alert::ApplicationVerificationFailure,
    }
}
