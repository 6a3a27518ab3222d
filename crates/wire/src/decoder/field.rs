//! One field: where it stands, how its bytes are read, and what becomes of what they say.

use std::borrow::Cow;

use super::condition::Condition;
use super::number::Linear;
use super::text::hex;

/// One field.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    pub(super) key: String,
    /// Its place among all fields of the decoder.
    pub(super) slot: usize,
    /// The number of its key.
    pub(super) key_number: usize,
    pub(super) at: At,
    pub(super) kind: Kind,
    pub(super) order: ByteOrder,
    pub(super) bits: Option<Bits>,
    pub(super) linear: Option<Linear>,
    /// Raw values that say that there is none.
    pub(super) missing: Vec<i128>,
    pub(super) usage: Usage,
    /// All must hold.
    pub(super) when: Vec<Condition>,
}

/// Where the first byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// Behind the field that was read before.
    After,
    /// So many bytes from where the list's bytes begin.
    Start(usize),
    /// So many bytes before the frame's end.
    End(usize),
}

/// What the bytes are. Widths and lengths in bytes; `None`: all that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Unsigned(usize),
    Signed(usize),
    Single,
    Double,
    Boolean,
    Text(Option<usize>),
    Hex(Option<usize>),
    Bcd(usize),
}

/// Which byte of a number comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ByteOrder {
    /// The one with the highest digits.
    #[default]
    Big,
    /// The one with the lowest digits.
    Little,
    /// Words of two bytes, the lowest word first, in each the highest byte: Modbus registers, often.
    BigSwapped,
    /// The highest word first, in each the lowest byte.
    LittleSwapped,
}

impl ByteOrder {
    /// Whether it is one of words.
    pub(super) fn is_swapped(self) -> bool {
        matches!(self, Self::BigSwapped | Self::LittleSwapped)
    }
}

/// A part of a whole number; bit 0 is the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bits {
    pub(super) from: u32,
    pub(super) length: u32,
}

/// What a field is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Usage {
    /// A reading.
    #[default]
    Value,
    /// Nothing but conditions of others, or padding.
    Hidden,
    /// When the frame's values were measured: seconds since 1970.
    Seconds,
    /// The same in milliseconds.
    Milliseconds,
}

/// What bytes say, before it is scaled.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Raw<'a> {
    Integer(i128),
    Float(f64),
    Boolean(bool),
    Text(Cow<'a, str>),
}

impl Kind {
    /// How many bytes it takes; `None`: all that are left.
    pub(super) fn length(self) -> Option<usize> {
        match self {
            Self::Unsigned(width) | Self::Signed(width) | Self::Bcd(width) => Some(width),
            Self::Single => Some(4),
            Self::Double => Some(8),
            Self::Boolean => Some(1),
            Self::Text(length) | Self::Hex(length) => length,
        }
    }

    /// Whether it is a whole number of which bits can be taken.
    pub(super) fn has_bits(self) -> bool {
        matches!(self, Self::Unsigned(_) | Self::Signed(_) | Self::Boolean)
    }

    pub(super) fn is_integer(self) -> bool {
        matches!(self, Self::Unsigned(_) | Self::Signed(_) | Self::Bcd(_))
    }

    pub(super) fn is_number(self) -> bool {
        self.is_integer() || matches!(self, Self::Single | Self::Double)
    }
}

impl Field {
    /// What the bytes say; as many as [`Kind::length`] says.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn read<'a>(&self, bytes: &'a [u8]) -> Result<Raw<'a>, &'static str> {
        Ok(match self.kind {
            Kind::Unsigned(_) => Raw::Integer(self.part(self.unsigned(bytes))),
            Kind::Signed(width) => {
                let number = self.part(self.unsigned(bytes));
                let length = self.bits.map_or(bits(width), |bits| bits.length);
                Raw::Integer(sign_extended(number, length))
            }
            Kind::Boolean => Raw::Boolean(self.part(self.unsigned(bytes)) != 0),
            Kind::Single => {
                let [first, second, third, fourth] = self.big_endian(bytes);
                Raw::Float(f32::from_be_bytes([first, second, third, fourth]).into())
            }
            Kind::Double => Raw::Float(f64::from_be_bytes(self.big_endian(bytes))),
            Kind::Text(_) => {
                let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
                let text = bytes.get(..end).unwrap_or_default();
                let text = std::str::from_utf8(text).map_err(|_other| "this is no UTF-8 text")?;
                Raw::Text(Cow::Borrowed(text))
            }
            Kind::Hex(_) => Raw::Text(Cow::Owned(hex(bytes))),
            Kind::Bcd(_) => Raw::Integer(self.digits(bytes).ok_or("these are no decimal digits")?),
        })
    }

    fn ordered<'a>(&self, bytes: &'a [u8]) -> Box<dyn Iterator<Item = u8> + 'a> {
        match self.order {
            ByteOrder::Big => Box::new(bytes.iter().copied()),
            ByteOrder::Little => Box::new(bytes.iter().rev().copied()),
            ByteOrder::BigSwapped => Box::new(bytes.rchunks(2).flatten().copied()),
            ByteOrder::LittleSwapped => Box::new(bytes.chunks(2).flat_map(|word| word.iter().rev().copied())),
        }
    }

    fn big_endian<const N: usize>(&self, bytes: &[u8]) -> [u8; N] {
        let mut ordered = [0; N];
        ordered.iter_mut().zip(self.ordered(bytes)).for_each(|(to, from)| *to = from);
        ordered
    }

    fn unsigned(&self, bytes: &[u8]) -> i128 {
        self.ordered(bytes).fold(0, |number, byte| number << 8 | i128::from(byte))
    }

    fn part(&self, number: i128) -> i128 {
        let Some(Bits { from, length }) = self.bits else { return number };
        number >> from & ((1 << length) - 1)
    }

    /// Two digits a byte, the higher one first.
    fn digits(&self, bytes: &[u8]) -> Option<i128> {
        self.ordered(bytes).try_fold(0, |number, byte| {
            let (high, low) = (byte >> 4, byte & 15);
            (high < 10 && low < 10).then(|| number * 100 + i128::from(high * 10 + low))
        })
    }
}

/// The bits of so many bytes, at most eight.
pub(super) fn bits(width: usize) -> u32 {
    u32::try_from(width).map_or(64, |width| width.saturating_mul(8))
}

/// The number whose two's complement has `length` bits, at most 64.
fn sign_extended(number: i128, length: u32) -> i128 {
    let is_negative = number >> (length - 1) & 1 == 1;
    if is_negative { number - (1 << length) } else { number }
}
