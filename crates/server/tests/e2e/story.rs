//! Stories from end to end: real processes, real MQTT, real HTTP.

use std::collections::HashMap;

use crate::mqtt::{Client, Heard, Login};
use crate::support::{Server, run};
use serde_json::{Value, json};
use tempfile::tempdir;

async fn connect(server: &Server, device: &str, token: &str) -> Client {
    let login = Login { client_id: device, username: device, password: token, keep_alive: 60 };
    Client::connect(&server.door("mqtt").to_string(), login).await.unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Publishes the numbers from `first` on, 20 in flight, until the connection breaks; gives the ones
/// that were acknowledged.
async fn publish_until_broken(mut client: Client, kill_after: usize, kill: impl FnOnce()) -> Vec<u64> {
    let mut kill = Some(kill);
    let mut acknowledged = Vec::new();
    let mut in_flight = HashMap::new();
    let mut number = 0_u64;
    loop {
        while in_flight.len() < 20 {
            let payload = json!({ "ts": 1_795_269_297_000_u64 + number, "values": { "n": number } });
            let id = client.publish("me/telemetry", payload.to_string().as_bytes()).unwrap();
            in_flight.insert(id, number);
            number += 1;
        }
        match client.next().await {
            Ok(Heard::Acknowledged { packet_id, reason }) => {
                assert!(reason.code() < 0x80, "{reason:?}");
                acknowledged.push(in_flight.remove(&packet_id).unwrap());
            }
            Ok(_) => {}
            Err(_broken) => return acknowledged,
        }
        if acknowledged.len() >= kill_after
            && let Some(kill) = kill.take()
        {
            kill();
        }
    }
}

fn stored(server: &Server, device: &str) -> Vec<u64> {
    let mut numbers = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/api/v1/devices/{device}/telemetry?key=n&from=0{cursor}");
        let (status, page) = server.call("GET", &path, &Value::Null);
        assert_eq!(status, 200, "{page}");
        let points = page["points"].as_array().unwrap();
        numbers.extend(points.iter().map(|point| point[1].as_u64().unwrap()));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return numbers,
        }
    }
}

#[test]
fn every_reading_acknowledged_before_kill_9_is_there_after_it() {
    let folder = tempdir().unwrap();
    let server = Server::start(&folder);
    let token = server.add_device("over-mqtt");
    let http_token = server.add_device("over-http");
    let over_http: Vec<u64> = (0..50)
        .filter(|number| {
            let body = json!({ "ts": 1_795_269_297_000_u64 + number, "values": { "n": number } });
            server.call_as(&http_token, "POST", "/api/v1/me/telemetry", &body).0 == 204
        })
        .collect();
    assert_eq!(over_http.len(), 50);
    let over_mqtt = block_on(async {
        let client = connect(&server, "over-mqtt", &token).await;
        publish_until_broken(client, 2_000, move || server.kill()).await
    });
    assert!(over_mqtt.len() >= 2_000);
    let server = Server::start(&folder);
    for (device, acknowledged) in [("over-mqtt", over_mqtt), ("over-http", over_http)] {
        let stored = stored(&server, device);
        let lost: Vec<_> = acknowledged.iter().filter(|number| !stored.contains(number)).collect();
        assert!(lost.is_empty(), "{device}: {} of {} lost: {lost:?}", lost.len(), acknowledged.len());
    }
}

#[test]
fn a_command_reaches_a_device_over_mqtt_and_its_answer_comes_back() {
    let folder = tempdir().unwrap();
    let server = Server::start(&folder);
    let token = server.add_device("pump");
    let answered = block_on(async {
        let mut client = connect(&server, "pump", &token).await;
        client.subscribe("me/commands").unwrap();
        client.ping().unwrap();
        assert_eq!(client.next().await.unwrap(), Heard::Subscribed { is_granted: true });
        assert_eq!(client.next().await.unwrap(), Heard::Pong);
        let command = server.client(&[
            "send",
            "pump",
            "on",
            "--params",
            "{\"level\":3}",
            "--wait",
            "10s",
            "--output",
            "json",
        ]);
        let sent = tokio::task::spawn_blocking(move || run(command));
        let Heard::Message { topic, payload } = client.next().await.unwrap() else { panic!("no message") };
        assert_eq!(topic, "me/commands");
        let command: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!((&command["name"], &command["params"]), (&json!("on"), &json!({ "level": 3 })));
        let id = command["id"].as_str().unwrap();
        client.publish(&format!("me/commands/{id}/result"), br#"{"ok":true,"result":{"level":3}}"#).unwrap();
        while !matches!(client.next().await.unwrap(), Heard::Acknowledged { .. }) {}
        let (code, out, errors) = sent.await.unwrap();
        assert_eq!(code, Some(0), "{errors}");
        serde_json::from_str::<Value>(&out).unwrap()
    });
    assert_eq!((&answered["state"], &answered["result"]), (&json!("succeeded"), &json!({ "level": 3 })));
}

#[test]
fn virtual_devices_send_over_both_protocols_and_their_history_can_be_read() {
    let folder = tempdir().unwrap();
    let server = Server::start(&folder);
    let words = ["simulate", "--devices", "8", "--rate", "20", "--duration", "2s", "--output", "json"];
    let (code, out, errors) = run(server.client(&words));
    assert_eq!(code, Some(0), "{errors}");
    let counts: Value = serde_json::from_str(&out).unwrap();
    assert!(counts["acknowledged"].as_u64().unwrap() > 50, "{counts}");
    assert_eq!(counts["refused"], 0, "{counts}");
    for device in ["sim-0000", "sim-0004"] {
        let (code, out, errors) = run(server.client(&["history", device, "temperature", "--output", "csv"]));
        assert_eq!(code, Some(0), "{errors}");
        assert!(out.starts_with("ts,time,value\n") && out.lines().count() > 5, "{device}: {out}");
    }
    let (_, listed, _) = run(server.client(&["device", "list", "--output", "json"]));
    assert_eq!(serde_json::from_str::<Value>(&listed).unwrap().as_array().unwrap().len(), 8);
}

#[test]
fn a_device_is_added_shown_and_removed_from_the_command_line() {
    let folder = tempdir().unwrap();
    let server = Server::start(&folder);
    let (code, out, errors) = run(server.client(&["device", "add", "pump", "--label", "room=cellar"]));
    assert_eq!(code, Some(0), "{errors}");
    assert!(out.starts_with("device  pump\ntoken   "), "{out}");
    let (_, out, _) = run(server.client(&["device", "list"]));
    assert!(out.starts_with("ID    NAME") && out.contains("cellar"), "{out}");
    assert_eq!(run(server.client(&["device", "remove", "pump"])).0, Some(0));
    let (code, _, errors) = run(server.client(&["device", "show", "pump"]));
    assert_eq!((code, errors.as_str()), (Some(1), "roost: There is no device \"pump\".\n"));
}

#[test]
fn devices_are_let_in_forgotten_and_let_in_by_a_rule_from_the_command_line() {
    let folder = tempdir().unwrap();
    let server = Server::start(&folder);
    let done = |words: &[&str]| {
        let (code, out, errors) = run(server.client(words));
        assert_eq!(code, Some(0), "{errors}");
        out
    };
    for serial in ["1187", "1288", "99"] {
        server.unknown_spot(serial);
    }
    let waiting: Value = serde_json::from_str(&done(&["inbox", "list", "--output", "json"])).unwrap();
    let id_of = |serial: &str| {
        let found = waiting.as_array().unwrap().iter().find(|waiting| waiting["name"] == serial);
        found.unwrap()["id"].as_str().unwrap().to_owned()
    };
    assert!(done(&["inbox", "list"]).contains("spot-1288"));
    let made = done(&["inbox", "accept", &id_of("1187"), "--id", "gate", "--label", "hall=7"]);
    assert!(made.starts_with("device  gate\ntoken   "), "{made}");
    done(&["inbox", "forget", &id_of("99")]);
    done(&["inbox", "rules", "add", "spot", "12*", "--label", "hall=8", "--limit", "5"]);
    let listed = done(&["inbox", "rules", "list"]);
    assert!(listed.contains("12*") && listed.contains("hall"), "{listed}");
    assert_eq!(done(&["inbox", "list", "--output", "json"]), "[]\n");
    assert!(done(&["device", "list", "--label", "hall=8"]).contains("spot-1288"));
    let (code, _, errors) = run(server.client(&["inbox", "rules", "remove", "2"]));
    assert_eq!((code, errors.starts_with("roost: there is no rule 2")), (Some(1), true), "{errors}");
    done(&["inbox", "rules", "remove", "1"]);
    server.unknown_spot("1299");
    assert!(done(&["inbox", "list"]).contains("1299"));
}

#[test]
fn the_doctor_finds_the_server_well() {
    let folder = tempdir().unwrap();
    let server = Server::start(&folder);
    let (http, mqtt) = (server.door("http").to_string(), server.door("mqtt").to_string());
    let (_, out, errors) =
        run(server.client(&["doctor", "--http", &http, "--mqtt", &mqtt, "--output", "json"]));
    let findings: Value = serde_json::from_str(&out).expect(&errors);
    let state = |name: &str| {
        let found = findings.as_array().unwrap().iter().find(|finding| finding["name"] == name);
        found.map(|finding| finding["state"].clone()).unwrap_or_default()
    };
    assert_eq!(
        (state("server"), state("http"), state("mqtt"), state("data")),
        (json!("good"), json!("good"), json!("good"), json!("good")),
        "{out}"
    );
}
