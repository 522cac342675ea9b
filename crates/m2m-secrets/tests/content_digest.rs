//! `Content-Digest`: RFC 9530, and what is made up.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

use allocation_counter::measure;
use m2m_crypto::sha256;
use m2m_secrets::{
    ContentDigest, ContentDigestError, DigestAlgorithm, HttpMessage, HttpRequest,
    MAX_CONTENT_DIGEST_BYTES, RequestRejection,
};
use proptest::prelude::*;

const BODY: &[u8] = br#"{"hello": "world"}"#;
// RFC 9530 appendix D prints these of `{"hello": "world"}` with a line feed behind it.
const LINE: &[u8] = b"{\"hello\": \"world\"}\n";
const SHA256_LINE: &str = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:";
const SHA512_LINE: &str = "sha-512=:YMAam51Jz/jOATT6/zvHrLVgOYTGFy1d6GJiOHTohq4yP+pgk4vf2aCs\
    yRZOtw8MjkM7iw7yZ/WkppmM44T3qg==:";
// RFC 9421 appendix B, without it.
const SHA512: &str = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BN\
    NyealdVLvRwEmTHWXvJwew==:";

fn parse(line: &str) -> Result<ContentDigest, ContentDigestError> {
    ContentDigest::parse([line.as_bytes()])
}

fn refusal(line: &str) -> ContentDigestError {
    let refused = parse(line).unwrap_err();
    assert_eq!(refused.rejection(), RequestRejection::Unauthenticated);
    refused
}

#[test]
fn the_examples_of_the_rfcs_agree() {
    assert_eq!(ContentDigest::sha256(LINE).to_string(), SHA256_LINE);
    assert_eq!(ContentDigest::sha512(LINE).to_string(), SHA512_LINE);
    assert_eq!(ContentDigest::sha512(BODY).to_string(), SHA512);
    assert_eq!(parse(SHA512).unwrap().verify(BODY), Ok(()));
}

#[test]
fn several_hashes_must_all_hold() {
    let both = ContentDigest::both(LINE);
    let text = format!("{SHA256_LINE}, {SHA512_LINE}");
    assert_eq!(both.to_string(), text);
    assert_eq!(parse(&text), Ok(both));
    let split = ContentDigest::parse([SHA512_LINE.as_bytes(), SHA256_LINE.as_bytes()]);
    assert_eq!(split, Ok(both), "over several lines, in any order");
    assert_eq!(both.verify(LINE), Ok(()));

    let torn = format!("{SHA256_LINE}, {SHA512}");
    let (algorithm, torn) = (DigestAlgorithm::Sha512, parse(&torn).unwrap());
    assert_eq!(
        torn.verify(LINE),
        Err(ContentDigestError::Mismatch { algorithm })
    );
    let algorithm = DigestAlgorithm::Sha256;
    assert_eq!(
        torn.verify(BODY),
        Err(ContentDigestError::Mismatch { algorithm })
    );
}

#[test]
fn sec_014_only_the_bytes_of_the_wire_have_the_digest() {
    let digest = parse(SHA512).unwrap();
    for written_anew in [
        &br#"{"hello":"world"}"#[..],
        LINE,
        b"\xef\xbb\xbf{\"hello\": \"world\"}",
        b"",
    ] {
        assert!(digest.verify(written_anew).is_err());
    }
}

#[test]
fn repr_digest_is_not_content_digest() {
    let request = HttpRequest {
        method: b"POST",
        scheme: b"https",
        authority: b"example.com",
        target: b"/",
        fields: &[
            ("Repr-Digest", SHA512.as_bytes()),
            ("Digest", b"sha-256=:AA==:"),
        ],
    };
    let lines = request.field_lines(m2m_secrets::CONTENT_DIGEST.as_bytes());
    assert_eq!(
        ContentDigest::parse(lines),
        Err(ContentDigestError::Missing)
    );
}

#[test]
fn what_is_unknown_is_passed_over_and_what_is_known_must_be_whole() {
    let known = parse(&format!("md5=:AAAA:, {SHA512}, unixsum=:AA==:;a=1")).unwrap();
    assert_eq!(known, ContentDigest::sha512(BODY));
    assert!(!known.has(DigestAlgorithm::Sha256) && known.has(DigestAlgorithm::Sha512));
    for line in ["md5=:AAAA:", "sha-384=:AAAA:", "sha=:AAAA:"] {
        assert_eq!(refusal(line), ContentDigestError::Unsupported);
    }
    assert_eq!(refusal(""), ContentDigestError::Missing);
    let algorithm = DigestAlgorithm::Sha256;
    let good = SHA256_LINE;
    for line in [
        "sha-256=::".to_owned(),
        "sha-256=:AAAA:".to_owned(),
        good.replace("Dg=:", "Dg:"),
        good.replace("Dg=:", "Dh=:"),
        good.replace("Dg=:", "Dg==:"),
        good.replace("=:RK", "=:AARK"),
        SHA512.replace("sha-512", "sha-256"),
    ] {
        assert_eq!(
            refusal(&line),
            ContentDigestError::Hash { algorithm },
            "{line}"
        );
    }
    let twice = format!("{good}, {good}");
    assert_eq!(refusal(&twice), ContentDigestError::Twice { algorithm });
    for line in [
        good.replace(":", "\""),
        good.replace("sha-256", "SHA-256"),
        good.replace("/lF5", "_lF5"),
        good.replace("=:", "= :"),
        format!("{good},"),
        format!(",{good}"),
        format!("{good};"),
        format!("{good} {good}"),
        format!("{good}\n"),
        format!("\t{good}"),
        "sha-256".to_owned(),
        "sha-256=?1".to_owned(),
        "sha-256=(:AAAA:)".to_owned(),
        good.trim_end_matches(':').to_owned(),
    ] {
        let refused = refusal(&line);
        assert!(
            matches!(refused, ContentDigestError::Malformed { .. }),
            "{line:?} {refused:?}"
        );
    }
    let long = "a".repeat(MAX_CONTENT_DIGEST_BYTES + 1);
    assert_eq!(refusal(&long), ContentDigestError::TooLong);
}

#[test]
fn reading_and_checking_allocate_nothing() {
    let text = ContentDigest::both(BODY).to_string();
    let spent = measure(|| {
        let digest = parse(&text).unwrap();
        digest.verify(BODY).unwrap();
        digest.verify(LINE).unwrap_err();
    });
    assert_eq!(spent.count_total, 0, "{spent:?}");
}

proptest! {
    #[test]
    fn a_body_in_pieces_has_the_digest_of_the_whole(
        pieces: Vec<Vec<u8>>, other: Vec<u8>,
    ) {
        let whole = pieces.concat();
        let digest = parse(&ContentDigest::both(&whole).to_string()).unwrap();
        let mut checker = digest.checker();
        pieces.iter().for_each(|piece| checker.update(piece));
        prop_assert_eq!(checker.finish(), Ok(()));
        prop_assert_eq!(digest.verify(&other).is_ok(), sha256(&other) == sha256(&whole));
    }

    #[test]
    fn no_line_of_any_bytes_panics(line: Vec<u8>) {
        let _ = ContentDigest::parse([line.as_slice()]);
    }
}
