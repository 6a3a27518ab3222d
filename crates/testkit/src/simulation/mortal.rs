//! Clients that come and go for good: one whose will is to be sent, one whose session ends.

use std::time::Duration;

use roost_hub::broker::{Leave, Session, Will};
use roost_hub::message::{Message, QoS};
use roost_hub::storage::Position;
use roost_hub::time::Timestamp;
use roost_hub::topic::Topic;

use super::reader::subscribe;
use super::tally::Event;
use super::{Mark, Stage, WEEK};

/// The number of who leaves wills, above those of the writers.
const TESTATOR: usize = 100;
/// How long the session of a visitor outlives its connection.
const VISIT: Duration = Duration::from_secs(30);

/// A client with a will.
#[derive(Debug)]
pub(super) struct Testator {
    tenant: usize,
    session: Option<(Session, Position)>,
    next: u32,
    /// Wills of which the server has said that it has them, and whose owners were lost.
    owed: Vec<Mark>,
}

impl Testator {
    pub(super) fn new(tenant: usize) -> Self {
        Self { tenant, session: None, next: 0, owed: Vec::new() }
    }

    pub(super) fn owed(&self) -> &[Mark] {
        &self.owed
    }

    fn mark(&self) -> Mark {
        Mark { tenant: self.tenant, writer: TESTATOR, number: self.next }
    }

    pub(super) fn connect(&mut self, stage: &Stage) {
        let (None, Some(principal)) = (&self.session, stage.principals.get(self.tenant)) else { return };
        self.next += 1;
        let Ok(topic) = Topic::parse(self.mark().topic()) else { return };
        let mut message = Message::new(topic, self.mark().payload(), stage.hub.now());
        message.qos = QoS::AtLeastOnce;
        let mut options = stage.options("testator", 4, WEEK);
        options.will = Some(Will { message, delay: Duration::ZERO, expiry: None });
        let connected = stage.hub.connect(principal, options).ok();
        self.session = connected.map(|one| (one.session, one.position.unwrap_or_default()));
    }

    /// It says good-bye: then nothing is owed.
    pub(super) fn leave(&mut self) {
        if let Some((session, _)) = self.session.take() {
            session.leave(Leave::Normally, None);
        }
    }

    /// Its connection is lost, by itself or with the server.
    pub(super) fn lose_connection(&mut self, stage: &Stage, event: Event) {
        let Some((session, position)) = self.session.take() else { return };
        if stage.is_durable(position) {
            stage.count(event);
            self.owed.push(self.mark());
        }
        drop(session);
    }
}

/// A client whose session is kept for a short while only.
#[derive(Debug)]
pub(super) struct Visitor {
    tenant: usize,
    session: Option<(Session, Position)>,
    /// When it left a session that the server has said it has.
    left_at: Option<Timestamp>,
    has_crashed_since: bool,
}

impl Visitor {
    pub(super) fn new(tenant: usize) -> Self {
        Self { tenant, session: None, left_at: None, has_crashed_since: false }
    }

    /// Connects, and looks whether its session is there as long as it should be and no longer.
    pub(super) fn connect(&mut self, stage: &Stage) {
        let (None, Some(principal)) = (&self.session, stage.principals.get(self.tenant)) else { return };
        let Ok(connected) = stage.hub.connect(principal, stage.options("visitor", 4, VISIT)) else { return };
        if let Some(left_at) = self.left_at.take() {
            let away = stage.hub.now().since(left_at);
            if away < VISIT && !connected.is_present {
                stage.fail(format!("a session was gone after {away:?}"));
            }
            if away > VISIT && connected.is_present && !self.has_crashed_since {
                stage.fail(format!("a session was still there after {away:?}"));
            }
            stage.count(if connected.is_present { Event::Resumed } else { Event::Expired });
        }
        self.has_crashed_since = false;
        let mut session = connected.session;
        let position = connected.position.max(subscribe(&mut session, &["t/#"])).unwrap_or_default();
        self.session = Some((session, position));
    }

    pub(super) fn lose_connection(&mut self, stage: &Stage) {
        if let Some((session, position)) = self.session.take() {
            self.left_at = stage.is_durable(position).then(|| stage.hub.now());
            drop(session);
        }
    }

    /// The server is gone; it counts the time from its restart.
    pub(super) fn crashed(&mut self, stage: &Stage) {
        self.lose_connection(stage);
        self.has_crashed_since = true;
    }
}
