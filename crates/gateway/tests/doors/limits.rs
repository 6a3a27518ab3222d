//! Limits: what exceeds is told so in the words of its protocol; what abuses is slowed, then shut out.

use std::time::Duration;

use roost_gateway::Settings;
use roost_hub::limit::Limit;
use roost_hub::storage::memory::MemoryStore;
use roost_wire::mqtt::{Ack, Connect, Packet, QoS, ReasonCode, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{Client, PATIENCE, TOKEN, World, connect, hasty, publish};
use crate::http::{bearer, exchange};
use crate::websocket::{UPGRADE, ask, upgraded};

const BOTH: [Version; 2] = [Version::V3, Version::V5];

/// Nobody is exempt, not even this machine.
fn strict() -> Settings {
    Settings { trusted: Vec::new(), connects_per_second_max: 1_000, ..Settings::default() }
}

async fn reason(world: &World, connect: &Connect<'_>) -> ReasonCode {
    world.client().await.try_log_in(connect).await.reason
}

/// What a log-in is answered with; `None` when the connection is closed without a word.
async fn answer(world: &World, connect: &Connect<'_>) -> Option<u8> {
    let mut client = world.client().await;
    let mut bytes = Vec::new();
    Packet::Connect(Box::new(connect.clone())).encode(connect.version, &mut bytes).unwrap();
    // A connection that was closed already takes no bytes.
    drop(client.stream.write_all(&bytes).await);
    let mut said = [0; 4];
    let read = async {
        let mut count = 0;
        while count < said.len() {
            match client.stream.read(&mut said[count..]).await {
                Ok(0) | Err(_) => break,
                Ok(more) => count += more,
            }
        }
        count
    };
    let count = tokio::time::timeout(PATIENCE, read).await.unwrap();
    (count == 4).then_some(said[3])
}

#[tokio::test]
async fn before_there_is_an_owner_mqtt_is_not_available() {
    let settings = Settings { tick: Duration::from_millis(20), ..Settings::default() };
    let world = World::not_set_up(MemoryStore::store(), (settings, roost_hub::Settings::default()), None);
    for version in BOTH {
        assert_eq!(reason(&world, &connect(version)).await, ReasonCode::ServerUnavailable);
        let nobody = Connect { username: None, password: None, ..connect(version) };
        assert_eq!(reason(&world, &nobody).await, ReasonCode::ServerUnavailable);
    }
    let world = world.set_up().await;
    for version in BOTH {
        assert_eq!(reason(&world, &connect(version)).await, ReasonCode::Success);
    }
}

#[tokio::test]
async fn m_71_who_connects_too_often_is_told_so_and_then_closed_without_a_word() {
    let settings = Settings { connects_per_second_max: 1, ..strict() };
    let world = World::within(settings, roost_hub::Settings::default()).await;
    let mut answers = Vec::new();
    for number in 0..10 {
        let version = BOTH[number % 2];
        answers.push(answer(&world, &connect(version)).await);
    }
    assert_eq!(answers[0], Some(0));
    assert!(answers.contains(&Some(ReasonCode::ConnectionRateExceeded.code())), "{answers:?}");
    assert!(answers.contains(&Some(3)), "3.1.1 has its own word: {answers:?}");
    assert_eq!(answers.last(), Some(&None));
    assert!(world.hub.refusals.of(Limit::ConnectRate) >= 4);
}

#[tokio::test]
async fn m_71_over_http_it_is_429_with_the_time_to_wait() {
    let settings = Settings { connects_per_second_max: 1, ..strict() };
    let world = World::within(settings, roost_hub::Settings::default()).await;
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(ask(&world, &format!("GET /api/v1/echo HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n")).await.1);
    }
    let told = answers.iter().find(|answer| answer.starts_with("HTTP/1.1 429 "));
    assert!(told.unwrap().to_lowercase().contains("retry-after: "), "{answers:?}");
}

#[tokio::test]
async fn w_20_upgrades_beyond_what_fits_are_503_and_open_ones_go_on() {
    let settings = Settings { connections_max: 3, ..Settings::default() };
    let world = World::within(settings, roost_hub::Settings::default()).await;
    let path = format!("/api/v1/echo?token={TOKEN}");
    let mut open = world.connected(Version::V5).await;
    let _first = upgraded(&world, &path, "").await;
    let _second = upgraded(&world, &path, "").await;
    for _ in 0..50 {
        let (_stream, answer) =
            ask(&world, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.to_lowercase().contains("retry-after: "), "{answer}");
    }
    assert_eq!(answer(&world, &connect(Version::V5)).await, Some(ReasonCode::ServerBusy.code()));
    assert_eq!(answer(&world, &connect(Version::V3)).await, Some(3));
    open.ping().await;
    assert_eq!(world.hub.refusals.of(Limit::Connections), 52);
    let open: Vec<_> = world.hub.doors.all().filter(|(_, count)| *count > 0).collect();
    assert_eq!(open, [("mqtt", 1), ("websocket", 2)]);
}

#[tokio::test]
async fn one_address_has_its_share_of_connections() {
    let settings = Settings { connections_per_address_max: 2, ..strict() };
    let world = World::within(settings, roost_hub::Settings::default()).await;
    let _first = world.connected(Version::V5).await;
    let _silent = TcpStream::connect(world.mqtt).await.unwrap();
    assert_eq!(answer(&world, &connect(Version::V5)).await, Some(ReasonCode::QuotaExceeded.code()));
    assert_eq!(answer(&world, &connect(Version::V3)).await, Some(3));
    assert_eq!(world.hub.refusals.of(Limit::ConnectionsPerAddress), 2);
}

#[tokio::test]
async fn a_tenant_has_its_share_of_connections() {
    let hub = roost_hub::Settings { tenant_connections_max: 2, ..roost_hub::Settings::default() };
    let world = World::within(Settings::default(), hub).await;
    let first = world.connected(Version::V5).await;
    let mut second = world.owner("app").await;
    for version in BOTH {
        let third = Connect { client_id: "third", ..connect(version) };
        let expected =
            if version == Version::V5 { ReasonCode::QuotaExceeded } else { ReasonCode::ServerUnavailable };
        assert_eq!(reason(&world, &third).await, expected);
    }
    assert!(world.flight()[0].contains("a tenant may have 2 connections at most"), "{:?}", world.flight());
    assert_eq!(world.hub.refusals.of(Limit::ConnectionsPerTenant), 2);
    // Who comes back under its own client id takes its own place.
    let again = world.connected(Version::V5).await;
    drop((first, again));
    second.ping().await;
    let third = Connect { client_id: "third", ..connect(Version::V5) };
    while reason(&world, &third).await != ReasonCode::Success {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn m_01_a_silent_connection_counts_as_refused_by_the_login_timeout() {
    let world = World::with(hasty()).await;
    assert_eq!(world.client().await.rest().await, b"");
    assert_eq!(exchange(&world, b"GET / HTTP/1.1\r\n").await.0, 408);
    assert_eq!(world.hub.refusals.of(Limit::LoginTimeout), 2);
}

#[tokio::test]
async fn an_address_that_sends_malformed_packets_again_and_again_is_shut_out() {
    let hub = roost_hub::Settings { malformed_max: 3, ..roost_hub::Settings::default() };
    let world = World::within(strict(), hub).await;
    let mut known = world.connected(Version::V5).await;
    for _ in 0..3 {
        let mut client = world.client().await;
        client.bytes(b"\x10\xFF\xFF\xFF\xFF\x7F").await;
        assert_eq!(client.rest().await, b"");
    }
    assert_eq!(answer(&world, &connect(Version::V5)).await, Some(ReasonCode::Banned.code()));
    assert_eq!(answer(&world, &connect(Version::V3)).await, Some(5));
    assert_eq!(exchange(&world, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.0, 429);
    assert_eq!(world.hub.refusals.of(Limit::ShutOut), 3);
    known.ping().await;
    world.advance(Duration::from_secs(61));
    let mut back = None;
    while back != Some(0) {
        // The clock of the doors is read at each tick.
        back = answer(&world, &connect(Version::V5)).await;
    }
}

#[tokio::test]
async fn a_device_that_sends_malformed_packets_is_shut_out_and_its_neighbours_are_not() {
    let hub = roost_hub::Settings { malformed_max: 3, ..roost_hub::Settings::default() };
    let world = World::within(strict(), hub).await;
    for _ in 0..3 {
        let mut client = world.connected(Version::V5).await;
        client.bytes(b"\xC1\x00").await;
        assert_eq!(client.expect_reason().await, ReasonCode::MalformedPacket);
        client.rest().await;
    }
    assert_eq!(reason(&world, &connect(Version::V5)).await, ReasonCode::Banned);
    assert_eq!(reason(&world, &connect(Version::V3)).await, ReasonCode::NotAuthorized);
    let flight = world.flight();
    assert!(flight.iter().any(|line| line.contains("shut out for 60 s: too many malformed")), "{flight:?}");
    world.owner("app").await.ping().await;
    world.advance(Duration::from_secs(61));
    assert_eq!(reason(&world, &connect(Version::V5)).await, ReasonCode::Success);
}

#[tokio::test]
async fn a_trusted_address_may_send_what_it_likes_and_connect_as_often() {
    let hub = roost_hub::Settings { malformed_max: 3, ..roost_hub::Settings::default() };
    let settings = Settings { connects_per_second_max: 1, ..Settings::default() };
    let world = World::within(settings, hub).await;
    for _ in 0..10 {
        let mut client = world.connected(Version::V5).await;
        client.bytes(b"\xC1\x00").await;
        client.rest().await;
    }
    assert_eq!(reason(&world, &connect(Version::V5)).await, ReasonCode::Success);
    assert_eq!(world.hub.refusals.all().map(|(_, count)| count).sum::<u64>(), 0);
}

#[tokio::test]
async fn m_29_clients_that_throw_each_other_out_take_turns_slowly() {
    let world = World::new().await;
    let mut last: Option<Client> = None;
    for _ in 0..4 {
        let next = world.connected(Version::V5).await;
        if let Some(mut older) = last.replace(next) {
            assert_eq!(older.expect_reason().await, ReasonCode::SessionTakenOver);
        }
    }
    assert_eq!(world.hub.refusals.of(Limit::TakeoverRate), 0);
    let (mut one, mut two) = (world.client().await, world.client().await);
    let (one_connect, two_connect) = (connect(Version::V5), connect(Version::V5));
    let answers = tokio::join!(one.try_log_in(&one_connect), two.try_log_in(&two_connect));
    let mut reasons = [answers.0.reason, answers.1.reason];
    reasons.sort_by_key(|reason| reason.code());
    assert_eq!(reasons, [ReasonCode::Success, ReasonCode::ConnectionRateExceeded]);
    assert!(world.hub.refusals.of(Limit::TakeoverRate) >= 2);
    let flight = world.flight();
    let line = flight.iter().find(|line| line.starts_with("duplicate client id \"client\": ")).unwrap();
    assert_eq!(line.matches("127.0.0.1:").count(), 2, "{line}");
    assert!(flight.iter().any(|line| line.contains("others with this client id were faster")), "{flight:?}");
}

#[tokio::test]
async fn x_05_a_second_connection_with_one_credential_is_seen() {
    let world = World::new().await;
    let _one = world.connected(Version::V5).await;
    let mut two = world.client().await;
    two.log_in(&Connect { client_id: "clone", ..connect(Version::V5) }).await;
    assert!(world.flight()[0].ends_with(", beside 1 that are open"), "{:?}", world.flight());
}

#[tokio::test]
async fn m_36_topics_have_as_many_bytes_and_levels_as_the_operator_says() {
    let mut settings = Settings::default();
    settings.mqtt.limits.topic_bytes_max = 20;
    settings.mqtt.limits.topic_levels_max = 3;
    let hub =
        roost_hub::Settings { topic_length_max: 20, topic_levels_max: 3, ..roost_hub::Settings::default() };
    let world = World::within(settings, hub).await;
    let mut owner = world.owner("app").await;
    let long = "x".repeat(21);
    for topic in [long.as_str(), "a/b/c/d"] {
        owner.publish(publish(topic, "x", QoS::AtLeastOnce, 1)).await;
        assert_eq!(owner.expect_reason().await, ReasonCode::TopicNameInvalid);
        assert_eq!(owner.subscribe(topic, QoS::AtMostOnce).await, [ReasonCode::TopicFilterInvalid.code()]);
        let body = format!("{{\"topic\":\"{topic}\",\"payload\":1}}");
        let head = format!("{}Content-Length: {}", bearer(TOKEN), body.len());
        let request = format!(
            "POST /api/v1/publish HTTP/1.1\r\nHost: x\r\n{head}\r\nContent-Type: application/json\r\n\
             Connection: close\r\n\r\n{body}"
        );
        let (status, body) = exchange(&world, request.as_bytes()).await;
        assert_eq!(status, 422, "{body}");
        assert!(body.contains("at most 20 bytes and 3 levels"), "{body}");
    }
    owner.publish(publish("a/b/c", "x", QoS::AtLeastOnce, 2)).await;
    assert!(!owner.expect_reason().await.is_error());
    let mut old = world.connected(Version::V3).await;
    old.publish(publish(&long, "x", QoS::AtLeastOnce, 1)).await;
    assert_eq!(old.rest().await, b"");
    assert_eq!(world.hub.refusals.of(Limit::Topic), 7);
}

#[tokio::test]
async fn m_47_the_retained_messages_of_a_tenant_have_their_bytes() {
    // The device's own status is one of them.
    let status = "devices/s1/status".len() + "online".len();
    let status = u64::try_from(status).unwrap();
    let hub = roost_hub::Settings { retained_bytes_max: 10 + status, ..roost_hub::Settings::default() };
    let world = World::within(Settings::default(), hub).await;
    let mut device = world.connected(Version::V5).await;
    for (topic, payload, is_taken) in [
        ("a", "12345", true),
        ("b", "12345", false),
        ("a", "1234567890", false),
        ("a", "123456789", true),
        ("a", "1", true),
        ("b", "12345", true),
    ] {
        let message = publish(topic, payload, QoS::AtLeastOnce, 1);
        device.publish(roost_wire::mqtt::Publish { retain: true, ..message }).await;
        let reason = device.expect_reason().await;
        assert_eq!(reason == ReasonCode::QuotaExceeded, !is_taken, "{topic} {payload} {reason}");
    }
    assert_eq!(world.hub.counters.retained_bytes.value(), 8 + status);
    assert_eq!(world.hub.refusals.of(Limit::RetainedBytes), 2);
    assert!(world.flight().iter().any(|line| line.contains("as many bytes as they may")));
    let mut old = world.connected(Version::V3).await;
    old.publish(roost_wire::mqtt::Publish {
        retain: true,
        ..publish("c", "1234567890", QoS::AtLeastOnce, 1)
    })
    .await;
    assert_eq!(old.rest().await, b"");
}

#[tokio::test]
async fn a_client_gets_as_many_messages_at_once_as_the_operator_says() {
    let hub = roost_hub::Settings { in_flight_max: 5, ..roost_hub::Settings::default() };
    let world = World::within(Settings::default(), hub).await;
    let mut reader = world.connected(Version::V3).await;
    reader.subscribe("t", QoS::AtLeastOnce).await;
    let mut owner = world.owner("app").await;
    for number in 1..=10 {
        owner.publish(publish("t", "x", QoS::AtLeastOnce, number)).await;
        owner.expect_reason().await;
    }
    let mut first = None;
    for _ in 0..5 {
        let id = reader
            .expect(|packet| match packet {
                Packet::Publish(publish) => publish.packet_id.unwrap(),
                other => panic!("no PUBLISH: {other:?}"),
            })
            .await;
        first.get_or_insert(id);
    }
    reader.ping().await;
    reader.send(&Packet::PubAck(Ack::new(first.unwrap(), ReasonCode::Success))).await;
    reader.expect_publish().await;
    reader.ping().await;
}

/// A device may publish one message in a second.
async fn slow_world() -> World {
    let hub = roost_hub::Settings { publish_rate_max: 1, ..roost_hub::Settings::default() };
    World::within(Settings::default(), hub).await
}

#[tokio::test]
async fn a_device_over_its_rate_is_read_from_more_slowly_and_loses_nothing() {
    for version in BOTH {
        let world = slow_world().await;
        let mut owner = world.owner("app").await;
        owner.subscribe("t", QoS::AtMostOnce).await;
        let mut device = world.connected(version).await;
        let mut bytes = Vec::new();
        for number in 1..=8 {
            publish("t", "x", QoS::AtLeastOnce, number).encode(version, &mut bytes).unwrap();
        }
        bytes.extend_from_slice(b"\xC0\x00");
        device.bytes(&bytes).await;
        for _ in 0..8 {
            assert_eq!(device.expect_reason().await, ReasonCode::Success);
            owner.expect_publish().await;
            world.advance(Duration::from_secs(1));
        }
        device.expect_packet(Packet::PingResp).await;
        assert!(world.hub.refusals.of(Limit::PublishRate) >= 1);
        let slowed = world.flight().into_iter().filter(|line| line.contains("faster than it may")).count();
        assert!(slowed >= 1, "{:?}", world.flight());
    }
}

#[tokio::test]
async fn a_device_that_stays_over_its_rate_is_told_so() {
    let world = slow_world().await;
    let mut device = world.connected(Version::V5).await;
    let mut bytes = Vec::new();
    for number in 1..=300 {
        publish("t", "x", QoS::AtLeastOnce, number).encode(Version::V5, &mut bytes).unwrap();
    }
    device.bytes(&bytes).await;
    let mut reasons = Vec::new();
    while !reasons.contains(&ReasonCode::QuotaExceeded) {
        reasons.push(device.expect_reason().await);
        world.advance(Duration::from_millis(600));
    }
    assert!(reasons.len() > 10, "{reasons:?}");
}

#[tokio::test]
async fn all_connections_of_a_device_share_its_rate_and_http_says_429() {
    let hub = roost_hub::Settings { publish_bytes_max: 1, ..roost_hub::Settings::default() };
    let world = World::within(Settings::default(), hub).await;
    let mut one = world.connected(Version::V5).await;
    one.publish(publish("t", "twenty bytes, or more", QoS::AtLeastOnce, 1)).await;
    one.expect_reason().await;
    let body = "{\"temp\":1}";
    let head = format!("{}Content-Length: {}", bearer(TOKEN), body.len());
    let request = format!(
        "POST /api/v1/me/telemetry HTTP/1.1\r\nHost: x\r\n{head}\r\nContent-Type: application/json\r\n\
         Connection: close\r\n\r\n{body}"
    );
    assert_eq!(exchange(&world, request.as_bytes()).await.0, 429);
    world.advance(Duration::from_secs(12));
    assert_eq!(exchange(&world, request.as_bytes()).await.0, 204);
}

#[tokio::test]
async fn an_application_has_no_publish_rate() {
    let world = slow_world().await;
    let mut owner = world.owner("app").await;
    for number in 1..=200 {
        owner.publish(publish("t", "x", QoS::AtLeastOnce, number)).await;
        owner.expect_reason().await;
    }
    assert_eq!(world.hub.refusals.of(Limit::PublishRate), 0);
}
