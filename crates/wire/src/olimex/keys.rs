//! The data of an event as points.

use std::borrow::Cow;

use serde_json::Value as Json;

use super::catalogue::Resource;
use crate::telemetry::{Limits, Point, Value};

/// The most points of one event.
const POINTS_MAX: usize = 128;

/// Puts what `value` holds into `points`, under `path`. What cannot be a key or is too much is left out.
// The depth is bounded by the reader's, which is 128.
pub(super) fn flatten(
    value: &Json,
    path: &str,
    resource: Option<&Resource>,
    points: &mut Vec<Point<'static>>,
) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let value = match value {
        Json::Object(members) => {
            for (name, member) in members.iter().filter(|(name, _)| *name != "Poll") {
                flatten(member, &below(name), resource, points);
            }
            return;
        }
        Json::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                flatten(element, &below(&index.to_string()), resource, points);
            }
            return;
        }
        Json::Null => return,
        Json::Bool(value) => Value::Boolean(*value),
        Json::Number(number) => number_of(number),
        Json::String(text) => text_of(text, path, resource),
    };
    let is_key = Limits::default().check_key(path, 0).is_ok();
    if is_key && points.len() < POINTS_MAX {
        points.push(Point { key: Cow::Owned(path.to_owned()), ts: None, value });
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

/// Some firmware puts numbers between quotes, which the catalogue knows.
fn text_of(text: &str, path: &str, resource: Option<&Resource>) -> Value<'static> {
    let is_number = resource
        .is_some_and(|resource| resource.keys.iter().any(|key| key.is_number() && path.ends_with(key.name)));
    let number = if is_number { text.trim().parse().ok() } else { None };
    number.as_ref().map_or_else(|| Value::Text(Cow::Owned(text.to_owned())), number_of)
}
