//! Tasmota: `tele/…` and `stat/…` in, `cmnd/…` out, with the prefix before the device's topic or behind it.
//!
//! Keys and values are the firmware's: `POWER` is the text `ON` or `OFF`. Its `Time` is local time
//! without a zone and so not used.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use serde_json::{Map, Value as Json};

use super::document::{
    Readings, bare, label, level, object, outgoing, payload_of, point, text, text_of, wishes,
};
use super::known::{DEVICES_MAX, Known, NAME_LENGTH_MAX};
use super::{
    About, Answer, Awaited, Command, Description, Dialect, KeyDescription, Outgoing, Presence, Said, Twin,
    TwinReason, Unread, Unsayable, What, Wording,
};
use crate::telemetry::Point;

/// Names of commands remembered for one device, to know its answers by.
const ASKED_MAX: usize = 16;
/// The longest name of a command.
const COMMAND_LENGTH_MAX: usize = 32;
/// Members of a state that can be written, beside `POWER…`.
const WRITTEN: [&str; 9] =
    ["Dimmer", "Color", "HSBColor", "White", "CT", "Channel", "Scheme", "Fade", "Speed"];
/// Units by the last part of a key, without the digits and dots that end it (`PM2.5`).
const UNITS: [(&str, &str); 14] = [
    ("Power", "W"),
    ("ApparentPower", "VA"),
    ("ReactivePower", "var"),
    ("Voltage", "V"),
    ("Current", "A"),
    ("Frequency", "Hz"),
    ("Total", "kWh"),
    ("Today", "kWh"),
    ("Yesterday", "kWh"),
    ("Humidity", "%"),
    ("Illuminance", "lx"),
    ("CarbonDioxide", "ppm"),
    ("eCO2", "ppm"),
    ("PM", "µg/m³"),
];

/// What has been heard on one connection.
#[derive(Debug, Default)]
pub(super) struct Tasmota {
    devices: Known<Plug>,
    /// The topics of devices by the hardware address they announce themselves with.
    announced: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
struct Plug {
    order: Order,
    asked: VecDeque<String>,
    is_described: bool,
}

/// Where the prefix stands in a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Order {
    /// `%prefix%/%topic%/`, the default.
    #[default]
    PrefixFirst,
    /// `%topic%/%prefix%/`.
    TopicFirst,
}

#[derive(Clone, Copy)]
enum Prefix {
    Tele,
    Stat,
}

struct Place<'a> {
    prefix: Prefix,
    order: Order,
    device: &'a str,
    name: &'a str,
}

impl<'a> Place<'a> {
    fn of(topic: &'a str) -> Option<Self> {
        let (rest, name) = topic.rsplit_once('/')?;
        let prefix = |level| match level {
            "tele" => Some(Prefix::Tele),
            "stat" => Some(Prefix::Stat),
            _ => None,
        };
        let first = rest.split_once('/').and_then(|(level, device)| Some((prefix(level)?, device)));
        let last = || rest.rsplit_once('/').and_then(|(device, level)| Some((prefix(level)?, device)));
        let (order, (prefix, device)) = match first {
            Some(found) => (Order::PrefixFirst, found),
            None => (Order::TopicFirst, last()?),
        };
        let is_whole = !device.is_empty() && !name.is_empty();
        is_whole.then_some(Self { prefix, order, device, name })
    }

    fn said(&self, what: What<'a>) -> Said<'a> {
        Said { about: About::Named(Cow::Borrowed(self.device)), what }
    }
}

impl Dialect for Tasmota {
    fn hear<'a>(&mut self, topic: &'a str, payload: &'a [u8], _now: i64) -> Result<Vec<Said<'a>>, Unread> {
        if let Some(rest) = topic.strip_prefix("tasmota/discovery/") {
            return self.announcement(rest, payload);
        }
        let Some(place) = Place::of(topic) else { return Ok(Vec::new()) };
        let said = match (place.prefix, place.name) {
            (Prefix::Tele, "LWT") => presence(payload)?.map(What::Presence).into_iter().collect(),
            (Prefix::Tele, "STATE") => state(object(payload)?)?,
            (Prefix::Tele, "SENSOR") => self.sensor(&place, object(payload)?)?,
            (Prefix::Tele, name) if name.starts_with("INFO") => vec![info(object(payload)?)],
            (Prefix::Tele, _) => vec![event(place.name, payload)],
            (Prefix::Stat, "LOGGING") => Vec::new(),
            (Prefix::Stat, name) if name.starts_with("POWER") => {
                let value = bare(payload)?;
                let point = value.map(|value| point(name, value)).transpose()?;
                vec![What::Readings(point.into_iter().collect())]
            }
            (Prefix::Stat, name) if name.starts_with("STATUS") => self.status(&place, object(payload)?)?,
            (Prefix::Stat, name) => match object(payload) {
                Ok(members) => self.result(&place, members, payload),
                Err(unread) if name == "RESULT" => return Err(unread),
                Err(_no_object) => vec![event(name, payload)],
            },
        };
        if let Some(plug) = self.devices.of(place.device) {
            plug.order = place.order;
        }
        Ok(said.into_iter().map(|what| place.said(what)).collect())
    }

    fn command(&mut self, device: Option<&str>, command: Command<'_>) -> Result<Wording, Unsayable> {
        let device = self.devices.addressed(device)?;
        let message = self.word(&device, command.name, command.params)?;
        if command.name.to_ascii_lowercase().starts_with("backlog") {
            return Ok(Wording { messages: vec![message], answer: Awaited::Nothing });
        }
        if let Some(plug) = self.devices.get_mut(&device) {
            plug.asked.retain(|name| name != command.name);
            plug.asked.push_back(command.name.to_owned());
            if plug.asked.len() > ASKED_MAX {
                plug.asked.pop_front();
            }
        }
        Ok(Wording { messages: vec![message], answer: Awaited::Answer })
    }

    fn twin(&mut self, device: Option<&str>, twin: Twin<'_>, _reason: &TwinReason) -> Vec<Outgoing> {
        let Ok(device) = self.devices.addressed(device) else { return Vec::new() };
        wishes(&twin).filter_map(|(name, value)| self.word(&device, name, value).ok()).collect()
    }
}

impl Tasmota {
    fn word(&self, device: &str, name: &str, params: &Json) -> Result<Outgoing, Unsayable> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || name.len() > COMMAND_LENGTH_MAX || !name.bytes().all(is_name) {
            let detail = "a Tasmota command is one word such as Power1, with its value as params";
            return Err(Unsayable(Cow::Borrowed(detail)));
        }
        let topic = match self.devices.get(device).map(|plug| plug.order).unwrap_or_default() {
            Order::PrefixFirst => format!("cmnd/{device}/{name}"),
            Order::TopicFirst => format!("{device}/cmnd/{name}"),
        };
        outgoing(topic, payload_of(params))
    }

    /// `<mac>/config` and `<mac>/sensors`.
    fn announcement<'a>(&mut self, rest: &'a str, payload: &'a [u8]) -> Result<Vec<Said<'a>>, Unread> {
        let Some((address, what)) = rest.split_once('/') else { return Ok(Vec::new()) };
        if payload.is_empty() {
            self.announced.remove(address);
            return Ok(Vec::new());
        }
        match what {
            "config" => {
                let members = object(payload)?;
                let Some(device) = text_of(&members, "t").filter(|name| !name.is_empty()) else {
                    return Err(Unread(Cow::Borrowed("the announcement has no topic (t)")));
                };
                let has_room = self.announced.len() < DEVICES_MAX && address.len() <= NAME_LENGTH_MAX;
                if (has_room || self.announced.contains_key(address)) && device.len() <= NAME_LENGTH_MAX {
                    self.announced.insert(address.to_owned(), device.to_owned());
                }
                if let (Some(plug), Some(full)) = (self.devices.of(device), text_of(&members, "ft")) {
                    plug.order =
                        if full.starts_with("%topic%") { Order::TopicFirst } else { Order::PrefixFirst };
                }
                let about = About::Named(Cow::Owned(device.to_owned()));
                Ok(vec![Said { about, what: What::Description(Box::new(configured(&members))) }])
            }
            "sensors" => {
                let mut members = object(payload)?;
                let (Some(device), Some(Json::Object(sensors))) =
                    (self.announced.get(address).cloned(), members.remove("sn"))
                else {
                    return Ok(Vec::new());
                };
                let keys = measured(&sensors, &readings(sensors.clone())?);
                if let Some(plug) = self.devices.of(&device) {
                    plug.is_described = true;
                }
                let what = What::Description(Box::new(Description { keys, ..Description::default() }));
                Ok(vec![Said { about: About::Named(Cow::Owned(device)), what }])
            }
            _ => Ok(Vec::new()),
        }
    }

    fn sensor<'a>(&mut self, place: &Place<'_>, members: Map<String, Json>) -> Result<Vec<What<'a>>, Unread> {
        let points = readings(members.clone())?;
        let mut said = Vec::new();
        if let Some(plug) = self.devices.of(place.device).filter(|plug| !plug.is_described) {
            plug.is_described = true;
            let keys = measured(&members, &points);
            said.push(What::Description(Box::new(Description { keys, ..Description::default() })));
        }
        said.push(What::Readings(points));
        Ok(said)
    }

    /// `stat/<t>/STATUS8` and the like.
    fn status<'a>(&mut self, place: &Place<'_>, members: Map<String, Json>) -> Result<Vec<What<'a>>, Unread> {
        let answer = self.answer(place.device, place.name, Json::Object(members.clone()));
        let mut said = match members.iter().next() {
            Some((name, Json::Object(sensors))) if name == "StatusSNS" => {
                self.sensor(place, sensors.clone())?
            }
            Some((name, Json::Object(members))) if name == "StatusSTS" => state(members.clone())?,
            _ => vec![What::Reported(members)],
        };
        said.push(answer);
        Ok(said)
    }

    /// `stat/<t>/RESULT`, or the same by the command's name (`SetOption4 1`).
    fn result<'a>(
        &mut self,
        place: &Place<'a>,
        members: Map<String, Json>,
        payload: &'a [u8],
    ) -> Vec<What<'a>> {
        if let Some(refusal) = text_of(&members, "Command") {
            let outcome = Err(format!("the device answers: command {}", refusal.to_lowercase()));
            return vec![What::Answer(Answer { id: None, name: None, outcome })];
        }
        let Some(first) = members.keys().next().cloned() else { return Vec::new() };
        let is_action = |value: &Json| value.get("Action").is_some() || value.get("ACTION").is_some();
        if members.contains_key("ACTION") || members.contains_key("TRIG") {
            return vec![event(place.name, payload)];
        }
        if members.values().any(is_action) {
            return vec![What::Event { name: Cow::Owned(level(&first)), payload: Cow::Borrowed(payload) }];
        }
        let asked = members.keys().find(|name| self.is_asked(place.device, name)).unwrap_or(&first).clone();
        let answer = self.answer(place.device, &asked, Json::Object(members.clone()));
        vec![What::Reported(members), answer]
    }

    fn is_asked(&self, device: &str, member: &str) -> bool {
        let plug = self.devices.get(device);
        plug.is_some_and(|plug| plug.asked.iter().any(|name| is_same_command(name, member)))
    }

    /// An answer under the name that the command had when it was given to us.
    fn answer<'a>(&self, device: &str, member: &str, result: Json) -> What<'a> {
        let asked = self.devices.get(device).map(|plug| plug.asked.iter()).unwrap_or_default();
        let mut asked = asked.filter(|name| is_same_command(name, member));
        let name = asked.next().map_or_else(|| member.to_owned(), Clone::clone);
        What::Answer(Answer { id: None, name: Some(name), outcome: Ok(result) })
    }
}

/// The firmware answers `power1` with `POWER` where there is but one relay, and `Status` with `STATUS8`.
fn is_same_command(one: &str, other: &str) -> bool {
    let (word, number) = parts(one);
    let (other_word, other_number) = parts(other);
    let is_same_number = number == other_number || number.is_empty() || other_number.is_empty();
    word.eq_ignore_ascii_case(other_word) && is_same_number
}

/// The word and the number behind it.
fn parts(name: &str) -> (&str, &str) {
    let word = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
    (word, name.strip_prefix(word).unwrap_or_default())
}

fn presence(payload: &[u8]) -> Result<Option<Presence>, Unread> {
    match text(payload)? {
        "" => Ok(None),
        word if word.eq_ignore_ascii_case("online") => Ok(Some(Presence::Online)),
        word if word.eq_ignore_ascii_case("offline") => Ok(Some(Presence::Offline)),
        _ => Err(Unread(Cow::Borrowed("LWT says neither Online nor Offline"))),
    }
}

fn event<'a>(name: &str, payload: &'a [u8]) -> What<'a> {
    What::Event { name: Cow::Owned(level(name)), payload: Cow::Borrowed(payload) }
}

fn readings(mut members: Map<String, Json>) -> Result<Vec<Point<'static>>, Unread> {
    members.remove("Time");
    let mut readings = Readings::default();
    readings.add_members("", members)?;
    readings.done()
}

fn state<'a>(members: Map<String, Json>) -> Result<Vec<What<'a>>, Unread> {
    let is_written = |name: &str| name.starts_with("POWER") || WRITTEN.contains(&name);
    let written = members.iter().filter(|(name, _)| is_written(name));
    let reported: Map<_, _> = written.map(|(name, value)| (name.clone(), value.clone())).collect();
    let mut said = vec![What::Readings(readings(members)?)];
    if !reported.is_empty() {
        said.push(What::Reported(reported));
    }
    Ok(said)
}

/// `INFO1` to `INFO3`: since version 12 their members stand inside one called `Info1`.
fn info<'a>(mut members: Map<String, Json>) -> What<'a> {
    let inner = members.keys().next().cloned().filter(|name| name.starts_with("Info"));
    if let Some(Json::Object(inner)) = inner.and_then(|name| members.remove(&name)) {
        members = inner;
    }
    let mut labels = Vec::new();
    for (name, member) in [
        ("model", "Module"),
        ("version", "Version"),
        ("hostname", "Hostname"),
        ("ip", "IPAddress"),
        ("restart_reason", "RestartReason"),
    ] {
        label(&mut labels, name, members.get(member));
    }
    What::Description(Box::new(Description { labels, ..Description::default() }))
}

fn configured(members: &Map<String, Json>) -> Description {
    let mut labels = vec![("manufacturer".to_owned(), "Tasmota".to_owned())];
    for (name, member) in
        [("model", "md"), ("version", "sw"), ("hostname", "hn"), ("ip", "ip"), ("mac", "mac")]
    {
        label(&mut labels, name, members.get(member));
    }
    let relays = members.get("rl").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
    let count = relays.iter().filter(|relay| relay.as_u64().is_some_and(|kind| kind != 0)).count();
    let keys = relays.iter().enumerate().filter(|(_, relay)| relay.as_u64().is_some_and(|kind| kind != 0));
    let friendly = members.get("fn").and_then(Json::as_array);
    let keys = keys.map(|(index, _)| {
        let number = index.saturating_add(1);
        let key = if count == 1 { "POWER".to_owned() } else { format!("POWER{number}") };
        let name = friendly.and_then(|names| names.get(index)).and_then(Json::as_str).map(str::to_owned);
        KeyDescription { written_by: Some(key.clone()), key, name, unit: None }
    });
    let keys = keys.collect();
    Description { name: text_of(members, "dn").map(str::to_owned), labels, keys }
}

/// What is measured, with the units that the firmware is known to use or says.
fn measured(members: &Map<String, Json>, points: &[Point<'_>]) -> Vec<KeyDescription> {
    let said = |name: &str| text_of(members, name).map(str::to_owned);
    let degrees = said("TempUnit").map(|letter| format!("°{letter}"));
    let pressure = said("PressureUnit");
    let described = points.iter().filter(|point| !point.key.ends_with("Unit")).map(|point| {
        // Where there are several phases, `Voltage` is a list.
        let path = point.key.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
        let unit = match path.rsplit('.').next().unwrap_or_default() {
            "Temperature" | "DewPoint" => degrees.clone(),
            "Pressure" | "SeaPressure" => pressure.clone(),
            last => UNITS.iter().find(|(name, _)| *name == last).map(|(_, unit)| (*unit).to_owned()),
        };
        KeyDescription { key: point.key.clone().into_owned(), unit, ..KeyDescription::default() }
    });
    described.collect()
}
