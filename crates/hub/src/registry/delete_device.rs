//! How a device is deleted, with everything that was its own.

use crate::hub::Hub;
use crate::id::{DeviceId, TenantId};
use crate::principal::Whose;
use crate::storage::{Expected, StorageError};

use super::device::device_key;
use super::fact::{self, Fact};
use super::link::Linked;

/// Why a device was not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteDeviceError {
    /// There is none of this id.
    #[error("there is no such device")]
    Unknown,
    /// The store could not.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Hub {
    /// Deletes a device: its credentials open nothing any more, its connections are closed, and its
    /// twin, documents and commands are gone. Its id may be used again, by another device. Not
    /// cancel safe.
    ///
    /// # Errors
    /// [`DeleteDeviceError`].
    pub async fn delete_device(&self, tenant: &TenantId, device: &DeviceId) -> Result<(), DeleteDeviceError> {
        self.delete_device_now(tenant, device)?;
        Ok(self.durable(self.store.log.end()).await?)
    }

    fn delete_device_now(&self, tenant: &TenantId, id: &DeviceId) -> Result<(), DeleteDeviceError> {
        let state = self.tenant_state(tenant)?.ok_or(DeleteDeviceError::Unknown)?;
        let mut turn = state.turn();
        let Fact { value: device, revision } =
            self.device_fact(tenant, id)?.ok_or(DeleteDeviceError::Unknown)?;
        let table = &*self.store.table;
        // From here on it cannot log in; what follows only tidies up, and is done again before the
        // id is used again, should it be interrupted.
        table.put(&device_key(tenant, id)?, None, Expected::Revision(revision)).map_err(fact::storage)?;
        turn.devices = turn.devices.map(|count| count.saturating_sub(1));
        self.set_parent(tenant, &state, id, (device.parent.as_ref(), None))?;
        for child in self.children(tenant, id)? {
            self.set_parent(tenant, &state, &child.id, (Some(id), None))?;
            let orphan = super::Device { parent: None, ..child.clone() };
            self.index_links(tenant, &child.id, (&child).into(), (&orphan).into())?;
            fact::set(table, &device_key(tenant, &child.id)?, &orphan)?;
        }
        self.index_links(tenant, id, (&device).into(), Linked::default())?;
        self.drop_sessions_of(tenant, &Whose::Device(id.clone()));
        Ok(self.erase_device(tenant, id)?)
    }

    /// Removes what is kept under a device's id beside the device itself. The credentials go last:
    /// where some are left, this was interrupted.
    pub(super) fn erase_device(&self, tenant: &TenantId, device: &DeviceId) -> Result<(), StorageError> {
        self.latest.forget(tenant, device);
        self.forget_frames(tenant, device);
        self.forget_device_state(tenant, device)?;
        self.erase_credentials(tenant, device)
    }
}
