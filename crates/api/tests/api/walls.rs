//! H-18 and H-19: who is who, and nobody reaches what is another tenant's.

use roost_hub::id::TenantId;
use roost_hub::inbox::{Proposed, Recognised};
use serde_json::{Value, json};

use crate::world::World;

#[tokio::test]
async fn h_18_no_garbled_or_foreign_credential_gets_in() {
    let world = World::new().await;
    world.ask("", "GET /api/v1/devices", Value::Null).await.expect(401);
    for token in ["x", "the-first-token-of-al", "the-first-token-of-all2", "\u{7f}"] {
        let mut request = crate::world::request("", "GET /api/v1/devices", Value::Null);
        if let Ok(value) = format!("Bearer {token}").parse() {
            request.headers_mut().insert("authorization", value);
        }
        let answer = world.send(request).await.expect(401);
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
    }
    for scheme in ["Digest x", "Bearer", "Basic ***", ""] {
        let mut request = crate::world::request("", "GET /api/v1/devices", Value::Null);
        request.headers_mut().insert("authorization", scheme.parse().unwrap());
        world.send(request).await.expect(401);
    }
    let device = world.device("a").await;
    for line in [
        "GET /api/v1/devices",
        "GET /api/v1/tokens",
        "GET /api/v1/users",
        "DELETE /api/v1/devices/a",
        "GET /api/v1/tenants",
        "GET /metrics",
    ] {
        world.ask(&device, line, Value::Null).await.expect(403);
    }
}

/// Something of each kind in the tenant `default`: the values of the parameters of its paths.
async fn ids(world: &World) -> Vec<(&'static str, String)> {
    world.device("theirs").await;
    let credentials = world.get("/api/v1/devices/theirs/credentials").await.expect(200).json();
    let command =
        world.admin("POST /api/v1/devices/theirs/commands", json!({ "name": "x" })).await.expect(202).json();
    let put =
        crate::world::request(crate::world::ADMIN, "PUT /api/v1/devices/theirs/documents/doc", json!({}));
    world.send(put).await.expect(201);
    let body = json!({ "email": "a@example.org", "password": "correct horse", "role": "viewer" });
    let user = world.admin("POST /api/v1/users", body).await.expect(201).json();
    let tokens = world.get("/api/v1/tokens").await.expect(200).json();
    world.admin("POST /api/v1/profiles", json!({ "id": "their-profile" })).await.expect(201);
    let recognised = Recognised {
        dialect: "spot",
        name: "1".to_owned(),
        parent: None,
        proposed: Proposed::default(),
        sample: Value::Null,
    };
    world.hub.recognise(&TenantId::parse("default").unwrap(), recognised).unwrap();
    let inbox = world.get("/api/v1/inbox").await.expect(200).json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    vec![
        ("devices/{id}", "theirs".to_owned()),
        ("credentials/{cid}", text(&credentials["items"][0]["id"])),
        ("commands/{cid}", text(&command["id"])),
        ("documents/{name}", "doc".to_owned()),
        ("users/{id}", text(&user["id"])),
        ("tokens/{id}", text(&tokens["items"][0]["id"])),
        ("profiles/{id}", "their-profile".to_owned()),
        ("tenants/{id}", "default".to_owned()),
        ("inbox/{id}", text(&inbox["items"][0]["id"])),
        ("me/sessions/{id}", "0123456789abcdef".to_owned()),
        ("sessions/{client_id}", "their-client".to_owned()),
    ]
}

fn body(method: &str, path: &str) -> Value {
    match (method, path.rsplit('/').next().unwrap()) {
        ("put", "links") => json!([]),
        ("patch", "twin") => json!({ "desired": {} }),
        ("post", "commands") => json!({ "name": "x" }),
        ("post", "credentials") => json!({ "kind": "token" }),
        ("put" | "post" | "patch", _) => json!({}),
        _ => Value::Null,
    }
}

#[tokio::test]
async fn h_19_no_route_reaches_what_is_another_tenants_by_any_id() {
    let world = World::new().await;
    let ids = ids(&world).await;
    let stranger = world.tenant("acme").await;
    let before = world.get("/api/v1/devices/theirs").await.expect(200).json();
    let document = world.get("/openapi.json").await.expect(200).json();
    let mut tried = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        if !path.contains('{') {
            continue;
        }
        for (method, operation) in item.as_object().unwrap() {
            let mut target = path.clone();
            for (name, id) in &ids {
                let (before, _) = name.split_once('{').unwrap();
                target = target.replace(name, &format!("{before}{id}"));
            }
            let is_later = operation["tags"] == json!(["later"]);
            // Readings are taken by another part of the server; a key is no id.
            let is_reading =
                method == "post" && (target.ends_with("/telemetry") || path.ends_with("/telemetry/{key}"));
            if is_later || is_reading || target.ends_with("/result") {
                continue;
            }
            assert!(!target.contains('{'), "give this test an id for {path}");
            let query = if target.ends_with("/telemetry") { "?key=temp" } else { "" };
            let line = format!("{} {target}{query}", method.to_uppercase());
            let answer = world.ask(&stranger, &line, body(method, path)).await;
            let status = answer.status.as_u16();
            // `me` is the caller's own, and tenants are the operator's.
            let expected = if target.contains("/me/") || target.contains("/tenants/") { 403 } else { 404 };
            assert_eq!(status, expected, "{line}: {:?}", answer.body);
            tried += 1;
        }
    }
    assert!(tried > 25, "{tried}");
    assert_eq!(world.get("/api/v1/devices/theirs").await.expect(200).json(), before);
}

#[tokio::test]
async fn h_19_ids_in_bodies_and_cursors_reach_nothing_of_another_tenant() {
    let world = World::new().await;
    ids(&world).await;
    let stranger = world.tenant("acme").await;
    world
        .ask(&stranger, "POST /api/v1/devices", json!({ "id": "own", "parent": "theirs" }))
        .await
        .expect(422);
    world
        .ask(&stranger, "POST /api/v1/devices", json!({ "id": "own", "profile": "their-profile" }))
        .await
        .expect(422);
    world.ask(&stranger, "POST /api/v1/devices", json!({ "id": "theirs" })).await.expect(201);
    world.ask(&stranger, "PATCH /api/v1/devices/theirs", json!({ "parent": "theirs" })).await.expect(422);
    for path in ["devices", "tokens", "users", "profiles", "sessions", "retained"] {
        let line = format!("GET /api/v1/{path}?cursor=0");
        let list = world.ask(&stranger, &line, Value::Null).await.expect(200);
        let text = String::from_utf8(list.body.to_vec()).unwrap();
        assert!(!text.contains("their-") && !text.contains("example.org"), "{text}");
    }
}
