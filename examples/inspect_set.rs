//! Shows what a Security Event Token says, and which rules of its standards it keeps or breaks, section
//! by section. Nothing is verified: this is for looking at what somebody sent or is about to send.
//!
//! ```text
//! cargo run --release -p m2m-examples --example inspect_set -- [--dialect ssf|rfc8417|scim|google|apple]
//!     [--at SECONDS] [FILE]
//! ```
//!
//! FILE has a SET in its compact form, or the JSON of its claims; without it, standard input is read.
//! Exits with 1 if a rule is broken.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::error::Error;
use std::fs;
use std::io::Read;
use std::process::ExitCode;

use caep_set::{Event, Format, Profile, Reading, SecurityEventToken, Severity, SubjectId, Verdict};
use m2m_token::{Scratch, Unverified};
use m2m_types::{Clock, SystemClock, Timestamp};

const USAGE: &str =
    "usage: inspect_set [--dialect ssf|rfc8417|scim|google|apple] [--at SECONDS] [FILE]";

/// What was asked for on the command line.
struct Arguments {
    profile: Profile,
    now: Timestamp,
    text: String,
}

fn main() -> ExitCode {
    match Arguments::read().and_then(|arguments| run(&arguments)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("inspect_set: {error}");
            ExitCode::from(2)
        }
    }
}

impl Arguments {
    fn read() -> Result<Self, Box<dyn Error>> {
        let (mut profile, mut now, mut file) = (Profile::ssf(), None, None);
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--dialect" => profile = dialect(&arguments.next().ok_or(USAGE)?)?,
                "--at" => {
                    let seconds = arguments.next().ok_or(USAGE)?.parse()?;
                    now = Some(Timestamp::from_unix_seconds(seconds)?);
                }
                flag if flag.starts_with("--") => return Err(USAGE.into()),
                name => file = Some(name.to_owned()),
            }
        }
        let text = match file {
            Some(name) => fs::read_to_string(&name).map_err(|error| format!("{name}: {error}"))?,
            None => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text)?;
                text
            }
        };
        let now = now.map_or_else(|| SystemClock::new().now(), Ok)?;
        Ok(Self { profile, now, text })
    }
}

fn dialect(name: &str) -> Result<Profile, Box<dyn Error>> {
    Ok(match name {
        "ssf" => Profile::ssf(),
        "rfc8417" => Profile::rfc8417(),
        "scim" => Profile::scim(),
        "google" => Profile::google_risc(),
        "apple" => Profile::apple(),
        _ => return Err(USAGE.into()),
    })
}

fn run(arguments: &Arguments) -> Result<bool, Box<dyn Error>> {
    let text = arguments.text.trim();
    let mut typed = true;
    let reading = if text.starts_with('{') {
        println!("claims without a signature");
        Reading::of_claims(text, &arguments.profile, arguments.now)
    } else {
        let mut scratch = Scratch::new();
        let token = Unverified::danger_decode(text, &mut scratch)?;
        let token_type = token.token_type();
        println!("header");
        println!("  typ   {token_type:?}");
        println!("  alg   {}", token.algorithm());
        println!("  kid   {:?}", token.key_id());
        typed = token_type.is_some_and(|typ| typ.eq_ignore_ascii_case(caep_set::SET_TYPE));
        let claims = token.danger_claims().json().to_owned();
        Reading::of_claims(&claims, &arguments.profile, arguments.now)
    };
    if let Some(token) = reading.token() {
        show(token);
    }
    println!("rules");
    if !typed {
        println!("  ✗ SSF 1.0 §4.1.1: `typ` is not secevent+jwt");
    }
    for rule in reading.rules() {
        let findings = reading.findings().iter();
        let mut findings = findings
            .filter(|finding| finding.rule() == *rule)
            .peekable();
        if findings.peek().is_none() {
            println!("  ✓ {rule}");
        }
        for finding in findings {
            let mark = match finding.severity() {
                Severity::Violation => '✗',
                Severity::Advice => '!',
            };
            println!("  {mark} {rule}: `{}` {}", finding.at(), finding.problem());
        }
    }
    let verdict = match reading.verdict() {
        Verdict::Violating => "it breaks a rule: a receiver answers invalid_request",
        _ if !typed => "its type is wrong: a receiver answers invalid_request",
        Verdict::Conforming => {
            "it keeps the rules: a receiver acts upon it, if its signature holds"
        }
        Verdict::Discard => {
            "a critical part of its subject is not understood: it is acknowledged, no more"
        }
    };
    println!("verdict: {verdict}");
    Ok(typed && reading.verdict() != Verdict::Violating)
}

fn show(token: &SecurityEventToken) {
    println!("claims");
    println!("  iss   {:?}", token.issuer());
    println!("  jti   {:?}", token.token_id());
    println!("  iat   {}", token.issued_at());
    println!("  aud   {:?}", token.audience().collect::<Vec<_>>());
    if let Some(transaction) = token.transaction() {
        println!("  txn   {transaction:?}");
    }
    if let Some(subject) = token.subject() {
        println!("about");
        show_subject("", subject);
    }
    for event in token.events() {
        let known = match event {
            Event::Other(_) => " (not known here)",
            Event::Malformed(_) => " (breaks its rules)",
            _ if event.is_revocation() => " (takes something away)",
            _ => "",
        };
        println!("event\n  {:?}{known}", event.uri());
        if let Ok(payload) = event.payload_json() {
            // As JSON, so that no control character of a stranger's reaches a terminal.
            println!(
                "  {}",
                payload.escape_debug().to_string().replace("\\\"", "\"")
            );
        }
        println!("  it happened at {}", token.happened_at());
    }
}

fn show_subject(name: &str, subject: &SubjectId) {
    match subject.format() {
        Format::Complex { parts } => {
            println!("  one subject, by all of its parts:");
            for (name, part) in parts {
                show_subject(name, part);
            }
        }
        _ => {
            let json = serde_json::to_string(subject).unwrap_or_default();
            let json = json.escape_debug().to_string().replace("\\\"", "\"");
            println!(
                "  {}{json}",
                if name.is_empty() {
                    String::new()
                } else {
                    format!("{}: ", name.escape_debug())
                }
            );
        }
    }
}
