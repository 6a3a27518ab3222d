//! The retained messages of a tenant (MQTT 5.0 section 3.3.1.3).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::hub::Hub;
use crate::id::TenantId;
use crate::limit::Limit;
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
    /// The size of all messages, see [`size`].
    bytes: u64,
    /// Topics whose message changed since the last checkpoint.
    dirty: BTreeSet<Topic>,
}

impl Retained {
    fn get(&self, topic: &Topic) -> Option<&Message> {
        self.messages.get(topic).map(|kept| &*kept.message)
    }

    /// Keeps or (with an empty payload) deletes; what is newer already stays.
    fn set(&mut self, message: &Arc<Message>, position: Position) {
        if self.messages.get(&message.topic).is_some_and(|kept| kept.position > position) {
            return;
        }
        self.dirty.insert(message.topic.clone());
        let former = if message.payload.is_empty() {
            self.messages.remove(&message.topic)
        } else {
            self.bytes += size(message);
            let kept = Kept { message: Arc::clone(message), position };
            self.messages.insert(message.topic.clone(), kept)
        };
        self.bytes -= former.map_or(0, |kept| size(&kept.message));
    }

    fn clear(&mut self) {
        self.bytes = 0;
        self.dirty.extend(std::mem::take(&mut self.messages).into_keys());
    }

    /// Puts back what a checkpoint saved.
    fn restore(&mut self, kept: Kept) {
        self.bytes += size(&kept.message);
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

/// What counts of a message: what somebody else chose the length of.
fn size(message: &Message) -> u64 {
    let properties = message.properties.as_ref().map_or(0, |properties| {
        let text = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
        let user: usize = properties.user.iter().map(|(name, value)| name.len() + value.len()).sum();
        let correlation = properties.correlation_data.as_ref().map_or(0, Bytes::len);
        user + correlation + text(&properties.content_type) + text(&properties.response_topic)
    });
    (message.topic.as_str().len() + message.payload.len() + properties) as u64
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
    pub(super) fn check_retained(
        &self,
        principal: &Principal,
        message: &Message,
    ) -> Result<(), PublishError> {
        let tenant = self.broker.tenant(&principal.tenant);
        let retained = tenant.retained();
        // A topic whose table key would be too long cannot be kept over a restart.
        if key(&tenant.id, &message.topic).is_none() {
            return Err(PublishError::TopicInvalid("this topic is too long for a retained message"));
        }
        let former = retained.get(&message.topic);
        if retained.messages.len() >= self.settings.retained_max && former.is_none() {
            self.refusals.count(Limit::Retained);
            return Err(PublishError::QuotaExceeded("the tenant has as many retained messages as it may"));
        }
        let bytes = (retained.bytes + size(message)).saturating_sub(former.map_or(0, size));
        if bytes > self.settings.retained_bytes_max && bytes > retained.bytes {
            self.refusals.count(Limit::RetainedBytes);
            return Err(PublishError::QuotaExceeded(
                "the retained messages of the tenant have as many bytes as they may",
            ));
        }
        Ok(())
    }

    /// Forgets the tenant's retained messages, the saved ones with the next checkpoint.
    pub(crate) fn forget_retained(&self, tenant: &TenantId) {
        self.change_retained(&self.broker.tenant(tenant), Retained::clear);
    }

    /// Puts back what a checkpoint saved.
    pub(super) fn restore_retained(&self, tenant: &TenantId, kept: Kept) {
        self.change_retained(&self.broker.tenant(tenant), |retained| retained.restore(kept));
    }

    pub(super) fn retain(&self, tenant: &TenantBroker, message: &Arc<Message>, position: Position) {
        self.change_retained(tenant, |retained| retained.set(message, position));
    }

    /// Keeps the gauges in step.
    fn change_retained(&self, tenant: &TenantBroker, change: impl FnOnce(&mut Retained)) {
        let mut retained = tenant.retained();
        let before = (retained.messages.len() as u64, retained.bytes);
        change(&mut retained);
        let after = (retained.messages.len() as u64, retained.bytes);
        drop(retained);
        self.counters.retained.move_by(before.0, after.0);
        self.counters.retained_bytes.move_by(before.1, after.1);
    }
}
