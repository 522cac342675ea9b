//! `keyUsage` and `extKeyUsage`.

use std::fmt;

/// What a key may be used for (RFC 5280 §4.2.1.3).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyUsage(pub(crate) u16);

/// For which purposes (RFC 5280 §4.2.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtendedKeyUsage {
    pub(crate) client: bool,
    pub(crate) server: bool,
    pub(crate) any: bool,
    pub(crate) foreign: bool,
    pub(crate) others: usize,
}

impl KeyUsage {
    pub(crate) const DIGITAL_SIGNATURE: u16 = 1;
    /// `keyEncipherment`, `dataEncipherment`, `keyAgreement`, `encipherOnly`, `decipherOnly`.
    const ENCIPHERING: u16 = 0b1_1001_1100;
    pub(crate) const KEY_CERT_SIGN: u16 = 1 << 5;
    pub(crate) const CRL_SIGN: u16 = 1 << 6;

    /// `digitalSignature`: TLS 1.3 handshakes.
    pub fn digital_signature(self) -> bool {
        self.0 & Self::DIGITAL_SIGNATURE != 0
    }

    /// `keyCertSign`: signing certificates.
    pub fn key_cert_sign(self) -> bool {
        self.0 & Self::KEY_CERT_SIGN != 0
    }

    /// `cRLSign`: signing CRLs.
    pub fn crl_sign(self) -> bool {
        self.0 & Self::CRL_SIGN != 0
    }

    /// Whether the key is for encrypting or agreeing on keys, which some keys cannot do.
    pub(crate) fn enciphers(self) -> bool {
        self.0 & Self::ENCIPHERING != 0
    }

    /// Whether it says nothing that `other` does not.
    pub(crate) fn is_within(self, other: u16) -> bool {
        self.0 & !other == 0
    }
}

impl ExtendedKeyUsage {
    /// `id-kp-clientAuth`.
    pub fn client_auth(self) -> bool {
        self.client
    }

    /// `id-kp-serverAuth`.
    pub fn server_auth(self) -> bool {
        self.server
    }

    /// `anyExtendedKeyUsage`. It implies none of the others here.
    pub fn any(self) -> bool {
        self.any
    }

    /// Whether it has a purpose that a key for TLS must not have: signing code, mail, times, OCSP
    /// answers or precertificates.
    pub(crate) fn foreign(self) -> bool {
        self.foreign
    }

    /// How many other purposes it has.
    pub fn others(self) -> usize {
        self.others
    }
}

impl fmt::Debug for KeyUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyUsage({:#011b})", self.0)
    }
}
