//! The engines beside each other, and our store, which stands on one of them and seals.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{engines, place, rows};
use crate::timing::{median, processor_time};

/// How many rows there are.
pub const ROWS: u64 = 1_000_000;
/// How many are written at once while they are loaded.
const LOADED_AT_ONCE: u64 = 10_000;
const READS: u64 = 100_000;
const SLICE: Duration = Duration::from_millis(500);
const ROUNDS: usize = 6;

/// What was measured of one engine.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Its name.
    pub name: &'static str,
    /// Seconds for one durable row: the median.
    pub one: f64,
    /// Rows a second in transactions of 64: the median of the slices.
    pub sixty_four: f64,
    /// Seconds to read one row, wherever it is.
    pub get: f64,
    /// Seconds for a row of all in order.
    pub scan: f64,
    /// Seconds to open it after it was closed, and read one row.
    pub reopen: f64,
    /// Seconds to open it after its process was killed while it wrote, and read one row.
    pub reopen_killed: f64,
    /// Bytes of its files after loading and closing.
    pub bytes: u64,
}

/// Measures all engines, each phase in turns.
///
/// # Panics
///
/// If one fails, or loses a row.
pub fn measure() -> Vec<Measured> {
    let names = engines::NAMES;
    let directories = names.map(|_| place::directory());
    let places = || {
        names
            .iter()
            .zip(&directories)
            .map(|(name, at)| (*name, at.path()))
    };
    for (name, at) in places() {
        eprintln!("loading {ROWS} rows into {name}");
        load(name, at);
    }
    let bytes: Vec<u64> = places().map(|(_, at)| place::bytes_in(at)).collect();
    let reopen: Vec<f64> = places().map(|(name, at)| reopen(name, at)).collect();
    let reads: Vec<(f64, f64)> = places().map(|(name, at)| read(name, at)).collect();
    let writes = write(&places().collect::<Vec<_>>());
    let killed: Vec<f64> = places().map(|(name, at)| reopen_killed(name, at)).collect();
    (0..names.len())
        .map(|index| Measured {
            name: names[index],
            one: writes[index].0,
            sixty_four: writes[index].1,
            get: reads[index].0,
            scan: reads[index].1,
            reopen: reopen[index],
            reopen_killed: killed[index],
            bytes: bytes[index],
        })
        .collect()
}

/// Writes row after row into an engine until the process is killed. Says so when it has begun.
///
/// # Panics
///
/// If it cannot.
pub fn write_until_killed(name: &str, directory: &Path) -> ! {
    let mut engine = engines::open(name, directory);
    let mut number = 2 * ROWS;
    loop {
        engine.commit(&[rows::row(number)]);
        if number == 2 * ROWS {
            println!("writing");
        }
        number += 1;
    }
}

fn load(name: &str, directory: &Path) {
    let mut engine = engines::open(name, directory);
    for first in (0..ROWS).step_by(LOADED_AT_ONCE as usize) {
        engine.commit(&rows::rows(first..first + LOADED_AT_ONCE));
    }
}

fn reopen(name: &str, directory: &Path) -> f64 {
    median((0..5).map(|_| open_and_read(name, directory)))
}

fn reopen_killed(name: &str, directory: &Path) -> f64 {
    median((0..5).map(|_| {
        kill_while_writing(name, directory);
        open_and_read(name, directory)
    }))
}

fn open_and_read(name: &str, directory: &Path) -> f64 {
    let start = Instant::now();
    let engine = engines::open(name, directory);
    assert!(engine.has(&rows::key(0)), "{name} lost a row");
    start.elapsed().as_secs_f64()
}

fn kill_while_writing(name: &str, directory: &Path) {
    let own = std::env::current_exe().expect("this program");
    let mut writer: Child = Command::new(own)
        .args(["store-writer", name])
        .arg(directory)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let said = writer.stdout.take().expect("it is piped");
    let line = BufReader::new(said).lines().next();
    line.expect("it writes").expect("it says so");
    std::thread::sleep(Duration::from_millis(300));
    writer.kill().expect("it runs");
    writer.wait().expect("it ends");
}

fn read(name: &str, directory: &Path) -> (f64, f64) {
    let engine = engines::open(name, directory);
    // Twice, for what is read for the first time is not in the cache.
    let mut scan = 0.0;
    for _ in 0..2 {
        let start = processor_time();
        assert_eq!(engine.scan(), ROWS, "{name} lost rows");
        scan = (processor_time() - start).as_secs_f64() / ROWS as f64;
    }
    let get = |offset: u64| {
        let start = processor_time();
        for number in 0..READS {
            let key = rows::key((number * 7919 + offset) % ROWS);
            assert!(engine.has(&key), "{name} lost a row");
        }
        (processor_time() - start).as_secs_f64() / READS as f64
    };
    (median((0..5).map(get)), scan)
}

/// For each: seconds for one row, rows a second in groups.
fn write(places: &[(&str, &Path)]) -> Vec<(f64, f64)> {
    let mut open: Vec<_> = places
        .iter()
        .map(|(name, at)| engines::open(name, at))
        .collect();
    let mut taken = vec![(Vec::new(), Vec::new()); open.len()];
    let mut next = ROWS;
    for _ in 0..ROUNDS {
        for (engine, (one, many)) in open.iter_mut().zip(&mut taken) {
            let begun = Instant::now();
            while begun.elapsed() < SLICE {
                let start = Instant::now();
                engine.commit(&[rows::row(next)]);
                one.push(start.elapsed().as_secs_f64());
                next += 1;
            }
            let (begun, first) = (Instant::now(), next);
            while begun.elapsed() < SLICE {
                engine.commit(&rows::rows(next..next + 64));
                next += 64;
            }
            many.push((next - first) as f64 / begun.elapsed().as_secs_f64());
        }
    }
    taken
        .into_iter()
        .map(|(one, many)| (median(one.into_iter()), median(many.into_iter())))
        .collect()
}
