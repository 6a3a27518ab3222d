//! PUBLISH (section 3.3): the packet that has to be fast.

use std::num::NonZeroU16;

use super::fault::{self, DecodeError};
use super::limits::Limits;
use super::properties::{PayloadFormat, Property, PropertyBlock, SubscriptionIdentifiers, UserProperties};
use super::reader::{self, Reader};
use super::reason::ReasonCode;
use super::topic;
use super::writer::{EncodeError, VARIABLE_MAX, Writer, variable_size};
use super::{QoS, Version, kind};

/// A message on its way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Publish<'a> {
    /// Sent before, perhaps. Never set with QoS 0.
    pub dup: bool,
    /// With QoS 1 and 2 there is a packet id.
    pub qos: QoS,
    /// To the server: keep it. From the server: it was kept.
    pub retain: bool,
    /// No wildcard; empty only where a topic alias stands for it.
    pub topic: &'a str,
    /// Present with QoS 1 and 2 only.
    pub packet_id: Option<NonZeroU16>,
    /// Defaults in 3.1.1.
    pub properties: PublishProperties<'a>,
    /// Anything.
    pub payload: &'a [u8],
}

/// The properties of section 3.3.2.3.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PublishProperties<'a> {
    /// What the payload is said to be; a server passes it on unaltered.
    pub payload_format: Option<PayloadFormat>,
    /// Seconds that the message stays of interest.
    pub message_expiry: Option<u32>,
    /// Stands for a topic on this connection.
    pub topic_alias: Option<NonZeroU16>,
    /// Where an answer is wanted; no wildcard.
    pub response_topic: Option<&'a str>,
    /// What an answer is to carry.
    pub correlation_data: Option<&'a [u8]>,
    /// Which subscriptions matched; from a server only.
    pub subscription_identifiers: SubscriptionIdentifiers<'a>,
    /// MIME type or the like.
    pub content_type: Option<&'a str>,
    /// In order.
    pub user_properties: UserProperties<'a>,
}

/// Where the packet id stands in an encoded PUBLISH with QoS 1 or 2, counted from its first byte,
/// so that one encoding can be copied to many subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketIdPosition(usize);

impl PacketIdPosition {
    /// Writes a packet id into a copy of the encoding. `packet` begins with the first byte of the
    /// PUBLISH and may go on after it; nothing happens if it is too short.
    pub fn set(self, packet: &mut [u8], id: NonZeroU16) {
        if let Some(place) = packet.get_mut(self.0..).and_then(|rest| rest.first_chunk_mut()) {
            *place = id.get().to_be_bytes();
        }
    }
}

/// Sets the DUP flag of an encoded PUBLISH with QoS 1 or 2.
pub fn mark_duplicate(packet: &mut [u8]) {
    if let Some(first) = packet.first_mut() {
        *first |= flag::DUP;
    }
}

/// The low bits of the first byte (section 3.3.1).
mod flag {
    pub(super) const RETAIN: u8 = 0x01;
    pub(super) const DUP: u8 = 0x08;
}

impl<'a> Publish<'a> {
    pub(super) fn read(
        flags: u8,
        mut reader: Reader<'a>,
        version: Version,
        limits: &Limits,
    ) -> Result<Self, DecodeError> {
        let qos = check_flags(flags)?;
        let topic = reader::text(reader.binary()?)?;
        if topic::has_wildcard(topic) {
            return Err((&fault::TOPIC_WILDCARD).into());
        }
        let packet_id = if qos == QoS::AtMostOnce { None } else { Some(reader.packet_id()?) };
        let properties = match version {
            Version::V3 if !limits.allow_topic(topic) => {
                return Err((&fault::TOPIC_TOO_LONG).into());
            }
            Version::V3 => PublishProperties::default(),
            Version::V5 => PublishProperties::read(&mut reader, limits)?,
        };
        if topic.is_empty() && properties.topic_alias.is_none() {
            return Err((&fault::TOPIC_EMPTY).into());
        }
        Ok(Self {
            dup: flags & flag::DUP != 0,
            qos,
            retain: flags & flag::RETAIN != 0,
            topic,
            packet_id,
            properties,
            payload: reader.remaining(),
        })
    }

    /// Why an MQTT 5.0 server should refuse this one message without closing the connection: the
    /// topic is over a limit (0x90), or the payload is said to be text and is not (0x99).
    /// Looks at the whole payload only where its format is given.
    #[must_use]
    pub fn refusal(&self, limits: &Limits) -> Option<ReasonCode> {
        if !limits.allow_topic(self.topic) {
            return Some(ReasonCode::TopicNameInvalid);
        }
        let is_text = self.properties.payload_format == Some(PayloadFormat::Text);
        if is_text && std::str::from_utf8(self.payload).is_err() {
            return Some(ReasonCode::PayloadFormatInvalid);
        }
        None
    }

    /// Appends the whole packet.
    ///
    /// # Errors
    /// A field or the packet is too long, or there is no packet id with QoS 1 or 2.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.qos != QoS::AtMostOnce && self.packet_id.is_none() {
            return Err(EncodeError::PacketIdMissing);
        }
        self.encode_head(version, out)?;
        out.extend_from_slice(self.payload);
        Ok(())
    }

    /// Appends everything but the payload, which is to be sent right after it. Without a packet id,
    /// QoS 1 and 2 get two bytes of 0, to be set in each copy at the position that is returned
    /// (`None` for QoS 0).
    ///
    /// # Errors
    /// A field or the packet is too long.
    pub fn encode_head(
        &self,
        version: Version,
        out: &mut Vec<u8>,
    ) -> Result<Option<PacketIdPosition>, EncodeError> {
        let properties_size = match version {
            Version::V3 => None,
            Version::V5 => Some(self.properties.size()),
        };
        let has_id = self.qos != QoS::AtMostOnce;
        let remaining = 2
            + self.topic.len()
            + if has_id { 2 } else { 0 }
            + properties_size.map_or(0, |size| variable_size(size) + size)
            + self.payload.len();
        if remaining > VARIABLE_MAX {
            return Err(EncodeError::PacketTooLong);
        }
        out.reserve(5 + remaining - self.payload.len());
        let mut writer = Writer::new(out);
        writer.u8(self.first_byte());
        writer.variable(remaining);
        writer.string(self.topic);
        let position = has_id.then(|| PacketIdPosition(writer.length()));
        if has_id {
            writer.u16(self.packet_id.map_or(0, NonZeroU16::get));
        }
        if let Some(size) = properties_size {
            writer.variable(size);
            self.properties.visit(&mut |property| property.write(&mut writer));
        }
        writer.finish()?;
        Ok(position)
    }

    fn first_byte(&self) -> u8 {
        let mut first = (kind::PUBLISH << 4) | (self.qos.bits() << 1);
        if self.dup && self.qos != QoS::AtMostOnce {
            first |= flag::DUP;
        }
        if self.retain {
            first |= flag::RETAIN;
        }
        first
    }
}

fn check_flags(flags: u8) -> Result<QoS, DecodeError> {
    let qos = QoS::from_bits((flags >> 1) & 3).ok_or(&fault::PUBLISH_QOS)?;
    if qos == QoS::AtMostOnce && flags & flag::DUP != 0 {
        return Err((&fault::DUP_QOS_0).into());
    }
    Ok(qos)
}

impl<'a> PublishProperties<'a> {
    fn read(reader: &mut Reader<'a>, limits: &Limits) -> Result<Self, DecodeError> {
        let mut block = PropertyBlock::open(reader, limits)?;
        let mut properties = Self::default();
        while let Some(property) = block.read()? {
            match property {
                Property::PayloadFormat(format) => properties.payload_format = Some(format),
                Property::MessageExpiry(seconds) => properties.message_expiry = Some(seconds),
                Property::TopicAlias(alias) => properties.topic_alias = Some(alias),
                Property::ResponseTopic(topic) => properties.response_topic = Some(topic),
                Property::CorrelationData(data) => properties.correlation_data = Some(data),
                Property::ContentType(text) => properties.content_type = Some(text),
                Property::SubscriptionIdentifier(_) | Property::User(..) => {}
                _ => return Err((&fault::PROPERTY_NOT_ALLOWED).into()),
            }
        }
        properties.subscription_identifiers = block.subscription_identifiers();
        properties.user_properties = block.user_properties();
        Ok(properties)
    }

    fn visit(&self, visit: &mut impl FnMut(Property<'a>)) {
        if let Some(format) = self.payload_format {
            visit(Property::PayloadFormat(format));
        }
        if let Some(seconds) = self.message_expiry {
            visit(Property::MessageExpiry(seconds));
        }
        if let Some(alias) = self.topic_alias {
            visit(Property::TopicAlias(alias));
        }
        if let Some(topic) = self.response_topic {
            visit(Property::ResponseTopic(topic));
        }
        if let Some(data) = self.correlation_data {
            visit(Property::CorrelationData(data));
        }
        self.subscription_identifiers.visit(visit);
        if let Some(text) = self.content_type {
            visit(Property::ContentType(text));
        }
        self.user_properties.visit(visit);
    }

    fn size(&self) -> usize {
        let mut size = 0;
        self.visit(&mut |property| size += property.size());
        size
    }
}
