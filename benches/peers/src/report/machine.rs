//! What a number travels with: machine, compiler, commit and date.

use std::fs;
use std::process::Command;

pub(super) struct Machine {
    pub(super) processor: String,
    pub(super) cores: usize,
    pub(super) sha_ni: bool,
    pub(super) avx512: bool,
    pub(super) compiler: String,
    pub(super) commit: String,
    pub(super) date: String,
}

impl Machine {
    pub(super) fn this() -> Self {
        let information = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let flags = field(&information, "flags").unwrap_or_default();
        let has = |flag: &str| flags.split(' ').any(|word| word == flag);
        Self {
            processor: field(&information, "model name")
                .unwrap_or("unknown")
                .to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            sha_ni: has("sha_ni"),
            avx512: has("avx512f"),
            compiler: said("rustc", &["--version"]),
            commit: commit(),
            date: said("date", &["-u", "+%F"]),
        }
    }
}

fn field<'a>(information: &'a str, name: &str) -> Option<&'a str> {
    information
        .lines()
        .find(|line| line.starts_with(name))
        .and_then(|line| line.split_once(": "))
        .map(|(_, value)| value)
}

/// The commit, and whether what was measured is more than that.
fn commit() -> String {
    let commit = said("git", &["rev-parse", "--short", "HEAD"]);
    let changes = said("git", &["status", "--porcelain", "--", "../../crates", "."]);
    if changes.is_empty() {
        commit
    } else {
        format!("{commit} with uncommitted changes")
    }
}

fn said(program: &str, arguments: &[&str]) -> String {
    Command::new(program)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned())
}
