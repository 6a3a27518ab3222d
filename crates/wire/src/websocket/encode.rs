use super::decode::unmask;
use super::header::{CONTROL_LENGTH_MAX, FIN, MASKED, Opcode};
use bytes::BufMut;

/// An unmasked header, to be written together with its payload: some devices
/// take each segment for a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    bytes: [u8; 10],
    length: u8,
}

impl FrameHeader {
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

impl AsRef<[u8]> for FrameHeader {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

/// The header of an unfragmented frame as a server sends it.
pub fn frame_header(opcode: Opcode, payload_length: usize) -> FrameHeader {
    let first = FIN | opcode.bits();
    let mut bytes = [0; 10];
    let mut rest = bytes.as_mut_slice();
    rest.put_u8(first);
    match (u8::try_from(payload_length), u16::try_from(payload_length)) {
        (Ok(short @ 0..=125), _) => rest.put_u8(short),
        (_, Ok(medium)) => {
            rest.put_u8(126);
            rest.put_u16(medium);
        }
        _ => {
            rest.put_u8(127);
            rest.put_u64(u64::try_from(payload_length).unwrap_or(u64::MAX));
        }
    }
    let unused = rest.len();
    let length = u8::try_from(bytes.len().saturating_sub(unused)).unwrap_or(0);
    FrameHeader { bytes, length }
}

/// A whole frame as a server sends it. `out` must take any length, as `Vec` and
/// `BytesMut` do. A control frame's payload is cut at 125 bytes.
pub fn encode_frame(opcode: Opcode, payload: &[u8], out: &mut impl BufMut) {
    let payload = allowed(opcode, payload);
    out.put_slice(frame_header(opcode, payload.len()).as_slice());
    out.put_slice(payload);
}

/// A whole frame as a client sends it; `mask` should be fresh random bytes.
pub fn encode_masked_frame(opcode: Opcode, mask: [u8; 4], payload: &[u8], out: &mut Vec<u8>) {
    let payload = allowed(opcode, payload);
    let begin = out.len();
    out.extend_from_slice(frame_header(opcode, payload.len()).as_slice());
    if let Some(second) = out.get_mut(begin.saturating_add(1)) {
        *second |= MASKED;
    }
    out.extend_from_slice(&mask);
    let begin = out.len();
    out.extend_from_slice(payload);
    unmask(out.get_mut(begin..).unwrap_or_default(), mask);
}

/// A close frame as a server sends it. The reason is cut at 123 bytes.
pub fn encode_close(code: u16, reason: &str, out: &mut impl BufMut) {
    let reason = reason.get(..reason.floor_char_boundary(CONTROL_LENGTH_MAX.saturating_sub(2)));
    let reason = reason.unwrap_or_default();
    let length = reason.len().saturating_add(2);
    out.put_slice(frame_header(Opcode::Close, length).as_slice());
    out.put_u16(code);
    out.put_slice(reason.as_bytes());
}

fn allowed(opcode: Opcode, payload: &[u8]) -> &[u8] {
    match payload.split_at_checked(CONTROL_LENGTH_MAX) {
        Some((head, _)) if opcode.is_control() => head,
        _ => payload,
    }
}
