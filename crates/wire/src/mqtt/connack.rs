//! CONNACK (section 3.2).

use std::num::{NonZeroU16, NonZeroU32};

use super::fault::{self, DecodeError};
use super::limits::Limits;
use super::properties::{Property, PropertyBlock, UserProperties};
use super::reader::Reader;
use super::reason::ReasonCode;
use super::writer::{EncodeError, Writer};
use super::{QoS, Version};

/// What a server says to CONNECT. In 3.1.1 the return code is given as the reason it stands for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnAck<'a> {
    /// Does the server have a session of this client? Never together with an error.
    pub session_present: bool,
    /// Success, or why not.
    pub reason: ReasonCode,
    /// Defaults in 3.1.1.
    pub properties: ConnAckProperties<'a>,
}

/// The properties of section 3.2.2.3.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnAckProperties<'a> {
    /// Seconds; absent means what the client asked for.
    pub session_expiry: Option<u32>,
    /// QoS 1 and 2 messages that the server takes at once; absent means 65,535.
    pub receive_maximum: Option<NonZeroU16>,
    /// Absent means QoS 2.
    pub maximum_qos: Option<QoS>,
    /// Absent means true.
    pub retain_available: Option<bool>,
    /// Bytes of the largest packet that the server takes; absent means any.
    pub maximum_packet_size: Option<NonZeroU32>,
    /// The id that the server made up for a client without one.
    pub assigned_client_id: Option<&'a str>,
    /// Topic aliases that the client may use; 0 means none.
    pub topic_alias_maximum: u16,
    /// For a person.
    pub reason_string: Option<&'a str>,
    /// In order.
    pub user_properties: UserProperties<'a>,
    /// Absent means true.
    pub wildcard_available: Option<bool>,
    /// Absent means true.
    pub subscription_identifiers_available: Option<bool>,
    /// Absent means true.
    pub shared_available: Option<bool>,
    /// Seconds; replaces what the client asked for.
    pub server_keep_alive: Option<u16>,
    /// How the client should make its response topics.
    pub response_information: Option<&'a str>,
    /// Another server to use.
    pub server_reference: Option<&'a str>,
    /// The method of the CONNECT.
    pub authentication_method: Option<&'a str>,
    /// Its last data.
    pub authentication_data: Option<&'a [u8]>,
}

impl<'a> ConnAck<'a> {
    pub(super) fn read(
        mut reader: Reader<'a>,
        version: Version,
        limits: &Limits,
    ) -> Result<Self, DecodeError> {
        let flags = reader.u8()?;
        if flags > 1 {
            return Err((&fault::CONNACK_FLAGS).into());
        }
        let code = reader.u8()?;
        let reason = match version {
            Version::V3 => ReasonCode::from_v3_return_code(code),
            Version::V5 => ReasonCode::from_code(code).filter(|&reason| belongs(reason)),
        };
        let reason = reason.ok_or(&fault::REASON_UNKNOWN)?;
        let session_present = flags == 1;
        if session_present && reason.is_error() {
            return Err((&fault::SESSION_PRESENT).into());
        }
        let properties = match version {
            Version::V3 => ConnAckProperties::default(),
            Version::V5 => ConnAckProperties::read(&mut reader, limits)?,
        };
        reader.finish()?;
        Ok(Self { session_present, reason, properties })
    }

    pub(super) fn write(&self, version: Version, writer: &mut Writer<'_>) {
        writer.u8(self.session_present.into());
        match version {
            Version::V3 => match self.reason.v3_return_code() {
                Some(code) => writer.u8(code),
                None => writer.fail(EncodeError::NotInVersion),
            },
            Version::V5 => {
                writer.u8(self.reason.code());
                writer.sized(|writer| self.properties.visit(&mut |property| property.write(writer)));
            }
        }
    }
}

/// The reasons of section 3.2.2.2.
pub(super) fn belongs(reason: ReasonCode) -> bool {
    matches!(
        reason.code(),
        0x00 | 0x80..=0x8A | 0x8C | 0x90 | 0x95 | 0x97 | 0x99..=0x9D | 0x9F
    )
}

impl<'a> ConnAckProperties<'a> {
    fn read(reader: &mut Reader<'a>, limits: &Limits) -> Result<Self, DecodeError> {
        let mut block = PropertyBlock::open(reader, limits)?;
        let mut properties = Self::default();
        while let Some(property) = block.read()? {
            properties.set(property)?;
        }
        properties.user_properties = block.user_properties();
        Ok(properties)
    }

    fn set(&mut self, property: Property<'a>) -> Result<(), DecodeError> {
        match property {
            Property::SessionExpiry(seconds) => self.session_expiry = Some(seconds),
            Property::ReceiveMaximum(count) => self.receive_maximum = NonZeroU16::new(count),
            Property::MaximumQoS(qos) => self.maximum_qos = Some(qos),
            Property::RetainAvailable(yes) => self.retain_available = Some(yes),
            Property::MaximumPacketSize(bytes) => self.maximum_packet_size = NonZeroU32::new(bytes),
            Property::AssignedClientId(id) => self.assigned_client_id = Some(id),
            Property::TopicAliasMaximum(count) => self.topic_alias_maximum = count,
            Property::ReasonString(text) => self.reason_string = Some(text),
            Property::WildcardAvailable(yes) => self.wildcard_available = Some(yes),
            Property::SubscriptionIdentifiersAvailable(yes) => {
                self.subscription_identifiers_available = Some(yes);
            }
            Property::SharedAvailable(yes) => self.shared_available = Some(yes),
            Property::ServerKeepAlive(seconds) => self.server_keep_alive = Some(seconds),
            Property::ResponseInformation(text) => self.response_information = Some(text),
            Property::ServerReference(text) => self.server_reference = Some(text),
            Property::AuthenticationMethod(method) => self.authentication_method = Some(method),
            Property::AuthenticationData(data) => self.authentication_data = Some(data),
            Property::User(..) => {}
            _ => return Err((&fault::PROPERTY_NOT_ALLOWED).into()),
        }
        Ok(())
    }

    fn visit(&self, visit: &mut impl FnMut(Property<'a>)) {
        let aliases = Some(self.topic_alias_maximum).filter(|&count| count != 0);
        // 2 cannot be said: it is what absence means.
        let maximum_qos = self.maximum_qos.filter(|&qos| qos != QoS::ExactlyOnce);
        let wildcard = self.wildcard_available;
        let identifiers = self.subscription_identifiers_available;
        let all = [
            self.session_expiry.map(Property::SessionExpiry),
            self.receive_maximum.map(|count| Property::ReceiveMaximum(count.get())),
            maximum_qos.map(Property::MaximumQoS),
            self.retain_available.map(Property::RetainAvailable),
            self.maximum_packet_size.map(|bytes| Property::MaximumPacketSize(bytes.get())),
            self.assigned_client_id.map(Property::AssignedClientId),
            aliases.map(Property::TopicAliasMaximum),
            self.reason_string.map(Property::ReasonString),
            wildcard.map(Property::WildcardAvailable),
            identifiers.map(Property::SubscriptionIdentifiersAvailable),
            self.shared_available.map(Property::SharedAvailable),
            self.server_keep_alive.map(Property::ServerKeepAlive),
            self.response_information.map(Property::ResponseInformation),
            self.server_reference.map(Property::ServerReference),
            self.authentication_method.map(Property::AuthenticationMethod),
            self.authentication_data.map(Property::AuthenticationData),
        ];
        all.into_iter().flatten().for_each(&mut *visit);
        self.user_properties.visit(visit);
    }
}
