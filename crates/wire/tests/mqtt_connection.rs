//! The server's side of one connection: what it hands out, refuses, counts and says at the end.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

use roost_wire::mqtt::{
    Ack, AckProperties, Auth, ConnAck, Connect, ConnectProperties, Connection, ConnectionError,
    ConnectionOptions, Decoded, Disconnect, DisconnectProperties, Event, Input, Limits, Packet, Publish,
    PublishProperties, QoS, ReasonCode, Subscribe, Subscription, Version, WriteError, decode,
};

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn id(id: u16) -> NonZeroU16 {
    NonZeroU16::new(id).unwrap()
}

fn connect(version: Version) -> Connect<'static> {
    Connect {
        version,
        clean_start: true,
        keep_alive: 60,
        properties: ConnectProperties::default(),
        client_id: "c",
        will: None,
        username: None,
        password: None,
    }
}

/// A server with a receive maximum of 4, and the bytes that it wrote.
struct Server {
    connection: Connection,
    output: Vec<u8>,
}

impl Server {
    fn new() -> Self {
        let options = ConnectionOptions { receive_maximum: id(4), ..ConnectionOptions::default() };
        Self { connection: Connection::new(Arc::new(options), at(0)), output: Vec::new() }
    }

    /// After a CONNECT that was answered with success at second 0.
    fn connected(connect: Connect<'_>) -> Self {
        let mut server = Self::new();
        server.send(&Packet::Connect(Box::new(connect))).unwrap();
        server.connection.answer_connect(ConnAck::default(), at(0), &mut server.output).unwrap();
        assert!(server.connection.is_connected());
        server.output.clear();
        server
    }

    fn v3() -> Self {
        Self::connected(connect(Version::V3))
    }

    fn v5() -> Self {
        Self::connected(connect(Version::V5))
    }

    /// One packet from the client; the event as text.
    fn send(&mut self, packet: &Packet<'_>) -> Result<String, ConnectionError> {
        let mut bytes = Vec::new();
        packet.encode(self.connection.version(), &mut bytes).unwrap();
        self.receive(&bytes)
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<String, ConnectionError> {
        Ok(match self.connection.handle_input(bytes, at(0))? {
            Input::Event { event: Event::Publish { topic, .. }, .. } => format!("Publish {}", &*topic),
            Input::Event { event, .. } => format!("{event:?}"),
            other => format!("{other:?}"),
        })
    }

    #[track_caller]
    fn assert_refused(&mut self, packet: &Packet<'_>, reason: u8, farewell: &[u8]) {
        let error = self.send(packet).expect_err("the packet was accepted");
        assert_eq!(error.reason().code(), reason, "{error}");
        assert_eq!(farewell_of(&error), farewell);
        assert_eq!(self.connection.handle_input(b"\xC0\0", at(0)), Ok(Input::Closed));
        assert_eq!(self.connection.next_timeout(), None);
    }

    fn acknowledge(&mut self, packet: Packet<'_>) {
        self.connection.write(&packet, &mut self.output).unwrap();
    }
}

fn farewell_of(error: &ConnectionError) -> Vec<u8> {
    let mut farewell = Vec::new();
    error.write_farewell(&mut farewell);
    farewell
}

fn publish(qos: QoS, packet_id: u16) -> Packet<'static> {
    let packet_id = NonZeroU16::new(packet_id);
    Packet::Publish(Publish { qos, packet_id, topic: "t", ..Publish::default() })
}

fn aliased(topic: &'static str, alias: u16) -> Packet<'static> {
    let properties = PublishProperties { topic_alias: Some(id(alias)), ..PublishProperties::default() };
    Packet::Publish(Publish { topic, properties, ..Publish::default() })
}

fn puback(packet_id: u16) -> Packet<'static> {
    Packet::PubAck(Ack::new(id(packet_id), ReasonCode::Success))
}

#[track_caller]
fn assert_connect_farewell(bytes: &[u8], farewell: &[u8]) {
    let error = Server::new().receive(bytes).expect_err("the bytes were accepted");
    assert_eq!(farewell_of(&error), farewell, "{error}");
}

#[test]
fn m_01_m_02_connect_has_ten_seconds_whatever_trickles_in() {
    let mut server = Server::new();
    assert_eq!(server.connection.next_timeout(), Some(at(10)));
    assert_eq!(server.connection.handle_input(b"\x10", at(9)), Ok(Input::NeedMore { at_least: 2 }));
    server.connection.handle_timeout(at(9)).unwrap();
    let error = server.connection.handle_timeout(at(10)).unwrap_err();
    assert_eq!(farewell_of(&error), b"");
}

#[test]
fn m_03_something_else_than_connect_gets_no_answer() {
    for bytes in [&[0x40, 2, 0, 1][..], &[0x30, 3, 0, 1, b'a'], &[0x00], &[0xF0, 0x00]] {
        assert_connect_farewell(bytes, b"");
    }
}

#[test]
fn m_04_a_huge_connect_is_answered_only_where_its_version_is_known() {
    assert_connect_farewell(&[0x10, 0xFF, 0xFF, 0xFF, 0x7F], b"");
    let v5 = b"\x10\xFF\xFF\xFF\x7F\0\x04MQTT\x05";
    assert_connect_farewell(v5, &[0x20, 3, 0, 0x95, 0]);
}

#[test]
fn m_07_m_08_other_names_and_levels_get_the_answer_of_the_version_next_to_them() {
    let with_level = |level| [&b"\x10\x0d\0\x04MQTT"[..], &[level], b"\x02\0\x3c\0\x01c"].concat();
    for level in [0, 3] {
        assert_connect_farewell(&with_level(level), &[0x20, 2, 0, 1]);
    }
    for level in [6, 255] {
        assert_connect_farewell(&with_level(level), &[0x20, 3, 0, 0x84, 0]);
    }
    assert_connect_farewell(b"\x10\x0f\0\x06MQIsdp\x03\x02\0\x3c\0\x01c", b"");
}

#[test]
fn m_09_m_14_m_20_a_bad_connect_is_answered_in_its_version_if_that_has_a_word() {
    assert_connect_farewell(b"\x10\x0d\0\x04MQTT\x04\x03\0\x3c\0\x01c", b"");
    assert_connect_farewell(b"\x10\x0e\0\x04MQTT\x05\x03\0\x3c\0\0\x01c", &[0x20, 3, 0, 0x81, 0]);
    assert_connect_farewell(b"\x10\x0c\0\x04MQTT\x04\0\0\x3c\0\0", &[0x20, 2, 0, 2]);
    assert_connect_farewell(b"\x10\x11\0\x04MQTT\x05\x02\0\x3c\x03\x21\0\0\0\x01c", &[0x20, 3, 0, 0x82, 0]);
}

#[test]
fn m_25_a_second_connect_ends_the_connection() {
    for (mut server, farewell) in [(Server::v5(), &[0xE0, 1, 0x82][..]), (Server::v3(), b"")] {
        let again = Packet::Connect(Box::new(connect(server.connection.version())));
        server.assert_refused(&again, 0x82, farewell);
    }
}

#[test]
fn m_26_nothing_after_a_refused_connect_is_handed_out() {
    for (version, connack) in [(Version::V3, &[0x20, 2, 0, 5][..]), (Version::V5, &[0x20, 3, 0, 0x87, 0])] {
        let mut server = Server::new();
        server.send(&Packet::Connect(Box::new(connect(version)))).unwrap();
        assert_eq!(server.send(&publish(QoS::AtMostOnce, 0)), Ok("Waiting".into()));
        let refusal = ConnAck { reason: ReasonCode::NotAuthorized, ..ConnAck::default() };
        server.connection.answer_connect(refusal, at(0), &mut server.output).unwrap();
        assert_eq!(server.output, connack);
        assert_eq!(server.send(&publish(QoS::AtMostOnce, 0)), Ok("Closed".into()));
    }
}

#[test]
fn m_27_what_comes_with_connect_is_handled_after_its_answer() {
    for version in [Version::V3, Version::V5] {
        let filters = [Subscription { filter: "t", options: Default::default() }];
        let subscribe =
            Subscribe { packet_id: id(1), properties: Default::default(), subscriptions: filters[..].into() };
        let mut bytes = Vec::new();
        let packets = [
            Packet::Connect(Box::new(connect(version))),
            Packet::Subscribe(subscribe),
            publish(QoS::AtMostOnce, 0),
        ];
        packets.iter().for_each(|packet| packet.encode(version, &mut bytes).unwrap());
        let mut server = Server::new();
        let mut kinds = Vec::new();
        let mut rest = bytes.as_slice();
        loop {
            match server.connection.handle_input(rest, at(0)).unwrap() {
                Input::Event { event, consumed } => {
                    kinds.push(format!("{event:?}").chars().take(7).collect::<String>());
                    rest = rest.split_at(consumed).1;
                }
                Input::Waiting => {
                    let answer = ConnAck::default();
                    server.connection.answer_connect(answer, at(0), &mut server.output).unwrap();
                    kinds.push("answer".into());
                }
                _ => break,
            }
        }
        assert_eq!(kinds, ["Connect", "answer", "Subscri", "Publish"]);
    }
}

#[test]
fn m_30_packets_of_a_server_end_the_connection() {
    let connack = Packet::ConnAck(Box::default());
    for packet in [connack, Packet::PingResp] {
        Server::v5().assert_refused(&packet, 0x82, &[0xE0, 1, 0x82]);
        Server::v3().assert_refused(&packet, 0x82, b"");
    }
}

#[test]
fn m_36_m_44_a_message_can_be_refused_alone() {
    let mut server = Server::v5();
    let long = "a".repeat(1025);
    let refused = Packet::Publish(Publish { topic: &long, ..Publish::default() });
    assert!(server.send(&refused).unwrap().starts_with("PublishRefused"));
    assert_eq!(server.send(&publish(QoS::AtMostOnce, 0)), Ok("Publish t".into()));
}

#[test]
fn m_39_a_repeated_qos_2_id_takes_no_more_room() {
    let mut server = Server::v5();
    let pubrec = Ack::new(id(1), ReasonCode::Success);
    server.send(&publish(QoS::ExactlyOnce, 1)).unwrap();
    server.acknowledge(Packet::PubRec(pubrec.clone()));
    for _ in 0..1000 {
        server.send(&publish(QoS::ExactlyOnce, 1)).unwrap();
        server.connection.write_pubrec_again(&pubrec, &mut server.output).unwrap();
    }
    assert!(!server.connection.is_reading_paused());
}

#[test]
fn m_40_reading_pauses_at_the_receive_maximum_and_ends_at_twice_as_many() {
    let mut server = Server::v5();
    for packet_id in 1..=8 {
        server.send(&publish(QoS::AtLeastOnce, packet_id)).unwrap();
        assert_eq!(server.connection.is_reading_paused(), packet_id >= 4);
    }
    server.assert_refused(&publish(QoS::AtLeastOnce, 9), 0x93, &[0xE0, 1, 0x93]);

    let mut server = Server::v3();
    for packet_id in 1..=4 {
        server.send(&publish(QoS::AtLeastOnce, packet_id)).unwrap();
    }
    assert_eq!(server.send(&publish(QoS::AtLeastOnce, 5)), Ok("Waiting".into()));
    server.acknowledge(puback(1));
    assert_eq!(server.send(&publish(QoS::AtLeastOnce, 5)), Ok("Publish t".into()));
}

#[test]
fn m_40_reading_goes_on_when_only_the_client_can_make_room() {
    let mut server = Server::v5();
    for packet_id in 1..=4 {
        server.send(&publish(QoS::ExactlyOnce, packet_id)).unwrap();
        server.acknowledge(Packet::PubRec(Ack::new(id(packet_id), ReasonCode::Success)));
    }
    assert!(!server.connection.is_reading_paused());
    server.send(&publish(QoS::ExactlyOnce, 5)).unwrap();
    assert!(server.connection.is_reading_paused());
    server.acknowledge(Packet::PubRec(Ack::new(id(5), ReasonCode::QuotaExceeded)));
    server.send(&Packet::PubRel(Ack::new(id(1), ReasonCode::Success))).unwrap();
    server.acknowledge(Packet::PubComp(Ack::new(id(1), ReasonCode::Success)));
    server.send(&publish(QoS::ExactlyOnce, 6)).unwrap();
    assert!(server.connection.is_reading_paused());
}

#[test]
fn m_41_an_alias_stands_for_the_topic_that_it_was_last_given() {
    let mut server = Server::v5();
    assert_eq!(server.send(&aliased("a", 1)), Ok("Publish a".into()));
    assert_eq!(server.send(&aliased("", 1)), Ok("Publish a".into()));
    assert_eq!(server.send(&aliased("b", 1)), Ok("Publish b".into()));
    assert_eq!(server.send(&aliased("", 1)), Ok("Publish b".into()));
    server.assert_refused(&aliased("", 2), 0x82, &[0xE0, 1, 0x82]);
    Server::v5().assert_refused(&aliased("", 1), 0x82, &[0xE0, 1, 0x82]);
    assert_eq!(Server::v5().send(&aliased("a", 32)), Ok("Publish a".into()));
    Server::v5().assert_refused(&aliased("a", 33), 0x94, &[0xE0, 1, 0x94]);
}

#[test]
fn m_43_a_subscription_identifier_from_a_client_ends_the_connection() {
    let properties =
        PublishProperties { subscription_identifiers: [1][..].into(), ..PublishProperties::default() };
    let packet = Packet::Publish(Publish { topic: "t", properties, ..Publish::default() });
    Server::v5().assert_refused(&packet, 0x82, &[0xE0, 1, 0x82]);
}

#[test]
fn m_45_a_packet_over_the_maximum_ends_the_connection_on_its_header() {
    for (mut server, farewell) in [(Server::v5(), &[0xE0, 1, 0x95][..]), (Server::v3(), b"")] {
        let error = server.receive(&[0x30, 0xFD, 0xFF, 0x3F]).unwrap_err();
        assert_eq!(farewell_of(&error), farewell);
    }
}

#[test]
fn m_61_a_keep_alive_that_is_too_long_is_replaced_in_5_0_only() {
    for keep_alive in [0, 65_535] {
        for (version, timeout) in [
            (Version::V5, Some(at(1800))),
            (Version::V3, (keep_alive != 0).then(|| Duration::from_millis(98_302_500))),
        ] {
            let mut server = Server::new();
            let connect = Connect { keep_alive, ..connect(version) };
            server.send(&Packet::Connect(Box::new(connect))).unwrap();
            server.connection.answer_connect(ConnAck::default(), at(0), &mut server.output).unwrap();
            assert_eq!(server.connection.next_timeout(), timeout);
            let decoded = decode(&server.output, Some(version), &Limits::default()).unwrap();
            let Decoded::Packet { packet: Packet::ConnAck(connack), .. } = decoded else { panic!() };
            let told = (version == Version::V5).then_some(1200);
            assert_eq!(connack.properties.server_keep_alive, told);
        }
    }
}

#[test]
fn m_62_a_silent_client_is_given_one_and_a_half_times_its_keep_alive() {
    for (mut server, farewell) in [(Server::v5(), &[0xE0, 1, 0x8D][..]), (Server::v3(), b"")] {
        server.connection.handle_timeout(at(89)).unwrap();
        assert!(matches!(server.connection.handle_input(b"\xC0\0", at(89)), Ok(Input::Event { .. })));
        assert_eq!(server.connection.next_timeout(), Some(at(179)));
        let error = server.connection.handle_timeout(at(179)).unwrap_err();
        assert_eq!(farewell_of(&error), farewell);
    }
}

#[test]
fn m_62_a_client_that_we_do_not_listen_to_is_not_called_silent() {
    let mut server = Server::v5();
    for packet_id in 1..=4 {
        server.send(&publish(QoS::AtLeastOnce, packet_id)).unwrap();
    }
    server.connection.handle_timeout(at(90)).unwrap();
    assert_eq!(server.connection.next_timeout(), Some(at(180)));
}

#[test]
fn m_64_disconnect_cannot_raise_a_session_expiry_of_0() {
    let properties = DisconnectProperties { session_expiry: Some(10), ..DisconnectProperties::default() };
    let packet = Packet::Disconnect(Disconnect { reason: ReasonCode::Success, properties });
    Server::v5().assert_refused(&packet, 0x82, &[0xE0, 1, 0x82]);
    let properties = ConnectProperties { session_expiry: 5, ..ConnectProperties::default() };
    let mut server = Server::connected(Connect { properties, ..connect(Version::V5) });
    assert!(server.send(&packet).unwrap().starts_with("Disconnect"));
}

#[test]
fn m_70_a_publish_before_disconnect_counts_and_nothing_after_it() {
    let mut server = Server::v5();
    let bytes = b"\x30\x04\0\x01t\0\xE0\0\x30\x04\0\x01t\0";
    assert_eq!(server.receive(bytes), Ok("Publish t".into()));
    assert!(server.receive(bytes.split_at(6).1).unwrap().starts_with("Disconnect"));
    assert_eq!(server.receive(bytes.split_at(8).1), Ok("Closed".into()));
}

#[test]
fn m_24_auth_belongs_to_clients_that_named_a_method() {
    let properties =
        roost_wire::mqtt::AuthProperties { authentication_method: Some("m"), ..Default::default() };
    let auth = Packet::Auth(Auth { reason: ReasonCode::ContinueAuthentication, properties });
    Server::v5().assert_refused(&auth, 0x82, &[0xE0, 1, 0x82]);

    let properties = ConnectProperties { authentication_method: Some("m"), ..ConnectProperties::default() };
    let enhanced = Connect { properties, ..connect(Version::V5) };
    let mut server = Server::new();
    server.send(&Packet::Connect(Box::new(enhanced))).unwrap();
    assert!(server.send(&auth).unwrap().starts_with("Auth"));
    server.assert_refused(&publish(QoS::AtMostOnce, 0), 0x82, &[0x20, 3, 0, 0x82, 0]);
}

#[test]
fn the_answer_tells_our_limits_in_5_0() {
    let mut server = Server::new();
    server.send(&Packet::Connect(Box::new(connect(Version::V5)))).unwrap();
    server.connection.answer_connect(ConnAck::default(), at(0), &mut server.output).unwrap();
    let decoded = decode(&server.output, Some(Version::V5), &Limits::default()).unwrap();
    let Decoded::Packet { packet: Packet::ConnAck(connack), .. } = decoded else { panic!() };
    assert_eq!(connack.properties.receive_maximum, Some(id(4)));
    assert_eq!(connack.properties.maximum_packet_size, NonZeroU32::new(1024 * 1024));
    assert_eq!(connack.properties.topic_alias_maximum, 32);
}

#[test]
fn the_client_gets_no_more_in_flight_than_it_takes() {
    let properties = ConnectProperties { receive_maximum: Some(id(2)), ..ConnectProperties::default() };
    let mut server = Server::connected(Connect { properties, ..connect(Version::V5) });
    assert_eq!(server.connection.send_quota(), 2);
    server.acknowledge(publish(QoS::AtMostOnce, 0));
    server.acknowledge(publish(QoS::AtLeastOnce, 1));
    server.acknowledge(publish(QoS::ExactlyOnce, 2));
    assert_eq!(server.connection.send_quota(), 0);
    server.send(&puback(1)).unwrap();
    assert_eq!(server.connection.send_quota(), 1);
    server.send(&Packet::PubRec(Ack::new(id(2), ReasonCode::Success))).unwrap();
    assert_eq!(server.connection.send_quota(), 1);
    server.send(&Packet::PubComp(Ack::new(id(2), ReasonCode::Success))).unwrap();
    assert_eq!(server.connection.send_quota(), 2);
}

#[test]
fn what_is_too_large_for_the_client_is_not_sent() {
    let properties =
        ConnectProperties { maximum_packet_size: NonZeroU32::new(64), ..ConnectProperties::default() };
    let mut server = Server::connected(Connect { properties, ..connect(Version::V5) });
    let large = Publish { topic: "t", payload: &[0; 64], ..Publish::default() };
    let written = server.connection.write(&Packet::Publish(large), &mut server.output);
    assert_eq!(written, Err(WriteError::TooLarge));
    assert!(server.output.is_empty());
    // An acknowledgement goes without its words.
    let text = "x".repeat(64);
    let properties = AckProperties { reason_string: Some(&text), ..AckProperties::default() };
    let ack = Ack { packet_id: id(1), reason: ReasonCode::QuotaExceeded, properties };
    server.acknowledge(Packet::PubAck(ack));
    assert_eq!(server.output, [0x40, 3, 0, 1, 0x97]);
}

#[test]
fn a_client_that_wants_no_words_gets_none() {
    let properties = ConnectProperties { request_problem_information: false, ..ConnectProperties::default() };
    let mut server = Server::connected(Connect { properties, ..connect(Version::V5) });
    let properties = AckProperties { reason_string: Some("why"), ..AckProperties::default() };
    server.acknowledge(Packet::PubAck(Ack {
        packet_id: id(1),
        reason: ReasonCode::QuotaExceeded,
        properties,
    }));
    assert_eq!(server.output, [0x40, 3, 0, 1, 0x97]);
}

#[test]
fn a_topic_is_sent_once_where_the_client_takes_aliases() {
    let properties = ConnectProperties { topic_alias_maximum: 1, ..ConnectProperties::default() };
    let mut server = Server::connected(Connect { properties, ..connect(Version::V5) });
    for topic in ["a", "a", "b"] {
        let publish = Publish { topic, ..Publish::default() };
        server.connection.write_publish(&publish, &mut server.output).unwrap();
    }
    let known = [&[0x30, 7, 0, 1, b'a', 3, 35, 0, 1][..], &[0x30, 6, 0, 0, 3, 35, 0, 1]].concat();
    assert_eq!(server.output, [&known[..], &[0x30, 4, 0, 1, b'b', 0]].concat());
}

#[test]
fn an_alias_is_left_out_where_it_would_make_the_message_too_large() {
    let properties = ConnectProperties {
        topic_alias_maximum: 1,
        maximum_packet_size: NonZeroU32::new(20),
        ..ConnectProperties::default()
    };
    let mut server = Server::new();
    server.send(&Packet::Connect(Box::new(Connect { properties, ..connect(Version::V5) }))).unwrap();
    server.connection.answer_connect(ConnAck::default(), at(0), &mut server.output).unwrap();
    server.output.clear();
    let mut write = |payload: &[u8]| {
        server.output.clear();
        let publish = Publish { topic: "a", payload, ..Publish::default() };
        server.connection.write_publish(&publish, &mut server.output).map(|()| server.output.clone())
    };
    let plain = [&[0x30, 18, 0, 1, b'a', 0][..], &[7; 14]].concat();
    assert_eq!(write(&[7; 14]), Ok(plain.clone()));
    assert_eq!(write(&[7; 11]), Ok([&[0x30, 18, 0, 1, b'a', 3, 35, 0, 1][..], &[7; 11]].concat()));
    assert_eq!(write(&[7; 14]), Ok(plain));
    assert_eq!(write(&[7; 15]), Err(WriteError::TooLarge));
}

#[test]
fn closing_tells_a_client_of_5_0_why() {
    for (mut server, farewell) in [(Server::v5(), &[0xE0, 1, 0x8E][..]), (Server::v3(), b"")] {
        let disconnect = Disconnect::new(ReasonCode::SessionTakenOver);
        server.connection.close(&disconnect, &mut server.output).unwrap();
        assert_eq!(server.output, farewell);
        assert_eq!(server.receive(b"\xC0\0"), Ok("Closed".into()));
    }
}
