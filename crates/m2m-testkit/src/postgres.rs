//! A PostgreSQL server for tests: started on loopback, gone with the process.
//!
//! ```no_run
//! use m2m_testkit::postgres;
//!
//! let Some(connection_string) = postgres::shared() else {
//!     return; // said so on standard error
//! };
//! assert!(connection_string.contains("host="));
//! ```

use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The password of its only role, `postgres`. It guards a server on loopback that lives for a
/// minute.
pub const PASSWORD: &str = "only for tests";

/// Waits for commands, and for the end of the process that gives them: then it stops the server and
/// removes its directory. The server's other processes are killed with it, as a power cut would.
const KEEPER: &str = r#"
start() { "$BIN/postgres" -D "$DIR/data" >>"$DIR/log" 2>&1 & pid=$!; }
ensure() { case $(cat "/proc/$pid/stat" 2>/dev/null) in ""|*") Z "*) start ;; esac; }
family() { echo "$pid"; cat "/proc/$pid/task/$pid/children" 2>/dev/null; }
pid=
while read -r command; do
  case $command in
    start) start ;;
    ensure) ensure ;;
    stop) kill -INT "$pid"; wait "$pid"; pid= ;;
    kill) kill -9 $(family) 2>/dev/null; wait "$pid" 2>/dev/null; pid= ;;
  esac
  echo done
done
[ -z "$pid" ] || { kill -INT "$pid"; wait "$pid"; }
rm -rf "$DIR"
"#;

/// A running server.
pub struct Server {
    directory: PathBuf,
    port: u16,
    keeper: Child,
    commands: Option<ChildStdin>,
    answers: io::BufReader<std::process::ChildStdout>,
}

/// What a server of its own is started with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// Lines for `postgresql.conf`.
    pub settings: &'a str,
    /// Certificate chain and key (PEM), for TLS.
    pub tls: Option<(&'a str, &'a str)>,
    /// More files, with their paths below the server's directory; `data` is the database's.
    pub files: &'a [(&'a str, &'a str)],
}

/// A connection string of a server that the tests of this process share: that of `$M2M_POSTGRES`,
/// or one that is started now. [`None`], and a loud line, where there is none.
pub fn shared() -> Option<&'static str> {
    static SHARED: OnceLock<Option<(String, Option<Server>)>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| match std::env::var("M2M_POSTGRES") {
        Ok(text) if !text.is_empty() => Some((text, None)),
        _ => Server::start(Options::default()).map(|server| {
            let text = server.connection_string();
            (text, Some(server))
        }),
    });
    shared.as_ref().map(|(text, _)| text.as_str())
}

impl Server {
    /// Starts a server of its own. [`None`], and a loud line, where none is installed.
    ///
    /// # Panics
    ///
    /// If one is installed and does not start.
    pub fn start(options: Options<'_>) -> Option<Self> {
        let Some(programs) = programs() else {
            say("SKIPPED: no PostgreSQL: neither $M2M_POSTGRES nor an installed server");
            return None;
        };
        let server = Self::create(&programs, options);
        Some(
            server
                .unwrap_or_else(|error| panic!("PostgreSQL is there and does not start: {error}")),
        )
    }

    fn create(programs: &Path, options: Options<'_>) -> io::Result<Self> {
        let user = user();
        let directory = directory()?;
        std::fs::write(directory.join("password"), PASSWORD)?;
        if let Some((chain, key)) = options.tls {
            std::fs::write(directory.join("chain.pem"), chain)?;
            std::fs::write(directory.join("key.pem"), key)?;
            check(
                Command::new("chmod")
                    .arg("600")
                    .arg(directory.join("key.pem")),
            )?;
        }
        if let Some(user) = user {
            check(Command::new("chown").args(["-R", user]).arg(&directory))?;
        }
        let mut initdb = run_as(user, &programs.join("initdb"));
        initdb
            .args([
                "--auth=scram-sha-256",
                "--username=postgres",
                "--encoding=UTF8",
            ])
            .arg("--no-sync")
            .arg("--locale=C")
            .arg(format!("--pwfile={}", directory.join("password").display()))
            .arg(directory.join("data"));
        check(&mut initdb)?;
        for (name, text) in options.files {
            std::fs::write(directory.join(name), text)?;
        }
        let port = free_port()?;
        let tls = match options.tls {
            Some(_) => "ssl = on\nssl_cert_file = '../chain.pem'\nssl_key_file = '../key.pem'\n",
            None => "",
        };
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\n\
             max_connections = 200\nshared_buffers = 64MB\nfsync = on\n{tls}{}\n",
            directory.display(),
            options.settings
        );
        std::fs::OpenOptions::new()
            .append(true)
            .open(directory.join("data/postgresql.conf"))?
            .write_all(settings.as_bytes())?;
        let mut keeper = run_as(user, Path::new("/bin/sh"));
        let mut keeper = keeper
            .args(["-c", KEEPER])
            .env("BIN", programs)
            .env("DIR", &directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let missing = || io::Error::other("no pipe");
        let answers = keeper.stdout.take().ok_or_else(missing)?;
        let mut server = Self {
            commands: keeper.stdin.take(),
            answers: io::BufReader::new(answers),
            directory,
            port,
            keeper,
        };
        server.resume()?;
        Ok(server)
    }

    /// How to reach it, as its superuser.
    pub fn connection_string(&self) -> String {
        self.connection_string_on(self.port)
    }

    /// The same, where `port` leads to it.
    pub fn connection_string_on(&self, port: u16) -> String {
        format!("host=127.0.0.1 port={port} user=postgres dbname=postgres password='{PASSWORD}'")
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where its Unix socket is.
    pub fn socket_directory(&self) -> &Path {
        &self.directory
    }

    /// Kills all its processes with SIGKILL.
    ///
    /// # Errors
    ///
    /// If whoever keeps the server is gone.
    pub fn kill(&mut self) -> io::Result<()> {
        self.command("kill")
    }

    /// Starts it again where it was, and waits until it answers.
    ///
    /// # Errors
    ///
    /// If it does not answer within a minute; with the end of its log.
    pub fn resume(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        self.command("start")?;
        let mut looked = 0_u32;
        while Instant::now() < deadline {
            sleep(Duration::from_millis(20));
            if self.answers() {
                return Ok(());
            }
            looked += 1;
            // Processes of the server before this one may have been in its way.
            if looked % 10 == 0 {
                self.command("ensure")?;
            }
        }
        let log = std::fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        let end: Vec<&str> = log.lines().rev().take(5).collect();
        Err(io::Error::other(format!("no answer in 60 s: {end:?}")))
    }

    /// Starts it anew as a standby: it answers reads, from what it has, and takes no writes.
    ///
    /// # Errors
    ///
    /// If it does not answer within a minute; with the end of its log.
    pub fn become_standby(&mut self) -> io::Result<()> {
        self.command("stop")?;
        std::fs::write(self.directory.join("data/standby.signal"), "")?;
        self.resume()
    }

    fn command(&mut self, command: &str) -> io::Result<()> {
        let commands = self.commands.as_mut();
        let commands = commands.ok_or_else(|| io::Error::other("stopped"))?;
        writeln!(commands, "{command}")?;
        let mut answer = String::new();
        io::BufRead::read_line(&mut self.answers, &mut answer).map(drop)
    }

    /// Whether it takes a start-up packet: answers "authenticate yourself" (`R`), and not an error
    /// (`E`) as it does while it recovers.
    fn answers(&self) -> bool {
        let parameters = b"\0\x03\0\0user\0postgres\0database\0postgres\0\0";
        let Ok(length) = u32::try_from(parameters.len() + 4) else {
            return false;
        };
        let packet = [&length.to_be_bytes(), parameters.as_slice()].concat();
        let asked = TcpStream::connect(("127.0.0.1", self.port)).and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            stream.write_all(&packet)?;
            let mut kind = [0];
            io::Read::read_exact(&mut stream, &mut kind)?;
            Ok(kind)
        });
        asked.is_ok_and(|kind| kind == *b"R")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The keeper sees the end of its commands, stops the server and tidies up.
        self.commands = None;
        let _ = self.keeper.wait();
    }
}

/// The directory of `initdb` and `postgres`, the newest version first.
fn programs() -> Option<PathBuf> {
    let mut places: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    places.sort_by_key(|place| {
        let version = place.parent().and_then(Path::file_name);
        let version = version.and_then(|name| name.to_str()?.parse::<u32>().ok());
        std::cmp::Reverse(version)
    });
    let path = std::env::var_os("PATH").unwrap_or_default();
    places.extend(std::env::split_paths(&path));
    places
        .into_iter()
        .find(|place| place.join("initdb").is_file() && place.join("postgres").is_file())
}

/// PostgreSQL does not run as root: then as `postgres`, or as `nobody`.
fn user() -> Option<&'static str> {
    let id = Command::new("id").arg("-u").output().ok()?;
    if id.stdout.trim_ascii() != b"0" {
        return None;
    }
    let exists = |name: &&str| {
        let asked = Command::new("id").arg("-u").arg(name).output();
        asked.is_ok_and(|asked| asked.status.success())
    };
    ["postgres", "nobody"].into_iter().find(exists)
}

fn run_as(user: Option<&str>, program: &Path) -> Command {
    let Some(user) = user else {
        return Command::new(program);
    };
    let mut command = Command::new("setpriv");
    command
        .arg(format!("--reuid={user}"))
        .args(["--regid=nogroup", "--clear-groups", "--"])
        .arg(program)
        .current_dir("/");
    command
}

fn check(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        ))),
    }
}

/// A new directory, with a name that nothing else has: what was killed may have left one, and
/// process ids come again.
fn directory() -> io::Result<PathBuf> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("m2m-postgres-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        match std::fs::create_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| directory),
        }
    }
}

fn free_port() -> io::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    Ok(listener.local_addr()?.port())
}

/// Past the test harness, which hides what a passing test prints.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
