use roost_wire::coap::{Code, number};
use roost_wire::telemetry::{Limits, cbor_to_json, json_to_cbor};
use serde_json::json;

use super::{Device, ask};
use crate::common::{World, device, tenant};

#[tokio::test]
async fn a_twin_is_read_and_reported() {
    let world = World::new().await;
    let mut unit = Device::new(&world).await;
    let twin = unit.call(Code::GET, ask("me/twin")).await.expect(Code::CONTENT);
    assert_eq!(twin.json(), json!({ "reported": {}, "desired": {}, "version": 0 }));
    unit.call(Code::IPATCH, ask("me/twin").format(52).payload(r#"{"reported":{"a":1,"b":2}}"#))
        .await
        .expect(Code::CHANGED);
    unit.call(Code::PUT, ask("me/twin/reported").payload(r#"{"a":null}"#)).await.expect(Code::CHANGED);
    let cbor = json_to_cbor(&json!({ "c": [true] }));
    unit.call(Code::POST, ask("me/twin/reported").format(60).payload(cbor)).await.expect(Code::CHANGED);
    let twin = unit.call(Code::GET, ask("me/twin").uint(number::ACCEPT, 60)).await.expect(Code::CONTENT);
    let twin = cbor_to_json(&twin.payload(), &Limits::default()).unwrap();
    assert_eq!(twin, json!({ "reported": { "b": 2, "c": [true] }, "desired": {}, "version": 0 }));
}

#[tokio::test]
async fn a_condition_holds_for_whatever_it_is_said_of() {
    let world = World::new().await;
    let mut unit = Device::new(&world).await;
    let report = |text: &str| ask("me/twin").format(52).payload(text);
    let failed = Code::PRECONDITION_FAILED;
    let stale = report(r#"{"reported":{"a":1}}"#).option(number::IF_MATCH, [1; 8]);
    unit.call(Code::IPATCH, stale).await.expect(failed);
    for accept in [50, 60] {
        let twin = unit.call(Code::GET, ask("me/twin").uint(number::ACCEPT, accept)).await;
        let etag = twin.option(number::ETAG).unwrap();
        let fresh = report(&format!(r#"{{"reported":{{"a":{accept}}}}}"#)).option(number::IF_MATCH, &etag);
        unit.call(Code::IPATCH, fresh.clone()).await.expect(Code::CHANGED);
        unit.call(Code::IPATCH, fresh).await.expect(failed);
    }
    for path in ["me/telemetry", "me/events/e", "me/twin/reported"] {
        let post = ask(path).payload(r#"{"b":1}"#);
        unit.call(Code::POST, post.clone().option(number::IF_NONE_MATCH, [])).await.expect(failed);
        unit.call(Code::POST, post.clone().option(number::IF_MATCH, [1; 8])).await.expect(failed);
        unit.call(Code::POST, post.option(number::IF_MATCH, [])).await.expect(Code::CHANGED);
    }
    let twin = unit.call(Code::GET, ask("me/twin")).await.json();
    assert_eq!(twin["reported"], json!({ "a": 60, "b": 1 }));
}

#[tokio::test]
async fn what_a_device_shall_be_is_not_its_own_to_say() {
    let world = World::new().await;
    let mut unit = Device::new(&world).await;
    for (payload, code) in [
        (r#"{"desired":{"a":1}}"#, Code::FORBIDDEN),
        (r#"{"a":1}"#, Code::UNPROCESSABLE),
        (r#"{"reported":1}"#, Code::UNPROCESSABLE),
        (r#"[]"#, Code::BAD_REQUEST),
        (r#"{"#, Code::BAD_REQUEST),
    ] {
        let answer = unit.call(Code::IPATCH, ask("me/twin").payload(payload)).await;
        assert_eq!(answer.code(), code, "{payload}");
    }
}

#[tokio::test]
async fn an_observer_is_told_the_latest_of_what_it_shall_be() {
    let world = World::new().await;
    let mut unit = Device::new(&world).await;
    let first =
        unit.call(Code::GET, ask("me/twin/desired").uint(number::OBSERVE, 0)).await.expect(Code::CONTENT);
    assert_eq!(first.json(), json!({ "version": 0, "desired": {} }));
    assert_eq!(first.uint(number::MAX_AGE), Some(900));
    for level in 1..=50 {
        world.hub.patch_desired(&tenant(), &device(), json!({ "level": level }), None).await.unwrap();
    }
    let mut count = 0;
    loop {
        let told = unit.answer().await.expect(Code::CONTENT);
        count += 1;
        if told.json()["version"] == 50 {
            break;
        }
    }
    assert!(count < 50, "C-22: the latest, not every one of them");
    // Ended: the next change is not told, and a request is answered at once.
    let mut head = unit.head(Code::GET);
    head.token = first.message().token;
    unit.send(&ask("me/twin/desired").uint(number::OBSERVE, 1).bytes(head)).await;
    let last = unit.answer().await;
    assert_eq!(last.uint(number::OBSERVE), None);
    world.hub.patch_desired(&tenant(), &device(), json!({ "level": 0 }), None).await.unwrap();
    let twin = unit.call(Code::GET, ask("me/twin")).await;
    assert_eq!(twin.json()["version"], 51);
}
