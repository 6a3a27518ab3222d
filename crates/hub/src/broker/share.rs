//! Shared subscriptions (MQTT 5.0 section 4.8.2): which member gets a message, and who gets what a
//! member leaves behind.

use std::sync::Arc;
use std::task::Waker;

use crate::hub::Hub;
use crate::message::{Message, QoS};
use crate::storage::StorageError;
use crate::topic::Subscribed;

use super::outbox::{Marks, Queued};
use super::publish::{Durable, Routing, target};
use super::session::Shared;
use super::tree::{Share, Subscriber, SubscriptionFlags, SubscriptionOptions};

/// How many messages are read back from the log at once, so that they need not all lie in memory.
const READ_AT_ONCE_MAX: usize = 256;

/// Whose turn it is: a member that is connected comes first; with none, one that will be back.
pub(super) fn chosen(share: &Share) -> Option<&Subscriber> {
    let connected = share.in_turn().find(|member| member.session.outbox().is_connected);
    let absent = || share.members.iter().find(|one| one.options.flags.has(SubscriptionFlags::PERSISTENT));
    connected.or_else(absent)
}

/// What may go to another member: everything but a QoS 2 message that may have been sent
/// [MQTT-4.8.2-5].
fn may_pass_on(queued: &Queued) -> bool {
    let sent = [Marks::SENT, Marks::PERHAPS_SENT, Marks::RECEIVED];
    queued.qos == QoS::AtLeastOnce || !sent.iter().any(|mark| queued.marks.has(*mark))
}

impl Hub {
    /// Gives other members what an ended session still had of its shares; its subscriptions are
    /// out of the tree. What it had by a subscription of its own as well is not told apart, and stays.
    ///
    /// # Errors
    /// The store could not take it; the rest is lost with the session.
    pub(super) fn pass_on(
        &self,
        ended: &Shared,
        subscriptions: &[(Subscribed, SubscriptionOptions)],
    ) -> Result<(), StorageError> {
        if subscriptions.iter().all(|(one, _)| one.share.is_none()) {
            return Ok(());
        }
        let mut left: Vec<Queued> = ended.outbox().owed().filter(|one| may_pass_on(one)).cloned().collect();
        let mut wakes = Vec::new();
        let passed = left.chunks_mut(READ_AT_ONCE_MAX).try_for_each(|some| {
            self.read_back(some);
            some.iter_mut().try_for_each(|one| self.pass_on_one(ended, subscriptions, one, &mut wakes))
        });
        wakes.into_iter().for_each(Waker::wake);
        passed
    }

    fn pass_on_one(
        &self,
        ended: &Shared,
        subscriptions: &[(Subscribed, SubscriptionOptions)],
        queued: &mut Queued,
        wakes: &mut Vec<Waker>,
    ) -> Result<(), StorageError> {
        let Some(message) = queued.message.take().filter(|_| queued.command.is_none()) else { return Ok(()) };
        let topic = message.topic.as_str();
        let is_over = message.expires_at().is_some_and(|time| time <= self.now());
        let names = subscriptions.iter().map(|(one, _)| one);
        let matching = || names.clone().filter(|one| one.filter.matches(topic));
        if is_over || matching().any(|one| one.share.is_none()) {
            return Ok(());
        }
        let Some(name) = matching().find_map(|one| one.share.as_ref()) else { return Ok(()) };
        let matched = ended.tenant.tree().matches(topic);
        let mut shares = matched.iter().flat_map(|set| set.shares()).filter(|share| share.name == *name);
        let Some(mut target) = shares.find_map(|share| Some(target(chosen(share)?, &message))) else {
            return Ok(());
        };
        // For its recipient only: not retained again, and its readings not recorded again.
        let copy = Arc::new(Message { retain: false, telemetry: None, ..(*message).clone() });
        target.queued.message = Some(Arc::clone(&copy));
        let routing = Routing { message: &copy, origin: None, durable: Durable::Copy };
        self.hand_out(&ended.tenant, routing, vec![target], wakes).map(drop)
    }
}
