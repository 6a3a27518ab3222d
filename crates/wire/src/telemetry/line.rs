//! InfluxDB line protocol: `measurement,tag=v field=1.5,other=2i 1700000000000000000`.

mod each;

use super::{Limits, Point, TelemetryError, TelemetryErrorKind, Value};
use crate::json::{Keys, duplicate};
use each::named;
pub use each::{Line, Lines, Naming, lines};
use std::borrow::Cow;

/// The unit of the time at a line's end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Precision {
    #[default]
    Nanoseconds,
    Microseconds,
    Milliseconds,
    Seconds,
    Minutes,
    Hours,
}

impl Precision {
    /// `ns`, `us`, `ms`, `s`, `m` or `h`, as in InfluxDB's `precision` parameter.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "ns" | "n" => Precision::Nanoseconds,
            "us" | "u" => Precision::Microseconds,
            "ms" => Precision::Milliseconds,
            "s" => Precision::Seconds,
            "m" => Precision::Minutes,
            "h" => Precision::Hours,
            _ => return None,
        })
    }

    fn milliseconds(self, time: i64) -> i64 {
        match self {
            Precision::Nanoseconds => time.div_euclid(1_000_000),
            Precision::Microseconds => time.div_euclid(1_000),
            Precision::Milliseconds => time,
            Precision::Seconds => time.saturating_mul(1_000),
            Precision::Minutes => time.saturating_mul(60_000),
            Precision::Hours => time.saturating_mul(3_600_000),
        }
    }
}

/// The points of one or more lines. A field's key is `measurement.field`; tags
/// stand between, sorted, so that series that differ in a tag stay apart:
/// `room.name=bath.temp`. Numbers without `i` or `u` are doubles. Empty lines
/// and those beginning with `#` are left out.
///
/// # Errors
/// The first thing that is not line protocol or cannot be kept; then nothing is.
pub fn line<'a>(
    bytes: &'a [u8],
    precision: Precision,
    limits: &Limits,
) -> Result<Vec<Point<'a>>, TelemetryError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        TelemetryError::new(TelemetryErrorKind::Syntax, error.valid_up_to(), "is not UTF-8")
    })?;
    let mut cursor = Cursor { text, at: 0 };
    let mut points = Vec::new();
    loop {
        cursor.skip_any_of(b" \t\r\n");
        match cursor.peek() {
            None => break,
            Some(b'#') => cursor.skip_line(),
            Some(_) => drop(read_line(&mut cursor, precision, (limits, None), &mut points)?),
        }
    }
    if points.is_empty() {
        return Err(cursor.syntax("has no line: send measurement field=value"));
    }
    Ok(points)
}

/// Reads a line, and gives the value of the tag that names its device, where one may.
fn read_line<'a>(
    cursor: &mut Cursor<'a>,
    precision: Precision,
    (limits, naming): (&Limits, Option<Naming<'_>>),
    points: &mut Vec<Point<'a>>,
) -> Result<Option<String>, TelemetryError> {
    let (prefix, device) = prefix(cursor, limits, naming)?;
    let first = points.len();
    let mut keys = Keys::default();
    loop {
        let offset = cursor.at;
        let field = cursor.name(b",= \n");
        cursor.expect(b'=', "a field needs a name, = and a value")?;
        let key: Cow<'a, str> = Cow::Owned(format!("{prefix}.{field}"));
        if field.is_empty() {
            return Err(cursor.syntax("a field needs a name, = and a value"));
        }
        limits.check_key(&key, offset)?;
        if let Err(key) = keys.insert(key.clone()) {
            return Err(duplicate(offset, &key).into());
        }
        limits.check_keys(keys.len(), offset)?;
        limits.check_points(points.len(), offset)?;
        let value = value(cursor, limits)?;
        points.push(Point { key, ts: None, value });
        if cursor.peek() != Some(b',') {
            break;
        }
        cursor.skip();
    }
    cursor.skip_any_of(b" \t");
    let ts = time(cursor, precision)?;
    for point in points.iter_mut().skip(first) {
        point.ts = ts;
    }
    Ok(device)
}

/// Measurement and tags, up to the first field; the tag that names the device stands apart.
fn prefix(
    cursor: &mut Cursor<'_>,
    limits: &Limits,
    naming: Option<Naming<'_>>,
) -> Result<(String, Option<String>), TelemetryError> {
    let offset = cursor.at;
    let mut prefix = cursor.name(b", \n").into_owned();
    if prefix.is_empty() {
        return Err(cursor.syntax("a line begins with its measurement"));
    }
    let mut tags = Vec::new();
    while cursor.peek() == Some(b',') {
        cursor.skip();
        let tag = cursor.name(b",= \n");
        cursor.expect(b'=', "a tag needs a name, = and a value")?;
        let value = cursor.name(b",= \n");
        if tag.is_empty() || value.is_empty() {
            return Err(cursor.syntax("a tag needs a name, = and a value"));
        }
        tags.push((tag, value));
        limits.check_keys(tags.len(), cursor.at)?;
    }
    tags.sort_unstable();
    let device = naming.and_then(|names| named(&mut tags, names));
    for (tag, value) in tags {
        for part in [".", &tag, "=", &value] {
            prefix.push_str(part);
        }
    }
    limits.check_key(&prefix, offset)?;
    if cursor.peek() != Some(b' ') {
        return Err(cursor.syntax("a space and the fields must follow the measurement and tags"));
    }
    cursor.skip_any_of(b" \t");
    Ok((prefix, device))
}

fn value<'a>(cursor: &mut Cursor<'a>, limits: &Limits) -> Result<Value<'a>, TelemetryError> {
    let offset = cursor.at;
    if cursor.peek() == Some(b'"') {
        let text = cursor.quoted()?;
        limits.check_text(&text, offset)?;
        return Ok(Value::Text(text));
    }
    let word = cursor.word();
    let out_of_range = |detail| TelemetryError::new(TelemetryErrorKind::NumberOutOfRange, offset, detail);
    match word {
        "t" | "T" | "true" | "True" | "TRUE" => return Ok(Value::Boolean(true)),
        "f" | "F" | "false" | "False" | "FALSE" => return Ok(Value::Boolean(false)),
        _ => {}
    }
    let digits = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(integer) = word.strip_suffix('i')
        && digits(integer.strip_prefix(['-', '+']).unwrap_or(integer))
    {
        let value = integer.parse().map(Value::Integer);
        return value.or(Err(out_of_range("an integer must fit 64 bits")));
    }
    if let Some(integer) = word.strip_suffix('u')
        && digits(integer)
    {
        let value = integer.parse::<u64>();
        let value = value.or(Err(out_of_range("an unsigned integer must fit 64 bits")))?;
        return Ok(i64::try_from(value).map_or(Value::Unsigned(value), Value::Integer));
    }
    let is_number = word.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    match word.parse::<f64>() {
        Ok(number) if is_number && number.is_finite() => Ok(Value::Number(number)),
        Ok(_) if is_number => Err(out_of_range("a number must fit a double")),
        _ => {
            let detail = "a value must be 1.5, 2i, 3u, true, false or a \"text\" in quotes";
            Err(TelemetryError::new(TelemetryErrorKind::Syntax, offset, detail))
        }
    }
}

/// The time at a line's end, and the end itself.
fn time(cursor: &mut Cursor<'_>, precision: Precision) -> Result<Option<i64>, TelemetryError> {
    let offset = cursor.at;
    let ts = match cursor.word() {
        "" => None,
        word => {
            let time = word.parse::<i64>();
            let detail = "a line ends with its time, an integer, by default in nanoseconds";
            let error = TelemetryError::new(TelemetryErrorKind::BadTime, offset, detail);
            Some(precision.milliseconds(time.or(Err(error))?))
        }
    };
    cursor.skip_any_of(b" \t\r");
    match cursor.peek() {
        None | Some(b'\n') => Ok(ts),
        Some(_) => Err(cursor.syntax("nothing may follow a line's time")),
    }
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    fn skip(&mut self) {
        self.at = self.at.saturating_add(1).min(self.text.len());
    }

    fn skip_any_of(&mut self, any_of: &[u8]) {
        let count = self.rest().iter().take_while(|byte| any_of.contains(byte)).count();
        self.at = self.at.saturating_add(count);
    }

    fn skip_line(&mut self) {
        let count = self.rest().iter().take_while(|byte| **byte != b'\n').count();
        self.at = self.at.saturating_add(count);
    }

    fn expect(&mut self, byte: u8, detail: &'static str) -> Result<(), TelemetryError> {
        if self.peek() != Some(byte) {
            return Err(self.syntax(detail));
        }
        self.skip();
        Ok(())
    }

    fn syntax(&self, detail: &'static str) -> TelemetryError {
        TelemetryError::new(TelemetryErrorKind::Syntax, self.at, detail)
    }

    /// Up to what ends a bare value.
    fn word(&mut self) -> &'a str {
        let count = self.rest().iter().take_while(|byte| !b", \t\r\n".contains(byte)).count();
        let start = self.at;
        self.at = start.saturating_add(count);
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// Up to one of `ends` that has no backslash before it. A backslash only
    /// means something before a comma, an equals sign or a space.
    fn name(&mut self, ends: &[u8]) -> Cow<'a, str> {
        let start = self.at;
        let mut is_escaped = false;
        loop {
            match self.rest() {
                [b'\\', b',' | b'=' | b' ', ..] => {
                    is_escaped = true;
                    self.at = self.at.saturating_add(2);
                }
                [byte, ..] if !ends.contains(byte) => self.skip(),
                _ => break,
            }
        }
        let name = self.text.get(start..self.at).unwrap_or_default();
        if !is_escaped {
            return Cow::Borrowed(name);
        }
        Cow::Owned(name.replace("\\,", ",").replace("\\=", "=").replace("\\ ", " "))
    }

    /// A text in quotes, in which only quote and backslash are escaped.
    fn quoted(&mut self) -> Result<Cow<'a, str>, TelemetryError> {
        self.skip();
        let start = self.at;
        let mut is_escaped = false;
        loop {
            match self.rest() {
                [b'\\', b'"' | b'\\', ..] => {
                    is_escaped = true;
                    self.at = self.at.saturating_add(2);
                }
                [b'"', ..] => break,
                [_, ..] => self.skip(),
                [] => return Err(self.syntax("a text is not closed: add the quote")),
            }
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        self.skip();
        if !is_escaped {
            return Ok(Cow::Borrowed(text));
        }
        let mut owned = String::with_capacity(text.len());
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            let mut ahead = characters.clone();
            match (character, ahead.next()) {
                ('\\', Some(escaped @ ('"' | '\\'))) => {
                    owned.push(escaped);
                    characters = ahead;
                }
                _ => owned.push(character),
            }
        }
        Ok(Cow::Owned(owned))
    }
}

#[cfg(test)]
mod tests;
