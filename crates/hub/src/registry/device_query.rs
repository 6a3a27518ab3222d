//! Lists of devices, page by page.

use crate::hub::Hub;
use crate::id::TenantId;
use crate::storage::{Key, StorageError};

use super::device::Device;
use super::fact;

/// How many devices one call looks at, at most.
const LOOKED_AT_MAX: usize = 20_000;
/// The most devices on a page.
pub(super) const PAGE_MAX: usize = 1_000;

/// Which devices are wanted.
#[derive(Clone, Debug, Default)]
pub struct DeviceQuery {
    /// A part of the id, the name or a label, in any case.
    pub q: Option<String>,
    /// `name`, `name=value` or `name:value` of a label.
    pub label: Option<String>,
    /// Only those that are connected, or that are not.
    pub online: Option<bool>,
    /// The most that are wanted; at most 1,000 are given.
    pub limit: usize,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// A page of devices, in the order of their ids.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DevicePage {
    /// The devices; may be fewer than wanted, or none, even where `next` says that there are more.
    pub items: Vec<Device>,
    /// Where to go on; `None` at the end.
    pub next: Option<String>,
}

impl DeviceQuery {
    fn wants(&self, device: &Device, q: Option<&str>) -> bool {
        let has_text = |text: &str, part: &str| text.to_lowercase().contains(part);
        let by_text = q.is_none_or(|part| {
            has_text(device.id.as_str(), part)
                || has_text(&device.name, part)
                || device.labels.iter().any(|(name, value)| has_text(name, part) || has_text(value, part))
        });
        by_text
            && self.label.as_deref().is_none_or(|label| match label.split_once(['=', ':']) {
                Some((name, value)) => device.labels.get(name).is_some_and(|found| found == value),
                None => device.labels.contains_key(label),
            })
    }
}

impl Hub {
    /// A page of the tenant's devices. Looks at 20,000 devices at most: where few match, a page may
    /// be short and still have a next one.
    ///
    /// # Errors
    /// The store could not tell.
    pub fn devices(&self, tenant: &TenantId, query: &DeviceQuery) -> Result<DevicePage, StorageError> {
        let limit = query.limit.clamp(1, PAGE_MAX);
        let q = query.q.as_ref().map(|text| text.to_lowercase());
        let prefix = Key::of("devices").level(tenant.as_str()).prefix();
        let mut after = match &query.cursor {
            // A cursor is a device's id; one that is no id ends up as a key that nothing has.
            Some(cursor) => Some(fact::key(Key::of("devices").level(tenant.as_str()).level(cursor))?),
            None => None,
        };
        let mut page = DevicePage::default();
        let mut looked_at = 0;
        while looked_at < LOOKED_AT_MAX {
            let entries = self.store.table.scan(&prefix, after.as_ref(), fact::SCAN_PAGE)?;
            let is_last = entries.len() < fact::SCAN_PAGE;
            looked_at += entries.len();
            for (key, entry) in entries {
                let device: Device = fact::read(&key, &entry.value)?;
                after = Some(key);
                let online = query.online.is_none_or(|online| self.is_online(tenant, &device.id) == online);
                if online && query.wants(&device, q.as_deref()) {
                    if page.items.len() == limit {
                        page.next = page.items.last().map(|last| last.id.as_str().to_owned());
                        return Ok(page);
                    }
                    page.items.push(device);
                }
            }
            if is_last {
                return Ok(page);
            }
        }
        page.next = after.and_then(|key| key.levels().last());
        Ok(page)
    }
}
