//! Looking into a mailbox.

use std::collections::VecDeque;

use super::index::{command_key, prefix};
use super::{Command, CommandState};
use crate::Hub;
use crate::id::{CommandId, DeviceId, TenantId};
use crate::storage::{Entry, Key, StorageError};

const SCAN_PAGE: usize = 256;

/// One page of a device's commands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CommandPage {
    /// The commands, the newest first.
    pub items: Vec<Command>,
    /// Where to go on, as the next call's cursor; `None` at the end.
    pub next: Option<String>,
}

/// Reads a stored command.
pub(super) fn decode(key: &Key, entry: &Entry) -> Result<Command, StorageError> {
    serde_json::from_slice(&entry.value)
        .map_err(|error| StorageError::Damaged(format!("{key}: {error}").into()))
}

impl Hub {
    /// One command; `None` when there is none of that id (any more).
    ///
    /// # Errors
    /// What the store says.
    pub fn command(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        id: &CommandId,
    ) -> Result<Option<Command>, StorageError> {
        let key = command_key(tenant, device, id);
        self.store.table.get(&key)?.map(|entry| decode(&key, &entry)).transpose()
    }

    /// A device's commands in one state or all, the newest first, at most `limit` of those older
    /// than the cursor. A cursor that is none begins at the newest.
    ///
    /// # Errors
    /// What the store says.
    pub fn commands(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        state: Option<CommandState>,
        page: (usize, Option<&str>),
    ) -> Result<CommandPage, StorageError> {
        let (limit, cursor) = page;
        let before = cursor.and_then(|text| CommandId::parse(text).ok());
        let end = before.map(|id| command_key(tenant, device, &id));
        let prefix = prefix("commands", tenant, device);
        // Tables are read forwards; a mailbox is bounded, so that reading it whole is.
        let mut newest: VecDeque<Command> = VecDeque::new();
        let mut after: Option<Key> = None;
        loop {
            let entries = self.store.table.scan(&prefix, after.as_ref(), SCAN_PAGE)?;
            let is_last = entries.len() < SCAN_PAGE;
            after = entries.last().map(|(key, _)| key.clone());
            let wanted = entries.iter().take_while(|(key, _)| end.as_ref().is_none_or(|end| key < end));
            let mut ended = is_last;
            let mut seen = 0;
            for (key, entry) in wanted {
                seen += 1;
                let command = decode(key, entry)?;
                if state.is_none_or(|state| state == command.state) {
                    newest.push_back(command);
                }
                if newest.len() > limit + 1 {
                    newest.pop_front();
                }
            }
            ended |= seen < entries.len();
            if ended {
                break;
            }
        }
        let more = newest.len() > limit;
        let items: Vec<Command> = newest.into_iter().rev().take(limit).collect();
        let next = items.last().filter(|_| more).map(|command| command.id.as_str().to_owned());
        Ok(CommandPage { items, next })
    }
}
