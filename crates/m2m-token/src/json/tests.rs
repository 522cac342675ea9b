//! The scanner against what JSON allows and what it does not, and against serde_json.

use proptest::prelude::*;

use super::*;

fn scan(text: &[u8]) -> Result<Vec<(String, Kind, String)>, JsonError> {
    let mut members: Members = Members::new();
    let text = super::text(text)?;
    members.scan(text)?;
    let show = |bytes: Unescaped<'_>| String::from_utf8(bytes.collect()).unwrap();
    Ok(members
        .as_slice()
        .iter()
        .map(|member| {
            let value = member.json(text).to_owned();
            (show(member.name(text.as_bytes())), member.kind(), value)
        })
        .collect())
}

#[test]
fn members_are_found_in_order_with_their_values() {
    let text =
        br#" { "a" : "x" , "b\u0062":[1,{"c":null}],"d":{},"e":-0.5e+3,"f":true,"g":"\n" } "#;
    let found = scan(text).unwrap();
    let expected = [
        ("a", Kind::String, r#""x""#),
        ("bb", Kind::Array, r#"[1,{"c":null}]"#),
        ("d", Kind::Object, "{}"),
        ("e", Kind::Number, "-0.5e+3"),
        ("f", Kind::True, "true"),
        ("g", Kind::EscapedString, r#""\n""#),
    ];
    assert_eq!(
        found,
        expected.map(|(name, kind, value)| (name.to_owned(), kind, value.to_owned()))
    );
    assert_eq!(scan(b"{}").unwrap(), []);
}

#[test]
fn jwt_031_jwt_032_a_repeated_name_is_refused_at_every_depth_and_in_every_spelling() {
    for text in [
        r#"{"alg":1,"alg":1}"#,
        r#"{"alg":1,"al\u0067":1}"#,
        r#"{"\u0061\u006c\u0067":1,"alg":1}"#,
        r#"{"/":1,"\/":1}"#,
        r#"{"é":1,"\u00e9":1}"#,
        r#"{"😀":1,"\ud83d\ude00":1}"#,
        r#"{"":1,"":2}"#,
        r#"{"a":{"b":1,"b":2}}"#,
        r#"{"a":[[{"b":1,"c":{},"b":2}]]}"#,
        r#"{"a":{"b":{"x":1},"b":{"x":1}}}"#,
    ] {
        assert!(
            matches!(
                scan(text.as_bytes()),
                Err(JsonError::DuplicateMember { .. })
            ),
            "{text}"
        );
    }
    // The same name in different objects is fine, and so are names that only look alike.
    for text in [
        r#"{"a":{"a":1},"b":[{"a":1},{"a":1}]}"#,
        r#"{"sub":1,"Sub":2,"SUB":3,"sub ":4,"sub\u0000":5,"ſub":6}"#,
        r#"{"abcd":1,"abxd":2,"abyd":3}"#,
    ] {
        assert!(scan(text.as_bytes()).is_ok(), "{text}");
    }
}

#[test]
fn a_long_name_does_not_pass_for_a_short_one() {
    let long = format!("su{}b", "u".repeat(256));
    assert_eq!(long.len() % 256, 3);
    let text = format!(r#"{{"{long}":1,"sub":2,"\u0073u{}b":3}}"#, "v".repeat(256));
    let mut members: Members = Members::new();
    members.scan(&text).unwrap();
    let tags: Vec<_> = members.as_slice().iter().map(Member::tag).collect();
    assert_ne!(tags[0], tag_of(b"sub"));
    assert_eq!(tags[1], tag_of(b"sub"));
    assert_ne!(tags[2], tag_of(b"sub"));
}

#[test]
fn jwt_034_jwt_035_what_is_not_one_json_object_is_refused() {
    for text in [
        "",
        " ",
        "null",
        "[]",
        "1",
        "\"a\"",
        "{",
        "}",
        "{}}",
        "{}{}",
        "{} {}",
        "{}x",
        "{}\0",
        "\u{feff}{}",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\":1 \"b\":1}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":1",
        "{\"a\":\"",
        "{\"a\":\"\\",
        "{\"a\":\"\\\"",
        "{\"a\":tru}",
        "{\"a\":nulll}",
        "{\"a\":NaN}",
        "{\"a\":Infinity}",
        "{\"a\":+1}",
        "{\"a\":01}",
        "{\"a\":-}",
        "{\"a\":1.}",
        "{\"a\":.1}",
        "{\"a\":1e}",
        "{\"a\":1e+}",
        "{\"a\":0x1}",
        "{\"a\":[1,]}",
        "{\"a\":[,]}",
        "{\"a\":[1 2]}",
        "{\"a\":[}",
        "{\"a\":\"\t\"}",
        "{\"a\":\"\n\"}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"\\u12g4\"}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\\udc00\"}",
        "{\"a\":\"\\ud800\\u0041\"}",
        "{\"a\":\"\\ud800\\ud800\"}",
        "{\"\\ud800\":1}",
        "{\"a\":1}//",
        "{/**/}",
        "{\"a\":1;}",
        "{\u{a0}}",
        "{\x0b}",
    ] {
        assert!(scan(text.as_bytes()).is_err(), "{text:?}");
    }
    for bytes in [
        &b"{\"a\":\"\xff\"}"[..],
        b"{\"a\":\"\xc0\x80\"}",
        b"{\"a\":\"\xed\xa0\x80\"}",
        b"{\"\xf5\x80\x80\x80\":1}",
        b"{\"a\":\"12345678\xe2\x82\"}",
    ] {
        assert!(matches!(scan(bytes), Err(JsonError::Utf8 { .. })));
    }
}

#[test]
fn jwt_037_nesting_is_bounded_and_so_is_the_stack() {
    let deep = |open: &str, n: usize| format!("{{\"a\":{}", open.repeat(n));
    std::thread::Builder::new()
        .stack_size(256 * 1024)
        .spawn(move || {
            for n in [129, 10_000, 30_000] {
                for open in ["[", "{\"a\":", "[{\"a\":"] {
                    let text = deep(open, n.min(30_000 / open.len()));
                    let error = scan(text.as_bytes()).unwrap_err();
                    assert!(matches!(error, JsonError::TooDeep { .. }), "{error:?}");
                }
            }
        })
        .unwrap()
        .join()
        .unwrap();
    let nested = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
    assert!(scan(nested(MAX_DEPTH - 1).as_bytes()).is_ok());
    assert!(scan(nested(MAX_DEPTH).as_bytes()).is_err());
}

#[test]
fn jwt_040_the_number_of_members_is_bounded() {
    let object = |n: usize| {
        let members: Vec<_> = (0..n).map(|i| format!("\"{i}\":0")).collect();
        format!("{{{}}}", members.join(","))
    };
    assert!(scan(object(MAX_MEMBERS).as_bytes()).is_ok());
    assert_eq!(
        scan(object(MAX_MEMBERS + 1).as_bytes()),
        Err(JsonError::TooManyMembers)
    );
    let inside = |n: usize| format!("{{\"a\":{}}}", object(n));
    assert!(scan(inside(MAX_MEMBERS).as_bytes()).is_ok());
    assert_eq!(
        scan(inside(MAX_MEMBERS + 1).as_bytes()),
        Err(JsonError::TooManyMembers)
    );
    // One after the other they may be many: only open objects count.
    let many = vec![object(40); 20].join(",");
    assert!(scan(format!("{{\"a\":[{many}]}}").as_bytes()).is_ok());
    assert_eq!(
        scan(&[b' '; MAX_TEXT + 1]),
        Err(JsonError::TooLong),
        "before it is read"
    );
}

/// [`spaced_json`], half of it without the spaces, as it is usually written.
fn json() -> impl Strategy<Value = String> {
    (spaced_json(), any::<bool>()).prop_map(|(text, compact)| match compact {
        true => text.replace(" ,", ",").replace(" :", ":"),
        false => text,
    })
}

/// JSON values with few distinct names, so that repeated ones occur.
fn spaced_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<i32>().prop_map(|n| n.to_string()),
        "[0-9]{7,18}",
        any::<f64>()
            .prop_filter("JSON has no such number", |n| n.is_finite())
            .prop_map(|n| format!("{n:e}")),
        ".{0,20}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        Just(r#""\u00e9\ud83d\ude00\/""#.to_owned()),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let name = prop_oneof![
            "[a-d]{1,2}".prop_map(|n| format!("\"{n}\"")),
            Just(r#""\u0061""#.to_owned())
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|v| format!("[{}]", v.join(" ,"))),
            prop::collection::vec((name, inner), 0..5).prop_map(|members| {
                let members: Vec<_> = members.iter().map(|(n, v)| format!("{n} :{v}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

/// Whether serde_json, told to refuse repeated names, takes `text` as an object.
fn oracle(text: &str) -> bool {
    struct Strict;
    impl<'de> serde::Deserialize<'de> for Strict {
        fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
            struct V;
            impl<'de> serde::de::Visitor<'de> for V {
                type Value = Strict;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("JSON")
                }
                fn visit_unit<E>(self) -> Result<Strict, E> {
                    Ok(Strict)
                }
                fn visit_bool<E>(self, _: bool) -> Result<Strict, E> {
                    Ok(Strict)
                }
                fn visit_i64<E>(self, _: i64) -> Result<Strict, E> {
                    Ok(Strict)
                }
                fn visit_u64<E>(self, _: u64) -> Result<Strict, E> {
                    Ok(Strict)
                }
                fn visit_f64<E>(self, _: f64) -> Result<Strict, E> {
                    Ok(Strict)
                }
                fn visit_str<E>(self, _: &str) -> Result<Strict, E> {
                    Ok(Strict)
                }
                fn visit_seq<A: serde::de::SeqAccess<'de>>(
                    self,
                    mut a: A,
                ) -> Result<Strict, A::Error> {
                    while a.next_element::<Strict>()?.is_some() {}
                    Ok(Strict)
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(
                    self,
                    mut a: A,
                ) -> Result<Strict, A::Error> {
                    let mut seen = std::collections::HashSet::new();
                    while let Some((name, _)) = a.next_entry::<String, Strict>()? {
                        if !seen.insert(name) {
                            return Err(serde::de::Error::custom("repeated"));
                        }
                    }
                    Ok(Strict)
                }
            }
            d.deserialize_any(V)
        }
    }
    text.trim_start().starts_with('{') && serde_json::from_str::<Strict>(text).is_ok()
}

#[test]
fn what_marks_a_byte_is_what_the_rfc_says() {
    for byte in 0..=127_u8 {
        let text = format!("{{\"a\":\"{}\"}}", char::from(byte));
        let expected = byte >= 0x20 && byte != b'"' && byte != b'\\';
        assert_eq!(scan(text.as_bytes()).is_ok(), expected, "{byte:#x}");
    }
}

#[test]
fn a_usual_member_with_a_change_is_what_serde_json_says() {
    let usual = r#"{"a":"x","roles":["r1","r2"],"exp":1700000000,"ab":"y","b":["z"],"last":""}"#;
    assert_eq!(scan(usual.as_bytes()).unwrap().len(), 6);
    for at in 0..usual.len() {
        for byte in 0..=127 {
            let mut text = usual.as_bytes().to_vec();
            text[at] = byte;
            let text = String::from_utf8(text).unwrap();
            // serde_json refuses numbers that no f64 can hold; to us a number is only text.
            let no_f64 = text.contains("e0") || text.contains("E0");
            let found = scan(text.as_bytes()).is_ok();
            assert!(found == oracle(&text) || no_f64, "{text}");
        }
        let mut text = usual.to_owned();
        text.remove(at);
        assert_eq!(scan(text.as_bytes()).is_ok(), oracle(&text), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn it_takes_what_serde_json_takes_without_repeated_names(text in json()) {
        prop_assert_eq!(scan(text.as_bytes()).is_ok(), oracle(&text), "{}", text);
    }

    #[test]
    fn it_takes_what_serde_json_takes_after_a_change(text in json(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let taken = scan(&bytes).is_ok();
        let expected = std::str::from_utf8(&bytes).is_ok_and(oracle);
        // serde_json refuses numbers that no f64 can hold; to us a number is only text.
        prop_assert!(taken == expected || bytes.contains(&b'e') || bytes.contains(&b'E'), "{:?}", bytes);
    }
}
