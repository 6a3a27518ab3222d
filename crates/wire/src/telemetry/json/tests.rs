use super::json;
use crate::telemetry::{Limits, Point, TelemetryErrorKind, Value};
use proptest::prelude::{Strategy, any, prop, prop_oneof, proptest};
use std::borrow::Cow;

fn read(text: &str) -> Vec<Point<'_>> {
    json(text.as_bytes(), &Limits::default()).unwrap()
}

fn check(text: &str, expected: &[(&str, Option<i64>, Value<'_>)]) {
    let points = read(text);
    let points: Vec<_> =
        points.iter().map(|point| (point.key.as_ref(), point.ts, point.value.clone())).collect();
    assert_eq!(points, expected, "{text}");
}

fn refused(bytes: &[u8], kind: TelemetryErrorKind) {
    let error = json(bytes, &Limits::default()).unwrap_err();
    let start = String::from_utf8_lossy(bytes.get(..60).unwrap_or(bytes)).into_owned();
    assert_eq!(error.kind, kind, "{start}: {error}");
}

#[test]
fn an_object_is_one_point_for_each_key() {
    check("{}", &[]);
    check("[]", &[]);
    check(
        r#" {"temp":21.5,"on":true,"state":"idle","count":3,"gone":null} "#,
        &[
            ("temp", None, Value::Number(21.5)),
            ("on", None, Value::Boolean(true)),
            ("state", None, Value::Text(Cow::Borrowed("idle"))),
            ("count", None, Value::Integer(3)),
        ],
    );
}

#[test]
fn flat_keys_and_texts_borrow_from_the_payload() {
    let points = read(r#"{"state":"idle"}"#);
    assert!(matches!(
        points.as_slice(),
        [Point { key: Cow::Borrowed("state"), value: Value::Text(Cow::Borrowed("idle")), .. }]
    ));
}

#[test]
fn nested_objects_and_arrays_flatten_with_dots() {
    check(
        r#"{"env":{"air":{"temp":1},"x":2},"accel":[1,[2,{"z":3}]],"y":4,"e":{},"l":[]}"#,
        &[
            ("env.air.temp", None, Value::Integer(1)),
            ("env.x", None, Value::Integer(2)),
            ("accel.0", None, Value::Integer(1)),
            ("accel.1.0", None, Value::Integer(2)),
            ("accel.1.1.z", None, Value::Integer(3)),
            ("y", None, Value::Integer(4)),
        ],
    );
}

#[test]
fn ts_and_values_may_stand_in_any_order() {
    let expected = [("a", Some(1_700_000_000_000), Value::Integer(1))];
    check(r#"{"ts":1700000000000,"values":{"a":1}}"#, &expected);
    check(r#"{"values":{"a":1},"ts":1700000000000}"#, &expected);
    check(r#"{"ts":1.7e12,"values":{"a":1}}"#, &expected);
    check(r#"{"ts":"2023-11-14T22:13:20Z","values":{"a":1}}"#, &expected);
    check(r#"{"values":{"a":1}}"#, &[("a", None, Value::Integer(1))]);
    check(r#"{"ts":null,"values":{"a":1}}"#, &[("a", None, Value::Integer(1))]);
}

#[test]
fn an_array_mixes_both_forms() {
    check(
        r#"[{"a":1},{"ts":5,"values":{"a":2}},{"a":3}]"#,
        &[("a", None, Value::Integer(1)), ("a", Some(5), Value::Integer(2)), ("a", None, Value::Integer(3))],
    );
}

#[test]
fn ts_without_values_is_a_key_like_any_other() {
    check(
        r#"{"ts":5,"a":1,"values":2}"#,
        &[
            ("ts", None, Value::Integer(5)),
            ("a", None, Value::Integer(1)),
            ("values", None, Value::Integer(2)),
        ],
    );
}

#[test]
fn a_key_beside_values_is_refused_rather_than_lost() {
    refused(br#"{"ts":1,"values":{"a":1},"b":2}"#, TelemetryErrorKind::Shape);
    refused(br#"{"b":2,"values":{"a":1}}"#, TelemetryErrorKind::Shape);
}

#[test]
fn a_time_that_is_none_is_refused() {
    for ts in ["1.5", "true", "\"yesterday\"", "[]", "{}", "1e18", "18446744073709551615"] {
        let before = format!(r#"{{"ts":{ts},"values":{{}}}}"#);
        refused(before.as_bytes(), TelemetryErrorKind::BadTime);
        let after = format!(r#"{{"values":{{}},"ts":{ts}}}"#);
        refused(after.as_bytes(), TelemetryErrorKind::BadTime);
    }
}

#[test]
fn j_01_deep_nesting_is_refused() {
    refused("[".repeat(100_000).as_bytes(), TelemetryErrorKind::Shape);
    let nested = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    assert_eq!(read(&nested(32)).len(), 1);
    refused(nested(33).as_bytes(), TelemetryErrorKind::TooDeep);
    refused("{\"a\":".repeat(100_000).as_bytes(), TelemetryErrorKind::TooDeep);
}

#[test]
fn j_02_keys_are_capped_in_number_and_length() {
    let object = |count: usize| {
        let members: Vec<_> = (0..count).map(|key| format!("\"k{key}\":{key}")).collect();
        format!("{{{}}}", members.join(","))
    };
    assert_eq!(read(&object(1_024)).len(), 1_024);
    refused(object(1_025).as_bytes(), TelemetryErrorKind::TooLarge);
    refused(object(100_000).as_bytes(), TelemetryErrorKind::TooLarge);
    let named = |length: usize| format!("{{\"{}\":1}}", "k".repeat(length));
    assert_eq!(read(&named(256)).len(), 1);
    refused(named(257).as_bytes(), TelemetryErrorKind::TooLarge);
    refused(named(1 << 20).as_bytes(), TelemetryErrorKind::TooLarge);
    let array = format!("{{\"a\":[{}1]}}", "1,".repeat(1_000_000));
    refused(array.as_bytes(), TelemetryErrorKind::TooLarge);
    refused(br#"{"":1}"#, TelemetryErrorKind::BadKey);
}

#[test]
fn j_03_a_key_given_twice_is_refused() {
    for text in [
        r#"{"a":1,"a":2}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"a":null,"a":1}"#,
        r#"{"a":{"b":1},"a.b":2}"#,
        r#"{"a":[1],"a.0":2}"#,
        r#"{"a":{"b":1,"b":1}}"#,
        r#"{"ts":1,"ts":2,"values":{}}"#,
        r#"{"ts":1,"values":{},"ts":2}"#,
        r#"{"values":{},"values":{}}"#,
        r#"{"values":{"a":1,"a":2}}"#,
    ] {
        refused(text.as_bytes(), TelemetryErrorKind::DuplicateKey);
    }
    let many: Vec<_> = (0..100).map(|key| format!("\"k{key}\":0")).collect();
    let many = format!("{{{},\"k7\":1}}", many.join(","));
    refused(many.as_bytes(), TelemetryErrorKind::DuplicateKey);
}

#[test]
fn j_04_half_a_surrogate_pair_is_refused() {
    for text in [r#"{"a":"\ud800"}"#, r#"{"a":"\ude00\ud83d"}"#, r#"{"a":"\ud83d\n"}"#] {
        refused(text.as_bytes(), TelemetryErrorKind::Syntax);
    }
    let smile = Value::Text(Cow::Borrowed("\u{1f600}"));
    check(r#"{"a":"\ud83d\uDE00"}"#, &[("a", None, smile)]);
}

#[test]
fn j_05_a_nul_is_kept_in_text_and_refused_in_a_key() {
    check(r#"{"a":"\u0000"}"#, &[("a", None, Value::Text(Cow::Borrowed("\0")))]);
    refused(br#"{"a\u0000":1}"#, TelemetryErrorKind::BadKey);
}

#[test]
fn j_06_no_infinity_is_ever_stored() {
    for text in ["NaN", "Infinity", "-Infinity", "nan", "-nan", "inf"] {
        let text = format!("{{\"a\":{text}}}");
        let error = json(text.as_bytes(), &Limits::default()).unwrap_err();
        assert!(error.is_syntax());
        assert!(error.detail.contains("NaN"), "{text}: {error}");
    }
    for text in ["1e400", "-1e400", "1.0E+309"] {
        let text = format!("{{\"a\":{text}}}");
        refused(text.as_bytes(), TelemetryErrorKind::NumberOutOfRange);
    }
    check(r#"{"a":1e-400}"#, &[("a", None, Value::Number(0.0))]);
    let points = read(r#"{"a":-0}"#);
    assert!(matches!(points[0].value, Value::Number(zero) if zero.is_sign_negative()));
}

#[test]
fn j_07_integers_keep_all_digits_or_are_refused() {
    for (text, value) in [
        ("9007199254740993", Value::Integer(9_007_199_254_740_993)),
        ("9223372036854775807", Value::Integer(i64::MAX)),
        ("-9223372036854775808", Value::Integer(i64::MIN)),
        ("9223372036854775808", Value::Unsigned(1 << 63)),
        ("18446744073709551615", Value::Unsigned(u64::MAX)),
    ] {
        check(&format!("{{\"a\":{text}}}"), &[("a", None, value)]);
    }
    let long = "9".repeat(400);
    let decimals = format!("0.{}", "3".repeat(1_000));
    for text in ["18446744073709551616", "-9223372036854775809", &long, &decimals] {
        let text = format!("{{\"a\":{text}}}");
        refused(text.as_bytes(), TelemetryErrorKind::NumberOutOfRange);
    }
}

#[test]
fn j_08_what_only_looks_like_json_is_refused_with_its_offset() {
    for (value, offset) in [
        ("01", 5),
        ("+1", 5),
        (".5", 5),
        ("1.", 7),
        ("1.e3", 7),
        ("1e", 7),
        ("-", 5),
        ("0x1", 6),
        ("1,", 6),
        ("[1,]", 7),
        ("1/*one*/", 6),
        ("1 // one", 7),
        ("'one'", 5),
        ("one", 5),
        ("True", 5),
        ("\"\\x\"", 6),
        ("\"\t\"", 6),
        ("\"\\u00g0\"", 6),
        (",1", 5),
        ("1 2", 7),
    ] {
        let text = format!("{{\"a\":{value}}}");
        let error = json(text.as_bytes(), &Limits::default()).unwrap_err();
        assert_eq!(error.kind, TelemetryErrorKind::Syntax, "{text}: {error}");
        assert_eq!(error.offset, offset, "{text}: {error}");
        assert!(!error.detail.is_empty());
    }
    for text in ["{a:1}", "{'a':1}", "{\"a\" 1}", "{\"a\"}", "{\"a\":1", "{", "{,}", "{1:2}"] {
        refused(text.as_bytes(), TelemetryErrorKind::Syntax);
    }
}

#[test]
fn j_09_each_wrong_document_gets_its_hint() {
    for (bytes, hint) in [
        (b"\xef\xbb\xbf{}".as_slice(), "byte order mark"),
        (b"\xff\xfe{\0}\0", "UTF-16"),
        (b"{\0}\0", "UTF-16"),
        (b"\0{\0}", "UTF-16"),
        (b"{\"a\":\"gr\xfcn\"}", "UTF-8"),
        (b"{\"a\":1}x", "one document"),
        (b"{\"a\":1}\n{\"a\":2}", "x-ndjson"),
        (b"", "empty"),
        (b" \r\n", "empty"),
        (b"null", "no object"),
        (b"\"x\"", "no object"),
        (b"5", "no object"),
        (b"[1]", "objects"),
        (b"[[{}]]", "objects"),
    ] {
        let error = json(bytes, &Limits::default()).unwrap_err();
        assert!(error.is_syntax(), "{error}");
        assert!(error.detail.contains(hint), "{error} should say {hint}");
    }
}

#[test]
fn j_21_the_points_of_one_payload_are_capped() {
    let array = |count: usize| format!("[{}]", vec!["{\"a\":1}"; count].join(","));
    assert_eq!(read(&array(10_000)).len(), 10_000);
    refused(array(10_001).as_bytes(), TelemetryErrorKind::TooLarge);
}

#[test]
fn j_24_a_long_text_is_refused() {
    let text = |length: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(length));
    assert_eq!(read(&text(65_536)).len(), 1);
    refused(text(65_537).as_bytes(), TelemetryErrorKind::TooLarge);
}

#[test]
fn a_document_cut_short_is_refused_wherever_it_is_cut() {
    let text = r#"[{"ts":1700000000000,"values":{"a":[1,-2.5e3],"b":"\ud83d\ude00","c":true}}]"#;
    assert_eq!(read(text).len(), 4);
    for end in 0..text.len() {
        refused(&text.as_bytes()[..end], TelemetryErrorKind::Syntax);
    }
}

fn leaf() -> impl Strategy<Value = (serde_json::Value, Value<'static>)> {
    prop_oneof![
        any::<i64>().prop_map(|value| (value.into(), Value::Integer(value))),
        (1_u64 << 63..).prop_map(|value| (value.into(), Value::Unsigned(value))),
        prop::num::f64::NORMAL.prop_map(|value| (value.into(), Value::Number(value))),
        any::<bool>().prop_map(|value| (value.into(), Value::Boolean(value))),
        any::<String>().prop_map(|value| (value.clone().into(), Value::Text(Cow::Owned(value)))),
    ]
}

proptest! {
    #[test]
    fn what_serde_json_writes_is_read_digit_for_digit(
        members in prop::collection::btree_map("[a-zü\"\\\\]{1,5}", leaf(), 0..40),
    ) {
        let object: serde_json::Map<_, _> =
            members.iter().map(|(key, (json, _))| (key.clone(), json.clone())).collect();
        let text = serde_json::to_string(&object).unwrap();
        let points = read(&text);
        let points: Vec<_> = points.into_iter().map(|point| (point.key.into_owned(), point.value)).collect();
        let expected: Vec<_> = members.into_iter().map(|(key, (_, value))| (key, value)).collect();
        assert_eq!(points, expected);
    }
}
