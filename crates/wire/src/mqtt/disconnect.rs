//! DISCONNECT (section 3.14).

use super::Version;
use super::fault::{self, DecodeError};
use super::limits::Limits;
use super::properties::{Property, PropertyBlock, UserProperties};
use super::reader::Reader;
use super::reason::ReasonCode;
use super::writer::Writer;

/// The last packet. In 3.1.1 only a client sends it, and it says nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Disconnect<'a> {
    /// [`ReasonCode::NORMAL_DISCONNECTION`] in 3.1.1.
    pub reason: ReasonCode,
    /// Defaults in 3.1.1.
    pub properties: DisconnectProperties<'a>,
}

/// The properties of section 3.14.2.2.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DisconnectProperties<'a> {
    /// Seconds; from a client only. Absent means what CONNECT said.
    pub session_expiry: Option<u32>,
    /// For a person.
    pub reason_string: Option<&'a str>,
    /// In order.
    pub user_properties: UserProperties<'a>,
    /// Another server to use; from a server only.
    pub server_reference: Option<&'a str>,
}

impl<'a> Disconnect<'a> {
    /// A DISCONNECT with nothing but its reason.
    #[must_use]
    pub fn new(reason: ReasonCode) -> Self {
        Self { reason, properties: DisconnectProperties::default() }
    }

    pub(super) fn read(
        mut reader: Reader<'a>,
        version: Version,
        limits: &Limits,
    ) -> Result<Self, DecodeError> {
        let mut disconnect = Self::default();
        if version == Version::V5 && !reader.is_empty() {
            disconnect.reason = ReasonCode::from_code(reader.u8()?)
                .filter(|&reason| belongs(reason))
                .ok_or(&fault::REASON_UNKNOWN)?;
            if !reader.is_empty() {
                disconnect.properties = DisconnectProperties::read(&mut reader, limits)?;
            }
        }
        reader.finish()?;
        Ok(disconnect)
    }

    pub(super) fn write(&self, version: Version, writer: &mut Writer<'_>) {
        if version == Version::V3 {
            return;
        }
        let bare = self.properties == DisconnectProperties::default();
        if bare && self.reason == ReasonCode::NORMAL_DISCONNECTION {
            return;
        }
        writer.u8(self.reason.code());
        if !bare {
            writer.sized(|writer| self.properties.visit(&mut |property| property.write(writer)));
        }
    }
}

/// The reasons of section 3.14.2.1.
fn belongs(reason: ReasonCode) -> bool {
    matches!(
        reason.code(),
        0x00 | 0x04 | 0x80..=0x83 | 0x87 | 0x89 | 0x8B | 0x8D..=0x90 | 0x93..=0xA2
    )
}

impl<'a> DisconnectProperties<'a> {
    fn read(reader: &mut Reader<'a>, limits: &Limits) -> Result<Self, DecodeError> {
        let mut block = PropertyBlock::open(reader, limits)?;
        let mut properties = Self::default();
        while let Some(property) = block.read()? {
            match property {
                Property::SessionExpiry(seconds) => properties.session_expiry = Some(seconds),
                Property::ReasonString(text) => properties.reason_string = Some(text),
                Property::ServerReference(text) => properties.server_reference = Some(text),
                Property::User(..) => {}
                _ => return Err((&fault::PROPERTY_NOT_ALLOWED).into()),
            }
        }
        properties.user_properties = block.user_properties();
        Ok(properties)
    }

    fn visit(&self, visit: &mut impl FnMut(Property<'a>)) {
        let all = [
            self.session_expiry.map(Property::SessionExpiry),
            self.reason_string.map(Property::ReasonString),
            self.server_reference.map(Property::ServerReference),
        ];
        all.into_iter().flatten().for_each(&mut *visit);
        self.user_properties.visit(visit);
    }
}
