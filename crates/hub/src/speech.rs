//! What is to be said to devices that speak a dialect: commands and wishes that somebody who knows
//! the words takes from here.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::hub::Hub;
use crate::id::{DeviceId, TenantId};
use crate::storage::StorageError;

/// How many devices may have something to be said. What comes beyond is said at the next contact.
pub const UNSAID_MAX: usize = 100_000;

/// What a device is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ToSay {
    /// The commands that wait.
    Commands,
    /// That its twin's `desired` has changed.
    Twin,
    /// Nothing, but whoever speaks for it is told that it was let in from the inbox.
    LetIn,
}

/// Something that is to be said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unsaid {
    /// In which tenant.
    pub tenant: TenantId,
    /// About which device; whoever speaks for it is told.
    pub device: DeviceId,
    /// What.
    pub what: ToSay,
}

/// What is to be said; costs next to nothing until somebody speaks a dialect.
#[derive(Debug, Default)]
pub struct Speech {
    is_spoken: AtomicBool,
    unsaid: Mutex<BTreeSet<Unsaid>>,
    more: Notify,
}

impl Speech {
    fn unsaid(&self) -> MutexGuard<'_, BTreeSet<Unsaid>> {
        self.unsaid.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note(&self, tenant: &TenantId, device: &DeviceId, what: ToSay) {
        if !self.is_spoken.load(Ordering::Acquire) {
            return;
        }
        {
            let mut unsaid = self.unsaid();
            if unsaid.len() >= UNSAID_MAX {
                return;
            }
            unsaid.insert(Unsaid { tenant: tenant.clone(), device: device.clone(), what });
        }
        self.more.notify_one();
    }
}

impl Hub {
    /// A device that speaks a dialect came, or listens to more: what waits for it and for the devices
    /// behind it is to be said.
    ///
    /// # Errors
    /// The store could not tell which devices there are.
    pub fn speak_to(&self, tenant: &TenantId, device: &DeviceId) -> Result<(), StorageError> {
        self.speech.is_spoken.store(true, Ordering::Release);
        let Some(state) = self.tenant_state(tenant)? else { return Ok(()) };
        for one in state.family.children_of(device).iter().chain([device]) {
            if self.has_open_commands(tenant, one) {
                self.speech.note(tenant, one, ToSay::Commands);
            }
        }
        Ok(())
    }

    /// What is to be said now, as soon as there is something. Cancel safe.
    pub async fn next_unsaid(&self) -> Vec<Unsaid> {
        loop {
            let unsaid = std::mem::take(&mut *self.speech.unsaid());
            if !unsaid.is_empty() {
                return unsaid.into_iter().collect();
            }
            self.speech.more.notified().await;
        }
    }
}
