//! `ShardPlan`: which of 2ᵏ lists a certificate belongs to, known when it is issued.

use m2m_crypto::sha256;

use crate::Serial;
use crate::crl::scope::{CrlUri, Scope};

/// Splits the revocations of an issuer into 2ᵏ lists.
///
/// A certificate belongs to the list that the highest k bits of SHA-256 over its serial (big-endian,
/// without leading zeroes) name. So its `cRLDistributionPoints` can be written when it is issued, and
/// the lists are about equally long whatever the serials look like. A plan is for the life of the
/// issuer: certificates state its URIs.
///
/// ```
/// use m2m_pki::{Serial, ShardPlan};
///
/// let plan = ShardPlan::new("http://crl.example.org/ca1/", 8)?;
/// let serial = Serial::from_bytes(&[0x5b, 0x12]).expect("positive");
/// let shard = plan.shard_of(&serial);
/// assert_eq!(plan.uri(shard).as_str(), format!("http://crl.example.org/ca1/{shard:02x}.crl"));
/// # Ok::<(), m2m_pki::ShardPlanError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardPlan {
    base: CrlUri,
    bits: u32,
}

/// Why there is no such plan.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShardPlanError {
    /// More lists than [`ShardPlan::MAX_BITS`] allows.
    #[error("{bits} bits of shards are more than {max}", max = ShardPlan::MAX_BITS)]
    TooManyShards {
        /// The bits asked for.
        bits: u32,
    },
    /// The base is no URI of at most [`ShardPlan::MAX_BASE_BYTES`] that ends with a slash.
    #[error("the base is not a URI of at most {max} bytes that ends with a slash", max = ShardPlan::MAX_BASE_BYTES)]
    Base,
}

impl ShardPlan {
    /// The most bits: 4096 lists, of 244 entries each for a million revocations.
    pub const MAX_BITS: u32 = 12;
    /// The longest base, so that what is made of it is a URI.
    pub const MAX_BASE_BYTES: usize = 512;

    /// 2 to the power of `bits` lists under the URI `base`, which ends with a slash.
    ///
    /// # Errors
    ///
    /// [`ShardPlanError`] if there are too many or `base` is not such a URI.
    pub fn new(base: &str, bits: u32) -> Result<Self, ShardPlanError> {
        if bits > Self::MAX_BITS {
            return Err(ShardPlanError::TooManyShards { bits });
        }
        if base.len() > Self::MAX_BASE_BYTES || !base.ends_with('/') {
            return Err(ShardPlanError::Base);
        }
        let base = CrlUri::parse(base).map_err(|_| ShardPlanError::Base)?;
        Ok(Self { base, bits })
    }

    /// How many lists there are.
    pub const fn shards(&self) -> u32 {
        1 << self.bits
    }

    /// The list that the certificate of this serial belongs to, less than [`ShardPlan::shards`].
    pub fn shard_of(&self, serial: &Serial) -> u32 {
        let [a, b, ..] = sha256(serial.as_bytes());
        u32::from(u16::from_be_bytes([a, b])) >> (u16::BITS - self.bits)
    }

    /// The URI of list `shard`, in lower-case hexadecimal digits, as many as all lists need.
    pub fn uri(&self, shard: u32) -> CrlUri {
        let digits = self.bits.div_ceil(4).max(1) as usize;
        let text = format!("{}{shard:0digits$x}.crl", self.base);
        CrlUri::parse(&text).unwrap_or_else(|_| self.base.clone())
    }

    /// The URI to write into the certificate of this serial.
    pub fn uri_of(&self, serial: &Serial) -> CrlUri {
        self.uri(self.shard_of(serial))
    }

    /// What list `shard` speaks for.
    pub fn scope(&self, shard: u32) -> Scope {
        Scope::distribution_point(self.uri(shard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_serial_has_one_of_the_shards_and_they_are_about_equally_full() {
        let plan = ShardPlan::new("http://a/", 4).unwrap();
        let mut counts = [0_u32; 16];
        for number in 1..=16_000_u64 {
            let serial = Serial::from_bytes(&number.to_be_bytes()).unwrap();
            counts[plan.shard_of(&serial) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)));
    }

    #[test]
    fn one_shard_and_the_most_shards_have_uris() {
        let serial = Serial::from_bytes(&[1]).unwrap();
        let one = ShardPlan::new("http://a/", 0).unwrap();
        assert_eq!(one.uri_of(&serial).as_str(), "http://a/0.crl");
        let most = ShardPlan::new("http://a/", 12).unwrap();
        assert_eq!(most.uri(0xabc).as_str(), "http://a/abc.crl");
        // The first twelve bits of SHA-256 over the byte 01 are 4bf.
        assert_eq!(most.shard_of(&serial), 0x4bf);
        assert!(ShardPlan::new("http://a/", 13).is_err());
        assert!(ShardPlan::new("http://a", 1).is_err());
    }
}
