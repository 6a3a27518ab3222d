//! One message: `[resource, action, object]`.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value as Json};

use crate::json::{Limits, check};
use crate::telemetry::Value;

/// The reader's own bound; how deep a configuration may be, the twin decides.
const DEPTH_MAX: usize = 127;
/// The most members of a presence or a hit.
const FIELDS_MAX: usize = 64;

/// A message of a Spot.
#[derive(Clone, Debug, PartialEq)]
pub struct Message<'a> {
    /// `hit`, `presence`, `config`, `spot`, or what newer firmware has.
    pub resource: Cow<'a, str>,
    /// `create`, `update`, `delete`.
    pub action: Cow<'a, str>,
    pub body: Body<'a>,
}

/// The third element.
#[derive(Clone, Debug, PartialEq)]
pub enum Body<'a> {
    /// Of presences and hits, of which there are many: the members with one value.
    Fields(Vec<Field<'a>>),
    /// Of everything else.
    Object(Map<String, Json>),
}

/// One member.
#[derive(Clone, Debug, PartialEq)]
pub struct Field<'a> {
    pub name: Cow<'a, str>,
    pub value: Value<'a>,
}

/// Why a message was not taken: no JSON, or not of this shape.
#[derive(Debug, thiserror::Error)]
#[error("a message is [resource, action, object]: {0}")]
pub struct MessageError(serde_json::Error);

/// Reads a message as [`super::Splitter`] gives it.
///
/// # Errors
/// [`MessageError`]; the next message is not concerned.
pub fn read(bytes: &[u8]) -> Result<Message<'_>, MessageError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let message = reader.deserialize_seq(Parts).map_err(MessageError)?;
    reader.end().map_err(MessageError)?;
    if let Body::Object(_) = message.body {
        // The tree that was read has only the last of a name that stands twice (J-03).
        let limits = Limits { depth_max: DEPTH_MAX, ..Limits::default() };
        check(bytes, &limits).map_err(|error| MessageError(serde_json::Error::custom(error)))?;
    }
    Ok(message)
}

impl Message<'_> {
    /// The text of a member of a presence or hit.
    pub fn text(&self, name: &str) -> Option<&str> {
        let Body::Fields(fields) = &self.body else { return None };
        match &fields.iter().find(|field| field.name == name)?.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number of a member of a presence or hit.
    pub fn integer(&self, name: &str) -> Option<i64> {
        let Body::Fields(fields) = &self.body else { return None };
        match &fields.iter().find(|field| field.name == name)?.value {
            Value::Integer(number) => Some(*number),
            _ => None,
        }
    }
}

struct Parts;

impl<'de> Visitor<'de> for Parts {
    type Value = Message<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of resource, action and object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Message<'de>, A::Error> {
        let short = || A::Error::custom("an array of three elements");
        let resource = parts.next_element_seed(Text)?.ok_or_else(short)?;
        let action = parts.next_element_seed(Text)?.ok_or_else(short)?;
        let body = if matches!(&*resource, "hit" | "presence") {
            Body::Fields(parts.next_element_seed(Fields)?.ok_or_else(short)?)
        } else {
            Body::Object(parts.next_element()?.ok_or_else(short)?)
        };
        if parts.next_element::<IgnoredAny>()?.is_some() {
            return Err(short());
        }
        Ok(Message { resource, action, body })
    }
}

/// A text, borrowed where nothing in it is escaped.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Cow<'de, str>, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

struct Fields;

impl<'de> DeserializeSeed<'de> for Fields {
    type Value = Vec<Field<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Vec<Field<'de>>, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields {
    type Value = Vec<Field<'de>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Vec<Field<'de>>, A::Error> {
        let mut fields: Vec<Field<'de>> = Vec::with_capacity(6);
        while let Some(name) = members.next_key_seed(Text)? {
            if fields.iter().any(|field| field.name == name) {
                return Err(A::Error::custom(format_args!("{name:?} is given twice")));
            }
            let value = members.next_value_seed(Scalar)?;
            if let Some(value) = value
                && fields.len() < FIELDS_MAX
            {
                fields.push(Field { name, value });
            }
        }
        Ok(fields)
    }
}

/// One value; `None` for null, arrays and objects.
struct Scalar;

impl<'de> DeserializeSeed<'de> for Scalar {
    type Value = Option<Value<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Scalar {
    type Value = Option<Value<'de>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Some(Value::Boolean(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Some(Value::Integer(value)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Some(i64::try_from(value).map_or(Value::Unsigned(value), Value::Integer)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(value.is_finite().then_some(Value::Number(value)))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Value::Text(Cow::Borrowed(text))))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Value::Text(Cow::Owned(text.to_owned()))))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}
