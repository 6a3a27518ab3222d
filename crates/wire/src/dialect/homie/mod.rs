//! The Homie convention, version 5, and version 4 by its attributes.
//!
//! Keys are `node.property`, which are also the names of the commands that set them.

mod property;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use self::property::{Datatype, Property};
use super::document::{json_of, label, object, outgoing, short, text, wishes};
use super::known::{Known, NAME_LENGTH_MAX};
use super::{
    About, Awaited, Command, Description, Dialect, KeyDescription, Outgoing, Presence, Said, Twin,
    TwinReason, Unread, Unsayable, What, Wording,
};

/// Properties remembered for one device.
const PROPERTIES_MAX: usize = 512;
/// Properties remembered for one connection.
const PROPERTIES_TOTAL_MAX: usize = 16_384;

/// What has been heard on one connection.
#[derive(Debug, Default)]
pub(super) struct Homie {
    devices: Known<Device>,
    /// Properties of all devices together.
    properties: usize,
}

#[derive(Debug, Default)]
struct Device {
    /// What stands before the device in its topics: `homie/5`, or `homie` in version 4.
    root_topic: String,
    /// The device whose last will speaks for this one as well.
    root: Option<String>,
    state: String,
    name: Option<String>,
    labels: Vec<(String, String)>,
    properties: BTreeMap<String, Property>,
}

struct Place<'a> {
    root_topic: &'a str,
    device: &'a str,
    rest: &'a str,
    is_five: bool,
}

impl<'a> Place<'a> {
    fn of(topic: &'a str) -> Option<Self> {
        let (domain, rest) = topic.split_once('/')?;
        let (root_topic, rest, is_five) = match rest.strip_prefix("5/") {
            Some(five) => (topic.get(..domain.len().saturating_add("/5".len()))?, five, true),
            None if domain == "homie" => (domain, rest, false),
            None => return None,
        };
        let (device, rest) = rest.split_once('/')?;
        let is_id = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_fit = !device.is_empty() && device.len() <= NAME_LENGTH_MAX && device.bytes().all(is_id);
        is_fit.then_some(Self { root_topic, device, rest, is_five })
    }

    fn said(&self, what: What<'a>) -> Said<'a> {
        Said { about: About::Named(Cow::Borrowed(self.device)), what }
    }
}

impl Dialect for Homie {
    fn hear<'a>(&mut self, topic: &'a str, payload: &'a [u8], _now: i64) -> Result<Vec<Said<'a>>, Unread> {
        let Some(place) = Place::of(topic) else { return Ok(Vec::new()) };
        if let Some(device) = self.devices.of(place.device).filter(|device| device.root_topic.is_empty()) {
            place.root_topic.clone_into(&mut device.root_topic);
        }
        let mut levels = place.rest.split('/');
        match (levels.next().unwrap_or_default(), levels.next(), levels.next(), levels.next()) {
            ("$state", None, None, None) => self.state(&place, text(payload)?),
            ("$description", None, None, None) if place.is_five => self.description(&place, payload),
            ("$log", Some(_), None, None) => Ok(vec![event(&place, "log", payload)]),
            ("$alert", Some(_), None, None) => Ok(vec![event(&place, "alert", payload)]),
            (attribute, None, None, None) if attribute.starts_with('$') => {
                self.attribute(&place, attribute, text(payload)?)
            }
            (node, Some(property), last, None) if !node.starts_with('$') && !node.is_empty() => match last {
                None if property.starts_with('$') => Ok(Vec::new()),
                None => self.value(&place, format!("{node}.{property}"), payload),
                Some("$target") => self.target(&place, &format!("{node}.{property}"), payload),
                Some(attribute) if attribute.starts_with('$') => {
                    self.property_attribute(&place, &format!("{node}.{property}"), attribute, text(payload)?)
                }
                Some(_) => Ok(Vec::new()),
            },
            _ => Ok(Vec::new()),
        }
    }

    fn command(&mut self, device: Option<&str>, command: Command<'_>) -> Result<Wording, Unsayable> {
        let device = self.devices.addressed(device)?;
        let message = self.word(&device, command.name, command.params)?;
        Ok(Wording { messages: vec![message], answer: Awaited::Nothing })
    }

    fn twin(&mut self, device: Option<&str>, twin: Twin<'_>, _reason: &TwinReason) -> Vec<Outgoing> {
        let Ok(device) = self.devices.addressed(device) else { return Vec::new() };
        wishes(&twin).filter_map(|(name, value)| self.word(&device, name, value).ok()).collect()
    }
}

impl Homie {
    fn word(&self, device: &str, name: &str, params: &Json) -> Result<Outgoing, Unsayable> {
        let ids = name.split_once('.').or_else(|| name.split_once('/'));
        let is_id = |id: &str| !id.is_empty() && !id.contains(['/', '.', '$']);
        let Some((node, id)) = ids.filter(|(node, id)| is_id(node) && is_id(id)) else {
            return Err(Unsayable(Cow::Borrowed(
                "a Homie command is node.property, with the value as params",
            )));
        };
        let unknown = Property { is_settable: true, ..Property::default() };
        let known = self.devices.get(device);
        let property = match known.filter(|device| !device.properties.is_empty()) {
            Some(device) => device.properties.get(&format!("{node}.{id}")),
            None => Some(&unknown),
        };
        let property = property.filter(|property| property.is_settable);
        let property = property
            .ok_or_else(|| Unsayable(Cow::Owned(format!("the device has no {node}.{id} that can be set"))))?;
        let root_topic = known.map(|device| device.root_topic.as_str()).filter(|topic| !topic.is_empty());
        let topic = format!("{}/{device}/{node}/{id}/set", root_topic.unwrap_or("homie/5"));
        outgoing(topic, property.payload(params)?)
    }

    fn state<'a>(&mut self, place: &Place<'a>, state: &str) -> Result<Vec<Said<'a>>, Unread> {
        if state.is_empty() {
            // The device has been taken out of the tree.
            let removed = self.devices.remove(place.device);
            self.properties =
                self.properties.saturating_sub(removed.map_or(0, |device| device.properties.len()));
            return Ok(vec![place.said(What::Presence(Presence::Offline))]);
        }
        if !["init", "ready", "disconnected", "sleeping", "lost", "alert"].contains(&state) {
            return Err(Unread(Cow::Borrowed("$state is none of init, ready, disconnected, sleeping, lost")));
        }
        let reported = Map::from_iter([("$state".to_owned(), Json::from(state))]);
        let mut said = vec![place.said(What::Reported(reported))];
        said.extend(presence_of(state).map(|presence| place.said(What::Presence(presence))));
        if let Some(device) = self.devices.get_mut(place.device) {
            state.clone_into(&mut device.state);
            if state == "ready" && !place.is_five {
                said.push(place.said(What::Description(Box::new(device.description()))));
            }
        }
        // A root's last will is that of all its children.
        let children = self.devices.iter().filter(|(_, child)| child.root.as_deref() == Some(place.device));
        let presences = children.filter_map(|(name, child)| {
            let presence = match state {
                "lost" | "disconnected" => Presence::Offline,
                "ready" => presence_of(&child.state)?,
                _ => return None,
            };
            let about = About::Named(Cow::Owned(name.to_owned()));
            Some(Said { about, what: What::Presence(presence) })
        });
        said.extend(presences);
        Ok(said)
    }

    fn description<'a>(&mut self, place: &Place<'a>, payload: &[u8]) -> Result<Vec<Said<'a>>, Unread> {
        if payload.is_empty() {
            return Ok(Vec::new());
        }
        let members = object(payload)?;
        let mut properties = BTreeMap::new();
        let objects = |value: Option<&Json>| value.and_then(Json::as_object).cloned().unwrap_or_default();
        for (node, described) in objects(members.get("nodes")) {
            for (id, property) in objects(described.get("properties")) {
                let room = PROPERTIES_TOTAL_MAX.saturating_sub(self.properties).min(PROPERTIES_MAX);
                if let Some(property) = property.as_object().filter(|_| properties.len() < room) {
                    properties.insert(format!("{node}.{id}"), Property::described(property));
                }
            }
        }
        let mut labels = Vec::new();
        label(&mut labels, "type", members.get("type"));
        label(&mut labels, "homie", members.get("homie"));
        label(&mut labels, "parent", members.get("parent"));
        let name = short(&members, "name");
        let root = short(&members, "root");
        let Some(device) = self.devices.get_mut(place.device) else {
            let unremembered = Device { name, labels, properties, ..Device::default() };
            return Ok(vec![place.said(What::Description(Box::new(unremembered.description())))]);
        };
        self.properties =
            self.properties.saturating_add(properties.len()).saturating_sub(device.properties.len());
        let root_topic = std::mem::take(&mut device.root_topic);
        let state = std::mem::take(&mut device.state);
        *device = Device { root_topic, root, state, name, labels, properties };
        Ok(vec![place.said(What::Description(Box::new(device.description())))])
    }

    fn value<'a>(
        &mut self,
        place: &Place<'a>,
        key: String,
        payload: &'a [u8],
    ) -> Result<Vec<Said<'a>>, Unread> {
        if payload.is_empty() {
            return Ok(vec![place.said(What::Stale(vec![Cow::Owned(key)]))]);
        }
        let property = self.devices.get(place.device).and_then(|device| device.properties.get(&key));
        let is_settable = property.is_some_and(|property| property.is_settable);
        let unknown = Property::default();
        let points = property.unwrap_or(&unknown).read(key.clone(), payload)?;
        let first = points.first().filter(|point| is_settable && point.key == key);
        let reported = first.map(|point| Map::from_iter([(key, json_of(&point.value))]));
        let mut said = vec![place.said(What::Readings(points))];
        said.extend(reported.map(|reported| place.said(What::Reported(reported))));
        Ok(said)
    }

    fn target<'a>(&self, place: &Place<'a>, key: &str, payload: &'a [u8]) -> Result<Vec<Said<'a>>, Unread> {
        if payload.is_empty() {
            return Ok(Vec::new());
        }
        let property = self.devices.get(place.device).and_then(|device| device.properties.get(key));
        let unknown = Property::default();
        let points = property.unwrap_or(&unknown).read(format!("{key}.$target"), payload)?;
        Ok(vec![place.said(What::Readings(points))])
    }

    /// `$name`, `$implementation` and the like of version 4.
    fn attribute<'a>(
        &mut self,
        place: &Place<'a>,
        attribute: &str,
        text: &str,
    ) -> Result<Vec<Said<'a>>, Unread> {
        let Some(device) = self.devices.get_mut(place.device).filter(|_| text.len() <= NAME_LENGTH_MAX)
        else {
            return Ok(Vec::new());
        };
        let label = match attribute {
            "$name" => {
                device.name = Some(text.to_owned());
                return Ok(Vec::new());
            }
            "$homie" => "homie",
            "$implementation" => "implementation",
            "$localip" => "ip",
            "$mac" => "mac",
            _ => return Ok(Vec::new()),
        };
        device.labels.retain(|(name, _)| name != label);
        device.labels.push((label.to_owned(), text.to_owned()));
        Ok(Vec::new())
    }

    /// `$datatype`, `$unit` and the like of a property in version 4.
    fn property_attribute<'a>(
        &mut self,
        place: &Place<'a>,
        key: &str,
        attribute: &str,
        text: &str,
    ) -> Result<Vec<Said<'a>>, Unread> {
        let has_room = self.properties < PROPERTIES_TOTAL_MAX && key.len() <= NAME_LENGTH_MAX;
        let Some(device) = self.devices.get_mut(place.device).filter(|_| !place.is_five) else {
            return Ok(Vec::new());
        };
        if !device.properties.contains_key(key) {
            if !has_room || device.properties.len() >= PROPERTIES_MAX {
                return Ok(Vec::new());
            }
            self.properties = self.properties.saturating_add(1);
        }
        let property = device.properties.entry(key.to_owned()).or_default();
        let short = (text.len() <= NAME_LENGTH_MAX).then(|| text.to_owned());
        match attribute {
            "$datatype" => property.datatype = Datatype::of(text),
            "$format" => property.set_format(text),
            "$settable" => property.is_settable = text == "true",
            "$name" => property.name = short,
            "$unit" => property.unit = short,
            _ => {}
        }
        Ok(Vec::new())
    }
}

impl Device {
    fn description(&self) -> Description {
        let keys = self.properties.iter().map(|(key, property)| KeyDescription {
            key: key.clone(),
            name: property.name.clone(),
            unit: property.unit.clone(),
            written_by: property.is_settable.then(|| key.clone()),
        });
        Description { name: self.name.clone(), labels: self.labels.clone(), keys: keys.collect() }
    }
}

/// A sleeping device is neither there nor gone.
fn presence_of(state: &str) -> Option<Presence> {
    match state {
        "init" | "ready" | "alert" => Some(Presence::Online),
        "disconnected" | "lost" => Some(Presence::Offline),
        _ => None,
    }
}

fn event<'a>(place: &Place<'a>, name: &'static str, payload: &'a [u8]) -> Said<'a> {
    place.said(What::Event { name: Cow::Borrowed(name), payload: Cow::Borrowed(payload) })
}
