//! Our reading of structured fields beside that of the crate `sfv`: we take what it takes, if it would
//! write it so, and nothing else.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

use m2m_secrets::{
    ComponentError, ContentDigest, ContentDigestError, HttpRequest, SignatureBaseError,
    SignatureFieldError, signature_base,
};
use proptest::prelude::*;
use sfv::{Dictionary, Parser};

const REQUEST: HttpRequest<'static> = HttpRequest {
    method: b"GET",
    scheme: b"https",
    authority: b"example.com",
    target: b"/",
    fields: &[],
};

/// Whether `text`, put where a signature's list is, is well-formed and canonical.
fn ours(text: &str) -> bool {
    match signature_base(&REQUEST, text.as_bytes()) {
        Ok(base) => {
            let end = format!("\"@signature-params\": {text}");
            assert!(base.ends_with(end.as_bytes()));
            true
        }
        Err(SignatureBaseError::Input(error)) => {
            // Of those, `sfv` knows nothing.
            assert!(
                matches!(
                    error,
                    SignatureFieldError::Malformed { .. } | SignatureFieldError::Parameter
                ),
                "{text} {error:?}"
            );
            false
        }
        Err(error) => panic!("{text} {error}"),
    }
}

/// Whether `sfv` reads `text` as one inner list and writes it back as it is. It takes the last of equal
/// parameters where we refuse both, so writing differs there.
fn theirs(text: &str) -> bool {
    let line = format!("a={text}");
    let parsed: Result<Dictionary, _> = Parser::new(&line).parse();
    let Ok(dictionary) = parsed else {
        return false;
    };
    let is_list = matches!(dictionary.get("a"), Some(sfv::ListEntry::InnerList(_)));
    is_list
        && dictionary.len() == 1
        && sfv::FieldType::serialize(&dictionary).as_deref() == Some(&line)
}

/// What looks like a value, right or nearly so.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?[0-9]{1,17}",
        "-?[0-9]{1,13}\\.[0-9]{0,4}",
        "\"[ -~]{0,6}\"",
        "\"(a|\\\\\"|\\\\\\\\|\\\\a|é|\t)*\"",
        ":([A-Za-z0-9+/]{4}){0,3}:",
        ":[A-Za-z0-9+/]{0,4}(=|==|===)?:",
        "[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]{0,6}",
        "\\?[01]{1,2}",
        "@-?[0-9]{1,6}(\\.5)?",
        "%\"([ -$&-~]|%c3%a9|%20|%C3|%e2%82%ac|%00){0,4}\"",
        "[ -~]{0,4}",
        Just(String::new()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn any_value_of_a_parameter_is_read_alike(key in "[a-z*A-Z][a-z0-9_.*-]{0,3}", value in value()) {
        for text in [format!("();{key}={value}"), format!("();{key}{value}"), format!("(\"@method\");{key}={value};zz")] {
            prop_assert_eq!(ours(&text), theirs(&text), "{}", text);
        }
    }

    #[test]
    fn any_list_of_components_is_read_alike(
        names in proptest::collection::vec(
            prop_oneof![Just("\"@method\""), Just("\"@path\""), Just("\"@scheme\""), Just("\"@query\"")],
            0..4,
        ),
        between in prop_oneof![9 => Just(" "), 1 => Just("  "), 1 => Just(""), 1 => Just("\t"), 1 => Just(", ")],
        (open, close) in prop_oneof![
            9 => Just(("(", ")")), 1 => Just(("( ", ")")), 1 => Just(("(", " )")), 1 => Just(("", ")")), 1 => Just(("(", "")),
        ],
        behind in prop_oneof![9 => Just(""), 1 => Just(";"), 1 => Just(";a;b"), 1 => Just("; a"), 1 => Just(";a ;b")],
    ) {
        // Without its end, what follows is of the last component.
        let behind = if close.is_empty() { "" } else { behind };
        let mut names = names;
        names.sort_unstable();
        names.dedup();
        let text = format!("{open}{}{close}{behind}", names.join(between));
        prop_assert_eq!(ours(&text), theirs(&text), "{}", text);
    }

    #[test]
    fn any_dictionary_of_digests_is_read_alike(
        members in proptest::collection::vec(
            ("[a-z*A-Z0-9][a-z0-9_.*-]{0,3}", prop_oneof![":[A-D]{4}:", ":[A-D]{4}:;a=1", "", "=x"]),
            0..4,
        ),
        between in prop_oneof![5 => Just(", "), 1 => Just(","), 1 => Just(" \t,\t "), 1 => Just(",,"), 1 => Just(" ")],
        (before, behind) in prop_oneof![
            5 => Just(("", "")), 1 => Just((" ", " ")), 1 => Just(("", ",")), 1 => Just(("\t", "")),
        ],
    ) {
        let line: Vec<String> = members.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let line = format!("{before}{}{behind}", line.join(between));
        let ours = match ContentDigest::parse([line.as_bytes()]) {
            Err(ContentDigestError::Unsupported | ContentDigestError::Missing) => true,
            Err(ContentDigestError::Malformed { .. }) => false,
            other => panic!("{line} {other:?}"),
        };
        let parsed: Result<Dictionary, _> = Parser::new(&line).parse();
        let theirs = parsed.is_ok_and(|dictionary| {
            dictionary.values().all(|member| match member {
                sfv::ListEntry::Item(item) => matches!(item.bare_item, sfv::BareItem::ByteSequence(_)),
                sfv::ListEntry::InnerList(_) => false,
            })
        });
        prop_assert_eq!(ours, theirs, "{}", line);
    }
}

#[test]
fn a_component_that_is_well_formed_and_unknown_says_so() {
    let refused = signature_base(&REQUEST, b"(\"@other\")");
    let unknown = SignatureFieldError::Component(ComponentError::Unknown);
    assert_eq!(refused, Err(SignatureBaseError::Input(unknown)));
}
