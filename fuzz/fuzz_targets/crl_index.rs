#![no_main]
//! Changes to the bytes of a whole index, three bytes each: where, and what is flipped there. Whatever is
//! changed, an answer is the right one or an error.

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use m2m_fuzz::{check_message, pki};
use m2m_pki::CrlIndex;

static INDEX: LazyLock<CrlIndex> = LazyLock::new(|| pki::index(pki::LISTED));

fuzz_target!(|data: &[u8]| {
    let mut bytes = INDEX.as_bytes().to_vec();
    let length = bytes.len();
    let (changes, rest) = data.as_chunks::<3>();
    for [high, low, flip] in changes {
        let at = usize::from(u16::from_be_bytes([*high, *low])) % length;
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= flip;
        }
    }
    // One byte left over cuts the end off.
    if let [cut] = rest {
        bytes.truncate(length.saturating_sub(usize::from(*cut)));
    }
    let is_whole = bytes == INDEX.as_bytes();
    let index = match CrlIndex::open(bytes) {
        Ok(index) => index,
        Err(error) => {
            assert!(!is_whole, "whole, and not opened: {error}");
            return check_message(&error);
        }
    };
    assert_eq!(index.check_all().is_ok(), is_whole);
    assert_eq!(index.number(), INDEX.number());
    assert_eq!(index.next_update(), INDEX.next_update());
    // Every second number is listed.
    for number in 0..2 * pki::LISTED {
        let serial = pki::serial(number);
        match index.find(serial.as_bytes()) {
            Ok(found) => assert_eq!(found, INDEX.find(serial.as_bytes()).expect("whole")),
            Err(error) => check_message(&error),
        }
    }
});
