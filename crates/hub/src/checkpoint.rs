//! Housekeeping: what is saved and what falls due, about once a second.

use std::sync::PoisonError;

use crate::broker::recover::READER;
use crate::hub::Hub;
use crate::storage::{Position, StorageError, ViewChange};

const EXPIRED_EVERY_SECONDS: i64 = 15;

impl Hub {
    /// Saves every view up to a position before which all records have taken effect, and gives it:
    /// what stands before it in the log is not needed for a restart.
    ///
    /// # Errors
    /// The store could not; the next call saves what this one did not.
    pub fn checkpoint(&self) -> Result<Position, StorageError> {
        self.copy_forward()?;
        // Read before the views are: replaying a record that a view already has changes nothing.
        let position = self.applied().min(self.durability.position());
        let mut changes = self.broker_changes();
        changes.extend(self.latest.take_changes(&self.store));
        changes.extend(self.flight_changes());
        changes.extend(self.presence_changes());
        let mut unsaved = self.unsaved.lock().unwrap_or_else(PoisonError::into_inner);
        unsaved.extend(changes.into_iter().map(|change| (change.key, change.value)));
        let all = unsaved.iter().map(|(key, value)| ViewChange { key: key.clone(), value: value.clone() });
        self.store.table.save_view(READER, position, all.collect())?;
        unsaved.clear();
        drop(unsaved);
        Ok(position.min(self.oldest_queued()))
    }

    /// Does what the clock asks for: ends sessions, sends wills, expires commands.
    pub fn tick(&self) {
        let now = self.now();
        self.keep_appointments(now);
        self.expire_commands(now);
        // Looks at every session, so not each second; a credential may outlive its time so long.
        if now.0 / 1_000 % EXPIRED_EVERY_SECONDS == 0 {
            self.close_expired(now);
        }
    }

    /// Sends QoS 2 messages on as they become durable. Runs as long as the hub does; ends when the
    /// store is broken or closed. Cancel safe.
    pub async fn run_deferred(&self) {
        let mut durability = self.durability();
        let mut durable = durability.position();
        loop {
            let next = self.deliver_deferred(durable);
            let wanted = next.unwrap_or(Position(durable.0 + 1));
            match durability.reached(wanted).await {
                Ok(position) => durable = position,
                Err(_broken) => return,
            }
        }
    }
}
