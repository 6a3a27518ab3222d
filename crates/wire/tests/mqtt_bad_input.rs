//! The rows of the catalogue of bad input that the decoder decides; ids are in the names.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use roost_wire::mqtt::{
    DecodeError, Decoded, ForeignProtocol, Limits, Packet, ReasonCode, Version, decode, foreign_protocol,
};

const MALFORMED: u8 = 0x81;
const PROTOCOL_ERROR: u8 = 0x82;
const V3: Option<Version> = Some(Version::V3);
const V5: Option<Version> = Some(Version::V5);

/// A packet: first byte, then the length of `body`, then `body`.
fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut rest = body.len();
    loop {
        let more = if rest > 0x7F { 0x80 } else { 0 };
        bytes.push(u8::try_from(rest & 0x7F).unwrap() | more);
        rest >>= 7;
        if rest == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

fn string(text: &[u8]) -> Vec<u8> {
    let mut bytes = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(text);
    bytes
}

/// A property block: its length, then the properties.
fn block(properties: &[u8]) -> Vec<u8> {
    packet(0, properties).split_off(1)
}

/// A CONNECT with the given name, level, flags, properties (5.0) and payload.
fn connect(level: u8, flags: u8, properties: &[u8], payload: &[&[u8]]) -> Vec<u8> {
    let mut body = string(b"MQTT");
    body.extend([level, flags, 0, 60]);
    if level == 5 {
        body.extend(block(properties));
    }
    body.extend(payload.concat());
    packet(0x10, &body)
}

fn refuse(bytes: &[u8], version: Option<Version>) -> DecodeError {
    decode(bytes, version, &Limits::default()).expect_err("the packet was accepted")
}

#[track_caller]
fn assert_refused(bytes: &[u8], version: Option<Version>, reason: u8, statement: &str) {
    let error = refuse(bytes, version);
    assert_eq!(error.reason().code(), reason, "{error}");
    assert_eq!(error.statement(version.unwrap_or(Version::V5)), statement, "{error}");
}

#[track_caller]
fn assert_connect_refused(bytes: &[u8], reason: u8, v3: &str, v5: &str) {
    let error = refuse(bytes, None);
    assert_eq!(error.reason().code(), reason, "{error}");
    assert_eq!((error.statement(Version::V3), error.statement(Version::V5)), (v3, v5));
}

#[track_caller]
fn assert_accepted(bytes: &[u8], version: Option<Version>) {
    let decoded = decode(bytes, version, &Limits::default());
    assert!(matches!(decoded, Ok(Decoded::Packet { length, .. }) if length == bytes.len()), "{decoded:?}");
}

#[test]
fn m_03_the_first_packet_is_connect_or_nothing() {
    for bytes in [&[0x40, 2, 0, 1][..], &[0x30, 3, 0, 1, b'a'], &[0x00], &[0xF0, 0x00], &[0x40]] {
        assert_refused(bytes, None, PROTOCOL_ERROR, "MQTT-3.1.0-1");
    }
}

#[test]
fn m_04_a_huge_connect_is_refused_on_its_header() {
    assert_refused(&[0x10, 0xFF, 0xFF, 0xFF, 0x7F], None, 0x95, "");
    assert_refused(&packet(0x10, &[0; 65_534])[..4], None, 0x95, "");
}

#[test]
fn m_05_a_length_of_five_bytes_or_in_a_long_form_is_malformed() {
    for version in [V3, V5] {
        for bytes in [&[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F][..], &[0x82, 0x82, 0x80, 0x00]] {
            let error = refuse(bytes, version);
            assert_eq!(error.reason(), ReasonCode::MalformedPacket);
            assert_eq!(error.statement(Version::V5), "MQTT-1.5.5-1");
        }
    }
}

#[test]
fn m_06_tls_and_http_are_told_from_mqtt() {
    assert_eq!(foreign_protocol(&[0x16, 3, 1, 2, 0]), Some(ForeignProtocol::Tls));
    assert_eq!(foreign_protocol(b"GET / HTTP/1.1\r\n"), Some(ForeignProtocol::Http));
    assert_eq!(foreign_protocol(&connect(5, 2, &[], &[&string(b"")])), None);
    refuse(&[0x16, 3, 1, 2, 0], None);
    refuse(b"GET / HTTP/1.1\r\n", None);
}

#[test]
fn m_07_other_protocol_names_are_refused() {
    for (name, level) in [(&b"MQIsdp"[..], 3), (b"mqtt", 4), (b"MQTTX", 5), (b"", 4)] {
        let mut body = string(name);
        body.extend([level, 2, 0, 60, 0, 0]);
        assert_connect_refused(&packet(0x10, &body), 0x84, "MQTT-3.1.2-1", "MQTT-3.1.2-1");
    }
}

#[test]
fn m_08_other_protocol_levels_are_refused() {
    for level in [0, 3, 6, 255] {
        let bytes = connect(level, 2, &[], &[&string(b"c")]);
        assert_connect_refused(&bytes, 0x84, "MQTT-3.1.2-2", "MQTT-3.1.2-2");
    }
}

#[test]
fn m_09_the_reserved_connect_flag_is_malformed() {
    for level in [4, 5] {
        let bytes = connect(level, 3, &[], &[&string(b"c")]);
        assert_connect_refused(&bytes, MALFORMED, "MQTT-3.1.2-3", "MQTT-3.1.2-3");
    }
}

#[test]
fn m_10_will_qos_3_is_malformed() {
    let bytes = connect(4, 0x1E, &[], &[&string(b"c"), &string(b"t"), &string(b"m")]);
    assert_connect_refused(&bytes, MALFORMED, "MQTT-3.1.2-14", "MQTT-3.1.2-12");
}

#[test]
fn m_11_will_qos_and_retain_need_a_will() {
    let payload = string(b"c");
    let qos = connect(5, 0x0A, &[], &[&payload]);
    assert_connect_refused(&qos, MALFORMED, "MQTT-3.1.2-13", "MQTT-3.1.2-11");
    let retain = connect(5, 0x22, &[], &[&payload]);
    assert_connect_refused(&retain, MALFORMED, "MQTT-3.1.2-15", "MQTT-3.1.2-13");
}

#[test]
fn m_12_a_password_without_a_user_is_for_5_0_only() {
    let payload = [string(b"c"), string(b"secret")].concat();
    assert_connect_refused(&connect(4, 0x42, &[], &[&payload]), MALFORMED, "MQTT-3.1.2-22", "");
    assert_accepted(&connect(5, 0x42, &[], &[&payload]), None);
}

#[test]
fn m_13_a_payload_that_is_cut_or_goes_on_is_malformed() {
    for level in [4, 5] {
        for payload in [string(b"c"), [string(b"c"), string(b"user"), vec![0]].concat()] {
            let error = refuse(&connect(level, 0x82, &[], &[&payload]), None);
            assert_eq!(error.reason(), ReasonCode::MalformedPacket);
        }
    }
}

#[test]
fn m_14_an_empty_client_id_needs_clean_session_in_3_1_1() {
    assert_connect_refused(&connect(4, 0, &[], &[&string(b"")]), 0x85, "MQTT-3.1.3-8", "");
    assert_accepted(&connect(4, 2, &[], &[&string(b"")]), None);
    assert_accepted(&connect(5, 0, &[], &[&string(b"")]), None);
}

#[test]
fn m_15_a_client_id_over_256_bytes_is_refused() {
    for level in [4, 5] {
        assert_accepted(&connect(level, 2, &[], &[&string(&[b'c'; 256])]), None);
        let bytes = connect(level, 2, &[], &[&string(&[b'c'; 257])]);
        assert_connect_refused(&bytes, 0x85, "MQTT-3.1.3-9", "MQTT-3.1.3-8");
    }
}

#[test]
fn m_17_broken_text_is_refused_wherever_it_stands() {
    for broken in [&b"a\0"[..], &[0xC0, 0x80], &[0xED, 0xA0, 0x80], &[0xF4, 0x90, 0x80, 0x80], &[0xC3]] {
        let broken = string(broken);
        let (id, well) = (string(b"c"), string(b"w"));
        let connects = [
            connect(5, 2, &[], &[&broken]),
            connect(5, 0x82, &[], &[&id, &broken]),
            connect(5, 6, &[], &[&id, &[0], &broken, &well]),
            connect(5, 2, &[&[21][..], &broken].concat(), &[&id]),
            connect(5, 2, &[&[38][..], &well, &broken].concat(), &[&id]),
        ];
        for bytes in connects {
            assert_eq!(refuse(&bytes, None).reason(), ReasonCode::MalformedPacket);
        }
        let packets = [
            packet(0x30, &[&broken[..], &[0]].concat()),
            packet(0x30, &[&well[..], &block(&[&[3][..], &broken].concat())].concat()),
            packet(0x30, &[&well[..], &block(&[&[8][..], &broken].concat())].concat()),
            packet(0x82, &[&[0, 1, 0][..], &broken, &[0]].concat()),
            packet(0xA2, &[&[0, 1, 0][..], &broken].concat()),
        ];
        for bytes in packets {
            assert_eq!(refuse(&bytes, V5).reason(), ReasonCode::MalformedPacket);
        }
        // Password, will payload and payload are not text.
        assert_accepted(&connect(5, 0xC2, &[], &[&id, &well, &broken]), None);
        assert_accepted(&connect(5, 6, &[], &[&id, &[0], &well, &broken]), None);
        assert_accepted(&packet(0x30, &[&well[..], &[0], &broken].concat()), V5);
    }
}

#[test]
fn m_18_odd_characters_in_topics_pass_unchanged() {
    for odd in ["\u{feff}a", "\u{1}", "\u{ffff}", "\u{202e}b", "🌡/é", "e\u{301}"] {
        let bytes = packet(0x30, &[&string(odd.as_bytes())[..], &[0]].concat());
        let decoded = decode(&bytes, V5, &Limits::default()).unwrap();
        let Decoded::Packet { packet: Packet::Publish(publish), .. } = decoded else { panic!() };
        assert_eq!(publish.topic, odd);
    }
}

#[test]
fn m_19_user_properties_are_limited_in_number_and_bytes() {
    let one = [&[38][..], &string(b"k"), &string(b"v")].concat();
    let publish = |properties: &[u8]| packet(0x30, &[&string(b"t")[..], &block(properties)].concat());
    assert_accepted(&publish(&one.repeat(32)), V5);
    assert_refused(&publish(&one.repeat(33)), V5, 0x95, "");
    assert_refused(&publish(&one.repeat(1000)), V5, 0x95, "");
    let long = [&[38][..], &string(b"k"), &string(&[b'v'; 8192])].concat();
    assert_refused(&publish(&long), V5, 0x95, "");
    assert_refused(&connect(5, 2, &one.repeat(33), &[&string(b"c")]), None, 0x95, "");
}

#[test]
fn m_20_repeated_properties_and_forbidden_values_are_protocol_errors() {
    for properties in [
        &[17, 0, 0, 0, 1, 17, 0, 0, 0, 1][..],
        &[33, 0, 0],
        &[39, 0, 0, 0, 0],
        &[23, 2],
        &[25, 2],
        &[22, 0, 0],
    ] {
        assert_refused(&connect(5, 2, properties, &[&string(b"c")]), None, PROTOCOL_ERROR, "");
    }
}

#[test]
fn m_21_damaged_property_blocks_are_malformed() {
    let id = string(b"c");
    for properties in [&[0x7F, 0][..], &[17, 0], &[11, 1], &[0x91, 0x00], &[38, 0, 1, b'k']] {
        assert_eq!(
            refuse(&connect(5, 2, properties, &[&id]), None).reason(),
            ReasonCode::MalformedPacket,
            "{properties:?}"
        );
    }
    // The block goes on after the packet; the same for the will's.
    assert_refused(&packet(0x30, &[0, 1, b't', 9]), V5, MALFORMED, "");
    assert_refused(&connect(5, 6, &[], &[&id, &[200, 1]]), None, MALFORMED, "");
    assert_refused(&connect(5, 6, &[], &[&id, &block(&[17, 0, 0, 0, 1])]), None, MALFORMED, "");
}

#[test]
fn m_22_a_will_topic_with_a_wildcard_is_refused() {
    for topic in [&b"a/#"[..], b"+", b""] {
        let payload = [string(b"c"), string(topic), string(b"m")].concat();
        assert_connect_refused(&connect(4, 6, &[], &[&payload]), 0x90, "MQTT-3.1.3-10", "MQTT-3.1.3-11");
    }
}

#[test]
fn m_23_a_will_over_64_kib_is_over_the_size_of_connect() {
    let payload = [string(b"c"), vec![0], string(b"t"), string(&[0; 65_535])].concat();
    assert_refused(&connect(5, 6, &[], &[&payload]), None, 0x95, "");
}

#[test]
fn m_24_auth_without_a_method_is_a_protocol_error() {
    assert_refused(&packet(0xF0, &[0x18, 0]), V5, PROTOCOL_ERROR, "");
    assert_refused(&packet(0xF0, &[0x18]), V5, PROTOCOL_ERROR, "");
    assert_refused(&packet(0xF1, &[]), V5, MALFORMED, "MQTT-3.15.1-1");
}

#[test]
fn m_25_a_second_connect_is_a_protocol_error() {
    for version in [V3, V5] {
        assert_refused(&connect(4, 2, &[], &[&string(b"c")]), version, PROTOCOL_ERROR, "MQTT-3.1.0-2");
    }
}

#[test]
fn m_31_types_and_flags_that_do_not_exist_are_malformed() {
    assert_eq!(refuse(&[0x00, 0], V5).reason(), ReasonCode::MalformedPacket);
    assert_eq!(refuse(&[0xF0, 0], V3).reason(), ReasonCode::MalformedPacket);
    for first in [0x41, 0x51, 0x60, 0x71, 0x80, 0x91, 0xA0, 0xB1, 0xC1, 0xD1, 0xE1, 0x21, 0xF1] {
        for version in [V3, V5] {
            assert_eq!(refuse(&[first], version).reason(), ReasonCode::MalformedPacket, "{first:x}");
        }
    }
    assert_refused(&[0xC1, 0], V5, MALFORMED, "MQTT-2.1.3-1");
    assert_refused(&[0xC1, 0], V3, MALFORMED, "MQTT-2.2.2-2");
}

#[test]
fn m_32_both_qos_bits_are_malformed() {
    for version in [V3, V5] {
        assert_refused(&packet(0x36, b"\0\x01t\0\x01\0"), version, MALFORMED, "MQTT-3.3.1-4");
    }
}

#[test]
fn m_33_dup_with_qos_0_is_malformed() {
    for version in [V3, V5] {
        assert_refused(&packet(0x38, b"\0\x01t\0"), version, MALFORMED, "MQTT-3.3.1-2");
    }
}

#[test]
fn m_34_an_empty_topic_needs_an_alias() {
    for version in [V3, V5] {
        assert_refused(&packet(0x30, b"\0\0\0"), version, PROTOCOL_ERROR, "MQTT-4.7.3-1");
    }
    assert_accepted(&packet(0x30, &[0, 0, 3, 35, 0, 1]), V5);
}

#[test]
fn m_35_a_topic_with_a_wildcard_is_no_name() {
    for version in [V3, V5] {
        for topic in [&b"a/+"[..], b"#", b"a#b"] {
            let bytes = packet(0x30, &[&string(topic)[..], &[0]].concat());
            assert_refused(&bytes, version, 0x90, "MQTT-3.3.2-2");
        }
    }
}

#[test]
fn m_36_a_topic_over_the_limits_ends_3_1_1_and_is_refused_by_itself_in_5_0() {
    let limits = Limits::default();
    for topic in [&[b'/'; 32_768][..], &[b'a'; 65_535], &[b'/'; 128], &[b'a'; 1025]] {
        let bytes = packet(0x30, &[&string(topic)[..], &[0]].concat());
        assert_refused(&bytes, V3, 0x90, "");
        let Ok(Decoded::Packet { packet: Packet::Publish(publish), .. }) = decode(&bytes, V5, &limits) else {
            panic!("closed by {} bytes", topic.len());
        };
        assert_eq!(publish.refusal(&limits), Some(ReasonCode::TopicNameInvalid));
    }
    for topic in [&[b'/'; 127][..], &[b'a'; 1024]] {
        assert_accepted(&packet(0x30, &[&string(topic)[..], &[0]].concat()), V3);
    }
}

#[test]
fn m_38_packet_id_0_is_malformed() {
    for first in [0x32, 0x34] {
        assert_refused(&packet(first, b"\0\x01t\0\0\0"), V5, MALFORMED, "MQTT-2.2.1-3");
        assert_refused(&packet(first, b"\0\x01t\0\0"), V3, MALFORMED, "MQTT-2.3.1-1");
    }
    for first in [0x40, 0x50, 0x62, 0x70, 0x82, 0xA2] {
        assert_refused(&packet(first, &[0, 0, 0, 0, 1, b't', 0]), V5, MALFORMED, "MQTT-2.2.1-3");
    }
}

#[test]
fn m_41_topic_alias_0_is_refused() {
    assert_refused(&packet(0x30, &[0, 1, b't', 3, 35, 0, 0]), V5, 0x94, "MQTT-3.3.2-8");
}

#[test]
fn m_42_a_response_topic_with_a_wildcard_is_a_protocol_error() {
    let properties = block(&[&[8][..], &string(b"a/+")].concat());
    let bytes = packet(0x30, &[&string(b"t")[..], &properties].concat());
    assert_refused(&bytes, V5, PROTOCOL_ERROR, "MQTT-3.3.2-14");
}

#[test]
fn m_44_text_that_is_not_utf8_is_refused_by_itself() {
    let limits = Limits::default();
    for (format, reason) in [(1, Some(ReasonCode::PayloadFormatInvalid)), (0, None)] {
        let bytes = packet(0x30, &[0, 1, b't', 2, 1, format, 0xFF]);
        let Ok(Decoded::Packet { packet: Packet::Publish(publish), .. }) = decode(&bytes, V5, &limits) else {
            panic!("not a publish");
        };
        assert_eq!(publish.refusal(&limits), reason);
    }
}

#[test]
fn m_45_a_packet_over_the_maximum_is_refused_on_its_header() {
    let exact = [0x30, 0xFC, 0xFF, 0x3F];
    assert!(matches!(decode(&exact, V5, &Limits::default()), Ok(Decoded::NeedMore { at_least: 1_048_576 })));
    assert_refused(&[0x30, 0xFD, 0xFF, 0x3F], V5, 0x95, "");
    assert_refused(&[0x30, 0xFD, 0xFF, 0x3F], V3, 0x95, "");
}

#[test]
fn m_51_flags_of_pubrel_and_undefined_reasons_are_malformed() {
    assert_refused(&packet(0x60, &[0, 1]), V5, MALFORMED, "MQTT-3.6.1-1");
    for first in [0x40, 0x50, 0x62, 0x70] {
        assert_refused(&packet(first, &[0, 1, 0x55]), V5, MALFORMED, "");
        assert_refused(&packet(first, &[0, 1, 0x55, 0]), V5, MALFORMED, "");
    }
    assert_refused(&packet(0xE0, &[0x55]), V5, MALFORMED, "");
}

#[test]
fn m_52_subscribe_has_flags_2_and_a_packet_id() {
    for version in [V3, V5] {
        assert_refused(&packet(0x80, &[0, 1, 0, 0, 1, b't', 0]), version, MALFORMED, "MQTT-3.8.1-1");
        assert_refused(&packet(0x83, &[0, 1, 0, 0, 1, b't', 0]), version, MALFORMED, "MQTT-3.8.1-1");
        assert_eq!(refuse(&packet(0x82, &[0, 0]), version).reason(), ReasonCode::MalformedPacket);
    }
}

#[test]
fn m_53_subscribe_has_a_filter() {
    assert_refused(&packet(0x82, &[0, 1, 0]), V5, PROTOCOL_ERROR, "MQTT-3.8.3-2");
    assert_refused(&packet(0x82, &[0, 1]), V3, PROTOCOL_ERROR, "MQTT-3.8.3-3");
}

#[test]
fn m_54_subscription_options_outside_their_ranges_are_refused() {
    let v5 = |options| packet(0x82, &[0, 1, 0, 0, 1, b't', options]);
    let v3 = |options| packet(0x82, &[0, 1, 0, 1, b't', options]);
    for reserved in [0x40, 0x80, 0xC1] {
        assert_refused(&v5(reserved), V5, MALFORMED, "MQTT-3.8.3-5");
    }
    assert_refused(&v5(0x03), V5, PROTOCOL_ERROR, "");
    assert_refused(&v5(0x30), V5, PROTOCOL_ERROR, "");
    assert_accepted(&v5(0x2E), V5);
    for reserved in [0x04, 0x08, 0x10, 0x80, 0x03] {
        assert_eq!(refuse(&v3(reserved), V3).statement(Version::V3), "MQTT-3-8.3-4");
    }
}

#[test]
fn m_55_m_56_broken_filters_end_the_connection() {
    for filter in ["a/#/b", "a#", "+a", "#/", "", "$share//t", "$share/g", "$share/g/", "$share/+/t"] {
        let v3 = [&[0, 1][..], &string(filter.as_bytes()), &[0]].concat();
        let v5 = [&[0, 1, 0][..], &string(filter.as_bytes()), &[0]].concat();
        assert_eq!(refuse(&packet(0x82, &v3), V3).reason(), ReasonCode::MalformedPacket, "{filter}");
        assert_eq!(refuse(&packet(0x82, &v5), V5).reason(), ReasonCode::MalformedPacket, "{filter}");
    }
}

#[test]
fn m_56_no_local_on_a_shared_subscription_is_a_protocol_error() {
    let body = [&[0, 1, 0][..], &string(b"$share/g/t"), &[4]].concat();
    assert_refused(&packet(0x82, &body), V5, PROTOCOL_ERROR, "MQTT-3.8.3-4");
}

#[test]
fn m_57_ten_thousand_filters_in_one_packet_are_over_the_quota() {
    let filters = [&string(b"t")[..], &[0]].concat().repeat(10_000);
    assert_refused(&packet(0x82, &[&[0, 1, 0][..], &filters].concat()), V5, 0x97, "");
    assert_refused(&packet(0xA2, &[&[0, 1, 0][..], &string(b"t").repeat(10_000)].concat()), V5, 0x97, "");
}

#[test]
fn m_60_unsubscribe_has_a_filter_and_flags_2() {
    assert_refused(&packet(0xA2, &[0, 1, 0]), V5, PROTOCOL_ERROR, "MQTT-3.10.3-2");
    assert_refused(&packet(0xA2, &[0, 1]), V3, PROTOCOL_ERROR, "MQTT-3.10.3-2");
    assert_refused(&packet(0xA0, &[0, 1, 0, 0, 1, b't']), V5, MALFORMED, "MQTT-3.10.1-1");
}

#[test]
fn m_63_pingreq_has_no_body() {
    for version in [V3, V5] {
        assert_eq!(refuse(&[0xC0, 1, 0], version).reason(), ReasonCode::MalformedPacket);
    }
}

#[test]
fn m_64_disconnect_has_no_flags_and_no_body_in_3_1_1() {
    assert_refused(&[0xE1, 0], V5, MALFORMED, "MQTT-3.14.1-1");
    assert_eq!(refuse(&[0xE0, 1, 0], V3).reason(), ReasonCode::MalformedPacket);
}

#[test]
fn m_68_a_thousand_packets_in_one_segment_are_read_one_by_one() {
    let bytes = packet(0x32, b"\0\x01t\0\x01\0payload").repeat(1000);
    let (mut rest, mut count) = (&bytes[..], 0);
    while let Decoded::Packet { length, .. } = decode(rest, V5, &Limits::default()).unwrap() {
        rest = &rest[length..];
        count += 1;
    }
    assert_eq!((count, rest.len()), (1000, 0));
}
