//! The conformance tests of the OpenID Foundation for Shared Signals, step by step, as black boxes over
//! HTTP on loopback: 21 modules and one of the CAEP interoperability profile for transmitters, 6 and one
//! for receivers. The two roles of this crate are run against them.
//!
//! ```text
//! cargo test -p caep-stream --all-features --test conformance [-- PART-OF-A-NAME]
//! ```
//!
//! `F` fails a module; `W` and `I` are warnings and remarks, as the suite grades them. A tester that finds
//! nothing proves nothing, so each kind of failure is provoked as well: see `sabotage`.
//!
//! What it is not: the suite itself. There is no TLS here, and names that must be `https` lead to ports of
//! loopback (see `m2m_testkit::http`).

#![expect(clippy::print_stdout, reason = "a table of results")]
#![expect(
    clippy::indexing_slicing,
    reason = "JSON has null where there is nothing"
)]

mod checks;
mod control;
mod delivered;
mod mock;
mod plans;
mod receiver_host;
mod receivers;
mod report;
mod sabotage;
mod streams;
mod table;
mod tester;
mod transmitter_host;
mod younger;

use std::process::ExitCode;

use table::Table;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // What libtest would understand is not understood here, but for being quiet.
    let quiet = arguments
        .iter()
        .any(|word| word == "--quiet" || word == "-q");
    let filter = arguments.into_iter().find(|word| !word.starts_with('-'));
    let mut table = Table::new(filter, quiet);
    plans::transmitters(&mut table);
    plans::receivers(&mut table);
    sabotage::transmitters(&mut table);
    sabotage::receivers(&mut table);
    table.end()
}
