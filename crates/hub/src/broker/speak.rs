//! What is said to a device in its family's words: to its own sessions, and to whoever looks on.

use std::sync::Arc;
use std::task::Waker;

use crate::access;
use crate::flight::FlightKind;
use crate::hub::Hub;
use crate::id::{CommandId, DeviceId};
use crate::mailbox::{Command, Receipt};
use crate::message::{Message, QoS};
use crate::principal::Principal;
use crate::storage::Position;
use crate::topic::TopicFilter;

use super::TenantBroker;
use super::outbox::{Errand, OnceDelivered};
use super::publish::{PublishError, Target};
use super::session::Shared;

/// A command in its family's words.
#[derive(Debug)]
pub struct Words {
    /// To be published in this order.
    pub messages: Vec<Message>,
    /// What becomes of the command when it has arrived.
    pub once_delivered: OnceDelivered,
}

/// What became of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// They are on their way, or the command does not want them any more.
    Said,
    /// The device listens nowhere where they could be said: the command waits on.
    Unheard,
}

impl Hub {
    /// Publishes the words of a device's family: of all devices, only this one's sessions get them,
    /// while they are connected. What is retained is published like any other message.
    ///
    /// # Errors
    /// [`PublishError::NotAuthorized`] where the device has no business; what the store says.
    pub fn say(&self, speaker: &Principal, message: Message) -> Result<Option<Position>, PublishError> {
        self.check_words(speaker, &message)?;
        if message.retain {
            if !message.payload.is_empty() {
                self.check_retained(speaker, &message)?;
            }
            return Ok(self.publish_own(&speaker.tenant, message)?);
        }
        let mut wakes = Vec::new();
        for target in self.listeners(speaker, &Arc::new(message)) {
            self.deliver_to(&target.shared, target.queued, &mut wakes);
        }
        wakes.into_iter().for_each(Waker::wake);
        Ok(None)
    }

    /// Nothing is said where the device may neither listen nor speak.
    fn check_words(&self, speaker: &Principal, message: &Message) -> Result<(), PublishError> {
        let is_heard = access::may_receive(speaker, message.topic.as_str());
        if is_heard && !message.retain { Ok(()) } else { self.check_publish(speaker, &message.topic) }
    }

    /// The speaker's connected sessions that listen there, and everybody who is no device.
    fn listeners(&self, speaker: &Principal, message: &Arc<Message>) -> Vec<Target> {
        let tenant = self.broker.tenant(&speaker.tenant);
        let matched = tenant.tree().matches(message.topic.as_str());
        let mut targets = self.targets(&matched, message, None);
        targets.retain(|target| {
            let owner = target.shared.facts().owner();
            let is_meant = owner.device().is_none_or(|device| speaker.device() == Some(device));
            is_meant && target.shared.outbox().is_connected
        });
        for target in &mut targets {
            // It stands in no log; who only looks on gets it while being there.
            if target.is_persistent() && target.shared.facts().device().is_none() {
                target.queued.qos = QoS::AtMostOnce;
            }
        }
        targets
    }

    /// Says a command to the first session of the speaker that listens to all of its words. It is
    /// `sent`, durably, before it leaves; where the session acknowledges, the state follows. Not
    /// cancel safe.
    ///
    /// # Errors
    /// [`PublishError`]; nothing was said.
    pub async fn say_command(
        &self,
        speaker: &Principal,
        command: &Command,
        words: Words,
    ) -> Result<Spoken, PublishError> {
        let messages: Vec<Arc<Message>> = words.messages.into_iter().map(Arc::new).collect();
        for message in &messages {
            self.check_words(speaker, message)?;
        }
        let Some(listener) = self.listener_of_all(speaker, (&messages, &command.id)) else {
            return Ok(Spoken::Unheard);
        };
        let Some((shared, qos)) = listener else { return Ok(Spoken::Said) };
        let receipt = if qos == QoS::AtMostOnce { Receipt::None } else { Receipt::Awaited };
        let tenant = &speaker.tenant;
        let Some(position) = self.mark_sent(tenant, &command.device, &command.id, receipt)? else {
            return Ok(Spoken::Said);
        };
        self.durable(position).await?;
        let errand = Errand {
            device: command.device.clone(),
            id: command.id.clone(),
            once_delivered: words.once_delivered,
        };
        let has_left = self.hand_over(speaker, &shared, (&messages, errand));
        if !has_left && receipt == Receipt::None {
            let why = "the client left, or was too slow, when this was to be sent";
            self.mark_in_doubt(tenant, &command.device, &command.id, why)?;
        }
        Ok(Spoken::Said)
    }

    /// The session of the speaker that listens to all of these, and how well it listens to the last;
    /// `Some(None)` when one of them waits to acknowledge the command already.
    fn listener_of_all(
        &self,
        speaker: &Principal,
        (messages, id): (&[Arc<Message>], &CommandId),
    ) -> Option<Option<(Arc<Shared>, QoS)>> {
        let (last, others) = messages.split_last()?;
        let listens = |target: &Target, message: &Message| {
            let facts = target.shared.facts();
            facts.subscriptions.iter().any(|(one, _)| one.filter.matches(message.topic.as_str()))
        };
        let mut own = self.listeners(speaker, last);
        own.retain(|target| target.shared.facts().device() == speaker.device());
        if own.iter().any(|target| target.shared.outbox().has_command(id)) {
            return Some(None);
        }
        // What is retained needs nobody who listens.
        let wanted = || others.iter().filter(|message| !message.retain);
        let found = own.into_iter().find(|target| wanted().all(|message| listens(target, message)));
        found.map(|target| Some((target.shared, target.queued.qos)))
    }

    /// Gives the words to the session, and copies to who looks on; whether the last of them left.
    fn hand_over(
        &self,
        speaker: &Principal,
        shared: &Arc<Shared>,
        (messages, errand): (&[Arc<Message>], Errand),
    ) -> bool {
        let mut wakes = Vec::new();
        let mut has_left = false;
        let last = messages.last();
        for message in messages {
            let is_last = last.is_some_and(|last| Arc::ptr_eq(last, message));
            for mut target in self.listeners(speaker, message) {
                let is_device = target.shared.facts().device().is_some();
                if is_device && !Arc::ptr_eq(&target.shared, shared) {
                    continue;
                }
                if is_device && is_last && target.queued.qos > QoS::AtMostOnce {
                    target.queued.command = Some(Box::new(errand.clone()));
                }
                let was_given = self.deliver_to(&target.shared, target.queued, &mut wakes);
                has_left |= is_device && is_last && was_given;
            }
        }
        wakes.into_iter().for_each(Waker::wake);
        has_left
    }

    /// The tenant's retained messages there that the device may read, at most so many.
    #[must_use]
    pub fn retained_for(&self, reader: &Principal, filter: &TopicFilter, limit: usize) -> Vec<Arc<Message>> {
        let tenant: Arc<TenantBroker> = self.broker.tenant(&reader.tenant);
        let kept = tenant.retained().matching(filter);
        let readable =
            kept.into_iter().filter(|kept| access::may_receive(reader, kept.message.topic.as_str()));
        readable.take(limit).map(|kept| kept.message).collect()
    }

    /// Notes for the device's people what its family's words could not do.
    pub fn note_unsaid(&self, speaker: &Principal, device: &DeviceId, text: impl std::fmt::Display) {
        self.note(&speaker.tenant, device, FlightKind::Refused, text, self.now());
    }
}
