//! x509-limbo: what other people think is a good chain and a bad one. No bad one is taken but for a
//! list, each with its reason; which good ones are refused is a list too.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test may panic and say so"
)]

use std::fs;
use std::net::IpAddr;
use std::sync::Arc;

use m2m_pki::*;
use m2m_types::{Timestamp, TrustDomain};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use serde_json::Value;

/// Cases without a time of their own are about now. A fixed one, so that tomorrow gives the same.
const NOW: &str = "2026-07-01T00:00:00+00:00";

/// Bad chains that are taken, and why. Some are in the whole collection only.
const ACCEPTED: &[(&str, &str)] = &[
    (
        "rfc5280::aki::cross-signed-root-missing-aki",
        "an authority is trusted by itself, whoever signed its certificate",
    ),
    (
        "rfc5280::nc::permitted-dns-match-noncritical",
        "constraints hold whether they are critical or not; the public web allows either",
    ),
    (
        "webpki::aki::root-with-aki-all-fields",
        "OpenSSL's manual makes roots like this",
    ),
    (
        "rfc5280::san::underscore-dns",
        "names inside of clusters have them",
    ),
    // Rules of the public web for the common name, which nothing here reads as a name.
    ("webpki::cn::not-in-san", OTHER_COMMON_NAME),
    ("webpki::cn::punycode-not-in-san", OTHER_COMMON_NAME),
    ("webpki::cn::utf8-vs-punycode-mismatch", OTHER_COMMON_NAME),
    // Rules of the public web for what RFC 5280 allows.
    (
        "webpki::eku::ee-critical-eku",
        "RFC 5280 §4.2.1.12 allows either",
    ),
    (
        "webpki::eku::ee-without-eku",
        "RFC 5280 §4.2.1.12: without the extension a key is for everything",
    ),
    (
        "webpki::eku::root-has-eku",
        "private roots have one, and it restricts nothing that we let them do",
    ),
    (
        "webpki::san::san-critical-with-nonempty-subject",
        "RFC 5280 §4.2.1.6 says SHOULD",
    ),
    (
        "webpki::san::public-suffix-multi-label-wildcard-san",
        PUBLIC_SUFFIX,
    ),
    (
        "webpki::san::public-suffix-private-namespace-wildcard-san",
        PUBLIC_SUFFIX,
    ),
];
const OTHER_COMMON_NAME: &str =
    "BetterTLS has good chains whose common name is another name altogether";
const PUBLIC_SUFFIX: &str =
    "takes the list of public suffixes, which no private authority is held to";

/// Good chains that are refused, and why.
const REFUSED: &[(&str, &str)] = &[
    (
        "pathlen::validation-ignores-pathlen-in-leaf",
        "the leaf is the certificate of a CA, which is no peer",
    ),
    (
        "rfc5280::ca-as-leaf",
        "the leaf is the certificate of a CA, which is no peer",
    ),
    (
        "rfc5280::nc::permitted-dn-match",
        "constraints of directory names are not enforced, so their chains are refused",
    ),
    ("pathlen::self-issued-certs-pathlen", SELF_ISSUED),
    ("rfc5280::nc::permitted-self-issued", SELF_ISSUED),
    ("rfc5280::nc::nc-permits-email-exact", NO_MAIL),
    (
        "rfc5280::nc::nc-permits-email-literal-double-asterisk",
        NO_MAIL,
    ),
    (
        "rfc5280::nc::nc-permits-email-literal-mid-asterisk",
        NO_MAIL,
    ),
];
const SELF_ISSUED: &str = "the path builder makes no exception for self-issued certificates";
const NO_MAIL: &str = "constraints of mail addresses are not enforced, so their chains are refused";

fn text<'a>(case: &'a Value, name: &str) -> &'a str {
    case[name].as_str().unwrap_or_default()
}

/// `2024-03-01T00:00:00.999+00:00`, whole seconds of it.
fn time(text: &str) -> Timestamp {
    let number = |range: std::ops::Range<usize>| text[range].parse::<u64>().unwrap();
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    let divides = |number: u64, year: u64| year.is_multiple_of(number);
    let is_leap = |year| divides(4, year) && (!divides(100, year) || divides(400, year));
    let months = [
        31,
        if is_leap(year) { 29 } else { 28 },
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
    ];
    let years: u64 = (1970..year)
        .map(|year| 365 + u64::from(is_leap(year)))
        .sum();
    let days = years + months.iter().take(month as usize - 1).sum::<u64>() + day - 1;
    let second = number(11..13) * 3600 + number(14..16) * 60 + number(17..19);
    Timestamp::from_unix_seconds(days * 86_400 + second).unwrap()
}

fn domain() -> TrustDomain {
    "limbo.test".parse().unwrap()
}

fn ders<'a>(list: &'a Value) -> impl Iterator<Item = CertificateDer<'static>> + 'a {
    let list = list.as_array().into_iter().flatten();
    list.map(|pem| CertificateDer::from_pem_slice(pem.as_str().unwrap().as_bytes()).unwrap())
}

/// The CRLs of a case that can be read and are of one of its CAs.
fn crls(case: &Value, cas: &[Certificate]) -> CrlSet {
    let mut set = CrlSet::new();
    for pem in case["crls"].as_array().into_iter().flatten() {
        let der = CertificateRevocationListDer::from_pem_slice(pem.as_str().unwrap().as_bytes());
        let der = der.unwrap();
        let Ok(crl) = UnverifiedCrl::parse(der.as_ref(), &CrlLimits::default()) else {
            continue;
        };
        let issuers = cas
            .iter()
            .filter_map(|ca| CrlIssuer::from_certificate(ca).ok());
        for issuer in issuers {
            let Ok(verified) = crl.clone().verify(&issuer) else {
                continue;
            };
            let index = Arc::new(CrlIndex::build(&verified).unwrap());
            if let Ok(with) = set.with(index) {
                set = with;
            }
            break;
        }
    }
    set
}

/// What we say to a case.
fn judge(case: &Value) -> Result<VerifiedPeer, String> {
    let authorities: Vec<Certificate> = ders(&case["trusted_certs"])
        .filter_map(|der| Certificate::from_der(&der).ok())
        .collect();
    let unread = case["trusted_certs"].as_array().unwrap().len() - authorities.len();
    let leaf = CertificateDer::from_pem_slice(text(case, "peer_certificate").as_bytes()).unwrap();
    let mut chain = vec![leaf];
    chain.extend(ders(&case["untrusted_intermediates"]));
    let mut cas = authorities.clone();
    cas.extend(
        chain
            .iter()
            .filter_map(|der| Certificate::from_der(der).ok()),
    );
    let crls = crls(case, &cas);
    let rule = match case["crls"].as_array().is_some_and(|crls| !crls.is_empty()) {
        true => RevocationRule::strict(),
        false => RevocationRule::danger_accept_unknown(),
    };
    let role = match text(case, "validation_kind") {
        "CLIENT" => PeerRole::Client,
        _ => PeerRole::Server,
    };
    let name = &case["expected_peer_name"];
    let expected = match text(name, "kind") {
        "DNS" => ExpectedPeer::dns_name(text(name, "value"), domain())
            .map_err(|error| error.to_string())?,
        "IP" => {
            let address: IpAddr = text(name, "value").parse().unwrap();
            ExpectedPeer::ip_address(address, domain())
        }
        _ => ExpectedPeer::danger_any_name(domain()),
    };
    let mut limits = ChainLimits::new(ChainLimits::MAX_CERTIFICATES, ChainLimits::MAX_SIGNATURES);
    if let Some(depth) = case["max_chain_depth"].as_u64() {
        limits = limits.with_intermediates(depth as usize);
    }
    let verifier = ChainVerifier::new(expected, rule).with_limits(limits);
    let trust = TrustBundles::new().with(TrustBundle::new(domain(), authorities));
    let now = time(case["validation_time"].as_str().unwrap_or(NOW));
    let result = verifier.verify(&chain, role, &trust, &crls, now);
    let report = verifier.explain(&chain, role, &trust, &crls, now);
    assert_eq!(result.as_ref().err(), report.verdict().err());
    let drawn = report.to_string();
    assert!(
        result.is_ok() != drawn.contains('✗'),
        "{}: {drawn}",
        text(case, "id")
    );
    result.map_err(|error| format!("{error} ({unread} authorities unread)"))
}

/// A case on which we differ: its id, and what is said of it.
type Found = (String, String);

/// Judges all; gives the ids of bad chains that were taken and of good ones that were refused.
fn run(cases: &Value) -> (usize, Vec<Found>, Vec<Found>) {
    let cases = cases["testcases"].as_array().unwrap();
    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    for case in cases {
        let is_good = text(case, "expected_result") == "SUCCESS";
        let id = text(case, "id").to_owned();
        match judge(case) {
            Ok(_) if !is_good => accepted.push((id, text(case, "description").replace('\n', " "))),
            Err(error) if is_good => refused.push((id, error)),
            _ => {}
        }
    }
    (cases.len(), accepted, refused)
}

#[test]
fn limbo_has_no_bad_chain_that_is_taken_beyond_the_list() {
    let Some(cases) = m2m_testkit::vectors::read_json("pki/limbo/limbo-core.json") else {
        return;
    };
    let (count, accepted, refused) = run(&cases);
    eprintln!("{count} cases");
    for (id, error) in &accepted {
        eprintln!("bad, yet taken: {id}: {error}");
    }
    for (id, error) in &refused {
        eprintln!("good, yet refused: {id}: {error}");
    }
    const { assert!(ACCEPTED.len() <= 15) };
    let ids = |found: &[Found]| -> Vec<String> {
        let mut ids: Vec<_> = found.iter().map(|(id, _)| id.clone()).collect();
        ids.sort();
        ids
    };
    let all = cases["testcases"].as_array().unwrap();
    let is_there = |id: &str| all.iter().any(|case| text(case, "id") == id);
    let listed = |list: &[(&str, &str)]| -> Vec<String> {
        let ids = list.iter().map(|(id, _)| (*id).to_owned());
        let mut ids: Vec<_> = ids.filter(|id| is_there(id)).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&accepted), listed(ACCEPTED));
    assert_eq!(ids(&refused), listed(REFUSED));
}

#[test]
fn bettertls_is_agreed_with_to_the_last_case() {
    let name = "pki/limbo/limbo-bettertls.json.zst";
    let path = m2m_testkit::vectors::root().map(|root| root.join(name));
    let Some(path) = path.filter(|path| path.is_file()) else {
        eprintln!("SKIPPED: test vectors {name} not found (set M2M_VECTORS to their folder)");
        return;
    };
    let file = fs::File::open(path).unwrap();
    let decoder = ruzstd::decoding::StreamingDecoder::new(file).unwrap();
    let cases: Value = serde_json::from_reader(std::io::BufReader::new(decoder)).unwrap();
    let (count, accepted, refused) = run(&cases);
    assert!(count >= 9_572, "{count} cases");
    assert!(accepted.is_empty(), "bad, yet taken: {accepted:?}");
    assert!(refused.is_empty(), "good, yet refused: {refused:?}");
}
