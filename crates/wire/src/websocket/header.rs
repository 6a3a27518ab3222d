//! The two to fourteen bytes before a payload, RFC 6455 section 5.2.

use super::CloseError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    pub(crate) fn bits(self) -> u8 {
        match self {
            Opcode::Continuation => 0x0,
            Opcode::Text => 0x1,
            Opcode::Binary => 0x2,
            Opcode::Close => 0x8,
            Opcode::Ping => 0x9,
            Opcode::Pong => 0xA,
        }
    }

    fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xA => Opcode::Pong,
            _ => return None,
        })
    }

    pub(crate) fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) is_last: bool,
    pub(crate) opcode: Opcode,
    pub(crate) mask: Option<[u8; 4]>,
    pub(crate) payload_length: u64,
    /// Bytes of the header itself.
    pub(crate) length: usize,
}

pub(crate) const FIN: u8 = 0x80;
pub(crate) const MASKED: u8 = 0x80;
/// The longest payload of a control frame, section 5.5.
pub(crate) const CONTROL_LENGTH_MAX: usize = 125;

/// The header at the start of `buffer`; `None` while bytes are missing. What is
/// there is judged at once.
pub(crate) fn read(buffer: &[u8]) -> Result<Option<Header>, CloseError> {
    let Some((first, rest)) = buffer.split_first() else {
        return Ok(None);
    };
    if first & 0x70 != 0 {
        let reason = "a reserved bit is set, no extension was agreed";
        return Err(CloseError::protocol(reason));
    }
    let opcode = Opcode::from_bits(first & 0x0F).ok_or(CloseError::protocol("reserved opcode"))?;
    let is_last = first & FIN != 0;
    if opcode.is_control() && !is_last {
        return Err(CloseError::protocol("a control frame is fragmented"));
    }
    let Some((second, rest)) = rest.split_first() else {
        return Ok(None);
    };
    let short = second & 0x7F;
    if opcode.is_control() && usize::from(short) > CONTROL_LENGTH_MAX {
        let reason = "a control frame is longer than 125 bytes";
        return Err(CloseError::protocol(reason));
    }
    let Some((payload_length, rest)) = payload_length(short, rest)? else {
        return Ok(None);
    };
    let (mask, rest) = if second & MASKED == 0 {
        (None, rest)
    } else {
        let Some((mask, rest)) = rest.split_first_chunk() else {
            return Ok(None);
        };
        (Some(*mask), rest)
    };
    Ok(Some(Header {
        is_last,
        opcode,
        mask,
        payload_length,
        length: buffer.len().saturating_sub(rest.len()),
    }))
}

fn payload_length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, CloseError> {
    let (length, rest, shorter_form_max) = match short {
        126 => match rest.split_first_chunk() {
            Some((bytes, rest)) => (u64::from(u16::from_be_bytes(*bytes)), rest, 125),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk() {
            Some((bytes, rest)) => (u64::from_be_bytes(*bytes), rest, u64::from(u16::MAX)),
            None => return Ok(None),
        },
        short => return Ok(Some((u64::from(short), rest))),
    };
    if length > i64::MAX.unsigned_abs() {
        return Err(CloseError::protocol("a length has its top bit set"));
    }
    if length <= shorter_form_max {
        let reason = "a length is not written in its shortest form";
        return Err(CloseError::protocol(reason));
    }
    Ok(Some((length, rest)))
}
