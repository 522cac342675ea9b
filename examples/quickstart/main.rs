//! The whole story: an issuer and two services that join by request, call each other by mutual TLS with
//! tokens that are bound to their certificates, replace everything that they go by without one refused
//! call, and take all of it from one of them when it must be.
//!
//! ```text
//! cargo run --release --locked -p m2m-examples --example quickstart
//! ```
//!
//! Everything happens in this process and on loopback, with a store in a sealed file for each of the
//! three. The program fails if a call is refused that should not be, or one is answered that should not be.

#![expect(clippy::print_stdout, reason = "a program for people")]

mod accept;
mod authority;
mod follow;
#[path = "../rotate_secret/hex.rs"]
mod hex;
mod issuer;
mod issuer_http;
#[path = "../revoke_everywhere/lent.rs"]
mod lent;
mod load;
mod net;
mod revocation;
mod rotation;
mod secret;
mod service;
mod service_http;
#[path = "../rotate_secret/machine.rs"]
mod sharer;
mod signals;
mod table;
mod tokens;
mod world;

use std::error::Error;
use std::time::Instant;

use table::{Table, readable};
use world::World;

pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let begun = Instant::now();
    let mut table = Table::new();
    tokens::run(&mut table)?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(story(&mut table))?;
    println!("\nWhat was shown:\n");
    print!("{}", table.to_text());
    println!(
        "\nAll of it in {}: one process, loopback, three files, no server to run.",
        readable(begun.elapsed())
    );
    Ok(())
}

async fn story(table: &mut Table) -> Outcome<()> {
    let world = World::start(table).await?;
    world.show_calls(table).await?;
    rotation::run(&world, table).await?;
    revocation::run(&world, table).await
}

/// A line of the story.
pub(crate) fn say(line: &str) {
    println!("   {line}");
}
