//! Raw bytes that no client should send, and what becomes of who does.

use roost_wire::mqtt::{ReasonCode, Version};

use crate::common::World;

/// CONNECT of the device `s1` with client id `c`, as bytes.
fn connect_bytes(level: u8) -> Vec<u8> {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', level, 0xC2, 0, 60];
    if level == 5 {
        body.push(0);
    }
    for text in ["c", "s1", crate::common::TOKEN] {
        body.extend_from_slice(&u16::try_from(text.len()).unwrap().to_be_bytes());
        body.extend_from_slice(text.as_bytes());
    }
    let mut bytes = vec![0x10, u8::try_from(body.len()).unwrap()];
    bytes.extend(body);
    bytes
}

/// What the server says before it closes.
async fn before_log_in(world: &World, bytes: &[u8]) -> Vec<u8> {
    let mut client = world.client().await;
    client.bytes(bytes).await;
    client.rest().await
}

/// After log-in, these bytes close the connection; with MQTT 5 the reason is said.
async fn closes(world: &World, bytes: &[u8], reason: ReasonCode) {
    let mut modern = world.connected(Version::V5).await;
    modern.bytes(bytes).await;
    let mut said = ReasonCode::Success;
    while !said.is_error() {
        said = modern.expect_reason().await;
    }
    assert_eq!(said, reason, "{bytes:x?}");
    assert_eq!(modern.rest().await, b"", "{bytes:x?}");
}

/// After log-in with 3.1.1, these bytes close the connection without a word.
async fn closes_silently(world: &World, bytes: &[u8]) {
    let mut client = world.connected(Version::V3).await;
    client.bytes(bytes).await;
    assert_eq!(client.rest().await, b"", "{bytes:x?}");
}

#[tokio::test]
async fn m_03_a_first_packet_that_is_not_connect_closes_without_reply() {
    let world = World::new().await;
    for bytes in [&b"\x40\x02\x00\x01"[..], b"\x30\x03\x00\x01t", b"\x00", b"\xF0\x00", b"\xC0\x00"] {
        assert_eq!(before_log_in(&world, bytes).await, b"", "{bytes:x?}");
    }
}

#[tokio::test]
async fn m_04_a_length_beyond_reason_is_refused_on_the_header() {
    let world = World::new().await;
    assert_eq!(before_log_in(&world, b"\x10\xFF\xFF\xFF\x7F").await, b"");
}

#[tokio::test]
async fn m_05_a_malformed_length_closes() {
    let world = World::new().await;
    assert_eq!(before_log_in(&world, b"\x10\xFF\xFF\xFF\xFF\x7F").await, b"");
    closes(&world, b"\x82\xFF\xFF\xFF\xFF\x7F", ReasonCode::MalformedPacket).await;
    closes(&world, b"\x82\x80\x00", ReasonCode::MalformedPacket).await;
}

#[tokio::test]
async fn m_06_another_protocol_on_the_port_is_closed() {
    let world = World::new().await;
    assert_eq!(before_log_in(&world, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await, b"");
    assert_eq!(before_log_in(&world, b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03").await, b"");
}

#[tokio::test]
async fn m_07_a_foreign_protocol_name_closes() {
    let world = World::new().await;
    for name in ["MQIsdp", "mqtt", "MQTTX"] {
        let mut bytes =
            vec![0x10, u8::try_from(name.len()).unwrap() + 9, 0, u8::try_from(name.len()).unwrap()];
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b"\x04\x02\x00\x3C\x00\x01c");
        let said = before_log_in(&world, &bytes).await;
        assert!(said.is_empty() || said[0] == 0x20, "{name} {said:x?}");
    }
}

#[tokio::test]
async fn m_08_an_unknown_level_is_told_so() {
    let world = World::new().await;
    for level in [0, 6, 255] {
        let said = before_log_in(&world, &connect_bytes(level)).await;
        let expected: &[u8] = if level == 0 { b"\x20\x02\x00\x01" } else { b"\x20\x03\x00\x84\x00" };
        assert_eq!(said, expected, "{level}");
    }
}

#[tokio::test]
async fn m_09_to_13_broken_connects_close() {
    let world = World::new().await;
    let with_flags = |level, flags| {
        let mut bytes = connect_bytes(level);
        bytes[9] = flags;
        bytes
    };
    for level in [4, 5] {
        // Reserved flag; will QoS 3; will QoS and retain without a will; user name that is not there.
        for flags in [0xC3, 0xDE, 0xCA, 0xE2] {
            let said = before_log_in(&world, &with_flags(level, flags)).await;
            assert!(said.len() <= 5 && said.get(3).is_none_or(|code| *code != 0), "{flags:x} {said:x?}");
        }
        let mut trailing = connect_bytes(level);
        trailing[1] += 1;
        trailing.push(0);
        let said = before_log_in(&world, &trailing).await;
        assert!(said.get(3).is_none_or(|code| *code != 0), "{said:x?}");
    }
    // 3.1.1 has no password without a user name.
    let mut bytes = b"\x10\x12\x00\x04MQTT\x04\x42\x00\x3C\x00\x01c\x00\x03pwd".to_vec();
    bytes[1] = u8::try_from(bytes.len() - 2).unwrap();
    assert_eq!(before_log_in(&world, &bytes).await, b"");
}

#[tokio::test]
async fn m_25_a_second_connect_closes() {
    let world = World::new().await;
    closes(&world, &connect_bytes(5), ReasonCode::ProtocolError).await;
    closes_silently(&world, &connect_bytes(4)).await;
}

#[tokio::test]
async fn m_30_packets_of_a_server_close() {
    let world = World::new().await;
    for bytes in
        [&b"\x20\x03\x00\x00\x00"[..], b"\x90\x04\x00\x01\x00\x00", b"\xB0\x04\x00\x01\x00\x00", b"\xD0\x00"]
    {
        closes(&world, bytes, ReasonCode::ProtocolError).await;
    }
    closes_silently(&world, b"\xD0\x00").await;
}

#[tokio::test]
async fn m_31_to_38_malformed_packets_close_with_their_reason() {
    let world = World::new().await;
    for (bytes, reason) in [
        // Type 0, reserved flags.
        (&b"\x00\x00"[..], ReasonCode::MalformedPacket),
        (b"\xC1\x00", ReasonCode::MalformedPacket),
        // QoS 3, DUP with QoS 0.
        (b"\x36\x07\x00\x01t\x00\x01\x00x", ReasonCode::MalformedPacket),
        (b"\x38\x05\x00\x01t\x00x", ReasonCode::MalformedPacket),
        // Empty topic, wildcard, packet id 0.
        (b"\x30\x04\x00\x00\x00x", ReasonCode::ProtocolError),
        (b"\x30\x07\x00\x03a/+\x00x", ReasonCode::TopicNameInvalid),
        (b"\x32\x07\x00\x01t\x00\x00\x00x", ReasonCode::MalformedPacket),
        // Alias 0 and above the maximum; an unknown one; an identifier from a client.
        (b"\x30\x07\x00\x01t\x03\x23\x00\x00", ReasonCode::TopicAliasInvalid),
        (b"\x30\x07\x00\x01t\x03\x23\x00\xFF", ReasonCode::TopicAliasInvalid),
        (b"\x30\x06\x00\x00\x03\x23\x00\x01", ReasonCode::ProtocolError),
        (b"\x30\x06\x00\x01t\x02\x0B\x01", ReasonCode::ProtocolError),
        // Undefined reason, flags of PUBREL and SUBSCRIBE, no filter, QoS 3 and retain handling 3.
        (b"\x40\x03\x00\x01\x55", ReasonCode::MalformedPacket),
        (b"\x60\x02\x00\x01", ReasonCode::MalformedPacket),
        (b"\x80\x07\x00\x01\x00\x00\x01t\x00", ReasonCode::MalformedPacket),
        (b"\x82\x03\x00\x01\x00", ReasonCode::ProtocolError),
        (b"\x82\x07\x00\x01\x00\x00\x01t\x03", ReasonCode::ProtocolError),
        (b"\x82\x07\x00\x01\x00\x00\x01t\x30", ReasonCode::ProtocolError),
        // Filters: `a#`, `$share//t`.
        (b"\x82\x08\x00\x01\x00\x00\x02a#\x00", ReasonCode::MalformedPacket),
        (b"\x82\x0F\x00\x01\x00\x00\x09$share//t\x00", ReasonCode::MalformedPacket),
        // PINGREQ with a body; AUTH without a method; a raised session expiry.
        (b"\xC0\x01\x00", ReasonCode::MalformedPacket),
        (b"\xF0\x00", ReasonCode::ProtocolError),
        (b"\xE0\x07\x00\x05\x11\x00\x00\x00\x01", ReasonCode::ProtocolError),
    ] {
        closes(&world, bytes, reason).await;
    }
    assert_eq!(world.hub.counters.panics_total.value(), 0);
}

#[tokio::test]
async fn m_36_a_topic_beyond_the_limits_is_refused_and_not_the_connection() {
    let world = World::new().await;
    let mut client = world.connected(Version::V5).await;
    let deep = "/".repeat(1_000);
    client.publish(crate::common::publish(&deep, "x", roost_wire::mqtt::QoS::AtLeastOnce, 1)).await;
    assert_eq!(client.expect_reason().await, ReasonCode::TopicNameInvalid);
    client.ping().await;
}

#[tokio::test]
async fn m_37_topics_of_the_server_are_denied() {
    let world = World::new().await;
    for version in [Version::V3, Version::V5] {
        let mut client = world.connected(version).await;
        for topic in ["$SYS/x", "$share/g/t", "$foo"] {
            client.publish(crate::common::publish(topic, "x", roost_wire::mqtt::QoS::AtLeastOnce, 1)).await;
            let reason = client.expect_reason().await;
            match version {
                Version::V3 => assert_eq!(reason, ReasonCode::Success),
                Version::V5 => assert_eq!(reason, ReasonCode::NotAuthorized, "{topic}"),
            }
        }
    }
}

#[tokio::test]
async fn m_44_a_payload_that_is_not_what_it_says_is_refused() {
    let world = World::new().await;
    let mut client = world.connected(Version::V5).await;
    client.bytes(b"\x32\x09\x00\x01t\x00\x01\x02\x01\x01\xFF").await;
    assert_eq!(client.expect_reason().await, ReasonCode::PayloadFormatInvalid);
    client.ping().await;
}

#[tokio::test]
async fn m_45_a_packet_over_the_limit_is_refused_without_its_body() {
    let world = World::new().await;
    closes(&world, b"\x30\x81\x80\x80\x01", ReasonCode::PacketTooLarge).await;
    closes_silently(&world, b"\x30\x81\x80\x80\x01").await;
}

#[tokio::test]
async fn m_50_acknowledgements_of_nothing_do_no_harm() {
    let world = World::new().await;
    let mut client = world.connected(Version::V5).await;
    client.bytes(b"\x40\x02\x00\x07").await;
    client.ping().await;
    client.bytes(b"\x50\x02\x00\x07").await;
    assert_eq!(client.expect_reason().await, ReasonCode::PacketIdentifierNotFound);
    client.bytes(b"\x62\x02\x00\x07").await;
    assert_eq!(client.expect_reason().await, ReasonCode::PacketIdentifierNotFound);
    client.ping().await;
}

#[tokio::test]
async fn m_60_unsubscribing_what_is_not_there_is_answered_so() {
    let world = World::new().await;
    let mut client = world.connected(Version::V5).await;
    client.bytes(b"\xA2\x06\x00\x05\x00\x00\x01t").await;
    let text = client.expect_text().await;
    assert!(text.starts_with("UnsubAck") && text.contains("17"), "{text}");
}

#[tokio::test]
async fn m_63_a_flood_of_pings_is_cut_off() {
    let settings = roost_gateway::Settings { pings_max: 100, ..roost_gateway::Settings::default() };
    let world = World::with(settings).await;
    closes_after_pings(&world).await;
}

async fn closes_after_pings(world: &World) {
    let mut client = world.connected(Version::V5).await;
    client.bytes(&[0xC0, 0x00].repeat(1_000)).await;
    let mut text = String::from("PingResp");
    while text.starts_with("PingResp") {
        text = client.expect_text().await;
    }
    assert!(text.contains("MessageRateTooHigh"), "{text}");
}
