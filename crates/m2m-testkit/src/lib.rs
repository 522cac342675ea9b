#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod http;
pub mod keys;
pub mod postgres;
pub mod vectors;
pub mod wait;
