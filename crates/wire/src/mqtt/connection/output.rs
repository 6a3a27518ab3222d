//! What goes to the client: its limits are kept, and what it was sent is counted.

use std::num::NonZeroU32;
use std::time::Duration;

use super::aliases::OutboundAlias;
use super::{Connection, Phase, Wanted};
use crate::mqtt::{
    Ack, AckProperties, ConnAck, Disconnect, EncodeError, Packet, Publish, QoS, SubAck, UnsubAck, Version,
};

/// Why a packet was not written. The buffer is then left as it was, and nothing is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The packet is larger than the client takes. A PUBLISH then counts as delivered
    /// [MQTT-3.1.2-25].
    #[error("the packet is larger than the client takes")]
    TooLarge,
    /// The packet cannot be said.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl Connection {
    /// Answers CONNECT. In MQTT 5.0, success tells the client our receive maximum, maximum packet
    /// size, topic alias maximum and, where it asked for too long a keep alive, ours; a keep alive
    /// that is given already stands. An error ends the connection; 3.1.1 has no word for some.
    ///
    /// # Errors
    /// The client takes no packet as large as this, or it cannot be said: the connection is over
    /// without an answer.
    pub fn answer_connect(
        &mut self,
        connack: ConnAck<'_>,
        now: Duration,
        out: &mut Vec<u8>,
    ) -> Result<(), WriteError> {
        if self.phase != Phase::Connecting {
            return Ok(());
        }
        if connack.reason.is_error() {
            self.end();
            return match self.write(&Packet::ConnAck(Box::new(connack)), out) {
                Err(WriteError::Encode(EncodeError::NotInVersion)) => Ok(()),
                written => written,
            };
        }
        let connack = match self.version {
            Version::V3 => connack,
            Version::V5 => self.with_our_limits(connack),
        };
        self.keep_alive = connack.properties.server_keep_alive.unwrap_or(self.keep_alive);
        let written = self.write(&Packet::ConnAck(Box::new(connack)), out);
        if written.is_err() {
            self.end();
        } else {
            self.phase = Phase::Connected;
            self.restart_keep_alive(now);
        }
        written
    }

    fn with_our_limits<'a>(&self, mut connack: ConnAck<'a>) -> ConnAck<'a> {
        let properties = &mut connack.properties;
        let keep_alive_max = self.options.keep_alive_max;
        if self.keep_alive == 0 || self.keep_alive > keep_alive_max {
            properties.server_keep_alive.get_or_insert(keep_alive_max);
        }
        properties.receive_maximum = Some(self.options.receive_maximum);
        properties.maximum_packet_size = NonZeroU32::new(self.options.limits.packet_size_max);
        properties.topic_alias_maximum = self.options.topic_alias_maximum;
        connack
    }

    /// Appends a packet to the client and counts it: PUBACK, PUBREC and PUBCOMP free the client's
    /// room, PUBLISH with QoS 1 or 2 takes some of ours ([`Connection::send_quota`]).
    /// Reason strings and user properties are left out where the client does not want them or has
    /// no room for them.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn write(&mut self, packet: &Packet<'_>, out: &mut Vec<u8>) -> Result<(), WriteError> {
        let bare = without_problem_information(packet);
        match &bare {
            Some(bare) if self.client.problem_information == Wanted::No => self.write_if_fits(bare, out)?,
            Some(bare) => {
                if let Err(WriteError::TooLarge) = self.write_if_fits(packet, out) {
                    self.write_if_fits(bare, out)?;
                }
            }
            None => self.write_if_fits(packet, out)?,
        }
        self.count(packet);
        Ok(())
    }

    /// Appends a PUBLISH like [`Connection::write`], with a topic alias where the client allows one
    /// and the packet has room for it.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn write_publish(&mut self, publish: &Publish<'_>, out: &mut Vec<u8>) -> Result<(), WriteError> {
        let alias = self.aliases.outbound(publish.topic, &self.options);
        let mut aliased = publish.clone();
        match alias {
            OutboundAlias::None => return self.write(&Packet::Publish(aliased), out),
            OutboundAlias::Known(known) => {
                aliased.topic = "";
                aliased.properties.topic_alias = Some(known);
            }
            OutboundAlias::New(new) => aliased.properties.topic_alias = Some(new),
        }
        match self.write(&Packet::Publish(aliased), out) {
            // An alias is ours to leave out; the message is not [MQTT-3.1.2-24].
            Err(WriteError::TooLarge) => return self.write(&Packet::Publish(publish.clone()), out),
            written => written?,
        }
        if matches!(alias, OutboundAlias::New(_)) {
            self.aliases.learned(publish.topic);
        }
        Ok(())
    }

    /// Acknowledges a QoS 2 PUBLISH whose packet id was in flight already, with PUBREC: unlike the
    /// first, it takes no more room.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn write_pubrec_again(&mut self, ack: &Ack<'_>, out: &mut Vec<u8>) -> Result<(), WriteError> {
        let held = self.held;
        self.write(&Packet::PubRec(ack.clone()), out)?;
        self.held = held;
        Ok(())
    }

    /// Ends the connection, with DISCONNECT where the client can be told.
    ///
    /// # Errors
    /// See [`WriteError`]; the connection is over all the same.
    pub fn close(&mut self, disconnect: &Disconnect<'_>, out: &mut Vec<u8>) -> Result<(), WriteError> {
        let tell = self.phase == Phase::Connected && self.version == Version::V5;
        self.end();
        if tell { self.write(&Packet::Disconnect(disconnect.clone()), out) } else { Ok(()) }
    }

    /// QoS 1 and 2 PUBLISH that may be sent now without exceeding what the client takes.
    #[must_use]
    pub fn send_quota(&self) -> u16 {
        self.client.receive_maximum.min(self.options.send_maximum).saturating_sub(self.sent)
    }

    /// Does the client take a packet of this many bytes? For PUBLISH that were encoded once for many.
    #[must_use]
    pub fn fits(&self, size: usize) -> bool {
        size <= self.client.packet_size_max as usize
    }

    /// Counts a PUBLISH that was sent without [`Connection::write`], or a PUBREL that was sent
    /// again for a PUBLISH of an earlier connection.
    pub fn publish_sent(&mut self, qos: QoS) {
        if qos != QoS::AtMostOnce {
            self.sent = self.sent.saturating_add(1);
        }
    }

    fn write_if_fits(&self, packet: &Packet<'_>, out: &mut Vec<u8>) -> Result<(), WriteError> {
        let start = out.len();
        packet.encode(self.version, out)?;
        if self.fits(out.len() - start) {
            return Ok(());
        }
        out.truncate(start);
        Err(WriteError::TooLarge)
    }

    fn count(&mut self, packet: &Packet<'_>) {
        match packet {
            Packet::Publish(publish) => self.publish_sent(publish.qos),
            Packet::PubAck(_) => self.owed = self.owed.saturating_sub(1),
            Packet::PubRec(ack) => {
                self.owed = self.owed.saturating_sub(1);
                if !ack.reason.is_error() {
                    self.held = self.held.saturating_add(1);
                }
            }
            Packet::PubComp(ack) if !ack.reason.is_error() => self.held = self.held.saturating_sub(1),
            _ => {}
        }
    }
}

/// The same packet without reason string and user properties; `None` if they stay in any case
/// ([MQTT-3.1.2-29]) or there are none.
fn without_problem_information<'a>(packet: &Packet<'a>) -> Option<Packet<'a>> {
    let properties = AckProperties::default();
    let bare = |ack: &Ack<'a>| Ack::new(ack.packet_id, ack.reason);
    let without = match packet {
        Packet::PubAck(ack) => Packet::PubAck(bare(ack)),
        Packet::PubRec(ack) => Packet::PubRec(bare(ack)),
        Packet::PubRel(ack) => Packet::PubRel(bare(ack)),
        Packet::PubComp(ack) => Packet::PubComp(bare(ack)),
        Packet::SubAck(ack) => Packet::SubAck(SubAck { properties, ..ack.clone() }),
        Packet::UnsubAck(ack) => Packet::UnsubAck(UnsubAck { properties, ..ack.clone() }),
        _ => return None,
    };
    (without != *packet).then_some(without)
}
