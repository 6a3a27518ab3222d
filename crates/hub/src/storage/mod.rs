//! What the hub needs from a store: a log, tables, and nothing else.
//!
//! The log is the truth. A table holds facts changed by compare-and-set, or a view that a reader
//! of the log derives; which of the two it is shows in the call that writes it.

pub mod disk;
mod key;
pub mod memory;
mod watched;

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

pub use key::{InvalidKey, Key, KeyBuilder};
pub(crate) use watched::{RegistryChanges, WatchedTable};

/// A future that a store hands out.
pub type StorageFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The place of a record in the log. The first record has position 1; 0 is "before everything".
/// Positions only rise; they need not be dense, since tables are kept in the same log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// The revision of a table entry; rises with every change of that entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// Why a store could not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// There is no room; nothing was written. Goes away when there is room again.
    #[error("no room left in the store")]
    Full,
    /// What is asked for is larger than a record may be (in bytes).
    #[error("a record may have {0} bytes at most")]
    TooLarge(usize),
    /// The disk refused a write or a sync. Nothing is acknowledged any more; the program ends.
    #[error("the store is broken: {0}")]
    Broken(Arc<str>),
    /// What was read is not what was written.
    #[error("damaged data: {0}")]
    Damaged(Arc<str>),
}

/// Why a table entry was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// Somebody else changed it first; what stands there now.
    #[error("the entry has changed")]
    Conflict(Option<Entry>),
    /// The store could not.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// How far the log is on disk. A broken log stays broken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Everything up to here survives a power cut.
    pub durable: Position,
    /// Set once, when a write or a sync failed: nothing after `durable` will ever be durable.
    pub broken: Option<StorageError>,
}

/// Watches a log become durable. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Durability {
    progress: watch::Receiver<Progress>,
}

impl Durability {
    /// Watches what the store's writer announces.
    #[must_use]
    pub fn new(progress: watch::Receiver<Progress>) -> Self {
        Self { progress }
    }

    /// Everything up to here survives a power cut.
    #[must_use]
    pub fn position(&self) -> Position {
        self.progress.borrow().durable
    }

    /// The error that ended all writing, if one did.
    #[must_use]
    pub fn broken(&self) -> Option<StorageError> {
        self.progress.borrow().broken.clone()
    }

    /// Resolves when everything up to `position` survives a power cut. Cancel safe.
    ///
    /// # Errors
    /// [`StorageError::Broken`] when that will never be so.
    pub async fn reached(&mut self, position: Position) -> Result<Position, StorageError> {
        let found = self
            .progress
            .wait_for(|progress| progress.durable >= position || progress.broken.is_some())
            .await;
        match found {
            Ok(progress) if progress.durable >= position => Ok(progress.durable),
            Ok(progress) => Err(progress.broken.clone().unwrap_or(StorageError::Full)),
            Err(_closed) => Err(StorageError::Broken(Arc::from("the store was closed"))),
        }
    }
}

/// The log: records in the order in which they were appended.
pub trait Log: Send + Sync + Debug {
    /// Appends the records together and in order, and gives the position of the last at once; each of
    /// them has the position behind the one before. [`Log::durability`] tells when they are durable.
    /// Never blocks on the disk.
    ///
    /// # Errors
    /// [`StorageError::Full`] or [`StorageError::TooLarge`]: none of them was appended.
    /// [`StorageError::Broken`]: nothing will ever be appended again.
    fn append(&self, records: &[&[u8]]) -> Result<Position, StorageError>;

    /// As [`Log::append`], and there may still be room for it when there is none for messages: for
    /// what became of messages, without which readers could not go on.
    ///
    /// # Errors
    /// Those of [`Log::append`].
    fn append_outcome(&self, record: &[u8]) -> Result<Position, StorageError> {
        self.append(&[record])
    }

    /// A watch on what is durable.
    fn durability(&self) -> Durability;

    /// The position of the last record appended, durable or not (of any kind).
    fn end(&self) -> Position;

    /// The durable records after `after` in order, at most about `bytes_max` bytes (at least one
    /// record when there is one), and the position up to which was looked, which is where to go on.
    /// What was trimmed away is passed over.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] names what cannot be read; reading on from a later position works.
    fn read_after(&self, after: Position, bytes_max: usize) -> Result<Batch, StorageError>;

    /// The one record at `position`; `None` when it was trimmed away or is of a table.
    ///
    /// # Errors
    /// As [`Log::read_after`]. Unlike there, a record need not be durable yet to be read.
    fn read(&self, position: Position) -> Result<Option<Bytes>, StorageError>;

    /// Whether the disk has no room for more; what is appended is refused until it has.
    fn is_full(&self) -> bool;

    /// Says that nobody needs what stands before `position` any more. The store may keep it longer.
    fn trim(&self, position: Position);

    /// Says that what stands from `position` on is to be kept while there is room for it, even where
    /// nobody needs it. Said again, it may be less or more; never said, nothing is kept so.
    fn keep(&self, _position: Position) {}

    /// The oldest position that may still be read. What stands before it was trimmed away.
    fn first(&self) -> Position {
        let oldest = self.read_after(Position(0), 1).ok().and_then(|batch| batch.records.first().cloned());
        oldest.map_or_else(|| Position(self.end().0 + 1), |(position, _)| position)
    }

    /// The position behind which about `bytes` bytes of the log stand; 0 when all of it is shorter,
    /// or where that is not known.
    fn last_bytes(&self, _bytes: u64) -> Position {
        Position(0)
    }
}

/// What [`Log::read_after`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The records with their positions.
    pub records: Vec<(Position, Bytes)>,
    /// Everything up to here was looked at.
    pub next: Position,
}

/// What an entry must be for a put or delete to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Whatever stands there.
    Any,
    /// Nothing stands there.
    Absent,
    /// This revision stands there.
    Revision(Revision),
}

/// A value in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Bytes,
    /// Its revision, to be named in a compare-and-set.
    pub revision: Revision,
}

/// What a successful change of a fact gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The entry's new revision.
    pub revision: Revision,
    /// The change is durable when the log is durable up to here.
    pub position: Position,
}

/// One page of a scan.
pub type Page = Vec<(Key, Entry)>;

/// One change of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewChange {
    /// Which entry.
    pub key: Key,
    /// Its new value; `None` deletes it.
    pub value: Option<Bytes>,
}

/// Ordered entries under keys, served from this node's own index.
///
/// A key is either a fact's or a view's, never both.
pub trait Table: Send + Sync + Debug {
    /// The entry under `key`.
    ///
    /// # Errors
    /// [`StorageError::Broken`] or [`StorageError::Damaged`].
    fn get(&self, key: &Key) -> Result<Option<Entry>, StorageError>;

    /// Changes a fact: seen by [`Table::get`] at once, durable when the log is up to
    /// [`Change::position`]. `None` deletes.
    ///
    /// # Errors
    /// [`PutError::Conflict`] when `expected` is not so, with what is.
    fn put(&self, key: &Key, value: Option<Bytes>, expected: Expected) -> Result<Change, PutError>;

    /// Entries whose key starts with `prefix`, in key order, after `after`, at most `limit`.
    ///
    /// # Errors
    /// As [`Table::get`].
    fn scan(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Page, StorageError>;

    /// Saves what the reader called `reader` derived from the log up to `position`: all of it or
    /// nothing, and some time soon. After a crash the reader goes on from
    /// [`Table::view_position`].
    ///
    /// # Errors
    /// As [`Table::get`].
    fn save_view(
        &self,
        reader: &str,
        position: Position,
        changes: Vec<ViewChange>,
    ) -> Result<(), StorageError>;

    /// Up to where the reader's saved view goes; 0 at first.
    ///
    /// # Errors
    /// As [`Table::get`].
    fn view_position(&self, reader: &str) -> Result<Position, StorageError>;
}

/// A store: one log and the tables beside it.
#[derive(Clone, Debug)]
pub struct Store {
    /// The log.
    pub log: Arc<dyn Log>,
    /// The tables, told apart by the first level of the key.
    pub table: Arc<dyn Table>,
}
