//! A device that speaks a dialect, and what its dialect remembers.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roost_hub::Hub;
use roost_hub::id::{DeviceId, ProfileId};
use roost_hub::inbox::INBOX_MAX;
use roost_hub::message::Message;
use roost_hub::principal::{Actor, Principal};
use roost_hub::storage::Revision;
use roost_hub::topic::TopicFilter;
use roost_wire::dialect::{self, Dialect, Presence, kept_topics};
use serde_json::{Map, Value};

/// How many retained messages a dialect that begins anew is shown.
const KEPT_MAX: usize = 10_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Speaker {
    /// Which family, by its name in links and profiles.
    pub(super) dialect: &'static str,
    /// What the profile says beside its grants.
    profile: Map<String, Value>,
    /// The profile's id and revision when it was read.
    read: Option<(ProfileId, Revision)>,
    state: Mutex<State>,
}

/// What changes.
pub(super) struct State {
    principal: Arc<Principal>,
    /// Made with the first message or command.
    dialect: Option<Box<dyn Dialect>>,
    /// The devices behind it that are there: it said so, or they sent something.
    pub(super) present: BTreeSet<DeviceId>,
    /// Those of which it says whether they are there.
    pub(super) told: BTreeSet<DeviceId>,
    /// The names of those that said so and that nobody let in yet.
    pub(super) waiting: BTreeSet<String>,
    gone_since: Option<Duration>,
}

impl fmt::Debug for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("State").field("present", &self.present).finish_non_exhaustive()
    }
}

/// The retained messages that a family's dialect has to have heard.
fn kept(hub: &Hub, dialect: &str, principal: &Principal) -> Vec<Arc<Message>> {
    let filters = kept_topics(dialect).iter().filter_map(|filter| TopicFilter::parse(filter).ok());
    filters.flat_map(|filter| hub.retained_for(principal, &filter, KEPT_MAX)).collect()
}

impl State {
    /// Somebody who waits in the inbox is there, or gone.
    pub(super) fn waits(&mut self, name: &str, presence: Presence) {
        match presence {
            Presence::Online if self.waiting.len() < INBOX_MAX => drop(self.waiting.insert(name.to_owned())),
            Presence::Online => {}
            Presence::Offline => drop(self.waiting.remove(name)),
        }
    }

    /// The dialect, made anew where it must be.
    pub(super) fn dialect(&mut self, hub: &Hub, speaker: &Speaker) -> Option<&mut dyn Dialect> {
        if self.dialect.is_none() {
            let mut dialect = dialect::open(speaker.dialect, &speaker.profile)?.ok()?;
            for message in kept(hub, speaker.dialect, &self.principal) {
                // What was said then was taken then; only what the dialect remembers counts.
                drop(dialect.hear(message.topic.as_str(), &message.payload, message.time.0));
            }
            self.dialect = Some(dialect);
        }
        Some(&mut **self.dialect.as_mut()?)
    }
}

impl Speaker {
    /// A speaker whose dialect has heard nothing yet.
    ///
    /// # Errors
    /// Words for people: the profile cannot be read, or configures the dialect wrongly.
    pub(super) fn new(hub: &Hub, principal: &Arc<Principal>, dialect: &'static str) -> Result<Self, String> {
        let Actor::Device { profile, .. } = &principal.actor else {
            return Err("only devices speak dialects".to_owned());
        };
        let device = principal.device().ok_or("only devices speak dialects")?;
        let read = hub.profile_of(&principal.tenant, device).map_err(|error| error.to_string())?;
        let found = hub.profile(&principal.tenant, profile).map_err(|error| error.to_string())?;
        let mut profile = found.map(|found| found.more).unwrap_or_default();
        profile.insert("device".to_owned(), Value::from(device.as_str()));
        if let Some(Err(wrong)) = dialect::open(dialect, &profile) {
            return Err(format!("the profile's dialect: {wrong}"));
        }
        let state = Mutex::new(State {
            principal: Arc::clone(principal),
            dialect: None,
            present: BTreeSet::new(),
            told: BTreeSet::new(),
            waiting: BTreeSet::new(),
            gone_since: None,
        });
        Ok(Self { dialect, profile, read, state })
    }

    /// Whether it is a Home Assistant that wants to be told of our devices.
    pub(super) fn wants_devices(&self) -> bool {
        let dialect = self.profile.get("dialect");
        let is_off = dialect.and_then(|dialect| dialect.get("produce")) == Some(&Value::Bool(false));
        self.dialect == "homeassistant" && !is_off
    }

    /// Whether the other one speaks in the same way.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.dialect == other.dialect && self.profile == other.profile
    }

    /// Whether the device's profile still is what it was; a store that cannot tell changes nothing.
    pub(super) fn is_current(&self, hub: &Hub) -> bool {
        let principal = self.principal();
        let Some(device) = principal.device() else { return false };
        hub.profile_of(&principal.tenant, device).map_or(true, |read| read == self.read)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn principal(&self) -> Arc<Principal> {
        Arc::clone(&self.state().principal)
    }

    /// The retained messages that its dialect has to have heard.
    pub(super) fn kept(&self, hub: &Hub) -> Vec<Arc<Message>> {
        kept(hub, self.dialect, &self.principal())
    }

    pub(super) fn enter(&self, principal: &Arc<Principal>) {
        let mut state = self.state();
        state.principal = Arc::clone(principal);
        state.gone_since = None;
    }

    /// Nobody speaks for the devices behind it any more.
    pub(super) fn all_gone(&self, hub: &Hub) {
        let (principal, present) = {
            let mut state = self.state();
            state.waiting.clear();
            state.told.clear();
            (Arc::clone(&state.principal), std::mem::take(&mut state.present))
        };
        for child in present {
            hub.presence_disconnected(&principal.tenant, &child, "its gateway is gone", hub.now());
        }
    }

    /// It is connected.
    pub(super) fn is_here(&self) {
        self.state().gone_since = None;
    }

    /// It is not connected; whether that has been so for this long.
    pub(super) fn has_been_gone(&self, now: Duration, limit: Duration) -> bool {
        let mut state = self.state();
        let since = *state.gone_since.get_or_insert(now);
        now.saturating_sub(since) >= limit
    }

    /// The name that its family has for a device, by its link; `None` where it has none.
    pub(super) fn name_of(&self, hub: &Hub, device: &DeviceId) -> Option<String> {
        let device = hub.device(&self.principal().tenant, device).ok()??;
        let named = |link: &Value| {
            let is_ours = link.get("listen").and_then(Value::as_str) == Some(self.dialect);
            is_ours.then(|| link.get("name").and_then(Value::as_str)).flatten().map(str::to_owned)
        };
        device.links.iter().find_map(named)
    }
}
