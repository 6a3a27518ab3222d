use super::{senml_cbor, senml_json};
use crate::telemetry::{Limits, TelemetryErrorKind, Value, base_name_is_of};
use proptest::prelude::{any, prop, proptest};
use std::borrow::Cow;

const NOW: i64 = 1_795_269_864_000;

fn check(text: &str, expected: &[(&str, Option<i64>, Value<'_>)]) {
    let payload = senml_json(text.as_bytes(), &Limits::default(), NOW).unwrap();
    let points: Vec<_> =
        payload.points.iter().map(|point| (point.key.as_ref(), point.ts, point.value.clone())).collect();
    assert_eq!(points, expected, "{text}");
}

fn refused(text: &str, kind: TelemetryErrorKind) {
    let error = senml_json(text.as_bytes(), &Limits::default(), NOW).unwrap_err();
    assert_eq!(error.kind, kind, "{text}: {error}");
}

#[test]
fn records_inherit_what_earlier_ones_set() {
    check(
        r#"[{"bn":"urn:dev:ow:10e2/","bt":1.276020076e9,"bu":"A","bver":5,"n":"voltage","u":"V","v":120.1},
            {"n":"current","t":-5,"v":1.2},{"n":"state","vs":"on"},{"n":"door","vb":false},{"n":"e","s":7}]"#,
        &[
            ("voltage", Some(1_276_020_076_000), Value::Number(120.1)),
            ("current", Some(1_276_020_071_000), Value::Number(1.2)),
            ("state", Some(1_276_020_076_000), Value::Text(Cow::Borrowed("on"))),
            ("door", Some(1_276_020_076_000), Value::Boolean(false)),
            ("e.sum", Some(1_276_020_076_000), Value::Integer(7)),
        ],
    );
}

#[test]
fn small_times_count_from_now_and_base_values_are_added() {
    check(
        r#"[{"bv":100,"n":"a","v":1},{"n":"a","t":-1.5,"v":2.5},{"n":"b","v":3,"t":0}]"#,
        &[
            ("a", None, Value::Integer(101)),
            ("a", Some(NOW - 1_500), Value::Number(102.5)),
            ("b", None, Value::Integer(103)),
        ],
    );
}

#[test]
fn a_record_without_a_name_is_called_by_its_base() {
    check(r#"[{"bn":"temp","v":1}]"#, &[("temp", None, Value::Integer(1))]);
    check("[]", &[]);
}

#[test]
fn j_27_base_names_are_shown_for_the_caller_to_compare() {
    let text =
        r#"[{"bn":"urn:dev:mac:kitchen/","n":"a","v":1},{"n":"b","v":1},{"bn":"other:","n":"c","v":1}]"#;
    let payload = senml_json(text.as_bytes(), &Limits::default(), NOW).unwrap();
    assert_eq!(payload.base_names, ["urn:dev:mac:kitchen/", "other:"]);
    for base in ["kitchen", "kitchen/", "urn:dev:mac:kitchen/", "sensors/kitchen:"] {
        assert!(base_name_is_of(base, "kitchen"), "{base}");
    }
    for base in ["", "/", "other:", "notkitchen/", "kitchen2", "kitchen/temp"] {
        assert!(!base_name_is_of(base, "kitchen"), "{base}");
    }
}

#[test]
fn what_is_no_pack_is_refused() {
    refused("{}", TelemetryErrorKind::Shape);
    refused("[1]", TelemetryErrorKind::Shape);
    refused(r#"[{"v":1}]"#, TelemetryErrorKind::BadKey);
    refused(r#"[{"n":"a","v":"1"}]"#, TelemetryErrorKind::Shape);
    refused(r#"[{"n":"a","v":1,"vs":"x"}]"#, TelemetryErrorKind::Shape);
    refused(r#"[{"n":"a","v":1,"v":2}]"#, TelemetryErrorKind::DuplicateKey);
    refused(r#"[{"n":"a","v":1,"new_":2}]"#, TelemetryErrorKind::Shape);
    refused(r#"[{"bver":11,"n":"a","v":1}]"#, TelemetryErrorKind::Shape);
    refused(r#"[{"n":"a","t":"x","v":1}]"#, TelemetryErrorKind::BadTime);
    refused(r#"[{"n":"a","t":1e300,"v":1}]"#, TelemetryErrorKind::BadTime);
    refused(r#"[{"bv":1e308,"n":"a","v":1e308}]"#, TelemetryErrorKind::NumberOutOfRange);
    refused(r#"[{"bt":1.7e308,"t":1.7e308,"n":"a","v":1}]"#, TelemetryErrorKind::BadTime);
    check(r#"[{"n":"a","v":1,"x":{"y":[1,{}]}}]"#, &[("a", None, Value::Integer(1))]);
}

#[test]
fn cbor_uses_numbers_for_labels() {
    // [{-2: "dev/", -3: 1276020076, 0: "t", 2: 23.5, 1: "Cel"}, {0: "x", 4: true}]
    let bytes = b"\x82\xa5\x21ddev/\x22\x1a\x4c\x0e\x85\x6c\x00at\x02\xf9\x4d\xe0\x01cCel\xa2\x00ax\x04\xf5";
    let payload = senml_cbor(bytes, &Limits::default(), NOW).unwrap();
    assert_eq!(payload.base_names, ["dev/"]);
    let [temperature, flag] = payload.points.as_slice() else { panic!("{payload:?}") };
    assert_eq!((temperature.ts, &temperature.value), (Some(1_276_020_076_000), &Value::Number(23.5)));
    assert_eq!((flag.key.as_ref(), &flag.value), ("x", &Value::Boolean(true)));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), now in any::<i64>()) {
        let limits = Limits::default();
        assert!(senml_json(&bytes, &limits, now).is_err() || !bytes.is_empty());
        assert!(senml_cbor(&bytes, &limits, now).is_err() || !bytes.is_empty());
    }
}
