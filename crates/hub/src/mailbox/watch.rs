//! Waiting for a mailbox to change: long polls.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use tokio::sync::watch;

use super::Command;
use crate::Hub;
use crate::id::{CommandId, DeviceId, TenantId};
use crate::storage::StorageError;

/// Waits for changes of one device's mailbox, from when it was made. Cheap.
#[derive(Debug)]
pub struct MailboxWatch {
    receiver: watch::Receiver<()>,
}

impl MailboxWatch {
    /// Resolves when a command came or changed; `false` when the device is gone. Cancel safe.
    pub async fn changed(&mut self) -> bool {
        self.receiver.changed().await.is_ok()
    }
}

impl Hub {
    /// Watches a device's mailbox. Make it before looking what is there, then nothing is missed.
    #[must_use]
    pub fn watch_mailbox(&self, tenant: &TenantId, device: &DeviceId) -> MailboxWatch {
        MailboxWatch { receiver: self.mailboxes.boxes.shard(device).entry(tenant, device).subscribe() }
    }

    /// The device's waiting commands, as soon as there are some; empty once `until` resolves, such
    /// as a sleep. They still count as queued: see [`Hub::take_commands`]. Cancel safe.
    pub async fn next_commands(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        until: impl Future<Output = ()>,
    ) -> Vec<Command> {
        let mut watch = self.watch_mailbox(tenant, device);
        let found = async {
            loop {
                let waiting = self.waiting_commands(tenant, device, self.now());
                if !waiting.is_empty() || !watch.changed().await {
                    return waiting;
                }
            }
        };
        unless(found, until).await.unwrap_or_default()
    }

    /// The command as soon as it is finished, or as it is once `until` resolves; `None` when there
    /// is no such command. Cancel safe.
    ///
    /// # Errors
    /// What the store says.
    pub async fn wait_finished(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        id: &CommandId,
        until: impl Future<Output = ()>,
    ) -> Result<Option<Command>, StorageError> {
        let mut watch = self.watch_mailbox(tenant, device);
        let finished = async {
            loop {
                let command = self.command(tenant, device, id)?;
                let waits = command.as_ref().is_some_and(|command| !command.state.is_final());
                if !waits || !watch.changed().await {
                    return Ok(command);
                }
            }
        };
        match unless(finished, until).await {
            Some(found) => found,
            None => self.command(tenant, device, id),
        }
    }
}

/// What the work gives, unless `until` comes first.
async fn unless<T>(work: impl Future<Output = T>, until: impl Future<Output = ()>) -> Option<T> {
    let (mut work, mut until) = (pin!(work), pin!(until));
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => until.as_mut().poll(context).map(|()| None),
    })
    .await
}
