//! From what a node says to what the hub keeps.

use std::sync::Arc;

use roost_hub::Hub;
use roost_hub::broker::{PublishError, Session};
use roost_hub::flight::FlightKind;
use roost_hub::id::DeviceId;
use roost_hub::message::{Message, Telemetry};
use roost_hub::principal::Principal;
use roost_hub::storage::{Position, StorageError};
use roost_hub::time::Timestamp;
use roost_hub::topic::Topic;
use roost_hub::twin::ReportTwinError;
use roost_wire::olimex::{Event, describe};
use serde_json::{Map, Value, json};

use crate::adapters::readings;

/// The messages that an event becomes: its readings as telemetry, and the event itself unless it
/// is nothing but readings.
pub(super) fn messages(device: &DeviceId, event: &Event, now: Timestamp) -> Vec<Message> {
    let readings: Vec<_> = event.points().into_iter().map(|point| readings::reading(point, now)).collect();
    let is_telemetry = !readings.is_empty();
    let mut messages = Vec::new();
    if is_telemetry {
        let values: Map<String, Value> =
            readings.iter().map(|reading| (reading.key.to_string(), json!(reading.value))).collect();
        let mut message = Message::new(topic(device, "telemetry"), json!(values).to_string(), now);
        message.telemetry = Some(Box::new(Telemetry { device: device.clone(), readings }));
        messages.push(message);
    }
    let is_plain = event.url().is_some() && event.error().is_none() && event.status() == Some("OK");
    if !(is_telemetry && is_plain) {
        messages.push(Message::new(event_topic(device, event.url()), event.to_json(), now));
    }
    messages
}

/// A text that could not be read, as an event.
pub(super) fn unread(device: &DeviceId, text: &str, now: Timestamp) -> Message {
    Message::new(topic(device, "events/unread"), text.to_owned(), now)
}

fn topic(device: &DeviceId, rest: &str) -> Topic {
    Topic::parse(&format!("devices/{device}/{rest}")).expect("a device's id fits a topic")
}

/// Events are named after the resource; the node's own notes, and names that are no topic, `node`.
fn event_topic(device: &DeviceId, url: Option<&str>) -> Topic {
    let name = url.map(|url| url.trim_matches('/')).filter(|name| !name.is_empty());
    name.and_then(|name| Topic::parse(&format!("devices/{device}/events/{name}")).ok())
        .unwrap_or_else(|| topic(device, "events/node"))
}

/// What an event about the node itself adds to its twin.
pub(super) fn reported(event: &Event) -> Option<Value> {
    let Some(Value::Object(data)) = event.data().filter(|_| event.is_about_node()) else { return None };
    let mut patch = data.clone();
    if let Some(found) = found_devices(event) {
        patch.insert("Keys".to_owned(), describe(&found));
    }
    Some(Value::Object(patch))
}

/// The URLs of what the node's list of devices says is there.
pub(super) fn found_devices(event: &Event) -> Option<Vec<&str>> {
    let devices = event.data()?.get("Devices")?.as_array()?;
    let found = devices.iter().filter(|device| device.get("Found") == Some(&Value::from(1)));
    Some(found.filter_map(|device| device.get("URL")?.as_str()).collect())
}

/// Passes an event of a connected node to the hub. What it does not take is noted for the device's
/// people.
pub(super) fn take(hub: &Hub, session: &mut Session, event: &Event) {
    let now = hub.now();
    let principal = Arc::clone(session.principal());
    let Some(device) = principal.device() else { return };
    for message in messages(device, event, now) {
        if let Err(error) = session.publish(message, None) {
            note(hub, &principal, format_args!("{}: {error}", event.url().unwrap_or("node")));
        }
    }
    if let Err(error) = report(hub, &principal, event) {
        note(hub, &principal, format_args!("{}: {error}", event.url().unwrap_or("node")));
    }
}

/// Adds what an event says of the node to its twin. What the twin does not take is noted.
pub(super) fn report(hub: &Hub, principal: &Principal, event: &Event) -> Result<Position, StorageError> {
    let (Some(device), Some(patch)) = (principal.device(), reported(event)) else { return Ok(Position(0)) };
    match hub.report(&principal.tenant, device, patch, hub.now()) {
        Ok(position) => Ok(position),
        Err(ReportTwinError::Storage(error)) => Err(error),
        Err(error) => {
            note(hub, principal, format_args!("{}: {error}", event.url().unwrap_or("node")));
            Ok(Position(0))
        }
    }
}

/// Publishes a message of a node without a connection. What the hub does not take is noted.
pub(super) fn publish(hub: &Hub, principal: &Principal, message: Message) -> Result<Position, StorageError> {
    match hub.publish(principal, message) {
        Ok(published) => Ok(published.position.unwrap_or_default()),
        Err(PublishError::Storage(error)) => Err(error),
        Err(error) => {
            note(hub, principal, format_args!("an event: {error}"));
            Ok(Position(0))
        }
    }
}

pub(super) fn note(hub: &Hub, principal: &Principal, text: std::fmt::Arguments<'_>) {
    if let Some(device) = principal.device() {
        hub.note(&principal.tenant, device, FlightKind::Refused, text, hub.now());
    }
}
