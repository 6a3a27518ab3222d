//! Properties (MQTT 5.0 section 2.2.2): one table of ids and types for reading and writing.

use std::num::NonZeroU16;

use super::fault::{self, DecodeError};
use super::limits::Limits;
use super::reader::Reader;
use super::source::Source;
use super::writer::{Writer, variable_size};
use super::{QoS, topic};

/// What a payload is said to be (section 3.3.2.3.2). Nothing enforces it but a check at publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadFormat {
    /// 0: unspecified bytes.
    Bytes = 0,
    /// 1: UTF-8.
    Text = 1,
}

/// One property with its value checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Property<'a> {
    PayloadFormat(PayloadFormat),
    MessageExpiry(u32),
    ContentType(&'a str),
    ResponseTopic(&'a str),
    CorrelationData(&'a [u8]),
    SubscriptionIdentifier(u32),
    SessionExpiry(u32),
    AssignedClientId(&'a str),
    ServerKeepAlive(u16),
    AuthenticationMethod(&'a str),
    AuthenticationData(&'a [u8]),
    RequestProblemInformation(bool),
    WillDelay(u32),
    RequestResponseInformation(bool),
    ResponseInformation(&'a str),
    ServerReference(&'a str),
    ReasonString(&'a str),
    ReceiveMaximum(u16),
    TopicAliasMaximum(u16),
    TopicAlias(NonZeroU16),
    MaximumQoS(QoS),
    RetainAvailable(bool),
    User(&'a str, &'a str),
    MaximumPacketSize(u32),
    WildcardAvailable(bool),
    SubscriptionIdentifiersAvailable(bool),
    SharedAvailable(bool),
}

/// The wire form of a property's value.
enum Value<'a> {
    Byte(u8),
    Two(u16),
    Four(u32),
    Variable(u32),
    Bytes(&'a [u8]),
    Pair(&'a str, &'a str),
}

impl<'a> Property<'a> {
    /// The table for reading: id and value of section 2.2.2.2.
    fn read(reader: &mut Reader<'a>) -> Result<(u32, Self), DecodeError> {
        let id = reader.variable()?;
        let property = match id {
            1 => Self::PayloadFormat(payload_format(reader.u8()?)?),
            2 => Self::MessageExpiry(reader.u32()?),
            3 => Self::ContentType(reader.string()?),
            8 => Self::ResponseTopic(response_topic(reader.string()?)?),
            9 => Self::CorrelationData(reader.binary()?),
            11 => Self::SubscriptionIdentifier(not_zero(reader.variable()?)?),
            17 => Self::SessionExpiry(reader.u32()?),
            18 => Self::AssignedClientId(reader.string()?),
            19 => Self::ServerKeepAlive(reader.u16()?),
            21 => Self::AuthenticationMethod(reader.string()?),
            22 => Self::AuthenticationData(reader.binary()?),
            23 => Self::RequestProblemInformation(flag(reader.u8()?)?),
            24 => Self::WillDelay(reader.u32()?),
            25 => Self::RequestResponseInformation(flag(reader.u8()?)?),
            26 => Self::ResponseInformation(reader.string()?),
            28 => Self::ServerReference(reader.string()?),
            31 => Self::ReasonString(reader.string()?),
            33 => Self::ReceiveMaximum(not_zero(reader.u16()?)?),
            34 => Self::TopicAliasMaximum(reader.u16()?),
            35 => Self::TopicAlias(NonZeroU16::new(reader.u16()?).ok_or(&fault::ALIAS_ZERO)?),
            36 => Self::MaximumQoS(if flag(reader.u8()?)? { QoS::AtLeastOnce } else { QoS::AtMostOnce }),
            37 => Self::RetainAvailable(flag(reader.u8()?)?),
            38 => Self::User(reader.string()?, reader.string()?),
            39 => Self::MaximumPacketSize(not_zero(reader.u32()?)?),
            40 => Self::WildcardAvailable(flag(reader.u8()?)?),
            41 => Self::SubscriptionIdentifiersAvailable(flag(reader.u8()?)?),
            42 => Self::SharedAvailable(flag(reader.u8()?)?),
            _ => return Err((&fault::PROPERTY_UNKNOWN).into()),
        };
        Ok((id, property))
    }

    /// The same table for writing.
    fn parts(self) -> (u8, Value<'a>) {
        match self {
            Self::PayloadFormat(format) => (1, Value::Byte(format as u8)),
            Self::MessageExpiry(seconds) => (2, Value::Four(seconds)),
            Self::ContentType(text) => (3, Value::Bytes(text.as_bytes())),
            Self::ResponseTopic(topic) => (8, Value::Bytes(topic.as_bytes())),
            Self::CorrelationData(data) => (9, Value::Bytes(data)),
            Self::SubscriptionIdentifier(id) => (11, Value::Variable(id)),
            Self::SessionExpiry(seconds) => (17, Value::Four(seconds)),
            Self::AssignedClientId(id) => (18, Value::Bytes(id.as_bytes())),
            Self::ServerKeepAlive(seconds) => (19, Value::Two(seconds)),
            Self::AuthenticationMethod(method) => (21, Value::Bytes(method.as_bytes())),
            Self::AuthenticationData(data) => (22, Value::Bytes(data)),
            Self::RequestProblemInformation(wanted) => (23, Value::Byte(wanted.into())),
            Self::WillDelay(seconds) => (24, Value::Four(seconds)),
            Self::RequestResponseInformation(wanted) => (25, Value::Byte(wanted.into())),
            Self::ResponseInformation(text) => (26, Value::Bytes(text.as_bytes())),
            Self::ServerReference(text) => (28, Value::Bytes(text.as_bytes())),
            Self::ReasonString(text) => (31, Value::Bytes(text.as_bytes())),
            Self::ReceiveMaximum(count) => (33, Value::Two(count)),
            Self::TopicAliasMaximum(count) => (34, Value::Two(count)),
            Self::TopicAlias(alias) => (35, Value::Two(alias.get())),
            Self::MaximumQoS(qos) => (36, Value::Byte(qos.bits())),
            Self::RetainAvailable(yes) => (37, Value::Byte(yes.into())),
            Self::User(name, value) => (38, Value::Pair(name, value)),
            Self::MaximumPacketSize(bytes) => (39, Value::Four(bytes)),
            Self::WildcardAvailable(yes) => (40, Value::Byte(yes.into())),
            Self::SubscriptionIdentifiersAvailable(yes) => (41, Value::Byte(yes.into())),
            Self::SharedAvailable(yes) => (42, Value::Byte(yes.into())),
        }
    }

    pub(super) fn write(self, writer: &mut Writer<'_>) {
        let (id, value) = self.parts();
        writer.u8(id);
        match value {
            Value::Byte(value) => writer.u8(value),
            Value::Two(value) => writer.u16(value),
            Value::Four(value) => writer.u32(value),
            Value::Variable(value) => writer.variable(value as usize),
            Value::Bytes(bytes) => writer.binary(bytes),
            Value::Pair(name, value) => {
                writer.string(name);
                writer.string(value);
            }
        }
    }

    /// Bytes that [`Property::write`] appends.
    pub(super) fn size(self) -> usize {
        1 + match self.parts().1 {
            Value::Byte(_) => 1,
            Value::Two(_) => 2,
            Value::Four(_) => 4,
            Value::Variable(value) => variable_size(value as usize),
            Value::Bytes(bytes) => 2 + bytes.len(),
            Value::Pair(name, value) => 4 + name.len() + value.len(),
        }
    }
}

fn flag(byte: u8) -> Result<bool, DecodeError> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err((&fault::PROPERTY_VALUE).into()),
    }
}

fn payload_format(byte: u8) -> Result<PayloadFormat, DecodeError> {
    Ok(if flag(byte)? { PayloadFormat::Text } else { PayloadFormat::Bytes })
}

fn not_zero<T: Default + PartialEq>(value: T) -> Result<T, DecodeError> {
    if value == T::default() { Err((&fault::PROPERTY_VALUE).into()) } else { Ok(value) }
}

fn response_topic(text: &str) -> Result<&str, DecodeError> {
    if topic::name_is_valid(text) { Ok(text) } else { Err((&fault::RESPONSE_TOPIC).into()) }
}

/// Reads one property block, refusing repeats and too many user properties. Whether a property
/// belongs to the packet is for the packet to say: it falls through to its last match arm.
pub(super) struct PropertyBlock<'a> {
    block: &'a [u8],
    rest: Reader<'a>,
    seen: u64,
    user_properties_left: usize,
    user_bytes_left: usize,
}

const USER: u32 = 38;
const SUBSCRIPTION_IDENTIFIER: u32 = 11;

impl<'a> PropertyBlock<'a> {
    pub(super) fn open(reader: &mut Reader<'a>, limits: &Limits) -> Result<Self, DecodeError> {
        let length = reader.variable()?;
        let block = reader.take(length as usize)?;
        Ok(Self {
            block,
            rest: Reader::new(block),
            seen: 0,
            user_properties_left: limits.user_properties_max,
            user_bytes_left: limits.user_properties_bytes_max,
        })
    }

    /// The next property; `None` at the end of the block.
    pub(super) fn read(&mut self) -> Result<Option<Property<'a>>, DecodeError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (id, property) = Property::read(&mut self.rest)?;
        match property {
            Property::User(name, value) => {
                let left = self.user_properties_left.checked_sub(1);
                let bytes_left = self.user_bytes_left.checked_sub(name.len() + value.len());
                self.user_properties_left = left.ok_or(&fault::USER_PROPERTIES)?;
                self.user_bytes_left = bytes_left.ok_or(&fault::USER_PROPERTIES)?;
            }
            // Only PUBLISH may repeat it, and says so by reading them through the block.
            Property::SubscriptionIdentifier(_) => {}
            _ if self.has(id) => return Err((&fault::PROPERTY_TWICE).into()),
            _ => {}
        }
        self.seen |= 1 << id;
        Ok(Some(property))
    }

    fn has(&self, id: u32) -> bool {
        self.seen & (1 << id) != 0
    }

    /// The user properties of a block that was read to its end.
    pub(super) fn user_properties(&self) -> UserProperties<'a> {
        if self.has(USER) { UserProperties(Source::Encoded(self.block)) } else { UserProperties::default() }
    }

    /// The subscription identifiers of a block that was read to its end.
    pub(super) fn subscription_identifiers(&self) -> SubscriptionIdentifiers<'a> {
        if self.has(SUBSCRIPTION_IDENTIFIER) {
            SubscriptionIdentifiers(Source::Encoded(self.block))
        } else {
            SubscriptionIdentifiers::default()
        }
    }
}

/// The properties of a block that was checked before.
fn checked(block: &[u8]) -> impl Iterator<Item = Property<'_>> {
    let mut rest = Reader::new(block);
    std::iter::from_fn(move || Property::read(&mut rest).ok().map(|(_, property)| property))
}

/// Names and values in the order in which they came; a name can come more than once.
#[derive(Clone, Copy, Default)]
pub struct UserProperties<'a>(Source<'a, (&'a str, &'a str)>);

impl<'a> UserProperties<'a> {
    /// Names with their values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let (block, list) = match self.0 {
            Source::Encoded(block) => (block, &[][..]),
            Source::List(list) => (&[][..], list),
        };
        let encoded = checked(block).filter_map(|property| match property {
            Property::User(name, value) => Some((name, value)),
            _ => None,
        });
        encoded.chain(list.iter().copied())
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    pub(super) fn visit(&self, visit: &mut impl FnMut(Property<'a>)) {
        self.iter().for_each(|(name, value)| visit(Property::User(name, value)));
    }
}

impl<'a> From<&'a [(&'a str, &'a str)]> for UserProperties<'a> {
    fn from(list: &'a [(&'a str, &'a str)]) -> Self {
        Self(Source::List(list))
    }
}

impl PartialEq for UserProperties<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl std::fmt::Debug for UserProperties<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The identifiers of the subscriptions that a PUBLISH matched, each 1 to 268,435,455.
#[derive(Clone, Copy, Default)]
pub struct SubscriptionIdentifiers<'a>(Source<'a, u32>);

impl<'a> SubscriptionIdentifiers<'a> {
    /// The identifiers in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + use<'a> {
        let (block, list) = match self.0 {
            Source::Encoded(block) => (block, &[][..]),
            Source::List(list) => (&[][..], list),
        };
        let encoded = checked(block).filter_map(|property| match property {
            Property::SubscriptionIdentifier(id) => Some(id),
            _ => None,
        });
        encoded.chain(list.iter().copied())
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    pub(super) fn visit(&self, visit: &mut impl FnMut(Property<'a>)) {
        self.iter().for_each(|id| visit(Property::SubscriptionIdentifier(id)));
    }
}

impl<'a> From<&'a [u32]> for SubscriptionIdentifiers<'a> {
    fn from(list: &'a [u32]) -> Self {
        Self(Source::List(list))
    }
}

impl PartialEq for SubscriptionIdentifiers<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl std::fmt::Debug for SubscriptionIdentifiers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
