//! Scaled numbers without the dust of binary fractions: 0.1 × 3 is 0.3.

use crate::telemetry::Value;

/// More decimal places than this are not looked for.
const PLACES_MAX: u32 = 9;

/// `raw × scale + add`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Linear {
    scale: f64,
    add: f64,
    /// The same as whole numbers over a power of ten, where it can be said so.
    decimal: Option<Decimal>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Decimal {
    scale: i128,
    add: i128,
    /// 1 where the result is whole.
    divisor: u32,
}

impl Linear {
    /// Both finite.
    pub(super) fn new(scale: f64, add: f64) -> Self {
        let decimal = (0..=PLACES_MAX).find_map(|places| {
            let divisor = 10_u32.checked_pow(places)?;
            Some(Decimal { scale: scaled(scale, divisor)?, add: scaled(add, divisor)?, divisor })
        });
        Self { scale, add, decimal }
    }

    /// Whether whole numbers stay whole.
    pub(super) fn is_whole(self) -> bool {
        self.decimal.is_some_and(|decimal| decimal.divisor == 1)
    }

    pub(super) fn of_integer(self, raw: i128) -> Value<'static> {
        let exact = self.decimal.and_then(|decimal| {
            let numerator = raw.checked_mul(decimal.scale)?.checked_add(decimal.add)?;
            if decimal.divisor == 1 { integer(numerator) } else { Some(over(numerator, decimal.divisor)) }
        });
        exact.unwrap_or_else(|| self.of_float(raw as f64))
    }

    pub(super) fn of_float(self, raw: f64) -> Value<'static> {
        finite(raw * self.scale + self.add)
    }
}

/// The whole number that `number` is as a fraction of `divisor`, if it is exactly that.
fn scaled(number: f64, divisor: u32) -> Option<i128> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let divisor = f64::from(divisor);
    let numerator = (number * divisor).round();
    #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53, so the integer is exact")]
    let exact = (numerator.abs() <= EXACT_MAX && numerator / divisor == number).then_some(numerator as i128);
    exact
}

fn over(numerator: i128, divisor: u32) -> Value<'static> {
    finite(numerator as f64 / f64::from(divisor))
}

fn finite(number: f64) -> Value<'static> {
    if number.is_finite() { Value::Number(number) } else { Value::Gap }
}

/// A whole number as it is kept, where it has 64 bits.
pub(super) fn integer(number: i128) -> Option<Value<'static>> {
    let unsigned = || u64::try_from(number).ok().map(Value::Unsigned);
    i64::try_from(number).ok().map(Value::Integer).or_else(unsigned)
}
