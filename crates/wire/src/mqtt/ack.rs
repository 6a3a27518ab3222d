//! PUBACK, PUBREC, PUBREL and PUBCOMP (sections 3.4 to 3.7), which share one form.

use std::num::NonZeroU16;

use super::fault::{self, DecodeError};
use super::limits::Limits;
use super::properties::{Property, PropertyBlock, UserProperties};
use super::reader::Reader;
use super::reason::ReasonCode;
use super::writer::Writer;
use super::{Version, kind};

/// One step of the delivery of a QoS 1 or 2 message.
#[derive(Clone, Debug, PartialEq)]
pub struct Ack<'a> {
    /// The packet id of the PUBLISH.
    pub packet_id: NonZeroU16,
    /// Success in 3.1.1, which has no other.
    pub reason: ReasonCode,
    /// Defaults in 3.1.1.
    pub properties: AckProperties<'a>,
}

/// The properties of acknowledgements, SUBACK and UNSUBACK.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AckProperties<'a> {
    /// For a person; only if the client asked for problem information.
    pub reason_string: Option<&'a str>,
    /// In order.
    pub user_properties: UserProperties<'a>,
}

impl<'a> Ack<'a> {
    /// An acknowledgement with nothing but its reason.
    #[must_use]
    pub fn new(packet_id: NonZeroU16, reason: ReasonCode) -> Self {
        Self { packet_id, reason, properties: AckProperties::default() }
    }

    pub(super) fn read(
        packet_kind: u8,
        mut reader: Reader<'a>,
        version: Version,
        limits: &Limits,
    ) -> Result<Self, DecodeError> {
        let mut ack = Self::new(reader.packet_id()?, ReasonCode::Success);
        if version == Version::V5 && !reader.is_empty() {
            ack.reason = ReasonCode::from_code(reader.u8()?)
                .filter(|&reason| belongs(packet_kind, reason))
                .ok_or(&fault::REASON_UNKNOWN)?;
            // Section 3.4.2.2.1: the property length may be left out.
            if !reader.is_empty() {
                ack.properties = AckProperties::read(&mut reader, limits)?;
            }
        }
        reader.finish()?;
        Ok(ack)
    }

    pub(super) fn write(&self, version: Version, writer: &mut Writer<'_>) {
        writer.packet_id(self.packet_id);
        if version == Version::V3 {
            return;
        }
        let bare = self.properties.is_empty();
        if bare && self.reason == ReasonCode::Success {
            return;
        }
        writer.u8(self.reason.code());
        if !bare {
            self.properties.write(writer);
        }
    }
}

/// The reasons of sections 3.4.2.1, 3.5.2.1, 3.6.2.1 and 3.7.2.1.
fn belongs(packet_kind: u8, reason: ReasonCode) -> bool {
    match packet_kind {
        kind::PUBACK | kind::PUBREC => {
            matches!(reason.code(), 0x00 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99)
        }
        _ => matches!(reason.code(), 0x00 | 0x92),
    }
}

impl<'a> AckProperties<'a> {
    pub(super) fn read(reader: &mut Reader<'a>, limits: &Limits) -> Result<Self, DecodeError> {
        let mut block = PropertyBlock::open(reader, limits)?;
        let mut properties = Self::default();
        while let Some(property) = block.read()? {
            match property {
                Property::ReasonString(text) => properties.reason_string = Some(text),
                Property::User(..) => {}
                _ => return Err((&fault::PROPERTY_NOT_ALLOWED).into()),
            }
        }
        properties.user_properties = block.user_properties();
        Ok(properties)
    }

    fn is_empty(&self) -> bool {
        self.reason_string.is_none() && self.user_properties.is_empty()
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        writer.sized(|writer| {
            if let Some(text) = self.reason_string {
                Property::ReasonString(text).write(writer);
            }
            self.user_properties.visit(&mut |property| property.write(writer));
        });
    }
}
