//! What the families have in common: JSON that becomes points, values that become payloads, names that
//! stand in topics.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::{Map, Value as Json};

use super::{Outgoing, Twin, Unread, Unsayable, parse_json};
use crate::mqtt;
use crate::telemetry::{self, Limits, Point, Value};

/// The longest topic that a command is published to, in bytes.
const TOPIC_LENGTH_MAX: usize = 1_024;

/// A payload that must be a JSON object.
pub(super) fn object(payload: &[u8]) -> Result<Map<String, Json>, Unread> {
    match parse_json(payload)? {
        Json::Object(members) => Ok(members),
        _ => Err(Unread(Cow::Borrowed("the payload is no JSON object"))),
    }
}

/// The payload as text without white space around it.
pub(super) fn text(payload: &[u8]) -> Result<&str, Unread> {
    let text = std::str::from_utf8(payload).map_err(|_not_utf8| Unread(Cow::Borrowed("is not UTF-8")))?;
    Ok(text.trim_matches([' ', '\t', '\r', '\n']))
}

/// One value as it stands in a payload: a number, `true`, a JSON string or other text.
pub(super) fn bare(payload: &[u8]) -> Result<Option<Value<'_>>, Unread> {
    telemetry::bare(payload, &Limits::default()).map_err(|error| Unread(Cow::Owned(error.to_string())))
}

/// Whether it says that there is no value, as the C library prints it.
pub(super) fn is_not_a_number(payload: &[u8]) -> bool {
    let word = payload.strip_prefix(b"-").unwrap_or(payload);
    word.eq_ignore_ascii_case(b"nan") || word.eq_ignore_ascii_case(b"inf")
}

/// Names, units and labels that are longer are not remembered, in bytes.
const TEXT_LENGTH_MAX: usize = 256;

/// Points under construction from JSON: objects flatten to `outer.inner`, arrays to `outer.0`, null is
/// left out.
#[derive(Default)]
pub(super) struct Readings {
    ts: Option<i64>,
    points: Vec<Point<'static>>,
    /// Only kept once a name has a dot in it, which alone can make two paths one.
    has_dots: bool,
}

impl Readings {
    /// All points have this time, in milliseconds since 1970.
    pub(super) fn at(ts: Option<i64>) -> Self {
        Self { ts, ..Self::default() }
    }

    /// Adds what `value` holds under `path`.
    // The depth is bounded by that of `parse_json`.
    pub(super) fn add(&mut self, path: &str, value: Json) -> Result<(), Unread> {
        let value = match value {
            Json::Object(members) => return self.add_members(path, members),
            Json::Array(elements) => {
                for (index, element) in elements.into_iter().enumerate() {
                    self.add(&format!("{path}.{index}"), element)?;
                }
                return Ok(());
            }
            Json::Null => return Ok(()),
            Json::Bool(value) => Value::Boolean(value),
            Json::Number(number) => number_of(&number),
            Json::String(text) => Value::Text(Cow::Owned(text)),
        };
        self.push(path, value)
    }

    /// Adds the members of an object; `path` is empty at the top.
    pub(super) fn add_members(&mut self, path: &str, members: Map<String, Json>) -> Result<(), Unread> {
        for (name, member) in members {
            self.has_dots |= name.contains('.');
            if path.is_empty() {
                self.add(&name, member)?;
            } else {
                self.add(&format!("{path}.{name}"), member)?;
            }
        }
        Ok(())
    }

    fn push(&mut self, path: &str, value: Value<'static>) -> Result<(), Unread> {
        let limits = Limits::default();
        let checked = limits.check_key(path, 0).and_then(|()| limits.check_points(self.points.len(), 0));
        let checked = checked.and_then(|()| match &value {
            Value::Text(text) => limits.check_text(text, 0),
            _ => Ok(()),
        });
        checked.map_err(|error| Unread(error.detail))?;
        self.points.push(Point { key: Cow::Owned(path.to_owned()), ts: self.ts, value });
        Ok(())
    }

    pub(super) fn done(self) -> Result<Vec<Point<'static>>, Unread> {
        if self.has_dots {
            let mut seen = HashSet::new();
            if let Some(twice) = self.points.iter().find(|point| !seen.insert(&*point.key)) {
                return Err(Unread(Cow::Owned(format!("{:?} is given twice", twice.key))));
            }
        }
        Ok(self.points)
    }
}

fn number_of(number: &serde_json::Number) -> Value<'static> {
    match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(value), _, _) => Value::Integer(value),
        (None, Some(value), _) => Value::Unsigned(value),
        (None, None, Some(value)) if value.is_finite() => Value::Number(value),
        _ => Value::Gap,
    }
}

/// One point, where the key can be one.
pub(super) fn point<'a>(key: impl Into<Cow<'a, str>>, value: Value<'a>) -> Result<Point<'a>, Unread> {
    let key = key.into();
    Limits::default().check_key(&key, 0).map_err(|error| Unread(error.detail))?;
    Ok(Point { key, ts: None, value })
}

/// The same value as JSON; a gap is null.
pub(super) fn json_of(value: &Value<'_>) -> Json {
    match value {
        Value::Number(number) => Json::from(*number),
        Value::Integer(number) => Json::from(*number),
        Value::Unsigned(number) => Json::from(*number),
        Value::Boolean(value) => Json::Bool(*value),
        Value::Text(text) => Json::String(text.clone().into_owned()),
        Value::Gap => Json::Null,
    }
}

/// What a parameter looks like as a bare payload: text as it stands, null as nothing, the rest as JSON.
pub(super) fn payload_of(params: &Json) -> Vec<u8> {
    match params {
        Json::Null => Vec::new(),
        Json::String(text) => text.clone().into_bytes(),
        other => other.to_string().into_bytes(),
    }
}

/// A text member.
pub(super) fn text_of<'j>(members: &'j Map<String, Json>, name: &str) -> Option<&'j str> {
    members.get(name).and_then(Json::as_str)
}

/// A text member that is short enough to be remembered.
pub(super) fn short(members: &Map<String, Json>, name: &str) -> Option<String> {
    text_of(members, name).filter(|text| text.len() <= TEXT_LENGTH_MAX).map(str::to_owned)
}

/// `text` as one level of a topic.
pub(super) fn level(text: &str) -> String {
    const LENGTH_MAX: usize = 128;
    let allowed = |letter: char| if letter.is_control() || "/+#".contains(letter) { '_' } else { letter };
    let level: String = text.chars().take(LENGTH_MAX).map(allowed).collect();
    if level.is_empty() { "_".to_owned() } else { level }
}

/// A message that is not retained.
pub(super) fn outgoing(topic: String, payload: Vec<u8>) -> Result<Outgoing, Unsayable> {
    if topic.len() > TOPIC_LENGTH_MAX || !mqtt::name_is_valid(&topic) {
        return Err(Unsayable(Cow::Borrowed(
            "the name makes no topic: leave out +, # and control characters",
        )));
    }
    Ok(Outgoing { topic, payload, retain: false })
}

/// What is wished and not so yet, member by member.
pub(super) fn wishes<'t>(twin: &Twin<'t>) -> impl Iterator<Item = (&'t str, &'t Json)> {
    let reported = twin.reported;
    let open =
        move |(name, value): &(&String, &Json)| !value.is_null() && reported.get(*name) != Some(*value);
    twin.desired.iter().filter(open).map(|(name, value)| (name.as_str(), value))
}

/// The most values of a list that are put into one label.
const LABEL_PARTS_MAX: usize = 8;

/// Puts a label into `labels`, where the member is a text, a number or a list of such.
pub(super) fn label(labels: &mut Vec<(String, String)>, name: &str, value: Option<&Json>) {
    let text = match value {
        Some(Json::String(text)) => text.clone(),
        Some(Json::Number(number)) => number.to_string(),
        Some(Json::Array(parts)) => {
            let texts: Vec<&str> = parts.iter().filter_map(Json::as_str).take(LABEL_PARTS_MAX).collect();
            texts.join(",")
        }
        _ => return,
    };
    if !text.is_empty() && text.len() <= TEXT_LENGTH_MAX {
        labels.push((name.to_owned(), text));
    }
}
