//! The wire format of Protocol Buffers: as much as Sparkplug's one message needs.

use std::borrow::Cow;

use crate::dialect::Unread;

/// One field's content.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Content<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// The fields of a message, in their order.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next field's number and content; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Content<'a>)>, Unread> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let content = match key & 7 {
            0 => Content::Varint(self.varint()?),
            1 => Content::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).ok().ok_or(cut())?;
                Content::Bytes(self.take(length)?)
            }
            5 => Content::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(Unread(Cow::Borrowed("the payload has a field of a kind that is none"))),
        };
        Ok(Some((key >> 3, content)))
    }

    /// A number alone, as repeated numbers stand when they are packed.
    pub(super) fn next_packed(&mut self) -> Result<Option<u64>, Unread> {
        if self.rest.is_empty() { Ok(None) } else { self.varint().map(Some) }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Unread> {
        let (head, tail) = self.rest.split_at_checked(length).ok_or(cut())?;
        self.rest = tail;
        Ok(head)
    }

    fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], Unread> {
        let (head, tail) = self.rest.split_first_chunk().ok_or(cut())?;
        self.rest = tail;
        Ok(*head)
    }

    fn varint(&mut self) -> Result<u64, Unread> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, tail) = self.rest.split_first().ok_or(cut())?;
            self.rest = tail;
            let bits = u64::from(byte & 0x7F);
            // The tenth byte has room for one bit.
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Unread(Cow::Borrowed("the payload has a number that is longer than 64 bits")))
    }
}

fn cut() -> Unread {
    Unread(Cow::Borrowed("the payload ends inside a field: it is no Sparkplug B payload, or was cut"))
}

/// A message that is being written.
#[derive(Clone, Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn field(&mut self, number: u64, content: Content<'_>) {
        let kind = match content {
            Content::Varint(_) => 0,
            Content::Fixed64(_) => 1,
            Content::Bytes(_) => 2,
            Content::Fixed32(_) => 5,
        };
        self.number(number << 3 | kind);
        match content {
            Content::Varint(value) => self.number(value),
            Content::Fixed64(value) => self.0.extend(value.to_le_bytes()),
            Content::Fixed32(value) => self.0.extend(value.to_le_bytes()),
            Content::Bytes(bytes) => {
                // A length in memory always fits 64 bits.
                self.number(u64::try_from(bytes.len()).unwrap_or_default());
                self.0.extend_from_slice(bytes);
            }
        }
    }

    fn number(&mut self, mut value: u64) {
        loop {
            let [low, ..] = value.to_le_bytes();
            value >>= 7;
            if value == 0 {
                self.0.push(low & 0x7F);
                return;
            }
            self.0.push(low | 0x80);
        }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}
