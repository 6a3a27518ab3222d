//! How fast a device may publish, all its connections together, and for how long one that sends
//! malformed packets again and again is shut out.
//!
//! Each bound is a token bucket, told by the time at which it will be full again: one atomic number,
//! which a connection changes once for many messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::flight::{ByDevice, FlightKind, SHARDS};
use crate::hub::{Hub, Settings};
use crate::id::{DeviceId, TenantId};
use crate::limit::Limit;
use crate::time::Timestamp;

/// What a device that was silent before may publish at once: as much as in this time at its rate.
const BURST: Duration = Duration::from_secs(2);
/// The longest that a device has to wait for its turn, however large its last message was.
const DEBT_MAX: Duration = Duration::from_secs(10);
/// How long one malformed packet counts.
pub const FAULT_FORGOTTEN_AFTER: Duration = Duration::from_secs(5);
/// For how many devices the pace is remembered before the idle ones are forgotten.
const REMEMBERED_MAX: usize = 65_536;

/// A token bucket: the time, in nanoseconds since 1970, at which it is full.
#[derive(Debug, Default)]
struct Bucket(AtomicI64);

impl Bucket {
    /// Takes what costs `cost` if the bucket is not empty; it may owe the rest. Gives how much was
    /// owed before, or how long to wait. Times are nanoseconds.
    fn take(&self, now: i64, cost: i64, window: i64) -> Result<i64, i64> {
        let latest = now.saturating_add(window).saturating_add(nanos(DEBT_MAX));
        // Later than can be: the wall clock was set back. That is nobody's debt, nor a new reserve.
        let sane =
            |full_at: i64| if full_at > latest { now.saturating_add(window) } else { full_at.max(now) };
        let spend = |full_at: i64| {
            let full_at = sane(full_at);
            Some(if full_at - now < window { full_at.saturating_add(cost).min(latest) } else { full_at })
        };
        let (Ok(before) | Err(before)) = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend);
        let owed = sane(before) - now;
        if owed < window { Ok(owed) } else { Err(owed - window + 1) }
    }

    fn is_full(&self, now: i64) -> bool {
        self.0.load(Ordering::Relaxed) <= now
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

fn nanos_of(time: Timestamp) -> i64 {
    time.0.saturating_mul(1_000_000)
}

/// What all connections of one device share.
#[derive(Debug, Default)]
pub struct DevicePace {
    messages: Bucket,
    bytes: Bucket,
    faults: Bucket,
    /// Milliseconds since 1970.
    shut_out_until: AtomicI64,
}

/// How a device keeps within its rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strain {
    /// It could send more.
    Calm,
    /// It has used up more than a quarter of its reserve.
    Busy,
}

impl DevicePace {
    /// Takes `count` messages out of the device's allowance.
    ///
    /// # Errors
    /// There is none left; how long to wait.
    pub fn take_messages(&self, count: u32, settings: &Settings, now: Timestamp) -> Result<Strain, Duration> {
        take(&self.messages, count.into(), settings.publish_rate_max.into(), now)
    }

    /// Takes `count` bytes of payload out of the device's allowance.
    ///
    /// # Errors
    /// There are none left; how long to wait.
    pub fn take_bytes(&self, count: u64, settings: &Settings, now: Timestamp) -> Result<Strain, Duration> {
        take(&self.bytes, count, settings.publish_bytes_max, now)
    }

    fn is_idle(&self, now: Timestamp) -> bool {
        let at = nanos_of(now);
        self.messages.is_full(at)
            && self.bytes.is_full(at)
            && self.faults.is_full(at)
            && self.shut_out_until.load(Ordering::Relaxed) <= now.0
    }
}

fn take(bucket: &Bucket, count: u64, rate: u64, now: Timestamp) -> Result<Strain, Duration> {
    if rate == 0 {
        return Ok(Strain::Calm);
    }
    let cost = i64::try_from(u128::from(count) * 1_000_000_000 / u128::from(rate)).unwrap_or(i64::MAX);
    let window = nanos(BURST);
    match bucket.take(nanos_of(now), cost, window) {
        Ok(owed) if owed < window / 4 => Ok(Strain::Calm),
        Ok(_) => Ok(Strain::Busy),
        Err(wait) => Err(Duration::from_nanos(wait.unsigned_abs())),
    }
}

/// The pace of those devices that published, or misbehaved, lately.
#[derive(Debug, Default)]
pub(crate) struct Paces(ByDevice<Arc<DevicePace>>);

impl Hub {
    /// What the device's connections share; made at the first use.
    #[must_use]
    pub fn pace_of(&self, tenant: &TenantId, device: &DeviceId) -> Arc<DevicePace> {
        let mut shard = self.paces.0.shard(device);
        if shard.len() >= REMEMBERED_MAX / SHARDS && shard.get(tenant, device).is_none() {
            let now = self.now();
            shard.retain(|pace| Arc::strong_count(pace) > 1 || !pace.is_idle(now));
        }
        Arc::clone(shard.entry(tenant, device))
    }

    /// Takes one message of a device that has no connection of its own, such as one by HTTP.
    ///
    /// # Errors
    /// It is over its rate; when to try again.
    pub fn take_turn(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        length: usize,
        now: Timestamp,
    ) -> Result<(), Duration> {
        let settings = &self.settings;
        if settings.publish_rate_max == 0 && settings.publish_bytes_max == 0 {
            return Ok(());
        }
        let pace = self.pace_of(tenant, device);
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        let taken = pace.take_messages(1, settings, now).and_then(|_| pace.take_bytes(length, settings, now));
        taken.map(drop).inspect_err(|_wait| self.refusals.count(Limit::PublishRate))
    }

    /// The device sent a malformed packet. After too many of them it is shut out for a while.
    pub fn device_fault(&self, tenant: &TenantId, device: &DeviceId, now: Timestamp) {
        let pace = self.pace_of(tenant, device);
        let window = nanos(FAULT_FORGOTTEN_AFTER).saturating_mul(self.settings.malformed_max.into());
        let taken = pace.faults.take(nanos_of(now), nanos(FAULT_FORGOTTEN_AFTER), window);
        // The last one counts although some of the first is forgotten by now.
        let is_enough = taken.map_or(true, |owed| owed + 2 * nanos(FAULT_FORGOTTEN_AFTER) > window);
        if is_enough && !self.settings.shut_out.is_zero() {
            pace.shut_out_until.store(now.after(self.settings.shut_out).0, Ordering::Relaxed);
            let seconds = self.settings.shut_out.as_secs();
            let text = format_args!("shut out for {seconds} s: too many malformed packets");
            self.note(tenant, device, FlightKind::Refused, text, now);
        }
    }

    /// How long the device is still shut out, if it is.
    #[must_use]
    pub fn shut_out(&self, tenant: &TenantId, device: &DeviceId, now: Timestamp) -> Option<Duration> {
        let until = {
            let shard = self.paces.0.shard(device);
            shard.get(tenant, device)?.shut_out_until.load(Ordering::Relaxed)
        };
        // A wall clock that was set back must not hold anybody up for long.
        let wait = Timestamp(until).since(now).min(self.settings.shut_out);
        (!wait.is_zero()).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(rate: u32) -> Settings {
        Settings { publish_rate_max: rate, ..Settings::default() }
    }

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp(1_700_000_000_000 + milliseconds)
    }

    #[test]
    fn a_device_has_a_reserve_and_then_its_rate() {
        let (pace, settings) = (DevicePace::default(), settings(10));
        let taken = |time| (0..100).filter(|_| pace.take_messages(1, &settings, time).is_ok()).count();
        assert_eq!(taken(at(0)), 20);
        assert_eq!(taken(at(1_000)), 10);
        assert_eq!(taken(at(1_100)), 1);
        assert_eq!(taken(at(100_000)), 20);
    }

    #[test]
    fn who_has_nothing_left_is_told_when_there_is_something() {
        let (pace, settings) = (DevicePace::default(), settings(10));
        pace.take_messages(20, &settings, at(0)).unwrap();
        let wait = pace.take_messages(1, &settings, at(0)).unwrap_err();
        assert!(wait <= Duration::from_millis(1), "{wait:?}");
        assert!(pace.take_messages(1, &settings, at(1)).is_ok());
        let wait = pace.take_messages(1, &settings, at(1)).unwrap_err();
        assert!((Duration::from_millis(99)..Duration::from_millis(101)).contains(&wait), "{wait:?}");
    }

    #[test]
    fn one_large_message_holds_its_sender_up_for_seconds_and_not_for_ever() {
        let pace = DevicePace::default();
        let settings = Settings { publish_bytes_max: 1_000, ..Settings::default() };
        pace.take_bytes(1_000_000, &settings, at(0)).unwrap();
        let wait = pace.take_bytes(1, &settings, at(0)).unwrap_err();
        assert!(wait > Duration::from_secs(9) && wait <= Duration::from_secs(11), "{wait:?}");
        assert!(pace.take_bytes(1, &settings, at(10_001)).is_ok());
    }

    #[test]
    fn a_clock_that_is_set_back_holds_nobody_up_for_long() {
        let (pace, settings) = (DevicePace::default(), settings(10));
        pace.take_messages(100, &settings, at(3_600_000)).unwrap();
        assert!(pace.take_messages(1, &settings, at(0)).is_err());
        assert!(pace.take_messages(1, &settings, at(10_001)).is_ok());
    }

    #[test]
    fn a_clock_that_is_set_back_leaves_everybody_their_rate() {
        let (pace, settings) = (DevicePace::default(), settings(10));
        pace.take_messages(1, &settings, at(3_600_000)).unwrap();
        let taken = |time| (0..100).filter(|_| pace.take_messages(1, &settings, time).is_ok()).count();
        assert!(taken(at(100)) <= 1);
        assert!((9..=11).contains(&taken(at(1_100))));
    }

    #[test]
    fn no_rate_is_no_limit() {
        let (pace, settings) = (DevicePace::default(), settings(0));
        assert!((0..1_000).all(|_| pace.take_messages(1_000_000, &settings, at(0)) == Ok(Strain::Calm)));
    }
}
