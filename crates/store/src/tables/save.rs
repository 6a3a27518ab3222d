//! Saving the tables, and catching up with the log after a start.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use roost_hub::storage::{Position, Revision, StorageError};

use super::file::{Changes, TablesFile};
use super::{Queued, SnapshotOf, State, Tables, change};
use crate::log::lock;
use crate::record::Kind;
use crate::{OpenError, is_full};

/// How long a change waits at most.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);
/// How long to wait when there was no room.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// Changes in one transaction.
const TRANSACTION_LENGTH_MAX: usize = 20_000;
/// The file's position is saved when the log is so many positions ahead, changes or not: the log is
/// not trimmed beyond it and a start reads on from it.
const LAG_MAX: u64 = 65_536;
const CATCH_UP_BYTES: usize = 1024 * 1024;

/// How saving went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Saved {
    Yes,
    /// Later, perhaps.
    NoRoom,
    /// The log is broken now.
    Never,
}

impl Tables {
    /// Reads from the log what the file does not have yet.
    pub(crate) fn catch_up(&self) -> Result<(), OpenError> {
        let end = self.log.durable();
        let mut state = lock(&self.state);
        let mut position = state.saved;
        while position < end {
            let batch = match self.log.read_kind_after(Kind::Change, Position(position), CATCH_UP_BYTES) {
                Ok(batch) => batch,
                Err(error) => {
                    // Known as damage by now: goes on behind it.
                    let lost = |position| self.log.damage_at(position);
                    match lost(position + 1) {
                        Some(damage) => position = damage.last.0,
                        None => return Err(OpenError::Damaged(error.to_string())),
                    }
                    continue;
                }
            };
            for (at, record) in &batch.records {
                let Some((key, value)) = change::decode(record) else {
                    return Err(OpenError::Damaged(format!("the change at position {} has no key", at.0)));
                };
                state.queue(Queued::Fact { key: key.into(), value, revision: Revision(at.0) });
            }
            position = batch.next.0;
        }
        Ok(())
    }

    /// Saves into the file until closed.
    pub(crate) fn run(&self, mut file: TablesFile) {
        while let Some(changes) = self.next_changes() {
            match self.save(&mut file, &changes) {
                Saved::Yes => {}
                Saved::NoRoom => {
                    if self.wait_closing(RETRY_INTERVAL) {
                        return;
                    }
                }
                Saved::Never => return,
            }
        }
    }

    /// Saves what can be saved now, without waiting for more: for who has no thread for it.
    pub(crate) fn save_waiting(&self, file: &mut TablesFile) -> Saved {
        let changes = self.ready_changes(&lock(&self.state));
        changes.map_or(Saved::Yes, |changes| self.save(file, &changes))
    }

    fn save(&self, file: &mut TablesFile, changes: &Changes) -> Saved {
        let fail = |doing: &str, error: redb::Error| {
            self.log.fail(StorageError::Broken(format!("{doing} the tables: {error}").into()));
            Saved::Never
        };
        match file.save(changes) {
            Ok(()) => {
                self.forget_saved(file, changes);
                Saved::Yes
            }
            Err(redb::Error::Io(error)) if is_full(&error) => {
                tracing::warn!(%error, "there is no room to save the tables; the log has them");
                self.reopen(file).map_or_else(|error| fail("opening", error), |()| Saved::NoRoom)
            }
            Err(error) => fail("saving", error),
        }
    }

    /// What can be saved now; waits for some. `None` when closed and all is saved.
    fn next_changes(&self) -> Option<Changes> {
        let mut state = lock(&self.state);
        loop {
            if !state.is_due() {
                let waited = self.changed.wait_timeout(state, SAVE_INTERVAL);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            let changes = self.ready_changes(&state);
            if changes.is_some() {
                return changes;
            }
            if state.is_closing {
                return None;
            }
            if state.is_due() {
                // Much to save, and none of it durable yet.
                let waited = self.changed.wait_timeout(state, Duration::from_millis(10));
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    fn ready_changes(&self, state: &State) -> Option<Changes> {
        let saved = state.saved;
        // Every change up to here is in the queue: it is put there under this lock.
        let durable = self.log.durable();
        let queued: Vec<Queued> = state
            .queue
            .iter()
            .take_while(|queued| queued.position() <= durable)
            .take(TRANSACTION_LENGTH_MAX)
            .cloned()
            .collect();
        let next_fact = state.queue.iter().skip(queued.len()).find(|queued| queued.view().is_none());
        let position = next_fact.map_or(durable, |fact| durable.min(fact.position() - 1)).max(saved);
        let lag = if state.is_closing { 1 } else { LAG_MAX };
        (!queued.is_empty() || position >= saved + lag).then_some(Changes { queued, position })
    }

    fn forget_saved(&self, file: &TablesFile, changes: &Changes) {
        let mut state = lock(&self.state);
        let State { unsaved, queue, queue_bytes, queued_count, snapshot, saved, .. } = &mut *state;
        *snapshot = SnapshotOf(Arc::clone(&file.snapshot));
        *saved = changes.position;
        let saved_up_to = *queued_count - queue.len() as u64 + changes.queued.len() as u64;
        for queued in queue.drain(..changes.queued.len()) {
            *queue_bytes -= queued.bytes();
            for (key, _, _) in queued.rows() {
                if unsaved.get(key).is_some_and(|unsaved| unsaved.number <= saved_up_to) {
                    unsaved.remove(key);
                }
            }
        }
        state.saved_views.clone_from(&file.views);
        let waiting = state.queue.iter().filter_map(Queued::view);
        let viewed = waiting.map(|(reader, _)| state.saved_view(reader).0).min().unwrap_or(u64::MAX);
        // Under the lock: a view that comes now is to be kept for as well.
        self.log.set_tabled(changes.position, viewed);
    }

    /// A failed transaction leaves redb unusable; what was saved before is read from a new handle.
    fn reopen(&self, file: &mut TablesFile) -> Result<(), redb::Error> {
        *file = TablesFile::reopen(self.log.disk(), &self.log.ballast())?;
        lock(&self.state).snapshot = SnapshotOf(Arc::clone(&file.snapshot));
        Ok(())
    }

    fn wait_closing(&self, duration: Duration) -> bool {
        let state = lock(&self.state);
        let waited = self.changed.wait_timeout_while(state, duration, |state| !state.is_closing);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_closing
    }

    /// Saves what is left and ends. Comes after the end of the log's writer.
    pub(crate) fn close(&self) {
        lock(&self.state).is_closing = true;
        self.changed.notify_all();
    }
}
