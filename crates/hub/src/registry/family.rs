//! Gateways and the devices under them.

use crate::hub::Hub;
use crate::id::{DeviceId, TenantId};
use crate::storage::{Key, StorageError};

use super::device::Device;
use super::fact;
use super::tenant_state::TenantState;

fn child_key(tenant: &TenantId, parent: &DeviceId, child: &DeviceId) -> Result<Key, StorageError> {
    fact::key(Key::of("children").level(tenant.as_str()).level(parent.as_str()).level(child.as_str()))
}

impl Hub {
    /// The devices under a gateway.
    ///
    /// # Errors
    /// The store could not tell.
    pub fn children(&self, tenant: &TenantId, gateway: &DeviceId) -> Result<Vec<Device>, StorageError> {
        let prefix = Key::of("children").level(tenant.as_str()).level(gateway.as_str()).prefix();
        let mut children = Vec::new();
        for (_, (child, _)) in fact::all::<(DeviceId, DeviceId)>(&*self.store.table, &prefix)? {
            let device = self.device(tenant, &child)?;
            children.extend(device.filter(|device| device.parent.as_ref() == Some(gateway)));
        }
        Ok(children)
    }

    pub(super) fn check_parent(
        &self,
        tenant: &TenantId,
        child: &DeviceId,
        parent: &DeviceId,
    ) -> Result<Result<(), String>, StorageError> {
        Ok(match self.device(tenant, parent)? {
            _ if child == parent => Err("a device cannot be its own gateway".to_owned()),
            None => Err(format!("there is no device {parent} to be the gateway")),
            Some(gateway) if gateway.parent.as_ref() == Some(child) => {
                Err(format!("{parent} stands under {child} already"))
            }
            Some(_) => Ok(()),
        })
    }

    /// Puts a device under another gateway than before.
    pub(super) fn set_parent(
        &self,
        tenant: &TenantId,
        state: &TenantState,
        child: &DeviceId,
        (old, new): (Option<&DeviceId>, Option<&DeviceId>),
    ) -> Result<(), StorageError> {
        // The old gateway loses its right first, whatever happens then.
        state.family.set(child, None);
        if let Some(old) = old {
            fact::delete(&*self.store.table, &child_key(tenant, old, child)?)?;
        }
        if let Some(new) = new {
            fact::set(&*self.store.table, &child_key(tenant, new, child)?, &(child, new))?;
            state.family.set(child, Some(new.clone()));
        }
        Ok(())
    }
}
