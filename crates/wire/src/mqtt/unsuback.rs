//! UNSUBACK (section 3.11).

use std::num::NonZeroU16;

use super::Version;
use super::ack::AckProperties;
use super::fault::{self, DecodeError};
use super::limits::Limits;
use super::reader::Reader;
use super::reason::ReasonCode;
use super::writer::Writer;

/// What became of each filter of an UNSUBSCRIBE.
#[derive(Clone, Debug, PartialEq)]
pub struct UnsubAck<'a> {
    /// The packet id of the UNSUBSCRIBE.
    pub packet_id: NonZeroU16,
    /// Defaults in 3.1.1.
    pub properties: AckProperties<'a>,
    /// One [`ReasonCode::code`] for each filter, in order; not sent in 3.1.1.
    pub codes: &'a [u8],
}

impl<'a> UnsubAck<'a> {
    /// The reason for each filter, in order.
    pub fn reasons(&self) -> impl Iterator<Item = ReasonCode> + use<'a> {
        self.codes.iter().filter_map(|&code| ReasonCode::from_code(code))
    }

    pub(super) fn read(
        mut reader: Reader<'a>,
        version: Version,
        limits: &Limits,
    ) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        if version == Version::V3 {
            reader.finish()?;
            return Ok(Self { packet_id, properties: AckProperties::default(), codes: &[] });
        }
        let properties = AckProperties::read(&mut reader, limits)?;
        let codes = reader.remaining();
        if codes.is_empty() {
            return Err((&fault::NO_REASONS).into());
        }
        if !codes.iter().all(|&code| belongs(code)) {
            return Err((&fault::REASON_UNKNOWN).into());
        }
        Ok(Self { packet_id, properties, codes })
    }

    pub(super) fn write(&self, version: Version, writer: &mut Writer<'_>) {
        writer.packet_id(self.packet_id);
        if version == Version::V5 {
            self.properties.write(writer);
            writer.bytes(self.codes);
        }
    }
}

/// The codes of section 3.11.3.
fn belongs(code: u8) -> bool {
    matches!(code, 0x00 | 0x11 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91)
}
