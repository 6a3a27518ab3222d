//! What is known of one peer.

use std::collections::VecDeque;
use std::time::Duration;

use super::EXCHANGE_LIFETIME;
use super::flight::Outbox;
use super::observe::ObservationId;
use crate::coap::code::Code;

/// How many bytes may go to an address that nobody has proven yet, for each that came from it.
const AMPLIFICATION_MAX: usize = 3;
/// What such an address can save up, in bytes.
const CREDIT_MAX: usize = 16 * 1_024;

/// A request that was taken lately.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    pub(super) id: u16,
    hash: u64,
    /// Seconds since the start.
    at: u32,
    pub(super) progress: Progress,
}

/// How far it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Somebody works on it.
    Working,
    /// It was acknowledged; the answer comes, or came, in a message of its own.
    Acknowledged,
    /// It was answered with this code and nothing else.
    Answered(Code),
    /// It was answered with these bytes.
    AnsweredWith(Box<[u8]>),
}

impl Exchange {
    pub(super) fn new(id: u16, hash: u64, now: Duration) -> Self {
        Self { id, hash, at: seconds(now), progress: Progress::Working }
    }

    fn is_over(&self, now: Duration) -> bool {
        u64::from(seconds(now).wrapping_sub(self.at)) >= EXCHANGE_LIFETIME.as_secs()
    }
}

fn seconds(now: Duration) -> u32 {
    u32::try_from(now.as_secs()).unwrap_or(u32::MAX)
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) heard_at: Duration,
    next_id: u16,
    /// Whether it answered something that only who receives there can have seen.
    pub(super) is_verified: bool,
    /// How many bytes may be sent to an unverified address.
    credit: u16,
    pub(super) outbox: Option<Box<Outbox>>,
    pub(super) observations: Vec<ObservationId>,
    pub(super) exchanges: VecDeque<Exchange>,
}

impl Peer {
    pub(super) fn new(next_id: u16) -> Self {
        Self {
            heard_at: Duration::ZERO,
            next_id,
            is_verified: false,
            credit: 0,
            outbox: None,
            observations: Vec::new(),
            exchanges: VecDeque::new(),
        }
    }

    /// A datagram came from there.
    pub(super) fn earn(&mut self, length: usize) {
        if !self.is_verified {
            let credit = usize::from(self.credit) + length.saturating_mul(AMPLIFICATION_MAX);
            self.credit = u16::try_from(credit.min(CREDIT_MAX)).unwrap_or(u16::MAX);
        }
    }

    /// How long a datagram may be that goes there.
    pub(super) fn room(&self) -> usize {
        if self.is_verified { usize::MAX } else { self.credit.into() }
    }

    /// A datagram is about to go there; `false` when it may not.
    pub(super) fn spend(&mut self, length: usize) -> bool {
        if self.is_verified {
            return true;
        }
        let left = usize::from(self.credit).checked_sub(length);
        self.credit = left.and_then(|left| u16::try_from(left).ok()).unwrap_or(self.credit);
        left.is_some()
    }

    pub(super) fn next_id(&mut self) -> u16 {
        self.next_id = self.next_id.wrapping_add(1);
        self.next_id
    }

    /// How far a request is that came before, byte for byte. C-12: the same id with other bytes is
    /// another request, of somebody who ran out of ids or started again.
    pub(super) fn repeated(&self, now: Duration, id: u16, hash: u64) -> Option<Progress> {
        let known = self.exchanges.iter().rev().find(|known| known.id == id)?;
        (known.hash == hash && !known.is_over(now)).then(|| known.progress.clone())
    }

    pub(super) fn exchange(&mut self, id: u16) -> Option<&mut Exchange> {
        self.exchanges.iter_mut().rev().find(|known| known.id == id)
    }

    pub(super) fn expire(&mut self, now: Duration) {
        while self.exchanges.pop_front_if(|oldest| oldest.is_over(now)).is_some() {}
        if self.exchanges.is_empty() {
            self.exchanges = VecDeque::new();
        }
    }

    /// Whether more is known than that it was there.
    pub(super) fn is_needed(&self) -> bool {
        self.outbox.is_some() || !self.observations.is_empty() || !self.exchanges.is_empty()
    }

    /// The receipts of everything that is on its way or waits.
    pub(super) fn receipts(&self) -> impl Iterator<Item = u64> {
        self.outbox.iter().flat_map(|outbox| outbox.receipts())
    }
}
