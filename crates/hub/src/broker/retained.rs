//! The retained messages of a tenant (MQTT 5.0 section 3.3.1.3).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::hub::Hub;
use crate::id::TenantId;
use crate::message::Message;
use crate::principal::Principal;
use crate::record::{self, Record};
use crate::storage::{Key, Position, ViewChange};
use crate::topic::{Topic, TopicFilter};

use super::TenantBroker;
use super::publish::PublishError;

/// A retained message and where it came from in the log.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) message: Arc<Message>,
    pub(crate) position: Position,
}

/// The retained messages of a tenant, by topic.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    messages: BTreeMap<Topic, Kept>,
    /// Topics whose message changed since the last checkpoint.
    dirty: BTreeSet<Topic>,
}

impl Retained {
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn has(&self, topic: &Topic) -> bool {
        self.messages.contains_key(topic)
    }

    /// Keeps or (with an empty payload) deletes; what is newer already stays. Gives by how much
    /// the number of messages changed.
    pub(crate) fn set(&mut self, message: &Arc<Message>, position: Position) -> i8 {
        if self.messages.get(&message.topic).is_some_and(|kept| kept.position > position) {
            return 0;
        }
        self.dirty.insert(message.topic.clone());
        if message.payload.is_empty() {
            return -i8::from(self.messages.remove(&message.topic).is_some());
        }
        let kept = Kept { message: Arc::clone(message), position };
        i8::from(self.messages.insert(message.topic.clone(), kept).is_none())
    }

    /// Deletes all; gives how many there were.
    pub(crate) fn clear(&mut self) -> usize {
        let messages = std::mem::take(&mut self.messages);
        let count = messages.len();
        self.dirty.extend(messages.into_keys());
        count
    }

    /// Puts back what a checkpoint saved.
    pub(crate) fn restore(&mut self, kept: Kept) {
        self.messages.insert(kept.message.topic.clone(), kept);
    }

    /// What matches the filter, in the order of the topics.
    pub(crate) fn matching(&self, filter: &TopicFilter) -> Vec<Kept> {
        let text = filter.as_str();
        let literal = text.split(['+', '#']).next().unwrap_or_default();
        // `a/#` also matches `a`, which stands before `a/`.
        let first = literal.strip_suffix('/').unwrap_or(literal);
        let Ok(first) = Topic::parse(first) else {
            return self.filtered(self.messages.iter(), filter);
        };
        let in_reach = self
            .messages
            .range(first.clone()..)
            .take_while(|(topic, _)| topic.as_str().starts_with(first.as_str()));
        self.filtered(in_reach, filter)
    }

    fn filtered<'a>(
        &self,
        messages: impl Iterator<Item = (&'a Topic, &'a Kept)>,
        filter: &TopicFilter,
    ) -> Vec<Kept> {
        messages.filter(|(topic, _)| filter.matches(topic.as_str())).map(|(_, kept)| kept.clone()).collect()
    }

    /// The changes since the last call, as entries of the view.
    pub(crate) fn take_changes(&mut self, tenant: &TenantId) -> Vec<ViewChange> {
        std::mem::take(&mut self.dirty)
            .into_iter()
            .filter_map(|topic| {
                let value = self.messages.get(&topic).map(|kept| encode(tenant, kept));
                Some(ViewChange { key: key(tenant, &topic)?, value })
            })
            .collect()
    }
}

fn key(tenant: &TenantId, topic: &Topic) -> Option<Key> {
    let levels = topic.as_str().split('/');
    levels.fold(Key::of("retained").level(tenant.as_str()), |key, level| key.level(level)).key().ok()
}

/// The position, then the message as in the log.
fn encode(tenant: &TenantId, kept: &Kept) -> Bytes {
    let mut bytes = kept.position.0.to_le_bytes().to_vec();
    record::encode_message(tenant, &kept.message, &[], None, &mut bytes);
    bytes.into()
}

/// Reads an entry of the view.
pub(crate) fn decode(value: &Bytes) -> Option<(TenantId, Kept)> {
    let (position, _) = value.split_first_chunk::<8>()?;
    let position = Position(u64::from_le_bytes(*position));
    match Record::decode(&value.slice(8..)).ok()? {
        Record::Message { tenant, message, .. } => {
            Some((tenant, Kept { message: Arc::new(message), position }))
        }
        _ => None,
    }
}

impl Hub {
    /// Is there room for one more retained message?
    pub(super) fn check_retained(&self, principal: &Principal, topic: &Topic) -> Result<(), PublishError> {
        let tenant = self.broker.tenant(&principal.tenant);
        let retained = tenant.retained();
        // A topic whose table key would be too long cannot be kept over a restart.
        if key(&tenant.id, topic).is_none() {
            return Err(PublishError::TopicInvalid("this topic is too long for a retained message"));
        }
        if retained.len() >= self.settings.retained_max && !retained.has(topic) {
            return Err(PublishError::QuotaExceeded("the tenant has as many retained messages as it may"));
        }
        Ok(())
    }

    /// Forgets the tenant's retained messages, the saved ones with the next checkpoint.
    pub(crate) fn forget_retained(&self, tenant: &TenantId) {
        let tenant = self.broker.tenant(tenant);
        let removed = tenant.retained().clear();
        for _ in 0..removed {
            self.counters.retained.decrement();
        }
    }

    pub(super) fn retain(&self, tenant: &TenantBroker, message: &Arc<Message>, position: Position) {
        match tenant.retained().set(message, position) {
            1 => self.counters.retained.increment(),
            -1 => self.counters.retained.decrement(),
            _ => {}
        }
    }
}
