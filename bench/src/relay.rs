//! The floor: one thread, one epoll, no checks, no sessions, no limits. What passing bytes on costs and nothing else.
//! It knows exact filters and filters whose last level is `+` or `#` (both as "anything below"), and answers QoS handshakes.

use std::collections::HashMap;
use std::io::{ErrorKind, Read};
use std::net::SocketAddr;

use anyhow::Result;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::outbox::Outbox;
use crate::wire::{self, Frame, Publish, Qos, kind};

const LISTENER: Token = Token(usize::MAX);
const READ_LENGTH: usize = 64 * 1024;
const EVENTS_MAX: usize = 1024;

struct Client {
    socket: TcpStream,
    /// The start of a packet whose end has not arrived.
    input: Vec<u8>,
    outbox: Outbox,
    last_packet_id: u16,
    is_dirty: bool,
}

#[derive(Clone, Copy)]
struct Subscription {
    client: usize,
    qos: Qos,
}

#[derive(Default)]
struct Relay {
    /// A place is never used again, so a subscription of a client that left finds nothing.
    clients: Vec<Option<Client>>,
    exact: HashMap<Vec<u8>, Vec<Subscription>>,
    /// By everything up to and including the last slash.
    below: HashMap<Vec<u8>, Vec<Subscription>>,
    dirty: Vec<usize>,
}

/// Relays on `address` until the process is ended.
pub(crate) fn run(address: SocketAddr) -> Result<()> {
    let mut listener = TcpListener::bind(address)?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(EVENTS_MAX);
    let mut scratch = vec![0_u8; READ_LENGTH];
    let mut relay = Relay::default();
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            if event.token() == LISTENER {
                relay.accept(&listener, &poll)?;
                continue;
            }
            let Token(client) = event.token();
            if event.is_readable() && relay.read(client, &mut scratch).is_err() {
                relay.close(client);
            }
            if event.is_read_closed() {
                relay.close(client);
            }
            if event.is_writable() {
                relay.flush(client);
            }
        }
        // Once per turn, so that messages for one client leave in one write.
        while let Some(client) = relay.dirty.pop() {
            relay.flush(client);
        }
    }
}

impl Relay {
    fn accept(&mut self, listener: &TcpListener, poll: &Poll) -> Result<()> {
        loop {
            let mut socket = match listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            socket.set_nodelay(true)?;
            poll.registry().register(
                &mut socket,
                Token(self.clients.len()),
                Interest::READABLE | Interest::WRITABLE,
            )?;
            self.clients.push(Some(Client {
                socket,
                input: Vec::new(),
                outbox: Outbox::default(),
                last_packet_id: 0,
                is_dirty: false,
            }));
        }
    }

    fn close(&mut self, client: usize) {
        if let Some(place) = self.clients.get_mut(client) {
            *place = None;
        }
    }

    fn flush(&mut self, client: usize) {
        let Some(Some(found)) = self.clients.get_mut(client) else {
            return;
        };
        found.is_dirty = false;
        if found.outbox.flush(&mut found.socket).is_err() {
            self.close(client);
        }
    }

    fn read(&mut self, client: usize, scratch: &mut [u8]) -> Result<()> {
        loop {
            let Some(Some(found)) = self.clients.get_mut(client) else {
                return Ok(());
            };
            let count = match found.socket.read(scratch) {
                Ok(0) => anyhow::bail!("the client left"),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let is_drained = count < scratch.len();
            let bytes = scratch.get(..count).unwrap_or_default();
            if found.input.is_empty() {
                self.take(client, bytes)?;
            } else {
                let mut input = std::mem::take(&mut found.input);
                input.extend_from_slice(bytes);
                self.take(client, &input)?;
            }
            // With edge-triggered epoll a short read means that a new edge will follow (epoll(7)).
            if is_drained {
                return Ok(());
            }
        }
    }

    fn take(&mut self, client: usize, mut input: &[u8]) -> Result<()> {
        while let Some((frame, rest)) = wire::next_frame(input)? {
            self.handle(client, &frame)?;
            input = rest;
        }
        if let (false, Some(Some(found))) = (input.is_empty(), self.clients.get_mut(client)) {
            found.input = input.to_vec();
        }
        Ok(())
    }

    fn handle(&mut self, client: usize, frame: &Frame<'_>) -> Result<()> {
        if frame.is_publish() {
            return self.pass_on(client, frame);
        }
        match frame.first {
            kind::CONNECT => self.answer(client, &[kind::CONNACK, 2, 0, 0]),
            kind::SUBSCRIBE => self.subscribe(client, frame)?,
            kind::PUBREC => self.acknowledge(client, kind::PUBREL, frame.packet_id()?.0),
            kind::PUBREL => self.acknowledge(client, kind::PUBCOMP, frame.packet_id()?.0),
            kind::PINGREQ => self.answer(client, &[kind::PINGRESP, 0]),
            kind::DISCONNECT => anyhow::bail!("the client left"),
            _ => {}
        }
        Ok(())
    }

    fn subscribe(&mut self, client: usize, frame: &Frame<'_>) -> Result<()> {
        let (packet_id, mut rest) = frame.packet_id()?;
        let [high, low] = packet_id.to_be_bytes();
        let mut codes = Vec::new();
        while !rest.is_empty() {
            let (filter, after) = wire::split_text(rest)?;
            let (&bits, after) = after.split_first().unwrap_or((&0, &[]));
            rest = after;
            let qos = Qos::from_bits(bits)?;
            let entry = match filter.split_last() {
                Some((b'+' | b'#', prefix)) => self.below.entry(prefix.to_vec()),
                _ => self.exact.entry(filter.to_vec()),
            };
            entry.or_default().push(Subscription { client, qos });
            codes.push(bits);
        }
        let length = u8::try_from(codes.len() + 2)?;
        self.answer(client, &[kind::SUBACK, length, high, low]);
        self.answer(client, &codes);
        Ok(())
    }

    fn pass_on(&mut self, from: usize, frame: &Frame<'_>) -> Result<()> {
        let publish = frame.publish()?;
        match publish.qos {
            Qos::AtMostOnce => {}
            Qos::AtLeastOnce => self.acknowledge(from, kind::PUBACK, publish.packet_id),
            Qos::ExactlyOnce => self.acknowledge(from, kind::PUBREC, publish.packet_id),
        }
        let topic = publish.topic;
        let slash = topic.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
        let prefix = topic.get(..slash).unwrap_or_default();
        let exact = self.exact.get(topic).into_iter().flatten();
        let below = self.below.get(prefix).into_iter().flatten();
        for subscription in exact.chain(below) {
            let Some(Some(client)) = self.clients.get_mut(subscription.client) else {
                continue;
            };
            client.deliver(frame, &publish, subscription.qos)?;
            client.mark(subscription.client, &mut self.dirty);
        }
        Ok(())
    }

    fn acknowledge(&mut self, client: usize, kind: u8, packet_id: u16) {
        let [high, low] = packet_id.to_be_bytes();
        self.answer(client, &[kind, 2, high, low]);
    }

    fn answer(&mut self, client: usize, bytes: &[u8]) {
        if let Some(Some(found)) = self.clients.get_mut(client) {
            found.outbox.bytes_mut().extend_from_slice(bytes);
            found.mark(client, &mut self.dirty);
        }
    }
}

impl Client {
    fn deliver(&mut self, frame: &Frame<'_>, publish: &Publish<'_>, granted: Qos) -> Result<()> {
        let qos = granted.min(publish.qos);
        if publish.qos == Qos::AtMostOnce {
            self.outbox.bytes_mut().extend_from_slice(frame.whole);
            return Ok(());
        }
        self.last_packet_id = self.last_packet_id.checked_add(1).unwrap_or(1);
        let packet_id = self.last_packet_id;
        let outgoing = Publish { qos, packet_id, ..*publish };
        wire::encode_publish(&outgoing, self.outbox.bytes_mut())
    }

    fn mark(&mut self, number: usize, dirty: &mut Vec<usize>) {
        if !self.is_dirty {
            self.is_dirty = true;
            dirty.push(number);
        }
    }
}
