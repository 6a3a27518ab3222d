use serde_json::{Value, json};

use crate::world::{ADMIN, World, request};

#[tokio::test]
async fn desired_is_merged_and_its_version_guards_it() {
    let world = World::new().await;
    world.device("a").await;
    let path = "/api/v1/devices/a/twin";
    let twin = world.get(path).await.expect(200);
    assert_eq!(twin.json(), json!({ "reported": {}, "desired": {}, "version": 0 }));
    assert_eq!(twin.header("etag"), "\"0\"");
    let patch = |body: Value, version: &str| {
        let mut request = request(ADMIN, &format!("PATCH {path}"), json!({ "desired": body }));
        if !version.is_empty() {
            request.headers_mut().insert("if-match", version.parse().unwrap());
        }
        request
    };
    let changed = world.send(patch(json!({ "a": 1, "b": { "c": true } }), "")).await.expect(200);
    assert_eq!((changed.header("etag"), &changed.json()["version"]), ("\"1\"", &json!(1)));
    let refused = world.send(patch(json!({ "a": 2 }), "\"0\"")).await.expect(412);
    assert_eq!(refused.json()["version"], 1);
    let merged = world.send(patch(json!({ "a": null }), "\"1\"")).await.expect(200).json();
    assert_eq!((&merged["desired"], &merged["version"]), (&json!({ "b": { "c": true } }), &json!(2)));
    world.send(patch(json!({ "x": 1 }), "two")).await.expect(422);
    world.send(patch(json!("text"), "")).await.expect(422);
    world.admin(&format!("PATCH {path}"), json!({ "reported": {} })).await.expect(422);
    let large = json!({ "x": "y".repeat(70_000) });
    world.send(patch(large, "")).await.expect(413);
}

#[tokio::test]
async fn a_device_reads_its_own_twin_and_nobody_elses() {
    let world = World::new().await;
    let token = world.device("a").await;
    world.device("b").await;
    world.ask(&token, "GET /api/v1/devices/a/twin", Value::Null).await.expect(200);
    world.ask(&token, "GET /api/v1/devices/b/twin", Value::Null).await.expect(403);
    // Whether there is such a device is not told either.
    world.ask(&token, "GET /api/v1/devices/none/twin", Value::Null).await.expect(403);
    world.ask(&token, "PATCH /api/v1/devices/a/twin", json!({ "desired": {} })).await.expect(403);
}
