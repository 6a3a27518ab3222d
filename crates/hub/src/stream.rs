//! How far streams of readings came that have a name of their own, so that whoever sends one again
//! from its beginning, after a connection broke, stores nothing twice.
//!
//! A fact under `streams/{name}`, written into the log behind the lines that it counts: it is never
//! durable without them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Hub;
use crate::id::DeviceId;
use crate::principal::Principal;
use crate::registry::fact;
use crate::storage::{Key, Position, StorageError};
use crate::time::Timestamp;

/// For how long a name counts.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// The most names that are remembered; the oldest go first.
const STREAMS_MAX: usize = 10_000;

/// How far a stream came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamProgress {
    /// How many documents of it were taken.
    pub accepted: u64,
    /// The number of its last line that counts, from 1.
    pub line: u64,
    /// When that was.
    pub at: Timestamp,
    /// SHA-256 of all lines up to there, in hex.
    hash: String,
}

/// A line is not the one that came before under the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream is another than the one that had this name before")]
pub struct OtherStream;

/// A stream with a name, while it comes.
#[derive(Debug)]
pub struct NamedStream {
    name: String,
    before: StreamProgress,
    line: u64,
    hash: Sha256,
}

/// The names that are remembered, and since when.
#[derive(Debug, Default)]
pub(crate) struct Streams(Mutex<Option<HashMap<String, Timestamp>>>);

impl NamedStream {
    /// What of it was taken before.
    #[must_use]
    pub fn before(&self) -> &StreamProgress {
        &self.before
    }

    /// Whether the next line was taken before; it is passed over then.
    ///
    /// # Errors
    /// [`OtherStream`], found at the last line that was taken before.
    pub fn was_taken(&mut self, line: &[u8]) -> Result<bool, OtherStream> {
        if self.line >= self.before.line {
            return Ok(false);
        }
        self.take(line);
        if self.line == self.before.line && self.digest() != self.before.hash {
            return Err(OtherStream);
        }
        Ok(true)
    }

    /// The next line counts from now on.
    pub fn take(&mut self, line: &[u8]) {
        self.line += 1;
        self.hash.update(line);
        self.hash.update(b"\n");
    }

    /// By what it is known: the caller, the device and the name, hashed.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.name
    }

    fn digest(&self) -> String {
        hex::encode(self.hash.clone().finalize())
    }
}

fn stream_key(name: &str) -> Result<Key, StorageError> {
    fact::key(Key::of("streams").level(name))
}

/// By what a stream is known: a name counts for one caller and one device.
#[must_use]
pub fn stream_id(principal: &Principal, device: &DeviceId, name: &str) -> String {
    let mut hash = Sha256::new();
    for part in [principal.label().as_str(), device.as_str(), name] {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

impl Hub {
    /// The stream of this id, as [`stream_id`] gives it, and how far it came in the last 24 hours.
    ///
    /// # Errors
    /// The store could not tell.
    pub fn named_stream(&self, id: String) -> Result<NamedStream, StorageError> {
        let found = fact::get::<StreamProgress>(&*self.store.table, &stream_key(&id)?)?;
        let known = found.map(|fact| fact.value).filter(|before| self.now().since(before.at) < KEPT);
        Ok(NamedStream { name: id, before: known.unwrap_or_default(), line: 0, hash: Sha256::new() })
    }

    /// Writes down how far a stream came: all lines that count, of which so many documents were
    /// `accepted` in all. Durable when the log is, up to the position.
    ///
    /// # Errors
    /// The store could not.
    pub fn keep_progress(&self, stream: &NamedStream, accepted: u64) -> Result<Position, StorageError> {
        let progress = StreamProgress { accepted, line: stream.line, at: self.now(), hash: stream.digest() };
        self.make_room_for_stream(&stream.name, progress.at)?;
        Ok(fact::set(&*self.store.table, &stream_key(&stream.name)?, &progress)?.position)
    }

    fn make_room_for_stream(&self, name: &str, now: Timestamp) -> Result<(), StorageError> {
        let mut streams = self.streams.lock();
        if streams.is_none() {
            let mut found = HashMap::new();
            fact::each(&*self.store.table, &Key::of("streams").prefix(), |key, progress: StreamProgress| {
                found.extend(key.levels().last().map(|name| (name, progress.at)));
                Ok(())
            })?;
            *streams = Some(found);
        }
        let known = streams.get_or_insert_default();
        if known.insert(name.to_owned(), now).is_some() || known.len() <= STREAMS_MAX {
            return Ok(());
        }
        let oldest = known.values().min().copied();
        let is_old = |at: Timestamp| now.since(at) >= KEPT || Some(at) == oldest;
        let gone = known.iter().filter(|(known, at)| *known != name && is_old(**at));
        let gone: Vec<_> = gone.map(|(name, _)| name.clone()).collect();
        for name in gone {
            known.remove(&name);
            fact::delete(&*self.store.table, &stream_key(&name)?)?;
        }
        Ok(())
    }
}

impl Streams {
    fn lock(&self) -> MutexGuard<'_, Option<HashMap<String, Timestamp>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
