//! Housekeeping: what is saved and what falls due, about once a second.

use std::sync::PoisonError;

use crate::broker::recover::READER;
use crate::hub::Hub;
use crate::storage::{Position, StorageError, ViewChange};

const EXPIRED_EVERY_SECONDS: i64 = 15;

/// Views as they were at one moment, on their way to the table.
#[derive(Debug)]
pub(crate) struct Views {
    /// Every record up to here has taken effect in them.
    position: Position,
    /// Records up to here may have. Saved before these are durable, a view could know of something
    /// that a power cut undoes.
    end: Position,
    /// The oldest place in the log that a session needs, once everything up to `end` is durable: what
    /// moved it, an acknowledgement or a copy, is no older than that.
    oldest_queued: Position,
    changes: Vec<ViewChange>,
}

/// What checkpoints remember from one to the next.
#[derive(Debug, Default)]
pub(crate) struct Checkpoints {
    waiting: Option<Views>,
    /// What a restart does not need of the log.
    needless: Position,
}

impl Hub {
    /// Saves the views as they are now, or begins to: a later call ends what waits for the log to
    /// be durable. Gives the position up to which a restart does not need the log.
    ///
    /// # Errors
    /// The store could not; the next call tries again.
    pub fn checkpoint(&self) -> Result<Position, StorageError> {
        self.copy_forward()?;
        let mut checkpoints = self.checkpoints.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..2 {
            let views = match checkpoints.waiting.take() {
                Some(views) => views,
                None => self.views(),
            };
            if views.end > self.durability.position() {
                checkpoints.waiting = Some(views);
                break;
            }
            let saved = self.store.table.save_view(READER, views.position, views.changes.clone());
            if let Err(error) = saved {
                checkpoints.waiting = Some(views);
                return Err(error);
            }
            checkpoints.needless = views.position.min(views.oldest_queued);
            if views.changes.is_empty() {
                break;
            }
        }
        Ok(checkpoints.needless)
    }

    fn views(&self) -> Views {
        // Read before the views are: replaying a record that a view already has changes nothing.
        let position = self.applied();
        let mut changes = self.broker_changes();
        changes.extend(self.latest.take_changes(&self.store));
        changes.extend(self.flight_changes());
        changes.extend(self.presence_changes());
        let oldest_queued = self.oldest_queued();
        Views { position, end: self.store.log.end(), oldest_queued, changes }
    }

    /// Does what the clock asks for: ends sessions, sends wills, expires commands.
    pub fn tick(&self) {
        let now = self.now();
        self.keep_appointments();
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
            let wanted = next.unwrap_or(Position(durable.0.saturating_add(1)));
            match durability.reached(wanted).await {
                Ok(position) => durable = position,
                Err(_broken) => return,
            }
        }
    }
}
