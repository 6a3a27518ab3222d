//! CBOR (RFC 8949): what JSON can say, and NaN. Nothing is allocated by an
//! announced length, only by bytes that are there.

use super::source::Source;
use super::{Limits, Point, TelemetryError, TelemetryErrorKind, walk};
use crate::json::{Number, Token};
use std::borrow::Cow;

/// Tags in front of one value.
const TAGS_MAX: usize = 8;
/// A time as RFC 3339 text, section 3.4.1.
const TAG_TIME_TEXT: u64 = 0;
/// "This is CBOR", section 3.4.6.
const TAG_SELF_DESCRIBED: u64 = 55_799;

/// The points of a CBOR payload, in the same shapes as [`super::json()`]. Keys
/// are text, or integers in decimal; NaN and infinities are gaps; `undefined`
/// counts as null. Byte strings and tags other than 0 and 55799 are refused.
///
/// # Errors
/// As [`super::json()`].
pub fn cbor<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Vec<Point<'a>>, TelemetryError> {
    walk::points(Reader::open(bytes, limits.depth_max)?, limits)
}

#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    length: usize,
    token_at: usize,
    /// What is left of each open container, at most `depth_max` of them.
    open: Vec<Left>,
    depth_max: usize,
}

#[derive(Debug, Clone, Copy)]
enum Left {
    Members(u64),
    UntilBreak,
}

/// The first byte of an item and the number that goes with it, section 3.
#[derive(Debug, Clone, Copy)]
enum Head {
    Unsigned(u64),
    Negative(u64),
    Bytes,
    /// `None`: in chunks.
    Text(Option<u64>),
    Array(Option<u64>),
    Map(Option<u64>),
    Tag(u64),
    Float(f64),
    Boolean(bool),
    Null,
    Break,
}

impl<'a> Reader<'a> {
    pub(super) fn open(bytes: &'a [u8], depth_max: usize) -> Result<Self, TelemetryError> {
        let reader = Self { rest: bytes, length: bytes.len(), token_at: 0, open: Vec::new(), depth_max };
        if bytes.is_empty() {
            return Err(reader.syntax("is empty: send a CBOR map"));
        }
        Ok(reader)
    }

    fn at(&self) -> usize {
        self.length.saturating_sub(self.rest.len())
    }

    fn syntax(&self, detail: &'static str) -> TelemetryError {
        TelemetryError::new(TelemetryErrorKind::Syntax, self.at(), detail)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], TelemetryError> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            return Err(self.syntax("ends too early"));
        };
        self.rest = rest;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], TelemetryError> {
        let Some((taken, rest)) = self.rest.split_first_chunk() else {
            return Err(self.syntax("ends too early"));
        };
        self.rest = rest;
        Ok(*taken)
    }

    fn head(&mut self) -> Result<Head, TelemetryError> {
        let [first] = self.number()?;
        let (major, short) = (first >> 5, first & 0x1F);
        if major == 7 {
            return self.simple(short);
        }
        let argument = match short {
            0..=23 => Some(u64::from(short)),
            24 => Some(u64::from(u8::from_be_bytes(self.number()?))),
            25 => Some(u64::from(u16::from_be_bytes(self.number()?))),
            26 => Some(u64::from(u32::from_be_bytes(self.number()?))),
            27 => Some(u64::from_be_bytes(self.number()?)),
            31 if (2..=5).contains(&major) => None,
            _ => return Err(self.syntax("is no well-formed CBOR")),
        };
        Ok(match (major, argument) {
            (0, Some(value)) => Head::Unsigned(value),
            (1, Some(value)) => Head::Negative(value),
            (2, _) => Head::Bytes,
            (3, length) => Head::Text(length),
            (4, length) => Head::Array(length),
            (5, length) => Head::Map(length),
            (_, Some(tag)) => Head::Tag(tag),
            (_, None) => return Err(self.syntax("is no well-formed CBOR")),
        })
    }

    fn simple(&mut self, short: u8) -> Result<Head, TelemetryError> {
        Ok(match short {
            20 => Head::Boolean(false),
            21 => Head::Boolean(true),
            22 | 23 => Head::Null,
            25 => Head::Float(half(u16::from_be_bytes(self.number()?))),
            26 => Head::Float(f64::from(f32::from_be_bytes(self.number()?))),
            27 => Head::Float(f64::from_be_bytes(self.number()?)),
            31 => Head::Break,
            _ => return Err(self.syntax("a simple value other than true, false and null")),
        })
    }

    fn text(&mut self, length: Option<u64>) -> Result<Cow<'a, str>, TelemetryError> {
        let Some(length) = length else {
            return self.chunks().map(Cow::Owned);
        };
        let at = self.at();
        let bytes = self.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let at = at.saturating_add(error.valid_up_to());
            TelemetryError::new(TelemetryErrorKind::Syntax, at, "a text is not UTF-8")
        })?;
        Ok(Cow::Borrowed(text))
    }

    fn chunks(&mut self) -> Result<String, TelemetryError> {
        let mut text = String::new();
        loop {
            match self.head()? {
                Head::Text(Some(length)) => text.push_str(&self.text(Some(length))?),
                Head::Break => return Ok(text),
                _ => return Err(self.syntax("a text in chunks may hold only texts")),
            }
        }
    }

    fn enter(&mut self, count: Option<u64>) -> Result<(), TelemetryError> {
        if self.open.len() >= self.depth_max {
            let detail = format!("is nested deeper than {} levels: flatten it", self.depth_max);
            return Err(TelemetryError::new(TelemetryErrorKind::TooDeep, self.token_at, detail));
        }
        self.open.push(count.map_or(Left::UntilBreak, Left::Members));
        Ok(())
    }

    /// Whether the container entered last has one more member; leaves it otherwise.
    fn advance(&mut self) -> bool {
        self.token_at = self.at();
        let more = match self.open.last_mut() {
            Some(Left::Members(0)) | None => false,
            Some(Left::Members(left)) => {
                *left = left.saturating_sub(1);
                true
            }
            Some(Left::UntilBreak) => match self.rest.split_first() {
                Some((0xFF, rest)) => {
                    self.rest = rest;
                    false
                }
                _ => true,
            },
        };
        if !more {
            self.open.pop();
        }
        more
    }

    fn untagged(&mut self) -> Result<Head, TelemetryError> {
        for _ in 0..TAGS_MAX {
            match self.head()? {
                Head::Tag(TAG_TIME_TEXT | TAG_SELF_DESCRIBED) => {}
                Head::Tag(tag) => {
                    let detail = format!("tag {tag} is not understood: send the plain value");
                    let kind = TelemetryErrorKind::Shape;
                    return Err(TelemetryError::new(kind, self.token_at, detail));
                }
                head => return Ok(head),
            }
        }
        Err(self.syntax("a value has too many tags"))
    }
}

impl<'a> Source<'a> for Reader<'a> {
    fn value(&mut self) -> Result<Token<'a>, TelemetryError> {
        self.token_at = self.at();
        Ok(match self.untagged()? {
            Head::Unsigned(value) => Token::Number(Number::plus(value)),
            Head::Negative(value) => Token::Number(self.negative(value)?),
            Head::Float(value) => Token::Number(Number::Float(value)),
            Head::Text(length) => Token::Text(self.text(length)?),
            Head::Boolean(value) => Token::Boolean(value),
            Head::Null => Token::Null,
            Head::Array(count) => {
                self.enter(count)?;
                Token::Array
            }
            Head::Map(count) => {
                self.enter(count)?;
                Token::Object
            }
            Head::Bytes => {
                let detail = "a byte string is no value: send a text or an array of numbers";
                let kind = TelemetryErrorKind::Shape;
                return Err(TelemetryError::new(kind, self.token_at, detail));
            }
            Head::Break | Head::Tag(_) => {
                return Err(self.syntax("a break stands where a value is expected"));
            }
        })
    }

    fn next_key(&mut self) -> Result<Option<Cow<'a, str>>, TelemetryError> {
        if !self.advance() {
            return Ok(None);
        }
        let key = match self.head()? {
            Head::Text(length) => self.text(length)?,
            Head::Unsigned(value) => Cow::Owned(value.to_string()),
            Head::Negative(value) => match self.negative(value)? {
                Number::Integer(value) => Cow::Owned(value.to_string()),
                _ => return Err(self.syntax("a key must be a text or an integer")),
            },
            _ => return Err(self.syntax("a key must be a text or an integer")),
        };
        Ok(Some(key))
    }

    fn next_element(&mut self) -> Result<bool, TelemetryError> {
        Ok(self.advance())
    }

    fn is_object_next(&mut self) -> bool {
        let mut ahead = self.clone();
        matches!(ahead.untagged(), Ok(Head::Map(_)))
    }

    fn finish(&mut self) -> Result<(), TelemetryError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(self.syntax("more follows after the end of the document: send one document"))
    }

    fn token_at(&self) -> usize {
        self.token_at
    }
}

impl Reader<'_> {
    /// Major type 1 stands for `-1 - value`.
    fn negative(&self, value: u64) -> Result<Number, TelemetryError> {
        (-1_i64).checked_sub_unsigned(value).map(Number::Integer).ok_or_else(|| {
            let detail = "an integer must fit 64 bits";
            TelemetryError::new(TelemetryErrorKind::NumberOutOfRange, self.token_at, detail)
        })
    }
}

/// IEEE half precision, appendix D.
fn half(bits: u16) -> f64 {
    let exponent = i32::from((bits >> 10) & 0x1F);
    let mantissa = f64::from(bits & 0x3FF);
    let magnitude = match exponent {
        0 => mantissa * 2_f64.powi(-24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (mantissa + 1_024.0) * 2_f64.powi(exponent.saturating_sub(25)),
    };
    if bits & 0x8000 == 0 { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests;
