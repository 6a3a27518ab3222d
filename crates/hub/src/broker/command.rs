//! How a command gets from a device's mailbox into its open sessions.

use std::sync::Arc;
use std::task::Waker;

use crate::hub::Hub;
use crate::id::{DeviceId, TenantId};
use crate::mailbox::Command;
use crate::message::{Message, Properties, QoS};
use crate::speech::ToSay;
use crate::topic::{Topic, TopicFilter};

use super::outbox::{Errand, Marks, OnceDelivered};
use super::publish::queued;
use super::session::Shared;
use super::tree::{Subscriber, SubscriptionFlags};

/// Dialects whose commands are ours.
const OUR_WORDS: [&str; 3] = ["native", "senml", "influx"];

fn command_topic(device: &DeviceId) -> Option<Topic> {
    Topic::parse(&format!("devices/{device}/commands")).ok()
}

fn command_message(topic: Topic, command: &Command) -> Arc<Message> {
    let payload = serde_json::json!({
        "id": command.id,
        "name": command.name,
        "params": command.params,
        "expires_at": command.expires_at.map(|time| time.to_string()),
    });
    let mut message = Message::new(topic, payload.to_string(), command.created_at);
    message.qos = QoS::AtLeastOnce;
    if command.expires_at.is_some() {
        message.properties =
            Some(Box::new(Properties { expires_at: command.expires_at, ..Properties::default() }));
    }
    Arc::new(message)
}

/// It is said in our own words, which a device answers.
fn native(command: &Command) -> Box<Errand> {
    let (device, id) = (command.device.clone(), command.id.clone());
    Box::new(Errand { device, id, once_delivered: OnceDelivered::Answer })
}

/// Whether our own words mean nothing to the client, unless it asks for them by name: a family's
/// client that listens to everything would take them away from its dialect.
fn speaks_dialect(shared: &Shared) -> bool {
    let facts = shared.facts();
    let dialect = facts.principal().and_then(|principal| principal.dialect());
    dialect.is_some_and(|dialect| !OUR_WORDS.contains(&dialect))
}

impl Hub {
    /// Hands a new command to the device, if it is connected and listens; others who listen get a
    /// copy. In which session a device gets it is the first connected one's luck.
    pub(crate) fn offer_command(&self, tenant: &TenantId, device: &DeviceId, command: &Command) {
        let Some(topic) = command_topic(device) else { return };
        let tenant = self.broker.tenant(tenant);
        let matched = tenant.tree().matches(topic.as_str());
        let message = command_message(topic, command);
        let mut wakes = Vec::new();
        let mut is_taken = false;
        for mut target in self.targets(&matched, &message, None) {
            if target.shared.facts().device() == Some(device) {
                let is_meant = target.queued.marks.has(Marks::OWN_NAME) || !speaks_dialect(&target.shared);
                if is_meant && !is_taken && target.shared.outbox().is_connected {
                    is_taken = true;
                    target.queued.command = Some(native(command));
                    self.deliver_to(&target.shared, target.queued, &mut wakes);
                }
                continue;
            }
            // The mailbox is what lasts; who only looks on gets it while being there.
            if target.is_persistent() {
                target.queued.qos = QoS::AtMostOnce;
            }
            self.deliver_to(&target.shared, target.queued, &mut wakes);
        }
        wakes.into_iter().for_each(Waker::wake);
        if !is_taken {
            self.speech.note(&tenant.id, device, ToSay::Commands);
        }
    }

    /// A device that has just subscribed to its commands gets those that wait.
    pub(super) fn offer_waiting_commands(
        &self,
        shared: &Arc<Shared>,
        subscriber: &Subscriber,
        filter: &TopicFilter,
        wakes: &mut Vec<Waker>,
    ) {
        let owner = shared.facts().owner();
        let Some(device) = owner.device() else { return };
        let Some(topic) = command_topic(device).filter(|topic| filter.matches(topic.as_str())) else {
            return;
        };
        let is_own_name = subscriber.options.flags.has(SubscriptionFlags::OWN_NAME);
        if !is_own_name && speaks_dialect(shared) {
            return;
        }
        let now = self.now();
        let mut commands = self.unconfirmed_commands(&shared.tenant.id, device, now);
        commands.extend(self.waiting_commands(&shared.tenant.id, device, now));
        for command in commands {
            let is_here = shared.outbox().has_command(&command.id);
            if is_here {
                continue;
            }
            let mut queued = queued(subscriber, &command_message(topic.clone(), &command));
            queued.command = Some(native(&command));
            self.deliver_to(shared, queued, wakes);
        }
    }

    /// A device whose session goes on gets the commands that wait, or were not acknowledged.
    pub(super) fn offer_commands_again(&self, shared: &Arc<Shared>) {
        let subscriptions = shared.facts().subscriptions.clone();
        let mut wakes = Vec::new();
        for (subscribed, options) in subscriptions {
            let subscriber = Subscriber { session: Arc::clone(shared), options };
            self.offer_waiting_commands(shared, &subscriber, &subscribed.filter, &mut wakes);
        }
        wakes.into_iter().for_each(Waker::wake);
    }
}
