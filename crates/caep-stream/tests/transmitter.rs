//! A transmitter: its management API, and how events get from it to receivers.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

#[path = "transmitter/support.rs"]
mod support;

#[path = "transmitter/configuration.rs"]
mod configuration;
#[path = "transmitter/crash.rs"]
mod crash;
#[path = "transmitter/poll.rs"]
mod poll;
#[path = "transmitter/push.rs"]
mod push;
#[path = "transmitter/replay.rs"]
mod replay;
#[path = "transmitter/simulated.rs"]
mod simulated;
#[path = "transmitter/status.rs"]
mod status;
#[path = "transmitter/subjects.rs"]
mod subjects;
#[path = "transmitter/wakes.rs"]
mod wakes;
