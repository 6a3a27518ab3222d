//! From the JSON of a profile to a [`Decoder`]; docs/decoders.md describes it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::condition::{Condition, Of, Wanted};
use super::field::{At, Bits, ByteOrder, Field, Kind, Usage, bits};
use super::number::Linear;
use super::text::from_hex;
use super::{Decoder, FIELDS_MAX, Group, InvalidDecoder, Tagged};
use crate::telemetry::Limits;

/// The farthest place that a field may name, in bytes.
const PLACE_MAX: i32 = 65_535;
/// The longest text or byte string of a fixed length.
const LENGTH_MAX: usize = 1_024;
/// The most bytes of packed decimal digits; eighteen digits fit an integer.
const BCD_LENGTH_MAX: usize = 9;
const TAG_LENGTH_MAX: usize = 4;
const CONDITIONS_MAX: usize = 8;
/// The most values that a condition or `missing` lists.
const VALUES_MAX: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SaidDecoder {
    #[serde(default)]
    byte_order: ByteOrder,
    #[serde(default)]
    fields: Vec<Value>,
    tagged: Option<SaidTagged>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SaidTagged {
    /// Bytes of a tag.
    length: usize,
    /// By their tags in hexadecimal.
    groups: BTreeMap<String, Vec<Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SaidField {
    key: String,
    #[serde(rename = "type")]
    kind: String,
    at: Option<i32>,
    length: Option<usize>,
    byte_order: Option<ByteOrder>,
    bits: Option<SaidBits>,
    scale: Option<f64>,
    add: Option<f64>,
    #[serde(default)]
    missing: Vec<i128>,
    #[serde(default, rename = "use")]
    usage: Usage,
    when: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SaidBits {
    from: u32,
    #[serde(default = "one")]
    length: u32,
}

fn one() -> u32 {
    1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SaidCondition {
    byte: Option<i32>,
    field: Option<String>,
    port: Option<Value>,
    equals: Option<Value>,
}

impl Decoder {
    /// Reads and checks a declaration.
    ///
    /// # Errors
    /// [`InvalidDecoder`] names the field and says what to change.
    pub fn parse(declaration: &Value) -> Result<Self, InvalidDecoder> {
        let said = SaidDecoder::deserialize(declaration).map_err(|error| invalid("decoder", error))?;
        let mut making = Making { order: said.byte_order, ..Making::default() };
        let fields = making.list("decoder.fields", &said.fields)?;
        making.frame_end = making.known.len();
        let tagged = said.tagged.map(|tagged| making.tagged(&tagged)).transpose()?;
        if !making.has_values {
            return Err(invalid("decoder", "it makes no reading: list a field in `fields` or `tagged`"));
        }
        Ok(Self { fields, tagged, slots: making.known.len(), keys: making.keys.len() })
    }
}

/// What is known of the fields so far.
#[derive(Default)]
struct Making {
    order: ByteOrder,
    /// The different keys.
    keys: Vec<String>,
    /// The number of each field's key, by slot.
    known: Vec<usize>,
    /// How many of them are the frame's own; 0 while those are read.
    frame_end: usize,
    has_values: bool,
}

impl Making {
    fn tagged(&mut self, said: &SaidTagged) -> Result<Tagged, InvalidDecoder> {
        if !(1..=TAG_LENGTH_MAX).contains(&said.length) {
            let detail = format!("a tag has 1 to {TAG_LENGTH_MAX} bytes");
            return Err(invalid("decoder.tagged.length", detail));
        }
        let mut groups = Vec::new();
        for (tag, fields) in &said.groups {
            let place = format!("decoder.tagged.groups.{tag}");
            let is_hex = tag.bytes().all(|byte| byte.is_ascii_hexdigit());
            let bytes = from_hex(tag).filter(|bytes| is_hex && bytes.len() == said.length);
            let bytes = bytes.ok_or_else(|| {
                let digits = said.length * 2;
                invalid(place.as_str(), format!("write the tag as {digits} hexadecimal digits"))
            })?;
            let fields = self.list(&place, fields)?;
            if let Some(field) = fields.iter().find(|field| matches!(field.at, At::End(_))) {
                let detail =
                    format!("{}: in a group, `at` counts from the end of the tag, from 0", field.key);
                return Err(invalid(place, detail));
            }
            groups.push(Group { tag: bytes, fields });
        }
        groups.sort_by(|one, other| one.tag.cmp(&other.tag));
        if groups.windows(2).any(|pair| matches!(pair, [one, other] if one.tag == other.tag)) {
            return Err(invalid("decoder.tagged.groups", "a tag stands there twice"));
        }
        Ok(Tagged { length: said.length, groups })
    }

    fn list(&mut self, place: &str, said: &[Value]) -> Result<Vec<Field>, InvalidDecoder> {
        let start = self.known.len();
        let mut fields: Vec<Field> = Vec::new();
        for (index, said) in said.iter().enumerate() {
            let key = said.get("key").and_then(Value::as_str).unwrap_or_default();
            let key: String = key.chars().take(64).collect();
            let invalid = |detail: String| invalid(format!("{place}[{index}] {key:?}"), detail);
            if self.known.len() >= FIELDS_MAX {
                return Err(invalid(format!("a decoder has at most {FIELDS_MAX} fields")));
            }
            let said = SaidField::deserialize(said).map_err(|error| invalid(error.to_string()))?;
            let field = self.field(said, start).map_err(invalid)?;
            let is_always = |field: &Field| field.usage == Usage::Value && field.when.is_empty();
            if is_always(&field) && fields.iter().any(|other| other.key == field.key && is_always(other)) {
                return Err(invalid("the key is given twice; say `when` each is there".to_owned()));
            }
            self.has_values |= field.usage == Usage::Value;
            fields.push(field);
        }
        Ok(fields)
    }

    /// `start` is the first slot of the list in which the field stands.
    fn field(&mut self, said: SaidField, start: usize) -> Result<Field, String> {
        Limits::default().check_key(&said.key, 0).map_err(|error| error.detail.into_owned())?;
        let kind = kind(&said)?;
        let order = said.byte_order.unwrap_or(self.order);
        let is_odd = kind.is_number() && kind.length().is_some_and(|length| length > 1 && length % 2 == 1);
        if order.is_swapped() && is_odd {
            return Err("swapped words have two bytes each: take a type of 2, 4, 6 or 8 bytes".to_owned());
        }
        let field = Field {
            slot: self.known.len(),
            key_number: self.key_number(&said.key),
            at: place(said.at)?,
            kind,
            order,
            bits: said.bits.as_ref().map(|said| part(said, kind)).transpose()?,
            linear: linear(&said, kind)?,
            usage: said.usage,
            when: said.when.map(|when| self.conditions(when, start)).transpose()?.unwrap_or_default(),
            missing: said.missing,
            key: said.key,
        };
        if !field.missing.is_empty() && !kind.is_integer() {
            return Err("`missing` is for whole numbers".to_owned());
        }
        if field.missing.len() > VALUES_MAX {
            return Err(format!("`missing` lists at most {VALUES_MAX} numbers"));
        }
        let is_whole = field.linear.is_none_or(Linear::is_whole);
        if matches!(field.usage, Usage::Seconds | Usage::Milliseconds) && !(kind.is_integer() && is_whole) {
            return Err("a time is a whole number".to_owned());
        }
        self.known.push(field.key_number);
        Ok(field)
    }

    fn key_number(&mut self, key: &str) -> usize {
        self.keys.iter().position(|known| known == key).unwrap_or_else(|| {
            self.keys.push(key.to_owned());
            self.keys.len() - 1
        })
    }

    fn conditions(&self, when: Value, start: usize) -> Result<Vec<Condition>, String> {
        let all = match when {
            Value::Array(all) => all,
            one => vec![one],
        };
        if all.len() > CONDITIONS_MAX {
            return Err(format!("`when` has at most {CONDITIONS_MAX} conditions"));
        }
        all.iter().map(|said| self.condition(said, start)).collect()
    }

    fn condition(&self, said: &Value, start: usize) -> Result<Condition, String> {
        let said = SaidCondition::deserialize(said).map_err(|error| format!("`when`: {error}"))?;
        let (of, equals) = match (said.byte, said.field, said.port, said.equals) {
            (Some(byte), None, None, Some(equals)) => {
                place(Some(byte))?;
                (Of::Byte(byte), equals)
            }
            (None, Some(key), None, Some(equals)) => (Of::Field(self.earlier(&key, start)?), equals),
            (None, None, Some(port), None) => (Of::Port, port),
            _ => {
                return Err("`when`: write {\"byte\": 0, \"equals\": 1}, {\"field\": \"kind\", \
                            \"equals\": 1} or {\"port\": 2}"
                    .to_owned());
            }
        };
        Ok(Condition { of, equals: wanted(equals)? })
    }

    /// The slots of what a field of the list may look at: the frame's fields and those of its own list.
    fn earlier(&self, key: &str, start: usize) -> Result<Vec<usize>, String> {
        let number = self.keys.iter().position(|known| known == key);
        let slots: Vec<usize> = (0..self.known.len())
            .filter(|slot| *slot < self.frame_end || *slot >= start)
            .filter(|slot| number.is_some() && self.known.get(*slot).copied() == number)
            .collect();
        if slots.is_empty() {
            return Err(format!("`when`: no field {key:?} stands before this one"));
        }
        Ok(slots)
    }
}

fn place(at: Option<i32>) -> Result<At, String> {
    let Some(at) = at else { return Ok(At::After) };
    if at.abs() > PLACE_MAX {
        return Err(format!("a place is at most {PLACE_MAX}"));
    }
    let distance = usize::try_from(at.unsigned_abs()).unwrap_or_default();
    Ok(if at < 0 { At::End(distance) } else { At::Start(distance) })
}

fn kind(said: &SaidField) -> Result<Kind, String> {
    let width = |digits: &str| {
        let width: usize = digits.parse().ok()?;
        (width.is_multiple_of(8) && (8..=64).contains(&width)).then_some(width / 8)
    };
    let fixed = match said.kind.as_str() {
        "f32" => Some(Kind::Single),
        "f64" => Some(Kind::Double),
        "bool" => Some(Kind::Boolean),
        other => match other.split_at_checked(1) {
            Some(("u", digits)) => width(digits).map(Kind::Unsigned),
            Some(("i", digits)) => width(digits).map(Kind::Signed),
            _ => None,
        },
    };
    if said.length.is_some_and(|length| !(1..=LENGTH_MAX).contains(&length)) {
        return Err(format!("`length` is 1 to {LENGTH_MAX} bytes"));
    }
    match (fixed, said.kind.as_str(), said.length) {
        (Some(kind), _, None) => Ok(kind),
        (Some(_), name, Some(_)) => Err(format!("{name} has no `length`: its name says it")),
        (None, "text", length) => Ok(Kind::Text(length)),
        (None, "hex", length) => Ok(Kind::Hex(length)),
        (None, "bcd", Some(length)) if length <= BCD_LENGTH_MAX => Ok(Kind::Bcd(length)),
        (None, "bcd", _) => Err(format!("bcd has a `length` of 1 to {BCD_LENGTH_MAX} bytes")),
        (None, name, _) => Err(format!(
            "there is no type {name:?}: write u8, i8, u16 … u64, i64, f32, f64, bool, text, hex or bcd"
        )),
    }
}

fn part(said: &SaidBits, kind: Kind) -> Result<Bits, String> {
    let room = kind.length().filter(|_| kind.has_bits()).map(bits);
    let room = room.ok_or("only whole numbers and bool have `bits`")?;
    let fits = said.length >= 1 && said.from.checked_add(said.length).is_some_and(|end| end <= room);
    if !fits {
        return Err(format!("`bits`: `from` counts from 0, and both together are at most {room}"));
    }
    Ok(Bits { from: said.from, length: said.length })
}

fn linear(said: &SaidField, kind: Kind) -> Result<Option<Linear>, String> {
    let (scale, add) = match (said.scale, said.add) {
        (None, None) => return Ok(None),
        (scale, add) => (scale.unwrap_or(1.0), add.unwrap_or(0.0)),
    };
    if !kind.is_number() {
        return Err("`scale` and `add` are for numbers".to_owned());
    }
    if scale == 0.0 || !scale.is_finite() || !add.is_finite() {
        return Err("`scale` is a number other than 0".to_owned());
    }
    Ok(Some(Linear::new(scale, add)))
}

fn wanted(equals: Value) -> Result<Vec<Wanted>, String> {
    let all = match equals {
        Value::Array(all) => all,
        one => vec![one],
    };
    if all.is_empty() || all.len() > VALUES_MAX {
        return Err(format!("`equals` is one value or a list of at most {VALUES_MAX}"));
    }
    let wanted = |value: Value| match value {
        Value::Bool(value) => Some(Wanted::Boolean(value)),
        Value::String(text) => Some(Wanted::Text(text)),
        Value::Number(number) => {
            let unsigned = number.as_u64().map(i128::from);
            unsigned.or_else(|| number.as_i64().map(i128::from)).map(Wanted::Integer)
        }
        _ => None,
    };
    let all: Option<Vec<Wanted>> = all.into_iter().map(wanted).collect();
    all.ok_or_else(|| "`equals`: compare with whole numbers, texts, true or false".to_owned())
}

fn invalid(place: impl Into<String>, detail: impl ToString) -> InvalidDecoder {
    InvalidDecoder { place: place.into(), detail: detail.to_string() }
}
