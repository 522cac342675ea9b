//! Tokens.
fn main() {}
