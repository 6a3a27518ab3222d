//! A table that counts the changes by which somebody may be recognised differently.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::{Change, Entry, Expected, Key, Page, Position, PutError, StorageError, Table, ViewChange};

/// Tables that change all the time and say nothing of who somebody is.
const OTHERS: [&str; 13] = [
    "commands",
    "commands-index",
    "documents",
    "idempotency",
    "inbox",
    "meta",
    "online",
    "queues",
    "sessions",
    "streams",
    "subscriptions",
    "twins",
    "wills",
];

/// How many facts of the registry were changed through this process. Whoever keeps what was read asks
/// before reading and again before using it.
#[derive(Clone, Debug, Default)]
pub(crate) struct RegistryChanges(Arc<AtomicU64>);

impl RegistryChanges {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct WatchedTable {
    table: Arc<dyn Table>,
    changes: RegistryChanges,
}

impl WatchedTable {
    pub(crate) fn new(table: Arc<dyn Table>) -> (Self, RegistryChanges) {
        let changes = RegistryChanges::default();
        (Self { table, changes: changes.clone() }, changes)
    }
}

impl Table for WatchedTable {
    fn get(&self, key: &Key) -> Result<Option<Entry>, StorageError> {
        self.table.get(key)
    }

    fn put(&self, key: &Key, value: Option<Bytes>, expected: Expected) -> Result<Change, PutError> {
        let change = self.table.put(key, value, expected);
        let name = key.as_str().split('/').next().unwrap_or_default();
        // Also after a failure: who reads once more than needed reads what is true.
        if !OTHERS.contains(&name) {
            self.changes.0.fetch_add(1, Ordering::Release);
        }
        change
    }

    fn scan(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Page, StorageError> {
        self.table.scan(prefix, after, limit)
    }

    fn save_view(
        &self,
        reader: &str,
        position: Position,
        changes: Vec<ViewChange>,
    ) -> Result<(), StorageError> {
        self.table.save_view(reader, position, changes)
    }

    fn view_position(&self, reader: &str) -> Result<Position, StorageError> {
        self.table.view_position(reader)
    }
}
