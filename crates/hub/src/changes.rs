//! Who wants to know that something of a device changed: without a task or a channel for each, for
//! listeners that watch many devices.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::Hub;
use crate::flight::ByDevice;
use crate::id::{DeviceId, TenantId};

/// The most watches on one device.
pub const WATCHES_MAX: usize = 64;

/// What of a device is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Its mailbox.
    Commands,
    /// Its twin.
    Twin,
    /// Its documents.
    Documents,
}

/// What a listener was told and has not looked at. Each watch stands here once at most, however
/// often there was something.
#[derive(Debug, Default)]
pub struct Changes {
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    numbers: HashSet<u32>,
    waker: Option<Waker>,
}

impl Changes {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ready with the numbers of the watches that something happened to, as soon as there is one.
    pub fn poll_take(&self, context: &Context<'_>) -> Poll<Vec<u32>> {
        let mut told = self.told();
        if told.numbers.is_empty() {
            told.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(told.numbers.drain().collect())
    }

    fn tell(&self, number: u32) {
        let mut told = self.told();
        if told.numbers.insert(number)
            && let Some(waker) = told.waker.take()
        {
            drop(told);
            waker.wake();
        }
    }
}

/// Who watches which device.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    by_device: ByDevice<Vec<Watch>>,
}

#[derive(Debug)]
struct Watch {
    part: Part,
    number: u32,
    listener: Arc<Changes>,
}

impl Hub {
    /// Watches a part of a device under a number of the listener's own; `false` when the device has
    /// [`WATCHES_MAX`] watches already. Begin before looking at what is there, then nothing is missed.
    #[must_use]
    pub fn watch_changes(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        (part, number): (Part, u32),
        listener: &Arc<Changes>,
    ) -> bool {
        let mut shard = self.watches.by_device.shard(device);
        let watches = shard.entry(tenant, device);
        if watches.len() >= WATCHES_MAX {
            return false;
        }
        watches.reserve_exact(1);
        watches.push(Watch { part, number, listener: Arc::clone(listener) });
        true
    }

    /// Ends the listener's watch of this number.
    pub fn unwatch_changes(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        number: u32,
        listener: &Arc<Changes>,
    ) {
        let mut shard = self.watches.by_device.shard(device);
        let Some(watches) = shard.get_mut(tenant, device) else { return };
        watches.retain(|watch| watch.number != number || !Arc::ptr_eq(&watch.listener, listener));
        if watches.is_empty() {
            drop(shard.remove(tenant, device));
        }
    }

    /// Something happened to a part of the device; to all of it with `None`, such as that who
    /// watches may no longer.
    pub(crate) fn tell_change(&self, tenant: &TenantId, device: &DeviceId, part: Option<Part>) {
        let shard = self.watches.by_device.shard(device);
        let Some(watches) = shard.get(tenant, device) else { return };
        for watch in watches.iter().filter(|watch| part.is_none_or(|part| part == watch.part)) {
            watch.listener.tell(watch.number);
        }
    }
}
