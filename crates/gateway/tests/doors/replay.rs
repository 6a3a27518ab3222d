//! MQTT 5 subscriptions that begin in the past.

use roost_wire::mqtt::{
    Packet, QoS, ReasonCode, Subscribe, SubscribeProperties, Subscription, SubscriptionOptions, Version,
};

use crate::common::{Client, World, publish};

async fn subscribe(client: &mut Client, filters: &[&str], since: &[&str]) -> (Vec<u8>, Option<String>) {
    let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..SubscriptionOptions::default() };
    let subscriptions: Vec<Subscription<'_>> =
        filters.iter().map(|filter| Subscription { filter, options }).collect();
    let user: Vec<(&str, &str)> = since.iter().map(|since| ("roost-since", *since)).collect();
    client
        .send(&Packet::Subscribe(Subscribe {
            packet_id: std::num::NonZeroU16::MIN,
            properties: SubscribeProperties {
                user_properties: user.as_slice().into(),
                ..SubscribeProperties::default()
            },
            subscriptions: subscriptions.as_slice().into(),
        }))
        .await;
    client
        .expect(|packet| match packet {
            Packet::SubAck(suback) => {
                (suback.codes.to_vec(), suback.properties.reason_string.map(str::to_owned))
            }
            other => panic!("no SUBACK: {other:?}"),
        })
        .await
}

#[tokio::test]
async fn a_subscription_with_roost_since_gets_what_was_recorded_and_then_what_is_live() {
    let world = World::new().await;
    let mut device = world.connected(Version::V5).await;
    for number in 0..50 {
        let payload = format!(r#"{{"n":{number}}}"#);
        device.publish(publish("me/telemetry", &payload, QoS::AtMostOnce, 0)).await;
    }
    device.ping().await;
    let mut reader = world.owner("reader").await;
    assert_eq!(subscribe(&mut reader, &["devices/+/telemetry"], &["1h"]).await, (vec![1], None));
    device.publish(publish("me/telemetry", r#"{"n":50}"#, QoS::AtMostOnce, 0)).await;
    for number in 0..51 {
        let (topic, payload) = reader.expect_publish().await;
        assert_eq!((topic.as_str(), payload), ("devices/s1/telemetry", format!(r#"{{"n":{number}}}"#)));
    }
    device.publish(publish("me/telemetry", r#"{"n":51}"#, QoS::AtMostOnce, 0)).await;
    assert_eq!(reader.expect_publish().await.1, r#"{"n":51}"#);
}

#[tokio::test]
async fn a_device_names_its_own_past_as_it_names_its_topics() {
    let world = World::new().await;
    let mut device = world.connected(Version::V5).await;
    device.publish(publish("me/events/door", "open", QoS::AtMostOnce, 0)).await;
    device.ping().await;
    assert_eq!(subscribe(&mut device, &["me/events/+"], &["30s"]).await.0, [1]);
    assert_eq!(device.expect_publish().await, ("me/events/door".to_owned(), "open".to_owned()));
}

#[tokio::test]
async fn a_roost_since_that_cannot_be_is_refused_with_the_reason() {
    let world = World::new().await;
    let mut reader = world.owner("reader").await;
    let refused = ReasonCode::ImplementationSpecificError.code();
    for since in [&["yesterday"][..], &["-1h"], &[""], &["1h", "2h"]] {
        let (codes, reason) = subscribe(&mut reader, &["a", "b"], since).await;
        assert_eq!(codes, [refused, refused], "{since:?}");
        assert!(reason.unwrap().contains("roost-since"));
    }
    assert_eq!(subscribe(&mut reader, &["$share/g/a"], &["1h"]).await.0, [refused]);
    let mut publisher = world.owner("publisher").await;
    publisher.publish(publish("a", "x", QoS::AtMostOnce, 0)).await;
    publisher.ping().await;
    // Nothing was subscribed to.
    reader.ping().await;
}
