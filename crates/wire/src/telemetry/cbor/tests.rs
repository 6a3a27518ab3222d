use super::{cbor, half};
use crate::telemetry::{Limits, TelemetryErrorKind, Value};
use proptest::prelude::{any, prop, proptest};
use std::borrow::Cow;

fn check(bytes: &[u8], expected: &[(&str, Option<i64>, Value<'_>)]) {
    let points = cbor(bytes, &Limits::default()).unwrap();
    let points: Vec<_> =
        points.iter().map(|point| (point.key.as_ref(), point.ts, point.value.clone())).collect();
    assert_eq!(points, expected, "{bytes:02x?}");
}

fn refused(bytes: &[u8], kind: TelemetryErrorKind) {
    let error = cbor(bytes, &Limits::default()).unwrap_err();
    let head = &bytes[..bytes.len().min(20)];
    assert_eq!(error.kind, kind, "{head:02x?}: {error}");
}

#[test]
fn a_map_is_read_as_a_json_object_is() {
    // {"a": 1, "b": -2, "c": 21.5 (half, single, double), "f": true, "g": null, "h": "x"}
    check(
        b"\xa8aa\x01ab\x21ac\xf9\x4d\x60ad\xfa\x41\xac\0\0ae\xfb\x40\x35\x80\0\0\0\0\0af\xf5ag\xf6ahax",
        &[
            ("a", None, Value::Integer(1)),
            ("b", None, Value::Integer(-2)),
            ("c", None, Value::Number(21.5)),
            ("d", None, Value::Number(21.5)),
            ("e", None, Value::Number(21.5)),
            ("f", None, Value::Boolean(true)),
            ("h", None, Value::Text(Cow::Borrowed("x"))),
        ],
    );
}

#[test]
fn indefinite_lengths_integer_keys_and_nesting_are_read() {
    // {_ 1: [_ 5, {"z": 6}], "t": (_ "ab", "c")}
    check(
        b"\xbf\x01\x9f\x05\xa1az\x06\xffat\x7fbabac\xff\xff",
        &[
            ("1.0", None, Value::Integer(5)),
            ("1.1.z", None, Value::Integer(6)),
            ("t", None, Value::Text(Cow::Borrowed("abc"))),
        ],
    );
    check(b"\xa0", &[]);
    check(b"\x80", &[]);
}

#[test]
fn a_sample_has_its_time_before_or_after() {
    let expected = [("a", Some(5), Value::Integer(1))];
    check(b"\xa2bts\x05fvalues\xa1aa\x01", &expected);
    check(b"\x81\xa2fvalues\xa1aa\x01bts\x05", &expected);
    // 55799({"ts": 0("1970-01-01T00:00:00.005Z"), "values": {"a": 1}})
    check(b"\xd9\xd9\xf7\xa2bts\xc0\x78\x181970-01-01T00:00:00.005Zfvalues\xa1aa\x01", &expected);
}

#[test]
fn nan_and_infinity_are_gaps() {
    for bits in [b"\x7e\0", b"\x7c\0", b"\xfc\0"] {
        check(&[b"\xa1aa\xf9", &bits[..]].concat(), &[("a", None, Value::Gap)]);
    }
}

#[test]
fn integers_keep_all_digits_or_are_refused() {
    check(b"\xa1aa\x1b\xff\xff\xff\xff\xff\xff\xff\xff", &[("a", None, Value::Unsigned(u64::MAX))]);
    check(b"\xa1aa\x3b\x7f\xff\xff\xff\xff\xff\xff\xff", &[("a", None, Value::Integer(i64::MIN))]);
    refused(b"\xa1aa\x3b\x80\0\0\0\0\0\0\0", TelemetryErrorKind::NumberOutOfRange);
}

#[test]
fn half_precision_is_exact() {
    for (bits, value) in
        [(0x0001, 5.960_464_477_539_063e-8), (0x3C00, 1.0), (0x7BFF, 65_504.0), (0xC400, -4.0)]
    {
        assert_eq!(half(bits), value);
    }
}

#[test]
fn j_03_a_key_given_twice_is_refused() {
    refused(b"\xa2aa\x01aa\x02", TelemetryErrorKind::DuplicateKey);
}

#[test]
fn j_26_bombs_are_refused_by_what_is_there() {
    // A map, an array and a text that announce 2^63 members and bytes.
    refused(b"\xbb\x7f\xff\xff\xff\xff\xff\xff\xff", TelemetryErrorKind::Syntax);
    refused(b"\xa1aa\x9b\x7f\xff\xff\xff\xff\xff\xff\xff\x01", TelemetryErrorKind::Syntax);
    refused(b"\xa1aa\x7b\x7f\xff\xff\xff\xff\xff\xff\xff", TelemetryErrorKind::Syntax);
    // Never ended.
    refused(b"\xbf", TelemetryErrorKind::Syntax);
    refused(b"\xa1aa\x7f", TelemetryErrorKind::Syntax);
    // Tags and depth.
    refused(&[b"\xa1aa".as_slice(), &[0xC0; 100_000]].concat(), TelemetryErrorKind::Syntax);
    refused(&[b"\xa1aa".as_slice(), &[0x81; 100_000]].concat(), TelemetryErrorKind::TooDeep);
    refused(&b"\xa1aa".repeat(100_000), TelemetryErrorKind::TooDeep);
}

#[test]
fn what_is_no_telemetry_is_refused() {
    refused(b"", TelemetryErrorKind::Syntax);
    refused(b"\x01", TelemetryErrorKind::Shape);
    refused(b"\xa1aa\x41x", TelemetryErrorKind::Shape);
    refused(b"\xa1aa\xc1\x01", TelemetryErrorKind::Shape);
    refused(b"\xa1aa\x01\x00", TelemetryErrorKind::Syntax);
    refused(b"\xa1aa\xff", TelemetryErrorKind::Syntax);
    refused(b"\xa1aa\x1c", TelemetryErrorKind::Syntax);
    refused(b"\xa1\x61\xff\x01", TelemetryErrorKind::Syntax);
    refused(b"\xa1\xf5\x01", TelemetryErrorKind::Syntax);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let limits = Limits::default();
        if let Ok(points) = cbor(&bytes, &limits) {
            assert!(points.len() <= limits.points_max);
        }
    }
}
