//! Taking commands: what is checked, and how they get into the mailbox.

use bytes::Bytes;
use serde_json::Value;

use super::deliver::encode;
use super::index::{Drop, command_key, index_key};
use super::{
    COMMAND_JSON_MAX, COMMAND_NAME_LENGTH_MAX, Command, CommandState, IDEMPOTENCY_KEPT,
    IDEMPOTENCY_KEY_LENGTH_MAX, NewCommand, Receipt, SendCommandError,
};
use crate::Hub;
use crate::id::{CommandId, DeviceId, TenantId};
use crate::storage::{Expected, Key, Position, PutError, StorageError};
use crate::time::Timestamp;
use crate::twin::json;

/// What became of a request to send.
enum Taken {
    /// A new command.
    New(Box<Command>, Position),
    /// The key was used before, for this command.
    Before(CommandId, Position),
}

impl Hub {
    /// Takes a command into the device's mailbox: durable when this returns, and offered to its
    /// open sessions. A repeated idempotency key gives the first command back.
    ///
    /// # Errors
    /// [`SendCommandError`]; nothing was taken then.
    pub async fn send_command(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        new: NewCommand,
    ) -> Result<Command, SendCommandError> {
        let (command, position) = self.put_command(tenant, device, &new)?;
        self.durable(position).await?;
        Ok(command)
    }

    /// As [`Hub::send_command`], for who waits by themselves: it is durable when the log is, up to the
    /// position.
    ///
    /// # Errors
    /// As [`Hub::send_command`].
    pub fn put_command(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        new: &NewCommand,
    ) -> Result<(Command, Position), SendCommandError> {
        check(new)?;
        let Some(registered) = self.device(tenant, device)? else {
            return Err(SendCommandError::DeviceUnknown);
        };
        let now = self.now();
        let (command, position) = match self.take_command(tenant, device, new, now)? {
            Taken::New(command, position) => (*command, position),
            Taken::Before(id, position) => {
                let first = self.command(tenant, device, &id)?;
                return Ok((same_command(first, new)?, position));
            }
        };
        // Whoever deleted the device in between did not see this command.
        let still = self.device(tenant, device)?;
        if still.is_none_or(|still| still.born != registered.born) {
            self.forget_command(tenant, &command)?;
            return Err(SendCommandError::DeviceUnknown);
        }
        self.counters.commands_total.increment();
        self.tell_command(tenant, &command, now);
        self.offer_command(tenant, device, &command);
        Ok((command, position))
    }

    fn take_command(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        new: &NewCommand,
        now: Timestamp,
    ) -> Result<Taken, SendCommandError> {
        let mut shard = self.mailboxes.boxes.shard(device);
        let mailbox = shard.entry(tenant, device);
        if let Some(used) = new.idempotency_key.as_ref().and_then(|key| mailbox.keys.get(key))
            && used.created_at.after(IDEMPOTENCY_KEPT) > now
        {
            return Ok(Taken::Before(used.id.clone(), used.position));
        }
        let commands_max = self.settings.commands_max;
        if mailbox.waiting() >= commands_max {
            return Err(SendCommandError::QueueFull(commands_max));
        }
        let kept = match mailbox.kept {
            Some(kept) => kept,
            None => self.count_commands(tenant, device)?,
        };
        let command = Command {
            id: self.mailboxes.next_id(now, self.random_bytes()),
            device: device.clone(),
            name: new.name.clone(),
            params: if new.params.is_null() {
                Value::Object(serde_json::Map::new())
            } else {
                new.params.clone()
            },
            priority: new.priority,
            state: CommandState::Queued,
            created_at: now,
            expires_at: new.expires_in.map(|after| now.after(after)),
            sent_at: None,
            delivered_at: None,
            finished_at: None,
            result: None,
            error: None,
            idempotency_key: new.idempotency_key.clone(),
            receipt: Receipt::None,
        };
        // The index first: an entry without its command is removed at a start, a command without
        // its entry would never be sent.
        self.put(&index_key(tenant, device, &command.id), Some(Bytes::new()))?;
        let position = self.put(&command_key(tenant, device, &command.id), Some(encode(&command)))?;
        self.mailboxes.set_deadlines(tenant, &command);
        mailbox.follow(&command);
        mailbox.follow_key(&command, position);
        mailbox.kept = Some(kept + 1);
        mailbox.wake();
        self.drop_oldest(tenant, device, mailbox)?;
        Ok(Taken::New(Box::new(command), position))
    }

    pub(super) fn put(&self, key: &Key, value: Option<Bytes>) -> Result<Position, StorageError> {
        match self.store.table.put(key, value, Expected::Any) {
            Ok(change) => Ok(change.position),
            Err(PutError::Storage(error)) => Err(error),
            Err(PutError::Conflict(_)) => unreachable!("nothing conflicts with an unconditional put"),
        }
    }

    fn count_commands(&self, tenant: &TenantId, device: &DeviceId) -> Result<usize, StorageError> {
        let mut count = 0;
        self.each_command_key("commands", tenant, device, |_| {
            count += 1;
            Ok(())
        })?;
        Ok(count)
    }

    fn forget_command(&self, tenant: &TenantId, command: &Command) -> Result<(), StorageError> {
        let device = &command.device;
        let mut shard = self.mailboxes.boxes.shard(device);
        self.put(&command_key(tenant, device, &command.id), None)?;
        self.drop_index(tenant, device, &command.id)?;
        self.mailboxes.drop_deadlines(tenant, command, Drop::Both);
        if let Some(mailbox) = shard.get_mut(tenant, device) {
            mailbox.open.remove(&command.id);
            mailbox.drop_key(command);
            mailbox.kept = None;
        }
        Ok(())
    }
}

fn same_command(first: Option<Command>, new: &NewCommand) -> Result<Command, SendCommandError> {
    let same = |first: &Command| {
        let params_same = first.params == new.params
            || (new.params.is_null() && first.params.as_object().is_some_and(serde_json::Map::is_empty));
        first.name == new.name && params_same
    };
    first.filter(same).ok_or_else(|| {
        SendCommandError::Invalid("this idempotency key was used for another command".to_owned())
    })
}

fn check(new: &NewCommand) -> Result<(), SendCommandError> {
    let invalid = |text: &str| Err(SendCommandError::Invalid(text.to_owned()));
    let name_fits = (1..=COMMAND_NAME_LENGTH_MAX).contains(&new.name.len());
    if !name_fits || new.name.chars().any(char::is_control) {
        return invalid("a command's name has 1 to 256 bytes and no control characters");
    }
    if new.expires_in.is_some_and(|duration| duration.is_zero()) {
        return invalid("a command needs some time before it expires");
    }
    let key_length = new.idempotency_key.as_ref().map_or(1, String::len);
    if !(1..=IDEMPOTENCY_KEY_LENGTH_MAX).contains(&key_length) {
        return invalid("an idempotency key has 1 to 256 bytes");
    }
    json::check(&new.params, COMMAND_JSON_MAX)
        .map_err(|error| SendCommandError::Invalid(format!("params: {error}")))
}
