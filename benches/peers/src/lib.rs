#![doc = include_str!("../README.md")]

pub mod allocations;
pub mod contender;
pub mod fixture;
pub mod instructions;
pub mod measure;
pub mod ours;
pub mod peers;
pub mod pki;
pub mod report;
pub mod requests;
pub mod secrets;
pub mod sets;
pub mod software;
pub mod store;
pub mod threads;
pub mod timing;

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;
