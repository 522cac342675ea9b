//! How values of this crate are written to bytes: fixed widths, big-endian, lengths before texts.

use std::time::Duration;

use m2m_types::Timestamp;

use super::name::{Epoch, MemberName, SecretName, SecretVersion};

/// Writes.
#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

/// Reads; [`None`] from every method when the bytes end or are not what is asked for.
pub(crate) struct Reader<'a>(&'a [u8]);

impl Writer {
    /// Begins with what the bytes are, so that they are not taken for others.
    pub(crate) fn of(what: &[u8]) -> Self {
        Self(what.to_vec())
    }

    pub(crate) fn byte(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }

    pub(crate) fn number(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub(crate) fn fixed(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// At most 65,535 bytes; what is longer does not occur here.
    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        let length = u16::try_from(bytes.len()).expect("names and secrets are bounded far below");
        self.0.extend_from_slice(&length.to_be_bytes());
        self.fixed(bytes)
    }

    pub(crate) fn time(self, time: Timestamp) -> Self {
        self.number(time.unix_seconds())
    }

    pub(crate) fn optional_time(self, time: Option<Timestamp>) -> Self {
        self.number(time.map_or(u64::MAX, Timestamp::unix_seconds))
    }

    pub(crate) fn each<T>(
        self,
        items: impl ExactSizeIterator<Item = T>,
        write: impl Fn(Self, T) -> Self,
    ) -> Self {
        let count = u16::try_from(items.len()).expect("lists are bounded far below");
        items.fold(self.fixed(&count.to_be_bytes()), write)
    }

    pub(crate) fn done(self) -> Vec<u8> {
        self.0
    }
}

impl<'a> Reader<'a> {
    /// [`None`] unless `bytes` begin with `what`.
    pub(crate) fn of(what: &[u8], bytes: &'a [u8]) -> Option<Self> {
        bytes.strip_prefix(what).map(Self)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    pub(crate) fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*bytes)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        self.fixed().map(u64::from_be_bytes)
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(u16::from_be_bytes(self.fixed()?));
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(crate) fn time(&mut self) -> Option<Timestamp> {
        Timestamp::from_unix_seconds(self.number()?).ok()
    }

    pub(crate) fn optional_time(&mut self) -> Option<Option<Timestamp>> {
        match self.number()? {
            u64::MAX => Some(None),
            seconds => Timestamp::from_unix_seconds(seconds).ok().map(Some),
        }
    }

    pub(crate) fn seconds(&mut self) -> Option<Duration> {
        self.number().map(Duration::from_secs)
    }

    pub(crate) fn epoch(&mut self) -> Option<Epoch> {
        self.number().map(Epoch::new)
    }

    pub(crate) fn version(&mut self) -> Option<SecretVersion> {
        SecretVersion::new(self.number()?).ok()
    }

    pub(crate) fn secret_name(&mut self) -> Option<SecretName> {
        SecretName::new(std::str::from_utf8(self.bytes()?).ok()?).ok()
    }

    pub(crate) fn member_name(&mut self) -> Option<MemberName> {
        MemberName::new(std::str::from_utf8(self.bytes()?).ok()?).ok()
    }

    /// At most `limit` items.
    pub(crate) fn each<T>(
        &mut self,
        limit: usize,
        read: impl Fn(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let count = usize::from(u16::from_be_bytes(self.fixed()?));
        if count > limit {
            return None;
        }
        (0..count).map(|_| read(self)).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether nothing is left.
    pub(crate) fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}
