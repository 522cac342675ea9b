//! RFC 9421: every example of its appendix B, and the examples of §2.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

use m2m_crypto::{Algorithm, SecretBytes, SigningKey, VerifyingKey};
use m2m_secrets::{
    ContentDigest, HttpKeyError, HttpMessage, HttpRequest, HttpResponse, HttpSignatureError,
    HttpSignatureKey, HttpSignatureKeys, HttpSignaturePolicy, HttpSignatureScratch, SharedSecret,
    TimeWindow, signature_base,
};
use m2m_testkit::vectors;
use m2m_types::Timestamp;
use serde_json::Value;

const CREATED: u64 = 1_618_884_473;

fn now() -> Timestamp {
    Timestamp::from_unix_seconds(CREATED).unwrap()
}

/// A message as the RFC prints it.
struct Printed {
    start: Vec<String>,
    fields: Vec<(String, String)>,
    body: String,
}

impl Printed {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let start = lines
            .next()
            .unwrap()
            .split(' ')
            .map(str::to_owned)
            .collect();
        let mut printed = Self {
            start,
            fields: Vec::new(),
            body: body.to_owned(),
        };
        printed.add(lines.collect::<Vec<_>>().join("\n").as_str());
        printed
    }

    fn add(&mut self, lines: &str) {
        for line in lines.lines() {
            let (name, value) = line.split_once(':').unwrap();
            self.fields.push((name.to_owned(), value.to_owned()));
        }
    }

    fn fields(&self) -> Vec<(&str, &[u8])> {
        let all = self.fields.iter();
        all.map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect()
    }

    fn field(&self, name: &str) -> &str {
        let mut all = self.fields.iter();
        all.find(|(found, _)| found.eq_ignore_ascii_case(name))
            .unwrap()
            .1
            .trim()
    }

    /// The base that the member of `Signature-Input` demands.
    fn base(&self) -> String {
        let (_, member) = self.field("signature-input").split_once('=').unwrap();
        let fields = self.fields();
        let base = match self.start[0].starts_with("HTTP/") {
            true => signature_base(&self.response(&fields), member.as_bytes()),
            false => signature_base(&self.request(&fields), member.as_bytes()),
        };
        String::from_utf8(base.unwrap()).unwrap()
    }

    fn request<'a>(&'a self, fields: &'a [(&'a str, &'a [u8])]) -> HttpRequest<'a> {
        HttpRequest {
            method: self.start[0].as_bytes(),
            scheme: b"https",
            authority: self.field("host").as_bytes(),
            target: self.start[1].as_bytes(),
            fields,
        }
    }

    fn response<'a>(&'a self, fields: &'a [(&'a str, &'a [u8])]) -> HttpResponse<'a> {
        HttpResponse {
            status: self.start[1].parse().unwrap(),
            fields,
        }
    }

    fn verify(&self, keys: &HttpSignatureKeys) -> Result<String, HttpSignatureError> {
        let fields = self.fields();
        match self.start[0].starts_with("HTTP/") {
            true => verify(&self.response(&fields), keys, &["@status"]),
            false => verify(&self.request(&fields), keys, &["@authority"]),
        }
    }
}

fn verify(
    message: &impl HttpMessage,
    keys: &HttpSignatureKeys,
    required: &[&str],
) -> Result<String, HttpSignatureError> {
    let window = TimeWindow::FIVE_MINUTES;
    let policy = HttpSignaturePolicy::danger_accepting_replays(required, window).unwrap();
    let mut scratch = HttpSignatureScratch::new();
    let verified = policy.verify(message, keys, &mut scratch, now())?;
    assert_eq!(verified.created(), now());
    Ok(verified.key_id().to_owned())
}

fn vectors() -> Option<Value> {
    vectors::read_json("secrets/rfc9421/appendix-b.json")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn keys(vectors: &Value) -> HttpSignatureKeys {
    let keys = &vectors["keys"];
    let public = |name: &str, algorithm| {
        let pem = text(&keys[name][0]);
        let end = "-----END PUBLIC KEY-----";
        let pem = &pem[..pem.find(end).unwrap() + end.len()];
        let key = VerifyingKey::from_pem(algorithm, pem.as_bytes()).unwrap();
        HttpSignatureKey::public(key).unwrap()
    };
    use base64::Engine as _;
    let shared = text(&keys["Example Shared Secret"][0]);
    let shared = base64::engine::general_purpose::STANDARD
        .decode(shared)
        .unwrap();
    let shared = SharedSecret::new(SecretBytes::from(&shared[..])).unwrap();
    let p256 = public("Example ECC P-256 Test Key", Algorithm::Es256);
    let ed25519 = public("Example Ed25519 Test Key", Algorithm::Ed25519);
    HttpSignatureKeys::new()
        .with_key("test-key-ecc-p256", p256)
        .and_then(|keys| keys.with_key("test-key-ed25519", ed25519))
        .and_then(|keys| {
            keys.with_key(
                "test-shared-secret",
                HttpSignatureKey::secret(&shared).unwrap(),
            )
        })
        .unwrap()
}

fn blocks(case: &Value) -> Vec<&str> {
    let blocks = case["blocks"].as_array().unwrap();
    blocks.iter().map(|block| text(&block["text"])).collect()
}

#[test]
fn every_signature_of_appendix_b_2_has_its_base_and_verifies() {
    let Some(vectors) = vectors() else { return };
    let keys = keys(&vectors);
    let mut verified = 0;
    for case in &vectors["cases"].as_array().unwrap()[..6] {
        let title = text(&case["title"]);
        let [base, lines] = blocks(case)[..] else {
            panic!("{title}")
        };
        let is_response = title.contains("Response");
        let name = if is_response {
            "test-response"
        } else {
            "test-request"
        };
        let mut message = Printed::parse(text(&vectors["messages"][name]));
        if is_response {
            // The erratum: the message is printed with the digest of another body than its own.
            let digest = ContentDigest::sha512(message.body.as_bytes()).to_string();
            let field = message
                .fields
                .iter_mut()
                .find(|(name, _)| name == "Content-Digest");
            field.unwrap().1 = digest;
        }
        message.add(lines);
        assert_eq!(message.base(), base, "{title}");
        let digest = ContentDigest::parse([message.field("content-digest").as_bytes()]).unwrap();
        assert_eq!(digest.verify(message.body.as_bytes()), Ok(()), "{title}");
        match message.verify(&keys) {
            // No key of this kind can be added: the base is all there is to check.
            Err(error) if title.contains("rsa") => {
                let expected = match title.contains("Minimal") {
                    true => HttpSignatureError::NotCovered {
                        component: "@authority".into(),
                    },
                    false => HttpSignatureError::SignatureEncoding,
                };
                assert_eq!(error, expected, "{title}");
            }
            result => {
                assert!(result.is_ok(), "{title}: {result:?}");
                verified += 1;
            }
        }
    }
    assert_eq!(verified, 3);
}

#[test]
fn the_proxy_of_appendix_b_3_signs_what_it_says() {
    let Some(vectors) = vectors() else { return };
    let blocks = blocks(&vectors["cases"][6]);
    let message = Printed::parse(blocks[4]);
    assert_eq!(message.base(), blocks[2]);
    assert_eq!(
        message.verify(&keys(&vectors)).unwrap(),
        "test-key-ecc-p256"
    );
}

#[test]
fn the_transformations_of_appendix_b_4_verify_or_do_not() {
    let Some(vectors) = vectors() else { return };
    let keys = keys(&vectors);
    let blocks = blocks(&vectors["cases"][7]);
    let original = Printed::parse(blocks[0]);
    assert_eq!(original.base(), blocks[1].replace("\\\n  ", ""));
    for unharmed in [0, 2, 3, 4] {
        let message = Printed::parse(blocks[unharmed]);
        assert_eq!(
            message.verify(&keys).unwrap(),
            "test-key-ed25519",
            "{unharmed}"
        );
    }
    for harmed in [5, 6] {
        let refused = Printed::parse(blocks[harmed]).verify(&keys);
        let expected = HttpSignatureError::Key(HttpKeyError::Signature);
        assert_eq!(refused, Err(expected), "{harmed}");
    }
}

/// The lines that `member` demands of `request`.
fn lines(request: &HttpRequest<'_>, member: &str) -> Vec<String> {
    let base = signature_base(request, member.as_bytes()).unwrap();
    let base = String::from_utf8(base).unwrap();
    let mut lines: Vec<String> = base.lines().map(str::to_owned).collect();
    lines.pop();
    lines
}

const PLAIN: HttpRequest<'static> = HttpRequest {
    method: b"POST",
    scheme: b"https",
    authority: b"www.example.com",
    target: b"/path?param=value",
    fields: &[],
};

#[test]
fn the_derived_components_of_section_2_2_are_as_printed() {
    let of = |request: HttpRequest<'_>, component: &str| {
        lines(&request, &format!("({component})")).pop().unwrap()
    };
    for (component, line) in [
        (r#""@method""#, r#""@method": POST"#),
        (
            r#""@target-uri""#,
            r#""@target-uri": https://www.example.com/path?param=value"#,
        ),
        (r#""@authority""#, r#""@authority": www.example.com"#),
        (r#""@scheme""#, r#""@scheme": https"#),
        (
            r#""@request-target""#,
            r#""@request-target": /path?param=value"#,
        ),
        (r#""@path""#, r#""@path": /path"#),
        (r#""@query""#, r#""@query": ?param=value"#),
    ] {
        assert_eq!(of(PLAIN, component), line);
    }
    let authority = |authority: &'static str, scheme: &'static str| {
        let request = HttpRequest {
            authority: authority.as_bytes(),
            scheme: scheme.as_bytes(),
            ..PLAIN
        };
        of(request, r#""@authority""#)
    };
    assert_eq!(
        authority("WWW.Example.com:443", "HTTPS"),
        r#""@authority": www.example.com"#
    );
    assert_eq!(
        authority("www.example.com:80", "http"),
        r#""@authority": www.example.com"#
    );
    assert_eq!(
        authority("www.example.com:80", "https"),
        r#""@authority": www.example.com:80"#
    );
    assert_eq!(authority("[::1]:443", "https"), r#""@authority": [::1]"#);

    let target = |target: &'static str, component| {
        of(
            HttpRequest {
                target: target.as_bytes(),
                ..PLAIN
            },
            component,
        )
    };
    assert_eq!(target("", r#""@path""#), r#""@path": /"#);
    assert_eq!(
        target("?a", r#""@target-uri""#),
        r#""@target-uri": https://www.example.com/?a"#
    );
    assert_eq!(target("/path", r#""@query""#), r#""@query": ?"#);
    assert_eq!(target("/path?", r#""@query""#), r#""@query": ?"#);
    assert_eq!(
        target("/path?param=value&foo=bar&baz=bat%2Dman", r#""@query""#),
        r#""@query": ?param=value&foo=bar&baz=bat%2Dman"#
    );
    assert_eq!(
        target("/path?queryString", r#""@query""#),
        r#""@query": ?queryString"#
    );
}

#[test]
fn the_query_parameters_of_section_2_2_8_are_as_printed() {
    let request = HttpRequest {
        target: b"/path?param=value&foo=bar&baz=batman&qux=",
        ..PLAIN
    };
    let member =
        r#"("@query-param";name="baz" "@query-param";name="qux" "@query-param";name="param")"#;
    assert_eq!(
        lines(&request, member),
        [
            r#""@query-param";name="baz": batman"#,
            r#""@query-param";name="qux": "#,
            r#""@query-param";name="param": value"#,
        ]
    );
    let request = HttpRequest {
        target: b"/parameters?var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something",
        ..PLAIN
    };
    let member = r#"("@query-param";name="var" "@query-param";name="bar" "@query-param";name="fa%C3%A7ade%22%3A%20")"#;
    assert_eq!(
        lines(&request, member),
        [
            r#""@query-param";name="var": this%20is%20a%20big%0Amultiline%20value"#,
            r#""@query-param";name="bar": with%20plus%20whitespace"#,
            r#""@query-param";name="fa%C3%A7ade%22%3A%20": something"#,
        ]
    );
}

#[test]
fn the_fields_of_section_2_1_are_as_printed() {
    let request = HttpRequest {
        fields: &[
            ("Host", b"www.example.com"),
            ("Date", b"Tue, 20 Apr 2021 02:07:56 GMT"),
            ("X-OWS-Header", b"   Leading and trailing whitespace.   "),
            ("Cache-Control", b"max-age=60"),
            ("Cache-Control", b"    must-revalidate"),
            ("X-Empty-Header", b""),
            ("Example-Dict", b"a=1, b=2;x=1;y=2, c=(a b c), d"),
            ("Example-Header", b"value, with, lots"),
            ("Example-Header", b"of, commas"),
        ],
        ..PLAIN
    };
    let member = r#"("host" "date" "x-ows-header" "cache-control" "x-empty-header" "example-dict";key="a" "example-dict";key="d" "example-dict";key="b" "example-dict";key="c" "example-header" "example-header";bs)"#;
    assert_eq!(
        lines(&request, member),
        [
            r#""host": www.example.com"#,
            r#""date": Tue, 20 Apr 2021 02:07:56 GMT"#,
            r#""x-ows-header": Leading and trailing whitespace."#,
            r#""cache-control": max-age=60, must-revalidate"#,
            r#""x-empty-header": "#,
            r#""example-dict";key="a": 1"#,
            r#""example-dict";key="d": ?1"#,
            r#""example-dict";key="b": 2;x=1;y=2"#,
            r#""example-dict";key="c": (a b c)"#,
            r#""example-header": value, with, lots, of, commas"#,
            r#""example-header";bs: :dmFsdWUsIHdpdGgsIGxvdHM=:, :b2YsIGNvbW1hcw==:"#,
        ]
    );
}

#[test]
fn a_key_of_another_kind_is_none() {
    let key = SigningKey::generate(Algorithm::Es384, &m2m_crypto::SystemRandom).unwrap();
    assert!(HttpSignatureKey::public(key.verifying_key().clone()).is_none());
    assert!(m2m_secrets::HttpSigningKey::private(key).is_none());
}
