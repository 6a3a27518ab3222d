//! OLIMEX IoT nodes over WebSocket, as their firmware speaks.

use std::time::Duration;

use roost_gateway::Settings;
use roost_hub::flight::FlightKind;
use roost_hub::id::DeviceId;
use roost_hub::mailbox::{Command, CommandState, NewCommand};
use roost_hub::reading::Value as Reading;
use roost_hub::registry::{DeviceUpdate, NewDevice};
use roost_wire::websocket::{Assembler, Decoder, Event, Limits, Opcode, encode_masked_frame};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{ADMIN, PATIENCE, TOKEN, World, device, hasty, tenant};

/// What a node waits for, byte by byte, for the key of [`Node::connect`].
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                        Sec-WebSocket-Accept: iYmL0DolUaboajGybHjdmFYBpfU=\r\n\r\n";

struct Node {
    stream: TcpStream,
    decoder: Decoder,
    assembler: Assembler,
    input: Vec<u8>,
}

/// What comes from the server.
#[derive(Debug, PartialEq)]
enum Heard {
    Text(Value),
    Pong(Vec<u8>),
    Closed(u16, String),
    Gone,
}

impl Node {
    async fn connect(world: &World, path: &str) -> Self {
        let mut stream = TcpStream::connect(world.http).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: farm.example\r\nAuthorization: Basic bWlhOnNlY3JldDE=\r\n\
             Connection: Upgrade\r\nUpgrade: websocket\r\nOrigin: null\r\n\
             Sec-WebSocket-Key: q83vEjRWeJCrze8SNFZ4kA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![0; SWITCHED.len()];
        for byte in &mut answer {
            *byte = tokio::time::timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap();
        }
        assert_eq!(String::from_utf8(answer).unwrap(), SWITCHED);
        let limits = Limits { message_max: 1 << 20 };
        Self {
            stream,
            decoder: Decoder::for_client(limits),
            assembler: Assembler::default(),
            input: Vec::new(),
        }
    }

    async fn say(&mut self, frames: &[&str]) {
        let mut out = Vec::new();
        for frame in frames {
            encode_masked_frame(Opcode::Text, [1, 2, 3, 4], frame.as_bytes(), &mut out);
        }
        self.stream.write_all(&out).await.unwrap();
    }

    async fn logged_in(world: &World) -> Self {
        let mut node = Self::connect(world, "/events").await;
        node.say(&[&log_in(TOKEN)]).await;
        assert_eq!(node.hear().await, Heard::Text(json!({"URL":"/config/about","Method":"GET"})));
        assert_eq!(node.hear().await, Heard::Text(json!({"URL":"/devices","Method":"GET"})));
        node
    }

    async fn hear(&mut self) -> Heard {
        loop {
            let step = self.decoder.decode(&mut self.input).unwrap();
            let consumed = step.consumed;
            let heard = match step.event {
                Event::NeedMore => None,
                Event::Data(data) => self
                    .assembler
                    .push(data)
                    .map(|message| Heard::Text(serde_json::from_slice(&message.payload).unwrap())),
                Event::Ping(_) => None,
                Event::Pong(payload) => Some(Heard::Pong(payload.to_vec())),
                Event::Close { code, reason } => Some(Heard::Closed(code.unwrap_or(0), reason.to_owned())),
            };
            self.input.drain(..consumed);
            if let Some(heard) = heard {
                return heard;
            }
            if consumed == 0 {
                let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.input)).await;
                if read.expect("nothing came").unwrap_or(0) == 0 {
                    return Heard::Gone;
                }
            }
        }
    }
}

fn log_in(password: &str) -> String {
    format!("{{\"User\" : \"s1\", \"Password\" : \"{password}\"}}")
}

const STATION: &str = r#"{"EventURL" : "/config/station", "EventData" : {"Device" : "ESP8266", "Status" : "Connected", "Data" : {"Station" : {"Password" : "wlan-key", "IP" : {"Address" : "192.168.7.31"}}}}}"#;
const RELAY: &str = r#"{"EventURL" : "/relay", "EventData" : {"Device" : "ESP8266", "Status" : "OK", "Data" : {"Relay" : 1}}}"#;

/// Looks again and again until there is something to see.
async fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(seen) = look() {
                return seen;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.expect("it does not come about")
}

fn latest(world: &World, key: &str) -> Option<Reading> {
    let latest = world.hub.latest(&tenant(), &device()).unwrap();
    latest.into_iter().find(|(name, _)| &**name == key).map(|(_, reading)| reading.value)
}

async fn command(world: &World, url: &str, params: Value) -> Command {
    let new = NewCommand { name: url.to_owned(), params, ..NewCommand::default() };
    world.hub.send_command(&tenant(), &device(), new).await.unwrap()
}

fn state(world: &World, command: &Command) -> Command {
    world.hub.command(&tenant(), &device(), &command.id).unwrap().unwrap()
}

#[tokio::test]
async fn what_a_node_says_behind_its_log_in_is_kept_and_shows_no_password() {
    let world = World::new().await;
    let mut node = Node::connect(&world, "/").await;
    node.say(&[STATION, &log_in(TOKEN), r#"{"Name" : "barn", "Token" : "5CCF7F01A2B3"}"#, RELAY]).await;
    assert_eq!(until(|| latest(&world, "Relay")).await, Reading::Integer(1));
    let entries = world.hub.flight_entries(&tenant(), &device()).unwrap();
    let is_event =
        |kind, detail: &str| entries.iter().any(|entry| entry.kind == kind && entry.detail == detail);
    assert!(is_event(FlightKind::Event, "config/station"), "{entries:?}");
    let twin = world.hub.twin(&tenant(), &device()).unwrap();
    assert_eq!(twin.reported["Station"]["IP"]["Address"], "192.168.7.31");
    assert_eq!((&twin.reported["Name"], &twin.reported["Token"]), (&json!("barn"), &json!("5CCF7F01A2B3")));
    assert!(!format!("{:?}", twin.reported).contains("wlan-key"));
    assert!(world.hub.is_online(&tenant(), &device()));
}

#[tokio::test]
async fn a_command_goes_out_and_its_ref_is_the_acknowledgement() {
    let world = World::new().await;
    let waiting = command(&world, "/relay", json!({ "Relay": 1 })).await;
    let mut node = Node::logged_in(&world).await;
    let sent = json!({"URL":"/relay","Method":"POST","Data":{"Relay":1},"ref":waiting.id});
    assert_eq!(node.hear().await, Heard::Text(sent));
    assert_eq!(state(&world, &waiting).state, CommandState::Sent);
    let answer = json!({"EventURL":"/relay","EventData":{"Status":"OK","Data":{"Relay":1},"ref":waiting.id}});
    node.say(&[&answer.to_string()]).await;
    let finished = until(|| Some(state(&world, &waiting)).filter(|command| command.state.is_final())).await;
    assert_eq!((finished.state, finished.result), (CommandState::Succeeded, Some(json!({ "Relay": 1 }))));

    let unknown = command(&world, "/nothing", json!({})).await;
    assert_eq!(node.hear().await, Heard::Text(json!({"URL":"/nothing","Method":"GET","ref":unknown.id})));
    node.say(&[r#"{"EventURL":"/nothing","EventData":{"Error":"URL Not Found"}}"#]).await;
    let failed = until(|| Some(state(&world, &unknown)).filter(|command| command.state.is_final())).await;
    assert_eq!((failed.state, failed.error.as_deref()), (CommandState::Failed, Some("URL Not Found")));

    let wrong = command(&world, "relay", json!({})).await;
    let refused = until(|| Some(state(&world, &wrong)).filter(|command| command.state.is_final())).await;
    assert_eq!(refused.state, CommandState::Failed);
}

#[tokio::test]
async fn a_command_whose_answer_never_comes_stays_sent_and_says_so() {
    let world = World::new().await;
    let mut node = Node::logged_in(&world).await;
    let sent = command(&world, "/relay", json!({ "Relay": 2 })).await;
    assert!(matches!(node.hear().await, Heard::Text(_)));
    drop(node);
    let doubted = until(|| Some(state(&world, &sent)).filter(|command| command.error.is_some())).await;
    assert_eq!(doubted.state, CommandState::Sent);
}

#[tokio::test]
async fn the_newest_connection_wins() {
    let world = World::new().await;
    let mut old = Node::logged_in(&world).await;
    let mut new = Node::logged_in(&world).await;
    assert_eq!(old.hear().await, Heard::Closed(1008, "Duplicated token".to_owned()));
    new.say(&[RELAY]).await;
    assert_eq!(until(|| latest(&world, "Relay")).await, Reading::Integer(1));
    assert!(world.hub.is_online(&tenant(), &device()));
}

#[tokio::test]
async fn a_node_that_cannot_log_in_is_closed_with_1008() {
    let world = World::with(hasty()).await;
    let closed = |reason: &str| Heard::Closed(1008, reason.to_owned());
    for (frames, reason) in [
        (vec![log_in("wrong-token")], "Unauthorized user"),
        (vec![log_in("with\"quote")], "Unauthorized user"),
        (vec![], "Not authorized within timeout interval"),
        (vec![r#"{"Name":"x","Token":"5CCF7F01A2B3"}"#.to_owned()], "Not authorized within timeout interval"),
        (
            vec![
                format!("{{\"User\":\"app\",\"Password\":\"{ADMIN}\"}}"),
                r#"{"Name":"x","Token":"5CCF7F01A2B3"}"#.to_owned(),
            ],
            "Unauthorized token [5CCF7F01A2B3]",
        ),
    ] {
        let mut node = Node::connect(&world, "/events").await;
        node.say(&frames.iter().map(String::as_str).collect::<Vec<_>>()).await;
        assert_eq!(node.hear().await, closed(reason), "{frames:?}");
    }
}

#[tokio::test]
async fn a_link_names_a_node_that_has_no_password() {
    let world = World::new().await;
    let links = vec![json!({"listen":"olimex","token":"5CCF7F01A2B3"})];
    let update = DeviceUpdate { links: Some(links), ..DeviceUpdate::default() };
    world.hub.update_device(&tenant(), &device(), update).await.unwrap();
    for account in [None, Some(format!("{{\"User\":\"app\",\"Password\":\"{ADMIN}\"}}"))] {
        let mut node = Node::connect(&world, "/events").await;
        node.say(&account.iter().map(String::as_str).collect::<Vec<_>>()).await;
        node.say(&[r#"{"Name":"x","Token":"5CCF7F01A2B3"}"#]).await;
        assert_eq!(node.hear().await, Heard::Text(json!({"URL":"/config/about","Method":"GET"})));
    }
    let other = DeviceId::parse("other").unwrap();
    let new = NewDevice { id: Some(other), token: Some("other-token".to_owned()), ..NewDevice::default() };
    world.hub.create_device(&tenant(), new).await.unwrap();
    let mut node = Node::connect(&world, "/events").await;
    let frames = [r#"{"Name":"x","Token":"5CCF7F01A2B3"}"#, r#"{"User":"other","Password":"other-token"}"#];
    node.say(&frames).await;
    let ended = loop {
        match node.hear().await {
            Heard::Text(_) => {}
            other => break other,
        }
    };
    assert_eq!(ended, Heard::Closed(1008, "Token not belongs to user".to_owned()));
}

#[tokio::test]
async fn the_devices_of_a_node_are_asked_for_their_state() {
    let world = World::new().await;
    let mut node = Node::logged_in(&world).await;
    let list = json!({"EventURL":"/devices","EventData":{"Status":"OK","Data":{"Devices":[
        {"Type":"NATIVE","Name":"ESP8266","URL":"/relay","Found":1},
        {"Type":"I2C","Name":"MOD-RGB","URL":"/mod-rgb","Found":0}]}}});
    node.say(&[&list.to_string()]).await;
    let asked = json!({"URL":"/relay","Method":"GET","ref":"get-state"});
    assert_eq!(node.hear().await, Heard::Text(asked));
    let keys = world.hub.twin(&tenant(), &device()).unwrap().reported["Keys"].clone();
    assert_eq!(keys, json!({"Relay":{"url":"/relay","writable":true}}));
}

#[tokio::test]
async fn a_ping_is_echoed_and_a_good_bye_is_noted() {
    let world = World::new().await;
    let mut node = Node::logged_in(&world).await;
    let mut out = Vec::new();
    encode_masked_frame(Opcode::Ping, [9, 8, 7, 6], b"Keep-Alive", &mut out);
    node.stream.write_all(&out).await.unwrap();
    assert_eq!(node.hear().await, Heard::Pong(b"Keep-Alive".to_vec()));
    let mut out = Vec::new();
    let payload = [&1001_u16.to_be_bytes()[..], b"Rebooting"].concat();
    encode_masked_frame(Opcode::Close, [9, 8, 7, 6], &payload, &mut out);
    node.stream.write_all(&out).await.unwrap();
    assert_eq!(node.hear().await, Heard::Closed(1001, "Rebooting".to_owned()));
    until(|| (!world.hub.is_online(&tenant(), &device())).then_some(())).await;
}

#[tokio::test]
async fn w_12_w_21_frames_that_are_nothing_close_nothing() {
    let settings = Settings { tick: Duration::from_millis(20), ..Settings::default() };
    let world = World::with(settings).await;
    let mut node = Node::logged_in(&world).await;
    let mut out = Vec::new();
    encode_masked_frame(Opcode::Binary, [1, 1, 1, 1], &[0; 9], &mut out);
    node.stream.write_all(&out).await.unwrap();
    node.say(&["", "nonsense", "[1]", "7", "{}", "{\"EventURL\":\"/relay/#\",\"EventData\":3}", RELAY]).await;
    assert_eq!(until(|| latest(&world, "Relay")).await, Reading::Integer(1));
}

/// Posts an event as a node does, and gives status and body.
async fn post(world: &World, path: &str, more: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(world.http).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: farm.example\r\n{more}Content-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    loop {
        let whole = String::from_utf8_lossy(&text).into_owned();
        if let Some((head, body)) = whole.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
            if body.len() >= length.parse().unwrap() {
                return (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned());
            }
        }
        assert_ne!(stream.read_buf(&mut text).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_posted_event_is_kept_and_answered_with_its_length() {
    let world = World::new().await;
    let pair = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("s1:{TOKEN}"));
    let basic = format!("Authorization: Basic {pair}\r\n");
    let event = |value| {
        json!({"EventURL":"/adc","EventData":{"Device":"ESP8266","Status":"OK","Data":{"ADC":{"Value":value}}}})
            .to_string()
    };
    let ok = (200, r#"{"Status":"OK"}"#.to_owned());
    for (value, path, more) in [
        (1, "/events", basic.as_str()),
        (2, "/", basic.as_str()),
        (3, &*format!("/events/{TOKEN}"), ""),
        (4, &*format!("/?token={TOKEN}"), ""),
    ] {
        assert_eq!(post(&world, path, more, &event(value)).await, ok, "{path}");
        assert_eq!(latest(&world, "ADC.Value"), Some(Reading::Integer(value)), "{path}");
    }
    assert_eq!(post(&world, "/events", &basic, "nonsense \"Password\": \"x\"").await, ok);
    for (path, more) in [("/events", ""), ("/events/wrong", ""), ("/events", "Authorization: Basic AAAA\r\n")]
    {
        assert_eq!(post(&world, path, more, &event(9)).await.0, 401, "{path}");
    }
    assert_eq!(latest(&world, "ADC.Value"), Some(Reading::Integer(4)));
}

/// A page that was made for the system's own server.
async fn page(world: &World, path: &str) -> Node {
    Node::connect(world, path).await
}

/// The next event for a page that is about this resource.
async fn next_event(page: &mut Node, url: &Value) -> Value {
    loop {
        match page.hear().await {
            Heard::Text(event) if event["EventURL"] == *url => return event,
            Heard::Text(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_page_sees_the_events_of_nodes_and_sends_commands() {
    let world = World::new().await;
    let mut node = Node::logged_in(&world).await;
    node.say(&[r#"{"Name" : "barn", "Token" : "5CCF7F01A2B3"}"#, RELAY]).await;
    until(|| latest(&world, "Relay")).await;
    let mut page = page(&world, &format!("/clients/api-key/{ADMIN}")).await;
    let replayed = next_event(&mut page, &json!("/relay")).await;
    assert_eq!(replayed["EventNode"]["Token"], "5CCF7F01A2B3");
    assert!(replayed["EventNode"].get("User").is_none());

    let said = json!({"EventNode":{"Token":"5CCF7F01A2B3"},"EventData":{"URL":"/relay","Method":"POST","Data":{"Relay":0}}});
    page.say(&[&said.to_string()]).await;
    let Heard::Text(command) = node.hear().await else { panic!("no command") };
    assert_eq!((&command["URL"], &command["Data"]), (&json!("/relay"), &json!({ "Relay": 0 })));
    let answer =
        json!({"EventURL":"/relay","EventData":{"Status":"OK","Data":{"Relay":0},"ref":command["ref"]}});
    node.say(&[&answer.to_string()]).await;
    assert_eq!(next_event(&mut page, &json!("/relay")).await["EventData"]["Data"]["Relay"], 0);

    page.say(&[r#"{"EventNode":{"Token":"nobody"},"EventData":{"URL":"/relay"}}"#]).await;
    let refused = next_event(&mut page, &Value::Null).await;
    assert_eq!(refused["EventData"], json!({"Device":"IoT-Server","Error":"Node is not connected [nobody]"}));
    page.say(&[r#"{"EventNode":{"Token":"barn"},"EventData":{"Command":"Close connection"}}"#]).await;
    assert_eq!(node.hear().await, Heard::Closed(1008, "Connection closed by user".to_owned()));
    let closed = next_event(&mut page, &Value::Null).await;
    assert_eq!(closed["EventData"]["Data"]["Reason"], "1008: Connection closed by user");
}

/// Asks as a script does, and gives status and body.
async fn ask(world: &World, request: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(world.http).await.unwrap();
    let length = body.len();
    let text = format!(
        "{request} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("access-control-allow-origin: *"), "{head}");
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
}

#[tokio::test]
async fn a_script_lists_nodes_and_sends_them_commands() {
    let world = World::new().await;
    let mut node = Node::logged_in(&world).await;
    let about = json!({"EventURL":"/config/about","EventData":{"Status":"OK","Data":{"About":{"SDKVersion":"1.5.2"}}}});
    let list = json!({"EventURL":"/devices","EventData":{"Data":{"Devices":[{"URL":"/relay","Found":1},{"URL":"/x","Found":0}]}}});
    node.say(&[&about.to_string(), &list.to_string(), RELAY]).await;
    until(|| latest(&world, "Relay")).await;
    let key = format!("api-key/{ADMIN}");
    let (status, nodes) = ask(&world, &format!("GET /api/nodes/{key}"), "").await;
    assert_eq!((status, nodes.as_array().unwrap().len()), (200, 1));
    assert_eq!((&nodes[0]["Token"], &nodes[0]["About"]["SDKVersion"]), (&json!("s1"), &json!("1.5.2")));
    assert_eq!(nodes[0]["Devices"], json!([{ "URL": "/relay", "Found": 1 }]));
    let id = nodes[0]["id"].as_u64().unwrap();
    let set = r#"{"URL":"/relay","Method":"POST","Data":{"Relay":2}}"#;
    let ok = (200, json!({ "Status": "OK" }));
    assert_eq!(ask(&world, &format!("POST /api/nodes/{id}/{key}"), set).await, ok);
    let Heard::Text(command) = node.hear().await else { panic!("no command") };
    assert_eq!(command["Data"], json!({ "Relay": 2 }));
    let unknown = (200, json!({ "Status": "Invalid nodeID" }));
    assert_eq!(ask(&world, &format!("POST /api/nodes/1/{key}"), set).await, unknown);
    let invalid = (400, json!({ "Status": "Invalid request" }));
    assert_eq!(ask(&world, &format!("POST /api/nodes/{id}/{key}"), "[").await, invalid);
    let denied = (401, json!({ "Status": "Access denied" }));
    assert_eq!(ask(&world, "GET /api/nodes", "").await, denied);
    assert_eq!(ask(&world, &format!("GET /api/nodes/api-key/{TOKEN}"), "").await, denied);
    assert_eq!(ask(&world, "OPTIONS /api/nodes", "").await.0, 200);
}
