//! Home Assistant's MQTT discovery, consumed: devices describe their entities below `homeassistant/`, and
//! from then on their own topics are understood.
//!
//! A device is known by its first identifier, an entity by the object id of its configuration (in a
//! device's configuration: by its name among the components). What an entity has beside its state stands
//! behind a dot: `lamp.brightness`.

mod abbreviations;
mod config;
mod control;
mod state;
mod template;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};

use self::config::{DeviceInfo, Entity, Slot};
use self::state::Heard;
use super::announce::announced_device;
use super::document::{object, wishes};
use super::{
    About, Awaited, Command, Description, Dialect, KeyDescription, Outgoing, Presence, Said, Twin,
    TwinReason, Unread, Unsayable, What, Wording,
};

/// Where discovery takes place.
const PREFIX: &str = "homeassistant/";
/// Entities remembered for one connection.
const ENTITIES_MAX: usize = 4_096;
/// About how many bytes all of them may take.
const BYTES_MAX: usize = 8 * 1_024 * 1_024;
/// Keys described for one device.
const KEYS_MAX: usize = 512;

/// What has been announced on one connection.
#[derive(Debug, Default)]
pub(super) struct HomeAssistant {
    /// By their configurations' topics, and the name in a device's configuration.
    entities: BTreeMap<(String, String), Entity>,
    devices: BTreeMap<String, DeviceInfo>,
    /// Which entities are read from a topic.
    topics: BTreeMap<String, BTreeSet<(String, String)>>,
    bytes: usize,
}

impl Dialect for HomeAssistant {
    fn hear<'a>(&mut self, topic: &'a str, payload: &'a [u8], _now: i64) -> Result<Vec<Said<'a>>, Unread> {
        let slot = topic.strip_prefix(PREFIX).and_then(|rest| Some((rest, Slot::of(rest)?)));
        match slot {
            Some((place, _)) if payload.is_empty() => Ok(self.forget(place)),
            // what we say of our own devices, brought back by a bridge.
            Some(_) if announced_device(topic, payload).is_some() => Ok(Vec::new()),
            Some((place, slot)) => self.announcement(place, &slot, payload),
            None => self.state(topic, payload),
        }
    }

    /// The name is an entity's key, or that of one of its members (`lamp.brightness`).
    fn command(&mut self, device: Option<&str>, command: Command<'_>) -> Result<Wording, Unsayable> {
        let message = self.word(device, command.name, command.params)?;
        Ok(Wording { messages: vec![message], answer: Awaited::Nothing })
    }

    fn twin(&mut self, device: Option<&str>, twin: Twin<'_>, _reason: &TwinReason) -> Vec<Outgoing> {
        wishes(&twin).filter_map(|(name, value)| self.word(device, name, value).ok()).collect()
    }
}

impl HomeAssistant {
    fn announcement<'a>(
        &mut self,
        place: &str,
        slot: &Slot<'_>,
        payload: &[u8],
    ) -> Result<Vec<Said<'a>>, Unread> {
        // Triggers and tags have no state and are not entities.
        if matches!(slot.component, "device_automation" | "tag") {
            return Ok(Vec::new());
        }
        let (info, entities) = config::read(slot, object(payload)?)?;
        let size: usize = entities.iter().map(Entity::size).sum();
        let freed: usize = self.at(place).map(|(_, entity)| entity.size()).sum();
        let count = self.entities.len().saturating_add(entities.len()).saturating_sub(self.at(place).count());
        if count > ENTITIES_MAX || self.bytes.saturating_add(size).saturating_sub(freed) > BYTES_MAX {
            return Err(Unread(Cow::Borrowed("too much has been announced on this connection")));
        }
        let keys: BTreeSet<&str> = entities.iter().map(|entity| entity.key.as_str()).collect();
        let known = self.devices.get(&info.id).cloned().unwrap_or_default();
        let mut said = self.forget(place);
        // What is only announced anew is not gone.
        said.retain_mut(|said| match &mut said.what {
            What::Stale(stale) => {
                stale.retain(|key| !keys.contains(&**key));
                !stale.is_empty()
            }
            _ => true,
        });
        let id = info.id.clone();
        for entity in entities {
            let name = (place.to_owned(), entity.key.clone());
            let availability = entity.availability.iter().map(|availability| &availability.topic);
            for topic in entity.sources.iter().map(|source| &source.topic).chain(availability) {
                self.topics.entry(topic.clone()).or_default().insert(name.clone());
            }
            self.bytes = self.bytes.saturating_add(entity.size());
            self.entities.insert(name, entity);
        }
        self.devices.insert(id.clone(), info.or(known));
        let what = What::Description(Box::new(self.description(&id)));
        said.push(Said { about: About::Named(Cow::Owned(id)), what });
        Ok(said)
    }

    /// What one configuration announced.
    fn at(&self, place: &str) -> impl Iterator<Item = (&(String, String), &Entity)> {
        let from = (place.to_owned(), String::new());
        let place = place.to_owned();
        self.entities.range(from..).take_while(move |((of, _), _)| *of == place)
    }

    /// Takes back what a configuration announced.
    fn forget<'a>(&mut self, place: &str) -> Vec<Said<'a>> {
        let names: Vec<_> = self.at(place).map(|(name, _)| name.clone()).collect();
        let mut stale: BTreeMap<String, Vec<Cow<'a, str>>> = BTreeMap::new();
        for name in names {
            let Some(entity) = self.entities.remove(&name) else { continue };
            self.bytes = self.bytes.saturating_sub(entity.size());
            let availability = entity.availability.iter().map(|availability| &availability.topic);
            for topic in entity.sources.iter().map(|source| &source.topic).chain(availability) {
                if let Some(readers) = self.topics.get_mut(topic) {
                    readers.remove(&name);
                    if readers.is_empty() {
                        self.topics.remove(topic);
                    }
                }
            }
            stale.entry(entity.device).or_default().push(Cow::Owned(entity.key));
        }
        for device in stale.keys() {
            if self.of_device(device).next().is_none() {
                self.devices.remove(device);
            }
        }
        let said = stale
            .into_iter()
            .map(|(device, keys)| Said { about: About::Named(Cow::Owned(device)), what: What::Stale(keys) });
        said.collect()
    }

    fn of_device(&self, device: &str) -> impl Iterator<Item = &Entity> {
        self.entities.values().filter(move |entity| entity.device == device)
    }

    fn description(&self, device: &str) -> Description {
        let info = self.devices.get(device).cloned().unwrap_or_default();
        let keys = self.of_device(device).flat_map(|entity| {
            let members =
                entity.sources.iter().chain(&entity.controls).map(|channel| channel.member.as_str());
            let members: BTreeSet<&str> = members.chain([""]).collect();
            members.into_iter().map(|member| {
                let is_set = entity.controls.iter().any(|control| control.member == member);
                let key = entity.key_of(member);
                let name = entity.name.clone().filter(|_| member.is_empty());
                let unit = entity.unit.clone().filter(|_| member.is_empty());
                KeyDescription { written_by: is_set.then(|| key.clone()), key, name, unit }
            })
        });
        Description { name: info.name, labels: info.labels, keys: keys.take(KEYS_MAX).collect() }
    }

    fn state<'a>(&self, topic: &'a str, payload: &'a [u8]) -> Result<Vec<Said<'a>>, Unread> {
        let Some(readers) = self.topics.get(topic) else { return Ok(Vec::new()) };
        let entities: Vec<&Entity> = readers.iter().filter_map(|name| self.entities.get(name)).collect();
        let mut heard = Heard::new(topic, payload);
        for entity in &entities {
            heard.states_of(entity);
        }
        let mut said = self.presences(topic, &heard, &entities)?;
        let (states, unread) = heard.done();
        said.extend(states);
        match unread {
            Some(unread) if said.is_empty() => Err(unread),
            _ => Ok(said),
        }
    }

    /// A topic that all entities of a device name as their availability is the device's presence; one
    /// that only some name makes their values stale.
    fn presences<'a>(
        &self,
        topic: &str,
        heard: &Heard<'a>,
        entities: &[&Entity],
    ) -> Result<Vec<Said<'a>>, Unread> {
        let mut devices: BTreeMap<&str, (Presence, Vec<&str>)> = BTreeMap::new();
        for entity in entities {
            let Some(availability) = entity.availability.iter().find(|of| of.topic == topic) else {
                continue;
            };
            let Some(presence) = heard.presence(availability)? else { continue };
            let (said, keys) = devices.entry(&entity.device).or_insert((presence, Vec::new()));
            *said = presence;
            keys.push(&entity.key);
        }
        let said = devices.into_iter().filter_map(|(device, (presence, keys))| {
            let about = About::Named(Cow::Owned(device.to_owned()));
            let is_whole = self.of_device(device).count() == keys.len();
            let what = match presence {
                presence if is_whole => What::Presence(presence),
                Presence::Online => return None,
                Presence::Offline => {
                    What::Stale(keys.into_iter().map(|key| Cow::Owned(key.to_owned())).collect())
                }
            };
            Some(Said { about, what })
        });
        Ok(said.collect())
    }

    fn word(&self, device: Option<&str>, name: &str, params: &Json) -> Result<Outgoing, Unsayable> {
        let device = match (device, self.devices.len()) {
            (Some(device), _) => device,
            (None, 1) => self.devices.keys().next().map_or("", String::as_str),
            (None, _) => {
                let detail = "this connection speaks for no device, or several: command one of them";
                return Err(Unsayable(Cow::Borrowed(detail)));
            }
        };
        let whole = self.of_device(device).find(|entity| entity.key == name && !entity.controls.is_empty());
        if let Some(entity) = whole {
            return control::word(entity, "", params);
        }
        let parts = name.rsplit_once('.');
        let member =
            parts.and_then(|(key, member)| Some((self.of_device(device).find(|of| of.key == key)?, member)));
        let Some((entity, member)) = member else {
            return Err(Unsayable(Cow::Owned(format!(
                "the device has announced no {name:?} that can be set"
            ))));
        };
        control::word(entity, member, params)
    }
}

/// Reported state of what can be set.
fn reported<'a>(device: String, members: Map<String, Json>) -> Option<Said<'a>> {
    let about = About::Named(Cow::Owned(device));
    (!members.is_empty()).then_some(Said { about, what: What::Reported(members) })
}
