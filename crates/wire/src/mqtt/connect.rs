//! CONNECT (section 3.1).

use std::num::{NonZeroU16, NonZeroU32};

use super::fault::{self, DecodeError};
use super::limits::Limits;
use super::properties::{PayloadFormat, Property, PropertyBlock, UserProperties};
use super::reader::Reader;
use super::topic;
use super::writer::{EncodeError, Writer};
use super::{QoS, Version};

/// What a client says first.
#[derive(Clone, PartialEq)]
pub struct Connect<'a> {
    /// Which protocol the rest of the connection speaks.
    pub version: Version,
    /// Clean start; called clean session in 3.1.1, where it also ends the session at the end.
    pub clean_start: bool,
    /// Seconds; 0 means none is kept.
    pub keep_alive: u16,
    /// Defaults in 3.1.1.
    pub properties: ConnectProperties<'a>,
    /// May be empty: the server then makes one up.
    pub client_id: &'a str,
    /// To be published when the connection is lost.
    pub will: Option<Will<'a>>,
    /// Text, but may be anything the client likes.
    pub username: Option<&'a str>,
    /// Not text. In 3.1.1 only present with a user name.
    pub password: Option<&'a [u8]>,
}

/// The properties of section 3.1.2.11.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectProperties<'a> {
    /// Seconds; 0 ends the session with the connection, `u32::MAX` never.
    pub session_expiry: u32,
    /// QoS 1 and 2 messages that the client takes at once; absent means 65,535.
    pub receive_maximum: Option<NonZeroU16>,
    /// Bytes of the largest packet that the client takes; absent means any.
    pub maximum_packet_size: Option<NonZeroU32>,
    /// Topic aliases that the server may use; 0 means none.
    pub topic_alias_maximum: u16,
    /// May CONNACK carry response information?
    pub request_response_information: bool,
    /// May other packets than PUBLISH, CONNACK and DISCONNECT carry reason strings and user properties?
    pub request_problem_information: bool,
    /// Names the enhanced authentication that the client wants.
    pub authentication_method: Option<&'a str>,
    /// Its first data; never without a method.
    pub authentication_data: Option<&'a [u8]>,
    /// In order.
    pub user_properties: UserProperties<'a>,
}

impl Default for ConnectProperties<'_> {
    fn default() -> Self {
        Self {
            session_expiry: 0,
            receive_maximum: None,
            maximum_packet_size: None,
            topic_alias_maximum: 0,
            request_response_information: false,
            request_problem_information: true,
            authentication_method: None,
            authentication_data: None,
            user_properties: UserProperties::default(),
        }
    }
}

/// The will message and when to publish it.
#[derive(Clone, Debug, PartialEq)]
pub struct Will<'a> {
    /// QoS of the message.
    pub qos: QoS,
    /// Is the message retained?
    pub retain: bool,
    /// Not empty, no wildcard, within the limits.
    pub topic: &'a str,
    /// Anything.
    pub payload: &'a [u8],
    /// Defaults in 3.1.1.
    pub properties: WillProperties<'a>,
}

/// The properties of section 3.1.3.2.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WillProperties<'a> {
    /// Seconds between the loss of the connection and the message.
    pub delay: u32,
    /// What the payload is said to be.
    pub payload_format: Option<PayloadFormat>,
    /// Seconds that the message stays of interest after it is published.
    pub message_expiry: Option<u32>,
    /// MIME type or the like.
    pub content_type: Option<&'a str>,
    /// Where an answer is wanted.
    pub response_topic: Option<&'a str>,
    /// What an answer is to carry.
    pub correlation_data: Option<&'a [u8]>,
    /// In order.
    pub user_properties: UserProperties<'a>,
}

/// The bits of the connect flags byte (section 3.1.2.3).
mod flag {
    pub(super) const RESERVED: u8 = 0x01;
    pub(super) const CLEAN_START: u8 = 0x02;
    pub(super) const WILL: u8 = 0x04;
    pub(super) const WILL_QOS: u8 = 0x18;
    pub(super) const WILL_RETAIN: u8 = 0x20;
    pub(super) const PASSWORD: u8 = 0x40;
    pub(super) const USERNAME: u8 = 0x80;
}

impl<'a> Connect<'a> {
    pub(super) fn read(mut reader: Reader<'a>, limits: &Limits) -> Result<Self, DecodeError> {
        if reader.binary()? != b"MQTT" {
            return Err((&fault::PROTOCOL_NAME).into());
        }
        let version = match reader.u8()? {
            4 => Version::V3,
            5 => Version::V5,
            _ => return Err((&fault::PROTOCOL_LEVEL).into()),
        };
        let flags = reader.u8()?;
        check_flags(flags, version)?;
        let clean_start = flags & flag::CLEAN_START != 0;
        let keep_alive = reader.u16()?;
        let properties = match version {
            Version::V3 => ConnectProperties::v3(flags),
            Version::V5 => ConnectProperties::read(&mut reader, limits)?,
        };
        let client_id = reader.string()?;
        if client_id.is_empty() && version == Version::V3 && !clean_start {
            return Err((&fault::CLIENT_ID_EMPTY).into());
        }
        if client_id.len() > limits.client_id_bytes_max {
            return Err((&fault::CLIENT_ID_TOO_LONG).into());
        }
        let will = if flags & flag::WILL == 0 {
            None
        } else {
            Some(Will::read(&mut reader, flags, version, limits)?)
        };
        let username = if flags & flag::USERNAME == 0 { None } else { Some(reader.string()?) };
        let password = if flags & flag::PASSWORD == 0 { None } else { Some(reader.binary()?) };
        reader.finish()?;
        Ok(Self { version, clean_start, keep_alive, properties, client_id, will, username, password })
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        if self.version == Version::V3 && self.password.is_some() && self.username.is_none() {
            return writer.fail(EncodeError::NotInVersion);
        }
        writer.string("MQTT");
        writer.u8(self.version.level());
        writer.u8(self.flags());
        writer.u16(self.keep_alive);
        if self.version == Version::V5 {
            writer.sized(|writer| self.properties.visit(&mut |property| property.write(writer)));
        }
        writer.string(self.client_id);
        if let Some(will) = &self.will {
            if self.version == Version::V5 {
                writer.sized(|writer| will.properties.visit(&mut |property| property.write(writer)));
            }
            writer.string(will.topic);
            writer.binary(will.payload);
        }
        if let Some(username) = self.username {
            writer.string(username);
        }
        if let Some(password) = self.password {
            writer.binary(password);
        }
    }

    fn flags(&self) -> u8 {
        let mut flags = 0;
        if self.clean_start {
            flags |= flag::CLEAN_START;
        }
        if let Some(will) = &self.will {
            flags |= flag::WILL | (will.qos.bits() << 3);
            if will.retain {
                flags |= flag::WILL_RETAIN;
            }
        }
        if self.password.is_some() {
            flags |= flag::PASSWORD;
        }
        if self.username.is_some() {
            flags |= flag::USERNAME;
        }
        flags
    }
}

/// The password stays out of logs.
impl std::fmt::Debug for Connect<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("clean_start", &self.clean_start)
            .field("keep_alive", &self.keep_alive)
            .field("client_id", &self.client_id)
            .field("will", &self.will)
            .field("username", &self.username)
            .field("password", &self.password.map(|_| "hidden"))
            .finish_non_exhaustive()
    }
}

fn check_flags(flags: u8, version: Version) -> Result<(), DecodeError> {
    if flags & flag::RESERVED != 0 {
        return Err((&fault::CONNECT_RESERVED).into());
    }
    if flags & flag::WILL == 0 {
        if flags & flag::WILL_QOS != 0 {
            return Err((&fault::WILL_QOS_WITHOUT_WILL).into());
        }
        if flags & flag::WILL_RETAIN != 0 {
            return Err((&fault::WILL_RETAIN_WITHOUT_WILL).into());
        }
    } else if flags & flag::WILL_QOS == flag::WILL_QOS {
        return Err((&fault::WILL_QOS).into());
    }
    let password_only = flags & (flag::USERNAME | flag::PASSWORD) == flag::PASSWORD;
    if version == Version::V3 && password_only {
        return Err((&fault::PASSWORD_WITHOUT_USER).into());
    }
    Ok(())
}

impl<'a> ConnectProperties<'a> {
    /// 3.1.1 says in one flag what 5.0 says in two fields: without clean session, the session stays.
    fn v3(flags: u8) -> Self {
        let session_expiry = if flags & flag::CLEAN_START == 0 { u32::MAX } else { 0 };
        Self { session_expiry, ..Self::default() }
    }

    fn read(reader: &mut Reader<'a>, limits: &Limits) -> Result<Self, DecodeError> {
        let mut block = PropertyBlock::open(reader, limits)?;
        let mut properties = Self::default();
        while let Some(property) = block.read()? {
            match property {
                Property::SessionExpiry(seconds) => properties.session_expiry = seconds,
                Property::ReceiveMaximum(count) => {
                    properties.receive_maximum = NonZeroU16::new(count);
                }
                Property::MaximumPacketSize(bytes) => {
                    properties.maximum_packet_size = NonZeroU32::new(bytes);
                }
                Property::TopicAliasMaximum(count) => properties.topic_alias_maximum = count,
                Property::RequestResponseInformation(wanted) => {
                    properties.request_response_information = wanted;
                }
                Property::RequestProblemInformation(wanted) => {
                    properties.request_problem_information = wanted;
                }
                Property::AuthenticationMethod(method) => {
                    properties.authentication_method = Some(method);
                }
                Property::AuthenticationData(data) => properties.authentication_data = Some(data),
                Property::User(..) => {}
                _ => return Err((&fault::PROPERTY_NOT_ALLOWED).into()),
            }
        }
        if properties.authentication_method.is_none() && properties.authentication_data.is_some() {
            return Err((&fault::AUTHENTICATION_DATA).into());
        }
        properties.user_properties = block.user_properties();
        Ok(properties)
    }

    fn visit(&self, visit: &mut impl FnMut(Property<'a>)) {
        let expiry = Some(self.session_expiry).filter(|&seconds| seconds != 0);
        let aliases = Some(self.topic_alias_maximum).filter(|&count| count != 0);
        let response = Some(self.request_response_information).filter(|&wanted| wanted);
        let problem = Some(self.request_problem_information).filter(|&wanted| !wanted);
        let all = [
            expiry.map(Property::SessionExpiry),
            self.receive_maximum.map(|count| Property::ReceiveMaximum(count.get())),
            self.maximum_packet_size.map(|bytes| Property::MaximumPacketSize(bytes.get())),
            aliases.map(Property::TopicAliasMaximum),
            response.map(Property::RequestResponseInformation),
            problem.map(Property::RequestProblemInformation),
            self.authentication_method.map(Property::AuthenticationMethod),
            self.authentication_data.map(Property::AuthenticationData),
        ];
        all.into_iter().flatten().for_each(&mut *visit);
        self.user_properties.visit(visit);
    }
}

impl<'a> Will<'a> {
    fn read(
        reader: &mut Reader<'a>,
        flags: u8,
        version: Version,
        limits: &Limits,
    ) -> Result<Self, DecodeError> {
        let properties = match version {
            Version::V3 => WillProperties::default(),
            Version::V5 => WillProperties::read(reader, limits)?,
        };
        let topic = reader.string()?;
        if !topic::name_is_valid(topic) || !limits.allow_topic(topic) {
            return Err((&fault::WILL_TOPIC).into());
        }
        Ok(Self {
            qos: QoS::from_bits((flags & flag::WILL_QOS) >> 3).ok_or(&fault::WILL_QOS)?,
            retain: flags & flag::WILL_RETAIN != 0,
            topic,
            payload: reader.binary()?,
            properties,
        })
    }
}

impl<'a> WillProperties<'a> {
    fn read(reader: &mut Reader<'a>, limits: &Limits) -> Result<Self, DecodeError> {
        let mut block = PropertyBlock::open(reader, limits)?;
        let mut properties = Self::default();
        while let Some(property) = block.read()? {
            match property {
                Property::WillDelay(seconds) => properties.delay = seconds,
                Property::PayloadFormat(format) => properties.payload_format = Some(format),
                Property::MessageExpiry(seconds) => properties.message_expiry = Some(seconds),
                Property::ContentType(text) => properties.content_type = Some(text),
                Property::ResponseTopic(topic) => properties.response_topic = Some(topic),
                Property::CorrelationData(data) => properties.correlation_data = Some(data),
                Property::User(..) => {}
                _ => return Err((&fault::PROPERTY_NOT_ALLOWED).into()),
            }
        }
        properties.user_properties = block.user_properties();
        Ok(properties)
    }

    fn visit(&self, visit: &mut impl FnMut(Property<'a>)) {
        let delay = Some(self.delay).filter(|&seconds| seconds != 0);
        let all = [
            delay.map(Property::WillDelay),
            self.payload_format.map(Property::PayloadFormat),
            self.message_expiry.map(Property::MessageExpiry),
            self.content_type.map(Property::ContentType),
            self.response_topic.map(Property::ResponseTopic),
            self.correlation_data.map(Property::CorrelationData),
        ];
        all.into_iter().flatten().for_each(&mut *visit);
        self.user_properties.visit(visit);
    }
}
