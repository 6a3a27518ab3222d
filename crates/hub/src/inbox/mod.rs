//! The inbox: devices that a dialect recognised and nobody registered yet wait there with a sample
//! of what they sent. Nothing of it reaches the tenant before somebody, or a rule, lets the device in.
//!
//! Facts under `inbox/{tenant}/{id}`; the id follows from who it is, so that a device waits once.

mod accept;
mod rules;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::Hub;
use crate::id::{DeviceId, ProfileId, TenantId};
use crate::registry::fact;
use crate::registry::link::{LINK_NAME_LENGTH_MAX, listening_link};
use crate::storage::{Expected, Key, PutError, StorageError};
use crate::time::Timestamp;

pub use accept::{Accept, AcceptError};
pub use rules::{INBOX_RULES_MAX, InboxRule, PutInboxRulesError, inbox_rules_etag};

/// How many devices wait in one tenant; what comes beyond is turned away.
pub const INBOX_MAX: usize = 1_000;
/// The largest sample, in bytes of JSON; of a larger one nothing is kept.
pub const SAMPLE_LENGTH_MAX: usize = 8 * 1024;
/// The member of a sample that has what the device reported of itself.
pub const REPORTED: &str = "reported";
/// The member of a sample, and of what a device reported, that names its keys.
pub const KEYS: &str = "Keys";
/// How often what a waiting device sends is written down, once it waits for so long.
const WRITTEN_EVERY: Duration = Duration::from_secs(10);

/// A device that a dialect recognised.
#[derive(Clone, Debug, PartialEq)]
pub struct Recognised {
    /// Which dialect: one of [`crate::registry::DIALECT_PROFILES`], or `unit`.
    pub dialect: &'static str,
    /// By what the dialect knows it again: a serial number, a name in its topics.
    pub name: String,
    /// The gateway behind whose connection it is.
    pub parent: Option<DeviceId>,
    /// As what it might be registered.
    pub proposed: Proposed,
    /// What it sent so far.
    pub sample: Value,
}

/// As what a device might be registered; whoever lets it in may say otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Proposed {
    /// An id, where its name makes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<DeviceId>,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The profile; the dialect's own when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileId>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What became of a device that a dialect recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recognition {
    /// It is registered, perhaps just now by a rule.
    Device(DeviceId),
    /// It waits in the inbox.
    Waiting,
    /// The inbox is full, or there is no such tenant, or the name is another tenant's.
    TurnedAway,
}

/// A device that waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// Its id in the inbox.
    pub id: String,
    /// Which dialect recognised it.
    pub dialect: String,
    /// By what the dialect knows it again.
    pub name: String,
    /// The gateway behind whose connection it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<DeviceId>,
    /// As what it might be registered.
    pub proposed: Proposed,
    /// When it was heard of first.
    pub first_seen_at: Timestamp,
    /// When it was heard of last, give or take ten seconds.
    pub last_seen_at: Timestamp,
    /// What it sent.
    pub sample: Value,
}

impl Waiting {
    fn new(recognised: Recognised, now: Timestamp) -> Self {
        Self {
            id: waiting_id(&recognised),
            dialect: recognised.dialect.to_owned(),
            name: recognised.name,
            parent: recognised.parent,
            proposed: recognised.proposed,
            first_seen_at: now,
            last_seen_at: now,
            sample: bounded(recognised.sample),
        }
    }

    /// The link by which it will be recognised once it is registered.
    #[must_use]
    pub fn link(&self) -> Value {
        listening_link(&self.dialect, &self.name)
    }
}

/// One page of an inbox.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InboxPage {
    /// The devices that wait, in the order of their ids.
    pub items: Vec<Waiting>,
    /// Where to go on; `None` at the end.
    pub next: Option<String>,
    /// How many wait in all.
    pub total: usize,
}

/// What the hub keeps in memory of inboxes.
#[derive(Debug, Default)]
pub struct Inbox {
    /// How many devices wait in each tenant, once counted. Held while that changes.
    counts: Mutex<HashMap<TenantId, usize>>,
    /// Held while a rule lets a device in, or rules are set; taken before `counts`.
    rules: Mutex<()>,
}

impl Inbox {
    fn counts(&self) -> MutexGuard<'_, HashMap<TenantId, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn waiting_key(tenant: &TenantId, id: &str) -> Result<Key, StorageError> {
    fact::key(Key::of("inbox").level(tenant.as_str()).level(id))
}

fn prefix(tenant: &TenantId) -> String {
    Key::of("inbox").level(tenant.as_str()).prefix()
}

/// The dialect, and enough of a hash of the rest to tell one device from another.
fn waiting_id(recognised: &Recognised) -> String {
    let parent = recognised.parent.as_ref().map_or("", DeviceId::as_str);
    let hash = Sha256::new().chain_update(parent).chain_update([0]).chain_update(&recognised.name).finalize();
    let short: String = hex::encode(hash).chars().take(16).collect();
    format!("{}-{short}", recognised.dialect)
}

impl Hub {
    /// Finds the device that a dialect recognised, registers it where a rule lets it in, or lets it
    /// wait in the tenant's inbox. Cheap for one that is registered, and for one that waits already.
    ///
    /// # Errors
    /// The store could not tell.
    pub fn recognise(&self, tenant: &TenantId, recognised: Recognised) -> Result<Recognition, StorageError> {
        let name = (recognised.dialect, recognised.name.as_str());
        if let Some(device) = self.device_by_name(tenant, recognised.parent.as_ref(), name)? {
            return Ok(Recognition::Device(device));
        }
        let is_elsewhere = self.device_by_link(recognised.dialect, &recognised.name)?.is_some();
        let fits = (1..=LINK_NAME_LENGTH_MAX).contains(&recognised.name.len());
        if is_elsewhere || !fits || self.tenant_state(tenant)?.is_none() {
            return Ok(Recognition::TurnedAway);
        }
        if let Some(device) = self.let_in_by_rule(tenant, &recognised)? {
            return Ok(Recognition::Device(device));
        }
        let now = self.now();
        let key = waiting_key(tenant, &waiting_id(&recognised))?;
        let found = fact::get::<Waiting>(&*self.store.table, &key)?;
        match found {
            Some(found) => self.hear_again(&key, found, recognised, now)?,
            None if !self.let_wait(tenant, &key, recognised, now)? => return Ok(Recognition::TurnedAway),
            None => {}
        }
        Ok(Recognition::Waiting)
    }

    fn let_wait(
        &self,
        tenant: &TenantId,
        key: &Key,
        recognised: Recognised,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let mut counts = self.inbox.counts();
        let count = self.count_waiting(tenant, &mut counts)?;
        if count >= INBOX_MAX {
            return Ok(false);
        }
        let waiting = Waiting::new(recognised, now);
        match fact::put(&*self.store.table, key, &waiting, Expected::Absent) {
            Ok(_) => {
                counts.insert(tenant.clone(), count + 1);
                Ok(true)
            }
            // Another request of the same device was quicker.
            Err(PutError::Conflict(_)) => Ok(true),
            Err(PutError::Storage(error)) => Err(error),
        }
    }

    fn count_waiting(
        &self,
        tenant: &TenantId,
        counts: &mut HashMap<TenantId, usize>,
    ) -> Result<usize, StorageError> {
        if let Some(count) = counts.get(tenant) {
            return Ok(*count);
        }
        let count = self.store.table.scan(&prefix(tenant), None, INBOX_MAX)?.len();
        counts.insert(tenant.clone(), count);
        Ok(count)
    }

    fn hear_again(
        &self,
        key: &Key,
        found: fact::Fact<Waiting>,
        recognised: Recognised,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        let fact::Fact { value: mut waiting, revision } = found;
        let is_fresh = now.since(waiting.first_seen_at) < WRITTEN_EVERY;
        if !is_fresh && now.since(waiting.last_seen_at) < WRITTEN_EVERY {
            return Ok(());
        }
        waiting.last_seen_at = now;
        // Not every message says what the device is.
        if recognised.proposed != Proposed::default() {
            waiting.proposed = recognised.proposed;
        }
        waiting.sample = merged(waiting.sample, recognised.sample);
        match fact::put(&*self.store.table, key, &waiting, Expected::Revision(revision)) {
            // Whoever was quicker has heard of it just now, or has let it in.
            Ok(_) | Err(PutError::Conflict(_)) => Ok(()),
            Err(PutError::Storage(error)) => Err(error),
        }
    }

    /// The devices that wait in a tenant, at most `limit` behind the cursor.
    ///
    /// # Errors
    /// The store could not tell.
    pub fn inbox(
        &self,
        tenant: &TenantId,
        (limit, cursor): (usize, Option<&str>),
    ) -> Result<InboxPage, StorageError> {
        let after = cursor.map(|id| waiting_key(tenant, id)).transpose()?;
        let page = self.store.table.scan(&prefix(tenant), after.as_ref(), limit.saturating_add(1))?;
        let has_more = page.len() > limit;
        let items: Vec<Waiting> = page
            .iter()
            .take(limit)
            .map(|(key, entry)| fact::read(key, &entry.value))
            .collect::<Result<_, _>>()?;
        let next = items.last().filter(|_| has_more).map(|waiting| waiting.id.clone());
        let total = self.count_waiting(tenant, &mut self.inbox.counts())?;
        Ok(InboxPage { items, next, total })
    }

    /// Forgets a waiting device; `false` when there is none of this id. It waits again when it is
    /// heard of again. Durable when it returns.
    ///
    /// # Errors
    /// The store could not.
    pub async fn dismiss(&self, tenant: &TenantId, id: &str) -> Result<bool, StorageError> {
        let was_there = self.forget_waiting(tenant, id)?;
        self.durable(self.store.log.end()).await?;
        Ok(was_there)
    }

    fn forget_waiting(&self, tenant: &TenantId, id: &str) -> Result<bool, StorageError> {
        let key = waiting_key(tenant, id)?;
        let mut counts = self.inbox.counts();
        if self.store.table.get(&key)?.is_none() {
            return Ok(false);
        }
        fact::delete(&*self.store.table, &key)?;
        if let Some(count) = counts.get_mut(tenant) {
            *count = count.saturating_sub(1);
        }
        Ok(true)
    }
}

fn bounded(sample: Value) -> Value {
    if sample.to_string().len() > SAMPLE_LENGTH_MAX { Value::Null } else { sample }
}

/// What is new stands beside what was known, member by member.
fn merged(old: Value, new: Value) -> Value {
    match (old, new) {
        (Value::Object(mut old), Value::Object(mut new)) => {
            if let Some(Value::Object(reported)) = new.get_mut(REPORTED)
                && let Some(Value::Object(before)) = old.get_mut(REPORTED)
            {
                before.extend(std::mem::take(reported));
                *reported = before.clone();
            }
            old.extend(new.clone());
            match bounded(Value::Object(old)) {
                Value::Null => bounded(Value::Object(new)),
                both => both,
            }
        }
        (_, new) => bounded(new),
    }
}
