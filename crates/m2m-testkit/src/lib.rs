#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod postgres;
pub mod vectors;
