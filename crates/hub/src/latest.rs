//! The latest values of each device, and which keys it has: a view of the log.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::broker::PublishError;
use crate::hub::Hub;
use crate::id::{DeviceId, TenantId};
use crate::message::Telemetry;
use crate::reading::{Quality, Reading, Value};
use crate::storage::{Key, StorageError, Store, ViewChange};
use crate::time::Timestamp;

const SHARDS: usize = 64;
/// How far times of arrival may run ahead of the clock; a device that sends more than a thousand
/// messages a second for so long overwrites some.
const ARRIVAL_AHEAD_MAX: Duration = Duration::from_secs(600);

/// The newest reading of each key of one device.
pub type Latest = BTreeMap<Arc<str>, Reading>;

#[derive(Debug, Default)]
struct DeviceLatest {
    values: Vec<Reading>,
    /// The newest time of arrival that was given to readings without a time of their own.
    last_arrival: Timestamp,
    /// Whether the table's entry was looked at; after a restart the log is replayed before that.
    is_loaded: bool,
    is_dirty: bool,
    /// When readings came last, in seconds since 1970.
    heard_second: u32,
}

/// Whether presence has to be told of a device that sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It was told within this second.
    Already,
    /// It was not.
    Again,
}

type Shard = HashMap<(TenantId, DeviceId), DeviceLatest>;

/// The latest values of all devices, by shard so that publishers do not wait for each other.
#[derive(Debug)]
pub(crate) struct LatestValues {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
}

impl Default for LatestValues {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }
}

fn is_number(value: &Value) -> bool {
    matches!(value, Value::Integer(_) | Value::Unsigned(_) | Value::Number(_))
}

/// What a message brings that was not there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Novelty {
    /// New values at most.
    Values,
    /// New keys, or another kind of values: what comes next is looked at only when this was taken.
    Keys,
}

/// A newer reading takes the place; so does any that follows one from the future, which would
/// otherwise stand in the way of all true ones (bad-input.md J-22), and any measurement that follows
/// a stale value: that one has the time at which we learned of it, by our clock, and the device's own
/// may be behind.
fn replaces(new: &Reading, old: &Reading, now: Timestamp) -> bool {
    let is_measured_again = old.quality == Quality::Stale && new.quality != Quality::Stale;
    new.ts >= old.ts || old.ts > now || is_measured_again
}

impl DeviceLatest {
    fn find(&self, key: &str) -> Option<&Reading> {
        self.values.iter().find(|reading| &*reading.key == key)
    }

    fn update(&mut self, readings: &[Reading], now: Timestamp) -> Heard {
        for reading in readings {
            match self.values.iter_mut().find(|old| old.key == reading.key) {
                Some(old) if replaces(reading, old, now) => {
                    old.ts = reading.ts;
                    old.value = reading.value.clone();
                    old.quality = reading.quality;
                }
                Some(_) => continue,
                None => self.values.push(reading.clone()),
            }
            self.is_dirty = true;
        }
        let second = u32::try_from(now.0 / 1_000).unwrap_or_default();
        if std::mem::replace(&mut self.heard_second, second) == second {
            Heard::Already
        } else {
            Heard::Again
        }
    }

    /// Readings that came without a time of their own within one millisecond, or several of a key in
    /// one message, are given times one millisecond apart: as points of a series, they would take
    /// each other's place.
    fn set_arrivals(&mut self, readings: &mut [Reading], arrival: Timestamp) {
        if !readings.iter().any(|reading| reading.ts == arrival) {
            return;
        }
        let next = Timestamp(self.last_arrival.0.saturating_add(1));
        let is_ahead = next > arrival && next < arrival.after(ARRIVAL_AHEAD_MAX);
        self.last_arrival = if is_ahead { next } else { arrival };
        let mut keys = HashSet::new();
        for reading in readings.iter_mut().filter(|reading| reading.ts == arrival) {
            if !keys.insert(Arc::clone(&reading.key)) {
                keys = HashSet::from([Arc::clone(&reading.key)]);
                self.last_arrival.0 = self.last_arrival.0.saturating_add(1);
            }
            reading.ts = self.last_arrival;
        }
    }

    fn load(&mut self, store: &Store, tenant: &TenantId, device: &DeviceId) -> Result<(), StorageError> {
        if self.is_loaded {
            return Ok(());
        }
        if let Some(key) = key(tenant, device)
            && let Some(entry) = store.table.get(&key)?
        {
            let saved: Vec<Reading> = decode(&entry.value);
            for old in saved {
                if self.find(&old.key).is_none() {
                    self.values.push(old);
                }
            }
        }
        self.last_arrival = self.values.iter().map(|reading| reading.ts).max().unwrap_or_default();
        self.is_loaded = true;
        Ok(())
    }
}

fn key(tenant: &TenantId, device: &DeviceId) -> Option<Key> {
    Key::of("latest").level(tenant.as_str()).level(device.as_str()).key().ok()
}

fn encode(values: &[Reading]) -> Option<Bytes> {
    serde_json::to_vec(values).ok().map(Bytes::from)
}

fn decode(value: &[u8]) -> Vec<Reading> {
    serde_json::from_slice(value).unwrap_or_default()
}

impl LatestValues {
    fn shard(&self, device: &(TenantId, DeviceId)) -> MutexGuard<'_, Shard> {
        let number = usize::try_from(self.hasher.hash_one(device) % SHARDS as u64).unwrap_or(0);
        let shard = self.shards.get(number).or(self.shards.first());
        match shard {
            Some(shard) => shard.lock().unwrap_or_else(PoisonError::into_inner),
            None => unreachable!("there are {SHARDS} shards"),
        }
    }

    /// Before readings are taken: may the device have these keys (at most so many), does a key change
    /// from numbers to text (which is kept, and marked), and do those that are timed by their
    /// arrival have times of their own?
    pub(crate) fn prepare(
        &self,
        store: &Store,
        tenant: &TenantId,
        telemetry: &mut Telemetry,
        limits: (usize, Timestamp),
    ) -> Result<Novelty, PublishError> {
        let (keys_max, arrival) = limits;
        let name = (tenant.clone(), telemetry.device.clone());
        let mut shard = self.shard(&name);
        let known = shard.entry(name).or_default();
        known.load(store, tenant, &telemetry.device)?;
        let mut novelty = Novelty::Values;
        let mut new = HashSet::new();
        for reading in &mut telemetry.readings {
            match known.find(&reading.key) {
                Some(old) => {
                    let was_number = is_number(&old.value);
                    if was_number != is_number(&reading.value) {
                        novelty = Novelty::Keys;
                    }
                    if was_number
                        && matches!(reading.value, Value::Text(_))
                        && reading.quality == Quality::Good
                    {
                        reading.quality = Quality::Kind;
                    }
                    reading.key = Arc::clone(&old.key);
                }
                None => drop(new.insert(Arc::clone(&reading.key))),
            }
        }
        if !new.is_empty() && known.values.len() + new.len() > keys_max {
            return Err(PublishError::QuotaExceeded("the device has as many telemetry keys as it may"));
        }
        known.set_arrivals(&mut telemetry.readings, arrival);
        Ok(if new.is_empty() { novelty } else { Novelty::Keys })
    }

    /// Takes readings in.
    pub(crate) fn update(&self, tenant: &TenantId, telemetry: &Telemetry, now: Timestamp) -> Heard {
        let name = (tenant.clone(), telemetry.device.clone());
        let mut shard = self.shard(&name);
        match shard.entry(name) {
            Entry::Occupied(mut known) => known.get_mut().update(&telemetry.readings, now),
            Entry::Vacant(place) => place.insert(DeviceLatest::default()).update(&telemetry.readings, now),
        }
    }

    pub(crate) fn forget(&self, tenant: &TenantId, device: &DeviceId) {
        let name = (tenant.clone(), device.clone());
        // Dirty and empty: the next checkpoint removes the saved entry.
        let empty = DeviceLatest { is_loaded: true, is_dirty: true, ..DeviceLatest::default() };
        self.shard(&name).insert(name, empty);
    }

    /// The changes since the last call, as entries of the view.
    pub(crate) fn take_changes(&self, store: &Store) -> Vec<ViewChange> {
        let mut changes = Vec::new();
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for ((tenant, device), known) in shard.iter_mut().filter(|(_, known)| known.is_dirty) {
                // A device that was only replayed must not overwrite keys it has not loaded.
                if known.load(store, tenant, device).is_err() {
                    continue;
                }
                let Some(key) = key(tenant, device) else { continue };
                let value = if known.values.is_empty() { None } else { encode(&known.values) };
                known.is_dirty = false;
                changes.push(ViewChange { key, value });
            }
        }
        changes
    }
}

impl Hub {
    /// The newest reading of each of the device's keys.
    ///
    /// # Errors
    /// The store could not be read.
    pub fn latest(&self, tenant: &TenantId, device: &DeviceId) -> Result<Latest, StorageError> {
        let name = (tenant.clone(), device.clone());
        let mut shard = self.latest.shard(&name);
        let known = shard.entry(name).or_default();
        known.load(&self.store, tenant, device)?;
        Ok(known.values.iter().map(|reading| (Arc::clone(&reading.key), reading.clone())).collect())
    }
}
