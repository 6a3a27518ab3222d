//! CONNECT: who is let in, and what is said to the others.

use roost_hub::principal::Role;
use roost_wire::mqtt::{Connect, ConnectProperties, Packet, QoS, ReasonCode, Version, Will, WillProperties};

use crate::common::{ADMIN, TOKEN, World, connect, hasty, publish};

async fn reason(world: &World, connect: &Connect<'_>) -> ReasonCode {
    let mut client = world.client().await;
    let answer = client.try_log_in(connect).await;
    if answer.reason != ReasonCode::Success {
        assert_eq!(client.rest().await, b"");
    }
    answer.reason
}

#[tokio::test]
async fn a_device_logs_in_by_id_and_token_or_by_token_alone_and_an_application_by_its_token() {
    let world = World::new().await;
    for version in [Version::V3, Version::V5] {
        let base = connect(version);
        assert_eq!(reason(&world, &base).await, ReasonCode::Success);
        let alone = Connect { username: Some(TOKEN), password: None, ..base.clone() };
        assert_eq!(reason(&world, &alone).await, ReasonCode::Success);
        let application = Connect {
            username: Some("x"),
            password: Some(ADMIN.as_bytes()),
            client_id: "app",
            ..base.clone()
        };
        assert_eq!(reason(&world, &application).await, ReasonCode::Success);
        let wrong = Connect { password: Some(b"wrong"), ..base.clone() };
        assert_eq!(reason(&world, &wrong).await, ReasonCode::BadUserNameOrPassword);
        let nobody = Connect { username: None, password: None, ..base };
        assert_eq!(reason(&world, &nobody).await, ReasonCode::NotAuthorized);
    }
}

#[tokio::test]
async fn m_01_silence_is_closed() {
    let world = World::with(hasty()).await;
    assert_eq!(world.client().await.rest().await, b"");
}

#[tokio::test]
async fn m_02_one_deadline_holds_for_the_whole_connect() {
    let world = World::with(hasty()).await;
    let mut client = world.client().await;
    client.bytes(&[0x10, 0x20, 0x00]).await;
    client.bytes(&[0x04]).await;
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn m_14_an_empty_client_id_is_replaced_by_one_of_ours() {
    let world = World::new().await;
    let mut client = world.client().await;
    let answer = client.log_in(&Connect { client_id: "", ..connect(Version::V5) }).await;
    assert!(answer.assigned.is_some_and(|id| !id.is_empty()));
    let kept = Connect { client_id: "", clean_start: false, ..connect(Version::V3) };
    assert_eq!(reason(&world, &kept).await, ReasonCode::ClientIdentifierNotValid);
    let clean = Connect { client_id: "", ..connect(Version::V3) };
    assert_eq!(reason(&world, &clean).await, ReasonCode::Success);
}

#[tokio::test]
async fn m_15_a_long_client_id_is_refused() {
    let world = World::new().await;
    let long = "x".repeat(257);
    for version in [Version::V3, Version::V5] {
        let long = Connect { client_id: &long, ..connect(version) };
        assert_eq!(reason(&world, &long).await, ReasonCode::ClientIdentifierNotValid);
    }
    let longest = "x".repeat(256);
    assert_eq!(
        reason(&world, &Connect { client_id: &longest, ..connect(Version::V5) }).await,
        ReasonCode::Success
    );
}

#[tokio::test]
async fn m_22_a_will_that_may_not_be_said_refuses_the_connection() {
    let world = World::new().await;
    for topic in ["$SYS/x", "devices/other/telemetry", "devices/s1/commands"] {
        let will = Will {
            qos: QoS::AtMostOnce,
            retain: false,
            topic,
            payload: b"{}",
            properties: WillProperties::default(),
        };
        let refused = reason(&world, &Connect { will: Some(will.clone()), ..connect(Version::V5) }).await;
        assert!(
            [ReasonCode::NotAuthorized, ReasonCode::TopicNameInvalid].contains(&refused),
            "{topic} {refused}"
        );
        let refused = reason(&world, &Connect { will: Some(will), ..connect(Version::V3) }).await;
        assert_eq!(refused, ReasonCode::NotAuthorized, "{topic}");
    }
}

#[tokio::test]
async fn m_24_enhanced_authentication_is_refused() {
    let world = World::new().await;
    let properties =
        ConnectProperties { authentication_method: Some("SCRAM-SHA-256"), ..ConnectProperties::default() };
    let refused = reason(&world, &Connect { properties, ..connect(Version::V5) }).await;
    assert_eq!(refused, ReasonCode::BadAuthenticationMethod);
}

#[tokio::test]
async fn m_26_what_follows_a_refused_connect_does_not_act() {
    let world = World::new().await;
    let mut owner = world.owner("app").await;
    owner.subscribe("t", QoS::AtMostOnce).await;
    let mut client = world.client().await;
    let mut bytes = Vec::new();
    let refused = Connect { password: Some(b"wrong"), ..connect(Version::V5) };
    Packet::Connect(Box::new(refused)).encode(Version::V5, &mut bytes).unwrap();
    publish("t", "x", QoS::AtMostOnce, 0).encode(Version::V5, &mut bytes).unwrap();
    client.bytes(&bytes).await;
    assert_eq!(client.expect_reason().await, ReasonCode::BadUserNameOrPassword);
    assert_eq!(client.rest().await, b"");
    owner.publish(publish("t", "after", QoS::AtMostOnce, 0)).await;
    assert_eq!(owner.expect_publish().await.1, "after");
}

#[tokio::test]
async fn m_27_a_whole_conversation_in_one_segment_is_handled_in_order() {
    let world = World::new().await;
    let mut client = world.client().await;
    let mut bytes = Vec::new();
    Packet::Connect(Box::new(connect(Version::V3))).encode(Version::V3, &mut bytes).unwrap();
    bytes.extend_from_slice(b"\x82\x06\x00\x01\x00\x01t\x00");
    publish("t", "x", QoS::AtLeastOnce, 2).encode(Version::V3, &mut bytes).unwrap();
    client.version = Version::V3;
    client.bytes(&bytes).await;
    assert_eq!(client.expect_reason().await, ReasonCode::Success);
    assert!(client.expect_text().await.starts_with("SubAck"));
    assert!(client.expect_text().await.starts_with("PubAck"));
    assert_eq!(client.expect_publish().await, ("t".to_owned(), "x".to_owned()));
}

#[tokio::test]
async fn m_28_who_guesses_too_often_has_to_wait() {
    let world = World::new().await;
    let wrong = Connect { password: Some(b"wrong"), ..connect(Version::V5) };
    let mut seen = ReasonCode::BadUserNameOrPassword;
    for _ in 0..20 {
        seen = reason(&world, &wrong).await;
    }
    assert_eq!(seen, ReasonCode::ConnectionRateExceeded);
}

#[tokio::test]
async fn m_29_the_newest_connection_of_a_client_id_stays() {
    let world = World::new().await;
    let mut older = world.connected(Version::V5).await;
    let mut newer = world.connected(Version::V5).await;
    assert_eq!(older.expect_reason().await, ReasonCode::SessionTakenOver);
    newer.ping().await;
    world.device("s2").await;
    let token = format!("{TOKEN}-s2");
    let thief = Connect { username: Some("s2"), password: Some(token.as_bytes()), ..connect(Version::V5) };
    assert_eq!(reason(&world, &thief).await, ReasonCode::ClientIdentifierNotValid);
    newer.ping().await;
}

#[tokio::test]
async fn m_61_a_client_without_keep_alive_is_told_one() {
    let world = World::new().await;
    for keep_alive in [0, u16::MAX] {
        let mut client = world.client().await;
        let answer = client.log_in(&Connect { keep_alive, ..connect(Version::V5) }).await;
        assert_eq!(answer.keep_alive, Some(1_200));
    }
    let mut client = world.client().await;
    assert_eq!(client.log_in(&connect(Version::V5)).await.keep_alive, None);
}

#[tokio::test]
async fn m_65_a_session_for_ever_is_kept_for_a_week_and_said_so() {
    let world = World::new().await;
    let mut client = world.client().await;
    let properties = ConnectProperties {
        session_expiry: u32::MAX,
        request_response_information: true,
        ..ConnectProperties::default()
    };
    let answer = client.log_in(&Connect { properties, ..connect(Version::V5) }).await;
    assert_eq!(answer.session_expiry, Some(7 * 24 * 3600));
    assert_eq!(answer.response_information.as_deref(), Some("devices/s1/response"));
}

#[tokio::test]
async fn a_session_goes_on_where_it_was() {
    let world = World::new().await;
    let persistent = Connect { clean_start: false, ..connect(Version::V3) };
    let mut client = world.client().await;
    assert!(!client.log_in(&persistent).await.present);
    client.subscribe("t", QoS::AtLeastOnce).await;
    client.bytes(&[0xE0, 0x00]).await;
    assert_eq!(client.rest().await, b"");
    let mut owner = world.owner("app").await;
    owner.publish(publish("t", "while away", QoS::AtLeastOnce, 1)).await;
    assert_eq!(owner.expect_reason().await, ReasonCode::Success);
    let mut client = world.client().await;
    assert!(client.log_in(&persistent).await.present);
    assert_eq!(client.expect_publish().await.1, "while away");
}

#[tokio::test]
async fn a_will_is_said_when_the_connection_is_lost_and_not_after_a_good_bye() {
    let world = World::new().await;
    let mut owner = world.owner("app").await;
    owner.subscribe("gone", QoS::AtMostOnce).await;
    for (last, payload) in [(&b"\xE0\x00"[..], "normal"), (b"\xE0\x01\x04", "asked"), (b"\xFF", "broken")] {
        let will = Will {
            qos: QoS::AtMostOnce,
            retain: false,
            topic: "gone",
            payload: payload.as_bytes(),
            properties: WillProperties::default(),
        };
        let mut client = world.client().await;
        client.log_in(&Connect { will: Some(will), ..connect(Version::V5) }).await;
        client.bytes(last).await;
        client.rest().await;
    }
    assert_eq!(owner.expect_publish().await.1, "asked");
    assert_eq!(owner.expect_publish().await.1, "broken");
}

#[tokio::test]
async fn a_viewer_may_not_publish() {
    let world = World::new().await;
    let token = world.application(Role::Viewer).await;
    let mut viewer = world.client().await;
    let connect = Connect { username: Some("x"), password: Some(token.as_bytes()), ..connect(Version::V5) };
    viewer.log_in(&connect).await;
    viewer.publish(publish("t", "x", QoS::AtLeastOnce, 1)).await;
    assert_eq!(viewer.expect_reason().await, ReasonCode::NotAuthorized);
}
