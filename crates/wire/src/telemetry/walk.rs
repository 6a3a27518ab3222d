//! The shapes a payload may have, whatever its format: an object of key and
//! value, `{"ts":…,"values":{…}}`, or an array of either.

use super::source::Source;
use super::{Limits, Point, TelemetryError, TelemetryErrorKind, Value, parse_rfc3339};
use crate::json::{Keys, Number, Token, duplicate};
use std::borrow::Cow;

/// The points of the document that `source` reads; see [`super::json()`].
pub(super) fn points<'a>(source: impl Source<'a>, limits: &Limits) -> Result<Vec<Point<'a>>, TelemetryError> {
    let mut walk = Walk { source, limits, points: Vec::new(), keys: Keys::default(), path: String::new() };
    match walk.source.value()? {
        Token::Object => walk.sample()?,
        Token::Array => {
            while walk.source.next_element()? {
                if walk.source.value()? != Token::Object {
                    return Err(walk.shape("an array must hold objects of key and value"));
                }
                walk.sample()?;
            }
        }
        _ => {
            // What follows a bare value decides which of two mistakes this is.
            walk.source.finish()?;
            return Err(walk.shape("is no object: send {\"key\":value} or an array of such"));
        }
    }
    walk.source.finish()?;
    Ok(walk.points)
}

struct Walk<'a, 'l, S> {
    source: S,
    limits: &'l Limits,
    points: Vec<Point<'a>>,
    /// The flattened names of the current sample, containers included.
    keys: Keys<'a>,
    /// The name of the container that is being read; empty at a sample's top.
    path: String,
}

/// What an object has turned out to be so far.
enum Form {
    Undecided,
    /// It has names other than `ts`.
    Flat,
    /// It has had its `values`; and the time, once that has been read.
    Timed(Option<Option<i64>>),
}

impl<'a, S: Source<'a>> Walk<'a, '_, S> {
    /// Reads an object whose brace has been read, at the top or in the top array.
    fn sample(&mut self) -> Result<(), TelemetryError> {
        self.keys.clear();
        let first = self.points.len();
        let mut form = Form::Undecided;
        let mut ts_source = None;
        while let Some(key) = self.source.next_key()? {
            let is_values = key == "values" && self.source.is_object_next();
            form = match form {
                Form::Timed(time) if key == "ts" => {
                    if time.is_some() {
                        return Err(duplicate(self.source.token_at(), "ts").into());
                    }
                    Form::Timed(Some(time_of(&mut self.source)?))
                }
                Form::Timed(_) if key == "values" => {
                    return Err(duplicate(self.source.token_at(), "values").into());
                }
                Form::Undecided if is_values => {
                    // Until now `ts` was taken for a key: read it again, as a time.
                    self.points.truncate(first);
                    self.keys.clear();
                    let time = ts_source.as_mut().map(time_of).transpose()?;
                    self.source.value()?;
                    self.members()?;
                    Form::Timed(time)
                }
                Form::Flat if is_values => return Err(self.beside_values()),
                Form::Timed(_) => return Err(self.beside_values()),
                Form::Undecided if key == "ts" => {
                    let source = self.source.clone();
                    self.member(key)?;
                    ts_source = Some(source);
                    Form::Undecided
                }
                Form::Undecided | Form::Flat => {
                    self.member(key)?;
                    Form::Flat
                }
            };
        }
        if let Form::Timed(Some(Some(ts))) = form {
            for point in self.points.iter_mut().skip(first) {
                point.ts = Some(ts);
            }
        }
        Ok(())
    }

    fn members(&mut self) -> Result<(), TelemetryError> {
        while let Some(key) = self.source.next_key()? {
            self.member(key)?;
        }
        Ok(())
    }

    fn elements(&mut self) -> Result<(), TelemetryError> {
        let mut index = 0_usize;
        while self.source.next_element()? {
            self.member(Cow::Owned(index.to_string()))?;
            index = index.saturating_add(1);
        }
        Ok(())
    }

    /// The value that follows the name `key` inside the current container.
    fn member(&mut self, key: Cow<'a, str>) -> Result<(), TelemetryError> {
        let offset = self.source.token_at();
        let key = if self.path.is_empty() { key } else { Cow::Owned(format!("{}.{key}", self.path)) };
        self.limits.check_key(&key, offset)?;
        if let Err(key) = self.keys.insert(key.clone()) {
            return Err(duplicate(offset, &key).into());
        }
        self.limits.check_keys(self.keys.len(), offset)?;
        let value = match self.source.value()? {
            Token::Object => return self.inside(key, Self::members),
            Token::Array => return self.inside(key, Self::elements),
            Token::Null => return Ok(()),
            Token::Text(text) => {
                self.limits.check_text(&text, self.source.token_at())?;
                Value::Text(text)
            }
            Token::Number(number) => number.into(),
            Token::Boolean(value) => Value::Boolean(value),
        };
        self.limits.check_points(self.points.len(), offset)?;
        self.points.push(Point { key, ts: None, value });
        Ok(())
    }

    fn inside(
        &mut self,
        path: Cow<'a, str>,
        read: fn(&mut Self) -> Result<(), TelemetryError>,
    ) -> Result<(), TelemetryError> {
        let outer = std::mem::replace(&mut self.path, path.into_owned());
        read(self)?;
        self.path = outer;
        Ok(())
    }

    fn shape(&self, detail: &'static str) -> TelemetryError {
        TelemetryError::new(TelemetryErrorKind::Shape, self.source.token_at(), detail)
    }

    fn beside_values(&self) -> TelemetryError {
        self.shape("beside an object called values only ts may stand: move the key into it")
    }
}

fn time_of<'a>(source: &mut impl Source<'a>) -> Result<Option<i64>, TelemetryError> {
    let time = match source.value()? {
        Token::Null => return Ok(None),
        Token::Number(Number::Integer(ts)) => Some(ts),
        Token::Number(Number::Float(ts)) => whole(ts),
        Token::Text(text) => parse_rfc3339(&text),
        _ => None,
    };
    let detail = "ts must be whole milliseconds since 1970 or a time such as \
                  \"2026-01-31T12:00:00.000Z\"";
    time.map(Some).ok_or_else(|| TelemetryError::new(TelemetryErrorKind::BadTime, source.token_at(), detail))
}

/// Some senders write milliseconds as `1.7e12`.
#[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53, so the integer is exact")]
fn whole(value: f64) -> Option<i64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    (value.fract() == 0.0 && value.abs() <= EXACT_MAX).then_some(value as i64)
}

impl From<Number> for Value<'_> {
    fn from(number: Number) -> Self {
        match number {
            Number::Integer(value) => Value::Integer(value),
            Number::Unsigned(value) => Value::Unsigned(value),
            Number::Float(value) if value.is_finite() => Value::Number(value),
            Number::Float(_) => Value::Gap,
        }
    }
}
