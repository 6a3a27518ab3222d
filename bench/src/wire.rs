//! The little of MQTT 3.1.1 that the generator and the relay speak. It trusts its peer and is no parser for strangers.

use anyhow::{Context, Result, bail};

/// Quality of service, as in MQTT 3.1.1 section 4.3.
#[expect(clippy::enum_variant_names, reason = "the specification's names")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Qos {
    AtMostOnce,
    AtLeastOnce,
    ExactlyOnce,
}

impl Qos {
    pub(crate) fn bits(self) -> u8 {
        match self {
            Qos::AtMostOnce => 0,
            Qos::AtLeastOnce => 1,
            Qos::ExactlyOnce => 2,
        }
    }

    pub(crate) fn from_bits(bits: u8) -> Result<Qos> {
        match bits {
            0 => Ok(Qos::AtMostOnce),
            1 => Ok(Qos::AtLeastOnce),
            2 => Ok(Qos::ExactlyOnce),
            _ => bail!("quality of service {bits} does not exist"),
        }
    }
}

/// First bytes of the packets that carry no flags, MQTT 3.1.1 section 2.2.1.
pub(crate) mod kind {
    pub(crate) const CONNECT: u8 = 0x10;
    pub(crate) const CONNACK: u8 = 0x20;
    pub(crate) const PUBLISH: u8 = 0x30;
    pub(crate) const PUBACK: u8 = 0x40;
    pub(crate) const PUBREC: u8 = 0x50;
    pub(crate) const PUBREL: u8 = 0x62;
    pub(crate) const PUBCOMP: u8 = 0x70;
    pub(crate) const SUBSCRIBE: u8 = 0x82;
    pub(crate) const SUBACK: u8 = 0x90;
    pub(crate) const PINGREQ: u8 = 0xc0;
    pub(crate) const PINGRESP: u8 = 0xd0;
    pub(crate) const DISCONNECT: u8 = 0xe0;
}

/// Whether a session outlives its connection, MQTT 3.1.1 section 3.1.2.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session {
    Clean,
    Persistent,
}

/// What a client shows when it connects.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) client_id: String,
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) session: Session,
}

/// Ten minutes: longer than any run, so that no ping is due inside a measured window.
const KEEP_ALIVE_SECONDS: u16 = 600;

pub(crate) fn encode_connect(login: &Login, out: &mut Vec<u8>) -> Result<()> {
    let texts = [&login.client_id, &login.username, &login.password];
    let length = 10 + texts.iter().map(|text| 2 + text.len()).sum::<usize>();
    encode_header(kind::CONNECT, length, out)?;
    out.extend_from_slice(b"\x00\x04MQTT\x04");
    out.push(if login.session == Session::Clean { 0xc2 } else { 0xc0 });
    out.extend_from_slice(&KEEP_ALIVE_SECONDS.to_be_bytes());
    for text in texts {
        encode_text(text.as_bytes(), out)?;
    }
    Ok(())
}

pub(crate) fn encode_subscribe(
    packet_id: u16,
    filters: &[String],
    qos: Qos,
    out: &mut Vec<u8>,
) -> Result<()> {
    let length = 2 + filters.iter().map(|filter| 3 + filter.len()).sum::<usize>();
    encode_header(kind::SUBSCRIBE, length, out)?;
    out.extend_from_slice(&packet_id.to_be_bytes());
    for filter in filters {
        encode_text(filter.as_bytes(), out)?;
        out.push(qos.bits());
    }
    Ok(())
}

/// A PUBLISH as it is sent or was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Publish<'a> {
    pub(crate) qos: Qos,
    /// Zero with QoS 0, which has none.
    pub(crate) packet_id: u16,
    pub(crate) topic: &'a [u8],
    pub(crate) payload: &'a [u8],
}

pub(crate) fn encode_publish(publish: &Publish<'_>, out: &mut Vec<u8>) -> Result<()> {
    let id_length = if publish.qos == Qos::AtMostOnce { 0 } else { 2 };
    let length = 2 + publish.topic.len() + id_length + publish.payload.len();
    encode_header(kind::PUBLISH | (publish.qos.bits() << 1), length, out)?;
    encode_text(publish.topic, out)?;
    if publish.qos != Qos::AtMostOnce {
        out.extend_from_slice(&publish.packet_id.to_be_bytes());
    }
    out.extend_from_slice(publish.payload);
    Ok(())
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
pub(crate) fn encode_ack(kind: u8, packet_id: u16, out: &mut Vec<u8>) {
    let [high, low] = packet_id.to_be_bytes();
    out.extend_from_slice(&[kind, 2, high, low]);
}

fn encode_header(first: u8, length: usize, out: &mut Vec<u8>) -> Result<()> {
    out.push(first);
    let mut rest = u32::try_from(length)?;
    loop {
        let low = u8::try_from(rest & 0x7f)?;
        rest >>= 7;
        if rest == 0 {
            out.push(low);
            return Ok(());
        }
        out.push(low | 0x80);
    }
}

fn encode_text(text: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let length = u16::try_from(text.len()).context("a text is longer than 65,535 bytes")?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text);
    Ok(())
}

/// One whole packet in a read buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) first: u8,
    pub(crate) body: &'a [u8],
    /// Header and body, for passing on unchanged.
    pub(crate) whole: &'a [u8],
}

/// Splits the first packet off; `None` when it has not all arrived.
pub(crate) fn next_frame(input: &[u8]) -> Result<Option<(Frame<'_>, &[u8])>> {
    let Some((&first, after_first)) = input.split_first() else {
        return Ok(None);
    };
    let mut length = 0_usize;
    for (index, byte) in after_first.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let header_length = index + 2;
            let Some((whole, rest)) = input.split_at_checked(header_length + length) else {
                return Ok(None);
            };
            let body = whole.get(header_length..).unwrap_or_default();
            return Ok(Some((Frame { first, body, whole }, rest)));
        }
    }
    if after_first.len() >= 4 {
        bail!("a remaining length of more than four bytes arrived");
    }
    Ok(None)
}

impl<'a> Frame<'a> {
    pub(crate) fn is_publish(&self) -> bool {
        self.first & 0xf0 == kind::PUBLISH
    }

    pub(crate) fn publish(&self) -> Result<Publish<'a>> {
        let qos = Qos::from_bits((self.first >> 1) & 3)?;
        let (topic, rest) = split_text(self.body)?;
        let (packet_id, payload) = if qos == Qos::AtMostOnce { (0, rest) } else { split_u16(rest)? };
        Ok(Publish { qos, packet_id, topic, payload })
    }

    /// The packet id at the start of an acknowledgement or a SUBSCRIBE, and what follows it.
    pub(crate) fn packet_id(&self) -> Result<(u16, &'a [u8])> {
        split_u16(self.body)
    }
}

pub(crate) fn split_u16(input: &[u8]) -> Result<(u16, &[u8])> {
    let (bytes, rest) = input.split_first_chunk::<2>().context("a packet ends inside a number")?;
    Ok((u16::from_be_bytes(*bytes), rest))
}

pub(crate) fn split_text(input: &[u8]) -> Result<(&[u8], &[u8])> {
    let (length, rest) = split_u16(input)?;
    rest.split_at_checked(usize::from(length)).context("a packet ends inside a text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connect_is_encoded_as_section_3_1_says() {
        let login = Login {
            client_id: "c1".into(),
            username: "u".into(),
            password: "p".into(),
            session: Session::Clean,
        };
        let mut out = Vec::new();
        encode_connect(&login, &mut out).unwrap();
        assert_eq!(out, b"\x10\x14\x00\x04MQTT\x04\xc2\x02\x58\x00\x02c1\x00\x01u\x00\x01p");
    }

    #[test]
    fn a_subscribe_carries_each_filter_with_its_qos() {
        let mut out = Vec::new();
        encode_subscribe(7, &["a/+".into(), "b".into()], Qos::AtLeastOnce, &mut out).unwrap();
        assert_eq!(out, b"\x82\x0c\x00\x07\x00\x03a/+\x01\x00\x01b\x01");
    }

    #[test]
    fn a_publish_comes_back_as_it_went_and_waits_for_its_last_byte() {
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let packet_id = if qos == Qos::AtMostOnce { 0 } else { 513 };
            let publish = Publish { qos, packet_id, topic: b"bench/1", payload: &[9; 200] };
            let mut out = Vec::new();
            encode_publish(&publish, &mut out).unwrap();
            for cut in 0..out.len() {
                assert_eq!(next_frame(&out[..cut]).unwrap(), None);
            }
            out.push(0xaa);
            let (frame, rest) = next_frame(&out).unwrap().unwrap();
            assert_eq!(frame.publish().unwrap(), publish);
            assert_eq!(rest, [0xaa]);
        }
    }

    #[test]
    fn a_fifth_length_byte_is_refused() {
        assert!(next_frame(&[0x30, 0xff, 0xff, 0xff, 0xff, 1]).is_err());
    }
}
