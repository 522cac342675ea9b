//! How long it takes from "revoke" in one process to the refused call in another, by SSF push over TLS on loopback.
//!
//! ```text
//! cargo run --release -p m2m-tower --features ssf,tls --example revoke_latency          # 1,000 sessions
//! cargo run --release -p m2m-tower --features ssf,tls --example revoke_latency -- 200   # as many as you like
//! cargo run --release -p m2m-tower --features ssf,tls --example revoke_latency -- 200 memory  # without syncs
//! ```
//!
//! The child is the transmitter. The parent is an axum service behind a guard, and the receiver. For each
//! session the parent tells the child to publish, over a pipe, and starts its clock before it does; the clock stops
//! when the guard refuses the session's token, which is looked at every tenth of a millisecond. Then the service
//! is called as well, and must say 401. Both sides keep their state in an embedded store, so the way has the
//! syncs of four commits: publishing, queueing, recording, revoking. What follows (finishing, and taking it from
//! the queue) overlaps with the next one.
//!
//! The exit code says whether 99 of 100 took less than 50 ms.

#![expect(clippy::print_stdout, reason = "a program for people")]

mod net;
mod receiver;
mod transmitter;

use std::path::Path;
use std::time::Duration;

use net::Kind;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// What 99 of 100 must be below.
const LIMIT: Duration = Duration::from_millis(50);

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    match arguments.as_slice() {
        ["child", directory, port, kind] => {
            let (directory, port) = (Path::new(directory), port.parse()?);
            runtime.block_on(transmitter::run(directory, port, Kind::parse(kind)?))
        }
        [] => measure(&runtime, 1_000, Kind::Embedded),
        [count] => measure(&runtime, count.parse()?, Kind::Embedded),
        [count, kind] => measure(&runtime, count.parse()?, Kind::parse(kind)?),
        _ => Err("usage: revoke_latency [COUNT [embedded | memory]]".into()),
    }
}

fn measure(runtime: &tokio::runtime::Runtime, count: usize, kind: Kind) -> Outcome<()> {
    let mut times = runtime.block_on(receiver::run(count, kind))?;
    times.sort_unstable();
    let at = |percent: usize| {
        let at = (times.len() * percent).div_ceil(100).max(1) - 1;
        times.get(at).copied().ok_or("nothing was measured")
    };
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    let (median, most, longest) = (at(50)?, at(99)?, at(100)?);
    println!(
        "{} revocations, from \"publish\" to the refused call: p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
        times.len(),
        milliseconds(median),
        milliseconds(most),
        milliseconds(longest),
    );
    println!(
        "push over TLS on loopback, {} store on both sides",
        kind.name()
    );
    if let Ok(load) = std::fs::read_to_string("/proc/loadavg") {
        println!("load average: {}", load.trim());
    }
    match most < LIMIT {
        true => Ok(()),
        false => Err(format!("p99 is not below {LIMIT:?}").into()),
    }
}
