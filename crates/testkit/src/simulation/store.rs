//! A store whose syncs, saves and crashes the simulation decides: what is appended is readable at
//! once, durable after a sync, and gone after a crash that comes before it. Tables lag behind the
//! log as in the embedded store.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use roost_hub::record::Record;
use roost_hub::storage::{
    Batch, Change, Durability, Entry, Expected, Key, Log, Page, Position, Progress, PutError, Revision,
    StorageError, Store, Table, ViewChange,
};
use tokio::sync::watch;

/// What the store does wrong on purpose, so that the checks can be checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lie {
    /// Nothing.
    #[default]
    None,
    /// It says "durable" as soon as something is appended, before it is synced.
    DurableBeforeSync,
    /// It never writes what it is given, and says "durable".
    DurableWithoutWrite,
    /// It forgets the packet ids of incoming QoS 2 messages.
    ExactlyOnceIdsNotSaved,
}

#[derive(Clone, Debug)]
enum Kept {
    Record(Bytes),
    Change(Key, Option<Bytes>),
}

#[derive(Clone, Debug)]
enum Unsaved {
    Fact(Key, Option<Bytes>),
    View(String, Vec<ViewChange>),
}

#[derive(Clone, Debug, Default)]
struct Tables {
    entries: BTreeMap<Key, Entry>,
    views: HashMap<String, Position>,
}

impl Tables {
    fn set(&mut self, key: Key, value: Option<Bytes>, revision: Revision) {
        match value {
            Some(value) => drop(self.entries.insert(key, Entry { value, revision })),
            None => drop(self.entries.remove(&key)),
        }
    }

    fn apply(&mut self, position: Position, unsaved: Unsaved) {
        let revision = Revision(position.0);
        match unsaved {
            Unsaved::Fact(key, value) => self.set(key, value, revision),
            Unsaved::View(reader, changes) => {
                for change in changes {
                    self.set(change.key, change.value, revision);
                }
                self.views.insert(reader, position);
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
struct State {
    log: BTreeMap<Position, Kept>,
    end: Position,
    durable: Position,
    tables: Tables,
    unsaved: VecDeque<(Position, Unsaved)>,
    saved: Tables,
    saved_position: Position,
    is_synced_at_once: bool,
}

/// See the module.
#[derive(Debug)]
pub struct SimStore {
    state: Mutex<State>,
    progress: watch::Sender<Progress>,
    lie: Lie,
}

impl SimStore {
    /// An empty store that syncs at once until told otherwise.
    #[must_use]
    pub fn new(lie: Lie) -> Arc<Self> {
        let state = State { is_synced_at_once: true, ..State::default() };
        Self::with(state, lie)
    }

    fn with(state: State, lie: Lie) -> Arc<Self> {
        let progress = watch::Sender::new(Progress { durable: state.durable, broken: None });
        Arc::new(Self { state: Mutex::new(state), progress, lie })
    }

    /// The store as the hub sees it.
    #[must_use]
    pub fn store(self: &Arc<Self>) -> Store {
        Store { log: Arc::clone(self) as Arc<dyn Log>, table: Arc::clone(self) as Arc<dyn Table> }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on nothing is synced but by [`SimStore::sync`].
    pub fn sync_on_demand(&self) {
        self.state().is_synced_at_once = false;
    }

    /// Syncs what was appended.
    pub fn sync(&self) {
        let mut state = self.state();
        state.durable = state.end;
        let durable = state.durable;
        drop(state);
        self.announce(durable);
    }

    /// Saves what the tables may save: changes whose record is durable, in order.
    pub fn save_tables(&self) {
        let mut state = self.state();
        while let Some((position, _)) = state.unsaved.front()
            && *position <= state.durable
            && let Some((position, unsaved)) = state.unsaved.pop_front()
        {
            if matches!(unsaved, Unsaved::Fact(..)) {
                state.saved_position = position;
            }
            state.saved.apply(position, unsaved);
        }
    }

    /// The store as it is found after a power cut at this moment.
    #[must_use]
    pub fn crashed(&self) -> Arc<Self> {
        let state = self.state();
        let mut found = state.clone();
        drop(state);
        let durable = if self.lie == Lie::DurableWithoutWrite {
            // Whatever was appended since the tables were saved last never reached the disk.
            Position(found.saved_position.0.max(found.saved.views.values().map(|p| p.0).max().unwrap_or(0)))
        } else {
            found.durable
        };
        found.log.retain(|position, _| *position <= durable);
        found.end = durable;
        found.durable = durable;
        found.tables = found.saved.clone();
        found.unsaved.clear();
        let changes: Vec<(Position, Unsaved)> = found
            .log
            .range((Bound::Excluded(found.saved_position), Bound::Unbounded))
            .filter_map(|(position, kept)| match kept {
                Kept::Change(key, value) => Some((*position, Unsaved::Fact(key.clone(), value.clone()))),
                Kept::Record(_) => None,
            })
            .collect();
        for (position, change) in changes {
            found.tables.apply(position, change.clone());
            found.unsaved.push_back((position, change));
        }
        Self::with(found, self.lie)
    }

    fn announce(&self, position: Position) {
        self.progress.send_modify(|progress| progress.durable = progress.durable.max(position));
    }

    /// How the log takes a record in.
    fn take(&self, record: &[u8]) -> Bytes {
        let bytes = Bytes::copy_from_slice(record);
        if self.lie != Lie::ExactlyOnceIdsNotSaved {
            return bytes;
        }
        match Record::decode(&bytes) {
            Ok(Record::Message { tenant, message, recipients, .. }) => {
                let mut forgetful = Vec::new();
                Record::Message { tenant, message, recipients, exactly_once: None }.encode(&mut forgetful);
                forgetful.into()
            }
            _ => bytes,
        }
    }

    fn append_one(&self, kept: Kept, unsaved: Option<Unsaved>) -> Position {
        let mut state = self.state();
        state.end.0 += 1;
        let position = state.end;
        state.log.insert(position, kept);
        if let Some(unsaved) = unsaved {
            state.tables.apply(position, unsaved.clone());
            state.unsaved.push_back((position, unsaved));
        }
        let synced = state.is_synced_at_once;
        if synced {
            state.durable = position;
        }
        drop(state);
        if synced || matches!(self.lie, Lie::DurableBeforeSync | Lie::DurableWithoutWrite) {
            self.announce(position);
        }
        position
    }
}

impl Log for SimStore {
    fn append(&self, records: &[&[u8]]) -> Result<Position, StorageError> {
        let mut last = self.end();
        for record in records {
            last = self.append_one(Kept::Record(self.take(record)), None);
        }
        Ok(last)
    }

    fn durability(&self) -> Durability {
        Durability::new(self.progress.subscribe())
    }

    fn end(&self) -> Position {
        self.state().end
    }

    fn read_after(&self, after: Position, _bytes_max: usize) -> Result<Batch, StorageError> {
        let state = self.state();
        let range = (Bound::Excluded(after), Bound::Included(state.durable.max(after)));
        let records = if after < state.durable {
            let records = state.log.range(range).filter_map(|(position, kept)| match kept {
                Kept::Record(bytes) => Some((*position, bytes.clone())),
                Kept::Change(..) => None,
            });
            records.collect()
        } else {
            Vec::new()
        };
        Ok(Batch { records, next: state.durable.max(after) })
    }

    fn read(&self, position: Position) -> Result<Option<Bytes>, StorageError> {
        Ok(match self.state().log.get(&position) {
            Some(Kept::Record(bytes)) => Some(bytes.clone()),
            _ => None,
        })
    }

    fn is_full(&self) -> bool {
        false
    }

    fn trim(&self, position: Position) {
        let mut state = self.state();
        let last = position.min(state.saved_position);
        state.log = state.log.split_off(&last);
    }
}

impl Table for SimStore {
    fn get(&self, key: &Key) -> Result<Option<Entry>, StorageError> {
        Ok(self.state().tables.entries.get(key).cloned())
    }

    fn put(&self, key: &Key, value: Option<Bytes>, expected: Expected) -> Result<Change, PutError> {
        let found = self.get(key)?;
        let fits = match expected {
            Expected::Any => true,
            Expected::Absent => found.is_none(),
            Expected::Revision(revision) => found.as_ref().is_some_and(|entry| entry.revision == revision),
        };
        if !fits {
            return Err(PutError::Conflict(found));
        }
        let unsaved = Unsaved::Fact(key.clone(), value.clone());
        let position = self.append_one(Kept::Change(key.clone(), value), Some(unsaved));
        Ok(Change { revision: Revision(position.0), position })
    }

    fn scan(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Page, StorageError> {
        let state = self.state();
        let from = |key: &&Key| key.as_str() >= prefix && after.is_none_or(|after| *key > after);
        let page = state
            .tables
            .entries
            .iter()
            .filter(|(key, _)| from(key) && key.as_str().starts_with(prefix))
            .take(limit)
            .map(|(key, entry)| (key.clone(), entry.clone()))
            .collect();
        Ok(page)
    }

    fn save_view(
        &self,
        reader: &str,
        position: Position,
        changes: Vec<ViewChange>,
    ) -> Result<(), StorageError> {
        let mut state = self.state();
        let unsaved = Unsaved::View(reader.to_owned(), changes);
        state.tables.apply(position, unsaved.clone());
        state.unsaved.push_back((position, unsaved));
        Ok(())
    }

    fn view_position(&self, reader: &str) -> Result<Position, StorageError> {
        Ok(self.state().tables.views.get(reader).copied().unwrap_or_default())
    }
}
