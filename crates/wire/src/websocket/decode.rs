use super::header::{self, Header, Opcode};
use super::utf8::Utf8;
use super::{CloseError, Kind};

/// A message with more small fragments than this is refused (W-11). Of larger ones there can be no more
/// than its length has room for.
const SMALL_FRAGMENTS_MAX: u16 = 1_024;
/// A fragment with fewer payload bytes is small.
const FRAGMENT_LENGTH_MIN: u64 = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Payload bytes of one message, all its fragments together.
    pub message_max: u32,
}

/// Follows one direction of a connection. Holds no bytes of it.
#[derive(Debug, Clone)]
pub struct Decoder {
    limits: Limits,
    peer: Peer,
    /// The frame whose payload is being passed on.
    frame: Option<Frame>,
    message: Option<Open>,
    is_closed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    Client,
    Server,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    remaining: u32,
    /// Turned so that its first byte belongs to the next payload byte.
    mask: [u8; 4],
    is_last: bool,
}

/// A message whose last byte has not been given yet.
#[derive(Debug, Clone, Copy)]
struct Open {
    kind: Kind,
    /// Payload bytes that its frames have announced.
    announced: u32,
    small_fragments: u16,
    utf8: Utf8,
    is_begun: bool,
}

/// What the buffer's first bytes meant.
#[derive(Debug, PartialEq, Eq)]
pub struct Step<'b> {
    /// The caller drops this many bytes from the front of its buffer.
    pub consumed: usize,
    pub event: Event<'b>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Event<'b> {
    /// Nothing to be had from the buffer: read more into it.
    NeedMore,
    Data(Data<'b>),
    /// To be answered by a pong with the same payload.
    Ping(&'b [u8]),
    Pong(&'b [u8]),
    /// To be answered by a close frame with the same code. What follows is dropped.
    Close {
        /// `None` where the frame was empty.
        code: Option<u16>,
        reason: &'b str,
    },
}

/// A part of a message: not necessarily a frame, as frames are passed on while they arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data<'b> {
    pub kind: Kind,
    /// Unmasked. Text is valid UTF-8 up to here, a character at its end may be cut.
    pub payload: &'b [u8],
    pub part: Part,
}

/// Where in its message a part stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Whole,
    First,
    Middle,
    Last,
}

impl Decoder {
    /// For a server: frames must be masked (RFC 6455 section 5.1).
    pub fn new(limits: Limits) -> Self {
        Self::of(Peer::Client, limits)
    }

    /// For a client: frames must not be masked.
    pub fn for_client(limits: Limits) -> Self {
        Self::of(Peer::Server, limits)
    }

    fn of(peer: Peer, limits: Limits) -> Self {
        Self { limits, peer, frame: None, message: None, is_closed: false }
    }

    /// Reads the next thing from the front of `buffer`, unmasking it in place.
    /// To be called again, with what is left, until it says [`Event::NeedMore`],
    /// which consumes nothing except after a close frame, where it drops all.
    ///
    /// # Errors
    /// The peer broke the protocol; nothing after that makes sense.
    pub fn decode<'b>(&mut self, buffer: &'b mut [u8]) -> Result<Step<'b>, CloseError> {
        if self.is_closed {
            return Ok(Step { consumed: buffer.len(), event: Event::NeedMore });
        }
        if let Some(frame) = self.frame {
            return self.pass_on(frame, buffer, 0);
        }
        let Some(header) = header::read(buffer)? else {
            return Ok(need_more());
        };
        let mask = self.mask(&header)?;
        if header.opcode.is_control() {
            return self.control(&header, mask, buffer);
        }
        let message = self.message_with(&header)?;
        let remaining = u32::try_from(header.payload_length).unwrap_or(u32::MAX);
        if remaining > 0 && buffer.len() <= header.length {
            return Ok(need_more());
        }
        self.message = Some(message);
        let frame = Frame { remaining, mask, is_last: header.is_last };
        self.pass_on(frame, buffer, header.length)
    }

    /// Whether a message has begun and not ended.
    pub fn is_inside_message(&self) -> bool {
        self.message.is_some()
    }

    fn mask(&self, header: &Header) -> Result<[u8; 4], CloseError> {
        match (self.peer, header.mask) {
            (Peer::Client, Some(mask)) => Ok(mask),
            (Peer::Client, None) => Err(CloseError::protocol("a client's frame is not masked")),
            (Peer::Server, None) => Ok([0; 4]),
            (Peer::Server, Some(_)) => Err(CloseError::protocol("a server's frame is masked")),
        }
    }

    /// The message as it stands with the frame of this header.
    fn message_with(&self, header: &Header) -> Result<Open, CloseError> {
        let begin =
            |kind| Open { kind, announced: 0, small_fragments: 0, utf8: Utf8::default(), is_begun: false };
        let mut message = match (header.opcode, self.message) {
            (Opcode::Continuation, Some(message)) => message,
            (Opcode::Continuation, None) => {
                return Err(CloseError::protocol("a continuation without a message"));
            }
            (_, Some(_)) => {
                return Err(CloseError::protocol("a new message inside another one"));
            }
            (Opcode::Text, None) => begin(Kind::Text),
            (_, None) => begin(Kind::Binary),
        };
        message.announced = u32::try_from(header.payload_length)
            .ok()
            .and_then(|length| message.announced.checked_add(length))
            .filter(|announced| *announced <= self.limits.message_max)
            .ok_or(CloseError::too_big("a message is too long"))?;
        if header.payload_length < FRAGMENT_LENGTH_MIN {
            message.small_fragments = message.small_fragments.saturating_add(1);
        }
        if message.small_fragments > SMALL_FRAGMENTS_MAX {
            return Err(CloseError::too_big("a message has too many small fragments"));
        }
        Ok(message)
    }

    /// Gives as much of a data frame as is there. Its payload begins at `start`.
    fn pass_on<'b>(
        &mut self,
        mut frame: Frame,
        buffer: &'b mut [u8],
        start: usize,
    ) -> Result<Step<'b>, CloseError> {
        let (Some((_, arrived)), Some(mut message)) = (buffer.split_at_mut_checked(start), self.message)
        else {
            return Ok(need_more());
        };
        if arrived.is_empty() && frame.remaining > 0 {
            return Ok(need_more());
        }
        let wanted = usize::try_from(frame.remaining).unwrap_or(usize::MAX);
        let length = arrived.len().min(wanted);
        let (payload, _) = arrived.split_at_mut_checked(length).unwrap_or_default();
        frame.mask = unmask(payload, frame.mask);
        let taken = u32::try_from(length).unwrap_or(frame.remaining);
        frame.remaining = frame.remaining.saturating_sub(taken);
        let is_end = frame.is_last && frame.remaining == 0;
        if message.kind == Kind::Text {
            message.utf8.push(payload).or(Err(CloseError::not_utf8()))?;
            if is_end {
                message.utf8.finish().or(Err(CloseError::not_utf8()))?;
            }
        }
        let part = match (message.is_begun, is_end) {
            (false, true) => Part::Whole,
            (false, false) => Part::First,
            (true, false) => Part::Middle,
            (true, true) => Part::Last,
        };
        message.is_begun = true;
        self.frame = (frame.remaining > 0).then_some(frame);
        self.message = (!is_end).then_some(message);
        Ok(Step {
            consumed: start.saturating_add(length),
            event: Event::Data(Data { kind: message.kind, payload, part }),
        })
    }

    /// A control frame is given once it is there whole.
    fn control<'b>(
        &mut self,
        header: &Header,
        mask: [u8; 4],
        buffer: &'b mut [u8],
    ) -> Result<Step<'b>, CloseError> {
        let length = usize::try_from(header.payload_length).unwrap_or(usize::MAX);
        let Some(payload) = buffer.get_mut(header.length..).and_then(|rest| rest.get_mut(..length)) else {
            return Ok(need_more());
        };
        unmask(payload, mask);
        let event = match header.opcode {
            Opcode::Ping => Event::Ping(payload),
            Opcode::Pong => Event::Pong(payload),
            _ => {
                let event = close(payload)?;
                self.is_closed = true;
                event
            }
        };
        Ok(Step { consumed: header.length.saturating_add(length), event })
    }
}

fn need_more<'b>() -> Step<'b> {
    Step { consumed: 0, event: Event::NeedMore }
}

/// Section 7.4: which codes may be sent.
fn close(payload: &[u8]) -> Result<Event<'_>, CloseError> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        if payload.is_empty() {
            return Ok(Event::Close { code: None, reason: "" });
        }
        return Err(CloseError::protocol("a close frame of one byte"));
    };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(CloseError::protocol("a close code that may not be sent"));
    }
    let reason = std::str::from_utf8(reason).or(Err(CloseError::not_utf8()))?;
    Ok(Event::Close { code: Some(code), reason })
}

/// Section 5.3, eight bytes at a time. Gives the mask for the byte after `bytes`.
pub(super) fn unmask(bytes: &mut [u8], mask: [u8; 4]) -> [u8; 4] {
    let mut after = mask;
    after.rotate_left(bytes.len() % 4);
    if mask == [0; 4] {
        return after;
    }
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = bytes.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    after
}
