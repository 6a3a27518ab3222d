use std::time::Duration;

use roost_hub::broker::{
    ConnectOptions, Leave, RetainHandling, Session, Start, SubscribeRequest, SubscriptionFlags,
    SubscriptionOptions,
};
use roost_hub::id::{DeviceId, TenantId};
use roost_hub::message::{Message, QoS};
use roost_hub::registry::Presented;
use roost_hub::topic::{Subscribed, Topic};
use serde_json::{Value, json};

use crate::world::{ADMIN, NOW, World};

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
    for path in ["", "/none", "/none/queue"] {
        world.ask(&viewer, &format!("GET /api/v1/sessions{path}"), Value::Null).await.expect(403);
    }
    world.get("/api/v1/sessions/none").await.expect(404);
    world.get("/api/v1/sessions/none/queue").await.expect(404);
}

/// A session that outlives its connection, subscribed to `a` with QoS 1.
fn subscribe(world: &World, client_id: &str) -> Session {
    let options = ConnectOptions {
        client_id: Some(client_id.to_owned()),
        start: Start::Resume,
        expiry: Duration::from_secs(3_600),
        will: None,
        receive_maximum: 1,
        protocol: &"MQTT 5.0",
        address: Some("192.0.2.1:1883".into()),
    };
    let principal = world.hub.authenticate(Presented::Token(ADMIN)).unwrap();
    let mut session = world.hub.connect(&principal, options).unwrap().session;
    let options =
        SubscriptionOptions { qos: QoS::AtLeastOnce, flags: SubscriptionFlags::default(), identifier: 0 };
    let subscribed = Subscribed::parse("a").unwrap();
    let request = SubscribeRequest { subscribed, options, retain_handling: RetainHandling::Send };
    assert_eq!(session.subscribe(&[request]).granted, [Ok(QoS::AtLeastOnce)]);
    session
}

#[tokio::test]
async fn sessions_are_searched_and_their_queues_read_page_by_page() {
    let world = World::new().await;
    let mut reader = subscribe(&world, "Reader/1");
    let writer = subscribe(&world, "writer");
    for payload in ["1", "22", "333"] {
        let mut message = Message::new(Topic::parse("a").unwrap(), payload, world.hub.now());
        message.qos = QoS::AtLeastOnce;
        world.hub.publish(writer.principal(), message).unwrap();
    }
    reader.next_outgoing(&mut Vec::new(), 10);
    writer.leave(Leave::Normally, None);
    for (query, wanted) in [
        ("q=READ", &["Reader/1"][..]),
        ("q=192.0.2", &["Reader/1", "writer"]),
        ("connected=false", &["writer"]),
        ("connected=false&q=read", &[]),
    ] {
        let found = world.get(&format!("/api/v1/sessions?{query}")).await.expect(200).json();
        let ids: Vec<_> =
            found["items"].as_array().unwrap().iter().map(|session| &session["client_id"]).collect();
        assert_eq!(ids, wanted, "{query}");
    }
    let shown = world.get("/api/v1/sessions/Reader%2F1").await.expect(200).json();
    assert_eq!((&shown["queued"], &shown["connected"]), (&json!(3), &json!(true)));
    let first = world.get("/api/v1/sessions/Reader%2F1/queue?limit=2").await.expect(200).json();
    let facts = |item: &Value| json!([item["state"], item["qos"], item["size"], item["topic"], item["ts"]]);
    assert_eq!(facts(&first["items"][0]), json!(["in_flight", 1, 1, "a", NOW]));
    assert_eq!(facts(&first["items"][1]), json!(["waiting", 1, 2, "a", NOW]));
    let next = first["next"].as_str().unwrap();
    let path = format!("/api/v1/sessions/Reader%2F1/queue?cursor={next}");
    let second = world.get(&path).await.expect(200).json();
    assert_eq!((second["items"].as_array().unwrap().len(), &second["next"]), (1, &Value::Null));
    world.get("/api/v1/sessions/writer/queue?cursor=x").await.expect(422);
    world.admin("DELETE /api/v1/sessions/Reader%2F1", Value::Null).await.expect(204);
    world.get("/api/v1/sessions/Reader%2F1/queue").await.expect(404);
}
