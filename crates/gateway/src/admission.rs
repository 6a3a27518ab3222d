//! Who may connect: bounds on connections in total and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::settings::Settings;
use crate::shared::Shared;

/// How many addresses are remembered; beyond, the idle ones are forgotten.
const ADDRESSES_MAX: usize = 100_000;
/// Above so many times the rate, a connection is not even told why it is closed.
const RATE_EXCESS_MAX: u32 = 4;

/// Counts connections.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    open: AtomicUsize,
    addresses: Mutex<HashMap<IpAddr, Address>>,
}

/// What is known of one address. Rates are a token bucket told by the time at which it is full.
#[derive(Clone, Copy, Debug, Default)]
struct Address {
    open: u32,
    full_at: Duration,
}

/// Whether a connection that was let in came too soon after others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    Fine,
    /// To be told so, where the protocol has a word for it.
    TooFast,
}

/// The place of one open connection; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Admitted {
    shared: Arc<Shared>,
    /// Whose count it is; `None` for a trusted address.
    address: Option<Box<IpAddr>>,
}

impl std::ops::Deref for Admitted {
    type Target = Arc<Shared>;

    fn deref(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let admission = &self.shared.admission;
        admission.open.fetch_sub(1, Ordering::Relaxed);
        self.shared.hub.counters.connections.decrement();
        if let Some(address) = &self.address {
            let mut addresses = admission.addresses.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(found) = addresses.get_mut(&**address) {
                found.open = found.open.saturating_sub(1);
            }
        }
    }
}

/// Lets a connection from `address` in; `None` when it is to be closed without a word.
pub(crate) fn admit(shared: &Arc<Shared>, address: IpAddr) -> Option<(Admitted, Pace)> {
    let admission = &shared.admission;
    let counters = &shared.hub.counters;
    let mut pace = Pace::Fine;
    let is_trusted = address.to_canonical().is_loopback();
    let within = is_trusted
        || admission.take_place(network(address), shared.timers.now(), &shared.settings).is_some_and(
            |found| {
                pace = found;
                true
            },
        );
    if !within {
        counters.connections_refused_total.increment();
        return None;
    }
    let open = admission.open.fetch_add(1, Ordering::Relaxed);
    counters.connections.increment();
    counters.connections_total.increment();
    let address = (!is_trusted).then(|| Box::new(network(address)));
    let admitted = Admitted { shared: Arc::clone(shared), address };
    if open >= shared.settings.connections_max {
        counters.connections_refused_total.increment();
        return None;
    }
    Some((admitted, pace))
}

impl Admission {
    fn take_place(&self, address: IpAddr, now: Duration, settings: &Settings) -> Option<Pace> {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if addresses.len() >= ADDRESSES_MAX && !addresses.contains_key(&address) {
            addresses.retain(|_, known| known.open > 0 || known.full_at > now);
        }
        let known = addresses.entry(address).or_default();
        let rate = settings.connects_per_second_max.max(1);
        let owed = known.full_at.saturating_sub(now);
        if known.open >= settings.connections_per_address_max
            || owed > second().saturating_mul(RATE_EXCESS_MAX)
        {
            return None;
        }
        known.open += 1;
        known.full_at = known.full_at.max(now) + second() / rate;
        Some(if owed > second() { Pace::TooFast } else { Pace::Fine })
    }
}

const fn second() -> Duration {
    Duration::from_secs(1)
}

/// Who has one address of IPv6 has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> IpAddr {
        IpAddr::from([192, 0, 2, 1])
    }

    #[test]
    fn m_71_a_flood_of_connects_is_slowed_and_then_shut_out() {
        let admission = Admission::default();
        let settings = Settings { connects_per_second_max: 10, ..Settings::default() };
        let connects: Vec<_> =
            (0..60).map(|_| admission.take_place(address(), Duration::ZERO, &settings)).collect();
        let count = |pace| connects.iter().filter(|found| **found == pace).count();
        assert_eq!((count(Some(Pace::Fine)), count(Some(Pace::TooFast)), count(None)), (11, 30, 19));
        let later = Duration::from_secs(10);
        assert_eq!(admission.take_place(address(), later, &settings), Some(Pace::Fine));
    }

    #[test]
    fn one_address_has_so_many_connections_at_once() {
        let admission = Admission::default();
        let settings = Settings { connections_per_address_max: 2, ..Settings::default() };
        assert!(admission.take_place(address(), Duration::ZERO, &settings).is_some());
        assert!(admission.take_place(address(), Duration::ZERO, &settings).is_some());
        assert!(admission.take_place(address(), Duration::ZERO, &settings).is_none());
        let other = IpAddr::from([192, 0, 2, 2]);
        assert!(admission.take_place(other, Duration::ZERO, &settings).is_some());
    }
}
