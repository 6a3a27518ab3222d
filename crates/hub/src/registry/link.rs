//! The names by which dialects recognise a device that shows no credential of ours: a link
//! `{"listen":"spot","serial":"1187"}` names one device in the whole server.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::hub::Hub;
use crate::id::{DeviceId, TenantId};
use crate::storage::{Expected, Key, StorageError};

use super::fact;

/// Which links name a device, and by which member. A unit's address is its gateway's affair.
const NAMING_MEMBERS: [(&str, &str); 2] = [("spot", "serial"), ("olimex", "token")];

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Named {
    tenant: TenantId,
    device: DeviceId,
}

fn link_key(listen: &str, name: &str) -> Result<Key, StorageError> {
    fact::key(Key::of("links").level(listen).level(name))
}

/// The names in the links, as (listen, name).
fn names(links: &[Value]) -> impl Iterator<Item = (&'static str, String)> {
    links.iter().filter_map(|link| {
        let listen = link.get("listen")?.as_str()?;
        let (listen, member) = NAMING_MEMBERS.into_iter().find(|(naming, _)| *naming == listen)?;
        let name = match link.get(member)? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        Some((listen, name))
    })
}

impl Hub {
    /// The device that has a link `{"listen": listen, …: name}`.
    ///
    /// # Errors
    /// The store could not tell.
    pub fn device_by_link(
        &self,
        listen: &str,
        name: &str,
    ) -> Result<Option<(TenantId, DeviceId)>, StorageError> {
        let Some(Named { tenant, device }) = self.named(listen, name)? else { return Ok(None) };
        let exists = self.tenant_state(&tenant)?.is_some() && self.device(&tenant, &device)?.is_some();
        Ok(exists.then_some((tenant, device)))
    }

    fn named(&self, listen: &str, name: &str) -> Result<Option<Named>, StorageError> {
        let found = fact::get(&*self.store.table, &link_key(listen, name)?)?;
        Ok(found.map(|fact| fact.value))
    }

    /// Refuses links that name another device already.
    pub(super) fn check_links_free(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        links: &[Value],
    ) -> Result<Result<(), String>, StorageError> {
        for (listen, name) in names(links) {
            if name.is_empty() || name.len() > 128 {
                return Ok(Err(format!("the {listen} link's name has 1 to 128 bytes")));
            }
            let other = self.device_by_link(listen, &name)?;
            if other.is_some_and(|(of, id)| of != *tenant || id != *device) {
                return Ok(Err(format!("the {listen} link {name:?} is another device's already")));
            }
        }
        Ok(Ok(()))
    }

    /// Replaces the names that a device has.
    pub(super) fn index_links(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        before: &[Value],
        after: &[Value],
    ) -> Result<(), StorageError> {
        let named = Named { tenant: tenant.clone(), device: device.clone() };
        for (listen, name) in names(before) {
            if self.named(listen, &name)?.as_ref() == Some(&named) {
                fact::delete(&*self.store.table, &link_key(listen, &name)?)?;
            }
        }
        for (listen, name) in names(after) {
            fact::put(&*self.store.table, &link_key(listen, &name)?, &named, Expected::Any)
                .map_err(fact::storage)?;
        }
        Ok(())
    }
}
