//! Spots: their stream is taken while it comes, and commands leave in its answer.

use std::sync::Arc;

use roost_gateway::{Settings, SpotCapture};
use roost_hub::id::DeviceId;
use roost_hub::inbox::Accept;
use roost_hub::live::{LiveKind, LiveNext};
use roost_hub::mailbox::{CommandState, NewCommand};
use roost_hub::reading::Value as Reading;
use roost_hub::registry::NewDevice;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{ADMIN, PATIENCE, World, tenant};

fn id() -> DeviceId {
    DeviceId::parse("gate").unwrap()
}

async fn world() -> World {
    let world = World::new().await;
    register(&world).await;
    world
}

async fn register(world: &World) {
    let links = vec![json!({ "listen": "spot", "serial": "1187" })];
    let new = NewDevice { id: Some(id()), links, ..NewDevice::default() };
    world.hub.create_device(&tenant(), new).await.unwrap();
}

/// A connection on which a Spot posts again and again.
struct Spot(TcpStream);

impl Spot {
    async fn connect(world: &World) -> Self {
        Self(TcpStream::connect(world.http).await.unwrap())
    }

    async fn begin(&mut self, path: &str, more: &str) {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: 192.168.7.2\r\nUser-Agent: spot/61-4-gab12cd3\r\n\
             Transfer-Encoding: chunked\r\nAccept: text/x-intellifi-events\r\n{more}\
             Cache-Control: no-cache\r\n\r\n"
        );
        self.0.write_all(head.as_bytes()).await.unwrap();
    }

    /// A request of this serial number, begun.
    async fn post(&mut self, serial: &str) {
        let kind = "Content-Type: text/x-intellifi-events\r\n";
        self.begin(&format!("/api/spots/{serial}/events/"), kind).await;
    }

    async fn chunk(&mut self, bytes: &[u8]) {
        let head = format!("{:x}\r\n", bytes.len());
        self.0.write_all(&[head.as_bytes(), bytes, b"\r\n"].concat()).await.unwrap();
    }

    async fn say(&mut self, message: &Value) {
        self.chunk(format!("{message}\n\n").as_bytes()).await;
    }

    async fn end(&mut self) -> (u16, String) {
        self.0.write_all(b"0\r\n\r\n").await.unwrap();
        self.answer().await
    }

    async fn answer(&mut self) -> (u16, String) {
        let mut text = Vec::new();
        loop {
            let whole = String::from_utf8_lossy(&text).into_owned();
            if let Some((head, body)) = whole.split_once("\r\n\r\n") {
                let head = head.to_ascii_lowercase();
                let length =
                    head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
                assert!(!head.contains("transfer-encoding"), "{head}");
                if body.len() >= length.parse().unwrap() {
                    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                    return (status, body.to_owned());
                }
            }
            let read = tokio::time::timeout(PATIENCE, self.0.read_buf(&mut text)).await;
            assert_ne!(read.expect("no answer came").unwrap(), 0, "{}", String::from_utf8_lossy(&text));
        }
    }
}

fn presence(action: &str, code: &str) -> Value {
    json!(["presence", action, {"item_code": code, "item_codetype": "EPC Gen2", "proximity": "near", "hold_delay_s": 5}])
}

fn latest(world: &World, key: &str) -> Option<Reading> {
    let latest = world.hub.latest(&tenant(), &id()).unwrap();
    latest.into_iter().find(|(name, _)| &**name == key).map(|(_, reading)| reading.value)
}

/// Looks again after each thing that happens to a device.
async fn until<T>(world: &World, mut look: impl FnMut() -> Option<T>) -> T {
    let mut happened = world.hub.live.follow(&tenant());
    let looking = async {
        loop {
            if let Some(seen) = look() {
                return seen;
            }
            happened.next().await.expect("the hub is there");
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.expect("it does not come about")
}

fn text(text: &str) -> Option<Reading> {
    Some(Reading::Text(text.into()))
}

#[tokio::test]
async fn events_are_taken_while_the_request_is_open_and_chunks_may_be_cut_anywhere() {
    let world = world().await;
    let mut spot = Spot::connect(&world).await;
    spot.post("1187").await;
    spot.say(&presence("create", "E280")).await;
    until(&world, || latest(&world, "presence.item_code")).await;
    assert!(world.hub.is_online(&tenant(), &id()));
    assert_eq!(latest(&world, "presence.action"), text("create"));
    assert_eq!(latest(&world, "presences"), Some(Reading::Integer(1)));

    let hit = json!(["hit", "create", {"item_code": "Ä280", "antenna": 3, "signal_strength": -512}]);
    for byte in format!("{hit}\n\n").as_bytes() {
        spot.chunk(&[*byte]).await;
    }
    until(&world, || latest(&world, "hit.signal_strength")).await;
    assert_eq!(latest(&world, "hit.item_code"), text("Ä280"));
    assert_eq!(spot.end().await, (200, String::new()));

    spot.post("1187").await;
    assert_eq!(spot.end().await, (200, String::new()));
}

#[tokio::test]
async fn a_command_leaves_in_the_answer_and_the_configuration_confirms_it() {
    let world = world().await;
    let mut spot = Spot::connect(&world).await;
    spot.post("1187").await;
    spot.say(&json!(["config", "create", {"rfid_power_dbm": 24, "send_hits": false, "hostname": "gate"}]))
        .await;
    until(&world, || {
        world.hub.twin(&tenant(), &id()).unwrap().reported.contains_key("rfid_power_dbm").then_some(())
    })
    .await;
    let new = NewCommand {
        name: "config".to_owned(),
        params: json!({ "rfid_power_dbm": 27 }),
        ..NewCommand::default()
    };
    let command = world.hub.send_command(&tenant(), &id(), new).await.unwrap();
    let wrong = NewCommand { name: "dance".to_owned(), ..NewCommand::default() };
    let wrong = world.hub.send_command(&tenant(), &id(), wrong).await.unwrap();
    let said = "[\"config\",\"update\",{\"rfid_power_dbm\":27}]\n\n";
    assert_eq!(spot.end().await, (200, said.to_owned()));
    let state = |command: &roost_hub::mailbox::Command| {
        world.hub.command(&tenant(), &id(), &command.id).unwrap().unwrap().state
    };
    assert_eq!((state(&command), state(&wrong)), (CommandState::Sent, CommandState::Failed));

    spot.post("1187").await;
    spot.say(&json!(["config", "update", {"rfid_power_dbm": 27.0}])).await;
    assert_eq!(spot.end().await, (200, String::new()));
    assert_eq!(state(&command), CommandState::Succeeded);
    assert_eq!(world.hub.twin(&tenant(), &id()).unwrap().reported["rfid_power_dbm"], 27.0);
}

#[tokio::test]
async fn a_spot_that_calls_itself_another_is_noted_and_its_path_counts() {
    let world = world().await;
    let mut spot = Spot::connect(&world).await;
    for (said, is_noted) in [(json!(1187), false), (json!("1187"), false), (json!(1188), true)] {
        spot.post("1187").await;
        spot.say(&json!(["spot", "create", {"spot_id": said, "version": "61"}])).await;
        assert_eq!(spot.end().await.0, 200);
        let entries = world.hub.flight_entries(&tenant(), &id()).unwrap();
        let noted = entries.iter().any(|entry| entry.detail.contains("calls itself Spot 1188"));
        assert_eq!(noted, is_noted, "{entries:?}");
    }
}

#[tokio::test]
async fn what_is_desired_is_said_until_the_spot_has_it() {
    let world = world().await;
    let wish = json!({ "send_hits": true, "rfid_power_dbm": 24 });
    world.hub.patch_desired(&tenant(), &id(), wish, None).await.unwrap();
    let mut spot = Spot::connect(&world).await;
    spot.post("1187").await;
    spot.say(&json!(["config", "create", {"rfid_power_dbm": 24, "send_hits": false}])).await;
    assert_eq!(spot.end().await, (200, "[\"config\",\"update\",{\"send_hits\":true}]\n\n".to_owned()));
    spot.post("1187").await;
    assert_eq!(spot.end().await, (200, String::new()));
    spot.post("1187").await;
    spot.say(&json!(["config", "update", {"send_hits": true}])).await;
    assert_eq!(spot.end().await, (200, String::new()));
}

#[tokio::test]
async fn of_two_requests_at_once_both_are_read_and_the_newest_is_told() {
    let world = world().await;
    world.hub.patch_desired(&tenant(), &id(), json!({ "send_hits": true }), None).await.unwrap();
    let (mut old, mut new) = (Spot::connect(&world).await, Spot::connect(&world).await);
    old.post("1187").await;
    old.say(&presence("create", "A")).await;
    until(&world, || latest(&world, "presence.item_code")).await;
    new.post("1187").await;
    new.say(&presence("create", "B")).await;
    until(&world, || Some(()).filter(|()| latest(&world, "presence.item_code") == text("B"))).await;
    assert_eq!(old.end().await.1, "");
    assert!(new.end().await.1.contains("send_hits"));
}

#[tokio::test]
async fn a_broken_message_is_skipped_and_unknown_ones_are_events() {
    let world = world().await;
    let mut spot = Spot::connect(&world).await;
    spot.post("1187").await;
    spot.chunk(b"nonsense\n\n[\"hit\",1]\n\n").await;
    spot.say(&json!(["sense", "create", {"bs1": true}])).await;
    spot.say(&presence("delete", "E281")).await;
    assert_eq!(spot.end().await.0, 200);
    assert_eq!(latest(&world, "presence.action"), text("delete"));
    let entries = world.hub.flight_entries(&tenant(), &id()).unwrap();
    assert!(entries.iter().any(|entry| entry.detail == "sense.create"), "{entries:?}");
}

#[tokio::test]
async fn the_other_media_type_is_415_and_paths_may_be_sloppy() {
    let world = world().await;
    let mut spot = Spot::connect(&world).await;
    spot.begin("/api/spots/1187/events/", "Content-Type: application/x-intellifi-events-pb\r\n").await;
    assert_eq!(spot.answer().await, (415, String::new()));
    let mut spot = Spot::connect(&world).await;
    spot.begin("/api/spots/1187/events/", "Content-Encoding: gzip\r\n").await;
    assert_eq!(spot.answer().await, (415, String::new()));
    for path in ["/api/spots/1187/events", "/farm/API/Spots/1187/Events/"] {
        let mut spot = Spot::connect(&world).await;
        spot.begin(path, "").await;
        spot.say(&presence("update", path)).await;
        assert_eq!(spot.end().await.0, 200, "{path}");
        assert_eq!(latest(&world, "presence.item_code"), text(path));
    }
}

#[tokio::test]
async fn the_other_media_type_is_kept_as_it_came_where_that_is_wanted() {
    let settings = Settings { spot_capture: SpotCapture::On, ..Settings::default() };
    let world = World::with(settings).await;
    register(&world).await;
    let mut followed = world.hub.live.follow(&tenant());
    let mut spot = Spot::connect(&world).await;
    for serial in ["1187", "99"] {
        let path = format!("/api/spots/{serial}/events/");
        spot.begin(&path, "Content-Type: application/x-intellifi-events-pb\r\n").await;
        spot.chunk(b"\x0a\x03").await;
        spot.chunk(b"\xff\x00\n\n").await;
        assert_eq!(spot.end().await, (200, String::new()), "{serial}");
    }
    let captured = async {
        loop {
            if let Some(LiveNext::Event(event)) = followed.next().await
                && let LiveKind::Event(message) = &event.kind
            {
                return Arc::clone(message);
            }
        }
    };
    let captured = tokio::time::timeout(PATIENCE, captured).await.unwrap();
    assert_eq!(captured.topic.as_str(), "devices/gate/events/capture");
    assert_eq!(&captured.payload[..], b"\x0a\x03\xff\x00\n\n");
    assert_eq!(world.hub.inbox(&tenant(), (10, None)).unwrap().items[0].name, "99");
    // Of other kinds nothing is kept.
    let mut spot = Spot::connect(&world).await;
    spot.begin("/api/spots/1187/events/", "Content-Type: application/x-protobuf\r\n").await;
    assert_eq!(spot.answer().await.0, 415);
}

#[tokio::test]
async fn an_unknown_serial_waits_in_the_inbox_and_nothing_of_it_goes_further() {
    let world = world().await;
    let mut spot = Spot::connect(&world).await;
    spot.post("99").await;
    spot.say(&json!(["spot", "create", {"spot_id": "99", "version": "61"}])).await;
    spot.say(&presence("create", "E280")).await;
    assert_eq!(spot.end().await, (200, String::new()));
    let waiting = world.hub.inbox(&tenant(), (10, None)).unwrap().items.remove(0);
    assert_eq!((&*waiting.name, &waiting.sample["spot"]["version"]), ("99", &json!("61")));
    world.hub.accept(&tenant(), &waiting.id, Accept::default()).await.unwrap();
    spot.post("99").await;
    spot.say(&presence("create", "E280")).await;
    assert_eq!(spot.end().await.0, 200);
    let accepted = DeviceId::parse("spot-99").unwrap();
    assert!(world.hub.is_online(&tenant(), &accepted));
    assert!(!world.hub.latest(&tenant(), &accepted).unwrap().is_empty());
}

#[tokio::test]
async fn a_spot_that_a_rule_lets_in_loses_nothing_of_its_first_request() {
    let world = world().await;
    let rule = serde_json::from_value(json!({ "dialect": "spot", "name": "9?" })).unwrap();
    world.hub.put_inbox_rules(&tenant(), (vec![rule], None)).await.unwrap();
    let mut spot = Spot::connect(&world).await;
    spot.post("99").await;
    spot.say(&presence("create", "E280")).await;
    assert_eq!(spot.end().await.0, 200);
    let accepted = DeviceId::parse("spot-99").unwrap();
    assert!(!world.hub.latest(&tenant(), &accepted).unwrap().is_empty());
    assert!(world.hub.inbox(&tenant(), (10, None)).unwrap().items.is_empty());
}

#[tokio::test]
async fn a_credential_names_the_tenant_and_must_not_contradict_the_serial() {
    let world = world().await;
    world.device("other").await;
    for (header, serial, status) in [
        (format!("Authorization: Bearer {ADMIN}\r\n"), "77", 200),
        ("Authorization: Bearer wrong-token\r\n".to_owned(), "1187", 401),
        (format!("Authorization: Bearer {}-other\r\n", crate::common::TOKEN), "1187", 403),
        (format!("Authorization: Bearer {}-other\r\n", crate::common::TOKEN), "55", 200),
        (String::new(), "no%20number", 404),
    ] {
        let mut spot = Spot::connect(&world).await;
        spot.begin(&format!("/api/spots/{serial}/events/"), &header).await;
        assert_eq!(spot.end().await.0, status, "{header}{serial}");
    }
    assert!(world.hub.is_online(&tenant(), &DeviceId::parse("other").unwrap()));
    assert_eq!(world.hub.inbox(&tenant(), (10, None)).unwrap().items.len(), 1);
}
