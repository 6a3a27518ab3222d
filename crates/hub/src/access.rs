//! The only place that answers "may it?": at publish, at subscribe, at every delivery, when a will
//! fires, and for every call of the HTTP API. Pure functions; what nothing allows is denied.

mod grants;
mod overlap;

use crate::id::DeviceId;
use crate::principal::{Actor, Principal, Role};
use crate::topic::{Topic, TopicFilter};

pub use grants::{Family, GRANT_FILTERS_MAX, GrantRules, Grants, Scope};
use overlap::{covers, overlaps};

/// It may not, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Denied(pub &'static str);

/// What a caller of the HTTP API wants to do; the tenant is always the caller's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// See the registry, telemetry, twins, commands, rules of all devices.
    ReadDevices,
    /// See all of one device.
    ReadDevice(&'a DeviceId),
    /// Create, change and delete devices, credentials, links; let devices in from the inbox.
    WriteDevices,
    /// Send and cancel commands.
    SendCommands,
    /// Write the desired half of a twin.
    WriteTwin,
    /// Write the telemetry of a device.
    WriteTelemetry(&'a DeviceId),
    /// Write the documents of a device.
    WriteDocuments(&'a DeviceId),
    /// Speak as the device: fetch its commands, answer them, report its twin.
    ActAs(&'a DeviceId),
    /// Create and change profiles.
    ManageProfiles,
    /// Create and change rules, sinks and apps.
    ManageRules,
    /// Read who changed what.
    ReadAudit,
    /// Create, list and delete API tokens.
    ManageTokens,
    /// Create, list, change and delete users.
    ManageUsers,
    /// Create, list and delete tenants.
    ManageTenants,
    /// See what concerns the whole server: metrics, sessions, its log.
    ReadServer,
}

const NOT_ORDINARY: Denied = Denied("the topic is none of the tenant's ordinary topics");
const SYSTEM: Denied = Denied("topics that begin with `$` are the server's");
const SERVERS_WORD: Denied = Denied("only the server says `status`, `twin/desired` and `commands`");
const OTHER_DEVICE: Denied = Denied("the topic is another device's");
const PROFILE: Denied = Denied("the device's profile does not allow it");
const ROLE: Denied = Denied("the role does not allow it");
const OPERATOR: Denied = Denied("only the operator of the server may do that");
const DEVICE: Denied = Denied("a device may do that for itself only");

/// The names under `devices/{id}/` that only the server says.
fn is_servers_word(rest: &str) -> bool {
    matches!(rest, "status" | "twin/desired" | "commands")
}

/// Whether it is neither the server's (`$…`) nor under `devices/`.
fn is_ordinary(topic: &str) -> bool {
    !topic.starts_with('$') && topic != "devices" && !topic.starts_with("devices/")
}

/// The device and the rest of `devices/{id}/{rest}`.
fn device_of(topic: &str) -> Option<(&str, &str)> {
    topic.strip_prefix("devices/")?.split_once('/')
}

fn any_matches(filters: &[TopicFilter], topic: &str) -> bool {
    filters.iter().any(|filter| filter.matches(topic))
}

/// May it publish to the topic (written out, no `me`)? Asked at every publish, also when a will is
/// left and when it fires. `parent_of` tells a device's gateway.
///
/// # Errors
/// [`Denied`] says why not.
pub fn may_publish(
    principal: &Principal,
    topic: &Topic,
    parent_of: impl Fn(&DeviceId) -> Option<DeviceId>,
) -> Result<(), Denied> {
    let text = topic.as_str();
    if topic.is_system() {
        return Err(SYSTEM);
    }
    let of_device = device_of(text);
    if of_device.is_some_and(|(_, rest)| is_servers_word(rest)) {
        return Err(SERVERS_WORD);
    }
    let (device, grants) = match &principal.actor {
        Actor::Device { device, grants, .. } => (device, grants),
        Actor::Application { role, .. } | Actor::User { role, .. } => {
            return match of_device {
                _ if *role < Role::Operator => Err(ROLE),
                None if !is_ordinary(text) => Err(NOT_ORDINARY),
                _ => Ok(()),
            };
        }
    };
    if let Some(filters) = &grants.filters {
        if any_matches(&filters.deny_publish, text) {
            return Err(PROFILE);
        }
        if any_matches(&filters.publish, text) {
            return Ok(());
        }
    }
    match of_device {
        Some((id, _)) if id == device.as_str() => Ok(()),
        Some((id, _)) => {
            let parent = DeviceId::parse(id).ok().and_then(|child| parent_of(&child));
            if parent.as_ref() == Some(device) { Ok(()) } else { Err(OTHER_DEVICE) }
        }
        None if !is_ordinary(text) => Err(NOT_ORDINARY),
        None if grants.scope == Scope::Standard => Ok(()),
        None => Err(PROFILE),
    }
}

/// May it be given a message with this topic? Asked at every delivery of whatever kind: live,
/// retained, queued, shared, replayed.
#[must_use]
pub fn may_receive(principal: &Principal, topic: &str) -> bool {
    if topic.starts_with('$') {
        return principal.is_operator() && topic.starts_with("$SYS/");
    }
    let Actor::Device { device, grants, .. } = &principal.actor else {
        return true;
    };
    if let Some(filters) = &grants.filters {
        if any_matches(&filters.deny_receive, topic) {
            return false;
        }
        if any_matches(&filters.receive, topic) {
            return true;
        }
    }
    match device_of(topic) {
        Some((id, _)) => id == device.as_str() || grants.family.is_parent(device, id),
        None => grants.scope == Scope::Standard && is_ordinary(topic),
    }
}

/// May it subscribe to the filter (written out, without its share)? A wide filter is fine and
/// matches what [`may_receive`] lets through; refused is what could never match anything.
///
/// # Errors
/// [`Denied`] says why not.
pub fn may_subscribe(principal: &Principal, filter: &TopicFilter) -> Result<(), Denied> {
    let text = filter.as_str();
    if text.starts_with('$') {
        let servers = text == "$SYS/#" || text.starts_with("$SYS/");
        return match principal.is_operator() {
            true if servers => Ok(()),
            true => Err(SYSTEM),
            false => Err(OPERATOR),
        };
    }
    let Actor::Device { device, grants, .. } = &principal.actor else {
        return Ok(());
    };
    if let Some(filters) = &grants.filters {
        if filters.deny_receive.iter().any(|denied| covers(denied, filter)) {
            return Err(PROFILE);
        }
        if filters.receive.iter().any(|allowed| overlaps(allowed, filter)) {
            return Ok(());
        }
    }
    let mut levels = text.split('/');
    let (first, second) = (levels.next().unwrap_or_default(), levels.next());
    let own = match (first, second) {
        ("#", _) | ("+" | "devices", Some("+" | "#")) => true,
        ("+" | "devices", Some(id)) => id == device.as_str() || grants.family.is_parent(device, id),
        _ => false,
    };
    // `devices/#` also matches `devices` itself, and `devices/+` matches no device's topic: neither
    // harms, since every delivery is asked about.
    match first {
        _ if own => Ok(()),
        "devices" => Err(OTHER_DEVICE),
        _ if grants.scope == Scope::Standard => Ok(()),
        _ => Err(PROFILE),
    }
}

/// May it do that over the HTTP API?
///
/// # Errors
/// [`Denied`] says why not.
pub fn may(principal: &Principal, action: Action<'_>) -> Result<(), Denied> {
    let (role, operator) = match &principal.actor {
        Actor::Application { role, operator, .. } | Actor::User { role, operator, .. } => (*role, *operator),
        Actor::Device { device, grants, .. } => return may_device(device, grants, action),
    };
    let least = match action {
        Action::ReadDevices | Action::ReadDevice(_) => Role::Viewer,
        Action::SendCommands | Action::WriteTwin | Action::WriteTelemetry(_) | Action::WriteDocuments(_) => {
            Role::Operator
        }
        Action::WriteDevices | Action::ManageProfiles | Action::ManageRules | Action::ReadAudit => {
            Role::Admin
        }
        // An application that answers in a device's name would let a command seem done.
        Action::ActAs(_) => return Err(DEVICE),
        Action::ManageTokens | Action::ManageUsers => Role::Owner,
        Action::ManageTenants | Action::ReadServer => {
            return if operator { Ok(()) } else { Err(OPERATOR) };
        }
    };
    if role >= least { Ok(()) } else { Err(ROLE) }
}

fn may_device(device: &DeviceId, grants: &Grants, action: Action<'_>) -> Result<(), Denied> {
    match action {
        Action::ReadDevice(id)
        | Action::WriteTelemetry(id)
        | Action::WriteDocuments(id)
        | Action::ActAs(id) => {
            let own = id == device || grants.family.is_parent(device, id.as_str());
            if own { Ok(()) } else { Err(DEVICE) }
        }
        _ => Err(DEVICE),
    }
}
