//! How fast each network may send what needs no acknowledgement.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// How many networks are remembered; beyond, those that may send again are forgotten.
const NETWORKS_MAX: usize = 65_536;
/// How many seconds' worth may come at once.
const BURST: u32 = 2;

/// Token buckets, each told by the time at which it is full again.
#[derive(Debug)]
pub(super) struct Buckets {
    each: Duration,
    full_at: HashMap<u64, Duration>,
}

impl Buckets {
    pub(super) fn new(rate: u32) -> Self {
        Self { each: Duration::from_secs(1) / rate.max(1), full_at: HashMap::new() }
    }

    /// Whether one more may come from there.
    pub(super) fn take(&mut self, address: IpAddr, now: Duration) -> bool {
        if self.full_at.len() >= NETWORKS_MAX {
            self.full_at.retain(|_, full_at| *full_at > now);
        }
        let network = network(address);
        let is_known = self.full_at.contains_key(&network);
        if !is_known && self.full_at.len() >= NETWORKS_MAX {
            return false;
        }
        let full_at = self.full_at.entry(network).or_default();
        let from = (*full_at).max(now);
        if from.saturating_sub(now) > Duration::from_secs(BURST.into()) {
            return false;
        }
        *full_at = from + self.each;
        true
    }
}

/// Who has one address of IPv6 has 2^64 of them, and of IPv4 often its neighbours.
fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits() >> 8),
        IpAddr::V6(address) => u64::try_from(address.to_bits() >> 64).unwrap_or(u64::MAX),
    }
}
