//! Abuse of claims: for whom, by whom, of which kind, about whom, bound to whom.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

mod support;

use m2m_crypto::{Algorithm, SigningKey, sha256};
use m2m_token::{
    Audience, Issuers, Presenter, Rejection, Scratch, TokenType, Verifier, VerifyError,
};
use m2m_types::TrustDomain;
use serde_json::{Value, json};
use support::*;

fn claim(name: &str, value: impl Into<Value>) -> String {
    with(&claims(), name, value.into()).to_string()
}

#[test]
fn jwt_060_aud_is_our_name_byte_by_byte() {
    let bench = Bench::es256();
    assert_eq!(
        bench.claims_code(without(&claims(), "aud").to_string()),
        "claim_missing"
    );
    for malformed in [
        json!([]),
        json!([1]),
        json!([ORDERS, 1]),
        json!([ORDERS, null]),
        json!([[ORDERS]]),
        json!({"a": 1}),
        json!({ORDERS: ORDERS}),
        json!(1),
        json!(true),
        json!(null),
        json!(""),
        json!([""]),
        json!([ORDERS, ""]),
    ] {
        assert_eq!(
            bench.claims_code(claim("aud", malformed.clone())),
            "claim_type",
            "{malformed}"
        );
    }
    for near in [
        "spiffe://example.org/order",
        "spiffe://example.org/orders2",
        "spiffe://example.org/orders/",
        "spiffe://example.org/orders ",
        " spiffe://example.org/orders",
        "xspiffe://example.org/orders",
        "spiffe://example.org/Orders",
        "SPIFFE://example.org/orders",
        "spiffe://EXAMPLE.org/orders",
        "spiffe://example.org/%6frders",
        "spiffe://example.org//orders",
        "spiffe://example.org/x/../orders",
        "spiffe://example.org:443/orders",
        "spiffe://example.org/orders?",
        "spiffe://example.org/orders#",
        "spiffe://example.org/orders\u{0}",
        "spiffe://example.org/ordеrs",
        "*",
        "spiffe://example.org/*",
    ] {
        assert_eq!(
            bench.claims_code(claim("aud", near)),
            "audience",
            "{near:?}"
        );
        assert_eq!(
            bench.claims_code(claim("aud", vec![near])),
            "audience",
            "{near:?}"
        );
    }
    // An array of one is one. Escapes are another way to write the same name.
    assert_eq!(bench.claims_code(claim("aud", vec![ORDERS])), "ok");
    for written in [
        r#""spiffe:\/\/example.org\/orders""#,
        r#""\u0073piffe://example.org/orders""#,
        r#"[ "spiffe://example.org/order\u0073" ]"#,
    ] {
        assert_eq!(
            bench.claims_code(with_raw(&claims(), "aud", written)),
            "ok",
            "{written}"
        );
    }
}

#[test]
fn jwt_060_a_name_is_compared_with_what_is_meant_not_with_what_is_written() {
    // NFC and NFD of é are two names; and a name with a backslash is not what JSON reads for it.
    for (name, written, code) in [
        ("caf\u{e9}", "caf\u{e9}", "ok"),
        ("caf\u{e9}", "caf\\u00e9", "ok"),
        ("caf\u{e9}", "cafe\u{301}", "audience"),
        ("caf\u{e9}", "cafe\\u0301", "audience"),
        (r"DOMAIN\name", r"DOMAIN\\name", "ok"),
        (r"DOMAIN\name", r"DOMAIN\name", "audience"),
        (r"a\/b", r"a\/b", "audience"),
        (r"a\u0062", r"a\u0062", "audience"),
        ("a/b", r"a\/b", "ok"),
    ] {
        let bench = Bench::with_policy(Algorithm::Es256, |keys| {
            Verifier::builder(
                Issuers::one(ISSUER, keys),
                Audience::exactly(name),
                TokenType::access_token(),
            )
        });
        for array in [false, true] {
            let written = match array {
                false => format!("\"{written}\""),
                true => format!("[\"{written}\"]"),
            };
            let payload = with_raw(&claims(), "aud", &written);
            assert_eq!(bench.claims_code(&payload), code, "{name} {written}");
        }
    }
}

#[test]
fn jwt_061_a_token_for_others_as_well_is_taken_only_on_request() {
    let both = json!(["spiffe://example.org/other", ORDERS]);
    let twice = json!([ORDERS, ORDERS]);
    let bench = Bench::es256();
    assert_eq!(
        bench.claims_code(claim("aud", both.clone())),
        "other_audiences"
    );
    assert_eq!(bench.claims_code(claim("aud", twice)), "other_audiences");
    let lenient = Bench::with_policy(Algorithm::Es256, |keys| {
        Verifier::builder(
            Issuers::one(ISSUER, keys),
            Audience::exactly(ORDERS).allowing_others(),
            TokenType::access_token(),
        )
    });
    assert_eq!(lenient.claims_code(claim("aud", both)), "ok");
    let others = json!(["spiffe://example.org/other", "x"]);
    assert_eq!(lenient.claims_code(claim("aud", others)), "audience");
}

#[test]
fn jwt_062_no_audience_is_not_a_policy_that_can_be_had_by_accident() {
    // There is no way to say "no audience" but out loud, and then malformed is still refused.
    assert!(policy_for(Audience::exactly("")).build().is_err());
    let bench = Bench::with_policy(Algorithm::Es256, |keys| {
        Verifier::builder(
            Issuers::one(ISSUER, keys),
            Audience::danger_ignored(),
            TokenType::access_token(),
        )
    });
    assert_eq!(
        bench.claims_code(without(&claims(), "aud").to_string()),
        "ok"
    );
    assert_eq!(bench.claims_code(claim("aud", "somebody")), "ok");
    assert_eq!(bench.claims_code(claim("aud", vec!["a", "b"])), "ok");
    for malformed in [json!(1), json!([]), json!([1]), json!(null), json!({})] {
        assert_eq!(bench.claims_code(claim("aud", malformed)), "claim_type");
    }
}

fn policy_for(audience: Audience) -> m2m_token::VerifierBuilder {
    let keys = set(&key(Algorithm::Es256));
    Verifier::builder(
        Issuers::one(ISSUER, keys),
        audience,
        TokenType::access_token(),
    )
}

#[test]
fn jwt_063_iss_is_one_of_ours_byte_by_byte() {
    let bench = Bench::es256();
    for near in [
        "https://issuer.exampl",
        "https://issuer.example2",
        "https://issuer.example/",
        "https://issuer.example.evil.example",
        "https://issuer.example@evil.example",
        "http://issuer.example",
        "HTTPS://issuer.example",
        "https://Issuer.example",
        "https://issuer.example:443",
        "https://issuer.example\u{0}",
        "issuer.example",
        "https://",
        " https://issuer.example",
    ] {
        let code = bench.claims_code(claim("iss", near));
        assert!(
            ["issuer_unknown", "claim_value"].contains(&code),
            "{near:?} {code}"
        );
    }
    for malformed in [
        json!([ISSUER]),
        json!({ISSUER: 1}),
        json!(1),
        json!(null),
        json!(true),
    ] {
        assert_eq!(bench.claims_code(claim("iss", malformed)), "claim_type");
    }
    assert_eq!(bench.claims_code(claim("iss", "")), "claim_value");
    assert_eq!(
        bench.claims_code(without(&claims(), "iss").to_string()),
        "claim_missing"
    );
    let escaped = with_raw(&claims(), "iss", r#""https:\/\/issuer.exampl\u0065""#);
    assert_eq!(bench.claims_code(escaped), "ok");
}

#[test]
fn jwt_064_a_key_speaks_for_its_issuer_alone_even_under_the_same_kid() {
    const OTHER: &str = "https://other.example";
    let (a, b) = (key(Algorithm::Es256), key(Algorithm::Es256));
    let verifier = |cached: bool| {
        let builder = Verifier::builder(
            Issuers::one(ISSUER, set(&a)).and(OTHER, set(&b)),
            Audience::exactly(ORDERS),
            TokenType::access_token(),
        );
        match cached {
            true => builder
                .with_cache(1 << 16, &m2m_crypto::SystemRandom)
                .unwrap(),
            false => builder,
        }
        .build()
        .unwrap()
    };
    let token = |issuer: &str, key: &SigningKey| {
        sign(
            header(Algorithm::Es256).to_string(),
            claim("iss", issuer),
            key,
        )
    };
    let mut scratch = Scratch::new();
    for cached in [false, true] {
        let verifier = verifier(cached);
        for _ in 0..2 {
            for (issuer, key, taken) in [
                (ISSUER, &a, true),
                (OTHER, &b, true),
                (OTHER, &a, false),
                (ISSUER, &b, false),
            ] {
                let token = token(issuer, key);
                let result = verifier
                    .verify(&token, at(0), &mut scratch)
                    .map(|verified| {
                        assert_eq!(verified.issuer(), Some(issuer));
                    });
                match taken {
                    true => assert_eq!(result, Ok(())),
                    false => assert_eq!(result, Err(VerifyError::Signature)),
                }
            }
        }
    }
}

#[test]
fn jwt_065_each_profile_takes_its_own_type_and_no_other() {
    let all = [
        None,
        Some("JWT"),
        Some("jwt"),
        Some("at+jwt"),
        Some("AT+JWT"),
        Some("application/at+jwt"),
        Some("at+jwt;x=y"),
        Some("at+jwt "),
        Some("secevent+jwt"),
        Some("dpop+jwt"),
        Some("application/jwt"),
    ];
    type Profile = fn() -> TokenType;
    let matrix: [(Profile, &str); 6] = [
        (TokenType::access_token, "...xxx....."),
        (TokenType::jwt, ".xx.......x"),
        (TokenType::jwt_or_absent, "xxx.......x"),
        (|| TokenType::named("secevent+jwt"), "........x.."),
        (|| TokenType::named("application/dpop+jwt"), ".........x."),
        (TokenType::danger_ignored, "xxxxxxxxxxx"),
    ];
    for (profile, taken) in matrix {
        let bench = Bench::with_policy(Algorithm::Es256, |keys| {
            Verifier::builder(
                Issuers::one(ISSUER, keys),
                Audience::exactly(ORDERS),
                profile(),
            )
        });
        let row: String = all
            .iter()
            .map(|typ| {
                let header = match typ {
                    Some(typ) => with(&header(Algorithm::Es256), "typ", (*typ).into()),
                    None => without(&header(Algorithm::Es256), "typ"),
                };
                match bench.header_code(header.to_string()) {
                    "ok" => 'x',
                    "type" => '.',
                    other => panic!("{other}"),
                }
            })
            .collect();
        assert_eq!(row, taken, "{:?}", profile());
        for malformed in ["null", "1", "[]", "[\"at+jwt\"]", "{}", "\"\""] {
            let header = with_raw(&header(Algorithm::Es256), "typ", malformed);
            assert_eq!(bench.header_code(header), "header", "{malformed}");
        }
    }
    // RFC 9068 §2.2: an access token is about somebody.
    let bench = Bench::es256();
    assert_eq!(
        bench.claims_code(without(&claims(), "sub").to_string()),
        "claim_missing"
    );
}

fn spiffe_bench() -> Bench {
    let domain: TrustDomain = "example.org".parse().unwrap();
    Bench::with_policy(Algorithm::Es256, |keys| {
        policy(keys).with_trust_domain(domain.clone())
    })
}

#[test]
fn jwt_066_a_subject_is_a_bounded_name_of_our_domain() {
    for bench in [Bench::es256(), spiffe_bench()] {
        for value in [json!(""), json!("x".repeat(2049))] {
            assert_eq!(bench.claims_code(claim("sub", value)), "claim_value");
        }
        assert_eq!(
            bench.claims_code(claim("sub", "x".repeat(10_000))),
            "too_long"
        );
        for control in ["\0", "\r\n", "\n", "\x1b[31m", "\u{7}", "\t"] {
            let sub = format!("{BILLING}{control}");
            assert_eq!(
                bench.claims_code(claim("sub", sub.clone())),
                "claim_value",
                "{sub:?}"
            );
            // As it is, unescaped, it is no JSON either.
            let raw = with_raw(&claims(), "sub", &format!("\"{sub}\""));
            assert_eq!(bench.claims_code(raw), "json", "{sub:?}");
        }
        // What JSON allows as it is, is the same with escapes.
        for (raw, escaped) in [("\u{7f}", "\\u007f"), ("\u{9b}", "\\u009b")] {
            let codes = [raw, escaped].map(|written| {
                let scope = with_raw(&claims(), "scope", &format!("\"read {written}\""));
                let sub = with_raw(&claims(), "sub", &format!("\"{BILLING}{written}\""));
                (bench.claims_code(scope), bench.claims_code(sub))
            });
            assert_eq!(codes[0], codes[1], "{escaped}");
            assert_eq!(codes[0].0, "ok", "{escaped}");
        }
        for malformed in [
            json!(1),
            json!(null),
            json!([BILLING]),
            json!({"sub": BILLING}),
        ] {
            assert_eq!(bench.claims_code(claim("sub", malformed)), "claim_type");
        }
    }
    let bench = spiffe_bench();
    assert_eq!(bench.code(&bench.good()), "ok");
    for other in [
        "spiffe://example.com/billing",
        "spiffe://sub.example.org/billing",
        "spiffe://example.org.evil/billing",
        "spiffe://xexample.org/billing",
    ] {
        assert_eq!(
            bench.claims_code(claim("sub", other)),
            "trust_domain",
            "{other}"
        );
    }
    assert_eq!(
        bench.claims_code(without(&claims(), "sub").to_string()),
        "claim_missing"
    );
}

#[test]
fn jwt_067_a_subject_that_is_no_spiffe_id_is_refused_where_one_is_wanted() {
    let bench = spiffe_bench();
    let long = format!("spiffe://example.org/{}", "x".repeat(2028));
    assert_eq!(long.len(), 2049);
    for sub in [
        "billing",
        "spiffe://",
        "spiffe:///billing",
        "spiffe://example.org/",
        "spiffe://example.org/billing/",
        "spiffe://example.org//billing",
        "spiffe://example.org/a/../billing",
        "spiffe://example.org/./billing",
        "spiffe://example.org/%2e/billing",
        "spiffe://example.org/bill%69ng",
        "spiffe://EXAMPLE.org/billing",
        "SPIFFE://example.org/billing",
        "spiffe://user@example.org/billing",
        "spiffe://example.org:8443/billing",
        "spiffe://example.org/billing?x",
        "spiffe://example.org/billing#x",
        "spiffe://example.org/bïlling",
        "https://example.org/billing",
    ] {
        assert_eq!(
            bench.claims_code(claim("sub", sub)),
            "subject_not_spiffe",
            "{sub}"
        );
    }
    assert_eq!(bench.claims_code(claim("sub", long)), "claim_value");
    let error = bench
        .verifiers
        .error(&bench.claims(claim("sub", "spiffe://example.org/")));
    assert!(matches!(error, VerifyError::SubjectNotSpiffe { .. }));
}

/// Calls `look` with the verified claims of a token with this payload.
fn verified<T>(bench: &Bench, payload: String, look: impl Fn(&m2m_token::Verified<'_>) -> T) -> T {
    let token = bench.claims(payload);
    let mut scratch = Scratch::new();
    let verifier = bench.verifiers.each().next().unwrap();
    look(&verifier.verify(&token, at(0), &mut scratch).unwrap())
}

#[test]
fn jwt_068_a_scope_is_a_whole_word() {
    let bench = Bench::es256();
    for (scope, wanted, has) in [
        ("read", "read", true),
        ("readonly", "read", false),
        ("xread", "read", false),
        ("x read", "read", true),
        ("read x", "read", true),
        ("a read b", "read", true),
        ("READ", "read", false),
        ("read\u{a0}write", "read", false),
        ("read,write", "read", false),
        ("read x", "read x", false),
        ("read  x", "", false),
        ("", "", false),
        (" ", "", false),
        ("*", "read", false),
    ] {
        let found = verified(&bench, claim("scope", scope), |v| v.has_scope(wanted));
        assert_eq!(found, has, "{scope:?} {wanted:?}");
    }
    assert!(!verified(&bench, claims().to_string(), |v| v.has_scope("read")));
    // A tab is no separator, and no part of a scope (RFC 6749 §3.3).
    assert_eq!(
        bench.claims_code(claim("scope", "read\twrite")),
        "claim_value"
    );
    // As many as a token holds, and no more than it holds.
    let many = |count: usize| vec!["r"; count].join(" ");
    let last = format!("{} last", many(2_000));
    assert!(verified(&bench, claim("scope", last), |v| v.has_scope("last")));
    assert_eq!(bench.claims_code(claim("scope", many(10_000))), "too_long");
}

#[test]
fn jwt_069_a_scope_that_is_no_string_is_refused_and_never_means_all() {
    let bench = Bench::es256();
    for malformed in [
        json!(["read"]),
        json!([]),
        json!(1),
        json!(null),
        json!(true),
        json!({}),
    ] {
        assert_eq!(bench.claims_code(claim("scope", malformed)), "claim_type");
    }
    let good = claim("scope", "read");
    let twice = good.replace("\"scope\"", "\"scope\":\"admin\",\"scope\"");
    assert_eq!(bench.claims_code(twice), "json");
}

fn bound(method: &str, hash: [u8; 32]) -> String {
    claim("cnf", json!({method: b64(hash)}))
}

#[test]
fn jwt_070_a_bound_token_needs_its_proof() {
    let bench = Bench::es256();
    let hash = sha256(b"certificate");
    for method in ["x5t#S256", "jkt"] {
        assert_eq!(
            bench.claims_code(bound(method, hash)),
            "binding_missing",
            "{method}"
        );
    }
    for malformed in [
        json!({}),
        json!({"x5t#S256": b64(hash), "jkt": b64(hash)}),
        json!({"x5t#S256": b64(hash), "x": 1}),
        json!({"kid": "k1"}),
        json!({"jwk": {"kty": "EC"}}),
        json!({"x5t": b64(hash)}),
        json!({"X5T#S256": b64(hash)}),
        json!({"x5t#S256": b64(&hash[1..])}),
        json!({"x5t#S256": format!("{}=", b64(hash))}),
        json!({"x5t#S256": ""}),
        json!({"x5t#S256": 1}),
        json!({"x5t#S256": null}),
        json!({"x5t#S256": [b64(hash)]}),
    ] {
        assert_eq!(
            bench.claims_code(claim("cnf", malformed.clone())),
            "claim_value",
            "{malformed}"
        );
    }
    for malformed in [json!(null), json!([]), json!("x"), json!(1), json!(true)] {
        assert_eq!(
            bench.claims_code(claim("cnf", malformed.clone())),
            "claim_type",
            "{malformed}"
        );
    }
    // A verifier that takes bound tokens alone refuses the others.
    let strict = Bench::with_policy(Algorithm::Es256, |keys| {
        policy(keys).with_binding_required()
    });
    assert_eq!(strict.code(&strict.good()), "binding_required");
    let token = strict.claims(bound("jkt", hash));
    assert_eq!(strict.code(&token), "binding_missing");
    let presenter = Presenter::unknown().with_key(hash);
    assert_eq!(
        strict.verifiers.code_presented(&token, &presenter, at(0)),
        "ok"
    );
    // One that was told to look away does, but malformed is malformed.
    let blind = Bench::with_policy(Algorithm::Es256, |keys| {
        policy(keys).danger_ignoring_binding()
    });
    assert_eq!(blind.claims_code(bound("jkt", hash)), "ok");
    assert_eq!(blind.claims_code(claim("cnf", json!({}))), "claim_value");
}

#[test]
fn jwt_071_a_bound_token_is_taken_from_its_own_presenter_alone_cached_or_not() {
    let bench = Bench::es256();
    let (own, other) = (
        sha256(b"own certificate"),
        sha256(b"another, of the same CA"),
    );
    let nobody = Presenter::unknown();
    let certificate = |hash| nobody.with_certificate(hash);
    let key = |hash| nobody.with_key(hash);
    let token = bench.claims(bound("x5t#S256", own));
    let code = |presenter: &Presenter| bench.verifiers.code_presented(&token, presenter, at(0));
    // In this order, so that the cache knows the token when the others come.
    for _ in 0..2 {
        assert_eq!(code(&certificate(own)), "ok");
        assert_eq!(code(&certificate(other)), "binding_mismatch");
        assert_eq!(code(&nobody), "binding_missing");
        // The right hash as another kind of proof is none.
        assert_eq!(code(&key(own)), "binding_missing");
        assert_eq!(code(&certificate(other).with_key(own)), "binding_mismatch");
        assert_eq!(code(&certificate(own).with_key(other)), "ok");
    }
    let token = bench.claims(bound("jkt", own));
    let code = |presenter: &Presenter| bench.verifiers.code_presented(&token, presenter, at(0));
    assert_eq!(code(&key(own)), "ok");
    assert_eq!(code(&key(other)), "binding_mismatch");
    assert_eq!(code(&certificate(own)), "binding_missing");
    // A proof does no harm to a token that needs none.
    let free = bench.good();
    let presenter = certificate(other).with_key(other);
    assert_eq!(
        bench.verifiers.code_presented(&free, &presenter, at(0)),
        "ok"
    );
}

#[test]
fn jwt_072_a_chain_of_actors_is_bounded() {
    let bench = Bench::es256();
    let chain = |depth: usize| {
        (0..depth).fold(
            json!({"sub": "spiffe://example.org/a"}),
            |inner, _| json!({"sub": "spiffe://example.org/a", "act": inner}),
        )
    };
    assert_eq!(bench.claims_code(claim("act", chain(3))), "ok");
    assert_eq!(bench.claims_code(claim("act", chain(14))), "ok");
    assert_eq!(bench.claims_code(claim("act", chain(15))), "json");
    assert_eq!(bench.claims_code(claim("act", chain(100))), "json");
}

#[test]
fn jwt_073_a_bad_signature_is_the_first_thing_wrong_and_no_claims_come_with_it() {
    let bench = Bench::es256();
    let forged = |payload: String| {
        let stranger = key(Algorithm::Es256);
        sign(header(Algorithm::Es256).to_string(), payload, &stranger)
    };
    let expired = claim("exp", START - 10);
    let expired = with(
        &serde_json::from_str(&expired).unwrap(),
        "iat",
        json!(START - 100),
    )
    .to_string();
    assert_eq!(bench.claims_code(&expired), "expired");
    for payload in [
        expired,
        claim("aud", "somebody"),
        claim("nbf", START + 10),
        without(&claims(), "sub").to_string(),
        without(&claims(), "exp").to_string(),
        bound("jkt", [7; 32]),
    ] {
        let token = forged(payload.clone());
        assert_eq!(bench.code(&token), "signature", "{payload}");
        // All there is to hold is the error, which has one word for the world.
        let error = bench.verifiers.error(&token);
        assert_eq!(error, VerifyError::Signature);
        assert_eq!(error.rejection(), Rejection::InvalidToken);
    }
}
