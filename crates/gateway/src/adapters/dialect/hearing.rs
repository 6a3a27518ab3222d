//! What one message says, and of whom.

use std::collections::BTreeMap;

use roost_hub::Hub;
use roost_hub::broker::PublishError;
use roost_hub::flight::FlightKind;
use roost_hub::id::DeviceId;
use roost_hub::inbox::{KEYS, Proposed, REPORTED, Recognised, Recognition};
use roost_hub::mailbox::{NewCommand, SendCommandError, TakeResultError};
use roost_hub::message::Message;
use roost_hub::principal::Principal;
use roost_hub::reading::Quality;
use roost_hub::registry::UpdateDeviceError;
use roost_hub::storage::{Position, StorageError};
use roost_hub::time::Timestamp;
use roost_hub::twin::{PatchTwinError, ReportTwinError};
use roost_wire::dialect::{
    About, Answer, Description, Outgoing, Presence, Said, TwinReason, What, commanded, controls,
};
use serde_json::{Map, Value, json};

use super::mapping;
use super::speaker::Speaker;
use crate::adapters::readings::reading;

/// See the module.
pub(super) struct Hearing<'a> {
    hub: &'a Hub,
    principal: &'a Principal,
    speaker: &'a Speaker,
    now: Timestamp,
    /// Up to here everything must be durable; 0 when nothing was written.
    position: Position,
}

/// A device that a statement is about.
struct Subject {
    device: DeviceId,
    /// What the family calls it; `None` where it says nothing but "the one that is connected".
    name: Option<String>,
    /// Whether it is another one than the one that is connected.
    is_behind: bool,
}

fn behind(device: &DeviceId, name: &str) -> Subject {
    Subject { device: device.clone(), name: Some(name.to_owned()), is_behind: true }
}

impl<'a> Hearing<'a> {
    pub(super) fn new(hub: &'a Hub, principal: &'a Principal, speaker: &'a Speaker, now: Timestamp) -> Self {
        Self { hub, principal, speaker, now, position: Position(0) }
    }

    pub(super) fn hear(mut self, message: &Message) -> Result<Option<Position>, StorageError> {
        if self.speaker.wants_devices()
            && let Some((device, name)) = commanded(message.topic.as_str())
        {
            self.command(device, name, &message.payload)?;
            return Ok(Some(self.position).filter(|position| *position > Position(0)));
        }
        let topic = self.principal.family_name(message.topic.as_str());
        let heard = {
            let mut state = self.speaker.state();
            let Some(dialect) = state.dialect(self.hub, self.speaker) else { return Ok(None) };
            dialect.hear(topic, &message.payload, self.now.0)
        };
        match heard {
            Ok(said) => {
                for one in said {
                    self.take(one)?;
                }
            }
            Err(unread) => {
                self.hub.counters.telemetry_refused_total.increment();
                self.note(None, format_args!("{topic}: {unread}"));
            }
        }
        Ok(Some(self.position).filter(|position| *position > Position(0)))
    }

    /// Home Assistant commands a device of ours. That it may publish there has been asked.
    fn command(&mut self, device: &str, name: &str, payload: &[u8]) -> Result<(), StorageError> {
        let Ok(device) = DeviceId::parse(device) else { return Ok(()) };
        let tenant = &self.principal.tenant;
        let Some(profile) = self.hub.device(tenant, &device)?.map(|found| found.profile) else {
            return Ok(());
        };
        let profile = self.hub.profile(tenant, &profile)?.map(|found| found.more).unwrap_or_default();
        let known = controls(&profile).unwrap_or_default().into_iter().find(|one| one.is_named(name));
        let refuse =
            |why: &dyn std::fmt::Display| self.note(Some(&device), format_args!("command {name}: {why}"));
        let Some(control) = known else {
            refuse(&"its profile names no such command");
            return Ok(());
        };
        let params = match control.params(payload) {
            Ok(params) => params,
            Err(unread) => {
                refuse(&unread);
                return Ok(());
            }
        };
        let new = NewCommand { name: control.name, params, ..NewCommand::default() };
        match self.hub.put_command(tenant, &device, &new) {
            Ok((_, position)) => self.reached(Some(position)),
            Err(SendCommandError::Storage(error)) => return Err(error),
            Err(error) => refuse(&error),
        }
        Ok(())
    }

    fn note(&self, device: Option<&DeviceId>, text: std::fmt::Arguments<'_>) {
        if let Some(device) = device.or(self.principal.device()) {
            self.hub.note(&self.principal.tenant, device, FlightKind::Refused, text, self.now);
        }
    }

    fn reached(&mut self, position: Option<Position>) {
        self.position = self.position.max(position.unwrap_or_default());
    }

    fn take(&mut self, said: Said<'_>) -> Result<(), StorageError> {
        if let What::Reply(outgoing) = said.what {
            return self.say(outgoing);
        }
        let subject = match self.subject(&said.about)? {
            None if self.let_wait(&said)? => self.subject(&said.about)?,
            found => found,
        };
        match subject {
            Some(subject) => self.take_of(&subject, said.what),
            None => Ok(()),
        }
    }

    /// Who is meant; `None` when nobody has registered it.
    fn subject(&self, about: &About<'_>) -> Result<Option<Subject>, StorageError> {
        let Some(own) = self.principal.device() else { return Ok(None) };
        let itself = |name| Some(Subject { device: own.clone(), name, is_behind: false });
        let About::Named(name) = about else { return Ok(itself(None)) };
        if **name == *own.as_str() {
            return Ok(itself(Some(name.to_string())));
        }
        let tenant = &self.principal.tenant;
        let link = (self.speaker.dialect, &**name);
        if let Some(child) = self.hub.device_by_name(tenant, Some(own), link)? {
            return Ok(Some(behind(&child, name)));
        }
        let parent = self.hub.parent_of(tenant, own);
        if self.hub.device_by_name(tenant, parent.as_ref(), link)?.as_ref() == Some(own) {
            return Ok(itself(Some(name.to_string())));
        }
        // A child that was registered by hand, under the name that the family has for it.
        let by_id = DeviceId::parse(name).ok();
        let by_id = by_id.filter(|child| self.hub.parent_of(tenant, child).as_ref() == Some(own));
        Ok(by_id.map(|child| behind(&child, name)))
    }

    /// What devices that were let in are known to be, and what retained messages say of them, holds from
    /// now on.
    pub(super) fn let_in(mut self, waited: &[(DeviceId, String)]) -> Result<(), StorageError> {
        let now = self.now;
        for (device, name) in waited {
            if self.speaker.state().waiting.remove(name) {
                self.presence(&behind(device, name), Presence::Online);
            }
        }
        for message in self.speaker.kept(self.hub) {
            let heard = {
                let mut state = self.speaker.state();
                let Some(dialect) = state.dialect(self.hub, self.speaker) else { return Ok(()) };
                dialect.hear(message.topic.as_str(), &message.payload, message.time.0)
            };
            for Said { about, what } in heard.into_iter().flatten() {
                let About::Named(said) = about else { continue };
                let Some((device, name)) = waited.iter().find(|(_, name)| *name == said) else { continue };
                // Measured when it was published; there now.
                self.now = if matches!(what, What::Readings(_)) { message.time } else { now };
                self.take_of(&behind(device, name), what)?;
            }
        }
        Ok(())
    }

    fn take_of(&mut self, subject: &Subject, what: What<'_>) -> Result<(), StorageError> {
        let tenant = &self.principal.tenant;
        if subject.is_behind {
            self.hub.presence_seen(tenant, &subject.device, self.speaker.dialect, self.now);
        }
        match what {
            What::Readings(points) => {
                if subject.is_behind && !self.speaker.state().told.contains(&subject.device) {
                    self.is_there(&subject.device);
                }
                let readings = points.into_iter().map(|point| reading(point, self.now)).collect();
                self.publish(subject, mapping::telemetry(&subject.device, readings, self.now))
            }
            What::Stale(keys) => self.stale(subject, &keys),
            What::Reported(patch) => self.report(subject, patch),
            What::Desired(patch) => self.wish(subject, patch),
            What::Event { name, payload } => {
                self.publish(subject, mapping::event(&subject.device, &name, &payload, self.now))
            }
            What::Answer(answer) => self.answer(subject, &answer),
            What::Presence(presence) => {
                self.presence(subject, presence);
                Ok(())
            }
            What::Description(description) => self.describe(subject, &description),
            What::AsksTwin(request) => self.tell_twin(subject, &TwinReason::Asked(request)),
            What::Reply(outgoing) => self.say(outgoing),
        }
    }

    fn publish(&mut self, subject: &Subject, message: Option<Message>) -> Result<(), StorageError> {
        let Some(message) = message else { return Ok(()) };
        if message.telemetry.as_ref().is_some_and(|telemetry| telemetry.readings.is_empty()) {
            return Ok(());
        }
        match self.hub.publish_translated(self.principal, message) {
            Ok(published) => self.reached(published.position),
            Err(PublishError::Storage(error)) => return Err(error),
            Err(error) => self.note(Some(&subject.device), format_args!("{error}")),
        }
        Ok(())
    }

    fn stale(&mut self, subject: &Subject, keys: &[std::borrow::Cow<'_, str>]) -> Result<(), StorageError> {
        let latest = self.hub.latest(&self.principal.tenant, &subject.device)?;
        let is_meant = |key: &str| keys.is_empty() || keys.iter().any(|wanted| wanted == key);
        let held =
            latest.values().filter(|reading| reading.quality != Quality::Stale && is_meant(&reading.key));
        let readings = held.map(|reading| mapping::stale(reading, self.now)).collect();
        self.publish(subject, mapping::telemetry(&subject.device, readings, self.now))
    }

    fn report(&mut self, subject: &Subject, patch: Map<String, Value>) -> Result<(), StorageError> {
        if patch.is_empty() {
            return Ok(());
        }
        let tenant = &self.principal.tenant;
        match self.hub.report(tenant, &subject.device, Value::Object(patch), self.now) {
            Ok(position) => self.reached(Some(position)),
            Err(ReportTwinError::Storage(error)) => return Err(error),
            Err(error) => self.note(Some(&subject.device), format_args!("reported: {error}")),
        }
        Ok(())
    }

    fn wish(&mut self, subject: &Subject, patch: Map<String, Value>) -> Result<(), StorageError> {
        match self.hub.wish(&self.principal.tenant, &subject.device, Value::Object(patch)) {
            Ok(position) => self.reached(Some(position)),
            Err(PatchTwinError::Storage(error)) => return Err(error),
            Err(error) => self.note(Some(&subject.device), format_args!("desired: {error}")),
        }
        Ok(())
    }

    fn answer(&mut self, subject: &Subject, answer: &Answer) -> Result<(), StorageError> {
        let (tenant, device) = (&self.principal.tenant, &subject.device);
        let open = self.hub.unanswered_commands(tenant, device);
        let found = match (&answer.id, &answer.name) {
            (Some(said), _) => open.into_iter().find(|id| mapping::is_meant(said, id.as_str())),
            (None, None) => open.into_iter().next(),
            (None, Some(name)) => {
                let mut found = None;
                for id in open {
                    let command = self.hub.command(tenant, device, &id)?;
                    if command.is_some_and(|command| command.name == *name) {
                        found = Some(id);
                        break;
                    }
                }
                found
            }
        };
        let Some(id) = found else {
            // Families without ids say by themselves what they would answer, too.
            if let Some(said) = &answer.id {
                self.note(
                    Some(device),
                    format_args!("an answer to command {said:?}, which does not wait for one"),
                );
            }
            return Ok(());
        };
        let result = mapping::result(answer).to_string();
        match self.hub.take_result(tenant, device, id.as_str(), result.as_bytes(), self.now) {
            Ok(position) => self.reached(position),
            Err(TakeResultError::Storage(error)) => return Err(error),
            // It is in the flight recorder by now.
            Err(TakeResultError::Invalid(_) | TakeResultError::Unknown) => {}
        }
        Ok(())
    }

    /// The speaker's own presence is its connection's.
    fn presence(&self, subject: &Subject, presence: Presence) {
        if !subject.is_behind {
            return;
        }
        let (tenant, device) = (&self.principal.tenant, &subject.device);
        self.speaker.state().told.insert(device.clone());
        match presence {
            Presence::Online => self.is_there(device),
            Presence::Offline => {
                let was_there = self.speaker.state().present.remove(device);
                if was_there {
                    self.hub.presence_disconnected(tenant, device, "its gateway says so", self.now);
                }
            }
        }
    }

    fn is_there(&self, device: &DeviceId) {
        let tenant = &self.principal.tenant;
        // Of a gateway that is not connected nobody would hear when it goes.
        if !self.principal.device().is_some_and(|own| self.hub.is_online(tenant, own)) {
            return;
        }
        let is_new = self.speaker.state().present.insert(device.clone());
        // A device that was deleted and made again is not online, whatever was said of the first.
        if is_new || !self.hub.is_online(tenant, device) {
            self.hub.presence_connected(tenant, device, self.speaker.dialect, None, self.now);
        }
    }

    fn describe(&mut self, subject: &Subject, description: &Description) -> Result<(), StorageError> {
        let (tenant, device) = (&self.principal.tenant, &subject.device);
        if let Some(keys) = mapping::keys(description) {
            let known = self.hub.twin(tenant, device)?.reported;
            if known.get(KEYS).and_then(Value::as_object) != Some(&keys) {
                self.report(subject, Map::from_iter([(KEYS.to_owned(), Value::Object(keys))]))?;
            }
        }
        let labels = BTreeMap::from_iter(description.labels.iter().cloned());
        match self.hub.describe_device(tenant, device, (description.name.clone(), labels)) {
            Ok(position) => self.reached(position),
            Err(UpdateDeviceError::Storage(error)) => return Err(error),
            Err(error) => self.note(Some(device), format_args!("its description: {error}")),
        }
        Ok(())
    }

    fn tell_twin(&mut self, subject: &Subject, reason: &TwinReason) -> Result<(), StorageError> {
        let said = self.speaker.word_twin(self.hub, (&subject.device, subject.name.as_deref()), reason)?;
        for outgoing in said {
            self.say(outgoing)?;
        }
        Ok(())
    }

    fn say(&mut self, outgoing: Outgoing) -> Result<(), StorageError> {
        let position = self.speaker.say(self.hub, outgoing)?;
        self.reached(position);
        Ok(())
    }

    /// Nobody has registered it: it waits in the inbox, with what it said. Gives whether a rule of the
    /// inbox has registered it now.
    fn let_wait(&mut self, said: &Said<'_>) -> Result<bool, StorageError> {
        let About::Named(name) = &said.about else { return Ok(false) };
        let mut proposed = Proposed::default();
        let sample = match &said.what {
            What::Readings(points) => {
                let readings: Vec<_> = points.iter().map(|point| reading(point.clone(), self.now)).collect();
                mapping::sample(&readings)
            }
            What::Reported(patch) => json!({ REPORTED: patch }),
            What::Desired(patch) => json!({ "desired": patch }),
            What::Event { name, payload } => {
                json!({ "event": { &**name: String::from_utf8_lossy(payload) } })
            }
            What::Presence(presence) => {
                self.speaker.state().waits(name, *presence);
                json!({ "status": if *presence == Presence::Online { "online" } else { "offline" } })
            }
            What::Description(description) => {
                proposed.id = DeviceId::parse(name).ok();
                proposed.name.clone_from(&description.name);
                proposed.labels = description.labels.iter().cloned().collect();
                mapping::keys(description).map_or_else(|| json!({}), |keys| json!({ KEYS: keys }))
            }
            // Nobody waits for its answer, and it has no twin.
            What::Answer(_) | What::AsksTwin(_) | What::Stale(_) | What::Reply(_) => return Ok(false),
        };
        let recognised = Recognised {
            dialect: self.speaker.dialect,
            name: name.to_string(),
            parent: self.principal.device().cloned(),
            proposed,
            sample,
        };
        let found = self.hub.recognise(&self.principal.tenant, recognised)?;
        if found == Recognition::TurnedAway {
            self.note(None, format_args!("{name:?} was turned away: the inbox is full, or the name is none"));
        } else {
            let written = self.hub.store().log.end();
            self.reached(Some(written));
        }
        Ok(matches!(found, Recognition::Device(_)))
    }
}
