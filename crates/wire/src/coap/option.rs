//! Options: their numbers, what a value may be, and how they are laid out (RFC 7252 section 3.1).

/// The option numbers that are understood here.
pub mod number {
    /// RFC 7252 section 5.10.8.1
    pub const IF_MATCH: u16 = 1;
    /// RFC 7252 section 5.10.1
    pub const URI_HOST: u16 = 3;
    /// RFC 7252 section 5.10.6
    pub const ETAG: u16 = 4;
    /// RFC 7252 section 5.10.8.2
    pub const IF_NONE_MATCH: u16 = 5;
    /// RFC 7641 section 2
    pub const OBSERVE: u16 = 6;
    /// RFC 7252 section 5.10.1
    pub const URI_PORT: u16 = 7;
    /// RFC 7252 section 5.10.1
    pub const URI_PATH: u16 = 11;
    /// RFC 7252 section 5.10.3
    pub const CONTENT_FORMAT: u16 = 12;
    /// RFC 7252 section 5.10.5
    pub const MAX_AGE: u16 = 14;
    /// RFC 7252 section 5.10.1
    pub const URI_QUERY: u16 = 15;
    /// RFC 7252 section 5.10.4
    pub const ACCEPT: u16 = 17;
    /// RFC 7959 section 2.1
    pub const BLOCK2: u16 = 23;
    /// RFC 7959 section 2.1
    pub const BLOCK1: u16 = 27;
    /// RFC 7959 section 4
    pub const SIZE2: u16 = 28;
    /// RFC 7252 section 5.10.2
    pub const PROXY_URI: u16 = 35;
    /// RFC 7252 section 5.10.2
    pub const PROXY_SCHEME: u16 = 39;
    /// RFC 7959 section 4
    pub const SIZE1: u16 = 60;
    /// RFC 9175 section 2.2.1
    pub const ECHO: u16 = 252;
    /// RFC 7967 section 2
    pub const NO_RESPONSE: u16 = 258;
    /// RFC 9175 section 3.2.1
    pub const REQUEST_TAG: u16 = 292;
}

/// What stands before the payload.
pub(super) const PAYLOAD_MARKER: u8 = 0xFF;

/// Whether who does not understand the option must not act on the message.
#[must_use]
pub fn is_critical(number: u16) -> bool {
    number & 1 == 1
}

/// One option after the other, in the order of their numbers. Over bytes that were checked; over
/// others it ends at the first mistake.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    rest: &'a [u8],
    number: u16,
}

impl<'a> Options<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, number: 0 }
    }

    /// The next option, or that something is wrong with it. `Ok(None)` at the payload or the end.
    pub(super) fn step(&mut self) -> Result<Option<(u16, &'a [u8])>, Malformed> {
        let Some((&first, mut rest)) = self.rest.split_first().filter(|(first, _)| **first != PAYLOAD_MARKER)
        else {
            return Ok(None);
        };
        let delta = extended(first >> 4, &mut rest)?;
        let length = extended(first & 0x0F, &mut rest)?;
        let number = u16::try_from(u32::from(self.number) + delta).map_err(|_too_large| Malformed)?;
        let (value, rest) = rest.split_at_checked(length as usize).ok_or(Malformed)?;
        (self.number, self.rest) = (number, rest);
        Ok(Some((number, value)))
    }

    /// What has not been read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.step().unwrap_or_default()
    }
}

/// The bytes are no options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// A nibble, or the byte or two behind it that it stands for.
fn extended(nibble: u8, rest: &mut &[u8]) -> Result<u32, Malformed> {
    match nibble {
        13 => {
            let (&byte, left) = rest.split_first().ok_or(Malformed)?;
            *rest = left;
            Ok(u32::from(byte) + 13)
        }
        14 => {
            let (bytes, left) = rest.split_first_chunk().ok_or(Malformed)?;
            *rest = left;
            Ok(u32::from(u16::from_be_bytes(*bytes)) + 269)
        }
        15 => Err(Malformed),
        short => Ok(u32::from(short)),
    }
}

/// Appends options, which must come in the order of their numbers.
#[derive(Debug)]
pub struct OptionWriter<'a> {
    out: &'a mut Vec<u8>,
    number: u16,
}

impl<'a> OptionWriter<'a> {
    /// Writes behind what is there, the token of a message.
    #[must_use]
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, number: 0 }
    }

    /// Appends an option. One whose number is below the last one's, or whose value is longer than
    /// 65,804 bytes, is left out: no message of ours has such.
    pub fn push(&mut self, number: u16, value: &[u8]) {
        let (Some(delta), Ok(length)) = (number.checked_sub(self.number), u32::try_from(value.len())) else {
            return;
        };
        if length > u32::from(u16::MAX) + 269 {
            return;
        }
        let ((delta, delta_more), (length, length_more)) = (nibble(delta.into()), nibble(length));
        self.out.push(delta << 4 | length);
        self.out.extend(delta_more.iter().chain(&length_more).flatten());
        self.out.extend_from_slice(value);
        self.number = number;
    }

    /// Appends a number in as few bytes as it needs; 0 has none.
    pub fn push_uint(&mut self, number: u16, value: u32) {
        let bytes = value.to_be_bytes();
        let skipped = (value.leading_zeros() / 8) as usize;
        self.push(number, bytes.get(skipped..).unwrap_or_default());
    }
}

/// The nibble for a number, and the bytes that follow it.
fn nibble(number: u32) -> (u8, [Option<u8>; 2]) {
    let of = |number: u32| u8::try_from(number).unwrap_or_default();
    match number {
        0..=12 => (of(number), [None, None]),
        13..=268 => (13, [Some(of(number - 13)), None]),
        _ => (14, [Some(of((number - 269) >> 8 & 0xFF)), Some(of((number - 269) & 0xFF))]),
    }
}

/// An unsigned number of at most four bytes (RFC 7252 section 3.2); leading zeros are allowed.
pub(super) fn uint(value: &[u8]) -> Option<u32> {
    (value.len() <= 4).then(|| value.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
}
