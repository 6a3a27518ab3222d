//! CBOR as the JSON that it says, and back: for payloads that are no telemetry, such as a twin.

use serde_json::{Map, Number, Value};

use super::source::Source;
use super::{Limits, TelemetryError, TelemetryErrorKind, cbor};
use crate::json;

/// Reads a CBOR document that says what JSON could. NaN, infinities and byte strings are refused.
///
/// # Errors
/// As [`super::cbor()`].
pub fn cbor_to_json(bytes: &[u8], limits: &Limits) -> Result<Value, TelemetryError> {
    let mut reader = cbor::Reader::open(bytes, limits.depth_max)?;
    let mut count = 0;
    let value = read(&mut reader, limits, &mut count)?;
    reader.finish()?;
    Ok(value)
}

/// The depth is bounded by the source.
fn read<'a>(
    source: &mut impl Source<'a>,
    limits: &Limits,
    count: &mut usize,
) -> Result<Value, TelemetryError> {
    limits.check_points(*count, source.token_at())?;
    *count += 1;
    Ok(match source.value()? {
        json::Token::Null => Value::Null,
        json::Token::Boolean(value) => Value::Bool(value),
        json::Token::Text(text) => Value::String(text.into_owned()),
        json::Token::Number(number) => Value::Number(match number {
            json::Number::Integer(value) => value.into(),
            json::Number::Unsigned(value) => value.into(),
            json::Number::Float(value) => Number::from_f64(value).ok_or_else(|| {
                let (kind, at) = (TelemetryErrorKind::NumberOutOfRange, source.token_at());
                TelemetryError::new(kind, at, "a number must be finite here")
            })?,
        }),
        json::Token::Array => {
            let mut elements = Vec::new();
            while source.next_element()? {
                elements.push(read(source, limits, count)?);
            }
            Value::Array(elements)
        }
        json::Token::Object => {
            let mut members = Map::new();
            while let Some(key) = source.next_key()? {
                let at = source.token_at();
                let value = read(source, limits, count)?;
                if members.contains_key(&*key) {
                    let detail = format!("{key:?} is given twice: give each name once");
                    return Err(TelemetryError::new(TelemetryErrorKind::DuplicateKey, at, detail));
                }
                members.insert(key.into_owned(), value);
            }
            Value::Object(members)
        }
    })
}

/// Writes JSON as CBOR (RFC 8949 section 6.2), numbers in their shortest exact form.
#[must_use]
pub fn json_to_cbor(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(0xF6),
        Value::Bool(value) => out.push(if *value { 0xF5 } else { 0xF4 }),
        Value::Number(number) => write_number(number, out),
        Value::String(text) => write_text(text, out),
        Value::Array(elements) => {
            write_head(4, elements.len() as u64, out);
            elements.iter().for_each(|element| write(element, out));
        }
        Value::Object(members) => {
            write_head(5, members.len() as u64, out);
            for (key, value) in members {
                write_text(key, out);
                write(value, out);
            }
        }
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    write_head(3, text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

fn write_number(number: &Number, out: &mut Vec<u8>) {
    if let Some(value) = number.as_u64() {
        write_head(0, value, out);
    } else if let Some(value) = number.as_i64() {
        write_head(1, !value.cast_unsigned(), out);
    } else {
        let value = number.as_f64().unwrap_or_default();
        #[expect(clippy::cast_possible_truncation, reason = "what does not come back is written in full")]
        let short = value as f32;
        if f64::from(short).to_bits() == value.to_bits() {
            out.push(0xFA);
            out.extend(short.to_be_bytes());
        } else {
            out.push(0xFB);
            out.extend(value.to_be_bytes());
        }
    }
}

fn write_head(major: u8, argument: u64, out: &mut Vec<u8>) {
    let major = major << 5;
    if let Ok(byte) = u8::try_from(argument) {
        if byte > 23 {
            out.push(major | 24);
            out.push(byte);
        } else {
            out.push(major | byte);
        }
    } else if let Ok(short) = u16::try_from(argument) {
        out.push(major | 25);
        out.extend(short.to_be_bytes());
    } else if let Ok(word) = u32::try_from(argument) {
        out.push(major | 26);
        out.extend(word.to_be_bytes());
    } else {
        out.push(major | 27);
        out.extend(argument.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_comes_back_from_cbor_as_it_was() {
        for value in [
            json!({}),
            json!({ "a": 1, "b": [true, false, null], "c": { "d": "text" } }),
            json!([0, 23, 24, 255, 256, 65_535, 65_536, u64::MAX, -1, -24, -25, i64::MIN]),
            json!([0.5, 1e300, -2.25, 1.1]),
            json!("x".repeat(300)),
        ] {
            let cbor = json_to_cbor(&value);
            assert_eq!(cbor_to_json(&cbor, &Limits::default()).unwrap(), value);
        }
    }

    #[test]
    fn the_examples_of_the_specification_are_written_so() {
        // RFC 8949 appendix A.
        for (value, bytes) in [
            (json!(1_000_000), &[0x1A, 0x00, 0x0F, 0x42, 0x40][..]),
            (json!(-1_000), &[0x39, 0x03, 0xE7]),
            (json!(1.1), &[0xFB, 0x3F, 0xF1, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9A]),
            (json!(100_000.0), &[0xFA, 0x47, 0xC3, 0x50, 0x00]),
            (json!({ "a": 1, "b": [2, 3] }), &[0xA2, 0x61, 0x61, 0x01, 0x61, 0x62, 0x82, 0x02, 0x03]),
        ] {
            assert_eq!(json_to_cbor(&value), bytes, "{value}");
        }
    }

    #[test]
    fn j_26_cbor_that_json_could_not_say_is_refused() {
        for bad in [
            &[][..],
            &[0xF9, 0x7E, 0x00],
            &[0x41, 0x00],
            &[0xA2, 0x61, 0x61, 0x01, 0x61, 0x61, 0x02],
            &[0x9B, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
            &[0x9F],
            &[0x01, 0x01],
        ] {
            assert!(cbor_to_json(bad, &Limits::default()).is_err(), "{bad:02x?}");
        }
        assert!(cbor_to_json(&[0x81; 40], &Limits::default()).is_err(), "too deep");
    }
}
