use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use crate::world::{ADMIN, World, request};

fn keyed(line: &str, key: &str, body: Value) -> Request<Body> {
    let mut request = request(ADMIN, line, body);
    request.headers_mut().insert("idempotency-key", key.parse().unwrap());
    request
}

const MAKE: &str = "POST /api/v1/profiles";
const DEVICE: &str = "POST /api/v1/devices";

#[tokio::test]
async fn a_repeated_post_is_answered_again_and_not_done_again() {
    let world = World::new().await;
    let first = world.send(keyed(DEVICE, "k", json!({}))).await.expect(201);
    let again = world.send(keyed(DEVICE, "k", json!({}))).await.expect(201);
    assert_eq!(first.body, again.body);
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(first.header("location"), again.header("location"));
    let other = world.send(keyed(DEVICE, "k2", json!({}))).await.expect(201);
    assert_ne!(first.json()["id"], other.json()["id"]);
    let list = world.get("/api/v1/devices").await.expect(200).json();
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn h_26_the_same_key_with_another_body_is_refused() {
    let world = World::new().await;
    world.send(keyed(DEVICE, "k", json!({ "id": "a" }))).await.expect(201);
    let refused = world.send(keyed(DEVICE, "k", json!({ "id": "b" }))).await.expect(422);
    assert_eq!(refused.json()["type"], "urn:roost:problem:idempotency-key-reused");
    world.get("/api/v1/devices/b").await.expect(404);
}

#[tokio::test(start_paused = true)]
async fn h_26_the_same_key_in_parallel_is_done_once() {
    let world = World::new().await;
    world.device("a").await;
    let line = "POST /api/v1/devices/a/commands?wait=5s";
    let (one, other) = tokio::join!(
        world.send(keyed(line, "k", json!({ "name": "x" }))),
        world.send(keyed(line, "k", json!({ "name": "x" })))
    );
    one.expect(202);
    assert_eq!(other.expect(409).header("retry-after"), "1");
    let list = world.get("/api/v1/devices/a/commands").await.expect(200).json();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_refused_post_may_be_sent_again_under_its_key() {
    let world = World::new().await;
    world.send(keyed(DEVICE, "k", json!({ "profile": "none" }))).await.expect(422);
    world.send(keyed(DEVICE, "k", json!({ "profile": "strict" }))).await.expect(201);
}

#[tokio::test]
async fn a_key_outlives_a_restart_and_a_secret_does_not() {
    let world = World::new().await;
    let profile = world.send(keyed(MAKE, "p", json!({ "id": "meters" }))).await.expect(201);
    let device = world.send(keyed(DEVICE, "d", json!({ "id": "a" }))).await.expect(201);
    let token = device.json()["credential"]["token"].as_str().unwrap().to_owned();
    let stored = world.store.table.scan("idempotency/", None, 10).unwrap();
    assert_eq!(stored.len(), 2);
    for (key, entry) in &stored {
        assert!(!String::from_utf8_lossy(&entry.value).contains(&token), "{key}");
    }
    let world = world.restarted();
    let again = world.send(keyed(MAKE, "p", json!({ "id": "meters" }))).await.expect(201);
    assert_eq!(again.body, profile.body);
    let refused = world.send(keyed(DEVICE, "d", json!({ "id": "a" }))).await.expect(409);
    assert_eq!(refused.json()["type"], "urn:roost:problem:done-before");
}

#[tokio::test]
async fn a_key_counts_for_24_hours() {
    let world = World::new().await;
    let first = world.send(keyed(DEVICE, "k", json!({}))).await.expect(201).json();
    world.pass(24 * 3_600_000);
    let later = world.send(keyed(DEVICE, "k", json!({}))).await.expect(201).json();
    assert_ne!(first["id"], later["id"]);
}

#[tokio::test]
async fn a_key_is_of_the_one_who_used_it() {
    let world = World::new().await;
    let other = world.tenant("acme").await;
    world.send(keyed(DEVICE, "k", json!({ "id": "a" }))).await.expect(201);
    let mut request = request(&other, DEVICE, json!({ "id": "a" }));
    request.headers_mut().insert("idempotency-key", "k".parse().unwrap());
    let made = world.send(request).await.expect(201);
    assert_eq!(made.header("idempotency-replayed"), "");
}
