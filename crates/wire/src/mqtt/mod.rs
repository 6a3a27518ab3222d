//! MQTT 3.1.1 and 5.0: packets to values and back, both directions.
//!
//! No IO, no clock, no allocation for a PUBLISH: a decoded packet borrows from the read buffer.
//! [`decode()`] and [`Packet::encode`] know nothing of what came before; [`Connection`] is the state
//! that one server-side connection needs. Sessions (which packet ids are in flight) live elsewhere.

mod ack;
mod auth;
mod connack;
mod connect;
pub mod connection;
mod decode;
mod disconnect;
mod encode;
mod fault;
pub mod filter;
mod limits;
mod properties;
mod publish;
mod reader;
mod reason;
mod source;
mod suback;
mod subscribe;
mod topic;
mod unsuback;
mod unsubscribe;
mod writer;

pub use ack::{Ack, AckProperties};
pub use auth::{Auth, AuthProperties};
pub use connack::{ConnAck, ConnAckProperties};
pub use connect::{Connect, ConnectProperties, Will, WillProperties};
pub use connection::{Connection, ConnectionError, ConnectionOptions, Event, Input, WriteError};
pub use decode::{Decoded, ForeignProtocol, decode, foreign_protocol};
pub use disconnect::{Disconnect, DisconnectProperties};
pub use fault::DecodeError;
pub use limits::Limits;
pub use properties::{PayloadFormat, SubscriptionIdentifiers, UserProperties};
pub use publish::{PacketIdPosition, Publish, PublishProperties, mark_duplicate};
pub use reason::ReasonCode;
pub use suback::SubAck;
pub use subscribe::{
    RetainHandling, Subscribe, SubscribeProperties, Subscription, SubscriptionOptions, Subscriptions,
};
pub use topic::name_is_valid;
pub use unsuback::UnsubAck;
pub use unsubscribe::{Filters, Unsubscribe};
pub use writer::EncodeError;

/// A protocol version that is spoken here. MQTT 3.1 (`MQIsdp`, level 3) is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// MQTT 3.1.1, protocol level 4.
    V3,
    /// MQTT 5.0, protocol level 5.
    V5,
}

impl Version {
    /// The protocol level byte of CONNECT: 4 or 5.
    #[must_use]
    pub fn level(self) -> u8 {
        match self {
            Self::V3 => 4,
            Self::V5 => 5,
        }
    }
}

/// How hard a message is delivered. The order is that of the wire: 0, 1, 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QoS {
    /// QoS 0.
    #[default]
    AtMostOnce = 0,
    /// QoS 1.
    AtLeastOnce = 1,
    /// QoS 2.
    ExactlyOnce = 2,
}

impl QoS {
    /// The QoS of two bits; `None` for the reserved value 3 (and anything above).
    #[must_use]
    pub fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    /// 0, 1 or 2.
    #[must_use]
    pub fn bits(self) -> u8 {
        self as u8
    }
}

/// One control packet, in either direction.
#[derive(Clone, Debug, PartialEq)]
pub enum Packet<'a> {
    /// Section 3.1. Boxed: it is large and comes once per connection.
    Connect(Box<Connect<'a>>),
    /// Section 3.2. Boxed for the same reason.
    ConnAck(Box<ConnAck<'a>>),
    /// Section 3.3.
    Publish(Publish<'a>),
    /// Section 3.4: answers a QoS 1 PUBLISH.
    PubAck(Ack<'a>),
    /// Section 3.5: first answer to a QoS 2 PUBLISH.
    PubRec(Ack<'a>),
    /// Section 3.6: answers PUBREC.
    PubRel(Ack<'a>),
    /// Section 3.7: answers PUBREL.
    PubComp(Ack<'a>),
    /// Section 3.8.
    Subscribe(Subscribe<'a>),
    /// Section 3.9.
    SubAck(SubAck<'a>),
    /// Section 3.10.
    Unsubscribe(Unsubscribe<'a>),
    /// Section 3.11.
    UnsubAck(UnsubAck<'a>),
    /// Section 3.12.
    PingReq,
    /// Section 3.13.
    PingResp,
    /// Section 3.14.
    Disconnect(Disconnect<'a>),
    /// Section 3.15: MQTT 5.0 only.
    Auth(Auth<'a>),
}

/// Packet types, as in the high four bits of the first byte (section 2.1.2).
mod kind {
    pub(super) const CONNECT: u8 = 1;
    pub(super) const CONNACK: u8 = 2;
    pub(super) const PUBLISH: u8 = 3;
    pub(super) const PUBACK: u8 = 4;
    pub(super) const PUBREC: u8 = 5;
    pub(super) const PUBREL: u8 = 6;
    pub(super) const PUBCOMP: u8 = 7;
    pub(super) const SUBSCRIBE: u8 = 8;
    pub(super) const SUBACK: u8 = 9;
    pub(super) const UNSUBSCRIBE: u8 = 10;
    pub(super) const UNSUBACK: u8 = 11;
    pub(super) const PINGREQ: u8 = 12;
    pub(super) const PINGRESP: u8 = 13;
    pub(super) const DISCONNECT: u8 = 14;
    pub(super) const AUTH: u8 = 15;
}
