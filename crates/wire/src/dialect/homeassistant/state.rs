//! One message, as the entities that read its topic understand it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::super::document::{Readings, bare, is_not_a_number, json_of, level, text_of};
use super::super::{About, Presence, Said, Unread, What, parse_json};
use super::config::{Availability, Channel, Entity};
use super::reported;
use super::template::{Beyond, Scope, evaluate, render};
use crate::telemetry::{Point, Value};

/// What an entity says while it knows nothing.
const NOTHING: [&str; 4] = ["", "None", "unknown", "unavailable"];

pub(super) struct Heard<'a> {
    topic: &'a str,
    payload: &'a [u8],
    text: Option<&'a str>,
    json: Option<Json>,
    devices: BTreeMap<String, Device<'a>>,
    unread: Option<Unread>,
}

#[derive(Default)]
struct Device<'a> {
    points: Vec<Point<'static>>,
    reported: Map<String, Json>,
    stale: Vec<Cow<'a, str>>,
    events: Vec<What<'a>>,
}

impl<'a> Heard<'a> {
    pub(super) fn new(topic: &'a str, payload: &'a [u8]) -> Self {
        let text = std::str::from_utf8(payload).ok();
        Self { topic, payload, text, json: parse_json(payload).ok(), devices: BTreeMap::new(), unread: None }
    }

    /// Takes what the message says of the entity. What cannot be read is kept for the end: others may
    /// read the same topic.
    pub(super) fn states_of(&mut self, entity: &Entity) {
        let topic = self.topic;
        for source in entity.sources.iter().filter(|source| source.topic == topic) {
            if let Err(unread) = self.read(entity, source) {
                self.unread =
                    Some(Unread(Cow::Owned(format!("{}: {unread}", entity.key_of(&source.member)))));
            }
        }
    }

    fn read(&mut self, entity: &Entity, source: &Channel) -> Result<(), Unread> {
        let is_main = source.member.is_empty();
        if is_main && entity.component == "event" {
            return self.event(entity);
        }
        let found = match &source.template {
            Some(template) => self.evaluate(template)?,
            None if is_main && entity.schema == "json" => self.json.clone(),
            None if is_not_a_number(self.payload) => Some(Json::Null),
            None => bare(self.payload)?.map(|value| json_of(&value)).or(Some(Json::Null)),
        };
        let Some(found) = found else { return Ok(()) };
        let key = entity.key_of(&source.member);
        let device = self.devices.entry(entity.device.clone()).or_default();
        let is_nothing = found.is_null() || found.as_str().is_some_and(|text| NOTHING.contains(&text));
        if is_nothing {
            device.stale.push(Cow::Owned(key));
            return Ok(());
        }
        let is_set = entity.controls.iter().any(|control| control.member == source.member);
        let (value, others) = understood(entity, source, found)?;
        let mut readings = Readings::default();
        if let Some(value) = value {
            if is_set {
                device.reported.insert(key.clone(), value.clone());
            }
            readings.add(&key, value)?;
        }
        readings.add_members(&key, others)?;
        device.points.extend(readings.done()?);
        Ok(())
    }

    fn event(&mut self, entity: &Entity) -> Result<(), Unread> {
        let members = self.json.as_ref().and_then(Json::as_object);
        let kind = members.and_then(|members| text_of(members, "event_type"));
        let Some(kind) = kind else { return Err(Unread(Cow::Borrowed("the payload has no event_type"))) };
        let event = What::Event { name: Cow::Owned(level(kind)), payload: Cow::Borrowed(self.payload) };
        self.devices.entry(entity.device.clone()).or_default().events.push(event);
        Ok(())
    }

    fn evaluate(&self, template: &str) -> Result<Option<Json>, Unread> {
        let text = self.text.ok_or(Unread(Cow::Borrowed("is not UTF-8")))?;
        let scope = Scope { value: Json::from(text), json: self.json.as_ref() };
        evaluate(template, &scope).map_err(|Beyond(what)| Unread(Cow::Owned(format!("its template: {what}"))))
    }

    /// What the message says as an availability.
    pub(super) fn presence(&self, availability: &Availability) -> Result<Option<Presence>, Unread> {
        let said = match &availability.template {
            Some(template) => self.evaluate(template)?,
            None => self.text.map(|text| Json::from(text.trim())),
        };
        let Some(said) = said else { return Ok(None) };
        let word = render(&said);
        Ok(match word {
            word if word == availability.available => Some(Presence::Online),
            word if word == availability.not_available => Some(Presence::Offline),
            _ => None,
        })
    }

    /// All that was understood, and what could not be read, which counts where nothing else was.
    pub(super) fn done(self) -> (Vec<Said<'a>>, Option<Unread>) {
        let mut said = Vec::new();
        for (name, device) in self.devices {
            let about = || About::Named(Cow::Owned(name.clone()));
            if !device.points.is_empty() {
                said.push(Said { about: about(), what: What::Readings(device.points) });
            }
            if !device.stale.is_empty() {
                said.push(Said { about: about(), what: What::Stale(device.stale) });
            }
            said.extend(device.events.into_iter().map(|what| Said { about: about(), what }));
            said.extend(reported(name.clone(), device.reported));
        }
        (said, self.unread)
    }
}

/// The entity's value, and what stands beside it in a light's JSON.
fn understood(
    entity: &Entity,
    source: &Channel,
    found: Json,
) -> Result<(Option<Json>, Map<String, Json>), Unread> {
    let is_main = source.member.is_empty();
    match found {
        Json::Object(mut members) if is_main && entity.schema == "json" => {
            let state = members.remove("state").map(|state| switched(entity, state));
            Ok((state, members))
        }
        Json::Object(members) => Ok((None, members)),
        found if is_main && entity.is_switched() => Ok((Some(switched(entity, found)), Map::new())),
        Json::String(text) => {
            // Templates give text where the payload had a number with a unit, or was one as a whole.
            let is_typed = source.template.as_deref().is_some_and(|template| template.contains("value_json"));
            let number = match bare(text.as_bytes()) {
                Ok(Some(value)) if !is_typed || entity.is_numeric => Some(value),
                _ => None,
            };
            let value = number.filter(|value| !matches!(value, Value::Text(_))).map(|value| json_of(&value));
            Ok((Some(value.unwrap_or(Json::String(text))), Map::new()))
        }
        found => Ok((Some(found), Map::new())),
    }
}

/// `true` and `false` for the entity's words; what is neither stays as it is.
fn switched(entity: &Entity, found: Json) -> Json {
    let or = |one: &str, other: &str| {
        if entity.word(one).is_empty() { entity.word(other).to_owned() } else { entity.word(one).to_owned() }
    };
    let is = {
        let word = render(&found);
        if word == or("state_on", "payload_on") {
            Some(true)
        } else if word == or("state_off", "payload_off") {
            Some(false)
        } else {
            None
        }
    };
    is.map_or(found, Json::Bool)
}
