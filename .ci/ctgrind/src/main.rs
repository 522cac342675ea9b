//! Marks secrets as uninitialised for valgrind's memcheck and lets the crates work on them: it then
//! reports each branch that a secret decides and each address that is made of one. A. Langley's
//! "ctgrind"; BoringSSL and AWS-LC check their code so.
//!
//! - `equal`, `sign`: must not be reported.
//! - `early-exit`, `table`: how not to do it. Must be reported, or the check is worth nothing.
//! - `verify N`, `naive N`: refuse a tag whose byte N is wrong, many times. For counting instructions:
//!   `verify` costs the same for every N, `naive` does not.
//! - `webhook N`: the same for a webhook's signature: costs the same for every N.
//! - `api-key N`: look an API key up and refuse it because character N of its secret is another. Costs
//!   the same for every N.
//! - `warm N`, `warm-counting N`: verify cached tokens in two threads; see `warm.rs`.

mod warm;

use std::arch::asm;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use m2m_crypto::{Algorithm, MacKey, RandomError, SecretBytes, SecureRandom, constant_time_eq};
use m2m_secrets::{
    ClientKeys, KeyFormat, KeyHasher, KeyTable, PepperVersion, SharedSecret, TimeWindow,
    WebhookHeaders, WebhookSecret, WebhookSigner, WebhookVerifier,
};
use m2m_types::{ServiceId, Timestamp};

const USAGE: &str = "m2m-ctgrind equal|sign|early-exit|table|verify N|webhook N|naive N|api-key N|\
    warm N|warm-counting N";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let check = arguments.next().unwrap_or_default();
    let at = arguments.next().and_then(|number| number.parse().ok());
    let tainting = matches!(&*check, "equal" | "sign" | "early-exit" | "table");
    if tainting && !on_valgrind() {
        eprintln!("this says nothing without valgrind");
        return ExitCode::from(2);
    }
    match (&*check, at) {
        ("equal", None) => equal(),
        ("sign", None) => sign(),
        ("early-exit", None) => early_exit(),
        ("table", None) => table(),
        ("verify", Some(at)) => verify(at),
        ("webhook", Some(at)) => webhook(at),
        ("naive", Some(at)) => naive(at),
        ("api-key", Some(at)) => api_key(at),
        ("warm", Some(times)) => warm::warm(times, false),
        ("warm-counting", Some(times)) => warm::warm(times, true),
        _ => {
            eprintln!("usage: {USAGE}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// Both code paths (below and above one AVX2 register), equal and differing in each place.
fn equal() {
    for length in [1, 7, 8, 16, 31, 32, 33, 48, 64, 127, 128, 255, 256, 750] {
        let secret: Vec<u8> = (0..length).map(|at| at as u8).collect();
        for at in [0, length / 2, length - 1, length] {
            let mut candidate = secret.clone();
            if let Some(byte) = candidate.get_mut(at) {
                *byte ^= 1;
            }
            let mut shared = secret.clone();
            taint(&shared);
            let verdict = u8::from(constant_time_eq(black_box(&shared), black_box(&candidate)));
            untaint(&shared);
            shared.clear();
            // The verdict is public: it is what the caller acts on.
            untaint(std::slice::from_ref(&verdict));
            assert_eq!(verdict == 1, at == length, "length {length}, byte {at}");
        }
    }
}

/// What is signed does not steer how it is signed.
fn sign() {
    for algorithm in [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512] {
        let key = key(algorithm);
        let message = [7; 300];
        taint(&message);
        let mut tag = [0; 64];
        let length = key.sign(black_box(&message), &mut tag);
        untaint(&tag);
        assert_eq!(length, Ok(key.signature_bytes()));
    }
}

fn early_exit() {
    let (secret, candidate) = ([3; 32], [4; 32]);
    taint(&secret);
    let verdict = naive_eq(black_box(&secret), black_box(&candidate));
    untaint(std::slice::from_ref(&u8::from(verdict)));
}

fn table() {
    let table: [u8; 256] = std::array::from_fn(|at| at as u8);
    let secret = [9];
    taint(&secret);
    black_box(table[usize::from(black_box(secret)[0])]);
}

fn verify(at: usize) {
    let key = key(Algorithm::Hs256);
    let mut tag = [0; 32];
    key.sign(b"message", &mut tag)
        .expect("32 bytes hold the tag");
    tag[at] ^= 1;
    for _ in 0..100 {
        assert!(key.verify(b"message", black_box(&tag)).is_err());
    }
}

/// The whole way of a webhook: its headers are read, and its tag is compared with those of two secrets.
fn webhook(at: usize) {
    let secrets = [1, 2].map(|first| {
        let secret: Vec<u8> = (first..first + 32).collect();
        WebhookSecret::new(SecretBytes::new(secret)).expect("32 bytes are enough")
    });
    let verifier = WebhookVerifier::new(&secrets, TimeWindow::FIVE_MINUTES).expect("two secrets");
    let now = Timestamp::from_unix_seconds(1_700_000_000).expect("before the year 9999");
    let signer = WebhookSigner::new(&secrets[1..]).expect("one secret");
    let header = signer.sign("msg_1", now, b"{}").expect("a good id");
    let mut tag = STANDARD.decode(&header[3..]).expect("it is base64");
    tag[at] ^= 1;
    let header = format!("v1,{}", STANDARD.encode(tag));
    let headers = WebhookHeaders {
        id: b"msg_1",
        timestamp: b"1700000000",
        signature: header.as_bytes(),
    };
    for _ in 0..100 {
        assert!(verifier.verify(black_box(headers), b"{}", now).is_err());
    }
}

fn naive(at: usize) {
    let secret = [3; 32];
    let mut candidate = secret;
    candidate[at] ^= 1;
    for _ in 0..100 {
        assert!(!naive_eq(black_box(&secret), black_box(&candidate)));
    }
}

/// A right id with another secret and the checksum that belongs to it: the form is read, the checksum
/// computed, the key hashed and the hash compared. All are drawn from a fixed seed, so that only `at`
/// differs.
fn api_key(at: usize) {
    let now = Timestamp::from_unix_seconds(1_700_000_000).expect("in range");
    let pepper = SharedSecret::new(SecretBytes::new((1..=32).collect())).expect("a secret");
    let format = KeyFormat::new("acme", "live").expect("two labels");
    let version = PepperVersion::new(1).expect("not zero");
    let hasher = Arc::new(KeyHasher::new(format.clone(), version, &pepper).expect("a pepper"));
    let owner: ServiceId = "spiffe://example.org/a".parse().expect("a name");
    let (client, issued) = ClientKeys::issue(owner, &hasher, &Fixed, now).expect("a key");
    let table = KeyTable::build(hasher, [&client], &Fixed, now).expect("a table");
    let mut text = issued.key().expose_secret().as_bytes().to_vec();
    // Of two digits each, so that putting the checksum right is the same work.
    for place in 22..54 {
        if place == 22 + at {
            text[place] = if text[place] == b'x' { b'y' } else { b'x' };
        }
    }
    put_checksum(&mut text);
    for _ in 0..100 {
        assert!(table.check(black_box(&text), now).is_err());
    }
    assert!(format.parse(&text).is_ok(), "it is well-formed");
}

fn put_checksum(text: &mut [u8]) {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let (before, sum) = text.split_at_mut(54);
    let mut state = u32::MAX;
    for byte in before {
        state ^= u32::from(*byte);
        for _ in 0..8 {
            state = (state >> 1) ^ (0xedb8_8320 * (state & 1));
        }
    }
    let mut rest = !state;
    for place in sum[1..].iter_mut().rev() {
        *place = DIGITS[rest as usize % 62];
        rest /= 62;
    }
}

/// Always the same bytes.
struct Fixed;

impl SecureRandom for Fixed {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = (at * 37 % 248) as u8;
        }
        Ok(())
    }
}

#[inline(never)]
fn naive_eq(a: &[u8; 32], b: &[u8; 32]) -> bool {
    for at in 0..32 {
        if black_box(a[at]) != black_box(b[at]) {
            return false;
        }
    }
    true
}

fn key(algorithm: Algorithm) -> MacKey {
    let secret: Vec<u8> = (1..=64).collect();
    MacKey::new(algorithm, SecretBytes::new(secret)).expect("64 bytes are enough")
}

/// Tells memcheck that `bytes` must not decide anything.
fn taint(bytes: &[u8]) {
    const MAKE_MEM_UNDEFINED: u64 = MEMCHECK + 1;
    ask_valgrind([
        MAKE_MEM_UNDEFINED,
        bytes.as_ptr() as u64,
        bytes.len() as u64,
        0,
        0,
        0,
    ]);
}

/// Takes [`taint`] back.
fn untaint(bytes: &[u8]) {
    const MAKE_MEM_DEFINED: u64 = MEMCHECK + 2;
    ask_valgrind([
        MAKE_MEM_DEFINED,
        bytes.as_ptr() as u64,
        bytes.len() as u64,
        0,
        0,
        0,
    ]);
}

fn on_valgrind() -> bool {
    const RUNNING_ON_VALGRIND: u64 = 0x1001;
    ask_valgrind([RUNNING_ON_VALGRIND, 0, 0, 0, 0, 0]) != 0
}

/// `VG_USERREQ_TOOL_BASE('M', 'C')` of `valgrind/memcheck.h`.
const MEMCHECK: u64 = 0x4d43_0000;

/// A client request (`valgrind/valgrind.h`): four rotations that together do nothing, and a mark.
/// Without valgrind it does nothing at all and answers 0.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn ask_valgrind(request: [u64; 6]) -> u64 {
    let mut answer = 0_u64;
    // SAFETY: rotating rdi by 3 + 13 + 61 + 51 = 128 bits leaves it as it was, as does exchanging rbx
    // with itself; valgrind reads the six numbers at rax and writes rdx, and is told of nothing that
    // is not a live slice. Memory is declared as changed, so nothing is kept in registers across.
    unsafe {
        asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") request.as_ptr(),
            inout("rdx") answer,
        );
    }
    answer
}
