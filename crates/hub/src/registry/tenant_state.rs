//! What is kept in memory of a tenant while the server runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::access::Family;
use crate::hub::Hub;
use crate::id::{DeviceId, TenantId};
use crate::storage::{Key, StorageError};

use super::{fact, lock};

/// One tenant in memory. Whoever changes the tenant's facts holds its turn, so that no two changes
/// cross.
#[derive(Debug)]
pub(crate) struct TenantState {
    pub(crate) family: Arc<Family>,
    is_deleted: AtomicBool,
    turn: Mutex<Turn>,
}

/// The right to change the tenant's facts; never held across an await.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// How many devices there are, once counted.
    pub(super) devices: Option<usize>,
}

impl TenantState {
    pub(super) fn turn(&self) -> MutexGuard<'_, Turn> {
        lock(&self.turn)
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.is_deleted.load(Ordering::Acquire)
    }

    pub(super) fn mark_deleted(&self) {
        self.is_deleted.store(true, Ordering::Release);
    }
}

impl Hub {
    /// The tenant in memory; `None` when there is none of that id, or no longer.
    pub(crate) fn tenant_state(&self, tenant: &TenantId) -> Result<Option<Arc<TenantState>>, StorageError> {
        let found = lock(&self.registry.tenants).get(tenant).cloned();
        let state = match found {
            Some(state) => state,
            None if self.tenant(tenant)?.is_none() => return Ok(None),
            None => {
                // Under the lock, so that a change of the family cannot fall between load and use.
                let mut tenants = lock(&self.registry.tenants);
                match tenants.get(tenant) {
                    Some(state) => Arc::clone(state),
                    None => {
                        let state = Arc::new(self.load_tenant(tenant)?);
                        tenants.insert(tenant.clone(), Arc::clone(&state));
                        state
                    }
                }
            }
        };
        Ok((!state.is_deleted()).then_some(state))
    }

    fn load_tenant(&self, tenant: &TenantId) -> Result<TenantState, StorageError> {
        let family = Arc::new(Family::default());
        let prefix = Key::of("children").level(tenant.as_str()).prefix();
        fact::each(&*self.store.table, &prefix, |_key, (child, parent): (DeviceId, DeviceId)| {
            family.set(&child, Some(parent));
            Ok(())
        })?;
        Ok(TenantState { family, is_deleted: AtomicBool::new(false), turn: Mutex::default() })
    }

    /// The gateway under which a device stands.
    #[must_use]
    pub fn parent_of(&self, tenant: &TenantId, device: &DeviceId) -> Option<DeviceId> {
        // A store that cannot tell is a denial: no gateway speaks for the device.
        self.tenant_state(tenant).ok().flatten()?.family.parent_of(device.as_str())
    }
}
