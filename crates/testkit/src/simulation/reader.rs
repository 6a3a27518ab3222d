//! A client that subscribes and follows the hand-shakes of QoS 1 and 2 as a good one does.

use std::collections::{BTreeSet, VecDeque};
use std::num::NonZeroU16;

use roost_hub::broker::{
    Outgoing, Received, RetainHandling, Session, SubscribeRequest, SubscriptionFlags, SubscriptionOptions,
};
use roost_hub::message::QoS;
use roost_hub::storage::Position;
use roost_hub::topic::Subscribed;

use super::{Dice, Mark, Stage};

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
    session: Option<Session>,
    received: Vec<(Mark, QoS)>,
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
            session: None,
            received: Vec::new(),
            taken: BTreeSet::new(),
            say: VecDeque::new(),
            releases: VecDeque::new(),
        }
    }

    pub(super) fn received(&self) -> &[(Mark, QoS)] {
        &self.received
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
        let Ok(connected) = stage.hub.connect(principal, stage.options(&name, 4)) else { return };
        let mut session = connected.session;
        if !connected.is_present {
            // A session that the server does not know has no packet ids [MQTT-3.2.2-5].
            self.taken.clear();
            let options = SubscriptionOptions {
                qos: QoS::ExactlyOnce,
                flags: SubscriptionFlags::default(),
                identifier: 0,
            };
            if let Ok(subscribed) = Subscribed::parse("t/#") {
                let retain_handling = RetainHandling::Send;
                session.subscribe(&[SubscribeRequest { subscribed, options, retain_handling }]);
            }
        }
        self.session = Some(session);
    }

    /// Takes some of what the server has for it; the connection may break at any of them.
    pub(super) fn read(&mut self, stage: &Stage, dice: &mut Dice) {
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
                                self.received.push((mark, delivery.qos));
                            }
                            self.say.push_back(Say::Received(id));
                        }
                        (_, id) => {
                            self.received.push((mark, delivery.qos));
                            self.say.extend(id.map(Say::Ack));
                        }
                    }
                }
                Outgoing::Release(id, not_before) => self.releases.push_back((id, not_before)),
            }
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
                    Ok(Received::WrongKind) | Err(_) => {}
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
