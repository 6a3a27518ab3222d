//! JSON within bounds: what `serde_json` lets pass and a twin or a command must not hold.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The deepest nesting; a bare value has depth 0.
pub const JSON_DEPTH_MAX: usize = 32;
/// The most keys of one object.
pub const JSON_KEYS_MAX: usize = 1_024;
/// The longest key, in bytes.
pub const JSON_KEY_LENGTH_MAX: usize = 256;
/// The most elements of one array.
pub const JSON_ELEMENTS_MAX: usize = 10_000;

/// Why a JSON text or value was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJson {
    /// It is no JSON, or an object names a key twice; says where.
    #[error("{0}")]
    Syntax(String),
    /// It has more bytes than this.
    #[error("more than {0} bytes of JSON")]
    TooLarge(usize),
    /// [`JSON_DEPTH_MAX`]
    #[error("nested more than 32 deep")]
    TooDeep,
    /// [`JSON_KEYS_MAX`], [`JSON_KEY_LENGTH_MAX`] or [`JSON_ELEMENTS_MAX`]
    #[error("more than 1,024 keys in an object, 256 bytes in a key or 10,000 elements in an array")]
    TooMany,
}

/// Reads a JSON text of at most `bytes_max` bytes whose objects name no key twice.
pub(crate) fn parse(text: &[u8], bytes_max: usize) -> Result<Value, InvalidJson> {
    if text.len() > bytes_max {
        return Err(InvalidJson::TooLarge(bytes_max));
    }
    let syntax = |error: serde_json::Error| InvalidJson::Syntax(error.to_string());
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Unique.deserialize(&mut deserializer).map_err(syntax)?;
    deserializer.end().map_err(syntax)?;
    check_shape(&value, JSON_DEPTH_MAX)?;
    Ok(value)
}

/// Holds a value against the bounds, its size as compact JSON included.
pub(crate) fn check(value: &Value, bytes_max: usize) -> Result<(), InvalidJson> {
    check_shape(value, JSON_DEPTH_MAX)?;
    if size(value) > bytes_max { Err(InvalidJson::TooLarge(bytes_max)) } else { Ok(()) }
}

/// The length of the value as compact JSON, in bytes.
pub(crate) fn size(value: &impl serde::Serialize) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, value).expect("counting does not fail and keys are texts");
    count.0
}

fn check_shape(value: &Value, depth_left: usize) -> Result<(), InvalidJson> {
    let (children, fits): (Vec<&Value>, bool) = match value {
        Value::Array(elements) => (elements.iter().collect(), elements.len() <= JSON_ELEMENTS_MAX),
        Value::Object(fields) => {
            let keys_fit = fields.keys().all(|key| key.len() <= JSON_KEY_LENGTH_MAX);
            (fields.values().collect(), keys_fit && fields.len() <= JSON_KEYS_MAX)
        }
        _ => return Ok(()),
    };
    if !fits {
        return Err(InvalidJson::TooMany);
    }
    let depth_left = depth_left.checked_sub(1).ok_or(InvalidJson::TooDeep)?;
    children.into_iter().try_for_each(|child| check_shape(child, depth_left))
}

/// Reads a [`Value`], refusing an object that names a key twice.
struct Unique;

impl<'de> DeserializeSeed<'de> for Unique {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = access.next_element_seed(Unique)? {
            elements.push(element);
        }
        Ok(Value::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let value = access.next_value_seed(Unique)?;
            if fields.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key {key:?} stands twice in one object")));
            }
            fields.insert(key, value);
        }
        Ok(Value::Object(fields))
    }
}
