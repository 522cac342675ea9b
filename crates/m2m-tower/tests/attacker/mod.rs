//! The attacker: a process of its own, started from the same program.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may panic; it reports on its output"
)]

mod frames;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// What is done, how often at once.
pub(crate) struct Attack {
    pub(crate) kind: &'static str,
    pub(crate) count: usize,
    addresses: usize,
}

/// What an attacker saw.
#[derive(Debug)]
pub(crate) struct Report {
    /// Connections that it opened.
    pub(crate) opened: usize,
    /// Those that the server closed.
    pub(crate) closed: usize,
    /// How long the longest lasted, in milliseconds.
    pub(crate) longest: u64,
}

pub(crate) struct Attacker {
    child: Child,
    report: Option<std::thread::JoinHandle<Option<Report>>>,
}

const MARK: &str = "attack: ";

impl Attack {
    pub(crate) const fn new(kind: &'static str, count: usize) -> Self {
        Self {
            kind,
            count,
            addresses: 50,
        }
    }

    pub(crate) const fn of_one_address(mut self) -> Self {
        self.addresses = 1;
        self
    }
}

impl Attacker {
    pub(crate) fn start(attack: &Attack, target: SocketAddr) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["attacker", "--exact", "--ignored", "--nocapture"])
            .env("M2M_ATTACK", attack.kind)
            .env("M2M_ATTACK_COUNT", attack.count.to_string())
            .env("M2M_ATTACK_ADDRESSES", attack.addresses.to_string())
            .env("M2M_ATTACK_TARGET", target.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let report = std::thread::spawn(move || {
            let mut report = None;
            for line in output.lines().map_while(Result::ok) {
                let Some(figures) = line.split_once(MARK) else {
                    continue;
                };
                let mut figures = figures
                    .1
                    .split(' ')
                    .map(|figure| figure.parse::<u64>().unwrap());
                let mut next = || figures.next().unwrap();
                report = Some(Report {
                    opened: next() as usize,
                    closed: next() as usize,
                    longest: next(),
                });
            }
            report
        });
        let report = Some(report);
        Self { child, report }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.report
            .as_ref()
            .is_none_or(|report| report.is_finished())
    }

    pub(crate) fn report(mut self) -> Report {
        let report = self.report.take().unwrap().join().unwrap();
        assert!(self.child.wait().unwrap().success());
        report.expect("the attacker reports")
    }
}

impl Drop for Attacker {
    /// Also if the test failed.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How many descriptors this process may have, after it asked for as many as it may.
pub(crate) fn descriptors() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| limit as usize)
}

/// Allows this process so many.
pub(crate) fn limit_descriptors(count: usize) {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(count as u64);
    setrlimit(Resource::Nofile, limit).unwrap();
}

/// The process of the attacker.
pub(crate) fn main() {
    let of = |name: &str| std::env::var(name).expect("it is started by other tests");
    let kind = of("M2M_ATTACK");
    let target: SocketAddr = of("M2M_ATTACK_TARGET").parse().unwrap();
    let count: usize = of("M2M_ATTACK_COUNT").parse().unwrap();
    let addresses: usize = of("M2M_ATTACK_ADDRESSES").parse().unwrap();
    descriptors();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let lives = runtime.block_on(async {
        let mut attacks = tokio::task::JoinSet::new();
        for at in 0..count {
            let from: SocketAddr = format!("127.0.1.{}:0", 1 + at % addresses).parse().unwrap();
            let kind = kind.clone();
            attacks.spawn(async move { attack(&kind, from, target).await });
            // What does not fit into the backlog the kernel keeps to itself, and no server knows of it.
            if at % 50 == 49 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        attacks.join_all().await
    });
    let lives: Vec<Option<Duration>> = lives.into_iter().flatten().collect();
    let (opened, closed) = (lives.len(), lives.iter().flatten().count());
    let longest = lives.iter().flatten().max().copied().unwrap_or_default();
    println!("\n{MARK}{opened} {closed} {}", longest.as_millis());
}

/// How long floods go on, connection by connection.
const FLOOD: Duration = Duration::from_secs(3);

/// After that nobody closes a connection any more.
const GIVEN_UP: Duration = Duration::from_secs(40);

/// How long each connection lasted until the server closed it, if it did.
async fn attack(kind: &str, from: SocketAddr, target: SocketAddr) -> Vec<Option<Duration>> {
    let begun = Instant::now();
    let mut lives = Vec::new();
    loop {
        let opened = Instant::now();
        // What is reset before it is known here was opened too.
        let closed = match connect(from, target).await {
            Ok(stream) => tokio::time::timeout(GIVEN_UP, once(kind, stream)).await,
            Err(_) => Ok(()),
        };
        lives.push(closed.ok().map(|()| opened.elapsed()));
        let is_flood = !matches!(kind, "silent" | "half_hello" | "slow_head" | "slow_body");
        if !is_flood || begun.elapsed() > FLOOD {
            return lives;
        }
    }
}

async fn connect(from: SocketAddr, target: SocketAddr) -> std::io::Result<TcpStream> {
    loop {
        let socket = TcpSocket::new_v4()?;
        socket.bind(from)?;
        match socket.connect(target).await {
            // The backlog was full.
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {}
            other => return other,
        }
    }
}

async fn once(kind: &str, mut stream: TcpStream) {
    match kind {
        "silent" => {}
        "half_hello" => {
            let mut hello = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
            hello.resize(250, 0x17);
            let _ = stream.write_all(&hello).await;
        }
        "slow_head" => drip(&mut stream, b"GET / HTTP/1.1\r\nhost: x\r\nx: ").await,
        "slow_body" => {
            let head = b"POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n";
            drip(&mut stream, head).await;
        }
        "many_fields" => {
            let fields: String = (0..20_000).map(|at| format!("x-{at}: y\r\n")).collect();
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n").await;
            let _ = stream.write_all(fields.as_bytes()).await;
        }
        "huge_field" => {
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nx: ").await;
            let _ = stream.write_all(&vec![b'y'; 8 << 20]).await;
        }
        _ => frames::flood(kind, &mut stream).await,
    }
    let mut rest = [0; 4096];
    while matches!(stream.read(&mut rest).await, Ok(count) if count > 0) {}
}

/// `head`, and a byte each second until nobody takes it any more.
async fn drip(stream: &mut TcpStream, head: &[u8]) {
    if stream.write_all(head).await.is_err() {
        return;
    }
    let mut rest = [0; 512];
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {
                if stream.write_all(b"x").await.is_err() {
                    return;
                }
            }
            read = stream.read(&mut rest) => {
                if !matches!(read, Ok(count) if count > 0) {
                    return;
                }
            }
        }
    }
}
