//! Messages that come together: readings of one device, each a message of its own to its subscribers,
//! to live feeds and in the log. What they have in common is looked at once.

use std::sync::Arc;
use std::task::Waker;

use crate::hub::Hub;
use crate::id::DeviceId;
use crate::latest::Novelty;
use crate::message::{Message, QoS};
use crate::principal::Principal;
use crate::record;
use crate::storage::{Position, StorageError};

use super::TenantBroker;
use super::device_topic::DeviceTopic;
use super::publish::{Durable, PublishError, Published, Routing};
use super::tree::Matched;

type Each = Vec<Result<Published, PublishError>>;

/// Whose readings a run has.
#[derive(Clone, Copy)]
struct Source<'a> {
    principal: &'a Principal,
    tenant: &'a Arc<TenantBroker>,
    device: &'a DeviceId,
}

impl Hub {
    /// Publishes messages in order, as [`Hub::publish`] does each of them, and gives what became of
    /// each. It costs less where all are a device's readings with one topic.
    pub fn publish_run(&self, principal: &Principal, messages: Vec<Message>) -> Each {
        if self.is_heard(principal) || !is_run(&messages) {
            return messages.into_iter().map(|message| self.publish(principal, message)).collect();
        }
        let count = messages.len();
        self.counters.messages_received_total.add(count as u64);
        let each = self.take_run(principal, messages).unwrap_or_else(|error| vec![Err(error); count]);
        self.counters.publishes_refused_total.add(each.iter().filter(|one| one.is_err()).count() as u64);
        each
    }

    fn take_run(&self, principal: &Principal, messages: Vec<Message>) -> Result<Each, PublishError> {
        let Some(first) = messages.first() else { return Ok(Vec::new()) };
        self.check_publish(principal, &first.topic)?;
        let device = match DeviceTopic::of(&first.topic)? {
            Some((device, DeviceTopic::Telemetry)) => device,
            _ => return Err(PublishError::TopicInvalid("readings are published on a device's `telemetry`")),
        };
        if principal.device() != Some(&device) && self.device(&principal.tenant, &device)?.is_none() {
            return Err(PublishError::DeviceUnknown(device));
        }
        let tenant = self.broker.tenant(&principal.tenant);
        let source = Source { principal, tenant: &tenant, device: &device };
        let mut each = Each::with_capacity(messages.len());
        let mut ready = Vec::with_capacity(messages.len());
        for mut message in messages {
            match self.prepare_one(source, &mut message) {
                Ok(novelty) => {
                    ready.push(Arc::new(message));
                    if novelty == Novelty::Keys {
                        each.extend(self.hand_out_run(source, std::mem::take(&mut ready)));
                    }
                }
                Err(error) => {
                    each.extend(self.hand_out_run(source, std::mem::take(&mut ready)));
                    each.push(Err(error));
                }
            }
        }
        each.extend(self.hand_out_run(source, ready));
        Ok(each)
    }

    fn prepare_one(&self, source: Source<'_>, message: &mut Message) -> Result<Novelty, PublishError> {
        let limits = (self.settings.keys_max, message.time);
        match &mut message.telemetry {
            Some(telemetry) => self.latest.prepare(&self.store, &source.principal.tenant, telemetry, limits),
            None => Err(PublishError::PayloadInvalid("the payload holds no readings".to_owned())),
        }
    }

    fn hand_out_run(&self, source: Source<'_>, ready: Vec<Arc<Message>>) -> Each {
        let Some(first) = ready.first() else { return Vec::new() };
        let replays_begun = source.tenant.replays_begun();
        let matched = source.tenant.tree().matches(first.topic.as_str());
        let each: Each = if matched.iter().any(|set| set.has_persistent()) {
            ready.iter().map(|message| self.hand_out_one(source, message)).collect()
        } else {
            match self.append_run(source, &ready, (&matched, replays_begun)) {
                Ok(each) => each.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error.into()); ready.len()],
            }
        };
        let taken = ready.iter().zip(&each).filter(|(_, one)| one.is_ok());
        for (message, _) in taken {
            self.after_device_message(source.principal, source.device, DeviceTopic::Telemetry, message);
        }
        each
    }

    /// A session keeps it: the record says for whom.
    fn hand_out_one(&self, source: Source<'_>, message: &Arc<Message>) -> Result<Published, PublishError> {
        let mut wakes = Vec::new();
        let routing = Routing { message, origin: None, durable: Durable::Always };
        let published = self.route(source.tenant, routing, &mut wakes);
        wakes.into_iter().for_each(Waker::wake);
        Ok(published?)
    }

    /// Appends messages that no session keeps, all or none, and delivers them.
    fn append_run(
        &self,
        source: Source<'_>,
        ready: &[Arc<Message>],
        (matched, replays_begun): (&Matched, u64),
    ) -> Result<Vec<Published>, StorageError> {
        let mut bytes = Vec::new();
        let mut ends = Vec::with_capacity(ready.len());
        for message in ready {
            record::encode_message(&source.tenant.id, message, &[], None, &mut bytes);
            ends.push(bytes.len());
        }
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let records: Vec<&[u8]> =
            starts.zip(&ends).filter_map(|(start, end)| bytes.get(start..*end)).collect();
        let first = self.append_underway(&records)?;
        self.counters.messages_recorded_total.add(records.len() as u64);
        let mut wakes = Vec::new();
        let mut published = Vec::with_capacity(ready.len());
        for (message, position) in ready.iter().zip(first.0..) {
            let position = Position(position);
            message.logged.get_or_init(|| position);
            let is_routed = self.deliver_matched(matched, message, None, &mut wakes);
            published.push(Published { position: Some(position), is_routed });
        }
        self.finish(first);
        if source.tenant.replays_begun() != replays_begun {
            for message in ready {
                let routing = Routing { message, origin: None, durable: Durable::Always };
                self.deliver_late(source.tenant, routing, matched, &mut wakes);
            }
        }
        wakes.into_iter().for_each(Waker::wake);
        Ok(published)
    }
}

/// Whether these are readings with one topic, as devices send them.
fn is_run(messages: &[Message]) -> bool {
    let topic = messages.first().map(|message| message.topic.as_str());
    messages.iter().all(|message| {
        Some(message.topic.as_str()) == topic
            && message.telemetry.is_some()
            && message.qos == QoS::AtLeastOnce
            && !message.retain
    })
}
