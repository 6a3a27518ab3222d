//! The path of a message: may it? → who gets it → the log → outboxes → whoever follows.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::Waker;

use crate::access;
use crate::hub::Hub;
use crate::hub::SessionFull;
use crate::id::{DeviceId, TenantId};
use crate::message::{Message, QoS};
use crate::principal::Principal;
use crate::record::{self, ExactlyOnceId, Outcome, Recipient, Record};
use crate::storage::{Position, StorageError};
use crate::topic::Topic;

use super::device_topic::DeviceTopic;
use super::hear::Tongue;
use super::outbox::{CloseReason, Identifiers, Marks, Outbox, Pushed, Queued};
use super::session::Shared;
use super::share::chosen;
use super::tree::{Condition, Matched, Subscriber, SubscriptionFlags};
use super::{TenantBroker, lock};

/// Why a message was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The publisher may not write there.
    #[error("publishing to this topic is not allowed")]
    NotAuthorized,
    /// The topic is one that only the server writes, or a malformed topic below `devices/`.
    #[error("{0}")]
    TopicInvalid(&'static str),
    /// There is no such device.
    #[error("there is no device {0}")]
    DeviceUnknown(DeviceId),
    /// The payload is not what this topic takes.
    #[error("{0}")]
    PayloadInvalid(String),
    /// A bound of the tenant or the device is reached.
    #[error("{0}")]
    QuotaExceeded(&'static str),
    /// The store could not take it.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What became of a message that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// It is durable when the log is durable up to here; `None` when nothing durable wants it.
    pub position: Option<Position>,
    /// Whether anybody gets it now.
    pub is_routed: bool,
}

/// Who publishes, and by which session if by any.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    pub(super) principal: &'a Principal,
    pub(super) session: Option<&'a Arc<Shared>>,
    pub(super) tongue: Tongue,
}

/// A message on its way through the broker.
#[derive(Clone, Copy)]
pub(super) struct Routing<'a> {
    pub(super) message: &'a Arc<Message>,
    /// The publisher's own session, which may not want it back.
    pub(super) origin: Option<&'a Arc<Shared>>,
    pub(super) durable: Durable,
}

impl Routing<'_> {
    /// Whether it is appended though no session waits for it.
    fn is_wanted(self) -> bool {
        !matches!(self.durable, Durable::IfWanted | Durable::Copy) || self.message.retain
    }
}

/// One session that gets a message, and how.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) shared: Arc<Shared>,
    pub(super) queued: Queued,
    pub(super) flags: SubscriptionFlags,
}

impl Target {
    pub(super) fn is_persistent(&self) -> bool {
        self.flags.has(SubscriptionFlags::PERSISTENT) && self.queued.qos > QoS::AtMostOnce
    }
}

/// A QoS 2 message that fans out once it is durable, so that a crash cannot make a duplicate.
#[derive(Debug)]
pub(super) struct Deferred {
    position: Position,
    targets: Vec<Target>,
}

impl Hub {
    /// Publishes a message whose topic is written out in full, on behalf of a principal without a
    /// session.
    ///
    /// # Errors
    /// [`PublishError`]; nothing was stored or delivered.
    pub fn publish(&self, principal: &Principal, message: Message) -> Result<Published, PublishError> {
        let mut wakes = Vec::new();
        let origin = Origin { principal, session: None, tongue: Tongue::Own };
        let published = self.publish_from(origin, message, None, &mut wakes);
        wakes.into_iter().for_each(Waker::wake);
        published
    }

    /// Publishes the server's own words.
    pub(crate) fn publish_own(
        &self,
        tenant: &TenantId,
        message: Message,
    ) -> Result<Option<Position>, StorageError> {
        let mut wakes = Vec::new();
        let tenant = self.broker.tenant(tenant);
        let routing = Routing { message: &Arc::new(message), origin: None, durable: Durable::IfWanted };
        let published = self.route(&tenant, routing, &mut wakes);
        wakes.into_iter().for_each(Waker::wake);
        published.map(|published| published.position)
    }

    pub(super) fn publish_from(
        &self,
        origin: Origin<'_>,
        message: Message,
        exactly_once: Option<ExactlyOnceId>,
        wakes: &mut Vec<Waker>,
    ) -> Result<Published, PublishError> {
        self.counters.messages_received_total.increment();
        let published = self.take_message(origin, message, exactly_once, wakes);
        if published.is_err() {
            self.counters.publishes_refused_total.increment();
        }
        published
    }

    fn take_message(
        &self,
        origin: Origin<'_>,
        mut message: Message,
        exactly_once: Option<ExactlyOnceId>,
        wakes: &mut Vec<Waker>,
    ) -> Result<Published, PublishError> {
        let principal = origin.principal;
        self.check_publish(principal, &message.topic)?;
        // Before it goes its way: should the store fail half-way, its publisher says it again, and
        // nobody has got it twice.
        let heard = self.interpret(origin, &message)?;
        let mut durable = exactly_once.map_or(Durable::IfWanted, Durable::ExactlyOnce);
        let device_topic = DeviceTopic::of(&message.topic)?;
        let mut effect = None;
        if let Some((device, topic)) = &device_topic {
            effect = self.prepare_device_message(principal, device, *topic, &mut message)?;
            if topic.is_recorded() && exactly_once.is_none() {
                durable = Durable::Always;
            }
        }
        if message.retain && !message.payload.is_empty() {
            self.check_retained(principal, &message)?;
        }
        let tenant = match origin.session {
            Some(shared) => Arc::clone(&shared.tenant),
            None => self.broker.tenant(&principal.tenant),
        };
        let message = Arc::new(message);
        let routing = Routing { message: &message, origin: origin.session, durable };
        let mut published = self.route(&tenant, routing, wakes)?;
        published.position = published.position.max(effect).max(heard);
        published.is_routed |= heard.is_some();
        if let Some((device, topic)) = device_topic {
            self.after_device_message(principal, &device, topic, &message);
        }
        if published.position.is_none() && message.qos > QoS::AtMostOnce {
            self.counters.messages_routed_only_total.increment();
        }
        Ok(published)
    }

    /// May the principal publish there? Asked once more when a will is sent.
    pub(crate) fn check_publish(&self, principal: &Principal, topic: &Topic) -> Result<(), PublishError> {
        let parent_of = |device: &DeviceId| self.parent_of(&principal.tenant, device);
        access::may_publish(principal, topic, parent_of).map_err(|_denied| PublishError::NotAuthorized)
    }

    /// Works out who gets the message, appends it where something durable wants it, and delivers.
    pub(super) fn route(
        &self,
        tenant: &Arc<TenantBroker>,
        routing: Routing<'_>,
        wakes: &mut Vec<Waker>,
    ) -> Result<Published, StorageError> {
        let replays_begun = tenant.replays_begun();
        let matched = tenant.tree().matches(routing.message.topic.as_str());
        let published = self.route_matched(tenant, routing, &matched, wakes)?;
        if published.position.is_some() && tenant.replays_begun() != replays_begun {
            self.deliver_late(tenant, routing, &matched, wakes);
        }
        Ok(published)
    }

    fn route_matched(
        &self,
        tenant: &Arc<TenantBroker>,
        routing: Routing<'_>,
        matched: &Matched,
        wakes: &mut Vec<Waker>,
    ) -> Result<Published, StorageError> {
        let Routing { message, origin, durable } = routing;
        let is_wanted = routing.is_wanted();
        let may_be_kept = message.qos > QoS::AtMostOnce && matched.iter().any(|set| set.has_persistent());
        if !may_be_kept && (!is_wanted || message.qos < QoS::ExactlyOnce) {
            let mut position = None;
            if is_wanted {
                position = Some(self.append_message(tenant, message, &[], durable)?);
                self.retain_routed(tenant, message, position);
            }
            let is_routed = self.deliver_matched(matched, message, origin, wakes);
            position.inspect(|position| self.finish(*position));
            return Ok(Published { position, is_routed });
        }
        let targets = self.targets(matched, message, origin);
        self.hand_out(tenant, routing, targets, wakes)
    }

    /// Delivers to those who subscribed from the past on while the message was on its way into the
    /// log: the reader of the log may have drawn its line before it.
    pub(super) fn deliver_late(
        &self,
        tenant: &TenantBroker,
        routing: Routing<'_>,
        known: &Matched,
        wakes: &mut Vec<Waker>,
    ) {
        let Routing { message, origin, .. } = routing;
        let known = self.targets(known, message, origin);
        let matched = tenant.tree().matches(message.topic.as_str());
        let mut late = self.targets(&matched, message, origin);
        late.retain(|target| {
            let is_known = known.iter().any(|known| Arc::ptr_eq(&known.shared, &target.shared));
            !is_known && target.shared.outbox().replays().is_some()
        });
        for target in &mut late {
            // Its record does not name them.
            target.flags = target.flags.with(SubscriptionFlags::PERSISTENT, Condition::HoldsNot);
        }
        self.deliver(late, wakes);
    }

    /// Appends the message where one of the targets is durable, or the message has to be, and delivers.
    pub(super) fn hand_out(
        &self,
        tenant: &Arc<TenantBroker>,
        routing: Routing<'_>,
        mut targets: Vec<Target>,
        wakes: &mut Vec<Waker>,
    ) -> Result<Published, StorageError> {
        let Routing { message, durable, .. } = routing;
        let is_wanted = routing.is_wanted();
        let is_routed = !targets.is_empty();
        self.reserve(&mut targets)?;
        if !is_wanted && !targets.iter().any(Target::is_persistent) {
            self.deliver(targets, wakes);
            return Ok(Published { position: None, is_routed });
        }
        let recipients: Vec<Recipient> =
            targets.iter().filter(|target| target.is_persistent()).map(recipient_of).collect();
        // Held while appending, so that whoever sends on what became durable finds it here, in the
        // order of the log.
        let deferred = (message.qos == QoS::ExactlyOnce).then(|| lock(&self.broker.deferred));
        let position = self.append_message(tenant, message, &recipients, durable)?;
        self.retain_routed(tenant, message, Some(position));
        for target in targets.iter_mut().filter(|target| target.is_persistent()) {
            target.queued.position = position;
        }
        match deferred {
            Some(mut waiting) => waiting.push_back(Deferred { position, targets }),
            None => {
                self.deliver(targets, wakes);
                self.finish(position);
            }
        }
        Ok(Published { position: Some(position), is_routed })
    }

    fn retain_routed(&self, tenant: &TenantBroker, message: &Arc<Message>, position: Option<Position>) {
        if message.retain {
            self.retain(tenant, message, position.unwrap_or_default());
        }
    }

    pub(super) fn append_message(
        &self,
        tenant: &TenantBroker,
        message: &Message,
        recipients: &[Recipient],
        durable: Durable,
    ) -> Result<Position, StorageError> {
        let mut bytes = Vec::with_capacity(message.payload.len() + 128);
        match durable {
            Durable::Copy => record::encode_copy(&tenant.id, message, recipients, &mut bytes),
            _ => {
                record::encode_message(&tenant.id, message, recipients, durable.exactly_once(), &mut bytes);
            }
        }
        let position = self.append_underway(&[&bytes])?;
        // A copy may know where it stood first.
        message.logged.get_or_init(|| position);
        self.counters.messages_recorded_total.increment();
        Ok(position)
    }

    /// Appends records whose effects are not in place before [`Hub::finish`], and gives the position of
    /// the first.
    pub(super) fn append_underway(&self, records: &[&[u8]]) -> Result<Position, StorageError> {
        // Held while appending, so that no checkpoint sees the position before it is noted here.
        let mut underway = lock(&self.broker.underway);
        let last = self.store.log.append(records)?;
        let first = Position(last.0 + 1 - records.len() as u64);
        underway.positions.insert(first);
        Ok(first)
    }

    /// The effects of the record at `position`, and of those that were appended with it, are in place.
    pub(super) fn finish(&self, position: Position) {
        lock(&self.broker.underway).positions.remove(&position);
    }

    /// Up to where every record's effects are in place.
    pub(crate) fn applied(&self) -> Position {
        let underway = lock(&self.broker.underway);
        match underway.positions.first() {
            Some(first) => Position(first.0 - 1),
            None => self.store.log.end(),
        }
    }

    /// Appends a record that changes nothing but what the caller changes.
    pub(crate) fn append(&self, record: &Record) -> Result<Position, StorageError> {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        self.store.log.append_outcome(&bytes)
    }

    /// Gives persistent sessions their place in the order. A full queue refuses, or gives up its
    /// oldest message, as the operator wants it; either is counted.
    fn reserve(&self, targets: &mut Vec<Target>) -> Result<(), StorageError> {
        let mut given_up = Vec::new();
        targets.retain_mut(|target| {
            if !target.is_persistent() {
                return true;
            }
            let mut outbox = target.shared.outbox();
            if self.is_full(&outbox) {
                self.counters.messages_dropped_queue_total.increment();
                let oldest = match self.settings.session_full {
                    SessionFull::RefuseNew => None,
                    SessionFull::DropOldest => outbox.drop_oldest(),
                };
                let Some(sequence) = oldest else { return false };
                given_up.push((target.shared.number, sequence));
            }
            target.queued.sequence = outbox.reserve();
            true
        });
        for (session, sequence) in given_up {
            self.append(&Record::Delivered { session, outcomes: vec![(sequence, Outcome::Settled)] })?;
        }
        Ok(())
    }

    fn is_full(&self, outbox: &Outbox) -> bool {
        outbox.len() >= self.settings.session_messages_max
            || outbox.bytes() >= self.settings.session_bytes_max
    }

    /// Delivers where no persistent session is concerned; whether there was anybody.
    pub(super) fn deliver_matched(
        &self,
        matched: &Matched,
        message: &Arc<Message>,
        origin: Option<&Arc<Shared>>,
        wakes: &mut Vec<Waker>,
    ) -> bool {
        let mut count: u64 = 0;
        match matched.as_slice() {
            [] => return false,
            // Nearly always: one filter matches, nobody shares. No need to merge anything.
            [set] if set.shares().is_empty() => {
                for subscriber in set.plain().iter().filter(|one| !is_own(one, origin)) {
                    let queued = queued(subscriber, message);
                    count += u64::from(self.deliver_to(&subscriber.session, queued, wakes));
                }
            }
            _ => {
                for target in self.targets(matched, message, origin) {
                    count += u64::from(self.deliver_to(&target.shared, target.queued, wakes));
                }
            }
        }
        self.counters.messages_delivered_total.add(count);
        count > 0
    }

    fn deliver(&self, targets: Vec<Target>, wakes: &mut Vec<Waker>) {
        let mut count: u64 = 0;
        for target in targets {
            if target.is_persistent() {
                target.shared.outbox().push(target.queued, wakes);
                count += 1;
            } else {
                count += u64::from(self.deliver_to(&target.shared, target.queued, wakes));
            }
        }
        self.counters.messages_delivered_total.add(count);
    }

    pub(super) fn deliver_to(
        &self,
        shared: &Arc<Shared>,
        mut queued: Queued,
        wakes: &mut Vec<Waker>,
    ) -> bool {
        let mut outbox = shared.outbox();
        if queued.qos > QoS::AtMostOnce {
            if self.is_full(&outbox) {
                drop(outbox);
                self.counters.messages_dropped_queue_total.increment();
                shared.close(CloseReason::QueueFull);
                return false;
            }
            queued.sequence = outbox.reserve();
        }
        let pushed = outbox.push(queued, wakes);
        let was_connected = outbox.is_connected;
        drop(outbox);
        if pushed == Pushed::Dropped && was_connected {
            self.counters.messages_dropped_slow_total.increment();
        }
        pushed == Pushed::Waiting
    }

    /// What each session gets: one copy however many of its filters match, with the highest
    /// quality of service and all identifiers (MQTT 5.0 section 3.3.4).
    pub(super) fn targets(
        &self,
        matched: &Matched,
        message: &Arc<Message>,
        origin: Option<&Arc<Shared>>,
    ) -> Vec<Target> {
        let plain = matched.iter().flat_map(|set| set.plain()).filter(|one| !is_own(one, origin));
        let mut targets = match matched.as_slice() {
            // A session stands in one set once.
            [_] => plain.map(|subscriber| target(subscriber, message)).collect(),
            _ => merged(plain, message),
        };
        for share in matched.iter().flat_map(|set| set.shares()) {
            targets.extend(chosen(share).map(|member| target(member, message)));
        }
        targets
    }

    /// Delivers what has become durable; gives the position to wait for next.
    pub(crate) fn deliver_deferred(&self, durable: Position) -> Option<Position> {
        let mut wakes = Vec::new();
        let next = loop {
            let mut waiting = lock(&self.broker.deferred);
            if waiting.front().is_none_or(|first| first.position > durable) {
                break waiting.front().map(|first| first.position);
            }
            let Some(deferred) = waiting.pop_front() else { break None };
            drop(waiting);
            self.deliver(deferred.targets, &mut wakes);
            self.finish(deferred.position);
        };
        wakes.into_iter().for_each(Waker::wake);
        next
    }
}

/// Whether a message is to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durable {
    /// Only if it is retained or a persistent session gets it.
    IfWanted,
    /// As [`Durable::IfWanted`], of a message that stands in the log already: this is for these
    /// recipients alone.
    Copy,
    /// It is a device's telemetry, event or the like.
    Always,
    /// It came with QoS 2 on a persistent session, which must know it again after a crash.
    ExactlyOnce(ExactlyOnceId),
}

impl Durable {
    fn exactly_once(self) -> Option<ExactlyOnceId> {
        match self {
            Self::ExactlyOnce(id) => Some(id),
            _ => None,
        }
    }
}

fn is_own(subscriber: &Subscriber, origin: Option<&Arc<Shared>>) -> bool {
    subscriber.options.flags.has(SubscriptionFlags::NO_LOCAL)
        && origin.is_some_and(|origin| Arc::ptr_eq(origin, &subscriber.session))
}

pub(super) fn queued(subscriber: &Subscriber, message: &Arc<Message>) -> Queued {
    let options = subscriber.options;
    let mut marks = Marks::default();
    if options.flags.has(SubscriptionFlags::RETAIN_AS_PUBLISHED) && message.retain {
        marks.set(Marks::RETAIN);
    }
    if options.flags.has(SubscriptionFlags::OWN_NAME) {
        marks.set(Marks::OWN_NAME);
    }
    Queued {
        sequence: 0,
        position: Position(0),
        message: Some(Arc::clone(message)),
        qos: message.qos.min(options.qos),
        marks,
        length: message.length(),
        identifiers: Identifiers::new(&[options.identifier]),
        command: None,
    }
}

pub(super) fn target(subscriber: &Subscriber, message: &Arc<Message>) -> Target {
    Target {
        shared: Arc::clone(&subscriber.session),
        queued: queued(subscriber, message),
        flags: subscriber.options.flags,
    }
}

/// One target for each session, however many of the subscribers are of it.
fn merged<'a>(subscribers: impl Iterator<Item = &'a Subscriber>, message: &Arc<Message>) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::new();
    let mut places: HashMap<*const Shared, usize> = HashMap::new();
    for subscriber in subscribers {
        let place = places.get(&Arc::as_ptr(&subscriber.session));
        match place.and_then(|place| targets.get_mut(*place)) {
            Some(merged) => merge(merged, subscriber, message),
            None => {
                places.insert(Arc::as_ptr(&subscriber.session), targets.len());
                targets.push(target(subscriber, message));
            }
        }
    }
    targets
}

fn merge(merged: &mut Target, subscriber: &Subscriber, message: &Arc<Message>) {
    let more = queued(subscriber, message);
    merged.queued.qos = merged.queued.qos.max(more.qos);
    merged.queued.marks.set(more.marks);
    let both = [merged.queued.identifiers.as_slice(), more.identifiers.as_slice()].concat();
    merged.queued.identifiers = Identifiers::new(&both);
}

fn recipient_of(target: &Target) -> Recipient {
    recipient(&target.shared, &target.queued)
}

/// A session's part of a message record.
pub(super) fn recipient(shared: &Shared, queued: &Queued) -> Recipient {
    Recipient {
        session: shared.number,
        sequence: queued.sequence,
        qos: queued.qos,
        retain: queued.marks.has(Marks::RETAIN),
        own_name: queued.marks.has(Marks::OWN_NAME),
        identifiers: queued.identifiers.as_slice().to_vec(),
    }
}
