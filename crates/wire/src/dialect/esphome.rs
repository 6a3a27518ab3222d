//! ESPHome over MQTT: `<prefix>/<component>/<object id>/state` in, `…/command` out.
//!
//! Keys are the object ids, followed by the member where a component has several topics
//! (`thermostat.mode`). Values stay what the firmware writes: a switch is the text `ON` or `OFF`. Of what
//! it announces for Home Assistant, units and names are taken, and which component an object is.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::document::{
    Readings, bare, is_not_a_number, label, level, object, outgoing, payload_of, point, short, text, text_of,
};
use super::known::Known;
use super::{
    About, Awaited, Command, Description, Dialect, KeyDescription, Presence, Said, Unread, Unsayable, What,
    Wording,
};

/// Object ids remembered for one device, each with its component.
const OBJECTS_MAX: usize = 256;
/// The longest object id that is remembered.
const OBJECT_LENGTH_MAX: usize = 128;
/// Components that have a state, and whether they take commands.
const COMPONENTS: [(&str, bool); 20] = [
    ("sensor", false),
    ("binary_sensor", false),
    ("text_sensor", false),
    ("event", false),
    ("switch", true),
    ("light", true),
    ("fan", true),
    ("cover", true),
    ("climate", true),
    ("number", true),
    ("select", true),
    ("text", true),
    ("button", true),
    ("lock", true),
    ("valve", true),
    ("date", true),
    ("time", true),
    ("datetime", true),
    ("update", true),
    ("alarm_control_panel", true),
];

/// What has been heard on one connection.
#[derive(Debug, Default)]
pub(super) struct Esphome {
    devices: Known<Node>,
}

/// Its objects by their ids: the one that takes commands where several share an id.
#[derive(Debug, Default)]
struct Node {
    objects: BTreeMap<String, Object>,
}

#[derive(Debug)]
struct Object {
    component: &'static str,
    takes_commands: bool,
    name: Option<String>,
    unit: Option<String>,
}

impl Node {
    fn learn(&mut self, place: &Place<'_>) -> Option<&mut Object> {
        let is_known = self.objects.contains_key(place.object);
        if !is_known && (self.objects.len() >= OBJECTS_MAX || place.object.len() > OBJECT_LENGTH_MAX) {
            return None;
        }
        let Place { component, takes_commands, .. } = *place;
        let object = self.objects.entry(place.object.to_owned());
        let object = object.or_insert(Object { component, takes_commands, name: None, unit: None });
        if takes_commands {
            (object.component, object.takes_commands) = (component, takes_commands);
        }
        Some(object)
    }

    fn keys(&self) -> Vec<KeyDescription> {
        let keys = self.objects.iter().map(|(id, object)| KeyDescription {
            key: id.clone(),
            name: object.name.clone(),
            unit: object.unit.clone(),
            written_by: object.takes_commands.then(|| id.clone()),
        });
        keys.collect()
    }
}

/// `<device>/<component>/<object>[/<member>]/state`.
struct Place<'a> {
    device: &'a str,
    component: &'static str,
    takes_commands: bool,
    object: &'a str,
    member: Option<&'a str>,
}

impl<'a> Place<'a> {
    fn of(topic: &'a str) -> Option<Self> {
        Self::before_end(topic.strip_suffix("/state")?)
    }

    fn before_end(rest: &'a str) -> Option<Self> {
        let (rest, last) = rest.rsplit_once('/')?;
        if let Some(place) = Self::component(rest, last, None) {
            return Some(place);
        }
        let (rest, object) = rest.rsplit_once('/')?;
        Self::component(rest, object, Some(last))
    }

    fn component(rest: &'a str, object: &'a str, member: Option<&'a str>) -> Option<Self> {
        let (device, name) = rest.rsplit_once('/')?;
        let (component, takes_commands) = COMPONENTS.into_iter().find(|(known, _)| *known == name)?;
        let is_whole = !device.is_empty() && !object.is_empty() && member != Some("");
        is_whole.then_some(Self { device, component, takes_commands, object, member })
    }

    fn key(&self) -> Cow<'a, str> {
        match self.member {
            None => Cow::Borrowed(self.object),
            Some(member) => Cow::Owned(format!("{}.{member}", self.object)),
        }
    }
}

impl Dialect for Esphome {
    fn hear<'a>(&mut self, topic: &'a str, payload: &'a [u8], _now: i64) -> Result<Vec<Said<'a>>, Unread> {
        if let Some(name) = topic.strip_prefix("esphome/discover/") {
            return announcement(name, payload);
        }
        if topic.strip_prefix("homeassistant/").is_some_and(|rest| rest.ends_with("/config")) {
            return self.configuration(payload);
        }
        if let Some(place) = Place::of(topic) {
            let what = state(&place, payload)?;
            if let Some(node) = self.devices.of(place.device) {
                node.learn(&place);
            }
            return Ok(what.into_iter().map(|what| said(place.device, what)).collect());
        }
        if let Some(device) = topic.strip_suffix("/status").filter(|device| !device.is_empty()) {
            let presence = match text(payload)? {
                "online" => Presence::Online,
                "offline" => Presence::Offline,
                "" => return Ok(Vec::new()),
                _ => return Err(Unread(Cow::Borrowed("status says neither online nor offline"))),
            };
            self.devices.of(device);
            return Ok(vec![said(device, What::Presence(presence))]);
        }
        if let Some(device) = topic.strip_suffix("/debug").filter(|device| !device.is_empty()) {
            let event = What::Event { name: Cow::Borrowed("debug"), payload: Cow::Borrowed(payload) };
            return Ok(vec![said(device, event)]);
        }
        Ok(Vec::new())
    }

    /// The name is an object id (`relay`, `thermostat.mode`), or one with its component before it
    /// (`switch/relay`), which needs no knowledge of the device.
    fn command(&mut self, device: Option<&str>, command: Command<'_>) -> Result<Wording, Unsayable> {
        let device = self.devices.addressed(device)?;
        let (object, member) = match command.name.split_once('.') {
            Some((object, member)) => (object, Some(member)),
            None => (command.name, None),
        };
        let (component, object) = match object.split_once('/') {
            Some((component, object)) => (component, object),
            None => {
                let component = self.devices.get(&device).and_then(|node| node.objects.get(object));
                let component = component.map(|object| object.component).ok_or_else(|| {
                    let detail =
                        "nothing of that name was heard: put its component before it, as in switch/relay";
                    Unsayable(Cow::Borrowed(detail))
                })?;
                (component, object)
            }
        };
        let takes = COMPONENTS.iter().any(|(known, takes)| *known == component && *takes);
        let is_id = |id: &str| !id.is_empty() && !id.contains('/');
        if !takes || !is_id(object) || member.is_some_and(|member| !is_id(member)) {
            return Err(Unsayable(Cow::Owned(format!("a {component} takes no commands"))));
        }
        let member = member.map(|member| format!("{member}/")).unwrap_or_default();
        let payload = match command.params {
            Json::Bool(true) => b"ON".to_vec(),
            Json::Bool(false) => b"OFF".to_vec(),
            Json::Null if component == "button" => b"PRESS".to_vec(),
            params => payload_of(params),
        };
        let message = outgoing(format!("{device}/{component}/{object}/{member}command"), payload)?;
        Ok(Wording { messages: vec![message], answer: Awaited::Nothing })
    }
}

impl Esphome {
    /// What a node announces for Home Assistant; it always writes its topics out.
    fn configuration<'a>(&mut self, payload: &[u8]) -> Result<Vec<Said<'a>>, Unread> {
        if payload.is_empty() {
            return Ok(Vec::new());
        }
        let members = object(payload)?;
        let either = |one: &str, other: &str| text_of(&members, one).or_else(|| text_of(&members, other));
        let state = either("stat_t", "state_topic").and_then(Place::of);
        let command = either("cmd_t", "command_topic").and_then(|topic| topic.strip_suffix("/command"));
        let Some(place) = state.or_else(|| command.and_then(Place::before_end)) else {
            return Ok(Vec::new());
        };
        let Some(node) = self.devices.of(place.device) else { return Ok(Vec::new()) };
        if let Some(object) = node.learn(&place) {
            object.name = short(&members, "name");
            object.unit = short(&members, "unit_of_meas").or_else(|| short(&members, "unit_of_measurement"));
        }
        let description = Description { keys: node.keys(), ..Description::default() };
        let about = About::Named(Cow::Owned(place.device.to_owned()));
        Ok(vec![Said { about, what: What::Description(Box::new(description)) }])
    }
}

fn said<'a>(device: &'a str, what: What<'a>) -> Said<'a> {
    Said { about: About::Named(Cow::Borrowed(device)), what }
}

fn state<'a>(place: &Place<'a>, payload: &'a [u8]) -> Result<Option<What<'a>>, Unread> {
    let key = place.key();
    if is_not_a_number(payload) {
        return Ok(Some(What::Stale(vec![key])));
    }
    if payload.is_empty() {
        return Ok(None);
    }
    if payload.first() == Some(&b'{') {
        let members = object(payload)?;
        if place.component == "event" {
            let name = text_of(&members, "event_type").unwrap_or(place.object).to_owned();
            let name = Cow::Owned(level(&name));
            return Ok(Some(What::Event { name, payload: Cow::Borrowed(payload) }));
        }
        let mut readings = Readings::default();
        readings.add_members(&key, members)?;
        return Ok(Some(What::Readings(readings.done()?)));
    }
    let Some(value) = bare(payload)? else { return Ok(None) };
    Ok(Some(What::Readings(vec![point(key, value)?])))
}

fn announcement<'a>(name: &'a str, payload: &'a [u8]) -> Result<Vec<Said<'a>>, Unread> {
    if payload.is_empty() || name.is_empty() {
        return Ok(Vec::new());
    }
    let members = object(payload)?;
    let mut labels = vec![("manufacturer".to_owned(), "ESPHome".to_owned())];
    for (name, member) in
        [("model", "board"), ("platform", "platform"), ("version", "version"), ("ip", "ip"), ("mac", "mac")]
    {
        label(&mut labels, name, members.get(member));
    }
    let name_for_people = text_of(&members, "friendly_name").or_else(|| text_of(&members, "name"));
    let description = Description { name: name_for_people.map(str::to_owned), labels, keys: Vec::new() };
    Ok(vec![said(name, What::Description(Box::new(description)))])
}
