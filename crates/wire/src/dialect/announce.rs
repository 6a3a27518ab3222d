//! Home Assistant's MQTT discovery, produced: what it is told of one key of one of our devices.

use serde_json::{Value, json};

use super::{Outgoing, number};

/// Where what is told stands, retained.
pub const ANNOUNCED: &str = "homeassistant/+/+/+/config";
/// What the names of our devices begin with there.
pub(super) const NODE: &str = "roost-";

/// What the values of a key are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Numbers.
    Number,
    /// Texts.
    Text,
    /// True or false.
    Boolean,
}

/// A key of a device of ours.
#[derive(Clone, Copy, Debug)]
pub struct Announced<'a> {
    /// The device's id.
    pub device: &'a str,
    /// The device's name for people.
    pub name: &'a str,
    /// The key.
    pub key: &'a str,
    /// What its values are.
    pub kind: Kind,
    /// Their unit, where it is known.
    pub unit: Option<&'a str>,
}

/// A name of letters, digits, `-` and `_`, another one for each text.
pub(super) fn plain(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    if text.chars().all(is_plain) {
        return text.to_owned();
    }
    let mended: String = text.chars().map(|letter| if is_plain(letter) { letter } else { '_' }).collect();
    format!("{mended}_{:x}", number(text))
}

impl Announced<'_> {
    /// The retained message that makes the key an entity.
    #[must_use]
    pub fn message(&self) -> Outgoing {
        let Self { device, name, key, kind, unit } = *self;
        let component = if kind == Kind::Boolean { "binary_sensor" } else { "sensor" };
        let (node, object) = (plain(device), plain(key));
        let mut config = json!({
            "name": key,
            "unique_id": format!("{NODE}{node}-{object}"),
            "object_id": format!("{node}_{object}"),
            "state_topic": format!("devices/{device}/telemetry"),
            "value_template": template(key, kind),
            "availability_topic": format!("devices/{device}/status"),
            "device": { "identifiers": [format!("{NODE}{device}")], "name": name },
            "origin": { "name": "Roost" },
        });
        if let Some(members) = config.as_object_mut() {
            let class = (kind == Kind::Number).then_some(("state_class", "measurement"));
            let unit = unit.map(|unit| ("unit_of_measurement", unit));
            members.extend(class.into_iter().chain(unit).map(|(name, text)| (name.to_owned(), text.into())));
        }
        Outgoing {
            topic: format!("homeassistant/{component}/{NODE}{node}/{object}/config"),
            payload: config.to_string().into_bytes(),
            retain: true,
        }
    }
}

/// The device of ours that a configuration in Home Assistant's topics is of.
#[must_use]
pub fn announced_device(topic: &str, payload: &[u8]) -> Option<String> {
    let node = topic.split('/').nth(2)?;
    node.strip_prefix(NODE)?;
    let config: Value = serde_json::from_slice(payload).ok()?;
    let identifier = config.pointer("/device/identifiers/0")?.as_str()?;
    identifier.strip_prefix(NODE).map(str::to_owned)
}

/// A template that finds the key in whatever shape of telemetry: flat or under `values`, alone or in an
/// array, nested where its name has dots. Without the key the state stays.
pub(super) fn template(key: &str, kind: Kind) -> String {
    let quoted = |text: &str| json!(text).to_string();
    let mut found = format!("d.get({})", quoted(key));
    let parts: Vec<&str> = key.split('.').collect();
    if parts.len() > 1 {
        let nested = parts
            .iter()
            .fold("d".to_owned(), |inner, part| format!("({inner} or {{}}).get({})", quoted(part)));
        found = format!("d.get({}, {nested})", quoted(key));
    }
    let (shown, otherwise) = match kind {
        Kind::Boolean => ("{{ 'ON' if n.v else 'OFF' }}", ""),
        Kind::Number => ("{{ n.v }}", ""),
        Kind::Text => ("{{ n.v }}", "{{ this.state }}"),
    };
    format!(
        "{{% set n = namespace(v=none) %}}\
         {{% for s in ([value_json] if value_json is mapping else value_json) %}}\
         {{% set d = s['values'] if s['values'] is mapping else s %}}{{% set x = {found} %}}\
         {{% if x is not none %}}{{% set n.v = x %}}{{% endif %}}{{% endfor %}}\
         {{% if n.v is not none %}}{shown}{{% else %}}{otherwise}{{% endif %}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_becomes_an_entity_of_its_device() {
        let announced = Announced {
            device: "barn.1",
            name: "The barn",
            key: "env.temp",
            kind: Kind::Number,
            unit: Some("°C"),
        };
        let message = announced.message();
        let node = format!("barn_1_{:x}", number("barn.1"));
        let object = format!("env_temp_{:x}", number("env.temp"));
        assert_eq!(message.topic, format!("homeassistant/sensor/roost-{node}/{object}/config"));
        let config: Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(config["state_topic"], "devices/barn.1/telemetry");
        assert_eq!(
            (&config["unit_of_measurement"], &config["state_class"]),
            (&json!("°C"), &json!("measurement"))
        );
        assert_eq!(announced_device(&message.topic, &message.payload).as_deref(), Some("barn.1"));
        assert_eq!(announced_device("homeassistant/sensor/plug/x/config", &message.payload), None);
        let template = config["value_template"].as_str().unwrap();
        assert!(
            template.contains("d.get(\"env.temp\", ((d or {}).get(\"env\") or {}).get(\"temp\"))"),
            "{template}"
        );
        assert!(message.retain);
    }

    #[test]
    fn truth_is_a_binary_sensor() {
        let announced = Announced { device: "d", name: "d", key: "open", kind: Kind::Boolean, unit: None };
        assert_eq!(announced.message().topic, "homeassistant/binary_sensor/roost-d/open/config");
    }
}
