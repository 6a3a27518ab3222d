//! Zigbee2MQTT: one connection that speaks for a network of devices, named by their friendly names
//! (which may have slashes), and for itself as the bridge.

mod exposes;

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

use self::exposes::Announced;
use super::document::{Readings, bare, label, level, object, outgoing, point, text, text_of, wishes};
use super::known::{Known, NAME_LENGTH_MAX};
use super::{
    About, Answer, Awaited, Command, Description, Dialect, Outgoing, Presence, Said, Twin, TwinReason,
    Unread, Unsayable, What, Wording, parse_json,
};

/// The base topic unless another has announced itself.
const BASE: &str = "zigbee2mqtt";
/// Base topics of one connection.
const BASES_MAX: usize = 8;
/// What only a bridge publishes, by which its base topic is learnt.
const ANNOUNCEMENTS: [&str; 4] = ["/bridge/state", "/bridge/info", "/bridge/devices", "/bridge/groups"];

/// What has been heard on one connection.
#[derive(Debug, Default)]
pub(super) struct Zigbee2Mqtt {
    /// Beside [`BASE`]; the newest last.
    bases: Vec<String>,
    devices: Known<Member>,
}

/// A device or group of the network.
#[derive(Debug, Default)]
struct Member {
    base: String,
    /// It stands in the last `bridge/devices` or `bridge/groups`.
    is_announced: bool,
    settable: BTreeSet<String>,
}

impl Dialect for Zigbee2Mqtt {
    fn hear<'a>(&mut self, topic: &'a str, payload: &'a [u8], _now: i64) -> Result<Vec<Said<'a>>, Unread> {
        let Some((base, rest)) = self.split(topic) else { return Ok(Vec::new()) };
        match rest.strip_prefix("bridge/") {
            Some(rest) => self.bridge(base, rest, payload),
            None => self.member(base, rest, payload),
        }
    }

    /// To a device: a property's name with its value, or `set` and `get` with an object. To the bridge:
    /// the end of a request's topic, such as `permit_join` or `device/rename`, with an object.
    fn command(&mut self, device: Option<&str>, command: Command<'_>) -> Result<Wording, Unsayable> {
        let Some(device) = device else { return self.request(command) };
        let (verb, payload) = match (command.name, command.params) {
            ("set" | "get", Json::Object(_)) => (command.name, command.params.clone()),
            ("set" | "get", _) => {
                return Err(Unsayable(Cow::Borrowed("params must be an object, such as {\"state\":\"ON\"}")));
            }
            (property, value) => {
                ("set", Json::Object(Map::from_iter([(property.to_owned(), value.clone())])))
            }
        };
        let message = self.word(device, verb, &payload)?;
        Ok(Wording { messages: vec![message], answer: Awaited::Nothing })
    }

    fn twin(&mut self, device: Option<&str>, twin: Twin<'_>, _reason: &TwinReason) -> Vec<Outgoing> {
        let Some(device) = device else { return Vec::new() };
        let wished: Map<_, _> = wishes(&twin).map(|(name, value)| (name.to_owned(), value.clone())).collect();
        if wished.is_empty() {
            return Vec::new();
        }
        self.word(device, "set", &Json::Object(wished)).into_iter().collect()
    }
}

impl Zigbee2Mqtt {
    /// The base topic and what follows it.
    fn split<'a>(&mut self, topic: &'a str) -> Option<(&'a str, &'a str)> {
        let announced = ANNOUNCEMENTS.iter().find_map(|end| topic.strip_suffix(end));
        if let Some(base) = announced.filter(|base| *base != BASE && !base.is_empty()) {
            let has_room = self.bases.len() < BASES_MAX && base.len() <= NAME_LENGTH_MAX;
            if has_room && !self.bases.iter().any(|known| known == base) {
                self.bases.push(base.to_owned());
            }
        }
        let rest_after =
            |base: &str| topic.strip_prefix(base)?.strip_prefix('/').filter(|rest| !rest.is_empty());
        let bases = self.bases.iter().map(String::as_str).chain([BASE]);
        let rest = bases.filter_map(rest_after).min_by_key(|rest| rest.len())?;
        let base = topic.strip_suffix(rest)?.strip_suffix('/')?;
        Some((base, rest))
    }

    fn bridge<'a>(&mut self, base: &str, rest: &'a str, payload: &'a [u8]) -> Result<Vec<Said<'a>>, Unread> {
        let of_bridge = |what| Said { about: About::Connection, what };
        if payload.is_empty() {
            return Ok(Vec::new());
        }
        match rest {
            "state" => Ok(vec![of_bridge(What::Presence(presence(payload)?))]),
            "info" => Ok(vec![of_bridge(What::Description(Box::new(info(&object(payload)?))))]),
            "devices" | "groups" => self.announced(base, rest, parse_json(payload)?),
            "event" => {
                let name = text_of(&object(payload)?, "type").map_or_else(|| level("event"), level);
                Ok(vec![of_bridge(What::Event { name: Cow::Owned(name), payload: Cow::Borrowed(payload) })])
            }
            "logging" => {
                let is_worth_keeping =
                    matches!(text_of(&object(payload)?, "level"), Some("warning" | "error"));
                let event = What::Event { name: Cow::Borrowed("logging"), payload: Cow::Borrowed(payload) };
                Ok(is_worth_keeping.then(|| of_bridge(event)).into_iter().collect())
            }
            _ if rest.starts_with("response/") => Ok(response(object(payload)?)
                .map(|answer| of_bridge(What::Answer(answer)))
                .into_iter()
                .collect()),
            _ => Ok(Vec::new()),
        }
    }

    /// `bridge/devices` or `bridge/groups`.
    fn announced<'a>(&mut self, base: &str, kind: &str, list: Json) -> Result<Vec<Said<'a>>, Unread> {
        let is_groups = kind == "groups";
        let Json::Array(list) = list else {
            return Err(Unread(Cow::Borrowed("the payload is no list")));
        };
        let mut said = Vec::new();
        let mut names = BTreeSet::new();
        for device in list.iter().filter_map(Json::as_object) {
            let is_coordinator = text_of(device, "type") == Some("Coordinator");
            let Some(name) = text_of(device, "friendly_name").filter(|name| !name.is_empty()) else {
                continue;
            };
            if is_coordinator {
                continue;
            }
            let mut announced = Announced::of(device);
            if is_groups {
                announced.description.labels.push(("type".to_owned(), "Group".to_owned()));
            }
            if let Some(member) = self.devices.of(name) {
                base.clone_into(&mut member.base);
                member.is_announced = !is_groups;
                member.settable = announced.settable;
            }
            names.insert(name);
            let about = About::Named(Cow::Owned(name.to_owned()));
            said.push(Said { about, what: What::Description(Box::new(announced.description)) });
        }
        if !is_groups {
            let is_gone = |name: &str, member: &Member| {
                member.is_announced && member.base == base && !names.contains(name)
            };
            let gone = self.devices.iter().filter(|(name, member)| is_gone(name, member));
            let gone: Vec<String> = gone.map(|(name, _)| name.to_owned()).collect();
            for name in gone {
                self.devices.remove(&name);
                let about = About::Named(Cow::Owned(name));
                said.push(Said { about, what: What::Presence(Presence::Offline) });
            }
        }
        Ok(said)
    }

    /// A state, a single attribute of one (`output: attribute`), or a device's availability.
    fn member<'a>(&mut self, base: &str, rest: &'a str, payload: &'a [u8]) -> Result<Vec<Said<'a>>, Unread> {
        let of = |name: &'a str, what| Said { about: About::Named(Cow::Borrowed(name)), what };
        if payload.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(name) = rest.strip_suffix("/availability") {
            self.learn(base, name);
            return Ok(vec![of(name, What::Presence(presence(payload)?))]);
        }
        let parent = rest.rsplit_once('/');
        // What others publish to the devices comes by here where they share the connection.
        if parent.is_some_and(|(_, last)| last == "set" || last == "get") || rest.contains("/set/") {
            return Ok(Vec::new());
        }
        let is_state = payload.first() == Some(&b'{');
        let is_attribute =
            |name: &str| !is_state || self.devices.get(rest).is_none() && self.devices.get(name).is_some();
        match parent {
            Some((name, attribute)) if !name.is_empty() && is_attribute(name) => {
                self.learn(base, name);
                let points = match is_state {
                    true => {
                        let mut readings = Readings::default();
                        readings.add_members(attribute, object(payload)?)?;
                        readings.done()?
                    }
                    false => {
                        bare(payload)?.map(|value| point(attribute, value)).transpose()?.into_iter().collect()
                    }
                };
                Ok(vec![of(name, What::Readings(points))])
            }
            _ if is_state => {
                self.learn(base, rest);
                let state = self.state(rest, object(payload)?)?;
                Ok(state.into_iter().map(|what| of(rest, what)).collect())
            }
            _ => Err(Unread(Cow::Borrowed("a state is a JSON object"))),
        }
    }

    fn learn(&mut self, base: &str, name: &str) {
        if let Some(member) = self.devices.of(name).filter(|member| member.base.is_empty()) {
            base.clone_into(&mut member.base);
        }
    }

    fn state<'a>(&self, name: &str, mut members: Map<String, Json>) -> Result<Vec<What<'a>>, Unread> {
        // Only with `include_device_information`: what the device is, not what it measured.
        if members.get("device").is_some_and(Json::is_object) {
            members.remove("device");
        }
        let mut said = Vec::new();
        let settable = self.devices.get(name).map(|member| &member.settable);
        let is_settable = |name: &str| settable.is_some_and(|settable| settable.contains(name));
        let written = members.iter().filter(|(name, _)| is_settable(name));
        let reported: Map<_, _> = written.map(|(name, value)| (name.clone(), value.clone())).collect();
        // Versions before 2 say after each action that there is none.
        if members.get("action").and_then(Json::as_str) == Some("") {
            members.remove("action");
        }
        let action = text_of(&members, "action").map(|action| action.as_bytes().to_vec());
        let mut readings = Readings::default();
        readings.add_members("", members)?;
        said.push(What::Readings(readings.done()?));
        if !reported.is_empty() {
            said.push(What::Reported(reported));
        }
        said.extend(
            action.map(|action| What::Event { name: Cow::Borrowed("action"), payload: Cow::Owned(action) }),
        );
        Ok(said)
    }

    fn word(&self, device: &str, verb: &str, payload: &Json) -> Result<Outgoing, Unsayable> {
        let base = self.devices.get(device).map(|member| member.base.as_str());
        let base = base.filter(|base| !base.is_empty()).unwrap_or_else(|| self.base());
        outgoing(format!("{base}/{device}/{verb}"), payload.to_string().into_bytes())
    }

    fn base(&self) -> &str {
        self.bases.last().map_or(BASE, String::as_str)
    }

    fn request(&self, command: Command<'_>) -> Result<Wording, Unsayable> {
        let mut params = match command.params {
            Json::Null => Map::new(),
            Json::Object(members) => members.clone(),
            _ => return Err(Unsayable(Cow::Borrowed("params must be an object, such as {\"time\":60}"))),
        };
        params.insert("transaction".to_owned(), json!(command.id));
        let topic = format!("{}/bridge/request/{}", self.base(), command.name);
        let message = outgoing(topic, Json::Object(params).to_string().into_bytes())?;
        Ok(Wording { messages: vec![message], answer: Awaited::Answer })
    }
}

/// `online`, or `{"state":"online"}`.
fn presence(payload: &[u8]) -> Result<Presence, Unread> {
    let members;
    let word = if payload.first() == Some(&b'{') {
        members = object(payload)?;
        text_of(&members, "state").unwrap_or_default()
    } else {
        text(payload)?
    };
    match word {
        "online" => Ok(Presence::Online),
        "offline" => Ok(Presence::Offline),
        _ => Err(Unread(Cow::Borrowed("the state is neither online nor offline"))),
    }
}

fn info(members: &Map<String, Json>) -> Description {
    let mut labels = vec![("manufacturer".to_owned(), "Zigbee2MQTT".to_owned())];
    label(&mut labels, "version", members.get("version"));
    let coordinator = members.get("coordinator");
    label(&mut labels, "coordinator", coordinator.and_then(|found| found.get("type")));
    label(&mut labels, "ieee_address", coordinator.and_then(|found| found.get("ieee_address")));
    Description { name: None, labels, keys: Vec::new() }
}

/// Answers to others' requests have another transaction, or none.
fn response(mut members: Map<String, Json>) -> Option<Answer> {
    let id = match members.remove("transaction")? {
        Json::String(id) => id,
        Json::Number(id) => id.to_string(),
        _ => return None,
    };
    let outcome = if text_of(&members, "status") == Some("ok") {
        Ok(members.remove("data").unwrap_or(Json::Null))
    } else {
        Err(text_of(&members, "error").unwrap_or("the bridge refuses").to_owned())
    };
    Some(Answer { id: Some(id), name: None, outcome })
}
