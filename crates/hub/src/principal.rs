//! Who somebody was proven to be, and the two names that a device's own topics have.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::access::Grants;
use crate::id::{CredentialId, DeviceId, ProfileId, TenantId, TokenId, UserId};
use crate::time::Timestamp;

/// What a person or an application may do; each role may do all that the ones below it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees everything of the tenant, changes nothing.
    Viewer,
    /// Writes telemetry and twins, sends commands.
    Operator,
    /// Keeps devices, profiles, rules and sinks.
    Admin,
    /// Keeps tokens and users.
    Owner,
}

impl Role {
    /// Reads the name; `None` when there is no such role.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "viewer" => Self::Viewer,
            "operator" => Self::Operator,
            "admin" => Self::Admin,
            "owner" => Self::Owner,
            _ => return None,
        })
    }

    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }
}

/// By what somebody was recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialRef {
    /// The credential's id among those of its owner.
    pub id: CredentialId,
    /// From when on it proves nothing any more.
    pub expires_at: Option<Timestamp>,
}

/// Somebody who has shown who they are.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The tenant in which everything they say and ask happens.
    pub tenant: TenantId,
    /// Who.
    pub actor: Actor,
    /// By what; `None` where the server speaks for a device (a link, a dialect).
    pub credential: Option<CredentialRef>,
}

/// The kinds of somebody.
#[derive(Clone, Debug)]
pub enum Actor {
    /// A device, gateways among them.
    Device {
        /// Which.
        device: DeviceId,
        /// Its profile.
        profile: ProfileId,
        /// What the profile lets it do.
        grants: Grants,
    },
    /// A program with an API token.
    Application {
        /// Which token.
        token: TokenId,
        /// The token's name.
        name: Arc<str>,
        /// Its role.
        role: Role,
        /// Whether it may also do what concerns the whole server.
        operator: bool,
    },
    /// A person.
    User {
        /// Who.
        user: UserId,
        /// Their role.
        role: Role,
        /// Whether they may also do what concerns the whole server.
        operator: bool,
    },
}

/// `me` was said by somebody who is no device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("only a device has topics under `me`")]
pub struct NotADevice;

/// Whose open connections are meant, when some are to be closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Everybody's in the tenant.
    Everybody,
    /// A device's.
    Device(DeviceId),
    /// Those of a device that were opened with one of its credentials.
    Credential(DeviceId, CredentialId),
    /// Those of all devices with a profile.
    Profile(ProfileId),
    /// Those opened with an API token.
    Token(TokenId),
    /// A person's.
    User(UserId),
}

impl Principal {
    /// The device, when it is one.
    #[must_use]
    pub fn device(&self) -> Option<&DeviceId> {
        match &self.actor {
            Actor::Device { device, .. } => Some(device),
            Actor::Application { .. } | Actor::User { .. } => None,
        }
    }

    /// The role of a person or an application; devices have none.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        match &self.actor {
            Actor::Application { role, .. } | Actor::User { role, .. } => Some(*role),
            Actor::Device { .. } => None,
        }
    }

    /// Whether they may do what concerns the whole server.
    #[must_use]
    pub fn is_operator(&self) -> bool {
        match &self.actor {
            Actor::Application { operator, .. } | Actor::User { operator, .. } => *operator,
            Actor::Device { .. } => false,
        }
    }

    /// From when on the credential proves nothing any more.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.credential.as_ref().and_then(|credential| credential.expires_at)
    }

    /// Whether `whose` (of the same tenant) means this one.
    #[must_use]
    pub fn is(&self, whose: &Whose) -> bool {
        match (whose, &self.actor) {
            (Whose::Everybody, _) => true,
            (Whose::Device(wanted), Actor::Device { device, .. }) => wanted == device,
            (Whose::Credential(wanted, id), Actor::Device { device, .. }) => {
                wanted == device && self.credential.as_ref().is_some_and(|credential| credential.id == *id)
            }
            (Whose::Profile(wanted), Actor::Device { profile, .. }) => wanted == profile,
            (Whose::Token(wanted), Actor::Application { token, .. }) => wanted == token,
            (Whose::User(wanted), Actor::User { user, .. }) => wanted == user,
            _ => false,
        }
    }

    /// Who it is, for log lines and the audit; holds no secret.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}/{}", self.tenant, self.actor)
    }

    /// The dialect that the device's profile names.
    #[must_use]
    pub fn dialect(&self) -> Option<&str> {
        match &self.actor {
            Actor::Device { grants, .. } => grants.dialect(),
            Actor::Application { .. } | Actor::User { .. } => None,
        }
    }

    /// Whether a topic or filter is one of the device's own under a name that its family has for
    /// everybody's ([`crate::access::GrantRules::own`]).
    #[must_use]
    pub fn is_family_name(&self, text: &str) -> bool {
        match &self.actor {
            Actor::Device { grants, .. } => grants.is_own(split_share(text).1),
            Actor::Application { .. } | Actor::User { .. } => false,
        }
    }

    /// Writes out a device's `me/…` as `devices/{id}/…`, and a topic that its family has one name
    /// for as `devices/{id}/` and that name, also behind `$share/{name}/`. Everything else stays as
    /// it is.
    ///
    /// # Errors
    /// [`NotADevice`] when somebody else says `me`.
    pub fn full_name<'a>(&self, text: &'a str) -> Result<Cow<'a, str>, NotADevice> {
        let (share, name) = split_share(text);
        let Some(rest) = name.strip_prefix("me").filter(|rest| rest.is_empty() || rest.starts_with('/'))
        else {
            return Ok(match &self.actor {
                Actor::Device { device, grants, .. } if grants.is_own(name) => {
                    Cow::Owned(format!("{share}devices/{device}/{name}"))
                }
                _ => Cow::Borrowed(text),
            });
        };
        let device = self.device().ok_or(NotADevice)?;
        Ok(Cow::Owned(format!("{share}devices/{device}{rest}")))
    }

    /// The name by which a device knows one of its own topics: `me/…` for `devices/{id}/…`, or its
    /// family's. `None` for everybody else's topics, and for those who are no devices.
    #[must_use]
    pub fn own_name(&self, topic: &str) -> Option<String> {
        let rest = topic.strip_prefix("devices/")?.strip_prefix(self.device()?.as_str())?;
        let name = rest.strip_prefix('/')?;
        Some(if self.is_family_name(name) { name.to_owned() } else { format!("me{rest}") })
    }

    /// The topic as the device's family writes it.
    #[must_use]
    pub fn family_name<'a>(&self, topic: &'a str) -> &'a str {
        let own = self.device().and_then(|device| {
            topic.strip_prefix("devices/")?.strip_prefix(device.as_str())?.strip_prefix('/')
        });
        own.filter(|name| self.is_family_name(name)).unwrap_or(topic)
    }
}

/// Cuts `$share/{name}/` off the front.
fn split_share(text: &str) -> (&str, &str) {
    let length = text
        .strip_prefix("$share/")
        .and_then(|shared| shared.find('/'))
        .map_or(0, |slash| "$share/".len() + slash + 1);
    text.split_at_checked(length).unwrap_or(("", text))
}

impl fmt::Display for Actor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device { device, .. } => write!(formatter, "device {device}"),
            Self::Application { token, name, .. } => write!(formatter, "token {token} {name:?}"),
            Self::User { user, .. } => write!(formatter, "user {user}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(actor: Actor) -> Principal {
        Principal { tenant: TenantId::parse("t").unwrap(), actor, credential: None }
    }

    fn device(id: &str) -> Principal {
        principal(Actor::Device {
            device: DeviceId::parse(id).unwrap(),
            profile: ProfileId::parse("standard").unwrap(),
            grants: Grants::standard(),
        })
    }

    fn person() -> Principal {
        let user = UserId::parse("u").unwrap();
        principal(Actor::User { user, role: Role::Owner, operator: false })
    }

    #[test]
    fn me_is_written_out_and_back() {
        let sensor = device("s1");
        for (short, full) in [
            ("me/telemetry", "devices/s1/telemetry"),
            ("me", "devices/s1"),
            ("me/#", "devices/s1/#"),
            ("$share/g/me/commands", "$share/g/devices/s1/commands"),
            ("menu/x", "menu/x"),
            ("$share/me/x", "$share/me/x"),
            ("a/me/x", "a/me/x"),
        ] {
            assert_eq!(sensor.full_name(short).unwrap(), full);
        }
        assert_eq!(sensor.own_name("devices/s1/telemetry").as_deref(), Some("me/telemetry"));
        assert_eq!(sensor.own_name("devices/s11/telemetry"), None);
        assert_eq!(sensor.own_name("devices/s1"), None);
    }

    #[test]
    fn a_name_that_a_family_has_for_everybodys_topic_is_each_devices_own() {
        let rules = crate::access::GrantRules {
            own: vec!["$x/".to_owned(), "v1/me/".to_owned()],
            ..Default::default()
        };
        let id = DeviceId::parse("s1").unwrap();
        let grants = Grants::new(&rules, &id).unwrap();
        let profile = ProfileId::parse("p").unwrap();
        let sensor = principal(Actor::Device { device: id, profile, grants });
        for (short, full) in [
            ("v1/me/a", "devices/s1/v1/me/a"),
            ("v1/me/+", "devices/s1/v1/me/+"),
            ("$x/#", "devices/s1/$x/#"),
            ("$share/g/v1/me/a", "$share/g/devices/s1/v1/me/a"),
            ("v1/#", "v1/#"),
            ("me/a", "devices/s1/a"),
        ] {
            assert_eq!(sensor.full_name(short).unwrap(), full);
        }
        assert_eq!(sensor.own_name("devices/s1/v1/me/a").as_deref(), Some("v1/me/a"));
        assert_eq!(sensor.own_name("devices/s1/a").as_deref(), Some("me/a"));
        assert_eq!(sensor.family_name("devices/s1/$x/a"), "$x/a");
        assert_eq!(sensor.family_name("devices/s2/$x/a"), "devices/s2/$x/a");
        assert_eq!(device("s1").full_name("$x/a").unwrap(), "$x/a");
        for own in ["devices/", "v1", "/", "$SYS/", "a/+/"] {
            let rules = crate::access::GrantRules { own: vec![own.to_owned()], ..Default::default() };
            assert!(Grants::new(&rules, &DeviceId::parse("s1").unwrap()).is_err(), "{own}");
        }
    }

    #[test]
    fn only_a_device_has_a_me() {
        assert_eq!(person().full_name("me/telemetry"), Err(NotADevice));
        assert_eq!(person().full_name("devices/a/telemetry").unwrap(), "devices/a/telemetry");
        assert_eq!(person().own_name("devices/a/telemetry"), None);
    }

    #[test]
    fn roles_are_ordered() {
        assert!(Role::Owner > Role::Admin && Role::Admin > Role::Operator && Role::Operator > Role::Viewer);
    }
}
