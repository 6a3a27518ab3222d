use axum::body::Body;
use http::Request;
use roost_hub::flight::FlightKind;
use roost_hub::id::{DeviceId, ProfileId};
use roost_hub::inbox::Accept;
use roost_hub::mailbox::{CommandState, NewCommand};
use roost_hub::reading::Value;
use roost_hub::registry::{DeviceUpdate, NewDevice};
use serde_json::json;

use crate::world::{Answer, Ingest, OWNER, id, post, tenant, token};

const TTS: &str = r#"{"end_device_ids":{"device_id":"field-1","application_ids":{"application_id":"farm"},
"dev_eui":"0004A30B001C0530"},"received_at":"2026-11-21T13:54:57.250Z","uplink_message":{"f_port":2,"f_cnt":4,
"frm_payload":"Af8=","decoded_payload":{"temp":21.5,"bat":{"mv":3300}},"rx_metadata":[{"rssi":-97,"snr":4.5},
{"rssi":-60,"snr":9.25}],"received_at":"2026-11-21T13:54:57.200Z"}}"#;
const CHIRPSTACK: &str = r#"{"deduplicationId":"x","time":"2026-11-21T13:54:57.200+00:00","deviceInfo":{
"deviceName":"field-2","devEui":"0101010101010101"},"fCnt":4,"fPort":1,"data":"qg==","object":{"hum":40},
"rxInfo":[{"gatewayId":"0016c001f153a14c","rssi":-48,"snr":9}]}"#;
const SIGFOX: &str = r#"{"device":"1A2B3C","time":1795269297,"data":"01ff","seqNumber":7,"rssi":"-110.5","snr":12.5,
"temp":"19.5","ack":true}"#;

async fn call_back(ingest: &Ingest, path: &str, body: &str) -> Answer {
    ingest
        .call(post(&token("a"), &format!("/api/v1/radio/{path}"), "application/json", body.to_owned()))
        .await
}

async fn child(ingest: &Ingest, device: &str, link: serde_json::Value) {
    let links = if link.is_null() { Vec::new() } else { vec![link] };
    let new = NewDevice { id: Some(id(device)), parent: Some(id("a")), links, ..NewDevice::default() };
    ingest.hub().create_device(&tenant(), new).await.unwrap();
}

fn value(ingest: &Ingest, device: &str, key: &str) -> Option<Value> {
    let latest = ingest.hub().latest(&tenant(), &id(device)).unwrap();
    latest.into_iter().find(|(name, _)| &**name == key).map(|(_, reading)| reading.value)
}

#[tokio::test]
async fn a_device_of_a_network_is_found_by_its_link_or_its_id() {
    let ingest = Ingest::new().await;
    child(&ingest, "field-1", json!(null)).await;
    child(&ingest, "moist", json!({"listen":"lorawan","eui":"0101010101010101"})).await;
    child(&ingest, "tank", json!({"listen":"sigfox","id":"1A2B3C"})).await;
    call_back(&ingest, "tts", TTS).await.expect(204);
    call_back(&ingest, "chirpstack?event=up", CHIRPSTACK).await.expect(204);
    call_back(&ingest, "sigfox", SIGFOX).await.expect(204);
    for (device, key, expected) in [
        ("field-1", "temp", Value::Number(21.5)),
        ("field-1", "bat.mv", Value::Integer(3_300)),
        ("field-1", "payload", Value::Text("Af8=".into())),
        ("field-1", "rssi", Value::Number(-60.0)),
        ("field-1", "snr", Value::Number(9.25)),
        ("field-1", "f_port", Value::Integer(2)),
        ("moist", "hum", Value::Integer(40)),
        ("moist", "rssi", Value::Number(-48.0)),
        ("tank", "temp", Value::Number(19.5)),
        ("tank", "payload", Value::Text("Af8=".into())),
        ("tank", "rssi", Value::Number(-110.5)),
    ] {
        assert_eq!(value(&ingest, device, key), Some(expected), "{device} {key}");
    }
    let presence = ingest.hub().presence(&tenant(), &id("tank"));
    assert_eq!(presence.protocol.as_deref(), Some("sigfox"));
}

#[tokio::test]
async fn an_unknown_device_waits_in_the_inbox_and_nothing_of_it_goes_further() {
    let ingest = Ingest::new().await;
    for _ in 0..2 {
        call_back(&ingest, "tts", TTS).await.expect(204);
    }
    let waiting = ingest.hub().inbox(&tenant(), (10, None)).unwrap().items;
    assert_eq!(waiting.len(), 1);
    let one = waiting.first().unwrap();
    assert_eq!((one.dialect.as_str(), one.name.as_str()), ("lorawan", "0004a30b001c0530"));
    assert_eq!(
        (one.parent.clone(), one.proposed.id.clone()),
        (Some(id("a")), DeviceId::parse("field-1").ok())
    );
    let (device, _, _) = ingest.hub().accept(&tenant(), &one.id, Accept::default()).await.unwrap();
    assert_eq!(device.id, id("field-1"));
    call_back(&ingest, "tts", TTS).await.expect(204);
    assert_eq!(value(&ingest, "field-1", "temp"), Some(Value::Number(21.5)));
}

#[tokio::test]
async fn a_sigfox_device_that_listens_gets_the_oldest_downlink_in_the_answer() {
    let ingest = Ingest::new().await;
    child(&ingest, "tank", json!({"listen":"sigfox","id":"1A2B3C"})).await;
    let send = async |params| {
        let new = NewCommand { name: "downlink".to_owned(), params, ..NewCommand::default() };
        ingest.hub().send_command(&tenant(), &id("tank"), new).await.unwrap().id
    };
    let state = |command| ingest.hub().command(&tenant(), &id("tank"), command).unwrap().unwrap();
    let unsayable = send(json!({"hex":"01"})).await;
    let good = send(json!({"hex":"0102030405060708"})).await;
    let deaf = SIGFOX.replace("\"ack\":true", "\"ack\":false");
    call_back(&ingest, "sigfox", &deaf).await.expect(204);
    assert_eq!(state(&good).state, CommandState::Queued);
    let answer = call_back(&ingest, "sigfox", SIGFOX).await.expect(200);
    assert_eq!(answer.json(), json!({"1A2B3C":{"downlinkData":"0102030405060708"}}));
    assert_eq!((state(&unsayable).state, state(&good).state), (CommandState::Failed, CommandState::Sent));
    call_back(&ingest, "sigfox", SIGFOX).await.expect(204);
    let told =
        r#"{"device":"1A2B3C","time":1795269300,"downlinkAck":true,"infoCode":0,"infoMessage":"Acked"}"#;
    call_back(&ingest, "sigfox", told).await.expect(204);
    assert_eq!(state(&good).state, CommandState::Delivered);
}

#[tokio::test]
async fn an_operator_shows_a_gateways_token_in_the_header_or_the_query() {
    let ingest = Ingest::new().await;
    let by_query = |token: &str| {
        let request = Request::post(format!("/api/v1/radio/sigfox?token={token}"));
        request.body(Body::from(SIGFOX)).unwrap()
    };
    ingest.call(by_query(&token("a"))).await.expect(204);
    ingest.call(by_query("wrong")).await.problem(401, "unauthenticated");
    ingest.call(by_query(OWNER)).await.problem(403, "forbidden");
    ingest.call(Request::post("/api/v1/radio/sigfox").body(Body::from(SIGFOX)).unwrap()).await.expect(401);
    call_back(&ingest, "lora", SIGFOX).await.problem(404, "not-found");
    for (operator, body) in
        [("sigfox", "{}"), ("tts", "nonsense"), ("chirpstack", CHIRPSTACK), ("tts", SIGFOX)]
    {
        let answer = call_back(&ingest, operator, body).await;
        assert!([204, 400].contains(&answer.status.as_u16()), "{operator}");
    }
    call_back(&ingest, "tts", "nonsense").await.problem(400, "unreadable");
}

/// The three call-backs with nothing but bytes: `01ff`.
fn undecoded() -> [(&'static str, String); 3] {
    let chirpstack =
        CHIRPSTACK.replace(r#""data":"qg==","object":{"hum":40}"#, r#""data":"Af8=","object":null"#);
    [
        ("tts", TTS.replace(r#""decoded_payload":{"temp":21.5,"bat":{"mv":3300}},"#, "")),
        ("chirpstack?event=up", chirpstack),
        ("sigfox", SIGFOX.replace(r#""temp":"19.5","#, "")),
    ]
}

/// A profile whose decoder reads one byte, on port 2 another one.
async fn decoding(ingest: &Ingest, device: &str, link: serde_json::Value, decoder: serde_json::Value) {
    let profile = json!({"id":"bytes","decoder":decoder});
    ingest.hub().put_profile(&tenant(), serde_json::from_value(profile).unwrap()).await.unwrap();
    child(ingest, device, link).await;
    let update = DeviceUpdate { profile: ProfileId::parse("bytes").ok(), ..DeviceUpdate::default() };
    ingest.hub().update_device(&tenant(), &id(device), update).await.unwrap();
}

fn by_port() -> serde_json::Value {
    json!({"fields":[
        {"key":"level","type":"u8","when":{"port":2}},
        {"key":"count","type":"u8"},
    ]})
}

#[tokio::test]
async fn what_no_network_decoded_is_read_by_the_profiles_decoder() {
    let links = [
        ("field-1", json!(null)),
        ("moist", json!({"listen":"lorawan","eui":"0101010101010101"})),
        ("tank", json!({"listen":"sigfox","id":"1A2B3C"})),
    ];
    for ((path, body), (device, link)) in undecoded().into_iter().zip(links) {
        let ingest = Ingest::new().await;
        decoding(&ingest, device, link, by_port()).await;
        call_back(&ingest, path, &body).await;
        let on_two = path == "tts";
        let (level, count) = if on_two { (Some(1), 255) } else { (None, 1) };
        assert_eq!(value(&ingest, device, "level"), level.map(Value::Integer), "{path}");
        assert_eq!(value(&ingest, device, "count"), Some(Value::Integer(count)), "{path}");
        assert_eq!(value(&ingest, device, "payload"), Some(Value::Text("Af8=".into())), "{path}");
        let latest = ingest.hub().latest(&tenant(), &id(device)).unwrap();
        assert_eq!(latest["count"].ts, latest["rssi"].ts, "the network's time, {path}");
        let frames = ingest.hub().frames(&tenant(), &id(device));
        let port = match path {
            "tts" => Some(2),
            "sigfox" => None,
            _ => Some(1),
        };
        let frames: Vec<_> = frames.iter().map(|frame| (&*frame.bytes, frame.port)).collect();
        assert_eq!(frames, [(&[1_u8, 255][..], port)], "{path}");
    }
}

#[tokio::test]
async fn what_the_network_decoded_stays_as_it_is() {
    let ingest = Ingest::new().await;
    decoding(&ingest, "field-1", json!(null), by_port()).await;
    call_back(&ingest, "tts", TTS).await.expect(204);
    assert_eq!(value(&ingest, "field-1", "temp"), Some(Value::Number(21.5)));
    assert_eq!(value(&ingest, "field-1", "count"), None);
    assert!(ingest.hub().frames(&tenant(), &id("field-1")).is_empty());
}

#[tokio::test]
async fn a_frame_that_the_decoder_cannot_read_is_noted_and_its_bytes_are_kept() {
    let ingest = Ingest::new().await;
    let wide = json!({"fields":[{"key":"level","type":"u32"}]});
    decoding(&ingest, "tank", json!({"listen":"sigfox","id":"1A2B3C"}), wide).await;
    let [_, _, (path, body)] = undecoded();
    let deaf = body.replace("\"ack\":true", "\"ack\":false");
    call_back(&ingest, path, &deaf).await.expect(204);
    assert_eq!(value(&ingest, "tank", "payload"), Some(Value::Text("Af8=".into())));
    assert_eq!(value(&ingest, "tank", "level"), None);
    assert_eq!(ingest.hub().frames(&tenant(), &id("tank")).len(), 1);
    let notes = ingest.hub().flight_entries(&tenant(), &id("tank")).unwrap();
    let refused: Vec<_> = notes.iter().filter(|note| note.kind == FlightKind::Refused).collect();
    assert!(matches!(refused.as_slice(), [note] if note.detail.contains("level")), "{refused:?}");
}

#[tokio::test]
async fn frames_without_a_decoder_wait_for_who_writes_one() {
    let ingest = Ingest::new().await;
    child(&ingest, "field-1", json!(null)).await;
    let [(path, body), _, _] = undecoded();
    call_back(&ingest, path, &body).await.expect(204);
    assert_eq!(ingest.hub().frames(&tenant(), &id("field-1")).len(), 1);
    let notes = ingest.hub().flight_entries(&tenant(), &id("field-1")).unwrap();
    assert!(notes.iter().all(|note| note.kind != FlightKind::Refused));
}

#[tokio::test]
async fn a_sigfox_template_that_adds_a_place_leaves_the_bytes_to_the_decoder() {
    let ingest = Ingest::new().await;
    let fields = json!({"fields": [{"key": "t", "type": "u8"}, {"key": "lat", "type": "u8"}]});
    decoding(&ingest, "tank", json!({"listen":"sigfox","id":"1A2B3C"}), fields).await;
    let body = r#"{"device":"1A2B3C","time":1795269297,"data":"1503","lat":"43.5","lng":"1"}"#;
    call_back(&ingest, "sigfox", body).await.expect(204);
    for (key, expected) in
        [("t", Value::Integer(21)), ("lat", Value::Number(43.5)), ("lng", Value::Integer(1))]
    {
        assert_eq!(value(&ingest, "tank", key), Some(expected), "{key}");
    }
}

#[tokio::test]
async fn chirpstack_in_protobuf_is_told_to_write_json() {
    let ingest = Ingest::new().await;
    let problem = call_back(&ingest, "chirpstack?event=up", "\n\u{1}").await.problem(400, "unreadable");
    assert!(problem["detail"].as_str().unwrap().contains("payload encoding to JSON"), "{problem}");
}
