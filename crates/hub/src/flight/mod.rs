//! The flight recorder: what came and went, connects, refusals and why, for each device.
//!
//! The last entries of a device are in memory, all of them in the view `flight`, in chunks of which
//! a checkpoint writes only the last. It is for people who look for a fault; nothing depends on it.

mod by_device;
mod ring;

use std::fmt::{self, Display, Write as _};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Hub;
use crate::count::Counter;
use crate::id::{DeviceId, TenantId};
use crate::live::{LiveEvent, LiveKind};
use crate::storage::{Key, KeyBuilder, StorageError, ViewChange};
use crate::time::Timestamp;

pub(crate) use by_device::{ByDevice, SHARDS};
use ring::{Chunk, Ring};

/// How many entries of a device are kept.
pub const FLIGHT_ENTRIES_MAX: usize = 200;
/// The longest detail that is kept, in bytes.
pub const FLIGHT_DETAIL_LENGTH_MAX: usize = 256;
/// For how many devices entries are in memory. When more speak at once, telemetry is noted only
/// for those that are there; other kinds have four times the room.
pub const FLIGHT_DEVICES_MAX: usize = 32_768;
/// How far behind the saved count of an entry may be that only goes on counting.
pub const FLIGHT_COUNT_SAVED_EVERY: Duration = Duration::from_secs(10);

/// How many devices one checkpoint saves at most; the others wait for the next.
const SAVED_AT_ONCE_MAX: usize = 8_192;

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlightKind {
    /// A connection of the device began.
    Connected,
    /// A connection of the device ended, and why.
    Disconnected,
    /// It sent readings.
    Telemetry,
    /// Something it sent was refused, and why.
    Refused,
    /// A command of it came to a state.
    Command,
    /// It published an event.
    Event,
    /// Its twin changed.
    Twin,
    /// It published something else.
    Message,
    /// Something was sent to it.
    Downlink,
    /// A document of it changed.
    Document,
    /// A link of it changed its state.
    Link,
    /// Something went wrong on our side.
    Error,
}

impl FlightKind {
    /// Whether consecutive entries are one with a count, whatever their details.
    fn is_folded(self) -> bool {
        matches!(self, Self::Telemetry | Self::Message | Self::Downlink)
    }
}

/// An entry: one thing that happened, or several of the same kind in a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlightEntry {
    /// When it happened last.
    pub at: Timestamp,
    /// When it happened first.
    pub since: Timestamp,
    /// What it is about.
    pub kind: FlightKind,
    /// What exactly, the last time: at most 256 bytes.
    pub detail: String,
    /// How often in a row.
    pub count: u64,
}

/// The entries of those devices that were noted lately.
#[derive(Debug, Default)]
pub struct FlightRecorder {
    rings: ByDevice<Ring>,
    unnoted: Counter,
}

impl FlightRecorder {
    /// How many notes were not taken because too many devices spoke at once.
    #[must_use]
    pub fn unnoted(&self) -> u64 {
        self.unnoted.value()
    }
}

/// Writes until [`FLIGHT_DETAIL_LENGTH_MAX`] bytes are full.
struct Bounded<'a>(&'a mut String);

impl fmt::Write for Bounded<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = FLIGHT_DETAIL_LENGTH_MAX.saturating_sub(self.0.len());
        let end = text.floor_char_boundary(room);
        self.0.push_str(text.get(..end).unwrap_or_default());
        if end < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

fn write_detail(out: &mut String, detail: &impl Display) {
    // An error says that the rest did not fit, which is what the bound is for.
    write!(Bounded(out), "{detail}").unwrap_or_default();
}

impl Hub {
    /// Takes a note about a device. The detail is written only when it is kept, so `format_args!`
    /// costs nothing else. Consecutive telemetry becomes one entry with a count.
    #[expect(clippy::too_many_arguments, reason = "whose, of what kind, what and when")]
    pub fn note(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        kind: FlightKind,
        detail: impl Display,
        now: Timestamp,
    ) {
        let mut shard = self.flight.rings.shard(device);
        let devices_max = FLIGHT_DEVICES_MAX / SHARDS;
        let room = if kind == FlightKind::Telemetry { devices_max } else { devices_max * 4 };
        if let Some(ring) = shard.get_mut(tenant, device) {
            ring.note(kind, &detail, now);
        } else if shard.len() < room {
            shard.entry(tenant, device).note(kind, &detail, now);
        } else {
            self.flight.unnoted.increment();
        }
        drop(shard);
        // Telemetry is a live event of its own.
        if kind != FlightKind::Telemetry {
            self.live.send(|| LiveEvent {
                tenant: tenant.clone(),
                device: device.clone(),
                at: now,
                kind: LiveKind::Log(FlightEntry::new(kind, &detail, now)),
            });
        }
    }

    /// The device's entries, the newest first.
    ///
    /// # Errors
    /// What the store says.
    pub fn flight_entries(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
    ) -> Result<Vec<FlightEntry>, StorageError> {
        // Held, so that no checkpoint moves entries from there to here in between.
        let shard = self.flight.rings.shard(device);
        let nothing = Ring::default();
        let ring = shard.get(tenant, device).unwrap_or(&nothing);
        let saved = if ring.is_wiped() { Vec::new() } else { self.saved_chunks(tenant, device)? };
        Ok(ring.newest_first(saved))
    }

    fn saved_chunks(&self, tenant: &TenantId, device: &DeviceId) -> Result<Vec<Chunk>, StorageError> {
        let page = self.store.table.scan(&keys(tenant, device).prefix(), None, ring::SLOTS)?;
        // A chunk that cannot be read is one that is not there: these are notes for people.
        let mut chunks: Vec<Chunk> =
            page.iter().filter_map(|(_, entry)| serde_json::from_slice(&entry.value).ok()).collect();
        chunks.sort_by_key(|chunk| chunk.first);
        Ok(chunks)
    }

    /// What has to be saved of the flight recorder. Entries that are saved and quiet leave memory
    /// when it is full.
    pub(crate) fn flight_changes(&self) -> Vec<ViewChange> {
        let now = self.now();
        let mut changes = Vec::new();
        let mut saved = 0;
        for mut shard in self.flight.rings.shards() {
            // What was clean before this call was saved by an earlier one.
            if shard.len() > FLIGHT_DEVICES_MAX / SHARDS {
                shard.retain(|ring| ring.is_dirty());
            }
            for (tenant, device, ring) in shard.iter_mut() {
                if saved == SAVED_AT_ONCE_MAX {
                    break;
                }
                if !ring.is_due(now) {
                    continue;
                }
                if ring.needs_saved() {
                    // Without them, the entries would go on where they began: wait for the next call.
                    let Ok(chunks) = self.saved_chunks(tenant, device) else { continue };
                    ring.follow(chunks);
                }
                saved += 1;
                let keys = keys(tenant, device);
                changes.extend(ring.take_chunks(now).into_iter().filter_map(|(slot, value)| {
                    let key = keys.clone().level(&slot.to_string()).key().ok()?;
                    Some(ViewChange { key, value })
                }));
            }
        }
        changes
    }

    /// Forgets the device's entries, the saved ones with the next checkpoint.
    pub(crate) fn forget_flight(&self, tenant: &TenantId, device: &DeviceId) -> Result<(), StorageError> {
        let mut shard = self.flight.rings.shard(device);
        let is_saved = !self.store.table.scan(&keys(tenant, device).prefix(), None, 1)?.is_empty();
        if is_saved || shard.get(tenant, device).is_some() {
            shard.insert(tenant, device, Ring::wiped());
        }
        Ok(())
    }
}

impl FlightEntry {
    fn new(kind: FlightKind, detail: &impl Display, now: Timestamp) -> Self {
        let mut text = String::new();
        write_detail(&mut text, detail);
        Self { at: now, since: now, kind, detail: text, count: 1 }
    }
}

fn keys(tenant: &TenantId, device: &DeviceId) -> KeyBuilder {
    Key::of("flight").level(tenant.as_str()).level(device.as_str())
}
