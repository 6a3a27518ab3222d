//! What a value means, by its datatype (specification 3.0, section 6.4.16).

use std::borrow::Cow;

use serde_json::Value as Json;

use super::payload::Raw;
use crate::dialect::Unsayable;
use crate::telemetry::{Value, parse_rfc3339};

pub(super) const INT64: u32 = 4;
pub(super) const DOUBLE: u32 = 10;
pub(super) const BOOLEAN: u32 = 11;
pub(super) const STRING: u32 = 12;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Datatype {
    /// So many bits.
    Signed(u32),
    /// So many bits.
    Unsigned(u32),
    Float,
    Double,
    Boolean,
    Text,
    DateTime,
    /// Bytes, files, data sets, templates, arrays.
    Composed,
}

impl Datatype {
    fn of(code: u32) -> Option<Self> {
        Some(match code {
            1 => Self::Signed(8),
            2 => Self::Signed(16),
            3 => Self::Signed(32),
            4 => Self::Signed(64),
            5 => Self::Unsigned(8),
            6 => Self::Unsigned(16),
            7 => Self::Unsigned(32),
            8 => Self::Unsigned(64),
            9 => Self::Float,
            10 => Self::Double,
            11 => Self::Boolean,
            12 | 14 | 15 => Self::Text,
            13 => Self::DateTime,
            16..=34 => Self::Composed,
            _ => return None,
        })
    }

    fn words(self) -> Cow<'static, str> {
        match self {
            Self::Signed(bits) => Cow::Owned(format!("a whole number of {bits} bits")),
            Self::Unsigned(bits) => Cow::Owned(format!("a whole number of {bits} bits, not negative")),
            Self::Float | Self::Double => Cow::Borrowed("a number"),
            Self::Boolean => Cow::Borrowed("true or false"),
            Self::Text => Cow::Borrowed("a text"),
            Self::DateTime => Cow::Borrowed("milliseconds since 1970 or an RFC 3339 time"),
            Self::Composed => Cow::Borrowed("composed of several and cannot be written from here"),
        }
    }
}

/// A value that is one reading; `None` for what is composed.
pub(super) fn scalar<'a>(code: Option<u32>, raw: Raw<'a>) -> Option<Value<'a>> {
    let whole = |bits: u64| match code.and_then(Datatype::of) {
        Some(Datatype::Signed(width)) => Value::Integer(signed(bits, width)),
        Some(Datatype::Boolean) => Value::Boolean(bits != 0),
        _ => i64::try_from(bits).map_or(Value::Unsigned(bits), Value::Integer),
    };
    let finite = |value: f64| if value.is_finite() { Value::Number(value) } else { Value::Gap };
    Some(match raw {
        Raw::Int(value) => whole(value.into()),
        Raw::Long(value) => whole(value),
        Raw::Float(value) => finite(value.into()),
        Raw::Double(value) => finite(value),
        Raw::Boolean(value) => Value::Boolean(value),
        Raw::Text(value) => Value::Text(Cow::Borrowed(value)),
        Raw::Bytes(_) | Raw::DataSet(_) | Raw::Template(_) => return None,
    })
}

/// Two's complement in the low bits, whatever stands above them.
fn signed(bits: u64, width: u32) -> i64 {
    let above = 64_u32.saturating_sub(width);
    (bits << above).cast_signed() >> above
}

/// The value of a command as the metric's datatype wants it; where nobody knows it, as it comes.
pub(super) fn worded<'a>(
    name: &str,
    code: Option<u32>,
    value: &'a Json,
) -> Result<(u32, Raw<'a>), Unsayable> {
    let code = code.or_else(|| natural(value));
    let no = |words: &str| Unsayable(Cow::Owned(format!("{name} takes one value: it is {words}")));
    let code = code.ok_or_else(|| no("a number, true or false, or a text"))?;
    let datatype = Datatype::of(code).ok_or_else(|| no("of a datatype that is not known here"))?;
    let raw = match datatype {
        Datatype::Signed(64) => value.as_i64().map(|value| Raw::Long(value.cast_unsigned())),
        Datatype::Signed(width) => {
            let fits = |value: &i64| signed(value.cast_unsigned(), width) == *value;
            let value = value.as_i64().filter(fits).and_then(|value| i32::try_from(value).ok());
            value.map(|value| Raw::Int(value.cast_unsigned()))
        }
        Datatype::Unsigned(64) => value.as_u64().map(Raw::Long),
        Datatype::Unsigned(width) => {
            let value = value.as_u64().filter(|value| value >> width == 0);
            value.and_then(|value| u32::try_from(value).ok()).map(Raw::Int)
        }
        Datatype::Float => value.as_f64().map(single).filter(|value| value.is_finite()).map(Raw::Float),
        Datatype::Double => value.as_f64().map(Raw::Double),
        Datatype::Boolean => value.as_bool().map(Raw::Boolean),
        Datatype::Text => value.as_str().map(Raw::Text),
        Datatype::DateTime => {
            let of_text = || value.as_str().and_then(parse_rfc3339);
            let time = value.as_u64().or_else(|| u64::try_from(of_text()?).ok());
            time.map(Raw::Long)
        }
        Datatype::Composed => None,
    };
    Ok((code, raw.ok_or_else(|| no(&datatype.words()))?))
}

fn natural(value: &Json) -> Option<u32> {
    Some(match value {
        Json::Bool(_) => BOOLEAN,
        Json::Number(number) if number.is_f64() => DOUBLE,
        Json::Number(_) => INT64,
        Json::String(_) => STRING,
        Json::Null | Json::Array(_) | Json::Object(_) => return None,
    })
}

#[expect(clippy::cast_possible_truncation, reason = "the metric has no more digits; infinity is looked for")]
fn single(value: f64) -> f32 {
    value as f32
}
