//! Project Wycheproof's JSON Web Signature, Key and Crypto vectors, on every library of the build.
//!
//! They sign texts, not claims: `support/jws.rs` says how a verifier of tokens answers for them. Where
//! our answer differs from theirs, the difference is listed with its reason, and a difference that is
//! listed but does not happen fails too.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)] // helpers of tests

mod support;

use std::collections::BTreeMap;

use m2m_testkit::vectors;
use m2m_token::JwkSetOptions;
use support::backends;
use support::jws::Keys;

/// Their number of a case, and why our answer is the other one.
type Exceptions = &'static [(u64, &'static str)];

const EMPTY: &str = "an empty payload is no set of claims, and no part of a token is empty";

const SIGNATURE: Exceptions = &[
    (
        346,
        "the key is for PS256 and the token says PS384: a key is for one algorithm (RFC 8725 §3.1)",
    ),
    (350, "as 346"),
    (
        347,
        "the key's `alg` is ES521, which is registered nowhere; ES512 is meant",
    ),
    (351, "as 347"),
    (
        367,
        "byte for byte the valid case 357 (wycheproof issue 236)",
    ),
    (370, "as 367"),
    (
        372,
        "has `?` in a base64url part, which is to be refused (RFC 7515 §5.2)",
    ),
    (373, "as 372"),
];

#[derive(Default)]
struct Count {
    run: usize,
    valid: usize,
    skipped: usize,
}

fn run(name: &str, exceptions: Exceptions) -> Option<Count> {
    let file = vectors::read_json(&format!("jwt/wycheproof/{name}"))?;
    let exceptions: BTreeMap<u64, &str> = exceptions.iter().copied().collect();
    let (mut ids, mut met) = (Vec::new(), Vec::new());
    let mut count = Count::default();
    let mut wrong = Vec::new();
    for group in file["testGroups"].as_array().unwrap() {
        let jwk = match group.get("public") {
            Some(public) => public,
            None => &group["private"],
        };
        let keys = match Keys::load(jwk, &JwkSetOptions::new()) {
            // Their tests of base64 use one; what they are about is tested all the same.
            Err(zero) if zero == "the secret is all zero" => {
                assert_eq!(group["comment"], "base64");
                Ok(Keys::of_zero_secret(jwk["kid"].as_str().unwrap()))
            }
            keys => keys,
        };
        for test in group["tests"].as_array().unwrap() {
            let Some(jws) = test["jws"].as_str() else {
                // An encrypted token, which nothing here opens; `jwe_is_never_opened` sends it in.
                count.skipped += 1;
                continue;
            };
            count.run += 1;
            let id = test["tcId"].as_u64().unwrap();
            ids.push(id);
            let verdicts: Vec<Result<(), String>> = match &keys {
                Err(refused) => vec![Err(refused.clone())],
                Ok(keys) => backends()
                    .into_iter()
                    .filter_map(|backend| keys.with_backend(backend))
                    .map(|keys| keys.check(jws).map_err(str::to_owned))
                    .collect(),
            };
            let verdict = verdicts.first().expect("a library takes the key");
            assert!(
                verdicts.iter().all(|other| other == verdict),
                "{id}: the libraries disagree: {verdicts:?}"
            );
            let accepted = verdict.is_ok();
            count.valid += usize::from(accepted);
            let empty = jws.contains("..") && test["result"] == "valid";
            let expected = test["result"] == "valid";
            let listed = exceptions.get(&id).copied().or(empty.then_some(EMPTY));
            if listed.is_some() {
                met.push(id);
            }
            if (accepted == expected) == listed.is_some() {
                wrong.push(format!(
                    "{id} {}: {} there, {verdict:?} here, listed: {listed:?}",
                    test["comment"], test["result"]
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The file is a selection of theirs, so a listed case may be missing; one that is there differs.
    for id in exceptions.keys().filter(|id| ids.contains(id)) {
        assert!(met.contains(id), "{id} is listed and does not differ");
    }
    println!(
        "{name}: {} run, {} accepted, {} differences, {} encrypted",
        count.run,
        count.valid,
        met.len(),
        count.skipped
    );
    Some(count)
}

#[test]
fn jwt_024_jwt_025_jwt_028_json_web_signature() {
    if let Some(count) = run("json_web_signature_test.json", SIGNATURE) {
        assert!(
            count.run >= 255 && count.valid >= 15,
            "{} {}",
            count.run,
            count.valid
        );
    }
}

#[test]
fn jwt_010_jwt_012_jwt_013_jwt_014_json_web_key() {
    if let Some(count) = run("json_web_key_test.json", &[]) {
        assert!(
            count.run >= 26 && count.valid >= 5,
            "{} {}",
            count.run,
            count.valid
        );
    }
}

#[test]
fn json_web_crypto() {
    if let Some(count) = run("json_web_crypto_test.json", &[]) {
        assert!(
            count.run >= 40 && count.valid >= 4,
            "{} {}",
            count.run,
            count.valid
        );
    }
}

#[test]
fn jwt_028_jwe_is_never_opened() {
    for name in ["json_web_encryption_test.json", "json_web_crypto_test.json"] {
        let Some(file) = vectors::read_json(&format!("jwt/wycheproof/{name}")) else {
            return;
        };
        let bench = support::Bench::es256();
        let mut run = 0;
        for group in file["testGroups"].as_array().unwrap() {
            for test in group["tests"].as_array().unwrap() {
                let Some(jwe) = test["jwe"].as_str() else {
                    continue;
                };
                run += 1;
                let code = bench.code(jwe);
                let form = ["parts", "base64", "json", "header", "algorithm_unknown"];
                assert!(form.contains(&code), "{code} {jwe}");
            }
        }
        assert!(run >= 30, "{run}");
    }
}
