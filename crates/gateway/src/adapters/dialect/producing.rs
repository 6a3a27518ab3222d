//! Home Assistant is told of the tenant's devices: of those that its own device may read.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use roost_hub::Hub;
use roost_hub::access::{may_publish, may_receive};
use roost_hub::broker::PublishError;
use roost_hub::id::{DeviceId, ProfileId, TenantId};
use roost_hub::inbox::KEYS;
use roost_hub::live::{LiveKind, LiveNext};
use roost_hub::principal::Principal;
use roost_hub::reading::{Reading, Value as Measured};
use roost_hub::registry::{Device, DeviceQuery};
use roost_hub::storage::StorageError;
use roost_hub::topic::{Topic, TopicFilter};
use roost_wire::dialect::{ANNOUNCED, Announced, Control, Kind, Outgoing, announced_device, controls};
use serde_json::{Map, Value};
use tokio::time::{MissedTickBehavior, interval};

use super::mapping;
use super::speaker::Speaker;

/// The most entities that one Home Assistant is told of.
const ENTITIES_MAX: usize = 20_000;
/// How often all devices are looked at anew: names change, and devices go.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The most devices of a page.
const PAGE: usize = 1_000;

/// What one Home Assistant was told.
struct Producing {
    hub: Arc<Hub>,
    speaker: Arc<Speaker>,
    principal: Arc<Principal>,
    told: HashSet<(DeviceId, Arc<str>)>,
    /// The topics of the configurations of commands, as of the last look.
    commands: HashSet<String>,
}

/// Tells until Home Assistant is gone; gives whose it was. What a failing store does not take is told
/// at the next look.
pub(super) async fn produce(hub: Arc<Hub>, speaker: Arc<Speaker>) -> Option<(TenantId, DeviceId)> {
    let principal = speaker.principal();
    let tenant = principal.tenant.clone();
    let device = principal.device()?.clone();
    let mut feed = hub.live.follow(&tenant);
    let mut producing = Producing { hub, speaker, principal, told: HashSet::new(), commands: HashSet::new() };
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let told = tokio::select! {
            next = feed.next() => match next {
                Some(LiveNext::Event(event)) => match &event.kind {
                    LiveKind::Telemetry(message) => message.telemetry.as_ref().map_or(Ok(()), |telemetry| {
                        producing.hear(&telemetry.device, &telemetry.readings)
                    }),
                    _ => Ok(()),
                },
                Some(LiveNext::Missed(_)) => producing.tell_all(),
                None => break,
            },
            _ = look.tick() => {
                if !producing.hub.is_online(&tenant, &device) {
                    break;
                }
                producing.principal = producing.speaker.principal();
                producing.tell_all()
            }
        };
        if let Err(error) = told {
            producing.hub.note_unsaid(&producing.principal, &device, error);
        }
    }
    Some((tenant, device))
}

impl Producing {
    fn may_read(&self, device: &DeviceId) -> bool {
        may_receive(&self.principal, &format!("devices/{device}/telemetry"))
    }

    fn hear(&mut self, device: &DeviceId, readings: &[Reading]) -> Result<(), StorageError> {
        let is_new = |reading: &&Reading| !self.told.contains(&(device.clone(), Arc::clone(&reading.key)));
        let new: Vec<&Reading> = readings.iter().filter(is_new).collect();
        if new.is_empty() || !self.may_read(device) {
            return Ok(());
        }
        match self.hub.device(&self.principal.tenant, device)? {
            Some(device) => self.tell(&device, new.into_iter()),
            None => Ok(()),
        }
    }

    fn tell_all(&mut self) -> Result<(), StorageError> {
        self.forget_gone()?;
        self.tell_commands()?;
        let hub = Arc::clone(&self.hub);
        let mut query = DeviceQuery { limit: PAGE, ..DeviceQuery::default() };
        loop {
            let page = hub.devices(&self.principal.tenant, &query)?;
            for device in page.items.iter().filter(|device| self.may_read(&device.id)).collect::<Vec<_>>() {
                let latest = hub.latest(&self.principal.tenant, &device.id)?;
                self.tell(device, latest.values())?;
            }
            query.cursor = page.next;
            if query.cursor.is_none() {
                return Ok(());
            }
        }
    }

    /// Tells of what can be commanded, and takes back what no longer can.
    fn tell_commands(&mut self) -> Result<(), StorageError> {
        let hub = Arc::clone(&self.hub);
        let tenant = &self.principal.tenant;
        let mut profiles: HashMap<ProfileId, Vec<Control>> = HashMap::new();
        let mut now = HashSet::new();
        let mut query = DeviceQuery { limit: PAGE, ..DeviceQuery::default() };
        loop {
            let page = hub.devices(tenant, &query)?;
            for device in &page.items {
                if !profiles.contains_key(&device.profile) {
                    let profile = hub.profile(tenant, &device.profile)?.map(|found| found.more);
                    let named = profile.and_then(|more| controls(&more).ok()).unwrap_or_default();
                    profiles.insert(device.profile.clone(), named);
                }
                for control in profiles.get(&device.profile).into_iter().flatten() {
                    if now.len() < ENTITIES_MAX && self.may_command(&device.id, control) {
                        let message = control.message(device.id.as_str(), &device.name);
                        now.insert(message.topic.clone());
                        self.say(message)?;
                    }
                }
            }
            query.cursor = page.next;
            if query.cursor.is_none() {
                break;
            }
        }
        for topic in self.commands.difference(&now) {
            self.say(Outgoing { topic: topic.clone(), payload: Vec::new(), retain: true })?;
        }
        self.commands = now;
        Ok(())
    }

    /// Whether Home Assistant may publish there, which is asked again when it does.
    fn may_command(&self, device: &DeviceId, control: &Control) -> bool {
        let Ok(topic) = Topic::parse(&control.topic(device.as_str())) else { return false };
        let parent_of = |device: &DeviceId| self.hub.parent_of(&self.principal.tenant, device);
        self.may_read(device) && may_publish(&self.principal, &topic, parent_of).is_ok()
    }

    /// Takes back what was told of devices that there are no longer.
    fn forget_gone(&mut self) -> Result<(), StorageError> {
        let Ok(filter) = TopicFilter::parse(ANNOUNCED) else { return Ok(()) };
        for kept in self.hub.retained_for(&self.principal, &filter, ENTITIES_MAX) {
            let device = announced_device(kept.topic.as_str(), &kept.payload);
            let Some(device) = device.and_then(|device| DeviceId::parse(&device).ok()) else { continue };
            if self.hub.device(&self.principal.tenant, &device)?.is_none() {
                self.told.retain(|(of, _)| *of != device);
                let topic = kept.topic.as_str().to_owned();
                self.say(Outgoing { topic, payload: Vec::new(), retain: true })?;
            }
        }
        Ok(())
    }

    fn tell<'r>(
        &mut self,
        device: &Device,
        readings: impl Iterator<Item = &'r Reading>,
    ) -> Result<(), StorageError> {
        let reported = self.hub.twin(&self.principal.tenant, &device.id)?.reported;
        let keys = reported.get(KEYS).and_then(Value::as_object);
        for reading in readings {
            if self.told.len() >= ENTITIES_MAX {
                return Ok(());
            }
            let Some(kind) = kind(reading) else { continue };
            let announced = Announced {
                device: device.id.as_str(),
                name: &device.name,
                key: &reading.key,
                kind,
                unit: unit(keys, &reading.key),
            };
            self.say(announced.message())?;
            self.told.insert((device.id.clone(), Arc::clone(&reading.key)));
        }
        Ok(())
    }

    /// Publishes what is not retained there already.
    fn say(&self, outgoing: Outgoing) -> Result<(), StorageError> {
        let Some(message) = mapping::message(&self.principal, outgoing, self.hub.now()) else {
            return Ok(());
        };
        let known = TopicFilter::parse(message.topic.as_str())
            .map(|topic| self.hub.retained_for(&self.principal, &topic, 1))
            .unwrap_or_default();
        if known.first().is_some_and(|known| known.payload == message.payload) {
            return Ok(());
        }
        let topic = message.topic.clone();
        match self.hub.say(&self.principal, message) {
            Ok(_) => Ok(()),
            Err(PublishError::Storage(error)) => Err(error),
            Err(error) => {
                if let Some(device) = self.principal.device() {
                    self.hub.note_unsaid(&self.principal, device, format_args!("{topic}: {error}"));
                }
                Ok(())
            }
        }
    }
}

fn kind(reading: &Reading) -> Option<Kind> {
    Some(match reading.value {
        Measured::Boolean(_) => Kind::Boolean,
        Measured::Integer(_) | Measured::Unsigned(_) | Measured::Number(_) => Kind::Number,
        Measured::Text(_) => Kind::Text,
        Measured::Gap => return None,
    })
}

fn unit<'a>(keys: Option<&'a Map<String, Value>>, key: &str) -> Option<&'a str> {
    keys?.get(key)?.get("unit")?.as_str()
}
