//! The client's end of one connection: what it sent, what it received, and what must be so.

use std::pin::Pin;
use std::task::{Context, Waker};

use roost_wire::mqtt::{Ack, Decoded, Limits, Packet, QoS, ReasonCode, Version, decode};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// What a payload begins with that a client of a tenant published.
pub(crate) const MARKS: [&str; 2] = ["said in the left tenant", "said in the right tenant"];

/// What one connection got: the packets as text, and whether the server ended it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) packets: Vec<String>,
    pub(crate) is_closed: bool,
}

/// See the module.
pub(crate) struct Peer {
    stream: DuplexStream,
    pub(crate) tenant: usize,
    version: Option<Version>,
    pub(crate) is_reading: bool,
    /// Written by the script and not taken by the server.
    outbox: Vec<u8>,
    /// Everything that was sent and not looked at by [`Peer::is_malformed`].
    sent: Vec<u8>,
    pub(crate) has_sent: bool,
    /// What was sent is no MQTT.
    is_malformed: bool,
    input: Vec<u8>,
    answers: Vec<Vec<u8>>,
    pub(crate) received: Received,
}

impl Peer {
    pub(crate) fn new(stream: DuplexStream, tenant: usize) -> Self {
        Self {
            stream,
            tenant,
            version: None,
            is_reading: true,
            outbox: Vec::new(),
            sent: Vec::new(),
            has_sent: false,
            is_malformed: false,
            input: Vec::new(),
            answers: Vec::new(),
            received: Received::default(),
        }
    }

    /// What it speaks, as far as it has said so.
    pub(crate) fn version(&self) -> Version {
        self.version.unwrap_or(Version::V5)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.has_sent |= !bytes.is_empty();
        self.outbox.extend_from_slice(bytes);
        self.sent.extend_from_slice(bytes);
        self.look_at_sent();
    }

    /// What a good client owes for what it received.
    pub(crate) fn take_answers(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.answers).concat()
    }

    fn look_at_sent(&mut self) {
        let limits = Limits::default();
        let mut consumed = 0;
        while !self.is_malformed {
            match decode(&self.sent[consumed..], self.version, &limits) {
                Ok(Decoded::NeedMore { .. }) => break,
                Ok(Decoded::Packet { packet, length }) => {
                    if let (None, Packet::Connect(connect)) = (self.version, &packet) {
                        self.version = Some(connect.version);
                    }
                    // The first packet has to be CONNECT [MQTT-3.1.0-1].
                    self.is_malformed = self.version.is_none();
                    consumed += length;
                }
                Err(_) => self.is_malformed = true,
            }
        }
        self.sent.drain(..consumed);
    }

    /// Gives the server what it takes, and takes what it gives; whether anything moved.
    pub(crate) fn exchange(&mut self) -> bool {
        self.write() | (self.is_reading && self.read())
    }

    fn write(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        if self.outbox.is_empty() {
            return false;
        }
        match Pin::new(&mut self.stream).poll_write(&mut context, &self.outbox) {
            std::task::Poll::Ready(Ok(count)) => drop(self.outbox.drain(..count)),
            // The server is gone: nobody takes the rest.
            std::task::Poll::Ready(Err(_)) => self.outbox.clear(),
            std::task::Poll::Pending => return false,
        }
        true
    }

    fn read(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        let mut room = [0; 4096];
        let mut room = ReadBuf::new(&mut room);
        if self.received.is_closed {
            return false;
        }
        match Pin::new(&mut self.stream).poll_read(&mut context, &mut room) {
            std::task::Poll::Ready(Ok(())) if !room.filled().is_empty() => {
                assert!(self.has_sent, "the server speaks first");
                self.input.extend_from_slice(room.filled());
                self.take_packets();
            }
            std::task::Poll::Ready(_) => {
                self.received.is_closed = true;
                assert!(self.input.is_empty(), "the server ends within a packet");
            }
            std::task::Poll::Pending => return false,
        }
        true
    }

    fn take_packets(&mut self) {
        let limits = Limits { packet_size_max: u32::MAX, ..Limits::default() };
        let input = std::mem::take(&mut self.input);
        let mut rest = input.as_slice();
        while !rest.is_empty() {
            // To a version that it does not know, the server answers as it can.
            let versions = match self.version {
                Some(version) => vec![version],
                None => vec![Version::V5, Version::V3],
            };
            let decoded = versions.iter().map(|version| decode(rest, Some(*version), &limits));
            let decoded = decoded.reduce(|one, other| one.or(other)).expect("there is a version");
            match decoded {
                Ok(Decoded::Packet { packet, length }) => {
                    self.take(&packet);
                    rest = &rest[length..];
                }
                Ok(Decoded::NeedMore { .. }) => break,
                Err(error) => panic!("the server says what is no MQTT: {error:?} in {rest:02x?}"),
            }
        }
        self.input = rest.to_vec();
    }

    fn take(&mut self, packet: &Packet<'_>) {
        let is_connack = matches!(packet, Packet::ConnAck(_));
        assert_eq!(is_connack, self.received.packets.is_empty(), "CONNACK comes first, and once: {packet:?}");
        let good = |id| Ack::new(id, ReasonCode::Success);
        let answer = match packet {
            Packet::Publish(publish) => {
                let other = MARKS[1 - self.tenant];
                let is_ours = !publish.payload.starts_with(other.as_bytes());
                assert!(is_ours, "a message crossed from tenant to tenant: {publish:?}");
                match (publish.qos, publish.packet_id) {
                    (QoS::AtLeastOnce, Some(id)) => Some(Packet::PubAck(good(id))),
                    (QoS::ExactlyOnce, Some(id)) => Some(Packet::PubRec(good(id))),
                    _ => None,
                }
            }
            Packet::PubRec(ack) if !ack.reason.is_error() => Some(Packet::PubRel(good(ack.packet_id))),
            Packet::PubRel(ack) => Some(Packet::PubComp(good(ack.packet_id))),
            _ => None,
        };
        self.answers.extend(answer.map(|answer| super::packets::encode(&answer, self.version())));
        self.received.packets.push(said(packet));
    }

    /// What must be so whenever nothing is on its way.
    pub(crate) fn check(&self) {
        let is_heard = self.outbox.is_empty() && self.is_reading;
        assert!(
            !(self.is_malformed && is_heard) || self.received.is_closed,
            "a connection goes on after what is no MQTT: {:?}",
            self.received
        );
    }

    /// What counts when two runs are compared. In which order deliveries and acknowledgements come,
    /// and what the server says last to who broke a rule, may depend on how bytes are cut.
    pub(crate) fn result(mut self) -> Option<Received> {
        if self.is_malformed || self.received.is_closed || !self.is_reading {
            return None;
        }
        self.received.packets.sort();
        Some(self.received)
    }
}

fn said(packet: &Packet<'_>) -> String {
    format!("{packet:?}")
}
