//! The rules that every certificate of a path is held to, besides those of the path builder.

use std::fmt;
use std::ops::ControlFlow;

use m2m_types::Timestamp;
use rustls_pki_types::ServerName;

use super::error::ChainError;
use super::expected::{ExpectedPeer, Kind};
use super::limits::ChainLimits;
use super::place::{PeerRole, Place};
use super::revocation::RevocationRule;
use crate::{Certificate, CrlSet, KeyUsage};

/// One of the rules that a chain is held to, in the order in which they are asked.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// There is a leaf, in strict DER, and not too much else.
    Form,
    /// There is a bundle of the trust domain that must answer for the leaf.
    Bundle,
    /// A path leads from the leaf to an authority of that bundle, each signed by the next.
    Path,
    /// Who issued a certificate is a CA; the leaf is none.
    Authority,
    /// Keys are used for what they are for.
    KeyUsage,
    /// No more intermediates stand below a CA than it may have.
    PathLength,
    /// Now is within the life of each certificate.
    Validity,
    /// Each certificate is good for the peer's role.
    Purpose,
    /// No extension stands where it must not, or is not critical where it must be.
    Extensions,
    /// CAs have key identifiers, and what they issue has the same ones.
    KeyIdentifiers,
    /// Names are within what the CAs above may issue for.
    NameConstraints,
    /// Keys are of a kind that is taken, and strong.
    Key,
    /// The leaf names one machine, of the bundle's trust domain.
    Identity,
    /// No certificate is revoked.
    Revocation,
    /// The leaf is for who is expected.
    Expected,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Form,
        Self::Bundle,
        Self::Path,
        Self::Authority,
        Self::KeyUsage,
        Self::PathLength,
        Self::Validity,
        Self::Purpose,
        Self::Extensions,
        Self::KeyIdentifiers,
        Self::NameConstraints,
        Self::Key,
        Self::Identity,
        Self::Revocation,
        Self::Expected,
    ];
}

/// What is asked about a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) expected: &'a ExpectedPeer,
    pub(super) revocation: RevocationRule,
    pub(super) limits: ChainLimits,
    pub(super) role: PeerRole,
    pub(super) crls: &'a CrlSet,
    pub(super) now: Timestamp,
}

/// A path, leaf first. Its last certificate is the authority, if one was found.
#[derive(Clone, Debug)]
pub(super) struct Path<'a> {
    pub(super) presented: Vec<&'a Certificate>,
    pub(super) authority: Option<&'a Certificate>,
}

type Check = fn(&Path<'_>, (Place, &Certificate), &Question<'_>) -> Option<Result<(), ChainError>>;

/// Each rule for each certificate: `None` where it has nothing to ask.
const CHECKS: &[(Rule, Check)] = &[
    (Rule::Authority, authority),
    (Rule::KeyUsage, key_usage),
    (Rule::PathLength, path_length),
    (Rule::Validity, validity),
    (Rule::Purpose, purpose),
    (Rule::Extensions, extensions),
    (Rule::KeyIdentifiers, key_identifiers),
    (Rule::Key, key),
    (Rule::Identity, identity),
    (Rule::Revocation, revocation),
    (Rule::Expected, expected),
];

/// Asks every rule about every certificate of `path`, and tells `note` the answers until it breaks.
pub(super) fn judge(
    path: &Path<'_>,
    question: &Question<'_>,
    mut note: impl FnMut(Rule, Place, Result<(), ChainError>) -> ControlFlow<()>,
) {
    for (rule, check) in CHECKS {
        for (place, certificate) in path.certificates() {
            if let Some(answer) = check(path, (place, certificate), question)
                && note(*rule, place, answer).is_break()
            {
                return;
            }
        }
    }
}

/// The first rule that does not hold.
pub(super) fn first_failure(path: &Path<'_>, question: &Question<'_>) -> Option<ChainError> {
    let mut failure = None;
    judge(path, question, |_, _, answer| match answer {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            failure = Some(error);
            ControlFlow::Break(())
        }
    });
    failure
}

impl<'a> Path<'a> {
    /// Leaf first, authority last.
    pub(super) fn certificates(&self) -> impl Iterator<Item = (Place, &'a Certificate)> {
        let presented = self.presented.iter().copied().enumerate();
        let presented = presented.map(|(number, certificate)| match number {
            0 => (Place::Leaf, certificate),
            number => (Place::Intermediate(number), certificate),
        });
        presented.chain(self.authority.map(|one| (Place::Authority, one)))
    }

    /// Who issued the certificate at `place`.
    fn issuer_of(&self, place: Place) -> Option<&'a Certificate> {
        let next = match place {
            Place::Leaf => 1,
            Place::Intermediate(number) => number + 1,
            Place::Authority => return None,
        };
        self.presented.get(next).copied().or(self.authority)
    }
}

fn authority(
    _: &Path<'_>,
    (place, certificate): (Place, &Certificate),
    _: &Question<'_>,
) -> Option<Result<(), ChainError>> {
    Some(match (place, certificate.is_ca()) {
        (Place::Leaf, true) => Err(ChainError::LeafIsAuthority),
        (Place::Leaf, false) => Ok(()),
        (_, true) if certificate.has_subject() => Ok(()),
        (_, true) => Err(ChainError::Nameless { place }),
        (_, false) => Err(ChainError::NotAuthority { place }),
    })
}

/// RFC 5280 §4.2.1.3 for CAs; RFC 8446 §4.4.2.2 for leaves, whose keys sign the handshake.
fn key_usage(
    _: &Path<'_>,
    (place, certificate): (Place, &Certificate),
    _: &Question<'_>,
) -> Option<Result<(), ChainError>> {
    let fits = certificate.key_usage().is_none_or(|usage| match place {
        Place::Leaf => usage.digital_signature() && !usage.key_cert_sign(),
        Place::Intermediate(_) | Place::Authority => usage.key_cert_sign(),
    });
    // RFC 9881 §5.
    let enciphers = certificate.key_usage().is_some_and(KeyUsage::enciphers);
    let fits = fits && !(enciphers && certificate.has_ml_dsa_key());
    Some(match fits {
        true => Ok(()),
        false => Err(ChainError::KeyUsage { place }),
    })
}

/// Certificates that a CA issued to itself do not count (RFC 5280 §4.2.1.9).
fn path_length(
    path: &Path<'_>,
    (place, certificate): (Place, &Certificate),
    question: &Question<'_>,
) -> Option<Result<(), ChainError>> {
    let below = path
        .certificates()
        .skip(1)
        .take_while(|(other, _)| *other != place);
    let found = below
        .filter(|(_, other)| other.subject_der() != other.issuer_der())
        .count();
    let deepest = question.limits.intermediates;
    if place == Place::Authority && found > deepest {
        return Some(Err(ChainError::TooDeep { limit: deepest }));
    }
    let limit = certificate.path_len()?;
    Some(match usize::try_from(limit) {
        Ok(most) if found > most => Err(ChainError::PathLength {
            place,
            limit,
            found,
        }),
        _ => Ok(()),
    })
}

fn validity(
    _: &Path<'_>,
    (place, certificate): (Place, &Certificate),
    question: &Question<'_>,
) -> Option<Result<(), ChainError>> {
    Some(is_valid(place, certificate, question.now))
}

pub(super) fn is_valid(
    place: Place,
    certificate: &Certificate,
    now: Timestamp,
) -> Result<(), ChainError> {
    match certificate.is_valid_at(now) {
        true => Ok(()),
        false => Err(ChainError::Validity {
            place,
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
            now,
        }),
    }
}

/// Without the extension a certificate is good for everything; `anyExtendedKeyUsage` stands for
/// nothing, and a leaf that has it, or is for signing code and the like, is refused. The authority is
/// trusted, not its purposes.
fn purpose(
    _: &Path<'_>,
    (place, certificate): (Place, &Certificate),
    question: &Question<'_>,
) -> Option<Result<(), ChainError>> {
    if place == Place::Authority {
        return None;
    }
    let role = question.role;
    let usage = certificate.extended_key_usage();
    let covers = usage.is_none_or(|usage| match role {
        PeerRole::Client => usage.client_auth(),
        PeerRole::Server => usage.server_auth(),
    });
    let goes_too_far = usage.is_some_and(|usage| usage.any() || usage.foreign());
    Some(match covers {
        true if place == Place::Leaf && goes_too_far => Err(ChainError::ForeignPurpose { place }),
        true => Ok(()),
        false => Err(ChainError::Purpose { place, role }),
    })
}

/// Only CAs constrain names (RFC 5280 §4.2.1.10), and only leaves go without revocation
/// (RFC 9608 §2).
fn extensions(
    _: &Path<'_>,
    (place, certificate): (Place, &Certificate),
    _: &Question<'_>,
) -> Option<Result<(), ChainError>> {
    let misplaced = match place {
        Place::Leaf => certificate.has_name_constraints().then_some("2.5.29.30"),
        Place::Intermediate(_) | Place::Authority => {
            certificate.has_no_rev_avail().then_some("2.5.29.56")
        }
    };
    // Names beside the subject are then the only ones (RFC 5280 §4.2.1.6).
    let has_name = certificate.has_subject() || certificate.has_critical_names();
    let is_critical = match place {
        Place::Leaf => has_name.then_some(()).ok_or("2.5.29.17"),
        // RFC 5280 §4.2.1.9.
        Place::Intermediate(_) | Place::Authority => {
            let critical = certificate.has_critical_constraints();
            critical.then_some(()).ok_or("2.5.29.19")
        }
    };
    Some(match misplaced {
        Some(oid) => Err(ChainError::Misplaced { place, oid }),
        None => is_critical.map_err(|oid| ChainError::NotCritical { place, oid }),
    })
}

/// RFC 5280 §4.2.1.2 makes CAs have one, and §4.2.1.1 makes what they issue say it. An authority is
/// trusted by itself, whoever issued its certificate.
fn key_identifiers(
    path: &Path<'_>,
    (place, certificate): (Place, &Certificate),
    _: &Question<'_>,
) -> Option<Result<(), ChainError>> {
    let own = certificate.subject_key_id();
    let issuer = match place {
        Place::Authority if certificate.subject_der() == certificate.issuer_der() => own,
        Place::Authority => None,
        Place::Leaf | Place::Intermediate(_) => path
            .issuer_of(place)
            .and_then(|issuer| issuer.subject_key_id()),
    };
    let differs = match (certificate.authority_key_id(), issuer) {
        (Some(named), Some(issuer)) => named != issuer,
        (Some(_), None) => false,
        (None, _) => place != Place::Authority,
    };
    Some(match differs || place != Place::Leaf && own.is_none() {
        true => Err(ChainError::KeyIdentifier { place }),
        false => Ok(()),
    })
}

/// By its form alone: whether it is a point of its curve is found out when the handshake uses it, and
/// would cost here as much as a signature. Keys of issuers are held to the algorithms they sign with.
fn key(
    _: &Path<'_>,
    (place, certificate): (Place, &Certificate),
    _: &Question<'_>,
) -> Option<Result<(), ChainError>> {
    let bits = certificate.rsa_bits();
    Some(match bits {
        Some(bits) if bits % 8 != 0 || !(2048..=8192).contains(&bits) => {
            Err(ChainError::KeyLength { place, bits })
        }
        None if place == Place::Leaf && !certificate.has_known_key() => {
            Err(ChainError::Key { place })
        }
        _ => Ok(()),
    })
}

fn identity(
    _: &Path<'_>,
    (place, certificate): (Place, &Certificate),
    question: &Question<'_>,
) -> Option<Result<(), ChainError>> {
    if place != Place::Leaf {
        return None;
    }
    if certificate.has_other_spelling() {
        return Some(Err(ChainError::CommonName { place }));
    }
    question.expected.is_service().then(|| {
        let service = certificate.service_id();
        service
            .map(drop)
            .map_err(|error| ChainError::NotService { error })
    })
}

fn revocation(
    path: &Path<'_>,
    (place, certificate): (Place, &Certificate),
    question: &Question<'_>,
) -> Option<Result<(), ChainError>> {
    let issuer = path.issuer_of(place)?.issuer_id();
    let subject = (place, certificate, issuer);
    let until = question
        .revocation
        .check(subject, question.crls, question.now);
    Some(until.map(|_| ()))
}

fn expected(
    _: &Path<'_>,
    (place, certificate): (Place, &Certificate),
    question: &Question<'_>,
) -> Option<Result<(), ChainError>> {
    if place != Place::Leaf {
        return None;
    }
    let found = certificate.service_id().ok();
    let is_expected = match &question.expected.kind {
        Kind::Services(services) => found.as_ref().is_some_and(|one| services.contains(one)),
        Kind::Members(domain) => found.as_ref().is_some_and(|one| one.is_member_of(domain)),
        Kind::AnyService => found.is_some(),
        Kind::Name(name, _) => is_for_name(certificate, name),
        Kind::AnyName(_) => true,
    };
    Some(match is_expected {
        true => Ok(()),
        false => Err(ChainError::Unexpected { found }),
    })
}

fn is_for_name(certificate: &Certificate, name: &ServerName<'_>) -> bool {
    webpki::EndEntityCert::try_from(certificate.der())
        .is_ok_and(|leaf| leaf.verify_is_valid_for_subject_name(name).is_ok())
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Form => "form",
            Self::Bundle => "bundle",
            Self::Path => "path",
            Self::Authority => "authority",
            Self::KeyUsage => "key usage",
            Self::PathLength => "path length",
            Self::Validity => "validity",
            Self::Purpose => "purpose",
            Self::Extensions => "extensions",
            Self::KeyIdentifiers => "key identifiers",
            Self::NameConstraints => "name constraints",
            Self::Key => "key",
            Self::Identity => "identity",
            Self::Revocation => "revocation",
            Self::Expected => "expected",
        })
    }
}
