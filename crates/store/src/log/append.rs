//! Appending: records are encoded into memory under a short lock and are given their positions.
//! Whether there is room is decided here, before there is a position.

use std::sync::Arc;

use bytes::Bytes;
use roost_hub::storage::{Position, StorageError};

use super::{EmbeddedLog, Shape, lock};
use crate::record::{Found, Head, Kind, RECORD_HEADER, decode, encode};
use crate::segment::{Mark, SEGMENT_HEADER, mark, mark_before, segment_header, size};

/// Bytes that may wait for the disk; as many as fit the segments that are ready, if those are fewer.
const PENDING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// This part of the very last segment is kept from messages.
const MESSAGE_RESERVE_DIVISOR: usize = 8;
/// This part of it also from what became of messages: it is for changes of tables, deletes, log-ins.
const OUTCOME_RESERVE_DIVISOR: usize = 16;
/// A buffer larger than this is not kept for the next batch.
const KEPT_BUFFER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What is appended, and by that how far into the last room it may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    Message,
    /// What became of a message: readers go on when the disk is full.
    Outcome,
    /// A change of a table.
    Change,
}

impl Claim {
    fn kind(self) -> Kind {
        match self {
            Self::Message | Self::Outcome => Kind::Message,
            Self::Change => Kind::Change,
        }
    }

    /// The bytes of the last segment that are kept from it.
    fn reserve(self, capacity: usize) -> usize {
        match self {
            Self::Message => capacity / MESSAGE_RESERVE_DIVISOR,
            Self::Outcome => capacity / OUTCOME_RESERVE_DIVISOR,
            Self::Change => 0,
        }
    }
}

/// Records of one segment that are written and synced together.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    /// The first position of the segment.
    pub(crate) segment: u64,
    pub(crate) offset: usize,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) marks: Vec<Mark>,
}

impl Chunk {
    /// Begins a segment: its bytes include the segment's header.
    pub(crate) fn is_fresh(&self) -> bool {
        self.offset == 0
    }

    fn find(&self, position: u64, shape: Shape) -> Option<Bytes> {
        let start = mark_before(&self.marks, position)?.offset;
        let mut rest = self.bytes.get(size(start) - self.offset..)?;
        loop {
            let Found::Record(record) = decode(rest, shape.salt, rest.len()) else { return None };
            if record.head.position == position {
                let wanted = record.head.kind == Kind::Message;
                return wanted.then(|| Bytes::copy_from_slice(record.payload));
            }
            rest = rest.get(record.length()..)?;
        }
    }
}

/// What waits for the writer, and how much room is left.
#[derive(Debug)]
pub(crate) struct Queue {
    /// The position that the next record gets.
    pub(crate) next: u64,
    /// Bytes left in the segment that is appended to.
    left: usize,
    /// The first position and the end of that segment.
    segment: u64,
    end: usize,
    /// Segments that are ready or as good as ready.
    pub(crate) spares: usize,
    pub(crate) chunks: Vec<Chunk>,
    /// What the writer has in its hands.
    pub(crate) writing: Vec<Arc<Chunk>>,
    pending_bytes: usize,
    kept_buffer: Vec<u8>,
    pub(crate) is_writer_idle: bool,
    pub(crate) is_closing: bool,
    pub(crate) broken: Option<StorageError>,
}

impl Queue {
    /// `active` is the first position and the end of the segment to go on with.
    pub(crate) fn new(next: u64, active: Option<(u64, usize)>, shape: Shape) -> Self {
        let (segment, end) = active.unwrap_or((next, shape.segment_bytes));
        Self {
            next,
            left: shape.segment_bytes.saturating_sub(end),
            segment,
            end,
            spares: 0,
            chunks: Vec::new(),
            writing: Vec::new(),
            pending_bytes: 0,
            kept_buffer: Vec::new(),
            is_writer_idle: false,
            is_closing: false,
            broken: None,
        }
    }

    /// Whether the segment that is appended to will soon be full.
    pub(crate) fn needs_spare(&self, shape: Shape) -> bool {
        self.left < shape.segment_bytes / 4
    }

    fn has_room(&self, claim: Claim, lengths: impl Iterator<Item = usize>, shape: Shape) -> bool {
        let capacity = shape.segment_bytes - SEGMENT_HEADER;
        let (mut left, mut spares, mut total) = (self.left, self.spares, self.pending_bytes);
        for length in lengths {
            total += length;
            if length > left && spares > 0 {
                spares -= 1;
                left = capacity;
            }
            let reserve = if spares == 0 { claim.reserve(capacity) } else { 0 };
            if length + reserve > left {
                return false;
            }
            left -= length;
        }
        total <= PENDING_BYTES_MAX
    }

    fn push(&mut self, kind: Kind, payload: &[u8], shape: Shape) {
        let length = RECORD_HEADER + payload.len();
        let position = self.next;
        if length > self.left {
            self.spares -= 1;
            self.segment = position;
            self.end = SEGMENT_HEADER;
            self.left = shape.segment_bytes - SEGMENT_HEADER;
            self.begin_chunk(0);
            if let Some(chunk) = self.chunks.last_mut() {
                chunk.bytes.extend_from_slice(&segment_header(position, shape.salt));
            }
            self.pending_bytes += SEGMENT_HEADER;
        } else if self.chunks.is_empty() {
            self.begin_chunk(self.end);
        }
        let end = self.end as u64;
        if let Some(chunk) = self.chunks.last_mut() {
            mark(&mut chunk.marks, position, end);
            let head = Head { position, batch: chunk.first, kind };
            encode(&mut chunk.bytes, shape.salt, head, payload);
            chunk.last = position;
        }
        self.next += 1;
        self.end += length;
        self.left -= length;
        self.pending_bytes += length;
    }

    fn begin_chunk(&mut self, offset: usize) {
        let bytes = std::mem::take(&mut self.kept_buffer);
        let (segment, first) = (self.segment, self.next);
        self.chunks.push(Chunk { segment, offset, first, last: first, bytes, marks: Vec::new() });
    }

    /// What waits, for the writer, which has it in its hands from now on.
    pub(crate) fn take_chunks(&mut self) -> Vec<Arc<Chunk>> {
        let chunks: Vec<Arc<Chunk>> = self.chunks.drain(..).map(Arc::new).collect();
        self.writing.clone_from(&chunks);
        chunks
    }

    /// The writer is done with a chunk.
    pub(crate) fn finish(&mut self, chunk: Arc<Chunk>) {
        self.writing.retain(|writing| !Arc::ptr_eq(writing, &chunk));
        self.pending_bytes -= chunk.bytes.len();
        if let Ok(chunk) = Arc::try_unwrap(chunk)
            && chunk.bytes.capacity() <= KEPT_BUFFER_BYTES_MAX
        {
            self.kept_buffer = chunk.bytes;
            self.kept_buffer.clear();
        }
    }

    /// A record that is not on disk yet. The outer option tells whether it is here.
    pub(crate) fn find(&self, position: u64, shape: Shape) -> Option<Option<Bytes>> {
        let chunks = self.writing.iter().map(Arc::as_ref).chain(&self.chunks);
        let mut holding = chunks.filter(|chunk| (chunk.first..=chunk.last).contains(&position));
        holding.next().map(|chunk| chunk.find(position, shape))
    }
}

impl EmbeddedLog {
    /// Appends records of one kind, all or none, and gives the position of the last.
    pub(crate) fn append_records(&self, claim: Claim, payloads: &[&[u8]]) -> Result<Position, StorageError> {
        let payload_max = self.shape.payload_max();
        if payloads.iter().any(|payload| payload.len() > payload_max) {
            return Err(StorageError::TooLarge(payload_max));
        }
        let mut queue = lock(&self.queue);
        if let Some(error) = &queue.broken {
            return Err(error.clone());
        }
        if queue.is_closing {
            return Err(StorageError::Broken(Arc::from("the store was closed")));
        }
        let lengths = payloads.iter().map(|payload| RECORD_HEADER + payload.len());
        if !queue.has_room(claim, lengths, self.shape) {
            return Err(StorageError::Full);
        }
        for payload in payloads {
            queue.push(claim.kind(), payload, self.shape);
        }
        let position = Position(queue.next - 1);
        let wake = !payloads.is_empty() && std::mem::take(&mut queue.is_writer_idle);
        drop(queue);
        if wake {
            self.queued.notify_one();
        }
        Ok(position)
    }
}
