//! Letting a device in.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{KEYS, REPORTED, Waiting, waiting_key};
use crate::Hub;
use crate::flight::FlightKind;
use crate::id::{CredentialId, DeviceId, ProfileId, TenantId};
use crate::registry::{CreateDeviceError, Device, NewDevice, Secret, fact};
use crate::speech::ToSay;
use crate::storage::StorageError;
use crate::twin::ReportTwinError;

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
        let sample = waiting.sample.clone();
        let created = self.create_device(tenant, waiting.into_new(accept)).await?;
        self.forget_waiting(tenant, id)?;
        self.keep_waited(tenant, &created.0.id, &sample)?;
        self.durable(self.store.log.end()).await?;
        Ok(created)
    }

    /// What a device reported of itself while it waited, which many say once only, is its twin's from
    /// now on. What it measured then was nobody's.
    pub(super) fn keep_waited(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        sample: &Value,
    ) -> Result<(), StorageError> {
        let mut said = sample.get(REPORTED).and_then(Value::as_object).cloned().unwrap_or_default();
        said.extend(sample.get(KEYS).map(|keys| (KEYS.to_owned(), keys.clone())));
        if !said.is_empty() {
            self.report_waited(tenant, device, said)?;
        }
        self.speech.note(tenant, device, ToSay::LetIn);
        Ok(())
    }

    fn report_waited(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        said: Map<String, Value>,
    ) -> Result<(), StorageError> {
        match self.report(tenant, device, Value::Object(said), self.now()) {
            Ok(_) => Ok(()),
            Err(ReportTwinError::Storage(error)) => Err(error),
            Err(error) => {
                let text = format_args!("what it reported while it waited: {error}");
                self.note(tenant, device, FlightKind::Refused, text, self.now());
                Ok(())
            }
        }
    }
}
