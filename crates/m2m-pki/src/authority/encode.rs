//! From what was approved to the bytes that are signed: `TBSCertificate` (RFC 5280 §4.1.2, §4.2.1), as
//! rcgen writes it, which a test compares, in a third of its instructions.

use std::net::IpAddr;

use m2m_types::Timestamp;

use super::IssueError;
use super::prepared::{Intended, Prepared};
use crate::certificate::KeyUsage;
use crate::der::write::{self, Criticality};
use crate::der::{
    BIT_STRING, BOOLEAN, INTEGER, OCTET_STRING, OID, SEQUENCE, constructed, context, time,
};
use crate::profile::Kind;
use crate::{Approved, CertificateId, PublicKey, Serial, Subject};

const SUBJECT_KEY_IDENTIFIER: u8 = 14;
const KEY_USAGE: u8 = 15;
const SUBJECT_ALT_NAME: u8 = 17;
const BASIC_CONSTRAINTS: u8 = 19;
const NAME_CONSTRAINTS: u8 = 30;
const CRL_DISTRIBUTION_POINTS: u8 = 31;
const AUTHORITY_KEY_IDENTIFIER: u8 = 35;
const EXTENDED_KEY_USAGE: u8 = 37;
/// RFC 9608 §2.
const NO_REV_AVAIL: u8 = 56;

/// `id-kp-serverAuth` and `id-kp-clientAuth` end with these (RFC 5280 §4.2.1.12).
const SERVER_AUTH: u8 = 1;
const CLIENT_AUTH: u8 = 2;

/// All that goes into a certificate.
pub(super) struct Draft<'a> {
    pub(super) approved: &'a Approved,
    pub(super) issuer: IssuerName<'a>,
    pub(super) issuer_key: &'a PublicKey,
    pub(super) issuer_key_id: &'a [u8],
    pub(super) issuer_id: Option<CertificateId>,
    pub(super) serial: Serial,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

pub(super) enum IssuerName<'a> {
    /// A root's, which is its subject.
    Itself,
    /// The issuer's subject, byte by byte: names are compared that way (RFC 5280 §7.1).
    Der(&'a [u8]),
}

impl Draft<'_> {
    pub(super) fn prepare(self) -> Result<Prepared, IssueError> {
        let tbs = self.encode()?;
        Ok(Prepared {
            tbs,
            issuer_key: self.issuer_key.clone(),
            intended: Intended {
                key: self.approved.key.clone(),
                identity: self.approved.identity.clone(),
                profile: self.approved.profile.name.clone(),
                issuer: self.issuer_id,
                serial: self.serial,
                is_ca: self.approved.profile.is_for_authorities(),
                dns_names: self.approved.dns_names.clone(),
                ip_addresses: self.approved.ip_addresses.clone(),
            },
        })
    }

    fn encode(&self) -> Result<Vec<u8>, IssueError> {
        let Approved { profile, key, .. } = self.approved;
        let subject = profile.subject.as_ref().map(Subject::to_der);
        let subject = subject.as_deref().unwrap_or(&[SEQUENCE, 0]);
        let issuer = match self.issuer {
            IssuerName::Itself => subject,
            IssuerName::Der(name) => name,
        };
        let mut out = Vec::with_capacity(1024);
        // Version 3.
        out.extend_from_slice(&[constructed(0), 3, INTEGER, 1, 2]);
        write::unsigned(self.serial.as_bytes(), &mut out);
        out.extend(self.issuer_key.algorithm().scheme().identifier());
        out.extend_from_slice(issuer);
        let mut validity = Vec::with_capacity(40);
        time::write(self.not_before, &mut validity);
        time::write(self.not_after, &mut validity);
        write::element(SEQUENCE, &validity, &mut out);
        out.extend_from_slice(subject);
        out.extend_from_slice(key.spki_der());
        let extensions = write::around(SEQUENCE, &[&self.extensions()?]);
        write::element(constructed(3), &extensions, &mut out);
        Ok(write::around(SEQUENCE, &[&out]))
    }

    fn extensions(&self) -> Result<Vec<u8>, IssueError> {
        let Approved { profile, key, .. } = self.approved;
        let mut out = Vec::with_capacity(512);
        let mut value = Vec::with_capacity(256);
        write::element(context(0), self.issuer_key_id, &mut value);
        let authority = write::around(SEQUENCE, &[&value]);
        add(
            AUTHORITY_KEY_IDENTIFIER,
            Criticality::NotCritical,
            &authority,
            &mut out,
        );
        if profile.kind == Kind::Workload {
            let names = self.names();
            // Critical where they are all there is (RFC 5280 §4.2.1.6).
            let criticality = match profile.subject {
                Some(_) => Criticality::NotCritical,
                None => Criticality::Critical,
            };
            add(SUBJECT_ALT_NAME, criticality, &names, &mut out);
        }
        let usage = key_usage(profile.key_usage());
        add(KEY_USAGE, Criticality::Critical, &usage, &mut out);
        let purposes = [
            (profile.client_auth, CLIENT_AUTH),
            (profile.server_auth, SERVER_AUTH),
        ];
        value.clear();
        for (_, last) in purposes.into_iter().filter(|(wanted, _)| *wanted) {
            let purpose = [0x2b, 6, 1, 5, 5, 7, 3, last];
            write::element(OID, &purpose, &mut value);
        }
        if !value.is_empty() {
            let purposes = write::around(SEQUENCE, &[&value]);
            add(
                EXTENDED_KEY_USAGE,
                Criticality::NotCritical,
                &purposes,
                &mut out,
            );
        }
        value.clear();
        for (tag, names) in [(0, &profile.permitted_dns), (1, &profile.excluded_dns)] {
            let subtree = |name: &str| {
                let name = write::around(context(2), &[name.as_bytes()]);
                write::around(SEQUENCE, &[&name])
            };
            let subtrees: Vec<u8> = names.iter().flat_map(|name| subtree(name)).collect();
            if !subtrees.is_empty() {
                write::element(constructed(tag), &subtrees, &mut value);
            }
        }
        if !value.is_empty() {
            let constraints = write::around(SEQUENCE, &[&value]);
            add(
                NAME_CONSTRAINTS,
                Criticality::Critical,
                &constraints,
                &mut out,
            );
        }
        let is_short =
            profile.kind == Kind::Workload && self.approved.lifetime < profile.no_revocation_below;
        if let (Some(uri), false) = (&profile.crl_uri, is_short) {
            let uri = uri.of(&self.serial).ok_or_else(|| IssueError::CrlUri {
                serial: self.serial.clone(),
            })?;
            let names = write::around(context(6), &[uri.as_bytes()]);
            let point = write::around(constructed(0), &[&write::around(constructed(0), &[&names])]);
            let points = write::around(SEQUENCE, &[&write::around(SEQUENCE, &[&point])]);
            add(
                CRL_DISTRIBUTION_POINTS,
                Criticality::NotCritical,
                &points,
                &mut out,
            );
        }
        let own = write::around(OCTET_STRING, &[&key.key_identifier()]);
        add(
            SUBJECT_KEY_IDENTIFIER,
            Criticality::NotCritical,
            &own,
            &mut out,
        );
        let constraints: &[u8] = match profile.kind {
            Kind::Workload => &[SEQUENCE, 0],
            Kind::Root => &[SEQUENCE, 3, BOOLEAN, 1, 0xff],
            Kind::Intermediate { path_len } => {
                value.clear();
                value.extend_from_slice(&[BOOLEAN, 1, 0xff]);
                write::unsigned(&[path_len], &mut value);
                value = write::around(SEQUENCE, &[&value]);
                &value
            }
        };
        add(
            BASIC_CONSTRAINTS,
            Criticality::Critical,
            constraints,
            &mut out,
        );
        if is_short {
            // NULL; never critical (RFC 9608 §2).
            add(NO_REV_AVAIL, Criticality::NotCritical, &[5, 0], &mut out);
        }
        Ok(out)
    }

    /// The machine, then what the profile adds or allowed.
    fn names(&self) -> Vec<u8> {
        let mut names = Vec::with_capacity(128);
        let identity = self.approved.identity.as_str();
        write::element(context(6), identity.as_bytes(), &mut names);
        for name in &self.approved.dns_names {
            write::element(context(2), name.as_bytes(), &mut names);
        }
        for address in &self.approved.ip_addresses {
            match address {
                IpAddr::V4(address) => write::element(context(7), &address.octets(), &mut names),
                IpAddr::V6(address) => write::element(context(7), &address.octets(), &mut names),
            }
        }
        write::around(SEQUENCE, &[&names])
    }
}

/// An extension whose name is `id-ce` and `last`.
fn add(last: u8, criticality: Criticality, value: &[u8], out: &mut Vec<u8>) {
    write::add_extension(&[0x55, 0x1d, last], criticality, value, out);
}

/// A BIT STRING of named bits, the first of them the highest (X.680 §22.7), without trailing zeroes
/// (X.690 §11.2.2). None of ours is beyond the first octet.
fn key_usage(usage: u16) -> [u8; 4] {
    const { assert!(KeyUsage::CRL_SIGN < 0x80) };
    let bits = (usage as u8).reverse_bits();
    [BIT_STRING, 2, bits.trailing_zeros() as u8, bits]
}
