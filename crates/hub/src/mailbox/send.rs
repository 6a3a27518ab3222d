//! Taking commands, and what time does to them.

use bytes::Bytes;
use serde_json::Value;

use super::deliver::encode;
use super::index::{Drop, KeyUse, Mailbox, command_key, index_key, key_ends_at, prefix};
use super::list::decode;
use super::{
    COMMAND_JSON_MAX, COMMAND_NAME_LENGTH_MAX, COMMANDS_KEPT_MAX, Command, CommandEvent, CommandState,
    IDEMPOTENCY_KEY_LENGTH_MAX, NewCommand, Receipt, SendCommandError,
};
use crate::Hub;
use crate::flight::FlightKind;
use crate::id::{CommandId, DeviceId, TenantId};
use crate::storage::{Expected, Key, Position, PutError, StorageError};
use crate::time::Timestamp;
use crate::twin::json;

/// How many deadlines one call looks at; the rest waits for the next.
const DEADLINES_MAX: usize = 10_000;
const SCAN_PAGE: usize = 1_000;

/// What became of a request to send.
enum Taken {
    /// A new command.
    New(Command, Position),
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
        check(&new)?;
        let Some(registered) = self.device(tenant, device)? else {
            return Err(SendCommandError::DeviceUnknown);
        };
        let now = self.now();
        let (command, position) = match self.take_command(tenant, device, &new, now)? {
            Taken::New(command, position) => (command, position),
            Taken::Before(id, position) => {
                self.durable(position).await?;
                let first = self.command(tenant, device, &id)?;
                return same_command(first, &new);
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
        self.durable(position).await?;
        Ok(command)
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
        if let Some(used) = new.idempotency_key.as_ref().and_then(|key| mailbox.keys.get(key)) {
            if used.created_at.after(super::IDEMPOTENCY_KEPT) > now {
                return Ok(Taken::Before(used.id.clone(), used.position));
            }
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
        follow_key(mailbox, &command, position);
        mailbox.kept = Some(kept + 1);
        mailbox.wake();
        self.drop_oldest(tenant, device, mailbox)?;
        Ok(Taken::New(command, position))
    }

    fn put(&self, key: &Key, value: Option<Bytes>) -> Result<Position, StorageError> {
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

    fn each_command_key(
        &self,
        table: &'static str,
        tenant: &TenantId,
        device: &DeviceId,
        mut visit: impl FnMut(&Key) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let prefix = prefix(table, tenant, device);
        let mut after = None;
        loop {
            let page = self.store.table.scan(&prefix, after.as_ref(), SCAN_PAGE)?;
            for (key, _) in &page {
                visit(key)?;
            }
            match page.last() {
                Some((key, _)) if page.len() == SCAN_PAGE => after = Some(key.clone()),
                _ => return Ok(()),
            }
        }
    }

    /// Removes the oldest commands that no longer wait when there are more than are kept.
    fn drop_oldest(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        mailbox: &mut Mailbox,
    ) -> Result<(), StorageError> {
        let waiting = mailbox.waiting();
        let kept = mailbox.kept.unwrap_or(0);
        let excess = kept.saturating_sub(waiting + COMMANDS_KEPT_MAX);
        if excess == 0 {
            return Ok(());
        }
        let oldest = self.store.table.scan(&prefix("commands", tenant, device), None, waiting + excess)?;
        let mut removed = 0;
        for (key, entry) in oldest {
            let command = decode(&key, &entry)?;
            if command.state == CommandState::Queued || removed == excess {
                continue;
            }
            self.put(&key, None)?;
            self.drop_index(tenant, device, &command.id)?;
            self.mailboxes.drop_deadlines(tenant, &command, Drop::Both);
            mailbox.open.remove(&command.id);
            drop_key(mailbox, &command);
            removed += 1;
        }
        mailbox.kept = Some(kept - removed);
        Ok(())
    }

    fn forget_command(&self, tenant: &TenantId, command: &Command) -> Result<(), StorageError> {
        let device = &command.device;
        let mut shard = self.mailboxes.boxes.shard(device);
        self.put(&command_key(tenant, device, &command.id), None)?;
        self.drop_index(tenant, device, &command.id)?;
        self.mailboxes.drop_deadlines(tenant, command, Drop::Both);
        if let Some(mailbox) = shard.get_mut(tenant, device) {
            mailbox.open.remove(&command.id);
            drop_key(mailbox, command);
            mailbox.kept = None;
        }
        Ok(())
    }

    /// Lets commands expire whose time has come, and keys be forgotten. Called each second.
    pub fn expire_commands(&self, now: Timestamp) {
        for (_, tenant, device, id) in self.mailboxes.take_due(now, DEADLINES_MAX) {
            if let Err(error) = self.expire_command(&tenant, &device, &id, now) {
                let text = format_args!("command {id} could not expire: {error}");
                self.note(&tenant, &device, FlightKind::Error, text, now);
            }
        }
    }

    fn expire_command(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        id: &CommandId,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        self.change_command(tenant, device, id, CommandEvent::Expired)?;
        let mut shard = self.mailboxes.boxes.shard(device);
        let Some(command) = self.command(tenant, device, id)? else { return Ok(()) };
        if key_ends_at(&command).is_some_and(|at| at <= now) {
            if let Some(mailbox) = shard.get_mut(tenant, device) {
                drop_key(mailbox, &command);
            }
            if command.state.is_final() {
                self.drop_index(tenant, device, id)?;
            }
        }
        Ok(())
    }

    /// Loads which commands are open and which keys still count.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) fn recover_mailboxes(&self) -> Result<(), StorageError> {
        let now = self.now();
        let mut after = None;
        loop {
            let page = self.store.table.scan("commands-index/", after.as_ref(), SCAN_PAGE)?;
            for (key, _) in &page {
                self.recover_command(key, now)?;
            }
            match page.last() {
                Some((key, _)) if page.len() == SCAN_PAGE => after = Some(key.clone()),
                _ => return Ok(()),
            }
        }
    }

    fn recover_command(&self, index: &Key, now: Timestamp) -> Result<(), StorageError> {
        let damaged = || StorageError::Damaged(format!("{index} names no command").into());
        let mut levels = index.levels().skip(1);
        let mut level = || levels.next().ok_or_else(damaged);
        let tenant = TenantId::parse(&level()?).map_err(|_invalid| damaged())?;
        let device = DeviceId::parse(&level()?).map_err(|_invalid| damaged())?;
        let id = CommandId::parse(&level()?).map_err(|_invalid| damaged())?;
        let command = self.command(&tenant, &device, &id)?;
        let key_counts = command.as_ref().and_then(key_ends_at).is_some_and(|at| at > now);
        let Some(command) = command.filter(|command| key_counts || !command.state.is_final()) else {
            return self.drop_index(&tenant, &device, &id);
        };
        let mut shard = self.mailboxes.boxes.shard(&device);
        let mailbox = shard.entry(&tenant, &device);
        self.mailboxes.set_deadlines(&tenant, &command);
        mailbox.follow(&command);
        if key_counts {
            follow_key(mailbox, &command, Position(0));
        }
        Ok(())
    }

    /// Removes all that the device's mailbox holds; who waits for it is woken.
    pub(crate) fn forget_commands(&self, tenant: &TenantId, device: &DeviceId) -> Result<(), StorageError> {
        let mut shard = self.mailboxes.boxes.shard(device);
        for table in ["commands", "commands-index"] {
            let mut keys = Vec::new();
            self.each_command_key(table, tenant, device, |key| {
                keys.push(key.clone());
                Ok(())
            })?;
            for key in keys {
                self.put(&key, None)?;
            }
        }
        drop(shard.remove(tenant, device));
        Ok(())
    }
}

fn follow_key(mailbox: &mut Mailbox, command: &Command, position: Position) {
    if let Some(key) = &command.idempotency_key {
        let used = KeyUse { id: command.id.clone(), position, created_at: command.created_at };
        mailbox.keys.insert(key.clone(), used);
    }
}

/// Forgets the command's key, unless a later command uses it.
fn drop_key(mailbox: &mut Mailbox, command: &Command) {
    if let Some(key) = &command.idempotency_key {
        if mailbox.keys.get(key).is_some_and(|used| used.id == command.id) {
            mailbox.keys.remove(key);
        }
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
