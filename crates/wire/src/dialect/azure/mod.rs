//! Azure IoT Hub's topics for devices: telemetry with a property bag, twins, direct methods, and messages
//! from the cloud.

mod bag;
mod sas;

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::{
    About, Answer, Awaited, Command, Dialect, Outgoing, Said, Twin, TwinReason, TwinRequest, Unread,
    Unsayable, What, Wording, parse_json,
};
use crate::telemetry::{self, Format, Limits, Point, parse_rfc3339};
use bag::{encoded, property};
pub use sas::SharedAccess;

/// A command of this name is a message to the device and no direct method.
const DEVICE_BOUND: &str = "devicebound";
/// The event that a message becomes which has no readings.
const MESSAGE_EVENT: &str = "message";
const DEVICE_LENGTH_MAX: usize = 128;
const REQUEST_ID_LENGTH_MAX: usize = 64;
const METHOD_LENGTH_MAX: usize = 100;
/// Of an answer that is no JSON, the words that are kept, in characters.
const ERROR_LENGTH_MAX: usize = 1_024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Azure {
    /// The name that the device has in its topics.
    device: Option<String>,
    /// The wishes that the device was told last, so that it is told of changes only.
    told: Option<Map<String, Value>>,
    reported_version: u64,
}

impl Dialect for Azure {
    fn hear<'a>(&mut self, topic: &'a str, payload: &'a [u8], now: i64) -> Result<Vec<Said<'a>>, Unread> {
        let whats = if let Some(rest) = topic.strip_prefix("$iothub/") {
            self.of_hub(rest, payload)
        } else if let Some((device, bag)) = telemetry_topic(topic) {
            let what = message(bag, payload, now)?;
            self.device = Some(device.to_owned());
            vec![what]
        } else {
            Vec::new()
        };
        // One connection is one device, whatever it is called over there.
        Ok(whats.into_iter().map(|what| Said { about: About::Connection, what }).collect())
    }

    /// A direct method, or a message from the cloud for a command called `devicebound`.
    fn command(&mut self, device: Option<&str>, command: Command<'_>) -> Result<Wording, Unsayable> {
        if command.name == DEVICE_BOUND {
            let device = device.or(self.device.as_deref()).ok_or(Unsayable(Cow::Borrowed(
                "it is not known how the device is called in its topics: it has not sent anything yet",
            )))?;
            return Ok(Wording { messages: vec![device_bound(device, &command)], answer: Awaited::Nothing });
        }
        let fits = (1..=METHOD_LENGTH_MAX).contains(&command.name.len())
            && command.name.chars().all(|char| !char.is_control() && !"/+#?".contains(char));
        if !fits {
            return Err(Unsayable(Cow::Borrowed("the name of a method has no slash and at most 100 bytes")));
        }
        let topic = format!("$iothub/methods/POST/{}/?$rid={}", command.name, command.id);
        Ok(Wording { messages: vec![outgoing(topic, command.params.to_string())], answer: Awaited::Answer })
    }

    fn twin(&mut self, _device: Option<&str>, twin: Twin<'_>, reason: &TwinReason) -> Vec<Outgoing> {
        match reason {
            TwinReason::Asked(request) => {
                let rid = request.correlation.as_deref().unwrap_or_default();
                self.told = Some(twin.desired.clone());
                let both = json!({
                    "desired": versioned(twin.desired.clone(), twin.version),
                    "reported": versioned(twin.reported.clone(), self.reported_version.max(1)),
                });
                vec![outgoing(format!("$iothub/twin/res/200/?$rid={rid}"), both.to_string())]
            }
            TwinReason::Changed => {
                let change = match &self.told {
                    Some(before) => difference(before, twin.desired),
                    None => twin.desired.clone(),
                };
                self.told = Some(twin.desired.clone());
                if change.is_empty() {
                    return Vec::new();
                }
                let topic = format!("$iothub/twin/PATCH/properties/desired/?$version={}", twin.version);
                vec![outgoing(topic, versioned(change, twin.version).to_string())]
            }
        }
    }
}

impl Azure {
    fn of_hub(&mut self, rest: &str, payload: &[u8]) -> Vec<What<'static>> {
        if let Some(bag) = rest.strip_prefix("twin/GET/") {
            let correlation = request_id(bag);
            let ask = |id| What::AsksTwin(TwinRequest { correlation: Some(id), ..TwinRequest::default() });
            return correlation.map(ask).into_iter().collect();
        }
        if let Some(bag) = rest.strip_prefix("twin/PATCH/properties/reported/") {
            return request_id(bag).map(|id| self.report(&id, payload)).unwrap_or_default();
        }
        let response = rest.strip_prefix("methods/res/").and_then(|rest| rest.split_once('/'));
        let answer = response.and_then(|(status, bag)| answer(status, &request_id(bag)?, payload));
        answer.map(What::Answer).into_iter().collect()
    }

    fn report(&mut self, id: &str, payload: &[u8]) -> Vec<What<'static>> {
        let refuse = |words: &str| {
            let body = json!({ "errorCode": 400_000, "message": words }).to_string();
            vec![What::Reply(outgoing(format!("$iothub/twin/res/400/?$rid={id}"), body))]
        };
        let mut patch = match parse_json(payload) {
            Ok(Value::Object(patch)) => patch,
            Ok(_) => return refuse("what is reported is a JSON object"),
            Err(error) => return refuse(&error.to_string()),
        };
        patch.remove("$version");
        let text = Value::Object(patch.clone()).to_string();
        let points = match telemetry::json(text.as_bytes(), &Limits::default()) {
            Ok(points) => points.into_iter().map(|point| owned(point, None)).collect::<Vec<_>>(),
            Err(error) => return refuse(&error.to_string()),
        };
        self.reported_version = self.reported_version.max(1).saturating_add(1);
        let version = self.reported_version;
        let mut whats = vec![What::Reported(patch)];
        if !points.is_empty() {
            whats.push(What::Readings(points));
        }
        let taken = format!("$iothub/twin/res/204/?$rid={id}&$version={version}");
        whats.push(What::Reply(outgoing(taken, String::new())));
        whats
    }
}

/// The device and the bag of `devices/{device}/messages/events/{bag}`.
fn telemetry_topic(topic: &str) -> Option<(&str, &str)> {
    let (device, rest) = topic.strip_prefix("devices/")?.split_once('/')?;
    let bag = rest.strip_prefix("messages/events")?;
    let bag = if bag.is_empty() { bag } else { bag.strip_prefix('/')? };
    (1..=DEVICE_LENGTH_MAX).contains(&device.len()).then_some((device, bag))
}

/// A message with readings, or any other.
fn message<'a>(bag: &'a str, payload: &'a [u8], now: i64) -> Result<What<'a>, Unread> {
    let limits = Limits::default();
    let said = property(bag, "$.ct").and_then(|content_type| Format::from_content_type(&content_type));
    let points = match said {
        Some(format) => {
            let read = telemetry::decode(format, payload, &limits, now);
            let read = read.map_err(|error| Unread(Cow::Owned(error.to_string())))?;
            if !read.base_names.is_empty() {
                return Err(Unread(Cow::Borrowed("a base name is not taken here: leave it out")));
            }
            read.points
        }
        // Most libraries say no type; what can be read is read.
        None => telemetry::json(payload, &limits).unwrap_or_default(),
    };
    if points.is_empty() {
        return Ok(What::Event { name: Cow::Borrowed(MESSAGE_EVENT), payload: Cow::Borrowed(payload) });
    }
    let made = property(bag, "iothub-creation-time-utc").and_then(|time| parse_rfc3339(&time));
    // The component of a device that is put together of several (IoT Plug and Play).
    let component = property(bag, "$.sub").filter(|component| !component.is_empty());
    let settle = |point: Point<'a>| {
        let point = Point { ts: point.ts.or(made), ..point };
        match &component {
            Some(component) => owned(point, Some(component)),
            None => point,
        }
    };
    let points: Vec<_> = points.into_iter().map(settle).collect();
    let is_long = points.iter().any(|point| limits.check_key(&point.key, 0).is_err());
    if is_long {
        Err(Unread(Cow::Borrowed("the component's name is none")))
    } else {
        Ok(What::Readings(points))
    }
}

fn owned(point: Point<'_>, component: Option<&str>) -> Point<'static> {
    let key = match component {
        Some(component) => format!("{component}.{}", point.key),
        None => point.key.into_owned(),
    };
    Point { key: Cow::Owned(key), ts: point.ts, value: point.value.into_owned() }
}

/// What the answer has to say again; in letters that a topic can have.
fn request_id(bag: &str) -> Option<String> {
    let id = property(bag, "$rid")?;
    let fits = (1..=REQUEST_ID_LENGTH_MAX).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    fits.then(|| id.into_owned())
}

/// Statuses are those of HTTP.
fn answer(status: &str, id: &str, payload: &[u8]) -> Option<Answer> {
    let status: u16 = status.parse().ok()?;
    let said = parse_json(payload);
    let outcome = if (200..300).contains(&status) {
        Ok(said.unwrap_or_default())
    } else {
        let words = match said {
            Ok(Value::String(words)) => words,
            Ok(value) => value.to_string(),
            Err(_) => String::from_utf8_lossy(payload).into_owned(),
        };
        let words = words.chars().take(ERROR_LENGTH_MAX).collect::<String>();
        Err(format!("{status} {words}").trim_end().to_owned())
    };
    Some(Answer { id: Some(id.to_owned()), name: None, outcome })
}

fn device_bound(device: &str, command: &Command<'_>) -> Outgoing {
    let to = encoded(&format!("/devices/{device}/messages/devicebound"));
    let (kind, payload) = match command.params {
        Value::String(text) => ("", text.clone()),
        other => ("&%24.ct=application%2Fjson&%24.ce=utf-8", other.to_string()),
    };
    let bag = format!("%24.to={to}&%24.mid={}{kind}", command.id);
    outgoing(format!("devices/{device}/messages/devicebound/{bag}"), payload)
}

/// The merge patch that leads from one to the other. Depth is bounded, as that of all documents is.
fn difference(before: &Map<String, Value>, after: &Map<String, Value>) -> Map<String, Value> {
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    let mut patch: Map<String, Value> = gone.map(|name| (name.clone(), Value::Null)).collect();
    for (name, value) in after {
        match (before.get(name), value) {
            (Some(Value::Object(before)), Value::Object(after)) => {
                let inner = difference(before, after);
                if !inner.is_empty() {
                    patch.insert(name.clone(), Value::Object(inner));
                }
            }
            (Some(before), after) if before == after => {}
            _ => {
                patch.insert(name.clone(), value.clone());
            }
        }
    }
    patch
}

fn versioned(mut part: Map<String, Value>, version: u64) -> Value {
    part.insert("$version".to_owned(), version.into());
    Value::Object(part)
}

fn outgoing(topic: String, payload: String) -> Outgoing {
    Outgoing { topic, payload: payload.into_bytes(), retain: false }
}

#[cfg(test)]
mod tests;
