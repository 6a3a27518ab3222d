//! A shadow's documents: what an update says, what differs, when it was.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use crate::telemetry::{self, Limits, Point};

/// The member of the twin that has the shadows with a name.
pub(super) const SHADOWS: &str = "shadows";

/// Which shadow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shadow<'a> {
    pub(super) thing: &'a str,
    /// None: the classic one.
    pub(super) name: Option<&'a str>,
}

/// What an update says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Update {
    /// As it was said, for the answer.
    pub(super) state: Map<String, Value>,
    /// Of the twin.
    pub(super) reported: Option<Map<String, Value>>,
    /// Of the twin.
    pub(super) desired: Option<Map<String, Value>>,
    pub(super) points: Vec<Point<'static>>,
}

/// Why a request is rejected: the service's code and words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal(pub(super) u16, pub(super) &'static str);

impl<'a> Shadow<'a> {
    pub(super) fn topic(&self) -> String {
        match self.name {
            Some(name) => format!("$aws/things/{}/shadow/name/{name}", self.thing),
            None => format!("$aws/things/{}/shadow", self.thing),
        }
    }

    /// Back from [`Shadow::topic`].
    pub(super) fn of_topic(topic: &'a str) -> Option<Self> {
        let rest = topic.strip_prefix("$aws/things/")?;
        let (thing, rest) = rest.split_once('/')?;
        let name = rest.strip_prefix("shadow")?;
        Some(Self { thing, name: name.strip_prefix("/name/") })
    }

    /// Its part of one side of the twin.
    pub(super) fn part(&self, side: &Map<String, Value>) -> Map<String, Value> {
        let own = || side.get(SHADOWS)?.get(self.name?)?.as_object().cloned();
        match self.name {
            Some(_) => own().unwrap_or_default(),
            None => side
                .iter()
                .filter(|(name, _)| *name != SHADOWS)
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        }
    }

    fn patch(&self, part: Value) -> Map<String, Value> {
        match (self.name, part) {
            (Some(name), part) => Map::from_iter([(SHADOWS.to_owned(), json!({ name: part }))]),
            (None, Value::Object(part)) => part,
            (None, _) => Map::new(),
        }
    }
}

/// Reads an update; `current` is the shadow's version, where one was said to the device.
pub(super) fn update(
    shadow: &Shadow<'_>,
    document: &Map<String, Value>,
    current: Option<i64>,
) -> Result<Update, Refusal> {
    let Some(Value::Object(state)) = document.get("state") else {
        return Err(Refusal(400, "Missing required node: state"));
    };
    let version = document.get("version").filter(|version| !version.is_null());
    if let (Some(version), Some(current)) = (version, current)
        && version.as_i64() != Some(current)
    {
        return Err(Refusal(409, "Version conflict"));
    }
    let reported = patch_of(shadow, state, "reported")?;
    let desired = patch_of(shadow, state, "desired")?;
    if reported.is_none() && desired.is_none() {
        return Err(Refusal(400, "State has neither reported nor desired"));
    }
    let said = state.get("reported").filter(|reported| reported.is_object());
    let points = said.map(|reported| points_of(shadow, reported)).transpose()?.unwrap_or_default();
    let state = state.iter().filter(|(name, _)| matches!(name.as_str(), "reported" | "desired"));
    let state = state.map(|(name, part)| (name.clone(), part.clone())).collect();
    Ok(Update { state, reported, desired, points })
}

/// One side of an update as a patch of that side of the twin.
fn patch_of(
    shadow: &Shadow<'_>,
    state: &Map<String, Value>,
    side: &str,
) -> Result<Option<Map<String, Value>>, Refusal> {
    match state.get(side) {
        None => Ok(None),
        Some(Value::Object(part)) if shadow.name.is_none() && part.contains_key(SHADOWS) => {
            Err(Refusal(400, "Invalid key: shadows has the shadows with a name here"))
        }
        Some(part @ Value::Object(_)) => Ok(Some(shadow.patch(part.clone()))),
        Some(Value::Null) if shadow.name.is_some() => Ok(Some(shadow.patch(Value::Null))),
        Some(Value::Null) => {
            Err(Refusal(400, "The whole of the classic shadow cannot be removed: give its members as null"))
        }
        Some(_) => Err(Refusal(400, "State contains an invalid node: reported and desired are objects")),
    }
}

fn points_of(shadow: &Shadow<'_>, reported: &Value) -> Result<Vec<Point<'static>>, Refusal> {
    let text = reported.to_string();
    let points = telemetry::json(text.as_bytes(), &Limits::default());
    let points = points.ok().ok_or(Refusal(400, "State has a key that cannot be kept"))?;
    let own = |point: Point<'_>| Point {
        key: Cow::Owned(match shadow.name {
            Some(name) => format!("{name}.{}", point.key),
            None => point.key.into_owned(),
        }),
        ts: point.ts,
        value: point.value.into_owned(),
    };
    let points: Vec<_> = points.into_iter().map(own).collect();
    let is_long = points.iter().any(|point| Limits::default().check_key(&point.key, 0).is_err());
    if is_long { Err(Refusal(400, "State has a key that cannot be kept")) } else { Ok(points) }
}

/// What is desired and not reported so. Depth is bounded, as that of all documents is.
pub(super) fn delta(desired: &Map<String, Value>, reported: &Map<String, Value>) -> Map<String, Value> {
    let mut differing = Map::new();
    for (name, wished) in desired {
        match (wished, reported.get(name)) {
            (Value::Object(wished), Some(Value::Object(is))) => {
                let inner = delta(wished, is);
                if !inner.is_empty() {
                    differing.insert(name.clone(), Value::Object(inner));
                }
            }
            (wished, Some(is)) if wished == is => {}
            (wished, _) => {
                differing.insert(name.clone(), wished.clone());
            }
        }
    }
    differing
}

/// The time of every value, in its place.
pub(super) fn metadata(part: &Map<String, Value>, seconds: i64) -> Value {
    let of = |value: &Value| time_of(value, seconds);
    Value::Object(part.iter().map(|(name, value)| (name.clone(), of(value))).collect())
}

fn time_of(value: &Value, seconds: i64) -> Value {
    match value {
        Value::Object(members) => metadata(members, seconds),
        Value::Array(elements) => elements.iter().map(|element| time_of(element, seconds)).collect(),
        _ => json!({ "timestamp": seconds }),
    }
}
