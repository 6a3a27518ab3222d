//! How a device is kept within its publish rate: first it is not read from until its turn comes; when
//! that goes on, MQTT 5.0 is told so (0x97) for what it may send again.

use std::sync::Arc;
use std::time::Duration;

use roost_hub::flight::FlightKind;
use roost_hub::limit::Limit;
use roost_hub::pace::{DevicePace, Strain};
use roost_hub::principal::Principal;
use roost_hub::time::Timestamp;
use roost_hub::{Hub, Settings};
use roost_wire::mqtt::Version;

use super::connection::{Connection, Marks};

/// For how long a device is only slowed before it is refused.
const PATIENCE: Duration = Duration::from_secs(10);
/// A connection takes out of the device's allowance for so many messages at once, at most.
const MESSAGES_AT_ONCE: u32 = 256;
/// And so many bytes.
const BYTES_AT_ONCE: u64 = 64 * 1024;
/// The part of a second's allowance that is taken at once.
const PARTS: u32 = 64;

/// What a connection may still publish before it asks again.
#[derive(Debug)]
pub(super) struct Pace {
    device: Arc<DevicePace>,
    messages: i64,
    bytes: i64,
    /// Since when the device is over its rate.
    over_since: Option<Timestamp>,
}

impl Pace {
    fn of(hub: &Hub, principal: &Principal) -> Option<Box<Self>> {
        let device = hub.pace_of(&principal.tenant, principal.device()?);
        Some(Box::new(Self { device, messages: 0, bytes: 0, over_since: None }))
    }

    /// Takes out of the device's allowance what is used up; if there is none left, how long to wait.
    fn refill(&mut self, settings: &Settings, now: Timestamp) -> Result<(), Duration> {
        let mut strain = Strain::Busy;
        if self.messages <= 0 {
            let count = (settings.publish_rate_max / PARTS).clamp(1, MESSAGES_AT_ONCE);
            strain = self.device.take_messages(count, settings, now)?;
            self.messages += i64::from(count);
        }
        if self.bytes <= 0 {
            let count = (settings.publish_bytes_max / u64::from(PARTS)).clamp(1, BYTES_AT_ONCE);
            let count = count + self.bytes.unsigned_abs();
            strain = self.device.take_bytes(count, settings, now)?;
            self.bytes = self.bytes.saturating_add(i64::try_from(count).unwrap_or(i64::MAX));
        }
        if strain == Strain::Calm {
            self.over_since = None;
        }
        Ok(())
    }
}

/// Whether what this principal publishes is counted at all.
pub(super) fn is_paced(hub: &Hub, principal: &Principal) -> bool {
    let settings = hub.settings();
    principal.device().is_some() && (settings.publish_rate_max > 0 || settings.publish_bytes_max > 0)
}

impl Connection {
    /// Counts a message of a device; when it was the last one for now, no more is read for a while.
    pub(super) fn keep_pace(&mut self, length: usize, time: Timestamp) {
        let Some(pace) = self.pace_mut() else { return };
        pace.messages -= 1;
        pace.bytes = pace.bytes.saturating_sub_unsigned(u64::try_from(length).unwrap_or(u64::MAX));
        if pace.messages <= 0 || pace.bytes <= 0 {
            self.refill(time);
        }
    }

    fn pace_mut(&mut self) -> Option<&mut Pace> {
        let Self { server, session, pending, .. } = self;
        let pace = &mut pending.get_or_insert_default().pace;
        if pace.is_none() {
            *pace = Pace::of(&server.hub, session.principal());
        }
        pace.as_deref_mut()
    }

    #[cold]
    fn refill(&mut self, time: Timestamp) {
        let hub = Arc::clone(&self.server.hub);
        let is_modern = self.protocol.version() == Version::V5;
        let Some(pace) = self.pace_mut() else { return };
        let Err(wait) = pace.refill(hub.settings(), time) else { return };
        let is_new = pace.over_since.is_none();
        let over_for = time.since(*pace.over_since.get_or_insert(time));
        // With a wall clock that was set back, patience begins afresh.
        let is_refused = is_modern && over_for >= PATIENCE;
        hub.refusals.count(Limit::PublishRate);
        self.marks.set(if is_refused { Marks::REFUSED } else { Marks::SLOWED });
        if is_new {
            let principal = self.session.principal();
            if let Some(device) = principal.device() {
                let text = "it publishes faster than it may, and is slowed down";
                hub.note(&principal.tenant, device, FlightKind::Refused, text, time);
            }
        }
        self.wake_after(wait);
    }

    /// Whether the device may go on; if not, how long it still has to wait.
    pub(super) fn wait_for_turn(&mut self) -> Option<Duration> {
        let hub = Arc::clone(&self.server.hub);
        let now = hub.now();
        let wait = self.pace_mut().and_then(|pace| pace.refill(hub.settings(), now).err());
        if wait.is_none() {
            self.marks.clear(Marks::SLOWED);
            self.marks.clear(Marks::REFUSED);
        }
        wait
    }
}
