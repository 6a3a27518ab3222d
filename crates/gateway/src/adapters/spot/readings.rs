//! From presences and hits to readings: each member becomes a key, `hit.signal_strength`, and each
//! message a time of its own, so that none covers another.

use std::sync::Arc;

use roost_hub::id::DeviceId;
use roost_hub::message::{Message, QoS, Telemetry};
use roost_hub::reading::{Quality, Reading, Value};
use roost_hub::time::Timestamp;
use roost_hub::topic::Topic;
use roost_wire::spot::{self, Body};
use roost_wire::telemetry::{self, DeviceClock, settle};
use serde_json::json;

/// How far a time may be moved so that it is a new one, in milliseconds.
const MOVED_MAX: i64 = 1_000;

/// The last time that was given to hits and to presences.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    hit: i64,
    presence: i64,
}

impl Times {
    fn next(&mut self, resource: &str, ts: i64) -> i64 {
        let last = if resource == "hit" { &mut self.hit } else { &mut self.presence };
        let is_taken = ts <= *last && *last - ts < MOVED_MAX;
        *last = if is_taken { *last + 1 } else { ts };
        *last
    }
}

/// Readings that are published together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    readings: Vec<Reading>,
    /// The same as JSON, an array that is not closed yet.
    payload: Vec<u8>,
    keys: Keys,
}

/// How many keys are remembered; a Spot has about a dozen.
const KEYS_MAX: usize = 64;

/// The keys that came lately: each hit has the same ones, in the same order.
#[derive(Debug, Default)]
struct Keys {
    known: Vec<Key>,
    /// Where the next one probably stands.
    next: usize,
}

#[derive(Clone, Debug)]
struct Key {
    /// As in `hit.antenna`.
    name: Arc<str>,
    /// Where the member's name begins in there.
    member: usize,
    /// As it is written in JSON, with the colon behind it.
    written: Arc<[u8]>,
}

impl Keys {
    /// The key of a member; `None` when it can be none.
    fn find(&mut self, resource: &str, member: &str) -> Option<Key> {
        let is_it = |key: &Key| key.is_of(resource, member);
        let place = match self.known.get(self.next).filter(|key| is_it(key)) {
            Some(_) => Some(self.next),
            None => self.known.iter().position(is_it),
        };
        if let Some(place) = place {
            self.next = place + 1;
            return self.known.get(place).cloned();
        }
        let key = Key::new(resource, member)?;
        if self.known.len() < KEYS_MAX {
            self.known.push(key.clone());
            self.next = self.known.len();
        }
        Some(key)
    }
}

impl Key {
    fn new(resource: &str, member: &str) -> Option<Self> {
        let name = if resource.is_empty() { member.to_owned() } else { [resource, ".", member].concat() };
        if name.len() > KEY_LENGTH_MAX || name.bytes().any(|byte| byte.is_ascii_control()) {
            return None;
        }
        let written = format!("{}:", json!(name)).into_bytes();
        Some(Self { member: name.len() - member.len(), name: Arc::from(name), written: Arc::from(written) })
    }

    fn is_of(&self, resource: &str, member: &str) -> bool {
        self.name.get(self.member..) == Some(member)
            && self.name.get(..self.member).is_some_and(|before| {
                before.strip_suffix('.').map_or(before.is_empty() && resource.is_empty(), |of| of == resource)
            })
    }
}

/// When a message says that it happened.
fn when(message: &spot::Message<'_>, now: Timestamp) -> (i64, Quality, Option<&'static str>) {
    let name = match (&*message.resource, &*message.action) {
        ("hit", _) => "time",
        (_, "create") => "time_started",
        (_, "update") => "time_last",
        // When an item was seen last is not when it was found gone.
        _ => return (now.0, Quality::Good, None),
    };
    let Some(text) = message.text(name) else { return (now.0, Quality::Good, None) };
    let Some(stamp) = spot::stamp(text) else { return (now.0, Quality::Clock, Some(name)) };
    let (ts, clock) = settle(Some(stamp.ts), now.0);
    let quality = if clock == DeviceClock::Suspect { Quality::Clock } else { Quality::Good };
    // Where the fraction is a guess, the text is kept beside it.
    (ts, quality, (!stamp.is_exact || quality == Quality::Clock).then_some(name))
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.readings.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.payload.len()
    }

    /// Takes the members of a presence or hit in, under `action`.
    pub(super) fn take(
        &mut self,
        message: &spot::Message<'_>,
        action: &str,
        (times, count): (&mut Times, Option<usize>),
        now: Timestamp,
    ) {
        let Body::Fields(fields) = &message.body else { return };
        let (ts, quality, kept) = when(message, now);
        let ts = times.next(&message.resource, ts);
        self.begin(ts);
        let resource = &*message.resource;
        for field in fields.iter().filter(|field| resource != "hit" || field.name != "time" || kept.is_some())
        {
            let value = match &field.value {
                telemetry::Value::Number(number) => Value::Number(*number),
                telemetry::Value::Integer(number) => Value::Integer(*number),
                telemetry::Value::Unsigned(number) => Value::Unsigned(*number),
                telemetry::Value::Boolean(value) => Value::Boolean(*value),
                telemetry::Value::Text(text) => Value::Text(Arc::from(&**text)),
                telemetry::Value::Gap => continue,
            };
            self.put((resource, &field.name), (ts, value, quality));
        }
        if resource != "hit" {
            self.put((resource, "action"), (ts, Value::Text(Arc::from(action)), quality));
        }
        if let Some(count) = count {
            self.put(("", "presences"), (ts, counted(count), quality));
        }
        self.payload.extend_from_slice(b"}}");
    }

    fn begin(&mut self, ts: i64) {
        self.payload.push(if self.payload.is_empty() { b'[' } else { b',' });
        self.payload.extend_from_slice(format!("{{\"ts\":{ts},\"values\":{{").as_bytes());
    }

    /// A member whose name cannot be a key is left out.
    fn put(&mut self, (resource, member): (&str, &str), (ts, value, quality): (i64, Value, Quality)) {
        let Some(key) = self.keys.find(resource, member) else { return };
        if self.payload.last() != Some(&b'{') {
            self.payload.push(b',');
        }
        self.payload.extend_from_slice(&key.written);
        // Writing to memory cannot fail, and neither can a text or a finite number.
        drop(serde_json::to_writer(&mut self.payload, &value));
        self.readings.push(Reading { key: key.name, ts: Timestamp(ts), value, quality });
    }

    /// An item is gone without having been told to be.
    pub(super) fn lapsed(
        &mut self,
        (kind, code): (&str, &str),
        (times, count): (&mut Times, usize),
        now: Timestamp,
    ) {
        let ts = times.next("presence", now.0);
        self.begin(ts);
        for (member, text) in [("item_code", code), ("item_codetype", kind), ("action", "delete")] {
            self.put(("presence", member), (ts, Value::Text(Arc::from(text)), Quality::Stale));
        }
        self.put(("", "presences"), (ts, counted(count), Quality::Stale));
        self.payload.extend_from_slice(b"}}");
    }

    /// The message of everything that was taken in; the batch is empty then.
    pub(super) fn message(&mut self, topic: &Topic, device: &DeviceId, now: Timestamp) -> Message {
        let mut payload = std::mem::take(&mut self.payload);
        payload.push(b']');
        let readings = std::mem::take(&mut self.readings);
        let mut message = Message::new(topic.clone(), payload, now);
        message.qos = QoS::AtLeastOnce;
        message.telemetry = Some(Box::new(Telemetry { device: device.clone(), readings }));
        message
    }
}

fn counted(count: usize) -> Value {
    Value::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}

/// The longest key, in bytes.
const KEY_LENGTH_MAX: usize = 256;

/// Anything else that a Spot says, as an event `{resource}.{action}`.
pub(super) fn event(device: &DeviceId, message: &spot::Message<'_>, now: Timestamp) -> Message {
    let Body::Object(object) = &message.body else {
        unreachable!("presences and hits are readings");
    };
    let name = format!("devices/{device}/events/{}.{}", message.resource, message.action);
    let topic = Topic::parse(&name).unwrap_or_else(|_no_topic| own_topic(device, "events/unknown"));
    Message::new(topic, json!(object).to_string(), now)
}

pub(super) fn own_topic(device: &DeviceId, rest: &str) -> Topic {
    Topic::parse(&format!("devices/{device}/{rest}")).expect("a device's id fits a topic")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_795_269_297_250);

    fn batch(texts: &[&str]) -> Batch {
        let mut batch = Batch::default();
        let mut times = Times::default();
        for text in texts {
            let message = spot::read(text.as_bytes()).unwrap();
            batch.take(&message, &message.action, (&mut times, None), NOW);
        }
        batch
    }

    #[test]
    fn members_become_keys_and_the_payload_says_the_same() {
        let hit = r#"["hit","create",{"time":"2026-11-21T13:00:01.250Z","item_code":"E2","antenna":1,"signal_strength":-512}]"#;
        let mut batch = batch(&[hit]);
        let device = DeviceId::parse("d").unwrap();
        let message = batch.message(&own_topic(&device, "telemetry"), &device, NOW);
        let payload: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
        let ts = 1_795_266_001_250_i64;
        let values = json!({"hit.item_code":"E2","hit.antenna":1,"hit.signal_strength":-512});
        assert_eq!(payload, json!([{ "ts": ts, "values": values }]));
        let readings = message.telemetry.unwrap().readings;
        assert!(
            readings.iter().all(|reading| reading.ts == Timestamp(ts) && reading.quality == Quality::Good)
        );
        assert_eq!(readings.len(), 3);
    }

    #[test]
    fn two_hits_of_one_millisecond_keep_a_time_each() {
        let hit = r#"["hit","create",{"time":"2026-11-21T13:00:01.250Z","antenna":1}]"#;
        let times: Vec<_> = batch(&[hit, hit, hit]).readings.iter().map(|reading| reading.ts.0).collect();
        assert_eq!(times, [1_795_266_001_250, 1_795_266_001_251, 1_795_266_001_252]);
    }

    #[test]
    fn a_clock_that_was_not_set_is_marked_and_its_text_kept() {
        for (time, quality, ts) in [
            ("1970-01-01T00:00:07.713Z", Quality::Clock, NOW.0),
            ("2026-11-21T13:00:01.29Z", Quality::Good, 1_795_266_001_290),
            ("2026-11-21T13:00:01.0Z", Quality::Good, 1_795_266_001_000),
        ] {
            let readings = batch(&[&format!(r#"["hit","create",{{"time":"{time}","antenna":1}}]"#)]).readings;
            assert_eq!((&*readings[0].key, readings[0].quality), ("hit.time", quality), "{time}");
            assert_eq!(readings[0].ts, Timestamp(ts), "{time}");
        }
    }
}
