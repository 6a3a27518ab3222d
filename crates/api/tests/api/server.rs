use serde_json::{Value, json};

use crate::world::{ADMIN, World, request};

#[tokio::test]
async fn health_and_readiness_are_told_to_everybody() {
    let world = World::empty();
    assert_eq!(&*world.ask("", "GET /healthz", Value::Null).await.expect(200).body, b"ok\n");
    let ready = world.ask("", "GET /readyz", Value::Null).await.expect(200).json();
    assert_eq!(ready, json!({ "status": "ready", "acks": "synced" }));
}

#[tokio::test]
async fn metrics_are_the_operators() {
    let world = World::new().await;
    world.ask("", "GET /metrics", Value::Null).await.expect(401);
    let metrics = world.get("/metrics").await.expect(200);
    assert!(metrics.header("content-type").starts_with("text/plain; version=0.0.4"));
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    assert!(text.contains("# TYPE roost_connections gauge\nroost_connections 0\n"), "{text}");
    assert!(text.contains("roost_logins_refused_total 1\n"));
    assert!(text.contains("roost_build_info{version=\"0.1.0\",acks=\"synced\"} 1\n"));
}

#[tokio::test]
async fn the_server_tells_its_doors() {
    let world = World::new().await;
    let server = world.get("/api/v1/server").await.expect(200).json();
    assert_eq!(server["doors"], json!({ "mqtt": "127.0.0.1:1883" }));
    assert_eq!((&server["version"], &server["acks"]), (&json!("0.1.0"), &json!("synced")));
    assert_eq!(server["started_at"], "2026-11-21T13:54:57.250Z");
}

#[tokio::test]
async fn nothing_but_what_is_open_answers_without_a_credential() {
    let world = World::empty();
    let document = world.ask("", "GET /openapi.json", Value::Null).await.expect(200).json();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let is_open = operation["security"] == json!([]);
            let by_gateway = is_by_gateway(&document, path, method);
            if is_open || by_gateway {
                continue;
            }
            let line = format!("{} {}", method.to_uppercase(), path.replace(['{', '}'], ""));
            world.ask("", &line, json!({})).await.expect(401);
        }
    }
}

/// Which routes the gateway serves: the document says so by what it does not serve itself.
fn is_by_gateway(document: &Value, path: &str, method: &str) -> bool {
    let answers = &document["paths"][path][method]["responses"];
    answers.get("101").is_some()
        || matches!(
            (method, path),
            ("post", "/api/v1/devices/{id}/telemetry" | "/api/v1/me/telemetry" | "/api/v1/publish")
                | ("post", "/api/v1/me/telemetry/{key}")
                | ("get", "/api/v1/me/commands" | "/api/v1/me/telemetry")
                | ("post", "/api/v1/me/commands/{cid}/result")
        )
}

#[tokio::test]
async fn the_api_document_names_what_is_served_and_nothing_else() {
    let world = World::new().await;
    let document = world.get("/openapi.json").await.expect(200).json();
    assert_eq!(document["openapi"], "3.1.0");
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let mut text = document.to_string();
    while let Some(at) = text.find("#/components/schemas/") {
        text = text.split_off(at + "#/components/schemas/".len());
        let name: String = text.chars().take_while(char::is_ascii_alphanumeric).collect();
        assert!(schemas.contains_key(&name), "{name}");
    }
    let mut ids = std::collections::HashSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let served: Vec<&str> = item.as_object().unwrap().keys().map(String::as_str).collect();
        for method in ["get", "post", "put", "patch", "delete"] {
            let line = format!("{} {}", method.to_uppercase(), path.replace(['{', '}'], ""));
            if !served.contains(&method) {
                let answer = world.send(request("", &line, Value::Null)).await;
                let status = answer.status.as_u16();
                assert!(status == 405 || status == 404, "{line}: {status}");
                continue;
            }
            let operation = &item[method];
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{line}");
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{line}");
            if !is_by_gateway(&document, path, method) && !path.starts_with("/api/v1/live") {
                // Whatever it answers, it is not "no such route" and not "no such method".
                let answer = world.send(request("", &line, Value::Null)).await;
                assert!(![404, 405].contains(&answer.status.as_u16()), "{line}: {}", answer.status);
            }
        }
    }
}

#[tokio::test]
async fn h_15_a_method_that_a_path_does_not_take_is_refused_with_those_it_takes() {
    let world = World::new().await;
    for method in ["PUT", "TRACE", "BREW"] {
        let answer =
            world.send(request(ADMIN, &format!("{method} /api/v1/devices"), Value::Null)).await.expect(405);
        assert!(answer.header("allow").contains("POST"), "{method}: {:?}", answer.header("allow"));
    }
    world.get("/api/v1/nothing").await.expect(404);
    world.send(request(ADMIN, "POST /nothing", Value::Null)).await.expect(405);
}

#[tokio::test]
async fn what_is_promised_for_later_says_so() {
    let world = World::new().await;
    for line in ["POST /api/v1/sql", "GET /api/v1/rules", "POST /api/v1/apps", "GET /api/v1/audit"] {
        world.ask(ADMIN, line, json!({})).await.expect(501);
        world.ask("", line, json!({})).await.expect(401);
    }
}

#[tokio::test]
async fn the_page_has_headers_that_keep_others_out() {
    let world = World::new().await;
    for path in ["/", "/devices/a", "/index.html", "/api/v1/server", "/healthz"] {
        let answer = world.get(path).await.expect(200);
        assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert_eq!(answer.header("access-control-allow-origin"), "");
    }
    assert!(world.get("/").await.expect(200).header("content-type").starts_with("text/html"));
    let docs = world.get("/api/docs").await.expect(307);
    assert_eq!(docs.header("location"), "/#/api");
    world.get("/assets/none.js").await.expect(404);
    world.get("/none.png").await.expect(404);
}
