//! What is observed, and what observers are told (RFC 7641).

use std::sync::Arc;

use roost_hub::changes::Part;
use roost_hub::principal::Principal;
use roost_hub::storage::Position;
use roost_wire::coap::{Answer, Code, ContentFormat, ObservationId, Request, Ticket};
use serde_json::json;

use super::actions::acting;
use super::door::{Done, Door, Reply};
use super::mapping::{IntoAnswer, come_again};
use super::{documents, payload};

/// When a device with too many observations may try again, in seconds.
const COME_AGAIN: u32 = 60;

/// Something that can be observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Observed {
    Commands,
    Twin,
    Desired,
    Document(Box<str>),
}

impl Observed {
    fn part(&self) -> Part {
        match self {
            Self::Commands => Part::Commands,
            Self::Twin | Self::Desired => Part::Twin,
            Self::Document(_) => Part::Documents,
        }
    }
}

/// What an observation is of, and in whose name.
#[derive(Clone, Debug)]
pub(super) struct Target {
    principal: Arc<Principal>,
    what: Observed,
    accept: Option<ContentFormat>,
    /// What was told last.
    etag: Option<[u8; 8]>,
}

/// A state as an answer, and whether the client has it already.
#[derive(Debug)]
pub(super) struct Represented(Answer);

impl Represented {
    /// By which the state is known again.
    pub(super) fn etag(&self) -> Option<[u8; 8]> {
        self.0.etag
    }

    /// 2.03 when the client knows this etag (RFC 7252 section 5.10.6.2).
    pub(super) fn known_to(self, request: &Request<'_>) -> Answer {
        let Self(answer) = self;
        match answer.etag {
            Some(etag) if request.etags().any(|known| known == etag) => {
                Answer { etag: Some(etag), max_age: answer.max_age, ..Answer::new(Code::VALID) }
            }
            _ => answer,
        }
    }
}

impl Door {
    pub(super) fn register(
        &mut self,
        ticket: &Ticket,
        request: &Request<'_>,
        (what, principal): (Observed, Arc<Principal>),
    ) -> Result<Done, Answer> {
        let device = acting(&principal)?;
        let too_many = || come_again(Code::TOO_MANY, COME_AGAIN, "too many observations: end some");
        let id = self.endpoint.observe(self.now, ticket).ok_or_else(too_many)?;
        // The number may have been that of an observation that this one replaces.
        self.handle_events();
        let (hub, changes) = (Arc::clone(&self.shared.hub), Arc::clone(&self.changes));
        let target = Target {
            principal: Arc::clone(&principal),
            what: what.clone(),
            accept: request.accept,
            etag: None,
        };
        let index = id.0 as usize;
        if self.targets.len() <= index {
            self.targets.resize(index + 1, None);
        }
        if let Some(place) = self.targets.get_mut(index) {
            *place = Some(target);
        }
        let is_watched = hub.watch_changes(&principal.tenant, &device, (what.part(), id.0), &changes);
        let first = match what {
            _ if !is_watched => Err(too_many()),
            Observed::Commands => self.hand_over((&principal, &device), request.accept, Owes::Everything),
            _ => self.represent(&principal, &what, request.accept).map(|represented| {
                self.remember_told(id, represented.0.etag);
                (Position(0), represented.known_to(request))
            }),
        };
        match first {
            Ok((position, answer)) => {
                self.keep_fetched(Some(ticket.peer), &answer);
                let answer = Answer { max_age: Some(payload::OBSERVED_MAX_AGE), ..answer };
                self.owe(position, Reply::Registration(*ticket, id), answer);
                Ok(Done::Taken)
            }
            Err(refusal) => {
                self.endpoint.end(id);
                self.handle_events();
                Err(refusal)
            }
        }
    }

    fn remember_told(&mut self, id: ObservationId, etag: Option<[u8; 8]>) {
        if let Some(Some(target)) = self.targets.get_mut(id.0 as usize) {
            target.etag = etag;
        }
    }

    /// The state of something as it is now.
    pub(super) fn represent(
        &self,
        principal: &Principal,
        what: &Observed,
        accept: Option<ContentFormat>,
    ) -> Result<Represented, Answer> {
        let (hub, tenant) = (&self.shared.hub, &principal.tenant);
        let device = acting(principal)?;
        if let Observed::Document(name) = what {
            let document = hub.document(tenant, &device, name).map_err(IntoAnswer::into_answer)?;
            let unknown = || Answer::error(Code::NOT_FOUND, "there is no document of this name");
            return documents::show(document.ok_or_else(unknown)?, accept).map(Represented);
        }
        let format = payload::accepted(accept)?;
        let twin = hub.twin(tenant, &device).map_err(IntoAnswer::into_answer)?;
        let value = match what {
            Observed::Desired => json!({ "version": twin.version, "desired": twin.desired }),
            _ => json!({ "reported": twin.reported, "desired": twin.desired, "version": twin.version }),
        };
        Ok(Represented(payload::show(&value, format)))
    }

    /// Tells an observer, if it still may know and there is something new.
    pub(super) fn tell(&mut self, id: ObservationId) {
        let Some(Some(target)) = self.targets.get(id.0 as usize) else { return };
        let Target { principal, what, accept, etag: told } = target.clone();
        let Some(device) = principal.device().cloned() else { return };
        // who is let in no more is told nothing more.
        if !self.shared.hub.principal_holds(&principal).unwrap_or(false) {
            let answer = Answer::error(Code::UNAUTHORIZED, "the credential holds no longer");
            return self.reply(Reply::Notification(id), answer);
        }
        let next = match what {
            Observed::Commands => match self.hand_over((&principal, &device), accept, Owes::News) {
                // Something else about the mailbox changed.
                Ok((_, answer)) if answer.receipt.is_none() => return,
                next => next,
            },
            _ => self.represent(&principal, &what, accept).map(|Represented(answer)| (Position(0), answer)),
        };
        match next {
            Ok((_, answer)) if answer.etag.is_some() && answer.etag == told => {}
            Ok((position, answer)) => {
                self.remember_told(id, answer.etag);
                self.keep_fetched(self.endpoint.observer(id), &answer);
                let answer = Answer { max_age: Some(payload::OBSERVED_MAX_AGE), ..answer };
                self.owe(position, Reply::Notification(id), answer);
            }
            Err(refusal) => self.reply(Reply::Notification(id), refusal),
        }
    }

    /// An observation has ended.
    pub(super) fn unwatch(&mut self, id: ObservationId) {
        let Some(target) = self.targets.get_mut(id.0 as usize).and_then(Option::take) else { return };
        if let Some(device) = target.principal.device() {
            self.shared.hub.unwatch_changes(&target.principal.tenant, device, id.0, &self.changes);
        }
    }
}

/// Which commands an observer is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owes {
    /// Also those that were sent and that nobody knows to have arrived.
    Everything,
    /// Those that were never sent.
    News,
}
