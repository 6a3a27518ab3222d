//! What the firmware's resources measure and take. Resources that are not here
//! pass through all the same: forks of the firmware have more.

use serde_json::{Map, Value, json};

/// What can be done with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
    Both,
}

/// One key of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// As it stands in the telemetry.
    pub name: &'static str,
    /// Empty where there is none or the firmware's scale is not published.
    pub unit: &'static str,
    pub access: Access,
}

/// One resource of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource {
    pub url: &'static str,
    pub device: &'static str,
    /// The usual address on the I²C bus.
    pub address: Option<&'static str>,
    pub keys: &'static [Key],
}

/// Keys that hold text.
const TEXTS: [&str; 9] =
    ["Button", "Battery.State", "Text", "Mode", "Tag", "Module", "Firmware", "SystemStatus", "EventFlag"];

impl Key {
    pub(super) fn is_number(&self) -> bool {
        !TEXTS.contains(&self.name)
    }
}

const fn read(name: &'static str, unit: &'static str) -> Key {
    Key { name, unit, access: Access::Read }
}

const fn both(name: &'static str, unit: &'static str) -> Key {
    Key { name, unit, access: Access::Both }
}

const fn write(name: &'static str, unit: &'static str) -> Key {
    Key { name, unit, access: Access::Write }
}

const fn native(url: &'static str, device: &'static str, keys: &'static [Key]) -> Resource {
    Resource { url, device, address: None, keys }
}

const fn module(
    (url, address): (&'static str, &'static str),
    device: &'static str,
    keys: &'static [Key],
) -> Resource {
    Resource { url, device, address: Some(address), keys }
}

#[rustfmt::skip]
const RESOURCES: &[Resource] = &[
    native("/relay", "ESP8266", &[both("Relay", "")]),
    native("/button", "ESP8266", &[read("Button", "")]),
    native("/adc", "ESP8266", &[read("ADC.Value", "")]),
    native("/battery", "ESP8266", &[read("Battery.State", ""), read("Battery.Percent", "%")]),
    native("/switch1", "ESP-SWITCH1", &[both("Relay", ""), read("Switch", ""), both("Preference", "")]),
    native("/switch2", "ESP-SWITCH2", &[
        both("Relay1", ""), both("Relay2", ""), read("Switch1", ""), both("Preference1", ""),
        read("Switch2", ""), both("Preference2", ""),
    ]),
    native("/dimmer", "ESP-DIMMER", &[both("Relay", ""), both("Brightness", ""), read("Current", "")]),
    native("/badge", "ESP-BADGE", &[write("Speed", ""), write("Text", "")]),
    native("/robko", "ESP-ROBKO", &[read("ServoReady", ""), both("Servo", ""), both("LimitSpeed", "")]),
    module(("/mod-rgb", "0x20"), "MOD-RGB", &[both("R", ""), both("G", ""), both("B", "")]),
    module(("/mod-io2", "0x21"), "MOD-IO2", &[
        both("Relay1", ""), both("Relay2", ""), both("GPIO0", ""), both("GPIO1", ""), both("GPIO2", ""),
        both("GPIO3", ""), both("GPIO4", ""), both("GPIO5", ""), both("GPIO6", ""),
    ]),
    module(("/mod-tc-mk2", "0x23"), "MOD-TC-MK2", &[read("Temperature", "°C")]),
    module(("/mod-irda", "0x24"), "MOD-IRDA", &[both("Mode", ""), both("Device", ""), both("Command", "")]),
    native("/mod-led-8x8-rgb", "MOD-LED8x8RGB", &[
        both("cols", ""), both("rows", ""), write("Speed", ""), write("R", ""), write("G", ""),
        write("B", ""), write("Text", ""),
    ]),
    native("/mod-rfid", "MOD-RFID", &[both("Frequency", ""), both("Led", ""), read("Tag", "")]),
    native("/mod-finger", "MOD-FINGER", &[
        read("DBSize", ""), read("DBStored", ""), read("FirstFree", ""), both("SecurityLevel", ""),
        write("Mode", ""), read("Match.ID", ""), read("Match.Score", ""),
    ]),
    native("/mod-emtr", "MOD-EMTR", &[
        read("CounterActive", ""), read("CounterApparent", ""), both("ReadInterval", "ms"),
        read("CurrentRMS", ""), read("VoltageRMS", ""), read("ActivePower", ""), read("ReactivePower", ""),
        read("ApparentPower", ""), read("PowerFactor", ""), read("LineFrequency", ""),
        read("ThermistorVoltage", ""), read("EventFlag", ""), read("SystemStatus", ""),
    ]),
];

/// The URL without an I²C address at its end, and the address.
pub(super) fn split_address(url: &str) -> (&str, Option<&str>) {
    match url.rsplit_once('/') {
        Some((head, address)) if !head.is_empty() && address.starts_with("0x") => (head, Some(address)),
        _ => (url, None),
    }
}

/// What is known of a resource; an I²C address at the end of the URL does not matter.
pub fn resource(url: &str) -> Option<&'static Resource> {
    let (url, _) = split_address(url);
    RESOURCES.iter().find(|resource| resource.url == url)
}

/// The keys of those resources that a node's list of devices says were found:
/// `{"Temperature":{"url":"/mod-tc-mk2","unit":"°C"},"Relay":{"url":"/relay","writable":true}}`.
pub fn describe(urls: &[&str]) -> Value {
    let mut keys = Map::new();
    for resource in urls.iter().filter_map(|url| resource(url)) {
        for key in resource.keys {
            let mut about = json!({ "url": resource.url });
            if let Some(members) = about.as_object_mut() {
                if !key.unit.is_empty() {
                    members.insert("unit".to_owned(), Value::from(key.unit));
                }
                if key.access != Access::Read {
                    members.insert("writable".to_owned(), Value::Bool(true));
                }
            }
            keys.entry(key.name).or_insert(about);
        }
    }
    Value::Object(keys)
}
