//! Bodies that come in blocks (RFC 7959 section 2.5). Nothing is allocated ahead of what has come.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::time::Duration;

use super::block::Block;
use super::code::Code;
use super::option::number;
use super::request::Request;

/// Bounds on what is being put together.
#[derive(Clone, Copy, Debug)]
pub struct AssemblerOptions {
    /// The most bodies at once.
    pub bodies_max: usize,
    /// The most bodies of one peer; one more makes the oldest go.
    pub bodies_per_peer_max: usize,
    /// The most bytes of all bodies.
    pub bytes_max: usize,
    /// How long a body may wait for its next block.
    pub expiry: Duration,
}

impl Default for AssemblerOptions {
    fn default() -> Self {
        Self {
            bodies_max: 4_096,
            bodies_per_peer_max: 4,
            bytes_max: 64 * 1024 * 1024,
            expiry: Duration::from_secs(60),
        }
    }
}

/// Puts bodies together, those of all peers.
#[derive(Debug, Default)]
pub struct Assembler {
    options: AssemblerOptions,
    bodies: HashMap<Key, Body>,
    bytes: usize,
    started: u64,
}

/// Whose body, and of which request: method, path, query, format and Request-Tag (RFC 9175 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    peer: SocketAddr,
    request: u64,
}

#[derive(Debug)]
struct Body {
    bytes: Vec<u8>,
    touched_at: Duration,
    /// Older ones have smaller numbers.
    number: u64,
}

/// What a request's body is so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Assembled<'a> {
    /// Answer 2.31 with this block.
    Continue(Block),
    /// All of it, and the block that the answer repeats.
    Whole(Cow<'a, [u8]>, Option<Block>),
}

/// Why a block was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssembleError {
    /// 4.00: it cannot be a block of anything.
    Malformed,
    /// 4.08: the ones before it are not here.
    Incomplete,
    /// 4.13: so many bytes may be sent.
    TooLarge(usize),
}

impl AssembleError {
    /// The response code.
    #[must_use]
    pub fn code(self) -> Code {
        match self {
            Self::Malformed => Code::BAD_REQUEST,
            Self::Incomplete => Code::INCOMPLETE,
            Self::TooLarge(_) => Code::TOO_LARGE,
        }
    }
}

fn key(peer: SocketAddr, request: &Request<'_>) -> Key {
    let mut hasher = DefaultHasher::new();
    request.message.code.hash(&mut hasher);
    for (number, value) in request.message.options() {
        let counts = matches!(
            number,
            number::URI_PATH | number::URI_QUERY | number::CONTENT_FORMAT | number::REQUEST_TAG
        );
        if counts {
            (number, value).hash(&mut hasher);
        }
    }
    Key { peer, request: hasher.finish() }
}

impl Assembler {
    /// An assembler within these bounds.
    #[must_use]
    pub fn new(options: AssemblerOptions) -> Self {
        Self { options, ..Self::default() }
    }

    /// Takes the payload of a request whose body may have `length_max` bytes. Ask only for those
    /// who may send: a stranger's first block would take room.
    ///
    /// # Errors
    /// [`AssembleError`]; what was gathered of the body is gone.
    pub fn take<'a>(
        &mut self,
        now: Duration,
        peer: SocketAddr,
        request: &Request<'a>,
        length_max: usize,
    ) -> Result<Assembled<'a>, AssembleError> {
        let payload = request.message.payload;
        let too_large = AssembleError::TooLarge(length_max);
        let announced = request.size1.map_or(0, |size| usize::try_from(size).unwrap_or(usize::MAX));
        let Some(block) = request.block1 else {
            let fits = payload.len() <= length_max;
            return if fits { Ok(Assembled::Whole(Cow::Borrowed(payload), None)) } else { Err(too_large) };
        };
        let key = key(peer, request);
        let is_full = if block.more { payload.len() == block.size() } else { payload.len() <= block.size() };
        if !is_full {
            self.remove(key);
            return Err(AssembleError::Malformed);
        }
        if announced > length_max || block.offset().saturating_add(payload.len()) > length_max {
            self.remove(key);
            return Err(too_large);
        }
        if block.number == 0 {
            self.remove(key);
            if !block.more {
                return Ok(Assembled::Whole(Cow::Borrowed(payload), Some(block)));
            }
            self.begin(key, now, block)?;
        }
        self.append(key, now, block, payload)?;
        if block.more {
            return Ok(Assembled::Continue(block));
        }
        let body = self.remove(key).unwrap_or_default();
        Ok(Assembled::Whole(Cow::Owned(body), Some(block)))
    }

    fn begin(&mut self, key: Key, now: Duration, block: Block) -> Result<(), AssembleError> {
        let own = || self.bodies.iter().filter(|(found, _)| found.peer == key.peer);
        if own().count() >= self.options.bodies_per_peer_max {
            let oldest = own().min_by_key(|(_, body)| body.number).map(|(key, _)| *key);
            oldest.map(|oldest| self.remove(oldest));
        }
        if self.bodies.len() >= self.options.bodies_max {
            self.expire(now);
        }
        if self.bodies.len() >= self.options.bodies_max {
            return Err(AssembleError::TooLarge(block.size()));
        }
        self.started += 1;
        let body = Body { bytes: Vec::new(), touched_at: now, number: self.started };
        self.bodies.insert(key, body);
        Ok(())
    }

    fn append(&mut self, key: Key, now: Duration, block: Block, payload: &[u8]) -> Result<(), AssembleError> {
        let has_room = self.bytes + payload.len() <= self.options.bytes_max;
        let Some(body) = self.bodies.get_mut(&key) else { return Err(AssembleError::Incomplete) };
        if body.bytes.len() != block.offset() {
            self.remove(key);
            return Err(AssembleError::Incomplete);
        }
        if !has_room {
            self.remove(key);
            return Err(AssembleError::TooLarge(block.size()));
        }
        body.bytes.extend_from_slice(payload);
        body.touched_at = now;
        self.bytes += payload.len();
        Ok(())
    }

    fn remove(&mut self, key: Key) -> Option<Vec<u8>> {
        let body = self.bodies.remove(&key)?;
        self.bytes -= body.bytes.len();
        Some(body.bytes)
    }

    /// Forgets bodies that have waited too long.
    pub fn expire(&mut self, now: Duration) {
        let expiry = self.options.expiry;
        self.bodies.retain(|_, body| now.saturating_sub(body.touched_at) < expiry);
        self.bytes = self.bodies.values().map(|body| body.bytes.len()).sum();
    }

    /// How many bodies are being put together.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bodies.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bodies.is_empty()
    }
}
