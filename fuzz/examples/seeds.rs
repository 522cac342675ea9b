//! Writes `seeds/`: a few small inputs for each target, so that fuzzing begins behind the front door.
//!
//! `cargo +nightly run --example seeds` after changing it; what it writes is committed.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::{Algorithm, SecretBytes, SigningKey, SystemRandom};
use m2m_fuzz::{BILLING, EDDSA, ES256, HS256, ORDERS, RS256, at, mac_key, pki, sign, signing_key};
use m2m_pki::{
    Authority, ChainVerifier, CrlSet, CsrBuilder, ExpectedPeer, Ledger, PeerRole, Profile,
    RevocationRule, Subject, TrustBundle, TrustBundles,
};
use m2m_revoke::{Revocation, Revocations, Target};
use m2m_types::ServiceIdRef;

/// The header and claims of RFC 7515 §A.1 to §A.3, and their signatures.
const RFC_7515: [(&str, &str); 3] = [
    (
        "rfc7515-a1-hs256",
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    ),
    (
        "rfc7515-a2-rs256",
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    ),
    (
        "rfc7515-a3-es256",
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    ),
];

/// RFC 8037 §A.4: a signature over something that is not JSON.
const RFC_8037: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

/// The first byte says whether bytes (0) or rows (1) of the store are changed; see the target.
const STORE_CHANGES: [(&str, &[u8]); 7] = [
    ("flags", b"\0\0\0\x09\x03\x01"),
    ("cut", b"\0\x02\0\0\0\0"),
    ("longer", b"\0\0\x10\0\x01\0"),
    (
        "head",
        b"\x01\0\x01\x03\x08\x7f\xff\xff\xff\xff\xff\xff\xff",
    ),
    (
        "record",
        b"\x01\x01\x03a\0\x02\x0f\0\0\0\0\0\0\0\0\x07\0\0\0\0\0\0",
    ),
    (
        "feed",
        b"\x01\x02\x0ea\0\0\0\0\0\0\0\0\x09\0\0\0\0\x0f\0\0\0\0\0\0\0\x09\0\0\0\0\0\x01\x02",
    ),
    (
        "requests",
        b"\x01\x03\x01\x07\x31\x06\x06\x06\x06\x06\x06\x06\x06\x06\x06\x06\x06\x06\x06\x06\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01",
    ),
];

/// Of RFC 9421, §B.2.5 and §2.2.8, and of RFC 9530.
const HTTP_SIGNATURES: [(&str, [&str; 5]); 3] = [
    (
        "rfc9421-b25",
        [
            "sig-b25=(\"date\" \"@authority\" \"@method\");created=1618884473;keyid=\"k\"",
            "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:",
            "application/json",
            "/foo?param=Value&Pet=dog",
            "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:, sha-512=:AA==:",
        ],
    ),
    (
        "base",
        [
            "(\"@query-param\";name=\"fa%C3%A7ade\" \"x-field\";key=\"b\" \"x-field\";bs);tag=\"t\";x=?0;y=1.5;z=@1",
            "",
            "a=1, b=2;x=1;y=2, c=(a b c), d",
            "/p?fa%C3%A7ade=so+me&b",
            "",
        ],
    ),
    (
        "two-labels",
        [
            "a=(\"@method\");created=1618884473;keyid=\"k\", b=(\"@path\" \"@status\";req);nonce=\"n\"",
            "b=:AAAA:, a=:AAAA:;p=\"q\\\"\"",
            "x",
            "*",
            "sha-256=:AAAA:",
        ],
    ),
];

/// The claims of an access token that the strict verifier takes, and some that it does not.
fn claims() -> [(&'static str, String); 5] {
    let usual = format!(
        r#""iss":"joe","sub":"{BILLING}","aud":"{ORDERS}","iat":1300818900,"exp":1300819380"#
    );
    let hash = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    [
        ("usual", format!("{{{usual}}}")),
        (
            "everything",
            format!(
                r#"{{{usual},"nbf":1300818900,"jti":"a-1","sid":"s","client_id":"c","scope":"read write","cnf":{{"jkt":"{hash}"}},"act":{{"sub":"x","act":{{}}}},"list":[1,-2.5e3,true,null,"\ud83d\ude00"]}}"#
            ),
        ),
        ("revoked", format!(r#"{{{usual},"jti":"revoked"}}"#)),
        (
            "escaped",
            usual
                .replace("joe", r"\u006a\u006f\u0065")
                .replace("iss", r"i\u0073s")
                .replace(",", " , ")
                .replace(ORDERS, &ORDERS.replace('/', r"\/"))
                .replacen('"', "{ \"", 1)
                + "}\n",
        ),
        (
            "audiences",
            format!("{{{usual}}}").replace(
                &format!(r#""{ORDERS}""#),
                &format!(r#"["{BILLING}","{ORDERS}"]"#),
            ),
        ),
    ]
}

fn main() -> Result<(), Box<dyn Error>> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let write = |target: &str, name: &str, bytes: &[u8]| -> Result<(), Box<dyn Error>> {
        let folder = seeds.join(target);
        fs::create_dir_all(&folder)?;
        Ok(fs::write(folder.join(name), bytes)?)
    };

    for (name, token) in RFC_7515 {
        write("token", name, token.as_bytes())?;
    }
    for (name, changes) in STORE_CHANGES {
        write("store_open", name, changes)?;
    }
    write("token", "rfc8037-a4-eddsa", RFC_8037.as_bytes())?;
    let key = mac_key(Algorithm::Hs256);
    for (name, claims) in claims() {
        let header = br#"{"alg":"HS256","typ":"at+jwt","kid":"hs"}"#;
        write(
            "token",
            name,
            sign(&key, header, claims.as_bytes()).as_bytes(),
        )?;
        write("signed_token", name, format!("\u{1}\0{claims}").as_bytes())?;
    }
    let header = r#"{"alg":"HS256","typ":"application/at+jwt","kid":"\u0068s","b64":true}"#;
    let [(_, usual), ..] = claims();
    write(
        "signed_token",
        "header",
        format!("\u{2}{header}\0{usual}").as_bytes(),
    )?;

    let minted = format!("{ORDERS}\0{BILLING}\0a-1\0read write\0{{\"tenant\":\"\\u0061cme\"}}");
    write("mint", "everything", minted.as_bytes())?;
    let control = format!("{ORDERS}\0{BILLING}\0a-1\0read\u{7f}\"");
    write("mint", "scope-with-control-character", control.as_bytes())?;
    write("mint", "names", format!("{ORDERS}\0{BILLING}").as_bytes())?;

    chains(&write)?;
    requests(&write)?;
    write("crl_index", "whole", b"")?;
    for (name, at) in [("header", 40_u16), ("sums", 300), ("entries", 9000)] {
        let [high, low] = at.to_be_bytes();
        write("crl_index", name, &[high, low, 1])?;
    }
    write("crl_index", "cut", &[1])?;
    let webhook = "msg_p5jXN8AQM9LWM0D4loKWxJek\x001614265330\0v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=\0";
    let webhook = format!("{webhook}{{\"test\": 2432232314}}");
    write("webhook", "standard", webhook.as_bytes())?;
    for (name, parts) in HTTP_SIGNATURES {
        write("http_signature", name, parts.join("\0").as_bytes())?;
    }

    keys(&write)?;
    snapshots(&write)?;
    bundles(&write)?;

    for (name, id) in [
        ("billing", BILLING),
        ("deep", "spiffe://a-b_c.d/e.f/..g/H-_9"),
    ] {
        write("service_id", name, id.as_bytes())?;
    }
    Ok(())
}

type Write<'a> = &'a dyn Fn(&str, &str, &[u8]) -> Result<(), Box<dyn Error>>;

/// A role, then certificates with their lengths.
fn chains(write: Write<'_>) -> Result<(), Box<dyn Error>> {
    let chain = pki::chain();
    let ders: Vec<_> = chain.iter().map(|one| one.der().clone()).collect();
    let authority = pki::root().certificate().clone();
    let trust = TrustBundles::new().with(TrustBundle::new(pki::domain(), [authority]));
    let rule = RevocationRule::danger_accept_unknown();
    let verifier = ChainVerifier::new(ExpectedPeer::danger_any_service(), rule);
    let crls = CrlSet::new();
    let _peer = verifier.verify(&ders, PeerRole::Client, &trust, &crls, pki::issued_at())?;
    for (name, role, count) in [("client", 0, 2), ("server", 1, 2), ("no-issuer", 0, 1)] {
        let mut bytes = vec![role];
        for certificate in chain.iter().take(count) {
            let der = certificate.der().as_ref();
            bytes.extend(u16::try_from(der.len())?.to_be_bytes());
            bytes.extend_from_slice(der);
        }
        write("chain", name, &bytes)?;
    }
    Ok(())
}

fn requests(write: Write<'_>) -> Result<(), Box<dyn Error>> {
    let bare = CsrBuilder::new();
    let service = bare.clone().with_service_id(&BILLING.parse()?);
    let names = service.clone().with_dns_name("billing.internal")?;
    let names = names.with_ip_address([10, 0, 0, 1].into());
    for (name, builder, jwk) in [
        // The authority's own key.
        ("own", bare.clone(), ES256),
        ("bare", bare, EDDSA),
        ("service", service, EDDSA),
        ("names", names, EDDSA),
    ] {
        let request = builder.sign(&signing_key(jwk))?;
        write("csr", name, request.der())?;
        write("csr", &format!("{name}-pem"), request.to_pem().as_bytes())?;
    }
    Ok(())
}

fn keys(write: Write<'_>) -> Result<(), Box<dyn Error>> {
    let private = [("rsa", RS256), ("ec", ES256), ("ed25519", EDDSA)];
    let mut set = Vec::new();
    for (name, jwk) in private {
        let key = signing_key(jwk);
        let public = key.verifying_key();
        let index = Algorithm::ALL
            .iter()
            .position(|&one| one == key.algorithm())
            .expect("all are in it") as u8;
        let seed = |form: u8, bytes: &[u8]| [&[index, form], bytes].concat();
        let public_jwk = public.to_jwk().with_kid(name)?.to_json();
        let forms = [
            ("spki", seed(0, &public.to_spki_der())),
            ("public-pem", seed(1, public.to_pem().as_bytes())),
            ("public-jwk", seed(2, public_jwk.as_bytes())),
            ("pkcs8", seed(4, key.to_pkcs8_der().expose_secret())),
            ("private-pem", seed(5, key.to_pkcs8_pem().expose_secret())),
            ("private-jwk", seed(6, jwk.as_bytes())),
        ];
        for (form, bytes) in forms {
            write("key_import", &format!("{name}-{form}"), &bytes)?;
        }
        write("jwk_set", &format!("{name}-one"), public_jwk.as_bytes())?;
        set.push(public_jwk);
    }
    write(
        "key_import",
        "mac-jwk",
        &[&[0, 8], HS256.as_bytes()].concat(),
    )?;
    let p384 = SigningKey::generate(Algorithm::Es384, &SystemRandom)?;
    let es384 = [&[10, 0], &*p384.verifying_key().to_spki_der()].concat();
    write("key_import", "p384-spki", &es384)?;
    let es384 = SecretBytes::new([&[10, 4], p384.to_pkcs8_der().expose_secret()].concat());
    write("key_import", "p384-pkcs8", es384.expose_secret())?;

    write(
        "jwk_set",
        "set",
        format!(r#"{{"keys":[{}]}}"#, set.join(",")).as_bytes(),
    )?;
    let odd = format!(
        r#"{{"keys":[{},{},{{"kty":"oct","k":"AAAA","use":"enc"}},{{"kty":"new","key_ops":["verify"]}}]}}"#,
        set[2].replace(r#","alg":"Ed25519""#, ""),
        set[1].replace(
            r#""use":"sig""#,
            r#""key_ops":["verify"],"x5t":"","x5c":[]"#
        ),
    );
    write("jwk_set", "odd", odd.as_bytes())
}

fn snapshots(write: Write<'_>) -> Result<(), Box<dyn Error>> {
    let (now, later) = (at(1_300_000_000), at(4_000_000_000));
    let set = Revocations::new([7; 16], now);
    write("revocation_snapshot", "empty", set.snapshot()?.as_bytes())?;
    let issuer = "issuer";
    let service = ServiceIdRef::parse("spiffe://example.org/a")?;
    let all = [
        Target::Token { issuer, jti: "jti" },
        Target::Service(service),
        Target::Session { issuer, sid: "sid" },
        Target::Certificate {
            issuer: b"name",
            serial: &[1],
        },
        Target::CertificateThumbprint(&[1; 32]),
        Target::Key {
            issuer,
            thumbprint: &[2; 32],
        },
        Target::SecretVersion {
            name: "secret",
            version: 1,
        },
    ];
    set.revoke_many(all.map(|target| Revocation::of(target, later)))?;
    let subject = "spiffe://example.org/a";
    set.revoke_issued_until(Target::Subject { issuer, subject }, now, later)?;
    write(
        "revocation_snapshot",
        "one-of-each",
        set.snapshot()?.as_bytes(),
    )?;
    for number in 0..100_u32 {
        let jti = number.to_string();
        set.revoke(Target::Token { issuer, jti: &jti }, later)?;
    }
    write("revocation_snapshot", "hundred", set.snapshot()?.as_bytes())
}

fn bundles(write: Write<'_>) -> Result<(), Box<dyn Error>> {
    let (now, life) = (at(1_300_000_000), Duration::from_secs(86_400));
    let mut bundle = TrustBundle::new("local".parse()?, []);
    for algorithm in [Algorithm::Es256, Algorithm::Ed25519] {
        let profile = Profile::root("root", "local".parse()?, Subject::new("Seed")?, life)?;
        let key = SigningKey::generate(algorithm, &SystemRandom)?;
        let holder = "spiffe://local/ca".parse()?;
        let issued = Authority::create_root(&profile, &holder, &key, life, now, &SystemRandom)?;
        let ledger = Ledger::new(Arc::new(m2m_store::MemoryStore::new()));
        bundle = bundle.with_authority(pollster::block_on(ledger.record(issued))?)?;
    }
    let jwk = signing_key(ES256).verifying_key().to_jwk();
    bundle = bundle.with_jwt_authority(jwk.with_kid("jwt")?)?;
    let bundle = bundle.with_sequence(7).with_refresh_hint(life);
    write("bundle", "pem", bundle.to_pem().as_bytes())?;
    let json = bundle.to_json();
    write("bundle", "json", json.as_bytes())?;
    let odd = json
        .replacen("x509-svid", "wit-svid", 1)
        .replacen("OKP", "NEW", 1);
    write("bundle", "skipped", odd.as_bytes())?;
    write("bundle", "empty", br#"{"spiffe_sequence":0,"keys":[]}"#)
}
