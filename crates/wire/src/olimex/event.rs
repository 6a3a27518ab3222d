//! `{"EventURL":…,"EventData":{…}}`

use serde_json::{Map, Value, json};

use super::catalogue;
use super::keys::flatten;
use super::redact::redact_members;
use crate::telemetry::Point;

/// Members of `EventData` that are not readings.
const ENVELOPE: [&str; 6] = ["Device", "Status", "Error", "Data", "I2C_Address", "ref"];

/// An event of a node, without the passwords that stood in it. Serialises as
/// the firmware spells it (its documents say `EventsData`, which is taken too).
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    envelope: Map<String, Value>,
}

impl Event {
    pub(super) fn new(mut envelope: Map<String, Value>) -> Self {
        if let Some(data) = envelope.remove("EventsData") {
            envelope.entry("EventData").or_insert(data);
        }
        redact_members(&mut envelope);
        Self { envelope }
    }

    /// What we note of a node ourselves, such as the end of its connection.
    pub fn note(status: &str, data: Value) -> Self {
        let envelope = json!({ "EventURL": null, "EventData": { "Status": status, "Data": data } });
        match envelope {
            Value::Object(envelope) => Self::new(envelope),
            _ => Self::new(Map::new()),
        }
    }

    /// The resource that changed or answered; `None` for notes of the node itself.
    pub fn url(&self) -> Option<&str> {
        self.envelope.get("EventURL")?.as_str()
    }

    fn member(&self, name: &str) -> Option<&Value> {
        self.envelope.get("EventData")?.get(name)
    }

    /// `OK`, `Done`, `Connected`, a reset reason, …
    pub fn status(&self) -> Option<&str> {
        self.member("Status")?.as_str()
    }

    /// Why it could not.
    pub fn error(&self) -> Option<&str> {
        self.member("Error")?.as_str()
    }

    /// What depends on the resource.
    pub fn data(&self) -> Option<&Value> {
        self.member("Data")
    }

    /// The copy of the command's `ref`; one that is no text is not ours.
    pub fn reference(&self) -> Option<&str> {
        self.member("ref")?.as_str()
    }

    /// Which module on the I²C bus, such as `0x20`: said beside the data or in the URL.
    pub fn address(&self) -> Option<&str> {
        let said = self.member("I2C_Address").and_then(Value::as_str);
        said.or_else(|| catalogue::split_address(self.url()?).1)
    }

    /// Whether it tells of the node's configuration or equipment, not of what it measures.
    pub fn is_about_node(&self) -> bool {
        self.url().is_some_and(|url| {
            matches!(url, "/devices" | "/wifi-scan" | "/config") || url.starts_with("/config/")
        })
    }

    /// The readings in it. Keys are the node's own names, nested ones joined
    /// with dots; those of a module at another address than its usual one
    /// begin with that address. Settings of the sampling (`Poll`) are none.
    pub fn points(&self) -> Vec<Point<'static>> {
        let mut points = Vec::new();
        let Some(Value::Object(body)) = self.envelope.get("EventData") else { return points };
        let url = self.url().unwrap_or_default();
        let resource = catalogue::resource(url);
        let usual = resource.and_then(|resource| resource.address);
        let prefix = self.address().filter(|address| usual != Some(*address));
        // What the node tells of itself, without a URL, is a note in its data.
        if !url.is_empty()
            && !self.is_about_node()
            && let Some(data @ Value::Object(_)) = self.data()
        {
            flatten(data, prefix.unwrap_or_default(), resource, &mut points);
        }
        for (name, value) in body.iter().filter(|(name, _)| !ENVELOPE.contains(&name.as_str())) {
            let mut path = prefix.map_or_else(String::new, |prefix| format!("{prefix}."));
            path.push_str(name);
            flatten(value, &path, resource, &mut points);
        }
        points
    }

    /// The whole of it.
    pub fn into_value(self) -> Value {
        Value::Object(self.envelope)
    }

    /// The whole of it as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.envelope).unwrap_or_default()
    }
}
