//! How a connection that went wrong says goodbye.

use crate::mqtt::reader::Reader;
use crate::mqtt::{ConnAck, DecodeError, Disconnect, Packet, ReasonCode, Version, connack};

/// The end of a connection by the client's fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionError {
    error: DecodeError,
    farewell: Farewell,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Farewell {
    Silence,
    ConnAck(Version, ReasonCode),
    /// MQTT 5.0 only.
    Disconnect(ReasonCode),
}

impl ConnectionError {
    /// What was broken: reason, statement and words.
    #[must_use]
    pub fn error(&self) -> DecodeError {
        self.error
    }

    /// The reason, whether or not the client is told.
    #[must_use]
    pub fn reason(&self) -> ReasonCode {
        self.error.reason()
    }

    /// Appends the last packet of the connection: CONNACK, DISCONNECT or nothing.
    pub fn write_farewell(&self, out: &mut Vec<u8>) {
        let (version, packet) = match self.farewell {
            Farewell::Silence => return,
            Farewell::ConnAck(version, reason) => {
                (version, Packet::ConnAck(Box::new(ConnAck { reason, ..ConnAck::default() })))
            }
            Farewell::Disconnect(reason) => (Version::V5, Packet::Disconnect(Disconnect::new(reason))),
        };
        // A reason that 3.1.1 has no word for is not said: nothing is written then.
        packet.encode(version, out).ok();
    }

    pub(super) fn silent(error: DecodeError) -> Self {
        Self { error, farewell: Farewell::Silence }
    }

    pub(super) fn with_disconnect(error: DecodeError) -> Self {
        Self { error, farewell: Farewell::Disconnect(error.reason()) }
    }

    pub(super) fn with_connack(error: DecodeError, version: Version) -> Self {
        let reason = match error.reason() {
            reason if connack::belongs(reason) => reason,
            _ => ReasonCode::MalformedPacket,
        };
        Self { error, farewell: Farewell::ConnAck(version, reason) }
    }

    /// A refused CONNECT is answered in the version that it announces, if it got as far as that.
    pub(super) fn before_connect(error: DecodeError, buffer: &[u8]) -> Self {
        match announced_level(buffer) {
            None => Self::silent(error),
            // A level from before 3.1.1 or after 5.0 is answered in the version next to it.
            Some(..=4) => Self::with_connack(error, Version::V3),
            Some(5..) => Self::with_connack(error, Version::V5),
        }
    }
}

impl std::fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for ConnectionError {}

/// The protocol level of a buffer that begins as CONNECT does, whatever follows.
fn announced_level(buffer: &[u8]) -> Option<u8> {
    let mut reader = Reader::new(buffer);
    let first = reader.u8().ok()?;
    reader.variable().ok()?;
    let name = reader.binary().ok()?;
    let is_connect = first == crate::mqtt::kind::CONNECT << 4 && name == b"MQTT";
    is_connect.then(|| reader.u8().ok())?
}
