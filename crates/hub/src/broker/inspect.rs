//! Looking at the broker from outside: sessions and retained messages.

use std::sync::Arc;

use crate::hub::Hub;
use crate::id::TenantId;
use crate::message::Message;
use crate::time::Timestamp;
use crate::topic::{Topic, TopicFilter};

use super::outbox::CloseReason;
use super::session::Owner;

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

/// A retained message, for people to look at.
#[derive(Clone, Debug)]
pub struct RetainedMessage {
    /// The message.
    pub message: Arc<Message>,
}

impl Hub {
    /// The tenant's sessions in the order of their client ids, behind `after`, at most `limit`.
    #[must_use]
    pub fn sessions(&self, tenant: &TenantId, after: Option<&str>, limit: usize) -> Vec<SessionState> {
        let tenant = self.broker.tenant(tenant);
        let mut sessions: Vec<_> = tenant
            .sessions()
            .values()
            .filter(|shared| after.is_none_or(|after| &*shared.client_id > after))
            .cloned()
            .collect();
        sessions.sort_by(|one, other| one.client_id.cmp(&other.client_id));
        sessions.truncate(limit);
        let state = |shared: &Arc<super::session::Shared>| {
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
                owner: facts.owner.clone(),
                is_connected,
                protocol: facts.protocol,
                address: facts.address.clone(),
                connected_at: facts.connected_at,
                disconnected_at: facts.disconnected_at,
                subscriptions,
                queued,
            }
        };
        sessions.iter().map(state).collect()
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
