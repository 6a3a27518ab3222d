//! Who observes, and when they are told (RFC 7641). Every notification is confirmable, and the next
//! one goes out when it is acknowledged: a peer gets what it can take, the latest each time.

use std::cmp::Reverse;
use std::net::SocketAddr;
use std::time::Duration;

use super::flight::Confirmable;
use super::{Endpoint, Event, Output, Ticket, Timer};
use crate::coap::answer::Answer;
use crate::coap::message::{Head, Kind, Token};

/// The numbers of notifications have 24 bits (RFC 7641 section 4.4).
const SEQUENCE_MASK: u32 = 0xFF_FFFF;
/// How long each number lasts, in milliseconds, while nothing is told: numbers follow the time, so that
/// they go on where they were after a new registration, and after a restart of ours.
pub const SEQUENCE_MILLIS: u32 = 16;

/// One observation, as long as it lasts; then the number may be another one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObservationId(pub u32);

#[derive(Debug)]
struct Observation {
    peer: SocketAddr,
    token: Token,
    sequence: u32,
    /// There is something that the peer was not told.
    is_stale: bool,
    turn: Turn,
    next_at: Duration,
}

/// When an observation that is stale is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// When something happens.
    Unknown,
    /// When its timer runs out.
    Timed,
    /// It stands among those that are ready.
    Ready,
}

/// All observations, in places that are used again.
#[derive(Debug, Default)]
pub(super) struct Observations {
    places: Vec<Option<Observation>>,
    free: Vec<ObservationId>,
    ready: std::collections::VecDeque<ObservationId>,
}

impl Observations {
    fn get_mut(&mut self, id: ObservationId) -> Option<&mut Observation> {
        self.places.get_mut(id.0 as usize)?.as_mut()
    }

    /// The observer has yet to be told of the latest.
    pub(super) fn mark_stale(&mut self, id: ObservationId) {
        if let Some(observation) = self.get_mut(id) {
            observation.is_stale = true;
        }
    }

    fn insert(&mut self, observation: Observation) -> ObservationId {
        if let Some(id) = self.free.pop()
            && let Some(place) = self.places.get_mut(id.0 as usize)
        {
            *place = Some(observation);
            return id;
        }
        self.places.push(Some(observation));
        ObservationId(u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX))
    }

    pub(super) fn remove(&mut self, id: ObservationId) -> bool {
        let is_removed = self.places.get_mut(id.0 as usize).and_then(Option::take).is_some();
        if is_removed {
            self.free.push(id);
        }
        is_removed
    }

    fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

impl Endpoint {
    /// Registers an observer under its token; in place of one that it registered under the same.
    /// `None` when the peer, or all peers together, have as many as they may. Answer the request
    /// with [`Endpoint::answer_observed`].
    pub fn observe(&mut self, now: Duration, ticket: &Ticket) -> Option<ObservationId> {
        // RFC 7641 section 4.1: it replaces the old one, whose numbers it goes on with.
        let before = self.unobserve(ticket);
        let sequence = self.later(now, before);
        let peer = self.peers.get_mut(&ticket.peer)?;
        let is_full = peer.observations.len() >= self.options.observations_per_peer_max
            || self.observations.len() >= self.options.observations_max;
        if is_full {
            return None;
        }
        let observation = Observation {
            peer: ticket.peer,
            token: ticket.token,
            sequence,
            is_stale: false,
            turn: Turn::Unknown,
            next_at: Duration::ZERO,
        };
        let id = self.observations.insert(observation);
        peer.observations.push(id);
        Some(id)
    }

    /// The number of a notification now: by the time, and above the one before.
    fn later(&self, now: Duration, before: Option<u32>) -> u32 {
        let ticks = (now.as_millis() / u128::from(SEQUENCE_MILLIS)) & u128::from(SEQUENCE_MASK);
        let by_time = self.options.sequence_start.wrapping_add(u32::try_from(ticks).unwrap_or_default());
        let next = before.map_or(by_time, |before| before.wrapping_add(1)) & SEQUENCE_MASK;
        // RFC 7641 section 3.4: of two numbers the later one is at most half of all numbers ahead.
        let ahead = by_time.wrapping_sub(next) & SEQUENCE_MASK;
        if ahead <= SEQUENCE_MASK / 2 { by_time & SEQUENCE_MASK } else { next }
    }

    /// Ends the observation that the peer registered under the request's token; gives the number of
    /// its last notification.
    pub fn unobserve(&mut self, ticket: &Ticket) -> Option<u32> {
        let observations = &mut self.observations;
        let peer = self.peers.get(&ticket.peer)?;
        let number_of = |id: ObservationId| {
            let observation =
                observations.get_mut(id).filter(|observation| observation.token == ticket.token);
            observation.map(|observation| (id, observation.sequence))
        };
        let (id, sequence) = peer.observations.iter().copied().find_map(number_of)?;
        self.end(id);
        Some(sequence)
    }

    /// Ends an observation; it is told as an event.
    pub fn end(&mut self, id: ObservationId) {
        let Some(observation) = self.observations.get_mut(id) else { return };
        let peer = observation.peer;
        self.observations.remove(id);
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.observations.retain(|known| *known != id);
        }
        self.events.push_back(Event::Ended(id));
    }

    /// Answers the request that registered an observation.
    pub fn answer_observed(
        &mut self,
        now: Duration,
        (ticket, id): (&Ticket, ObservationId),
        mut answer: Answer,
        out: &mut Output,
    ) {
        if let Some(observation) = self.observations.get_mut(id) {
            answer.observe = Some(observation.sequence);
        }
        self.answer(now, ticket, answer, out);
    }

    /// What is observed has changed. When the peer can be told, [`Endpoint::next_notification`] says so.
    pub fn changed(&mut self, now: Duration, id: ObservationId) {
        if let Some(observation) = self.observations.get_mut(id) {
            observation.is_stale = true;
            self.offer(now, id);
        }
    }

    /// Lets an observation be notified if there is something to tell, nothing on its way, and enough
    /// time has passed.
    pub(super) fn offer(&mut self, now: Duration, id: ObservationId) {
        let Some(observation) = self.observations.get_mut(id) else { return };
        let is_busy = self.peers.get(&observation.peer).is_none_or(|peer| peer.outbox.is_some());
        if observation.turn == Turn::Timed && observation.next_at <= now {
            observation.turn = Turn::Unknown;
        }
        if !observation.is_stale || is_busy || observation.turn != Turn::Unknown {
            return;
        }
        if observation.next_at > now {
            observation.turn = Turn::Timed;
            self.timers.push(Reverse((observation.next_at, Timer::Notify(id))));
        } else {
            observation.turn = Turn::Ready;
            self.observations.ready.push_back(id);
        }
    }

    pub(super) fn offer_all(&mut self, now: Duration, address: SocketAddr) {
        let Some(peer) = self.peers.get(&address) else { return };
        for id in peer.observations.clone() {
            self.offer(now, id);
        }
    }

    /// The next observation whose peer can be told the latest, with [`Endpoint::notify`] or, when
    /// there is nothing to tell after all, not at all.
    pub fn next_notification(&mut self) -> Option<ObservationId> {
        while let Some(id) = self.observations.ready.pop_front() {
            let Some(observation) = self.observations.get_mut(id).filter(|found| found.turn == Turn::Ready)
            else {
                continue;
            };
            (observation.turn, observation.is_stale) = (Turn::Unknown, false);
            return Some(id);
        }
        None
    }

    /// Tells an observer. Anything but a success ends the observation (RFC 7641 section 4.2).
    pub fn notify(&mut self, now: Duration, id: ObservationId, mut answer: Answer, out: &mut Output) {
        let Some(before) = self.observations.get_mut(id).map(|observation| observation.sequence) else {
            return;
        };
        let sequence = self.later(now, Some(before));
        let Some(observation) = self.observations.get_mut(id) else { return };
        let (address, token) = (observation.peer, observation.token);
        if answer.code.is_success() {
            observation.sequence = sequence;
            answer.observe = Some(sequence);
        }
        observation.next_at = now + self.options.notify_every;
        let Some(peer) = self.peers.get_mut(&address) else { return };
        let head = Head { kind: Kind::Confirmable, code: answer.code, id: peer.next_id(), token };
        // Where there is no room for even a part of it, the peer is told nothing, and asked nothing.
        let (bytes, is_whole) = answer.message(head, None, peer.room()).unwrap_or_default();
        let is_success = answer.code.is_success();
        let receipt = answer.receipt.filter(|_| is_whole);
        self.events.extend(answer.receipt.filter(|_| bytes.is_empty()).map(Event::Lost));
        if !bytes.is_empty() {
            let observation = is_success.then_some(id);
            let message = Confirmable { id: head.id, bytes: bytes.into(), receipt, observation };
            self.launch(now, address, message, out);
        }
        if !is_success {
            self.end(id);
        }
    }

    /// Who observes.
    #[must_use]
    pub fn observer(&self, id: ObservationId) -> Option<SocketAddr> {
        self.observations.places.get(id.0 as usize)?.as_ref().map(|observation| observation.peer)
    }

    /// How many observations there are.
    #[must_use]
    pub fn observations(&self) -> usize {
        self.observations.len()
    }
}
