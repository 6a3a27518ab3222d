//! A reading: one value of one key of one device at one time.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// What was measured. Integers keep all their digits; a number is an IEEE double.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number that was written as one.
    Integer(i64),
    /// A whole number beyond [`i64::MAX`].
    Unsigned(u64),
    /// Any other number; never infinite, never NaN.
    Number(f64),
    /// Text as it came.
    Text(Arc<str>),
    /// No value: a NaN from a binary format.
    Gap,
}

/// A value where it stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number that was written as one.
    Integer(i64),
    /// A whole number beyond [`i64::MAX`].
    Unsigned(u64),
    /// Any other number; never infinite, never NaN.
    Number(f64),
    /// Text as it came.
    Text(&'a str),
    /// No value.
    Gap,
}

impl<'a> From<&'a Value> for ValueRef<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Boolean(value) => Self::Boolean(*value),
            Value::Integer(value) => Self::Integer(*value),
            Value::Unsigned(value) => Self::Unsigned(*value),
            Value::Number(value) => Self::Number(*value),
            Value::Text(text) => Self::Text(text),
            Value::Gap => Self::Gap,
        }
    }
}

impl From<ValueRef<'_>> for Value {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Boolean(value) => Self::Boolean(value),
            ValueRef::Integer(value) => Self::Integer(value),
            ValueRef::Unsigned(value) => Self::Unsigned(value),
            ValueRef::Number(value) => Self::Number(value),
            ValueRef::Text(text) => Self::Text(Arc::from(text)),
            ValueRef::Gap => Self::Gap,
        }
    }
}

/// How far a reading can be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// As measured.
    #[default]
    Good,
    /// The device said so before; nobody has measured since.
    Stale,
    /// No value could be had.
    Bad,
    /// The device's time was impossible and was replaced by the time of arrival.
    Clock,
    /// The key held numbers before and now holds text, or the other way about.
    Kind,
}

/// One value of one key at one time; the device is known from where it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// The name of what is measured; nested objects flatten with dots.
    pub key: Arc<str>,
    /// When it was measured.
    pub ts: Timestamp,
    /// What was measured.
    pub value: Value,
    /// How far it can be trusted.
    pub quality: Quality,
}

/// A reading where it stands, in a record of the log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReadingRef<'a> {
    /// As in [`Reading`].
    pub key: &'a str,
    /// As in [`Reading`].
    pub ts: Timestamp,
    /// As in [`Reading`].
    pub value: ValueRef<'a>,
    /// As in [`Reading`].
    pub quality: Quality,
}

impl From<ReadingRef<'_>> for Reading {
    fn from(ReadingRef { key, ts, value, quality }: ReadingRef<'_>) -> Self {
        Self { key: Arc::from(key), ts, value: value.into(), quality }
    }
}
