//! How a device is changed.

use std::collections::BTreeMap;

use crate::hub::Hub;
use crate::id::{DeviceId, ProfileId, TenantId};
use crate::principal::Whose;
use crate::storage::{Expected, Position, StorageError};

use super::device::{Device, check_labels, check_links, check_name, device_key};
use super::fact::{self, Fact};

/// What is to be different about a device; `None` leaves as it is.
#[derive(Clone, Debug, Default)]
pub struct DeviceUpdate {
    /// A new name.
    pub name: Option<String>,
    /// Another profile; open connections of the device are closed so that it holds at once.
    pub profile: Option<ProfileId>,
    /// All labels anew.
    pub labels: Option<BTreeMap<String, String>>,
    /// All links anew.
    pub links: Option<Vec<serde_json::Value>>,
    /// Another gateway; `Some(None)` for none.
    pub parent: Option<Option<DeviceId>>,
}

/// Why a device was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateDeviceError {
    /// There is none of this id.
    #[error("there is no such device")]
    Unknown,
    /// Something is not as it must be; says what.
    #[error("{0}")]
    Invalid(String),
    /// The store could not.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Hub {
    /// Changes a device. Not cancel safe.
    ///
    /// # Errors
    /// [`UpdateDeviceError`]; nothing was changed.
    pub async fn update_device(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        update: DeviceUpdate,
    ) -> Result<Device, UpdateDeviceError> {
        let (device, rights_changed) = self.update_device_now(tenant, device, update)?;
        if rights_changed {
            self.close_sessions_of(tenant, &Whose::Device(device.id.clone()));
        }
        self.durable(self.store.log.end()).await?;
        Ok(device)
    }

    /// Takes over what a dialect found out about a device: labels, and a name where it has none of
    /// its own yet. Labels of people's stay where they say something else. Gives the position when it
    /// is durable, `None` when nothing changed.
    ///
    /// # Errors
    /// [`UpdateDeviceError`]; nothing was changed.
    pub fn describe_device(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        (name, labels): (Option<String>, BTreeMap<String, String>),
    ) -> Result<Option<Position>, UpdateDeviceError> {
        let known = self.device(tenant, device)?.ok_or(UpdateDeviceError::Unknown)?;
        let name = name.filter(|name| known.name == device.as_str() && *name != known.name);
        let new = labels.into_iter().filter(|(label, _)| !known.labels.contains_key(label));
        let mut labels = known.labels.clone();
        labels.extend(new);
        if name.is_none() && labels == known.labels {
            return Ok(None);
        }
        let update = DeviceUpdate { name, labels: Some(labels), ..DeviceUpdate::default() };
        self.update_device_now(tenant, device, update)?;
        Ok(Some(self.store.log.end()))
    }

    fn update_device_now(
        &self,
        tenant: &TenantId,
        id: &DeviceId,
        update: DeviceUpdate,
    ) -> Result<(Device, bool), UpdateDeviceError> {
        let invalid = UpdateDeviceError::Invalid;
        let state = self.tenant_state(tenant)?.ok_or(UpdateDeviceError::Unknown)?;
        let _turn = state.turn();
        let Fact { value: before, revision } =
            self.device_fact(tenant, id)?.ok_or(UpdateDeviceError::Unknown)?;
        let mut after = before.clone();
        if let Some(name) = update.name {
            check_name(&name).map_err(invalid)?;
            after.name = name;
        }
        if let Some(labels) = update.labels {
            check_labels(&labels).map_err(invalid)?;
            after.labels = labels;
        }
        if let Some(links) = update.links {
            check_links(&links).map_err(invalid)?;
            after.links = links;
        }
        if let Some(profile) = update.profile {
            if self.profile(tenant, &profile)?.is_none() {
                return Err(invalid(format!("there is no profile {profile}")));
            }
            after.profile = profile;
        }
        if let Some(parent) = update.parent {
            if let Some(parent) = &parent {
                self.check_parent(tenant, id, parent)?.map_err(invalid)?;
            }
            after.parent = parent;
        }
        let names_changed = before.links != after.links || before.parent != after.parent;
        if names_changed {
            self.check_links_free(tenant, &after)?.map_err(invalid)?;
        }
        let put =
            fact::put(&*self.store.table, &device_key(tenant, id)?, &after, Expected::Revision(revision));
        put.map_err(fact::storage)?;
        if before.parent != after.parent {
            self.set_parent(tenant, &state, id, (before.parent.as_ref(), after.parent.as_ref()))?;
        }
        if names_changed {
            self.index_links(tenant, id, (&before).into(), (&after).into())?;
        }
        let rights_changed = before.profile != after.profile;
        Ok((after, rights_changed))
    }
}
