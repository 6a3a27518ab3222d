//! Telemetry payloads to points: JSON, bare values, CBOR, SenML and InfluxDB
//! lines. Text and keys borrow from the payload where they can. Who may write
//! a point and where it goes is not decided here.

mod bare;
mod cbor;
mod error;
mod format;
mod json;
mod line;
mod senml;
mod source;
mod time;
mod value;
mod walk;

pub use bare::bare;
pub use cbor::cbor;
pub use error::{TelemetryError, TelemetryErrorKind};
pub use format::{Format, Payload, base_name_is_of, decode};
pub use json::json;
pub use line::{Line, Lines, Naming, Precision, line, lines};
pub use senml::{senml_cbor, senml_json};
pub use time::{DeviceClock, parse_duration, parse_rfc3339, parse_since, settle};
pub use value::{cbor_to_json, json_to_cbor};

use std::borrow::Cow;

/// One reading as the payload says it.
#[derive(Debug, Clone, PartialEq)]
pub struct Point<'a> {
    /// Nested names joined with dots. Never empty, no control characters, at
    /// most [`Limits::key_length_max`] bytes.
    pub key: Cow<'a, str>,
    /// Milliseconds since 1970 as the device says; see [`settle`].
    pub ts: Option<i64>,
    pub value: Value<'a>,
}

/// What a point says.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// Always finite.
    Number(f64),
    /// Written without point and exponent; all digits are kept.
    Integer(i64),
    /// Only what is above `i64::MAX`.
    Unsigned(u64),
    Boolean(bool),
    Text(Cow<'a, str>),
    /// NaN or infinity from a binary format: a time without a value.
    Gap,
}

impl Value<'_> {
    /// The same value, owning its text.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Value::Number(value) => Value::Number(value),
            Value::Integer(value) => Value::Integer(value),
            Value::Unsigned(value) => Value::Unsigned(value),
            Value::Boolean(value) => Value::Boolean(value),
            Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Value::Gap => Value::Gap,
        }
    }
}

/// What one payload may have at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Objects and arrays inside one another.
    pub depth_max: usize,
    /// Keys of one sample, which is what shares a time.
    pub keys_max: usize,
    /// Bytes of one key after flattening.
    pub key_length_max: usize,
    pub points_max: usize,
    /// Bytes of one text value.
    pub text_length_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth_max: 32,
            keys_max: 1_024,
            key_length_max: 256,
            points_max: 10_000,
            text_length_max: 65_536,
        }
    }
}

impl Limits {
    /// What every key must be, whatever format it came in.
    pub(crate) fn check_key(&self, key: &str, offset: usize) -> Result<(), TelemetryError> {
        if key.is_empty() {
            let detail = "a key is empty: name every value";
            return Err(TelemetryError::new(TelemetryErrorKind::BadKey, offset, detail));
        }
        if key.len() > self.key_length_max {
            let detail =
                format!("a key may have at most {} bytes, nested names included", self.key_length_max);
            return Err(TelemetryError::new(TelemetryErrorKind::TooLarge, offset, detail));
        }
        if key.bytes().any(|byte| byte.is_ascii_control()) {
            let detail = "a key may not contain control characters";
            return Err(TelemetryError::new(TelemetryErrorKind::BadKey, offset, detail));
        }
        Ok(())
    }

    pub(crate) fn check_text(&self, text: &str, offset: usize) -> Result<(), TelemetryError> {
        if text.len() <= self.text_length_max {
            return Ok(());
        }
        let detail = format!("a text may have at most {} bytes", self.text_length_max);
        Err(TelemetryError::new(TelemetryErrorKind::TooLarge, offset, detail))
    }

    /// Called before a point is kept; `count` is how many there are already.
    pub(crate) fn check_points(&self, count: usize, offset: usize) -> Result<(), TelemetryError> {
        if count < self.points_max {
            return Ok(());
        }
        let detail = format!("at most {} values fit one payload: send several", self.points_max);
        Err(TelemetryError::new(TelemetryErrorKind::TooLarge, offset, detail))
    }

    /// `count` is how many keys the sample has with this one.
    pub(crate) fn check_keys(&self, count: usize, offset: usize) -> Result<(), TelemetryError> {
        if count <= self.keys_max {
            return Ok(());
        }
        let detail = format!("a sample may have at most {} keys", self.keys_max);
        Err(TelemetryError::new(TelemetryErrorKind::TooLarge, offset, detail))
    }
}
