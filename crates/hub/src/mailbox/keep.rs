//! What time and limits do to commands, and how a start finds them again.

use super::index::{Drop, Mailbox, key_ends_at, prefix};
use super::list::decode;
use super::{COMMANDS_KEPT_MAX, CommandEvent, CommandState};
use crate::Hub;
use crate::flight::FlightKind;
use crate::id::{CommandId, DeviceId, TenantId};
use crate::storage::{Key, Position, StorageError};
use crate::time::Timestamp;

/// How many deadlines one call looks at; the rest waits for the next.
const DEADLINES_MAX: usize = 10_000;
const SCAN_PAGE: usize = 1_000;

impl Hub {
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
                mailbox.drop_key(&command);
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
            mailbox.follow_key(&command, Position(0));
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

    /// Removes the oldest commands that no longer wait when there are more than are kept.
    pub(super) fn drop_oldest(
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
            mailbox.drop_key(&command);
            removed += 1;
        }
        mailbox.kept = Some(kept - removed);
        Ok(())
    }

    pub(super) fn each_command_key(
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
}
