//! Looking at the broker from outside: sessions and retained messages.

use std::num::NonZeroU16;
use std::ops::Bound;
use std::sync::Arc;

use crate::hub::Hub;
use crate::id::TenantId;
use crate::message::{Message, QoS};
use crate::storage::Position;
use crate::time::Timestamp;
use crate::topic::{Topic, TopicFilter};

use super::outbox::{CloseReason, Marks, packet_id};
use super::session::{Owner, Shared};

/// A session, for people to look at.
#[derive(Clone, Debug)]
pub struct SessionState {
    /// Its client id.
    pub client_id: Arc<str>,
    /// Whose it is.
    pub owner: Owner,
    /// Whether a connection has it now.
    pub is_connected: bool,
    /// The protocol of the last connection.
    pub protocol: &'static str,
    /// Where the last connection came from.
    pub address: Option<Box<str>>,
    /// When the last connection began; 1970 when that was before the restart.
    pub connected_at: Timestamp,
    /// When the last connection ended.
    pub disconnected_at: Option<Timestamp>,
    /// What it subscribed to, with the granted quality of service.
    pub subscriptions: Vec<(String, u8)>,
    /// How many messages wait for it or are on their way.
    pub queued: usize,
}

/// Which sessions somebody looks for; the default is all.
#[derive(Clone, Debug, Default)]
pub struct SessionQuery {
    /// A part of the client id, of the owner's id or of the address, in lower case.
    pub text: Option<String>,
    /// Only those that have a connection, or only those that have none.
    pub is_connected: Option<bool>,
}

/// How far a message of a session's queue has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueuedState {
    /// It was not sent over the present connection.
    Waiting,
    /// It was sent; PUBACK or PUBREC is awaited.
    InFlight,
    /// PUBREC came; PUBCOMP is awaited.
    Received,
}

/// A QoS 1 or 2 message of a session's queue, for people to look at.
#[derive(Clone, Debug)]
pub struct QueuedMessage {
    /// Its place among all that the session was ever given; rises along the queue.
    pub sequence: u64,
    /// The packet id it has, or will have.
    pub packet_id: Option<NonZeroU16>,
    /// Where it stands in the log; `None` when it is in memory only.
    pub position: Option<Position>,
    /// The quality of service it is delivered with.
    pub qos: QoS,
    /// How far it has come.
    pub state: QueuedState,
    /// The message; `None` when PUBREC came or the log has lost it.
    pub message: Option<Arc<Message>>,
}

/// A retained message, for people to look at.
#[derive(Clone, Debug)]
pub struct RetainedMessage {
    /// The message.
    pub message: Arc<Message>,
}

impl SessionQuery {
    fn is_met_by(&self, shared: &Shared) -> bool {
        if self.is_connected.is_some_and(|wanted| shared.outbox().is_connected != wanted) {
            return false;
        }
        let Some(text) = &self.text else { return true };
        let facts = shared.facts();
        let owner = facts.owner();
        let owner = match &owner {
            Owner::Device(device) => device.as_str(),
            Owner::Token(token) => token.as_str(),
            Owner::User(user) => user.as_str(),
        };
        let shown = [&*shared.client_id, owner, facts.address.as_deref().unwrap_or_default()];
        shown.iter().any(|shown| shown.to_lowercase().contains(text.as_str()))
    }
}

fn state(shared: &Shared) -> SessionState {
    let (is_connected, queued) = {
        let outbox = shared.outbox();
        (outbox.is_connected, outbox.len())
    };
    let facts = shared.facts();
    let subscriptions = facts
        .subscriptions
        .iter()
        .map(|(subscribed, options)| (subscribed.to_string(), options.qos.number()))
        .collect();
    SessionState {
        client_id: Arc::clone(&shared.client_id),
        owner: facts.owner(),
        is_connected,
        protocol: facts.protocol,
        address: facts.address.clone(),
        connected_at: facts.connected_at,
        disconnected_at: facts.disconnected_at,
        subscriptions,
        queued,
    }
}

impl Hub {
    /// The tenant's sessions in the order of their client ids, behind `after`, at most `limit`.
    #[must_use]
    pub fn sessions(
        &self,
        tenant: &TenantId,
        query: &SessionQuery,
        (after, limit): (Option<&str>, usize),
    ) -> Vec<SessionState> {
        let page = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let sessions: Vec<Arc<Shared>> = self
            .broker
            .tenant(tenant)
            .sessions()
            .range::<str, _>(page)
            .map(|(_, shared)| Arc::clone(shared))
            .collect();
        sessions.iter().filter(|shared| query.is_met_by(shared)).take(limit).map(|one| state(one)).collect()
    }

    /// The session of a client id.
    #[must_use]
    pub fn session(&self, tenant: &TenantId, client_id: &str) -> Option<SessionState> {
        let shared = self.broker.tenant(tenant).sessions().get(client_id).cloned()?;
        Some(state(&shared))
    }

    /// What a session's queue holds of QoS 1 and 2 behind the sequence number `after`, in order, at
    /// most `limit`; `None` without such a session. Reads the log: not for the path of a message.
    #[must_use]
    pub fn queue(
        &self,
        tenant: &TenantId,
        client_id: &str,
        (after, limit): (u64, usize),
    ) -> Option<Vec<QueuedMessage>> {
        let shared = self.broker.tenant(tenant).sessions().get(client_id).cloned()?;
        let mut page: Vec<QueuedMessage> = {
            let outbox = shared.outbox();
            let on_their_way = outbox.on_their_way();
            let owed = outbox.owed().enumerate().filter(|(_, queued)| queued.sequence > after);
            let shown = owed.take(limit).map(|(place, queued)| QueuedMessage {
                sequence: queued.sequence,
                packet_id: packet_id(queued.sequence),
                position: (queued.position > Position(0)).then_some(queued.position),
                qos: queued.qos,
                state: match () {
                    () if queued.marks.has(Marks::RECEIVED) => QueuedState::Received,
                    () if place < on_their_way => QueuedState::InFlight,
                    () => QueuedState::Waiting,
                },
                message: queued.message.clone(),
            });
            shown.collect()
        };
        for one in page.iter_mut().filter(|one| one.message.is_none()) {
            one.message = one.position.and_then(|position| self.read_message(position));
        }
        Some(page)
    }

    /// Ends a session by hand: its connection is closed and what waits is forgotten. Whether there
    /// was one.
    pub fn kick(&self, tenant: &TenantId, client_id: &str) -> bool {
        let tenant = self.broker.tenant(tenant);
        let Some(shared) = tenant.sessions().get(client_id).cloned() else { return false };
        shared.close(CloseReason::Kicked);
        drop(self.end_session(&shared));
        true
    }

    /// The tenant's retained messages that match, in the order of their topics.
    #[must_use]
    pub fn retained(&self, tenant: &TenantId, filter: &TopicFilter) -> Vec<RetainedMessage> {
        let kept = self.broker.tenant(tenant).retained().matching(filter);
        kept.into_iter().map(|kept| RetainedMessage { message: kept.message }).collect()
    }

    /// Deletes a topic's retained message.
    ///
    /// # Errors
    /// The store could not write it down.
    pub async fn delete_retained(
        &self,
        tenant: &TenantId,
        topic: &Topic,
    ) -> Result<(), crate::storage::StorageError> {
        let mut message = Message::new(topic.clone(), Vec::new(), self.now());
        message.retain = true;
        match self.publish_own(tenant, message)? {
            Some(position) => self.durable(position).await,
            None => Ok(()),
        }
    }
}
