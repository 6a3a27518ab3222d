use axum::body::Body;
use http::Request;
use roost_gateway::Settings;
use roost_hub::broker::Outgoing;
use roost_hub::flight::FlightKind;
use roost_hub::message::QoS;
use roost_hub::principal::Role;
use roost_hub::reading::Value;

use crate::world::{Ingest, JSON, OWNER, World, basic, id, options, pieces, post, tenant, token};

const OWN: &str = "/api/v1/me/telemetry";
const OF_A: &str = "/api/v1/devices/a/telemetry";

#[tokio::test]
async fn a_device_posts_readings_and_they_are_its_latest() {
    let ingest = Ingest::new().await;
    let answer = ingest.post(OWN, JSON, r#"{"temp":21.5,"deep":{"er":7}}"#).await.expect(204);
    assert_eq!(answer.text(), "");
    assert_eq!(ingest.value("temp"), Some(Value::Number(21.5)));
    assert_eq!(ingest.value("deep.er"), Some(Value::Integer(7)));
    let presence = ingest.hub().presence(&tenant(), &id("a"));
    assert_eq!((presence.online, presence.protocol.as_deref()), (false, Some("http")));
}

#[tokio::test]
async fn subscribers_hear_it_under_the_devices_topic() {
    let ingest = Ingest::new().await;
    let mut session = ingest.world.connect("listener", options());
    ingest.world.subscribe(&mut session, "devices/+/telemetry", QoS::AtLeastOnce);
    ingest.post(OWN, "application/senml+json", r#"[{"n":"t","v":1}]"#).await.expect(204);
    let mut out = Vec::new();
    session.next_outgoing(&mut out, 10);
    let heard = out.iter().find_map(|outgoing| match outgoing {
        Outgoing::Publish(delivery) => Some((&delivery.message, delivery.qos)),
        _ => None,
    });
    let (message, qos) = heard.unwrap();
    assert_eq!((message.topic.as_str(), qos), ("devices/a/telemetry", QoS::AtLeastOnce));
    let properties = message.properties.as_ref().unwrap();
    assert_eq!(properties.content_type.as_deref(), Some("application/senml+json"));
}

#[tokio::test]
async fn every_format_is_known_by_its_content_type() {
    let ingest = Ingest::new().await;
    for (content_type, body, key) in [
        ("", b"{\"none\":1}".as_slice(), "none"),
        ("application/json; charset=utf-8", b"{\"json\":1}", "json"),
        ("application/senml+json", b"[{\"n\":\"senml\",\"v\":1}]", "senml"),
        ("application/cbor", b"\xa1dcbor\x01", "cbor"),
        ("application/vnd.influx.line-protocol", b"m line=1", "m.line"),
    ] {
        ingest.post(OWN, content_type, body).await.expect(204);
        assert!(ingest.latest(key).is_some(), "{content_type}");
    }
}

#[tokio::test]
async fn an_application_and_basic_may_write_for_a_device() {
    let ingest = Ingest::new().await;
    ingest.call(post(OWNER, OF_A, JSON, r#"{"x":1}"#)).await.expect(204);
    let request = Request::post(OWN).header("authorization", basic("a", &token("a")));
    ingest.call(request.body(Body::from(r#"{"y":1}"#)).unwrap()).await.expect(204);
    assert!(ingest.latest("x").is_some() && ingest.latest("y").is_some());
    let viewer = ingest.application(Role::Viewer).await;
    ingest.call(post(&viewer, OF_A, JSON, r#"{"z":1}"#)).await.problem(403, "forbidden");
    assert!(ingest.latest("z").is_none());
}

#[tokio::test]
async fn h_18_without_a_credential_that_holds_nobody_gets_in() {
    let ingest = Ingest::new().await;
    for shown in ["", "Bearer", "Bearer ", "Bearer wrong", "Basic %%%", "Basic YTpi", "Digest x"] {
        let request = Request::post(OWN).header("authorization", shown).body(Body::from("{}")).unwrap();
        let answer = ingest.call(request).await;
        assert!(answer.headers.contains_key("www-authenticate"), "{shown}");
        answer.problem(401, "unauthenticated");
    }
    let nothing = Request::post(OWN).body(Body::from("{}")).unwrap();
    ingest.call(nothing).await.problem(401, "unauthenticated");
    let two = Request::post(OWN).header("authorization", "Bearer x").header("authorization", "Bearer y");
    ingest.call(two.body(Body::empty()).unwrap()).await.problem(400, "unreadable");
    ingest.call(post(OWNER, OWN, JSON, "{}")).await.problem(403, "forbidden");
    assert_eq!(ingest.hub().counters.logins_refused_total.value(), 9);
}

#[tokio::test]
async fn h_18_a_revoked_token_is_dead_at_once() {
    let ingest = Ingest::new().await;
    ingest.post(OWN, JSON, "{}").await.expect(204);
    ingest.revoke().await;
    ingest.post(OWN, JSON, "{}").await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn h_19_another_devices_telemetry_is_not_ones_own() {
    let ingest = Ingest::new().await;
    ingest.post("/api/v1/devices/b/telemetry", JSON, r#"{"x":1}"#).await.problem(403, "forbidden");
    ingest.post("/api/v1/devices/nobody/telemetry", JSON, r#"{"x":1}"#).await.problem(403, "forbidden");
    for path in ["/api/v1/devices/nobody/telemetry", "/api/v1/devices/..%2fb/telemetry"] {
        ingest.call(post(OWNER, path, JSON, r#"{"x":1}"#)).await.problem(404, "not-found");
    }
}

#[tokio::test]
async fn m_28_who_guesses_tokens_has_to_wait() {
    let ingest = Ingest::new().await;
    let mut answer = ingest.call(post("wrong", OWN, JSON, "{}")).await;
    for _ in 0..20 {
        answer = ingest.call(post("wrong", OWN, JSON, "{}")).await;
    }
    assert!(answer.headers.contains_key("retry-after"));
    answer.problem(429, "too-many");
}

#[tokio::test]
async fn h_10_a_body_over_the_limit_is_refused_declared_or_not() {
    let settings = Settings { body_length_max: 64, ..Settings::default() };
    let ingest = Ingest::with(World::new(), settings).await;
    let long = format!("{{\"x\":\"{}\"}}", "y".repeat(100));
    let declared = Request::post(OWN)
        .header("authorization", format!("Bearer {}", token("a")))
        .header("content-length", long.len())
        .body(Body::from_stream(futures_util::stream::pending::<Result<&str, std::io::Error>>()))
        .unwrap();
    ingest.call(declared).await.problem(413, "too-large");
    ingest.post(OWN, JSON, pieces([long.clone()])).await.problem(413, "too-large");
    ingest.post(OWN, JSON, long).await.problem(413, "too-large");
}

#[tokio::test]
async fn h_09_a_body_that_breaks_off_leaves_nothing() {
    let ingest = Ingest::new().await;
    let broken = [Ok(r#"{"x":1}"#), Err(std::io::Error::other("gone"))];
    let body = Body::from_stream(futures_util::stream::iter(broken));
    ingest.post(OWN, JSON, body).await.problem(400, "unreadable");
    assert!(ingest.latest("x").is_none());
}

#[tokio::test]
async fn h_12_a_wrong_content_type_is_told_which_are_right() {
    let ingest = Ingest::new().await;
    for content_type in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json", "\u{e4}"]
    {
        let problem = ingest.post(OWN, content_type, "{}").await.problem(415, "media-type");
        assert!(problem["detail"].as_str().unwrap().contains("application/json"), "{content_type}");
    }
}

#[tokio::test]
async fn j_01_to_j_09_what_is_no_json_is_400_with_the_place() {
    let ingest = Ingest::new().await;
    let deep = "[".repeat(100_000);
    for body in [
        deep.as_bytes(),
        br#"{"a":1,"a":2}"#,
        br#"{"a":1,"\u0061":2}"#,
        br#"{"a":"\ud800"}"#,
        br#"{"a":NaN}"#,
        br#"{"a":01}"#,
        br#"{"a":1,}"#,
        b"{'a':1}",
        b"\xef\xbb\xbf{\"a\":1}",
        b"\xff\xfe{\0}\0",
        b"{\"a\":\"\xe4\"}",
        b"{\"a\":1}{\"a\":2}",
        b"{\"a\":1}\n{\"a\":2}",
        b"",
        b"null",
        br#""x""#,
    ] {
        let problem = ingest.post(OWN, JSON, body.to_vec()).await.problem(400, "unreadable");
        assert!(problem["offset"].is_u64(), "{problem}");
    }
    assert!(ingest.has_note(FlightKind::Refused));
    assert_eq!(ingest.hub().counters.telemetry_refused_total.value(), 16);
}

#[tokio::test]
async fn j_02_j_06_and_j_07_what_cannot_be_kept_is_422() {
    let ingest = Ingest::new().await;
    let keys: Vec<_> = (0..1_025).map(|key| format!("\"k{key}\":1")).collect();
    let bodies = [
        format!("{{{}}}", keys.join(",")),
        format!("{{\"{}\":1}}", "k".repeat(257)),
        r#"{"a":1e400}"#.to_owned(),
        r#"{"a":123456789012345678901234567890}"#.to_owned(),
        r#"{"ts":"yesterday","values":{"a":1}}"#.to_owned(),
    ];
    for body in bodies {
        ingest.post(OWN, JSON, body).await.problem(422, "invalid");
    }
    ingest.post(OWN, JSON, r#"{"a":9007199254740993,"b":18446744073709551615}"#).await.expect(204);
    assert_eq!(ingest.value("a"), Some(Value::Integer(9_007_199_254_740_993)));
    assert_eq!(ingest.value("b"), Some(Value::Unsigned(u64::MAX)));
}

#[tokio::test]
async fn j_21_more_points_than_one_request_may_have_are_refused_together() {
    let ingest = Ingest::new().await;
    let points = vec![r#"{"ts":1795269297000,"values":{"x":1}}"#; 10_001].join(",");
    ingest.post(OWN, JSON, format!("[{points}]")).await.problem(422, "invalid");
    assert!(ingest.latest("x").is_none());
}

#[tokio::test]
async fn j_23_a_device_has_so_many_keys_and_no_more() {
    let world = World::with(|settings| settings.keys_max = 2);
    let ingest = Ingest::with(world, Settings::default()).await;
    ingest.post(OWN, JSON, r#"{"a":1,"b":1}"#).await.expect(204);
    ingest.post(OWN, JSON, r#"{"c":1}"#).await.expect(422);
    ingest.post(OWN, JSON, r#"{"a":2}"#).await.expect(204);
}

#[tokio::test]
async fn j_27_senml_that_names_another_device_is_refused() {
    let ingest = Ingest::new().await;
    let pack = |name| format!(r#"[{{"bn":"urn:dev:{name}:","n":"t","v":1}}]"#);
    ingest.post(OWN, "application/senml+json", pack("b")).await.problem(422, "invalid");
    ingest.post(OWN, "application/senml+json", pack("a")).await.expect(204);
}
