use super::{JsonErrorKind, Limits, check};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};

fn refused(text: &str, kind: JsonErrorKind) {
    let error = check(text.as_bytes(), &Limits::default()).unwrap_err();
    assert_eq!(error.kind, kind, "{error}");
}

#[test]
fn any_kind_of_document_passes() {
    for text in ["1", "\"x\"", "null", " [1,{\"a\":[]}] ", "{\"a\":{\"a\":1},\"b\":[]}"] {
        assert_eq!(check(text.as_bytes(), &Limits::default()), Ok(()), "{text}");
    }
}

#[test]
fn j_01_nesting_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(check(nested(32).as_bytes(), &Limits::default()), Ok(()));
    refused(&nested(33), JsonErrorKind::TooDeep);
    refused(&"[".repeat(100_000), JsonErrorKind::TooDeep);
}

#[test]
fn j_02_names_and_elements_are_bounded() {
    let names: Vec<_> = (0..1_025).map(|name| format!("\"{name}\":0")).collect();
    refused(&format!("{{{}}}", names.join(",")), JsonErrorKind::TooLarge);
    refused(&format!("{{\"{}\":1}}", "k".repeat(10_240)), JsonErrorKind::TooLarge);
    refused(&format!("[{}1]", "1,".repeat(10_000)), JsonErrorKind::TooLarge);
}

#[test]
fn j_03_a_name_given_twice_is_refused_at_any_depth() {
    refused(r#"{"a":1,"\u0061":2}"#, JsonErrorKind::DuplicateKey);
    refused(r#"[{"x":{"a":1,"b":2,"a":3}}]"#, JsonErrorKind::DuplicateKey);
}

#[test]
fn j_07_numbers_that_would_lose_digits_are_refused() {
    refused("18446744073709551616", JsonErrorKind::NumberOutOfRange);
    refused(&"1".repeat(1_000), JsonErrorKind::NumberOutOfRange);
    refused("1e999", JsonErrorKind::NumberOutOfRange);
}

fn jsonish() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        Just("{"),
        Just("}"),
        Just("["),
        Just("]"),
        Just(","),
        Just(":"),
        Just("\"a\""),
        Just("\"b\\n\""),
        Just("\"\\ud83d\\ude00\""),
        Just("\"\\ud83d"),
        Just("\""),
        Just("1"),
        Just("-0"),
        Just("2.5e3"),
        Just("01"),
        Just("1."),
        Just("true"),
        Just("null"),
        Just(" "),
        Just("{\"k\":"),
        Just("\\"),
        Just("9".repeat(20).leak() as &str),
    ];
    prop::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
}

/// What we accept, serde_json reads; what we call no JSON, it does not read
/// either. Limits, doubled names and lost digits are ours alone to refuse.
fn agrees(bytes: &[u8]) {
    let theirs = serde_json::from_slice::<serde_json::Value>(bytes).is_ok();
    match check(bytes, &Limits::default()) {
        Ok(()) => assert!(theirs, "accepted {bytes:?}"),
        Err(error) if error.kind == JsonErrorKind::Syntax => {
            assert!(!theirs, "refused {bytes:?}: {error}");
        }
        Err(_) => {}
    }
}

fn tree() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<u64>().prop_map(serde_json::Value::from),
        any::<f64>().prop_map(serde_json::Value::from),
        any::<String>().prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn serde_json_agrees_on_what_is_json(text in jsonish()) {
        agrees(text.as_bytes());
    }

    #[test]
    fn serde_json_agrees_on_arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        agrees(&bytes);
    }

    #[test]
    fn whatever_serde_json_writes_passes(tree in tree()) {
        let bytes = serde_json::to_vec(&tree).unwrap();
        let limits = Limits { key_length_max: usize::MAX, ..Limits::default() };
        assert_eq!(check(&bytes, &limits), Ok(()));
        let bytes = serde_json::to_vec_pretty(&tree).unwrap();
        assert_eq!(check(&bytes, &limits), Ok(()));
    }
}
