use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::{DecodeError, Decoder, FIELDS_MAX, Frame, from_base64, from_hex, hex, report};
use crate::telemetry::{Limits, Value};

fn decoder(declaration: Json) -> Decoder {
    Decoder::parse(&declaration).unwrap()
}

fn read(declaration: Json, frame: &str) -> Result<Vec<(String, Value<'static>)>, DecodeError> {
    read_on(declaration, frame, None)
}

fn read_on(
    declaration: Json,
    frame: &str,
    port: Option<u8>,
) -> Result<Vec<(String, Value<'static>)>, DecodeError> {
    let decoder = decoder(declaration);
    let bytes = from_hex(frame).unwrap();
    let points = decoder.decode(&Frame { bytes: &bytes, port }, &Limits::default())?;
    Ok(points.into_iter().map(|point| (point.key.into_owned(), point.value.into_owned())).collect())
}

fn one(field: Json, frame: &str) -> Value<'static> {
    let mut field = field;
    field["key"] = json!("x");
    read(json!({ "fields": [field] }), frame).unwrap().remove(0).1
}

fn refused(declaration: Json) -> String {
    Decoder::parse(&declaration).unwrap_err().to_string()
}

#[test]
fn numbers_of_every_width_and_order_are_read() {
    for (field, frame, value) in [
        (json!({"type": "u8"}), "ff", Value::Integer(255)),
        (json!({"type": "i8"}), "ff", Value::Integer(-1)),
        (json!({"type": "u16"}), "0102", Value::Integer(258)),
        (json!({"type": "u16", "byte_order": "little"}), "0102", Value::Integer(513)),
        (json!({"type": "i16"}), "fffe", Value::Integer(-2)),
        (json!({"type": "u24"}), "010000", Value::Integer(65_536)),
        (json!({"type": "i24", "byte_order": "little"}), "ffffff", Value::Integer(-1)),
        (json!({"type": "i32"}), "80000000", Value::Integer(-2_147_483_648)),
        (json!({"type": "u48"}), "010000000000", Value::Integer(1 << 40)),
        (json!({"type": "u64"}), "ffffffffffffffff", Value::Unsigned(u64::MAX)),
        (json!({"type": "i64"}), "ffffffffffffffff", Value::Integer(-1)),
        (json!({"type": "f32"}), "41ac0000", Value::Number(21.5)),
        (json!({"type": "f32", "byte_order": "little"}), "0000ac41", Value::Number(21.5)),
        (json!({"type": "f64"}), "c045000000000000", Value::Number(-42.0)),
        (json!({"type": "f32", "byte_order": "big-swapped"}), "000041ac", Value::Number(21.5)),
        (json!({"type": "f32", "byte_order": "little-swapped"}), "ac410000", Value::Number(21.5)),
        (json!({"type": "u32", "byte_order": "big-swapped"}), "e2400001", Value::Integer(123_456)),
        (json!({"type": "i16", "byte_order": "big-swapped"}), "fffe", Value::Integer(-2)),
        (json!({"type": "u8", "byte_order": "little-swapped"}), "07", Value::Integer(7)),
        (json!({"type": "f32"}), "7fc00000", Value::Gap),
        (json!({"type": "bool"}), "02", Value::Boolean(true)),
        (json!({"type": "text", "length": 4}), "6f6b0041", Value::Text(Cow::Borrowed("ok"))),
        (json!({"type": "hex"}), "00c0ffee", Value::Text(Cow::Borrowed("00c0ffee"))),
        (json!({"type": "bcd", "length": 3}), "012345", Value::Integer(12_345)),
        (json!({"type": "bcd", "length": 2, "byte_order": "little"}), "3412", Value::Integer(1_234)),
    ] {
        assert_eq!(one(field.clone(), frame), value, "{field} {frame}");
    }
}

#[test]
fn scaled_numbers_are_the_nearest_to_what_a_person_would_write() {
    for (field, frame, value) in [
        (json!({"type": "i16", "scale": 0.1}), "00d7", Value::Number(21.5)),
        (json!({"type": "u8", "scale": 0.1}), "03", Value::Number(0.3)),
        (json!({"type": "u16", "scale": 0.1, "add": -40}), "0191", Value::Number(0.1)),
        (json!({"type": "u8", "scale": 0.5}), "45", Value::Number(34.5)),
        (json!({"type": "u16", "scale": 10}), "0005", Value::Integer(50)),
        (json!({"type": "u8", "add": -40}), "0a", Value::Integer(-30)),
        (json!({"type": "u8", "scale": 1.8, "add": 32}), "64", Value::Number(212.0)),
        (json!({"type": "f32", "scale": 2}), "3f800000", Value::Number(2.0)),
        (json!({"type": "u64", "scale": 1e300}), "ffffffffffffffff", Value::Gap),
    ] {
        assert_eq!(one(field.clone(), frame), value, "{field} {frame}");
    }
    let third = 1.0 / 3.0;
    assert_eq!(one(json!({"type": "u8", "scale": third}), "03"), Value::Number(3.0 * third));
}

#[test]
fn bits_are_taken_from_the_number_and_keep_its_sign() {
    for (field, frame, value) in [
        (json!({"type": "u8", "bits": {"from": 4, "length": 4}}), "a5", Value::Integer(10)),
        (json!({"type": "u16", "bits": {"from": 7, "length": 9}}), "ff80", Value::Integer(511)),
        (json!({"type": "i16", "bits": {"from": 4, "length": 12}}), "fff0", Value::Integer(-1)),
        (json!({"type": "bool", "bits": {"from": 7}}), "80", Value::Boolean(true)),
        (json!({"type": "bool", "bits": {"from": 6}}), "80", Value::Boolean(false)),
        (
            json!({"type": "u64", "bits": {"from": 0, "length": 64}}),
            "ffffffffffffffff",
            Value::Unsigned(u64::MAX),
        ),
        (json!({"type": "i64", "bits": {"from": 0, "length": 64}}), "ffffffffffffffff", Value::Integer(-1)),
    ] {
        assert_eq!(one(field.clone(), frame), value, "{field} {frame}");
    }
}

#[test]
fn a_field_without_a_place_follows_the_one_before() {
    let declaration = json!({ "fields": [
        {"key": "a", "type": "u8"},
        {"key": "b", "type": "u16"},
        {"key": "rssi", "type": "i8", "at": -1},
        {"key": "c", "type": "u8"},
        {"key": "first", "type": "u8", "at": 0},
        {"key": "second", "type": "u8"},
    ]});
    let read = read(declaration, "01 0002 03 cf").unwrap();
    let values: Vec<_> = read.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    let integer = Value::Integer;
    assert_eq!(
        values,
        [
            ("a", integer(1)),
            ("b", integer(2)),
            ("rssi", integer(-49)),
            ("c", integer(3)),
            ("first", integer(1)),
            ("second", integer(0)),
        ]
    );
}

#[test]
fn what_is_said_to_be_missing_is_a_gap() {
    let field = json!({"type": "i16", "scale": 0.1, "missing": [32767, -32768]});
    assert_eq!(one(field.clone(), "7fff"), Value::Gap);
    assert_eq!(one(field.clone(), "8000"), Value::Gap);
    assert_eq!(one(field, "7ffe"), Value::Number(3276.6));
}

fn kinds() -> Json {
    json!({ "fields": [
        {"key": "kind", "type": "u8", "use": "hidden"},
        {"key": "temperature", "type": "i16", "scale": 0.01, "when": {"field": "kind", "equals": [1, 2]}},
        {"key": "humidity", "type": "u8", "when": {"byte": 0, "equals": 2}},
        {"key": "open", "type": "bool", "when": {"field": "kind", "equals": 3}},
        {"key": "count", "type": "u32", "at": 0, "when": {"port": 9}},
        {"key": "alarm", "type": "bool", "when": [{"field": "open", "equals": true}, {"byte": -1, "equals": 1}]},
    ]})
}

#[test]
fn conditions_choose_what_is_read() {
    let number = |key: &str, value| (key.to_owned(), Value::Number(value));
    let humidity = ("humidity".to_owned(), Value::Integer(40));
    assert_eq!(read(kinds(), "01 0866").unwrap(), [number("temperature", 21.5)]);
    assert_eq!(read(kinds(), "02 0866 28").unwrap(), [number("temperature", 21.5), humidity]);
    let open = ("open".to_owned(), Value::Boolean(true));
    let alarm = ("alarm".to_owned(), Value::Boolean(true));
    assert_eq!(read(kinds(), "03 01 01").unwrap(), [open.clone(), alarm]);
    assert_eq!(read(kinds(), "03 01 00").unwrap(), [open]);
    let count = ("count".to_owned(), Value::Integer(67_305_985));
    assert_eq!(read_on(kinds(), "04 03 02 01", Some(9)).unwrap(), [count]);
}

#[test]
fn a_frame_to_which_nothing_applies_is_refused() {
    let error = read_on(kinds(), "07 0866", Some(2)).unwrap_err();
    assert_eq!(error.to_string(), "no field of the decoder applies to this frame of 3 bytes on port 2");
    assert!(read(kinds(), "").is_err());
}

fn tagged() -> Json {
    json!({
        "byte_order": "little",
        "tagged": {"length": 2, "groups": {
            "0175": [{"key": "battery", "type": "u8"}],
            "0367": [{"key": "temperature", "type": "i16", "scale": 0.1}],
            "0468": [{"key": "humidity", "type": "u8", "scale": 0.5}],
            "ff0b": [],
        }},
    })
}

#[test]
fn groups_come_in_any_order_and_any_number() {
    let battery = ("battery".to_owned(), Value::Integer(100));
    let temperature = ("temperature".to_owned(), Value::Number(27.2));
    let humidity = ("humidity".to_owned(), Value::Number(61.5));
    let all = read(tagged(), "01 75 64 03 67 10 01 04 68 7b").unwrap();
    assert_eq!(all, [battery, temperature.clone(), humidity.clone()]);
    assert_eq!(read(tagged(), "04 68 7b ff 0b 03 67 10 01").unwrap(), [humidity, temperature]);
}

#[test]
fn what_stands_in_no_group_is_refused_and_named() {
    for (frame, offset, text) in [
        ("01 75 64 09 99 00", 3, "the decoder knows no tag 0999 (at byte 3)"),
        ("01 75 64 03", 3, "a tag has 2 bytes, but 1 follow byte 3"),
        ("03 67 10", 3, "temperature: needs bytes 2 to 3, but the frame ends after 3 bytes"),
        ("01 75 64 01 75 63", 5, "battery: comes a second time at byte 5"),
    ] {
        let error = read(tagged(), frame).unwrap_err();
        assert_eq!((error.offset, error.to_string().as_str()), (offset, text), "{frame}");
    }
}

#[test]
fn a_field_that_runs_past_the_end_is_named() {
    let declaration = json!({"fields": [{"key": "t", "type": "i16"}, {"key": "h", "type": "u8"}]});
    let error = read(declaration.clone(), "0102").unwrap_err();
    assert_eq!(error.field.as_deref(), Some("h"));
    assert_eq!(error.to_string(), "h: needs byte 2, but the frame ends after 2 bytes");
    let far = json!({"fields": [{"key": "t", "type": "u8", "at": -5}]});
    let error = read(far, "0102").unwrap_err();
    assert_eq!(error.to_string(), "t: begins 5 bytes before the end of a frame of 2 bytes");
    let beyond = json!({"fields": [{"key": "t", "type": "text", "at": 3}]});
    assert!(read(beyond, "0102").is_err());
}

#[test]
fn bytes_that_are_not_what_they_should_be_are_shown() {
    let text = json!({"fields": [{"key": "name", "type": "text"}]});
    let error = read(text, "ff41").unwrap_err();
    assert_eq!(error.to_string(), "name: this is no UTF-8 text: ff41 from byte 0");
    let digits = json!({"fields": [{"key": "meter", "type": "bcd", "length": 2}]});
    let error = read(digits, "12f4").unwrap_err();
    assert_eq!(error.to_string(), "meter: these are no decimal digits: 12f4 from byte 0");
}

#[test]
fn a_time_in_the_frame_is_the_time_of_its_values() {
    let declaration = json!({"fields": [
        {"key": "t", "type": "u8"},
        {"key": "clock", "type": "u32", "add": 946_684_800, "use": "seconds", "missing": [0]},
    ]});
    let decoder = decoder(declaration);
    let time = |frame: &str| {
        let bytes = from_hex(frame).unwrap();
        let points = decoder.decode(&Frame { bytes: &bytes, port: None }, &Limits::default()).unwrap();
        points[0].ts
    };
    assert_eq!(time("15 00000001"), Some(946_684_801_000));
    assert_eq!(time("15 00000000"), None);
}

#[test]
fn what_is_no_declaration_is_refused_at_its_place() {
    let field = |field: Json| refused(json!({ "fields": [{"key": "ok", "type": "u8"}, field] }));
    for (said, wanted) in [
        (json!({"key": "t", "type": "u7"}), "decoder.fields[1] \"t\": there is no type \"u7\""),
        (json!({"key": "t", "type": "u16", "sclae": 1}), "decoder.fields[1] \"t\": unknown field `sclae`"),
        (json!({"key": "", "type": "u8"}), "decoder.fields[1] \"\": a key is empty"),
        (json!({"type": "u8"}), "decoder.fields[1] \"\": missing field `key`"),
        (json!({"key": "t", "type": "u8", "length": 2}), "decoder.fields[1] \"t\": u8 has no `length`"),
        (json!({"key": "t", "type": "bcd"}), "decoder.fields[1] \"t\": bcd has a `length`"),
        (json!({"key": "t", "type": "bcd", "length": 10}), "decoder.fields[1] \"t\": bcd has a `length`"),
        (json!({"key": "t", "type": "text", "length": 0}), "decoder.fields[1] \"t\": `length` is 1 to"),
        (json!({"key": "t", "type": "text", "scale": 2}), "decoder.fields[1] \"t\": `scale` and `add`"),
        (json!({"key": "t", "type": "u8", "scale": 0}), "decoder.fields[1] \"t\": `scale` is a number"),
        (json!({"key": "t", "type": "f32", "bits": {"from": 0}}), "decoder.fields[1] \"t\": only whole"),
        (json!({"key": "t", "type": "u8", "bits": {"from": 8}}), "decoder.fields[1] \"t\": `bits`"),
        (
            json!({"key": "t", "type": "u8", "bits": {"from": 0, "length": 0}}),
            "decoder.fields[1] \"t\": `bits`",
        ),
        (json!({"key": "t", "type": "u8", "at": 70_000}), "decoder.fields[1] \"t\": a place is at most"),
        (json!({"key": "t", "type": "u8", "when": {"byte": 1}}), "decoder.fields[1] \"t\": `when`: write"),
        (
            json!({"key": "t", "type": "u8", "when": {"field": "t", "equals": 1}}),
            "decoder.fields[1] \"t\": `when`: no field \"t\" stands before",
        ),
        (
            json!({"key": "t", "type": "u8", "when": {"byte": 0, "equals": 1.5}}),
            "decoder.fields[1] \"t\": `equals`",
        ),
        (json!({"key": "ok", "type": "u8"}), "decoder.fields[1] \"ok\": the key is given twice"),
        (json!({"key": "t", "type": "f32", "use": "seconds"}), "decoder.fields[1] \"t\": a time is"),
        (json!({"key": "t", "type": "text", "missing": [1]}), "decoder.fields[1] \"t\": `missing`"),
        (json!(7), "decoder.fields[1] \"\": invalid type"),
    ] {
        let text = field(said.clone());
        assert!(text.starts_with(wanted), "{said}: {text}");
    }
}

#[test]
fn what_is_no_decoder_is_refused() {
    let many: Vec<Json> = (0..=FIELDS_MAX).map(|n| json!({"key": format!("k{n}"), "type": "u8"})).collect();
    for (said, wanted) in [
        (json!({}), "decoder: it makes no reading"),
        (json!({"fields": []}), "decoder: it makes no reading"),
        (json!({"fields": [{"key": "x", "type": "u8", "use": "hidden"}]}), "decoder: it makes no reading"),
        (json!([]), "decoder: "),
        (json!("cayenne"), "decoder: "),
        (json!({"field": []}), "decoder: unknown field"),
        (json!({"fields": many}), "decoder.fields[256] \"k256\": a decoder has at most 256 fields"),
        (json!({"tagged": {"length": 0, "groups": {}}}), "decoder.tagged.length: a tag has 1 to 4 bytes"),
        (
            json!({"tagged": {"length": 2, "groups": {"01": []}}}),
            "decoder.tagged.groups.01: write the tag as 4 hexadecimal digits",
        ),
        (
            json!({"tagged": {"length": 1, "groups": {"ab": [], "AB": []}}}),
            "decoder.tagged.groups: a tag stands there twice",
        ),
        (
            json!({"tagged": {"length": 1, "groups": {"ab": [{"key": "t", "type": "u8", "at": -1}]}}}),
            "decoder.tagged.groups.ab: t: in a group",
        ),
    ] {
        let text = refused(said.clone());
        assert!(text.starts_with(wanted), "{said}: {text}");
    }
}

#[test]
fn a_groups_conditions_see_the_frames_fields_and_its_own() {
    let declaration = json!({
        "fields": [{"key": "version", "type": "u8", "use": "hidden"}],
        "tagged": {"length": 1, "groups": {
            "01": [{"key": "t", "type": "u8", "when": {"field": "version", "equals": 2}},
                   {"key": "old", "type": "u16", "when": {"field": "version", "equals": 1}}],
            "02": [{"key": "flag", "type": "u8", "use": "hidden"},
                   {"key": "h", "type": "u8", "when": {"field": "flag", "equals": 1}}],
        }},
    });
    assert_eq!(read(declaration.clone(), "02 01 15").unwrap(), [("t".to_owned(), Value::Integer(21))]);
    assert_eq!(read(declaration.clone(), "01 01 0015").unwrap(), [("old".to_owned(), Value::Integer(21))]);
    // The flag of the first group says nothing about the second.
    let twice = read(declaration, "02 02 01 28 02 00").unwrap();
    assert_eq!(twice, [("h".to_owned(), Value::Integer(40))]);
    let foreign = json!({"tagged": {"length": 1, "groups": {
        "01": [{"key": "flag", "type": "u8"}],
        "02": [{"key": "h", "type": "u8", "when": {"field": "flag", "equals": 1}}],
    }}});
    assert!(refused(foreign).contains("no field \"flag\" stands before"));
}

#[test]
fn frames_are_written_in_hexadecimal_or_base64() {
    let bytes = Some(vec![1, 0x67]);
    for text in ["0167", "0x01 67", " 01:67\n", "01-67"] {
        assert_eq!(from_hex(text), bytes, "{text:?}");
    }
    for text in ["AWc=", "AWc", " AWc=\n"] {
        assert_eq!(from_base64(text), bytes, "{text:?}");
    }
    assert_eq!(from_base64("-_8="), Some(vec![0xfb, 0xff]));
    assert_eq!(from_hex(""), Some(Vec::new()));
    assert_eq!((from_hex("016"), from_hex("xx"), from_base64("A*==")), (None, None, None));
    assert_eq!(hex(&[0, 0xc0, 0xff]), "00c0ff");
}

#[test]
fn j_25_base64_is_read_in_both_alphabets_padded_or_not_and_in_no_other_way() {
    for text in ["-_8=", "+/8=", "-_8", "+/8", " +/8=\n"] {
        assert_eq!(from_base64(text), Some(vec![0xfb, 0xff]), "{text:?}");
    }
    // Padding in excess, in the middle or half; space within; both alphabets at once; bits that are left over.
    for text in [
        "+/8==", "+=/8", "=", "+/8=+/8=", "AA=", "+/ 8=", "+/\r\n8=", "+_8=", "+/9=", "A", "AAAAA", "+/8=\0",
        "＋/8=",
    ] {
        assert_eq!(from_base64(text), None, "{text:?}");
    }
}

#[test]
fn a_report_says_what_was_read_or_why_not() {
    let decoder = decoder(tagged());
    let limits = Limits::default();
    let good = Frame { bytes: &[1, 0x75, 100], port: Some(2) };
    let shown = Json::from(report(&good, &decoder.decode(&good, &limits)));
    let wanted = json!({"hex": "017564", "port": 2, "ts": null, "error": null,
        "readings": [{"key": "battery", "value": 100}]});
    assert_eq!(shown, wanted);
    let bad = Frame { bytes: &[1, 0x75], port: None };
    let shown = Json::from(report(&bad, &decoder.decode(&bad, &limits)));
    assert_eq!(shown["error"]["field"], "battery");
    assert_eq!(shown["error"]["offset"], 2);
    assert_eq!(shown["readings"], json!([]));
}

proptest! {
    #[test]
    fn numbers_come_back_from_their_bytes(number: i32, at in 0_u8..20, is_little: bool) {
        let order = if is_little { "little" } else { "big" };
        let declaration = json!({"byte_order": order, "fields": [{"key": "x", "type": "i32", "at": at}]});
        let mut bytes = vec![0xaa; at.into()];
        bytes.extend(if is_little { number.to_le_bytes() } else { number.to_be_bytes() });
        let decoder = decoder(declaration);
        for cut in 0..bytes.len() {
            let frame = Frame { bytes: &bytes[..cut], port: None };
            prop_assert!(decoder.decode(&frame, &Limits::default()).is_err());
        }
        let points = decoder.decode(&Frame { bytes: &bytes, port: None }, &Limits::default()).unwrap();
        prop_assert_eq!(&points[0].value, &Value::Integer(number.into()));
    }

    #[test]
    fn a_scale_of_tenths_is_written_with_one_place(raw: i16) {
        let bytes = raw.to_be_bytes();
        let decoder = decoder(json!({"fields": [{"key": "x", "type": "i16", "scale": 0.1, "add": -40}]}));
        let points = decoder.decode(&Frame { bytes: &bytes, port: None }, &Limits::default()).unwrap();
        let Value::Number(number) = points[0].value else { panic!("{points:?}") };
        prop_assert_eq!(number, format!("{:.1}", f64::from(raw) * 0.1 - 40.0).parse::<f64>().unwrap());
    }

    #[test]
    fn no_frame_panics_or_gives_more_than_it_holds(bytes: Vec<u8>, port: Option<u8>) {
        for declaration in [kinds(), tagged()] {
            let decoder = decoder(declaration);
            let frame = Frame { bytes: &bytes, port };
            if let Ok(points) = decoder.decode(&frame, &Limits::default()) {
                prop_assert!(!points.is_empty() && points.len() <= bytes.len());
            }
        }
    }
}

#[test]
fn words_that_are_swapped_have_two_bytes_each() {
    for (kind, is_taken) in [("u24", false), ("u48", true), ("u8", true), ("text", true)] {
        let declaration = json!({"byte_order": "big-swapped", "fields": [{"key": "x", "type": kind}]});
        assert_eq!(Decoder::parse(&declaration).is_ok(), is_taken, "{kind}");
    }
}
