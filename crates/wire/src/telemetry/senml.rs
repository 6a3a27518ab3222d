//! SenML (RFC 8428) in JSON and CBOR. Units are read over; sums become points.

use super::source::Source;
use super::{Limits, Payload, Point, TelemetryError, TelemetryErrorKind, Value, cbor};
use crate::json::{Keys, Number, Reader, Token, duplicate};
use std::borrow::Cow;

/// Times below this many seconds are relative to now, section 4.5.3.
const ABSOLUTE_FROM: f64 = 268_435_456.0;
/// The version of RFC 8428, section 4.4.
const VERSION: i64 = 10;

/// What a label is called in JSON, and its number in CBOR (section 6).
const LABELS: [(&str, &str, Label); 14] = [
    ("bn", "-2", Label::BaseName),
    ("bt", "-3", Label::BaseTime),
    ("bu", "-4", Label::Unit),
    ("bv", "-5", Label::BaseValue),
    ("bs", "-6", Label::BaseSum),
    ("bver", "-1", Label::BaseVersion),
    ("n", "0", Label::Name),
    ("u", "1", Label::Unit),
    ("v", "2", Label::Value),
    ("vs", "3", Label::Text),
    ("vb", "4", Label::Boolean),
    ("s", "5", Label::Sum),
    ("t", "6", Label::Time),
    ("vd", "8", Label::Text),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Label {
    BaseName,
    BaseTime,
    BaseValue,
    BaseSum,
    BaseVersion,
    Name,
    Unit,
    Value,
    Text,
    Boolean,
    Sum,
    Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spelling {
    Json,
    Cbor,
}

/// The points of a SenML pack in JSON. A point's key is its record's own name,
/// or the base name where that is all there is; base names are listed apart,
/// because they name the device: see [`Payload::base_names`]. A sum is a point
/// `{name}.sum`. `now` is in milliseconds since 1970, for relative times.
///
/// # Errors
/// The first thing that is no SenML or cannot be kept; then nothing is.
pub fn senml_json<'a>(bytes: &'a [u8], limits: &Limits, now: i64) -> Result<Payload<'a>, TelemetryError> {
    pack(Reader::open(bytes, limits.depth_max)?, Spelling::Json, limits, now)
}

/// The same in CBOR. Binary values (`vd`) are refused.
///
/// # Errors
/// As [`senml_json`].
pub fn senml_cbor<'a>(bytes: &'a [u8], limits: &Limits, now: i64) -> Result<Payload<'a>, TelemetryError> {
    pack(cbor::Reader::open(bytes, limits.depth_max)?, Spelling::Cbor, limits, now)
}

fn pack<'a>(
    mut source: impl Source<'a>,
    spelling: Spelling,
    limits: &Limits,
    now: i64,
) -> Result<Payload<'a>, TelemetryError> {
    if source.value()? != Token::Array {
        return Err(shape(&source, "is no SenML pack: send an array of records"));
    }
    let mut base = Base::default();
    let mut payload = Payload::default();
    while source.next_element()? {
        if source.value()? != Token::Object {
            return Err(shape(&source, "a SenML record must be an object"));
        }
        let offset = source.token_at();
        let record = record(&mut source, spelling, limits, &mut base)?;
        if payload.base_names.last() != Some(&base.name) && !base.name.is_empty() {
            limits.check_key(&base.name, offset)?;
            payload.base_names.push(base.name.clone());
        }
        keep(record, &base, &mut payload.points, Place { limits, now, offset })?;
    }
    source.finish()?;
    Ok(payload)
}

/// What earlier records have set for the later ones.
#[derive(Debug, Default)]
struct Base<'a> {
    name: Cow<'a, str>,
    /// Seconds.
    time: f64,
    value: Option<Number>,
    sum: Option<Number>,
}

#[derive(Debug, Default)]
struct Record<'a> {
    name: Cow<'a, str>,
    /// Seconds.
    time: f64,
    /// A number, text or boolean.
    value: Option<Token<'a>>,
    sum: Option<Number>,
}

/// What judging a record needs beside the record.
#[derive(Clone, Copy)]
struct Place<'l> {
    limits: &'l Limits,
    now: i64,
    offset: usize,
}

fn keep<'a>(
    record: Record<'a>,
    base: &Base<'a>,
    points: &mut Vec<Point<'a>>,
    place: Place<'_>,
) -> Result<(), TelemetryError> {
    let Place { limits, now, offset } = place;
    let name = if record.name.is_empty() { base.name.clone() } else { record.name };
    let value = match record.value {
        Some(Token::Number(number)) => Some(added(number, base.value, offset)?.into()),
        Some(Token::Text(text)) => Some(Value::Text(text)),
        Some(Token::Boolean(value)) => Some(Value::Boolean(value)),
        _ => None,
    };
    let sum = match record.sum {
        Some(sum) => Some((Cow::Owned(format!("{name}.sum")), added(sum, base.sum, offset)?.into())),
        None => None,
    };
    for (key, value) in value.map(|value| (name, value)).into_iter().chain(sum) {
        limits.check_key(&key, offset)?;
        limits.check_points(points.len(), offset)?;
        let ts = milliseconds(base.time + record.time, now, offset)?;
        points.push(Point { key, ts, value });
    }
    Ok(())
}

fn record<'a>(
    source: &mut impl Source<'a>,
    spelling: Spelling,
    limits: &Limits,
    base: &mut Base<'a>,
) -> Result<Record<'a>, TelemetryError> {
    let mut record = Record::default();
    let mut keys = Keys::default();
    while let Some(key) = source.next_key()? {
        let label = label(&key, spelling);
        if label.is_none() && key.ends_with('_') {
            let detail = format!("the SenML label {key} must be understood, and is not");
            return Err(TelemetryError::new(TelemetryErrorKind::Shape, source.token_at(), detail));
        }
        if let Err(key) = keys.insert(key) {
            return Err(duplicate(source.token_at(), &key).into());
        }
        limits.check_keys(keys.len(), source.token_at())?;
        let Some(label) = label else {
            skip(source)?;
            continue;
        };
        let token = source.value()?;
        match label {
            Label::BaseName => base.name = text(source, token)?,
            Label::BaseTime => base.time = seconds(source, &token)?,
            Label::BaseValue => base.value = Some(number(source, &token)?),
            Label::BaseSum => base.sum = Some(number(source, &token)?),
            Label::BaseVersion => match number(source, &token)? {
                Number::Integer(..=VERSION) => {}
                _ => return Err(shape(source, "this version of SenML is not understood")),
            },
            Label::Name => record.name = text(source, token)?,
            Label::Unit => drop(text(source, token)?),
            Label::Time => record.time = seconds(source, &token)?,
            Label::Sum => record.sum = Some(number(source, &token)?),
            Label::Value | Label::Text | Label::Boolean if record.value.is_some() => {
                return Err(shape(source, "a SenML record may have one value"));
            }
            Label::Value => record.value = Some(Token::Number(number(source, &token)?)),
            Label::Boolean => match token {
                Token::Boolean(_) => record.value = Some(token),
                _ => return Err(shape(source, "a SenML vb must be a boolean")),
            },
            Label::Text => {
                let text = text(source, token)?;
                limits.check_text(&text, source.token_at())?;
                record.value = Some(Token::Text(text));
            }
        }
    }
    Ok(record)
}

fn label(key: &str, spelling: Spelling) -> Option<Label> {
    LABELS.iter().find_map(|(json, cbor, label)| {
        let name = match spelling {
            Spelling::Json => json,
            Spelling::Cbor => cbor,
        };
        (*name == key).then_some(*label)
    })
}

/// Reads over one value. Recursion is bounded: the source refuses deep nesting.
fn skip<'a>(source: &mut impl Source<'a>) -> Result<(), TelemetryError> {
    match source.value()? {
        Token::Object => {
            while source.next_key()?.is_some() {
                skip(source)?;
            }
        }
        Token::Array => {
            while source.next_element()? {
                skip(source)?;
            }
        }
        Token::Text(_) | Token::Number(_) | Token::Boolean(_) | Token::Null => {}
    }
    Ok(())
}

fn text<'a>(source: &impl Source<'a>, token: Token<'a>) -> Result<Cow<'a, str>, TelemetryError> {
    match token {
        Token::Text(text) => Ok(text),
        _ => Err(shape(source, "a SenML label that takes a text has something else")),
    }
}

fn number<'a>(source: &impl Source<'a>, token: &Token<'a>) -> Result<Number, TelemetryError> {
    match token {
        Token::Number(number) => Ok(*number),
        _ => Err(shape(source, "a SenML label that takes a number has something else")),
    }
}

fn seconds<'a>(source: &impl Source<'a>, token: &Token<'a>) -> Result<f64, TelemetryError> {
    let seconds = match token {
        Token::Number(number) => as_double(*number),
        _ => f64::NAN,
    };
    if seconds.is_finite() {
        return Ok(seconds);
    }
    Err(bad_time(source.token_at()))
}

fn as_double(number: Number) -> f64 {
    match number {
        Number::Integer(value) => value as f64,
        Number::Unsigned(value) => value as f64,
        Number::Float(value) => value,
    }
}

/// Milliseconds since 1970; `None` for now.
#[expect(clippy::cast_possible_truncation, reason = "far below 2^53, so the rounded value is exact")]
fn milliseconds(seconds: f64, now: i64, offset: usize) -> Result<Option<i64>, TelemetryError> {
    if seconds == 0.0 {
        return Ok(None);
    }
    let milliseconds = (seconds * 1_000.0).round();
    if milliseconds.abs() > 9.0e15 {
        return Err(bad_time(offset));
    }
    let milliseconds = milliseconds as i64;
    let is_absolute = seconds >= ABSOLUTE_FROM;
    Ok(Some(if is_absolute { milliseconds } else { now.saturating_add(milliseconds) }))
}

/// A value with its base value: exact where both are integers.
fn added(value: Number, base: Option<Number>, offset: usize) -> Result<Number, TelemetryError> {
    let Some(base) = base else {
        return Ok(value);
    };
    let sum = match (value, base) {
        (Number::Integer(value), Number::Integer(base)) => value.checked_add(base).map(Number::Integer),
        _ => {
            let (value, base) = (as_double(value), as_double(base));
            let sum = value + base;
            // What is no number to begin with is a gap, not too large.
            let fits = sum.is_finite() || !value.is_finite() || !base.is_finite();
            fits.then_some(Number::Float(sum))
        }
    };
    let detail = "a value and its base value are too large together";
    let kind = TelemetryErrorKind::NumberOutOfRange;
    sum.ok_or_else(|| TelemetryError::new(kind, offset, detail))
}

fn shape<'a>(source: &impl Source<'a>, detail: &'static str) -> TelemetryError {
    TelemetryError::new(TelemetryErrorKind::Shape, source.token_at(), detail)
}

fn bad_time(offset: usize) -> TelemetryError {
    let detail = "a SenML time must be seconds, since 1970 or from now";
    TelemetryError::new(TelemetryErrorKind::BadTime, offset, detail)
}

#[cfg(test)]
mod tests;
