//! What of sessions is kept as facts: that they are, their subscriptions, their wills.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::hub::Hub;
use crate::message::QoS;
use crate::record::{self, SessionNumber};
use crate::storage::{Expected, Key, Position, PutError, StorageError};
use crate::time::Timestamp;
use crate::topic::Subscribed;

use super::session::{Facts, Owner, Shared};
use super::tree::{SubscriptionFlags, SubscriptionOptions};
use super::will::Will;

/// A session as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredSession {
    pub(super) number: u64,
    pub(super) owner: Owner,
    pub(super) expiry_seconds: u64,
    pub(super) disconnected_at: Option<Timestamp>,
}

/// A subscription as it is stored.
#[derive(Debug, Serialize, Deserialize)]
struct StoredSubscription {
    filter: String,
    qos: u8,
    flags: u8,
    identifier: u32,
}

/// What stands before the message of a stored will.
#[derive(Debug, Serialize, Deserialize)]
struct StoredWill {
    owner: Owner,
    delay_seconds: u64,
    expiry_seconds: Option<u64>,
    message: Vec<u8>,
}

fn storage(error: PutError) -> StorageError {
    match error {
        PutError::Storage(error) => error,
        // `Expected::Any` has nothing to conflict with.
        PutError::Conflict(_) => StorageError::Damaged("a conflict where none can be".into()),
    }
}

fn put(hub: &Hub, key: &Key, value: Option<Vec<u8>>) -> Result<Position, StorageError> {
    let change = hub.store.table.put(key, value.map(Bytes::from), Expected::Any).map_err(storage)?;
    Ok(change.position)
}

fn json(value: &impl Serialize) -> Result<Option<Vec<u8>>, StorageError> {
    serde_json::to_vec(value).map(Some).map_err(|error| StorageError::Damaged(error.to_string().into()))
}

fn too_long(_error: crate::storage::InvalidKey) -> StorageError {
    StorageError::TooLarge(1024)
}

fn session_key(table: &'static str, shared: &Shared) -> Result<Key, StorageError> {
    Key::of(table).level(shared.tenant.id.as_str()).level(&shared.client_id).key().map_err(too_long)
}

pub(super) fn put_session(hub: &Hub, shared: &Shared, facts: &Facts) -> Result<Position, StorageError> {
    let stored = StoredSession {
        number: shared.number.0,
        owner: facts.owner(),
        expiry_seconds: facts.expiry().as_secs().max(1),
        disconnected_at: facts.disconnected_at,
    };
    put(hub, &session_key("sessions", shared)?, json(&stored)?)
}

pub(super) fn delete_session(hub: &Hub, shared: &Shared) -> Result<Position, StorageError> {
    put(hub, &session_key("sessions", shared)?, None)
}

pub(super) fn put_will(
    hub: &Hub,
    shared: &Shared,
    facts: &Facts,
    will: &Will,
) -> Result<Position, StorageError> {
    let mut message = Vec::new();
    record::encode_message(&shared.tenant.id, &will.message, &[], None, &mut message);
    let stored = StoredWill {
        owner: facts.owner(),
        delay_seconds: will.delay.min(facts.expiry()).as_secs(),
        expiry_seconds: will.expiry.map(|expiry| expiry.as_secs()),
        message,
    };
    put(hub, &session_key("wills", shared)?, json(&stored)?)
}

pub(super) fn delete_will(hub: &Hub, shared: &Shared) -> Result<Position, StorageError> {
    put(hub, &session_key("wills", shared)?, None)
}

/// Subscriptions stand under the session's number and a hash of the filter, which may be longer
/// than a key.
fn subscription_key(number: SessionNumber, subscribed: &Subscribed) -> Result<Key, StorageError> {
    use sha2::{Digest, Sha256};
    let hash = Sha256::digest(subscribed.to_string().as_bytes());
    let hash = hash.get(..16).unwrap_or_default();
    Key::of("subscriptions").level(&number.0.to_string()).level(&hex::encode(hash)).key().map_err(too_long)
}

pub(super) fn put_subscription(
    hub: &Hub,
    number: SessionNumber,
    subscribed: &Subscribed,
    options: SubscriptionOptions,
) -> Result<Position, StorageError> {
    let stored = StoredSubscription {
        filter: subscribed.to_string(),
        qos: options.qos.number(),
        flags: options.flags.bits(),
        identifier: options.identifier,
    };
    put(hub, &subscription_key(number, subscribed)?, json(&stored)?)
}

pub(super) fn delete_subscription(
    hub: &Hub,
    number: SessionNumber,
    subscribed: &Subscribed,
) -> Result<Position, StorageError> {
    put(hub, &subscription_key(number, subscribed)?, None)
}

fn numbers_key() -> Result<Key, StorageError> {
    Key::of("meta").level("session-numbers").key().map_err(too_long)
}

/// Up to where session numbers may have been given.
pub(super) fn reserved_numbers(hub: &Hub) -> Result<u64, StorageError> {
    let entry = hub.store.table.get(&numbers_key()?)?;
    Ok(entry.and_then(|entry| serde_json::from_slice(&entry.value).ok()).unwrap_or(0))
}

pub(super) fn reserve_numbers(hub: &Hub, up_to: u64) -> Result<Position, StorageError> {
    put(hub, &numbers_key()?, json(&up_to)?)
}

/// Reads a stored subscription.
pub(super) fn subscription(value: &[u8]) -> Option<(Subscribed, SubscriptionOptions)> {
    let stored: StoredSubscription = serde_json::from_slice(value).ok()?;
    let options = SubscriptionOptions {
        qos: QoS::from_number(stored.qos)?,
        flags: SubscriptionFlags::from_bits(stored.flags),
        identifier: stored.identifier,
    };
    Some((Subscribed::parse(&stored.filter).ok()?, options))
}

/// Reads a stored will.
pub(super) fn will(value: &[u8]) -> Option<(Owner, Will)> {
    let stored: StoredWill = serde_json::from_slice(value).ok()?;
    let record::Record::Message { message, .. } =
        record::Record::decode(&Bytes::from(stored.message)).ok()?
    else {
        return None;
    };
    let will = Will {
        message,
        delay: Duration::from_secs(stored.delay_seconds),
        expiry: stored.expiry_seconds.map(Duration::from_secs),
    };
    Some((stored.owner, will))
}
