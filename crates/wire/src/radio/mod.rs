//! Call-backs of the operators of radio networks: Sigfox, The Things Stack v3 and ChirpStack v4 hand on
//! by HTTP what a device sent by radio, and take what it shall be sent.
//!
//! A device is named as its network names it: by the DevEUI (16 hexadecimal digits, made lower case), or
//! by its Sigfox id as it came.

mod chirpstack;
mod downlink;
mod sigfox;
mod things_stack;

pub use downlink::{Downlink, Push, SIGFOX_DOWNLINK_LENGTH, chirpstack_queued, queue_item, reason};

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use crate::dialect::Unread;
use crate::json;
use crate::telemetry::{self, Limits, Point, Value};

/// The longest name of an event that is handed on, in bytes.
const EVENT_NAME_LENGTH_MAX: usize = 64;

/// Whose call-backs these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// Sigfox' custom call-backs with a JSON body.
    Sigfox,
    /// The Things Stack v3 (The Things Network), webhooks in JSON.
    ThingsStack,
    /// ChirpStack v4, the HTTP integration in JSON.
    ChirpStack,
}

/// What a call-back says.
#[derive(Clone, Debug, PartialEq)]
pub struct Uplink<'a> {
    /// The device as its network names it.
    pub device: Cow<'a, str>,
    /// What people call it there.
    pub name: Option<Cow<'a, str>>,
    /// What happened.
    pub kind: Kind<'a>,
    /// What the operator decoded, each with [`Uplink::time`].
    pub points: Vec<Point<'a>>,
    /// The bytes that the device sent, for a decoder of our own.
    pub raw: Option<Vec<u8>>,
    /// LoRaWAN's FPort.
    pub port: Option<u8>,
    /// When the network had it, in milliseconds since 1970.
    pub time: Option<i64>,
    /// In dBm, at the gateway that heard it best.
    pub rssi: Option<f64>,
    /// In dB, at the same gateway.
    pub snr: Option<f64>,
    /// The device listens now: the answer to this call-back may carry a downlink (Sigfox).
    pub listens: bool,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// The device sent something.
    Data,
    /// It joined the network.
    Joined,
    /// About a downlink that was handed to the operator.
    Downlink {
        /// The id that [`Downlink::id`] had (The Things Stack), or that ChirpStack gave it when it was
        /// queued ([`chirpstack_queued`]); Sigfox has none: it is the last one.
        id: Option<Cow<'a, str>>,
        /// How it went.
        progress: Progress<'a>,
    },
    /// Anything else, by the operator's name for it in lower case: `status`, `location`, `log`, …
    Note(Cow<'a, str>),
}

/// How a downlink goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// The operator keeps it.
    Queued,
    /// A gateway sent it.
    Sent,
    /// The device has it.
    Acknowledged,
    /// It will not reach the device; why.
    Failed(Cow<'a, str>),
}

impl<'a> Uplink<'a> {
    fn new(device: Cow<'a, str>, kind: Kind<'a>) -> Self {
        Self {
            device,
            name: None,
            kind,
            points: Vec::new(),
            raw: None,
            port: None,
            time: None,
            rssi: None,
            snr: None,
            listens: false,
        }
    }
}

/// Reads the body of a call-back. `event` is what stands beside it: ChirpStack's query `event=up`.
///
/// # Errors
/// [`Unread`]: no strict JSON, or not of the operator's shape.
pub fn read<'a>(operator: Operator, event: Option<&'a str>, body: &'a [u8]) -> Result<Uplink<'a>, Unread> {
    // Protobuf is what ChirpStack writes unless told otherwise, and its messages begin with a field's tag.
    if operator == Operator::ChirpStack && matches!(body.first(), Some(0x0A | 0x12 | 0x1A)) {
        return Err(Unread("is no JSON: set the integration's payload encoding to JSON".into()));
    }
    json::check(body, &json::Limits::default()).map_err(|error| Unread(error.to_string().into()))?;
    let mut uplink = match operator {
        Operator::Sigfox => sigfox::read(body),
        Operator::ThingsStack => things_stack::read(body),
        Operator::ChirpStack => chirpstack::read(event, body),
    }?;
    for point in &mut uplink.points {
        point.ts = point.ts.or(uplink.time);
    }
    Ok(uplink)
}

fn shape(error: serde_json::Error) -> Unread {
    Unread(format!("is no call-back of this operator: {error}").into())
}

/// A DevEUI in lower case.
fn eui(text: Cow<'_, str>) -> Result<Cow<'_, str>, Unread> {
    if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Unread("the DevEUI has 16 hexadecimal digits".into()));
    }
    let has_upper = text.bytes().any(|byte| byte.is_ascii_uppercase());
    Ok(if has_upper { Cow::Owned(text.to_ascii_lowercase()) } else { text })
}

/// What a network's decoder made of a payload; `null` and what is no object say nothing.
fn decoded(object: Option<&RawValue>) -> Result<Vec<Point<'_>>, Unread> {
    match object.map(RawValue::get) {
        Some(text) if text.starts_with('{') => telemetry::json(text.as_bytes(), &Limits::default())
            .map_err(|error| Unread(format!("the decoded payload: {error}").into())),
        _ => Ok(Vec::new()),
    }
}

fn bytes_of(text: &str) -> Result<Vec<u8>, Unread> {
    STANDARD.decode(text).map_err(|error| Unread(format!("the payload is no base64: {error}").into()))
}

/// Where a device is, as an operator says it.
#[derive(serde::Deserialize)]
struct Location {
    /// In degrees.
    latitude: Option<f64>,
    longitude: Option<f64>,
    /// In metres.
    altitude: Option<f64>,
    accuracy: Option<f64>,
}

impl Location {
    /// Nothing for a place that is not on earth (J-30).
    fn points(&self) -> Vec<Point<'static>> {
        let within = |degrees: Option<f64>, most: f64| degrees.is_none_or(|degrees| degrees.abs() <= most);
        if !within(self.latitude, 90.0) || !within(self.longitude, 180.0) {
            return Vec::new();
        }
        let parts = [
            number("latitude", self.latitude),
            number("longitude", self.longitude),
            number("altitude", self.altitude),
            number("accuracy", self.accuracy),
        ];
        parts.into_iter().flatten().collect()
    }
}

fn number(key: &'static str, value: Option<f64>) -> Option<Point<'static>> {
    let value = value.filter(|value| value.is_finite())?;
    Some(Point { key: Cow::Borrowed(key), ts: None, value: Value::Number(value) })
}

/// A name that fits one level of a topic.
fn note(name: Cow<'_, str>) -> Result<Kind<'_>, Unread> {
    let fits = (1..=EVENT_NAME_LENGTH_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if fits { Ok(Kind::Note(name)) } else { Err(Unread("names no event".into())) }
}

/// The gateway that heard the device best, among the first.
fn best(heard: impl Iterator<Item = (Option<f64>, Option<f64>)>) -> (Option<f64>, Option<f64>) {
    let strength = |heard: &(Option<f64>, Option<f64>)| heard.0.unwrap_or(f64::NEG_INFINITY);
    heard.max_by(|one, other| strength(one).total_cmp(&strength(other))).unwrap_or_default()
}

#[cfg(test)]
mod tests;
