//! A strict JSON reader (RFC 8259) for input from outside. It refuses what
//! `serde_json` lets pass: a name given twice, numbers that lose digits, deep
//! nesting, long names. It builds no tree: telemetry is read from it directly,
//! and [`check`] stands in front of `serde_json` for all other bodies.

mod keys;
mod number;
mod reader;
mod text;

pub(crate) use keys::Keys;
pub(crate) use number::Number;
pub(crate) use reader::{Reader, Token};

use std::borrow::Cow;

/// What a document may have at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Objects and arrays inside one another.
    pub depth_max: usize,
    /// Names in one object.
    pub keys_max: usize,
    /// Bytes of one name, after unescaping.
    pub key_length_max: usize,
    /// Elements of one array.
    pub elements_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth_max: 32, keys_max: 1_024, key_length_max: 256, elements_max: 10_000 }
    }
}

/// What is wrong with a document; decides the status of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonErrorKind {
    /// Not JSON, or not UTF-8.
    Syntax,
    /// More nesting than allowed.
    TooDeep,
    /// A name twice in one object; escapes are resolved before comparing.
    DuplicateKey,
    /// An integer outside 64 bits, a number outside the doubles, or one of more than 512 characters.
    NumberOutOfRange,
    /// More names, longer names or more elements than allowed.
    TooLarge,
}

/// Why a document was refused, where, and what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail} (at byte {offset})")]
pub struct JsonError {
    pub kind: JsonErrorKind,
    /// Counted from 0.
    pub offset: usize,
    /// One sentence for the sender, without the offset.
    pub detail: Cow<'static, str>,
}

impl JsonError {
    pub(crate) fn new(kind: JsonErrorKind, offset: usize, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, offset, detail: detail.into() }
    }

    pub(crate) fn syntax(offset: usize, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(JsonErrorKind::Syntax, offset, detail)
    }

    /// `true`: the sender's document is not acceptable JSON (HTTP 400).
    /// `false`: it is, but we cannot keep what it says (HTTP 422).
    pub fn is_syntax(&self) -> bool {
        match self.kind {
            JsonErrorKind::Syntax | JsonErrorKind::TooDeep | JsonErrorKind::DuplicateKey => true,
            JsonErrorKind::NumberOutOfRange | JsonErrorKind::TooLarge => false,
        }
    }
}

/// Reads `bytes` as exactly one JSON document within `limits` and keeps nothing.
///
/// What passes can be given to `serde_json` and means the same there.
///
/// # Errors
/// The first thing that is not JSON or over a limit, with its offset.
pub fn check(bytes: &[u8], limits: &Limits) -> Result<(), JsonError> {
    let mut reader = Reader::open(bytes, limits.depth_max)?;
    let token = reader.value()?;
    check_value(&mut reader, &token, limits)?;
    reader.finish()
}

// Recursion is bounded: the reader refuses to open more than `depth_max` containers.
fn check_value<'a>(reader: &mut Reader<'a>, token: &Token<'a>, limits: &Limits) -> Result<(), JsonError> {
    match token {
        Token::Object => check_object(reader, limits),
        Token::Array => check_array(reader, limits),
        Token::Text(_) | Token::Number(_) | Token::Boolean(_) | Token::Null => Ok(()),
    }
}

fn check_object(reader: &mut Reader<'_>, limits: &Limits) -> Result<(), JsonError> {
    let mut keys = Keys::default();
    while let Some(key) = reader.next_key()? {
        let offset = reader.token_at();
        if key.len() > limits.key_length_max {
            let detail = format!("a name may have at most {} bytes", limits.key_length_max);
            return Err(JsonError::new(JsonErrorKind::TooLarge, offset, detail));
        }
        if let Err(key) = keys.insert(key) {
            return Err(duplicate(offset, &key));
        }
        if keys.len() > limits.keys_max {
            let detail = format!("an object may have at most {} names", limits.keys_max);
            return Err(JsonError::new(JsonErrorKind::TooLarge, offset, detail));
        }
        let token = reader.value()?;
        check_value(reader, &token, limits)?;
    }
    Ok(())
}

fn check_array(reader: &mut Reader<'_>, limits: &Limits) -> Result<(), JsonError> {
    let mut count = 0_usize;
    while reader.next_element()? {
        count = count.saturating_add(1);
        if count > limits.elements_max {
            let detail = format!("an array may have at most {} elements", limits.elements_max);
            return Err(JsonError::new(JsonErrorKind::TooLarge, reader.token_at(), detail));
        }
        let token = reader.value()?;
        check_value(reader, &token, limits)?;
    }
    Ok(())
}

pub(crate) fn duplicate(offset: usize, key: &str) -> JsonError {
    let detail = format!("{key:?} is given twice: give each name once");
    JsonError::new(JsonErrorKind::DuplicateKey, offset, detail)
}

#[cfg(test)]
mod tests;
