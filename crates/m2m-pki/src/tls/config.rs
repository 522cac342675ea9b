//! Configurations of rustls, and what they are made by.

use std::sync::Arc;

use m2m_types::Timestamp;
use rustls::DistinguishedName;
use rustls::client::{ClientConfig, Resumption};
use rustls::server::ServerConfig;
use rustls::version::TLS13;

use super::client_sessions::ClientSessions;
use super::identity::IdentityError;
use super::judge::Judge;
use super::live::UpdateError;
use super::material::Material;
use super::sessions::Sessions;
use super::shared::Shared;
use super::time::ClockTime;
use super::verifiers::{Clients, Own, Servers};
use crate::{
    ChainLimits, ChainVerifier, ExpectedPeer, PeerRole, RevocationRule, VerifiedIntermediates,
};

/// What does not change while a `LiveTls` lives.
pub(super) struct Settings {
    pub(super) revocation: RevocationRule,
    pub(super) limits: ChainLimits,
    pub(super) intermediates: Option<Arc<VerifiedIntermediates>>,
    /// Whom a server takes.
    pub(super) clients: ExpectedPeer,
    pub(super) roles: Vec<PeerRole>,
    pub(super) alpn_protocols: Vec<Vec<u8>>,
    /// The most sessions that are kept for clients to resume.
    pub(super) sessions: usize,
    /// The most peers that are remembered.
    pub(super) peers: usize,
}

/// With more names than these none is told: a client then shows what it has (RFC 8446 §4.2.4). Each
/// is a hundred bytes in every handshake.
const MAX_HINTS: usize = 16;

impl Settings {
    pub(super) fn verifier(&self, expected: ExpectedPeer) -> ChainVerifier {
        let verifier = ChainVerifier::new(expected, self.revocation).with_limits(self.limits);
        match &self.intermediates {
            Some(known) => verifier.with_known(Arc::clone(known)),
            None => verifier,
        }
    }

    pub(super) fn judge_of_clients(&self) -> Judge {
        let verifier = self.verifier(self.clients.clone());
        Judge::new(verifier, PeerRole::Client, self.peers)
    }

    pub(super) fn judge_of_servers(&self, expected: ExpectedPeer) -> Judge {
        Judge::new(self.verifier(expected), PeerRole::Server, self.peers)
    }

    /// Whether others would take our own identity, by what we trust.
    pub(super) fn check(&self, material: &Material, now: Timestamp) -> Result<(), IdentityError> {
        let identity = material.identity();
        let verifier = self.verifier(ExpectedPeer::service(identity.service_id().clone()));
        let chain = &identity.certified_key().cert;
        let (bundles, crls) = (material.bundles(), material.crls());
        for role in &self.roles {
            let verdict = verifier.verify(chain, *role, bundles, crls, now);
            let refused = |error| IdentityError::Chain { role: *role, error };
            let _ = verdict.map_err(refused)?;
        }
        Ok(())
    }

    pub(super) fn server_config(
        &self,
        shared: &Arc<Shared>,
        judge: &Arc<Judge>,
        material: &Material,
        epoch: u64,
    ) -> Result<Arc<ServerConfig>, UpdateError> {
        let verifier = Arc::new(Clients {
            shared: Arc::clone(shared),
            judge: Arc::clone(judge),
            hints: hints(material),
        });
        let builder = ServerConfig::builder_with_details(
            Arc::clone(&shared.provider),
            Arc::new(ClockTime(Arc::clone(&shared.clock))),
        );
        let mut config = builder
            .with_protocol_versions(&[&TLS13])
            .map_err(|_| UpdateError::Provider)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(Own(Arc::clone(shared))));
        let sessions = Sessions::new(Arc::clone(shared), Arc::clone(judge), epoch, self.sessions);
        config.session_storage = Arc::new(sessions);
        // One for each connection: a client that keeps n connections keeps n.
        config.send_tls13_tickets = 1;
        // What rustls has by default, and what must stay so: data that can be replayed is nobody's.
        config.max_early_data_size = 0;
        // Before the client is known it is sent nothing.
        config.send_half_rtt_data = false;
        config.alpn_protocols.clone_from(&self.alpn_protocols);
        Ok(Arc::new(config))
    }

    pub(super) fn client_config(
        &self,
        shared: &Arc<Shared>,
        judge: &Arc<Judge>,
        sessions: &Arc<ClientSessions>,
    ) -> Result<Arc<ClientConfig>, UpdateError> {
        let verifier = Arc::new(Servers {
            shared: Arc::clone(shared),
            judge: Arc::clone(judge),
            sessions: Arc::clone(sessions),
        });
        let builder = ClientConfig::builder_with_details(
            Arc::clone(&shared.provider),
            Arc::new(ClockTime(Arc::clone(&shared.clock))),
        );
        let mut config = builder
            .with_protocol_versions(&[&TLS13])
            .map_err(|_| UpdateError::Provider)?
            // Dangerous is what rustls calls a verifier that is not its own.
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(Arc::new(Own(Arc::clone(shared))));
        config.resumption = Resumption::store(Arc::<ClientSessions>::clone(sessions));
        config.enable_early_data = false;
        config.alpn_protocols.clone_from(&self.alpn_protocols);
        Ok(Arc::new(config))
    }
}

fn hints(material: &Material) -> Box<[DistinguishedName]> {
    let authorities = material.bundles().iter();
    let authorities = authorities.flat_map(|bundle| bundle.authorities());
    let names = authorities.map(|authority| authority.subject_der().to_vec().into());
    let mut names: Vec<DistinguishedName> = names.take(MAX_HINTS + 1).collect();
    if names.len() > MAX_HINTS {
        names.clear();
    }
    names.into()
}
