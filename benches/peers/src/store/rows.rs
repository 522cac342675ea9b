//! The rows that all engines are given.

/// Bytes of a key, as an id of a revocation has.
pub const KEY_BYTES: usize = 16;
/// Bytes of a value.
pub const VALUE_BYTES: usize = 100;

/// A key and a value.
pub type Row = ([u8; KEY_BYTES], Vec<u8>);

/// The `number`th row. Keys are spread like digests, so that each touches another page; no two
/// numbers share one.
pub fn row(number: u64) -> Row {
    (key(number), vec![number as u8; VALUE_BYTES])
}

/// The key of the `number`th row.
pub fn key(number: u64) -> [u8; KEY_BYTES] {
    // SplitMix64, which maps no two numbers to one.
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let mut key = [0; KEY_BYTES];
    key[..8].copy_from_slice(&mixed.to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The rows of `numbers`.
pub fn rows(numbers: std::ops::Range<u64>) -> Vec<Row> {
    numbers.map(row).collect()
}
