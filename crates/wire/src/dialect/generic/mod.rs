//! A dialect that a profile describes: topic patterns, where values stand, how commands are worded.

mod config;
mod expression;
mod pattern;
mod template;

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::{
    About, Answer, Awaited, Command, Dialect, Outgoing, Presence, Said, Unread, Unsayable, What, Wording,
    parse_json,
};
use crate::telemetry::{self, Limits, Point, parse_rfc3339};
use expression::{Expression, Fuel};
use pattern::{Found, Pattern};
use template::{Filling, Template};

/// A time below is in seconds, from there on in milliseconds: 1973, or the year 5138.
const MILLISECONDS_FROM: f64 = 1e11;

/// See the module.
#[derive(Debug)]
pub(super) struct Generic {
    readings: Vec<Readings>,
    reported: Vec<Pattern>,
    presence: Vec<PresenceRule>,
    commands: Vec<CommandRule>,
    answers: Vec<AnswerRule>,
    /// What stands for `{device}` where the connection's own device is meant.
    own: String,
}

#[derive(Debug)]
struct Readings {
    topic: Pattern,
    take: Take,
    time: Option<String>,
}

/// What of a payload is taken.
#[derive(Debug)]
enum Take {
    /// A telemetry payload as on our own topics.
    All,
    /// It is one bare value, of this key or of the one in the topic.
    Bare(Option<String>),
    /// Values of these keys.
    Values(Vec<(String, Source)>),
}

/// Where a value stands.
#[derive(Debug)]
enum Source {
    /// RFC 6901.
    Pointer(String),
    /// Its first group, or all of it.
    Regex(Expression),
}

#[derive(Debug)]
struct PresenceRule {
    topic: Pattern,
    online: String,
    offline: String,
}

#[derive(Debug)]
struct CommandRule {
    name: Option<String>,
    topic: Template,
    payload: Template,
    retain: bool,
}

#[derive(Debug)]
struct AnswerRule {
    topic: Pattern,
    id: Option<String>,
    error: Option<String>,
    result: Option<String>,
}

impl Generic {
    /// From what a profile says: its `dialect`, and under `device` who speaks.
    ///
    /// # Errors
    /// Says what is wrong with the configuration.
    pub(super) fn new(profile: &Map<String, Value>) -> Result<Self, String> {
        let own = profile.get("device").and_then(Value::as_str).unwrap_or_default().to_owned();
        config::read(profile.get("dialect").unwrap_or(&Value::Null), own)
    }
}

impl Dialect for Generic {
    fn hear<'a>(&mut self, topic: &'a str, payload: &'a [u8], _now: i64) -> Result<Vec<Said<'a>>, Unread> {
        let mut said = Vec::new();
        let about = |found: &Found<'a>| match found.device {
            Some(device) => About::Named(Cow::Borrowed(device)),
            None => About::Connection,
        };
        let mut fuel = Fuel::full();
        for rule in &self.readings {
            let Some(found) = rule.topic.matches(topic) else { continue };
            let points = rule.points(&found, payload, &mut fuel)?;
            if !points.is_empty() {
                said.push(Said { about: about(&found), what: What::Readings(points) });
            }
        }
        for rule in &self.reported {
            let Some(found) = rule.matches(topic) else { continue };
            let Value::Object(patch) = parse_json(payload)? else {
                return Err(Unread("what is reported is a JSON object".into()));
            };
            said.push(Said { about: about(&found), what: What::Reported(patch) });
        }
        for rule in &self.presence {
            let Some(found) = rule.topic.matches(topic) else { continue };
            let presence = match payload {
                text if text == rule.online.as_bytes() => Presence::Online,
                text if text == rule.offline.as_bytes() => Presence::Offline,
                _ => continue,
            };
            said.push(Said { about: about(&found), what: What::Presence(presence) });
        }
        for rule in &self.answers {
            let Some(found) = rule.topic.matches(topic) else { continue };
            let answer = rule.answer(&found, payload);
            said.push(Said { about: about(&found), what: What::Answer(answer) });
        }
        Ok(said)
    }

    fn command(&mut self, device: Option<&str>, command: Command<'_>) -> Result<Wording, Unsayable> {
        let answer = if self.answers.is_empty() { Awaited::Nothing } else { Awaited::Answer };
        if self.commands.is_empty() {
            return Ok(Wording { messages: Vec::new(), answer });
        }
        let is_meant = |rule: &&CommandRule| rule.name.as_deref().is_none_or(|name| name == command.name);
        let rule = self.commands.iter().find(is_meant).ok_or_else(|| {
            let names: Vec<&str> = self.commands.iter().filter_map(|rule| rule.name.as_deref()).collect();
            Unsayable(format!("the profile has words for {} only", names.join(", ")).into())
        })?;
        let filling = Filling { device: device.unwrap_or(&self.own), command };
        let topic = rule.topic.fill(filling)?;
        if topic.is_empty() || topic.contains(['+', '#', '\0']) {
            return Err(Unsayable(format!("{topic:?} is no topic").into()));
        }
        let payload = rule.payload.fill(filling)?.into_bytes();
        Ok(Wording { messages: vec![Outgoing { topic, payload, retain: rule.retain }], answer })
    }
}

impl Readings {
    fn points<'a>(
        &self,
        found: &Found<'a>,
        payload: &'a [u8],
        fuel: &mut Fuel,
    ) -> Result<Vec<Point<'a>>, Unread> {
        let limits = Limits::default();
        let unread = |error: telemetry::TelemetryError| Unread(Cow::Owned(error.to_string()));
        let sources = match &self.take {
            Take::All => return telemetry::json(payload, &limits).map_err(unread),
            Take::Bare(key) => {
                let key = key.clone().map(Cow::Owned).or(found.key.map(Cow::Borrowed));
                let key = key.ok_or_else(|| Unread("the topic has no key".into()))?;
                return Ok(telemetry::bare(payload, &limits)
                    .map_err(unread)?
                    .map(|value| Point { key, ts: None, value })
                    .into_iter()
                    .collect());
            }
            Take::Values(sources) => sources,
        };
        let needs_json =
            self.time.is_some() || sources.iter().any(|(_, one)| matches!(one, Source::Pointer(_)));
        let document = if needs_json { parse_json(payload)? } else { Value::Null };
        let text = String::from_utf8_lossy(payload);
        let mut values = Map::new();
        for (key, source) in sources {
            let value = match source {
                Source::Pointer(pointer) => document.pointer(pointer).cloned(),
                Source::Regex(expression) => fuel.find(expression, &text)?.map(plain),
            };
            if let Some(value) = value {
                values.insert(key.clone(), value);
            }
        }
        let ts = self.time.as_ref().and_then(|pointer| time(document.pointer(pointer)?));
        let values = Value::Object(values).to_string();
        let points = telemetry::json(values.as_bytes(), &limits).map_err(unread)?;
        let owned = points.into_iter().map(|point| Point {
            key: Cow::Owned(point.key.into_owned()),
            ts,
            value: point.value.into_owned(),
        });
        Ok(owned.collect())
    }
}

impl AnswerRule {
    fn answer(&self, found: &Found<'_>, payload: &[u8]) -> Answer {
        let document = parse_json(payload).unwrap_or_else(|_text| json!(String::from_utf8_lossy(payload)));
        let at = |pointer: &Option<String>| pointer.as_ref().and_then(|pointer| document.pointer(pointer));
        let id = found.id.map(str::to_owned).or_else(|| at(&self.id).map(shown));
        let error = at(&self.error).filter(|error| !matches!(error, Value::Null | Value::Bool(false)));
        let outcome = match error {
            Some(error) => Err(shown(error)),
            None if self.result.is_some() => Ok(at(&self.result).cloned().unwrap_or_default()),
            None => Ok(document.clone()),
        };
        Answer { id, name: None, outcome }
    }
}

/// What a regular expression found: a number or a truth value where it is one.
fn plain(text: &str) -> Value {
    match parse_json(text.as_bytes()) {
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => value,
        _ => Value::from(text),
    }
}

fn time(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => {
            let number = number.as_f64()?;
            let milliseconds = if number.abs() < MILLISECONDS_FROM { number * 1_000.0 } else { number };
            #[expect(
                clippy::cast_possible_truncation,
                reason = "beyond i64 it is no time, which is settled later"
            )]
            Some(milliseconds as i64)
        }
        Value::String(text) => parse_rfc3339(text),
        _ => None,
    }
}

/// Text as it is, everything else as JSON.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests;
