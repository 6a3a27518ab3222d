//! Device profiles: what a kind of devices may do, and how it speaks.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::access::{GrantRules, Grants, Scope};
use crate::hub::Hub;
use crate::id::{DeviceId, ProfileId, TenantId};
use crate::principal::Whose;
use crate::storage::{Key, Revision, StorageError};

use super::fact;

/// The dialects that have a built-in profile of their name.
pub const DIALECT_PROFILES: [&str; 19] = [
    "native",
    "thingsboard",
    "homeassistant",
    "tasmota",
    "shelly",
    "zigbee2mqtt",
    "homie",
    "esphome",
    "sparkplug",
    "aws",
    "azure",
    "influx",
    "senml",
    "olimex",
    "spot",
    "lorawan",
    "sigfox",
    "iot-base",
    "generic",
];
/// The most bytes of a profile as JSON.
const PROFILE_SIZE_MAX: usize = 64 * 1024;
/// The most profiles of a tenant, the built-in ones aside.
const PROFILES_MAX: usize = 1_000;

/// A device profile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Its id.
    pub id: ProfileId,
    /// Its name for people.
    #[serde(default)]
    pub name: Option<String>,
    /// What its devices may publish and receive.
    #[serde(default)]
    pub grants: GrantRules,
    /// What dialects, decoders and the recorder make of it: `dialect`, `decoder`, `limits`,
    /// `retention`.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Why a profile was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PutProfileError {
    /// It is one that comes with the server.
    #[error("the profile is built in and cannot be changed")]
    BuiltIn,
    /// Something about it is not as it must be; says what.
    #[error("{0}")]
    Invalid(String),
    /// The store could not.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Profile {
    fn built_in(id: &ProfileId) -> Option<Self> {
        let mut profile =
            Self { id: id.clone(), name: None, grants: GrantRules::default(), more: Map::new() };
        match id.as_str() {
            "standard" => {}
            "strict" => profile.grants.scope = Scope::Strict,
            dialect if DIALECT_PROFILES.contains(&dialect) => {
                profile.more.insert("dialect".to_owned(), Value::from(dialect));
                profile.grants.own = own_topics(dialect).iter().copied().map(str::to_owned).collect();
            }
            _ => return None,
        }
        Some(profile)
    }

    /// The dialect that its devices speak: `"dialect":NAME`, or `"dialect":{"name":NAME,…}` where it
    /// is configured.
    #[must_use]
    pub fn dialect(&self) -> Option<&str> {
        let dialect = self.more.get("dialect")?;
        dialect.get("name").unwrap_or(dialect).as_str()
    }

    /// How the binary payloads of its devices are read (docs/decoders.md).
    #[must_use]
    pub fn decoder(&self) -> Option<&Value> {
        self.more.get("decoder")
    }
}

/// What the topics begin with for which a family has the same name on every device.
fn own_topics(dialect: &str) -> &'static [&'static str] {
    match dialect {
        "thingsboard" => &["v1/devices/me/", "v1/gateway/"],
        "aws" => &["$aws/"],
        "azure" => &["$iothub/"],
        _ => &[],
    }
}

/// The profile of a device for which none is named.
pub(super) fn standard() -> ProfileId {
    ProfileId::parse("standard").expect("the name of the built-in profile is an id")
}

fn profile_key(tenant: &TenantId, profile: &ProfileId) -> Result<Key, StorageError> {
    fact::key(Key::of("profiles").level(tenant.as_str()).level(profile.as_str()))
}

impl Hub {
    /// The profile, built in or the tenant's own.
    ///
    /// # Errors
    /// The store could not tell.
    pub fn profile(&self, tenant: &TenantId, profile: &ProfileId) -> Result<Option<Profile>, StorageError> {
        if let Some(built_in) = Profile::built_in(profile) {
            return Ok(Some(built_in));
        }
        let found = fact::get(&*self.store.table, &profile_key(tenant, profile)?)?;
        Ok(found.map(|fact| fact.value))
    }

    /// The profile of a device and its revision, by which one can tell whether it has changed; `None`
    /// for a built-in profile, and where there is no such device.
    ///
    /// # Errors
    /// The store could not tell.
    pub fn profile_of(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
    ) -> Result<Option<(ProfileId, Revision)>, StorageError> {
        let Some(device) = self.device(tenant, device)? else { return Ok(None) };
        let entry = self.store.table.get(&profile_key(tenant, &device.profile)?)?;
        Ok(entry.map(|entry| (device.profile, entry.revision)))
    }

    /// The tenant's own profiles, in the order of their ids; the built-in ones are not among them.
    ///
    /// # Errors
    /// The store could not tell.
    pub fn profiles(&self, tenant: &TenantId) -> Result<Vec<Profile>, StorageError> {
        let prefix = Key::of("profiles").level(tenant.as_str()).prefix();
        Ok(fact::all(&*self.store.table, &prefix)?.into_iter().map(|(_, profile)| profile).collect())
    }

    /// Writes a profile. Where its grants or its dialect change, its devices' connections are closed,
    /// so that they hold at once. Not cancel safe.
    ///
    /// # Errors
    /// [`PutProfileError`]; nothing was written.
    pub async fn put_profile(&self, tenant: &TenantId, profile: Profile) -> Result<Profile, PutProfileError> {
        let rights_changed = self.put_profile_now(tenant, &profile)?;
        if rights_changed {
            let whose = Whose::Profile(profile.id.clone());
            self.close_sessions_of(tenant, &whose);
        }
        self.durable(self.store.log.end()).await?;
        Ok(profile)
    }

    fn put_profile_now(&self, tenant: &TenantId, profile: &Profile) -> Result<bool, PutProfileError> {
        let invalid = PutProfileError::Invalid;
        if Profile::built_in(&profile.id).is_some() {
            return Err(PutProfileError::BuiltIn);
        }
        let anyone = DeviceId::parse("anyone").map_err(|error| invalid(error.to_string()))?;
        Grants::new(&profile.grants, &anyone).map_err(invalid)?;
        if serde_json::to_vec(profile).is_ok_and(|json| json.len() > PROFILE_SIZE_MAX) {
            return Err(invalid(format!("a profile has at most {PROFILE_SIZE_MAX} bytes")));
        }
        let no_tenant = || invalid("there is no such tenant".to_owned());
        let state = self.tenant_state(tenant)?.ok_or_else(no_tenant)?;
        let _turn = state.turn();
        let before = self.profile(tenant, &profile.id)?;
        if before.is_none() && self.profiles(tenant)?.len() >= PROFILES_MAX {
            return Err(invalid(format!("a tenant has at most {PROFILES_MAX} profiles")));
        }
        fact::set(&*self.store.table, &profile_key(tenant, &profile.id)?, profile)?;
        Ok(before.is_some_and(|before| {
            before.grants != profile.grants || before.more.get("dialect") != profile.more.get("dialect")
        }))
    }
}
