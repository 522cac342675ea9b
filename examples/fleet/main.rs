//! Three processes revoke, write, delete and follow on one PostgreSQL. They are killed, paused and
//! started again at random, and their connections are cut at every message in turn. Again and again
//! one of them is asked whether it would accept anything that was revoked before; in the end all is
//! checked.
//!
//! ```text
//! cargo run --release -p m2m-examples --example fleet            # half a minute
//! cargo run --release -p m2m-examples --example fleet -- 300     # so many seconds
//! ```
//!
//! Uses the server that `M2M_POSTGRES` names (`host=127.0.0.1 port=…`), or starts one of its own
//! where PostgreSQL is installed. Where it is not, it says so and does nothing.

#![expect(clippy::print_stdout, reason = "a program for people")]

mod cutter;
mod node;
#[path = "../state/states.rs"]
mod state;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use m2m_crypto::{SecretBytes, SecureRandom, SystemRandom};
use m2m_store::LocalKey;
use m2m_store_postgres::{PostgresConfig, PostgresStore};
use m2m_testkit::postgres;

use cutter::Cutter;
use state::{Outcome, Random, World, actors};

const NODES: usize = 3;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["node", connection, schema, key, seed] => {
            node::run(connection, schema, key, seed.parse()?)
        }
        [] => run(Duration::from_secs(30)),
        [seconds] => run(Duration::from_secs(seconds.parse()?)),
        _ => Err("usage: fleet [SECONDS]".into()),
    }
}

/// What all nodes said: actor → lines.
type Told = Arc<Mutex<BTreeMap<String, Vec<String>>>>;

struct Fleet {
    connection: String,
    schema: String,
    directory: tempfile::TempDir,
    nodes: Vec<Node>,
    told: Told,
    random: Random,
    checks: u64,
}

struct Node {
    process: Child,
    answers: mpsc::Receiver<String>,
}

fn run(time: Duration) -> Outcome<()> {
    let Some(server) = postgres::shared() else {
        return Ok(());
    };
    let port = server
        .split_whitespace()
        .find_map(|word| word.strip_prefix("port="))
        .ok_or("M2M_POSTGRES has no `port=`")?;
    let cutter = Cutter::start(port.parse()?)?;
    let proxied = server.replace(&format!("port={port}"), &format!("port={}", cutter.port));
    let mut fleet = Fleet::prepare(server, &proxied)?;
    println!(
        "{NODES} nodes, {} s, seed {:x}",
        time.as_secs(),
        fleet.random.next()
    );
    for _ in 0..NODES {
        let node = fleet.start()?;
        fleet.nodes.push(node);
    }
    cutter.cut(true);
    let (begun, mut kills, mut pauses) = (Instant::now(), 0, 0);
    let mut spoken = 0;
    while begun.elapsed() < time {
        std::thread::sleep(Duration::from_millis(50 + fleet.random.below(250)));
        let nth = usize::try_from(fleet.random.below(NODES as u64))?;
        match fleet.random.below(6) {
            0 => {
                fleet.kill_and_restart(nth)?;
                kills += 1;
            }
            1 | 2 => {
                fleet.pause(nth)?;
                pauses += 1;
            }
            _ => fleet.ask(nth)?,
        }
        if begun.elapsed().as_secs() / 5 > spoken {
            spoken = begun.elapsed().as_secs() / 5;
            println!(
                "{:>4} s: {:>7} acknowledged, {kills} killed, {pauses} paused, {} connections cut, {} questions, 0 wrong",
                begun.elapsed().as_secs(),
                fleet.acknowledged(),
                cutter.cuts(),
                fleet.checks,
            );
        }
    }
    cutter.cut(false);
    for nth in 0..NODES {
        fleet.ask(nth)?;
    }
    println!("Calm again: all {NODES} nodes refuse all that was revoked.");
    fleet.stop()?;
    fleet.check_store(server)?;
    println!(
        "All {} things that were acknowledged are there, none twice, and nothing that was dead is alive.",
        fleet.acknowledged()
    );
    Ok(())
}

impl Fleet {
    /// Makes the tables, in a schema of their own.
    fn prepare(server: &str, connection: &str) -> Outcome<Self> {
        let directory = tempfile::tempdir()?;
        let key = SecretBytes::random(LocalKey::BYTES, &SystemRandom)?;
        std::fs::write(directory.path().join("outer.key"), key.expose_secret())?;
        let mut seed = [0; 8];
        SystemRandom.fill(&mut seed)?;
        let seed = u64::from_le_bytes(seed) >> 1;
        let schema = format!("fleet_{seed:x}");
        let config = PostgresConfig::new(server)?.with_schema(&schema)?;
        runtime()?.block_on(PostgresStore::migrate(config))?;
        Ok(Self {
            connection: connection.into(),
            schema,
            directory,
            nodes: Vec::new(),
            told: Told::default(),
            random: Random::new(seed),
            checks: 0,
        })
    }

    fn key(&self) -> std::path::PathBuf {
        self.directory.path().join("outer.key")
    }

    fn start(&mut self) -> Outcome<Node> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["node", &self.connection, &self.schema])
            .arg(self.key())
            .arg(self.random.next().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().ok_or("the node has no output")?;
        let told = Arc::clone(&self.told);
        let (answer, answers) = mpsc::channel();
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut text = String::new();
            // A line without an end was cut by the kill: its write had not returned.
            while output.read_line(&mut text).is_ok_and(|read| read > 0) && text.ends_with('\n') {
                let line = text.trim_end();
                match line.split_once(' ') {
                    Some((actor, what)) if actor != "accepted" && actor != "violation" => {
                        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                        told.entry(actor.into()).or_default().push(what.into());
                    }
                    _ if answer.send(line.to_owned()).is_err() => break,
                    _ => {}
                }
                text.clear();
            }
        });
        Ok(Node { process, answers })
    }

    fn acknowledged(&self) -> usize {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.values().map(Vec::len).sum()
    }

    fn node(&mut self, nth: usize) -> Outcome<&mut Node> {
        self.nodes.get_mut(nth).ok_or_else(|| "no such node".into())
    }

    fn kill_and_restart(&mut self, nth: usize) -> Outcome<()> {
        let node = self.node(nth)?;
        node.complain()?;
        node.process.kill()?;
        node.process.wait()?;
        let new = self.start()?;
        *self.node(nth)? = new;
        Ok(())
    }

    /// Stops the process for a moment, as a busy machine or a debugger does.
    fn pause(&mut self, nth: usize) -> Outcome<()> {
        let moment = Duration::from_millis(self.random.below(400));
        let node = self.node(nth)?;
        signal(&node.process, "STOP")?;
        std::thread::sleep(moment);
        signal(&node.process, "CONT")
    }

    /// Asks a node whether it accepts anything whose revocation was acknowledged before.
    fn ask(&mut self, nth: usize) -> Outcome<()> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let revoked = told.get("revoked").map(|lines| lines.join("\n"));
        drop(told);
        let file = self
            .directory
            .path()
            .join(format!("revoked-{}", self.checks));
        std::fs::write(&file, revoked.unwrap_or_default())?;
        self.checks += 1;
        self.node(nth)?.ask(&file)
    }

    fn stop(&mut self) -> Outcome<()> {
        for node in &mut self.nodes {
            node.process.kill()?;
            node.process.wait()?;
        }
        // What they said last is read.
        std::thread::sleep(Duration::from_millis(200));
        Ok(())
    }

    /// Looks at the store as a process does that was never there before.
    fn check_store(&self, server: &str) -> Outcome<()> {
        let runtime = runtime()?;
        let config = PostgresConfig::new(server)?.with_schema(&self.schema)?;
        let outer = LocalKey::new(SecretBytes::new(std::fs::read(self.key())?))?;
        let store = PostgresStore::connect(config, &outer, Arc::new(SystemRandom));
        let store = Arc::new(runtime.block_on(store)?);
        let world = World::load(store, Some(runtime.handle().clone()))?;
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for actor in actors() {
            let lines = told.get(actor.name()).map(Vec::as_slice);
            actor
                .check(&world, lines.unwrap_or_default())
                .map_err(|error| format!("{}: {error}", actor.name()))?;
        }
        Ok(())
    }
}

impl Node {
    /// Whether it said that something is wrong.
    fn complain(&self) -> Outcome<()> {
        match self
            .answers
            .try_iter()
            .find(|line| line.starts_with("violation"))
        {
            Some(violation) => Err(violation.into()),
            None => Ok(()),
        }
    }

    fn ask(&mut self, file: &Path) -> Outcome<()> {
        let question = format!("check {}\n", file.display());
        let input = self.process.stdin.as_mut().ok_or("the node has no input")?;
        input.write_all(question.as_bytes())?;
        loop {
            let answer = self.answers.recv_timeout(Duration::from_secs(90));
            let answer = answer.map_err(|_| "a node does not answer")?;
            match answer.as_str() {
                "ready" => {}
                "accepted 0" => return Ok(()),
                wrong => return Err(wrong.into()),
            }
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn signal(process: &Child, name: &str) -> Outcome<()> {
    let sent = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(process.id().to_string())
        .status()?;
    match sent.success() {
        true => Ok(()),
        false => Err(format!("SIG{name} could not be sent").into()),
    }
}

fn runtime() -> Outcome<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?)
}
