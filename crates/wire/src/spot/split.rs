//! Messages out of a stream of chunks.

use std::borrow::Cow;

/// The longest message, in bytes.
pub const MESSAGE_LENGTH_MAX: usize = 64 * 1024;

/// Keeps the beginning of a message until its end comes; nothing between messages.
#[derive(Debug, Default)]
pub struct Splitter {
    begun: Vec<u8>,
    state: State,
}

/// Something that is no message, and was skipped up to the next two line feeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("a message begins with a bracket")]
    NoArray,
    #[error("a message ended before its last bracket")]
    Unended,
    #[error("a message has at most 65,536 bytes")]
    TooLong,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Brackets and braces that are open; 0 between messages.
    depth: u32,
    inside: Inside,
    is_after_line_feed: bool,
    is_skipping: bool,
}

/// What the next byte is part of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Inside {
    #[default]
    Structure,
    Text,
    /// Behind a backslash in a text.
    Escape,
}

/// What a byte led to.
enum Step {
    More,
    Complete,
    Broken(Broken),
}

impl Splitter {
    /// The next message that ends in `chunk`; `chunk` becomes what follows it.
    /// `None` once the chunk is used up. A message ends with its last bracket,
    /// so that a unit that forgets a line feed is understood too.
    ///
    /// # Errors
    /// [`Broken`] for what is skipped; call again.
    pub fn next<'c>(&mut self, chunk: &mut &'c [u8]) -> Option<Result<Cow<'c, [u8]>, Broken>> {
        let mut start = if self.begun.is_empty() { None } else { Some(0) };
        let mut index = 0;
        while let Some(rest) = chunk.get(index..) {
            let so_far = index.saturating_sub(start.unwrap_or(index)).saturating_add(self.begun.len());
            let dull = self.state.dull(rest).min(MESSAGE_LENGTH_MAX.saturating_sub(so_far));
            index = index.saturating_add(dull);
            let Some(byte) = rest.get(dull) else { break };
            let was_between = self.state.depth == 0;
            let step = self.state.take(*byte);
            if was_between && self.state.depth > 0 {
                start = Some(index);
            }
            let so_far = index.saturating_sub(start.unwrap_or(index)).saturating_add(self.begun.len());
            let step = if self.state.depth > 0 && so_far >= MESSAGE_LENGTH_MAX {
                self.state = State { is_skipping: true, ..State::default() };
                Step::Broken(Broken::TooLong)
            } else {
                step
            };
            match step {
                Step::More => index = index.saturating_add(1),
                Step::Complete => return Some(Ok(self.cut(chunk, start.unwrap_or(0), index))),
                Step::Broken(broken) => {
                    self.begun = Vec::new();
                    *chunk = chunk.get(index.saturating_add(1)..).unwrap_or_default();
                    return Some(Err(broken));
                }
            }
        }
        if self.state.depth > 0 {
            self.begun.extend_from_slice(chunk.get(start.unwrap_or(0)..).unwrap_or_default());
        }
        *chunk = &[];
        None
    }

    /// The message that ends at `end`.
    fn cut<'c>(&mut self, chunk: &mut &'c [u8], start: usize, end: usize) -> Cow<'c, [u8]> {
        let after = end.saturating_add(1);
        let part = chunk.get(start..after).unwrap_or_default();
        *chunk = chunk.get(after..).unwrap_or_default();
        if self.begun.is_empty() {
            return Cow::Borrowed(part);
        }
        let mut whole = std::mem::take(&mut self.begun);
        whole.extend_from_slice(part);
        Cow::Owned(whole)
    }

    /// Whether a message has begun and not ended.
    pub fn is_within(&self) -> bool {
        self.state.depth > 0
    }
}

impl State {
    /// How many of the next bytes change nothing: most of a message.
    fn dull(&self, bytes: &[u8]) -> usize {
        if self.depth == 0 || self.is_after_line_feed {
            return 0;
        }
        let end = match self.inside {
            Inside::Escape => Some(0),
            Inside::Text => bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | b'\n')),
            Inside::Structure => {
                bytes.iter().position(|byte| matches!(byte, b'"' | b'[' | b']' | b'{' | b'}' | b'\n'))
            }
        };
        end.unwrap_or(bytes.len())
    }

    fn take(&mut self, byte: u8) -> Step {
        let is_separator = byte == b'\n' && self.is_after_line_feed;
        match byte {
            b'\n' => self.is_after_line_feed = true,
            b' ' | b'\t' | b'\r' => {}
            _ => self.is_after_line_feed = false,
        }
        if is_separator {
            // Two line feeds stand between messages only, so what is open now never ends.
            let is_broken = self.depth > 0;
            *self = Self { is_after_line_feed: true, ..Self::default() };
            return if is_broken { Step::Broken(Broken::Unended) } else { Step::More };
        }
        if self.is_skipping {
            return Step::More;
        }
        if self.depth == 0 {
            return self.begin(byte);
        }
        match (self.inside, byte) {
            (Inside::Escape, _) | (Inside::Structure, b'"') => self.inside = Inside::Text,
            (Inside::Text, b'\\') => self.inside = Inside::Escape,
            (Inside::Text, b'"') => self.inside = Inside::Structure,
            (Inside::Structure, b'[' | b'{') => self.depth = self.depth.saturating_add(1),
            (Inside::Structure, b']' | b'}') => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        if self.depth == 0 { Step::Complete } else { Step::More }
    }

    fn begin(&mut self, byte: u8) -> Step {
        match byte {
            b'\n' | b' ' | b'\t' | b'\r' => Step::More,
            b'[' => {
                self.depth = 1;
                Step::More
            }
            _ => {
                self.is_skipping = true;
                Step::Broken(Broken::NoArray)
            }
        }
    }
}
