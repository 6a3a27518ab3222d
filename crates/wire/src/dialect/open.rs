//! Which families there are.

use serde_json::{Map, Value};

use super::Dialect;
use super::sparkplug::Sparkplug;
use super::thingsboard::ThingsBoard;

/// The families that are spoken over MQTT, by the names of their profiles.
pub const SPOKEN: [&str; 2] = ["thingsboard", "sparkplug"];

/// A dialect that has heard nothing yet; `None` when no family of the name is spoken over MQTT.
///
/// # Errors
/// The profile configures the family in a way that cannot be; says what is wrong with it.
pub fn open(name: &str, _profile: &Map<String, Value>) -> Option<Result<Box<dyn Dialect>, String>> {
    Some(Ok(match name {
        "sparkplug" => Box::<Sparkplug>::default(),
        "thingsboard" => Box::<ThingsBoard>::default(),
        _ => return None,
    }))
}
