use serde_json::{Map, Value as Json, json};

use super::Azure;
use super::bag::{encoded, property};
use crate::dialect::{
    About, Answer, Awaited, Command, Dialect, Outgoing, Said, Twin, TwinReason, TwinRequest, What,
};
use crate::telemetry::{Point, Value};

const NOW: i64 = 1_795_269_864_000;

fn map(json: Json) -> Map<String, Json> {
    json.as_object().unwrap().clone()
}

fn hear<'a>(azure: &mut Azure, topic: &'a str, payload: &'a str) -> Vec<What<'a>> {
    let said = azure.hear(topic, payload.as_bytes(), NOW).unwrap();
    let of = |said: Said<'a>| {
        assert_eq!(said.about, About::Connection);
        said.what
    };
    said.into_iter().map(of).collect()
}

fn reading<'a>(key: &'a str, ts: Option<i64>, value: Value<'a>) -> Point<'a> {
    Point { key: key.into(), ts, value }
}

fn says(message: &Outgoing, topic: &str, payload: Json) {
    assert_eq!((message.topic.as_str(), message.retain), (topic, false));
    let said: Json = serde_json::from_slice(&message.payload).unwrap_or(Json::Null);
    assert_eq!(said, payload);
}

#[test]
fn telemetry_is_read_by_its_content_type_or_as_json() {
    let check = |bag: &str, payload: &str, expected: What<'_>| {
        let topic = format!("devices/pump/messages/events{bag}");
        assert_eq!(hear(&mut Azure::default(), &topic, payload), [expected], "{bag}");
    };
    let temp = |ts| What::Readings(vec![reading("temp", ts, Value::Number(21.5))]);
    check("/", r#"{"temp":21.5}"#, temp(None));
    check("", r#"{"temp":21.5}"#, temp(None));
    check("/%24.ct=application%2Fjson&%24.ce=utf-8", r#"{"temp":21.5}"#, temp(None));
    check("/$.ct=application%2Fjson%3Bcharset%3Dutf-8&level=high", r#"{"temp":21.5}"#, temp(None));
    check(
        "/iothub-creation-time-utc=2023-11-14T22%3A13%3A20Z",
        r#"{"temp":21.5}"#,
        temp(Some(1_700_000_000_000)),
    );
    let of_component = What::Readings(vec![reading("thermostat1.temp", None, Value::Number(21.5))]);
    check("/%24.sub=thermostat1", r#"{"temp":21.5}"#, of_component);
    let event =
        |payload: &'static str| What::Event { name: "message".into(), payload: payload.as_bytes().into() };
    check("/", "hello", event("hello"));
    check("/", "[1,2]", event("[1,2]"));
    check("/$.ct=text%2Fplain", "hello", event("hello"));
}

#[test]
fn telemetry_that_is_not_what_it_says_is_refused() {
    let mut azure = Azure::default();
    let topic = "devices/pump/messages/events/%24.ct=application%2Fjson";
    for payload in ["{", "21.5", r#"{"a":1,"a":2}"#] {
        assert!(azure.hear(topic, payload.as_bytes(), NOW).is_err(), "{payload}");
    }
    let long = format!("devices/pump/messages/events/$.sub={}", "x".repeat(300));
    assert!(azure.hear(&long, br#"{"a":1}"#, NOW).is_err());
}

#[test]
fn what_is_reported_is_the_twin_and_readings_and_is_taken() {
    let mut azure = Azure::default();
    let topic = "$iothub/twin/PATCH/properties/reported/?$rid=5";
    let whats = hear(&mut azure, topic, r#"{"fw":"1.2","gone":null,"$version":3}"#);
    assert_eq!(whats[0], What::Reported(map(json!({"fw": "1.2", "gone": null}))));
    assert_eq!(whats[1], What::Readings(vec![reading("fw", None, Value::Text("1.2".into()))]));
    let What::Reply(reply) = &whats[2] else { panic!() };
    says(reply, "$iothub/twin/res/204/?$rid=5&$version=2", Json::Null);
    let whats = hear(&mut azure, topic, r#"{"a":1}"#);
    let What::Reply(reply) = &whats[2] else { panic!() };
    assert_eq!(reply.topic, "$iothub/twin/res/204/?$rid=5&$version=3");
    for payload in ["{", "[]", r#"{"":1}"#] {
        let whats = hear(&mut azure, topic, payload);
        let [What::Reply(reply)] = whats.as_slice() else { panic!("{payload}") };
        assert_eq!(reply.topic, "$iothub/twin/res/400/?$rid=5");
    }
}

#[test]
fn a_device_that_asks_gets_its_twin_and_then_hears_of_changes_only() {
    let mut azure = Azure::default();
    let whats = hear(&mut azure, "$iothub/twin/GET/?$rid=ab-1", "");
    let request = TwinRequest { correlation: Some("ab-1".to_owned()), ..TwinRequest::default() };
    assert_eq!(whats, [What::AsksTwin(request.clone())]);
    let (reported, desired) =
        (map(json!({"fw": "1"})), map(json!({"rate": 5, "led": {"r": 1, "g": 2}, "x": 1})));
    let twin = Twin { reported: &reported, desired: &desired, version: 7, now: 0 };
    let answers = azure.twin(None, twin, &TwinReason::Asked(request));
    let both = json!({
        "desired": {"rate": 5, "led": {"r": 1, "g": 2}, "x": 1, "$version": 7},
        "reported": {"fw": "1", "$version": 1},
    });
    says(&answers[0], "$iothub/twin/res/200/?$rid=ab-1", both);
    assert_eq!(azure.twin(None, twin, &TwinReason::Changed), []);
    let desired = map(json!({"rate": 6, "led": {"r": 1, "g": 3}}));
    let twin = Twin { reported: &reported, desired: &desired, version: 8, now: 0 };
    let change = azure.twin(None, twin, &TwinReason::Changed);
    let patch = json!({"rate": 6, "led": {"g": 3}, "x": null, "$version": 8});
    says(&change[0], "$iothub/twin/PATCH/properties/desired/?$version=8", patch);
    // To whom nothing was told yet, everything is.
    let all = Azure::default().twin(None, twin, &TwinReason::Changed);
    let everything = json!({"rate": 6, "led": {"r": 1, "g": 3}, "$version": 8});
    says(&all[0], "$iothub/twin/PATCH/properties/desired/?$version=8", everything);
}

#[test]
fn a_command_is_a_direct_method_and_its_status_decides() {
    let mut azure = Azure::default();
    let params = json!({"seconds": 3});
    let wording = azure.command(None, Command { id: "c-7", name: "reboot", params: &params }).unwrap();
    assert_eq!(wording.answer, Awaited::Answer);
    says(&wording.messages[0], "$iothub/methods/POST/reboot/?$rid=c-7", params.clone());
    for name in ["", "a/b", "a+", "#", "a?b"] {
        assert!(azure.command(None, Command { id: "c", name, params: &params }).is_err(), "{name}");
    }
    let mut check = |status: &str, payload: &str, outcome: Result<Json, &str>| {
        let topic = format!("$iothub/methods/res/{status}/?$rid=c-7");
        let outcome = outcome.map_err(str::to_owned);
        let answer = Answer { id: Some("c-7".to_owned()), name: None, outcome };
        assert_eq!(hear(&mut azure, &topic, payload), [What::Answer(answer)]);
    };
    check("200", r#"{"done":true}"#, Ok(json!({"done": true})));
    check("204", "", Ok(Json::Null));
    check("404", r#""no such method""#, Err("404 no such method"));
    check("500", r#"{"why":"hot"}"#, Err(r#"500 {"why":"hot"}"#));
    check("500", "hot", Err("500 hot"));
    assert_eq!(hear(&mut azure, "$iothub/methods/res/x/?$rid=1", ""), []);
}

#[test]
fn a_message_from_the_cloud_has_its_properties_in_the_topic() {
    let mut azure = Azure::default();
    let params = json!("wake up");
    let command = Command { id: "c-7", name: "devicebound", params: &params };
    assert!(azure.command(None, command).is_err());
    hear(&mut azure, "devices/pump/messages/events/", r#"{"a":1}"#);
    let wording = azure.command(None, command).unwrap();
    assert_eq!(wording.answer, Awaited::Nothing);
    assert_eq!(
        wording.messages[0].topic,
        "devices/pump/messages/devicebound/%24.to=%2Fdevices%2Fpump%2Fmessages%2Fdevicebound&%24.mid=c-7"
    );
    assert_eq!(wording.messages[0].payload, b"wake up");
    let params = json!({"a": 1});
    let wording = azure.command(None, Command { id: "c-8", name: "devicebound", params: &params }).unwrap();
    assert!(wording.messages[0].topic.ends_with("&%24.ct=application%2Fjson&%24.ce=utf-8"));
}

#[test]
fn other_topics_are_left_alone() {
    let mut azure = Azure::default();
    for topic in [
        "devices/pump/telemetry",
        "devices/pump/messages/devicebound/",
        "devices//messages/events/",
        "plant/temp",
        "$iothub/twin/GET/",
        "$iothub/twin/GET/?$rid=a%2Fb",
        "$iothub/twin/res/200/?$rid=1",
        "$iothub/methods/POST/x/?$rid=1",
    ] {
        assert_eq!(hear(&mut azure, topic, "{}"), [], "{topic}");
    }
}

#[test]
fn a_bag_is_decoded_and_never_wrongly() {
    let check =
        |bag: &str, expected: Option<&str>| assert_eq!(property(bag, "a").as_deref(), expected, "{bag}");
    check("", None);
    check("a=1", Some("1"));
    check("?b=2&a=%C3%A4%20x", Some("ä x"));
    check("%61=1", Some("1"));
    check("a=%", Some("%"));
    check("a=%+1", Some("%+1"));
    check("a=%ff", Some("\u{fffd}"));
    check("a", None);
    assert_eq!(encoded("/a b"), "%2Fa%20b");
}
