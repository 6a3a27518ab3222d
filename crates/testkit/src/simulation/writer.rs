//! A client that publishes, keeps what is not acknowledged and sends it again when it is back.

use std::collections::VecDeque;
use std::num::NonZeroU16;

use roost_hub::broker::Session;
use roost_hub::message::{Message, QoS};
use roost_hub::storage::Position;
use roost_hub::topic::Topic;

use super::tally::Event;
use super::{Dice, Mark, Stage, WEEK};

/// How many of its messages are on their way at most.
const IN_FLIGHT_MAX: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Publish,
    Release,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    id: NonZeroU16,
    mark: Mark,
    qos: QoS,
    step: Step,
    /// Sent over the present connection.
    is_under_way: bool,
}

/// An answer that the server sends once the log is durable up to the position.
#[derive(Clone, Copy, Debug)]
struct Answer {
    id: NonZeroU16,
    step: Step,
    position: Position,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) tenant: usize,
    pub(super) number: usize,
    session: Option<Session>,
    sent: VecDeque<Sent>,
    answers: VecDeque<Answer>,
    next_mark: u32,
    next_id: u16,
    acknowledged: Vec<(Mark, QoS)>,
}

impl Writer {
    pub(super) fn new(tenant: usize, number: usize) -> Self {
        Self {
            tenant,
            number,
            session: None,
            sent: VecDeque::new(),
            answers: VecDeque::new(),
            next_mark: 0,
            next_id: 0,
            acknowledged: Vec::new(),
        }
    }

    pub(super) fn acknowledged(&self) -> &[(Mark, QoS)] {
        &self.acknowledged
    }

    pub(super) fn is_settled(&self) -> bool {
        self.sent.is_empty()
    }

    pub(super) fn lose_connection(&mut self) {
        self.session = None;
        self.answers.clear();
        for sent in &mut self.sent {
            sent.is_under_way = false;
        }
    }

    fn connect(&mut self, stage: &Stage) {
        if self.session.is_none()
            && let Some(principal) = stage.principals.get(self.tenant)
        {
            let name = format!("writer {}", self.number);
            self.session =
                stage.hub.connect(principal, stage.options(&name, 10, WEEK)).ok().map(|one| one.session);
        }
    }

    /// Sends again what was not answered; the oldest first [MQTT-4.4.0-1].
    pub(super) fn resend_only(&mut self, stage: &Stage) {
        self.connect(stage);
        let waiting: Vec<Sent> = self.sent.iter().filter(|sent| !sent.is_under_way).copied().collect();
        for sent in waiting {
            // What was refused is tried again by the next connection: order is kept.
            if self.session.is_some() {
                self.transmit(stage, sent);
            }
        }
    }

    pub(super) fn publish(&mut self, stage: &Stage, dice: &mut Dice) {
        self.resend_only(stage);
        if self.session.is_none() || self.sent.len() >= IN_FLIGHT_MAX {
            return;
        }
        let mark = Mark { tenant: self.tenant, writer: self.number, number: self.next_mark };
        let qos = match dice.roll(8) {
            // A QoS 1 message that comes once more is retained once more: order is promised only among
            // messages of one quality of service.
            _ if mark.is_retained() && self.number == 0 => QoS::AtLeastOnce,
            _ if mark.is_retained() => QoS::ExactlyOnce,
            0 => QoS::AtMostOnce,
            1..4 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        };
        let Some(id) = self.free_id() else { return };
        self.next_mark += 1;
        let sent = Sent { id, mark, qos, step: Step::Publish, is_under_way: false };
        if qos == QoS::AtMostOnce {
            if let Some(session) = &mut self.session {
                // Nothing is promised, so nothing is kept.
                publish(stage, session, sent);
                session.flush();
            }
            return;
        }
        self.sent.push_back(sent);
        // The connection may break between the decision and the wire.
        if dice.roll(20) == 0 {
            self.lose_connection();
        } else {
            self.transmit(stage, sent);
        }
    }

    /// Few packet ids, so that they are used again soon.
    fn free_id(&mut self) -> Option<NonZeroU16> {
        for _ in 0..10 {
            self.next_id = self.next_id % 10 + 1;
            let id = NonZeroU16::new(self.next_id)?;
            if !self.sent.iter().any(|sent| sent.id == id) {
                return Some(id);
            }
        }
        None
    }

    fn transmit(&mut self, stage: &Stage, sent: Sent) {
        let Some(session) = &mut self.session else { return };
        let taken = match sent.step {
            Step::Publish => publish(stage, session, sent),
            Step::Release => session.release(sent.id).ok().map(|released| released.position),
        };
        let Some(position) = taken else {
            stage.count(Event::Refused);
            self.lose_connection();
            return;
        };
        session.flush();
        self.answers.push_back(Answer { id: sent.id, step: sent.step, position });
        if let Some(known) = self.sent.iter_mut().find(|known| known.id == sent.id) {
            known.is_under_way = true;
        }
    }

    /// Takes the answers that the server may send by now.
    pub(super) fn hear(&mut self, stage: &Stage) {
        while let Some(answer) = self.answers.front().copied()
            && stage.is_durable(answer.position)
        {
            self.answers.pop_front();
            let Some(place) = self.sent.iter().position(|sent| sent.id == answer.id) else { continue };
            let Some(sent) = self.sent.get_mut(place) else { continue };
            if answer.step == Step::Publish {
                stage.count(Event::Acknowledged);
                stage.note(sent.mark.digest());
                self.acknowledged.push((sent.mark, sent.qos));
            }
            if answer.step == Step::Publish && sent.qos == QoS::ExactlyOnce {
                sent.step = Step::Release;
                let release = *sent;
                self.transmit(stage, release);
            } else {
                self.sent.remove(place);
            }
        }
    }
}

/// Publishes; gives the position that the answer waits for, `None` where it was refused.
fn publish(stage: &Stage, session: &mut Session, sent: Sent) -> Option<Position> {
    let topic = Topic::parse(sent.mark.topic()).ok()?;
    let mut message = Message::new(topic, sent.mark.payload(), stage.hub.now());
    message.qos = sent.qos;
    message.retain = sent.mark.is_retained();
    let exactly_once = (sent.qos == QoS::ExactlyOnce).then_some(sent.id);
    let before = stage.hub.store().log.end();
    let published = session.publish(message, exactly_once).ok()?;
    if exactly_once.is_some() && stage.hub.store().log.end() == before {
        stage.count(Event::ExactlyOnceAgain);
    }
    Some(published.position.unwrap_or_default())
}
