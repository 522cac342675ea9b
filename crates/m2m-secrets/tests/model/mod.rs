//! A small world around the real engine: an issuer, its members, a network that delays, repeats,
//! reorders and loses, clocks that differ, and crashes. Everything that can happen in it is tried.

mod action;
mod check;
mod explore;
mod scope;
mod world;

pub(crate) use explore::{Explored, explore};
pub(crate) use scope::{Budget, Scope, Seat};
