//! The tables: what was put and not yet saved lies in memory over what is in the file. Every put is
//! a record of the log first, so the file may lag behind; a thread saves it about every second.

mod change;
mod file;
mod save;
mod scan;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use roost_hub::storage::disk::Disk;
use roost_hub::storage::{
    Change, Entry, Expected, Key, Page, Position, PutError, Revision, StorageError, Table, ViewChange,
};

pub(crate) use self::file::TablesFile;
use self::file::{Snapshot, entry_of_row};
pub(crate) use self::save::Saved;
use crate::OpenError;
use crate::log::{Ballast, Claim, EmbeddedLog, lock};

/// Bytes of changes that may wait to be saved; more are refused as if the disk were full.
const UNSAVED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// So many bytes or changes are saved without waiting for the second to pass.
const UNSAVED_BYTES_SOON: usize = 4 * 1024 * 1024;
const UNSAVED_LENGTH_SOON: usize = 10_000;
/// What an entry costs in memory beside its key and value.
const ENTRY_OVERHEAD: usize = 128;

/// A change that is in no file yet.
#[derive(Clone, Debug)]
pub(crate) enum Queued {
    /// A fact; its revision is its position in the log.
    Fact { key: Arc<str>, value: Option<Bytes>, revision: Revision },
    /// What a reader derived from the log up to a position.
    View { reader: Arc<str>, position: Position, changes: Arc<[(Arc<str>, Option<Bytes>)]> },
}

impl Queued {
    /// The log must be durable up to here before this may be saved.
    fn position(&self) -> u64 {
        match self {
            Self::Fact { revision, .. } => revision.0,
            Self::View { position, .. } => position.0,
        }
    }

    /// The entries that change: a key, its new value and the revision of that.
    fn rows(&self) -> impl Iterator<Item = (&str, Option<&[u8]>, Revision)> {
        let (fact, changes) = match self {
            Self::Fact { key, value, .. } => (Some((&**key, value.as_deref())), None),
            Self::View { changes, .. } => (None, Some(changes)),
        };
        let of_view = changes.into_iter().flat_map(|changes| changes.iter());
        let rows = fact.into_iter().chain(of_view.map(|(key, value)| (&**key, value.as_deref())));
        let revision = Revision(self.position());
        rows.map(move |(key, value)| (key, value, revision))
    }

    /// The reader and its position, where this is a view's.
    fn view(&self) -> Option<(&str, Position)> {
        match self {
            Self::Fact { .. } => None,
            Self::View { reader, position, .. } => Some((reader, *position)),
        }
    }

    fn bytes(&self) -> usize {
        let rows =
            self.rows().map(|(key, value, _)| ENTRY_OVERHEAD + key.len() + value.map_or(0, <[u8]>::len));
        ENTRY_OVERHEAD + rows.sum::<usize>()
    }
}

/// An entry that is newer than the file's, or gone.
#[derive(Clone, Debug)]
struct Unsaved {
    entry: Option<Entry>,
    /// The number of the change in the queue.
    number: u64,
}

#[derive(Debug)]
struct State {
    unsaved: BTreeMap<Arc<str>, Unsaved>,
    queue: VecDeque<Queued>,
    queue_bytes: usize,
    /// Changes ever queued.
    queued_count: u64,
    views: HashMap<String, Position>,
    /// The positions of the views in the file.
    saved_views: HashMap<String, Position>,
    snapshot: SnapshotOf,
    /// The file has the log up to here.
    saved: u64,
    is_closing: bool,
}

/// A snapshot that can be shown.
#[derive(Clone)]
struct SnapshotOf(Snapshot);

impl std::fmt::Debug for SnapshotOf {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Snapshot")
    }
}

/// The tables.
#[derive(Debug)]
pub(crate) struct Tables {
    log: Arc<EmbeddedLog>,
    state: Mutex<State>,
    /// The saving thread waits here.
    changed: Condvar,
}

fn unreadable(error: impl std::fmt::Display) -> StorageError {
    StorageError::Damaged(format!("reading the tables: {error}").into())
}

impl SnapshotOf {
    fn get(&self, key: &str) -> Result<Option<Entry>, StorageError> {
        let row = self.0.get_owned(key).map_err(unreadable)?;
        row.map(|row| entry_of_row(row.value())).transpose()
    }
}

impl State {
    fn get(&self, key: &str) -> Result<Option<Entry>, StorageError> {
        match self.unsaved.get(key) {
            Some(unsaved) => Ok(unsaved.entry.clone()),
            None => self.snapshot.get(key),
        }
    }

    /// Makes a change visible and has it saved.
    fn queue(&mut self, queued: Queued) {
        self.queued_count += 1;
        let number = self.queued_count;
        let set = |key: &Arc<str>, value: &Option<Bytes>, revision| {
            let entry = value.clone().map(|value| Entry { value, revision });
            (Arc::clone(key), Unsaved { entry, number })
        };
        match &queued {
            Queued::Fact { key, value, revision } => self.unsaved.extend([set(key, value, *revision)]),
            Queued::View { reader, position, changes } => {
                let revision = Revision(position.0);
                self.unsaved.extend(changes.iter().map(|(key, value)| set(key, value, revision)));
                self.views.insert(reader.to_string(), *position);
            }
        }
        self.queue_bytes += queued.bytes();
        self.queue.push_back(queued);
    }

    /// From where a reader goes on after a crash.
    fn saved_view(&self, reader: &str) -> Position {
        self.saved_views.get(reader).copied().unwrap_or_default()
    }

    fn is_due(&self) -> bool {
        self.is_closing || self.queue_bytes > UNSAVED_BYTES_SOON || self.queue.len() > UNSAVED_LENGTH_SOON
    }
}

impl Tables {
    /// Opens the file for a log that begins with position `log_first`.
    pub(crate) fn open_file(
        disk: &Arc<dyn Disk>,
        ballast: &Arc<Ballast>,
        log_first: u64,
    ) -> Result<TablesFile, OpenError> {
        TablesFile::open(disk, ballast, log_first)
    }

    pub(crate) fn new(log: Arc<EmbeddedLog>, file: &TablesFile) -> Self {
        log.set_tabled(file.position, u64::MAX);
        let state = State {
            unsaved: BTreeMap::new(),
            queue: VecDeque::new(),
            queue_bytes: 0,
            queued_count: 0,
            views: file.views.clone(),
            saved_views: file.views.clone(),
            snapshot: SnapshotOf(Arc::clone(&file.snapshot)),
            saved: file.position,
            is_closing: false,
        };
        Self { log, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn wake_if_due(&self, state: &State) {
        if state.is_due() {
            self.changed.notify_one();
        }
    }
}

impl Table for Tables {
    fn get(&self, key: &Key) -> Result<Option<Entry>, StorageError> {
        let snapshot = {
            let state = lock(&self.state);
            if let Some(unsaved) = state.unsaved.get(key.as_str()) {
                return Ok(unsaved.entry.clone());
            }
            state.snapshot.clone()
        };
        snapshot.get(key.as_str())
    }

    fn put(&self, key: &Key, value: Option<Bytes>, expected: Expected) -> Result<Change, PutError> {
        let record = change::encode(key.as_str(), value.as_deref());
        let mut state = lock(&self.state);
        if state.queue_bytes > UNSAVED_BYTES_MAX {
            return Err(StorageError::Full.into());
        }
        let fits = |found: &Option<Entry>| match (expected, found) {
            (Expected::Any, _) | (Expected::Absent, None) => true,
            (Expected::Revision(revision), Some(entry)) => entry.revision == revision,
            (Expected::Absent, Some(_)) | (Expected::Revision(_), None) => false,
        };
        if expected != Expected::Any {
            let found = state.get(key.as_str())?;
            if !fits(&found) {
                return Err(PutError::Conflict(found));
            }
        }
        let position = self.log.append_records(Claim::Change, &[&record])?;
        let revision = Revision(position.0);
        state.queue(Queued::Fact { key: key.as_str().into(), value, revision });
        self.wake_if_due(&state);
        Ok(Change { revision, position })
    }

    fn scan(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Page, StorageError> {
        self.scan_page(prefix, after.map(Key::as_str), limit)
    }

    fn save_view(
        &self,
        reader: &str,
        position: Position,
        changes: Vec<ViewChange>,
    ) -> Result<(), StorageError> {
        if let Some(error) = self.log.broken() {
            return Err(error);
        }
        let changes =
            changes.into_iter().map(|change| (Arc::from(change.key.as_str()), change.value)).collect();
        let mut state = lock(&self.state);
        if state.queue_bytes > UNSAVED_BYTES_MAX {
            return Err(StorageError::Full);
        }
        self.log.keep_for_view(state.saved_view(reader).0);
        state.queue(Queued::View { reader: reader.into(), position, changes });
        self.wake_if_due(&state);
        Ok(())
    }

    fn view_position(&self, reader: &str) -> Result<Position, StorageError> {
        Ok(lock(&self.state).views.get(reader).copied().unwrap_or_default())
    }
}
