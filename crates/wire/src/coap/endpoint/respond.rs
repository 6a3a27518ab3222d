//! Answers: in the acknowledgement where that is early enough, else in a message of their own.

use std::net::SocketAddr;
use std::time::Duration;

use super::flight::Confirmable;
use super::peer::Progress;
use super::{Endpoint, Event, Output, Ticket, send_empty};
use crate::coap::answer::Answer;
use crate::coap::code::Code;
use crate::coap::message::{Head, Kind};

impl Endpoint {
    /// Answers a request. An answer that is larger than the address may be sent unproven goes out in
    /// smaller blocks, or, where even those are too large, as 4.01 with an Echo (C-18).
    pub fn answer(&mut self, now: Duration, ticket: &Ticket, mut answer: Answer, out: &mut Output) {
        let Some(peer) = self.peers.get_mut(&ticket.peer) else {
            self.events.extend(answer.receipt.map(Event::Lost));
            return;
        };
        let is_first = peer.exchange(ticket.id).is_none_or(|exchange| exchange.progress == Progress::Working);
        // RFC 7967 section 2.1: bit 1 for 2.xx, bit 3 for 4.xx, bit 4 for 5.xx.
        let is_unwanted = ticket.no_response >> answer.code.class().saturating_sub(1) & 1 == 1;
        if is_unwanted {
            self.events.extend(answer.receipt.map(Event::Lost));
            if is_first && ticket.is_confirmable {
                self.acknowledge(ticket.peer, ticket.id, out);
            }
            return;
        }
        let is_separate = answer.receipt.is_some() || (ticket.is_confirmable && !is_first);
        let kind = match (is_separate, ticket.is_confirmable) {
            (true, _) => Kind::Confirmable,
            (false, true) => Kind::Acknowledgement,
            (false, false) => Kind::NonConfirmable,
        };
        let id = if kind == Kind::Acknowledgement { ticket.id } else { peer.next_id() };
        let head = Head { kind, code: answer.code, id, token: ticket.token };
        let is_plain = answer.is_plain();
        let Some((bytes, is_whole)) = answer.message(head, ticket.block2, peer.room()) else {
            self.events.extend(answer.receipt.map(Event::Lost));
            return self.challenge(now, ticket, out);
        };
        if kind != Kind::Confirmable {
            if let Some(exchange) = peer.exchange(ticket.id) {
                exchange.progress = match is_plain {
                    true => Progress::Answered(answer.code),
                    false => Progress::AnsweredWith(bytes.as_slice().into()),
                };
            }
            self.send(ticket.peer, out, |out| out.extend_from_slice(&bytes));
            if answer.code == Code::UNAUTHORIZED {
                self.dismiss(ticket);
            }
            return;
        }
        if is_first && ticket.is_confirmable {
            self.acknowledge(ticket.peer, ticket.id, out);
        }
        let receipt = answer.receipt.filter(|_| is_whole);
        let message = Confirmable { id, bytes: bytes.into(), receipt, observation: None };
        self.launch(now, ticket.peer, message, out);
    }

    /// Asks the peer to show that it receives at its address (RFC 9175 section 2.4).
    pub(super) fn challenge(&mut self, now: Duration, ticket: &Ticket, out: &mut Output) {
        let echo = Some(self.echo.token(ticket.peer, now));
        let mut answer = Answer { echo, ..Answer::new(Code::UNAUTHORIZED) };
        let Some(peer) = self.peers.get_mut(&ticket.peer) else { return };
        let kind = if ticket.is_confirmable { Kind::Acknowledgement } else { Kind::NonConfirmable };
        let id = if ticket.is_confirmable { ticket.id } else { peer.next_id() };
        let head = Head { kind, code: answer.code, id, token: ticket.token };
        if let Some((bytes, _)) = answer.message(head, None, peer.room()) {
            self.send(ticket.peer, out, |out| out.extend_from_slice(&bytes));
        }
        // The same request with the Echo is another one; this one may come again.
        self.dismiss(ticket);
    }

    /// Acknowledges a request whose answer comes later.
    pub(super) fn acknowledge(&mut self, address: SocketAddr, id: u16, out: &mut Output) {
        let Some(peer) = self.peers.get_mut(&address) else { return };
        if let Some(exchange) = peer.exchange(id).filter(|known| known.progress == Progress::Working) {
            exchange.progress = Progress::Acknowledged;
            send_empty(out, address, Kind::Acknowledgement, id);
        }
    }

    /// Sends a datagram, if the address may be sent so much.
    pub(super) fn send(&mut self, address: SocketAddr, out: &mut Output, write: impl FnOnce(&mut Vec<u8>)) {
        let start = out.bytes.len();
        write(&mut out.bytes);
        let length = out.bytes.len() - start;
        if self.peers.get_mut(&address).is_some_and(|peer| peer.spend(length)) {
            out.ends.push((address, out.bytes.len()));
        } else {
            out.bytes.truncate(start);
        }
    }
}
