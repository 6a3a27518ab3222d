//! Devices that speak a dialect are heard through whichever door they come.

use futures_util::{SinkExt, StreamExt};
use roost_hub::id::{DeviceId, ProfileId};
use roost_hub::mailbox::{CommandState, NewCommand};
use roost_hub::reading::Value as ReadingValue;
use roost_hub::registry::{DeviceUpdate, NewDevice};
use roost_wire::mqtt::{Connect, Publish, QoS, Version, Will, WillProperties};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::common::{PATIENCE, TOKEN, World, connect, device, publish, tenant};
use crate::http::{bearer, exchange};

/// A world in which `s1` is a Tasmota plug.
async fn world() -> World {
    let world = World::new().await;
    let update = DeviceUpdate { profile: ProfileId::parse("tasmota").ok(), ..DeviceUpdate::default() };
    world.hub.update_device(&tenant(), &device(), update).await.unwrap();
    world
}

fn signal(world: &World) -> Option<ReadingValue> {
    let latest = world.hub.latest(&tenant(), &device()).unwrap();
    latest.get("Wifi.RSSI").map(|reading| reading.value.clone())
}

async fn post(world: &World, said: &Value) -> u16 {
    let (token, said) = (bearer(TOKEN), said.to_string());
    let head = format!(
        "POST /api/v1/publish HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
         {token}Content-Length: {}\r\n\r\n",
        said.len()
    );
    exchange(world, format!("{head}{said}").as_bytes()).await.0
}

async fn live(world: &World) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(world.http).await.unwrap();
    let url = format!("ws://{}/api/v1/ws?token={TOKEN}", world.http);
    tokio_tungstenite::client_async(url, stream).await.unwrap().0
}

async fn next(live: &mut WebSocketStream<TcpStream>) -> Value {
    let next = tokio::time::timeout(PATIENCE, live.next()).await.unwrap();
    serde_json::from_str(next.unwrap().unwrap().to_text().unwrap()).unwrap()
}

#[tokio::test]
async fn a_dialect_is_heard_over_http() {
    let world = world().await;
    let state = json!({ "topic": "tele/s1/STATE", "payload": { "Wifi": { "RSSI": 80 } } });
    assert_eq!(post(&world, &state).await, 204);
    assert_eq!(signal(&world), Some(ReadingValue::Integer(80)));
    let broken = json!({ "topic": "tele/s1/STATE", "payload": "{" });
    assert_eq!(post(&world, &broken).await, 204, "it stays an ordinary message");
    assert!(world.flight().iter().any(|text| text.contains("tele/s1/STATE")));
}

#[tokio::test]
async fn a_dialect_is_heard_and_spoken_over_a_websocket() {
    let world = world().await;
    let mut live = live(&world).await;
    for frame in [
        json!({ "subscribe": "cmnd/s1/#", "id": 1 }),
        json!({ "publish": { "topic": "tele/s1/STATE", "payload": { "Wifi": { "RSSI": 81 } } }, "id": 2 }),
    ] {
        live.send(Message::text(frame.to_string())).await.unwrap();
        assert_eq!(next(&mut live).await["ack"], frame["id"]);
    }
    assert_eq!(signal(&world), Some(ReadingValue::Integer(81)));
    let new = NewCommand { name: "Power".to_owned(), params: json!("ON"), ..NewCommand::default() };
    let sent = world.hub.send_command(&tenant(), &device(), new).await.unwrap();
    let heard = next(&mut live).await;
    assert_eq!((&heard["topic"], &heard["payload"]), (&json!("cmnd/s1/Power"), &json!("ON")));
    let answer = json!({ "topic": "stat/s1/RESULT", "payload": { "POWER": "ON" } });
    assert_eq!(post(&world, &answer).await, 204);
    let command = world.hub.command(&tenant(), &device(), &sent.id).unwrap().unwrap();
    assert_eq!(command.state, CommandState::Succeeded);
}

#[tokio::test]
async fn the_will_of_one_connection_takes_its_device_offline_while_others_of_the_gateway_stay() {
    let world = world().await;
    let desk = DeviceId::parse("desk").unwrap();
    let new = NewDevice { id: Some(desk.clone()), parent: Some(device()), ..NewDevice::default() };
    world.hub.create_device(&tenant(), new).await.unwrap();
    let mut onlooker = world.owner("onlooker").await;
    onlooker.subscribe("devices/desk/status", QoS::AtMostOnce).await;
    let _stays = world.connected(Version::V3).await;
    let mut plug = world.client().await;
    let will = Will {
        qos: QoS::AtMostOnce,
        retain: false,
        topic: "tele/desk/LWT",
        payload: b"Offline",
        properties: WillProperties::default(),
    };
    let login = Connect { client_id: "desk", will: Some(will), ..connect(Version::V3) };
    plug.log_in(&login).await;
    let here = Publish { retain: true, ..publish("tele/desk/LWT", "Online", QoS::AtLeastOnce, 1) };
    plug.publish(here).await;
    let status = |text: &str| ("devices/desk/status".to_owned(), text.to_owned());
    assert_eq!(onlooker.expect_publish().await, status("online"));
    drop(plug);
    assert_eq!(onlooker.expect_publish().await, status("offline"));
    assert!(world.hub.is_online(&tenant(), &device()));
    assert!(!world.hub.is_online(&tenant(), &desk));
}

#[tokio::test]
async fn people_who_publish_there_are_no_plugs() {
    let world = world().await;
    let mut owner = world.owner("owner").await;
    let state = r#"{"Wifi":{"RSSI":1}}"#;
    owner.publish(publish("tele/s1/STATE", state, QoS::AtLeastOnce, 1)).await;
    owner.expect_reason().await;
    assert_eq!(signal(&world), None);
}
