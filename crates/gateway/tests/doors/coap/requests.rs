use roost_hub::flight::FlightKind;
use roost_hub::id::{DeviceId, ProfileId};
use roost_hub::reading::Value;
use roost_hub::registry::NewDevice;
use roost_wire::coap::{Code, ContentFormat, Kind, number};
use roost_wire::telemetry::json_to_cbor;
use serde_json::json;

use super::{Device, ask};
use crate::common::{ADMIN, World, device, tenant};

fn latest(world: &World, key: &str) -> Option<Value> {
    let latest = world.hub.latest(&tenant(), &device()).unwrap();
    latest.into_iter().find(|(name, _)| &**name == key).map(|(_, reading)| reading.value)
}

#[tokio::test]
async fn a_posted_reading_is_durable_when_it_is_answered() {
    let world = World::new().await;
    let mut sensor = Device::new(&world).await;
    let post = ask("me/telemetry").format(50).payload(r#"{"temp":21.5}"#);
    let answer = sensor.call(Code::POST, post).await.expect(Code::CHANGED);
    assert_eq!((answer.message().kind, answer.payload().len()), (Kind::Acknowledgement, 0));
    assert_eq!(latest(&world, "temp"), Some(Value::Number(21.5)));
    assert_eq!(world.hub.durability().position(), world.hub.store().log.end());
    let presence = world.hub.presence(&tenant(), &device());
    assert_eq!(presence.protocol.as_deref(), Some("coap"));
}

#[tokio::test]
async fn readings_come_in_every_format_and_under_both_names() {
    let world = World::new().await;
    let mut sensor = Device::new(&world).await;
    let senml = json!([{ "bn": "urn:dev:s1:", "n": "c", "v": 3 }]);
    let senml_cbor = [0x81, 0xA2, 0x00, 0x61, b'd', 0x02, 0x04];
    for (path, format, payload) in [
        ("me/telemetry", None, br#"{"a":1}"#.to_vec()),
        ("api/v1/me/telemetry", Some(60), json_to_cbor(&json!({ "b": 2 }))),
        ("me/telemetry", Some(110), senml.to_string().into_bytes()),
        ("me/telemetry", Some(112), senml_cbor.to_vec()),
        ("me/telemetry/e", None, b"5".to_vec()),
        ("me/telemetry/f/g", Some(0), b"6".to_vec()),
        ("me/telemetry/h", Some(60), vec![7]),
        ("devices/s1/telemetry", Some(50), br#"{"i":8}"#.to_vec()),
    ] {
        let mut post = ask(path).payload(payload);
        if let Some(format) = format {
            post = post.format(format);
        }
        sensor.call(Code::POST, post).await.expect(Code::CHANGED);
    }
    for (key, number) in [("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5), ("f/g", 6), ("h", 7), ("i", 8)] {
        assert_eq!(latest(&world, key), Some(Value::Integer(number)), "{key}");
    }
}

#[tokio::test]
async fn c_10_a_format_that_is_not_known_is_refused() {
    let world = World::new().await;
    let mut sensor = Device::new(&world).await;
    for format in [40, 42, 61, 9_999] {
        let post = ask("me/telemetry").format(format).payload("{}");
        sensor.call(Code::POST, post).await.expect(Code::UNSUPPORTED_FORMAT);
    }
    for (path, accept) in [("me/twin", 40), ("me/commands", 0), (".well-known/core", 50), ("me/twin", 9_999)]
    {
        sensor.call(Code::GET, ask(path).uint(number::ACCEPT, accept)).await.expect(Code::NOT_ACCEPTABLE);
    }
}

#[tokio::test]
async fn bytes_are_read_by_the_decoder_of_the_profile() {
    let world = World::new().await;
    crate::decoders::give_decoder(&world).await;
    let mut sensor = Device::new(&world).await;
    let post = ask("me/telemetry").format(42).payload([0x03, 0x67, 0x10, 0x01]);
    sensor.call(Code::POST, post).await.expect(Code::CHANGED);
    assert_eq!(latest(&world, "temperature"), Some(Value::Number(27.2)));
    let post = ask("me/telemetry").option(number::URI_QUERY, "port=9").payload([5, 0]);
    sensor.call(Code::POST, post).await.expect(Code::CHANGED);
    assert_eq!(latest(&world, "opened"), Some(Value::Integer(5)));
    let post = ask("me/telemetry").format(42).payload([0x03, 0x67]);
    sensor.call(Code::POST, post).await.expect(Code::BAD_REQUEST);
    assert!(world.flight()[0].contains("the frame begins \"0367\""), "{:?}", world.flight());
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_and_noted_for_the_devices_people() {
    let world = World::new().await;
    let mut sensor = Device::new(&world).await;
    for (path, payload, code) in [
        ("me/telemetry", "{\"a\":", Code::BAD_REQUEST),
        ("me/telemetry", "{\"a\":1,\"a\":2}", Code::BAD_REQUEST),
        ("me/telemetry", "{\"a\":1e400}", Code::UNPROCESSABLE),
        ("me/telemetry/x", "{}", Code::BAD_REQUEST),
        ("devices/other/telemetry", "{\"a\":1}", Code::FORBIDDEN),
    ] {
        let answer = sensor.call(Code::POST, ask(path).payload(payload)).await;
        assert_eq!(answer.code(), code, "{path} {payload}: {answer:?}");
        assert!(!answer.payload().is_empty(), "it says why");
    }
    let entries = world.hub.flight_entries(&tenant(), &device()).unwrap();
    assert!(entries.iter().any(|entry| entry.kind == FlightKind::Refused));
    assert_eq!(latest(&world, "a"), None);
}

#[tokio::test]
async fn c_08_odd_paths_name_nothing() {
    let world = World::new().await;
    let mut sensor = Device::new(&world).await;
    for path in ["", "..", "me", "me/..", "me/telemetry/../twin/x", "me/telemetry/a//b", "nothing"] {
        let code = sensor.call(Code::GET, ask(path)).await.code();
        assert!([Code::NOT_FOUND, Code::METHOD_NOT_ALLOWED].contains(&code), "{path}: {code}");
    }
    let many = (0..200).fold(ask("me"), |ask, _| ask.option(number::URI_PATH, "a"));
    sensor.call(Code::GET, many).await.expect(Code::NOT_FOUND);
    let bytes = ask("me").option(number::URI_PATH, [0xFF, 0xFE]);
    sensor.call(Code::GET, bytes).await.expect(Code::BAD_REQUEST);
}

#[tokio::test]
async fn methods_that_do_nothing_are_refused() {
    let world = World::new().await;
    let mut sensor = Device::new(&world).await;
    for (method, path) in [
        (Code::GET, "me/telemetry"),
        (Code::DELETE, "me/telemetry"),
        (Code::POST, "me/commands"),
        (Code::PUT, "me/twin/desired"),
        (Code::POST, "me/documents/x"),
        (Code::FETCH, "me/twin"),
        (Code(31), "me/twin"),
    ] {
        sensor.call(method, ask(path)).await.expect(Code::METHOD_NOT_ALLOWED);
    }
}

#[tokio::test]
async fn without_a_token_that_opens_something_nothing_is_done() {
    let world = World::new().await;
    let mut stranger = Device::new(&world).await;
    let post = ask("me/telemetry").payload(r#"{"a":1}"#).without_token();
    stranger.call(Code::POST, post.clone()).await.expect(Code::UNAUTHORIZED);
    let wrong = post.clone().option(number::URI_QUERY, "token=wrong-wrong-wrong");
    stranger.call(Code::POST, wrong).await.expect(Code::UNAUTHORIZED);
    assert_eq!(latest(&world, "a"), None);
    // An application has no `me`.
    let application = ask("me/commands").without_token().option(number::URI_QUERY, format!("token={ADMIN}"));
    stranger.call(Code::GET, application).await.expect(Code::FORBIDDEN);
}

#[tokio::test]
async fn guessing_tokens_is_slowed_down() {
    let world = World::new().await;
    let mut stranger = Device::new(&world).await;
    let mut last = Code::UNAUTHORIZED;
    for number in 0..100 {
        let guess =
            ask("me/twin").without_token().option(number::URI_QUERY, format!("token=guess-number-{number}"));
        last = stranger.call(Code::GET, guess).await.code();
    }
    assert_eq!(last, Code::TOO_MANY);
}

#[tokio::test]
async fn c_28_a_token_in_the_clear_is_noted_once_and_a_profile_may_refuse_it() {
    let world = World::new().await;
    let mut sensor = Device::new(&world).await;
    for _ in 0..3 {
        sensor.call(Code::GET, ask("me/twin")).await.expect(Code::CONTENT);
    }
    let notes = || world.hub.flight_entries(&tenant(), &device()).unwrap();
    let said = notes().iter().filter(|entry| entry.detail.contains("without DTLS")).count();
    assert_eq!(said, 1, "{:?}", notes());
    let profile = json!({ "id": "careful", "grants": { "dtls_only": true } });
    let profile = serde_json::from_value(profile).unwrap();
    world.hub.put_profile(&tenant(), profile).await.unwrap();
    let token = "a-token-of-a-careful-device";
    let new = NewDevice {
        id: Some(DeviceId::parse("careful").unwrap()),
        profile: Some(ProfileId::parse("careful").unwrap()),
        token: Some(token.to_owned()),
        ..NewDevice::default()
    };
    world.hub.create_device(&tenant(), new).await.unwrap();
    let careful = ask("me/twin").without_token().option(number::URI_QUERY, format!("token={token}"));
    sensor.call(Code::GET, careful).await.expect(Code::FORBIDDEN);
}

#[tokio::test]
async fn c_24_what_there_is_is_told_to_everybody_and_names_no_device() {
    let world = World::new().await;
    let mut stranger = Device::new(&world).await;
    let body = stranger.download(ask(".well-known/core").without_token()).await;
    let text = String::from_utf8(body).unwrap();
    assert!(text.contains("</me/telemetry>") && text.contains("obs") && !text.contains("s1"), "{text}");
    let answer = stranger.call(Code::GET, ask(".well-known/core").without_token()).await;
    assert_eq!(answer.uint(number::CONTENT_FORMAT), Some(ContentFormat::LINKS.0.into()));
}

#[tokio::test]
async fn c_11_a_repeated_post_is_recorded_once() {
    let world = World::new().await;
    let mut sensor = Device::new(&world).await;
    let head = sensor.head(Code::POST);
    let post = ask("me/telemetry").payload(r#"{"n":1}"#).bytes(head);
    let before = world.hub.store().log.end();
    for _ in 0..5 {
        sensor.send(&post).await;
        sensor.receive().await.expect(Code::CHANGED);
    }
    let end = world.hub.store().log.end();
    assert_eq!(end.0 - before.0, 1);
}

#[tokio::test]
async fn an_event_and_a_non_confirmable_reading_are_taken() {
    let world = World::new().await;
    let mut sensor = Device::new(&world).await;
    sensor.call(Code::POST, ask("me/events/door").payload("open")).await.expect(Code::CHANGED);
    let mut head = sensor.head(Code::POST);
    head.kind = Kind::NonConfirmable;
    sensor.send(&ask("me/telemetry/t").payload("1").bytes(head)).await;
    let answer = sensor.receive().await.expect(Code::CHANGED);
    assert_eq!(answer.message().kind, Kind::NonConfirmable);
    assert_eq!(latest(&world, "t"), Some(Value::Integer(1)));
    let entries = world.hub.flight_entries(&tenant(), &device()).unwrap();
    assert!(entries.iter().any(|entry| entry.kind == FlightKind::Event));
}

#[tokio::test]
async fn c_29_a_large_batch_comes_in_one_datagram_or_in_blocks() {
    let world = World::new().await;
    let mut sensor = Device::new(&world).await;
    let batch = |count: usize| {
        let points: Vec<_> = (0..count).map(|number| json!({ "v": number })).collect();
        serde_json::to_vec(&points).unwrap()
    };
    let one = batch(128);
    assert!(one.len() > 1_100);
    sensor.call(Code::POST, ask("me/telemetry").payload(one)).await.expect(Code::CHANGED);
    let whole = batch(2_000);
    sensor.call(Code::POST, ask("me/telemetry").payload(&whole)).await.expect(Code::TOO_LARGE);
    sensor.upload(Code::POST, ask("me/telemetry"), &whole).await.expect(Code::CHANGED);
    assert_eq!(latest(&world, "v"), Some(Value::Integer(1_999)));
}

#[tokio::test]
async fn c_07_bad_options_and_bad_bytes_disturb_nobody() {
    let world = World::new().await;
    let mut sensor = Device::new(&world).await;
    sensor.call(Code::GET, ask("me/twin").option(9, "x")).await.expect(Code::BAD_OPTION);
    sensor.call(Code::GET, ask("me/twin").option(number::PROXY_URI, "coap://a")).await.expect(Code::PROXYING);
    for bytes in [&[][..], &[0x40], &[0x00; 4], &[0xFF; 64], &[0x70, 0, 0, 1]] {
        sensor.send(bytes).await;
    }
    sensor.send(&[0x4F, 1, 0, 1]).await;
    assert_eq!(sensor.receive().await.message().kind, Kind::Reset);
    sensor.call(Code::GET, ask("me/twin")).await.expect(Code::CONTENT);
}
