//! How a device is registered.

use std::collections::BTreeMap;

use crate::hub::Hub;
use crate::id::{CredentialId, DeviceId, ProfileId, TenantId};
use crate::storage::{Expected, Key, PutError, StorageError};

use super::credential::AddCredentialError;
use super::device::{Device, check_labels, check_links, check_name, device_key};
use super::fact;
use super::link::Linked;
use super::secret::{Secret, check_given};
use super::tenant_state::Turn;

/// A device to be registered.
#[derive(Clone, Debug, Default)]
pub struct NewDevice {
    /// The id; made up when it is left out.
    pub id: Option<DeviceId>,
    /// The name; the id when it is left out.
    pub name: Option<String>,
    /// The profile; `standard` when it is left out.
    pub profile: Option<ProfileId>,
    /// Names and values to find it by.
    pub labels: BTreeMap<String, String>,
    /// The gateway under which it stands.
    pub parent: Option<DeviceId>,
    /// How it and the server reach each other.
    pub links: Vec<serde_json::Value>,
    /// A token that is burned into the device already; made up when it is left out.
    pub token: Option<String>,
}

/// Why a device was not registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateDeviceError {
    /// There is one of this id.
    #[error("there is a device of this id already")]
    Exists,
    /// Something about it is not as it must be; says what.
    #[error("{0}")]
    Invalid(String),
    /// The tenant has as many as it may have.
    #[error("the tenant has {0} devices, which is as many as it may have")]
    TooMany(usize),
    /// The store could not.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Hub {
    /// Registers a device and gives it a token, which is shown this once. Not cancel safe: a
    /// cancelled call may have registered it.
    ///
    /// # Errors
    /// [`CreateDeviceError`]; nothing was registered.
    pub async fn create_device(
        &self,
        tenant: &TenantId,
        new: NewDevice,
    ) -> Result<(Device, CredentialId, Secret), CreateDeviceError> {
        let created = self.create_device_now(tenant, new)?;
        self.durable(self.store.log.end()).await?;
        Ok(created)
    }

    /// The same without waiting until it is durable; whatever is appended later is so only with it.
    pub(crate) fn create_device_now(
        &self,
        tenant: &TenantId,
        new: NewDevice,
    ) -> Result<(Device, CredentialId, Secret), CreateDeviceError> {
        let state = self
            .tenant_state(tenant)?
            .ok_or_else(|| CreateDeviceError::Invalid("there is no such tenant".to_owned()))?;
        let token = new.token.clone();
        let mut turn = state.turn();
        let device = self.check_new_device(tenant, new)?;
        let count = self.count_devices(tenant, &mut turn)?;
        if self.device(tenant, &device.id)?.is_some() {
            return Err(CreateDeviceError::Exists);
        }
        if count >= self.settings.devices_max {
            return Err(CreateDeviceError::TooMany(count));
        }
        self.check_links_free(tenant, &device)?.map_err(CreateDeviceError::Invalid)?;
        if let Some(text) = &token
            && self.is_secret_taken(text)?
        {
            return Err(CreateDeviceError::Invalid("the token is in use already".to_owned()));
        }
        // What an interrupted deletion left behind must not reach a new device of the same id.
        if !self.credentials(tenant, &device.id)?.is_empty() {
            self.erase_device(tenant, &device.id)?;
        }
        let put = fact::put(&*self.store.table, &device_key(tenant, &device.id)?, &device, Expected::Absent);
        put.map_err(|error| match error {
            PutError::Conflict(_) => CreateDeviceError::Exists,
            PutError::Storage(error) => CreateDeviceError::Storage(error),
        })?;
        turn.devices = Some(count + 1);
        if let Some(parent) = &device.parent {
            self.set_parent(tenant, &state, &device.id, (None, Some(parent)))?;
        }
        self.index_links(tenant, &device.id, Linked::default(), (&device).into())?;
        let secret = token.map_or_else(|| self.new_secret(), Secret::new);
        let id = self.put_device_token(tenant, &device, &secret).map_err(|error| match error {
            AddCredentialError::Storage(error) => CreateDeviceError::Storage(error),
            other => CreateDeviceError::Invalid(other.to_string()),
        })?;
        Ok((device, id, secret))
    }

    fn check_new_device(&self, tenant: &TenantId, new: NewDevice) -> Result<Device, CreateDeviceError> {
        let invalid = CreateDeviceError::Invalid;
        let id = match new.id {
            Some(id) => id,
            None => DeviceId::parse(&self.new_id()).map_err(|error| invalid(error.to_string()))?,
        };
        let profile = match new.profile {
            Some(profile) => profile,
            None => super::profile::standard(),
        };
        let name = new.name.unwrap_or_else(|| id.as_str().to_owned());
        check_name(&name)
            .and_then(|()| check_labels(&new.labels))
            .and_then(|()| check_links(&new.links))
            .map_err(invalid)?;
        if let Some(token) = &new.token {
            check_given(token).map_err(invalid)?;
        }
        if self.profile(tenant, &profile)?.is_none() {
            return Err(invalid(format!("there is no profile {profile}")));
        }
        if let Some(parent) = &new.parent {
            self.check_parent(tenant, &id, parent)?.map_err(invalid)?;
        }
        Ok(Device {
            id,
            name,
            profile,
            labels: new.labels,
            parent: new.parent,
            links: new.links,
            created_at: self.now(),
            born: self.store.log.end(),
        })
    }

    fn count_devices(&self, tenant: &TenantId, turn: &mut Turn) -> Result<usize, StorageError> {
        if let Some(count) = turn.devices {
            return Ok(count);
        }
        let prefix = Key::of("devices").level(tenant.as_str()).prefix();
        let mut count = 0;
        fact::each(&*self.store.table, &prefix, |_key, _device: serde::de::IgnoredAny| {
            count += 1;
            Ok(())
        })?;
        turn.devices = Some(count);
        Ok(count)
    }
}
