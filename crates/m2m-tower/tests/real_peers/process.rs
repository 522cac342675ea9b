//! Other people's programs: found or skipped, given so much time and no more, and gone with the test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long a program may take for all that a test asks of it. None needs a tenth of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Past the test harness, which hides what a passing test prints.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The program of that name, if there is one; else a loud line.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian's servers are where the paths of users do not lead.
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let found = places
        .map(|place| place.join(name))
        .find(|file| file.is_file());
    if found.is_none() {
        say(&format!(
            "SKIPPED: no {name}: `bash .ci/run peers` installs it"
        ));
    }
    found
}

/// A file below `target/ci/peers`, where `.ci/run` installs what is not Debian's; `$M2M_PEERS` is another
/// place for it.
pub(crate) fn installed(file: &str) -> Option<PathBuf> {
    let place = std::env::var_os("M2M_PEERS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/ci/peers"),
        PathBuf::from,
    );
    let found = place.join(file);
    if !found.exists() {
        say(&format!(
            "SKIPPED: no {file}: `bash .ci/run peers` installs it"
        ));
        return None;
    }
    Some(found)
}

/// A program that runs, line by line; killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    errors: thread::JoinHandle<String>,
    ends: Instant,
}

/// How a program ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in stdout.split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut stderr = child.stderr.take().unwrap();
        let errors = thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Self {
            stdin: child.stdin.take(),
            child,
            lines,
            errors,
            ends: Instant::now() + PATIENCE,
        }
    }

    /// The next line that it prints; [`None`] if it ended before, or takes too long.
    pub(crate) fn line(&self) -> Option<String> {
        let left = self.ends.saturating_duration_since(Instant::now());
        self.lines.recv_timeout(left).ok()
    }

    pub(crate) fn tell(&mut self, line: &str) {
        // If it is gone, that is seen by what it does not say.
        if let Some(stdin) = &mut self.stdin {
            let _ = writeln!(stdin, "{line}");
        }
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end, or kills it when its time is over.
    pub(crate) fn end(mut self) -> Ended {
        self.stdin = None;
        let mut stdout = String::new();
        while let Some(line) = self.line() {
            stdout.push_str(&line);
            stdout.push('\n');
        }
        let mut code = None;
        while Instant::now() < self.ends {
            if let Ok(Some(status)) = self.child.try_wait() {
                code = status.code();
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let errors = std::mem::replace(&mut self.errors, thread::spawn(String::new));
        Ended {
            code,
            stdout,
            stderr: errors.join().unwrap_or_default(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program to its end.
pub(crate) fn run(command: &mut Command) -> Ended {
    Running::start(command).end()
}
