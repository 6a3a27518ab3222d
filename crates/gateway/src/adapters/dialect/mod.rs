//! Families of devices: what their messages say, in the hub's words, and back.
//!
//! The hub shows every message of a device that speaks a dialect, whatever door it came by, wills among
//! them; the message itself goes its ordinary way through the broker. `wire::dialect` knows the families;
//! here is who is meant, and what becomes of what they say.

mod commands;
mod hearing;
pub(in crate::adapters) mod mapping;
mod producing;
mod speaker;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roost_hub::Hub;
use roost_hub::id::{DeviceId, TenantId};
use roost_hub::message::Message;
use roost_hub::principal::Principal;
use roost_hub::storage::{Position, StorageError};
use roost_hub::topic::TopicFilter;
use roost_wire::dialect::SPOKEN;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::shared::Shared;
use hearing::Hearing;
use speaker::Speaker;

/// How many devices may speak a dialect at once. Beyond, their messages are ordinary ones.
const SPEAKERS_MAX: usize = 100_000;
/// For how long what a device's dialect remembers is kept when the device is gone.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);
/// A topic as it is below Home Assistant's discovery.
const DISCOVERY: &str = "homeassistant/sensor/node/object/config";
/// How often we look who is gone.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The devices that speak dialects.
#[derive(Debug, Default)]
pub(crate) struct Dialects {
    speakers: Mutex<HashMap<(TenantId, DeviceId), Arc<Speaker>>>,
    /// Home Assistants that listen and are told of no devices yet.
    untold: Mutex<Vec<Arc<Speaker>>>,
    more_untold: Notify,
}

/// The dialect of a principal, when it is one that is spoken here.
fn spoken(principal: &Principal) -> Option<&'static str> {
    let dialect = principal.dialect()?;
    SPOKEN.into_iter().find(|spoken| *spoken == dialect)
}

/// Whether a session's messages are to be heard.
pub(crate) fn is_spoken(principal: &Principal) -> bool {
    spoken(principal).is_some()
}

impl Dialects {
    fn speakers(&self) -> MutexGuard<'_, HashMap<(TenantId, DeviceId), Arc<Speaker>>> {
        self.speakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn untold(&self) -> MutexGuard<'_, Vec<Arc<Speaker>>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, tenant: &TenantId, device: &DeviceId) -> Option<Arc<Speaker>> {
        self.speakers().get(&(tenant.clone(), device.clone())).cloned()
    }

    /// A session of a device began: what is known of the device stays, unless its profile says
    /// something else by now.
    pub(crate) fn enter(&self, hub: &Hub, principal: &Arc<Principal>) {
        if self.admit(hub, principal).is_some() {
            self.listens(hub, principal, []);
        }
    }

    /// The speaker that a device is from now on; `None`, with a note, when it can be none.
    fn admit(&self, hub: &Hub, principal: &Arc<Principal>) -> Option<Arc<Speaker>> {
        let (device, dialect) = principal.device().zip(spoken(principal))?;
        let speaker = match Speaker::new(hub, principal, dialect) {
            Ok(speaker) => Arc::new(speaker),
            Err(error) => {
                hub.note_unsaid(principal, device, error);
                return None;
            }
        };
        let mut speakers = self.speakers();
        let has_room = speakers.len() < SPEAKERS_MAX;
        match speakers.entry((principal.tenant.clone(), device.clone())) {
            Entry::Occupied(known) if known.get().is_same(&speaker) => {
                known.get().enter(principal);
                Some(Arc::clone(known.get()))
            }
            Entry::Occupied(mut other) => {
                other.insert(Arc::clone(&speaker));
                Some(speaker)
            }
            Entry::Vacant(place) if has_room => Some(Arc::clone(place.insert(speaker))),
            Entry::Vacant(_) => {
                drop(speakers);
                let text = "so many devices speak dialects that this one's messages are ordinary ones";
                hub.note_unsaid(principal, device, text);
                None
            }
        }
    }

    /// A session listens there too: what waits may be said now.
    pub(crate) fn listens<'f>(
        &self,
        hub: &Hub,
        principal: &Principal,
        filters: impl IntoIterator<Item = &'f TopicFilter>,
    ) {
        let Some(device) = principal.device() else { return };
        if filters.into_iter().any(|filter| filter.matches(DISCOVERY))
            && let Some(speaker) = self.find(&principal.tenant, device).filter(|found| found.wants_devices())
        {
            self.untold().push(speaker);
            self.more_untold.notify_one();
        }
        if let Err(error) = hub.speak_to(&principal.tenant, device) {
            hub.note_unsaid(principal, device, error);
        }
    }

    /// Hears a message. Gives the position at which all that it said is durable. Who has no session
    /// (a request, a will after a restart) becomes a speaker with the first message.
    ///
    /// # Errors
    /// The store could not.
    pub(crate) fn hear(
        &self,
        hub: &Hub,
        principal: &Principal,
        message: &Message,
    ) -> Result<Option<Position>, StorageError> {
        let Some((device, dialect)) = principal.device().zip(spoken(principal)) else { return Ok(None) };
        let known = self.find(&principal.tenant, device).filter(|known| known.dialect == dialect);
        match known.or_else(|| self.admit(hub, &Arc::new(principal.clone()))) {
            Some(speaker) => Hearing::new(hub, principal, &speaker, message.time).hear(message),
            None => Ok(None),
        }
    }

    /// A session ended. With the device's last one, those behind it are gone too.
    pub(crate) fn leave(&self, hub: &Hub, principal: &Principal) {
        let Some(device) = principal.device() else { return };
        if let Some(speaker) = self.find(&principal.tenant, device)
            && !hub.is_online(&principal.tenant, device)
        {
            speaker.all_gone(hub);
        }
    }

    /// Says what is to be said, and forgets who is gone, for ever.
    pub(crate) async fn run(&self, shared: &Shared) {
        let hub = &*shared.hub;
        let mut told = HashSet::new();
        let mut producers = JoinSet::new();
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                unsaid = hub.next_unsaid() => self.say_all(hub, shared.downlinks.pick(unsaid)).await,
                _ = look.tick() => self.look_after(hub, shared.timers.now()),
                () = self.more_untold.notified() => {
                    for speaker in std::mem::take(&mut *self.untold()) {
                        let principal = speaker.principal();
                        let name = (principal.tenant.clone(), principal.device().cloned());
                        if told.insert(name) {
                            producers.spawn(producing::produce(Arc::clone(&shared.hub), speaker));
                        }
                    }
                }
                Some(ended) = producers.join_next() => if let Ok(Some((tenant, device))) = ended {
                    told.remove(&(tenant, Some(device)));
                },
            }
        }
    }

    fn look_after(&self, hub: &Hub, now: Duration) {
        let speakers: Vec<_> = self.speakers().values().cloned().collect();
        for speaker in speakers {
            let principal = speaker.principal();
            let Some(device) = principal.device() else { continue };
            if hub.is_online(&principal.tenant, device) {
                speaker.is_here();
                continue;
            }
            speaker.all_gone(hub);
            if speaker.has_been_gone(now, FORGOTTEN_AFTER) || !speaker.is_current(hub) {
                self.speakers().remove(&(principal.tenant.clone(), device.clone()));
            }
        }
    }
}
