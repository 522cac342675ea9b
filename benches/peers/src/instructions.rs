//! Counts instructions: exact where time is noisy.
//!
//! A contender runs in a child process under callgrind, a few times and then some more times; the
//! difference, divided, is one operation. callgrind's processor has AVX2 but neither SHA-NI nor
//! AVX-512, so on a machine that has them hashing looks dearer here than it is.

use std::process::{Command, Stdio};

use crate::fixture::Fixture;

const FEW: u64 = 5;

/// Whether valgrind is installed.
pub fn available() -> bool {
    Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Instructions per operation of the contender `id`, with the tokens of `fixture`; `calm` is its
/// time in nanoseconds, which decides how often it is run.
pub fn per_operation(id: &str, fixture: &Fixture, calm: f64) -> Option<u64> {
    let more = (3e6 / calm).clamp(5.0, 200.0) as u64;
    let few = run(id, fixture, FEW)?;
    let many = run(id, fixture, FEW + more)?;
    Some(many.saturating_sub(few) / more)
}

fn run(id: &str, fixture: &Fixture, times: u64) -> Option<u64> {
    let (name, value) = fixture.environment();
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().ok()?)
        .args(["count", id, &times.to_string()])
        .env(name, value)
        .output()
        .ok()?;
    let told = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        eprintln!("{id} fails under valgrind:\n{told}");
        return None;
    }
    collected(&told)
}

/// The number in callgrind's `Collected : 123`.
fn collected(told: &str) -> Option<u64> {
    told.lines()
        .find_map(|line| line.split_once("Collected :"))
        .and_then(|(_, number)| number.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read_from_what_callgrind_says() {
        let told = "==1== Events    : Ir\n==1== Collected : 172345\n==1==\n";
        assert_eq!(collected(told), Some(172_345));
        assert_eq!(collected("nothing"), None);
    }
}
