//! SHA-2 (FIPS 180-4), for data that is not secret: nothing here is wiped.

use std::fmt;

use ring::digest;

macro_rules! sha2 {
    ($function:ident, $hasher:ident, $algorithm:ident, $bytes:literal, $name:literal) => {
        #[doc = concat!($name, " of `data`.")]
        pub fn $function(data: &[u8]) -> [u8; $bytes] {
            output(digest::digest(&digest::$algorithm, data))
        }

        #[doc = concat!($name, " of data that comes in pieces.")]
        ///
        /// ```
        #[doc = concat!("use m2m_crypto::{", stringify!($hasher), ", ", stringify!($function), "};")]
        ///
        #[doc = concat!("let mut hasher = ", stringify!($hasher), "::new();")]
        /// hasher.update(b"ab");
        /// hasher.update(b"c");
        #[doc = concat!("assert_eq!(hasher.finish(), ", stringify!($function), "(b\"abc\"));")]
        /// ```
        #[derive(Clone)]
        pub struct $hasher(digest::Context);

        impl $hasher {
            /// A hasher that has seen nothing.
            pub fn new() -> Self {
                Self(digest::Context::new(&digest::$algorithm))
            }

            /// Adds the next piece.
            pub fn update(&mut self, data: &[u8]) {
                self.0.update(data);
            }

            /// The hash of all pieces.
            pub fn finish(self) -> [u8; $bytes] {
                output(self.0.finish())
            }
        }

        impl Default for $hasher {
            fn default() -> Self {
                Self::new()
            }
        }

        impl fmt::Debug for $hasher {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($hasher))
            }
        }
    };
}

sha2!(sha256, Sha256, SHA256, 32, "SHA-256");
sha2!(sha384, Sha384, SHA384, 48, "SHA-384");
sha2!(sha512, Sha512, SHA512, 64, "SHA-512");

fn output<const N: usize>(digest: digest::Digest) -> [u8; N] {
    digest
        .as_ref()
        .try_into()
        .expect("each hash above is declared with its own length")
}
