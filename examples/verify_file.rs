//! Verifies a token that somebody else made: one read from a file or from standard input, against a
//! JWK set in a file.
//!
//! ```text
//! cargo run --release -p m2m-examples --example verify_file -- --keys jwks.json --issuer https://idp.example \
//!     --audience my-service [--type at+jwt|jwt|jwt-or-absent|NAME] [--rsa-algorithm PS256]
//!     [--at SECONDS] [TOKEN-FILE]
//! ```
//!
//! `--rsa-algorithm` says what RSA keys are for that do not say it themselves (RS256). `--issuer -`, `--audience -` and `--type -` leave that unchecked, and say so. `--at` checks as of
//! another time (seconds since 1970), to look at old tokens. Prints the claims that were verified, or
//! says why the token is refused and exits with 1.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::error::Error;
use std::fs;
use std::io::Read;
use std::process::ExitCode;

use m2m_crypto::Algorithm;
use m2m_token::{
    Audience, Issuers, JwkSet, JwkSetOptions, Scratch, TokenType, Unverified, Verifier,
};
use m2m_types::{Clock, SystemClock, Timestamp};

const USAGE: &str = "usage: verify_file --keys JWKS-FILE --issuer ISSUER --audience AUDIENCE \
    [--type at+jwt|jwt|jwt-or-absent|NAME] [--rsa-algorithm ALG] [--at SECONDS] [TOKEN-FILE]\n\
    `-` for ISSUER, AUDIENCE or type leaves it unchecked; without TOKEN-FILE the token is read from \
    standard input.";

/// What was asked for on the command line.
struct Arguments {
    keys: String,
    issuer: String,
    audience: String,
    token_type: String,
    options: JwkSetOptions,
    at: Option<Timestamp>,
    token: Option<String>,
}

fn main() -> ExitCode {
    match Arguments::read().and_then(|arguments| run(&arguments)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("verify_file: {error}");
            ExitCode::from(2)
        }
    }
}

impl Arguments {
    fn read() -> Result<Self, Box<dyn Error>> {
        let mut found = Self {
            keys: String::new(),
            issuer: String::new(),
            audience: String::new(),
            token_type: "at+jwt".to_owned(),
            options: JwkSetOptions::new(),
            at: None,
            token: None,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(USAGE);
            match argument.as_str() {
                "--keys" => found.keys = value()?,
                "--issuer" => found.issuer = value()?,
                "--audience" => found.audience = value()?,
                "--type" => found.token_type = value()?,
                "--rsa-algorithm" => {
                    let algorithm = Algorithm::from_name(&value()?).ok_or("no such algorithm")?;
                    found.options = found.options.with_rsa_algorithm(algorithm);
                }
                "--at" => found.at = Some(Timestamp::from_unix_seconds(value()?.parse()?)?),
                file if !file.starts_with("--") && found.token.is_none() => {
                    found.token = Some(file.to_owned());
                }
                _ => return Err(USAGE.into()),
            }
        }
        if [&found.keys, &found.issuer, &found.audience]
            .iter()
            .any(|text| text.is_empty())
        {
            return Err(USAGE.into());
        }
        Ok(found)
    }
}

/// Whether the token was accepted.
fn run(arguments: &Arguments) -> Result<bool, Box<dyn Error>> {
    let json = fs::read(&arguments.keys).map_err(|error| format!("{}: {error}", arguments.keys))?;
    let set = JwkSet::parse_with(&json, &arguments.options)
        .map_err(|error| format!("{}: {error}", arguments.keys))?;
    println!(
        "keys:      {} of {} can be used",
        set.len(),
        set.len() + set.skipped().len()
    );
    for skipped in set.skipped() {
        println!(
            "           key {} is not: {:?}",
            skipped.index, skipped.reason
        );
    }
    let issuers = match arguments.issuer.as_str() {
        "-" => Issuers::danger_ignored(set.into_keys()),
        issuer => Issuers::one(issuer, set.into_keys()),
    };
    let audience = match arguments.audience.as_str() {
        "-" => Audience::danger_ignored(),
        audience => Audience::exactly(audience),
    };
    let token_type = match arguments.token_type.as_str() {
        "-" => TokenType::danger_ignored(),
        "jwt-or-absent" => TokenType::jwt_or_absent(),
        name => TokenType::named(name),
    };
    let verifier = Verifier::builder(issuers, audience, token_type).build()?;
    let now = match arguments.at {
        Some(at) => at,
        None => SystemClock::new().now()?,
    };

    let token = read_token(arguments.token.as_deref())?;
    let token = token.trim();
    let mut scratch = Scratch::new();
    if let Ok(unverified) = Unverified::danger_decode(token, &mut scratch) {
        println!(
            "says:      alg {}, kid {:?}, typ {:?}",
            unverified.algorithm(),
            unverified.key_id(),
            unverified.token_type()
        );
    }
    match verifier.verify(token, now, &mut scratch) {
        Ok(verified) => {
            println!("verified:  as of {now}");
            let claims: serde_json::Value = verified.claims().deserialize()?;
            println!("{}", serde_json::to_string_pretty(&claims)?);
            Ok(true)
        }
        Err(error) => {
            println!("refused:   {} ({error})", error.code());
            Ok(false)
        }
    }
}

fn read_token(file: Option<&str>) -> Result<String, Box<dyn Error>> {
    match file {
        Some(file) => Ok(fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?),
        None => {
            let mut text = String::new();
            // No token is anywhere near that long; do not read for ever.
            std::io::stdin().take(1 << 20).read_to_string(&mut text)?;
            Ok(text)
        }
    }
}
