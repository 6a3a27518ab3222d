//! Answers that wait until what they acknowledge is durable, in the order in which they are owed.

use std::collections::{BTreeSet, VecDeque};
use std::num::NonZeroU16;

use roost_hub::storage::Position;
use roost_wire::mqtt::{Ack, AckProperties, Connection, Packet, ReasonCode, SubAck, UnsubAck, WriteError};

/// A queue that grew beyond this is given back once it is empty.
const CAPACITY_KEPT: usize = 64;

/// An answer to one packet.
#[derive(Debug)]
pub(super) enum Reply {
    PubAck(NonZeroU16, ReasonCode),
    PubRec(NonZeroU16, ReasonCode),
    PubRel(NonZeroU16, ReasonCode),
    PubComp(NonZeroU16, ReasonCode),
    /// With words for the client's maker.
    PubAckWithText(Box<(NonZeroU16, ReasonCode, String)>),
    PubRecWithText(Box<(NonZeroU16, ReasonCode, String)>),
    SubAck(NonZeroU16, Box<[u8]>),
    /// With words for the client's maker.
    SubAckWithText(Box<(NonZeroU16, Box<[u8]>, String)>),
    UnsubAck(NonZeroU16, Box<[u8]>),
}

/// The answers that are owed.
#[derive(Debug, Default)]
pub(super) struct Replies {
    queue: VecDeque<(Position, Reply)>,
    /// QoS 2 messages of this connection between PUBREC and PUBCOMP.
    held: BTreeSet<NonZeroU16>,
}

impl Replies {
    /// Owes an answer, or writes it at once when nothing keeps it back.
    pub(super) fn owe(
        &mut self,
        reply: Reply,
        position: Position,
        durable: Position,
        writer: &mut ReplyWriter<'_>,
    ) -> Result<(), WriteError> {
        if self.queue.is_empty() && position <= durable {
            return self.write(&reply, writer);
        }
        self.queue.push_back((position, reply));
        Ok(())
    }

    /// Writes the answers that nothing keeps back any more, in order [MQTT-4.6.0-2].
    pub(super) fn release(
        &mut self,
        durable: Position,
        writer: &mut ReplyWriter<'_>,
    ) -> Result<(), WriteError> {
        while let Some((_, reply)) = self.queue.pop_front_if(|(position, _)| *position <= durable) {
            self.write(&reply, writer)?;
        }
        if self.queue.is_empty() && self.queue.capacity() > CAPACITY_KEPT {
            self.queue = VecDeque::new();
        }
        Ok(())
    }

    /// Whether nothing is owed, and no QoS 2 message is half-way.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.held.is_empty()
    }

    /// What the first answer waits for.
    pub(super) fn next(&self) -> Option<Position> {
        self.queue.front().map(|(position, _)| *position)
    }

    fn write(&mut self, reply: &Reply, writer: &mut ReplyWriter<'_>) -> Result<(), WriteError> {
        let ReplyWriter { protocol, out } = writer;
        let ack = |id: &NonZeroU16, reason: &ReasonCode| Ack::new(*id, *reason);
        let packet = match reply {
            Reply::PubAck(id, reason) => Packet::PubAck(ack(id, reason)),
            Reply::PubRec(id, reason) => {
                if !reason.is_error() && !self.hold(*id) {
                    return protocol.write_pubrec_again(&ack(id, reason), out);
                }
                Packet::PubRec(ack(id, reason))
            }
            Reply::PubRel(id, reason) => Packet::PubRel(ack(id, reason)),
            Reply::PubComp(id, reason) => {
                self.let_go(*id);
                Packet::PubComp(ack(id, reason))
            }
            Reply::PubAckWithText(refused) => Packet::PubAck(with_text(refused)),
            Reply::PubRecWithText(refused) => Packet::PubRec(with_text(refused)),
            Reply::SubAck(id, codes) => {
                let properties = AckProperties::default();
                Packet::SubAck(SubAck { packet_id: *id, properties, codes })
            }
            Reply::SubAckWithText(refused) => {
                let (id, codes, text) = &**refused;
                let properties =
                    AckProperties { reason_string: Some(text.as_str()), ..AckProperties::default() };
                Packet::SubAck(SubAck { packet_id: *id, properties, codes })
            }
            Reply::UnsubAck(id, codes) => {
                let properties = AckProperties::default();
                Packet::UnsubAck(UnsubAck { packet_id: *id, properties, codes })
            }
        };
        protocol.write(&packet, out)
    }

    /// Whether PUBREC is said for the first time.
    fn hold(&mut self, id: NonZeroU16) -> bool {
        self.held.insert(id)
    }

    fn let_go(&mut self, id: NonZeroU16) {
        self.held.remove(&id);
    }
}

/// Where answers go.
pub(super) struct ReplyWriter<'a> {
    pub(super) protocol: &'a mut Connection,
    pub(super) out: &'a mut Vec<u8>,
}

fn with_text(refused: &(NonZeroU16, ReasonCode, String)) -> Ack<'_> {
    let (id, reason, text) = refused;
    let mut ack = Ack::new(*id, *reason);
    ack.properties.reason_string = Some(text);
    ack
}
