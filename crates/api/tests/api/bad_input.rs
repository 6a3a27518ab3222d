//! Rows of the catalogue of bad input that concern the HTTP API.

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use crate::world::{ADMIN, World, request};

fn raw(content_type: &str, body: impl Into<Body>) -> Request<Body> {
    let mut request = request(ADMIN, "POST /api/v1/devices", Value::Null);
    if !content_type.is_empty() {
        request.headers_mut().insert("content-type", content_type.parse().unwrap());
    }
    *request.body_mut() = body.into();
    request
}

#[tokio::test]
async fn h_04_a_target_is_short_and_its_escapes_are_text_and_decoded_once() {
    let world = World::new().await;
    world.device("a").await;
    world.get(&format!("/api/v1/devices?q={}", "x".repeat(9_000))).await.expect(414);
    for (path, status) in [
        ("/api/v1/devices/%00", 400),
        ("/api/v1/devices/%ZZ", 400),
        ("/api/v1/devices/%+1", 400),
        ("/api/v1/devices/%a", 400),
        ("/api/v1/devices/%ff", 400),
        ("/api/v1/devices/..%2f..%2fa", 404),
        ("/api/v1/devices/%2561", 404),
        ("/api/v1/devices/a%2f", 404),
        ("/api/v1/devices/%61", 200),
        ("/..%2f..%2fetc/passwd.txt", 404),
        ("/assets/..%2findex.html", 404),
    ] {
        world.get(path).await.expect(status);
    }
}

#[tokio::test]
async fn h_10_a_body_over_the_limit_is_refused() {
    let world = World::new().await;
    let name = "x".repeat(1024 * 1024);
    world.send(raw("application/json", json!({ "name": name }).to_string())).await.expect(413);
    let mut keyed = raw("application/json", json!({ "name": name }).to_string());
    keyed.headers_mut().insert("idempotency-key", "k".parse().unwrap());
    world.send(keyed).await.expect(413);
}

#[tokio::test]
async fn h_12_a_body_that_is_no_json_is_refused_with_a_hint() {
    let world = World::new().await;
    for content_type in ["", "text/plain", "application/x-www-form-urlencoded"] {
        let refused = world.send(raw(content_type, "{}")).await.expect(415);
        assert!(refused.json()["detail"].as_str().unwrap().contains("application/json"));
    }
    world.send(raw("application/json; charset=utf-8", "{}")).await.expect(201);
    for (body, status) in [
        (&b"\xef\xbb\xbf{}"[..], 400),
        (b"{\0}\0", 400),
        (b"", 400),
        (b"{", 400),
        (b"{}{}", 400),
        (b"{\"name\":\"\xff\"}", 400),
        (b"{\"name\":\"a\",\"name\":\"b\"}", 400),
        (b"{\"labels\":{\"a\":NaN}}", 400),
        (b"[]", 422),
        (b"null", 422),
        (b"{\"name\":5}", 422),
    ] {
        let refused = world.send(raw("application/json", body)).await.expect(status);
        if status == 400 {
            assert!(refused.json()["offset"].is_u64(), "{body:?}");
        }
    }
    let deep = format!("{{\"labels\":{}{}}}", "[".repeat(33), "]".repeat(33));
    world.send(raw("application/json", deep)).await.expect(400);
    let long_key = json!({ "labels": { "k".repeat(10_240): "v" } }).to_string();
    world.send(raw("application/json", long_key)).await.expect(422);
    let digits = format!("{{\"name\":{}}}", "9".repeat(1_000));
    world.send(raw("application/json", digits)).await.expect(422);
}

#[tokio::test]
async fn h_23_a_member_that_nobody_knows_is_refused() {
    let world = World::new().await;
    world.device("a").await;
    for (line, body) in [
        ("POST /api/v1/devices", json!({ "tenant_id": "acme" })),
        ("PATCH /api/v1/devices/a", json!({ "born": 0 })),
        ("POST /api/v1/tokens", json!({ "name": "x", "role": "viewer", "tenant": "acme" })),
        ("POST /api/v1/tenants", json!({ "id": "x", "owner_token": "mine" })),
        ("POST /api/v1/devices/a/credentials", json!({ "kind": "token", "born": 1 })),
    ] {
        world.admin(line, body).await.expect(422);
    }
}

#[tokio::test]
async fn h_24_limits_are_clamped_or_refused() {
    let world = World::new().await;
    for (query, status) in [
        ("limit=-1", 422),
        ("limit=0", 422),
        ("limit=ten", 422),
        ("limit=1000000000", 200),
        ("limit=99999999999999999999999", 422),
        ("sort=secret", 422),
        ("limit=1&limit=2", 422),
        ("online=maybe", 422),
        ("cursor=../../x", 200),
    ] {
        world.get(&format!("/api/v1/devices?{query}")).await.expect(status);
    }
    world.get(&format!("/api/v1/devices?{}", "a=1&".repeat(100))).await.expect(422);
}

#[tokio::test]
async fn m_28_guessing_tokens_slows_down_and_a_known_client_still_gets_in() {
    use axum::extract::ConnectInfo;
    use std::net::SocketAddr;
    let world = World::new().await;
    let from = |token: &str| {
        let mut request = request(token, "GET /api/v1/me", Value::Null);
        let address: SocketAddr = "192.0.2.7:5000".parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(address));
        request
    };
    world.send(from(ADMIN)).await.expect(200);
    let mut last = 401;
    for guess in 0..60 {
        last = world.send(from(&format!("guess-number-{guess}"))).await.status.as_u16();
    }
    assert_eq!(last, 429);
    world.send(from(ADMIN)).await.expect(200);
}
