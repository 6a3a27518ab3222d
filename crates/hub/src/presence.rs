//! Presence: which devices are connected, and when each was last heard of.
//!
//! `online/{tenant}/{device}` is a fact as long as the device's retained status says `online`, so
//! that a start knows which to take back. When a device was last seen is the view `presence`.

mod forget;

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::Hub;
use crate::broker::Session;
use crate::flight::{ByDevice, FlightKind};
use crate::id::{DeviceId, TenantId};
use crate::live::{LiveEvent, LiveKind};
use crate::message::{Message, QoS};
use crate::storage::{Expected, Key, PutError, StorageError, ViewChange};
use crate::time::Timestamp;
use crate::twin::own_topic;

/// How far behind the saved time may be of a device that is only heard of again and again.
pub const LAST_SEEN_SAVED_EVERY: Duration = Duration::from_secs(30);

const SCAN_PAGE: usize = 1_000;

/// Whether a device is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// Whether it has an open connection.
    pub online: bool,
    /// When it was last heard of in any way: a connection began or ended, a message, a request or a
    /// sign of life came, to the second.
    pub last_seen: Option<Timestamp>,
    /// How many connections it has.
    pub sessions: u32,
    /// By which protocol it was last heard of.
    pub protocol: Option<String>,
}

/// The presence of the devices that were heard of since the start.
#[derive(Debug, Default)]
pub struct PresenceBoard {
    contacts: ByDevice<Contact>,
}

#[derive(Debug, Default)]
struct Contact {
    sessions: u32,
    /// What its status says.
    is_announced: bool,
    /// Somebody publishes its status just now, and looks again afterwards.
    in_announcement: bool,
    last_seen: Option<Timestamp>,
    protocol: Option<&'static str>,
    saved: Saved,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Saved {
    /// A change that the next checkpoint saves.
    #[default]
    Stale,
    /// As it stood at this time of the hub's clock.
    At(Timestamp),
}

/// A contact as it is saved.
#[derive(Debug, Serialize, Deserialize)]
struct Seen<'a> {
    at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    protocol: Option<&'a str>,
}

impl Hub {
    /// A connection of the device began. The first makes it online.
    #[expect(clippy::too_many_arguments, reason = "who, how, from where and when")]
    pub fn presence_connected(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        protocol: &'static str,
        address: Option<&str>,
        now: Timestamp,
    ) {
        let mut shard = self.presence.contacts.shard(device);
        let contact = shard.entry(tenant, device);
        let others = contact.sessions;
        contact.sessions += 1;
        contact.seen(protocol, now);
        contact.saved = Saved::Stale;
        drop(shard);
        let kind = FlightKind::Connected;
        // a credential that was copied shows here, with both addresses.
        match (address, others) {
            (Some(address), 0) => {
                self.note(tenant, device, kind, format_args!("{protocol} from {address}"), now)
            }
            (Some(address), _) => {
                let text = format_args!("{protocol} from {address}, beside {others} that are open");
                self.note(tenant, device, kind, text, now);
            }
            (None, _) => self.note(tenant, device, kind, protocol, now),
        }
        self.announce(tenant, device, now);
    }

    /// A connection of the device ended. With the last it goes offline.
    pub fn presence_disconnected(&self, tenant: &TenantId, device: &DeviceId, reason: &str, now: Timestamp) {
        let mut shard = self.presence.contacts.shard(device);
        // Not there: the device was deleted under its connection.
        let Some(contact) = shard.get_mut(tenant, device).filter(|contact| contact.sessions > 0) else {
            return;
        };
        contact.sessions -= 1;
        contact.last_seen = contact.last_seen.max(Some(now));
        contact.saved = Saved::Stale;
        drop(shard);
        self.note(tenant, device, FlightKind::Disconnected, reason, now);
        self.announce(tenant, device, now);
    }

    /// The device was heard of without a connection of its own, such as by an HTTP request.
    pub fn presence_seen(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        protocol: &'static str,
        now: Timestamp,
    ) {
        let mut shard = self.presence.contacts.shard(device);
        match shard.get_mut(tenant, device) {
            Some(contact) => contact.seen(protocol, now),
            None => shard.entry(tenant, device).seen(protocol, now),
        }
    }

    /// Something came from or for the device: whatever brought it told presence of itself before.
    pub(crate) fn presence_heard(&self, tenant: &TenantId, device: &DeviceId, now: Timestamp) {
        let mut shard = self.presence.contacts.shard(device);
        match shard.get_mut(tenant, device) {
            Some(contact) => contact.heard(now),
            None => shard.entry(tenant, device).heard(now),
        }
    }

    /// Whether the device has an open connection.
    #[must_use]
    pub fn is_online(&self, tenant: &TenantId, device: &DeviceId) -> bool {
        let shard = self.presence.contacts.shard(device);
        shard.get(tenant, device).is_some_and(|contact| contact.sessions > 0)
    }

    /// Whether the device is there, and when it was last. What was saved and cannot be read counts
    /// as never.
    #[must_use]
    pub fn presence(&self, tenant: &TenantId, device: &DeviceId) -> Presence {
        if let Some(contact) = self.presence.contacts.shard(device).get(tenant, device) {
            return Presence {
                online: contact.sessions > 0,
                last_seen: contact.last_seen,
                sessions: contact.sessions,
                protocol: contact.protocol.map(str::to_owned),
            };
        }
        let entry = self.store.table.get(&key("presence", tenant, device)).ok().flatten();
        let seen = entry.as_ref().and_then(|entry| serde_json::from_slice::<Seen<'_>>(&entry.value).ok());
        Presence {
            online: false,
            last_seen: seen.as_ref().map(|seen| seen.at),
            sessions: 0,
            protocol: seen.and_then(|seen| seen.protocol.map(str::to_owned)),
        }
    }

    /// Brings the retained status in line with the connections. One caller at a time publishes for
    /// a device; the others leave their change to it, so that the last word is the last state.
    fn announce(&self, tenant: &TenantId, device: &DeviceId, now: Timestamp) {
        loop {
            let online = {
                let mut shard = self.presence.contacts.shard(device);
                let Some(contact) = shard.get_mut(tenant, device) else { return };
                let online = contact.sessions > 0;
                if contact.in_announcement || contact.is_announced == online {
                    return;
                }
                contact.in_announcement = true;
                online
            };
            if let Err(error) = self.publish_status(tenant, device, online.then_some(Online), now) {
                let text = format_args!("the status could not be kept: {error}");
                self.note(tenant, device, FlightKind::Error, text, now);
            }
            if let Some(contact) = self.presence.contacts.shard(device).get_mut(tenant, device) {
                contact.is_announced = online;
                contact.in_announcement = false;
            }
        }
    }

    /// The fact stands before the status says `online` and until it says `offline`.
    fn publish_status(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        online: Option<Online>,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        let fact = key("online", tenant, device);
        if online.is_some() {
            self.put_fact(&fact, Some(Bytes::new()))?;
        }
        let text = if online.is_some() { "online" } else { "offline" };
        self.publish_retained(tenant, device, "status", (text, now))?;
        if online.is_none() {
            self.put_fact(&fact, None)?;
        }
        self.live.send(|| LiveEvent {
            tenant: tenant.clone(),
            device: device.clone(),
            at: now,
            kind: LiveKind::Presence { online: online.is_some() },
        });
        Ok(())
    }

    fn put_fact(&self, key: &Key, value: Option<Bytes>) -> Result<(), StorageError> {
        match self.store.table.put(key, value, Expected::Any) {
            Ok(_) | Err(PutError::Conflict(_)) => Ok(()),
            Err(PutError::Storage(error)) => Err(error),
        }
    }

    fn publish_retained(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        topic: &str,
        (payload, now): (&'static str, Timestamp),
    ) -> Result<(), StorageError> {
        let mut message = Message::new(own_topic(device, topic), payload, now);
        message.retain = true;
        message.qos = QoS::AtLeastOnce;
        self.publish_own(tenant, message).map(drop)
    }

    /// What has to be saved of when devices were last seen.
    pub(crate) fn presence_changes(&self) -> Vec<ViewChange> {
        let now = self.now();
        let mut changes = Vec::new();
        for mut shard in self.presence.contacts.shards() {
            for (tenant, device, contact) in shard.iter_mut() {
                if contact.is_due(now) {
                    contact.saved = Saved::At(now);
                    let value = contact.last_seen.and_then(|at| {
                        serde_json::to_vec(&Seen { at, protocol: contact.protocol }).ok().map(Bytes::from)
                    });
                    changes.push(ViewChange { key: key("presence", tenant, device), value });
                }
            }
        }
        changes
    }

    /// After a start nobody is connected: takes back the status of those that were.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) fn recover_presence(&self) -> Result<(), StorageError> {
        let now = self.now();
        loop {
            // Each page is gone when it is done.
            let page = self.store.table.scan("online/", None, SCAN_PAGE)?;
            if page.is_empty() {
                return Ok(());
            }
            for (fact, _) in page {
                let mut levels = fact.levels().skip(1);
                let tenant = levels.next().and_then(|text| TenantId::parse(&text).ok());
                let device = levels.next().and_then(|text| DeviceId::parse(&text).ok());
                let (Some(tenant), Some(device)) = (tenant, device) else {
                    self.put_fact(&fact, None)?;
                    continue;
                };
                self.publish_status(&tenant, &device, None, now)?;
                self.note(&tenant, &device, FlightKind::Disconnected, "the server was restarted", now);
            }
        }
    }
}

/// Says of a status that it is `online`.
struct Online;

impl Session {
    /// Something came over the connection, if only a sign of life. Presence is told once a second, so
    /// that this costs a busy connection nothing.
    pub fn heard(&mut self, now: Timestamp) {
        let second = u32::try_from(now.0 / 1_000).unwrap_or_default();
        if second != self.heard_second {
            self.heard_second = second;
            if let Some(device) = self.principal.device() {
                self.hub.presence_heard(&self.principal.tenant, device, now);
            }
        }
    }
}

impl Contact {
    fn seen(&mut self, protocol: &'static str, now: Timestamp) {
        self.heard(now);
        self.protocol = Some(protocol);
    }

    fn heard(&mut self, now: Timestamp) {
        if self.last_seen.is_none() {
            self.saved = Saved::Stale;
        }
        self.last_seen = self.last_seen.max(Some(now));
    }

    fn is_due(&self, now: Timestamp) -> bool {
        match self.saved {
            Saved::Stale => true,
            Saved::At(at) => self.last_seen > Some(at) && now.since(at) >= LAST_SEEN_SAVED_EVERY,
        }
    }
}

fn key(table: &'static str, tenant: &TenantId, device: &DeviceId) -> Key {
    Key::of(table)
        .level(tenant.as_str())
        .level(device.as_str())
        .key()
        .expect("two ids, encoded, are shorter than the longest key")
}
