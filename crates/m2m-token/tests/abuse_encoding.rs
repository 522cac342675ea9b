//! Abuse of base64url and JSON: one text for each token, and nothing that two readers would read in
//! two ways.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

mod support;

use m2m_crypto::Algorithm;
use m2m_token::{MAX_TOKEN_BYTES, Scratch, Unverified};
use serde_json::{Value, json};
use support::*;

/// What becomes of a token, at each entrance: the diagnosis must not take what a verifier's form
/// checks refuse (rule G-7).
#[track_caller]
fn refused_form(bench: &Bench, token: &str) -> &'static str {
    let code = bench.code(token);
    let mut scratch = Scratch::new();
    let shown = Unverified::danger_decode(token, &mut scratch).map(|_| ());
    let shown = shown.expect_err("an unverified token of bad form was shown");
    assert_mute(&shown, token);
    assert_eq!(shown.code(), code);
    code
}

#[test]
fn jwt_030_each_part_is_base64url_in_its_one_form() {
    let bench = Bench::es256();
    // Parts of lengths 2 and 3 modulo 4 have unused bits.
    for padding in 0..3 {
        let claims = with(&claims(), "pad", "x".repeat(padding).into());
        for extra in 0..3 {
            let header = with(&header(Algorithm::Es256), "pad", "x".repeat(extra).into());
            let token = sign(header.to_string(), claims.to_string(), &bench.key);
            assert_eq!(bench.code(&token), "ok");
            let parts: Vec<String> = token.split('.').map(str::to_owned).collect();
            for at in 0..3 {
                let part = &parts[at];
                let with_part = |part: String| {
                    let mut parts = parts.clone();
                    parts[at] = part;
                    parts.join(".")
                };
                let middle = part.len() / 2;
                let mut bad = vec![
                    format!("{part}="),
                    format!("{part}=="),
                    format!("{part}A"),
                    part[..part.len() - 1].to_owned(),
                ];
                for odd in [
                    "+", "/", " ", "\t", "\n", "\r\n", "\0", "=", "%2d", "é", ",",
                ] {
                    bad.push(format!("{}{odd}{}", &part[..middle], &part[middle..]));
                    bad.push(format!("{}{odd}{}", &part[..middle], &part[middle + 1..]));
                    bad.push(format!("{odd}{part}"));
                    bad.push(format!("{part}{odd}"));
                }
                // The unused bits of the last character.
                let last = part.as_bytes()[part.len() - 1];
                let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
                let value = alphabet.iter().position(|byte| *byte == last).unwrap();
                let unused = match part.len() % 4 {
                    2 => 16,
                    3 => 4,
                    _ => 1,
                };
                for bits in 1..unused {
                    let other = char::from(alphabet[value | bits]);
                    bad.push(format!("{}{other}", &part[..part.len() - 1]));
                }
                for bad in bad {
                    let token = with_part(bad);
                    let code = bench.code(&token);
                    // A part that is still base64url is another part, and was not signed.
                    assert!(
                        ["base64", "json", "signature", "header", "claim_type"].contains(&code),
                        "{code} {token:?}"
                    );
                    let odd = |c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c));
                    if at < 2 && token.contains(odd) {
                        assert_eq!(refused_form(&bench, &token), "base64", "{token:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn jwt_030_unused_bits_and_impossible_lengths_are_refused_though_they_decode() {
    let bench = Bench::es256();
    let token = bench.good();
    let (h, rest) = token.split_once('.').unwrap();
    // `e30` is `{}`; so, to the careless, are `e31`, `e32`, `e33` and `e30=`.
    for text in ["e31", "e32", "e33", "e30=", "e3", "e", "e30e3"] {
        let code = refused_form(&bench, &format!("{text}.{rest}"));
        assert!(["base64", "json"].contains(&code), "{text} {code}");
        let code = refused_form(&bench, &format!("{h}.{text}.{}", "A".repeat(86)));
        assert!(["base64", "json"].contains(&code), "{text} {code}");
    }
}

#[test]
fn jwt_031_a_header_parameter_stands_once() {
    let bench = Bench::es256();
    for twice in [
        r#"{"alg":"ES256","alg":"ES256","kid":"k1","typ":"at+jwt"}"#,
        r#"{"alg":"none","alg":"ES256","kid":"k1","typ":"at+jwt"}"#,
        r#"{"alg":"ES256","al\u0067":"none","kid":"k1","typ":"at+jwt"}"#,
        r#"{"alg":"ES256","kid":"k2","kid":"k1","typ":"at+jwt"}"#,
        r#"{"alg":"ES256","kid":"k1","typ":"at+jwt","\u0074yp":"JWT"}"#,
        r#"{"alg":"ES256","kid":"k1","typ":"at+jwt","x":1,"x":1}"#,
        r#"{"alg":"ES256","kid":"k1","typ":"at+jwt","x":{"y":1,"y":1}}"#,
    ] {
        let token = bench.header(twice);
        assert_eq!(refused_form(&bench, &token), "json", "{twice}");
    }
}

#[test]
fn jwt_032_a_claim_stands_once_at_every_depth() {
    let bench = Bench::es256();
    let good = claims().to_string();
    let good = good.trim_end_matches('}');
    for more in [
        r#""exp":1"#,
        r#""exp":9999999999"#,
        r#""sub":"spiffe://example.org/admin""#,
        r#""aud":"spiffe://example.org/orders""#,
        r#""i\u0073s":"https://issuer.example""#,
        r#""x":1,"x":2"#,
        r#""cnf":{"jkt":"a","jkt":"b"}"#,
        r#""act":{"sub":"a","sub":"b"}"#,
        r#""act":{"sub":"a","act":{"sub":"b","\u0073ub":"c"}}"#,
        r#""x":[{"a":1},{"b":1,"b":1}]"#,
    ] {
        let token = bench.claims(format!("{good},{more}}}"));
        assert_eq!(refused_form(&bench, &token), "json", "{more}");
    }
    // serde alone would not see this: a map keeps the last one, a struct ignores both.
    assert!(serde_json::from_str::<Value>(r#"{"x":1,"x":2}"#).is_ok());
    // Equal names in different objects are no repetition.
    let token = bench.claims(format!(r#"{good},"a":{{"x":1}},"b":{{"x":1}},"x":1}}"#));
    assert_eq!(bench.code(&token), "ok");
}

#[test]
fn jwt_033_names_that_only_look_like_a_claim_are_other_claims() {
    let bench = Bench::es256();
    for (name, lookalikes) in [
        (
            "exp",
            &["Exp", "EXP", "exp ", " exp", "exp\\u0000", "e\u{301}xp"][..],
        ),
        (
            "sub",
            &["ſub", "Sub", "sub\\u0000", "s\\u200bub", "ѕub"][..],
        ),
        ("aud", &["Aud", "AUD", "audience", "aud\\n"][..]),
        ("iss", &["Iss", "ISS", "iſſ", "issuer"][..]),
    ] {
        let rest = without(&claims(), name);
        let value = claims()[name].to_string();
        for lookalike in lookalikes {
            let payload = with_raw(&rest, lookalike, &value);
            let code = bench.claims_code(&payload);
            assert_eq!(code, "claim_missing", "{payload}");
            // Beside the true one it does no harm.
            let payload = with_raw(&claims(), lookalike, &value);
            assert_eq!(bench.claims_code(&payload), "ok", "{payload}");
        }
        // Written with escapes it is the claim.
        let escaped: String = name
            .chars()
            .map(|c| format!("\\u{:04x}", c as u32))
            .collect();
        assert_eq!(
            bench.claims_code(with_raw(&rest, &escaped, &value)),
            "ok",
            "{escaped}"
        );
    }
    // A header's names likewise.
    for name in ["Alg", "ALG", "alg\\u0000"] {
        let rest = without(&header(Algorithm::Es256), "alg");
        let token = bench.header(with_raw(&rest, name, "\"ES256\""));
        assert_eq!(bench.code(&token), "header", "{name}");
    }
}

#[test]
fn jwt_034_what_is_not_unicode_is_refused() {
    let bench = Bench::es256();
    let bad: [&[u8]; 12] = [
        b"\xff",
        b"\xc0\xaf",
        b"\xc1\xbf",
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xc3",
        b"\x80",
        b"\xfe\xff",
    ];
    let splice = |value: &Value, bytes: &[u8]| {
        let text = value.to_string();
        let (before, after) = text.split_once("HERE").unwrap();
        [before.as_bytes(), bytes, after.as_bytes()].concat()
    };
    let escapes: [&[u8]; 8] = [
        b"\\ud800",
        b"\\udc00",
        b"\\ud800\\ud800",
        b"\\ud800x",
        b"\\uD83D",
        b"\\u12",
        b"\\u{41}",
        b"\\x41",
    ];
    for bytes in bad.iter().chain(&escapes) {
        for name in ["sub", "x"] {
            let payload = splice(&with(&claims(), name, "aHEREb".into()), bytes);
            let token = bench.claims(payload);
            assert_eq!(refused_form(&bench, &token), "json", "{name} {bytes:?}");
        }
        for name in ["kid", "x"] {
            let changed = with(&header(Algorithm::Es256), name, "aHEREb".into());
            let token = bench.header(splice(&changed, bytes));
            assert_eq!(refused_form(&bench, &token), "json", "{name} {bytes:?}");
        }
    }
    let marked = [b"\xef\xbb\xbf", claims().to_string().as_bytes()].concat();
    assert_eq!(refused_form(&bench, &bench.claims(marked)), "json");
    let marked = [
        b"\xef\xbb\xbf",
        header(Algorithm::Es256).to_string().as_bytes(),
    ]
    .concat();
    assert_eq!(refused_form(&bench, &bench.header(marked)), "json");
    for utf16 in [u16::to_le_bytes, u16::to_be_bytes] {
        let text: Vec<u8> = claims()
            .to_string()
            .encode_utf16()
            .flat_map(utf16)
            .collect();
        assert_eq!(refused_form(&bench, &bench.claims(text)), "json");
    }
}

#[test]
fn jwt_035_a_part_is_one_object_and_nothing_else() {
    let bench = Bench::es256();
    let good = claims().to_string();
    for payload in [
        format!("{good}{good}"),
        format!("{good} {{}}"),
        format!("{good}\0"),
        format!("{good},"),
        format!("{good}]"),
        format!("[{good}]"),
        format!("{good}//"),
        format!("/**/{good}"),
        format!("\"{}\"", good.replace('"', "\\\"")),
        good[..good.len() - 1].to_owned(),
        good[1..].to_owned(),
        good.replace(",\"sub\"", ",,\"sub\""),
        good.replace('}', ",}"),
        good.replace('"', "'"),
        good.replace("\"sub\"", "sub"),
        "null".into(),
        "true".into(),
        "1".into(),
        "[]".into(),
        "foo".into(),
        " ".into(),
    ] {
        let token = bench.claims(&payload);
        assert_eq!(refused_form(&bench, &token), "json", "{payload}");
    }
    // White space is JSON's, and no other.
    assert_eq!(bench.claims_code(format!("\n\t\r {good} \n")), "ok");
    for space in ["\u{a0}", "\u{feff}", "\x0b", "\x0c", "\u{2028}"] {
        let token = bench.claims(format!("{good}{space}"));
        assert_eq!(refused_form(&bench, &token), "json", "{space:?}");
    }
}

#[test]
fn jwt_037_nesting_is_refused_with_little_stack() {
    let thread = std::thread::Builder::new().stack_size(256 * 1024);
    let run = || {
        let mut scratch = Scratch::new();
        let mut decode = |header: &str, payload: &str| {
            let token = format!("{}.{}.AAAA", b64(header), b64(payload));
            match Unverified::danger_decode(&token, &mut scratch) {
                Ok(_) => "ok",
                Err(error) => error.code(),
            }
        };
        let good_header = header(Algorithm::Es256).to_string();
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            for depth in [16, 17, 129, 1_000, 10_000, 1_000_000] {
                let inner = if open == "[" { "" } else { "1" };
                let (open, close) = (open.repeat(depth), close.repeat(depth));
                for nested in [format!("{open}{inner}{close}"), open.clone()] {
                    for name in ["aud", "x", "cnf"] {
                        let payload = with_raw(&claims(), name, &nested);
                        let code = decode(&good_header, &payload);
                        assert!(
                            ["json", "too_long"].contains(&code),
                            "{name} {depth} {code}"
                        );
                    }
                    for name in ["alg", "x", "jwk"] {
                        let header = with_raw(&header(Algorithm::Es256), name, &nested);
                        let code = decode(&header, &claims().to_string());
                        assert!(
                            ["json", "too_long"].contains(&code),
                            "{name} {depth} {code}"
                        );
                    }
                }
            }
            // Fifteen inside of the object itself is what there is.
            let (open, close) = (open.repeat(15), close.repeat(15));
            let inner = if open.starts_with('[') { "" } else { "1" };
            let nested = format!("{open}{inner}{close}");
            assert_eq!(
                decode(&good_header, &with_raw(&claims(), "x", &nested)),
                "ok"
            );
        }
    };
    thread.spawn(run).unwrap().join().unwrap();
}

#[test]
fn jwt_038_a_long_token_is_not_looked_at() {
    let bench = Bench::es256();
    let good = bench.good();
    for length in [MAX_TOKEN_BYTES + 1, 1 << 20, 100 << 20] {
        let mut token = good.clone();
        token.extend(std::iter::repeat_n('A', length - good.len()));
        let mut scratch = Scratch::new();
        for verifier in bench.verifiers.each() {
            let error = verifier.verify(&token, at(0), &mut scratch).unwrap_err();
            assert_eq!(error.code(), "too_long");
        }
        let error = Unverified::danger_decode(&token, &mut scratch).unwrap_err();
        assert_eq!(error.code(), "too_long");
    }
    // The longest token that is read is read.
    let mut pad = MAX_TOKEN_BYTES;
    let token = loop {
        let token = bench.claims(with(&claims(), "pad", "x".repeat(pad).into()).to_string());
        if token.len() <= MAX_TOKEN_BYTES {
            break token;
        }
        pad -= 1;
    };
    assert!(token.len() > MAX_TOKEN_BYTES - 2);
    assert_eq!(bench.code(&token), "ok");
}

#[test]
fn jwt_040_members_and_items_are_counted() {
    let bench = Bench::es256();
    let members = |count: usize| {
        let mut object = claims();
        let own = object.as_object().unwrap().len();
        for at in own..count {
            object[format!("m{at}")] = json!(0);
        }
        object.to_string()
    };
    assert_eq!(bench.claims_code(members(64)), "ok");
    assert_eq!(bench.claims_code(members(65)), "json");
    assert_eq!(bench.claims_code(members(400)), "json");
    let nested = |count: usize| {
        let object: serde_json::Map<_, _> =
            (0..count).map(|at| (format!("m{at}"), json!(0))).collect();
        with(&claims(), "x", object.into()).to_string()
    };
    assert_eq!(bench.claims_code(nested(64)), "ok");
    assert_eq!(bench.claims_code(nested(65)), "json");
    // Items cost nothing but to be read.
    let items = with(&claims(), "x", vec![0; 2_500].into()).to_string();
    assert_eq!(bench.claims_code(items), "ok");
    let audiences = |count: usize| {
        let mut names = vec![ORDERS; count];
        names.truncate(count);
        with(&claims(), "aud", names.into()).to_string()
    };
    assert_eq!(bench.claims_code(audiences(16)), "other_audiences");
    assert_eq!(bench.claims_code(audiences(17)), "claim_type");
}

#[test]
fn jwt_041_a_date_is_digits_and_malformed_is_not_absent() {
    let bench = Bench::es256();
    let wrong = [
        "\"9999999999\"",
        "\"\"",
        "true",
        "null",
        "[]",
        "{}",
        "[1700000300]",
        "1e400",
        "-1",
        "-0",
        "-0.0",
        "0.0",
        "1.5",
        "1700000300.0",
        "1.7e9",
        "17E8",
        "253402300800",
        "9007199254740993",
        "9223372036854775808",
        "18446744073709551616",
        "1e30",
        "999999999999999999999999999999999999999999",
    ];
    for name in ["exp", "nbf", "iat"] {
        for value in wrong {
            let payload = with_raw(&claims(), name, value);
            assert_eq!(bench.claims_code(&payload), "claim_type", "{payload}");
        }
        // No JSON at all.
        for value in [
            "NaN", "Infinity", "0x10", "+1", "01", "1.", ".5", "1e", "--1",
        ] {
            let payload = with_raw(&claims(), name, value);
            assert_eq!(bench.claims_code(&payload), "json", "{payload}");
        }
    }
    for (name, value, code) in [
        ("exp", "0", "lifetime"),
        ("exp", "253402300799", "ok"),
        ("exp", "1700000001", "ok"),
        ("nbf", "0", "ok"),
        ("iat", "0", "ok"),
        ("iat", "253402300799", "lifetime"),
    ] {
        let payload = with_raw(&claims(), name, value);
        assert_eq!(bench.claims_code(&payload), code, "{payload}");
    }
}

#[test]
fn jwt_043_nothing_is_inflated() {
    let bench = Bench::es256();
    for zip in ["\"DEF\"", "\"GZ\"", "\"\"", "null", "true"] {
        let header = with_raw(&header(Algorithm::Es256), "zip", zip);
        assert_eq!(bench.header_code(&header), "header", "{zip}");
    }
}

#[test]
fn jwt_044_a_password_algorithm_costs_nothing() {
    let bench = Bench::es256();
    let header = json!({
        "alg": "PBES2-HS256+A128KW", "p2c": 2_147_483_647, "p2s": "AAAA", "kid": "k1", "typ": "at+jwt",
    });
    // Were the passwords hashed, this would take hours.
    for _ in 0..1_000 {
        assert_eq!(bench.header_code(header.to_string()), "algorithm_unknown");
    }
}

#[test]
fn a_token_is_split_at_its_first_dot_whatever_was_verified_before() {
    let bench = Bench::es256();
    let good = bench.good();
    let dot = good.find('.').unwrap();
    let mut tokens = vec![good[..dot].to_owned(), good[..=dot].to_owned()];
    for at in 0..=dot + 2 {
        // Another dot before, at and behind the place of the first one.
        tokens.push(format!("{}.{}", &good[..at], &good[at..]));
        tokens.push(format!("{}.{}", &good[..at], &good[at + 1..]));
        let shorter = &good[..at].replace('.', "");
        tokens.push(format!("{}.{}", shorter, &good[dot + 1..]));
    }
    for verifier in bench.verifiers.each() {
        let mut used = Scratch::new();
        for token in &tokens {
            assert!(verifier.verify(&good, at(0), &mut used).is_ok());
            let refusal = |scratch: &mut Scratch| {
                let verified = verifier.verify(token, at(0), scratch);
                verified.map(|_| ()).err()
            };
            let found = refusal(&mut used);
            assert_eq!(found, refusal(&mut Scratch::new()), "{token}");
            assert!(*token == good || found.is_some(), "{token}");
        }
    }
}
