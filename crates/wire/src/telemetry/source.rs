use super::TelemetryError;
use crate::json::{Reader, Token};
use std::borrow::Cow;

/// A document as a row of tokens: JSON or CBOR. [`Token::Object`] is followed
/// by `next_key` and `value` until there is no key, [`Token::Array`] by
/// `next_element` and `value` until there is no element.
pub(super) trait Source<'a>: Clone {
    fn value(&mut self) -> Result<Token<'a>, TelemetryError>;
    fn next_key(&mut self) -> Result<Option<Cow<'a, str>>, TelemetryError>;
    fn next_element(&mut self) -> Result<bool, TelemetryError>;
    /// Whether the next value is an object, without reading it.
    fn is_object_next(&mut self) -> bool;
    /// Nothing may follow the document.
    fn finish(&mut self) -> Result<(), TelemetryError>;
    /// Where the last value or key began.
    fn token_at(&self) -> usize;
}

impl<'a> Source<'a> for Reader<'a> {
    fn value(&mut self) -> Result<Token<'a>, TelemetryError> {
        Ok(Reader::value(self)?)
    }

    fn next_key(&mut self) -> Result<Option<Cow<'a, str>>, TelemetryError> {
        Ok(Reader::next_key(self)?)
    }

    fn next_element(&mut self) -> Result<bool, TelemetryError> {
        Ok(Reader::next_element(self)?)
    }

    fn is_object_next(&mut self) -> bool {
        self.peek() == Some(b'{')
    }

    fn finish(&mut self) -> Result<(), TelemetryError> {
        Ok(Reader::finish(self)?)
    }

    fn token_at(&self) -> usize {
        Reader::token_at(self)
    }
}
