//! One client that has been let in: its socket, its session and what passes between them.
//!
//! A hand-written future, since a million idle ones must fit. It owns no buffer while nothing is in
//! flight, reads and writes once per wake, and looks after its own deadlines on the shared wheel.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use roost_hub::broker::{CloseReason, Leave, Outgoing, Session};
use roost_hub::storage::Position;
use roost_hub::topic::Topic;
use roost_wire::mqtt::{self, ConnectionError, Input, QoS, ReasonCode, WriteError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::mapping;
use super::pace::{Pace, is_paced};
use super::replies::{Replies, Reply, ReplyWriter};
use super::topics::{TopicError, Topics};
use crate::adapters::dialect;
use crate::admission::Admitted;
use crate::buffers::{self, Buffers};
use crate::stream::Stream;
use crate::timers::TimerKey;

/// How many bytes may wait for a slow reader; beyond, nothing more is taken from its session.
const UNSENT_MAX: usize = 256 * 1024;
/// How many messages are taken from the session at once.
const BATCH_LENGTH_MAX: usize = 256;
/// How often a connection goes on by itself before others have their turn.
const TURNS_MAX: usize = 4;

/// How a connection ends.
#[derive(Debug)]
pub(crate) enum End {
    /// The client said good-bye.
    Left { how: Leave, expiry: Option<Duration> },
    /// The socket is gone.
    Lost,
    /// The client broke a rule.
    Broken(Box<ConnectionError>),
    /// The hub wants it closed.
    Closed(CloseReason),
    /// We close it, and say why where the version has a word.
    Refused(ReasonCode),
}

impl From<ConnectionError> for End {
    fn from(error: ConnectionError) -> Self {
        Self::Broken(Box::new(error))
    }
}

impl From<WriteError> for End {
    /// An answer that cannot be said leaves the client waiting for ever.
    fn from(_error: WriteError) -> Self {
        Self::Refused(ReasonCode::PacketTooLarge)
    }
}

/// Whether a step did something, so that there may be more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Progress,
    /// Nothing to do; whatever changes that wakes the task.
    Idle,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) server: Admitted,
    pub(super) stream: Stream,
    pub(super) protocol: mqtt::Connection,
    pub(super) session: Session,
    /// What an idle connection does without.
    pub(super) pending: Option<Box<Pending>>,
    timer: Option<TimerKey>,
    /// When the wheel wakes us next, in milliseconds.
    woken_at: u64,
    /// The position for which we are on the list of those who wait.
    awaited: Position,
    /// As far as the log was durable when we looked last.
    pub(super) durable: Position,
    pub(super) marks: Marks,
    pub(super) pings: u16,
}

/// What is in flight; kept apart, since most connections are idle most of the time.
#[derive(Debug, Default)]
pub(super) struct Pending {
    replies: Replies,
    topics: Topics,
    /// Read and not handled: a part of a packet, or packets that wait for us.
    unread: Vec<u8>,
    /// Written and not taken by the socket.
    unsent: Vec<u8>,
    /// Taken from the session and not written: a command may not leave before it is known as sent.
    held_back: VecDeque<Outgoing>,
    /// What the device may still publish; there once it has published.
    pub(super) pace: Option<Box<Pace>>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.replies.is_empty()
            && self.topics.is_empty()
            && self.unread.is_empty()
            && self.unsent.is_empty()
            && self.held_back.is_empty()
            && self.pace.is_none()
    }
}

/// The yes-or-no facts of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks(u8);

impl Marks {
    /// `unread` may hold whole packets.
    const UNHANDLED: Self = Self(1);
    /// Others had their turn since the session had something for us.
    const YIELDED: Self = Self(2);
    /// What the client publishes is counted against a rate.
    pub(super) const PACED: Self = Self(4);
    /// The client is over its rate: nothing more is read from it for now.
    pub(super) const SLOWED: Self = Self(8);
    /// It has been for so long that what it sent already is refused.
    pub(super) const REFUSED: Self = Self(16);
    /// What the client publishes is heard by its dialect.
    pub(super) const SPEAKS: Self = Self(32);
    /// The session knows that the client's socket takes no more for now.
    const BEHIND: Self = Self(64);

    pub(super) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
    pub(super) fn set(&mut self, other: Self) {
        self.0 |= other.0;
    }
    pub(super) fn clear(&mut self, other: Self) {
        self.0 &= !other.0;
    }
}

impl Connection {
    /// A connection whose CONNACK was sent; `unread` came behind CONNECT.
    pub(super) fn new(
        server: Admitted,
        stream: Stream,
        protocol: mqtt::Connection,
        session: Session,
        unread: Vec<u8>,
    ) -> Self {
        let mut marks = Marks::default();
        if !unread.is_empty() {
            marks.set(Marks::UNHANDLED);
        }
        if is_paced(&server.hub, session.principal()) {
            marks.set(Marks::PACED);
        }
        if dialect::is_spoken(session.principal()) {
            marks.set(Marks::SPEAKS);
            server.dialects.enter(&server.hub, session.principal());
        }
        let pending = (!unread.is_empty()).then(|| Box::new(Pending { unread, ..Pending::default() }));
        session.keeps_up();
        Self {
            server,
            stream,
            protocol,
            session,
            pending,
            timer: None,
            woken_at: 0,
            awaited: Position(0),
            durable: Position(0),
            marks,
            pings: 0,
        }
    }

    /// Hands the connection to a reactor, where its socket is bare TCP and there is one; else gives
    /// it back. `None` as well when its socket was lost on the way.
    pub(super) fn hand_over(mut self) -> Option<Self> {
        let server = Arc::clone(&self.server);
        let Some(reactors) = server.reactors.get().filter(|_| matches!(self.stream, Stream::Tcp(_))) else {
            return Some(self);
        };
        match self.stream.leave_runtime() {
            Ok(stream) => {
                self.stream = stream;
                reactors.adopt(self);
            }
            Err(error) => tracing::debug!(%error, "a socket was lost"),
        }
        None
    }

    pub(crate) fn stream_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Serves the client until the connection ends. Wakes exactly the task of `context`.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        buffers::with(|buffers| {
            let ended = self.keep_time(context).and_then(|()| self.serve(context, buffers));
            match ended {
                Ok(()) => {
                    if self.pending.as_ref().is_some_and(|pending| pending.is_empty()) {
                        self.pending = None;
                    }
                    Poll::Pending
                }
                Err(end) => {
                    self.pending().unsent.append(&mut buffers.output);
                    Poll::Ready(end)
                }
            }
        })
    }

    fn pending(&mut self) -> &mut Pending {
        self.pending.get_or_insert_default()
    }

    /// How many bytes wait for the socket to take them.
    fn unsent_length(&self) -> usize {
        self.pending.as_ref().map_or(0, |pending| pending.unsent.len())
    }

    fn serve(&mut self, context: &mut Context<'_>, buffers: &mut Buffers) -> Result<(), End> {
        for _ in 0..TURNS_MAX {
            self.durable = self.server.durable.position();
            self.write_unsent(context)?;
            let read = self.read(context, buffers)?;
            self.session.flush();
            let answered = self.release_replies(context, &mut buffers.output)?;
            let delivered = self.deliver(context, buffers)?;
            self.write(context, &mut buffers.output)?;
            self.tell_whether_it_keeps_up();
            if [read, answered, delivered] == [Step::Idle; 3] {
                return Ok(());
            }
        }
        context.waker().wake_by_ref();
        Ok(())
    }

    /// Ends a silent connection; asks to be woken when it may have become one, or its turn comes.
    fn keep_time(&mut self, context: &Context<'_>) -> Result<(), End> {
        let now = self.server.timers.now();
        if self.timer.is_some() && now < Duration::from_millis(self.woken_at) {
            return Ok(());
        }
        self.pings = 0;
        self.session.settle_down();
        let mut next = Duration::MAX;
        if self.marks.has(Marks::SLOWED) {
            // It is we who do not listen.
            self.protocol.excuse_silence(now);
            next = self.wait_for_turn().map_or(next, |wait| now + wait);
        }
        self.protocol.handle_timeout(now)?;
        let timers = &self.server.timers;
        let key = *self.timer.get_or_insert_with(|| timers.register(context.waker().clone()));
        let next = next.min(self.protocol.next_timeout().unwrap_or(Duration::MAX));
        self.woken_at = u64::try_from(timers.schedule(key, next).as_millis()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Asks to be woken after so long.
    pub(super) fn wake_after(&mut self, wait: Duration) {
        if let Some(key) = self.timer {
            let timers = &self.server.timers;
            let woken_at = timers.schedule(key, timers.now() + wait);
            self.woken_at = self.woken_at.min(u64::try_from(woken_at.as_millis()).unwrap_or(u64::MAX));
        }
    }

    fn read(&mut self, context: &mut Context<'_>, buffers: &mut Buffers) -> Result<Step, End> {
        if self.marks.has(Marks::SLOWED) {
            return Ok(Step::Idle);
        }
        if self.marks.has(Marks::UNHANDLED) {
            let bytes = std::mem::take(&mut self.pending().unread);
            let consumed = self.handle(&bytes, &mut buffers.output)?;
            self.keep(bytes, consumed);
            // A part of a packet is no reason to stop: the rest is still to be read.
            let waits = consumed == 0 && self.marks.has(Marks::UNHANDLED);
            return Ok(if waits { Step::Idle } else { Step::Progress });
        }
        if self.unsent_length() >= UNSENT_MAX || self.protocol.is_reading_paused() {
            // Who does not read is not read from; the socket wakes us when it takes more. Nor is who
            // waits for our answers; a commit wakes us then.
            return Ok(Step::Idle);
        }
        let Buffers { input, output, .. } = buffers;
        let mut room = ReadBuf::new(input);
        let read = Pin::new(&mut self.stream).poll_read(context, &mut room);
        let bytes: &[u8] = match read {
            Poll::Pending => return Ok(Step::Idle),
            Poll::Ready(Err(_gone)) => return Err(End::Lost),
            Poll::Ready(Ok(())) => room.filled(),
        };
        if bytes.is_empty() {
            return Err(End::Lost);
        }
        let begun = self.pending.as_mut().map(|pending| std::mem::take(&mut pending.unread));
        match begun.filter(|begun| !begun.is_empty()) {
            None => {
                let consumed = self.handle(bytes, output)?;
                if let Some(rest) = bytes.get(consumed..).filter(|rest| !rest.is_empty()) {
                    self.pending().unread.extend_from_slice(rest);
                }
            }
            Some(mut joined) => {
                joined.extend_from_slice(bytes);
                let consumed = self.handle(&joined, output)?;
                self.keep(joined, consumed);
            }
        }
        Ok(Step::Progress)
    }

    fn keep(&mut self, mut bytes: Vec<u8>, consumed: usize) {
        if consumed < bytes.len() {
            bytes.drain(..consumed);
            self.pending().unread = bytes;
        }
    }

    /// Handles the packets that `bytes` begins with; gives how many bytes they took.
    fn handle(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, End> {
        let now = self.server.timers.now();
        let time = self.server.hub.now();
        self.session.heard(time);
        let mut consumed = 0;
        loop {
            if self.marks.has(Marks::SLOWED) {
                self.marks.set(Marks::UNHANDLED);
                return Ok(consumed);
            }
            let rest = bytes.get(consumed..).unwrap_or_default();
            match self.protocol.handle_input(rest, now)? {
                Input::Event { event, consumed: length } => {
                    consumed += length;
                    self.handle_event(event, time, out)?;
                }
                Input::NeedMore { .. } => {
                    self.marks.clear(Marks::UNHANDLED);
                    if self.marks.has(Marks::REFUSED) {
                        self.marks.set(Marks::SLOWED);
                    }
                    return Ok(consumed);
                }
                Input::Waiting | Input::Closed => {
                    self.marks.set(Marks::UNHANDLED);
                    return Ok(consumed);
                }
            }
        }
    }

    /// Owes an answer from `position` on.
    pub(super) fn reply(&mut self, reply: Reply, position: Position, out: &mut Vec<u8>) -> Result<(), End> {
        let mut writer = ReplyWriter { protocol: &mut self.protocol, out };
        let replies = &mut self.pending.get_or_insert_default().replies;
        Ok(replies.owe(reply, position, self.durable, &mut writer)?)
    }

    /// The topic that the client means.
    pub(super) fn topic(&mut self, said: &str) -> Result<Topic, TopicError> {
        self.pending.get_or_insert_default().topics.find(said, self.session.principal())
    }

    fn next_reply(&self) -> Option<Position> {
        self.pending.as_ref().and_then(|pending| pending.replies.next())
    }

    fn release_replies(&mut self, context: &Context<'_>, out: &mut Vec<u8>) -> Result<Step, End> {
        let Some(first) = self.next_reply() else { return Ok(Step::Idle) };
        if !self.is_durable(first, context)? {
            return Ok(Step::Idle);
        }
        let mut writer = ReplyWriter { protocol: &mut self.protocol, out };
        self.pending.get_or_insert_default().replies.release(self.durable, &mut writer)?;
        if let Some(next) = self.next_reply() {
            // Asks to be woken for the next one.
            self.is_durable(next, context)?;
        }
        Ok(Step::Progress)
    }

    /// Whether the log is durable up to there; if not, the task is woken when it is.
    fn is_durable(&mut self, position: Position, context: &Context<'_>) -> Result<bool, End> {
        if position <= self.durable {
            return Ok(true);
        }
        if position == self.awaited && self.server.durable.position() < position {
            return match self.server.durable.is_broken() {
                true => Err(End::Refused(ReasonCode::ServerShuttingDown)),
                false => Ok(false),
            };
        }
        match self.server.durable.poll_reached(position, context) {
            Poll::Ready(Ok(())) => {
                self.durable = self.server.durable.position();
                Ok(true)
            }
            // Nothing will ever be acknowledged again: the program ends.
            Poll::Ready(Err(_broken)) => Err(End::Refused(ReasonCode::ServerShuttingDown)),
            Poll::Pending => {
                self.awaited = position;
                Ok(false)
            }
        }
    }

    /// Takes what the session has for the client, as far as the client keeps up.
    fn deliver(&mut self, context: &mut Context<'_>, buffers: &mut Buffers) -> Result<Step, End> {
        let Buffers { output, outgoing, .. } = buffers;
        if let Some(pending) = &mut self.pending
            && !pending.held_back.is_empty()
        {
            outgoing.extend(pending.held_back.drain(..));
            if !self.write_outgoing(outgoing, context, output)? {
                return Ok(Step::Idle);
            }
        }
        if self.session.poll_ready(context).is_pending() {
            self.marks.clear(Marks::YIELDED);
            return Ok(Step::Idle);
        }
        if let Some(reason) = self.session.closing() {
            return Err(End::Closed(reason));
        }
        if self.unsent_length() > 0 {
            return Ok(Step::Idle);
        }
        if !self.marks.has(Marks::YIELDED) {
            // Whoever else was woken publishes first: then one write carries it all.
            self.marks.set(Marks::YIELDED);
            context.waker().wake_by_ref();
            return Ok(Step::Idle);
        }
        self.session.next_outgoing(outgoing, BATCH_LENGTH_MAX);
        self.write_outgoing(outgoing, context, output)?;
        Ok(Step::Progress)
    }

    /// Writes what was taken from the session; keeps back what may not leave yet, and says so.
    fn write_outgoing(
        &mut self,
        outgoing: &mut Vec<Outgoing>,
        context: &Context<'_>,
        out: &mut Vec<u8>,
    ) -> Result<bool, End> {
        let mut taken = outgoing.drain(..);
        while let Some(next) = taken.next() {
            let not_before = match &next {
                Outgoing::Publish(delivery) => delivery.not_before,
                Outgoing::Release(_, not_before) => *not_before,
            };
            if out.len() >= UNSENT_MAX || !self.is_durable(not_before, context)? {
                self.pending().held_back = std::iter::once(next).chain(taken).collect();
                return Ok(false);
            }
            self.write_one(&next, out)?;
        }
        Ok(true)
    }

    fn write_one(&mut self, outgoing: &Outgoing, out: &mut Vec<u8>) -> Result<(), End> {
        match outgoing {
            Outgoing::Publish(delivery) => {
                let Self { server, session, protocol, .. } = self;
                // Read for the few messages that expire only.
                let now = || server.hub.now();
                let written = mapping::write_delivery(delivery, session.principal(), protocol, now, out);
                if written.is_err() {
                    // MQTT 5.0 [MQTT-3.1.2-25]: it counts as delivered.
                    self.server.hub.counters.messages_dropped_size_total.increment();
                    if let Some(id) = delivery.packet_id {
                        self.session.give_up(id);
                    }
                }
                Ok(())
            }
            Outgoing::Release(id, _) => {
                // It takes room: the client answers with PUBCOMP.
                self.protocol.publish_sent(QoS::ExactlyOnce);
                self.reply(Reply::PubRel(*id, ReasonCode::Success), Position(0), out)
            }
        }
    }

    fn write_unsent(&mut self, context: &mut Context<'_>) -> Result<(), End> {
        if self.unsent_length() == 0 {
            return Ok(());
        }
        let mut unsent = std::mem::take(&mut self.pending().unsent);
        let written = self.write_some(context, &unsent)?;
        if written < unsent.len() {
            unsent.drain(..written);
            self.pending().unsent = unsent;
        }
        Ok(())
    }

    /// Writes what a turn gave; keeps what the socket does not take.
    fn write(&mut self, context: &mut Context<'_>, out: &mut Vec<u8>) -> Result<(), End> {
        if self.unsent_length() > 0 {
            self.pending().unsent.append(out);
            return Ok(());
        }
        let written = self.write_some(context, out)?;
        if let Some(rest) = out.get(written..).filter(|rest| !rest.is_empty()) {
            self.pending().unsent.extend_from_slice(rest);
        }
        out.clear();
        Ok(())
    }

    fn write_some(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Result<usize, End> {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut self.stream).poll_write(context, rest) {
                Poll::Ready(Ok(0) | Err(_)) => return Err(End::Lost),
                Poll::Ready(Ok(count)) => written += count,
                Poll::Pending => break,
            }
        }
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Ready(Err(_gone)) => Err(End::Lost),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(written),
        }
    }

    fn tell_whether_it_keeps_up(&mut self) {
        match (self.unsent_length() > 0, self.marks.has(Marks::BEHIND)) {
            (true, false) => {
                self.marks.set(Marks::BEHIND);
                self.session.falls_behind();
            }
            (false, true) => {
                self.marks.clear(Marks::BEHIND);
                self.session.keeps_up();
            }
            _ => {}
        }
    }

    /// Ends the session's connection; gives the socket and the last bytes for it.
    pub(crate) fn finish(mut self, end: End) -> (Admitted, Stream, Vec<u8>) {
        if let Some(timer) = self.timer {
            self.server.timers.remove(timer);
        }
        let mut last = self.pending.take().map(|pending| pending.unsent).unwrap_or_default();
        let (how, expiry, said) = match end {
            End::Left { how, expiry } => (how, expiry, None),
            End::Lost => (Leave::Lost, None, None),
            End::Broken(error) => {
                self.note_fault(&error);
                error.write_farewell(&mut last);
                (Leave::Lost, None, None)
            }
            End::Closed(reason) => {
                let how = match reason {
                    CloseReason::TakenOver => Leave::TakenOver,
                    CloseReason::ShuttingDown => Leave::ServerStops,
                    _ => Leave::Lost,
                };
                (how, None, Some(mapping::close_reason(reason)))
            }
            End::Refused(reason) => (Leave::Lost, None, Some(reason)),
        };
        if let Some(reason) = said {
            // In 3.1.1 there is nothing to be said, and closing says it.
            self.protocol.close(&mqtt::Disconnect::new(reason), &mut last).ok();
        }
        let speaker = self.marks.has(Marks::SPEAKS).then(|| Arc::clone(self.session.principal()));
        self.session.leave(how, expiry);
        if let Some(principal) = speaker {
            self.server.dialects.leave(&self.server.hub, &principal);
        }
        (self.server, self.stream, last)
    }
}
