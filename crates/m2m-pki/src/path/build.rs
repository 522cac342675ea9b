//! Finds a path: rustls-webpki builds it and checks signatures, the rules judge each that it finds.

use std::cell::RefCell;
use std::time::Duration;

use rustls_pki_types::{
    CertificateDer, Der, SignatureVerificationAlgorithm, TrustAnchor, UnixTime,
};
use webpki::{EndEntityCert, Error, KeyUsage, VerifiedPath};

use super::error::ChainError;
use super::limits::ChainLimits;
use super::place::{PeerRole, Place};
use super::presented::Presented;
use super::rules::{Path, Question, first_failure};
use super::signatures::Tally;
use crate::{Certificate, TrustBundle, strict};

/// How looking for a path ended.
pub(super) enum Built<'a> {
    /// With one that everything holds for.
    Accepted(Path<'a>),
    /// With one that the path builder has no objection to, and a rule that does not hold.
    Judged(Path<'a>, ChainError),
    /// Without one. The path is the one that was meant, as far as it goes.
    None(Path<'a>, ChainError),
}

pub(super) fn build<'a>(
    presented: &'a Presented,
    bundle: &'a TrustBundle,
    question: &Question<'_>,
    tally: &Tally<'_>,
) -> Built<'a> {
    let others = presented.related(bundle);
    let anchors: Vec<TrustAnchor<'_>> = bundle.authorities().iter().map(anchor).collect();
    let judged: RefCell<Option<(Path<'a>, Option<ChainError>)>> = RefCell::new(None);
    let judge = |found: &VerifiedPath<'_>| -> Result<(), Error> {
        let path = read_path(found, (presented, &others), (bundle, &anchors));
        let failure = first_failure(&path, question);
        let mut judged = judged.borrow_mut();
        match failure {
            None => {
                *judged = Some((path, None));
                Ok(())
            }
            // Another path may do. The first is the one to tell about.
            Some(error) => {
                judged.get_or_insert((path, Some(error)));
                Err(Error::UnknownIssuer)
            }
        }
    };
    let outcome = look(
        (presented.leaf.der(), &others, &anchors),
        question,
        tally,
        &judge,
    );
    match (outcome, judged.into_inner()) {
        (Ok(()), Some((path, None))) => Built::Accepted(path),
        (_, Some((path, Some(error)))) => Built::Judged(path, error),
        (outcome, _) => {
            let error = outcome.err().unwrap_or(Error::UnknownIssuer);
            none(presented, bundle, question, (&error, tally))
        }
    }
}

fn look(
    (leaf, others, anchors): (&CertificateDer<'_>, &[&Certificate], &[TrustAnchor<'_>]),
    question: &Question<'_>,
    tally: &Tally<'_>,
    judge: &dyn Fn(&VerifiedPath<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let intermediates: Vec<CertificateDer<'_>> = others
        .iter()
        .map(|other| CertificateDer::from(other.der().as_ref()))
        .collect();
    let algorithms = tally.algorithms();
    let algorithms = algorithms
        .each_ref()
        .map(|one| one as &dyn SignatureVerificationAlgorithm);
    let usage = match question.role {
        PeerRole::Client => KeyUsage::client_auth(),
        PeerRole::Server => KeyUsage::server_auth(),
    };
    let now = UnixTime::since_unix_epoch(Duration::from_secs(question.now.unix_seconds()));
    EndEntityCert::try_from(leaf)?
        .verify_for_usage(
            &algorithms,
            anchors,
            &intermediates,
            now,
            usage,
            None,
            Some(judge),
        )
        .map(drop)
}

/// What the path builder needs of an authority: contents of SEQUENCEs, without their headers.
fn anchor(authority: &Certificate) -> TrustAnchor<'_> {
    let content = |element| strict::split(element).map_or(&[][..], |split| split.content);
    TrustAnchor {
        subject: Der::from_slice(content(authority.subject_der())),
        subject_public_key_info: Der::from_slice(content(authority.spki_der())),
        name_constraints: authority
            .name_constraints()
            .map(|constraints| Der::from_slice(content(constraints))),
    }
}

/// The certificates of the path that was found, as we read them.
fn read_path<'a>(
    found: &VerifiedPath<'_>,
    (presented, others): (&'a Presented, &[&'a Certificate]),
    (bundle, anchors): (&'a TrustBundle, &[TrustAnchor<'_>]),
) -> Path<'a> {
    let intermediates = found.intermediate_certificates().filter_map(|one| {
        let der = one.der();
        others.iter().copied().find(|other| *other.der() == der)
    });
    let anchor = anchors
        .iter()
        .position(|anchor| std::ptr::eq(anchor, found.anchor()));
    Path {
        presented: std::iter::once(&presented.leaf)
            .chain(intermediates)
            .collect(),
        authority: anchor.and_then(|place| bundle.authorities().get(place)),
    }
}

/// Says why there is no path: what the rules say of the one that was meant, or else the path builder.
fn none<'a>(
    presented: &'a Presented,
    bundle: &'a TrustBundle,
    question: &Question<'_>,
    (error, tally): (&Error, &Tally<'_>),
) -> Built<'a> {
    let (certificates, authority) = presented.by_name(bundle);
    let path = Path {
        presented: certificates,
        authority,
    };
    let last = path.certificates().last();
    let no_path = ChainError::NoPath {
        place: last.map_or(Place::Leaf, |(place, _)| place),
        trust_domain: bundle.trust_domain().clone(),
    };
    let error = match error {
        _ if tally.is_exhausted() => ChainError::Budget {
            limit: tally.limit(),
        },
        Error::MaximumSignatureChecksExceeded | Error::MaximumPathBuildCallsExceeded => {
            ChainError::Budget {
                limit: ChainLimits::MAX_SIGNATURES,
            }
        }
        Error::MaximumPathDepthExceeded => ChainError::TooDeep {
            limit: ChainLimits::MAX_INTERMEDIATES,
        },
        Error::UnknownIssuer if path.authority.is_none() => no_path,
        Error::InvalidSignatureForPublicKey => ChainError::Signature,
        error => first_failure(&path, question).unwrap_or_else(|| match error {
            Error::UnknownIssuer => no_path,
            error => builders(error),
        }),
    };
    Built::None(path, error)
}

/// The path builder's own word, where no rule of ours says more.
fn builders(error: &Error) -> ChainError {
    match error {
        Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)
        | Error::SignatureAlgorithmMismatch => ChainError::Algorithm,
        Error::NameConstraintViolation
        | Error::MalformedNameConstraint
        | Error::InvalidNetworkMaskConstraint
        | Error::MaximumNameConstraintComparisonsExceeded => ChainError::NameConstraints,
        _ => ChainError::Form,
    }
}
