//! The records of the log, as bytes: a kind, then fields in a fixed order.
//!
//! Integers are LEB128, texts and byte strings carry their length. The first byte names kind and
//! version together, so that a later layout gets a number of its own and older ones stay readable.

pub(crate) mod codec;

use std::num::NonZeroU16;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::id::{DeviceId, TenantId};
use crate::message::{Message, Properties, QoS, Telemetry};
use crate::reading::{Quality, ReadingRef, Value, ValueRef};
use crate::storage::Position;
use crate::time::Timestamp;
use crate::topic::Topic;

use codec::{Reader, Writer};

/// The number of a persistent session, given once and never again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionNumber(pub u64);

/// A persistent session that gets a message, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Which session.
    pub session: SessionNumber,
    /// The message's place among all that the session was ever given; its packet id follows from it.
    pub sequence: u64,
    /// The quality of service it gets the message with; never 0.
    pub qos: QoS,
    /// Whether the retain flag stays on (retain as published, or a retained message at subscribe).
    pub retain: bool,
    /// Whether the session knows the device's own topics as `me/…`.
    pub own_name: bool,
    /// Subscription identifiers of the filters that matched.
    pub identifiers: Vec<u32>,
}

/// The session and packet id of an incoming QoS 2 message, by which a resend is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExactlyOnceId {
    /// The publisher's session.
    pub session: SessionNumber,
    /// Its packet id.
    pub packet_id: NonZeroU16,
}

/// What happened to a message that a session was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The subscriber has it (PUBACK, PUBCOMP), or it expired, or was dropped: nothing is owed.
    Settled,
    /// PUBREC came for it: a PUBREL is owed, never again a PUBLISH.
    Received,
}

/// A record of the log.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A message that something durable wants.
    Message {
        /// Whose.
        tenant: TenantId,
        /// The message.
        message: Message,
        /// The persistent sessions that get it.
        recipients: Vec<Recipient>,
        /// Set when it came with QoS 2 on a persistent session.
        exactly_once: Option<ExactlyOnceId>,
        /// It was published before, and stands here once more for its recipients alone.
        is_copy: bool,
    },
    /// What became of messages that a session was given.
    Delivered {
        /// Which session.
        session: SessionNumber,
        /// The sequence numbers of the messages, and what became of each.
        outcomes: Vec<(u64, Outcome)>,
    },
    /// PUBREL came: the packet id of an incoming QoS 2 message is free again.
    Released {
        /// Whose session and which packet id.
        id: ExactlyOnceId,
    },
    /// Sessions are given messages that already stand in the log.
    Given {
        /// The messages, in order.
        messages: Vec<Given>,
    },
}

/// A message of the log that a session is given once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Where it stands.
    pub position: Position,
    /// Its payload and topic, in bytes.
    pub length: u32,
    /// Who gets it, and how.
    pub recipient: Recipient,
}

/// Bytes that are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a record of this version: {0}")]
pub struct InvalidRecord(pub &'static str);

const MESSAGE: u8 = 1;
const DELIVERED: u8 = 2;
const RELEASED: u8 = 3;
const GIVEN: u8 = 4;

const HAS_PROPERTIES: u8 = 1 << 3;
const HAS_TELEMETRY: u8 = 1 << 4;
const HAS_EXACTLY_ONCE: u8 = 1 << 5;
const IS_COPY: u8 = 1 << 6;
const RETAIN: u8 = 1 << 2;

/// Writes a message record behind what stands in `out`; the parts need not be owned.
pub fn encode_message(
    tenant: &TenantId,
    message: &Message,
    recipients: &[Recipient],
    exactly_once: Option<ExactlyOnceId>,
    out: &mut Vec<u8>,
) {
    let mut writer = Writer(out);
    let mut flags = message.qos.number();
    for (flag, set) in [
        (RETAIN, message.retain),
        (HAS_PROPERTIES, message.properties.is_some()),
        (HAS_TELEMETRY, message.telemetry.is_some()),
        (HAS_EXACTLY_ONCE, exactly_once.is_some()),
    ] {
        if set {
            flags |= flag;
        }
    }
    writer.byte(MESSAGE);
    writer.byte(flags);
    writer.text(tenant.as_str());
    writer.signed(message.time.0);
    // Telemetry stands before topic and payload so that the recorder's readers stop early.
    if let Some(telemetry) = &message.telemetry {
        encode_telemetry(telemetry, message.time, &mut writer);
    }
    writer.text(message.topic.as_str());
    writer.bytes(&message.payload);
    if let Some(properties) = &message.properties {
        encode_properties(properties, &mut writer);
    }
    if let Some(id) = exactly_once {
        writer.number(id.session.0);
        writer.number(u64::from(id.packet_id.get()));
    }
    writer.length(recipients.len());
    for recipient in recipients {
        encode_recipient(recipient, &mut writer);
    }
}

/// Writes a record of a message that was published before and stands in the log once more, for
/// these recipients alone.
pub(crate) fn encode_copy(tenant: &TenantId, message: &Message, recipients: &[Recipient], out: &mut Vec<u8>) {
    let flags = out.len() + 1;
    encode_message(tenant, message, recipients, None, out);
    if let Some(flags) = out.get_mut(flags) {
        *flags |= IS_COPY;
    }
}

fn encode_recipient(recipient: &Recipient, writer: &mut Writer<'_>) {
    writer.number(recipient.session.0);
    writer.number(recipient.sequence);
    let mut flags = recipient.qos.number();
    flags |= if recipient.retain { RETAIN } else { 0 };
    flags |= if recipient.own_name { HAS_PROPERTIES } else { 0 };
    writer.byte(flags);
    writer.length(recipient.identifiers.len());
    for identifier in &recipient.identifiers {
        writer.number(u64::from(*identifier));
    }
}

impl Record {
    /// Writes the record behind what stands in `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Message { tenant, message, recipients, is_copy: true, .. } => {
                encode_copy(tenant, message, recipients, out);
            }
            Self::Message { tenant, message, recipients, exactly_once, is_copy: false } => {
                encode_message(tenant, message, recipients, *exactly_once, out);
            }
            Self::Delivered { session, outcomes } => {
                let mut writer = Writer(out);
                writer.byte(DELIVERED);
                writer.number(session.0);
                writer.length(outcomes.len());
                for (sequence, outcome) in outcomes {
                    writer.number(*sequence);
                    writer.byte(u8::from(*outcome == Outcome::Received));
                }
            }
            Self::Released { id } => {
                let mut writer = Writer(out);
                writer.byte(RELEASED);
                writer.number(id.session.0);
                writer.number(u64::from(id.packet_id.get()));
            }
            Self::Given { messages } => {
                let mut writer = Writer(out);
                writer.byte(GIVEN);
                writer.length(messages.len());
                for Given { position, length, recipient } in messages {
                    writer.number(position.0);
                    writer.number(u64::from(*length));
                    encode_recipient(recipient, &mut writer);
                }
            }
        }
    }

    /// Reads a record. The payload shares `bytes`.
    ///
    /// # Errors
    /// [`InvalidRecord`] says which field is not there.
    pub fn decode(bytes: &Bytes) -> Result<Self, InvalidRecord> {
        let mut reader = Reader::new(bytes);
        match reader.byte("kind")? {
            MESSAGE => decode_message(&mut reader, bytes),
            DELIVERED => {
                let session = SessionNumber(reader.number("session")?);
                let count = reader.length("outcomes")?;
                let mut outcomes = Vec::with_capacity(count);
                for _ in 0..count {
                    let sequence = reader.number("sequence")?;
                    let outcome = match reader.byte("outcome")? {
                        0 => Outcome::Settled,
                        1 => Outcome::Received,
                        _ => return Err(InvalidRecord("outcome")),
                    };
                    outcomes.push((sequence, outcome));
                }
                Ok(Self::Delivered { session, outcomes })
            }
            RELEASED => Ok(Self::Released { id: decode_id(&mut reader)? }),
            GIVEN => {
                let count = reader.length("given")?;
                let mut messages = Vec::with_capacity(count);
                for _ in 0..count {
                    let position = Position(reader.number("given position")?);
                    let length = u32::try_from(reader.number("given length")?);
                    let length = length.map_err(|_large| InvalidRecord("given length"))?;
                    messages.push(Given { position, length, recipient: decode_recipient(&mut reader)? });
                }
                Ok(Self::Given { messages })
            }
            _ => Err(InvalidRecord("kind")),
        }
    }
}

/// Whose readings a record has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceRef<'a> {
    /// A tenant's id, as it was when the record was written.
    pub tenant: &'a str,
    /// A device's id, likewise.
    pub device: &'a str,
}

/// What the recorder's readers want of a record: whose readings, and in the place of what was in
/// `readings` the readings. `None` for records without readings. Does not look at the rest of the record.
///
/// # Errors
/// [`InvalidRecord`] says which field is not there.
pub fn read_readings<'a>(
    bytes: &'a [u8],
    readings: &mut Vec<ReadingRef<'a>>,
) -> Result<Option<SourceRef<'a>>, InvalidRecord> {
    readings.clear();
    let mut reader = Reader::new(bytes);
    if reader.byte("kind")? != MESSAGE || reader.byte("flags")? & HAS_TELEMETRY == 0 {
        return Ok(None);
    }
    let tenant = reader.text("tenant")?;
    let time = Timestamp(reader.signed("time")?);
    let device = reader.text("device")?;
    let count = reader.length("readings")?;
    readings.reserve(count);
    for _ in 0..count {
        readings.push(decode_reading(&mut reader, time)?);
    }
    Ok(Some(SourceRef { tenant, device }))
}

fn tenant(reader: &mut Reader<'_>) -> Result<TenantId, InvalidRecord> {
    TenantId::parse(reader.text("tenant")?).map_err(|_invalid| InvalidRecord("tenant"))
}

fn packet_id(number: u64) -> Result<NonZeroU16, InvalidRecord> {
    u16::try_from(number).ok().and_then(NonZeroU16::new).ok_or(InvalidRecord("packet id"))
}

fn decode_id(reader: &mut Reader<'_>) -> Result<ExactlyOnceId, InvalidRecord> {
    let session = SessionNumber(reader.number("session")?);
    Ok(ExactlyOnceId { session, packet_id: packet_id(reader.number("packet id")?)? })
}

fn decode_message(reader: &mut Reader<'_>, whole: &Bytes) -> Result<Record, InvalidRecord> {
    let flags = reader.byte("flags")?;
    let tenant = tenant(reader)?;
    let time = Timestamp(reader.signed("time")?);
    let telemetry =
        if flags & HAS_TELEMETRY == 0 { None } else { Some(Box::new(decode_telemetry(reader, time)?)) };
    let topic = Topic::parse(reader.text("topic")?).map_err(|_invalid| InvalidRecord("topic"))?;
    let payload = whole.slice_ref(reader.bytes("payload")?);
    let properties =
        if flags & HAS_PROPERTIES == 0 { None } else { Some(Box::new(decode_properties(reader)?)) };
    let exactly_once = if flags & HAS_EXACTLY_ONCE == 0 { None } else { Some(decode_id(reader)?) };
    let qos = QoS::from_number(flags & 3).ok_or(InvalidRecord("qos"))?;
    let retain = flags & RETAIN != 0;
    let logged = OnceLock::new();
    let message = Message { topic, payload, qos, retain, time, properties, telemetry, logged };
    let recipients = decode_recipients(reader)?;
    Ok(Record::Message { tenant, message, recipients, exactly_once, is_copy: flags & IS_COPY != 0 })
}

fn decode_recipients(reader: &mut Reader<'_>) -> Result<Vec<Recipient>, InvalidRecord> {
    let count = reader.length("recipients")?;
    let mut recipients = Vec::with_capacity(count);
    for _ in 0..count {
        recipients.push(decode_recipient(reader)?);
    }
    Ok(recipients)
}

fn decode_recipient(reader: &mut Reader<'_>) -> Result<Recipient, InvalidRecord> {
    let session = SessionNumber(reader.number("recipient")?);
    let sequence = reader.number("recipient sequence")?;
    let flags = reader.byte("recipient flags")?;
    let identifiers = (0..reader.length("identifiers")?)
        .map(|_| {
            let number = reader.number("identifier")?;
            u32::try_from(number).map_err(|_large| InvalidRecord("identifier"))
        })
        .collect::<Result<_, _>>()?;
    Ok(Recipient {
        session,
        sequence,
        qos: QoS::from_number(flags & 3).ok_or(InvalidRecord("recipient qos"))?,
        retain: flags & RETAIN != 0,
        own_name: flags & HAS_PROPERTIES != 0,
        identifiers,
    })
}

fn encode_properties(properties: &Properties, writer: &mut Writer<'_>) {
    writer.byte(u8::from(properties.is_text));
    writer.signed(properties.expires_at.map_or(i64::MIN, |time| time.0));
    writer.optional(properties.content_type.as_ref().map(|text| text.as_bytes()));
    writer.optional(properties.response_topic.as_ref().map(|text| text.as_bytes()));
    writer.optional(properties.correlation_data.as_deref());
    writer.length(properties.user.len());
    for (name, value) in &properties.user {
        writer.text(name);
        writer.text(value);
    }
}

fn decode_properties(reader: &mut Reader<'_>) -> Result<Properties, InvalidRecord> {
    let is_text = reader.byte("format")? != 0;
    let expires_at = match reader.signed("expiry")? {
        i64::MIN => None,
        time => Some(Timestamp(time)),
    };
    let content_type = reader.optional_text("content type")?.map(Arc::from);
    let response_topic = reader.optional_text("response topic")?.map(Arc::from);
    let correlation_data = reader.optional("correlation data")?.map(Bytes::copy_from_slice);
    let count = reader.length("user properties")?;
    let mut user = Vec::with_capacity(count);
    for _ in 0..count {
        let name = Arc::from(reader.text("user property")?);
        user.push((name, Arc::from(reader.text("user property")?)));
    }
    Ok(Properties { is_text, expires_at, content_type, response_topic, correlation_data, user })
}

fn encode_telemetry(telemetry: &Telemetry, time: Timestamp, writer: &mut Writer<'_>) {
    writer.text(telemetry.device.as_str());
    writer.length(telemetry.readings.len());
    for reading in &telemetry.readings {
        writer.text(&reading.key);
        writer.signed(reading.ts.0.saturating_sub(time.0));
        writer.byte(match reading.quality {
            Quality::Good => 0,
            Quality::Stale => 1,
            Quality::Bad => 2,
            Quality::Clock => 3,
            Quality::Kind => 4,
        });
        match &reading.value {
            Value::Boolean(value) => writer.byte(u8::from(*value)),
            Value::Integer(value) => {
                writer.byte(2);
                writer.signed(*value);
            }
            Value::Unsigned(value) => {
                writer.byte(3);
                writer.number(*value);
            }
            Value::Number(value) => {
                writer.byte(4);
                writer.raw(&value.to_le_bytes());
            }
            Value::Text(value) => {
                writer.byte(5);
                writer.text(value);
            }
            Value::Gap => writer.byte(6),
        }
    }
}

fn decode_telemetry(reader: &mut Reader<'_>, time: Timestamp) -> Result<Telemetry, InvalidRecord> {
    let device = DeviceId::parse(reader.text("device")?).map_err(|_invalid| InvalidRecord("device"))?;
    let count = reader.length("readings")?;
    let mut readings = Vec::with_capacity(count);
    for _ in 0..count {
        readings.push(decode_reading(reader, time)?.into());
    }
    Ok(Telemetry { device, readings })
}

fn decode_reading<'a>(reader: &mut Reader<'a>, time: Timestamp) -> Result<ReadingRef<'a>, InvalidRecord> {
    let key = reader.text("key")?;
    let ts = Timestamp(time.0.saturating_add(reader.signed("ts")?));
    let quality = match reader.byte("quality")? {
        0 => Quality::Good,
        1 => Quality::Stale,
        2 => Quality::Bad,
        3 => Quality::Clock,
        4 => Quality::Kind,
        _ => return Err(InvalidRecord("quality")),
    };
    let value = match reader.byte("value kind")? {
        0 => ValueRef::Boolean(false),
        1 => ValueRef::Boolean(true),
        2 => ValueRef::Integer(reader.signed("integer")?),
        3 => ValueRef::Unsigned(reader.number("integer")?),
        4 => ValueRef::Number(f64::from_le_bytes(reader.array("number")?)),
        5 => ValueRef::Text(reader.text("text")?),
        6 => ValueRef::Gap,
        _ => return Err(InvalidRecord("value kind")),
    };
    Ok(ReadingRef { key, ts, value, quality })
}
