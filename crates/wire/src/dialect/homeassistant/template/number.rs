//! Arithmetic of templates.

use serde_json::Value as Json;

/// The digits after the point that can be asked for.
const DIGITS_MAX: i32 = 12;

/// The number that a value is or says.
pub(super) fn of(value: &Json) -> Option<f64> {
    let number = match value {
        Json::Number(number) => number.as_f64()?,
        Json::Bool(value) => f64::from(u8::from(*value)),
        Json::String(text) => {
            let text = text.trim();
            let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
            text.parse().ok().filter(|_| is_plain)?
        }
        _ => return None,
    };
    number.is_finite().then_some(number)
}

pub(super) fn float(number: f64) -> Option<Json> {
    serde_json::Number::from_f64(number).map(Json::Number)
}

/// Cut towards zero.
#[expect(clippy::cast_possible_truncation, reason = "below 2^53, so the integer is exact")]
pub(super) fn integer(number: f64) -> Option<Json> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    (number.abs() <= EXACT_MAX).then(|| Json::from(number.trunc() as i64))
}

/// To so many digits; to an integer where none are asked for.
#[expect(clippy::cast_possible_truncation, reason = "kept within the digits that are allowed")]
pub(super) fn round(number: f64, digits: Option<f64>) -> Option<Json> {
    let digits = digits.unwrap_or(0.0).clamp(0.0, f64::from(DIGITS_MAX)) as i32;
    if digits == 0 {
        return integer(number.round());
    }
    let scale = 10_f64.powi(digits);
    float((number * scale).round() / scale)
}

/// Whole numbers stay whole, but for a division.
pub(super) fn combine(one: &Json, sign: &str, other: &Json) -> Option<Json> {
    let (left, right) = (one.as_i64(), other.as_i64());
    if let (Some(left), Some(right)) = (left, right) {
        let whole = match sign {
            "+" => left.checked_add(right),
            "-" => left.checked_sub(right),
            "*" => left.checked_mul(right),
            "%" => left.checked_rem_euclid(right),
            _ => None,
        };
        if whole.is_some() {
            return whole.map(Json::from);
        }
    }
    // Text is not added up: only what is a number already.
    let number = |value: &Json| value.as_f64();
    let (left, right) = (number(one)?, number(other)?);
    float(match sign {
        "+" => left + right,
        "-" => left - right,
        "*" => left * right,
        "/" if right != 0.0 => left / right,
        "%" if right != 0.0 => left.rem_euclid(right),
        _ => return None,
    })
}
