//! From what a family says to messages and words of the hub.

use std::sync::Arc;

use roost_hub::broker::{OnceDelivered, Words};
use roost_hub::id::DeviceId;
use roost_hub::mailbox::Command;
use roost_hub::message::{Message, QoS, Telemetry};
use roost_hub::principal::Principal;
use roost_hub::reading::{Reading, Value as Measured};
use roost_hub::time::Timestamp;
use roost_hub::topic::Topic;
use roost_wire::dialect::{Answer, Awaited, Description, Outgoing, Wording, number};
use serde_json::{Map, Value, json};

/// The longest name of an event, in bytes.
const EVENT_NAME_LENGTH_MAX: usize = 128;

/// A message of its readings, as the device would have published it on `telemetry`.
pub(in crate::adapters) fn telemetry(
    device: &DeviceId,
    readings: Vec<Reading>,
    now: Timestamp,
) -> Option<Message> {
    let topic = Topic::parse(&format!("devices/{device}/telemetry")).ok()?;
    let mut samples: Vec<(Timestamp, Map<String, Value>)> = Vec::new();
    for reading in &readings {
        // A gap has no value in JSON.
        if reading.value == Measured::Gap {
            continue;
        }
        let value = json!(reading.value);
        match samples.last_mut() {
            Some((ts, values)) if *ts == reading.ts && !values.contains_key(&*reading.key) => {
                values.insert(reading.key.to_string(), value);
            }
            _ => samples.push((reading.ts, Map::from_iter([(reading.key.to_string(), value)]))),
        }
    }
    let samples = samples.into_iter().map(|(ts, values)| json!({ "ts": ts.0, "values": values }));
    let payload = Value::Array(samples.collect()).to_string();
    let mut message = Message::new(topic, payload, now);
    message.qos = QoS::AtLeastOnce;
    message.telemetry = Some(Box::new(Telemetry { device: device.clone(), readings }));
    Some(message)
}

/// An event, under a name that is one level of a topic.
pub(in crate::adapters) fn event(
    device: &DeviceId,
    name: &str,
    payload: &[u8],
    now: Timestamp,
) -> Option<Message> {
    let is_plain = |letter: &char| !matches!(letter, '/' | '+' | '#') && !letter.is_control();
    let name: String = name.chars().filter(is_plain).take(EVENT_NAME_LENGTH_MAX / 4).collect();
    let name = if name.is_empty() { "event" } else { name.as_str() };
    let topic = Topic::parse(&format!("devices/{device}/events/{name}")).ok()?;
    let mut message = Message::new(topic, payload.to_vec(), now);
    message.qos = QoS::AtLeastOnce;
    Some(message)
}

/// A message of the family, addressed as its device would.
pub(super) fn message(speaker: &Principal, outgoing: Outgoing, now: Timestamp) -> Option<Message> {
    let topic = Topic::parse(&speaker.full_name(&outgoing.topic).ok()?).ok()?;
    let mut message = Message::new(topic, outgoing.payload, now);
    message.qos = QoS::AtLeastOnce;
    message.retain = outgoing.retain;
    Some(message)
}

/// The words of a command; `None` when one of them cannot be published.
pub(super) fn words(speaker: &Principal, wording: Wording, command: &Command) -> Option<Words> {
    let messages: Option<Vec<Message>> =
        wording.messages.into_iter().map(|outgoing| message(speaker, outgoing, command.created_at)).collect();
    let once_delivered = match wording.answer {
        Awaited::Answer => OnceDelivered::Answer,
        Awaited::Nothing => OnceDelivered::Done,
    };
    Some(Words { messages: messages?, once_delivered })
}

/// An answer as a device of ours would say it.
pub(super) fn result(answer: &Answer) -> Value {
    match &answer.outcome {
        Ok(result) => json!({ "ok": true, "result": result }),
        Err(error) => json!({ "ok": false, "error": error }),
    }
}

/// Whether an answer's id means this command.
pub(super) fn is_meant(said: &str, id: &str) -> bool {
    said == id || said.parse() == Ok(number(id))
}

/// The keys of a description, as they stand in `reported`.
pub(super) fn keys(description: &Description) -> Option<Map<String, Value>> {
    let keys = description.keys.iter().filter(|key| !key.key.is_empty()).map(|key| {
        let members = [("name", &key.name), ("unit", &key.unit), ("command", &key.written_by)];
        let told = members.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        (key.key.clone(), json!(told.collect::<std::collections::BTreeMap<_, _>>()))
    });
    let keys: Map<String, Value> = keys.collect();
    (!keys.is_empty()).then_some(keys)
}

/// The readings as a sample for whoever lets a device in.
pub(super) fn sample(readings: &[Reading]) -> Value {
    Value::Object(readings.iter().map(|reading| (reading.key.to_string(), json!(reading.value))).collect())
}

/// A reading that says again what was said, and that nobody has measured since.
pub(super) fn stale(latest: &Reading, now: Timestamp) -> Reading {
    let quality = roost_hub::reading::Quality::Stale;
    Reading { key: Arc::clone(&latest.key), ts: now, value: latest.value.clone(), quality }
}
