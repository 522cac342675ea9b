#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod shared_secret;

pub use shared_secret::{MIN_SECRET_BYTES, SharedSecret, WeakSecret};
