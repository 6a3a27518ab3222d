use super::{Precision, line};
use crate::telemetry::{Limits, TelemetryErrorKind, Value};
use proptest::prelude::{any, prop, proptest};
use std::borrow::Cow;

fn check(text: &str, expected: &[(&str, Option<i64>, Value<'_>)]) {
    let points = line(text.as_bytes(), Precision::Nanoseconds, &Limits::default()).unwrap();
    let points: Vec<_> =
        points.iter().map(|point| (point.key.as_ref(), point.ts, point.value.clone())).collect();
    assert_eq!(points, expected, "{text}");
}

fn refused(text: &str, kind: TelemetryErrorKind) {
    let error = line(text.as_bytes(), Precision::Nanoseconds, &Limits::default()).unwrap_err();
    assert_eq!(error.kind, kind, "{text}: {error}");
}

#[test]
fn every_field_is_a_point() {
    check(
        "weather temp=21.5,hum=40i,n=5u,ok=t,off=False,note=\"a b\" 1465839830100400200\n",
        &[
            ("weather.temp", Some(1_465_839_830_100), Value::Number(21.5)),
            ("weather.hum", Some(1_465_839_830_100), Value::Integer(40)),
            ("weather.n", Some(1_465_839_830_100), Value::Integer(5)),
            ("weather.ok", Some(1_465_839_830_100), Value::Boolean(true)),
            ("weather.off", Some(1_465_839_830_100), Value::Boolean(false)),
            ("weather.note", Some(1_465_839_830_100), Value::Text(Cow::Borrowed("a b"))),
        ],
    );
}

#[test]
fn tags_keep_series_apart_in_any_order() {
    check(
        "room,name=bath,floor=1 temp=20\r\n\n# a remark\nroom,floor=1,name=hall temp=21 -1\n",
        &[
            ("room.floor=1.name=bath.temp", None, Value::Number(20.0)),
            ("room.floor=1.name=hall.temp", Some(-1), Value::Number(21.0)),
        ],
    );
}

#[test]
fn escapes_are_resolved() {
    check(
        r#"my\ room\,x,a\=b=c\ d e\ f="say \"hi\" \\ \n, = x""#,
        &[("my room,x.a=b=c d.e f", None, Value::Text(Cow::Borrowed("say \"hi\" \\ \\n, = x")))],
    );
    check("m v=\"two\nlines\"", &[("m.v", None, Value::Text(Cow::Borrowed("two\nlines")))]);
    check("grün ü=1", &[("grün.ü", None, Value::Number(1.0))]);
}

#[test]
fn the_unit_of_time_is_told_not_guessed() {
    for (name, time, expected) in [
        ("ns", "1700000000123456789", 1_700_000_000_123),
        ("us", "1700000000123456", 1_700_000_000_123),
        ("ms", "1700000000123", 1_700_000_000_123),
        ("s", "1700000000", 1_700_000_000_000),
        ("m", "28333333", 1_699_999_980_000),
        ("h", "472222", 1_699_999_200_000),
    ] {
        let text = format!("m v=1 {time}");
        let precision = Precision::from_name(name).unwrap();
        let points = line(text.as_bytes(), precision, &Limits::default()).unwrap();
        assert_eq!(points[0].ts, Some(expected), "{name}");
    }
    assert_eq!(Precision::from_name("d"), None);
}

#[test]
fn what_is_no_line_is_refused() {
    for text in [
        "",
        "\n#x\n",
        "m",
        "m ",
        "m v",
        "m v=",
        "m v=x",
        "m =1",
        ",a=b v=1",
        "m,a v=1",
        "m,a= v=1",
        "m v=\"open",
        "m v=1 2 3",
        "m v=1,",
        "m v=NaN",
        "m v=inf",
        "m v=1e",
        "m v=i",
        "m v=-1u",
        "m\nv=1",
    ] {
        refused(text, TelemetryErrorKind::Syntax);
    }
    refused("m v=1 soon", TelemetryErrorKind::BadTime);
    refused("m v=1 1.5", TelemetryErrorKind::BadTime);
    refused("m v=1e999", TelemetryErrorKind::NumberOutOfRange);
    refused("m v=9223372036854775808i", TelemetryErrorKind::NumberOutOfRange);
    refused("m v=1,v=2", TelemetryErrorKind::DuplicateKey);
    refused(&format!("m {}=1", "k".repeat(300)), TelemetryErrorKind::TooLarge);
    refused(&"m v=1\n".repeat(10_001), TelemetryErrorKind::TooLarge);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(
        text in "[mv=, \\\\\"\n0-9iutü.#-]{0,60}", bytes in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        for bytes in [text.as_bytes(), &bytes] {
            if let Ok(points) = line(bytes, Precision::Nanoseconds, &Limits::default()) {
                assert!(!points.is_empty());
            }
        }
    }
}
