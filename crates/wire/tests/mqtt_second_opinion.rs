//! What we write, another implementation reads; and what it writes again, we read as the same packet.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "mqtt/generate.rs"]
mod generate;

use mqtt5_protocol::packet::{FixedHeader, MqttPacket, Packet as Theirs, PacketType};
use proptest::prelude::*;
use roost_wire::mqtt::{Decoded, Limits, Packet, Version, decode};

fn read_and_write_again(mut bytes: &[u8], version: Version) -> Vec<u8> {
    let header = FixedHeader::decode(&mut bytes).unwrap();
    let packet =
        Theirs::decode_from_body_with_version(header.packet_type, &header, &mut bytes, version.level());
    let mut out = Vec::new();
    match packet.unwrap() {
        Theirs::Connect(packet) => packet.encode(&mut out),
        Theirs::ConnAck(packet) => packet.encode(&mut out),
        Theirs::Publish(packet) => packet.encode(&mut out),
        Theirs::PubAck(packet) => packet.encode(&mut out),
        Theirs::PubRec(packet) => packet.encode(&mut out),
        Theirs::PubRel(packet) => packet.encode(&mut out),
        Theirs::PubComp(packet) => packet.encode(&mut out),
        Theirs::Subscribe(packet) => packet.encode(&mut out),
        Theirs::SubAck(packet) => packet.encode(&mut out),
        Theirs::Unsubscribe(packet) => packet.encode(&mut out),
        Theirs::UnsubAck(packet) => packet.encode(&mut out),
        Theirs::PingReq => FixedHeader::new(PacketType::PingReq, 0, 0).encode(&mut out),
        Theirs::PingResp => FixedHeader::new(PacketType::PingResp, 0, 0).encode(&mut out),
        Theirs::Disconnect(packet) => packet.encode(&mut out),
        Theirs::Auth(packet) => packet.encode(&mut out),
    }
    .unwrap();
    out
}

/// Where we read the specification otherwise than they do.
fn is_disputed(packet: &Packet<'_>) -> bool {
    match packet {
        // 5.0 allows it: section 3.1.2.9.
        Packet::Connect(connect) => connect.password.is_some() && connect.username.is_none(),
        _ => false,
    }
}

fn check(packet: &Packet<'_>, version: Version) -> Result<(), TestCaseError> {
    if is_disputed(packet) {
        return Ok(());
    }
    let mut ours = Vec::new();
    packet.encode(version, &mut ours).unwrap();
    let theirs = read_and_write_again(&ours, version);
    let reading = (!matches!(packet, Packet::Connect(_))).then_some(version);
    let Decoded::Packet { packet: again, length } = decode(&theirs, reading, &Limits::default()).unwrap()
    else {
        panic!("{packet:?} came back as a part");
    };
    prop_assert_eq!(length, theirs.len());
    prop_assert_eq!(&again, packet);
    Ok(())
}

proptest! {
    #[test]
    fn another_implementation_agrees_on_every_packet_of_5_0(packet in generate::packet(Version::V5)) {
        check(&packet, Version::V5)?;
    }

    #[test]
    fn another_implementation_agrees_on_every_packet_of_3_1_1(packet in generate::packet(Version::V3)) {
        check(&packet, Version::V3)?;
    }
}
