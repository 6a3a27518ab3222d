//! MQTT between log-in and good-bye.

use std::num::NonZeroU16;

use roost_gateway::Settings;
use roost_hub::mailbox::{CommandState, NewCommand};
use roost_wire::mqtt::{
    Ack, Connect, ConnectProperties, Packet, Publish, PublishProperties, QoS, ReasonCode, Version,
};

use crate::common::{PATIENCE, World, connect, device, publish, tenant};

fn id(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

#[tokio::test]
async fn a_reading_comes_to_who_subscribed_under_the_name_it_was_subscribed_by() {
    let world = World::new().await;
    let mut device = world.connected(Version::V3).await;
    let mut owner = world.owner("app").await;
    assert_eq!(owner.subscribe("devices/+/telemetry", QoS::AtLeastOnce).await, [1]);
    assert_eq!(device.subscribe("me/telemetry", QoS::AtMostOnce).await, [0]);
    device.publish(publish("me/telemetry", r#"{"temp":21.5}"#, QoS::AtLeastOnce, 7)).await;
    assert_eq!(device.expect_reason().await, ReasonCode::Success);
    assert_eq!(device.expect_publish().await, ("me/telemetry".to_owned(), r#"{"temp":21.5}"#.to_owned()));
    assert_eq!(owner.expect_publish().await.0, "devices/s1/telemetry");
    drop((device, owner));
    world.stop().await;
}

#[tokio::test]
async fn qos_2_is_handed_over_once_in_four_steps() {
    let world = World::new().await;
    let mut device = world.connected(Version::V5).await;
    device.subscribe("t", QoS::ExactlyOnce).await;
    for _ in 0..3 {
        device.publish(publish("t", "x", QoS::ExactlyOnce, 9)).await;
    }
    let release = |id, reason| Packet::PubRel(Ack::new(id, reason));
    device.send(&release(id(9), ReasonCode::Success)).await;
    let mut kinds = Vec::new();
    for _ in 0..5 {
        kinds.push(device.expect_text().await.split_once('(').unwrap().0.to_owned());
    }
    kinds.sort();
    assert_eq!(kinds, ["PubComp", "PubRec", "PubRec", "PubRec", "Publish"]);
    device.send(&Packet::PubRec(Ack::new(id(1), ReasonCode::Success))).await;
    device.expect_packet(release(id(1), ReasonCode::Success)).await;
    device.send(&Packet::PubComp(Ack::new(id(1), ReasonCode::Success))).await;
    device.ping().await;
}

#[tokio::test]
async fn a_command_reaches_the_device_and_its_answer_the_mailbox() {
    let world = World::new().await;
    let mut client = world.connected(Version::V5).await;
    client.subscribe("me/commands", QoS::AtLeastOnce).await;
    let new = NewCommand { name: "blink".to_owned(), ..NewCommand::default() };
    let command = world.hub.send_command(&tenant(), &device(), new).await.unwrap();
    let (topic, packet_id) = client
        .expect(|packet| match packet {
            Packet::Publish(publish) => (publish.topic.to_owned(), publish.packet_id.unwrap()),
            other => panic!("{other:?}"),
        })
        .await;
    assert_eq!(topic, "me/commands");
    client.send(&Packet::PubAck(Ack::new(packet_id, ReasonCode::Success))).await;
    let topic = format!("me/commands/{}/result", command.id);
    client.publish(publish(&topic, r#"{"ok":true,"result":7}"#, QoS::AtLeastOnce, 1)).await;
    assert!(!client.expect_reason().await.is_error());
    let command = world.hub.command(&tenant(), &device(), &command.id).unwrap().unwrap();
    assert_eq!(command.state, CommandState::Succeeded);
    assert!(command.delivered_at.is_some());
}

#[tokio::test]
async fn telemetry_that_cannot_be_read_is_refused_in_either_versions_words() {
    let world = World::new().await;
    let mut owner = world.owner("app").await;
    owner.subscribe("devices/+/telemetry", QoS::AtMostOnce).await;
    for version in [Version::V3, Version::V5] {
        let mut device = world.connected(version).await;
        let expected = match version {
            Version::V3 => ReasonCode::Success,
            Version::V5 => ReasonCode::PayloadFormatInvalid,
        };
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            device.publish(publish("me/telemetry", "{\"a\":NaN}", qos, 1)).await;
            assert_eq!(device.expect_reason().await, expected);
        }
        device.publish(publish("me/telemetry", "{\"a\":NaN}", QoS::AtMostOnce, 0)).await;
        device.ping().await;
    }
    assert_eq!(world.hub.counters.telemetry_refused_total.value(), 6);
    // Nothing came before the answer.
    owner.ping().await;
}

#[tokio::test]
async fn a_message_with_all_its_properties_arrives_as_it_was_sent() {
    let world = World::new().await;
    let mut device = world.connected(Version::V5).await;
    device.subscribe("t", QoS::AtLeastOnce).await;
    let user = [("b", "2"), ("a", "1"), ("b", "3")];
    let properties = PublishProperties {
        payload_format: Some(roost_wire::mqtt::PayloadFormat::Text),
        message_expiry: Some(100),
        response_topic: Some("answers"),
        correlation_data: Some(b"\x00\x01"),
        content_type: Some("text/plain"),
        user_properties: user.as_slice().into(),
        ..PublishProperties::default()
    };
    let sent = Publish { properties, ..publish("t", "payload", QoS::AtMostOnce, 0) };
    device.publish(sent.clone()).await;
    device.expect_packet(Packet::Publish(sent)).await;
}

#[tokio::test]
async fn m_40_a_client_that_minds_no_receive_maximum_is_cut_off_at_twice_of_it() {
    let mut settings = Settings::default();
    settings.mqtt.receive_maximum = id(4);
    let world = World::with(settings).await;
    let mut device = world.connected(Version::V5).await;
    // QoS 2 stays in flight until PUBREL, which never comes.
    for number in 1..=9 {
        device.publish(publish("t", "x", QoS::ExactlyOnce, number)).await;
    }
    let mut reason = ReasonCode::Success;
    while !reason.is_error() {
        reason = device.expect_reason().await;
    }
    assert_eq!(reason, ReasonCode::ReceiveMaximumExceeded);
}

#[tokio::test]
async fn m_39_the_same_packet_id_again_and_again_takes_no_more_room() {
    let world = World::new().await;
    let mut device = world.connected(Version::V5).await;
    for _ in 0..5_000 {
        device.publish(publish("t", "x", QoS::ExactlyOnce, 9)).await;
    }
    for _ in 0..5_000 {
        assert!(!device.expect_reason().await.is_error());
    }
    device.ping().await;
}

#[tokio::test]
async fn m_62_a_silent_client_is_given_one_and_a_half_times_its_keep_alive() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.log_in(&Connect { keep_alive: 1, ..connect(Version::V5) }).await;
    assert_eq!(client.expect_reason().await, ReasonCode::KeepAliveTimeout);
}

#[tokio::test]
async fn m_67_a_reader_that_stops_holds_up_nobody_and_loses_qos_0_first() {
    let world = World::new().await;
    let mut stuck = world.connected(Version::V5).await;
    stuck.subscribe("t", QoS::AtMostOnce).await;
    let mut owner = world.owner("app").await;
    let large = "x".repeat(60_000);
    let mut dropped = 0;
    for number in 1..2_000 {
        owner.publish(publish("t", &large, QoS::AtLeastOnce, number)).await;
        assert!(!owner.expect_reason().await.is_error());
        dropped = world.hub.counters.messages_dropped_slow_total.value();
        if dropped > 10 {
            break;
        }
    }
    assert!(dropped > 10);
    owner.ping().await;
}

#[tokio::test]
async fn m_68_packets_cut_at_every_byte_mean_the_same() {
    let world = World::new().await;
    let mut device = world.connected(Version::V3).await;
    device.subscribe("t", QoS::AtMostOnce).await;
    let mut bytes = Vec::new();
    publish("t", "cut", QoS::AtLeastOnce, 3).encode(Version::V3, &mut bytes).unwrap();
    for byte in &bytes {
        device.bytes(std::slice::from_ref(byte)).await;
    }
    assert!(device.expect_text().await.starts_with("PubAck"));
    assert_eq!(device.expect_publish().await.1, "cut");
    let thousand: Vec<u8> = (0..1_000)
        .flat_map(|number| {
            let mut bytes = Vec::new();
            publish("t", &number.to_string(), QoS::AtMostOnce, 0).encode(Version::V3, &mut bytes).unwrap();
            bytes
        })
        .collect();
    device.bytes(&thousand).await;
    for number in 0..1_000 {
        assert_eq!(device.expect_publish().await.1, number.to_string());
    }
}

#[tokio::test]
async fn m_70_a_publish_just_before_the_end_counts() {
    let world = World::new().await;
    let mut owner = world.owner("app").await;
    owner.subscribe("t", QoS::AtMostOnce).await;
    let mut device = world.connected(Version::V3).await;
    let mut bytes = Vec::new();
    publish("t", "last", QoS::AtMostOnce, 0).encode(Version::V3, &mut bytes).unwrap();
    bytes.extend_from_slice(&[0xE0, 0x00]);
    device.bytes(&bytes).await;
    drop(device);
    assert_eq!(owner.expect_publish().await.1, "last");
}

#[tokio::test]
async fn a_large_message_passes_in_many_reads() {
    let world = World::new().await;
    let mut device = world.connected(Version::V5).await;
    device.subscribe("t", QoS::AtLeastOnce).await;
    let large = "y".repeat(1_000_000);
    device.publish(publish("t", &large, QoS::AtMostOnce, 0)).await;
    assert_eq!(device.expect_publish().await.1.len(), large.len());
}

#[tokio::test]
async fn a_client_gets_no_packet_larger_than_it_takes() {
    let world = World::new().await;
    let mut client = world.client().await;
    let properties = ConnectProperties {
        maximum_packet_size: std::num::NonZeroU32::new(100),
        ..ConnectProperties::default()
    };
    client.log_in(&Connect { properties, ..connect(Version::V5) }).await;
    client.subscribe("t", QoS::AtLeastOnce).await;
    let mut owner = world.owner("app").await;
    owner.publish(publish("t", &"x".repeat(200), QoS::AtLeastOnce, 1)).await;
    owner.publish(publish("t", "small", QoS::AtLeastOnce, 2)).await;
    assert_eq!(client.expect_publish().await.1, "small");
}

#[tokio::test]
async fn topics_get_aliases_where_the_client_allows_them() {
    let world = World::new().await;
    let mut client = world.client().await;
    let properties = ConnectProperties { topic_alias_maximum: 2, ..ConnectProperties::default() };
    client.log_in(&Connect { properties, ..connect(Version::V5) }).await;
    client.subscribe("a/long/topic", QoS::AtMostOnce).await;
    for _ in 0..2 {
        client.publish(publish("a/long/topic", "x", QoS::AtMostOnce, 0)).await;
    }
    let alias = |packet: Packet<'_>| match packet {
        Packet::Publish(publish) => (publish.topic.to_owned(), publish.properties.topic_alias),
        other => panic!("{other:?}"),
    };
    assert_eq!(client.expect(alias).await, ("a/long/topic".to_owned(), Some(id(1))));
    assert_eq!(client.expect(alias).await, (String::new(), Some(id(1))));
}

#[tokio::test]
async fn a_server_that_stops_says_so() {
    let world = World::new().await;
    let mut modern = world.connected(Version::V5).await;
    world.ask_to_stop();
    assert_eq!(modern.expect_reason().await, ReasonCode::ServerShuttingDown);
    assert_eq!(modern.rest().await, b"");
    drop(modern);
    world.stop().await;
}

#[tokio::test]
async fn a_revoked_device_is_cut_off() {
    let world = World::new().await;
    let mut client = world.connected(Version::V5).await;
    world.hub.delete_device(&tenant(), &device()).await.unwrap();
    assert_eq!(client.expect_reason().await, ReasonCode::NotAuthorized);
    let mut client = world.client().await;
    let refused = client.try_log_in(&connect(Version::V5)).await;
    assert_eq!(refused.reason, ReasonCode::BadUserNameOrPassword);
}

#[tokio::test]
async fn connections_come_and_go_and_leave_nothing_behind() {
    let world = World::new().await;
    let mut clients = Vec::new();
    for number in 0..200 {
        let mut client = world.client().await;
        let id = format!("c{number}");
        client.log_in(&Connect { client_id: &id, ..connect(Version::V5) }).await;
        clients.push(client);
    }
    assert_eq!(world.hub.counters.connections.value(), 200);
    drop(clients);
    let gone = async {
        while world.hub.counters.connections.value() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("connections stay");
    assert_eq!(world.hub.counters.panics_total.value(), 0);
}
