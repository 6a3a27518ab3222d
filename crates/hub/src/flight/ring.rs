//! The entries of one device: the last chunk in memory, all of them as chunks in the table.

use std::collections::VecDeque;
use std::fmt::Display;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{FLIGHT_COUNT_SAVED_EVERY, FLIGHT_ENTRIES_MAX, FlightEntry, FlightKind, write_detail};
use crate::time::Timestamp;

/// How many entries a chunk has: one event rewrites at most so many, about 2 KiB.
const CHUNK: u64 = 25;
/// In how many places chunks go round: those of all entries that are kept, and the one that fills.
pub(super) const SLOTS: usize = FLIGHT_ENTRIES_MAX / 25 + 1;

/// A chunk as it is saved.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Chunk {
    /// The sequence number of its first entry.
    pub(super) first: u64,
    entries: Vec<FlightEntry>,
}

/// What the table has of this device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Saved {
    /// Nobody looked yet; sequence numbers are counted from 0 for now.
    #[default]
    Unread,
    /// Entries that are to go.
    Wiped,
    /// What goes before the entries here.
    Known,
}

/// What differs from what was saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Changed {
    #[default]
    Nothing,
    /// The last entry went on counting.
    Count,
    Entries,
}

#[derive(Debug, Default)]
pub(super) struct Ring {
    entries: VecDeque<FlightEntry>,
    /// The sequence number of the first entry here.
    first: u64,
    /// Entries before this one are saved as they are.
    unsaved: u64,
    saved: Saved,
    changed: Changed,
    saved_at: Timestamp,
}

impl Ring {
    /// A ring whose saved entries are to go.
    pub(super) fn wiped() -> Self {
        Self { saved: Saved::Wiped, changed: Changed::Entries, ..Self::default() }
    }

    pub(super) fn is_wiped(&self) -> bool {
        self.saved == Saved::Wiped
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.changed != Changed::Nothing
    }

    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        match self.changed {
            Changed::Nothing => false,
            Changed::Count => {
                // A clock that was set back must not hold it up.
                now < self.saved_at || now.since(self.saved_at) >= FLIGHT_COUNT_SAVED_EVERY
            }
            Changed::Entries => true,
        }
    }

    pub(super) fn needs_saved(&self) -> bool {
        self.saved == Saved::Unread
    }

    pub(super) fn note(&mut self, kind: FlightKind, detail: &impl Display, now: Timestamp) {
        let mut new = None;
        if let Some(last) = self.entries.back_mut().filter(|last| last.kind == kind) {
            let is_same = if kind.is_folded() {
                // Into the text that is there: no allocation on the path of a reading.
                last.detail.clear();
                write_detail(&mut last.detail, detail);
                true
            } else {
                new.insert(FlightEntry::new(kind, detail, now)).detail == last.detail
            };
            if is_same {
                last.count += 1;
                last.at = now;
                self.changed = self.changed.max(Changed::Count);
                return;
            }
        }
        self.entries.push_back(new.unwrap_or_else(|| FlightEntry::new(kind, detail, now)));
        self.changed = Changed::Entries;
        if self.entries.len() > FLIGHT_ENTRIES_MAX {
            self.entries.pop_front();
            self.first += 1;
            self.unsaved = self.unsaved.max(self.first);
        }
    }

    /// Goes on behind what the table has, in order of age.
    pub(super) fn follow(&mut self, saved: Vec<Chunk>) {
        self.saved = Saved::Known;
        let Some(last) = saved.into_iter().next_back() else { return };
        let next = last.first + last.entries.len() as u64;
        self.first += next;
        self.unsaved += next;
        // Its last chunk is written anew when it is not full.
        if !next.is_multiple_of(CHUNK) && self.first == next {
            self.first = last.first;
            last.entries.into_iter().rev().for_each(|entry| self.entries.push_front(entry));
        }
    }

    /// The chunks that are to be saved, by slot; `None` removes one. Only the last stays here.
    pub(super) fn take_chunks(&mut self, now: Timestamp) -> Vec<(usize, Option<Bytes>)> {
        let mut chunks: Vec<(usize, Option<Bytes>)> = Vec::new();
        let next = self.first + self.entries.len() as u64;
        let last_chunk = next.saturating_sub(1) / CHUNK;
        if self.saved == Saved::Wiped {
            chunks.extend((0..SLOTS).map(|slot| (slot, None)));
        }
        let oldest = if next == 0 { 1 } else { self.unsaved / CHUNK };
        for number in oldest..=last_chunk {
            let start = (number * CHUNK).max(self.first);
            let end = ((number + 1) * CHUNK).min(next);
            let skip = usize::try_from(start - self.first).unwrap_or(usize::MAX);
            let count = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
            let entries: Vec<_> = self.entries.iter().skip(skip).take(count).cloned().collect();
            if entries.is_empty() {
                continue;
            }
            let value = serde_json::to_vec(&Chunk { first: start, entries });
            let slot = usize::try_from(number % SLOTS as u64).unwrap_or(0);
            chunks.retain(|(other, _)| *other != slot);
            chunks.push((slot, value.ok().map(Bytes::from)));
        }
        while self.first < last_chunk * CHUNK {
            self.entries.pop_front();
            self.first += 1;
        }
        self.entries.shrink_to(self.entries.len().next_power_of_two());
        // The last entry may go on counting.
        self.unsaved = next.saturating_sub(1);
        self.saved = Saved::Known;
        self.changed = Changed::Nothing;
        self.saved_at = now;
        chunks
    }

    /// All entries, the saved ones included, the newest first.
    pub(super) fn newest_first(&self, saved: Vec<Chunk>) -> Vec<FlightEntry> {
        let before = if self.saved == Saved::Unread { u64::MAX } else { self.first };
        let older = saved.into_iter().rev().flat_map(|chunk| {
            let first = chunk.first;
            let numbered = chunk.entries.into_iter().enumerate().rev();
            numbered.filter(move |(place, _)| first + (*place as u64) < before).map(|(_, entry)| entry)
        });
        self.entries.iter().rev().cloned().chain(older).take(FLIGHT_ENTRIES_MAX).collect()
    }
}
