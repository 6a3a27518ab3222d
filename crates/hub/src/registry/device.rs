//! A device as it is registered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::hub::Hub;
use crate::id::{DeviceId, ProfileId, TenantId};
use crate::storage::{Key, Position, StorageError};
use crate::time::Timestamp;

use super::fact::{self, Fact, position};

/// The longest name, in bytes.
pub(super) const NAME_LENGTH_MAX: usize = 256;
/// The most labels of a device.
const LABELS_MAX: usize = 64;
/// The most bytes that the links of a device have as JSON.
const LINKS_SIZE_MAX: usize = 16 * 1024;

/// A device as it is registered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// Its id, unique within the tenant.
    pub id: DeviceId,
    /// Its name for people; the id at first.
    pub name: String,
    /// Its profile.
    pub profile: ProfileId,
    /// Names and values to find it by.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The gateway under which it stands.
    #[serde(default)]
    pub parent: Option<DeviceId>,
    /// How it and the server reach each other, as `interface.md` shows links.
    #[serde(default)]
    pub links: Vec<serde_json::Value>,
    /// When it was registered.
    pub created_at: Timestamp,
    /// The log's end when it was registered: what stands before it belongs to an earlier device of
    /// the same id.
    #[serde(with = "position")]
    pub born: Position,
}

pub(super) fn device_key(tenant: &TenantId, device: &DeviceId) -> Result<Key, StorageError> {
    fact::key(Key::of("devices").level(tenant.as_str()).level(device.as_str()))
}

pub(super) fn check_name(name: &str) -> Result<(), String> {
    if name.len() <= NAME_LENGTH_MAX {
        Ok(())
    } else {
        Err(format!("a name has at most {NAME_LENGTH_MAX} bytes"))
    }
}

pub(crate) fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), String> {
    if labels.len() > LABELS_MAX {
        return Err(format!("a device has at most {LABELS_MAX} labels"));
    }
    let bad = labels.iter().find(|(name, value)| {
        name.is_empty()
            || name.len() > NAME_LENGTH_MAX
            || value.len() > NAME_LENGTH_MAX
            || name.contains(['=', ':'])
    });
    match bad {
        Some((name, _)) => Err(format!(
            "label {name:?}: a label has a name without `=` and `:`, and at most {NAME_LENGTH_MAX} bytes in name and value"
        )),
        None => Ok(()),
    }
}

pub(super) fn check_links(links: &[serde_json::Value]) -> Result<(), String> {
    if !links.iter().all(serde_json::Value::is_object) {
        return Err("a link is an object".to_owned());
    }
    for link in links {
        super::link::check_listening(link)?;
    }
    let size: usize = links.iter().map(|link| link.to_string().len()).sum();
    if size > LINKS_SIZE_MAX {
        return Err(format!("the links of a device have at most {LINKS_SIZE_MAX} bytes"));
    }
    Ok(())
}

impl Hub {
    /// The device; `None` when there is none of that id in the tenant.
    ///
    /// # Errors
    /// The store could not tell.
    pub fn device(&self, tenant: &TenantId, device: &DeviceId) -> Result<Option<Device>, StorageError> {
        Ok(self.device_fact(tenant, device)?.map(|fact| fact.value))
    }

    pub(super) fn device_fact(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
    ) -> Result<Option<Fact<Device>>, StorageError> {
        fact::get(&*self.store.table, &device_key(tenant, device)?)
    }
}
