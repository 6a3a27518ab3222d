//! Subscribing from the past on: sessions ask, one reader of the log serves them in turn, a piece
//! each, beside the path of a message. A session gets the next piece when it has sent the last.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::Waker;

use tokio::sync::Notify;

use crate::flight::FlightKind;
use crate::hub::Hub;
use crate::message::{Message, QoS};
use crate::record::{Given, Recipient, Record};
use crate::storage::{Position, StorageError};
use crate::topic::TopicFilter;

use super::lock;
use super::outbox::{Identifiers, Marks, Queued, REPLAYS_MAX, Replay, ReplayProgress};
use super::publish::recipient;
use super::recorded::{ReplayPlace, ReplayStart};
use super::session::{Session, Shared};
use super::subscribe::{SubscribeError, SubscribeRequest, Subscribing};
use super::tree::{SubscriptionFlags, SubscriptionOptions};

/// How much of the log is read for one session at a time, in bytes: as much may wait for it.
const PIECE_BYTES: usize = 256 * 1024;
/// How many pieces without a message for it a session's turn may last.
const PIECES_MAX: usize = 64;

/// The sessions for which the log is to be read.
#[derive(Debug, Default)]
pub(crate) struct ReplayLine {
    waiting: Mutex<VecDeque<Arc<Shared>>>,
    changed: Notify,
}

/// A session for which the log is to be read.
#[derive(Clone, Debug)]
pub struct WantedReplay(Arc<Shared>);

/// What was read for a session and is to be handed out once it is durable.
#[derive(Debug)]
pub struct ReadReplay {
    shared: Arc<Shared>,
    /// Which replay, and how far it is; `None` when the session reads the past no more.
    progress: Option<(u64, ReplayProgress)>,
    /// As far as the log was durable.
    durable: Position,
    read: Vec<Queued>,
    /// The record that says what the session was given; 0 without.
    given: Position,
}

impl Session {
    /// Subscribes as [`Session::subscribe`] does, and gives what was recorded from `start` on
    /// before what comes live. Only what the log holds can come back; NO LOCAL is not known there.
    pub fn subscribe_from(&mut self, requests: &[SubscribeRequest], start: ReplayStart) -> Subscribing {
        let is_shared = requests.iter().any(|request| request.subscribed.share.is_some());
        let has_room = self.shared.outbox().replays().is_none_or(|one| one.len() < REPLAYS_MAX);
        let refusal = match (is_shared, has_room) {
            (true, _) => Some(SubscribeError::SharedReplay),
            (_, false) => Some(SubscribeError::QuotaExceeded(REPLAYS_MAX)),
            _ => None,
        };
        if let Some(error) = refusal {
            return Subscribing { granted: vec![Err(error); requests.len()], position: None };
        }
        let filters = requests.iter().map(|one| (one.subscribed.filter.clone(), one.options)).collect();
        let number = self.shared.tenant.replays_begun.fetch_add(1, Ordering::AcqRel);
        {
            // Before the subscriptions, so that nothing that these bring overtakes what is recorded.
            let mut outbox = self.shared.outbox();
            for request in requests {
                outbox.end_replay(&request.subscribed);
            }
            let queued_from = outbox.first_owed();
            outbox.make_replays().push(Replay::new(number, filters, start, queued_from));
        }
        let subscribing = self.subscribe(requests);
        for (request, granted) in requests.iter().zip(&subscribing.granted) {
            if granted.is_err() {
                self.shared.outbox().end_replay(&request.subscribed);
            }
        }
        // From now on, whoever publishes either sees the subscriptions or looks once more.
        self.shared.tenant.replays_begun.fetch_add(1, Ordering::AcqRel);
        self.hub.announce_replay(&self.shared);
        subscribing
    }
}

impl Hub {
    /// Puts a session in line that has nothing more to send of what was recorded.
    pub(super) fn announce_replay(&self, shared: &Arc<Shared>) {
        let is_new = shared.outbox().replays().is_some_and(|replays| replays.announce());
        if is_new {
            lock(&self.broker.replays.waiting).push_back(Arc::clone(shared));
            self.broker.replays.changed.notify_one();
        }
    }

    /// The next session for which the log is to be read; for one caller at a time. Cancel safe.
    pub async fn next_replay(&self) -> WantedReplay {
        loop {
            let changed = self.broker.replays.changed.notified();
            if let Some(shared) = lock(&self.broker.replays.waiting).pop_front() {
                return WantedReplay(shared);
            }
            changed.await;
        }
    }

    /// Puts a session in line again, whose turn came to nothing.
    pub fn put_back(&self, WantedReplay(shared): WantedReplay) {
        lock(&self.broker.replays.waiting).push_back(shared);
        self.broker.replays.changed.notify_one();
    }

    /// Reads a piece of the log for a session. Takes as long as the disk does.
    ///
    /// # Errors
    /// The store is broken, or has no room to note what the session is given.
    pub fn read_replay(&self, WantedReplay(shared): &WantedReplay) -> Result<ReadReplay, StorageError> {
        let durable = self.durability.position();
        let mut done = ReadReplay {
            shared: Arc::clone(shared),
            progress: None,
            durable,
            read: Vec::new(),
            given: Position(0),
        };
        let Some(task) = Task::of(shared) else { return Ok(done) };
        let (mut place, until) = match task.progress {
            ReplayProgress::Asked(start) => {
                let place = self.replay_place(start);
                if place.is_trimmed {
                    self.note_trimmed(shared);
                }
                (place, None)
            }
            ReplayProgress::Reading(place) => (place, None),
            ReplayProgress::Ending { place, until } => (place, Some(until)),
        };
        for _ in 0..PIECES_MAX {
            if place.after >= until.unwrap_or(durable).min(durable) || !done.read.is_empty() {
                break;
            }
            let piece = self.read_piece(&shared.tenant.id, place.after, PIECE_BYTES)?;
            if piece.is_trimmed && !place.is_trimmed {
                self.note_trimmed(shared);
            }
            for (message, recipients) in piece.messages {
                let is_live = until.is_some_and(|until| message.logged.get() > Some(&until));
                if !is_live && message.time >= place.since && !task.has_it_queued(shared, &recipients) {
                    done.read.extend(queued(&task.filters, &message));
                }
            }
            place = ReplayPlace { after: piece.next, is_trimmed: false, ..place };
        }
        self.give(&mut done)?;
        let progress = match until {
            Some(until) => ReplayProgress::Ending { place, until },
            None => ReplayProgress::Reading(place),
        };
        done.progress = Some((task.number, progress));
        Ok(done)
    }

    /// Says to a device's people that a replay misses something.
    fn note_trimmed(&self, shared: &Shared) {
        let owner = shared.facts().owner();
        if let Some(device) = owner.device() {
            let text = "a subscription from the past misses its beginning: the log does not go back so far";
            self.note(&shared.tenant.id, device, FlightKind::Error, text, self.now());
        }
    }

    /// Gives what was read its places in the session's order. What a persistent session is given
    /// with QoS 1 or 2 is written down, so that it is owed after a crash as before.
    fn give(&self, done: &mut ReadReplay) -> Result<(), StorageError> {
        let shared = &done.shared;
        let mut owed: Vec<&mut Queued> =
            done.read.iter_mut().filter(|queued| queued.qos > QoS::AtMostOnce).collect();
        {
            let mut outbox = shared.outbox();
            owed.iter_mut().for_each(|queued| queued.sequence = outbox.reserve());
        }
        if owed.is_empty() || !shared.is_persistent() {
            return Ok(());
        }
        let place = |queued: &Queued| queued.message.as_ref()?.logged.get().copied();
        let given = |queued: &Queued| {
            let (length, recipient) = (queued.length, recipient(shared, queued));
            Some(Given { position: place(queued)?, length, recipient })
        };
        let messages: Vec<Given> = owed.iter().filter_map(|queued| given(queued)).collect();
        let mut bytes = Vec::new();
        Record::Given { messages }.encode(&mut bytes);
        done.given = self.append_underway(&[&bytes])?;
        for queued in owed {
            queued.position = place(queued).unwrap_or_default();
        }
        Ok(())
    }

    /// Hands a session what was read for it, once that may leave.
    ///
    /// # Errors
    /// The store is broken.
    pub async fn finish_replay(&self, done: ReadReplay) -> Result<(), StorageError> {
        let ReadReplay { shared, progress, durable, read, given } = done;
        if given > Position(0) {
            self.durable(given).await?;
        }
        let mut wakes = Vec::new();
        let awaited = {
            let mut outbox = shared.outbox();
            let end = || self.store.log.end();
            outbox.continue_replay(progress, read, (durable, &end), &mut wakes)
        };
        if given > Position(0) {
            self.finish(given);
        }
        wakes.into_iter().for_each(Waker::wake);
        self.durable(awaited).await?;
        self.announce_replay(&shared);
        Ok(())
    }
}

/// What is to be read for a session.
struct Task {
    number: u64,
    progress: ReplayProgress,
    filters: Vec<(TopicFilter, SubscriptionOptions)>,
    queued_from: u64,
}

impl Task {
    fn of(shared: &Shared) -> Option<Self> {
        let mut outbox = shared.outbox();
        let Replay { number, progress, filters, queued_from, .. } = outbox.replays()?.first()?;
        Some(Self {
            number: *number,
            progress: *progress,
            filters: filters.clone(),
            queued_from: *queued_from,
        })
    }

    /// Whether the session gets the message by its queue.
    fn has_it_queued(&self, shared: &Shared, recipients: &[Recipient]) -> bool {
        recipients.iter().any(|one| one.session == shared.number && one.sequence >= self.queued_from)
    }
}

/// The message as the matching filters want it.
fn queued(filters: &[(TopicFilter, SubscriptionOptions)], message: &Arc<Message>) -> Option<Queued> {
    let topic = message.topic.as_str();
    let wanted: Vec<_> =
        filters.iter().filter(|(filter, _)| filter.matches(topic)).map(|(_, options)| options).collect();
    let qos = wanted.iter().map(|options| options.qos).max()?;
    let mut marks = Marks::default();
    if wanted.iter().any(|options| options.flags.has(SubscriptionFlags::OWN_NAME)) {
        marks.set(Marks::OWN_NAME);
    }
    let identifiers: Vec<u32> = wanted.iter().map(|options| options.identifier).collect();
    Some(Queued {
        sequence: 0,
        position: Position(0),
        message: Some(Arc::clone(message)),
        qos: message.qos.min(qos),
        marks,
        length: message.length(),
        identifiers: Identifiers::new(&identifiers),
        command: None,
    })
}
