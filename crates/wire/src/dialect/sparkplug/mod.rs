//! Sparkplug B (specification 3.0): births, deaths, data and commands of edge nodes and the devices
//! behind them.
//!
//! A node is one MQTT client (section 5.2), so the first node that a connection speaks for is the
//! connected device itself, and a device behind it is named as the node names it. Further nodes, and
//! every node of a profile with `"bridge": true`, are named `group/node`, devices `group/node/device`.
//!
//! A birth says which metrics there are; only with it can be read what follows, so whatever shows that
//! one was missed (a gap in `seq`, a name or alias that none had) asks the node for another.

mod address;
mod dataset;
mod metrics;
mod payload;
mod protobuf;
mod value;

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::{Map, Value as Json, json};

use super::{About, Awaited, Command, Dialect, Outgoing, Presence, Said, Unread, Unsayable, What, Wording};
use address::{Address, Kind, NAMESPACE};
use metrics::{BIRTH_DEATH, Born, Heard, REBIRTH};
use payload::{Metric, Payload, Raw};

/// Nodes of one connection; mostly there is one.
const NODES_MAX: usize = 64;
/// Devices behind one node.
const DEVICES_MAX: usize = 1_024;
/// Metrics that the births of one connection may name.
const KNOWN_MAX: usize = 20_000;
/// A node is asked for its birth no more often than this, in milliseconds.
const REBIRTH_PAUSE: i64 = 10_000;
/// The name under which the hub says that it is there (specification 3.0, section 5.6).
const HOST: &str = "roost";
/// A command that writes several metrics at once, unless a metric is called so.
const SET: &str = "set";
/// A command that asks for a birth.
const REBIRTH_COMMAND: &str = "rebirth";

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sparkplug {
    nodes: HashMap<String, Node>,
    /// The node that the connection itself is.
    own: Option<String>,
    /// Whether no node is the connection itself.
    is_bridge: bool,
    has_said_state: bool,
    /// When something was heard last.
    now: i64,
}

/// An edge node.
#[derive(Debug, Default)]
struct Node {
    /// None before its birth and after its death.
    born: Option<Born>,
    devices: HashMap<String, Born>,
    /// The `seq` that is to come.
    next_seq: Option<u8>,
    birth_death: Option<u64>,
    asked_at: Option<i64>,
}

impl Sparkplug {
    /// As the profile has it: `"dialect":{"name":"sparkplug","bridge":true}`.
    pub(super) fn of_profile(profile: &Map<String, Json>) -> Self {
        let bridge = profile.get("dialect").and_then(|dialect| dialect.get("bridge"));
        Self { is_bridge: bridge.and_then(Json::as_bool).unwrap_or_default(), ..Self::default() }
    }
}

impl Dialect for Sparkplug {
    fn hear<'a>(&mut self, topic: &'a str, payload: &'a [u8], now: i64) -> Result<Vec<Said<'a>>, Unread> {
        let Some(address) = Address::parse(topic)? else { return Ok(Vec::new()) };
        if address.kind == Kind::Command {
            return Ok(Vec::new());
        }
        let payload = Payload::decode(payload)?;
        self.now = now;
        let name = address.node_name();
        if !self.nodes.contains_key(&name) && self.nodes.len() >= NODES_MAX {
            return Err(too_many(NODES_MAX, "nodes behind one connection"));
        }
        if self.own.is_none() && !self.is_bridge {
            self.own = Some(name);
        }
        match (address.kind, address.device) {
            (Kind::Birth, _) => self.birth(address, payload),
            (Kind::Death, None) => Ok(self.node_death(address, &payload)),
            (Kind::Death, Some(device)) => Ok(self.device_death(address, device, &payload)),
            (Kind::Data | Kind::Command, _) => self.data(address, payload),
        }
    }

    fn command(&mut self, device: Option<&str>, command: Command<'_>) -> Result<Wording, Unsayable> {
        let name = self.full_name(device).ok_or(Unsayable(Cow::Borrowed(
            "it is not known which node this is: it has not said anything yet, or there are several",
        )))?;
        let address = Address::of_name(&name)
            .ok_or(Unsayable(Cow::Borrowed("a node is called group/node, a device group/node/device")))?;
        let message = if command.name == REBIRTH_COMMAND {
            self.ask_rebirth(address)
        } else {
            let written = self.written(address, &command)?;
            self.write(address, &written, self.born(address))?
        };
        // What comes of it is said in data, by whoever cares to; nothing refers to the command.
        Ok(Wording { messages: vec![message], answer: Awaited::Nothing })
    }
}

impl Sparkplug {
    fn birth<'a>(&mut self, address: Address<'a>, payload: Payload<'a>) -> Result<Vec<Said<'a>>, Unread> {
        let (born, description) = Born::of(&payload, address.device.unwrap_or(address.node))?;
        let seq = payload.seq;
        let birth_death = birth_death(&payload);
        let heard = Heard::of(payload, Some(&born))?;
        let others = self.known().saturating_sub(self.born(address).map_or(0, |born| born.metrics.len()));
        if others.saturating_add(born.metrics.len()) > KNOWN_MAX {
            return Err(too_many(KNOWN_MAX, "metrics of one connection"));
        }
        let node = self.nodes.entry(address.node_name()).or_default();
        let mut is_missing = false;
        if let Some(device) = address.device {
            if !node.devices.contains_key(device) && node.devices.len() >= DEVICES_MAX {
                return Err(too_many(DEVICES_MAX, "devices behind one node"));
            }
            is_missing = !node.follows(seq) | node.born.is_none();
            node.devices.insert(device.to_owned(), born);
        } else {
            // Its devices are born anew after it.
            node.devices.clear();
            node.born = Some(born);
            node.birth_death = birth_death;
            node.next_seq = seq.and_then(|seq| u8::try_from(seq).ok()).map(|seq| seq.wrapping_add(1));
        }
        let whats = [What::Presence(Presence::Online), What::Description(Box::new(description))];
        let mut said = self.all_about(address, whats.into_iter().chain(heard.into_said()));
        if is_missing {
            said.extend(self.rebirth(address));
        }
        if !std::mem::replace(&mut self.has_said_state, true) {
            said.push(reply(self.state()));
        }
        Ok(said)
    }

    fn data<'a>(&mut self, address: Address<'a>, payload: Payload<'a>) -> Result<Vec<Said<'a>>, Unread> {
        let seq = payload.seq;
        let born = self.born(address);
        let is_unborn = born.is_none();
        let heard = Heard::of(payload, born)?;
        let node = self.nodes.entry(address.node_name()).or_default();
        let is_missing = !node.follows(seq) | is_unborn | heard.is_foreign;
        // A device that was let in after its birth is there all the same.
        let is_there = address.device.map(|_| What::Presence(Presence::Online));
        let mut said = self.all_about(address, is_there.into_iter().chain(heard.into_said()));
        if is_missing {
            said.extend(self.rebirth(address));
        }
        Ok(said)
    }

    /// The will of a connection that a newer one has replaced has that connection's number and says nothing.
    fn node_death<'a>(&mut self, address: Address<'a>, payload: &Payload<'_>) -> Vec<Said<'a>> {
        let node = self.nodes.remove(&address.node_name());
        let newer = node.as_ref().and_then(|node| node.birth_death);
        if let (Some(newer), Some(died)) = (newer, birth_death(payload))
            && is_earlier(died, newer)
        {
            self.nodes.extend(node.map(|node| (address.node_name(), node)));
            return Vec::new();
        }
        let gone = || [What::Presence(Presence::Offline), What::Stale(Vec::new())];
        let mut said = self.all_about(address, gone().into_iter());
        for device in node.iter().flat_map(|node| node.devices.keys()) {
            said.extend(self.all_about(Address { device: Some(device), ..address }, gone().into_iter()));
        }
        said
    }

    fn device_death<'a>(
        &mut self,
        address: Address<'a>,
        device: &str,
        payload: &Payload<'_>,
    ) -> Vec<Said<'a>> {
        let node = self.nodes.entry(address.node_name()).or_default();
        node.devices.remove(device);
        let is_missing = !node.follows(payload.seq) | node.born.is_none();
        let gone = [What::Presence(Presence::Offline), What::Stale(Vec::new())];
        let mut said = self.all_about(address, gone.into_iter());
        if is_missing {
            said.extend(self.rebirth(address));
        }
        said
    }

    /// `group/node` or `group/node/device` for the names that are given here.
    fn full_name<'n>(&'n self, device: Option<&'n str>) -> Option<Cow<'n, str>> {
        let own = self.own.as_deref();
        match device {
            None => own.map(Cow::Borrowed),
            Some(name) if name.contains('/') => Some(Cow::Borrowed(name)),
            Some(name) => own.map(|own| Cow::Owned(format!("{own}/{name}"))),
        }
    }

    /// Who is meant by these names.
    fn about<'a>(&self, node: &str, device: Option<&str>) -> About<'a> {
        match (device, self.own.as_deref() == Some(node)) {
            (None, true) => About::Connection,
            (Some(device), true) => About::Named(Cow::Owned(device.to_owned())),
            (None, false) => About::Named(Cow::Owned(node.to_owned())),
            (Some(device), false) => About::Named(Cow::Owned(format!("{node}/{device}"))),
        }
    }

    fn all_about<'a>(&self, address: Address<'_>, whats: impl Iterator<Item = What<'a>>) -> Vec<Said<'a>> {
        let about = self.about(&address.node_name(), address.device);
        whats.map(|what| Said { about: about.clone(), what }).collect()
    }

    fn born(&self, address: Address<'_>) -> Option<&Born> {
        let node = self.nodes.get(&address.node_name())?;
        match address.device {
            Some(device) => node.devices.get(device),
            None => node.born.as_ref(),
        }
    }

    fn known(&self) -> usize {
        let of = |node: &Node| {
            let all = node.born.iter().chain(node.devices.values());
            all.map(|born| born.metrics.len()).sum::<usize>()
        };
        self.nodes.values().map(of).sum()
    }

    /// Asks for a birth, unless that was done a moment ago.
    fn rebirth<'a>(&mut self, address: Address<'a>) -> Option<Said<'a>> {
        let now = self.now;
        let node = self.nodes.get_mut(&address.node_name())?;
        // A clock that was set back does not end the asking.
        let is_soon = node.asked_at.is_some_and(|at| (0..REBIRTH_PAUSE).contains(&now.saturating_sub(at)));
        if is_soon {
            return None;
        }
        node.asked_at = Some(now);
        Some(reply(self.ask_rebirth(address)))
    }

    fn ask_rebirth(&self, address: Address<'_>) -> Outgoing {
        let metric = Metric {
            name: Some(REBIRTH),
            timestamp: self.timestamp(),
            datatype: Some(value::BOOLEAN),
            value: Some(Raw::Boolean(true)),
            ..Metric::default()
        };
        self.message(Address { device: None, ..address }, vec![metric])
    }

    /// That the hub is there. It is retained: nodes that wait for their host wait for this.
    fn state(&self) -> Outgoing {
        let payload = json!({ "online": true, "timestamp": self.now }).to_string().into_bytes();
        Outgoing { topic: format!("{NAMESPACE}/STATE/{HOST}"), payload, retain: true }
    }

    /// Names and values that a command writes.
    fn written<'c>(
        &self,
        address: Address<'_>,
        command: &Command<'c>,
    ) -> Result<Vec<(&'c str, &'c Json)>, Unsayable> {
        let is_metric = self.born(address).is_some_and(|born| born.metrics.contains_key(command.name));
        match command.params {
            Json::Object(several) if command.name == SET && !is_metric && !several.is_empty() => {
                Ok(several.iter().map(|(name, value)| (name.as_str(), value)).collect())
            }
            Json::Object(members) => match (members.len(), members.get("value")) {
                (1, Some(value)) => Ok(vec![(command.name, value)]),
                _ => Err(Unsayable(Cow::Borrowed(
                    "a command is a metric's name with its value, or \"set\" with several, or \"rebirth\"",
                ))),
            },
            value => Ok(vec![(command.name, value)]),
        }
    }

    fn write(
        &self,
        address: Address<'_>,
        written: &[(&str, &Json)],
        born: Option<&Born>,
    ) -> Result<Outgoing, Unsayable> {
        let mut metrics = Vec::with_capacity(written.len());
        for (name, value) in written {
            let known = born.map(|born| born.metrics.get(*name));
            if let Some(None) = known {
                return Err(Unsayable(Cow::Owned(format!("{name} is no metric of its birth"))));
            }
            let known = known.flatten();
            if known.is_some_and(|known| known.is_read_only) {
                return Err(Unsayable(Cow::Owned(format!("{name} can only be read"))));
            }
            let (datatype, raw) = value::worded(name, known.and_then(|known| known.datatype), value)?;
            metrics.push(Metric {
                name: Some(name),
                timestamp: self.timestamp(),
                datatype: Some(datatype),
                value: Some(raw),
                ..Metric::default()
            });
        }
        Ok(self.message(address, metrics))
    }

    fn message(&self, address: Address<'_>, metrics: Vec<Metric<'_>>) -> Outgoing {
        let payload = Payload { timestamp: self.timestamp(), seq: None, metrics }.encode();
        Outgoing { topic: address.command_topic(), payload, retain: false }
    }

    fn timestamp(&self) -> Option<u64> {
        u64::try_from(self.now).ok().filter(|now| *now > 0)
    }
}

impl Node {
    /// Whether this is the message that was to come. Whoever leaves `seq` out is believed.
    fn follows(&mut self, seq: Option<u64>) -> bool {
        let Some(seq) = seq else { return true };
        let Ok(seq) = u8::try_from(seq) else { return false };
        let expected = self.next_seq.replace(seq.wrapping_add(1));
        expected.is_none_or(|expected| expected == seq)
    }
}

/// The number that a birth and the will of its connection share.
fn birth_death(payload: &Payload<'_>) -> Option<u64> {
    let metric = payload.metrics.iter().find(|metric| metric.name == Some(BIRTH_DEATH))?;
    match metric.value? {
        Raw::Int(value) => Some(value.into()),
        Raw::Long(value) => Some(value),
        _ => None,
    }
}

/// Whether a number of births and deaths, which go on with 0 after 255, is one of those before. A death
/// that says a later one is taken: a library in use counts on before it says good-bye.
fn is_earlier(died: u64, newer: u64) -> bool {
    (1..=128).contains(&(newer.wrapping_sub(died) & 0xFF))
}

fn reply<'a>(outgoing: Outgoing) -> Said<'a> {
    Said { about: About::Connection, what: What::Reply(outgoing) }
}

fn too_many(most: usize, what: &str) -> Unread {
    Unread(Cow::Owned(format!("there are more than {most} {what}")))
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

#[cfg(test)]
mod recorded;
