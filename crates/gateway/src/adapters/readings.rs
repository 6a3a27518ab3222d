//! From a telemetry payload to the hub's readings, once, before anything is acknowledged.

use std::sync::Arc;

use roost_hub::id::{DeviceId, InvalidId};
use roost_hub::message::Telemetry;
use roost_hub::reading::{Quality, Reading, Value};
use roost_hub::storage::StorageError;
use roost_hub::time::Timestamp;
use roost_hub::topic::Topic;
use roost_wire::decoder::{DecodeError, InvalidDecoder};
use roost_wire::telemetry::{
    self, DeviceClock, Format, Limits, Point, TelemetryError, base_name_is_of, settle,
};

/// The longest key of `telemetry/{key}`, in bytes.
const KEY_LENGTH_MAX: usize = 256;

/// Why a payload was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadingsError {
    /// It cannot be read, or holds what cannot be kept.
    #[error(transparent)]
    Payload(#[from] TelemetryError),
    /// The key in the topic.
    #[error("a key has 1 to 256 bytes and no control characters")]
    Key,
    /// SenML that names somebody else.
    #[error("the base name {0:?} is not this device: use its id, or leave it out")]
    BaseName(String),
    /// The topic's device.
    #[error(transparent)]
    Device(#[from] InvalidId),
    /// The decoder of the device's profile cannot read it.
    #[error("{error}; the frame begins {shown:?}")]
    Frame {
        /// Why not.
        error: DecodeError,
        /// The beginning of the frame, in hexadecimal.
        shown: String,
    },
    /// It is said to be bytes, and nothing says what stands where in them.
    #[error("the device's profile has no decoder for binary payloads: give it one, or send JSON")]
    NoDecoder,
    /// The profile's decoder was written before decoders were checked.
    #[error("the device's profile has no valid decoder: {0}")]
    Decoder(#[from] InvalidDecoder),
    /// The store could not tell the device's profile.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What a topic of telemetry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TelemetryTopic<'a> {
    pub(crate) device: &'a str,
    /// The payload is this key's bare value.
    pub(crate) key: Option<&'a str>,
}

impl<'a> TelemetryTopic<'a> {
    /// Reads `devices/{id}/telemetry` and `devices/{id}/telemetry/{key}`; `None` for other topics.
    pub(crate) fn of(topic: &'a Topic) -> Option<Self> {
        let (device, rest) = topic.device()?;
        let rest = rest.strip_prefix("telemetry")?;
        if rest.is_empty() {
            return Some(Self { device, key: None });
        }
        let key = rest.strip_prefix('/').filter(|key| !key.is_empty())?;
        Some(Self { device, key: Some(key) })
    }
}

/// Reads a payload. A content type that is not known is taken for JSON.
///
/// # Errors
/// [`ReadingsError`] says what to change; nothing of the payload is kept.
pub(crate) fn read(
    topic: TelemetryTopic<'_>,
    payload: &[u8],
    content_type: Option<&str>,
    now: Timestamp,
) -> Result<Box<Telemetry>, ReadingsError> {
    let device = DeviceId::parse(topic.device)?;
    let limits = Limits::default();
    let mut readings = Vec::new();
    if let Some(key) = topic.key {
        if key.len() > KEY_LENGTH_MAX || key.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(ReadingsError::Key);
        }
        if let Some(value) = telemetry::bare(payload, &limits)? {
            readings.push(reading(Point { key: key.into(), ts: None, value }, now));
        }
    } else {
        let format = content_type.and_then(Format::from_content_type).unwrap_or(Format::Json);
        readings = decode(&device, format, payload, now)?;
    }
    Ok(Box::new(Telemetry { device, readings }))
}

/// Reads a payload that is in this format.
///
/// # Errors
/// As [`read`].
pub(crate) fn decode(
    device: &DeviceId,
    format: Format,
    payload: &[u8],
    now: Timestamp,
) -> Result<Vec<Reading>, ReadingsError> {
    let decoded = telemetry::decode(format, payload, &Limits::default(), now.0)?;
    if let Some(foreign) = decoded.base_names.iter().find(|name| !base_name_is_of(name, device.as_str())) {
        return Err(ReadingsError::BaseName(foreign.chars().take(KEY_LENGTH_MAX).collect()));
    }
    Ok(decoded.points.into_iter().map(|point| reading(point, now)).collect())
}

/// A point that a dialect found, with the time of arrival where it has none.
pub(crate) fn reading(point: Point<'_>, now: Timestamp) -> Reading {
    let (ts, clock) = settle(point.ts, now.0);
    let (value, mut quality) = match point.value {
        telemetry::Value::Number(number) => (Value::Number(number), Quality::Good),
        telemetry::Value::Integer(number) => (Value::Integer(number), Quality::Good),
        telemetry::Value::Unsigned(number) => (Value::Unsigned(number), Quality::Good),
        telemetry::Value::Boolean(value) => (Value::Boolean(value), Quality::Good),
        telemetry::Value::Text(text) => (Value::Text(Arc::from(text)), Quality::Good),
        telemetry::Value::Gap => (Value::Gap, Quality::Bad),
    };
    if clock == DeviceClock::Suspect && quality == Quality::Good {
        quality = Quality::Clock;
    }
    Reading { key: Arc::from(point.key), ts: Timestamp(ts), value, quality }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_on(topic: &str, payload: &str) -> Result<Box<Telemetry>, ReadingsError> {
        let topic = Topic::parse(topic).unwrap();
        read(TelemetryTopic::of(&topic).unwrap(), payload.as_bytes(), None, Timestamp(1_795_269_297_250))
    }

    #[test]
    fn only_a_devices_telemetry_is_telemetry() {
        for (topic, key) in [
            ("devices/a/telemetry", Some(None)),
            ("devices/a/telemetry/temp", Some(Some("temp"))),
            ("devices/a/telemetry/x/y", Some(Some("x/y"))),
            ("devices/a/telemetry/", None),
            ("devices/a/telemetryx", None),
            ("devices/a/twin/reported", None),
            ("telemetry", None),
        ] {
            let topic = Topic::parse(topic).unwrap();
            assert_eq!(TelemetryTopic::of(&topic).map(|found| found.key), key, "{topic}");
        }
    }

    #[test]
    fn an_impossible_time_is_replaced_and_marked() {
        let telemetry = read_on("devices/a/telemetry", r#"{"ts":1,"values":{"t":1.5}}"#).unwrap();
        let reading = telemetry.readings.first().unwrap();
        assert_eq!((reading.ts, reading.quality), (Timestamp(1_795_269_297_250), Quality::Clock));
    }

    #[test]
    fn a_bare_value_takes_its_key_from_the_topic() {
        let telemetry = read_on("devices/a/telemetry/temp", "21").unwrap();
        let reading = telemetry.readings.first().unwrap();
        assert_eq!((&*reading.key, &reading.value), ("temp", &Value::Integer(21)));
        assert!(read_on("devices/a/telemetry/temp", "null").unwrap().readings.is_empty());
        assert!(read_on("devices/a/telemetry/temp", "{}").is_err());
    }

    #[test]
    fn j_27_senml_that_names_another_device_is_refused() {
        let topic = Topic::parse("devices/a/telemetry").unwrap();
        let topic = TelemetryTopic::of(&topic).unwrap();
        let pack = |name| format!(r#"[{{"bn":"urn:dev:{name}:","n":"t","v":1}}]"#);
        let kind = Some("application/senml+json");
        assert!(read(topic, pack("a").as_bytes(), kind, Timestamp(0)).is_ok());
        let refused = read(topic, pack("b").as_bytes(), kind, Timestamp(0));
        assert!(matches!(refused, Err(ReadingsError::BaseName(_))));
    }
}
