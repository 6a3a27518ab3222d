//! Commands on their way: what waits, what left, what arrived.

use std::sync::Arc;

use bytes::Bytes;

use super::index::{Drop, Open, command_key, index_key, key_ends_at};
use super::list::decode;
use super::{Command, CommandEvent, CommandState, Receipt, state};
use crate::Hub;
use crate::changes::Part;
use crate::flight::FlightKind;
use crate::id::{CommandId, DeviceId, TenantId};
use crate::live::{LiveEvent, LiveKind};
use crate::storage::{Expected, Position, PutError, StorageError};
use crate::time::Timestamp;

/// What an event did to a command.
pub(super) enum Changed {
    /// There is no such command.
    Unknown,
    /// Nothing: it stands as before.
    Same(Command),
    /// It is this now, durable at the position.
    Now(Command, Position),
}

impl Hub {
    /// The commands that wait for a contact, the most urgent first, then the oldest. None of them
    /// was ever sent. Costs one look-up when there are none.
    #[must_use]
    pub fn waiting_commands(&self, tenant: &TenantId, device: &DeviceId, now: Timestamp) -> Vec<Command> {
        self.commands_where(tenant, device, now, CommandState::Queued)
    }

    /// The commands that were sent by a protocol that tells of delivery, and did not: for a session
    /// that begins anew, which may send them again under their ids.
    #[must_use]
    pub fn unconfirmed_commands(&self, tenant: &TenantId, device: &DeviceId, now: Timestamp) -> Vec<Command> {
        self.commands_where(tenant, device, now, CommandState::Sent)
    }

    /// Whether the device has a command that is not finished. Costs one look-up.
    pub(crate) fn has_open_commands(&self, tenant: &TenantId, device: &DeviceId) -> bool {
        let shard = self.mailboxes.boxes.shard(device);
        shard.get(tenant, device).is_some_and(|mailbox| !mailbox.open.is_empty())
    }

    /// The ids of the commands that left and are not finished, the oldest first: what an answer may be
    /// to.
    #[must_use]
    pub fn unanswered_commands(&self, tenant: &TenantId, device: &DeviceId) -> Vec<CommandId> {
        let shard = self.mailboxes.boxes.shard(device);
        let Some(mailbox) = shard.get(tenant, device) else { return Vec::new() };
        let has_left = |open: &Open| matches!(open.state, CommandState::Sent | CommandState::Delivered);
        mailbox.open.iter().filter(|(_, open)| has_left(open)).map(|(id, _)| id.clone()).collect()
    }

    fn commands_where(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        now: Timestamp,
        state: CommandState,
    ) -> Vec<Command> {
        let ids = match self.mailboxes.boxes.shard(device).get(tenant, device) {
            None => return Vec::new(),
            Some(mailbox) => mailbox.ids_in_order(|open| {
                open.state == state
                    && (state == CommandState::Queued || open.receipt == Receipt::Awaited)
                    && open.expires_at.is_none_or(|at| at > now)
            }),
        };
        let read = |id| match self.command(tenant, device, &id) {
            Ok(command) => command.filter(|command| command.state == state),
            Err(error) => {
                self.note(tenant, device, FlightKind::Error, format_args!("command {id}: {error}"), now);
                None
            }
        };
        ids.into_iter().filter_map(read).collect()
    }

    /// Notes that the command is about to leave. Wait until the position is durable, then send it;
    /// `None`: do not send it, it is gone, finished, expired or was sent by somebody else.
    ///
    /// With [`Receipt::Awaited`], a command that was sent that way before and is not confirmed may
    /// be sent again; with [`Receipt::None`], each command is sent once.
    ///
    /// # Errors
    /// What the store says; do not send it.
    pub fn mark_sent(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        id: &CommandId,
        receipt: Receipt,
    ) -> Result<Option<Position>, StorageError> {
        match self.change_command(tenant, device, id, CommandEvent::Sent(receipt))? {
            Changed::Now(_, position) => Ok(Some(position)),
            Changed::Same(command) if receipt == Receipt::Awaited && command.is_unconfirmed() => {
                let overdue = command.is_overdue(self.now());
                // The first mark may not be durable yet.
                Ok((!overdue).then(|| self.store.log.end()))
            }
            Changed::Unknown | Changed::Same(_) => Ok(None),
        }
    }

    /// Notes that the protocol told of the delivery; `None` when that changes nothing. Nobody
    /// needs to wait for it.
    ///
    /// # Errors
    /// What the store says.
    pub fn mark_delivered(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        id: &CommandId,
    ) -> Result<Option<Position>, StorageError> {
        self.marked(tenant, device, id, CommandEvent::Delivered)
    }

    /// Notes that nobody knows whether the sent command arrived, such as after a reset just behind
    /// the write: it stays `sent` with this error and is not sent again.
    ///
    /// # Errors
    /// What the store says.
    pub fn mark_in_doubt(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        id: &CommandId,
        error: &str,
    ) -> Result<Option<Position>, StorageError> {
        self.marked(tenant, device, id, CommandEvent::InDoubt(error.to_owned()))
    }

    fn marked(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        id: &CommandId,
        event: CommandEvent,
    ) -> Result<Option<Position>, StorageError> {
        Ok(match self.change_command(tenant, device, id, event)? {
            Changed::Now(_, position) => Some(position),
            Changed::Unknown | Changed::Same(_) => None,
        })
    }

    /// Takes up to `limit` waiting commands to send them now by a protocol that does not tell of
    /// delivery (an HTTP response): they are `sent`, durably, when this returns.
    ///
    /// # Errors
    /// What the store says.
    pub async fn take_commands(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        limit: usize,
    ) -> Result<Vec<Command>, StorageError> {
        let mut taken = Vec::new();
        let mut last = Position(0);
        for command in self.waiting_commands(tenant, device, self.now()) {
            if taken.len() == limit {
                break;
            }
            let event = CommandEvent::Sent(Receipt::None);
            if let Changed::Now(command, position) =
                self.change_command(tenant, device, &command.id, event)?
            {
                taken.push(command);
                last = last.max(position);
            }
        }
        self.durable(last).await?;
        Ok(taken)
    }

    /// Lets the event happen to the command, and tells of it.
    pub(super) fn change_command(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        id: &CommandId,
        event: CommandEvent,
    ) -> Result<Changed, StorageError> {
        let now = self.now();
        let changed = self.store_change(tenant, device, id, &event, now)?;
        if let Changed::Now(command, _) = &changed {
            self.tell_command(tenant, command, now);
        }
        Ok(changed)
    }

    #[expect(clippy::too_many_arguments, reason = "the event and its time stay apart for the pure function")]
    fn store_change(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        id: &CommandId,
        event: &CommandEvent,
        now: Timestamp,
    ) -> Result<Changed, StorageError> {
        let key = command_key(tenant, device, id);
        let mut shard = self.mailboxes.boxes.shard(device);
        loop {
            let Some(entry) = self.store.table.get(&key)? else { return Ok(Changed::Unknown) };
            let command = decode(&key, &entry)?;
            let Some(next) = state::after(&command, event.clone(), now) else {
                return Ok(Changed::Same(command));
            };
            let expected = Expected::Revision(entry.revision);
            let change = match self.store.table.put(&key, Some(encode(&next)), expected) {
                Ok(change) => change,
                // Another node was first: look again.
                Err(PutError::Conflict(_)) => continue,
                Err(PutError::Storage(error)) => return Err(error),
            };
            let mailbox = shard.entry(tenant, device);
            mailbox.follow(&next);
            mailbox.wake();
            if next.state.is_final() {
                self.mailboxes.drop_deadlines(tenant, &next, Drop::Expiry);
                if key_ends_at(&next).is_none_or(|at| at <= now) {
                    self.drop_index(tenant, device, id)?;
                }
            }
            return Ok(Changed::Now(next, change.position));
        }
    }

    /// Removes the note that the command is open; one that stays behind is removed at a start.
    pub(super) fn drop_index(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        id: &CommandId,
    ) -> Result<(), StorageError> {
        match self.store.table.put(&index_key(tenant, device, id), None, Expected::Any) {
            Ok(_) | Err(PutError::Conflict(_)) => Ok(()),
            Err(PutError::Storage(error)) => Err(error),
        }
    }

    /// Writes the command's state into the flight recorder and the live feed.
    pub(super) fn tell_command(&self, tenant: &TenantId, command: &Command, now: Timestamp) {
        let text = format_args!("{} {} {}", command.state.name(), command.name, command.id);
        self.note(tenant, &command.device, FlightKind::Command, text, now);
        self.tell_change(tenant, &command.device, Some(Part::Commands));
        self.live.send(|| LiveEvent {
            tenant: tenant.clone(),
            device: command.device.clone(),
            at: now,
            kind: LiveKind::Command(Arc::new(command.clone())),
        });
    }
}

/// A command as it is stored.
pub(super) fn encode(command: &Command) -> Bytes {
    Bytes::from(serde_json::to_vec(command).expect("a command has text keys only"))
}
