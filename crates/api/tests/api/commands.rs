use std::time::Duration;

use roost_hub::id::{CommandId, DeviceId, TenantId};
use roost_hub::mailbox::Answer;
use serde_json::{Value, json};

use crate::world::{ADMIN, World, request};

const PATH: &str = "/api/v1/devices/a/commands";

#[tokio::test]
async fn a_command_is_taken_shown_and_cancelled() {
    let world = World::new().await;
    world.device("a").await;
    let body = json!({ "name": "set", "params": { "relay": 1 }, "expires_in": "10m", "priority": 3 });
    let sent = world.admin(&format!("POST {PATH}"), body).await.expect(202);
    let command = sent.json();
    assert_eq!((&command["state"], &command["device"]), (&json!("queued"), &json!("a")));
    assert_eq!(command["created_at"], "2026-11-21T13:54:57.250Z");
    assert_eq!(command["expires_at"], "2026-11-21T14:04:57.250Z");
    assert!(command.get("sent_at").is_none() && command.get("result").is_none());
    let one = sent.header("location").to_owned();
    assert_eq!(world.get(&one).await.expect(200).json(), command);
    let list = world.get(&format!("{PATH}?state=queued")).await.expect(200).json();
    assert_eq!(list["items"], json!([command]));
    assert_eq!(world.get(&format!("{PATH}?state=failed")).await.expect(200).json()["items"], json!([]));
    world.get(&format!("{PATH}?state=odd")).await.expect(422);

    let cancelled = world.admin(&format!("DELETE {one}"), Value::Null).await.expect(200).json();
    assert_eq!(cancelled["state"], "cancelled");
    world.admin(&format!("DELETE {one}"), Value::Null).await.expect(409);
    world.get(&format!("{PATH}/none")).await.expect(404);
}

#[tokio::test]
async fn whoever_waits_gets_the_finished_command() {
    let world = World::new().await;
    world.device("a").await;
    let (tenant, device) = (TenantId::parse("default").unwrap(), DeviceId::parse("a").unwrap());
    let send = world.admin("POST /api/v1/devices/a/commands?wait=10s", json!({ "name": "ping" }));
    let answer = async {
        let mut taken = Vec::new();
        while taken.is_empty() {
            taken = world.hub.take_commands(&tenant, &device, 10).await.unwrap();
            tokio::task::yield_now().await;
        }
        let id: CommandId = taken[0].id.clone();
        world
            .hub
            .answer_command(&tenant, &device, &id, Answer::Succeeded(Some(json!("pong"))))
            .await
            .unwrap();
    };
    let (sent, ()) = tokio::join!(send, answer);
    let command = sent.expect(200).json();
    assert_eq!((&command["state"], &command["result"]), (&json!("succeeded"), &json!("pong")));
    assert!(command["finished_at"].is_string());
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_in_vain_gets_the_command_as_it_is() {
    let world = World::new().await;
    world.device("a").await;
    let sent = world.admin("POST /api/v1/devices/a/commands?wait=5s", json!({ "name": "ping" }));
    let sent = tokio::time::timeout(Duration::from_secs(6), sent).await.unwrap();
    assert_eq!(sent.expect(202).json()["state"], "queued");
}

#[tokio::test]
async fn a_repeated_key_gives_the_first_command_back() {
    let world = World::new().await;
    world.device("a").await;
    let body = json!({ "name": "open", "idempotency_key": "k1" });
    let first = world.admin(&format!("POST {PATH}"), body.clone()).await.expect(202).json();
    let again = world.admin(&format!("POST {PATH}"), body).await.expect(202).json();
    assert_eq!(first["id"], again["id"]);
}

#[tokio::test]
async fn a_key_in_the_header_outlives_a_restart_and_is_the_callers_own() {
    let world = World::new().await;
    world.device("a").await;
    let other = world.token("owner").await;
    let keyed = |token: &str, name: &str| {
        let mut request = request(token, &format!("POST {PATH}"), json!({ "name": name }));
        request.headers_mut().insert("idempotency-key", "k1".parse().unwrap());
        request
    };
    let first = world.send(keyed(ADMIN, "open")).await.expect(202).json();
    let others = world.send(keyed(&other, "shut")).await.expect(202).json();
    assert_eq!(others["name"], "shut");
    let world = world.restarted();
    assert_eq!(world.send(keyed(ADMIN, "open")).await.expect(202).json()["id"], first["id"]);
}

#[tokio::test]
async fn a_command_that_cannot_be_is_refused() {
    let world = World::new().await;
    world.device("a").await;
    for body in [
        json!({}),
        json!({ "name": "" }),
        json!({ "name": "x", "expires_in": "soon" }),
        json!({ "name": "x", "priority": 1_000 }),
        json!({ "name": "x", "state": "succeeded" }),
    ] {
        world.admin(&format!("POST {PATH}"), body).await.expect(422);
    }
    world.admin(&format!("POST {PATH}?wait=long"), json!({ "name": "x" })).await.expect(422);
    let viewer = world.token("viewer").await;
    world.ask(&viewer, &format!("POST {PATH}"), json!({ "name": "x" })).await.expect(403);
}

#[tokio::test]
async fn the_configuration_of_an_olimex_node_is_for_admins() {
    let world = World::new().await;
    let new = json!({ "id": "node", "links": [{ "listen": "olimex", "token": "5CCF7F01A2B3" }] });
    world.admin("POST /api/v1/devices", new).await.expect(201);
    world.device("a").await;
    let operator = world.token("operator").await;
    let send = |id: &str| format!("POST /api/v1/devices/{id}/commands");
    world.ask(&operator, &send("node"), json!({ "name": "/config/iot" })).await.expect(403);
    world.ask(&operator, &send("node"), json!({ "name": "/relay" })).await.expect(202);
    world.ask(&operator, &send("a"), json!({ "name": "/config/iot" })).await.expect(202);
    world.admin(&send("node"), json!({ "name": "/config/iot" })).await.expect(202);
}

#[tokio::test]
async fn no_answer_shows_the_passwords_of_a_command() {
    let world = World::new().await;
    world.device("a").await;
    let path = "/api/v1/devices/a/commands";
    let params = json!({ "Data": { "Station": { "SSID": "farm", "Password": "wlan-key" } } });
    let hidden = json!({ "Data": { "Station": { "SSID": "farm", "Password": "(hidden)" } } });
    let sent = world
        .admin(&format!("POST {path}"), json!({ "name": "/config/station", "params": params }))
        .await
        .expect(202)
        .json();
    assert_eq!(sent["params"], hidden);
    let list = world.get(path).await.expect(200).json();
    assert_eq!(list["items"][0]["params"], hidden);
    let other = world.admin(&format!("POST {path}"), json!({ "name": "open", "params": params })).await;
    assert_eq!(other.expect(202).json()["params"], params);
}
