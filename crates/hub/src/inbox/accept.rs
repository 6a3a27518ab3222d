//! Letting a device in.

use std::collections::BTreeMap;

use super::{Waiting, waiting_key};
use crate::Hub;
use crate::id::{CredentialId, DeviceId, ProfileId, TenantId};
use crate::registry::{CreateDeviceError, Device, NewDevice, Secret, fact};
use crate::storage::StorageError;

/// What is to be different from what was proposed.
#[derive(Clone, Debug, Default)]
pub struct Accept {
    /// Another id.
    pub id: Option<DeviceId>,
    /// Another name.
    pub name: Option<String>,
    /// Labels instead of the proposed ones.
    pub labels: Option<BTreeMap<String, String>>,
    /// Another profile.
    pub profile: Option<ProfileId>,
}

/// Why a device was not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// Nothing of this id waits.
    #[error("nothing of this id waits in the inbox")]
    Unknown,
    /// It could not be registered.
    #[error(transparent)]
    Create(#[from] CreateDeviceError),
    /// The store could not.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Waiting {
    /// The device as it is to be registered.
    pub(super) fn into_new(self, accept: Accept) -> NewDevice {
        let link = self.link();
        let Self { dialect, parent, proposed, .. } = self;
        let own = || ProfileId::parse(&dialect).ok().filter(|_| dialect != "unit");
        NewDevice {
            id: accept.id.or(proposed.id),
            name: accept.name.or(proposed.name),
            profile: accept.profile.or(proposed.profile).or_else(own),
            labels: accept.labels.unwrap_or(proposed.labels),
            parent,
            links: vec![link],
            token: None,
        }
    }
}

impl Hub {
    /// Registers a device that waits, with the link by which its dialect will find it. It also gets
    /// a token, shown this once, which it need not use. Not cancel safe.
    ///
    /// # Errors
    /// [`AcceptError`]; it waits on.
    pub async fn accept(
        &self,
        tenant: &TenantId,
        id: &str,
        accept: Accept,
    ) -> Result<(Device, CredentialId, Secret), AcceptError> {
        let found = fact::get::<Waiting>(&*self.store.table, &waiting_key(tenant, id)?)?;
        let waiting = found.ok_or(AcceptError::Unknown)?.value;
        let created = self.create_device(tenant, waiting.into_new(accept)).await?;
        self.forget_waiting(tenant, id)?;
        self.durable(self.store.log.end()).await?;
        Ok(created)
    }
}
