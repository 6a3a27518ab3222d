use crate::json::{JsonError, JsonErrorKind};
use std::borrow::Cow;

/// What is wrong with a payload; decides the status of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TelemetryErrorKind {
    /// Not a document of the format that was announced.
    Syntax,
    /// More nesting than allowed.
    TooDeep,
    /// One sample gives a key twice, also by escapes or by flattening.
    DuplicateKey,
    /// A well-formed document that is no telemetry, such as `null` or `"on"`.
    Shape,
    /// A key that is empty or has control characters.
    BadKey,
    /// More points, keys or bytes than allowed.
    TooLarge,
    /// An integer outside 64 bits or a number outside the doubles.
    NumberOutOfRange,
    /// A `ts` that is neither integer milliseconds nor an RFC 3339 time.
    BadTime,
}

/// Why a payload was refused, where, and what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail} (at byte {offset})")]
pub struct TelemetryError {
    pub kind: TelemetryErrorKind,
    /// Counted from 0.
    pub offset: usize,
    /// One sentence for the sender, without the offset.
    pub detail: Cow<'static, str>,
}

impl TelemetryError {
    pub(crate) fn new(kind: TelemetryErrorKind, offset: usize, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, offset, detail: detail.into() }
    }

    /// `true`: the payload cannot be read as announced (HTTP 400).
    /// `false`: it can, but we cannot keep what it says (HTTP 422).
    pub fn is_syntax(&self) -> bool {
        match self.kind {
            TelemetryErrorKind::Syntax
            | TelemetryErrorKind::TooDeep
            | TelemetryErrorKind::DuplicateKey
            | TelemetryErrorKind::Shape => true,
            TelemetryErrorKind::BadKey
            | TelemetryErrorKind::TooLarge
            | TelemetryErrorKind::NumberOutOfRange
            | TelemetryErrorKind::BadTime => false,
        }
    }
}

impl From<JsonError> for TelemetryError {
    fn from(error: JsonError) -> Self {
        let kind = match error.kind {
            JsonErrorKind::Syntax => TelemetryErrorKind::Syntax,
            JsonErrorKind::TooDeep => TelemetryErrorKind::TooDeep,
            JsonErrorKind::DuplicateKey => TelemetryErrorKind::DuplicateKey,
            JsonErrorKind::NumberOutOfRange => TelemetryErrorKind::NumberOutOfRange,
            JsonErrorKind::TooLarge => TelemetryErrorKind::TooLarge,
        };
        Self { kind, offset: error.offset, detail: error.detail }
    }
}
