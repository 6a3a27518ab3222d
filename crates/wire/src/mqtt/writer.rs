//! Writes the primitive values of section 1.5 and the length around them.

use std::num::NonZeroU16;

/// The largest value of a variable byte integer.
pub(super) const VARIABLE_MAX: usize = 268_435_455;

/// Why a packet cannot be said. The buffer is then left as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A string or binary field has more than 65,535 bytes.
    #[error("a field is longer than 65,535 bytes")]
    FieldTooLong,
    /// The packet has more than 268,435,455 bytes after its fixed header.
    #[error("the packet is longer than 268,435,455 bytes")]
    PacketTooLong,
    /// The packet or its reason does not exist in this protocol version.
    #[error("the protocol version has no such packet or reason")]
    NotInVersion,
    /// A PUBLISH with QoS 1 or 2 has no packet id.
    #[error("a publish with QoS 1 or 2 has no packet id")]
    PacketIdMissing,
}

/// Appends to a buffer. Errors are kept until [`Writer::finish`], which takes everything back.
pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    error: Option<EncodeError>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { start: out.len(), out, error: None }
    }

    pub(super) fn finish(self) -> Result<(), EncodeError> {
        let Some(error) = self.error else { return Ok(()) };
        self.out.truncate(self.start);
        Err(error)
    }

    /// Bytes written so far.
    pub(super) fn length(&self) -> usize {
        self.out.len() - self.start
    }

    pub(super) fn fail(&mut self, error: EncodeError) {
        self.error.get_or_insert(error);
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.out.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn packet_id(&mut self, id: NonZeroU16) {
        self.u16(id.get());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub(super) fn binary(&mut self, bytes: &[u8]) {
        match u16::try_from(bytes.len()) {
            Ok(length) => {
                self.u16(length);
                self.bytes(bytes);
            }
            Err(_) => self.fail(EncodeError::FieldTooLong),
        }
    }

    pub(super) fn string(&mut self, text: &str) {
        self.binary(text.as_bytes());
    }

    pub(super) fn variable(&mut self, value: usize) {
        if value > VARIABLE_MAX {
            return self.fail(EncodeError::PacketTooLong);
        }
        let (bytes, length) = variable(value);
        self.out.extend(bytes.iter().take(length));
    }

    /// Writes `body` with its length in front. The length takes one byte in almost every packet
    /// that comes here, so a longer one is made room for afterwards.
    pub(super) fn sized(&mut self, body: impl FnOnce(&mut Self)) {
        let at = self.out.len();
        self.out.push(0);
        body(self);
        let length = self.out.len() - at - 1;
        if length > VARIABLE_MAX {
            return self.fail(EncodeError::PacketTooLong);
        }
        let (bytes, count) = variable(length);
        self.out.splice(at..=at, bytes.into_iter().take(count));
    }
}

/// The shortest form of a length up to [`VARIABLE_MAX`], and how many of the bytes it takes.
fn variable(value: usize) -> ([u8; 4], usize) {
    let mut bytes = [0; 4];
    let mut rest = value;
    let mut count = 0;
    for byte in &mut bytes {
        let [low, ..] = rest.to_le_bytes();
        *byte = low & 0x7F;
        rest >>= 7;
        count += 1;
        if rest == 0 {
            break;
        }
        *byte |= 0x80;
    }
    (bytes, count)
}

/// How many bytes a length takes as a variable byte integer.
pub(super) fn variable_size(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::{EncodeError, Writer, variable_size};
    use crate::mqtt::reader;

    #[test]
    fn a_length_takes_as_many_bytes_as_is_said_and_is_read_again() {
        for value in [0, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455] {
            let mut out = Vec::new();
            let mut writer = Writer::new(&mut out);
            writer.variable(value);
            writer.finish().unwrap();
            assert_eq!(out.len(), variable_size(value));
            assert_eq!(reader::variable(&out), Ok(Some((u32::try_from(value).unwrap(), out.len()))));
        }
    }

    #[test]
    fn a_refused_packet_leaves_the_buffer_as_it_was() {
        let mut out = vec![1, 2, 3];
        let mut writer = Writer::new(&mut out);
        writer.u8(4);
        writer.binary(&[0; 65_536]);
        assert_eq!(writer.finish(), Err(EncodeError::FieldTooLong));
        assert_eq!(out, [1, 2, 3]);
    }

    #[test]
    fn a_long_body_makes_room_for_its_length() {
        let mut out = vec![9];
        let mut writer = Writer::new(&mut out);
        writer.sized(|writer| writer.bytes(&[7; 300]));
        writer.finish().unwrap();
        assert_eq!(out.len(), 1 + 2 + 300);
        assert_eq!(out[..4], [9, 0xAC, 0x02, 7]);
    }
}
