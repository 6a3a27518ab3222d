//! Blocks of a body (RFC 7959 section 2).

/// The largest size exponent: blocks of 1,024 bytes (RFC 7959 section 2.2).
pub const SZX_MAX: u8 = 6;
/// The value of a Block1 or Block2 option (RFC 7959 section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Which block, from 0.
    pub number: u32,
    /// Whether more follow.
    pub more: bool,
    /// The size exponent, at most [`SZX_MAX`].
    pub szx: u8,
}

impl Block {
    /// Reads the value; `None` for more than three bytes, and for the reserved exponent 7.
    #[must_use]
    pub fn from_uint(value: u32) -> Option<Self> {
        let szx = u8::try_from(value & 7).ok().filter(|szx| *szx <= SZX_MAX)?;
        (value < 1 << 24).then_some(Self { number: value >> 4, more: value & 8 != 0, szx })
    }

    /// The value.
    #[must_use]
    pub fn to_uint(self) -> u32 {
        self.number << 4 | u32::from(self.more) << 3 | u32::from(self.szx)
    }

    /// How many bytes a block has.
    #[must_use]
    pub fn size(self) -> usize {
        16 << self.szx
    }

    /// Where the block begins in the body.
    #[must_use]
    pub fn offset(self) -> usize {
        usize::try_from(self.number).unwrap_or(usize::MAX).saturating_mul(self.size())
    }

    /// The piece of a body that a block is, and the block with its `more` set right; `None` beyond
    /// the body's end.
    #[must_use]
    pub fn of(self, body: &[u8]) -> Option<(Self, &[u8])> {
        let rest = body.get(self.offset()..).filter(|rest| !rest.is_empty() || self.number == 0)?;
        let (piece, left) = rest.split_at_checked(self.size()).unwrap_or((rest, &[]));
        Some((Self { more: !left.is_empty(), ..self }, piece))
    }
}
