//! A map from a tenant's device to something, in shards that are locked one by one.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::id::{DeviceId, TenantId};

/// How many parts can be worked on at once.
pub(crate) const SHARDS: usize = 32;

/// Something for each device of each tenant.
pub(crate) struct ByDevice<T> {
    shards: [Mutex<Shard<T>>; SHARDS],
}

/// One part of the devices.
pub(crate) struct Shard<T> {
    tenants: HashMap<TenantId, HashMap<DeviceId, T>>,
    len: usize,
}

impl<T> Default for ByDevice<T> {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::new(Shard { tenants: HashMap::new(), len: 0 })) }
    }
}

impl<T> fmt::Debug for ByDevice<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ByDevice").finish_non_exhaustive()
    }
}

impl<T> ByDevice<T> {
    /// Locks the shard in which the device is. Keep the guard short, never across an await.
    pub(crate) fn shard(&self, device: &DeviceId) -> MutexGuard<'_, Shard<T>> {
        // FNV-1a: whoever makes ids fall together gains contention among their own devices only.
        let hash = device.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let mixed = usize::from(hash.to_le_bytes()[0] ^ hash.to_le_bytes()[5]);
        let Some(shard) = self.shards.get(mixed % SHARDS) else {
            unreachable!("a remainder is less than what was divided by")
        };
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the shards one after the other.
    pub(crate) fn shards(&self) -> impl Iterator<Item = MutexGuard<'_, Shard<T>>> {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T> Shard<T> {
    pub(crate) fn get(&self, tenant: &TenantId, device: &DeviceId) -> Option<&T> {
        self.tenants.get(tenant)?.get(device)
    }

    pub(crate) fn get_mut(&mut self, tenant: &TenantId, device: &DeviceId) -> Option<&mut T> {
        self.tenants.get_mut(tenant)?.get_mut(device)
    }

    pub(crate) fn insert(&mut self, tenant: &TenantId, device: &DeviceId, value: T) {
        let devices = self.tenants.entry(tenant.clone()).or_default();
        self.len += usize::from(devices.insert(device.clone(), value).is_none());
    }

    /// What stands there, or the default, put there.
    pub(crate) fn entry(&mut self, tenant: &TenantId, device: &DeviceId) -> &mut T
    where
        T: Default,
    {
        let len = &mut self.len;
        self.tenants.entry(tenant.clone()).or_default().entry(device.clone()).or_insert_with(|| {
            *len += 1;
            T::default()
        })
    }

    pub(crate) fn remove(&mut self, tenant: &TenantId, device: &DeviceId) -> Option<T> {
        let removed = self.tenants.get_mut(tenant)?.remove(device)?;
        self.len -= 1;
        Some(removed)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&TenantId, &DeviceId, &mut T)> {
        self.tenants.iter_mut().flat_map(|(tenant, devices)| {
            devices.iter_mut().map(move |(device, value)| (tenant, device, value))
        })
    }

    /// Keeps what the closure says.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        let mut len = 0;
        self.tenants.retain(|_tenant, devices| {
            devices.retain(|_device, value| keep(value));
            len += devices.len();
            !devices.is_empty()
        });
        self.len = len;
    }
}
