//! Reads a document token by token. Containers are walked by the caller:
//! [`Token::Object`] is followed by `next_key` until it gives none,
//! [`Token::Array`] by `next_element` until it says no.

use super::number::{self, NOT_A_NUMBER};
use super::{JsonError, JsonErrorKind, Number, text};
use std::borrow::Cow;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token<'a> {
    /// The brace has been read.
    Object,
    /// The bracket has been read.
    Array,
    Text(Cow<'a, str>),
    Number(Number),
    Boolean(bool),
    Null,
}

#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
    token_at: usize,
    depth: usize,
    depth_max: usize,
    /// A container has been entered and none of its members read.
    is_fresh: bool,
}

impl<'a> Reader<'a> {
    /// Checks the encoding of the whole document.
    pub(crate) fn open(bytes: &'a [u8], depth_max: usize) -> Result<Self, JsonError> {
        let hint = match bytes {
            [0xEF, 0xBB, 0xBF, ..] => "begins with a byte order mark: send UTF-8 without one",
            [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] | [_, 0, ..] | [0, _, ..] => "looks like UTF-16: send UTF-8",
            [] => "is empty: send a JSON document",
            _ => "",
        };
        if !hint.is_empty() {
            return Err(JsonError::syntax(0, hint));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let detail = "is not UTF-8: Latin-1 and other encodings are not JSON";
            JsonError::syntax(error.valid_up_to(), detail)
        })?;
        let mut reader = Self::over(text, depth_max);
        if reader.peek().is_none() {
            return Err(JsonError::syntax(0, "is empty: send a JSON document"));
        }
        Ok(reader)
    }

    pub(crate) fn over(text: &'a str, depth_max: usize) -> Self {
        Self { text, at: 0, token_at: 0, depth: 0, depth_max, is_fresh: false }
    }

    /// Where the last token or name began.
    pub(crate) fn token_at(&self) -> usize {
        self.token_at
    }

    /// The byte that the next token begins with.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        for byte in rest {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(*byte);
            }
            self.at = self.at.saturating_add(1);
        }
        None
    }

    pub(crate) fn value(&mut self) -> Result<Token<'a>, JsonError> {
        let next = self.peek();
        self.token_at = self.at;
        match next {
            Some(b'"') => self.string().map(Token::Text),
            Some(b'-' | b'0'..=b'9') => {
                let rest = self.text.get(self.at..).unwrap_or_default();
                let (number, length) = number::read(rest, self.at)?;
                self.at = self.at.saturating_add(length);
                Ok(Token::Number(number))
            }
            Some(b'{') => self.enter(Token::Object),
            Some(b'[') => self.enter(Token::Array),
            Some(b't') => self.word("true", Token::Boolean(true)),
            Some(b'f') => self.word("false", Token::Boolean(false)),
            Some(b'n') => self.word("null", Token::Null),
            _ => Err(self.unexpected("a value is expected here")),
        }
    }

    /// The next name of the object entered last, with its colon read; `None` at its end.
    pub(crate) fn next_key(&mut self) -> Result<Option<Cow<'a, str>>, JsonError> {
        if !self.advance(b'}')? {
            return Ok(None);
        }
        self.token_at = self.at;
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("a name in double quotes is expected here"));
        }
        let key = self.string()?;
        if self.peek() != Some(b':') {
            return Err(self.unexpected("a colon is expected after a name"));
        }
        self.at = self.at.saturating_add(1);
        Ok(Some(key))
    }

    /// Whether the array entered last has one more element, which `value` then reads.
    pub(crate) fn next_element(&mut self) -> Result<bool, JsonError> {
        let more = self.advance(b']')?;
        self.token_at = self.at;
        Ok(more)
    }

    /// Nothing but white space may follow the document.
    pub(crate) fn finish(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            None => Ok(()),
            Some(b'/' | b'#') => Err(self.unexpected("")),
            Some(_) => {
                let detail = "more follows after the end of the document: send one document, \
                              or one a line as application/x-ndjson";
                Err(JsonError::syntax(self.at, detail))
            }
        }
    }

    /// Past the comma to the next member; `false` past the container's end.
    fn advance(&mut self, close: u8) -> Result<bool, JsonError> {
        let is_fresh = std::mem::replace(&mut self.is_fresh, false);
        match (self.peek(), is_fresh) {
            (Some(byte), _) if byte == close => {
                self.at = self.at.saturating_add(1);
                self.depth = self.depth.saturating_sub(1);
                Ok(false)
            }
            (Some(_), true) => Ok(true),
            (Some(b','), false) => {
                let comma = self.at;
                self.at = self.at.saturating_add(1);
                match self.peek() {
                    Some(byte) if byte == close => {
                        let detail = "a comma before the end: remove it";
                        Err(JsonError::syntax(comma, detail))
                    }
                    _ => Ok(true),
                }
            }
            (Some(_), false) => Err(self.unexpected("a comma or the closing bracket is expected here")),
            (None, _) => Err(self.unexpected("")),
        }
    }

    fn enter(&mut self, token: Token<'a>) -> Result<Token<'a>, JsonError> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > self.depth_max {
            let detail = format!("is nested deeper than {} levels: flatten it", self.depth_max);
            return Err(JsonError::new(JsonErrorKind::TooDeep, self.at, detail));
        }
        self.at = self.at.saturating_add(1);
        self.is_fresh = true;
        Ok(token)
    }

    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        let (value, end) = text::read(self.text, self.at.saturating_add(1))?;
        self.at = end;
        Ok(value)
    }

    fn word(&mut self, word: &'static str, token: Token<'a>) -> Result<Token<'a>, JsonError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word) {
            return Err(self.unexpected("a value is expected here: true, false or null"));
        }
        self.at = self.at.saturating_add(word.len());
        Ok(token)
    }

    /// Names the common mistake behind the byte that stands here.
    fn unexpected(&self, otherwise: &'static str) -> JsonError {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let detail = match rest.as_bytes() {
            [] => "the document ends too early: a bracket or value is missing",
            [b'\'', ..] => "strings stand in double quotes, not single ones",
            [b'/' | b'#', ..] => "comments are not JSON: remove it",
            [b'+', ..] => "a number may not begin with a plus: leave it out",
            [b'.', ..] => "a number needs a digit before the point: 0.5",
            [b'N' | b'I', ..] | [b'n', b'a', ..] | [b'i', b'n', b'f', ..] => NOT_A_NUMBER,
            [b'T' | b'F', ..] => "true, false and null are written in lower case",
            [b'x' | b'X', ..] => "hexadecimal numbers are not JSON",
            _ => otherwise,
        };
        JsonError::syntax(self.at, detail)
    }
}
