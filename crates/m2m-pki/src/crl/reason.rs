//! Why a certificate was revoked.

use std::fmt;

/// `CRLReason` (RFC 5280 §5.3.1), without `removeFromCRL`, which is not a reason for a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RevocationReason {
    /// Nothing was said. Written by leaving the reason out.
    Unspecified,
    /// The holder's private key is in other hands.
    KeyCompromise,
    /// The private key of the authority is in other hands.
    CaCompromise,
    /// Names in the certificate are no longer right.
    AffiliationChanged,
    /// There is a newer certificate.
    Superseded,
    /// The certificate is no longer needed.
    CessationOfOperation,
    /// Revoked for a time, and the only reason from which there is a way back.
    CertificateHold,
    /// What the certificate asserted was withdrawn.
    PrivilegeWithdrawn,
    /// The private key of the attribute authority is in other hands.
    AaCompromise,
}

/// The code that takes an entry back, in a delta.
pub(crate) const REMOVE_FROM_CRL: u8 = 8;

impl RevocationReason {
    /// Every reason.
    pub const ALL: &'static [Self] = &[
        Self::Unspecified,
        Self::KeyCompromise,
        Self::CaCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::CertificateHold,
        Self::PrivilegeWithdrawn,
        Self::AaCompromise,
    ];

    /// The number of the reason in RFC 5280.
    pub const fn code(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::KeyCompromise => 1,
            Self::CaCompromise => 2,
            Self::AffiliationChanged => 3,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
            Self::CertificateHold => 6,
            Self::PrivilegeWithdrawn => 9,
            Self::AaCompromise => 10,
        }
    }

    /// The reason of this number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|r| r.code() == code)
    }
}

/// As RFC 5280 spells it.
impl fmt::Display for RevocationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "keyCompromise",
            Self::CaCompromise => "cACompromise",
            Self::AffiliationChanged => "affiliationChanged",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessationOfOperation",
            Self::CertificateHold => "certificateHold",
            Self::PrivilegeWithdrawn => "privilegeWithdrawn",
            Self::AaCompromise => "aACompromise",
        })
    }
}
