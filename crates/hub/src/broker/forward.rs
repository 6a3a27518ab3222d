//! Copies what sleeping sessions still wait for to the end of the log, so that old segments can go
//! and one sleeper holds up nobody.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::hub::Hub;
use crate::message::Message;
use crate::record::{Recipient, Record};
use crate::storage::{Position, StorageError};

use super::TenantBroker;
use super::publish::{Durable, recipient};
use super::session::Shared;

/// How many messages are copied at one checkpoint, so that it stays short.
const COPIED_AT_ONCE_MAX: usize = 10_000;

/// One message and the sessions that still wait for it.
#[derive(Default)]
struct Waiting {
    recipients: Vec<Recipient>,
    sessions: Vec<Arc<Shared>>,
}

impl Hub {
    /// Copies messages that wait in the log more than `forward_after` positions back (see
    /// [`crate::Settings`]). A copy is for its recipients only: it is not retained again, and its
    /// readings are not recorded again.
    pub(crate) fn copy_forward(&self) -> Result<(), StorageError> {
        let end = self.store.log.end().0;
        let limit = Position(end.saturating_sub(self.settings.forward_after));
        for tenant in self.broker.all_tenants() {
            let mut left = COPIED_AT_ONCE_MAX;
            for (position, waiting) in waiting_before(&tenant, limit) {
                if left == 0 {
                    break;
                }
                left -= 1;
                self.copy_one(&tenant, position, waiting)?;
            }
        }
        Ok(())
    }

    fn copy_one(
        &self,
        tenant: &TenantBroker,
        position: Position,
        waiting: Waiting,
    ) -> Result<(), StorageError> {
        let Some(bytes) = self.store.log.read(position)? else { return Ok(()) };
        let Ok(Record::Message { message, .. }) = Record::decode(&bytes) else { return Ok(()) };
        let copy = Message { retain: false, telemetry: None, ..message };
        let copied = self.append_message(tenant, &copy, &waiting.recipients, Durable::Copy)?;
        for (recipient, shared) in waiting.recipients.iter().zip(&waiting.sessions) {
            shared.outbox().moved(recipient.sequence, copied);
        }
        self.finish(copied);
        Ok(())
    }
}

fn waiting_before(tenant: &TenantBroker, limit: Position) -> BTreeMap<Position, Waiting> {
    let sessions: Vec<Arc<Shared>> = tenant.sessions().values().cloned().collect();
    let mut found: BTreeMap<Position, Waiting> = BTreeMap::new();
    for shared in sessions {
        let outbox = shared.outbox();
        let old = outbox.owed().filter(|queued| queued.position > Position(0) && queued.position < limit);
        for queued in old.take(COPIED_AT_ONCE_MAX) {
            let waiting = found.entry(queued.position).or_default();
            waiting.recipients.push(recipient(&shared, queued));
            waiting.sessions.push(Arc::clone(&shared));
        }
    }
    found
}
