//! Reads the primitive values of section 1.5 from a slice, without copying.

use std::num::NonZeroU16;

use super::fault::{self, DecodeError};

/// The unread rest of a packet or of a property block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Everything that is left.
    pub(super) fn remaining(&self) -> &'a [u8] {
        self.rest
    }

    /// A packet must end where its last field ends.
    pub(super) fn finish(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err((&fault::TRAILING_BYTES).into()) }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(&fault::CUT_SHORT)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(&fault::CUT_SHORT)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn packet_id(&mut self) -> Result<NonZeroU16, DecodeError> {
        NonZeroU16::new(self.u16()?).ok_or((&fault::PACKET_ID_ZERO).into())
    }

    pub(super) fn variable(&mut self) -> Result<u32, DecodeError> {
        let (value, length) = variable(self.rest)?.ok_or(&fault::CUT_SHORT)?;
        self.take(length)?;
        Ok(value)
    }

    /// Two bytes of length, then as many bytes of anything.
    pub(super) fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    /// A string as section 1.5.4 wants it. U+FEFF and other odd characters pass unchanged.
    pub(super) fn string(&mut self) -> Result<&'a str, DecodeError> {
        text(self.binary()?)
    }
}

/// Well-formed UTF-8 (so no surrogates, no overlong forms) without U+0000.
pub(super) fn text(bytes: &[u8]) -> Result<&str, DecodeError> {
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.contains(&0) => {
            debug_assert!(text.contains('\0'));
            Err((&fault::NUL_IN_STRING).into())
        }
        Ok(text) => Ok(text),
        Err(_) => Err((&fault::NOT_UTF8).into()),
    }
}

/// A variable byte integer and how many bytes it took; `None` when it goes on after `bytes`.
pub(super) fn variable(bytes: &[u8]) -> Result<Option<(u32, usize)>, DecodeError> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            // The shortest form is demanded, so only a lone byte may be 0.
            if byte == 0 && index > 0 {
                return Err((&fault::LENGTH_FORM).into());
            }
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() >= 4 { Err((&fault::LENGTH_FORM).into()) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use super::{text, variable};

    #[test]
    fn a_length_is_read_in_its_shortest_form_only() {
        assert_eq!(variable(&[0x00]), Ok(Some((0, 1))));
        assert_eq!(variable(&[0x7F, 1]), Ok(Some((127, 1))));
        assert_eq!(variable(&[0x80, 0x01]), Ok(Some((128, 2))));
        assert_eq!(variable(&[0xFF, 0xFF, 0xFF, 0x7F]), Ok(Some((268_435_455, 4))));
        assert_eq!(variable(&[0xFF, 0xFF, 0xFF]), Ok(None));
        assert_eq!(variable(&[]), Ok(None));
        assert!(variable(&[0x82, 0x80, 0x00]).is_err());
        assert!(variable(&[0xFF, 0xFF, 0xFF, 0xFF]).is_err());
    }

    #[test]
    fn m_17_broken_utf8_and_u0000_are_refused() {
        for bytes in
            [&b"a\0b"[..], &[0xC0, 0x80], &[0xED, 0xA0, 0x80], &[0xF4, 0x90, 0x80, 0x80], &[0xE2, 0x82]]
        {
            assert!(text(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn m_18_odd_characters_pass_unchanged() {
        for odd in ["\u{FEFF}", "\u{1}", "\u{FFFF}", "\u{202E}", "🌡", "e\u{301}"] {
            assert_eq!(text(odd.as_bytes()), Ok(odd));
        }
    }
}
