//! What a device's profile lets it publish and receive, and which devices it speaks for.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::id::DeviceId;
use crate::topic::{Topic, TopicFilter};

/// The most filters in one list of a profile.
pub const GRANT_FILTERS_MAX: usize = 100;

/// How far a device may go without a filter that says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Its own topics and the tenant's ordinary ones.
    #[default]
    Standard,
    /// Its own topics only.
    Strict,
}

/// The grants of a profile as they are written: a scope, and filters that widen or narrow it. A
/// filter may begin with `me/`. What is denied stays denied, whatever else allows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrantRules {
    /// How far without filters.
    pub scope: Scope,
    /// Also to be published to.
    pub publish: Vec<String>,
    /// Also to be received.
    pub receive: Vec<String>,
    /// Never to be published to.
    pub deny_publish: Vec<String>,
    /// Never to be received.
    pub deny_receive: Vec<String>,
    /// What topics begin with that a family of devices has one name for and that are each device's
    /// own all the same (`v1/devices/me/`, `$iothub/`): inside they stand below `devices/{id}/`.
    pub own: Vec<String>,
    /// Over CoAP, only with DTLS.
    pub dtls_only: bool,
}

/// The grants of one device, ready to be asked. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    pub(super) scope: Scope,
    pub(super) filters: Option<Arc<Filters>>,
    pub(super) family: Arc<Family>,
    dtls_only: bool,
    dialect: Option<Arc<str>>,
}

#[derive(Debug, Default)]
pub(super) struct Filters {
    pub(super) publish: Vec<TopicFilter>,
    pub(super) receive: Vec<TopicFilter>,
    pub(super) deny_publish: Vec<TopicFilter>,
    pub(super) deny_receive: Vec<TopicFilter>,
    own: Vec<Box<str>>,
}

impl Grants {
    /// Those of the built-in profile `standard`.
    #[must_use]
    pub fn standard() -> Self {
        Self::default()
    }

    /// Those of the built-in profile `strict`.
    #[must_use]
    pub fn strict() -> Self {
        Self { scope: Scope::Strict, ..Self::default() }
    }

    /// Those that rules give a device.
    ///
    /// # Errors
    /// Names the filter that is none, or the list that is too long.
    pub fn new(rules: &GrantRules, device: &DeviceId) -> Result<Self, String> {
        let lists = [&rules.publish, &rules.receive, &rules.deny_publish, &rules.deny_receive, &rules.own];
        let mut grants = Self { scope: rules.scope, dtls_only: rules.dtls_only, ..Self::default() };
        if lists.iter().any(|list| !list.is_empty()) {
            let [publish, receive, deny_publish, deny_receive, own] = lists;
            grants.filters = Some(Arc::new(Filters {
                publish: parse(publish, device)?,
                receive: parse(receive, device)?,
                deny_publish: parse(deny_publish, device)?,
                deny_receive: parse(deny_receive, device)?,
                own: parse_own(own)?,
            }));
        }
        Ok(grants)
    }

    /// Whether a token shown over CoAP in the clear opens nothing.
    #[must_use]
    pub fn is_dtls_only(&self) -> bool {
        self.dtls_only
    }

    /// The same for a gateway: it may receive what is for the devices under it, as long as they are.
    #[must_use]
    pub fn with_family(mut self, family: Arc<Family>) -> Self {
        self.family = family;
        self
    }

    /// The same for a device that speaks a dialect.
    #[must_use]
    pub fn with_dialect(mut self, dialect: Option<&str>) -> Self {
        self.dialect = dialect.map(Arc::from);
        self
    }

    /// The dialect that the device speaks.
    #[must_use]
    pub fn dialect(&self) -> Option<&str> {
        self.dialect.as_deref()
    }

    /// Whether a topic or filter, as the device writes it, is one of its own without saying `me`.
    #[must_use]
    pub fn is_own(&self, name: &str) -> bool {
        self.filters.as_ref().is_some_and(|filters| filters.own.iter().any(|own| name.starts_with(&**own)))
    }
}

fn parse_own(texts: &[String]) -> Result<Vec<Box<str>>, String> {
    if texts.len() > GRANT_FILTERS_MAX {
        return Err(format!("a profile has at most {GRANT_FILTERS_MAX} filters in one list"));
    }
    let own = texts.iter().map(|text| {
        let is_kept = ["devices/", "me/", "$SYS/", "$share/"].iter().any(|kept| text.starts_with(kept));
        match Topic::parse(text) {
            Ok(_) if text.ends_with('/') && text.len() > 1 && !is_kept => Ok(Box::from(text.as_str())),
            Ok(_) => {
                Err(format!("{text:?}: what own topics begin with ends with `/` and is not the server's"))
            }
            Err(invalid) => Err(format!("{text:?}: {invalid}")),
        }
    });
    own.collect()
}

fn parse(texts: &[String], device: &DeviceId) -> Result<Vec<TopicFilter>, String> {
    if texts.len() > GRANT_FILTERS_MAX {
        return Err(format!("a profile has at most {GRANT_FILTERS_MAX} filters in one list"));
    }
    let filters = texts.iter().map(|text| {
        let full = match text.strip_prefix("me/") {
            Some(rest) => format!("devices/{device}/{rest}"),
            None => text.clone(),
        };
        TopicFilter::parse(&full).map_err(|invalid| format!("{text:?}: {invalid}"))
    });
    filters.collect()
}

/// Which devices of a tenant have a gateway, and which; kept current by the registry, so that open
/// connections follow it.
#[derive(Debug, Default)]
pub struct Family {
    // Looked at before the lock: most tenants have no gateways, and deliveries ask often.
    size: AtomicUsize,
    parents: Mutex<HashMap<Box<str>, DeviceId>>,
}

impl Family {
    fn parents(&self) -> MutexGuard<'_, HashMap<Box<str>, DeviceId>> {
        self.parents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The gateway of a device.
    #[must_use]
    pub fn parent_of(&self, child: &str) -> Option<DeviceId> {
        if self.size.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.parents().get(child).cloned()
    }

    /// The devices that stand under `parent`.
    #[must_use]
    pub fn children_of(&self, parent: &DeviceId) -> Vec<DeviceId> {
        if self.size.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let parents = self.parents();
        let children = parents.iter().filter(|(_, found)| *found == parent);
        children.filter_map(|(child, _)| DeviceId::parse(child).ok()).collect()
    }

    /// Whether `child` stands under `parent`.
    #[must_use]
    pub fn is_parent(&self, parent: &DeviceId, child: &str) -> bool {
        self.size.load(Ordering::Acquire) > 0
            && self.parents().get(child).is_some_and(|found| found == parent)
    }

    /// Puts a device under a gateway, or under none.
    pub fn set(&self, child: &DeviceId, parent: Option<DeviceId>) {
        let mut parents = self.parents();
        match parent {
            Some(parent) => drop(parents.insert(child.as_str().into(), parent)),
            None => drop(parents.remove(child.as_str())),
        }
        self.size.store(parents.len(), Ordering::Release);
    }
}
