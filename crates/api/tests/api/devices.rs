use roost_hub::id::{DeviceId, TenantId};
use roost_hub::inbox::{Proposed, Recognised};
use serde_json::{Value, json};

use crate::world::{ADMIN, World, request};

#[tokio::test]
async fn a_device_is_added_shown_changed_and_deleted() {
    let world = World::new().await;
    let body = json!({ "id": "greenhouse", "name": "Greenhouse", "labels": { "room": "north" } });
    let made = world.admin("POST /api/v1/devices", body).await.expect(201);
    assert_eq!(made.header("location"), "/api/v1/devices/greenhouse");
    let made = made.json();
    assert_eq!(made["name"], "Greenhouse");
    assert_eq!(made["profile"], "standard");
    assert_eq!(made["online"], false);
    assert_eq!(made["created_at"], "2026-11-21T13:54:57.250Z");
    let token = made["credential"]["token"].as_str().unwrap();
    assert!(token.len() <= 48 && made["credential"]["kind"] == "token");

    let me = world.ask(token, "GET /api/v1/me", Value::Null).await.expect(200).json();
    assert_eq!(
        (&me["kind"], &me["id"], &me["tenant"]),
        (&json!("device"), &json!("greenhouse"), &json!("default"))
    );
    let shown = world.get("/api/v1/devices/greenhouse").await.expect(200).json();
    assert!(shown.get("credential").is_none());
    assert_eq!(shown["last_seen"], "2026-11-21T13:54:57.250Z");

    let change = json!({ "name": "Glass", "labels": {} });
    let changed = world.admin("PATCH /api/v1/devices/greenhouse", change).await.expect(200).json();
    assert_eq!((&changed["name"], &changed["labels"]), (&json!("Glass"), &json!({})));
    world.admin("DELETE /api/v1/devices/greenhouse", Value::Null).await.expect(204);
    world.get("/api/v1/devices/greenhouse").await.expect(404);
    world.ask(token, "GET /api/v1/me", Value::Null).await.expect(401);
}

#[tokio::test]
async fn an_id_is_given_once() {
    let world = World::new().await;
    world.device("a").await;
    let again = world.admin("POST /api/v1/devices", json!({ "id": "a" })).await.expect(409);
    assert!(again.json()["detail"].as_str().unwrap().contains("choose another id"));
    let made = world.admin("POST /api/v1/devices", json!({})).await.expect(201).json();
    assert!(!made["id"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn devices_are_listed_page_by_page_and_found() {
    let world = World::new().await;
    for id in ["a", "b", "c"] {
        let body = json!({ "id": id, "labels": { "place": format!("room-{id}") } });
        world.admin("POST /api/v1/devices", body).await.expect(201);
    }
    let ids = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    let first = world.get("/api/v1/devices?limit=2").await.expect(200).json();
    assert_eq!(ids(&first), ["a", "b"]);
    let cursor = first["next"].as_str().unwrap();
    let second = world.get(&format!("/api/v1/devices?limit=2&cursor={cursor}")).await.expect(200).json();
    assert_eq!((ids(&second), &second["next"]), (vec!["c".to_owned()], &Value::Null));
    for (query, found) in [
        ("q=ROOM-b", vec!["b"]),
        ("label=place=room-c", vec!["c"]),
        ("label=place", vec!["a", "b", "c"]),
        ("online=true", vec![]),
        ("q=&label=&online=&limit=&cursor=", vec!["a", "b", "c"]),
    ] {
        let page = world.get(&format!("/api/v1/devices?{query}")).await.expect(200).json();
        assert_eq!(ids(&page), found, "{query}");
    }
}

#[tokio::test]
async fn links_that_listen_are_kept_and_shown_with_their_state() {
    let world = World::new().await;
    let link = json!([{ "listen": "spot", "serial": "1187" }]);
    let made =
        world.admin("POST /api/v1/devices", json!({ "id": "a", "links": link })).await.expect(201).json();
    assert_eq!(made["links"], link);
    let shown = world.get("/api/v1/devices/a/links").await.expect(200).json();
    assert_eq!(shown, json!([{ "listen": "spot", "serial": "1187", "state": "offline" }]));
    world.admin("PUT /api/v1/devices/a/links", shown).await.expect(200);
    world.admin("POST /api/v1/devices", json!({ "id": "b", "links": link })).await.expect(422);
    world.admin("PUT /api/v1/devices/a/links", json!([])).await.expect(200);
    world.admin("POST /api/v1/devices", json!({ "id": "b" })).await.expect(201);
    world.admin("PATCH /api/v1/devices/b", json!({ "links": link })).await.expect(200);
    for wrong in [json!([{}]), json!([{ "listen": "nobody" }]), json!([{ "listen": "olimex" }]), json!({})] {
        world.admin("PUT /api/v1/devices/a/links", wrong).await.expect(422);
    }
}

#[tokio::test]
async fn links_that_dial_are_refused_as_long_as_nothing_dials() {
    let world = World::new().await;
    let link = json!([{ "dial": "tcp", "address": "10.0.0.7:8888", "when": "always" }]);
    world.admin("POST /api/v1/devices", json!({ "id": "a", "links": link })).await.expect(501);
    world.admin("POST /api/v1/devices", json!({ "id": "a", "links": [] })).await.expect(201);
    world.admin("PATCH /api/v1/devices/a", json!({ "links": link })).await.expect(501);
    world.admin("PUT /api/v1/devices/a/links", link).await.expect(501);
}

#[tokio::test]
async fn a_device_is_let_in_from_the_inbox() {
    let world = World::new().await;
    for name in ["1", "2"] {
        let recognised = Recognised {
            dialect: "spot",
            name: name.to_owned(),
            parent: None,
            proposed: Proposed { id: DeviceId::parse(&format!("spot-{name}")).ok(), ..Proposed::default() },
            sample: json!({ "spot": { "version": "61" } }),
        };
        world.hub.recognise(&TenantId::parse("default").unwrap(), recognised).unwrap();
    }
    let first = world.get("/api/v1/inbox?limit=1").await.expect(200).json();
    assert_eq!(first["total"], 2);
    let waiting = &first["items"][0];
    let name = waiting["name"].as_str().unwrap();
    assert_eq!((&waiting["dialect"], &waiting["sample"]["spot"]["version"]), (&json!("spot"), &json!("61")));
    assert_eq!(waiting["proposed"]["links"], json!([{ "listen": "spot", "serial": name }]));
    let rest = format!("/api/v1/inbox?cursor={}", first["next"].as_str().unwrap());
    let second = world.get(&rest).await.expect(200).json();
    assert_eq!((second["items"].as_array().unwrap().len(), &second["next"]), (1, &Value::Null));

    let accept = format!("POST /api/v1/inbox/{}/accept", waiting["id"].as_str().unwrap());
    let made =
        world.admin(&accept, json!({ "id": "gate", "labels": { "room": "hall" } })).await.expect(201).json();
    assert_eq!(
        (&made["id"], &made["profile"], &made["labels"]["room"]),
        (&json!("gate"), &json!("spot"), &json!("hall"))
    );
    assert!(made["credential"]["token"].is_string());
    world.admin(&accept, json!({})).await.expect(404);
    let other = format!("DELETE /api/v1/inbox/{}", second["items"][0]["id"].as_str().unwrap());
    world.admin(&other, Value::Null).await.expect(204);
    world.admin(&other, Value::Null).await.expect(404);
    let empty = json!({ "items": [], "next": null, "total": 0 });
    assert_eq!(world.get("/api/v1/inbox").await.expect(200).json(), empty);
}

#[tokio::test]
async fn a_viewer_sees_the_inbox_and_its_rules_and_changes_neither() {
    let world = World::new().await;
    let recognised = Recognised {
        dialect: "spot",
        name: "1".to_owned(),
        parent: None,
        proposed: Proposed::default(),
        sample: Value::Null,
    };
    world.hub.recognise(&TenantId::parse("default").unwrap(), recognised).unwrap();
    let made = world.admin("POST /api/v1/tokens", json!({ "name": "v", "role": "viewer" })).await.expect(201);
    let viewer = made.json()["token"].as_str().unwrap().to_owned();
    let seen = world.ask(&viewer, "GET /api/v1/inbox", Value::Null).await.expect(200).json();
    world.ask(&viewer, "GET /api/v1/inbox/rules", Value::Null).await.expect(200);
    let path = format!("/api/v1/inbox/{}", seen["items"][0]["id"].as_str().unwrap());
    world.ask(&viewer, &format!("POST {path}/accept"), json!({})).await.expect(403);
    world.ask(&viewer, &format!("DELETE {path}"), Value::Null).await.expect(403);
    world.ask(&viewer, "PUT /api/v1/inbox/rules", json!([])).await.expect(403);
    let device = world.device("a").await;
    world.ask(&device, "GET /api/v1/inbox", Value::Null).await.expect(403);
    world.ask(&device, "GET /api/v1/inbox/rules", Value::Null).await.expect(403);
}

#[tokio::test]
async fn inbox_rules_are_set_shown_and_refused_with_the_reason() {
    let world = World::new().await;
    assert_eq!(world.get("/api/v1/inbox/rules").await.expect(200).json(), json!([]));
    let rule = json!({ "dialect": "spot", "name": "11*", "labels": { "hall": "7" } });
    let set = world.admin("PUT /api/v1/inbox/rules", json!([rule])).await.expect(200).json();
    assert_eq!((&set[0]["limit"], &set[0]["accepted"]), (&json!(1000), &json!(0)));
    // What was shown may be sent back.
    assert_eq!(world.admin("PUT /api/v1/inbox/rules", set.clone()).await.expect(200).json(), set);
    let shown = world.get("/api/v1/inbox/rules").await.expect(200);
    let etag = shown.header("etag").to_owned();
    for (condition, status) in [("\"other\"", 412), ("nonsense", 412), ("*", 200), (etag.as_str(), 200)] {
        let mut put = request(ADMIN, "PUT /api/v1/inbox/rules", set.clone());
        put.headers_mut().insert("if-match", condition.parse().unwrap());
        world.send(put).await.expect(status);
    }
    let refused = world.admin("PUT /api/v1/inbox/rules", json!([{ "dialect": "martian" }])).await.expect(422);
    assert!(refused.json()["detail"].as_str().unwrap().starts_with("The dialect of a rule"));
    world.admin("PUT /api/v1/inbox/rules", json!([{ "dialect": "spot", "pattern": "x" }])).await.expect(422);
    assert_eq!(world.get("/api/v1/inbox/rules").await.expect(200).json(), set);
    let stranger = world.tenant("acme").await;
    assert_eq!(
        world.ask(&stranger, "GET /api/v1/inbox/rules", Value::Null).await.expect(200).json(),
        json!([])
    );
}

#[tokio::test]
async fn credentials_are_added_listed_and_revoked() {
    let world = World::new().await;
    world.device("a").await;
    let path = "/api/v1/devices/a/credentials";
    let post = format!("POST {path}");
    let given =
        world.admin(&post, json!({ "kind": "token", "token": "burned-in-1" })).await.expect(201).json();
    assert_eq!(given["token"], "burned-in-1");
    world.ask("burned-in-1", "GET /api/v1/me", Value::Null).await.expect(200);
    world.admin(&post, json!({ "kind": "token", "token": "burned-in-1" })).await.expect(409);

    let psk = world.admin(&post, json!({ "kind": "psk", "identity": "a-psk" })).await.expect(201).json();
    assert!(psk["key"].as_str().unwrap().len() > 20 && psk["identity"] == "a-psk");
    world.admin(&post, json!({ "kind": "psk", "identity": "b-psk", "key_hex": "zz" })).await.expect(422);
    world.admin(&post, json!({ "kind": "psk", "identity": "b-psk", "key_base64": "!" })).await.expect(422);
    let both = json!({ "kind": "psk", "identity": "b-psk", "key_hex": "00", "key_base64": "AA==" });
    world.admin(&post, both).await.expect(422);
    let x509 = world.admin(&post, json!({ "kind": "x509" })).await.expect(201).json();
    assert_eq!(x509["common_name"], "a");
    world.admin(&post, json!({ "kind": "password", "password": "correct horse" })).await.expect(201);
    world.admin(&post, json!({ "kind": "rune" })).await.expect(422);

    let list = world.get(path).await.expect(200);
    assert_eq!(list.json()["items"].as_array().unwrap().len(), 5);
    assert!(!String::from_utf8_lossy(&list.body).contains("burned-in"));
    let revoke = format!("DELETE {path}/{}", given["id"].as_str().unwrap());
    world.admin(&revoke, Value::Null).await.expect(204);
    world.ask("burned-in-1", "GET /api/v1/me", Value::Null).await.expect(401);
    world.admin(&revoke, Value::Null).await.expect(404);
}

#[tokio::test]
async fn a_device_shows_its_id_and_token_or_password_by_basic() {
    use base64::Engine as _;
    let world = World::new().await;
    let token = world.device("a").await;
    let body = json!({ "kind": "password", "password": "correct horse" });
    world.admin("POST /api/v1/devices/a/credentials", body).await.expect(201);
    for (pair, status) in [
        (format!("a:{token}"), 200),
        ("a:correct horse".to_owned(), 200),
        (format!("b:{token}"), 401),
        ("a:wrong horse".to_owned(), 401),
        ("no colon".to_owned(), 401),
    ] {
        let text = base64::engine::general_purpose::STANDARD.encode(&pair);
        let mut request = crate::world::request("", "GET /api/v1/me", Value::Null);
        request.headers_mut().insert("authorization", format!("Basic {text}").parse().unwrap());
        world.send(request).await.expect(status);
    }
}

#[tokio::test]
async fn the_flight_recorder_is_read_newest_first() {
    use roost_hub::flight::FlightKind;
    use roost_hub::id::{DeviceId, TenantId};
    let world = World::new().await;
    world.device("a").await;
    let (tenant, device) = (TenantId::parse("default").unwrap(), DeviceId::parse("a").unwrap());
    for number in 0..5 {
        world.pass(10);
        world.hub.note(
            &tenant,
            &device,
            FlightKind::Refused,
            format_args!("number {number}"),
            world.hub.now(),
        );
    }
    let first = world.get("/api/v1/devices/a/log?kind=refused&limit=2").await.expect(200).json();
    let details = |page: &Value| -> Vec<String> {
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["detail"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(details(&first), ["number 4", "number 3"]);
    assert_eq!(first["items"][0]["kind"], "refused");
    let cursor = first["next"].as_str().unwrap();
    let rest =
        world.get(&format!("/api/v1/devices/a/log?kind=refused&cursor={cursor}")).await.expect(200).json();
    assert_eq!(details(&rest), ["number 2", "number 1", "number 0"]);
    assert_eq!(rest["next"], Value::Null);
}
