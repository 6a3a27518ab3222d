//! What the simulation asks of a store: that its disk works, fails and loses power when it is told
//! to. And stores that lie, so that the checks can be checked.

use std::sync::Arc;

use bytes::Bytes;
use roost_hub::record::Record;
use roost_hub::storage::{
    Batch, Change, Durability, Entry, Expected, Key, Log, Page, Position, Progress, PutError, StorageError,
    Store, Table, ViewChange,
};
use tokio::sync::watch;

/// What a store does wrong on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lie {
    /// Nothing.
    #[default]
    None,
    /// It says "durable" as soon as something is appended, before it is written.
    DurableBeforeWrite,
    /// It writes, and says "durable" without a sync.
    DurableBeforeSync,
    /// It forgets the packet ids of incoming QoS 2 messages.
    ExactlyOnceIdsNotSaved,
}

/// A piece of the work that a store does behind everybody's back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// What was appended is written and synced.
    Sync,
    /// Room is made: one segment more, or one less.
    Room,
    /// What may be saved of the tables is.
    Tables,
}

/// What goes wrong with a disk that keeps its power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The operation of this number, counted from now, fails with an input/output error.
    Error(u64),
    /// The operation of this number finds no room.
    Full(u64),
    /// There are so many bytes of room left.
    Room(usize),
    /// The tables have no room either, where that can be told apart.
    NoTables,
    /// All is well again.
    Over,
}

/// How a run of the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// Whatever was not synced is there, gone, or torn.
    PowerCut,
    /// What was written is there, and a power cut may still take it.
    Kill,
}

/// What a disk has been through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskTally {
    /// Operations, so that two runs can be compared.
    pub operations: u64,
    /// What went wrong.
    pub wear: crate::sim_disk::Wear,
}

/// A store whose disk the simulation moves.
pub trait SimulatedStore: Sized {
    /// The command that runs one seed again; the seed comes after `ROOST_SEED=`.
    const REPLAY: &'static str;

    /// An empty store that says the truth until [`SimulatedStore::begin`].
    ///
    /// # Errors
    /// Why there is none.
    fn empty(lie: Lie) -> Result<Self, String>;

    /// The world is set up: from now on the store works only when it is told to, and may lie.
    fn begin(&mut self);

    /// The store as the hub sees it.
    fn store(&self) -> Store;

    /// Does a piece of work.
    fn work(&self, work: Work);

    /// Makes trouble.
    fn trouble(&self, trouble: Trouble);

    /// Ends the run and opens what is found, with some trouble on the way if there is to be any. A
    /// store that could not be opened can be crashed again.
    ///
    /// # Errors
    /// Why it cannot be opened.
    fn crash(&mut self, crash: Crash, seed: u64, trouble: Option<Trouble>) -> Result<(), String>;

    /// What the disk has been through.
    fn disk(&self) -> DiskTally;
}

/// The store as one that lies shows it.
#[must_use]
pub fn lying(store: Store, lie: Lie) -> Store {
    if matches!(lie, Lie::None | Lie::DurableBeforeSync) {
        return store;
    }
    let progress = watch::Sender::new(Progress { durable: store.log.end(), broken: None });
    let liar = Arc::new(Liar { store, lie, progress });
    Store { log: Arc::clone(&liar) as Arc<dyn Log>, table: liar }
}

#[derive(Debug)]
struct Liar {
    store: Store,
    lie: Lie,
    progress: watch::Sender<Progress>,
}

impl Liar {
    fn announce(&self, position: Position) {
        self.progress.send_modify(|progress| progress.durable = progress.durable.max(position));
    }

    fn forgetful(&self, record: &[u8]) -> Vec<u8> {
        let decoded = Record::decode(&Bytes::copy_from_slice(record));
        let mut bytes = record.to_vec();
        if self.lie == Lie::ExactlyOnceIdsNotSaved
            && let Ok(Record::Message { tenant, message, recipients, is_copy, .. }) = decoded
        {
            bytes.clear();
            Record::Message { tenant, message, recipients, exactly_once: None, is_copy }.encode(&mut bytes);
        }
        bytes
    }
}

impl Log for Liar {
    fn append(&self, records: &[&[u8]]) -> Result<Position, StorageError> {
        let records: Vec<Vec<u8>> = records.iter().map(|record| self.forgetful(record)).collect();
        let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        self.store.log.append(&records).inspect(|position| self.announce(*position))
    }

    fn durability(&self) -> Durability {
        match self.lie {
            Lie::DurableBeforeWrite => Durability::new(self.progress.subscribe()),
            _ => self.store.log.durability(),
        }
    }

    fn end(&self) -> Position {
        self.store.log.end()
    }

    fn read_after(&self, after: Position, bytes_max: usize) -> Result<Batch, StorageError> {
        self.store.log.read_after(after, bytes_max)
    }

    fn read(&self, position: Position) -> Result<Option<Bytes>, StorageError> {
        self.store.log.read(position)
    }

    fn is_full(&self) -> bool {
        self.store.log.is_full()
    }

    fn trim(&self, position: Position) {
        self.store.log.trim(position);
    }
}

impl Table for Liar {
    fn get(&self, key: &Key) -> Result<Option<Entry>, StorageError> {
        self.store.table.get(key)
    }

    fn put(&self, key: &Key, value: Option<Bytes>, expected: Expected) -> Result<Change, PutError> {
        self.store.table.put(key, value, expected).inspect(|change| self.announce(change.position))
    }

    fn scan(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Page, StorageError> {
        self.store.table.scan(prefix, after, limit)
    }

    fn save_view(
        &self,
        reader: &str,
        position: Position,
        changes: Vec<ViewChange>,
    ) -> Result<(), StorageError> {
        self.store.table.save_view(reader, position, changes)
    }

    fn view_position(&self, reader: &str) -> Result<Position, StorageError> {
        self.store.table.view_position(reader)
    }
}
