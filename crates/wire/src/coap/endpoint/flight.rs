//! Our own confirmable messages: one on its way to a peer at a time (`NSTART`, RFC 7252 section
//! 4.7), sent again until it is acknowledged.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::observe::ObservationId;
use super::{Endpoint, Event, Output, Timer};
use crate::coap::message::Kind;

/// A message that asks to be acknowledged.
#[derive(Debug)]
pub(super) struct Confirmable {
    pub(super) id: u16,
    pub(super) bytes: Box<[u8]>,
    pub(super) receipt: Option<u64>,
    pub(super) observation: Option<ObservationId>,
}

/// What is on its way to a peer, and what waits for that.
#[derive(Debug)]
pub(super) struct Outbox {
    flight: Confirmable,
    retransmitted: u32,
    timeout: Duration,
    timeout_at: Duration,
    waiting: VecDeque<Confirmable>,
}

impl Outbox {
    /// Whether it is a notification, and an answer waits behind it.
    fn is_asked_past(&self) -> bool {
        self.flight.observation.is_some() && self.waiting.iter().any(|message| message.observation.is_none())
    }

    /// Whether it is a notification that was not acknowledged in time.
    fn is_slept_through(&self) -> bool {
        self.retransmitted > 0 && self.flight.observation.is_some()
    }

    pub(super) fn receipts(&self) -> impl Iterator<Item = u64> {
        std::iter::once(&self.flight).chain(&self.waiting).filter_map(|message| message.receipt)
    }
}

impl Endpoint {
    /// Sends a confirmable message, or lets it wait for its turn.
    pub(super) fn launch(
        &mut self,
        now: Duration,
        address: SocketAddr,
        message: Confirmable,
        out: &mut Output,
    ) {
        // RFC 7252 section 4.2: a random part, so that peers of one failure do not come all at once.
        let jitter = self.next_random() % 512;
        let timeout = self.options.ack_timeout
            + self.options.ack_timeout * u32::try_from(jitter).unwrap_or_default() / 1_024;
        let waiting_max = self.options.waiting_max;
        let Some(peer) = self.peers.get_mut(&address) else {
            self.events.extend(message.receipt.map(Event::Lost));
            return;
        };
        // A device that slept through a notification and asks now is not to wait until that is sent
        // again; it is told of the latest afterwards.
        let is_overtaken =
            |outbox: &mut Box<Outbox>| message.observation.is_none() && outbox.is_slept_through();
        let mut waiting = VecDeque::new();
        if let Some(outbox) = peer.outbox.take_if(is_overtaken) {
            self.events.extend(outbox.flight.receipt.map(Event::Lost));
            outbox.flight.observation.into_iter().for_each(|id| self.observations.mark_stale(id));
            waiting = outbox.waiting;
        }
        if let Some(outbox) = &mut peer.outbox {
            if outbox.waiting.len() < waiting_max {
                outbox.waiting.push_back(message);
            } else {
                self.events.extend(message.receipt.map(Event::Lost));
            }
            return;
        }
        let timeout_at = now + timeout;
        if peer.spend(message.bytes.len()) {
            out.push(address, |out| out.extend_from_slice(&message.bytes));
        }
        let outbox = Outbox { flight: message, retransmitted: 0, timeout, timeout_at, waiting };
        peer.outbox = Some(Box::new(outbox));
        self.timers.push(Reverse((timeout_at, Timer::Retransmit(address))));
    }

    pub(super) fn retransmit(&mut self, now: Duration, address: SocketAddr, out: &mut Output) {
        let Some(peer) = self.peers.get_mut(&address) else { return };
        // A timer of a message that was acknowledged meanwhile.
        let Some(mut outbox) = peer.outbox.take_if(|outbox| outbox.timeout_at <= now) else { return };
        if outbox.is_asked_past() {
            self.events.extend(outbox.flight.receipt.map(Event::Lost));
            outbox.flight.observation.into_iter().for_each(|id| self.observations.mark_stale(id));
            return self.launch_next(now, address, outbox.waiting, out);
        }
        if outbox.retransmitted < self.options.retransmit_max {
            outbox.retransmitted += 1;
            outbox.timeout *= 2;
            outbox.timeout_at = now + outbox.timeout;
            self.timers.push(Reverse((outbox.timeout_at, Timer::Retransmit(address))));
            if peer.spend(outbox.flight.bytes.len()) {
                out.push(address, |out| out.extend_from_slice(&outbox.flight.bytes));
                self.counts.retransmitted += 1;
            }
            peer.outbox = Some(outbox);
            return;
        }
        self.counts.given_up += 1;
        self.events.extend(outbox.flight.receipt.map(Event::Lost));
        if outbox.flight.observation.is_some() {
            // RFC 7641 section 4.5: who does not acknowledge is gone, with all that it observes.
            for observation in std::mem::take(&mut peer.observations) {
                self.observations.remove(observation);
                self.events.push_back(Event::Ended(observation));
            }
        }
        self.launch_next(now, address, outbox.waiting, out);
    }

    /// The peer acknowledged a message, or rejected it.
    pub(super) fn settle(
        &mut self,
        now: Duration,
        address: SocketAddr,
        (id, kind): (u16, Kind),
        out: &mut Output,
    ) {
        let Some(peer) = self.peers.get_mut(&address) else { return };
        let Some(outbox) = peer.outbox.take_if(|outbox| outbox.flight.id == id) else { return };
        peer.heard_at = now;
        // The id was nobody's to guess.
        peer.is_verified = true;
        let Outbox { flight, waiting, .. } = *outbox;
        let told = if kind == Kind::Reset { Event::Lost } else { Event::Delivered };
        self.events.extend(flight.receipt.map(told));
        if let Some(observation) = flight.observation.filter(|_| kind == Kind::Reset) {
            self.end(observation);
        }
        self.launch_next(now, address, waiting, out);
    }

    fn launch_next(
        &mut self,
        now: Duration,
        address: SocketAddr,
        mut waiting: VecDeque<Confirmable>,
        out: &mut Output,
    ) {
        match waiting.pop_front() {
            Some(next) => {
                self.launch(now, address, next, out);
                if let Some(outbox) = self.peers.get_mut(&address).and_then(|peer| peer.outbox.as_mut()) {
                    outbox.waiting = waiting;
                }
            }
            None => self.offer_all(now, address),
        }
    }
}
