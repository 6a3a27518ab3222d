//! What waits for one session, what is on its way to it, and what it still owes or is owed.
//!
//! Packet ids follow from a sequence number that rises by one for each QoS 1 or 2 message, so
//! that they are the same again when the queue is rebuilt from the log after a crash.

use std::collections::{BTreeSet, VecDeque};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::task::Waker;

use crate::id::CommandId;
use crate::message::{Message, QoS};
use crate::storage::Position;

/// How many payload bytes of QoS 0 may wait for one reader; what is more is dropped and counted.
pub const OUTBOX_BYTES_MAX: usize = 256 * 1024;
/// How many QoS 1 and 2 messages a persistent session keeps in memory; of the others it knows the
/// place in the log.
pub(crate) const RESIDENT_MESSAGES_MAX: usize = 256;
/// Packet ids repeat after so many messages.
const PACKET_IDS: u64 = 65_535;

/// Why the server ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Another connection uses the client id now.
    TakenOver,
    /// Somebody ended the session by hand.
    Kicked,
    /// The credential was revoked, or the device or tenant is gone.
    NotAuthorized,
    /// More waits than may wait.
    QueueFull,
    /// The server stops.
    ShuttingDown,
}

/// What the owner of the connection is to send next.
#[derive(Clone, Debug)]
pub enum Outgoing {
    /// A message.
    Publish(Delivery),
    /// PUBREL for this packet id. It leaves only once the log is durable up to the position: to a
    /// client that has forgotten the packet id, the message would be a new one.
    Release(NonZeroU16, Position),
}

/// A message for one session.
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are the flags of PUBLISH, each named in the specification"
)]
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The message.
    pub message: Arc<Message>,
    /// The quality of service it is delivered with.
    pub qos: QoS,
    /// The retain flag.
    pub retain: bool,
    /// Whether it may have been sent before.
    pub dup: bool,
    /// The packet id, with QoS 1 and 2.
    pub packet_id: Option<NonZeroU16>,
    /// The subscription identifiers.
    pub identifiers: Identifiers,
    /// Whether the session names it `me/…`.
    pub own_name: bool,
    /// It leaves only once the log is durable up to here: a command must be known as sent before
    /// it is. 0 for everything else.
    pub not_before: Position,
}

/// Subscription identifiers; mostly none or one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Identifiers {
    /// No subscription that matched has one.
    #[default]
    None,
    /// One.
    One(u32),
    /// Several.
    Many(Box<[u32]>),
}

impl Identifiers {
    /// Reads a list, in which 0 stands for none.
    #[must_use]
    pub fn new(identifiers: &[u32]) -> Self {
        match identifiers {
            [] | [0] => Self::None,
            [one] => Self::One(*one),
            many => Self::Many(many.iter().copied().filter(|one| *one != 0).collect()),
        }
    }

    /// The identifiers.
    #[must_use]
    pub fn as_slice(&self) -> &[u32] {
        match self {
            Self::None => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// What waits.
#[derive(Clone, Debug)]
pub(crate) struct Queued {
    /// Rises with each QoS 1 or 2 message of the session; 0 with QoS 0.
    pub(crate) sequence: u64,
    /// Where it stands in the log; 0 when it does not.
    pub(crate) position: Position,
    /// `None` when it is to be read from the log.
    pub(crate) message: Option<Arc<Message>>,
    pub(crate) qos: QoS,
    pub(crate) marks: Marks,
    pub(crate) identifiers: Identifiers,
    pub(crate) command: Option<Box<CommandId>>,
}

/// The yes-or-no facts of what waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks(u8);

impl Marks {
    pub(crate) const RETAIN: Self = Self(1);
    pub(crate) const OWN_NAME: Self = Self(2);
    pub(crate) const SENT: Self = Self(4);
    pub(crate) const RECEIVED: Self = Self(8);
    /// A retained message at the time of subscribing: a slow reader gets it all the same.
    pub(crate) const AT_SUBSCRIBE: Self = Self(16);

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn set(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(crate) fn bits(self) -> u8 {
        self.0
    }

    pub(crate) fn from_bits(bits: u8) -> Self {
        Self(bits)
    }
}

impl Queued {
    fn cost(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.payload.len() + message.topic.as_str().len())
    }
}

/// The packet id that belongs to a sequence number.
pub(crate) fn packet_id(sequence: u64) -> Option<NonZeroU16> {
    let number = sequence.checked_sub(1)? % PACKET_IDS + 1;
    u16::try_from(number).ok().and_then(NonZeroU16::new)
}

/// What became of a message that was to be put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It waits.
    Waiting,
    /// QoS 0, and nobody reads or the reader is slow.
    Dropped,
}

/// The queue and the hand-shakes of one session.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: VecDeque<Queued>,
    queue_bytes: usize,
    in_flight: VecDeque<Queued>,
    /// Incoming QoS 2 packet ids that are not released yet.
    incoming: BTreeSet<NonZeroU16>,
    last_sequence: u64,
    resident: usize,
    /// Whether anything durable changed since the last checkpoint.
    is_dirty: bool,
    pub(crate) window: u16,
    pub(crate) is_connected: bool,
    pub(crate) waker: Option<Waker>,
    pub(crate) closing: Option<CloseReason>,
}

impl Outbox {
    /// How many messages wait or are on their way.
    pub(crate) fn len(&self) -> usize {
        self.queue.len() + self.in_flight.len()
    }

    /// How many payload and topic bytes wait in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.queue_bytes
    }

    /// A place in the order of QoS 1 and 2 messages.
    pub(crate) fn reserve(&mut self) -> u64 {
        self.last_sequence += 1;
        self.last_sequence
    }

    /// Whether anything durable changed since the last call.
    pub(crate) fn take_dirty(&mut self) -> bool {
        std::mem::take(&mut self.is_dirty)
    }

    /// The oldest place in the log that is still needed.
    pub(crate) fn oldest(&self) -> Option<Position> {
        self.owed().map(|queued| queued.position).filter(|position| *position > Position(0)).min()
    }

    /// The sequence number given last.
    pub(crate) fn last_sequence(&self) -> u64 {
        self.last_sequence
    }

    /// Goes on counting behind `sequence`, after a restart.
    pub(crate) fn resume_after(&mut self, sequence: u64) {
        self.last_sequence = self.last_sequence.max(sequence);
    }

    /// Puts a message in, and hands out whom to wake.
    pub(crate) fn push(&mut self, mut queued: Queued, wakes: &mut Vec<Waker>) -> Pushed {
        let cost = queued.cost();
        if queued.qos == QoS::AtMostOnce {
            let slow = self.queue_bytes > 0 && self.queue_bytes + cost > OUTBOX_BYTES_MAX;
            if !self.is_connected || (slow && !queued.marks.has(Marks::AT_SUBSCRIBE)) {
                return Pushed::Dropped;
            }
        } else if queued.position > Position(0) {
            self.is_dirty = true;
            if self.resident >= RESIDENT_MESSAGES_MAX && !self.is_idle() {
                queued.message = None;
            } else {
                self.resident += 1;
            }
        }
        self.queue_bytes += queued.cost();
        self.insert_by_sequence(queued);
        wakes.extend(self.waker.take());
        Pushed::Waiting
    }

    fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Two publishers may reserve in one order and push in the other.
    fn insert_by_sequence(&mut self, queued: Queued) {
        let later = |other: &Queued| queued.sequence > 0 && other.sequence > queued.sequence;
        if !self.queue.back().is_some_and(later) {
            self.queue.push_back(queued);
            return;
        }
        let place = self.queue.iter().rposition(|other| !later(other)).map_or(0, |place| place + 1);
        self.queue.insert(place, queued);
    }

    /// Whether something could be sent now.
    pub(crate) fn has_next(&self) -> bool {
        self.queue.front().is_some_and(|next| next.qos == QoS::AtMostOnce || self.has_room_for(next.sequence))
    }

    fn has_room_for(&self, sequence: u64) -> bool {
        let apart = self.in_flight.front().map_or(0, |first| sequence.abs_diff(first.sequence));
        self.in_flight.len() < usize::from(self.window) && apart < PACKET_IDS
    }

    /// What is to be sent next, within the receive maximum; QoS 1 and 2 go on their way.
    /// With `message: None` the owner reads it from the log at `position`.
    pub(crate) fn next(&mut self) -> Option<Queued> {
        if !self.has_next() {
            return None;
        }
        let mut queued = self.queue.pop_front()?;
        self.queue_bytes -= queued.cost();
        if queued.qos > QoS::AtMostOnce {
            if queued.position > Position(0) && queued.message.is_some() {
                self.resident -= 1;
            }
            let mut kept = queued.clone();
            kept.marks.set(Marks::SENT);
            // A persistent session resends from the log; only others must keep the message.
            if kept.position > Position(0) {
                kept.message = None;
            }
            let place = self.in_flight.partition_point(|other| other.sequence < kept.sequence);
            self.in_flight.insert(place, kept);
        } else {
            queued.marks.0 &= !Marks::SENT.0;
        }
        Some(queued)
    }

    fn find(&self, id: NonZeroU16) -> Option<usize> {
        let first = self.in_flight.front()?;
        if packet_id(first.sequence) == Some(id) {
            return Some(0);
        }
        let offset = (u64::from(id.get()) + PACKET_IDS - 1 - (first.sequence - 1) % PACKET_IDS) % PACKET_IDS;
        self.in_flight.binary_search_by_key(&(first.sequence + offset), |queued| queued.sequence).ok()
    }

    /// What is on its way under the packet id.
    pub(crate) fn on_its_way(&self, id: NonZeroU16) -> Option<&Queued> {
        self.in_flight.get(self.find(id)?)
    }

    /// The hand-shake is over: nothing is owed any more.
    pub(crate) fn settle(&mut self, id: NonZeroU16) -> Option<Queued> {
        let settled = self.find(id).and_then(|place| self.in_flight.remove(place))?;
        self.is_dirty |= settled.position > Position(0);
        Some(settled)
    }

    /// PUBREC came.
    pub(crate) fn mark_received(&mut self, id: NonZeroU16) {
        if let Some(queued) = self.find(id).and_then(|place| self.in_flight.get_mut(place)) {
            queued.marks.set(Marks::RECEIVED);
            queued.message = None;
            self.is_dirty = true;
        }
    }

    /// The connection is gone: what was on its way comes first again, QoS 0 is forgotten.
    pub(crate) fn rewind(&mut self) {
        self.is_connected = false;
        self.waker = None;
        self.queue.retain(|queued| queued.qos > QoS::AtMostOnce && queued.command.is_none());
        for queued in self.in_flight.drain(..).rev() {
            if queued.command.is_none() {
                self.queue.push_front(queued);
            }
        }
        self.queue_bytes = self.queue.iter().map(Queued::cost).sum();
        self.resident = self
            .queue
            .iter()
            .filter(|queued| queued.position > Position(0) && queued.message.is_some())
            .count();
    }

    /// Puts back what the log says was queued, after a restart.
    pub(crate) fn restore(&mut self, queued: Queued) {
        // The next checkpoint steps over the records that this came from.
        self.is_dirty = true;
        self.resume_after(queued.sequence);
        let place = self.queue.partition_point(|other| other.sequence < queued.sequence);
        match self.queue.get_mut(place) {
            // It was copied forward.
            Some(known) if known.sequence == queued.sequence => known.position = queued.position,
            _ => self.queue.insert(place, queued),
        }
    }

    /// Applies what the log says became of a message, after a restart.
    pub(crate) fn restore_outcome(&mut self, sequence: u64, received: super::tree::Condition) {
        self.is_dirty = true;
        self.resume_after(sequence);
        let Ok(place) = self.queue.binary_search_by_key(&sequence, |queued| queued.sequence) else { return };
        match received {
            super::tree::Condition::HoldsNot => drop(self.queue.remove(place)),
            super::tree::Condition::Holds => {
                if let Some(queued) = self.queue.get_mut(place) {
                    queued.marks.set(Marks::RECEIVED);
                }
            }
        }
    }

    /// A message stands elsewhere in the log now.
    pub(crate) fn moved(&mut self, sequence: u64, position: Position) {
        let of_sequence = |queued: &&mut Queued| queued.sequence == sequence;
        if let Some(queued) = self.in_flight.iter_mut().chain(&mut self.queue).find(of_sequence) {
            queued.position = position;
            self.is_dirty = true;
        }
    }

    /// All that waits or is on its way with QoS 1 or 2, in order.
    pub(crate) fn owed(&self) -> impl Iterator<Item = &Queued> {
        self.in_flight.iter().chain(&self.queue).filter(|queued| queued.qos > QoS::AtMostOnce)
    }

    /// Whether the command waits or is on its way.
    pub(crate) fn has_command(&self, id: &CommandId) -> bool {
        self.in_flight.iter().chain(&self.queue).any(|queued| queued.command.as_deref() == Some(id))
    }

    /// An incoming QoS 2 packet id; whether it is new.
    pub(crate) fn take_incoming(&mut self, id: NonZeroU16) -> bool {
        self.is_dirty = true;
        self.incoming.insert(id)
    }

    /// Frees an incoming QoS 2 packet id; whether it was known.
    pub(crate) fn release_incoming(&mut self, id: NonZeroU16) -> bool {
        let known = self.incoming.remove(&id);
        self.is_dirty |= known;
        known
    }

    /// The incoming QoS 2 packet ids that are not released yet.
    pub(crate) fn incoming(&self) -> impl Iterator<Item = NonZeroU16> + '_ {
        self.incoming.iter().copied()
    }
}
