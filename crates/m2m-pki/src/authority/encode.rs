//! From what was approved to the bytes that are signed. rcgen encodes; what it cannot do without a
//! key or with somebody else's name is done around it.

use std::cell::RefCell;
use std::time::Duration;

use m2m_types::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, CustomExtension, DistinguishedName,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyIdMethod, KeyUsagePurpose,
    NameConstraints, SanType, SerialNumber, date_time_ymd,
};

use super::IssueError;
use super::prepared::{Intended, Prepared};
use crate::profile::Kind;
use crate::{Approved, CertificateId, PublicKey, Serial, strict};

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
        let params = self.params()?;
        let mut issuer = CertificateParams::default();
        issuer.key_identifier_method = KeyIdMethod::PreSpecified(self.issuer_key_id.to_vec());
        issuer.distinguished_name = match self.issuer {
            IssuerName::Itself => params.distinguished_name.clone(),
            IssuerName::Der(_) => DistinguishedName::new(),
        };
        let capture = Capture {
            key: self.issuer_key,
            message: RefCell::default(),
        };
        let subject_key = Subject(&self.approved.key);
        let encoded = params.signed_by(&subject_key, &Issuer::from_params(&issuer, &capture));
        encoded.map_err(|_| IssueError::Encode)?;
        let tbs = capture.message.into_inner();
        let tbs = match self.issuer {
            IssuerName::Itself => tbs,
            IssuerName::Der(name) => with_issuer(&tbs, name).ok_or(IssueError::Encode)?,
        };
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

    fn params(&self) -> Result<CertificateParams, IssueError> {
        let Approved { profile, key, .. } = self.approved;
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from_slice(self.serial.as_bytes()));
        let date =
            |time: Timestamp| date_time_ymd(1970, 1, 1) + Duration::from_secs(time.unix_seconds());
        params.not_before = date(self.not_before);
        params.not_after = date(self.not_after);
        params.distinguished_name = match &profile.subject {
            Some(subject) => subject.distinguished_name(),
            None => DistinguishedName::new(),
        };
        params.key_identifier_method = KeyIdMethod::PreSpecified(key.key_identifier().to_vec());
        params.use_authority_key_identifier_extension = true;
        match profile.kind {
            Kind::Workload => self.workload(&mut params)?,
            Kind::Root => self.authority(&mut params, BasicConstraints::Unconstrained),
            Kind::Intermediate { path_len } => {
                self.authority(&mut params, BasicConstraints::Constrained(path_len));
            }
        }
        self.revocation(&mut params)?;
        Ok(params)
    }

    fn workload(&self, params: &mut CertificateParams) -> Result<(), IssueError> {
        let Approved { profile, .. } = self.approved;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let purposes = [
            (profile.client_auth, ExtendedKeyUsagePurpose::ClientAuth),
            (profile.server_auth, ExtendedKeyUsagePurpose::ServerAuth),
        ];
        let wanted = purposes.into_iter().filter(|(wanted, _)| *wanted);
        params.extended_key_usages = wanted.map(|(_, purpose)| purpose).collect();
        let ascii = |text: &str| text.try_into().map_err(|_| IssueError::Encode);
        let names = &mut params.subject_alt_names;
        names.push(SanType::URI(ascii(self.approved.identity.as_str())?));
        for name in &self.approved.dns_names {
            names.push(SanType::DnsName(ascii(name)?));
        }
        let addresses = self.approved.ip_addresses.iter();
        names.extend(addresses.map(|address| SanType::IpAddress(*address)));
        Ok(())
    }

    fn authority(&self, params: &mut CertificateParams, constraints: BasicConstraints) {
        let profile = &self.approved.profile;
        params.is_ca = IsCa::Ca(constraints);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let subtrees = |names: &[Box<str>]| {
            let names = names.iter().map(|name| name.to_string());
            names.map(GeneralSubtree::DnsName).collect()
        };
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: subtrees(&profile.permitted_dns),
            excluded_subtrees: subtrees(&profile.excluded_dns),
        });
    }

    fn revocation(&self, params: &mut CertificateParams) -> Result<(), IssueError> {
        let Approved {
            profile, lifetime, ..
        } = self.approved;
        if profile.kind == Kind::Workload && *lifetime < profile.no_revocation_below {
            // NULL; never critical (RFC 9608 §2).
            let extension = CustomExtension::from_oid_content(&[2, 5, 29, 56], vec![5, 0]);
            params.custom_extensions.push(extension);
        } else if let Some(uri) = &profile.crl_uri {
            let uri = uri.of(&self.serial).ok_or_else(|| IssueError::CrlUri {
                serial: self.serial.clone(),
            })?;
            params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec![uri] }];
        }
        Ok(())
    }
}

/// `tbs` with `name` where the encoder wrote an empty issuer: the fourth field, behind version, number
/// and algorithm.
fn with_issuer(tbs: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let fields = strict::split(tbs)?.content;
    let version = strict::split(fields)?;
    let serial = strict::split(version.rest)?;
    let algorithm = strict::split(serial.rest)?;
    let issuer = strict::split(algorithm.rest)?;
    let front = fields.get(..fields.len() - algorithm.rest.len())?;
    (issuer.whole == [0x30, 0]).then(|| strict::sequence(&[front, name, issuer.rest].concat()))
}

/// Keeps what it is asked to sign.
struct Capture<'a> {
    key: &'a PublicKey,
    message: RefCell<Vec<u8>>,
}

impl rcgen::PublicKeyData for Capture<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.key.bits()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.key.algorithm().encoder()
    }
}

impl rcgen::SigningKey for Capture<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.message.replace(message.to_vec());
        Ok(Vec::new())
    }
}

/// The key that the certificate is about.
struct Subject<'a>(&'a PublicKey);

impl rcgen::PublicKeyData for Subject<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.bits()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.0.algorithm().encoder()
    }
}
