//! The names by which dialects recognise a device that shows no credential of ours.
//!
//! `{"listen":"spot","serial":"1187"}` and `{"listen":"olimex","token":"…"}` name one device in the
//! whole server, since nothing else says whose it is. All others name one device under one gateway
//! of one tenant (or under none): `{"listen":"unit","ip":"192.168.2.10"}`,
//! `{"listen":"lorawan","eui":…}`, `{"listen":"sigfox","id":…}`, and `{"listen":DIALECT,"name":…}` for what a dialect finds behind somebody's connection.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::hub::Hub;
use crate::id::{DeviceId, TenantId};
use crate::storage::{Expected, Key, StorageError};

use super::device::Device;
use super::fact;
use super::profile::DIALECT_PROFILES;

/// The longest name in a link, in bytes.
pub(crate) const LINK_NAME_LENGTH_MAX: usize = 128;
/// Which member of a link is its name; `name` for all dialects that are not here.
const NAMING_MEMBERS: [(&str, &str); 5] =
    [("spot", "serial"), ("olimex", "token"), ("unit", "ip"), ("lorawan", "eui"), ("sigfox", "id")];
/// Names of these count in the whole server.
const SERVER_WIDE: [&str; 2] = ["spot", "olimex"];
/// Stands for the gateway where there is none; no id begins with a dot.
const NO_GATEWAY: &str = ".";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Named {
    tenant: TenantId,
    device: DeviceId,
}

/// What a device's names depend on.
#[derive(Clone, Copy, Default)]
pub(super) struct Linked<'a> {
    links: &'a [Value],
    parent: Option<&'a DeviceId>,
}

impl<'a> From<&'a Device> for Linked<'a> {
    fn from(device: &'a Device) -> Self {
        Self { links: &device.links, parent: device.parent.as_ref() }
    }
}

fn naming_member(listen: &str) -> &'static str {
    let known = NAMING_MEMBERS.into_iter().find(|(naming, _)| *naming == listen);
    known.map_or("name", |(_, member)| member)
}

/// The link by which a dialect recognises a device.
pub(crate) fn listening_link(dialect: &str, name: &str) -> Value {
    json!({ "listen": dialect, naming_member(dialect): name })
}

fn link_key(
    tenant: &TenantId,
    parent: Option<&DeviceId>,
    (listen, name): (&str, &str),
) -> Result<Key, StorageError> {
    if SERVER_WIDE.contains(&listen) {
        return fact::key(Key::of("links").level(listen).level(name));
    }
    let parent = parent.map_or(NO_GATEWAY, DeviceId::as_str);
    fact::key(Key::of("links-in").level(tenant.as_str()).level(parent).level(listen).level(name))
}

/// The names in the links, as (listen, name).
fn names(links: &[Value]) -> impl Iterator<Item = (&str, String)> {
    links.iter().filter_map(|link| {
        let listen = link.get("listen")?.as_str()?;
        let name = match link.get(naming_member(listen))? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        Some((listen, name))
    })
}

/// Refuses listening links that nothing could recognise a device by.
pub(super) fn check_listening(link: &Value) -> Result<(), String> {
    let Some(listen) = link.get("listen") else { return Ok(()) };
    let kinds = || format!("a link listens for unit, {}", DIALECT_PROFILES.join(", "));
    let listen = listen.as_str().filter(|kind| *kind == "unit" || DIALECT_PROFILES.contains(kind));
    let listen = listen.ok_or_else(kinds)?;
    let member = naming_member(listen);
    let name = names(std::slice::from_ref(link)).next().map(|(_, name)| name).unwrap_or_default();
    let fits = (1..=LINK_NAME_LENGTH_MAX).contains(&name.len()) && !name.contains(char::is_control);
    if fits {
        return Ok(());
    }
    Err(format!("a {listen} link has `{member}`, of 1 to {LINK_NAME_LENGTH_MAX} bytes"))
}

impl Hub {
    /// The device that has a link `{"listen": listen, …: name}` of a kind that counts in the whole
    /// server.
    ///
    /// # Errors
    /// The store could not tell.
    pub fn device_by_link(
        &self,
        listen: &str,
        name: &str,
    ) -> Result<Option<(TenantId, DeviceId)>, StorageError> {
        if !SERVER_WIDE.contains(&listen) || name.len() > LINK_NAME_LENGTH_MAX {
            return Ok(None);
        }
        self.named(&fact::key(Key::of("links").level(listen).level(name))?)
    }

    /// The device of a tenant, under this gateway or none, that has a link of this dialect and name.
    ///
    /// # Errors
    /// The store could not tell.
    pub fn device_by_name(
        &self,
        tenant: &TenantId,
        parent: Option<&DeviceId>,
        (dialect, name): (&str, &str),
    ) -> Result<Option<DeviceId>, StorageError> {
        if name.len() > LINK_NAME_LENGTH_MAX {
            return Ok(None);
        }
        let found = self.named(&link_key(tenant, parent, (dialect, name))?)?;
        Ok(found.filter(|(of, _)| of == tenant).map(|(_, device)| device))
    }

    fn named(&self, key: &Key) -> Result<Option<(TenantId, DeviceId)>, StorageError> {
        let Some(found) = fact::get::<Named>(&*self.store.table, key)? else { return Ok(None) };
        let Named { tenant, device } = found.value;
        let exists = self.tenant_state(&tenant)?.is_some() && self.device(&tenant, &device)?.is_some();
        Ok(exists.then_some((tenant, device)))
    }

    /// Refuses links that name another device already.
    pub(super) fn check_links_free(
        &self,
        tenant: &TenantId,
        device: &Device,
    ) -> Result<Result<(), String>, StorageError> {
        for (listen, name) in names(&device.links) {
            let key = link_key(tenant, device.parent.as_ref(), (listen, &name))?;
            let other = self.named(&key)?;
            if other.is_some_and(|(of, id)| of != *tenant || id != device.id) {
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
        before: Linked<'_>,
        after: Linked<'_>,
    ) -> Result<(), StorageError> {
        let table = &*self.store.table;
        let named = Named { tenant: tenant.clone(), device: device.clone() };
        for (listen, name) in names(before.links) {
            let key = link_key(tenant, before.parent, (listen, &name))?;
            let found = fact::get::<Named>(table, &key)?;
            if found.is_some_and(|found| found.value == named) {
                fact::delete(table, &key)?;
            }
        }
        for (listen, name) in names(after.links) {
            let key = link_key(tenant, after.parent, (listen, &name))?;
            fact::put(table, &key, &named, Expected::Any).map_err(fact::storage)?;
        }
        Ok(())
    }
}
