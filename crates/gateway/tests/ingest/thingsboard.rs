use std::time::Duration;

use axum::body::Body;
use http::Request;
use roost_hub::mailbox::{CommandState, NewCommand};
use roost_hub::reading::Value;
use serde_json::json;

use crate::world::{Answer, Ingest, OWNER, id, tenant, token};

async fn ask(ingest: &Ingest, method: &str, path: &str, body: &str) -> Answer {
    let uri = format!("/api/v1/{}{path}", token("a"));
    let request = Request::builder().method(method).uri(uri).header("content-type", "application/json");
    ingest.call(request.body(Body::from(body.to_owned())).unwrap()).await
}

#[tokio::test]
async fn the_token_in_the_path_is_the_device() {
    let ingest = Ingest::new().await;
    let now = ingest.hub().now().0;
    for body in [
        r#"{"temp":21.5}"#.to_owned(),
        format!(r#"{{"ts":{now},"values":{{"hum":40}}}}"#),
        r#"[{"on":true},{"deep":{"er":1}}]"#.to_owned(),
    ] {
        ask(&ingest, "POST", "/telemetry", &body).await.expect(200);
    }
    assert_eq!(ingest.value("temp"), Some(Value::Number(21.5)));
    assert_eq!(ingest.value("hum"), Some(Value::Integer(40)));
    assert_eq!(
        (ingest.value("on"), ingest.value("deep.er")),
        (Some(Value::Boolean(true)), Some(Value::Integer(1)))
    );
    ask(&ingest, "POST", "/telemetry", "{").await.problem(400, "unreadable");
    let wrong = Request::post("/api/v1/wrong/telemetry").body(Body::from("{}")).unwrap();
    ingest.call(wrong).await.problem(401, "unauthenticated");
    let owner = Request::post(format!("/api/v1/{OWNER}/telemetry")).body(Body::from("{}")).unwrap();
    ingest.call(owner).await.problem(403, "forbidden");
}

#[tokio::test]
async fn attributes_are_the_twin() {
    let ingest = Ingest::new().await;
    ask(&ingest, "POST", "/attributes", r#"{"firmware":"1.2","serial":7}"#).await.expect(200);
    ingest.hub().patch_desired(&tenant(), &id("a"), json!({"interval":30,"on":true}), None).await.unwrap();
    let all = json!({"client":{"firmware":"1.2","serial":7},"shared":{"interval":30,"on":true}});
    for (query, answer) in [
        ("", all),
        ("?clientKeys=serial,none&sharedKeys=on", json!({"client":{"serial":7},"shared":{"on":true}})),
        ("?sharedKeys=interval", json!({"shared":{"interval":30}})),
        ("?clientKeys=none", json!({})),
    ] {
        let path = format!("/attributes{query}");
        assert_eq!(ask(&ingest, "GET", &path, "").await.expect(200).json(), answer, "{query}");
    }
    ask(&ingest, "POST", "/attributes", "[]").await.problem(422, "invalid");
}

#[tokio::test(start_paused = true)]
async fn a_change_of_shared_attributes_is_waited_for() {
    let ingest = Ingest::new().await;
    ingest.hub().patch_desired(&tenant(), &id("a"), json!({"a":1,"b":2}), None).await.unwrap();
    let change = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        // What the device reports itself is no news.
        ask(&ingest, "POST", "/attributes", r#"{"x":1}"#).await.expect(200);
        tokio::time::sleep(Duration::from_secs(1)).await;
        ingest.hub().patch_desired(&tenant(), &id("a"), json!({"a":3,"b":null}), None).await.unwrap();
    };
    let (answer, ()) = tokio::join!(ask(&ingest, "GET", "/attributes/updates?timeout=60000", ""), change);
    assert_eq!(answer.expect(200).json(), json!({"a":3,"deleted":["b"]}));
    ask(&ingest, "GET", "/attributes/updates?timeout=50", "").await.expect(408);
    ask(&ingest, "GET", "/attributes/updates?timeout=soon", "").await.problem(422, "invalid");
}

#[tokio::test(start_paused = true)]
async fn a_command_is_a_call_and_its_result_ends_it() {
    let ingest = Ingest::new().await;
    ask(&ingest, "GET", "/rpc?timeout=50", "").await.expect(408);
    let new = |name: &str| NewCommand {
        name: name.to_owned(),
        params: json!({ "pin": 4 }),
        ..NewCommand::default()
    };
    let state =
        |id_of: &roost_hub::id::CommandId| ingest.hub().command(&tenant(), &id("a"), id_of).unwrap().unwrap();
    let one = ingest.hub().send_command(&tenant(), &id("a"), new("setGpio")).await.unwrap();
    let two = ingest.hub().send_command(&tenant(), &id("a"), new("other")).await.unwrap();
    for (command, result) in [(&one, r#"{"pin":true}"#), (&two, r#"{"error":"no such pin"}"#)] {
        let call = ask(&ingest, "GET", "/rpc", "").await.expect(200).json();
        assert_eq!(call, json!({"id":command.id.as_str(),"method":command.name,"params":{"pin":4}}));
        assert_eq!(state(&command.id).state, CommandState::Sent);
        let path = format!("/rpc/{}", command.id);
        ask(&ingest, "POST", &path, result).await.expect(200);
    }
    assert_eq!(state(&one.id).result, Some(json!({ "pin": true })));
    assert_eq!(state(&two.id).error.as_deref(), Some("no such pin"));
    ask(&ingest, "POST", "/rpc/unknown", "1").await.problem(404, "not-found");
    let own = ask(&ingest, "POST", "/rpc", r#"{"method":"getTime","params":{}}"#).await.expect(200);
    assert!(own.json()["error"].is_string());
}
