//! Shelly, second generation and later: RPC over MQTT, and the status topics.
//!
//! A device is known by its topic prefix, which is its id unless somebody set another. Keys are
//! `component.member`, as in `switch:0.apower`.

use std::borrow::Cow;

use serde_json::{Map, Value as Json, json};

use super::document::{Readings, label, level, object, outgoing, text, text_of};
use super::known::Known;
use super::{
    About, Answer, Awaited, Command, Description, Dialect, KeyDescription, Presence, Said, Unread, Unsayable,
    What, Wording,
};
use crate::telemetry::Point;

/// Below a device's own prefix, so that who may publish there may answer there.
const ANSWERS: &str = "/roost/rpc";
/// The longest method.
const METHOD_LENGTH_MAX: usize = 64;
/// Units by the end of a key.
const UNITS: [(&str, &str); 14] = [
    ("apower", "W"),
    ("aprtpower", "VA"),
    ("act_power", "W"),
    ("voltage", "V"),
    ("current", "A"),
    ("freq", "Hz"),
    ("aenergy.total", "Wh"),
    ("tC", "°C"),
    ("tF", "°F"),
    ("rh", "%"),
    ("lux", "lx"),
    ("battery.percent", "%"),
    ("battery.V", "V"),
    ("rssi", "dBm"),
];
/// What writes a member of a component: `switch:0.output` is written by `Switch.Set`.
const WRITERS: [(&str, &str, &str); 6] = [
    ("switch", "output", "Switch.Set"),
    ("light", "output", "Light.Set"),
    ("light", "brightness", "Light.Set"),
    ("rgb", "output", "RGB.Set"),
    ("rgbw", "output", "RGBW.Set"),
    ("cover", "current_pos", "Cover.GoToPosition"),
];

/// What has been heard on one connection.
#[derive(Debug, Default)]
pub(super) struct Shelly {
    devices: Known<()>,
}

impl Dialect for Shelly {
    fn hear<'a>(&mut self, topic: &'a str, payload: &'a [u8], _now: i64) -> Result<Vec<Said<'a>>, Unread> {
        let (device, said) = if let Some(device) = topic.strip_suffix("/online") {
            (device, online(payload)?)
        } else if let Some(device) = topic.strip_suffix("/events/rpc") {
            (device, notification(object(payload)?)?)
        } else if let Some(device) = topic.strip_suffix(ANSWERS) {
            (device, answer(object(payload)?)?)
        } else if let Some((device, component)) = status_topic(topic) {
            (device, status(component, object(payload)?)?)
        } else {
            return Ok(Vec::new());
        };
        if device.is_empty() {
            return Ok(Vec::new());
        }
        // No more than its name is kept; without room for it, `None` cannot be resolved to it.
        self.devices.of(device);
        let about = About::Named(Cow::Borrowed(device));
        Ok(said.into_iter().map(|what| Said { about: about.clone(), what }).collect())
    }

    fn command(&mut self, device: Option<&str>, command: Command<'_>) -> Result<Wording, Unsayable> {
        let device = self.devices.addressed(device)?;
        let is_method = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_';
        let is_fit = command.name.contains('.') && command.name.len() <= METHOD_LENGTH_MAX;
        if !is_fit || !command.name.bytes().all(is_method) {
            let detail = "a Shelly command is a method such as Switch.Set, with its params";
            return Err(Unsayable(Cow::Borrowed(detail)));
        }
        let source = format!("{device}{}", ANSWERS.trim_end_matches("/rpc"));
        let mut request = json!({ "id": command.id, "src": source, "method": command.name });
        match (command.params, request.as_object_mut()) {
            (Json::Null, _) | (_, None) => {}
            (params @ Json::Object(_), Some(request)) => {
                request.insert("params".to_owned(), params.clone());
            }
            _ => {
                return Err(Unsayable(Cow::Borrowed(
                    "params must be an object, such as {\"id\":0,\"on\":true}",
                )));
            }
        }
        let message = outgoing(format!("{device}/rpc"), request.to_string().into_bytes())?;
        Ok(Wording { messages: vec![message], answer: Awaited::Answer })
    }
}

/// `<prefix>/status/<component>`.
fn status_topic(topic: &str) -> Option<(&str, &str)> {
    let (rest, component) = topic.rsplit_once('/')?;
    let is_component = |byte: u8| byte.is_ascii_alphanumeric() || byte == b':' || byte == b'_';
    let device = rest.strip_suffix("/status")?;
    (!component.is_empty() && component.bytes().all(is_component)).then_some((device, component))
}

fn online<'a>(payload: &[u8]) -> Result<Vec<What<'a>>, Unread> {
    match text(payload)? {
        "true" => Ok(vec![What::Presence(Presence::Online)]),
        "false" => Ok(vec![What::Presence(Presence::Offline)]),
        "" => Ok(Vec::new()),
        _ => Err(Unread(Cow::Borrowed("online says neither true nor false"))),
    }
}

/// `NotifyStatus`, `NotifyFullStatus`, `NotifyEvent`.
fn notification<'a>(mut frame: Map<String, Json>) -> Result<Vec<What<'a>>, Unread> {
    let Some(Json::Object(mut params)) = frame.remove("params") else {
        return Err(Unread(Cow::Borrowed("the notification has no params")));
    };
    let ts = params.remove("ts").as_ref().and_then(milliseconds);
    match text_of(&frame, "method") {
        Some("NotifyStatus") => components(params, ts),
        Some("NotifyFullStatus") => {
            let mut said = vec![What::Description(Box::new(full(&params)?))];
            said.extend(components(params, ts)?);
            Ok(said)
        }
        Some("NotifyEvent") => {
            let Some(Json::Array(events)) = params.remove("events") else {
                return Err(Unread(Cow::Borrowed("NotifyEvent has no events")));
            };
            Ok(events.into_iter().filter_map(event).collect())
        }
        _ => Ok(Vec::new()),
    }
}

fn event<'a>(event: Json) -> Option<What<'a>> {
    let name = level(event.get("event")?.as_str()?);
    Some(What::Event { name: Cow::Owned(name), payload: Cow::Owned(event.to_string().into_bytes()) })
}

/// Points, and the same as state; `id` only repeats the component's name.
fn components<'a>(mut components: Map<String, Json>, ts: Option<i64>) -> Result<Vec<What<'a>>, Unread> {
    for component in components.values_mut().filter_map(Json::as_object_mut) {
        component.remove("id");
    }
    let points = points(components.clone(), ts)?;
    Ok(vec![What::Readings(points), What::Reported(components)])
}

fn points(components: Map<String, Json>, ts: Option<i64>) -> Result<Vec<Point<'static>>, Unread> {
    let mut readings = Readings::at(ts);
    readings.add_members("", components)?;
    readings.done()
}

fn status<'a>(component: &str, members: Map<String, Json>) -> Result<Vec<What<'a>>, Unread> {
    components(Map::from_iter([(component.to_owned(), Json::Object(members))]), None)
}

/// Seconds with a fraction. A device that has no time yet counts from its start.
fn milliseconds(seconds: &Json) -> Option<i64> {
    const SECONDS_MAX: f64 = 1e12;
    let seconds = seconds.as_f64().filter(|seconds| seconds.abs() < SECONDS_MAX)?;
    #[expect(clippy::cast_possible_truncation, reason = "below 1e15, which a double holds exactly")]
    let milliseconds = (seconds * 1_000.0).round() as i64;
    Some(milliseconds)
}

fn answer<'a>(mut frame: Map<String, Json>) -> Result<Vec<What<'a>>, Unread> {
    let id = match frame.remove("id") {
        Some(Json::String(id)) => id,
        Some(Json::Number(id)) => id.to_string(),
        _ => return Err(Unread(Cow::Borrowed("the answer has no id"))),
    };
    let outcome = match frame.remove("error") {
        None => Ok(frame.remove("result").unwrap_or(Json::Null)),
        Some(error) => {
            let message = error.get("message").and_then(Json::as_str).unwrap_or("the device refuses");
            let code = error.get("code").map(|code| format!(" ({code})")).unwrap_or_default();
            Err(format!("{message}{code}"))
        }
    };
    let mut said = Vec::new();
    if let Ok(result) = &outcome {
        said.extend(device_info(result).map(|description| What::Description(Box::new(description))));
    }
    said.push(What::Answer(Answer { id: Some(id), name: None, outcome }));
    Ok(said)
}

/// The result of `Shelly.GetDeviceInfo`.
fn device_info(result: &Json) -> Option<Description> {
    let info = result.as_object().filter(|info| info.contains_key("app") && info.contains_key("ver"))?;
    let mut labels = vec![("manufacturer".to_owned(), "Shelly".to_owned())];
    for (name, member) in [("model", "model"), ("app", "app"), ("version", "ver"), ("mac", "mac")] {
        label(&mut labels, name, info.get(member));
    }
    Some(Description { name: text_of(info, "name").map(str::to_owned), labels, keys: Vec::new() })
}

fn full(components: &Map<String, Json>) -> Result<Description, Unread> {
    let mut labels = vec![("manufacturer".to_owned(), "Shelly".to_owned())];
    let inner = |component: &str, member: &str| components.get(component).and_then(|found| found.get(member));
    label(&mut labels, "mac", inner("sys", "mac"));
    label(&mut labels, "ip", inner("wifi", "sta_ip"));
    let is_key = |point: &&Point<'_>| !point.key.ends_with(".id");
    let keys =
        points(components.clone(), None)?.iter().filter(is_key).map(|point| described(&point.key)).collect();
    Ok(Description { name: None, labels, keys })
}

fn described(key: &str) -> KeyDescription {
    let is_end = |end: &str| key.strip_suffix(end).is_some_and(|before| before.ends_with(['.', '_']));
    let unit = UNITS.iter().find(|(end, _)| is_end(end)).map(|(_, unit)| (*unit).to_owned());
    let kind = key.split(':').next().unwrap_or_default();
    let writer = WRITERS.iter().find(|(of, member, _)| *of == kind && is_end(member));
    let written_by = writer.map(|(_, _, method)| (*method).to_owned());
    KeyDescription { key: key.to_owned(), name: None, unit, written_by }
}
