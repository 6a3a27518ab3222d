//! Sigfox: its call-backs' bodies are templates that the owner of a device type writes, so members may be
//! texts where numbers are meant, and further members are values that the operator decoded
//! (`"temp":"{customData#temp}"`).

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{Kind, Progress, Uplink, shape};
use crate::dialect::Unread;
use crate::telemetry::{self, Limits, Point};

/// The longest payload of an uplink, in hexadecimal digits.
const DATA_DIGITS_MAX: usize = 24;
/// Members that tell of the radio and not of what was measured.
const ABOUT_RADIO: [&str; 26] = [
    "device",
    "deviceId",
    "id",
    "deviceTypeId",
    "deviceType",
    "data",
    "time",
    "timestamp",
    "seqNumber",
    "ack",
    "longPolling",
    "rssi",
    "avgRssi",
    "snr",
    "avgSnr",
    "station",
    "duplicate",
    "duplicates",
    "lqi",
    "linkQuality",
    "operatorName",
    "countryCode",
    "infoCode",
    "infoMessage",
    "downlinkAck",
    "downlinkOverusage",
];

pub(super) fn read(body: &[u8]) -> Result<Uplink<'_>, Unread> {
    let members: Map<String, Value> = serde_json::from_slice(body).map_err(shape)?;
    let device = text(&members, &["device", "deviceId", "id"]).ok_or(Unread("names no device".into()))?;
    if !(1..=8).contains(&device.len()) || !device.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Unread("a Sigfox id has 1 to 8 hexadecimal digits".into()));
    }
    let mut uplink = Uplink::new(Cow::Owned(device.to_owned()), kind(&members)?);
    let seconds = float(&members, &["time", "timestamp"]);
    uplink.time = seconds.and_then(milliseconds);
    uplink.rssi = float(&members, &["rssi", "avgRssi"]);
    uplink.snr = float(&members, &["snr", "avgSnr"]);
    uplink.listens = members.get("ack").is_some_and(is_true) && uplink.kind == Kind::Data;
    uplink.raw = text(&members, &["data"]).filter(|data| !data.is_empty()).map(hexadecimal).transpose()?;
    uplink.points = points(members)?;
    Ok(uplink)
}

fn kind(members: &Map<String, Value>) -> Result<Kind<'static>, Unread> {
    if let Some(acknowledged) = members.get("downlinkAck") {
        let reason = text(members, &["infoMessage"]).unwrap_or("the device did not acknowledge it");
        let failed = || Progress::Failed(Cow::Owned(reason.to_owned()));
        let progress = if is_true(acknowledged) { Progress::Acknowledged } else { failed() };
        return Ok(Kind::Downlink { id: None, progress });
    }
    if members.contains_key("data") {
        return Ok(Kind::Data);
    }
    // A status call-back has battery and temperature, an error call-back says what went wrong.
    let name = if members.contains_key("severity") { "error" } else { "status" };
    super::note(Cow::Borrowed(name))
}

/// Every further member is a value; texts that are numbers are numbers, since templates quote them.
fn points(mut members: Map<String, Value>) -> Result<Vec<Point<'static>>, Unread> {
    members.retain(|name, _| !ABOUT_RADIO.contains(&name.as_str()));
    for value in members.values_mut() {
        let number = value.as_str().and_then(|text| serde_json::from_str::<serde_json::Number>(text).ok());
        match number {
            Some(number) => *value = Value::Number(number),
            // A variable that the operator could not fill.
            None if value.as_str().is_some_and(|text| matches!(text, "" | "null")) => *value = Value::Null,
            None => {}
        }
    }
    let text = Value::Object(members).to_string();
    let points = telemetry::json(text.as_bytes(), &Limits::default())
        .map_err(|error| Unread(error.to_string().into()))?;
    let own = |point: Point<'_>| Point {
        key: Cow::Owned(point.key.into_owned()),
        ts: point.ts,
        value: point.value.into_owned(),
    };
    Ok(points.into_iter().map(own).collect())
}

fn text<'m>(members: &'m Map<String, Value>, names: &[&str]) -> Option<&'m str> {
    names.iter().find_map(|name| members.get(*name)?.as_str())
}

fn float(members: &Map<String, Value>, names: &[&str]) -> Option<f64> {
    let of = |value: &Value| value.as_f64().or_else(|| value.as_str()?.parse().ok());
    names.iter().find_map(|name| members.get(*name).and_then(of)).filter(|number| number.is_finite())
}

/// Whole seconds since 1970, or milliseconds where somebody's template has those.
#[expect(clippy::cast_possible_truncation, reason = "what is below 10^15 fits")]
fn milliseconds(time: f64) -> Option<i64> {
    match time {
        0.0..1e11 => Some((time * 1_000.0) as i64),
        1e11..1e15 => Some(time as i64),
        _ => None,
    }
}

fn is_true(value: &Value) -> bool {
    value.as_bool().or_else(|| value.as_str()?.parse().ok()).unwrap_or_default()
}

fn hexadecimal(text: &str) -> Result<Vec<u8>, Unread> {
    if text.len() > DATA_DIGITS_MAX {
        return Err(Unread("a Sigfox message has at most 12 bytes".into()));
    }
    super::downlink::hexadecimal(text).ok_or(Unread("data is in hexadecimal".into()))
}
