//! MQTT from end to end over real sockets.

use crate::common::{World, publish};
use roost_wire::mqtt::{QoS, ReasonCode, Version};

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
    world.stop().await;
}
