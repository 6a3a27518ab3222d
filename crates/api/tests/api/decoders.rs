use bytes::Bytes;
use roost_hub::frames::RawFrame;
use roost_hub::id::{DeviceId, TenantId};
use roost_hub::time::Timestamp;
use roost_hub::topic::Topic;
use serde_json::{Value, json};

use crate::world::{NOW, World};

fn decoder() -> Value {
    json!({ "fields": [
        { "key": "kind", "type": "u8", "use": "hidden" },
        { "key": "temperature", "type": "i16", "scale": 0.01, "when": { "field": "kind", "equals": 1 } },
        { "key": "opened", "type": "u16", "when": { "port": 9 } },
    ]})
}

async fn world() -> World {
    let world = World::new().await;
    let profile = json!({ "id": "lora", "decoder": decoder() });
    let made = world.admin("POST /api/v1/profiles", profile).await.expect(201).json();
    assert_eq!(made["decoder"], decoder());
    world
}

fn note(world: &World, bytes: &[u8]) {
    let (tenant, device) = (TenantId::parse("default").unwrap(), DeviceId::parse("meter").unwrap());
    let principal = world.hub.device_principal(&tenant, &device).unwrap();
    let topic = Topic::parse("devices/meter/telemetry").unwrap();
    let frame = RawFrame { at: Timestamp(NOW), bytes: Bytes::copy_from_slice(bytes), port: Some(2) };
    world.hub.note_frame(&principal, &topic, &device, &frame);
}

#[tokio::test]
async fn a_decoder_that_is_none_is_refused_with_the_name_of_its_field() {
    let world = World::new().await;
    for (said, detail) in [
        (
            json!({ "fields": [{ "key": "t", "type": "u7" }] }),
            "Decoder.fields[0] \"t\": there is no type \"u7\"",
        ),
        (json!({ "fields": [{ "key": "t", "type": "u8", "wehn": 1 }] }), "Decoder.fields[0] \"t\": unknown"),
        (json!("cayenne"), "Decoder: "),
        (json!(null), ""),
    ] {
        let profile = json!({ "id": "lora", "decoder": said });
        let answer = world.admin("POST /api/v1/profiles", profile).await;
        if detail.is_empty() {
            answer.expect(201);
            continue;
        }
        let problem = answer.expect(422).json();
        let found = problem["detail"].as_str().unwrap();
        assert!(found.starts_with(detail), "{found}");
    }
}

#[tokio::test]
async fn a_profiles_decoder_is_tried_on_frames() {
    let world = world().await;
    let trial = json!({ "frames": [
        { "hex": "01 08 66" }, { "base64": "AQhm" }, { "hex": "01 08" }, { "hex": "000001", "port": 9 },
    ]});
    let tried = world.admin("POST /api/v1/profiles/lora/decode", trial).await.expect(200).json();
    let read = json!({ "at": null, "hex": "010866", "port": null, "ts": null, "error": null,
        "readings": [{ "key": "temperature", "value": 21.5 }] });
    assert_eq!((&tried["items"][0], &tried["items"][1]), (&read, &read));
    let error = json!({ "field": "temperature", "offset": 2,
        "detail": "temperature: needs bytes 1 to 2, but the frame ends after 2 bytes" });
    assert_eq!(tried["items"][2]["error"], error);
    assert_eq!(tried["items"][3]["readings"], json!([{ "key": "opened", "value": 1 }]));
}

#[tokio::test]
async fn another_decoder_is_tried_on_what_the_device_sent() {
    let world = world().await;
    world.device("meter").await;
    note(&world, &[1, 0, 7]);
    note(&world, &[2]);
    let frames = world.get("/api/v1/devices/meter/frames").await.expect(200).json();
    let at = "2026-11-21T13:54:57.250Z";
    let wanted = json!({ "items": [
        { "at": at, "hex": "02", "port": 2 }, { "at": at, "hex": "010007", "port": 2 },
    ]});
    assert_eq!(frames, wanted);
    let trial =
        json!({ "device": "meter", "decoder": { "fields": [{ "key": "last", "type": "u8", "at": -1 }] } });
    // The profile need not be there yet.
    let tried = world.admin("POST /api/v1/profiles/new/decode", trial).await.expect(200).json();
    let last = |number: usize| tried["items"][number]["readings"][0]["value"].clone();
    assert_eq!((last(0), last(1), &tried["items"][0]["at"]), (json!(2), json!(7), &json!(at)));
}

#[tokio::test]
async fn what_cannot_be_tried_is_refused() {
    let world = world().await;
    let meter = world.device("meter").await;
    for (line, body, status) in [
        ("POST /api/v1/profiles/none/decode", json!({ "frames": [{ "hex": "00" }] }), 404),
        ("POST /api/v1/profiles/standard/decode", json!({ "frames": [{ "hex": "00" }] }), 422),
        ("POST /api/v1/profiles/lora/decode", json!({ "frames": [{ "hex": "0" }] }), 422),
        ("POST /api/v1/profiles/lora/decode", json!({ "frames": [{}] }), 422),
        ("POST /api/v1/profiles/lora/decode", json!({ "frames": [{ "hex": "00", "base64": "AA==" }] }), 422),
        ("POST /api/v1/profiles/lora/decode", json!({ "decoder": {} }), 422),
        ("POST /api/v1/profiles/lora/decode", json!({ "device": "nobody" }), 404),
        ("POST /api/v1/profiles/lora/decode", json!({ "frames": vec![json!({ "hex": "00" }); 101] }), 422),
        ("GET /api/v1/devices/nobody/frames", Value::Null, 404),
    ] {
        world.admin(line, body).await.expect(status);
    }
    world.ask(&meter, "POST /api/v1/profiles/lora/decode", json!({})).await.expect(403);
    let viewer = world.token("viewer").await;
    world.ask(&viewer, "POST /api/v1/profiles/lora/decode", json!({})).await.expect(200);
    let other = world.tenant("acme").await;
    world.ask(&other, "GET /api/v1/devices/meter/frames", Value::Null).await.expect(404);
}
