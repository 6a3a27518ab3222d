//! Who may connect: bounds on connections in total, from one address and in a second, and addresses
//! that are shut out for a while because of what came from there.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roost_hub::limit::{Door, Limit};
use roost_hub::pace::FAULT_FORGOTTEN_AFTER;

use crate::shared::Shared;

/// How many addresses are remembered; beyond, the idle ones are forgotten.
const ADDRESSES_MAX: usize = 100_000;
/// Above so many times the rate, a connection is not even told why it is closed.
const RATE_EXCESS_MAX: u32 = 4;
/// How many connections at once are told why they cannot stay; beyond, they are closed without a word.
const TOLD_MAX: usize = 1_000;
/// And at most this part of the connections that there may be, where that is not fewer than the least.
const TOLD_DIVISOR: usize = 8;
const TOLD_MIN: usize = 16;
/// How many connections that are not even told why count as much as it takes to be shut out.
const EXCESS_MAX: u32 = 10_000;
/// After how long it may be worth another try.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// How long a connection waits whose address is slowed.
pub(crate) const SLOWED_BY: Duration = Duration::from_secs(1);

/// Counts connections.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    open: AtomicUsize,
    told: AtomicUsize,
    addresses: Mutex<HashMap<IpAddr, Address>>,
}

/// What is known of one address. Rates are a token bucket told by the time at which it is full.
#[derive(Clone, Copy, Debug, Default)]
struct Address {
    open: u32,
    full_at: Duration,
    /// When everything that came from there and was malformed is forgotten.
    forgiven_at: Duration,
    shut_out_until: Duration,
}

/// How a connection that was taken is to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Welcome {
    /// As every other.
    Served,
    /// After a wait: too much of what came from there was malformed.
    Slowed,
    /// It is to be told why it cannot stay, where the protocol has a word for it.
    Refused(Refusal),
}

/// Why a connection cannot stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) limit: Limit,
    pub(crate) retry_after: Duration,
}

/// What is done with a connection from an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Welcome(Welcome),
    /// Closed without a word.
    Closed(Limit),
}

/// What an operator allows one address.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    open_max: u32,
    per_second_max: u32,
    malformed_max: u32,
    shut_out: Duration,
}

impl Bounds {
    fn of(shared: &Shared) -> Self {
        let hub = shared.hub.settings();
        Self {
            open_max: shared.settings.connections_per_address_max,
            per_second_max: shared.settings.connects_per_second_max.max(1),
            malformed_max: hub.malformed_max,
            shut_out: hub.shut_out,
        }
    }
}

/// The place of one open connection; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Admitted {
    shared: Arc<Shared>,
    /// `None` stands for [`Origin::USUAL`], so that it takes no room.
    origin: Option<Box<Origin>>,
}

/// Where a connection came from and among whom it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Origin {
    /// Whose count it is; `None` for a trusted address.
    address: Option<IpAddr>,
    door: Door,
    place: Place,
}

impl Origin {
    const USUAL: Self = Self { address: None, door: Door::Mqtt, place: Place::Served };
}

/// Among whom a connection is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Served,
    Told,
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
        let origin = self.origin();
        if origin.place == Place::Told {
            admission.told.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        admission.open.fetch_sub(1, Ordering::Relaxed);
        let hub = &self.shared.hub;
        hub.counters.connections.decrement();
        if let Some(counter) = hub.doors.of(origin.door) {
            counter.decrement();
        }
        if let Some(address) = origin.address {
            admission.leave(address);
        }
    }
}

impl Admitted {
    fn new(shared: &Arc<Shared>, origin: Origin) -> Self {
        let origin = (origin != Origin::USUAL).then(|| Box::new(origin));
        Self { shared: Arc::clone(shared), origin }
    }

    fn origin(&self) -> Origin {
        self.origin.as_deref().copied().unwrap_or(Origin::USUAL)
    }

    /// The connection has become a WebSocket.
    pub(crate) fn became_websocket(&mut self) {
        let origin = self.origin();
        let doors = &self.shared.hub.doors;
        if let (Some(before), Some(after)) = (doors.of(origin.door), doors.of(Door::WebSocket)) {
            before.decrement();
            after.increment();
            self.origin = Some(Box::new(Origin { door: Door::WebSocket, ..origin }));
        }
    }

    /// Whether its address is exempt from what is counted by address.
    pub(crate) fn is_trusted(&self) -> bool {
        self.origin().address.is_none()
    }

    /// Something malformed came from somebody who is not known, or is no device. After too much of
    /// it the address is slowed, then shut out for a while.
    pub(crate) fn fault(&self) {
        if let Some(address) = self.origin().address {
            let now = self.shared.timers.since_start();
            if self.shared.admission.fault(address, now, Bounds::of(&self.shared)) {
                tracing::warn!(%address, "shut out for a while: malformed packets again and again");
            }
        }
    }
}

/// Takes a connection from `address` in; `None` when it is to be closed without a word.
pub(crate) fn admit(shared: &Arc<Shared>, address: IpAddr, door: Door) -> Option<(Admitted, Welcome)> {
    let admission = &shared.admission;
    let hub = &shared.hub;
    let is_trusted = shared.settings.trusted.iter().any(|range| range.contains(address));
    let network = network(address);
    let counted = (!is_trusted).then_some(network);
    let verdict = match is_trusted {
        true => Verdict::Welcome(Welcome::Served),
        false => admission.take_place(network, shared.timers.since_start(), Bounds::of(shared)),
    };
    let mut welcome = match verdict {
        Verdict::Welcome(welcome) => welcome,
        Verdict::Closed(limit) => {
            hub.counters.connections_refused_total.increment();
            hub.refusals.count(limit);
            return None;
        }
    };
    if !matches!(welcome, Welcome::Refused(_)) {
        if admission.open.fetch_add(1, Ordering::Relaxed) < shared.settings.connections_max {
            hub.counters.connections.increment();
            hub.counters.connections_total.increment();
            if let Some(counter) = hub.doors.of(door) {
                counter.increment();
            }
            let origin = Origin { address: counted, door, place: Place::Served };
            return Some((Admitted::new(shared, origin), welcome));
        }
        admission.open.fetch_sub(1, Ordering::Relaxed);
        if !is_trusted {
            admission.leave(network);
        }
        welcome = Welcome::Refused(Refusal { limit: Limit::Connections, retry_after: TRY_AGAIN });
    }
    if let Welcome::Refused(refusal) = welcome {
        hub.counters.connections_refused_total.increment();
        hub.refusals.count(refusal.limit);
    }
    // Where file descriptors are few, so are those for refusals.
    let told_max = (shared.settings.connections_max / TOLD_DIVISOR).clamp(TOLD_MIN, TOLD_MAX);
    if admission.told.fetch_add(1, Ordering::Relaxed) >= told_max {
        admission.told.fetch_sub(1, Ordering::Relaxed);
        return None;
    }
    let origin = Origin { address: counted, door, place: Place::Told };
    Some((Admitted::new(shared, origin), welcome))
}

impl Admission {
    fn addresses(&self) -> MutexGuard<'_, HashMap<IpAddr, Address>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_place(&self, address: IpAddr, now: Duration, bounds: Bounds) -> Verdict {
        let mut addresses = self.addresses();
        if addresses.len() >= ADDRESSES_MAX && !addresses.contains_key(&address) {
            addresses.retain(|_, known| !known.is_idle(now));
        }
        let known = addresses.entry(address).or_default();
        let refused = |limit, retry_after| Verdict::Welcome(Welcome::Refused(Refusal { limit, retry_after }));
        let owed = known.full_at.saturating_sub(now);
        if owed > second().saturating_mul(RATE_EXCESS_MAX) {
            known.offend(bounds.offence_max() / EXCESS_MAX, now, bounds);
            return Verdict::Closed(Limit::ConnectRate);
        }
        known.full_at = known.full_at.max(now) + second() / bounds.per_second_max;
        if owed > second() {
            return refused(Limit::ConnectRate, owed);
        }
        if known.shut_out_until > now {
            return refused(Limit::ShutOut, known.shut_out_until.saturating_sub(now));
        }
        if known.open >= bounds.open_max {
            return refused(Limit::ConnectionsPerAddress, TRY_AGAIN);
        }
        known.open += 1;
        let is_slowed = known.forgiven_at.saturating_sub(now) > bounds.offence_max() / 2;
        Verdict::Welcome(if is_slowed { Welcome::Slowed } else { Welcome::Served })
    }

    fn leave(&self, address: IpAddr) {
        if let Some(known) = self.addresses().get_mut(&address) {
            known.open = known.open.saturating_sub(1);
        }
    }

    /// Whether the address is shut out from now on.
    fn fault(&self, address: IpAddr, now: Duration, bounds: Bounds) -> bool {
        let mut addresses = self.addresses();
        addresses.entry(address).or_default().offend(FAULT_FORGOTTEN_AFTER, now, bounds)
    }
}

impl Bounds {
    /// What it takes to be shut out.
    fn offence_max(self) -> Duration {
        FAULT_FORGOTTEN_AFTER.saturating_mul(self.malformed_max)
    }
}

impl Address {
    fn is_idle(&self, now: Duration) -> bool {
        self.open == 0 && [self.full_at, self.forgiven_at, self.shut_out_until].iter().all(|at| *at <= now)
    }

    /// Whether the address is shut out from now on.
    fn offend(&mut self, offence: Duration, now: Duration, bounds: Bounds) -> bool {
        let most = bounds.offence_max();
        let forgiven_at = self.forgiven_at.max(now) + offence;
        self.forgiven_at = forgiven_at.min(now + most);
        let is_new = self.shut_out_until <= now;
        // The last one counts although some of the first is forgotten by now.
        let is_enough = forgiven_at + FAULT_FORGOTTEN_AFTER > now + most;
        let is_shut_out = is_enough && !bounds.shut_out.is_zero();
        if is_shut_out {
            self.shut_out_until = now + bounds.shut_out;
        }
        is_shut_out && is_new
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

    const BOUNDS: Bounds =
        Bounds { open_max: 1_000, per_second_max: 10, malformed_max: 20, shut_out: Duration::from_secs(60) };

    fn address() -> IpAddr {
        IpAddr::from([192, 0, 2, 1])
    }

    fn limit(verdict: Verdict) -> Option<Limit> {
        match verdict {
            Verdict::Closed(limit) | Verdict::Welcome(Welcome::Refused(Refusal { limit, .. })) => Some(limit),
            Verdict::Welcome(_) => None,
        }
    }

    #[test]
    fn m_71_a_flood_of_connects_is_slowed_and_then_closed_without_a_word() {
        let admission = Admission::default();
        let connects: Vec<_> =
            (0..60).map(|_| admission.take_place(address(), Duration::ZERO, BOUNDS)).collect();
        let count = |wanted: fn(&Verdict) -> bool| connects.iter().filter(|found| wanted(found)).count();
        assert_eq!(count(|found| *found == Verdict::Welcome(Welcome::Served)), 11);
        assert_eq!(count(|found| matches!(found, Verdict::Welcome(Welcome::Refused(_)))), 30);
        assert_eq!(count(|found| *found == Verdict::Closed(Limit::ConnectRate)), 19);
        let later = Duration::from_secs(10);
        assert_eq!(admission.take_place(address(), later, BOUNDS), Verdict::Welcome(Welcome::Served));
    }

    #[test]
    fn m_71_a_flood_that_does_not_end_is_shut_out_for_a_while() {
        let admission = Admission::default();
        let mut now = Duration::ZERO;
        for _ in 0..20_000 {
            now += Duration::from_millis(1);
            admission.take_place(address(), now, BOUNDS);
        }
        let after = now + Duration::from_secs(10);
        assert_eq!(limit(admission.take_place(address(), after, BOUNDS)), Some(Limit::ShutOut));
        let later = now + Duration::from_secs(61);
        assert_eq!(limit(admission.take_place(address(), later, BOUNDS)), None);
    }

    #[test]
    fn a_site_whose_devices_all_come_back_at_once_is_not_shut_out() {
        let admission = Admission::default();
        for _ in 0..5_000 {
            admission.take_place(address(), Duration::ZERO, BOUNDS);
        }
        let later = Duration::from_secs(10);
        assert_eq!(limit(admission.take_place(address(), later, BOUNDS)), None);
    }

    #[test]
    fn malformed_packets_again_and_again_slow_an_address_and_then_shut_it_out() {
        let admission = Admission::default();
        let at = |seconds| Duration::from_secs(seconds);
        let shut_out: Vec<bool> =
            (0..20).map(|_| admission.fault(address(), Duration::ZERO, BOUNDS)).collect();
        assert!(shut_out.iter().position(|is_new| *is_new) == Some(19), "{shut_out:?}");
        assert_eq!(limit(admission.take_place(address(), at(1), BOUNDS)), Some(Limit::ShutOut));
        let other = IpAddr::from([192, 0, 2, 2]);
        assert_eq!(admission.take_place(other, at(1), BOUNDS), Verdict::Welcome(Welcome::Served));
        assert_eq!(admission.take_place(address(), at(61), BOUNDS), Verdict::Welcome(Welcome::Served));
        for _ in 0..5 {
            admission.fault(address(), at(61), BOUNDS);
        }
        assert_eq!(admission.take_place(address(), at(61), BOUNDS), Verdict::Welcome(Welcome::Slowed));
        assert_eq!(admission.take_place(address(), at(90), BOUNDS), Verdict::Welcome(Welcome::Served));
    }

    #[test]
    fn one_address_has_so_many_connections_at_once() {
        let admission = Admission::default();
        let bounds = Bounds { open_max: 2, ..BOUNDS };
        let take = |address| limit(admission.take_place(address, Duration::ZERO, bounds));
        assert_eq!([take(address()), take(address())], [None, None]);
        assert_eq!(take(address()), Some(Limit::ConnectionsPerAddress));
        assert_eq!(take(IpAddr::from([192, 0, 2, 2])), None);
        admission.leave(address());
        assert_eq!(take(address()), None);
    }
}
