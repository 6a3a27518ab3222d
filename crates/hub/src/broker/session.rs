//! A session as its connection sees it: publish, subscribe, and take what is to be sent.

use std::fmt;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::hub::Hub;
use crate::id::{DeviceId, TokenId, UserId};
use crate::mailbox::Receipt;
use crate::message::{Message, QoS};
use crate::principal::{Actor, Principal};
use crate::record::{ExactlyOnceId, Outcome, Record, SessionNumber};
use crate::storage::{Position, StorageError};
use crate::time::Timestamp;
use crate::topic::Subscribed;

use super::hear::Tongue;
use super::outbox::{
    CloseReason, Delivery, Errand, Marks, OnceDelivered, Outbox, Outgoing, Queued, packet_id,
};
use super::publish::{Origin, PublishError, Published};
use super::tree::SubscriptionOptions;
use super::will::Will;
use super::{ConnectionNumber, Takeovers, TenantBroker};

/// What everybody who delivers to a session shares with its connection.
pub(crate) struct Shared {
    pub(crate) number: SessionNumber,
    pub(crate) tenant: Arc<TenantBroker>,
    pub(crate) client_id: Arc<str>,
    /// The connection that owns the session now; rises with each, so that a late one is known.
    connection: AtomicU64,
    pub(crate) outbox: Mutex<Outbox>,
    pub(crate) facts: Mutex<Facts>,
}

/// Whose a session is: the same again at each connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// A device's.
    Device(DeviceId),
    /// An application's with this API token.
    Token(TokenId),
    /// A person's.
    User(UserId),
}

impl Owner {
    /// Who the principal is, whatever it may do at the moment.
    #[must_use]
    pub fn of(principal: &Principal) -> Self {
        match &principal.actor {
            Actor::Device { device, .. } => Self::Device(device.clone()),
            Actor::Application { token, .. } => Self::Token(token.clone()),
            Actor::User { user, .. } => Self::User(user.clone()),
        }
    }

    /// The device, when it is one.
    #[must_use]
    pub fn device(&self) -> Option<&DeviceId> {
        match self {
            Self::Device(device) => Some(device),
            Self::Token(_) | Self::User(_) => None,
        }
    }
}

/// What changes seldom. There is one for each session, so it is kept small.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) who: Who,
    /// Whether the session stands in the table.
    pub(crate) is_stored: bool,
    expiry_seconds: u32,
    /// Sorted, so that a subscription is found quickly.
    pub(crate) subscriptions: Vec<(Subscribed, SubscriptionOptions)>,
    pub(crate) will: Option<Box<Will>>,
    pub(crate) protocol: &'static &'static str,
    pub(crate) address: Option<Box<str>>,
    pub(crate) connected_at: Timestamp,
    pub(crate) disconnected_at: Option<Timestamp>,
    pub(crate) takeovers: Takeovers,
}

/// Whose a session is.
#[derive(Debug)]
pub(crate) enum Who {
    /// Who is, or was, connected.
    Known(Arc<Principal>),
    /// After a restart, until the client is back.
    Stored(Box<Owner>),
}

impl Facts {
    /// Of a session that nobody is connected to yet.
    pub(crate) fn new(who: Who, takeovers: Takeovers) -> Self {
        Self {
            who,
            is_stored: false,
            expiry_seconds: 0,
            subscriptions: Vec::new(),
            will: None,
            protocol: &"",
            address: None,
            connected_at: Timestamp::default(),
            disconnected_at: None,
            takeovers,
        }
    }

    pub(crate) fn owner(&self) -> Owner {
        match &self.who {
            Who::Known(principal) => Owner::of(principal),
            Who::Stored(owner) => (**owner).clone(),
        }
    }

    /// The device, when it is one's.
    pub(crate) fn device(&self) -> Option<&DeviceId> {
        match &self.who {
            Who::Known(principal) => principal.device(),
            Who::Stored(owner) => owner.device(),
        }
    }

    /// Who is, or was, connected since the start.
    pub(crate) fn principal(&self) -> Option<&Arc<Principal>> {
        match &self.who {
            Who::Known(principal) => Some(principal),
            Who::Stored(_) => None,
        }
    }

    /// How long the session outlives its connection.
    pub(crate) fn expiry(&self) -> Duration {
        Duration::from_secs(self.expiry_seconds.into())
    }

    /// Begun seconds count as whole ones.
    pub(crate) fn set_expiry(&mut self, expiry: Duration) {
        let begun = u64::from(expiry.subsec_nanos() > 0);
        self.expiry_seconds = u32::try_from(expiry.as_secs().saturating_add(begun)).unwrap_or(u32::MAX);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Shared").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(
        number: SessionNumber,
        tenant: Arc<TenantBroker>,
        client_id: Arc<str>,
        facts: Facts,
    ) -> Self {
        Self {
            number,
            tenant,
            client_id,
            connection: AtomicU64::new(0),
            outbox: Mutex::default(),
            facts: Mutex::new(facts),
        }
    }

    pub(crate) fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the session outlives its connection.
    pub(crate) fn is_persistent(&self) -> bool {
        !self.facts().expiry().is_zero()
    }

    /// Hands the session to a new connection.
    pub(crate) fn take_over(&self) -> ConnectionNumber {
        ConnectionNumber(self.connection.fetch_add(1, Ordering::AcqRel) + 1)
    }

    pub(crate) fn connection(&self) -> ConnectionNumber {
        ConnectionNumber(self.connection.load(Ordering::Acquire))
    }

    /// Asks the connection to end.
    pub(crate) fn close(&self, reason: CloseReason) {
        let mut outbox = self.outbox();
        if outbox.is_connected && outbox.closing.is_none() {
            outbox.closing = Some(reason);
            let waker = outbox.waker.take();
            drop(outbox);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// The client said good-bye: no will.
    Normally,
    /// The client asked for its will all the same (MQTT 5 reason 0x04).
    WithWill,
    /// The connection broke, timed out or was closed for an error: the will is sent.
    Lost,
    /// Another connection took the session over.
    TakenOver,
    /// The server stops: the will stays for the restart.
    ServerStops,
}

impl Leave {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Normally => "it said good-bye",
            Self::WithWill => "it said good-bye and asked for its will",
            Self::Lost => "the connection was lost",
            Self::TakenOver => "another connection took its session over",
            Self::ServerStops => "the server stops",
        }
    }
}

/// What could not be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// It was on its way and is settled.
    Done,
    /// Nothing is on its way under that packet id.
    UnknownPacketId,
    /// The message has another quality of service than the acknowledgement is for.
    WrongKind,
}

/// What PUBREL led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Released {
    /// PUBCOMP may be sent once the log is durable up to here (at once when it is 0).
    pub position: Position,
    /// Whether the packet id was in use; if not, MQTT 5 answers with reason 0x92.
    pub was_in_use: bool,
}

/// What PUBREC led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// PUBREL may be sent once the log is durable up to here (at once when it is 0).
    Release(Position),
    /// Nothing is on its way under that packet id.
    UnknownPacketId,
    /// It is of a QoS 1 message.
    WrongKind,
}

/// A connection's hold on its session. Dropped without [`Session::leave`], the connection counts
/// as lost.
#[derive(Debug)]
pub struct Session {
    pub(crate) hub: Arc<Hub>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) principal: Arc<Principal>,
    pub(crate) connection: ConnectionNumber,
    /// What an idle connection does without.
    pub(crate) unflushed: Option<Box<Unflushed>>,
    pub(crate) has_left: bool,
    /// When presence was told last that the device is there, in seconds since 1970.
    pub(crate) heard_second: u32,
}

/// What a turn of a connection led to, until [`Session::flush`].
#[derive(Debug, Default)]
pub(crate) struct Unflushed {
    /// Who was given something.
    pub(super) wakes: Vec<Waker>,
    /// What acknowledgements settled.
    outcomes: Vec<(u64, Outcome)>,
}

impl Session {
    /// The client id, assigned or given.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.shared.client_id
    }

    /// The hub in which the session is.
    #[must_use]
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Who is connected.
    #[must_use]
    pub fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    /// Publishes a message (its topic written out in full). Deliveries wake their readers at the
    /// next [`Session::flush`]. `exactly_once` is the packet id of a QoS 2 message.
    ///
    /// # Errors
    /// [`PublishError`]; nothing was stored or delivered.
    pub fn publish(
        &mut self,
        message: Message,
        exactly_once: Option<NonZeroU16>,
    ) -> Result<Published, PublishError> {
        let origin = Origin { principal: &self.principal, session: Some(&self.shared), tongue: Tongue::Own };
        let wakes = &mut self.unflushed.get_or_insert_default().wakes;
        let Some(packet_id) = exactly_once else {
            return self.hub.publish_from(origin, message, None, wakes);
        };
        if !self.shared.outbox().take_incoming(packet_id) {
            // MQTT 5.0 [MQTT-4.3.3-10]: a resend is acknowledged again and not delivered again.
            return Ok(Published { position: Some(self.hub.store.log.end()), is_routed: true });
        }
        let id = ExactlyOnceId { session: self.shared.number, packet_id };
        let kept = self.shared.is_persistent().then_some(id);
        let published = self.hub.publish_from(origin, message, kept, wakes);
        if published.is_err() {
            self.shared.outbox().release_incoming(packet_id);
        }
        published
    }

    /// PUBREL came: frees the packet id.
    ///
    /// # Errors
    /// The store could not write it down; the packet id is still in use.
    pub fn release(&mut self, packet_id: NonZeroU16) -> Result<Released, StorageError> {
        // Before the record, so that no checkpoint behind it still holds the packet id.
        if !self.shared.outbox().release_incoming(packet_id) {
            // It may have been freed a moment ago by a record that is not durable yet; to a client
            // that used it again, a power cut would bring the old message back.
            return Ok(Released { position: self.hub.store.log.end(), was_in_use: false });
        }
        if !self.shared.is_persistent() {
            return Ok(Released { position: Position(0), was_in_use: true });
        }
        let id = ExactlyOnceId { session: self.shared.number, packet_id };
        match self.hub.append(&Record::Released { id }) {
            Ok(position) => Ok(Released { position, was_in_use: true }),
            Err(error) => {
                self.shared.outbox().take_incoming(packet_id);
                Err(error)
            }
        }
    }

    /// Wakes whom this connection's publishes gave something, and writes down what its
    /// acknowledgements settled. Call it after each handled read buffer.
    pub fn flush(&mut self) {
        let Some(Unflushed { wakes, outcomes }) = self.unflushed.take().map(|unflushed| *unflushed) else {
            return;
        };
        wakes.into_iter().for_each(Waker::wake);
        if outcomes.is_empty() {
            return;
        }
        let record = Record::Delivered { session: self.shared.number, outcomes };
        // Lost only with the store: then the messages come once more, which QoS 1 allows.
        if let Err(error) = self.hub.append(&record) {
            self.hub.counters.publishes_refused_total.increment();
            drop(error);
        }
    }

    /// Gives back memory that past traffic took, when nothing waits. Call it now and then.
    pub fn settle_down(&self) {
        self.shared.outbox().settle_down();
    }

    /// The client's socket took all that it was given: what is published for it in a burst may wait for
    /// its turn. Until this is called first, a client counts as slow.
    pub fn keeps_up(&self) {
        self.shared.outbox().keeps_up();
    }

    /// The client's socket takes no more for now: what waits is bounded as for a slow reader.
    pub fn falls_behind(&self) {
        let dropped = self.shared.outbox().falls_behind();
        self.hub.counters.messages_dropped_slow_total.add(dropped as u64);
    }

    /// Resolves when there is something to send or the connection is to be closed.
    pub fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut outbox = self.shared.outbox();
        if self.connection != self.shared.connection() || outbox.closing.is_some() || outbox.has_next() {
            return Poll::Ready(());
        }
        if !outbox.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            outbox.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// Why the connection is to be closed, if it is.
    #[must_use]
    pub fn closing(&self) -> Option<CloseReason> {
        if self.connection != self.shared.connection() {
            return Some(CloseReason::TakenOver);
        }
        self.shared.outbox().closing
    }

    /// Takes up to `count` things to send, within the receive maximum. Messages that expired before
    /// they were ever sent are left out. What the client may no longer read is left out (the right
    /// may have been taken away).
    pub fn next_outgoing(&mut self, out: &mut Vec<Outgoing>, count: usize) {
        if self.connection != self.shared.connection() {
            return;
        }
        let (mut taken, is_replaying): (Vec<Queued>, bool) = {
            let mut outbox = self.shared.outbox();
            (std::iter::from_fn(|| outbox.next()).take(count).collect(), outbox.replays().is_some())
        };
        if is_replaying {
            self.hub.announce_replay(&self.shared);
        }
        if taken.iter().any(Queued::is_to_be_read) {
            self.hub.read_back(&mut taken);
        }
        for queued in taken {
            self.send(queued, out);
        }
    }

    fn send(&mut self, queued: Queued, out: &mut Vec<Outgoing>) {
        let id = packet_id(queued.sequence);
        if queued.marks.has(Marks::RECEIVED) {
            // The record of the PUBREC may not be durable yet.
            let not_before = self.hub.store.log.end();
            out.extend(id.map(|id| Outgoing::Release(id, not_before)));
            return;
        }
        let wanted = queued.message.clone().filter(|message| {
            // [MQTT-4.3.3-7]: what was sent once is seen through.
            let expired = !queued.marks.has(Marks::SENT)
                && message.expires_at().is_some_and(|time| time <= self.hub.now());
            if expired {
                self.hub.counters.messages_expired_total.increment();
            }
            !expired && crate::access::may_receive(&self.principal, message.topic.as_str())
        });
        let Some(message) = wanted else {
            if let Some(id) = id {
                self.settle(id);
            }
            return;
        };
        let Some(not_before) = self.command_leaves(&queued) else {
            if let Some(id) = id {
                self.settle(id);
            }
            return;
        };
        out.push(Outgoing::Publish(Delivery {
            message,
            qos: queued.qos,
            retain: queued.marks.has(Marks::RETAIN),
            dup: queued.marks.has(Marks::SENT) || queued.marks.has(Marks::PERHAPS_SENT),
            packet_id: id,
            identifiers: queued.identifiers,
            own_name: queued.marks.has(Marks::OWN_NAME),
            not_before,
        }));
    }

    /// What must be durable before the message leaves; `None` when it is a command that must not
    /// leave (any more).
    fn command_leaves(&self, queued: &Queued) -> Option<Position> {
        let Some(Errand { device, id, .. }) = queued.command.as_deref() else { return Some(Position(0)) };
        let receipt = if queued.qos == QoS::AtMostOnce { Receipt::None } else { Receipt::Awaited };
        // A store that cannot say "sent" must not let it be sent.
        self.hub.mark_sent(&self.principal.tenant, device, id, receipt).ok().flatten()
    }

    fn settle(&mut self, id: NonZeroU16) -> Option<Queued> {
        let settled = self.shared.outbox().settle(id)?;
        if settled.position > Position(0) {
            let outcomes = &mut self.unflushed.get_or_insert_default().outcomes;
            outcomes.push((settled.sequence, Outcome::Settled));
        }
        Some(settled)
    }

    /// PUBACK came, or the message cannot be sent at all.
    pub fn acknowledge(&mut self, packet_id: NonZeroU16) -> Acknowledged {
        match self.shared.outbox().on_its_way(packet_id) {
            None => return Acknowledged::UnknownPacketId,
            Some(queued) if queued.qos != QoS::AtLeastOnce => return Acknowledged::WrongKind,
            Some(_) => {}
        }
        let settled = self.settle(packet_id);
        if let Some(errand) = settled.and_then(|queued| queued.command) {
            let Errand { device, id, once_delivered } = *errand;
            let tenant = &self.principal.tenant;
            // Should the store fail, the command stays "sent", which is true as well.
            drop(self.hub.mark_delivered(tenant, &device, &id));
            if once_delivered == OnceDelivered::Done {
                drop(self.hub.take_result(tenant, &device, id.as_str(), b"{\"ok\":true}", self.hub.now()));
            }
        }
        Acknowledged::Done
    }

    /// The message cannot be delivered to this client (too large, or refused by it).
    pub fn give_up(&mut self, packet_id: NonZeroU16) {
        self.settle(packet_id);
    }

    /// PUBREC came: PUBREL is owed from now on.
    ///
    /// # Errors
    /// The store could not write it down; the client sends PUBREC again.
    pub fn received(&mut self, packet_id: NonZeroU16) -> Result<Received, StorageError> {
        let (sequence, position) = match self.shared.outbox().on_its_way(packet_id) {
            None => return Ok(Received::UnknownPacketId),
            Some(queued) if queued.qos != QoS::ExactlyOnce => return Ok(Received::WrongKind),
            Some(queued) if queued.marks.has(Marks::RECEIVED) => {
                // The record of the first time may not be durable yet.
                return Ok(Received::Release(self.hub.store.log.end()));
            }
            Some(queued) => (queued.sequence, queued.position),
        };
        // Before the record, so that no checkpoint behind it lacks the mark.
        self.shared.outbox().mark_received(packet_id);
        if position == Position(0) {
            return Ok(Received::Release(position));
        }
        let outcomes = vec![(sequence, Outcome::Received)];
        let record = Record::Delivered { session: self.shared.number, outcomes };
        let appended = self.hub.append(&record);
        if appended.is_err() {
            // No PUBREL may leave for it: after a crash the message would come once more.
            self.shared.outbox().unmark_received(packet_id);
        }
        appended.map(Received::Release)
    }

    /// PUBCOMP came.
    pub fn complete(&mut self, packet_id: NonZeroU16) -> Acknowledged {
        match self.shared.outbox().on_its_way(packet_id) {
            None => return Acknowledged::UnknownPacketId,
            Some(queued) if queued.qos != QoS::ExactlyOnce => return Acknowledged::WrongKind,
            Some(_) => {}
        }
        self.settle(packet_id);
        Acknowledged::Done
    }

    /// Ends the connection. `expiry` replaces how long the session is kept (MQTT 5 DISCONNECT).
    pub fn leave(mut self, how: Leave, expiry: Option<Duration>) {
        self.has_left = true;
        self.flush();
        Hub::disconnect(&self.hub, &self.shared, self.connection, how, expiry);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.tenant.connections.leave();
        if !self.has_left {
            self.flush();
            Hub::disconnect(&self.hub, &self.shared, self.connection, Leave::Lost, None);
        }
    }
}
