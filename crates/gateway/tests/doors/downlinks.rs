//! Downlinks by the API of a radio network, which here is a server of the test.

use roost_gateway::Settings;
use roost_hub::id::DeviceId;
use roost_hub::live::{LiveKind, LiveNext, LiveReceiver};
use roost_hub::mailbox::{Command, CommandState, NewCommand};
use roost_hub::registry::NewDevice;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::common::{PATIENCE, TOKEN, World, device, tenant};
use crate::http::{bearer, exchange};

const EUI: &str = "0004a30b001c0530";
const REQUESTS: usize = 16;
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

/// A network that answers requests in these ways, the last one again and again.
struct Network {
    base: String,
    requests: mpsc::Receiver<String>,
    _serving: JoinSet<()>,
}

impl Network {
    async fn answering(answers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (told, requests) = mpsc::channel(REQUESTS);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut answers = answers.into_iter();
            let mut answer = String::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = String::new();
                while !request.ends_with('}') {
                    let mut read = [0; 4_096];
                    let length = stream.read(&mut read).await.unwrap();
                    request.push_str(std::str::from_utf8(&read[..length]).unwrap());
                }
                answer = answers.next().unwrap_or(answer);
                told.send(request).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { base, requests, _serving: serving }
    }

    /// Head and body of the next request.
    async fn next(&mut self) -> (String, Value) {
        let request = tokio::time::timeout(PATIENCE, self.requests.recv()).await.unwrap().unwrap();
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), serde_json::from_str(body).unwrap())
    }
}

fn field() -> DeviceId {
    DeviceId::parse("field-1").unwrap()
}

/// A world that may call the test's own network, with a device behind it.
async fn world() -> World {
    let allowed = vec!["127.0.0.0/8".parse().unwrap()];
    behind(World::with(Settings { dial_allow: allowed, ..Settings::default() }).await).await
}

async fn behind(world: World) -> World {
    let links = vec![json!({ "listen": "lorawan", "eui": EUI })];
    let new = NewDevice { id: Some(field()), parent: Some(device()), links, ..NewDevice::default() };
    world.hub.create_device(&tenant(), new).await.unwrap();
    world
}

async fn call_back(world: &World, path: &str, push: Option<&str>, body: &Value) -> u16 {
    let (token, body) = (bearer(TOKEN), body.to_string());
    let said = push.map(|push| format!("X-Downlink-Push: {push}\r\nX-Downlink-Apikey: NNSXS.KEY\r\n"));
    let head = format!(
        "POST /api/v1/radio/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{token}{}Content-Length: {}\r\n\r\n",
        said.unwrap_or_default(),
        body.len()
    );
    exchange(world, format!("{head}{body}").as_bytes()).await.0
}

fn of_tts(member: &str, value: &Value) -> Value {
    json!({ "end_device_ids": { "device_id": "field-1", "dev_eui": EUI }, member: value })
}

fn of_chirpstack(more: Value) -> Value {
    let mut event = json!({ "deviceInfo": { "devEui": EUI, "deviceName": "field" } });
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event
}

async fn send(world: &World, params: Value) -> Command {
    let new = NewCommand { name: "downlink".to_owned(), params, ..NewCommand::default() };
    world.hub.send_command(&tenant(), &field(), new).await.unwrap()
}

fn state(world: &World, command: &Command) -> Command {
    world.hub.command(&tenant(), &field(), &command.id).unwrap().unwrap()
}

/// Waits until a command is as wanted.
async fn until(feed: &mut LiveReceiver, wanted: impl Fn(&Command) -> bool) -> Command {
    let found = async {
        loop {
            if let Some(LiveNext::Event(event)) = feed.next().await
                && let LiveKind::Command(command) = &event.kind
                && wanted(command)
            {
                return Command::clone(command);
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("the command never is as wanted")
}

#[tokio::test]
async fn the_things_stack_is_called_where_its_call_back_says_and_tells_of_the_acknowledgement() {
    let world = world().await;
    let mut network = Network::answering(vec![OK.to_owned()]).await;
    let waits = send(&world, json!({ "hex": "0102", "port": 7, "confirmed": true })).await;
    let push =
        format!("{}/api/v3/as/applications/farm/webhooks/roost/devices/field-1/down/push", network.base);
    let uplink = of_tts("uplink_message", &json!({ "f_port": 2 }));
    assert_eq!(call_back(&world, "tts", Some(&push), &uplink).await, 204);
    let (head, body) = network.next().await;
    assert!(
        head.starts_with(
            "POST /api/v3/as/applications/farm/webhooks/roost/devices/field-1/down/push HTTP/1.1"
        )
    );
    assert!(head.contains("authorization: Bearer NNSXS.KEY\r\n"), "{head}");
    let downlink = &body["downlinks"][0];
    assert_eq!((&downlink["frm_payload"], &downlink["f_port"]), (&json!("AQI="), &json!(7)));
    assert_eq!(state(&world, &waits).state, CommandState::Sent);
    // From now on we know where the network is.
    let next = send(&world, json!({ "base64": "Aw==" })).await;
    let (_, body) = network.next().await;
    assert_eq!(body["downlinks"][0]["frm_payload"], "Aw==");
    let ids = &downlink["correlation_ids"];
    assert_eq!(
        call_back(&world, "tts", None, &of_tts("downlink_queued", &json!({ "correlation_ids": ids }))).await,
        204
    );
    assert_eq!(state(&world, &waits).state, CommandState::Sent);
    assert_eq!(
        call_back(&world, "tts", None, &of_tts("downlink_ack", &json!({ "correlation_ids": ids }))).await,
        204
    );
    assert_eq!(state(&world, &waits).state, CommandState::Delivered);
    // Somebody else's downlink is none of ours.
    assert_eq!(call_back(&world, "tts", None, &of_tts("downlink_ack", &json!({}))).await, 204);
    assert_eq!(state(&world, &next).state, CommandState::Sent);
}

#[tokio::test]
async fn chirpstack_is_called_at_its_rest_proxy_and_tells_of_its_own_id() {
    let world = world().await;
    let named = "HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{\"id\":\"its-own\"}";
    let mut network = Network::answering(vec![named.to_owned(), OK.to_owned()]).await;
    let up = of_chirpstack(json!({ "data": "AQ==" }));
    assert_eq!(call_back(&world, "chirpstack?event=up", Some(&network.base), &up).await, 204);
    let mut feed = world.hub.live.follow(&tenant());
    let given = send(&world, json!({ "hex": "01" })).await;
    let (head, body) = network.next().await;
    assert!(head.starts_with(&format!("POST /api/devices/{EUI}/queue HTTP/1.1")), "{head}");
    assert!(head.contains("grpc-metadata-authorization: Bearer NNSXS.KEY\r\n"), "{head}");
    assert_eq!((&body["queueItem"]["data"], &body["queueItem"]["fPort"]), (&json!("AQ=="), &json!(1)));
    let other = send(&world, json!({ "hex": "02" })).await;
    // One call at a time: by now what the first was answered is known.
    let (_, body) = network.next().await;
    let ours = &body["queueItem"]["id"];
    let ack = |id: &Value, is_acknowledged: bool| {
        of_chirpstack(json!({ "queueItemId": id, "acknowledged": is_acknowledged }))
    };
    assert_eq!(call_back(&world, "chirpstack?event=ack", None, &ack(&json!("its-own"), true)).await, 204);
    assert_eq!(call_back(&world, "chirpstack?event=ack", None, &ack(ours, false)).await, 204);
    let failed = until(&mut feed, |command| command.state == CommandState::Failed).await;
    assert_eq!((failed.id, failed.error.is_some()), (other.id, true));
    assert_eq!(state(&world, &given).state, CommandState::Delivered);
}

#[tokio::test]
async fn a_network_that_refuses_fails_the_command_in_its_own_words_and_no_others() {
    let world = world().await;
    let body = r#"{"message":"no rights\nhere","secret":"inner"}"#;
    let refusal = format!("HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let network = Network::answering(vec![refusal]).await;
    let mut feed = world.hub.live.follow(&tenant());
    send(&world, json!({ "hex": "01" })).await;
    let uplink = of_tts("uplink_message", &json!({ "f_port": 2 }));
    assert_eq!(call_back(&world, "tts", Some(&network.base), &uplink).await, 204);
    let failed = until(&mut feed, |command| command.state == CommandState::Failed).await;
    assert_eq!(failed.error.as_deref(), Some("The Things Stack answered 403: no rights here"));
}

#[tokio::test]
async fn a_network_that_breaks_off_leaves_the_command_in_doubt_and_it_is_not_sent_again() {
    let world = world().await;
    let mut network = Network::answering(vec![String::new()]).await;
    let mut feed = world.hub.live.follow(&tenant());
    let uplink = of_tts("uplink_message", &json!({ "f_port": 2 }));
    let doubtful = send(&world, json!({ "hex": "01" })).await;
    assert_eq!(call_back(&world, "tts", Some(&network.base), &uplink).await, 204);
    network.next().await;
    let command = until(&mut feed, |command| command.error.is_some()).await;
    assert_eq!((command.id, command.state), (doubtful.id, CommandState::Sent));
    let second = send(&world, json!({ "hex": "02" })).await;
    let (_, body) = network.next().await;
    assert_eq!(body["downlinks"][0]["frm_payload"], "Ag==");
    assert_eq!(state(&world, &second).state, CommandState::Sent);
}

#[tokio::test]
async fn a_network_that_is_not_there_leaves_the_command_waiting_for_the_next_call_back() {
    let world = world().await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/push", gone.local_addr().unwrap());
    drop(gone);
    let command = send(&world, json!({ "hex": "01" })).await;
    let uplink = of_tts("uplink_message", &json!({ "f_port": 2 }));
    assert_eq!(call_back(&world, "tts", Some(&url), &uplink).await, 204);
    let is_noted = || {
        let entries = world.hub.flight_entries(&tenant(), &field()).unwrap();
        entries.iter().any(|entry| entry.detail.contains("nobody answers there"))
    };
    let noted = async {
        while !is_noted() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, noted).await.expect("it is noted");
    assert_eq!(state(&world, &command).state, CommandState::Queued);
    let mut network = Network::answering(vec![OK.to_owned()]).await;
    assert_eq!(call_back(&world, "tts", Some(&network.base), &uplink).await, 204);
    network.next().await;
    assert_eq!(state(&world, &command).state, CommandState::Sent);
}

#[tokio::test]
async fn x_01_a_network_at_an_inner_address_is_not_called_unless_the_operator_allows_it() {
    let world = behind(World::new().await).await;
    let mut network = Network::answering(vec![OK.to_owned()]).await;
    let mut feed = world.hub.live.follow(&tenant());
    let uplink = of_tts("uplink_message", &json!({ "f_port": 2 }));
    let by_name = network.base.replace("127.0.0.1", "localhost");
    let user = network.base.replace("http://", "http://example.com@");
    for (url, reason) in [
        (&*network.base, "dial.allow"),
        (&*by_name, "dial.allow"),
        ("http://169.254.169.254/latest/meta-data", "dial.allow"),
        ("file:///etc/passwd", "URL"),
        (&*user, "user"),
    ] {
        assert_eq!(call_back(&world, "tts", Some(url), &uplink).await, 204);
        let command = send(&world, json!({ "hex": "01" })).await;
        let failed = until(&mut feed, |one| one.id == command.id && one.state.is_final()).await;
        let error = failed.error.unwrap();
        assert!(error.contains(reason) && !error.contains("127.0.0.1"), "{url}: {error}");
    }
    assert!(network.requests.try_recv().is_err());
}
