//! AUTH (section 3.15): enhanced authentication, MQTT 5.0 only.

use super::fault::{self, DecodeError};
use super::limits::Limits;
use super::properties::{Property, PropertyBlock, UserProperties};
use super::reader::Reader;
use super::reason::ReasonCode;
use super::writer::Writer;

/// One message of an exchange.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Auth<'a> {
    /// Success, continue or re-authenticate.
    pub reason: ReasonCode,
    /// The method is missing only from a bare success.
    pub properties: AuthProperties<'a>,
}

/// The properties of section 3.15.2.2.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuthProperties<'a> {
    /// The method of the CONNECT.
    pub authentication_method: Option<&'a str>,
    /// What the method says; a secret as a rule.
    pub authentication_data: Option<&'a [u8]>,
    /// For a person.
    pub reason_string: Option<&'a str>,
    /// In order.
    pub user_properties: UserProperties<'a>,
}

impl<'a> Auth<'a> {
    pub(super) fn read(mut reader: Reader<'a>, limits: &Limits) -> Result<Self, DecodeError> {
        // Section 3.15.2.1: reason and properties may be left out together for a bare success.
        if reader.is_empty() {
            return Ok(Self::default());
        }
        let reason = ReasonCode::from_code(reader.u8()?)
            .filter(|&reason| matches!(reason.code(), 0x00 | 0x18 | 0x19))
            .ok_or(&fault::REASON_UNKNOWN)?;
        let mut properties = AuthProperties::default();
        if !reader.is_empty() {
            properties = AuthProperties::read(&mut reader, limits)?;
        }
        reader.finish()?;
        let bare = properties == AuthProperties::default() && reason == ReasonCode::Success;
        if properties.authentication_method.is_none() && !bare {
            return Err((&fault::AUTH_METHOD).into());
        }
        Ok(Self { reason, properties })
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        if *self == Self::default() {
            return;
        }
        writer.u8(self.reason.code());
        writer.sized(|writer| self.properties.visit(&mut |property| property.write(writer)));
    }
}

impl<'a> AuthProperties<'a> {
    fn read(reader: &mut Reader<'a>, limits: &Limits) -> Result<Self, DecodeError> {
        let mut block = PropertyBlock::open(reader, limits)?;
        let mut properties = Self::default();
        while let Some(property) = block.read()? {
            match property {
                Property::AuthenticationMethod(method) => {
                    properties.authentication_method = Some(method);
                }
                Property::AuthenticationData(data) => properties.authentication_data = Some(data),
                Property::ReasonString(text) => properties.reason_string = Some(text),
                Property::User(..) => {}
                _ => return Err((&fault::PROPERTY_NOT_ALLOWED).into()),
            }
        }
        properties.user_properties = block.user_properties();
        Ok(properties)
    }

    fn visit(&self, visit: &mut impl FnMut(Property<'a>)) {
        let all = [
            self.authentication_method.map(Property::AuthenticationMethod),
            self.authentication_data.map(Property::AuthenticationData),
            self.reason_string.map(Property::ReasonString),
        ];
        all.into_iter().flatten().for_each(&mut *visit);
        self.user_properties.visit(visit);
    }
}
