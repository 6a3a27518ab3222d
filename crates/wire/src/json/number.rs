//! JSON numbers: integers keep all their digits, the rest becomes a double.

use super::{JsonError, JsonErrorKind};

/// The longest double in plain decimals has about 330 characters.
const NUMBER_LENGTH_MAX: usize = 512;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    Integer(i64),
    /// Only what is too large for `Integer`.
    Unsigned(u64),
    /// Finite in JSON.
    Float(f64),
}

impl Number {
    pub(crate) fn plus(magnitude: u64) -> Self {
        i64::try_from(magnitude).map_or(Number::Unsigned(magnitude), Number::Integer)
    }
}

/// Reads the number at the start of `text`; gives it and its length in bytes.
/// `offset` is where `text` begins in the document, for errors.
pub(crate) fn read(text: &str, offset: usize) -> Result<(Number, usize), JsonError> {
    let bytes = text.as_bytes();
    let negative = bytes.first() == Some(&b'-');
    let sign = usize::from(negative);
    let (whole, magnitude) = digits(bytes, sign);
    let mut end = sign.saturating_add(whole);
    match (bytes.get(sign), whole) {
        (Some(b'I' | b'i' | b'N' | b'n'), 0) => {
            return Err(JsonError::syntax(offset, NOT_A_NUMBER));
        }
        (_, 0) => return Err(JsonError::syntax(offset, "a digit must follow the minus")),
        (Some(b'0'), 2..) => {
            let detail = "a number may not begin with 0: leave the leading zeros out";
            return Err(JsonError::syntax(offset, detail));
        }
        _ => {}
    }
    let mut is_integer = true;
    if bytes.get(end) == Some(&b'.') {
        is_integer = false;
        let (count, _) = digits(bytes, end.saturating_add(1));
        end = end.saturating_add(1).saturating_add(count);
        if count == 0 {
            let at = offset.saturating_add(end);
            return Err(JsonError::syntax(at, "a digit must follow the point: 1.0"));
        }
    }
    if let Some(b'e' | b'E') = bytes.get(end) {
        is_integer = false;
        end = end.saturating_add(1);
        if let Some(b'+' | b'-') = bytes.get(end) {
            end = end.saturating_add(1);
        }
        let (count, _) = digits(bytes, end);
        end = end.saturating_add(count);
        if count == 0 {
            let at = offset.saturating_add(end);
            return Err(JsonError::syntax(at, "a digit must follow the exponent's e"));
        }
    }
    let (number, detail) = if !is_integer {
        (float(text.get(..end).unwrap_or_default()), FLOAT_RANGE)
    } else if negative {
        (magnitude.and_then(minus), INTEGER_RANGE)
    } else {
        (magnitude.map(Number::plus), INTEGER_RANGE)
    };
    match number {
        Some(number) => Ok((number, end)),
        None => Err(JsonError::new(JsonErrorKind::NumberOutOfRange, offset, detail)),
    }
}

pub(crate) const NOT_A_NUMBER: &str = "NaN and Infinity are not JSON: leave the key out or send null";

const INTEGER_RANGE: &str = "an integer must fit 64 bits: send it as text or as a number with an exponent";
const FLOAT_RANGE: &str = "a number must fit a double: at most about 1.8e308, in at most 512 characters";

/// How many digits stand at `start`, and their value if it fits.
fn digits(bytes: &[u8], start: usize) -> (usize, Option<u64>) {
    let mut count = 0_usize;
    let mut value = Some(0_u64);
    for byte in bytes.get(start..).unwrap_or_default() {
        if !byte.is_ascii_digit() {
            break;
        }
        count = count.saturating_add(1);
        let digit = u64::from(byte.wrapping_sub(b'0'));
        value = value.and_then(|value| value.checked_mul(10)).and_then(|value| value.checked_add(digit));
    }
    (count, value)
}

fn minus(magnitude: u64) -> Option<Number> {
    if magnitude == 0 {
        // Only a double can tell `-0` from 0.
        return Some(Number::Float(-0.0));
    }
    0_i64.checked_sub_unsigned(magnitude).map(Number::Integer)
}

fn float(text: &str) -> Option<Number> {
    if text.len() > NUMBER_LENGTH_MAX {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    value.is_finite().then_some(Number::Float(value))
}
