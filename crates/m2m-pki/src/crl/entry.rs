//! One entry of a CRL (RFC 5280 §5.1.2.6, §5.3): written once, read without allocation.

use m2m_types::Timestamp;

use crate::crl::lists::ListedRevocation;
use crate::crl::read::{CrlError, Extensions};
use crate::der::{
    self, DerError, ENUMERATED, INTEGER, Reader, SEQUENCE, time,
    write::{self, Criticality},
};
use crate::reason::{REMOVE_FROM_CRL, RevocationReason};
use crate::serial::Serial;

const REASON_CODE: [u8; 3] = [0x55, 0x1d, 21];
const INVALIDITY_DATE: [u8; 3] = [0x55, 0x1d, 24];
const CERTIFICATE_ISSUER: [u8; 3] = [0x55, 0x1d, 29];

/// A certificate that a CRL lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RevokedEntry<'a> {
    /// The serial, big-endian, without leading zeroes (zero is one zero).
    pub serial: &'a [u8],
    /// `revocationDate`.
    pub at: Timestamp,
    /// The reason; `None` if it is `removeFromCRL`, which only a delta has.
    pub reason: Option<RevocationReason>,
    /// `invalidityDate`: since when the certificate should not have been trusted.
    pub invalid_since: Option<Timestamp>,
}

impl<'a> RevokedEntry<'a> {
    /// Reads the next entry.
    #[inline]
    pub(crate) fn read(list: &mut Reader<'a>) -> Result<Self, CrlError> {
        let mut reader = list.inside(SEQUENCE)?;
        let serial = reader.read(INTEGER)?;
        if serial.len() > Serial::MAX_BYTES {
            return Err(CrlError::Serial);
        }
        let serial = der::unsigned(serial).map_err(|_| CrlError::Serial)?;
        let mut entry = Self {
            serial,
            at: time::read(&mut reader)?,
            reason: Some(RevocationReason::Unspecified),
            invalid_since: None,
        };
        if !reader.is_empty() {
            let extensions = reader.inside(SEQUENCE)?;
            reader.finish()?;
            entry.read_extensions(extensions)?;
        }
        Ok(entry)
    }

    fn read_extensions(&mut self, extensions: Reader<'a>) -> Result<(), CrlError> {
        let mut extensions = Extensions::new(extensions)?;
        while let Some(extension) = extensions.next()? {
            if extension.oid == REASON_CODE {
                let code = der::only(extension.value, ENUMERATED)?;
                self.reason = match code {
                    [REMOVE_FROM_CRL] => None,
                    [code] => Some(RevocationReason::from_code(*code).ok_or(CrlError::Reason)?),
                    _ => return Err(CrlError::Reason),
                };
            } else if extension.oid == INVALIDITY_DATE {
                // In either form: it only informs, and some issuers write the short one.
                let mut value = Reader::new(extension.value);
                self.invalid_since = Some(time::read_either(&mut value)?);
                value.finish()?;
            } else if extension.oid == CERTIFICATE_ISSUER {
                return Err(CrlError::Indirect);
            } else if extension.criticality == Criticality::Critical {
                return Err(CrlError::UnknownCriticalExtension);
            }
        }
        Ok(())
    }
}

/// Appends the entry of `revocation`.
pub(crate) fn write_revocation(revocation: &ListedRevocation, out: &mut Vec<u8>) {
    let mut extensions = Vec::new();
    // RFC 5280 §5.3.1: unspecified is said by saying nothing.
    if revocation.reason != RevocationReason::Unspecified {
        extensions.extend(reason_extension(revocation.reason.code()));
    }
    if let Some(since) = revocation.invalid_since {
        let mut value = Vec::new();
        time::write_generalized(since, &mut value);
        let extension = write::extension(&INVALIDITY_DATE, Criticality::NotCritical, &value);
        extensions.extend(extension);
    }
    write_entry(
        revocation.serial.as_bytes(),
        revocation.at,
        &extensions,
        out,
    );
}

/// Appends the entry of a delta that takes `serial` off the list.
pub(crate) fn write_removal(serial: &[u8], at: Timestamp, out: &mut Vec<u8>) {
    write_entry(serial, at, &reason_extension(REMOVE_FROM_CRL), out);
}

fn reason_extension(code: u8) -> Vec<u8> {
    write::extension(
        &REASON_CODE,
        Criticality::NotCritical,
        &[ENUMERATED, 1, code],
    )
}

fn write_entry(serial: &[u8], at: Timestamp, extensions: &[u8], out: &mut Vec<u8>) {
    let mut content = Vec::with_capacity(64);
    write::unsigned(serial, &mut content);
    time::write(at, &mut content);
    if !extensions.is_empty() {
        write::element(SEQUENCE, extensions, &mut content);
    }
    write::element(SEQUENCE, &content, out);
}

/// The entries of a list that was checked before.
pub(crate) fn entries(list: &[u8]) -> impl Iterator<Item = RevokedEntry<'_>> {
    let mut reader = Reader::new(list);
    std::iter::from_fn(move || RevokedEntry::read(&mut reader).ok())
}

impl From<DerError> for CrlError {
    fn from(error: DerError) -> Self {
        Self::Der(error)
    }
}
