use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use crate::world::{ADMIN, World, request};

fn put(token: &str, path: &str, content_type: &str, body: impl Into<Body>) -> Request<Body> {
    let mut request = request(token, &format!("PUT {path}"), Value::Null);
    request.headers_mut().insert("content-type", content_type.parse().unwrap());
    *request.body_mut() = body.into();
    request
}

#[tokio::test]
async fn a_document_is_put_read_replaced_and_deleted() {
    let world = World::new().await;
    let token = world.device("a").await;
    let path = "/api/v1/devices/a/documents/config";
    let made = world.send(put(ADMIN, path, "application/yaml", "x: 1")).await.expect(201);
    let etag = made.header("etag").to_owned();
    assert_eq!(made.json()["content_type"], "application/yaml");
    let own = world.ask(&token, "GET /api/v1/me/documents/config", Value::Null).await.expect(200);
    assert_eq!(
        (&*own.body, own.header("content-type"), own.header("etag")),
        (&b"x: 1"[..], "application/yaml", &*etag)
    );

    let mut known = request(&token, "GET /api/v1/me/documents/config", Value::Null);
    known.headers_mut().insert("if-none-match", etag.parse().unwrap());
    world.send(known).await.expect(304);
    let mut absent = put(ADMIN, path, "text/plain", "y");
    absent.headers_mut().insert("if-none-match", "*".parse().unwrap());
    world.send(absent).await.expect(412);
    let mut right = put(&token, "/api/v1/me/documents/config", "text/plain", "z");
    right.headers_mut().insert("if-match", etag.parse().unwrap());
    world.send(right).await.expect(200);
    let mut old = put(ADMIN, path, "text/plain", "y");
    old.headers_mut().insert("if-match", etag.parse().unwrap());
    world.send(old).await.expect(412);

    let list = world.get("/api/v1/devices/a/documents").await.expect(200).json();
    assert_eq!((&list["items"][0]["name"], &list["items"][0]["size"]), (&json!("config"), &json!(1)));
    world.admin(&format!("DELETE {path}"), Value::Null).await.expect(204);
    world.admin(&format!("DELETE {path}"), Value::Null).await.expect(404);
    world.get(path).await.expect(404);
}

#[tokio::test]
async fn a_document_has_64_kib_at_most() {
    let world = World::new().await;
    world.device("a").await;
    let path = "/api/v1/devices/a/documents/large";
    world.send(put(ADMIN, path, "text/plain", vec![b'x'; 65_537])).await.expect(413);
    world.send(put(ADMIN, path, "text/plain", vec![b'x'; 65_536])).await.expect(201);
}

#[tokio::test]
async fn only_a_device_has_a_me() {
    let world = World::new().await;
    world.get("/api/v1/me/documents").await.expect(403);
}

#[tokio::test]
async fn h_28_a_page_that_somebody_put_does_not_run_as_ours() {
    let world = World::new().await;
    world.device("a").await;
    let path = "/api/v1/devices/a/documents/icon.svg";
    world.send(put(ADMIN, path, "image/svg+xml", "<svg onload='alert(1)'/>")).await.expect(201);
    let found = world.get(path).await.expect(200);
    assert_eq!(found.header("content-disposition"), "attachment");
    assert!(found.header("content-security-policy").starts_with("sandbox"));
    assert_eq!(found.header("x-content-type-options"), "nosniff");
}
