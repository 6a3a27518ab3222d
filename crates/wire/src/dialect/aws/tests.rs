use serde_json::{Map, Value as Json, json};

use super::Aws;
use crate::dialect::{About, Awaited, Command, Dialect, Outgoing, Said, Twin, TwinReason, TwinRequest, What};
use crate::telemetry::Value;

const NOW: i64 = 1_795_269_864_000;
const SECONDS: i64 = 1_795_269_864;

fn map(json: Json) -> Map<String, Json> {
    json.as_object().unwrap().clone()
}

fn replies(said: &[Said<'_>]) -> Vec<(String, Json)> {
    let of = |said: &Said<'_>| match &said.what {
        What::Reply(reply) => Some(read(reply)),
        _ => None,
    };
    said.iter().filter_map(of).collect()
}

fn read(reply: &Outgoing) -> (String, Json) {
    assert!(!reply.retain);
    (reply.topic.clone(), serde_json::from_slice(&reply.payload).unwrap())
}

fn reported<'a>(said: &'a [Said<'_>]) -> Option<&'a Map<String, Json>> {
    said.iter().find_map(|said| match &said.what {
        What::Reported(patch) => Some(patch),
        _ => None,
    })
}

fn readings(said: &[Said<'_>]) -> Vec<(String, Value<'static>)> {
    let mut found = Vec::new();
    for said in said {
        if let What::Readings(points) = &said.what {
            let own = points.iter().map(|point| (point.key.to_string(), point.value.clone().into_owned()));
            found.extend(own);
        }
    }
    found
}

#[test]
fn what_a_thing_reports_is_its_twin_and_its_readings_and_is_accepted() {
    let mut aws = Aws::default();
    let payload = br#"{"state":{"reported":{"temp":21.5,"led":{"on":true}}},"clientToken":"t-1"}"#;
    let said = aws.hear("$aws/things/pump/shadow/update", payload, NOW).unwrap();
    assert!(said.iter().all(|said| said.about == About::Named("pump".into())));
    assert_eq!(reported(&said), Some(&map(json!({"temp": 21.5, "led": {"on": true}}))));
    let expected = [("led.on", Value::Boolean(true)), ("temp", Value::Number(21.5))];
    assert_eq!(readings(&said), expected.map(|(key, value)| (key.to_owned(), value)));
    let time = json!({"timestamp": SECONDS});
    let accepted = json!({
        "state": {"reported": {"temp": 21.5, "led": {"on": true}}},
        "metadata": {"reported": {"temp": time, "led": {"on": time}}},
        "version": SECONDS, "timestamp": SECONDS, "clientToken": "t-1",
    });
    assert_eq!(replies(&said), [("$aws/things/pump/shadow/update/accepted".to_owned(), accepted)]);
}

#[test]
fn a_shadow_with_a_name_has_its_own_place_in_the_twin() {
    let mut aws = Aws::default();
    let said = aws
        .hear("$aws/things/pump/shadow/name/net/update", br#"{"state":{"reported":{"rssi":-70}}}"#, NOW)
        .unwrap();
    assert_eq!(reported(&said), Some(&map(json!({"shadows": {"net": {"rssi": -70}}}))));
    assert_eq!(readings(&said), [("net.rssi".to_owned(), Value::Integer(-70))]);
    assert_eq!(replies(&said)[0].0, "$aws/things/pump/shadow/name/net/update/accepted");

    let said = aws.hear("$aws/things/pump/shadow/name/net/delete", b"", NOW).unwrap();
    assert_eq!(reported(&said), Some(&map(json!({"shadows": {"net": null}}))));
    assert!(said.iter().any(|said| said.what == What::Desired(map(json!({"shadows": {"net": null}})))));
    assert_eq!(replies(&said)[0].0, "$aws/things/pump/shadow/name/net/delete/accepted");
}

#[test]
fn a_delta_of_a_server_that_has_heard_nothing_yet_has_a_version_of_its_clock() {
    let mut aws = Aws::default();
    let (reported, desired) = (map(json!({})), map(json!({"on": true})));
    let twin = Twin { reported: &reported, desired: &desired, version: 1, now: NOW };
    let (_, document) = read(&aws.twin(Some("pump"), twin, &TwinReason::Changed)[0]);
    assert_eq!((&document["version"], &document["timestamp"]), (&json!(NOW / 1_000), &json!(NOW / 1_000)));
}

#[test]
fn a_version_that_is_not_the_current_one_is_a_conflict() {
    let mut aws = Aws::default();
    let topic = "$aws/things/pump/shadow/update";
    let first = aws.hear(topic, br#"{"state":{"reported":{"a":1}},"version":5}"#, NOW).unwrap();
    let version = replies(&first)[0].1["version"].as_i64().unwrap();
    let with = |version: i64| format!(r#"{{"state":{{"reported":{{"a":2}}}},"version":{version}}}"#);
    let right = with(version);
    let second = aws.hear(topic, right.as_bytes(), NOW).unwrap();
    assert_eq!(replies(&second)[0].1["version"], json!(version + 1));
    let third = aws.hear(topic, right.as_bytes(), NOW).unwrap();
    let (topic, refusal) = &replies(&third)[0];
    assert_eq!(topic, "$aws/things/pump/shadow/update/rejected");
    assert_eq!((&refusal["code"], &refusal["message"]), (&json!(409), &json!("Version conflict")));
    assert_eq!(reported(&third), None);
}

#[test]
fn what_cannot_be_taken_is_rejected_in_the_services_words() {
    let check = |topic: &str, payload: &str, code: u16| {
        let mut aws = Aws::default();
        let said = aws.hear(topic, payload.as_bytes(), NOW).unwrap();
        let (answer, refusal) = replies(&said).remove(0);
        assert_eq!((answer, &refusal["code"]), (format!("{topic}/rejected"), &json!(code)), "{payload}");
        assert_eq!((said.len(), refusal["timestamp"].as_i64()), (1, Some(SECONDS)));
    };
    let update = "$aws/things/pump/shadow/update";
    check(update, "{", 400);
    check(update, "[]", 400);
    check(update, "{}", 400);
    check(update, r#"{"state":{"reported":1}}"#, 400);
    check(update, r#"{"state":{"reported":null}}"#, 400);
    check(update, r#"{"state":{"reported":{"":1}}}"#, 400);
    check(update, r#"{"state":{"desired":null}}"#, 400);
    check(update, r#"{"state":{"reported":{"shadows":{}}}}"#, 400);
    check("$aws/things/pump/shadow/delete", "", 403);
}

#[test]
fn a_thing_may_wish_something_of_itself() {
    let mut aws = Aws::default();
    let payload = br#"{"state":{"reported":{"on":true},"desired":{"on":true}}}"#;
    let said = aws.hear("$aws/things/pump/shadow/update", payload, NOW).unwrap();
    assert!(said.iter().any(|said| said.what == What::Desired(map(json!({"on": true})))));
    let asks_delta = |said: &Said<'_>| match &said.what {
        What::AsksTwin(request) => request.correlation.as_ref().is_some_and(|text| text.starts_with('+')),
        _ => false,
    };
    assert!(!said.iter().any(asks_delta), "the change is told of by itself");
    let state = json!({"reported": {"on": true}, "desired": {"on": true}});
    assert_eq!(replies(&said)[0].1["state"], state);
}

#[test]
fn after_an_update_the_thing_is_told_what_still_differs() {
    let mut aws = Aws::default();
    let payload = br#"{"state":{"reported":{"on":false}},"clientToken":"t"}"#;
    let said = aws.hear("$aws/things/pump/shadow/update", payload, NOW).unwrap();
    let Some(What::AsksTwin(request)) = said.last().map(|said| said.what.clone()) else { panic!() };
    let (reported, desired) = (map(json!({"on": false})), map(json!({"on": true})));
    let twin = Twin { reported: &reported, desired: &desired, version: 1, now: 0 };
    let (topic, document) = read(&aws.twin(None, twin, &TwinReason::Asked(request.clone()))[0]);
    assert_eq!(topic, "$aws/things/pump/shadow/update/delta");
    assert_eq!((&document["state"], &document["clientToken"]), (&json!({"on": true}), &json!("t")));
    let twin = Twin { reported: &desired, ..twin };
    assert_eq!(aws.twin(None, twin, &TwinReason::Asked(request)), []);
}

/// Hears an update, and answers what it asks of the twin as it is before and after it.
fn documents(aws: &mut Aws, topic: &str, payload: &Json, sides: [(&Json, &Json); 2]) -> Json {
    let payload = payload.to_string();
    let said = aws.hear(topic, payload.as_bytes(), NOW).unwrap();
    let asks = |(at, said): (usize, &Said<'_>)| match &said.what {
        What::AsksTwin(request) => Some((at, request.clone())),
        _ => None,
    };
    let asked: Vec<_> = said.iter().enumerate().filter_map(asks).collect();
    let changed = said.iter().position(|said| matches!(said.what, What::Reported(_) | What::Desired(_)));
    assert!(asked[0].0 < changed.unwrap() && asked[1].0 > changed.unwrap());
    let mut told = Vec::new();
    for ((_, request), (reported, desired)) in asked.into_iter().zip(sides) {
        let (reported, desired) = (map(reported.clone()), map(desired.clone()));
        let twin = Twin { reported: &reported, desired: &desired, version: 1, now: 0 };
        told.extend(aws.twin(None, twin, &TwinReason::Asked(request)));
    }
    let [told] = told.as_slice() else { panic!("{told:?}") };
    let (told_at, document) = read(told);
    assert_eq!(told_at, format!("{topic}/documents"));
    document
}

#[test]
fn an_update_is_told_of_with_what_was_before_and_is_after_it() {
    let mut aws = Aws::default();
    let topic = "$aws/things/pump/shadow/update";
    let (none, one, two) = (json!({}), json!({"a": 1}), json!({"a": 2, "shadows": {"net": {"b": 1}}}));
    let first = json!({"state": {"reported": {"a": 1}}, "clientToken": "t"});
    let document = documents(&mut aws, topic, &first, [(&none, &none), (&one, &none)]);
    let time = json!({"timestamp": SECONDS});
    assert_eq!(document["previous"], json!({"state": {}, "metadata": {}}));
    let current =
        json!({"state": {"reported": {"a": 1}}, "metadata": {"reported": {"a": time}}, "version": SECONDS});
    assert_eq!(document["current"], current);
    assert_eq!((&document["clientToken"], &document["timestamp"]), (&json!("t"), &json!(SECONDS)));
    let second = json!({"state": {"desired": {"a": 2}}});
    let document = documents(&mut aws, topic, &second, [(&one, &none), (&one, &two)]);
    assert_eq!(document["previous"], current);
    assert_eq!(document["current"]["state"], json!({"reported": {"a": 1}, "desired": {"a": 2}}));
    assert_eq!(document["current"]["version"], json!(SECONDS + 1));
    let named = "$aws/things/pump/shadow/name/net/update";
    let update = json!({"state": {"reported": {"b": 1}}});
    let document = documents(&mut aws, named, &update, [(&none, &none), (&two, &none)]);
    assert_eq!(document["current"]["state"], json!({"reported": {"b": 1}}));
}

fn ask(aws: &mut Aws, topic: &str, payload: &[u8]) -> TwinRequest {
    let said = aws.hear(topic, payload, NOW).unwrap();
    let [Said { what: What::AsksTwin(request), .. }] = said.as_slice() else { panic!("{said:?}") };
    request.clone()
}

#[test]
fn a_thing_that_asks_gets_the_twin_and_what_differs() {
    let mut aws = Aws::default();
    let request = ask(&mut aws, "$aws/things/pump/shadow/get", br#"{"clientToken":"a\nb"}"#);
    let reported = map(json!({"on": false, "rate": 5, "shadows": {"net": {"x": 1}}}));
    let desired = map(json!({"on": true, "rate": 5}));
    let twin = Twin { reported: &reported, desired: &desired, version: 3, now: 0 };
    let answers = aws.twin(Some("pump"), twin, &TwinReason::Asked(request));
    let (topic, document) = read(&answers[0]);
    assert_eq!(topic, "$aws/things/pump/shadow/get/accepted");
    let state = json!({
        "desired": {"on": true, "rate": 5}, "reported": {"on": false, "rate": 5}, "delta": {"on": true},
    });
    assert_eq!((&document["state"], &document["clientToken"]), (&state, &json!("a\nb")));
    assert!(document["version"].as_i64().unwrap() >= SECONDS);

    let request = ask(&mut aws, "$aws/things/pump/shadow/name/net/get", b"");
    let (topic, document) = read(&aws.twin(None, twin, &TwinReason::Asked(request))[0]);
    assert_eq!(topic, "$aws/things/pump/shadow/name/net/get/accepted");
    assert_eq!(document["state"], json!({"reported": {"x": 1}}));

    let request = ask(&mut aws, "$aws/things/pump/shadow/name/other/get", b"");
    let (topic, document) = read(&aws.twin(None, twin, &TwinReason::Asked(request))[0]);
    assert_eq!(topic, "$aws/things/pump/shadow/name/other/get/rejected");
    assert_eq!(document["code"], json!(404));
}

#[test]
fn a_wish_goes_out_as_the_difference_with_a_version_that_grows() {
    let mut aws = Aws::default();
    ask(&mut aws, "$aws/things/pump/shadow/get", b"");
    let reported = map(json!({"on": true, "led": {"r": 1, "g": 2}}));
    let desired = map(json!({"on": true, "led": {"r": 1, "g": 3}, "new": [1], "shadows": {"net": {"x": 1}}}));
    let twin = Twin { reported: &reported, desired: &desired, version: 4, now: 0 };
    let said: Vec<_> = aws.twin(None, twin, &TwinReason::Changed).iter().map(read).collect();
    let topics: Vec<_> = said.iter().map(|(topic, _)| topic.as_str()).collect();
    assert_eq!(
        topics,
        ["$aws/things/pump/shadow/update/delta", "$aws/things/pump/shadow/name/net/update/delta"]
    );
    assert_eq!(said[0].1["state"], json!({"led": {"g": 3}, "new": [1]}));
    let time = json!({"timestamp": SECONDS});
    assert_eq!(said[0].1["metadata"], json!({"led": {"g": time}, "new": [time]}));
    assert_eq!(said[1].1["state"], json!({"x": 1}));
    let again = read(&aws.twin(None, twin, &TwinReason::Changed)[0]).1;
    assert!(again["version"].as_i64() > said[0].1["version"].as_i64());

    let twin = Twin { reported: &reported, desired: &reported, version: 5, now: 0 };
    assert_eq!(aws.twin(None, twin, &TwinReason::Changed), []);
    assert_eq!(Aws::default().twin(None, twin, &TwinReason::Changed), []);
}

#[test]
fn a_command_is_an_execution_and_its_response_the_answer() {
    let mut aws = Aws::default();
    let params = json!({"level": 3});
    let command = Command { id: "c-7", name: "dim", params: &params };
    assert!(aws.command(None, command).is_err());
    let wording = aws.command(Some("pump"), command).unwrap();
    assert_eq!(wording.answer, Awaited::Answer);
    let (topic, payload) = read(&wording.messages[0]);
    assert_eq!(topic, "$aws/commands/things/pump/executions/c-7/request/json");
    assert_eq!(payload, json!({"name": "dim", "params": {"level": 3}}));

    let topic = "$aws/commands/things/pump/executions/c-7/response/json";
    let mut check = |payload: &str, outcome: Option<Result<Json, &str>>| {
        let said = aws.hear(topic, payload.as_bytes(), NOW).unwrap();
        let answer = said.iter().find_map(|said| match &said.what {
            What::Answer(answer) => Some(answer.clone()),
            _ => None,
        });
        assert!(answer.iter().all(|answer| answer.id.as_deref() == Some("c-7")));
        let outcome = outcome.map(|outcome| outcome.map_err(str::to_owned));
        assert_eq!(answer.map(|answer| answer.outcome), outcome, "{payload}");
    };
    check(r#"{"status":"IN_PROGRESS"}"#, None);
    check(r#"{"status":"SUCCEEDED","result":{"level":{"s":"3"}}}"#, Some(Ok(json!({"level": {"s": "3"}}))));
    check(r#"{"status":"SUCCEEDED"}"#, Some(Ok(json!(null))));
    let failed = r#"{"status":"FAILED","statusReason":{"reasonCode":"65","reasonDescription":"jammed"}}"#;
    check(failed, Some(Err("jammed")));
    check(r#"{"status":"REJECTED"}"#, Some(Err("REJECTED")));
    assert!(Aws::default().hear(topic, b"{}", NOW).is_err());
}

#[test]
fn there_are_no_jobs_and_that_is_said() {
    let check = |rest: &str, verdict: &str, body: Json| {
        let topic = format!("$aws/things/pump/jobs/{rest}");
        let mut aws = Aws::default();
        let said = aws.hear(&topic, br#"{"clientToken":"t"}"#, NOW).unwrap();
        assert_eq!(replies(&said), [(format!("{topic}/{verdict}"), body)]);
    };
    let time = SECONDS;
    check(
        "get",
        "accepted",
        json!({"inProgressJobs": [], "queuedJobs": [], "timestamp": time, "clientToken": "t"}),
    );
    check("start-next", "accepted", json!({"timestamp": time, "clientToken": "t"}));
    check("$next/get", "accepted", json!({"timestamp": time, "clientToken": "t"}));
    check(
        "j-1/update",
        "rejected",
        json!({"code": "ResourceNotFound", "message": "there are no jobs here", "timestamp": time, "clientToken": "t"}),
    );
}

#[test]
fn other_topics_are_left_alone() {
    let mut aws = Aws::default();
    for topic in [
        "dt/pump/temp",
        "$aws/rules/store/temp",
        "$aws/things/pump/shadow/update/accepted",
        "$aws/things/pump/shadow/name/a b/update",
        "$aws/things/pump/shadow/name//update",
        "$aws/things//shadow/update",
        "$aws/things/pump/jobs/notify-next",
        "$aws/things/pump/defender/metrics/json",
        "$aws/commands/things/pump/executions/a/b/response/json",
    ] {
        assert_eq!(aws.hear(topic, b"{}", NOW), Ok(Vec::new()), "{topic}");
    }
}

#[test]
fn versions_are_remembered_of_a_bounded_number_of_shadows() {
    let mut aws = Aws::default();
    for shadow in 0..=super::VERSIONS_MAX {
        let topic = format!("$aws/things/pump/shadow/name/s{shadow}/update");
        aws.hear(&topic, br#"{"state":{"reported":{"a":1}}}"#, NOW).unwrap();
    }
    assert!(aws.versions.len() <= super::VERSIONS_MAX);
}
