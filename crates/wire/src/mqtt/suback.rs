//! SUBACK (section 3.9).

use std::num::NonZeroU16;

use super::Version;
use super::ack::AckProperties;
use super::fault::{self, DecodeError};
use super::limits::Limits;
use super::reader::Reader;
use super::reason::ReasonCode;
use super::writer::Writer;

/// What became of each filter of a SUBSCRIBE.
#[derive(Clone, Debug, PartialEq)]
pub struct SubAck<'a> {
    /// The packet id of the SUBSCRIBE.
    pub packet_id: NonZeroU16,
    /// Defaults in 3.1.1.
    pub properties: AckProperties<'a>,
    /// One [`ReasonCode::code`] for each filter, in order. In 3.1.1 any error is sent as 0x80.
    pub codes: &'a [u8],
}

impl<'a> SubAck<'a> {
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
        let properties = match version {
            Version::V3 => AckProperties::default(),
            Version::V5 => AckProperties::read(&mut reader, limits)?,
        };
        let codes = reader.remaining();
        if codes.is_empty() {
            return Err((&fault::NO_REASONS).into());
        }
        if !codes.iter().all(|&code| belongs(code, version)) {
            return Err((&fault::REASON_UNKNOWN).into());
        }
        Ok(Self { packet_id, properties, codes })
    }

    pub(super) fn write(&self, version: Version, writer: &mut Writer<'_>) {
        writer.packet_id(self.packet_id);
        match version {
            Version::V3 => {
                for &code in self.codes {
                    writer.u8(code.min(ReasonCode::UnspecifiedError.code()));
                }
            }
            Version::V5 => {
                self.properties.write(writer);
                writer.bytes(self.codes);
            }
        }
    }
}

/// The codes of section 3.9.3, in both specifications.
fn belongs(code: u8, version: Version) -> bool {
    match version {
        Version::V3 => matches!(code, 0..=2 | 0x80),
        Version::V5 => matches!(code, 0..=2 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91 | 0x97 | 0x9E | 0xA1 | 0xA2),
    }
}
