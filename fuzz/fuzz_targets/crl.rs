#![no_main]
//! Any bytes as a CRL, and any bytes as the index of one.
//!
//! The header of an index carries a checksum that no fuzzer guesses, so its seeds are whole indexes
//! and most of what is reached behind it are damaged blocks.

use libfuzzer_sys::fuzz_target;
use m2m_fuzz::check_message;
use m2m_pki::{CrlIndex, CrlLimits, UnverifiedCrl};

fuzz_target!(|data: &[u8]| {
    let limits = CrlLimits::default().with_entries(1000);
    match UnverifiedCrl::parse(data, &limits) {
        Ok(crl) => {
            let name = crl.issuer_der();
            assert!(data.windows(name.len()).any(|window| window == name));
            // The same bytes, cut or continued, are no CRL.
            assert!(UnverifiedCrl::parse(&data[..data.len() - 1], &limits).is_err());
            assert!(UnverifiedCrl::parse(&[data, &[0]].concat(), &limits).is_err());
        }
        Err(error) => check_message(&error),
    }
    match CrlIndex::open(data.to_vec()) {
        Ok(index) => {
            let whole = index.check_all();
            for serial in [&[][..], &[1], &[0, 1], &[0x7f; 16], &[1; 20], &[1; 21]] {
                match index.find(serial) {
                    Ok(_) => {}
                    Err(error) => {
                        assert!(whole.is_err() || serial.len() > 20, "whole, but no answer");
                        check_message(&error);
                    }
                }
            }
        }
        Err(error) => check_message(&error),
    }
});
