//! The store in memory: the definition that the others are compared with.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use super::{
    Batch, Change, Durability, Entry, Expected, Key, Log, Page, Position, Progress, PutError, Revision,
    StorageError, Store, Table, ViewChange,
};

/// The longest record, in bytes.
pub const RECORD_LENGTH_MAX: usize = 16 * 1024 * 1024;

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<Position, Bytes>,
    end: Position,
    /// What stands before this is gone.
    trimmed: Position,
    entries: BTreeMap<Key, Entry>,
    views: HashMap<String, Position>,
}

/// A store that forgets everything when it is dropped; everything is durable at once.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
    progress: watch::Sender<Progress>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn store() -> Store {
        let memory =
            Arc::new(Self { state: Mutex::default(), progress: watch::Sender::new(Progress::default()) });
        Store { log: Arc::clone(&memory) as Arc<dyn Log>, table: memory }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announce(&self, position: Position) {
        self.progress.send_modify(|progress| progress.durable = progress.durable.max(position));
    }
}

impl Log for MemoryStore {
    fn append(&self, records: &[&[u8]]) -> Result<Position, StorageError> {
        if records.iter().any(|record| record.len() > RECORD_LENGTH_MAX) {
            return Err(StorageError::TooLarge(RECORD_LENGTH_MAX));
        }
        let mut state = self.state();
        for record in records {
            state.end.0 += 1;
            let position = state.end;
            state.records.insert(position, Bytes::copy_from_slice(record));
        }
        let end = state.end;
        drop(state);
        self.announce(end);
        Ok(end)
    }

    fn durability(&self) -> Durability {
        Durability::new(self.progress.subscribe())
    }

    fn end(&self) -> Position {
        self.state().end
    }

    fn read_after(&self, after: Position, bytes_max: usize) -> Result<Batch, StorageError> {
        let state = self.state();
        let mut batch = Batch { records: Vec::new(), next: state.end.max(after) };
        let mut room = bytes_max;
        for (position, record) in state.records.range((Bound::Excluded(after), Bound::Unbounded)) {
            if room == 0 && !batch.records.is_empty() {
                batch.next = batch.records.last().map_or(after, |(last, _)| *last);
                break;
            }
            room = room.saturating_sub(record.len().max(1));
            batch.records.push((*position, record.clone()));
        }
        Ok(batch)
    }

    fn read(&self, position: Position) -> Result<Option<Bytes>, StorageError> {
        Ok(self.state().records.get(&position).cloned())
    }

    fn is_full(&self) -> bool {
        false
    }

    fn first(&self) -> Position {
        let state = self.state();
        state.trimmed.max(Position(1))
    }

    fn trim(&self, position: Position) {
        let mut state = self.state();
        state.trimmed = state.trimmed.max(position);
        state.records = state.records.split_off(&position);
    }
}

impl Table for MemoryStore {
    fn get(&self, key: &Key) -> Result<Option<Entry>, StorageError> {
        Ok(self.state().entries.get(key).cloned())
    }

    fn put(&self, key: &Key, value: Option<Bytes>, expected: Expected) -> Result<Change, PutError> {
        let mut state = self.state();
        let found = state.entries.get(key);
        let fits = match expected {
            Expected::Any => true,
            Expected::Absent => found.is_none(),
            Expected::Revision(revision) => found.is_some_and(|entry| entry.revision == revision),
        };
        if !fits {
            return Err(PutError::Conflict(found.cloned()));
        }
        state.end.0 += 1;
        let position = state.end;
        let revision = Revision(position.0);
        match value {
            Some(value) => drop(state.entries.insert(key.clone(), Entry { value, revision })),
            None => drop(state.entries.remove(key)),
        }
        drop(state);
        self.announce(position);
        Ok(Change { revision, position })
    }

    fn scan(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Page, StorageError> {
        let state = self.state();
        let start = match after {
            Some(after) if after.as_str() >= prefix => Bound::Excluded(after.as_str()),
            _ => Bound::Included(prefix),
        };
        let page = state
            .entries
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.as_str().starts_with(prefix))
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
        let revision = Revision(position.0);
        for change in changes {
            match change.value {
                Some(value) => drop(state.entries.insert(change.key, Entry { value, revision })),
                None => drop(state.entries.remove(&change.key)),
            }
        }
        state.views.insert(reader.to_owned(), position);
        Ok(())
    }

    fn view_position(&self, reader: &str) -> Result<Position, StorageError> {
        Ok(self.state().views.get(reader).copied().unwrap_or_default())
    }
}
