//! From what was approved to the bytes that are signed. rcgen encodes; keys, and somebody else's name, are
//! put in afterwards.

use std::time::Duration;

use m2m_types::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, CustomExtension, DistinguishedName,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyIdMethod, KeyUsagePurpose,
    NameConstraints, SanType, SerialNumber, date_time_ymd,
};

use super::IssueError;
use super::prepared::{Intended, Prepared};
use crate::encoder::{self, Placeholder};
use crate::profile::Kind;
use crate::{Approved, CertificateId, PublicKey, Serial};

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
        let placeholder = Placeholder::default();
        let encoded = params.signed_by(&placeholder, &Issuer::from_params(&issuer, &placeholder));
        encoded.map_err(|_| IssueError::Encode)?;
        let name = match self.issuer {
            IssuerName::Itself => None,
            IssuerName::Der(name) => Some(name),
        };
        let scheme = self.issuer_key.algorithm().scheme();
        let tbs = placeholder.into_message();
        let tbs = encoder::complete_certificate(&tbs, scheme, name, &self.approved.key);
        Ok(Prepared {
            tbs: tbs.ok_or(IssueError::Encode)?,
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
