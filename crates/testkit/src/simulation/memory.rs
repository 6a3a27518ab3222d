//! A store in memory whose syncs, saves and crashes the simulation decides: what is appended is
//! readable at once, durable after a sync, and gone after a crash that comes before it. Tables lag
//! behind the log as in the embedded store.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use roost_hub::storage::{
    Batch, Change, Durability, Entry, Expected, Key, Log, Page, Position, Progress, PutError, Revision,
    StorageError, Store, Table, ViewChange,
};
use tokio::sync::watch;

use super::store::{Crash, DiskTally, Lie, SimulatedStore, Trouble, Work, lying};
use crate::sim_disk::Wear;

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
    /// Until then everything is durable at once.
    is_begun: bool,
    is_lying: bool,
    /// Messages that still fit; as many as there are, if there is no such bound.
    room: Option<usize>,
    /// The same for changes of tables.
    facts_room: Option<usize>,
    /// The sync of this number from now on fails.
    failing_sync: Option<u64>,
    disk: DiskTally,
}

/// The log and the tables of a [`SimStore`].
#[derive(Debug)]
struct Memory {
    state: Mutex<State>,
    progress: watch::Sender<Progress>,
}

/// See the module.
#[derive(Debug)]
pub struct SimStore {
    memory: Arc<Memory>,
    shown: Store,
    lie: Lie,
}

impl SimStore {
    fn with(state: State, lie: Lie) -> Self {
        let progress = watch::Sender::new(Progress { durable: state.durable, broken: None });
        let memory = Arc::new(Memory { state: Mutex::new(state), progress });
        let store =
            Store { log: Arc::clone(&memory) as Arc<dyn Log>, table: Arc::clone(&memory) as Arc<dyn Table> };
        Self { memory, shown: lying(store, lie), lie }
    }
}

impl SimulatedStore for SimStore {
    const REPLAY: &'static str = "cargo test -p roost-testkit --test simulation";

    fn empty(lie: Lie) -> Result<Self, String> {
        Ok(Self::with(State::default(), lie))
    }

    fn begin(&mut self) {
        let mut state = self.memory.state();
        state.is_begun = true;
        state.is_lying = self.lie == Lie::DurableBeforeSync;
    }

    fn store(&self) -> Store {
        self.shown.clone()
    }

    fn work(&self, work: Work) {
        match work {
            Work::Sync => self.memory.sync(),
            Work::Tables => self.memory.save_tables(),
            Work::Room => {}
        }
    }

    fn trouble(&self, trouble: Trouble) {
        let mut state = self.memory.state();
        match trouble {
            Trouble::Error(number) => state.failing_sync = Some(number % 4),
            Trouble::Full(number) => state.room = usize::try_from(number).ok(),
            Trouble::Room(bytes) => state.room = Some(bytes / 1024),
            Trouble::NoTables => state.facts_room = Some(0),
            Trouble::Over => {
                (state.room, state.failing_sync, state.facts_room) = (None, None, None);
            }
        }
    }

    /// A kill is a power cut here: nothing is written that is not synced.
    fn crash(&mut self, _crash: Crash, _seed: u64, _trouble: Option<Trouble>) -> Result<(), String> {
        let found = self.memory.state().found();
        *self = Self::with(found, self.lie);
        Ok(())
    }

    fn disk(&self) -> DiskTally {
        self.memory.state().disk
    }
}

impl State {
    /// What a crash at this moment leaves.
    fn found(&self) -> Self {
        let mut found = self.clone();
        found.disk.wear.lost_writes +=
            self.log.range((Bound::Excluded(self.durable), Bound::Unbounded)).count() as u64;
        (found.room, found.failing_sync, found.facts_room) = (None, None, None);
        found.log.retain(|position, _| *position <= self.durable);
        found.end = found.durable;
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
        found
    }
}

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Syncs what was appended, or fails for good.
    fn sync(&self) {
        let mut state = self.state();
        if self.progress.borrow().broken.is_some() {
            return;
        }
        state.disk.operations += 1;
        match &mut state.failing_sync {
            Some(0) => {
                let Wear { errors, refused_syncs, .. } = &mut state.disk.wear;
                (*errors, *refused_syncs) = (*errors + 1, *refused_syncs + 1);
                drop(state);
                let error = StorageError::Broken("a planted error".into());
                self.progress.send_modify(|progress| progress.broken = Some(error));
                return;
            }
            Some(left) => *left -= 1,
            None => {}
        }
        if !state.is_lying {
            state.durable = state.end;
        }
        let end = state.end;
        drop(state);
        self.progress.send_modify(|progress| progress.durable = progress.durable.max(end));
    }

    /// Saves what the tables may save: changes whose record is durable, in order.
    fn save_tables(&self) {
        let mut state = self.state();
        state.disk.operations += 1;
        while let Some((position, _)) = state.unsaved.front()
            && *position <= state.durable
            && let Some((position, unsaved)) = state.unsaved.pop_front()
        {
            state.saved.apply(position, unsaved);
        }
        // What is left is not durable: everything before is saved.
        state.saved_position = state.durable;
    }

    fn append_one(&self, kept: Kept, unsaved: Option<Unsaved>) -> Result<Position, StorageError> {
        if let Some(error) = self.progress.borrow().broken.clone() {
            return Err(error);
        }
        let mut state = self.state();
        // The tables have room of their own.
        let State { room, facts_room, .. } = &mut *state;
        if let Some(room) = if unsaved.is_some() { facts_room } else { room } {
            let Some(left) = room.checked_sub(1) else {
                state.disk.wear.full += 1;
                return Err(StorageError::Full);
            };
            *room = left;
        }
        state.end.0 += 1;
        let position = state.end;
        state.log.insert(position, kept);
        if let Some(unsaved) = unsaved {
            state.tables.apply(position, unsaved.clone());
            state.unsaved.push_back((position, unsaved));
        }
        let is_begun = state.is_begun;
        drop(state);
        if !is_begun {
            self.sync();
        }
        Ok(position)
    }
}

impl Log for Memory {
    fn append(&self, records: &[&[u8]]) -> Result<Position, StorageError> {
        let mut last = self.end();
        for record in records {
            last = self.append_one(Kept::Record(Bytes::copy_from_slice(record)), None)?;
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
        self.state().room == Some(0)
    }

    fn trim(&self, position: Position) {
        let mut state = self.state();
        // A view that waits to be saved is, after a crash, the one that was saved before.
        let waiting = state.unsaved.iter().filter_map(|(_, unsaved)| match unsaved {
            Unsaved::View(reader, _) => Some(state.saved.views.get(reader).copied().unwrap_or_default()),
            Unsaved::Fact(..) => None,
        });
        let needed = waiting.min().unwrap_or(position).min(state.saved_position);
        let first = position.min(Position(needed.0 + 1));
        state.log = state.log.split_off(&first);
    }
}

impl Table for Memory {
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
        let position = self.append_one(Kept::Change(key.clone(), value), Some(unsaved))?;
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
