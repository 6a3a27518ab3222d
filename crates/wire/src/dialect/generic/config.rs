//! What a profile says about its generic dialect, and what is wrong with it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::expression::Expression;
use super::pattern::Pattern;
use super::template::Template;
use super::{AnswerRule, CommandRule, Generic, PresenceRule, Readings, Source, Take};
use crate::telemetry::Limits;

/// The most rules of a kind, and the most values of a rule.
const RULES_MAX: usize = 100;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    #[serde(rename = "name")]
    _name: String,
    readings: Vec<SaidReadings>,
    reported: Vec<SaidTopic>,
    presence: Vec<SaidPresence>,
    commands: Vec<SaidCommand>,
    answers: Vec<SaidAnswer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SaidReadings {
    topic: String,
    key: Option<String>,
    values: Option<BTreeMap<String, SaidSource>>,
    time: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum SaidSource {
    Pointer(String),
    Regex(SaidRegex),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SaidRegex {
    regex: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SaidTopic {
    topic: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SaidPresence {
    topic: String,
    #[serde(default = "online")]
    online: String,
    #[serde(default = "offline")]
    offline: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SaidCommand {
    name: Option<String>,
    topic: String,
    payload: String,
    #[serde(default)]
    retain: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SaidAnswer {
    topic: String,
    id: Option<String>,
    error: Option<String>,
    result: Option<String>,
}

fn online() -> String {
    "online".to_owned()
}

fn offline() -> String {
    "offline".to_owned()
}

/// Reads the member `dialect` of a profile; a bare name configures nothing.
pub(super) fn read(dialect: &Value, own: String) -> Result<Generic, String> {
    let config = match dialect {
        Value::Object(_) => Config::deserialize(dialect).map_err(|error| error.to_string())?,
        _ => Config::default(),
    };
    Ok(Generic {
        readings: each("readings", config.readings, readings)?,
        reported: each("reported", config.reported, |said| Pattern::parse(&said.topic))?,
        presence: each("presence", config.presence, |said| {
            let topic = Pattern::parse(&said.topic)?;
            Ok(PresenceRule { topic, online: said.online, offline: said.offline })
        })?,
        commands: each("commands", config.commands, |said| {
            Ok(CommandRule {
                name: said.name,
                topic: Template::parse(&said.topic),
                payload: Template::parse(&said.payload),
                retain: said.retain,
            })
        })?,
        answers: each("answers", config.answers, |said| {
            Ok(AnswerRule {
                topic: Pattern::parse(&said.topic)?,
                id: said.id.map(pointer).transpose()?,
                error: said.error.map(pointer).transpose()?,
                result: said.result.map(pointer).transpose()?,
            })
        })?,
        own,
    })
}

/// Makes the rules of a kind; an error names the rule.
fn each<S, R>(kind: &str, said: Vec<S>, make: impl Fn(S) -> Result<R, String>) -> Result<Vec<R>, String> {
    if said.len() > RULES_MAX {
        return Err(format!("{kind}: there are at most {RULES_MAX} rules"));
    }
    let made = said.into_iter().enumerate();
    made.map(|(place, said)| make(said).map_err(|error| format!("{kind}[{place}]: {error}"))).collect()
}

fn readings(said: SaidReadings) -> Result<Readings, String> {
    let topic = Pattern::parse(&said.topic)?;
    let take = match (said.values, said.key) {
        (Some(_), Some(_)) => return Err("say either `key` or `values`".to_owned()),
        (Some(values), None) if (1..=RULES_MAX).contains(&values.len()) => {
            let sources = values.into_iter().map(|(name, said)| Ok((key(name)?, source(said)?)));
            Take::Values(sources.collect::<Result<_, String>>()?)
        }
        (Some(_), None) => return Err(format!("`values` has 1 to {RULES_MAX} members")),
        (None, Some(name)) => Take::Bare(Some(key(name)?)),
        (None, None) if topic.has_key() => Take::Bare(None),
        (None, None) => Take::All,
    };
    if said.time.is_some() && !matches!(take, Take::Values(_)) {
        return Err("`time` goes with `values`".to_owned());
    }
    Ok(Readings { topic, take, time: said.time.map(pointer).transpose()? })
}

fn key(name: String) -> Result<String, String> {
    match Limits::default().check_key(&name, 0) {
        Ok(()) => Ok(name),
        Err(error) => Err(format!("{name:?}: {}", error.detail)),
    }
}

fn pointer(text: String) -> Result<String, String> {
    if text.is_empty() || text.starts_with('/') {
        return Ok(text);
    }
    Err(format!("{text:?}: a JSON pointer begins with `/`"))
}

fn source(said: SaidSource) -> Result<Source, String> {
    match said {
        SaidSource::Pointer(text) => pointer(text).map(Source::Pointer),
        SaidSource::Regex(SaidRegex { regex }) => Expression::new(&regex).map(Source::Regex),
    }
}
