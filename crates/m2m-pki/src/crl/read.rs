//! Reading a CRL: one strict pass over bytes from anybody, then its signature, once.

use m2m_types::Timestamp;

use crate::crl::entry::{self, RevokedEntry};
use crate::crl::issuer::{CrlIssuer, IssuerId};
use crate::crl::number::CrlNumber;
use crate::crl::scope::Scope;
use crate::crl::signature;
use crate::der::{
    self, BIT_STRING, BOOLEAN, DerError, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, constructed,
    context, time, write::Criticality,
};

const AUTHORITY_KEY_IDENTIFIER: [u8; 3] = [0x55, 0x1d, 35];
const CRL_NUMBER: [u8; 3] = [0x55, 0x1d, 20];
const DELTA_CRL_INDICATOR: [u8; 3] = [0x55, 0x1d, 27];
const ISSUING_DISTRIBUTION_POINT: [u8; 3] = [0x55, 0x1d, 28];

/// Why a CRL was refused. What it said then counts for nothing: the status of every certificate it
/// was to speak for stays unknown.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrlError {
    /// Not strict DER, or not in the order of RFC 5280 §5.1.
    #[error("malformed CRL: {0}")]
    Der(DerError),
    /// More bytes than the limit.
    #[error("a CRL of {bytes} bytes is over the limit of {limit}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// [`CrlLimits::bytes`].
        limit: usize,
    },
    /// More entries than the limit.
    #[error("a CRL with more than {limit} entries is over the limit")]
    TooManyEntries {
        /// [`CrlLimits::entries`].
        limit: usize,
    },
    /// Not a CRL of version 2.
    #[error("not a CRL of version 2")]
    Version,
    /// The algorithm inside is not the one outside.
    #[error("the signature algorithms inside and outside differ")]
    AlgorithmMismatch,
    /// A serial is negative or over 20 octets.
    #[error("a serial is negative or has over 20 octets")]
    Serial,
    /// A reason code that does not exist.
    #[error("a reason code does not exist")]
    Reason,
    /// `removeFromCRL` in a CRL that is not a delta (RFC 5280 §5.3.1).
    #[error("removeFromCRL in a CRL that is not a delta")]
    RemovalInFullCrl,
    /// A critical extension that is not known, in the CRL or in an entry.
    #[error("an unknown critical extension")]
    UnknownCriticalExtension,
    /// An extension that occurs twice, or more of them than any CRL has.
    #[error("an extension occurs twice, or there are too many")]
    DuplicateExtension,
    /// An extension is critical that must not be, or the other way round.
    #[error("an extension has the wrong criticality")]
    Criticality,
    /// There is no CRL number, without which nobody knows which of two CRLs is newer.
    #[error("no CRL number")]
    NumberMissing,
    /// A delta that is not newer than its base.
    #[error("a delta whose number is not greater than its base's")]
    DeltaNumber,
    /// `nextUpdate` is before `thisUpdate`.
    #[error("nextUpdate is before thisUpdate")]
    UpdateOrder,
    /// Not supported: a CRL with entries of other issuers.
    #[error("indirect CRLs are not supported")]
    Indirect,
    /// Not supported: a CRL that leaves reasons out.
    #[error("CRLs for some reasons only are not supported")]
    SomeReasonsOnly,
    /// Not supported: a CRL of attribute certificates.
    #[error("CRLs of attribute certificates are not supported")]
    AttributeCertificates,
    /// Not supported: a distribution point named relative to the issuer.
    #[error("distribution points relative to the issuer are not supported")]
    RelativeName,
    /// The distribution point has no URI, too many, or a malformed one.
    #[error("the distribution point has no URI, too many, or a malformed one")]
    Uri,
    /// The issuing distribution point is empty or contradicts itself.
    #[error("the issuing distribution point is empty or contradicts itself")]
    ContradictoryScope,
    /// The CRL names another issuer.
    #[error("the CRL names another issuer")]
    Issuer,
    /// The signature's algorithm is unknown or does not fit the issuer's key.
    #[error("the signature algorithm is unknown or does not fit the issuer's key")]
    Algorithm,
    /// The issuer's key did not sign this.
    #[error("the signature does not hold")]
    Signature,
}

/// How much is read before a signature was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrlLimits {
    bytes: usize,
    entries: usize,
}

/// 128 MiB and 3,000,000 entries: three times the largest list that we plan for, in its longest form.
impl Default for CrlLimits {
    fn default() -> Self {
        Self {
            bytes: 128 << 20,
            entries: 3_000_000,
        }
    }
}

impl CrlLimits {
    /// The most entries any limit allows: an index counts them in 32 bits.
    pub const MAX_ENTRIES: usize = 1 << 27;

    /// At most `bytes`.
    #[must_use]
    pub const fn with_bytes(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }

    /// At most `entries`, and never more than [`CrlLimits::MAX_ENTRIES`].
    #[must_use]
    pub fn with_entries(self, entries: usize) -> Self {
        Self {
            entries: entries.min(Self::MAX_ENTRIES),
            ..self
        }
    }

    /// The most bytes.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The most entries.
    pub const fn entries(&self) -> usize {
        self.entries
    }
}

/// What a CRL says, as far as anybody may claim it: its signature is still to be checked.
#[derive(Clone, Debug)]
pub struct UnverifiedCrl<'a> {
    contents: Contents<'a>,
    signed: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
}

#[derive(Clone, Debug)]
struct Contents<'a> {
    issuer: &'a [u8],
    this_update: Timestamp,
    next_update: Option<Timestamp>,
    list: &'a [u8],
    count: usize,
    number: CrlNumber,
    base: Option<CrlNumber>,
    scope: Scope,
    scope_der: &'a [u8],
    key_id: Option<&'a [u8]>,
}

/// A CRL whose signature holds. Only [`UnverifiedCrl::verify`] makes one.
#[derive(Clone, Debug)]
pub struct VerifiedCrl<'a> {
    contents: Contents<'a>,
    issuer: IssuerId,
}

impl<'a> UnverifiedCrl<'a> {
    /// Reads `der`, one `CertificateList` and nothing after it.
    ///
    /// One pass, which looks at everything and allocates nothing but the URIs of the scope. What is
    /// not supported is refused here: delta CRLs and CRLs with an issuing distribution point are,
    /// indirect CRLs, CRLs for some reasons and CRLs without a number are not.
    ///
    /// # Errors
    ///
    /// [`CrlError`].
    pub fn parse(der: &'a [u8], limits: &CrlLimits) -> Result<Self, CrlError> {
        if der.len() > limits.bytes {
            return Err(CrlError::TooLong {
                bytes: der.len(),
                limit: limits.bytes,
            });
        }
        let mut reader = Reader::new(der::only(der, SEQUENCE)?);
        let signed = reader.raw(SEQUENCE)?;
        let algorithm = reader.raw(SEQUENCE)?;
        let signature = der::octets_of_bits(reader.read(BIT_STRING)?)?;
        reader.finish()?;
        Ok(Self {
            contents: Contents::read(signed, algorithm, limits)?,
            signed,
            algorithm,
            signature,
        })
    }

    /// The name it claims to be of, the DER of an X.501 `Name`.
    pub fn issuer_der(&self) -> &'a [u8] {
        self.contents.issuer
    }

    /// Checks that `issuer` signed it: the name byte for byte, then the signature.
    ///
    /// # Errors
    ///
    /// [`CrlError::Issuer`], [`CrlError::Algorithm`], [`CrlError::Signature`].
    pub fn verify(self, issuer: &CrlIssuer) -> Result<VerifiedCrl<'a>, CrlError> {
        if self.contents.issuer != issuer.name_der() {
            return Err(CrlError::Issuer);
        }
        let algorithm = signature::algorithm_of(self.algorithm).ok_or(CrlError::Algorithm)?;
        let key = issuer.key_for(algorithm).map_err(|_| CrlError::Algorithm)?;
        let signature = signature::from_x509(algorithm, self.signature);
        let signature = signature.map_err(|_| CrlError::Signature)?;
        key.verify(self.signed, &signature)
            .map_err(|_| CrlError::Signature)?;
        Ok(VerifiedCrl {
            contents: self.contents,
            issuer: issuer.id(),
        })
    }
}

impl<'a> VerifiedCrl<'a> {
    /// Who signed it.
    pub const fn issuer(&self) -> IssuerId {
        self.issuer
    }

    /// Its number.
    pub const fn number(&self) -> CrlNumber {
        self.contents.number
    }

    /// The number of the CRL it is a delta to, if it is one.
    pub const fn base_number(&self) -> Option<CrlNumber> {
        self.contents.base
    }

    /// When it was issued.
    pub const fn this_update(&self) -> Timestamp {
        self.contents.this_update
    }

    /// When there is a newer one at the latest.
    pub const fn next_update(&self) -> Option<Timestamp> {
        self.contents.next_update
    }

    /// Which certificates it speaks for.
    pub const fn scope(&self) -> &Scope {
        &self.contents.scope
    }

    /// How many entries it has.
    pub const fn count(&self) -> usize {
        self.contents.count
    }

    /// Its entries, in its order.
    pub fn entries(&self) -> impl Iterator<Item = RevokedEntry<'a>> {
        entry::entries(self.contents.list)
    }

    /// The value of the issuing distribution point, empty if there is none.
    pub(crate) const fn scope_der(&self) -> &'a [u8] {
        self.contents.scope_der
    }

    /// The key identifier of the issuer it states.
    pub(crate) const fn key_id(&self) -> Option<&'a [u8]> {
        self.contents.key_id
    }
}

impl<'a> Contents<'a> {
    fn read(signed: &'a [u8], algorithm: &[u8], limits: &CrlLimits) -> Result<Self, CrlError> {
        let mut reader = Reader::new(der::only(signed, SEQUENCE)?);
        if reader.optional(INTEGER)? != Some(&[1]) {
            return Err(CrlError::Version);
        }
        if reader.raw(SEQUENCE)? != algorithm {
            return Err(CrlError::AlgorithmMismatch);
        }
        let issuer = reader.raw(SEQUENCE)?;
        let this_update = time::read(&mut reader)?;
        let next_update = if time::is_next(&reader) {
            Some(time::read(&mut reader)?)
        } else {
            None
        };
        if next_update.is_some_and(|next| next < this_update) {
            return Err(CrlError::UpdateOrder);
        }
        // An empty list should have been left out (RFC 5280 §5.1.2.6); it says the same.
        let list = reader.optional(SEQUENCE)?.unwrap_or_default();
        let (count, removals) = check_entries(list, limits)?;
        let extensions = reader.optional(constructed(0))?;
        reader.finish()?;
        let mut contents = Self {
            issuer,
            this_update,
            next_update,
            list,
            count,
            number: CrlNumber::from(0),
            base: None,
            scope: Scope::everything(),
            scope_der: &[],
            key_id: None,
        };
        contents.read_extensions(extensions.ok_or(CrlError::NumberMissing)?)?;
        if contents.base.is_none() && removals > 0 {
            return Err(CrlError::RemovalInFullCrl);
        }
        Ok(contents)
    }

    fn read_extensions(&mut self, extensions: &'a [u8]) -> Result<(), CrlError> {
        let mut reader = Reader::new(extensions);
        let list = reader.inside(SEQUENCE)?;
        reader.finish()?;
        let mut extensions = Extensions::new(list)?;
        let mut number = None;
        while let Some(Extension {
            oid,
            criticality,
            value,
        }) = extensions.next()?
        {
            let is_critical = criticality == Criticality::Critical;
            if oid == CRL_NUMBER {
                expect(criticality, Criticality::NotCritical)?;
                number = Some(CrlNumber::from_der_content(der::only(value, INTEGER)?)?);
            } else if oid == DELTA_CRL_INDICATOR {
                expect(criticality, Criticality::Critical)?;
                self.base = Some(CrlNumber::from_der_content(der::only(value, INTEGER)?)?);
            } else if oid == ISSUING_DISTRIBUTION_POINT {
                expect(criticality, Criticality::Critical)?;
                self.scope = Scope::from_der(value)?;
                self.scope_der = value;
            } else if oid == AUTHORITY_KEY_IDENTIFIER {
                let mut value = Reader::new(der::only(value, SEQUENCE)?);
                self.key_id = value.optional(context(0))?;
            } else if is_critical {
                return Err(CrlError::UnknownCriticalExtension);
            }
        }
        self.number = number.ok_or(CrlError::NumberMissing)?;
        if self.base.is_some_and(|base| base >= self.number) {
            return Err(CrlError::DeltaNumber);
        }
        Ok(())
    }
}

fn expect(found: Criticality, wanted: Criticality) -> Result<(), CrlError> {
    if found == wanted {
        return Ok(());
    }
    Err(CrlError::Criticality)
}

/// How many entries there are, and how many of them are removals.
fn check_entries(list: &[u8], limits: &CrlLimits) -> Result<(usize, usize), CrlError> {
    let mut reader = Reader::new(list);
    let (mut count, mut removals) = (0, 0);
    while !reader.is_empty() {
        if count == limits.entries {
            return Err(CrlError::TooManyEntries {
                limit: limits.entries,
            });
        }
        let entry = RevokedEntry::read(&mut reader)?;
        count += 1;
        removals += usize::from(entry.reason.is_none());
    }
    Ok((count, removals))
}

/// The most extensions of a CRL or an entry. RFC 5280 defines seven.
const MAX_EXTENSIONS: usize = 16;

/// An `Extension` (RFC 5280 §4.1).
pub(crate) struct Extension<'a> {
    pub(crate) oid: &'a [u8],
    pub(crate) criticality: Criticality,
    pub(crate) value: &'a [u8],
}

/// Extensions one by one, each at most once.
pub(crate) struct Extensions<'a> {
    list: Reader<'a>,
    seen: [&'a [u8]; MAX_EXTENSIONS],
    count: usize,
}

impl<'a> Extensions<'a> {
    /// The extensions of `list`, which is not empty.
    pub(crate) fn new(list: Reader<'a>) -> Result<Self, DerError> {
        if list.is_empty() {
            return Err(DerError::Truncated);
        }
        Ok(Self {
            list,
            seen: [&[]; MAX_EXTENSIONS],
            count: 0,
        })
    }

    pub(crate) fn next(&mut self) -> Result<Option<Extension<'a>>, CrlError> {
        if self.list.is_empty() {
            return Ok(None);
        }
        let mut reader = self.list.inside(SEQUENCE)?;
        let oid = reader.read(OID)?;
        // That FALSE is written out is against DER; real issuers do it, and it says nothing else.
        let criticality = match reader.optional(BOOLEAN)? {
            Some(content) if der::boolean(content)? => Criticality::Critical,
            _ => Criticality::NotCritical,
        };
        let value = reader.read(OCTET_STRING)?;
        reader.finish()?;
        let is_duplicate = self.seen.iter().take(self.count).any(|seen| *seen == oid);
        let place = self.seen.get_mut(self.count).filter(|_| !is_duplicate);
        *place.ok_or(CrlError::DuplicateExtension)? = oid;
        self.count += 1;
        Ok(Some(Extension {
            oid,
            criticality,
            value,
        }))
    }
}
