//! What waits for one session, what is on its way to it, and what it still owes or is owed.
//!
//! Packet ids follow from a sequence number that rises by one for each QoS 1 or 2 message, so
//! that they are the same again when the queue is rebuilt from the log after a crash.

mod replaying;

use std::collections::{BTreeSet, VecDeque};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::task::Waker;

use crate::id::{CommandId, DeviceId};
use crate::message::{Message, QoS};
use crate::storage::Position;

use replaying::{Diverted, Replays};
pub(crate) use replaying::{REPLAYS_MAX, Replay, ReplayProgress};

/// How many bytes may wait for one slow reader before QoS 0 is dropped and counted.
pub const OUTBOX_BYTES_MAX: usize = 256 * 1024;
/// The same for a reader whose socket took all it was given: what waits then waits for its turn only,
/// while many publish at once.
pub const BURST_BYTES_MAX: usize = 4 * 1024 * 1024;
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
    /// Payload and topic, in bytes, whether they are in memory or not.
    pub(crate) length: u32,
    pub(crate) identifiers: Identifiers,
    pub(crate) command: Option<Box<Errand>>,
}

/// The command that a message carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Errand {
    /// Whose: the session's own device, or one behind it.
    pub(crate) device: DeviceId,
    pub(crate) id: CommandId,
    pub(crate) once_delivered: OnceDelivered,
}

/// What becomes of a command when the protocol says that it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnceDelivered {
    /// The device will answer.
    Answer,
    /// Nobody will answer: it is done.
    Done,
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
    /// It waited when the server ended, which does not know whether it was sent after its last checkpoint.
    pub(crate) const PERHAPS_SENT: Self = Self(32);

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
    /// Whether the message is still to be read from the log before it can be sent.
    pub(crate) fn is_to_be_read(&self) -> bool {
        self.message.is_none() && !self.marks.has(Marks::RECEIVED)
    }

    /// What it takes of the memory.
    fn cost(&self) -> usize {
        self.message.as_ref().map_or(0, |_there| self.length as usize)
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
    /// What an idle session does without.
    traffic: Option<Box<Traffic>>,
    last_sequence: u64,
    /// Whether anything durable changed since the last checkpoint.
    is_dirty: bool,
    pub(crate) is_connected: bool,
    reader: Reader,
    pub(crate) window: u16,
    pub(crate) closing: Option<CloseReason>,
    pub(crate) waker: Option<Waker>,
}

/// Whether whoever is connected keeps up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reader {
    /// Its socket takes no more for now, or nobody said that it does.
    #[default]
    Slow,
    /// Its socket took all it was given.
    Prompt,
}

impl Reader {
    /// How many bytes may wait before QoS 0 is dropped.
    fn bound(self) -> usize {
        match self {
            Self::Slow => OUTBOX_BYTES_MAX,
            Self::Prompt => BURST_BYTES_MAX,
        }
    }
}

/// What waits and what is on its way; kept apart, since most sessions are idle most of the time.
#[derive(Debug, Default)]
struct Traffic {
    queue: VecDeque<Queued>,
    /// Payload and topic bytes of the queue, wherever they are.
    queue_bytes: usize,
    /// Those of them that are in memory.
    resident_bytes: usize,
    in_flight: VecDeque<Queued>,
    /// Incoming QoS 2 packet ids that are not released yet.
    incoming: BTreeSet<NonZeroU16>,
    resident: usize,
    /// Subscriptions that begin in the past, once there were any.
    replays: Option<Box<Replays>>,
}

impl Traffic {
    fn is_empty(&self) -> bool {
        self.queue.is_empty()
            && self.in_flight.is_empty()
            && self.incoming.is_empty()
            && self.replays.is_none()
    }

    fn may_leave(&self, next: Option<&Queued>, window: u16) -> bool {
        next.is_some_and(|next| next.qos == QoS::AtMostOnce || self.has_room_for(next.sequence, window))
    }

    /// A message goes to the client; with QoS 1 and 2 it is on its way from now on.
    fn leave(&mut self, mut queued: Queued) -> Queued {
        if queued.qos == QoS::AtMostOnce {
            queued.marks.0 &= !Marks::SENT.0;
            return queued;
        }
        let mut kept = queued.clone();
        kept.marks.set(Marks::SENT);
        // A persistent session resends from the log; only others must keep the message.
        if kept.position > Position(0) {
            kept.message = None;
        }
        let place = self.in_flight.partition_point(|other| other.sequence < kept.sequence);
        self.in_flight.insert(place, kept);
        queued
    }

    fn put_in(&mut self, queued: Queued) {
        self.queue_bytes += queued.length as usize;
        self.resident_bytes += queued.cost();
        self.insert_by_sequence(queued);
    }

    fn took_out(&mut self, queued: &Queued) {
        self.queue_bytes -= queued.length as usize;
        self.resident_bytes -= queued.cost();
        if queued.qos > QoS::AtMostOnce && queued.position > Position(0) && queued.message.is_some() {
            self.resident -= 1;
        }
    }

    /// Anew, after the queue changed as a whole.
    fn count_bytes(&mut self) {
        self.queue_bytes = self.queue.iter().map(|queued| queued.length as usize).sum();
        self.resident_bytes = self.queue.iter().map(Queued::cost).sum();
    }

    fn has_room_for(&self, sequence: u64, window: u16) -> bool {
        let apart = self.in_flight.front().map_or(0, |first| sequence.abs_diff(first.sequence));
        self.in_flight.len() < usize::from(window) && apart < PACKET_IDS
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

    fn find(&self, id: NonZeroU16) -> Option<usize> {
        let first = self.in_flight.front()?;
        if packet_id(first.sequence) == Some(id) {
            return Some(0);
        }
        let offset = (u64::from(id.get()) + PACKET_IDS - 1 - (first.sequence - 1) % PACKET_IDS) % PACKET_IDS;
        self.in_flight.binary_search_by_key(&(first.sequence + offset), |queued| queued.sequence).ok()
    }
}

impl Outbox {
    fn traffic(&mut self) -> &mut Traffic {
        self.traffic.get_or_insert_default()
    }

    /// Gives back what the traffic of a session that is idle now took.
    pub(crate) fn settle_down(&mut self) {
        if self.traffic.as_ref().is_some_and(|traffic| traffic.is_empty()) {
            self.traffic = None;
        }
    }

    /// How many messages wait or are on their way.
    pub(crate) fn len(&self) -> usize {
        self.traffic.as_ref().map_or(0, |traffic| {
            let replayed = traffic.replays.as_ref().map_or(0, |replays| replays.queued());
            traffic.queue.len() + traffic.in_flight.len() + replayed
        })
    }

    /// How many payload and topic bytes wait, in memory or in the log.
    pub(crate) fn bytes(&self) -> usize {
        self.traffic.as_ref().map_or(0, |traffic| traffic.queue_bytes)
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
        if let Some(replays) = self.traffic.as_mut().and_then(|traffic| traffic.replays.as_mut()) {
            self.is_dirty |= queued.position > Position(0);
            queued = match replays.divert(queued) {
                Diverted::No(queued) => queued,
                Diverted::To(pushed) => return pushed,
            };
        }
        let cost = queued.cost();
        if queued.qos == QoS::AtMostOnce {
            let waiting = self.traffic.as_ref().map_or(0, |traffic| traffic.resident_bytes);
            let bound = self.reader.bound();
            let slow = waiting > 0 && waiting + cost > bound;
            if !self.is_connected || (slow && !queued.marks.has(Marks::AT_SUBSCRIBE)) {
                return Pushed::Dropped;
            }
        } else if queued.position > Position(0) {
            self.is_dirty = true;
            let traffic = self.traffic();
            if traffic.resident >= RESIDENT_MESSAGES_MAX && !traffic.queue.is_empty() {
                queued.message = None;
            } else {
                traffic.resident += 1;
            }
        }
        self.traffic().put_in(queued);
        wakes.extend(self.waker.take());
        Pushed::Waiting
    }

    /// The reader's socket took all it was given.
    pub(crate) fn keeps_up(&mut self) {
        self.reader = Reader::Prompt;
    }

    /// The reader's socket takes no more for now: of QoS 0, only what may wait for a slow reader is
    /// kept, the oldest first. Gives how many messages were dropped.
    pub(crate) fn falls_behind(&mut self) -> usize {
        self.reader = Reader::Slow;
        let Some(traffic) = self.traffic.as_mut().filter(|found| found.resident_bytes > OUTBOX_BYTES_MAX)
        else {
            return 0;
        };
        let before = traffic.queue.len();
        let mut kept = 0;
        traffic.queue.retain(|queued| {
            let is_free = queued.qos > QoS::AtMostOnce || queued.marks.has(Marks::AT_SUBSCRIBE);
            let keeps = is_free || kept + queued.cost() <= OUTBOX_BYTES_MAX;
            kept += if keeps { queued.cost() } else { 0 };
            keeps
        });
        traffic.count_bytes();
        before - traffic.queue.len()
    }

    /// Whether something could be sent now.
    pub(crate) fn has_next(&self) -> bool {
        let Some(traffic) = &self.traffic else { return false };
        [traffic.queue.front(), traffic.next_replayed()]
            .into_iter()
            .any(|next| traffic.may_leave(next, self.window))
    }

    /// What is to be sent next, within the receive maximum; QoS 1 and 2 go on their way.
    /// With `message: None` the owner reads it from the log at `position`.
    pub(crate) fn next(&mut self) -> Option<Queued> {
        let window = self.window;
        let traffic = self.traffic.as_mut()?;
        // What comes live goes first: who reads the past for an hour still gets a command at once.
        if !traffic.may_leave(traffic.queue.front(), window) {
            let may_leave = traffic.may_leave(traffic.next_replayed(), window);
            let queued = traffic.replays.as_mut().filter(|_| may_leave)?.pop()?;
            return Some(traffic.leave(queued));
        }
        let queued = traffic.queue.pop_front()?;
        traffic.took_out(&queued);
        Some(traffic.leave(queued))
    }

    /// What is on its way under the packet id.
    pub(crate) fn on_its_way(&self, id: NonZeroU16) -> Option<&Queued> {
        let traffic = self.traffic.as_ref()?;
        traffic.in_flight.get(traffic.find(id)?)
    }

    /// The hand-shake is over: nothing is owed any more.
    pub(crate) fn settle(&mut self, id: NonZeroU16) -> Option<Queued> {
        let traffic = self.traffic.as_mut()?;
        let settled = traffic.find(id).and_then(|place| traffic.in_flight.remove(place))?;
        self.is_dirty |= settled.position > Position(0);
        Some(settled)
    }

    /// PUBREC came.
    pub(crate) fn mark_received(&mut self, id: NonZeroU16) {
        let Some(traffic) = self.traffic.as_mut() else { return };
        if let Some(queued) = traffic.find(id).and_then(|place| traffic.in_flight.get_mut(place)) {
            queued.marks.set(Marks::RECEIVED);
            queued.message = None;
            self.is_dirty = true;
        }
    }

    /// PUBREC came and could not be written down.
    pub(crate) fn unmark_received(&mut self, id: NonZeroU16) {
        let Some(traffic) = self.traffic.as_mut() else { return };
        if let Some(queued) = traffic.find(id).and_then(|place| traffic.in_flight.get_mut(place)) {
            queued.marks.0 &= !Marks::RECEIVED.0;
            self.is_dirty = true;
        }
    }

    /// The connection is gone: what was on its way comes first again, QoS 0 is forgotten.
    pub(crate) fn rewind(&mut self) {
        self.is_connected = false;
        self.reader = Reader::Slow;
        self.waker = None;
        let Some(traffic) = self.traffic.as_deref_mut() else { return };
        traffic.queue.retain(|queued| queued.qos > QoS::AtMostOnce && queued.command.is_none());
        for queued in traffic.in_flight.drain(..).rev() {
            if queued.command.is_none() {
                traffic.queue.push_front(queued);
            }
        }
        traffic.count_bytes();
        traffic.resident = traffic
            .queue
            .iter()
            .filter(|queued| queued.position > Position(0) && queued.message.is_some())
            .count();
        self.settle_down();
    }

    /// Puts back what the log says was queued, after a restart.
    pub(crate) fn restore(&mut self, queued: Queued) {
        // The next checkpoint steps over the records that this came from.
        self.is_dirty = true;
        self.resume_after(queued.sequence);
        let traffic = self.traffic();
        let place = traffic.queue.partition_point(|other| other.sequence < queued.sequence);
        match traffic.queue.get_mut(place) {
            // It was copied forward.
            Some(known) if known.sequence == queued.sequence => known.position = queued.position,
            _ => traffic.put_in(queued),
        }
    }

    /// Applies what the log says became of a message, after a restart.
    pub(crate) fn restore_outcome(&mut self, sequence: u64, received: super::tree::Condition) {
        self.is_dirty = true;
        self.resume_after(sequence);
        let traffic = self.traffic();
        let Ok(place) = traffic.queue.binary_search_by_key(&sequence, |queued| queued.sequence) else {
            return;
        };
        match received {
            super::tree::Condition::HoldsNot => {
                if let Some(settled) = traffic.queue.remove(place) {
                    traffic.took_out(&settled);
                }
            }
            super::tree::Condition::Holds => {
                if let Some(queued) = traffic.queue.get_mut(place) {
                    queued.marks.set(Marks::RECEIVED);
                }
            }
        }
    }

    /// Makes room: the oldest QoS 1 or 2 message that is not on its way is given up.
    pub(crate) fn drop_oldest(&mut self) -> Option<u64> {
        let traffic = self.traffic.as_mut()?;
        let place = traffic.queue.iter().position(|queued| queued.qos > QoS::AtMostOnce)?;
        let dropped = traffic.queue.remove(place)?;
        traffic.took_out(&dropped);
        self.is_dirty = true;
        Some(dropped.sequence)
    }

    /// A message stands elsewhere in the log now.
    pub(crate) fn moved(&mut self, sequence: u64, position: Position) {
        let of_sequence = |queued: &&mut Queued| queued.sequence == sequence;
        let Some(Traffic { in_flight, queue, replays, .. }) = self.traffic.as_deref_mut() else { return };
        let replayed = replays.iter_mut().flat_map(|replays| replays.all_mut());
        if let Some(queued) = in_flight.iter_mut().chain(queue).chain(replayed).find(of_sequence) {
            queued.position = position;
            self.is_dirty = true;
        }
    }

    fn all(&self) -> impl Iterator<Item = &Queued> {
        self.traffic
            .iter()
            .flat_map(|traffic| traffic.in_flight.iter().chain(&traffic.queue).chain(traffic.replayed()))
    }

    /// All that waits or is on its way with QoS 1 or 2, in order.
    pub(crate) fn owed(&self) -> impl Iterator<Item = &Queued> {
        self.all().filter(|queued| queued.qos > QoS::AtMostOnce)
    }

    /// How many of [`Self::owed`], from the first on, are on their way.
    pub(crate) fn on_their_way(&self) -> usize {
        self.traffic.as_ref().map_or(0, |traffic| traffic.in_flight.len())
    }

    /// Whether the command waits or is on its way.
    pub(crate) fn has_command(&self, id: &CommandId) -> bool {
        self.all().any(|queued| queued.command.as_ref().is_some_and(|errand| errand.id == *id))
    }

    /// An incoming QoS 2 packet id; whether it is new.
    pub(crate) fn take_incoming(&mut self, id: NonZeroU16) -> bool {
        self.is_dirty = true;
        self.traffic().incoming.insert(id)
    }

    /// Frees an incoming QoS 2 packet id; whether it was known.
    pub(crate) fn release_incoming(&mut self, id: NonZeroU16) -> bool {
        let known = self.traffic.as_mut().is_some_and(|traffic| traffic.incoming.remove(&id));
        self.is_dirty |= known;
        known
    }

    /// The incoming QoS 2 packet ids that are not released yet.
    pub(crate) fn incoming(&self) -> impl Iterator<Item = NonZeroU16> + '_ {
        self.traffic.iter().flat_map(|traffic| traffic.incoming.iter().copied())
    }
}
