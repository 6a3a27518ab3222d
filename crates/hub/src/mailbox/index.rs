//! What of the mailboxes is in memory: which commands are open, which keys still count.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::id::IdSource;
use super::{Command, CommandState, IDEMPOTENCY_KEPT, Receipt};
use crate::flight::ByDevice;
use crate::id::{CommandId, DeviceId, TenantId};
use crate::storage::{Key, Position};
use crate::time::Timestamp;

/// When to look at which command again.
pub(super) type Deadline = (Timestamp, TenantId, DeviceId, CommandId);

/// The mailboxes of those devices that got a command since the start or have an open one.
#[derive(Debug, Default)]
pub struct Mailboxes {
    pub(super) boxes: ByDevice<Mailbox>,
    deadlines: Mutex<BTreeSet<Deadline>>,
    ids: Mutex<IdSource>,
}

/// One device's mailbox.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    pub(super) open: BTreeMap<CommandId, Open>,
    pub(super) keys: HashMap<String, KeyUse>,
    /// How many of its commands the table has; `None` when nobody counted yet.
    pub(super) kept: Option<usize>,
    watch: Option<watch::Sender<()>>,
}

/// What must be known of an open command without reading it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    pub(super) state: CommandState,
    pub(super) priority: i8,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) receipt: Receipt,
}

/// For which command a key was used.
#[derive(Clone, Debug)]
pub(super) struct KeyUse {
    pub(super) id: CommandId,
    pub(super) position: Position,
    pub(super) created_at: Timestamp,
}

impl Mailboxes {
    pub(super) fn next_id(&self, now: Timestamp, random: [u8; 8]) -> CommandId {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).next(now, random)
    }

    fn deadlines(&self) -> MutexGuard<'_, BTreeSet<Deadline>> {
        self.deadlines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the commands out that must be looked at by `now`, at most `limit`.
    pub(super) fn take_due(&self, now: Timestamp, limit: usize) -> Vec<Deadline> {
        let mut deadlines = self.deadlines();
        let mut due = Vec::new();
        while due.len() < limit && deadlines.first().is_some_and(|(at, ..)| *at <= now) {
            due.extend(deadlines.pop_first());
        }
        due
    }

    /// Notes when the command expires and when its key stops to count.
    pub(super) fn set_deadlines(&self, tenant: &TenantId, command: &Command) {
        for at in [command.expires_at, key_ends_at(command)].into_iter().flatten() {
            self.deadlines().insert((at, tenant.clone(), command.device.clone(), command.id.clone()));
        }
    }

    /// Forgets when the command would expire (and, for good, when its key would stop to count).
    pub(super) fn drop_deadlines(&self, tenant: &TenantId, command: &Command, what: Drop) {
        let key_end = key_ends_at(command).filter(|_| what == Drop::Both);
        let expiry = command.expires_at.filter(|at| what == Drop::Both || key_ends_at(command) != Some(*at));
        for at in [expiry, key_end].into_iter().flatten() {
            let deadline = (at, tenant.clone(), command.device.clone(), command.id.clone());
            self.deadlines().remove(&deadline);
        }
    }
}

/// Which deadlines are of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drop {
    /// That of the command itself.
    Expiry,
    /// That of its key as well.
    Both,
}

impl Mailbox {
    /// Takes over what is to be known of the command.
    pub(super) fn follow(&mut self, command: &Command) {
        if command.state.is_final() {
            self.open.remove(&command.id);
        } else {
            let open = Open {
                state: command.state,
                priority: command.priority.unwrap_or(0),
                expires_at: command.expires_at,
                receipt: command.receipt,
            };
            self.open.insert(command.id.clone(), open);
        }
    }

    /// Takes over the command's idempotency key, stored at the position.
    pub(super) fn follow_key(&mut self, command: &Command, position: Position) {
        if let Some(key) = &command.idempotency_key {
            let used = KeyUse { id: command.id.clone(), position, created_at: command.created_at };
            self.keys.insert(key.clone(), used);
        }
    }

    /// Forgets the command's key, unless a later command uses it.
    pub(super) fn drop_key(&mut self, command: &Command) {
        if let Some(key) = &command.idempotency_key
            && self.keys.get(key).is_some_and(|used| used.id == command.id)
        {
            self.keys.remove(key);
        }
    }

    /// How many commands wait for a contact.
    pub(super) fn waiting(&self) -> usize {
        self.open.values().filter(|open| open.state == CommandState::Queued).count()
    }

    /// The ids of those open commands, the most urgent first, then the oldest.
    pub(super) fn ids_in_order(&self, wanted: impl Fn(&Open) -> bool) -> Vec<CommandId> {
        let mut found: Vec<_> = self.open.iter().filter(|(_, open)| wanted(open)).collect();
        found.sort_by_key(|(_, open)| std::cmp::Reverse(open.priority));
        found.into_iter().map(|(id, _)| id.clone()).collect()
    }

    pub(super) fn subscribe(&mut self) -> watch::Receiver<()> {
        self.watch.get_or_insert_with(|| watch::Sender::new(())).subscribe()
    }

    /// Wakes whoever waits for a change of this mailbox.
    pub(super) fn wake(&mut self) {
        match &self.watch {
            Some(watch) if watch.receiver_count() > 0 => watch.send_modify(|()| {}),
            _ => self.watch = None,
        }
    }
}

/// When the command's idempotency key stops to count, if it has one.
pub(super) fn key_ends_at(command: &Command) -> Option<Timestamp> {
    command.idempotency_key.as_ref().map(|_| command.created_at.after(IDEMPOTENCY_KEPT))
}

/// Where a command is stored.
pub(super) fn command_key(tenant: &TenantId, device: &DeviceId, id: &CommandId) -> Key {
    key("commands", tenant, device, id)
}

/// Where it is noted that a command is open or its key still counts.
pub(super) fn index_key(tenant: &TenantId, device: &DeviceId, id: &CommandId) -> Key {
    key("commands-index", tenant, device, id)
}

fn key(table: &'static str, tenant: &TenantId, device: &DeviceId, id: &CommandId) -> Key {
    Key::of(table)
        .level(tenant.as_str())
        .level(device.as_str())
        .level(id.as_str())
        .key()
        .expect("three ids, encoded, are shorter than the longest key")
}

/// What the keys of a device's commands start with.
pub(super) fn prefix(table: &'static str, tenant: &TenantId, device: &DeviceId) -> String {
    Key::of(table).level(tenant.as_str()).level(device.as_str()).prefix()
}
