//! Which families there are.

use serde_json::{Map, Value};

use super::Dialect;
use super::aws::Aws;
use super::azure::Azure;
use super::esphome::Esphome;
use super::generic::Generic;
use super::homeassistant::HomeAssistant;
use super::homie::Homie;
use super::shelly::Shelly;
use super::sparkplug::Sparkplug;
use super::tasmota::Tasmota;
use super::thingsboard::ThingsBoard;
use super::zigbee2mqtt::Zigbee2Mqtt;

/// The families that are spoken over MQTT, by the names of their profiles.
pub const SPOKEN: [&str; 11] = [
    "thingsboard",
    "sparkplug",
    "aws",
    "azure",
    "tasmota",
    "shelly",
    "zigbee2mqtt",
    "homeassistant",
    "esphome",
    "homie",
    "generic",
];

/// The topics whose retained messages a family's dialect that begins anew has to have heard.
#[must_use]
pub fn kept_topics(name: &str) -> &'static [&'static str] {
    match name {
        "homeassistant" | "esphome" => &["homeassistant/#"],
        "homie" => &["homie/#"],
        "tasmota" => &["tasmota/discovery/#"],
        "zigbee2mqtt" => &["zigbee2mqtt/bridge/#"],
        _ => &[],
    }
}

/// Whether the connection's own device has a name in the family's topics as well. In the other families
/// they are of its gateway, bridge or node, or have no name in them.
#[must_use]
pub fn names_itself(name: &str) -> bool {
    matches!(name, "tasmota" | "shelly" | "homeassistant" | "esphome" | "homie" | "aws" | "generic")
}

/// A dialect that has heard nothing yet; `None` when no family of the name is spoken over MQTT.
/// `profile` is what the profile says beside its grants, with the id of the connection's own device
/// under `device`.
///
/// # Errors
/// The profile configures the family in a way that cannot be; says what is wrong with it.
pub fn open(name: &str, profile: &Map<String, Value>) -> Option<Result<Box<dyn Dialect>, String>> {
    Some(Ok(match name {
        "aws" => Box::<Aws>::default(),
        "azure" => Box::<Azure>::default(),
        "sparkplug" => Box::new(Sparkplug::of_profile(profile)),
        "esphome" => Box::<Esphome>::default(),
        "homeassistant" => Box::<HomeAssistant>::default(),
        "homie" => Box::<Homie>::default(),
        "shelly" => Box::<Shelly>::default(),
        "tasmota" => Box::<Tasmota>::default(),
        "zigbee2mqtt" => Box::<Zigbee2Mqtt>::default(),
        "generic" => match Generic::new(profile) {
            Ok(generic) => Box::new(generic),
            Err(wrong) => return Some(Err(wrong)),
        },
        "thingsboard" => Box::<ThingsBoard>::default(),
        _ => return None,
    }))
}
