//! Reads a certificate: the shape first, then each part.

use std::net::IpAddr;

use m2m_types::Timestamp;
use x509_parser::asn1_rs::{Oid, oid};
use x509_parser::extensions::{
    CRLDistributionPoints, DistributionPointName, GeneralName, ParsedExtension, X509Extension,
};
use x509_parser::prelude::FromDer;
use x509_parser::x509::AlgorithmIdentifier;

use super::{Certificate, CertificateError, ExtendedKeyUsage, Extensions, Facts, KeyUsage};
use crate::der::{Reader, time};
use crate::key::Scheme;
use crate::strict::Part;
use crate::{Serial, strict};

pub(crate) const NO_REV_AVAIL: Oid<'static> = oid!(2.5.29.56);
/// Signing precertificates (RFC 6962 §3.1).
const PRECERTIFICATES: Oid<'static> = oid!(1.3.6.1.4.1.11129.2.4.4);
const CERTIFICATE_TRANSPARENCY: Oid<'static> = oid!(1.3.6.1.4.1.11129.2.4.2);

pub(super) fn read(der: &[u8]) -> Result<Facts, CertificateError> {
    check_length(der, Certificate::MAX_BYTES)?;
    if !strict::is_one_element(der) {
        return Err(CertificateError::NotDer { length: der.len() });
    }
    check_form(der).ok_or(CertificateError::NotCertificate)??;
    let facts = facts(der).ok_or(CertificateError::NotCertificate)??;
    if !facts.extensions.is_ca {
        check_length(der, Certificate::MAX_LEAF_BYTES)?;
    }
    Ok(facts)
}

/// What a certificate says whose form is known: the elements of `tbs` are those that [`check_form`] found.
fn facts(der: &[u8]) -> Option<Result<Facts, CertificateError>> {
    let [tbs, algorithm, signature] = strict::fields(der, 0x30)?;
    let version = strict::split(strict::split(tbs)?.content)?;
    let serial = strict::split(version.rest)?;
    let inner = strict::split(serial.rest)?;
    let issuer = strict::split(inner.rest)?;
    let validity = strict::split(issuer.rest)?;
    let subject = strict::split(validity.rest)?;
    let spki = strict::split(subject.rest)?;
    let [2, 1, number] = *version.content else {
        return None;
    };
    if number != 2 {
        let found = u64::from(number) + 1;
        return Some(Err(CertificateError::Version { found }));
    }
    let [key_algorithm, key] = strict::fields(spki.whole, 0x30)?;
    let is_key = key_algorithm.first() == Some(&0x30) && key.first() == Some(&3);
    if !is_key || !is_name(issuer.content) || !is_name(subject.content) {
        return None;
    }
    let (&0, signature) = strict::split(signature)?.content.split_first()? else {
        return None;
    };
    let has_known_form = strict::is_algorithm(algorithm);
    let (_, algorithm) = AlgorithmIdentifier::from_der(algorithm).ok()?;
    let (not_before, not_after) = validity_of(validity.whole)?;
    if not_before > not_after {
        let seconds = |time: Timestamp| i64::try_from(time.unix_seconds()).unwrap_or(i64::MAX);
        return Some(Err(CertificateError::Validity {
            not_before: seconds(not_before),
            not_after: seconds(not_after),
        }));
    }
    let Some(number) = Serial::from_der_content(serial.content) else {
        let length = serial.content.len();
        return Some(Err(CertificateError::Serial { length }));
    };
    let extensions = match extensions(spki.rest)? {
        Ok(extensions) => extensions,
        Err(error) => return Some(Err(error)),
    };
    let part = |part| Part::of(der, part);
    Some(Ok(Facts {
        serial: number,
        issuer: part(issuer.whole)?,
        subject: part(subject.whole)?,
        spki: part(spki.whole)?,
        not_before,
        not_after,
        tbs: part(tbs)?,
        scheme: Scheme::of(&algorithm).filter(|_| has_known_form),
        signature: part(signature)?,
        extensions,
    }))
}

/// The extensions among what stands behind the key; none if there are none.
fn extensions(mut rest: &[u8]) -> Option<Result<Extensions, CertificateError>> {
    let mut found = Vec::new();
    while let Some(next) = strict::split(rest) {
        if next.tag == 0xa3 {
            let mut list = strict::split(next.content)?.content;
            while let Some(one) = strict::split(list) {
                found.push(X509Extension::from_der(one.whole).ok()?.1);
                list = one.rest;
            }
        }
        rest = next.rest;
    }
    Some(Extensions::read(&found))
}

/// Whether `content` is that of a name: sets of types and values (RFC 5280 §4.1.2.4).
fn is_name(mut content: &[u8]) -> bool {
    while let Some(relative) = strict::split(content) {
        let mut attributes = relative.content;
        if relative.tag != 0x31 || attributes.is_empty() {
            return false;
        }
        while let Some(attribute) = strict::split(attributes) {
            let parts: Option<[_; 2]> = strict::fields(attribute.whole, 0x30);
            if parts.is_none_or(|[name, _]| name.first() != Some(&6)) {
                return false;
            }
            attributes = attribute.rest;
        }
        content = relative.rest;
    }
    true
}

/// Either form of time, whatever the year: some issuers write the long one always.
fn validity_of(element: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let [from, to] = strict::fields(element, 0x30)?;
    let read = |element| time::read_either(&mut Reader::new(element)).ok();
    Some((read(from)?, read(to)?))
}

/// Which elements there are, and that the algorithm stands there twice in the same bytes. The parser
/// passes over some tags, and over what it does not expect at the end.
fn check_form(der: &[u8]) -> Option<Result<(), CertificateError>> {
    let [tbs, outer, signature] = strict::fields(der, 0x30)?;
    // Read leniently below, and compared with names we know.
    if strict::tags(outer).next() != Some(6) || outer.first() != Some(&0x30) {
        return None;
    }
    let mut room = [0; 12];
    let tags = strict::tags_in(tbs, &mut room)?;
    // Version, serial, algorithm, issuer, validity, subject and key.
    let mut optional = match tags.strip_prefix(&[0xa0, 2, 0x30, 0x30, 0x30, 0x30, 0x30]) {
        Some(optional) => optional,
        // Without a version it is version 1, and has no extensions.
        None if tags == [2, 0x30, 0x30, 0x30, 0x30, 0x30] => {
            return Some(Err(CertificateError::Version { found: 1 }));
        }
        None => return None,
    };
    // The unique identifiers of version 2, then extensions.
    for tag in [0x81, 0x82, 0xa3] {
        optional = optional.strip_prefix(&[tag]).unwrap_or(optional);
    }
    let version = strict::split(tbs)?;
    let serial = strict::split(strict::split(version.content)?.rest)?;
    let inner = strict::split(serial.rest)?.whole;
    if tags.last() == Some(&0xa3) && !are_extensions(tbs) {
        return None;
    }
    if !optional.is_empty() || signature.first() != Some(&3) {
        return None;
    }
    Some(match inner == outer {
        true => Ok(()),
        false => Err(CertificateError::AlgorithmsDiffer),
    })
}

/// Whether the last element of `tbs` holds one sequence of extensions and nothing else.
fn are_extensions(tbs: &[u8]) -> bool {
    let mut rest = strict::split(tbs)
        .map(|tbs| tbs.content)
        .unwrap_or_default();
    let mut last = rest;
    while let Some(next) = strict::split(rest) {
        (last, rest) = (next.whole, next.rest);
    }
    let Some([extensions]) = strict::fields(last, 0xa3) else {
        return false;
    };
    let mut rest = strict::split(extensions)
        .map(|all| all.content)
        .unwrap_or_default();
    while let Some(next) = strict::split(rest) {
        if !strict::is_extension(next.whole) {
            return false;
        }
        rest = next.rest;
    }
    extensions.first() == Some(&0x30)
}

fn check_length(der: &[u8], limit: usize) -> Result<(), CertificateError> {
    match der.len() > limit {
        true => Err(CertificateError::TooLong {
            found: der.len(),
            limit,
        }),
        false => Ok(()),
    }
}

pub(crate) fn shorten(oid: &Oid<'_>) -> Box<str> {
    oid.to_id_string()
        .chars()
        .take(64)
        .collect::<String>()
        .into()
}

impl Extensions {
    /// What `found` say, in a certificate or in a request for one.
    pub(crate) fn read(found: &[X509Extension<'_>]) -> Result<Self, CertificateError> {
        let limit = Certificate::MAX_EXTENSIONS;
        if found.len() > limit {
            return Err(CertificateError::TooManyExtensions {
                found: found.len(),
                limit,
            });
        }
        let mut read = Self::default();
        for (place, extension) in found.iter().enumerate() {
            let oid = || shorten(&extension.oid);
            let before = found.get(..place).unwrap_or_default();
            if before.iter().any(|other| other.oid == extension.oid) {
                return Err(CertificateError::ExtensionTwice { oid: oid() });
            }
            // One value and nothing behind it: the parser stops where the value ends.
            let known = match strict::is_one_element(extension.value) {
                true => read.add(extension),
                false => None,
            };
            match known {
                Some(true) => {}
                Some(false) if !extension.critical => {}
                Some(false) => return Err(CertificateError::UnknownCritical { oid: oid() }),
                None => return Err(CertificateError::Extension { oid: oid() }),
            }
        }
        Ok(read)
    }

    /// Notes what `extension` says. Whether it is understood, so that it may be critical; [`None`] if
    /// it is malformed.
    fn add(&mut self, extension: &X509Extension<'_>) -> Option<bool> {
        // The parser looks at the number of a tag and not always at its class.
        let tag = match extension.parsed_extension() {
            ParsedExtension::KeyUsage(_) => Some(3),
            ParsedExtension::SubjectKeyIdentifier(_) => Some(4),
            ParsedExtension::BasicConstraints(_)
            | ParsedExtension::ExtendedKeyUsage(_)
            | ParsedExtension::SubjectAlternativeName(_)
            | ParsedExtension::AuthorityKeyIdentifier(_)
            | ParsedExtension::CRLDistributionPoints(_)
            | ParsedExtension::NameConstraints(_) => Some(0x30),
            _ => None,
        };
        if tag.is_some_and(|tag| extension.value.first() != Some(&tag)) {
            return None;
        }
        match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(constraints) => {
                self.has_basic_constraints = true;
                self.has_critical_constraints = extension.critical;
                self.is_ca = constraints.ca;
                self.path_len = constraints.path_len_constraint;
                // Only a CA has one (RFC 5280 §4.2.1.9).
                (constraints.ca || self.path_len.is_none()).then_some(true)
            }
            ParsedExtension::KeyUsage(usage) => {
                self.key_usage = Some(KeyUsage(usage.flags));
                (usage.flags != 0).then_some(true)
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                let foreign = [
                    usage.code_signing,
                    usage.email_protection,
                    usage.time_stamping,
                    usage.ocsp_signing,
                    usage.other.contains(&PRECERTIFICATES),
                ];
                let [known @ .., _] = foreign;
                let others = known.iter().filter(|other| **other).count() + usage.other.len();
                let found = ExtendedKeyUsage {
                    client: usage.client_auth,
                    server: usage.server_auth,
                    any: usage.any,
                    foreign: foreign.contains(&true),
                    others,
                };
                self.extended_key_usage = Some(found);
                // A sequence of one or more.
                (found.client || found.server || found.any || others > 0).then_some(true)
            }
            ParsedExtension::SubjectAlternativeName(names) => {
                names
                    .general_names
                    .iter()
                    .try_for_each(|name| self.name(name))?;
                self.has_critical_names = extension.critical;
                (!names.general_names.is_empty()).then_some(true)
            }
            ParsedExtension::SubjectKeyIdentifier(identifier) => {
                self.subject_key_id = Some(bounded(identifier.0)?);
                Some(false)
            }
            ParsedExtension::AuthorityKeyIdentifier(authority) => {
                // The other two stand together or not at all (RFC 5280 §4.2.1.1).
                if authority.authority_cert_issuer.is_some()
                    != authority.authority_cert_serial.is_some()
                {
                    return None;
                }
                let identifier = authority.key_identifier.as_ref()?;
                self.authority_key_id = Some(bounded(identifier.0)?);
                Some(false)
            }
            ParsedExtension::CRLDistributionPoints(points) => {
                self.crl_distribution_points = uris(points)?;
                Some(true)
            }
            // The path builder enforces them.
            ParsedExtension::NameConstraints(_) => {
                self.name_constraints = Some(extension.value.into());
                constrains(extension.value).then_some(true)
            }
            // Always critical (RFC 5280 §4.2.1.11, §4.2.1.14), and policies are not followed here: what
            // restricts them must not be passed over.
            ParsedExtension::PolicyConstraints(_) | ParsedExtension::InhibitAnyPolicy(_) => {
                extension.critical.then_some(false)
            }
            // Not of our making, and of no use to us: what is in it is not looked at (RFC 6962 §3.3).
            _ if extension.oid == CERTIFICATE_TRANSPARENCY => Some(false),
            ParsedExtension::ParseError { .. } => None,
            _ if extension.oid == NO_REV_AVAIL => {
                self.has_no_rev_avail = true;
                (extension.value == [5, 0]).then_some(false)
            }
            _ => {
                self.others.push(shorten(&extension.oid));
                Some(false)
            }
        }
    }

    fn name(&mut self, name: &GeneralName<'_>) -> Option<()> {
        match name {
            GeneralName::URI(uri) => self.uris.push(text(uri)?),
            GeneralName::DNSName(name) => self.dns_names.push(dns_name(name)?),
            GeneralName::IPAddress(bytes) => self.ip_addresses.push(ip_address(bytes)?),
            GeneralName::Invalid(..) => return None,
            _ => self.other_names += 1,
        }
        Some(())
    }
}

/// Whether there is something in name constraints, and in each of their lists (RFC 5280 §4.2.1.10).
/// DNS names in them begin with no dot, which some take for "only what is below".
fn constrains(value: &[u8]) -> bool {
    let mut rest = strict::split(value)
        .map(|constraints| constraints.content)
        .unwrap_or_default();
    let is_empty = rest.is_empty();
    while let Some(subtrees) = strict::split(rest) {
        if !matches!(subtrees.tag, 0xa0 | 0xa1) || subtrees.content.is_empty() {
            return false;
        }
        let mut names = subtrees.content;
        while let Some(subtree) = strict::split(names) {
            if subtree.content.first() == Some(&0x82) && subtree.content.get(2) == Some(&b'.') {
                return false;
            }
            names = subtree.rest;
        }
        rest = subtrees.rest;
    }
    !is_empty
}

/// 64 bytes hold any digest; RFC 5280 gives no limit.
fn bounded(identifier: &[u8]) -> Option<Box<[u8]>> {
    (1..=64)
        .contains(&identifier.len())
        .then(|| identifier.into())
}

fn uris(points: &CRLDistributionPoints<'_>) -> Option<Vec<Box<str>>> {
    let mut uris = Vec::new();
    for point in &points.points {
        if let Some(DistributionPointName::FullName(names)) = &point.distribution_point {
            for name in names {
                match name {
                    GeneralName::URI(uri) => uris.push(text(uri)?),
                    GeneralName::DirectoryName(_) => {}
                    // Nobody fetches a CRL from what is not even a place.
                    _ => return None,
                }
            }
        }
    }
    (!points.points.is_empty()).then_some(uris)
}

/// Visible ASCII, so that it can stand in any log and is one text in any encoding.
fn text(text: &str) -> Option<Box<str>> {
    let visible = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    visible.then(|| text.into())
}

/// The preferred syntax (RFC 5280 §4.2.1.6), with `_` and with `*` as the whole first label, which
/// are in use.
pub(crate) fn dns_name(name: &str) -> Option<Box<str>> {
    let plain = name.strip_prefix("*.").unwrap_or(name);
    let label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (name.len() <= 253 && plain.split('.').all(label)).then(|| name.into())
}

pub(crate) fn ip_address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}
