//! Reading back what was recorded: the messages of a tenant, in the order of the log, from a time
//! or a position on. For readers beside the path of a message: each call reads from the disk.

use std::sync::Arc;
use std::time::Duration;

use crate::hub::Hub;
use crate::id::TenantId;
use crate::message::Message;
use crate::record::{Recipient, Record};
use crate::storage::{Position, StorageError};
use crate::time::Timestamp;

/// How much of the log is read at once to find out what time it is there, in bytes.
const PROBE_BYTES: usize = 16 * 1024;
/// A message may stand in the log a little before one that arrived earlier.
const DISORDER_MAX: Duration = Duration::from_secs(2);

/// Where a reader of what was recorded begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayStart {
    /// With the first message that arrived at this time or later.
    Since(Timestamp),
    /// With the first message behind this place of the log, the last one that the reader has.
    After(Position),
}

/// The place of the log at which a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayPlace {
    /// The first record to look at is behind this.
    pub after: Position,
    /// What arrived before is not wanted.
    pub since: Timestamp,
    /// Whether the log was trimmed behind the wanted start, so that messages may be missing.
    pub is_trimmed: bool,
}

/// A piece of what was recorded.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The tenant's messages, each with its place in [`Message::logged`].
    pub messages: Vec<Arc<Message>>,
    /// Everything up to here was looked at, which is where to go on.
    pub next: Position,
    /// Whether a part of what was asked for is not in the log any more.
    pub is_trimmed: bool,
}

impl Hub {
    /// Finds where to begin. Reads a few places of the log, however long it is.
    #[must_use]
    pub fn replay_place(&self, start: ReplayStart) -> ReplayPlace {
        let oldest = Position(self.store.log.first().0.saturating_sub(1));
        match start {
            ReplayStart::After(position) => {
                let after = position.min(self.store.log.end());
                ReplayPlace { after, since: Timestamp(i64::MIN), is_trimmed: after < oldest }
            }
            ReplayStart::Since(since) => {
                let disorder = i64::try_from(DISORDER_MAX.as_millis()).unwrap_or(i64::MAX);
                let after = self.position_of(Timestamp(since.0.saturating_sub(disorder)));
                ReplayPlace { after, since, is_trimmed: after <= oldest && oldest > Position(0) }
            }
        }
    }

    /// A place of the log behind which nothing arrived before `time`, by the server's clock. Where
    /// that was set back, the place is near one of those that answer.
    #[must_use]
    pub fn position_of(&self, time: Timestamp) -> Position {
        let mut low = self.store.log.first().0.saturating_sub(1);
        let mut high = self.durability.position().0;
        while low < high {
            let middle = low + (high - low) / 2;
            match self.time_behind(Position(middle), Position(high)) {
                Some((position, at)) if at < time => low = position.0,
                _ => high = middle,
            }
        }
        Position(low)
    }

    /// Place and time of the first message behind `after` and not behind `last`.
    fn time_behind(&self, mut after: Position, last: Position) -> Option<(Position, Timestamp)> {
        while after < last {
            // What is damaged tells no time.
            let batch = self.store.log.read_after(after, PROBE_BYTES).ok()?;
            for (position, bytes) in batch.records {
                if let Ok(Record::Message { message, is_copy: false, .. }) = Record::decode(&bytes) {
                    return (position <= last).then_some((position, message.time));
                }
            }
            if batch.next <= after {
                return None;
            }
            after = batch.next;
        }
        None
    }

    /// Reads about `bytes_max` bytes of the log behind `after`, as far as it is durable: at least
    /// one record when there is one.
    ///
    /// # Errors
    /// The store is broken. What is damaged is passed over.
    pub fn read_recorded(
        &self,
        tenant: &TenantId,
        after: Position,
        bytes_max: usize,
    ) -> Result<Recorded, StorageError> {
        let piece = self.read_piece(tenant, after, bytes_max)?;
        let messages = piece.messages.into_iter().map(|(message, _)| message).collect();
        Ok(Recorded { messages, next: piece.next, is_trimmed: piece.is_trimmed })
    }

    /// The same, with the sessions that got each message.
    pub(super) fn read_piece(
        &self,
        tenant: &TenantId,
        after: Position,
        bytes_max: usize,
    ) -> Result<Piece, StorageError> {
        let was_trimmed = self.store.log.first().0 > after.0 + 1;
        let mut behind = after;
        let batch = loop {
            match self.store.log.read_after(behind, bytes_max) {
                Ok(batch) => break batch,
                Err(StorageError::Damaged(_)) if behind < self.durability.position() => behind.0 += 1,
                Err(error) => return Err(error),
            }
        };
        // Trimmed in the meantime? Then what was read begins where the log does now, or later.
        let first = self.store.log.first();
        let is_gone = batch.records.first().is_none_or(|(position, _)| *position >= first);
        let is_trimmed = was_trimmed || (first.0 > after.0 + 1 && is_gone);
        let mut messages = Vec::new();
        for (position, bytes) in &batch.records {
            if let Ok(Record::Message { tenant: whose, message, recipients, is_copy: false, .. }) =
                Record::decode(bytes)
                && whose == *tenant
            {
                messages.push((Arc::new(message.logged_at(*position)), recipients));
            }
        }
        Ok(Piece { messages, next: batch.next.max(behind), is_trimmed })
    }
}

/// As [`Recorded`], with the persistent sessions that got each message.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) messages: Vec<(Arc<Message>, Vec<Recipient>)>,
    pub(super) next: Position,
    pub(super) is_trimmed: bool,
}
