//! Back-off after failed log-ins, by identity and by address, in bounded memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use crate::time::Timestamp;

use super::lock;

/// How many identities, addresses and known pairs are remembered; the idlest are forgotten.
const REMEMBERED_MAX: usize = 20_000;
/// Failures of one identity before it has to wait.
const IDENTITY_FAILURES_MAX: u32 = 10;
/// How long one failure of an identity counts.
const IDENTITY_REFILL: Duration = Duration::from_secs(6);
/// Failures from one address before strangers there have to wait.
const ADDRESS_FAILURES_MAX: u32 = 50;
/// How long one failure from an address counts.
const ADDRESS_REFILL: Duration = Duration::from_secs(1);
/// The longest part of an identity that counts, in bytes.
const IDENTITY_LENGTH_MAX: usize = 64;

/// Too many log-ins failed; when the next one is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many log-ins failed, try again in {} s", .0.as_secs().max(1))]
pub struct RetryAfter(pub Duration);

/// Counts failed log-ins.
#[derive(Debug, Default)]
pub struct Throttle {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    identities: HashMap<Box<str>, Failures>,
    addresses: HashMap<IpAddr, Failures>,
    known: HashMap<(IpAddr, Box<str>), Failures>,
}

/// A token bucket, told by the time at which it is full again.
#[derive(Clone, Copy, Debug)]
struct Failures {
    forgotten_at: Timestamp,
}

impl Failures {
    fn wait(failures: Option<&Self>, max: u32, refill: Duration, now: Timestamp) -> Option<Duration> {
        let owed = failures?.forgotten_at.since(now);
        let bearable = refill.saturating_mul(max - 1);
        // More than can be owed: the wall clock was set back, and nobody is to wait until it is there again.
        let is_owed = owed > bearable && owed <= refill.saturating_mul(max);
        is_owed.then(|| owed.saturating_sub(bearable))
    }

    fn count(failures: Option<Self>, max: u32, refill: Duration, now: Timestamp) -> Self {
        let from = failures.map_or(now, |failures| failures.forgotten_at.max(now));
        let latest = now.after(refill.saturating_mul(max));
        Self { forgotten_at: from.after(refill).min(latest) }
    }
}

impl Throttle {
    /// May a log-in that costs a look-up be tried? An identity that never failed lately may, even
    /// from an address where others fail, so that good clients behind one NAT get in.
    ///
    /// # Errors
    /// [`RetryAfter`] says when.
    pub fn allow_login(&self, address: IpAddr, identity: &str, now: Timestamp) -> Result<(), RetryAfter> {
        let (address, identity) = (network(address), shorten(identity));
        let state = lock(&self.state);
        if let Some(pair) = state.known.get(&(address, identity.into())) {
            return refuse(Failures::wait(Some(pair), IDENTITY_FAILURES_MAX, IDENTITY_REFILL, now));
        }
        let Some(failures) = state.identities.get(identity).filter(|found| found.forgotten_at > now) else {
            return Ok(());
        };
        let identity_wait = Failures::wait(Some(failures), IDENTITY_FAILURES_MAX, IDENTITY_REFILL, now);
        refuse(identity_wait.max(state.address_wait(address, now)))
    }

    /// May a log-in be tried that costs a password hash? Here strangers at a bad address wait too.
    ///
    /// # Errors
    /// [`RetryAfter`] says when.
    pub fn allow_hashing(&self, address: IpAddr, identity: &str, now: Timestamp) -> Result<(), RetryAfter> {
        self.allow_login(address, identity, now)?;
        let (address, identity) = (network(address), shorten(identity));
        let state = lock(&self.state);
        if state.known.contains_key(&(address, identity.into())) {
            return Ok(());
        }
        refuse(state.address_wait(address, now))
    }

    /// Counts a failure.
    pub fn login_failed(&self, address: IpAddr, identity: &str, now: Timestamp) {
        let (address, identity) = (network(address), shorten(identity));
        let mut state = lock(&self.state);
        let pair = (address, Box::from(identity));
        if let Some(failures) = state.known.get(&pair).copied() {
            let counted = Failures::count(Some(failures), IDENTITY_FAILURES_MAX, IDENTITY_REFILL, now);
            state.known.insert(pair, counted);
            return;
        }
        let failures = state.identities.get(identity).copied();
        let counted = Failures::count(failures, IDENTITY_FAILURES_MAX, IDENTITY_REFILL, now);
        remember(&mut state.identities, identity.into(), counted, now);
        let failures = state.addresses.get(&address).copied();
        let counted = Failures::count(failures, ADDRESS_FAILURES_MAX, ADDRESS_REFILL, now);
        remember(&mut state.addresses, address, counted, now);
    }

    /// Remembers that the identity logged in from there: what strangers do elsewhere, or others from
    /// there, holds it up no more.
    pub fn login_succeeded(&self, address: IpAddr, identity: &str, now: Timestamp) {
        let pair = (network(address), Box::from(shorten(identity)));
        remember(&mut lock(&self.state).known, pair, Failures { forgotten_at: now }, now);
    }
}

impl State {
    fn address_wait(&self, address: IpAddr, now: Timestamp) -> Option<Duration> {
        Failures::wait(self.addresses.get(&address), ADDRESS_FAILURES_MAX, ADDRESS_REFILL, now)
    }
}

fn refuse(wait: Option<Duration>) -> Result<(), RetryAfter> {
    wait.map_or(Ok(()), |wait| Err(RetryAfter(wait)))
}

/// Who has one address of IPv6 has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn shorten(identity: &str) -> &str {
    let end = identity.floor_char_boundary(IDENTITY_LENGTH_MAX);
    identity.get(..end).unwrap_or(identity)
}

fn remember<K: Hash + Eq>(map: &mut HashMap<K, Failures>, key: K, value: Failures, now: Timestamp) {
    if map.len() >= REMEMBERED_MAX && !map.contains_key(&key) {
        map.retain(|_, failures| failures.forgotten_at > now);
        // Everybody still waits: the half that waits least is let go.
        if map.len() >= REMEMBERED_MAX {
            let mut times: Vec<_> = map.values().map(|failures| failures.forgotten_at).collect();
            let middle = times.len() / 2;
            let bound = *times.select_nth_unstable(middle).1;
            map.retain(|_, failures| failures.forgotten_at > bound);
        }
    }
    map.insert(key, value);
}
