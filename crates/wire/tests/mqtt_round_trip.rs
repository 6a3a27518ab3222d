//! What is written is read again, however the bytes are cut; and no bytes do harm.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "mqtt/generate.rs"]
mod generate;

use proptest::prelude::*;
use roost_wire::mqtt::{Decoded, Limits, Packet, Publish, QoS, Version, decode, mark_duplicate};

/// CONNECT is read before the version is known, everything else after.
fn reading_version(packet: &Packet<'_>, version: Version) -> Option<Version> {
    (!matches!(packet, Packet::Connect(_))).then_some(version)
}

fn check_round_trip(packet: &Packet<'_>, version: Version) -> Result<(), TestCaseError> {
    let limits = Limits::default();
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes).unwrap();
    let reading = reading_version(packet, version);
    for cut in 0..bytes.len() {
        let part = bytes.get(..cut).unwrap();
        match decode(part, reading, &limits).unwrap() {
            Decoded::NeedMore { at_least } => prop_assert!(cut < at_least && at_least <= bytes.len().max(2)),
            whole @ Decoded::Packet { .. } => prop_assert!(false, "{whole:?} from {cut} bytes"),
        }
    }
    let length = bytes.len();
    bytes.extend([0xC0, 0x00]);
    let Decoded::Packet { packet: read, length: consumed } = decode(&bytes, reading, &limits).unwrap() else {
        panic!("{packet:?} is not complete");
    };
    prop_assert_eq!(consumed, length);
    prop_assert_eq!(&read, packet);
    let mut again = Vec::new();
    read.encode(version, &mut again).unwrap();
    prop_assert_eq!(again.as_slice(), bytes.get(..length).unwrap());
    Ok(())
}

proptest! {
    #[test]
    fn every_packet_of_5_0_survives_being_cut_at_every_byte(packet in generate::packet(Version::V5)) {
        check_round_trip(&packet, Version::V5)?;
    }

    #[test]
    fn every_packet_of_3_1_1_survives_being_cut_at_every_byte(packet in generate::packet(Version::V3)) {
        check_round_trip(&packet, Version::V3)?;
    }

    #[test]
    fn any_bytes_are_a_packet_or_a_part_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for version in [None, Some(Version::V3), Some(Version::V5)] {
            if let Ok(Decoded::Packet { length, .. }) = decode(&bytes, version, &Limits::default()) {
                prop_assert!(length <= bytes.len());
            }
        }
    }

    #[test]
    fn a_damaged_packet_is_a_packet_or_a_part_or_an_error(
        packet in generate::packet(Version::V5),
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
    ) {
        let mut bytes = Vec::new();
        packet.encode(Version::V5, &mut bytes).unwrap();
        let at = at.index(bytes.len());
        *bytes.get_mut(at).unwrap() = value;
        for version in [None, Some(Version::V3), Some(Version::V5)] {
            if let Ok(Decoded::Packet { packet, .. }) = decode(&bytes, version, &Limits::default()) {
                // Whatever is read can be said again.
                packet.encode(version.unwrap_or(Version::V5), &mut Vec::new()).unwrap();
            }
        }
    }

    #[test]
    fn one_encoding_serves_many_subscribers(
        publish in generate::publish(Version::V5),
        id in generate::packet_id(),
    ) {
        let shared = Publish { dup: false, packet_id: None, ..publish.clone() };
        let mut bytes = Vec::new();
        let position = shared.encode_head(Version::V5, &mut bytes).unwrap();
        bytes.extend_from_slice(shared.payload);
        prop_assert_eq!(position.is_some(), shared.qos != QoS::AtMostOnce);
        if let Some(position) = position {
            position.set(&mut bytes, id);
            mark_duplicate(&mut bytes);
        }
        let expected = Publish {
            dup: position.is_some(),
            packet_id: position.map(|_| id),
            ..publish
        };
        let mut whole = Vec::new();
        expected.encode(Version::V5, &mut whole).unwrap();
        prop_assert_eq!(bytes, whole);
    }
}
