//! From a packet to bytes.

use super::writer::{EncodeError, Writer};
use super::{Packet, Version, kind};

impl Packet<'_> {
    /// Appends the packet. What a version has no word for is left out: properties and reasons of
    /// acknowledgements in 3.1.1. CONNECT is written in its own version.
    ///
    /// # Errors
    /// See [`EncodeError`]; the buffer is then left as it was.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if let Packet::Publish(publish) = self {
            return publish.encode(version, out);
        }
        let mut writer = Writer::new(out);
        writer.u8(self.first_byte());
        writer.sized(|writer| self.write_body(version, writer));
        writer.finish()
    }

    fn first_byte(&self) -> u8 {
        let (packet_kind, flags) = match self {
            Packet::Connect(_) => (kind::CONNECT, 0),
            Packet::ConnAck(_) => (kind::CONNACK, 0),
            Packet::Publish(_) => (kind::PUBLISH, 0),
            Packet::PubAck(_) => (kind::PUBACK, 0),
            Packet::PubRec(_) => (kind::PUBREC, 0),
            Packet::PubRel(_) => (kind::PUBREL, 2),
            Packet::PubComp(_) => (kind::PUBCOMP, 0),
            Packet::Subscribe(_) => (kind::SUBSCRIBE, 2),
            Packet::SubAck(_) => (kind::SUBACK, 0),
            Packet::Unsubscribe(_) => (kind::UNSUBSCRIBE, 2),
            Packet::UnsubAck(_) => (kind::UNSUBACK, 0),
            Packet::PingReq => (kind::PINGREQ, 0),
            Packet::PingResp => (kind::PINGRESP, 0),
            Packet::Disconnect(_) => (kind::DISCONNECT, 0),
            Packet::Auth(_) => (kind::AUTH, 0),
        };
        packet_kind << 4 | flags
    }

    fn write_body(&self, version: Version, writer: &mut Writer<'_>) {
        match self {
            Packet::Connect(connect) => connect.write(writer),
            Packet::ConnAck(connack) => connack.write(version, writer),
            Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
                ack.write(version, writer)
            }
            Packet::Subscribe(subscribe) => subscribe.write(version, writer),
            Packet::SubAck(suback) => suback.write(version, writer),
            Packet::Unsubscribe(unsubscribe) => unsubscribe.write(version, writer),
            Packet::UnsubAck(unsuback) => unsuback.write(version, writer),
            Packet::Disconnect(disconnect) => disconnect.write(version, writer),
            Packet::Auth(auth) if version == Version::V5 => auth.write(writer),
            Packet::Auth(_) => writer.fail(EncodeError::NotInVersion),
            // PUBLISH has its own way, see `encode`.
            Packet::Publish(_) | Packet::PingReq | Packet::PingResp => {}
        }
    }
}
