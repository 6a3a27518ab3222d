//! Facts as JSON in the store's table.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::storage::{Change, Expected, Key, KeyBuilder, PutError, Revision, StorageError, Table};

/// How many entries are read at a time where all under a prefix are wanted.
pub(crate) const SCAN_PAGE: usize = 1_000;

/// A fact and its revision.
pub(crate) struct Fact<T> {
    pub(crate) value: T,
    pub(crate) revision: Revision,
}

/// Ids are short, so a key of them fits; a longer text is a mistake that ends as a refusal.
pub(crate) fn key(builder: KeyBuilder) -> Result<Key, StorageError> {
    builder.key().map_err(|invalid| StorageError::Damaged(Arc::from(invalid.to_string())))
}

/// Reads JSON; what cannot be read is damage, never an absent fact.
pub(crate) fn read<T: DeserializeOwned>(key: &Key, value: &Bytes) -> Result<T, StorageError> {
    serde_json::from_slice(value).map_err(|error| StorageError::Damaged(Arc::from(format!("{key}: {error}"))))
}

pub(crate) fn get<T: DeserializeOwned>(
    table: &dyn Table,
    key: &Key,
) -> Result<Option<Fact<T>>, StorageError> {
    let Some(entry) = table.get(key)? else { return Ok(None) };
    Ok(Some(Fact { value: read(key, &entry.value)?, revision: entry.revision }))
}

pub(crate) fn put<T: Serialize>(
    table: &dyn Table,
    key: &Key,
    value: &T,
    expected: Expected,
) -> Result<Change, PutError> {
    let json = serde_json::to_vec(value)
        .map_err(|error| StorageError::Damaged(Arc::from(format!("{key}: {error}"))))?;
    table.put(key, Some(Bytes::from(json)), expected)
}

/// Writes over whatever stands there.
pub(crate) fn set<T: Serialize>(table: &dyn Table, key: &Key, value: &T) -> Result<Change, StorageError> {
    put(table, key, value, Expected::Any).map_err(storage)
}

pub(crate) fn delete(table: &dyn Table, key: &Key) -> Result<Change, StorageError> {
    table.put(key, None, Expected::Any).map_err(storage)
}

/// For puts that expect nothing, where a conflict cannot be; or where one means that another node
/// was faster, which a repeated call sorts out.
pub(crate) fn storage(error: PutError) -> StorageError {
    match error {
        PutError::Storage(error) => error,
        PutError::Conflict(_) => StorageError::Damaged(Arc::from("the entry changed meanwhile")),
    }
}

/// Everything under a prefix, read page by page and given to `each` until it says stop.
pub(crate) fn each<T: DeserializeOwned>(
    table: &dyn Table,
    prefix: &str,
    mut each: impl FnMut(Key, T) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    let mut after = None;
    loop {
        let page = table.scan(prefix, after.as_ref(), SCAN_PAGE)?;
        let is_last = page.len() < SCAN_PAGE;
        for (key, entry) in page {
            let value = read(&key, &entry.value)?;
            after = Some(key.clone());
            each(key, value)?;
        }
        if is_last {
            return Ok(());
        }
    }
}

/// Everything under a prefix.
pub(crate) fn all<T: DeserializeOwned>(
    table: &dyn Table,
    prefix: &str,
) -> Result<Vec<(Key, T)>, StorageError> {
    let mut found = Vec::new();
    each(table, prefix, |key, value| {
        found.push((key, value));
        Ok(())
    })?;
    Ok(found)
}

/// A log position inside JSON.
pub(crate) mod position {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::storage::Position;

    pub(in super::super) fn serialize<S: Serializer>(position: &Position, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(position.0)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Position, D::Error> {
        u64::deserialize(from).map(Position)
    }
}
