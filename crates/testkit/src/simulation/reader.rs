//! A client that subscribes and follows the hand-shakes of QoS 1 and 2 as a good one does.

use std::collections::{BTreeSet, VecDeque};
use std::num::NonZeroU16;

use roost_hub::broker::{
    CloseReason, Outgoing, Received, RetainHandling, Session, SubscribeRequest, SubscriptionFlags,
    SubscriptionOptions,
};
use roost_hub::message::QoS;
use roost_hub::storage::Position;
use roost_hub::topic::Subscribed;

use super::history::History;
use super::tally::Event;
use super::{Dice, Mark, Stage, WEEK};

/// What a reader of its own wants.
const EVERYTHING: &[&str] = &["t/#", "r/#"];
/// What two readers share.
const SHARED: &[&str] = &["$share/group/t/#"];
/// How many turns a sleeper sleeps.
const NAP: usize = 5;

/// What it still has to say to the server.
#[derive(Clone, Copy, Debug)]
enum Say {
    Ack(NonZeroU16),
    Received(NonZeroU16),
    Complete(NonZeroU16),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) tenant: usize,
    pub(super) number: usize,
    filters: &'static [&'static str],
    session: Option<Session>,
    pub(super) history: History,
    /// Turns that it still sleeps.
    nap: usize,
    /// QoS 2 packet ids that it has taken and that are not released: kept over connections.
    taken: BTreeSet<NonZeroU16>,
    say: VecDeque<Say>,
    /// PUBRELs that the server may send once the log is durable up to there.
    releases: VecDeque<(NonZeroU16, Position)>,
}

impl Reader {
    pub(super) fn new(tenant: usize, number: usize) -> Self {
        Self {
            tenant,
            number,
            filters: EVERYTHING,
            session: None,
            history: History::default(),
            nap: 0,
            taken: BTreeSet::new(),
            say: VecDeque::new(),
            releases: VecDeque::new(),
        }
    }

    /// One of those who share a subscription.
    pub(super) fn sharing(tenant: usize, number: usize) -> Self {
        Self { filters: SHARED, ..Self::new(tenant, number) }
    }

    pub(super) fn is_sharing(&self) -> bool {
        self.filters == SHARED
    }

    /// Is away for a while.
    pub(super) fn fall_asleep(&mut self) {
        self.lose_connection();
        self.nap = NAP;
    }

    pub(super) fn wake_up(&mut self) {
        self.nap = 0;
    }

    /// Connects once more while it is connected: the old connection is told, and gets nothing more.
    pub(super) fn take_over(&mut self, stage: &Stage) {
        let Some(mut old) = self.session.take() else { return };
        self.lose_connection();
        self.connect(stage);
        if self.session.is_none() {
            return;
        }
        stage.count(Event::TakenOver);
        let mut outgoing = Vec::new();
        old.next_outgoing(&mut outgoing, 10);
        if old.closing() != Some(CloseReason::TakenOver) || !outgoing.is_empty() {
            stage.fail("two connections have one session".to_owned());
        }
    }

    pub(super) fn lose_connection(&mut self) {
        self.session = None;
        self.say.clear();
        self.releases.clear();
    }

    pub(super) fn connect(&mut self, stage: &Stage) {
        if self.session.is_some() {
            return;
        }
        let Some(principal) = stage.principals.get(self.tenant) else { return };
        let name = format!("reader {}", self.number);
        let Ok(connected) = stage.hub.connect(principal, stage.options(&name, 4, WEEK)) else { return };
        // A new connection is progress, also where the next one breaks before anything came.
        stage.note(self.number as u64);
        let mut session = connected.session;
        if !connected.is_present {
            // A session that the server does not know has no packet ids [MQTT-3.2.2-5].
            self.taken.clear();
            subscribe(&mut session, self.filters);
        }
        self.session = Some(session);
    }

    /// Takes some of what the server has for it; the connection may break at any of them.
    pub(super) fn read(&mut self, stage: &Stage, dice: &mut Dice) {
        if self.nap > 0 {
            self.nap -= 1;
            if self.nap == 0 {
                stage.count(Event::Slept);
            }
            return;
        }
        self.connect(stage);
        let Some(session) = &mut self.session else { return };
        let mut outgoing = Vec::new();
        session.next_outgoing(&mut outgoing, 1 + dice.roll(4));
        for one in outgoing {
            if dice.roll(40) == 0 {
                self.lose_connection();
                return;
            }
            match one {
                Outgoing::Publish(delivery) => {
                    let Some(mark) = Mark::read(&delivery.message.payload) else { continue };
                    match (delivery.qos, delivery.packet_id) {
                        (QoS::ExactlyOnce, Some(id)) => {
                            if self.taken.insert(id) {
                                self.take(stage, mark, delivery.qos);
                            }
                            self.say.push_back(Say::Received(id));
                        }
                        (_, id) => {
                            self.take(stage, mark, delivery.qos);
                            self.say.extend(id.map(Say::Ack));
                        }
                    }
                }
                Outgoing::Release(id, not_before) => self.releases.push_back((id, not_before)),
            }
        }
    }

    fn take(&mut self, stage: &Stage, mark: Mark, qos: QoS) {
        stage.count(Event::Received);
        stage.note(mark.digest());
        if mark.tenant != self.tenant {
            stage.fail(format!("{mark:?} crossed into tenant {}", self.tenant));
        }
        let taken = match self.is_sharing() {
            true => self.history.take(mark, qos),
            false => self.history.take_in_order(mark, qos),
        };
        if let Err(text) = taken {
            stage.fail(format!("{text} at reader {}", self.number));
        }
    }

    fn hear_release(&mut self, id: NonZeroU16) {
        self.taken.remove(&id);
        self.say.push_back(Say::Complete(id));
    }

    /// Says what it has to say, and hears the PUBRELs that may be sent by now.
    pub(super) fn answer(&mut self, stage: &Stage) {
        let Some(session) = &mut self.session else { return };
        for say in std::mem::take(&mut self.say) {
            match say {
                Say::Ack(id) => drop(session.acknowledge(id)),
                Say::Complete(id) => drop(session.complete(id)),
                Say::Received(id) => match session.received(id) {
                    Ok(Received::Release(position)) => self.releases.push_back((id, position)),
                    // MQTT 5.0 section 4.3.3: the server answers with PUBREL 0x92.
                    Ok(Received::UnknownPacketId) => self.releases.push_back((id, Position(0))),
                    Ok(Received::WrongKind) => {}
                    Err(_refused) => {
                        self.lose_connection();
                        return;
                    }
                },
            }
        }
        session.flush();
        while let Some((id, position)) = self.releases.front().copied()
            && stage.is_durable(position)
        {
            self.releases.pop_front();
            self.hear_release(id);
        }
    }
}

/// Subscribes with QoS 2; gives the position that SUBACK waits for.
pub(super) fn subscribe(session: &mut Session, filters: &[&str]) -> Option<Position> {
    let options =
        SubscriptionOptions { qos: QoS::ExactlyOnce, flags: SubscriptionFlags::default(), identifier: 0 };
    let retain_handling = RetainHandling::Send;
    let parsed = filters.iter().filter_map(|filter| Subscribed::parse(filter).ok());
    let requests: Vec<SubscribeRequest> =
        parsed.map(|subscribed| SubscribeRequest { subscribed, options, retain_handling }).collect();
    session.subscribe(&requests).position
}
