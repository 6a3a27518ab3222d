//! Binary payloads of devices whose profile has a decoder.

use futures_util::{SinkExt, StreamExt};
use roost_hub::id::ProfileId;
use roost_hub::reading::Value as ReadingValue;
use roost_hub::registry::{DeviceUpdate, Profile};
use roost_wire::mqtt::{Publish, PublishProperties, QoS, ReasonCode, Version};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::common::{PATIENCE, TOKEN, World, device, publish, tenant};
use crate::http::{bearer, exchange};

/// Battery, temperature, humidity: groups of a tag and a value, as LoRaWAN sensors send.
const FRAME: [u8; 10] = [0x01, 0x75, 0x64, 0x03, 0x67, 0x10, 0x01, 0x04, 0x68, 0x7b];

fn decoder() -> Value {
    json!({
        "byte_order": "little",
        "fields": [{ "key": "opened", "type": "u16", "when": { "port": 9 } }],
        "tagged": { "length": 2, "groups": {
            "0175": [{ "key": "battery", "type": "u8" }],
            "0367": [{ "key": "temperature", "type": "i16", "scale": 0.1 }],
            "0468": [{ "key": "humidity", "type": "u8", "scale": 0.5 }],
        }},
    })
}

async fn write(world: &World, decoder: Value) {
    let profile = json!({ "id": "lora", "decoder": decoder });
    let profile: Profile = serde_json::from_value(profile).unwrap();
    world.hub.put_profile(&tenant(), profile).await.unwrap();
}

/// A world in which `s1` has a profile with [`decoder`].
async fn world() -> World {
    let world = World::new().await;
    give_decoder(&world).await;
    world
}

/// Gives `s1` a profile with [`decoder`].
pub(crate) async fn give_decoder(world: &World) {
    write(world, decoder()).await;
    let update = DeviceUpdate { profile: ProfileId::parse("lora").ok(), ..DeviceUpdate::default() };
    world.hub.update_device(&tenant(), &device(), update).await.unwrap();
}

fn binary<'a>(payload: &'a [u8], properties: PublishProperties<'a>) -> Publish<'a> {
    Publish { payload, properties, ..publish("me/telemetry", "", QoS::AtLeastOnce, 1) }
}

fn latest(world: &World, key: &str) -> Option<ReadingValue> {
    let latest = world.hub.latest(&tenant(), &device()).unwrap();
    latest.get(key).map(|reading| reading.value.clone())
}

fn kept(world: &World) -> Vec<Vec<u8>> {
    let frames = world.hub.frames(&tenant(), &device());
    frames.into_iter().map(|frame| frame.bytes.to_vec()).collect()
}

#[tokio::test]
async fn a_binary_payload_over_mqtt_becomes_readings() {
    for version in [Version::V3, Version::V5] {
        let world = world().await;
        let mut client = world.connected(version).await;
        client.publish(binary(&FRAME, PublishProperties::default())).await;
        assert_eq!(client.expect_reason().await, ReasonCode::Success);
        assert_eq!(latest(&world, "temperature"), Some(ReadingValue::Number(27.2)));
        assert_eq!(latest(&world, "humidity"), Some(ReadingValue::Number(61.5)));
        assert_eq!(latest(&world, "battery"), Some(ReadingValue::Integer(100)));
        assert_eq!(kept(&world), [FRAME]);
    }
}

#[tokio::test]
async fn json_of_the_same_device_stays_json() {
    let world = world().await;
    let mut client = world.connected(Version::V5).await;
    client.publish(publish("me/telemetry", r#"{"temperature":5}"#, QoS::AtLeastOnce, 1)).await;
    assert_eq!(client.expect_reason().await, ReasonCode::Success);
    client.publish(publish("me/telemetry/level", "7", QoS::AtLeastOnce, 1)).await;
    assert_eq!(client.expect_reason().await, ReasonCode::Success);
    assert_eq!(latest(&world, "temperature"), Some(ReadingValue::Integer(5)));
    assert_eq!(latest(&world, "level"), Some(ReadingValue::Integer(7)));
    assert!(kept(&world).is_empty());
    // What is said to be JSON is nothing else.
    let properties =
        PublishProperties { content_type: Some("application/json"), ..PublishProperties::default() };
    client.publish(binary(&FRAME, properties)).await;
    assert_eq!(client.expect_reason().await, ReasonCode::PayloadFormatInvalid);
}

#[tokio::test]
async fn a_frame_that_cannot_be_read_is_refused_and_shown_to_its_people() {
    for (version, reason) in
        [(Version::V3, ReasonCode::Success), (Version::V5, ReasonCode::PayloadFormatInvalid)]
    {
        let world = world().await;
        let mut client = world.connected(version).await;
        client.publish(binary(&FRAME[..6], PublishProperties::default())).await;
        assert_eq!(client.expect_reason().await, reason);
        let noted = world.flight().remove(0);
        let wanted = "publish to me/telemetry: temperature: needs bytes 5 to 6, but the frame ends after 6 \
                      bytes; the frame begins \"017564036710\"";
        assert_eq!(noted, wanted);
        assert_eq!(latest(&world, "battery"), None);
        assert_eq!(kept(&world), [&FRAME[..6]]);
        assert_eq!(world.hub.counters.telemetry_refused_total.value(), 1);
    }
}

#[tokio::test]
async fn a_port_comes_as_a_user_property_or_in_the_query() {
    let world = world().await;
    let mut client = world.connected(Version::V5).await;
    let properties = PublishProperties {
        content_type: Some("application/octet-stream"),
        user_properties: [("port", "9")].as_slice().into(),
        ..PublishProperties::default()
    };
    client.publish(binary(&[5, 0], properties)).await;
    assert_eq!(client.expect_reason().await, ReasonCode::Success);
    assert_eq!(latest(&world, "opened"), Some(ReadingValue::Integer(5)));
    assert_eq!(world.hub.frames(&tenant(), &device())[0].port, Some(9));
    assert_eq!(post(&world, "?port=9", BYTES, &[6, 0]).await.0, 204);
    assert_eq!(latest(&world, "opened"), Some(ReadingValue::Integer(6)));
    assert_eq!(post(&world, "?port=300", BYTES, &[6, 0]).await.0, 422);
}

const BYTES: &str = "Content-Type: application/octet-stream\r\n";

async fn post(world: &World, query: &str, head: &str, body: &[u8]) -> (u16, Value) {
    let (token, length) = (bearer(TOKEN), body.len());
    let head = format!(
        "POST /api/v1/me/telemetry{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{token}{head}\
         Content-Length: {length}\r\n\r\n"
    );
    let (status, text) = exchange(world, &[head.as_bytes(), body].concat()).await;
    (status, serde_json::from_str(&text).unwrap_or_default())
}

#[tokio::test]
async fn a_binary_payload_over_http_becomes_readings() {
    let world = world().await;
    assert_eq!(post(&world, "", BYTES, &FRAME).await.0, 204);
    assert_eq!(latest(&world, "temperature"), Some(ReadingValue::Number(27.2)));
    // Without a content type, what is no JSON is bytes.
    assert_eq!(post(&world, "", "", &[0x03, 0x67, 0xff, 0xff]).await.0, 204);
    assert_eq!(latest(&world, "temperature"), Some(ReadingValue::Number(-0.1)));
    let (status, problem) = post(&world, "", BYTES, &[0x09]).await;
    assert_eq!(status, 400);
    assert_eq!((&problem["offset"], &problem["field"]), (&json!(0), &Value::Null));
    assert!(world.flight()[0].starts_with("telemetry over HTTP: a tag has 2 bytes"), "{:?}", world.flight());
    assert_eq!(kept(&world).len(), 3);
}

#[tokio::test]
async fn bytes_for_a_profile_without_a_decoder_are_refused() {
    let world = World::new().await;
    let (status, problem) = post(&world, "", BYTES, &FRAME).await;
    assert_eq!(status, 415);
    assert!(problem["detail"].as_str().unwrap().contains("has no decoder"), "{problem}");
    assert_eq!(post(&world, "", "", &FRAME).await.0, 400);
    let mut client = world.connected(Version::V5).await;
    let properties = || PublishProperties {
        content_type: Some("application/octet-stream"),
        ..PublishProperties::default()
    };
    client.publish(binary(&FRAME, properties())).await;
    assert_eq!(client.expect_reason().await, ReasonCode::PayloadFormatInvalid);
    // Publishers of MQTT have always said anything they liked of their JSON.
    client.publish(binary(br#"{"t":1}"#, properties())).await;
    assert_eq!(client.expect_reason().await, ReasonCode::Success);
    assert!(kept(&world).is_empty());
}

#[tokio::test]
async fn a_changed_decoder_holds_for_the_next_frame() {
    let world = world().await;
    let mut client = world.connected(Version::V5).await;
    client.publish(binary(&FRAME, PublishProperties::default())).await;
    assert_eq!(client.expect_reason().await, ReasonCode::Success);
    write(&world, json!({ "fields": [{ "key": "first", "type": "u8" }] })).await;
    client.publish(binary(&FRAME, PublishProperties::default())).await;
    assert_eq!(client.expect_reason().await, ReasonCode::Success);
    assert_eq!(latest(&world, "first"), Some(ReadingValue::Integer(1)));
}

#[tokio::test]
async fn bytes_come_over_websocket_as_base64() {
    let world = world().await;
    let url = format!("ws://{}/api/v1/ws?token={TOKEN}", world.http);
    let stream = tokio::net::TcpStream::connect(world.http).await.unwrap();
    let mut socket = tokio_tungstenite::client_async(url, stream).await.unwrap().0;
    let said = json!({ "topic": "me/telemetry", "payload_base64": "A2cQAQ==", "qos": 1 });
    for (id, publish, wanted) in [
        (1, said, "ack"),
        (2, json!({ "topic": "me/telemetry", "payload_base64": "A2c=" }), "error"),
        (3, json!({ "topic": "me/telemetry", "payload_base64": "?" }), "error"),
        (4, json!({ "topic": "me/telemetry" }), "error"),
        (5, json!({ "topic": "me/telemetry", "payload_base64": "BQA=", "port": 9 }), "ack"),
    ] {
        let text = json!({ "publish": publish, "id": id }).to_string();
        socket.send(Message::text(text)).await.unwrap();
        let next = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap();
        let heard: Value = serde_json::from_str(next.unwrap().unwrap().to_text().unwrap()).unwrap();
        assert!(heard.get(wanted).is_some(), "{heard}");
    }
    assert_eq!(latest(&world, "temperature"), Some(ReadingValue::Number(27.2)));
    assert_eq!(latest(&world, "opened"), Some(ReadingValue::Integer(5)));
    assert!(world.flight().iter().any(|entry| entry.contains("the frame begins \"0367\"")));
}

#[tokio::test]
async fn another_devices_frames_are_not_kept_for_it() {
    let world = world().await;
    world.device("s2").await;
    let mut client = world.client().await;
    let token = format!("{TOKEN}-s2");
    let mut connect = crate::common::connect(Version::V5);
    (connect.username, connect.password) = (Some("s2"), Some(token.as_bytes()));
    client.log_in(&connect).await;
    let foreign = Publish { topic: "devices/s1/telemetry", ..binary(&FRAME, PublishProperties::default()) };
    client.publish(foreign).await;
    assert_eq!(client.expect_reason().await, ReasonCode::NotAuthorized);
    assert!(kept(&world).is_empty());
}
