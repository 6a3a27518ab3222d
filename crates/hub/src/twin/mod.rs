//! The twin: what a device reports of itself, and what it shall be.
//!
//! A fact under `twins/{tenant}/{device}`; patches are merged (RFC 7386) by compare-and-set.

mod error;
pub(crate) mod json;
mod merge;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Hub;
use crate::changes::Part;
use crate::flight::FlightKind;
use crate::id::{DeviceId, TenantId};
use crate::live::{LiveEvent, LiveKind};
use crate::message::{Message, QoS};
use crate::speech::ToSay;
use crate::storage::{Entry, Expected, Key, Position, PutError, StorageError};
use crate::time::Timestamp;
use crate::topic::Topic;

use error::Invalid;
pub use error::{PatchTwinError, ReportTwinError};
pub use json::{InvalidJson, JSON_DEPTH_MAX, JSON_ELEMENTS_MAX, JSON_KEY_LENGTH_MAX, JSON_KEYS_MAX};

/// The largest patch, and the largest `reported` or `desired`, in bytes of JSON.
pub const TWIN_JSON_MAX: usize = 64 * 1024;

/// A device's twin. Times are those of the last change of each field of the first level.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Twin {
    /// What the device says that it is.
    pub reported: Map<String, Value>,
    /// What it shall be.
    pub desired: Map<String, Value>,
    /// How often `desired` has changed.
    pub version: u64,
    /// When the device last said each field of `reported`.
    #[serde(default)]
    pub reported_at: BTreeMap<String, Timestamp>,
    /// When each field of `desired` was last set.
    #[serde(default)]
    pub desired_at: BTreeMap<String, Timestamp>,
}

/// What the hub keeps in memory of twins.
#[derive(Debug, Default)]
pub struct Twins {
    /// Held while `desired` changes and is published, so that the last word is the last version.
    announcing: Mutex<()>,
}

impl Hub {
    /// A device's twin; empty, of version 0, when nothing was said yet.
    ///
    /// # Errors
    /// What the store says.
    pub fn twin(&self, tenant: &TenantId, device: &DeviceId) -> Result<Twin, StorageError> {
        Ok(self.twin_entry(&twin_key(tenant, device))?.0)
    }

    fn twin_entry(&self, key: &Key) -> Result<(Twin, Expected), StorageError> {
        let Some(Entry { value, revision }) = self.store.table.get(key)? else {
            return Ok((Twin::default(), Expected::Absent));
        };
        let twin = serde_json::from_slice(&value)
            .map_err(|error| StorageError::Damaged(format!("{key}: {error}").into()))?;
        Ok((twin, Expected::Revision(revision)))
    }

    /// Merges a patch into `desired` and publishes the whole of it, retained; a patch that changes
    /// nothing leaves the version as it is. Durable when it returns.
    ///
    /// # Errors
    /// [`PatchTwinError`]; nothing was changed then.
    pub async fn patch_desired(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        patch: Value,
        if_version: Option<u64>,
    ) -> Result<Twin, PatchTwinError> {
        let patch = checked(patch)?;
        if self.device(tenant, device)?.is_none() {
            return Err(PatchTwinError::DeviceUnknown);
        }
        let (twin, position) = self.change_desired(tenant, device, &patch, if_version)?;
        self.durable(position).await?;
        Ok(twin)
    }

    /// Merges what a device itself wishes into `desired`, which families of devices may. Gives the
    /// position when it is durable.
    ///
    /// # Errors
    /// [`PatchTwinError`]; nothing was changed then.
    pub fn wish(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        patch: Value,
    ) -> Result<Position, PatchTwinError> {
        let (_, position) = self.change_desired(tenant, device, &checked(patch)?, None)?;
        Ok(position)
    }

    fn change_desired(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        patch: &Map<String, Value>,
        if_version: Option<u64>,
    ) -> Result<(Twin, Position), PatchTwinError> {
        let now = self.now();
        let key = twin_key(tenant, device);
        let announcing = self.twins.announcing.lock().unwrap_or_else(PoisonError::into_inner);
        let (twin, position) = loop {
            let (mut twin, expected) = self.twin_entry(&key)?;
            if if_version.is_some_and(|version| version != twin.version) {
                return Err(PatchTwinError::Conflict(Box::new(twin)));
            }
            let before = twin.desired.clone();
            apply(&mut twin.desired, &mut twin.desired_at, patch, now)?;
            if twin.desired == before {
                // Whoever wrote this version may still wait for it.
                return Ok((twin, self.store.log.end()));
            }
            twin.version += 1;
            match self.store.table.put(&key, Some(encode(&twin)), expected) {
                Ok(change) => break (twin, change.position),
                Err(PutError::Conflict(_)) => {}
                Err(PutError::Storage(error)) => return Err(error.into()),
            }
        };
        let mut message = Message::new(own_topic(device, "twin/desired"), desired_payload(&twin), now);
        message.retain = true;
        message.qos = QoS::AtLeastOnce;
        let published = self.publish_own(tenant, message)?;
        drop(announcing);
        self.speech.note(tenant, device, ToSay::Twin);
        self.tell_twin(tenant, device, format_args!("desired, version {}", twin.version), (&twin, now));
        Ok((twin, published.unwrap_or(position).max(position)))
    }

    /// Merges what a device published to `twin/reported`: a JSON object. Gives the position when it
    /// is durable.
    ///
    /// # Errors
    /// [`ReportTwinError`]; nothing was changed then.
    pub fn report_twin(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        payload: &[u8],
        now: Timestamp,
    ) -> Result<Position, ReportTwinError> {
        let patch = json::parse(payload, TWIN_JSON_MAX).map_err(Invalid::from)?;
        self.report(tenant, device, patch, now)
    }

    /// Merges an object into `reported`, such as what a dialect found. Gives the position when it is
    /// durable.
    ///
    /// # Errors
    /// [`ReportTwinError`]; nothing was changed then.
    pub fn report(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        patch: Value,
        now: Timestamp,
    ) -> Result<Position, ReportTwinError> {
        let patch = checked(patch)?;
        let key = twin_key(tenant, device);
        loop {
            let (mut twin, expected) = self.twin_entry(&key)?;
            apply(&mut twin.reported, &mut twin.reported_at, &patch, now)?;
            match self.store.table.put(&key, Some(encode(&twin)), expected) {
                Ok(change) => {
                    self.tell_twin(tenant, device, format_args!("reported"), (&twin, now));
                    return Ok(change.position);
                }
                Err(PutError::Conflict(_)) => {}
                Err(PutError::Storage(error)) => return Err(error.into()),
            }
        }
    }

    fn tell_twin(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        text: std::fmt::Arguments<'_>,
        (twin, now): (&Twin, Timestamp),
    ) {
        self.note(tenant, device, FlightKind::Twin, text, now);
        self.tell_change(tenant, device, Some(Part::Twin));
        self.live.send(|| LiveEvent {
            tenant: tenant.clone(),
            device: device.clone(),
            at: now,
            kind: LiveKind::Twin { version: twin.version },
        });
    }

    /// Removes the twin; tells whether there was one.
    pub(crate) fn forget_twin(&self, tenant: &TenantId, device: &DeviceId) -> Result<bool, StorageError> {
        let key = twin_key(tenant, device);
        if self.store.table.get(&key)?.is_none() {
            return Ok(false);
        }
        match self.store.table.put(&key, None, Expected::Any) {
            Ok(_) | Err(PutError::Conflict(_)) => Ok(true),
            Err(PutError::Storage(error)) => Err(error),
        }
    }
}

/// `{"version":3,"desired":{…}}`, the payload of `twin/desired`.
fn desired_payload(twin: &Twin) -> Bytes {
    let value = serde_json::json!({ "version": twin.version, "desired": twin.desired });
    Bytes::from(value.to_string())
}

/// `devices/{device}/{rest}`
pub(crate) fn own_topic(device: &DeviceId, rest: &str) -> Topic {
    Topic::parse(&format!("devices/{device}/{rest}")).expect("an id has no wildcards and is short")
}

fn twin_key(tenant: &TenantId, device: &DeviceId) -> Key {
    Key::of("twins")
        .level(tenant.as_str())
        .level(device.as_str())
        .key()
        .expect("two ids, encoded, are shorter than the longest key")
}

fn encode(twin: &Twin) -> Bytes {
    Bytes::from(serde_json::to_vec(twin).expect("a twin has text keys only"))
}

fn checked(patch: Value) -> Result<Map<String, Value>, Invalid> {
    json::check(&patch, TWIN_JSON_MAX)?;
    match patch {
        Value::Object(patch) => Ok(patch),
        _ => Err(Invalid::Other("a twin is changed by a JSON object".to_owned())),
    }
}

/// Merges the patch and notes the time of its fields; the result keeps to the bounds as well.
fn apply(
    state: &mut Map<String, Value>,
    times: &mut BTreeMap<String, Timestamp>,
    patch: &Map<String, Value>,
    now: Timestamp,
) -> Result<(), Invalid> {
    merge::merge(state, patch);
    if state.len() > JSON_KEYS_MAX {
        return Err(InvalidJson::TooMany.into());
    }
    if json::size(state) > TWIN_JSON_MAX {
        return Err(Invalid::TooLarge);
    }
    for key in patch.keys() {
        if state.contains_key(key) {
            times.insert(key.clone(), now);
        } else {
            times.remove(key);
        }
    }
    Ok(())
}
