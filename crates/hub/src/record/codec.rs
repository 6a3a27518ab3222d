//! The few primitives of which records are made.

use super::InvalidRecord;

/// Appends primitives to a buffer.
pub(crate) struct Writer<'a>(pub(crate) &'a mut Vec<u8>);

impl Writer<'_> {
    pub(crate) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
    }

    /// Zigzag, so that small negative numbers stay small.
    pub(crate) fn signed(&mut self, number: i64) {
        self.number(((number << 1) ^ (number >> 63)).cast_unsigned());
    }

    pub(crate) fn length(&mut self, length: usize) {
        self.number(length as u64);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.raw(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(crate) fn optional(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => {
                self.length(bytes.len() + 1);
                self.raw(bytes);
            }
            None => self.length(0),
        }
    }
}

/// Takes primitives from the front of a buffer; each call names the field for the error.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], InvalidRecord> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(InvalidRecord(field))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], InvalidRecord> {
        self.take(N, field)?.try_into().map_err(|_length| InvalidRecord(field))
    }

    pub(crate) fn byte(&mut self, field: &'static str) -> Result<u8, InvalidRecord> {
        let (byte, rest) = self.rest.split_first().ok_or(InvalidRecord(field))?;
        self.rest = rest;
        Ok(*byte)
    }

    pub(crate) fn number(&mut self, field: &'static str) -> Result<u64, InvalidRecord> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(field)?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(InvalidRecord(field))
    }

    pub(crate) fn signed(&mut self, field: &'static str) -> Result<i64, InvalidRecord> {
        let number = self.number(field)?;
        Ok((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
    }

    /// A count or length; never more than the bytes that are left, so that it may size a buffer.
    pub(crate) fn length(&mut self, field: &'static str) -> Result<usize, InvalidRecord> {
        let length = usize::try_from(self.number(field)?).map_err(|_large| InvalidRecord(field))?;
        if length > self.rest.len() + 1 { Err(InvalidRecord(field)) } else { Ok(length) }
    }

    pub(crate) fn bytes(&mut self, field: &'static str) -> Result<&'a [u8], InvalidRecord> {
        let length = self.length(field)?;
        self.take(length, field)
    }

    pub(crate) fn text(&mut self, field: &'static str) -> Result<&'a str, InvalidRecord> {
        std::str::from_utf8(self.bytes(field)?).map_err(|_utf8| InvalidRecord(field))
    }

    pub(crate) fn optional(&mut self, field: &'static str) -> Result<Option<&'a [u8]>, InvalidRecord> {
        match self.length(field)?.checked_sub(1) {
            Some(length) => self.take(length, field).map(Some),
            None => Ok(None),
        }
    }

    pub(crate) fn optional_text(&mut self, field: &'static str) -> Result<Option<&'a str>, InvalidRecord> {
        let Some(bytes) = self.optional(field)? else { return Ok(None) };
        std::str::from_utf8(bytes).map(Some).map_err(|_utf8| InvalidRecord(field))
    }
}
