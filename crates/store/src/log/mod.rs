//! The log on disk. [`EmbeddedLog`] is what appenders and readers share with the two threads that
//! work for them: the writer, which makes records durable, and the room keeper, which has the next
//! segments ready before they are needed and removes what was trimmed.

mod append;
mod ballast;
mod read;
mod recover;
mod room;
mod writer;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use roost_hub::storage::disk::{Disk, DiskFile};
use roost_hub::storage::{Batch, Durability, Log, Position, Progress, StorageError};
use tokio::sync::watch;

pub(crate) use self::append::Claim;
use self::append::Queue;
pub(crate) use self::ballast::Ballast;
use self::read::Loaded;
pub(crate) use self::recover::{Recovered, recover, salt_of_segments};
use self::room::Room;
use crate::record::Kind;
use crate::segment::{Mark, SEGMENT_HEADER, Span};
use crate::{Damage, Options};

/// What does not change while the log is open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) segment_bytes: usize,
    pub(crate) ballast_bytes: usize,
    pub(crate) salt: u32,
}

impl Shape {
    pub(crate) fn new(options: Options, salt: u32) -> Self {
        let Options { segment_bytes, ballast_bytes } = options;
        Self { segment_bytes: segment_bytes.max(SEGMENT_HEADER * 16), ballast_bytes, salt }
    }

    /// The longest payload: what fits a segment of its own.
    pub(crate) fn payload_max(self) -> usize {
        self.segment_bytes - SEGMENT_HEADER - crate::record::RECORD_HEADER
    }
}

/// The segment that is written to.
#[derive(Clone, Debug)]
pub(crate) struct Active {
    pub(crate) first: u64,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) marks: Vec<Mark>,
    /// The last position that is durable in it.
    pub(crate) last: u64,
}

/// Where the durable records are.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    /// First and last position of every segment that is not written to any more.
    pub(crate) sealed: BTreeMap<u64, u64>,
    pub(crate) active: Option<Active>,
    /// What was lost, in order.
    pub(crate) damaged: Vec<Damage>,
}

impl Segments {
    /// Notes that positions are lost, once.
    pub(crate) fn add_damage(&mut self, span: Span, file: &str) {
        let damage = Damage { first: Position(span.first), last: Position(span.last), file: file.to_owned() };
        if !self.damaged.contains(&damage) {
            self.damaged.push(damage);
            self.damaged.sort_by_key(|damage| damage.first);
        }
    }
}

/// The log. Shared by everybody who appends and reads.
pub(crate) struct EmbeddedLog {
    disk: Arc<dyn Disk>,
    shape: Shape,
    queue: Mutex<Queue>,
    /// The writer waits here for records.
    queued: Condvar,
    segments: Mutex<Segments>,
    /// The sealed segments read last, with their indexes.
    loaded: Mutex<VecDeque<Arc<Loaded>>>,
    room: Mutex<Room>,
    /// The room keeper waits here for work, the writer for a segment.
    room_changed: Condvar,
    progress: watch::Sender<Progress>,
}

impl fmt::Debug for EmbeddedLog {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("EmbeddedLog").field("progress", &self.progress).finish_non_exhaustive()
    }
}

/// Locks; what another thread left behind when it panicked is used as it is.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EmbeddedLog {
    /// A log that goes on where the recovered one ended; its two threads are not running yet.
    pub(crate) fn new(disk: Arc<dyn Disk>, shape: Shape, recovered: Recovered) -> Self {
        let Recovered { segments, next, end, ballast } = recovered;
        let durable = Position(next - 1);
        let active = segments.active.as_ref().map(|active| active.first);
        Self {
            queue: Mutex::new(Queue::new(next, active.map(|first| (first, end)), shape)),
            queued: Condvar::new(),
            segments: Mutex::new(segments),
            loaded: Mutex::default(),
            room: Mutex::new(Room::new(ballast)),
            room_changed: Condvar::new(),
            progress: watch::Sender::new(Progress { durable, broken: None }),
            disk,
            shape,
        }
    }

    /// Everything up to here is durable.
    pub(crate) fn durable(&self) -> u64 {
        self.progress.borrow().durable.0
    }

    /// What was lost.
    pub(crate) fn damage(&self) -> Vec<Damage> {
        lock(&self.segments).damaged.clone()
    }

    /// What was lost around a position.
    pub(crate) fn damage_at(&self, position: u64) -> Option<Damage> {
        let segments = lock(&self.segments);
        segments.damaged.iter().find(|damage| (damage.first.0..=damage.last.0).contains(&position)).cloned()
    }

    /// The error that ended all writing, if one did.
    pub(crate) fn broken(&self) -> Option<StorageError> {
        self.progress.borrow().broken.clone()
    }

    /// The disk that the log is on.
    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// The room that is kept back.
    pub(crate) fn ballast(&self) -> Arc<Ballast> {
        Arc::clone(&lock(&self.room).ballast)
    }

    /// Ends all writing: whatever failed is not tried again.
    pub(crate) fn fail(&self, error: StorageError) {
        tracing::error!(%error, "the log cannot be written any more");
        lock(&self.queue).broken.get_or_insert_with(|| error.clone());
        self.progress.send_modify(|progress| progress.broken = progress.broken.take().or(Some(error)));
        self.queued.notify_all();
        // Whoever looked at the queue just before is waiting once this lock can be had.
        drop(lock(&self.room));
        self.room_changed.notify_all();
    }
}

impl Log for EmbeddedLog {
    fn append(&self, records: &[&[u8]]) -> Result<Position, StorageError> {
        self.append_records(Claim::Message, records)
    }

    fn append_outcome(&self, record: &[u8]) -> Result<Position, StorageError> {
        self.append_records(Claim::Outcome, &[record])
    }

    fn durability(&self) -> Durability {
        Durability::new(self.progress.subscribe())
    }

    fn end(&self) -> Position {
        Position(lock(&self.queue).next - 1)
    }

    fn read_after(&self, after: Position, bytes_max: usize) -> Result<Batch, StorageError> {
        self.read_kind_after(Kind::Message, after, bytes_max)
    }

    fn read(&self, position: Position) -> Result<Option<Bytes>, StorageError> {
        self.read_one(position.0)
    }

    fn is_full(&self) -> bool {
        self.is_out_of_room()
    }

    fn trim(&self, position: Position) {
        self.trim_before(position.0);
    }

    fn keep(&self, position: Position) {
        self.keep_from(position.0);
    }

    fn first(&self) -> Position {
        let segments = lock(&self.segments);
        let active = segments.active.as_ref().map(|active| active.first);
        let first = segments.sealed.keys().next().copied().or(active);
        drop(segments);
        Position(first.unwrap_or_else(|| lock(&self.queue).next))
    }

    fn last_bytes(&self, bytes: u64) -> Position {
        // Every segment is as long as the others, and the last is counted as full.
        let count = crate::segment::size(bytes) / self.shape.segment_bytes;
        let segments = lock(&self.segments);
        let kept = segments.sealed.keys().rev().nth(count.saturating_sub(2)).copied();
        let active = segments.active.as_ref().map(|active| active.first);
        match count {
            // Nothing but the segment that is written to.
            ..2 => Position(active.unwrap_or_default()),
            _ => Position(kept.unwrap_or_default()),
        }
    }
}
