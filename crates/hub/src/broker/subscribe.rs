//! Subscribing and unsubscribing.

use std::sync::Arc;

use crate::access;
use crate::limit::Limit;
use crate::message::QoS;
use crate::storage::{Position, StorageError};
use crate::topic::Subscribed;

use super::outbox::Marks;
use super::publish::{Durable, queued, recipient};
use super::session::Session;
use super::stored;
use super::tree::{Known, Subscriber, SubscriptionFlags, SubscriptionOptions};

/// When retained messages are sent (MQTT 5.0 section 3.8.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetainHandling {
    /// At each subscribe.
    #[default]
    Send,
    /// Only when the subscription is new.
    SendIfNew,
    /// Never.
    DoNotSend,
}

/// One entry of a SUBSCRIBE, its filter written out in full.
#[derive(Clone, Debug)]
pub struct SubscribeRequest {
    /// What is subscribed to.
    pub subscribed: Subscribed,
    /// How.
    pub options: SubscriptionOptions,
    /// When retained messages are sent.
    pub retain_handling: RetainHandling,
}

/// Why a subscription was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// The client may not read there.
    #[error("subscribing to this filter is not allowed")]
    NotAuthorized,
    /// The session has as many subscriptions as it may.
    #[error("a session may have {0} subscriptions at most")]
    QuotaExceeded(usize),
    /// The members of a shared subscription divide what comes live.
    #[error("a shared subscription cannot begin in the past")]
    SharedReplay,
    /// The store could not take it.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The answer to a SUBSCRIBE.
#[derive(Debug)]
pub struct Subscribing {
    /// For each entry the granted quality of service, or why not.
    pub granted: Vec<Result<QoS, SubscribeError>>,
    /// SUBACK may be sent once the log is durable up to here.
    pub position: Option<Position>,
}

/// The answer to an UNSUBSCRIBE.
#[derive(Debug)]
pub struct Unsubscribing {
    /// For each filter whether there was such a subscription.
    pub existed: Vec<bool>,
    /// UNSUBACK may be sent once the log is durable up to here.
    pub position: Option<Position>,
}

impl Session {
    /// Subscribes; each entry is judged by itself. Visible to every publisher when this returns.
    pub fn subscribe(&mut self, requests: &[SubscribeRequest]) -> Subscribing {
        let mut position = None;
        let mut granted = Vec::with_capacity(requests.len());
        for request in requests {
            granted.push(match self.subscribe_one(request) {
                Ok(written) => {
                    position = position.max(written);
                    Ok(request.options.qos)
                }
                Err(error) => Err(error),
            });
        }
        Subscribing { granted, position }
    }

    fn subscribe_one(&mut self, request: &SubscribeRequest) -> Result<Option<Position>, SubscribeError> {
        let Subscribed { share, filter } = &request.subscribed;
        access::may_subscribe(&self.principal, filter).map_err(|_denied| SubscribeError::NotAuthorized)?;
        let persistent = self.shared.is_persistent();
        let mut options = request.options;
        options.flags = options.flags.with(SubscriptionFlags::PERSISTENT, persistent.into());
        let known = self.keep(&request.subscribed, options)?;
        let mut position = None;
        if persistent {
            let written =
                stored::put_subscription(&self.hub, self.shared.number, &request.subscribed, options)?;
            position = Some(written);
        }
        let subscriber = Subscriber { session: Arc::clone(&self.shared), options };
        self.shared.tenant.tree().insert(&request.subscribed, subscriber.clone(), known);
        if known == Known::New {
            self.hub.counters.subscriptions.increment();
        }
        let send = match request.retain_handling {
            RetainHandling::Send => share.is_none(),
            RetainHandling::SendIfNew => share.is_none() && known == Known::New,
            RetainHandling::DoNotSend => false,
        };
        if send {
            let kept = self.shared.tenant.retained().matching(filter);
            for one in kept {
                position = position.max(self.send_retained(&subscriber, &one.message)?);
            }
        }
        let wakes = &mut self.unflushed.get_or_insert_default().wakes;
        self.hub.offer_waiting_commands(&self.shared, &subscriber, filter, wakes);
        Ok(position)
    }

    /// Enters the subscription into the session's own list.
    fn keep(&self, subscribed: &Subscribed, options: SubscriptionOptions) -> Result<Known, SubscribeError> {
        let mut facts = self.shared.facts();
        match facts.subscriptions.binary_search_by(|(one, _)| one.cmp(subscribed)) {
            Ok(place) => {
                if let Some(entry) = facts.subscriptions.get_mut(place) {
                    entry.1 = options;
                }
                Ok(Known::Replaces)
            }
            Err(place) => {
                let most = self.hub.settings.subscriptions_max;
                if facts.subscriptions.len() >= most {
                    self.hub.refusals.count(Limit::Subscriptions);
                    return Err(SubscribeError::QuotaExceeded(most));
                }
                if facts.subscriptions.is_empty() {
                    // Most sessions have one; a million idle ones must fit.
                    facts.subscriptions.reserve_exact(1);
                }
                facts.subscriptions.insert(place, (subscribed.clone(), options));
                Ok(Known::New)
            }
        }
    }

    fn send_retained(
        &mut self,
        subscriber: &Subscriber,
        message: &Arc<crate::message::Message>,
    ) -> Result<Option<Position>, StorageError> {
        let now = self.hub.now();
        if message.expires_at().is_some_and(|time| time <= now)
            || !access::may_receive(&self.principal, message.topic.as_str())
        {
            return Ok(None);
        }
        let mut queued = queued(subscriber, message);
        queued.marks.set(Marks::RETAIN);
        queued.marks.set(Marks::AT_SUBSCRIBE);
        if queued.qos > QoS::AtMostOnce {
            queued.sequence = self.shared.outbox().reserve();
        }
        if queued.qos == QoS::AtMostOnce || !subscriber.options.flags.has(SubscriptionFlags::PERSISTENT) {
            self.shared.outbox().push(queued, &mut self.unflushed.get_or_insert_default().wakes);
            return Ok(None);
        }
        let recipients = [recipient(&self.shared, &queued)];
        let position = self.hub.append_message(&self.shared.tenant, message, &recipients, Durable::Copy)?;
        queued.position = position;
        self.shared.outbox().push(queued, &mut self.unflushed.get_or_insert_default().wakes);
        self.hub.finish(position);
        Ok(Some(position))
    }

    /// Ends subscriptions; messages that already wait still arrive.
    ///
    /// # Errors
    /// The store could not write it down; the subscriptions are over all the same until a restart.
    pub fn unsubscribe(&mut self, filters: &[Subscribed]) -> Result<Unsubscribing, StorageError> {
        let mut position = None;
        let mut existed = Vec::with_capacity(filters.len());
        for subscribed in filters {
            let mut facts = self.shared.facts();
            let place = facts.subscriptions.binary_search_by(|(one, _)| one.cmp(subscribed));
            if let Ok(place) = place {
                facts.subscriptions.remove(place);
            }
            drop(facts);
            existed.push(place.is_ok());
            if place.is_err() {
                continue;
            }
            self.shared.tenant.tree().remove(subscribed, &self.shared);
            self.shared.outbox().end_replay(subscribed);
            self.hub.counters.subscriptions.decrement();
            if self.shared.is_persistent() {
                position = Some(stored::delete_subscription(&self.hub, self.shared.number, subscribed)?);
            }
        }
        Ok(Unsubscribing { existed, position })
    }
}
