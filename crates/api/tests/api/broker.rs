use roost_hub::id::{DeviceId, TenantId};
use roost_hub::message::Message;
use roost_hub::topic::Topic;
use serde_json::{Value, json};

use crate::world::World;

async fn keep(world: &World, topic: &str, payload: &'static str) {
    let (tenant, device) = (TenantId::parse("default").unwrap(), DeviceId::parse("a").unwrap());
    let principal = world.hub.device_principal(&tenant, &device).unwrap();
    let mut message = Message::new(Topic::parse(topic).unwrap(), payload, world.hub.now());
    message.retain = true;
    world.hub.publish(&principal, message).unwrap();
}

#[tokio::test]
async fn retained_messages_are_seen_and_deleted() {
    let world = World::new().await;
    world.device("a").await;
    keep(&world, "home/door", "{\"open\":true}").await;
    keep(&world, "home/light", "on").await;
    world.admin("PATCH /api/v1/devices/a/twin", json!({ "desired": { "x": 1 } })).await.expect(200);
    let found = world.get("/api/v1/retained?filter=home/%23").await.expect(200).json();
    assert_eq!(found["items"][0]["payload"], json!({ "open": true }));
    assert_eq!(found["items"][1]["payload"], "on");
    let first = world.get("/api/v1/retained?limit=1").await.expect(200).json();
    assert!(first["next"].is_string());
    // The server's own words stay.
    assert_eq!(
        world.admin("DELETE /api/v1/retained?filter=%23", Value::Null).await.expect(200).json()["deleted"],
        2
    );
    let left = world.get("/api/v1/retained").await.expect(200).json();
    assert_eq!(left["items"][0]["topic"], "devices/a/twin/desired");
    world.get("/api/v1/retained?filter=a/%23/b").await.expect(422);
    world.admin("DELETE /api/v1/retained", Value::Null).await.expect(422);
}

#[tokio::test]
async fn sessions_are_seen_by_admins_and_ended() {
    let world = World::new().await;
    assert_eq!(world.get("/api/v1/sessions").await.expect(200).json(), json!({ "items": [], "next": null }));
    world.admin("DELETE /api/v1/sessions/none", Value::Null).await.expect(404);
    let viewer = world.token("viewer").await;
    world.ask(&viewer, "GET /api/v1/sessions", Value::Null).await.expect(403);
}
