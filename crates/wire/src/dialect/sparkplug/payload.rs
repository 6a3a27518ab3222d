//! Sparkplug's `Payload` message (specification 3.0, section 6.4).

use std::borrow::Cow;

use super::protobuf::{Content, Fields, Writer};
use crate::dialect::Unread;

/// Metrics in one payload, those inside templates included.
pub(super) const METRICS_MAX: usize = 10_000;
/// Properties of one metric that are looked at.
const PROPERTIES_MAX: usize = 64;
/// The quality of a value that is good.
const GOOD: u32 = 192;
/// Marks a payload whose body is another one, compressed.
const COMPRESSED: &[u8] = b"SPBV1.0_COMPRESSED";

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Payload<'a> {
    /// Milliseconds since 1970.
    pub(super) timestamp: Option<u64>,
    pub(super) seq: Option<u64>,
    pub(super) metrics: Vec<Metric<'a>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Metric<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) alias: Option<u64>,
    pub(super) timestamp: Option<u64>,
    /// See [`super::value`].
    pub(super) datatype: Option<u32>,
    pub(super) is_null: bool,
    pub(super) properties: Properties<'a>,
    pub(super) value: Option<Raw<'a>>,
}

/// What is looked at among a metric's properties.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Properties<'a> {
    /// `engUnit`
    pub(super) unit: Option<&'a str>,
    /// `Quality` is said and is not good.
    pub(super) is_doubtful: bool,
    /// `readOnly`
    pub(super) is_read_only: bool,
}

/// A value as the wire has it; what it means depends on the datatype.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Raw<'a> {
    Int(u32),
    Long(u64),
    Float(f32),
    Double(f64),
    Boolean(bool),
    Text(&'a str),
    Bytes(&'a [u8]),
    DataSet(&'a [u8]),
    Template(&'a [u8]),
}

impl<'a> Payload<'a> {
    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, Unread> {
        let mut payload = Self::default();
        let mut fields = Fields::of(bytes);
        while let Some(field) = fields.next()? {
            match field {
                (1, Content::Varint(timestamp)) => payload.timestamp = Some(timestamp),
                (2, Content::Bytes(bytes)) => push(&mut payload.metrics, bytes)?,
                (3, Content::Varint(seq)) => payload.seq = Some(seq),
                (4, Content::Bytes(uuid)) if uuid == COMPRESSED => {
                    let detail = "the payload is compressed: switch compression off at the node";
                    return Err(Unread(Cow::Borrowed(detail)));
                }
                _ => {}
            }
        }
        Ok(payload)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        if let Some(timestamp) = self.timestamp {
            writer.field(1, Content::Varint(timestamp));
        }
        for metric in &self.metrics {
            writer.field(2, Content::Bytes(&metric.encode()));
        }
        if let Some(seq) = self.seq {
            writer.field(3, Content::Varint(seq));
        }
        writer.into_bytes()
    }
}

impl<'a> Metric<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, Unread> {
        let mut metric = Self::default();
        let mut fields = Fields::of(bytes);
        while let Some(field) = fields.next()? {
            match field {
                (1, Content::Bytes(name)) => metric.name = Some(text(name)?),
                (2, Content::Varint(alias)) => metric.alias = Some(alias),
                (3, Content::Varint(timestamp)) => metric.timestamp = Some(timestamp),
                (4, Content::Varint(datatype)) => metric.datatype = u32::try_from(datatype).ok(),
                (7, Content::Varint(is_null)) => metric.is_null = is_null != 0,
                (9, Content::Bytes(properties)) => metric.properties = Properties::decode(properties)?,
                (number @ 10..=18, content) => {
                    metric.value = raw(number.saturating_sub(10), content)?.or(metric.value);
                }
                _ => {}
            }
        }
        Ok(metric)
    }

    /// Without properties: commands have none.
    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        if let Some(name) = self.name {
            writer.field(1, Content::Bytes(name.as_bytes()));
        }
        let numbers = [(2, self.alias), (3, self.timestamp), (4, self.datatype.map(u64::from))];
        for (number, value) in numbers {
            if let Some(value) = value {
                writer.field(number, Content::Varint(value));
            }
        }
        if self.is_null {
            writer.field(7, Content::Varint(1));
        }
        match self.value {
            Some(Raw::Int(value)) => writer.field(10, Content::Varint(value.into())),
            Some(Raw::Long(value)) => writer.field(11, Content::Varint(value)),
            Some(Raw::Float(value)) => writer.field(12, Content::Fixed32(value.to_bits())),
            Some(Raw::Double(value)) => writer.field(13, Content::Fixed64(value.to_bits())),
            Some(Raw::Boolean(value)) => writer.field(14, Content::Varint(value.into())),
            Some(Raw::Text(value)) => writer.field(15, Content::Bytes(value.as_bytes())),
            Some(Raw::Bytes(value)) => writer.field(16, Content::Bytes(value)),
            Some(Raw::DataSet(value)) => writer.field(17, Content::Bytes(value)),
            Some(Raw::Template(value)) => writer.field(18, Content::Bytes(value)),
            None => {}
        }
        writer.into_bytes()
    }
}

impl<'a> Properties<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, Unread> {
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        let mut fields = Fields::of(bytes);
        while let Some(field) = fields.next()? {
            match field {
                (1, Content::Bytes(key)) if keys.len() < PROPERTIES_MAX => keys.push(text(key)?),
                (2, Content::Bytes(value)) if values.len() < PROPERTIES_MAX => values.push(property(value)?),
                _ => {}
            }
        }
        let mut properties = Self::default();
        for (key, value) in keys.into_iter().zip(values) {
            match (key, value) {
                ("engUnit" | "EngUnit" | "engUnits", Some(Raw::Text(unit))) => properties.unit = Some(unit),
                ("Quality" | "quality", Some(Raw::Int(quality))) => properties.is_doubtful = quality != GOOD,
                ("Quality" | "quality", Some(Raw::Long(quality))) => {
                    properties.is_doubtful = quality != u64::from(GOOD);
                }
                ("readOnly" | "ReadOnly", Some(Raw::Boolean(is_read_only))) => {
                    properties.is_read_only = is_read_only;
                }
                _ => {}
            }
        }
        Ok(properties)
    }
}

fn property(bytes: &[u8]) -> Result<Option<Raw<'_>>, Unread> {
    let mut value = None;
    let mut fields = Fields::of(bytes);
    while let Some((number, content)) = fields.next()? {
        if let 3..=8 = number {
            value = raw(number.saturating_sub(3), content)?.or(value);
        }
    }
    Ok(value)
}

/// The metrics of a template that is an instance; `None` of one that only defines.
pub(super) fn template(bytes: &[u8]) -> Result<Option<Vec<Metric<'_>>>, Unread> {
    let mut metrics = Vec::new();
    let mut fields = Fields::of(bytes);
    while let Some(field) = fields.next()? {
        match field {
            (2, Content::Bytes(bytes)) => push(&mut metrics, bytes)?,
            (5, Content::Varint(1)) => return Ok(None),
            _ => {}
        }
    }
    Ok(Some(metrics))
}

fn push<'a>(metrics: &mut Vec<Metric<'a>>, bytes: &'a [u8]) -> Result<(), Unread> {
    if metrics.len() >= METRICS_MAX {
        return Err(Unread(Cow::Owned(format!("a payload may have at most {METRICS_MAX} metrics"))));
    }
    metrics.push(Metric::decode(bytes)?);
    Ok(())
}

/// The members of a value stand in one order wherever values stand; `place` counts from 0.
pub(super) fn raw(place: u64, content: Content<'_>) -> Result<Option<Raw<'_>>, Unread> {
    Ok(Some(match (place, content) {
        // Some write a negative number with all of its 64 bits.
        (0, Content::Varint(value)) => {
            Raw::Int(u32::try_from(value & u64::from(u32::MAX)).unwrap_or_default())
        }
        (1, Content::Varint(value)) => Raw::Long(value),
        (2, Content::Fixed32(bits)) => Raw::Float(f32::from_bits(bits)),
        (3, Content::Fixed64(bits)) => Raw::Double(f64::from_bits(bits)),
        (4, Content::Varint(value)) => Raw::Boolean(value != 0),
        (5, Content::Bytes(bytes)) => Raw::Text(text(bytes)?),
        (6, Content::Bytes(bytes)) => Raw::Bytes(bytes),
        (7, Content::Bytes(bytes)) => Raw::DataSet(bytes),
        (8, Content::Bytes(bytes)) => Raw::Template(bytes),
        _ => return Ok(None),
    }))
}

pub(super) fn text(bytes: &[u8]) -> Result<&str, Unread> {
    std::str::from_utf8(bytes).map_err(|error| Unread(Cow::Owned(format!("a text of the payload: {error}"))))
}
