//! Properties of Homie devices: what their payloads mean and what may be set.

use std::borrow::Cow;

use serde_json::{Map, Value as Json};

use super::super::document::{Readings, bare, point, short, text, text_of};
use super::super::{Unread, Unsayable, parse_json};
use crate::telemetry::{Point, Value};

/// Longer formats are not remembered; then nothing is checked by them.
const FORMAT_LENGTH_MAX: usize = 1_024;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Datatype {
    /// Nobody has said yet: a payload is read for what it looks like.
    #[default]
    Unknown,
    Integer,
    Float,
    Boolean,
    /// Text, also that of `enum`, `color`, `datetime` and `duration`.
    Text,
    Enum,
    Json,
}

impl Datatype {
    pub(super) fn of(name: &str) -> Self {
        match name {
            "integer" => Self::Integer,
            "float" | "percent" => Self::Float,
            "boolean" => Self::Boolean,
            "enum" => Self::Enum,
            "json" => Self::Json,
            "string" | "color" | "datetime" | "duration" => Self::Text,
            _ => Self::Unknown,
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Property {
    pub(super) datatype: Datatype,
    pub(super) format: String,
    pub(super) is_settable: bool,
    pub(super) name: Option<String>,
    pub(super) unit: Option<String>,
}

impl Property {
    /// From a description of version 5.
    pub(super) fn described(members: &Map<String, Json>) -> Self {
        let mut property = Self {
            datatype: text_of(members, "datatype").map(Datatype::of).unwrap_or_default(),
            is_settable: members.get("settable") == Some(&Json::Bool(true)),
            name: short(members, "name"),
            unit: short(members, "unit"),
            format: String::new(),
        };
        property.set_format(text_of(members, "format").unwrap_or_default());
        property
    }

    pub(super) fn set_format(&mut self, format: &str) {
        let format = if format.len() > FORMAT_LENGTH_MAX { "" } else { format };
        format.clone_into(&mut self.format);
    }

    /// What a payload of the property says. Empty where it has no value.
    pub(super) fn read<'a>(&self, key: String, payload: &'a [u8]) -> Result<Vec<Point<'a>>, Unread> {
        // MQTT takes an empty payload for a deletion, so an empty text is written as this byte.
        let payload = if payload == [0] { &[] } else { payload };
        let wrong = |what| Unread(Cow::Borrowed(what));
        let value = match self.datatype {
            Datatype::Json => {
                let mut readings = Readings::default();
                readings.add(&key, parse_json(payload)?)?;
                return readings.done();
            }
            Datatype::Unknown if payload.is_empty() => Value::Text(Cow::Borrowed("")),
            Datatype::Unknown if matches!(payload.first(), Some(b'{' | b'[')) => {
                let mut readings = Readings::default();
                readings.add(&key, parse_json(payload)?)?;
                return readings.done();
            }
            Datatype::Unknown => {
                return Ok(bare(payload)?.map(|value| point(key, value)).transpose()?.into_iter().collect());
            }
            Datatype::Integer => {
                let number =
                    text(payload)?.parse().map_err(|_no_integer| wrong("the value is no integer"))?;
                Value::Integer(number)
            }
            Datatype::Float => {
                Value::Number(float(text(payload)?).ok_or_else(|| wrong("the value is no number"))?)
            }
            Datatype::Boolean => match payload {
                b"true" => Value::Boolean(true),
                b"false" => Value::Boolean(false),
                _ => return Err(wrong("the value is neither true nor false")),
            },
            Datatype::Text | Datatype::Enum => {
                let text = std::str::from_utf8(payload).map_err(|_not_utf8| wrong("is not UTF-8"))?;
                Value::Text(Cow::Borrowed(text))
            }
        };
        Ok(vec![point(key, value)?])
    }

    /// The payload that sets the property.
    pub(super) fn payload(&self, params: &Json) -> Result<Vec<u8>, Unsayable> {
        let wrong = |what: &str| Unsayable(Cow::Owned(format!("params must be {what}")));
        let payload = match (self.datatype, params) {
            (_, Json::Null) => return Err(wrong("the value to set")),
            (Datatype::Json, value) => value.to_string(),
            (Datatype::Integer, Json::Number(number)) if number.is_i64() => number.to_string(),
            (Datatype::Integer, _) => return Err(wrong("an integer")),
            (Datatype::Float, Json::Number(number)) => number.to_string(),
            (Datatype::Float, _) => return Err(wrong("a number")),
            (Datatype::Boolean, Json::Bool(value)) => value.to_string(),
            (Datatype::Boolean, _) => return Err(wrong("true or false")),
            (Datatype::Text | Datatype::Enum, Json::String(text)) => text.clone(),
            (Datatype::Text | Datatype::Enum, _) => return Err(wrong("a text")),
            (Datatype::Unknown, Json::String(text)) => text.clone(),
            (Datatype::Unknown, value) => value.to_string(),
        };
        if !self.is_allowed(&payload) {
            return Err(Unsayable(Cow::Owned(format!("the device allows only {}", self.format))));
        }
        Ok(if payload.is_empty() { vec![0] } else { payload.into_bytes() })
    }

    fn is_allowed(&self, payload: &str) -> bool {
        match self.datatype {
            Datatype::Enum => self.format.is_empty() || self.format.split(',').any(|value| value == payload),
            Datatype::Integer | Datatype::Float => {
                let mut bounds = self.format.split(':').map(float);
                let (least, most) = (bounds.next().flatten(), bounds.next().flatten());
                let number = float(payload);
                number.is_some_and(|number| {
                    least.is_none_or(|least| number >= least) && most.is_none_or(|most| number <= most)
                })
            }
            _ => true,
        }
    }
}

/// A finite number in plain decimals.
fn float(text: &str) -> Option<f64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let number: f64 = text.parse().ok().filter(|_| is_plain)?;
    number.is_finite().then_some(number)
}
