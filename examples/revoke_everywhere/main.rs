//! An identity provider and three services, each a process of its own, over HTTP. A session is revoked
//! once, and each service refuses the session's next call, also if somebody is killed in between.
//!
//! ```text
//! cargo run --release -p m2m-examples --example revoke_everywhere               # 6 sessions
//! cargo run --release -p m2m-examples --example revoke_everywhere -- 20         # as many as you like
//! cargo run --release -p m2m-examples --example revoke_everywhere -- kills 500  # kill -9 at random points
//! ```
//!
//! Two services are pushed to (RFC 8935), one polls (RFC 8936). Whoever is killed, with SIGKILL, is
//! started again with what lies in its store. At the end the stores are opened and counted: each
//! revocation was acted upon once by each service, none was lost, none was done twice. That is the exit
//! code.
//!
//! There is no TLS here: names that begin with `https` lead to ports of 127.0.0.1, as they would lead to
//! a proxy that ends TLS (see `m2m_testkit::http`).

#![expect(clippy::print_stdout, reason = "a program for people")]

mod chaos;
mod edge;
mod family;
mod lent;
mod network;
#[path = "../state/random.rs"]
mod random;
mod receiver;
mod rounds;
mod store;
mod transmitter;

use std::path::Path;

use network::Network;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["child", name, directory, ports] => {
            let (directory, network) = (Path::new(directory), Network::parse(ports)?);
            match *name {
                network::PROVIDER => transmitter::run(directory, network),
                service => receiver::run(service, directory, network),
            }
        }
        [] => rounds::run(6),
        ["kills"] => chaos::run(100, seed_of_now()?),
        ["kills", kills] => chaos::run(kills.parse()?, seed_of_now()?),
        ["kills", kills, seed] => chaos::run(kills.parse()?, seed.parse()?),
        [count] => rounds::run(count.parse()?),
        _ => Err("usage: revoke_everywhere [ROUNDS | kills [COUNT [SEED]]]".into()),
    }
}

fn seed_of_now() -> Outcome<u64> {
    Ok(std::time::UNIX_EPOCH.elapsed()?.as_secs())
}
