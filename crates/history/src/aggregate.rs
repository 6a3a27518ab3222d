//! Many readings become one: buckets of time.
//!
//! Gaps count for nothing. `first`, `last` and `count` take any kind of value; `mean`, `min`,
//! `max` and `sum` take numbers, and booleans as 1 and 0, and pass over texts.

use std::time::Duration;

use roost_hub::reading::{Quality, Value};
use roost_hub::time::Timestamp;

use crate::columns::{Row, spelled};
use crate::query::Point;

/// What a bucket says about its readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// The sum divided by the count.
    Mean,
    /// The smallest number.
    Min,
    /// The largest number.
    Max,
    /// The sum; a whole number when all of them are.
    Sum,
    /// How many readings have a value.
    Count,
    /// The value of the earliest reading.
    First,
    /// The value of the latest reading.
    Last,
}

#[derive(Clone, Copy, Debug)]
enum Number {
    Whole(i128),
    Double(f64),
}

impl Number {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Boolean(value) => Some(Self::Whole(i128::from(*value))),
            Value::Integer(value) => Some(Self::Whole(i128::from(*value))),
            Value::Unsigned(value) => Some(Self::Whole(i128::from(*value))),
            Value::Number(value) => Some(Self::Double(*value)),
            Value::Text(_) | Value::Gap => None,
        }
    }

    fn double(self) -> f64 {
        match self {
            Self::Whole(value) => value as f64,
            Self::Double(value) => value,
        }
    }

    fn less_than(self, other: Self) -> bool {
        match (self, other) {
            (Self::Whole(one), Self::Whole(two)) => one < two,
            _ => self.double() < other.double(),
        }
    }

    fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Whole(one), Self::Whole(two)) => {
                one.checked_add(two).map_or(Self::Double(one as f64 + two as f64), Self::Whole)
            }
            _ => Self::Double(self.double() + other.double()),
        }
    }

    fn value(self) -> Value {
        match self {
            Self::Whole(value) => match (i64::try_from(value), u64::try_from(value)) {
                (Ok(value), _) => Value::Integer(value),
                (Err(_), Ok(value)) => Value::Unsigned(value),
                (Err(_), Err(_)) => Value::Number(value as f64),
            },
            // A sum of doubles can leave their range; there is no number to say then.
            Self::Double(value) if value.is_finite() => spelled(Value::Number(value)),
            Self::Double(_) => Value::Gap,
        }
    }
}

#[derive(Debug)]
struct Bucket {
    start: Timestamp,
    values: u64,
    numbers: u64,
    number: Option<Number>,
    value: Value,
}

impl Bucket {
    fn new(start: Timestamp) -> Self {
        Self { start, values: 0, numbers: 0, number: None, value: Value::Gap }
    }

    fn add(&mut self, aggregate: Aggregate, value: Value) {
        if value == Value::Gap {
            return;
        }
        self.values += 1;
        if let Some(number) = Number::of(&value) {
            self.numbers += 1;
            self.number = Some(match (aggregate, self.number) {
                (_, None) => number,
                (Aggregate::Min, Some(least)) => {
                    if number.less_than(least) {
                        number
                    } else {
                        least
                    }
                }
                (Aggregate::Max, Some(most)) => {
                    if most.less_than(number) {
                        number
                    } else {
                        most
                    }
                }
                (_, Some(sum)) => sum.plus(number),
            });
        }
        if aggregate == Aggregate::Last || self.values == 1 {
            self.value = value;
        }
    }

    fn point(self, aggregate: Aggregate) -> Point {
        let value = match aggregate {
            Aggregate::Mean => self
                .number
                .map_or(Value::Gap, |sum| Number::Double(sum.double() / self.numbers as f64).value()),
            Aggregate::Min | Aggregate::Max | Aggregate::Sum => self.number.map_or(Value::Gap, Number::value),
            Aggregate::Count => {
                i64::try_from(self.values).map_or(Value::Unsigned(self.values), Value::Integer)
            }
            Aggregate::First | Aggregate::Last => spelled(self.value),
        };
        Point { ts: self.start, value, quality: Quality::Good }
    }
}

/// Where a bucket starts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Width {
    /// All readings are one bucket that starts here.
    Whole(Timestamp),
    /// Buckets of this many milliseconds (at least one), aligned to 1970.
    Every(i64),
}

impl Width {
    pub(crate) fn every(every: Duration) -> Self {
        Self::Every(i64::try_from(every.as_millis()).unwrap_or(i64::MAX).max(1))
    }

    fn start(self, ts: Timestamp) -> Timestamp {
        match self {
            Self::Whole(start) => start,
            Self::Every(width) => Timestamp(ts.0.div_euclid(width).saturating_mul(width)),
        }
    }
}

/// The buckets of rows that come in the order of time; buckets without rows are left out.
pub(crate) struct Buckets<R> {
    rows: R,
    width: Width,
    aggregate: Aggregate,
    open: Option<Bucket>,
}

impl<R> Buckets<R> {
    pub(crate) fn new(rows: R, width: Width, aggregate: Aggregate) -> Self {
        Self { rows, width, aggregate, open: None }
    }
}

impl<E, R: Iterator<Item = Result<Row, E>>> Iterator for Buckets<R> {
    type Item = Result<Point, E>;

    fn next(&mut self) -> Option<Self::Item> {
        for row in self.rows.by_ref() {
            let row = match row {
                Ok(row) => row,
                Err(error) => return Some(Err(error)),
            };
            let start = self.width.start(row.ts);
            let full = self.open.take_if(|bucket| bucket.start != start);
            self.open.get_or_insert_with(|| Bucket::new(start)).add(self.aggregate, row.value);
            if let Some(full) = full {
                return Some(Ok(full.point(self.aggregate)));
            }
        }
        self.open.take().map(|last| Ok(last.point(self.aggregate)))
    }
}
