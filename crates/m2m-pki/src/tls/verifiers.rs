//! What rustls asks: whether a peer's chain holds, whether it has the key, and what we show it.

use std::fmt;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::verify_tls13_signature;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::client_sessions::ClientSessions;
use super::judge::Judge;
use super::shared::Shared;
use super::time::timestamp;
use crate::PeerRole;

/// Asks whether a client's chain holds. What it goes by is always the newest, also in a configuration
/// that somebody kept.
pub(super) struct Clients {
    pub(super) shared: Arc<Shared>,
    pub(super) judge: Arc<Judge>,
    pub(super) hints: Box<[DistinguishedName]>,
}

/// The same for the servers of one connector.
pub(super) struct Servers {
    pub(super) shared: Arc<Shared>,
    pub(super) judge: Arc<Judge>,
    pub(super) sessions: Arc<ClientSessions>,
}

/// Shows the newest identity, certificate and key of one moment.
pub(super) struct Own(pub(super) Arc<Shared>);

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let now = timestamp(now);
        match self.shared.verify(&self.judge, leaf, others, now) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(error) => Err(self.shared.refused(PeerRole::Client, &error)),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = self.shared.algorithms();
        let proof = verify_tls13_signature(message, leaf, signature, algorithms)?;
        self.shared.shown(&self.judge, leaf);
        Ok(proof)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.shared.algorithms().supported_schemes()
    }
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        // Where we called, which is nobody's identity; whom we expect was said before.
        _: &ServerName<'_>,
        // Stapled OCSP is not looked at: revocation is by CRLs.
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let now = timestamp(now);
        match self.shared.verify(&self.judge, leaf, others, now) {
            Ok(_) => Ok(ServerCertVerified::assertion()),
            Err(error) => Err(self.shared.refused(PeerRole::Server, &error)),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = self.shared.algorithms();
        let proof = verify_tls13_signature(message, leaf, signature, algorithms)?;
        match self.shared.shown(&self.judge, leaf) {
            Some(known) => self.sessions.shown(known),
            // Forgotten already among so many others: whose the sessions are is not known then.
            None => self.sessions.end(),
        }
        Ok(proof)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.shared.algorithms().supported_schemes()
    }
}

impl ResolvesServerCert for Own {
    /// Whatever the client's hello asks for: there is one identity, and no name a stranger says
    /// changes it.
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.certified_key())
    }
}

impl ResolvesClientCert for Own {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.certified_key())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Not reached: TLS 1.2 is not enabled.
fn only_tls13() -> Error {
    Error::PeerIncompatible(PeerIncompatible::Tls13RequiredForQuic)
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clients")
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Servers")
    }
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Own")
    }
}
