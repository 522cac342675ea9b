//! Chains in: `ChainVerifier` decides whether a peer is who is expected, and can say why.
//!
//! ```text
//! certificates ── read, strictly ──▶ leaf and others ── rustls-webpki ──▶ a path to an authority
//!     ▲ bounded                          ▲ of the bundle of the leaf's trust domain │
//!                                                                                   ▼
//! VerifiedPeer ◀── every rule of ours holds ── or the next path is tried ◀──────── rules
//! ```

mod build;
mod cache;
mod error;
mod expected;
mod limits;
mod peer;
mod place;
mod presented;
mod report;
mod revocation;
mod rules;
mod signatures;

pub use cache::VerifiedIntermediates;
pub use error::ChainError;
pub use expected::{DnsNameError, ExpectedPeer};
pub use limits::ChainLimits;
pub use peer::VerifiedPeer;
pub use place::{PeerRole, Place};
pub use report::{ChainReport, Finding, Outcome};
pub use revocation::RevocationRule;
pub use rules::Rule;

use std::sync::Arc;

use m2m_types::{Timestamp, TrustDomain};
use rustls_pki_types::CertificateDer;

use build::{Built, build};
use expected::Kind;
use presented::Presented;
use rules::Question;
use signatures::Tally;

use crate::{Certificate, CrlSet, TrustBundle, TrustBundles};

/// Decides whether the chain that a peer presents makes it who is expected. A policy that does not
/// change: what changes (bundles, CRLs, the time) is an argument.
///
/// ```
/// use m2m_pki::{ChainVerifier, CrlSet, ExpectedPeer, PeerRole, RevocationRule, TrustBundles};
/// use m2m_types::Timestamp;
///
/// let expected = ExpectedPeer::member_of("example.org".parse()?);
/// let verifier = ChainVerifier::new(expected, RevocationRule::strict());
/// let (bundles, crls) = (TrustBundles::new(), CrlSet::new());
/// let refused = verifier.verify(&[], PeerRole::Client, &bundles, &crls, Timestamp::MIN);
/// assert!(refused.is_err());
/// # Ok::<(), m2m_types::ServiceIdError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ChainVerifier {
    expected: ExpectedPeer,
    revocation: RevocationRule,
    limits: ChainLimits,
    known: Option<Arc<VerifiedIntermediates>>,
}

impl ChainVerifier {
    /// Takes chains of `expected`, none of whose certificates is revoked by `revocation`.
    pub fn new(expected: ExpectedPeer, revocation: RevocationRule) -> Self {
        Self {
            expected,
            revocation,
            limits: ChainLimits::default(),
            known: None,
        }
    }

    /// Reads as much as `limits` allow.
    #[must_use]
    pub fn with_limits(self, limits: ChainLimits) -> Self {
        Self { limits, ..self }
    }

    /// Remembers in `known` which intermediates' signatures were good. Several verifiers may share it.
    #[must_use]
    pub fn with_known(self, known: Arc<VerifiedIntermediates>) -> Self {
        Self {
            known: Some(known),
            ..self
        }
    }

    /// Verifies `chain`, leaf first, the others in any order; a peer in `role` presented it.
    ///
    /// The leaf of a machine is held against the bundle of its own trust domain, that of an ordinary
    /// server against the one that was named with it; never against any other in `trust`.
    ///
    /// # Errors
    ///
    /// [`ChainError`]: the first rule that does not hold, on the first path that came to it. If no
    /// path was found at all, the fault of the one that was meant.
    pub fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        role: PeerRole,
        trust: &TrustBundles,
        crls: &CrlSet,
        now: Timestamp,
    ) -> Result<VerifiedPeer, ChainError> {
        let question = self.question(role, crls, now);
        self.examine(chain, trust, &question, None)
    }

    /// As [`ChainVerifier::verify`], with everything that was found out on the way. Goes on behind the
    /// first failure, so it is not for the handshake.
    pub fn explain(
        &self,
        chain: &[CertificateDer<'_>],
        role: PeerRole,
        trust: &TrustBundles,
        crls: &CrlSet,
        now: Timestamp,
    ) -> ChainReport {
        let question = self.question(role, crls, now);
        let mut report = ChainReport::new(Err(ChainError::NoCertificate));
        report.verdict = self.examine(chain, trust, &question, Some(&mut report));
        report.fill();
        report
    }

    fn question<'a>(&'a self, role: PeerRole, crls: &'a CrlSet, now: Timestamp) -> Question<'a> {
        Question {
            expected: &self.expected,
            revocation: self.revocation,
            limits: self.limits,
            role,
            crls,
            now,
        }
    }

    /// The one examination. With a `report`, it notes there what it finds; the verdict is the same.
    fn examine(
        &self,
        chain: &[CertificateDer<'_>],
        trust: &TrustBundles,
        question: &Question<'_>,
        mut report: Option<&mut ChainReport>,
    ) -> Result<VerifiedPeer, ChainError> {
        let presented = noted(&mut report, Rule::Form, Presented::read(chain, self.limits))?;
        if let Some(report) = &mut report {
            report.unreadable.clone_from(&presented.unreadable);
            report.path = vec![(Place::Leaf, presented.leaf.clone())];
        }
        let trust_domain = self.trust_domain(&presented.leaf);
        let trust_domain = match trust_domain {
            Ok(found) => found,
            failed => noted(&mut report, Rule::Identity, failed)?,
        };
        let bundle = trust
            .of(&trust_domain)
            .ok_or(ChainError::NoBundle { trust_domain });
        let bundle = noted(&mut report, Rule::Bundle, bundle)?;
        self.find(&presented, bundle, question, report)
    }

    fn find(
        &self,
        presented: &Presented,
        bundle: &TrustBundle,
        question: &Question<'_>,
        mut report: Option<&mut ChainReport>,
    ) -> Result<VerifiedPeer, ChainError> {
        let snapshot = self.known.as_ref().map(|known| known.snapshot());
        let tally = Tally::new(
            presented.leaf.tbs(),
            snapshot.as_deref(),
            self.limits.signatures,
        );
        let built = build(presented, bundle, question, &tally);
        if let Some(report) = &mut report {
            report.signatures_checked = tally.checked();
            report.signatures_spared = tally.spared();
            let (path, outcome) = match &built {
                Built::Accepted(path) | Built::Judged(path, _) => (path, Outcome::Held),
                Built::None(path, error) => (path, Outcome::Failed(error.clone())),
            };
            // The path builder enforces constraints, or refuses what it cannot enforce; it comes to
            // them with a path whose signatures are good.
            match outcome {
                Outcome::Held | Outcome::Failed(ChainError::NameConstraints) => {
                    report.note(Rule::Path, None, Outcome::Held);
                    report.note(Rule::NameConstraints, None, outcome);
                }
                _ => report.note(Rule::Path, None, outcome),
            }
            report.judge(path, question);
        }
        let path = match built {
            Built::Accepted(path) => path,
            Built::Judged(_, error) | Built::None(_, error) => return Err(error),
        };
        let peer = VerifiedPeer::new(&path, bundle.trust_domain(), question);
        if let (Some(known), Some(_)) = (&self.known, &peer) {
            known.remember(tally.into_fresh());
        }
        peer.ok_or(ChainError::Form)
    }

    /// Whose bundle must answer for `leaf`.
    fn trust_domain(&self, leaf: &Certificate) -> Result<TrustDomain, ChainError> {
        match &self.expected.kind {
            Kind::Name(_, trust_domain) | Kind::AnyName(trust_domain) => Ok(trust_domain.clone()),
            Kind::Services(_) | Kind::Members(_) | Kind::AnyService => {
                let service = leaf.service_id();
                let service = service.map_err(|error| ChainError::NotService { error })?;
                Ok(service.trust_domain())
            }
        }
    }
}

impl ExpectedPeer {
    /// Whether a machine is expected, so that the leaf must be an X.509-SVID.
    fn is_service(&self) -> bool {
        match self.kind {
            Kind::Services(_) | Kind::Members(_) | Kind::AnyService => true,
            Kind::Name(..) | Kind::AnyName(_) => false,
        }
    }
}

fn noted<T>(
    report: &mut Option<&mut ChainReport>,
    rule: Rule,
    result: Result<T, ChainError>,
) -> Result<T, ChainError> {
    if let Some(report) = report {
        let outcome = match &result {
            Ok(_) => Outcome::Held,
            Err(error) => Outcome::Failed(error.clone()),
        };
        report.note(rule, None, outcome);
    }
    result
}
