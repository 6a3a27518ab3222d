//! Discovery configurations: which entities a device has, and where they speak.

use std::borrow::Cow;

use serde_json::{Map, Value as Json};

use super::super::Unread;
use super::super::document::{self, label, text_of};
use super::super::known::NAME_LENGTH_MAX;
use super::abbreviations;
use super::template::render;

/// Topics of one entity, of each kind.
const TOPICS_MAX: usize = 24;
/// Values to choose from.
const OPTIONS_MAX: usize = 128;
/// Text of a configuration that is longer is not taken over.
const TEXT_LENGTH_MAX: usize = 1_024;
/// The words that a configuration may choose for itself, with what they are without.
const WORDS: [(&str, &str); 10] = [
    ("payload_on", "ON"),
    ("payload_off", "OFF"),
    ("payload_press", "PRESS"),
    ("payload_open", "OPEN"),
    ("payload_close", "CLOSE"),
    ("payload_stop", "STOP"),
    ("payload_lock", "LOCK"),
    ("payload_unlock", "UNLOCK"),
    ("state_on", ""),
    ("state_off", ""),
];

/// Something that is measured or set: `sensor`, `switch`, …
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Entity {
    /// The device, by its first identifier.
    pub(super) device: String,
    pub(super) component: String,
    pub(super) key: String,
    pub(super) name: Option<String>,
    pub(super) unit: Option<String>,
    /// What is published is meant as a number, though it may be written as text.
    pub(super) is_numeric: bool,
    /// Where it is read: what is behind the dot of its key (empty: the key itself), topic and template.
    pub(super) sources: Vec<Channel>,
    /// Where it is set.
    pub(super) controls: Vec<Channel>,
    pub(super) availability: Vec<Availability>,
    pub(super) options: Vec<String>,
    pub(super) range: Option<(f64, f64)>,
    pub(super) retain: bool,
    /// `json` or `template`, for lights.
    pub(super) schema: String,
    words: Vec<(&'static str, String)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Channel {
    pub(super) member: String,
    pub(super) topic: String,
    pub(super) template: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Availability {
    pub(super) topic: String,
    pub(super) template: Option<String>,
    pub(super) available: String,
    pub(super) not_available: String,
}

/// What is said of the device itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct DeviceInfo {
    pub(super) id: String,
    pub(super) name: Option<String>,
    pub(super) labels: Vec<(String, String)>,
}

impl DeviceInfo {
    /// Many devices say all of themselves with their first entity only.
    pub(super) fn or(self, known: Self) -> Self {
        let labels = if self.labels.is_empty() { known.labels } else { self.labels };
        Self { id: self.id, name: self.name.or(known.name), labels }
    }
}

/// The place of a configuration: `<component>/[<node>/]<object>` between the prefix and `/config`.
pub(super) struct Slot<'a> {
    pub(super) component: &'a str,
    node: Option<&'a str>,
    object: &'a str,
}

impl<'a> Slot<'a> {
    pub(super) fn of(rest: &'a str) -> Option<Self> {
        let mut levels = rest.strip_suffix("/config")?.split('/');
        let (component, second, third) = (levels.next()?, levels.next()?, levels.next());
        let (node, object) = third.map_or((None, second), |third| (Some(second), third));
        let is_whole = levels.next().is_none() && !component.is_empty() && !object.is_empty();
        is_whole.then_some(Self { component, node, object })
    }
}

/// Reads what stands at a slot: one entity, or all of a device.
pub(super) fn read(slot: &Slot<'_>, payload: Map<String, Json>) -> Result<(DeviceInfo, Vec<Entity>), Unread> {
    let mut options = expand(payload, abbreviations::option);
    let device = match options.remove("device") {
        Some(Json::Object(device)) => expand(device, abbreviations::device),
        _ => Map::new(),
    };
    let info = device_info(slot, &device);
    let components = options.remove("components");
    let entities = if slot.component == "device" {
        let Some(Json::Object(components)) = components else {
            return Err(Unread(Cow::Borrowed("a device's configuration has no components")));
        };
        let each = components.into_iter().filter_map(|(key, own)| {
            let Json::Object(own) = own else { return None };
            let mut all = options.clone();
            all.extend(expand(own, abbreviations::option));
            let component = text_of(&all, "platform")?.to_owned();
            Some(entity(&info.id, &component, &key, &all))
        });
        each.collect()
    } else {
        vec![entity(&info.id, slot.component, slot.object, &options)]
    };
    Ok((info, entities))
}

fn expand(members: Map<String, Json>, full: fn(&str) -> &str) -> Map<String, Json> {
    members.into_iter().map(|(name, value)| (full(&name).to_owned(), value)).collect()
}

fn device_info(slot: &Slot<'_>, device: &Map<String, Json>) -> DeviceInfo {
    let first = |value: Option<&Json>| match value {
        Some(Json::String(text)) => Some(text.clone()),
        Some(Json::Array(list)) => list.first().and_then(Json::as_str).map(str::to_owned),
        _ => None,
    };
    let connection = device.get("connections").and_then(|list| list.get(0)).and_then(|pair| pair.get(1));
    let id =
        first(device.get("identifiers")).or_else(|| connection.and_then(Json::as_str).map(str::to_owned));
    let id = id.filter(|id| !id.is_empty() && id.len() <= NAME_LENGTH_MAX);
    let mut labels = Vec::new();
    for (name, member) in [
        ("manufacturer", "manufacturer"),
        ("model", "model"),
        ("version", "sw_version"),
        ("hardware", "hw_version"),
        ("serial", "serial_number"),
        ("area", "suggested_area"),
        ("via", "via_device"),
    ] {
        label(&mut labels, name, device.get(member));
    }
    let name = document::short(device, "name");
    DeviceInfo { id: id.unwrap_or_else(|| slot.node.unwrap_or(slot.object).to_owned()), name, labels }
}

/// A text member, if it is not too long.
fn short(members: &Map<String, Json>, name: &str) -> Option<String> {
    text_of(members, name).filter(|text| text.len() <= TEXT_LENGTH_MAX).map(str::to_owned)
}

fn entity(device: &str, component: &str, key: &str, options: &Map<String, Json>) -> Entity {
    let base = text_of(options, "~").unwrap_or_default();
    let unit = short(options, "unit_of_measurement");
    let number = |name: &str| options.get(name).and_then(Json::as_f64);
    let range = match (number("min"), number("max")) {
        (None, None) if component != "number" => None,
        (least, most) => Some((least.unwrap_or(1.0), most.unwrap_or(100.0))),
    };
    let words = WORDS.iter().map(|(name, default)| {
        let own = options.get(*name).map(render).filter(|word| word.len() <= TEXT_LENGTH_MAX);
        (*name, own.unwrap_or(Cow::Borrowed(*default)).into_owned())
    });
    Entity {
        device: device.to_owned(),
        component: component.to_owned(),
        key: key.to_owned(),
        name: short(options, "name"),
        is_numeric: unit.is_some() || options.contains_key("state_class") || component == "number",
        unit,
        sources: channels(options, base, source_member),
        controls: channels(options, base, control_member),
        availability: availability(options, base),
        options: list(options.get("options")),
        range,
        retain: options.get("retain") == Some(&Json::Bool(true)),
        schema: short(options, "schema").unwrap_or_default(),
        words: words.collect(),
    }
}

fn list(value: Option<&Json>) -> Vec<String> {
    let elements = value.and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
    let short = elements.iter().filter_map(Json::as_str).filter(|text| text.len() <= TEXT_LENGTH_MAX);
    short.take(OPTIONS_MAX).map(str::to_owned).collect()
}

/// What a topic option is read for: `""` for the state itself, `brightness`, `current_temperature`, …
/// The second is how its template begins.
fn source_member(option: &str) -> Option<(&str, &str)> {
    let part = option.strip_suffix("_topic")?;
    match part {
        "state" => Some(("", "")),
        "current_temperature" | "current_humidity" | "position" | "action" | "latest_version" => {
            Some((part, part))
        }
        "tilt_status" => Some(("tilt", part)),
        _ => part.strip_suffix("_state").map(|member| (member, member)),
    }
}

/// The same for the topics that something is set by.
fn control_member(option: &str) -> Option<(&str, &str)> {
    let part = option.strip_suffix("_topic")?;
    match part {
        "command" => Some(("", "command")),
        "set_position" => Some(("position", part)),
        _ => part.strip_suffix("_command").map(|member| (member, part)),
    }
}

fn channels<'o>(
    options: &'o Map<String, Json>,
    base: &str,
    member_of: fn(&'o str) -> Option<(&'o str, &'o str)>,
) -> Vec<Channel> {
    let channel = |(option, topic): (&'o String, &'o Json)| {
        let (member, stem) = member_of(option)?;
        let topic = based(topic.as_str()?, base)?;
        let names = match stem {
            "" => vec!["value_template".to_owned(), "state_value_template".to_owned()],
            _ => {
                ["_value_template", "_state_template", "_template"].map(|end| format!("{stem}{end}")).to_vec()
            }
        };
        let template = names.iter().find_map(|name| short(options, name));
        Some(Channel { member: member.to_owned(), topic, template })
    };
    options.iter().filter_map(channel).take(TOPICS_MAX).collect()
}

/// The topic with `~` at its beginning or end replaced by the base.
fn based(topic: &str, base: &str) -> Option<String> {
    let topic = match (topic.strip_prefix('~'), topic.strip_suffix('~')) {
        _ if base.is_empty() => topic.to_owned(),
        (Some(rest), _) => format!("{base}{rest}"),
        (None, Some(rest)) => format!("{rest}{base}"),
        (None, None) => topic.to_owned(),
    };
    (!topic.is_empty() && topic.len() <= TEXT_LENGTH_MAX).then_some(topic)
}

fn availability(options: &Map<String, Json>, base: &str) -> Vec<Availability> {
    let one = |members: &Map<String, Json>, topic: &str, template: &str| {
        let word = |name: &str, default: &str| short(members, name).unwrap_or_else(|| default.to_owned());
        Some(Availability {
            topic: based(text_of(members, topic)?, base)?,
            template: short(members, template),
            available: word("payload_available", "online"),
            not_available: word("payload_not_available", "offline"),
        })
    };
    let single = one(options, "availability_topic", "availability_template");
    let several = match options.get("availability") {
        Some(Json::Array(list)) => list.clone(),
        Some(object @ Json::Object(_)) => vec![object.clone()],
        _ => Vec::new(),
    };
    let several = several.into_iter().filter_map(|element| match element {
        Json::Object(members) => one(&expand(members, abbreviations::option), "topic", "value_template"),
        _ => None,
    });
    single.into_iter().chain(several).take(TOPICS_MAX).collect()
}

impl Entity {
    /// The word that the configuration has for something.
    pub(super) fn word(&self, name: &str) -> &str {
        self.words.iter().find(|(known, _)| *known == name).map_or("", |(_, word)| word.as_str())
    }

    /// Whether its state is on or off.
    pub(super) fn is_switched(&self) -> bool {
        ["switch", "binary_sensor", "light", "fan", "siren", "humidifier"].contains(&self.component.as_str())
    }

    /// Its key, or that of one of its members.
    pub(super) fn key_of(&self, member: &str) -> String {
        if member.is_empty() { self.key.clone() } else { format!("{}.{member}", self.key) }
    }

    /// About how many bytes it takes in memory.
    pub(super) fn size(&self) -> usize {
        let channels = self.sources.iter().chain(&self.controls).map(|channel| {
            2 * channel.topic.len()
                + channel.member.len()
                + channel.template.as_ref().map_or(0, String::len)
                + 72
        });
        let availability = self.availability.iter().map(|availability| {
            let words = availability.available.len() + availability.not_available.len();
            2 * availability.topic.len() + availability.template.as_ref().map_or(0, String::len) + words + 96
        });
        let texts = self.options.iter().map(|text| text.len() + 24);
        let words = self.words.iter().map(|(_, word)| word.len() + 40);
        let own = self.device.len() + self.key.len() + self.component.len() + self.schema.len() + 400;
        let names = self.name.as_ref().map_or(0, String::len) + self.unit.as_ref().map_or(0, String::len);
        own + names
            + channels.sum::<usize>()
            + availability.sum::<usize>()
            + texts.sum::<usize>()
            + words.sum::<usize>()
    }
}
