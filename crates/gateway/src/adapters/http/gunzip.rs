//! Gzip (RFC 1952), piece by piece: heads and tails of members around what the deflate decoder reads.

use bytes::{Buf, Bytes};
use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::unpack::UnpackError;

/// The longest head of a member; the longest that programs write are file names.
const HEAD_LENGTH_MAX: usize = 4 * 1024;
/// What stands in a head before its optional parts.
const HEAD_LENGTH_MIN: usize = 10;
/// Checksum and length.
const TAIL_LENGTH: usize = 8;

/// Where in a member the decoder is; members may follow one another.
#[derive(Debug)]
enum Stage {
    Head(Vec<u8>),
    Data,
    Tail(Vec<u8>),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Gunzip {
    stage: Stage,
    deflate: Decompress,
    crc: Crc,
    is_begun: bool,
}

impl Gunzip {
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::Head(Vec::new()),
            deflate: Decompress::new(false),
            crc: Crc::new(),
            is_begun: false,
        }
    }

    /// Takes some of the input and gives how many bytes came out; none once the input is used up.
    pub(super) fn run(&mut self, input: &mut Bytes, output: &mut [u8]) -> Result<usize, UnpackError> {
        loop {
            match &mut self.stage {
                Stage::Head(head) => {
                    let Some(byte) = input.split_first().map(|(first, _)| *first) else { return Ok(0) };
                    head.push(byte);
                    input.advance(1);
                    self.is_begun = true;
                    if is_whole(head)? {
                        self.deflate.reset(false);
                        self.crc.reset();
                        self.stage = Stage::Data;
                    }
                }
                Stage::Data => {
                    let before = (self.deflate.total_in(), self.deflate.total_out());
                    let status = self.deflate.decompress(input, output, FlushDecompress::None);
                    let status = status.map_err(|_damaged| UnpackError::Damaged)?;
                    let taken = usize::try_from(self.deflate.total_in() - before.0).unwrap_or(usize::MAX);
                    let given = usize::try_from(self.deflate.total_out() - before.1).unwrap_or(usize::MAX);
                    input.advance(taken.min(input.len()));
                    self.crc.update(output.get(..given).unwrap_or_default());
                    if status == Status::StreamEnd {
                        self.stage = Stage::Tail(Vec::new());
                    }
                    if given > 0 || (taken == 0 && status != Status::StreamEnd) {
                        return Ok(given);
                    }
                }
                Stage::Tail(tail) => {
                    let Some(byte) = input.split_first().map(|(first, _)| *first) else { return Ok(0) };
                    tail.push(byte);
                    input.advance(1);
                    if tail.len() == TAIL_LENGTH {
                        if !is_tail_of(&self.crc, tail) {
                            return Err(UnpackError::Damaged);
                        }
                        self.stage = Stage::Head(Vec::new());
                    }
                }
            }
        }
    }

    /// Whether the input may end here.
    pub(super) fn is_complete(&self) -> bool {
        self.is_begun && matches!(&self.stage, Stage::Head(head) if head.is_empty())
    }
}

fn is_tail_of(crc: &Crc, tail: &[u8]) -> bool {
    let expected = crc.sum().to_le_bytes().into_iter().chain(crc.amount().to_le_bytes());
    expected.eq(tail.iter().copied())
}

/// Whether a head is there whole (RFC 1952, section 2.3).
fn is_whole(head: &[u8]) -> Result<bool, UnpackError> {
    const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
    let begin = head.get(..MAGIC.len().min(head.len())).unwrap_or_default();
    if !MAGIC.starts_with(begin) || head.len() > HEAD_LENGTH_MAX {
        return Err(UnpackError::Damaged);
    }
    let Some((fixed, mut rest)) = head.split_at_checked(HEAD_LENGTH_MIN) else { return Ok(false) };
    let flags = fixed.get(3).copied().unwrap_or_default();
    if flags & 0b1110_0000 != 0 {
        return Err(UnpackError::Damaged);
    }
    if flags & 4 != 0 {
        let [low, high, more @ ..] = rest else { return Ok(false) };
        let Some((_, more)) = more.split_at_checked(usize::from(u16::from_le_bytes([*low, *high]))) else {
            return Ok(false);
        };
        rest = more;
    }
    // A file's name, then a comment.
    for flag in [8, 16] {
        if flags & flag != 0 {
            let Some(end) = rest.iter().position(|byte| *byte == 0) else { return Ok(false) };
            rest = rest.get(end + 1..).unwrap_or_default();
        }
    }
    Ok(flags & 2 == 0 || rest.len() >= 2)
}
