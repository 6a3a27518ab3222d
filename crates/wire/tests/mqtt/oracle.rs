//! What must hold for any bytes: shared by the fuzz targets and the test that replays their seeds.
//! Each function panics if it does not hold.

use std::sync::Arc;
use std::time::Duration;

use roost_wire::mqtt::{
    Ack, ConnAck, Connection, ConnectionOptions, Decoded, Event, Input, Limits, Packet, QoS, ReasonCode,
    SubAck, UnsubAck, Version, decode,
};

const NOW: Duration = Duration::from_secs(1);

/// Any bytes are a packet, a part of one, or an error; and a part never turns into another verdict
/// than the whole.
pub(crate) fn decode_any(bytes: &[u8]) {
    let limits = Limits::default();
    for version in [None, Some(Version::V3), Some(Version::V5)] {
        let whole = decode(bytes, version, &limits);
        match &whole {
            Ok(Decoded::Packet { length, .. }) => assert!(*length <= bytes.len()),
            Ok(Decoded::NeedMore { at_least }) => assert!(*at_least > bytes.len()),
            Err(_) => {}
        }
        for cut in 0..bytes.len().min(64) {
            match decode(&bytes[..cut], version, &limits) {
                Ok(Decoded::NeedMore { at_least }) => assert!(at_least > cut),
                verdict => assert_eq!(verdict, whole),
            }
        }
    }
}

/// What was read is written and read again as the same packet.
pub(crate) fn round_trip(bytes: &[u8]) {
    for version in [None, Some(Version::V3), Some(Version::V5)] {
        let limits = Limits::default();
        let Ok(Decoded::Packet { packet, .. }) = decode(bytes, version, &limits) else { continue };
        let mut written = Vec::new();
        packet.encode(version.unwrap_or(Version::V5), &mut written).expect("what was read can be written");
        let length = written.len();
        match decode(&written, version, &limits) {
            Ok(Decoded::Packet { packet: again, length: consumed }) => {
                assert_eq!((again, consumed), (packet, length));
            }
            other => panic!("{packet:?} was read again as {other:?}"),
        }
    }
}

/// However a stream is cut, the same events come out of it, and every answer is well-formed.
pub(crate) fn connection(bytes: &[u8]) {
    let Some((&step, stream)) = bytes.split_first() else { return };
    let whole = events_of(stream, stream.len().max(1));
    assert_eq!(events_of(stream, 1), whole);
    assert_eq!(events_of(stream, usize::from(step).max(1)), whole);
}

fn events_of(stream: &[u8], step: usize) -> Vec<String> {
    let mut peer = Peer::new();
    let mut pending = Vec::new();
    for piece in stream.chunks(step) {
        pending.extend_from_slice(piece);
        if !peer.handle(&mut pending) {
            break;
        }
    }
    peer.check_output();
    peer.events
}

/// A server that answers everything, except that it is slow with topics that begin with `n`.
struct Peer {
    connection: Connection,
    events: Vec<String>,
    output: Vec<u8>,
    unanswered: Vec<Packet<'static>>,
}

impl Peer {
    fn new() -> Self {
        let options = ConnectionOptions {
            receive_maximum: const { std::num::NonZeroU16::new(4).unwrap() },
            ..ConnectionOptions::default()
        };
        Self {
            connection: Connection::new(Arc::new(options), NOW),
            events: Vec::new(),
            output: Vec::new(),
            unanswered: Vec::new(),
        }
    }

    /// False when the connection is over.
    fn handle(&mut self, pending: &mut Vec<u8>) -> bool {
        loop {
            match self.connection.handle_input(pending, NOW) {
                Ok(Input::NeedMore { at_least }) => {
                    assert!(at_least > pending.len());
                    return true;
                }
                Ok(Input::Closed) => return false,
                Ok(Input::Waiting) => {
                    let answer = self.unanswered.pop().expect("it waits for an answer");
                    self.connection.write(&answer, &mut self.output).ok();
                }
                Ok(Input::Event { event, consumed }) => {
                    self.events.push(format!("{event:?}"));
                    self.answer(event);
                    pending.drain(..consumed);
                }
                Err(error) => {
                    // The farewell may know more when more has come; the verdict is the same.
                    self.events.push(format!("{:?}", error.error()));
                    self.connection.handle_timeout(Duration::MAX).expect("it is over");
                    assert_eq!(self.connection.handle_input(pending, NOW), Ok(Input::Closed));
                    return false;
                }
            }
        }
    }

    fn answer(&mut self, event: Event<'_>) {
        if let Event::Connect(connect) = &event {
            let reason = match connect.client_id.starts_with('r') {
                true => ReasonCode::NotAuthorized,
                false => ReasonCode::Success,
            };
            let connack = ConnAck { reason, ..ConnAck::default() };
            self.connection.answer_connect(connack, NOW, &mut self.output).ok();
            return;
        }
        let is_slow = matches!(&event, Event::Publish { topic, .. } if topic.starts_with('n'));
        let Some(answer) = answer_to(event) else { return };
        if is_slow {
            self.unanswered.push(answer);
        } else {
            self.connection.write(&answer, &mut self.output).ok();
        }
    }

    fn check_output(&self) {
        let mut rest = &self.output[..];
        while !rest.is_empty() {
            match decode(rest, Some(self.connection.version()), &Limits::default()) {
                Ok(Decoded::Packet { length, .. }) => rest = &rest[length..],
                other => panic!("an answer is not well-formed: {other:?}"),
            }
        }
    }
}

fn answer_to(event: Event<'_>) -> Option<Packet<'static>> {
    Some(match event {
        Event::Publish { publish, .. } => {
            let ack = Ack::new(publish.packet_id?, ReasonCode::Success);
            if publish.qos == QoS::AtLeastOnce { Packet::PubAck(ack) } else { Packet::PubRec(ack) }
        }
        Event::PublishRefused { publish, reason } => {
            let ack = Ack::new(publish.packet_id?, reason);
            if publish.qos == QoS::AtLeastOnce { Packet::PubAck(ack) } else { Packet::PubRec(ack) }
        }
        Event::PubRec(ack) => Packet::PubRel(Ack::new(ack.packet_id, ReasonCode::Success)),
        Event::PubRel(ack) => Packet::PubComp(Ack::new(ack.packet_id, ReasonCode::Success)),
        Event::Subscribe(subscribe) => Packet::SubAck(SubAck {
            packet_id: subscribe.packet_id,
            properties: Default::default(),
            codes: &[0; 1024][..subscribe.subscriptions.iter().count()],
        }),
        Event::Unsubscribe(unsubscribe) => Packet::UnsubAck(UnsubAck {
            packet_id: unsubscribe.packet_id,
            properties: Default::default(),
            codes: &[0; 1024][..unsubscribe.filters.iter().count()],
        }),
        Event::PingReq => Packet::PingResp,
        Event::Connect(_) | Event::PubAck(_) | Event::PubComp(_) | Event::Disconnect(_) | Event::Auth(_) => {
            return None;
        }
    })
}
