//! What a request is answered with.

use bytes::Bytes;

use super::block::{Block, SZX_MAX};
use super::code::Code;
use super::echo::ECHO_LENGTH;
use super::format::ContentFormat;
use super::message::{Head, encode_payload};
use super::option::{OptionWriter, number};

/// A response, or a notification, with its whole body: the endpoint sends the block that was asked
/// for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The response code.
    pub code: Code,
    /// By which the body is known again.
    pub etag: Option<[u8; 8]>,
    /// What the payload is.
    pub content_format: Option<ContentFormat>,
    /// For how many seconds it holds; 60 when nothing is said.
    pub max_age: Option<u32>,
    /// The block of the request that this answers.
    pub block1: Option<Block>,
    /// How large the request's body may be.
    pub size1: Option<u32>,
    /// The whole body; of errors, a text for the device's maker.
    pub body: Bytes,
    /// When set, the last of it is sent as a confirmable message, and its end is told as an event.
    pub receipt: Option<u64>,
    /// The endpoint's own, as the two below: what proves the address.
    pub echo: Option<[u8; ECHO_LENGTH]>,
    /// The number among the notifications.
    pub observe: Option<u32>,
    /// Which block of the body it is.
    pub block2: Option<Block>,
}

impl Answer {
    /// An answer without a body.
    #[must_use]
    pub fn new(code: Code) -> Self {
        Self {
            code,
            etag: None,
            content_format: None,
            max_age: None,
            block1: None,
            size1: None,
            body: Bytes::new(),
            receipt: None,
            echo: None,
            observe: None,
            block2: None,
        }
    }

    /// A 2.05 with a body.
    #[must_use]
    pub fn content(format: ContentFormat, body: impl Into<Bytes>) -> Self {
        Self { content_format: Some(format), body: body.into(), ..Self::new(Code::CONTENT) }
    }

    /// An error with a text for the device's maker (RFC 7252 section 5.5.2).
    #[must_use]
    pub fn error(code: Code, text: impl Into<Bytes>) -> Self {
        Self { body: text.into(), ..Self::new(code) }
    }

    /// Whether there is nothing but the code.
    pub(super) fn is_plain(&self) -> bool {
        let Self {
            code: _,
            etag,
            content_format,
            max_age,
            block1,
            size1,
            body,
            receipt,
            echo,
            observe,
            block2,
        } = self;
        let has_option = etag.is_some()
            || content_format.is_some()
            || max_age.is_some()
            || block1.is_some()
            || block2.is_some()
            || size1.is_some()
            || echo.is_some()
            || observe.is_some();
        !has_option && body.is_empty() && receipt.is_none()
    }

    /// Appends the message, with so much of the body.
    fn encode(&self, head: Head, payload: &[u8], out: &mut Vec<u8>) {
        head.encode(out);
        let mut options = OptionWriter::new(out);
        if let Some(etag) = &self.etag {
            options.push(number::ETAG, etag);
        }
        let mut push = |number, value: Option<u32>| {
            if let Some(value) = value {
                options.push_uint(number, value);
            }
        };
        push(number::OBSERVE, self.observe);
        push(number::CONTENT_FORMAT, self.content_format.map(|format| format.0.into()));
        push(number::MAX_AGE, self.max_age);
        push(number::BLOCK2, self.block2.map(Block::to_uint));
        push(number::BLOCK1, self.block1.map(Block::to_uint));
        let whole = self.block2.filter(|block| block.number == 0).map(|_first| self.body.len());
        push(number::SIZE2, whole.and_then(|length| u32::try_from(length).ok()));
        push(number::SIZE1, self.size1);
        if let Some(echo) = &self.echo {
            options.push(number::ECHO, echo);
        }
        encode_payload(out, payload);
    }

    /// The message in at most `room` bytes: with all of the body or one block of it, of an error as
    /// much of the text as fits. Tells whether the end of the body is in it. `None` when there is no
    /// room.
    pub(super) fn message(
        &mut self,
        head: Head,
        wanted: Option<Block>,
        room: usize,
    ) -> Option<(Vec<u8>, bool)> {
        let token = head.token.as_bytes().len();
        let mut bytes = Vec::new();
        if !self.code.is_success() {
            let echo = self.echo.map_or(0, |echo| echo.len() + 3);
            let left = room.checked_sub(ERROR_OVERHEAD + token + echo)?.min(TEXT_LENGTH_MAX);
            // One byte goes to the marker.
            let end = self.body.len().min(left.saturating_sub(1));
            let text = self.body.get(..end).unwrap_or_default();
            // Section 5.5.2 of RFC 7252: the text is UTF-8, also where it is cut.
            let text = std::str::from_utf8(text)
                .map_or_else(|error| text.get(..error.valid_up_to()).unwrap_or_default(), str::as_bytes);
            self.encode(head, text, &mut bytes);
            return Some((bytes, true));
        }
        match self.choose_block(wanted, token, room) {
            Ok(Some(range)) => {
                let is_whole = range.end == self.body.len();
                let body = self.body.clone();
                self.encode(head, body.get(range).unwrap_or_default(), &mut bytes);
                Some((bytes, is_whole))
            }
            Ok(None) => None,
            Err(code) => {
                let error = Self::error(code, "there is no such block");
                error.encode(Head { code, ..head }, &error.body, &mut bytes);
                Some((bytes, false))
            }
        }
    }

    /// Chooses the block to be sent in a message of at most `room` bytes, of which the token takes
    /// `token`; gives where it lies in the body. `None` when not even the smallest one fits.
    ///
    /// # Errors
    /// 4.00 when the block that is asked for lies beyond the end of the body.
    fn choose_block(
        &mut self,
        wanted: Option<Block>,
        token: usize,
        room: usize,
    ) -> Result<Option<std::ops::Range<usize>>, Code> {
        let overhead = OVERHEAD + token;
        let szx_wanted = wanted.map_or(SZX_MAX, |block| block.szx);
        let fits = |szx: &u8| (16_usize << szx) + overhead <= room;
        let first = wanted.is_none_or(|block| block.number == 0);
        if first && self.body.len() <= 16 << szx_wanted && self.body.len() + overhead <= room {
            // RFC 7959 section 2.3: who asks for a block is told which one it got.
            self.block2 = wanted.map(|block| Block { more: false, ..block });
            return Ok(Some(0..self.body.len()));
        }
        let Some(szx) = (0..=szx_wanted).rev().find(fits) else { return Ok(None) };
        let offset = wanted.map_or(0, Block::offset);
        let number = u32::try_from(offset / (16 << szx)).map_err(|_too_far| Code::BAD_REQUEST)?;
        let (block, piece) = Block { number, more: false, szx }.of(&self.body).ok_or(Code::BAD_REQUEST)?;
        self.block2 = Some(block);
        Ok(Some(block.offset()..block.offset() + piece.len()))
    }
}

/// What a message of ours has beside token and body, at most: head, etag, Observe, Content-Format,
/// Max-Age, Block1, Block2, Size2, marker.
const OVERHEAD: usize = 4 + 9 + 4 + 3 + 5 + 4 + 4 + 5 + 1;
/// The same of an error: head, Content-Format, Max-Age, Block1, Size1.
const ERROR_OVERHEAD: usize = 4 + 3 + 5 + 4 + 6;
/// The longest text of an error, in bytes.
const TEXT_LENGTH_MAX: usize = 256;
