//! Whether secrets are compared in a time that says nothing about them: measured, not assumed.
//!
//! ```text
//! cargo run --release -p m2m-secrets --example constant_time -- [seconds]
//! ```
//!
//! As dudect does (Reparaz, Balasch, Verbauwhede: "Dude, is my code constant time?"): inputs of two
//! classes, drawn in random order, each timed; then Welch's t-test asks whether the two means differ.
//! |t| beyond 10 is a difference; below 4.5 none was seen, which is no proof that there is none. A control
//! that stops at the first wrong byte comes first, and if it is not found then the program fails: the
//! machine is too busy, or the clock too coarse.
//!
//! Inputs lie in one place, whatever their class, so that memory tells nothing.

#![expect(clippy::print_stdout, reason = "a program for people")]
#![expect(
    clippy::indexing_slicing,
    reason = "a measurement that panics has failed"
)]

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use m2m_crypto::{Algorithm, MacKey, SystemRandom, constant_time_eq};
use m2m_secrets::{
    ClientKeys, KeyFormat, KeyHasher, KeyTable, PepperVersion, SharedSecret, TimeWindow,
    WebhookHeaders, WebhookSecret, WebhookSigner, WebhookVerifier,
};
use m2m_types::Timestamp;

/// Beyond this the means differ.
const DIFFERENT: f64 = 10.0;
/// Operations timed together, so that the clock is fine enough.
const BATCH: usize = 16;
/// The slowest of a hundred measurements are interrupts, and are left out.
const KEPT_OF_100: usize = 90;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<ExitCode, Failure> {
    let seconds = std::env::args().nth(1).map_or(Ok(4), |text| text.parse())?;
    let time = Duration::from_secs(seconds);
    let leak = measure(time, control());
    println!("control, which leaks          |t| = {leak:>8.1}");
    if leak < DIFFERENT {
        println!("the control was not found: nothing can be said here");
        return Ok(ExitCode::FAILURE);
    }
    let mut worst: f64 = 0.0;
    for (name, subject) in [
        ("constant_time_eq, 32 bytes", comparison()),
        ("MacKey::verify", mac_key()?),
        ("KeyTable::check", api_key()?),
        ("WebhookVerifier::verify", webhook()?),
    ] {
        let t = measure(time, subject);
        println!("{name:<29} |t| = {t:>8.1}");
        worst = worst.max(t);
    }
    println!("figure constant-time-worst-t {worst:.1}");
    Ok(match worst < DIFFERENT {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

type Operation = Box<dyn FnMut(&[u8])>;

/// What is timed, and inputs of both classes, all equally long.
struct Subject {
    inputs: [Vec<Vec<u8>>; 2],
    run: Operation,
}

impl Subject {
    fn new(inputs: [Vec<Vec<u8>>; 2], run: impl FnMut(&[u8]) + 'static) -> Self {
        Self {
            inputs,
            run: Box::new(run),
        }
    }
}

/// Wrong in the first byte, or in the last.
fn wrong_first_or_last(right: &[u8]) -> [Vec<Vec<u8>>; 2] {
    let wrong = |at: usize| {
        let mut wrong = right.to_vec();
        if let Some(byte) = wrong.get_mut(at) {
            *byte ^= 1;
        }
        vec![wrong]
    };
    [wrong(0), wrong(right.len() - 1)]
}

/// A comparison as nobody should write it.
fn control() -> Subject {
    let right = [7; 32];
    Subject::new(wrong_first_or_last(&right), move |input| {
        let equal = input
            .iter()
            .zip(black_box(&right))
            .all(|(one, other)| black_box(one) == other);
        black_box(equal);
    })
}

fn comparison() -> Subject {
    let right = [7; 32];
    Subject::new(wrong_first_or_last(&right), move |input| {
        black_box(constant_time_eq(input, black_box(&right)));
    })
}

fn mac_key() -> Result<Subject, Failure> {
    let key = MacKey::generate(Algorithm::Hs256, &SystemRandom)?;
    let mut tag = [0; 32];
    key.sign(b"message", &mut tag)?;
    Ok(Subject::new(wrong_first_or_last(&tag), move |input| {
        black_box(key.verify(black_box(b"message"), input).is_err());
    }))
}

/// The id of a real key; then one wrong secret, always the same, or many that are drawn.
fn api_key() -> Result<Subject, Failure> {
    let now = Timestamp::from_unix_seconds(1_700_000_000)?;
    let format = KeyFormat::new("acme", "live")?;
    let version = PepperVersion::new(1).ok_or("1 is not 0")?;
    let pepper = SharedSecret::generate(&SystemRandom)?;
    let hasher = Arc::new(KeyHasher::new(format.clone(), version, &pepper)?);
    let owner = "spiffe://example.org/billing".parse()?;
    let (client, issued) = ClientKeys::issue(owner, &hasher, &SystemRandom, now)?;
    let table = KeyTable::build(hasher, [&client], &SystemRandom, now)?;
    let right = issued.key().expose_secret();
    let mut wrong = Vec::new();
    for _ in 0..257 {
        let other = format.generate(&SystemRandom)?;
        // The same id with another secret, and its checksum.
        let id_ends = right.len() - 1 - 32 - 1 - 6;
        let (head, _) = right.split_at(id_ends);
        let (_, secret) = other.expose_secret().split_at(id_ends);
        let (secret, _) = secret.split_at(33);
        let body = format!("{head}{secret}");
        let sum = checksum(body.as_bytes());
        wrong.push(format!("{body}_{sum}").into_bytes());
    }
    for text in &wrong {
        assert!(
            format.parse(text).is_ok() && table.check(text, now).is_err(),
            "it is well-formed and wrong"
        );
    }
    let always = vec![wrong.pop().ok_or("some were made")?];
    Ok(Subject::new([always, wrong], move |input| {
        black_box(table.check(input, now).is_err());
    }))
}

/// The CRC-32 of zlib as six digits of base62, as the format of API keys has it.
fn checksum(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut state = u32::MAX;
    for byte in bytes {
        state ^= u32::from(*byte);
        for _ in 0..8 {
            state = (state >> 1) ^ (0xedb8_8320 * (state & 1));
        }
    }
    let mut sum = !state as usize;
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS.get(sum % 62).copied().unwrap_or(b'0');
        sum /= 62;
    }
    String::from_utf8_lossy(&digits).into_owned()
}

/// A signature whose tag is wrong in its first byte, or in its last.
fn webhook() -> Result<Subject, Failure> {
    let now = Timestamp::from_unix_seconds(1_700_000_000)?;
    let secret = WebhookSecret::generate(&SystemRandom)?;
    let signature = WebhookSigner::new([&secret])?.sign("msg_1", now, b"{}")?;
    let verifier = WebhookVerifier::new([&secret], TimeWindow::FIVE_MINUTES)?;
    // Its digits: exchanged with others, so that what is read is another tag, in the same encoding.
    let exchanged = |at: usize| {
        let mut text = signature.clone().into_bytes();
        if let Some(digit) = text.get_mut(at) {
            *digit = if *digit == b'A' { b'B' } else { b'A' };
        }
        vec![text]
    };
    // `v1,` stands before; the last digit but one before the padding is wholly of the last bytes.
    let inputs = [exchanged(3), exchanged(3 + 41)];
    Ok(Subject::new(inputs, move |input| {
        let headers = WebhookHeaders {
            id: b"msg_1",
            timestamp: b"1700000000",
            signature: input,
        };
        black_box(verifier.verify(headers, black_box(b"{}"), now).is_err());
    }))
}

/// |t| of Welch's test for the times of both classes.
fn measure(time: Duration, mut subject: Subject) -> f64 {
    let mut order = Order(0x9e37_79b9_7f4a_7c15);
    let mut times = [Vec::new(), Vec::new()];
    let mut place = subject.inputs[0][0].clone();
    let begun = Instant::now();
    while begun.elapsed() < time {
        let class = (order.next() & 1) as usize;
        let inputs = &subject.inputs[class];
        let nth = order.next() as usize % inputs.len();
        place.copy_from_slice(&inputs[nth]);
        let start = Instant::now();
        for _ in 0..BATCH {
            (subject.run)(black_box(&place));
        }
        times[class].push(start.elapsed().as_nanos() as f64);
    }
    // One bound for both: what is left out must not depend on the class.
    let mut all: Vec<f64> = times.iter().flatten().copied().collect();
    all.sort_by(f64::total_cmp);
    let bound = all[all.len() * KEPT_OF_100 / 100];
    let [one, other] =
        times.map(|times| Moments::of(times.iter().copied().filter(|t| *t <= bound)));
    (one.mean - other.mean).abs() / (one.error() + other.error()).sqrt()
}

struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// Welford's way, which does not lose digits.
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut moments = Self {
            count: 0.0,
            mean: 0.0,
            squares: 0.0,
        };
        for value in values {
            moments.count += 1.0;
            let before = value - moments.mean;
            moments.mean += before / moments.count;
            moments.squares += before * (value - moments.mean);
        }
        moments
    }

    /// The square of the standard error of the mean.
    fn error(&self) -> f64 {
        self.squares / (self.count - 1.0) / self.count
    }
}

/// Which class is next: xorshift, the same in each run.
struct Order(u64);

impl Order {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 32
    }
}
