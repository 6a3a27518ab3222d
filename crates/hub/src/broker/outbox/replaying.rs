//! Subscriptions of one session that begin in the past: what was read from the log for them and not
//! sent yet, and what is kept behind it meanwhile.
//!
//! Until such a subscription has caught up, recorded messages reach it by way of the log only. When
//! it has come to the end of what is durable, the end of the log at that moment divides what it
//! still reads from what comes live: no message is on both sides, and none on neither.

use std::collections::VecDeque;
use std::task::Waker;

use crate::broker::recorded::{ReplayPlace, ReplayStart};
use crate::broker::tree::SubscriptionOptions;
use crate::storage::Position;
use crate::topic::{Subscribed, TopicFilter};

use super::{OUTBOX_BYTES_MAX, Outbox, Pushed, Queued, Traffic};

/// How many such subscriptions a session may have at once.
pub(crate) const REPLAYS_MAX: usize = 16;

/// For so many positions it is remembered what the last replay has brought.
const REMEMBERED_POSITIONS: u64 = 100_000;

/// The filters of one SUBSCRIBE that begin in the past.
#[derive(Debug)]
pub(crate) struct Replay {
    /// Told apart by it.
    pub(crate) number: u64,
    pub(crate) filters: Vec<(TopicFilter, SubscriptionOptions)>,
    pub(crate) progress: ReplayProgress,
    /// What the session was owed before, from this sequence number on, is in its queue and not sent
    /// a second time.
    pub(crate) queued_from: u64,
    /// Read and not sent.
    read: VecDeque<Queued>,
    /// Live messages that go behind all that is to be read.
    behind: VecDeque<Queued>,
    behind_bytes: usize,
}

/// How far a replay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplayProgress {
    /// It was asked for.
    Asked(ReplayStart),
    /// Everything up to [`ReplayPlace::after`] was read.
    Reading(ReplayPlace),
    /// It reads up to `until`, and nothing further.
    Ending { place: ReplayPlace, until: Position },
}

impl Replay {
    pub(crate) fn new(
        number: u64,
        filters: Vec<(TopicFilter, SubscriptionOptions)>,
        start: ReplayStart,
        queued_from: u64,
    ) -> Self {
        Self {
            number,
            filters,
            progress: ReplayProgress::Asked(start),
            queued_from,
            read: VecDeque::new(),
            behind: VecDeque::new(),
            behind_bytes: 0,
        }
    }

    /// Whether the message at `position` is still to come from the log.
    fn brings(&self, position: Position) -> bool {
        match self.progress {
            ReplayProgress::Asked(_) | ReplayProgress::Reading(_) => true,
            ReplayProgress::Ending { until, .. } => position <= until,
        }
    }

    fn wants(&self, topic: &str) -> bool {
        self.filters.iter().any(|(filter, _)| filter.matches(topic))
    }

    /// Takes out what is left when it ends, in the order in which it is to be sent.
    fn take_rest(&mut self) -> impl Iterator<Item = Queued> {
        std::mem::take(&mut self.read).into_iter().chain(std::mem::take(&mut self.behind))
    }
}

/// What became of a live message for a session that reads the past.
pub(crate) enum Diverted {
    /// It goes into the queue.
    No(Queued),
    /// It does not.
    To(Pushed),
}

/// The replays of one session, of which the first is under way.
#[derive(Debug, Default)]
pub(crate) struct Replays {
    waiting: VecDeque<Replay>,
    /// The one that ended last: a publisher may still be on its way here with what it has brought.
    ended: Option<Replay>,
    /// Whether the reader of the log knows that more is wanted.
    is_announced: bool,
}

impl Replays {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn push(&mut self, replay: Replay) {
        self.waiting.push_back(replay);
    }

    pub(crate) fn first(&mut self) -> Option<&mut Replay> {
        self.waiting.front_mut()
    }

    /// Whether the reader of the log has to be told that more is wanted; it then counts as told.
    pub(crate) fn announce(&mut self) -> bool {
        let is_wanted = self.waiting.front().is_some_and(|replay| replay.read.is_empty());
        is_wanted && !std::mem::replace(&mut self.is_announced, true)
    }

    /// The reader of the log has come by.
    pub(crate) fn was_read(&mut self) {
        self.is_announced = false;
    }

    /// Adds what was read for the first.
    pub(crate) fn extend(&mut self, read: impl IntoIterator<Item = Queued>) {
        if let Some(replay) = self.waiting.front_mut() {
            replay.read.extend(read);
        }
    }

    /// What would be sent next.
    pub(crate) fn next(&self) -> Option<&Queued> {
        self.waiting.front()?.read.front()
    }

    pub(crate) fn pop(&mut self) -> Option<Queued> {
        self.waiting.front_mut()?.read.pop_front()
    }

    /// The first has come to its end: gives what was kept behind it.
    pub(crate) fn finish_first(&mut self) -> Vec<Queued> {
        let Some(mut replay) = self.waiting.pop_front() else { return Vec::new() };
        let rest = replay.take_rest().collect();
        self.ended = Some(replay);
        rest
    }

    /// The subscription is over, or begins anew: gives what waits for nothing any more.
    pub(crate) fn end(&mut self, subscribed: &Subscribed) -> Vec<Queued> {
        let mut rest = Vec::new();
        self.waiting.retain_mut(|replay| {
            replay.filters.retain(|(filter, _)| subscribed.share.is_some() || *filter != subscribed.filter);
            let is_over = replay.filters.is_empty();
            if is_over {
                rest.extend(replay.take_rest());
            }
            !is_over
        });
        rest
    }

    /// Whether what ended has brought the message at `position`.
    fn has_brought(&mut self, topic: &str, position: Position) -> bool {
        let Some(ended) = &self.ended else { return false };
        if let ReplayProgress::Ending { until, .. } = ended.progress
            && position.0 > until.0 + REMEMBERED_POSITIONS
        {
            self.ended = None;
            return false;
        }
        ended.brings(position) && ended.wants(topic)
    }

    /// Looks whether a live message has to stay out of the queue.
    pub(crate) fn divert(&mut self, mut queued: Queued) -> Diverted {
        let Some(message) = &queued.message else { return Diverted::No(queued) };
        // Nobody can read back what was never recorded.
        let Some(position) = message.logged.get().copied() else { return Diverted::No(queued) };
        let topic = message.topic.clone();
        let is_owed = queued.position > Position(0);
        let Some(replay) = self.waiting.iter_mut().find(|replay| replay.wants(topic.as_str())) else {
            return match !is_owed && self.has_brought(topic.as_str(), position) {
                true => Diverted::To(Pushed::Waiting),
                false => Diverted::No(queued),
            };
        };
        if !is_owed && replay.brings(position) {
            return Diverted::To(Pushed::Waiting);
        }
        if is_owed {
            // It is read from the log when its turn comes.
            queued.message = None;
        } else if replay.behind_bytes + queued.cost() > OUTBOX_BYTES_MAX {
            return Diverted::To(Pushed::Dropped);
        }
        replay.behind_bytes += queued.cost();
        replay.behind.push_back(queued);
        Diverted::To(Pushed::Waiting)
    }

    /// How many messages wait here.
    pub(crate) fn queued(&self) -> usize {
        self.waiting.iter().map(|replay| replay.read.len() + replay.behind.len()).sum()
    }

    /// All that waits here.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Queued> {
        self.waiting.iter().flat_map(|replay| replay.read.iter().chain(&replay.behind))
    }

    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = &mut Queued> {
        self.waiting.iter_mut().flat_map(|replay| replay.read.iter_mut().chain(&mut replay.behind))
    }
}

impl Traffic {
    /// What was read of the past, and what is kept behind it.
    pub(super) fn replayed(&self) -> impl Iterator<Item = &Queued> {
        self.replays.iter().flat_map(|replays| replays.all())
    }

    pub(super) fn next_replayed(&self) -> Option<&Queued> {
        self.replays.as_ref().and_then(|replays| replays.next())
    }

    /// Puts into the queue what was kept behind a replay, or read for one that is over.
    pub(super) fn requeue(&mut self, rest: Vec<Queued>) {
        for mut queued in rest {
            if queued.position > Position(0) {
                queued.message = None;
            }
            self.put_in(queued);
        }
    }
}

impl Outbox {
    /// The subscriptions that begin in the past; `None` while there was none.
    pub(crate) fn replays(&mut self) -> Option<&mut Replays> {
        self.traffic.as_mut()?.replays.as_deref_mut()
    }

    /// The same, made at the first use.
    pub(crate) fn make_replays(&mut self) -> &mut Replays {
        self.traffic().replays.get_or_insert_default()
    }

    /// The subscription is over, or begins anew: nothing more is read for it.
    pub(crate) fn end_replay(&mut self, subscribed: &Subscribed) {
        if let Some(rest) = self.replays().map(|replays| replays.end(subscribed)) {
            self.traffic().requeue(rest);
        }
    }

    /// Takes what was read of the past when the log was durable up to `durable`, and finds out how
    /// it goes on. Gives what must be durable before there is more to be read.
    pub(crate) fn continue_replay(
        &mut self,
        progress: Option<(u64, ReplayProgress)>,
        read: Vec<Queued>,
        (durable, end): (Position, &dyn Fn() -> Position),
        wakes: &mut Vec<Waker>,
    ) -> Position {
        let Some(replays) = self.replays() else { return Position(0) };
        replays.was_read();
        let Some((number, progress)) = progress else { return Position(0) };
        let Some(first) = replays.first().filter(|first| first.number == number) else {
            return Position(0);
        };
        first.progress = progress;
        if !read.is_empty() {
            replays.extend(read);
            self.is_dirty = true;
            wakes.extend(self.waker.take());
            return Position(0);
        }
        if let ReplayProgress::Reading(place) = progress
            && place.after >= durable
        {
            // Under this lock: what is given a place later finds the line drawn.
            first.progress = ReplayProgress::Ending { place, until: end() };
        }
        match first.progress {
            ReplayProgress::Ending { place, until } if place.after >= until => {
                let rest = replays.finish_first();
                self.traffic().requeue(rest);
                wakes.extend(self.waker.take());
                Position(0)
            }
            ReplayProgress::Ending { until, .. } => until,
            _ => Position(0),
        }
    }

    /// The sequence number of the first message that is owed, or the next one that will be.
    pub(crate) fn first_owed(&self) -> u64 {
        self.owed().map(|queued| queued.sequence).min().unwrap_or(self.last_sequence + 1)
    }
}
