//! From the read buffer to one packet.

use super::ack::Ack;
use super::auth::Auth;
use super::connack::ConnAck;
use super::connect::Connect;
use super::disconnect::Disconnect;
use super::fault::{self, DecodeError};
use super::limits::Limits;
use super::publish::Publish;
use super::reader::{self, Reader};
use super::suback::SubAck;
use super::subscribe::Subscribe;
use super::unsuback::UnsubAck;
use super::unsubscribe::Unsubscribe;
use super::{Packet, Version, kind};

/// What the beginning of a buffer holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Decoded<'a> {
    /// A whole packet.
    Packet {
        /// Borrows from the buffer.
        packet: Packet<'a>,
        /// Bytes of the buffer that it took.
        length: usize,
    },
    /// A part of a packet, so far well-formed.
    NeedMore {
        /// Bytes that the buffer must hold before it is worth another try; always more than it holds.
        at_least: usize,
    },
}

/// Decodes the packet at the beginning of `buffer`.
///
/// `version` is `None` until CONNECT was seen: then nothing but CONNECT is accepted, and after
/// that CONNECT is refused. Nothing is allocated but the box of CONNECT and CONNACK, and the
/// fixed header is enough to refuse a packet that is too large.
///
/// # Errors
/// The bytes are not MQTT, break one of its rules, or exceed a limit. The connection cannot go on.
pub fn decode<'a>(
    buffer: &'a [u8],
    version: Option<Version>,
    limits: &Limits,
) -> Result<Decoded<'a>, DecodeError> {
    let Some((&first, rest)) = buffer.split_first() else {
        return Ok(Decoded::NeedMore { at_least: 2 });
    };
    check_first_byte(first, version)?;
    let Some((remaining, length_size)) = reader::variable(rest)? else {
        return Ok(Decoded::NeedMore { at_least: buffer.len() + 1 });
    };
    let remaining = remaining as usize;
    let length = 1 + length_size + remaining;
    let size_max = match version {
        None => limits.connect_size_max,
        Some(_) => limits.packet_size_max,
    };
    if length > size_max as usize {
        return Err((&fault::PACKET_TOO_LARGE).into());
    }
    let Some(body) = rest.get(length_size..length_size + remaining) else {
        return Ok(Decoded::NeedMore { at_least: length });
    };
    let reader = Reader::new(body);
    let packet = match version {
        Some(version) => body_of(first, reader, version, limits)?,
        None => Packet::Connect(Box::new(Connect::read(reader, limits)?)),
    };
    Ok(Decoded::Packet { packet, length })
}

/// Types and flags of section 2.1.2 and 2.1.3.
fn check_first_byte(first: u8, version: Option<Version>) -> Result<(), DecodeError> {
    let (packet_kind, flags) = (first >> 4, first & 0x0F);
    match version {
        None if packet_kind != kind::CONNECT => return Err((&fault::NOT_CONNECT).into()),
        Some(_) if packet_kind == kind::CONNECT => return Err((&fault::SECOND_CONNECT).into()),
        Some(Version::V3) if packet_kind == kind::AUTH => return Err((&fault::PACKET_TYPE).into()),
        _ => {}
    }
    let expected = match packet_kind {
        0 => return Err((&fault::PACKET_TYPE).into()),
        kind::PUBLISH => return Ok(()),
        kind::PUBREL | kind::SUBSCRIBE | kind::UNSUBSCRIBE => 0x02,
        _ => 0x00,
    };
    if flags == expected { Ok(()) } else { Err(flags_fault(packet_kind)) }
}

fn flags_fault(packet_kind: u8) -> DecodeError {
    match packet_kind {
        kind::PUBREL => &fault::PUBREL_FLAGS,
        kind::SUBSCRIBE => &fault::SUBSCRIBE_FLAGS,
        kind::UNSUBSCRIBE => &fault::UNSUBSCRIBE_FLAGS,
        kind::DISCONNECT => &fault::DISCONNECT_FLAGS,
        kind::AUTH => &fault::AUTH_FLAGS,
        _ => &fault::FLAGS,
    }
    .into()
}

fn body_of<'a>(
    first: u8,
    reader: Reader<'a>,
    version: Version,
    limits: &Limits,
) -> Result<Packet<'a>, DecodeError> {
    let packet_kind = first >> 4;
    let ack = |reader| Ack::read(packet_kind, reader, version, limits);
    Ok(match packet_kind {
        kind::PUBLISH => Packet::Publish(Publish::read(first & 0x0F, reader, version, limits)?),
        kind::CONNACK => Packet::ConnAck(Box::new(ConnAck::read(reader, version, limits)?)),
        kind::PUBACK => Packet::PubAck(ack(reader)?),
        kind::PUBREC => Packet::PubRec(ack(reader)?),
        kind::PUBREL => Packet::PubRel(ack(reader)?),
        kind::PUBCOMP => Packet::PubComp(ack(reader)?),
        kind::SUBSCRIBE => Packet::Subscribe(Subscribe::read(reader, version, limits)?),
        kind::SUBACK => Packet::SubAck(SubAck::read(reader, version, limits)?),
        kind::UNSUBSCRIBE => Packet::Unsubscribe(Unsubscribe::read(reader, version, limits)?),
        kind::UNSUBACK => Packet::UnsubAck(UnsubAck::read(reader, version, limits)?),
        kind::PINGREQ => {
            reader.finish()?;
            Packet::PingReq
        }
        kind::PINGRESP => {
            reader.finish()?;
            Packet::PingResp
        }
        kind::DISCONNECT => Packet::Disconnect(Disconnect::read(reader, version, limits)?),
        kind::AUTH => Packet::Auth(Auth::read(reader, limits)?),
        _ => return Err((&fault::PACKET_TYPE).into()),
    })
}

/// A protocol that was spoken to an MQTT port by mistake; for a hint in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignProtocol {
    /// A TLS handshake: the client means the other port.
    Tls,
    /// A request of HTTP/1.
    Http,
}

/// Do the first bytes of a connection look like another protocol?
#[must_use]
pub fn foreign_protocol(buffer: &[u8]) -> Option<ForeignProtocol> {
    const METHODS: [&[u8]; 6] = [b"GET ", b"POST ", b"PUT ", b"HEAD ", b"OPTIONS ", b"CONNECT "];
    if buffer.starts_with(&[0x16, 0x03]) {
        return Some(ForeignProtocol::Tls);
    }
    METHODS.iter().any(|method| buffer.starts_with(method)).then_some(ForeignProtocol::Http)
}
