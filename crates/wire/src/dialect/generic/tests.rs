use super::*;

fn open(dialect: Value) -> Result<Generic, String> {
    Generic::new(&Map::from_iter([("dialect".to_owned(), dialect), ("device".to_owned(), json!("hub1"))]))
}

fn points(dialect: &mut Generic, topic: &str, payload: &str) -> Vec<(String, String, Option<i64>)> {
    let said = dialect.hear(topic, payload.as_bytes(), 0).unwrap();
    let points = said.iter().flat_map(|said| match &said.what {
        What::Readings(points) => points.clone(),
        other => panic!("{other:?}"),
    });
    points.map(|point| (point.key.to_string(), format!("{:?}", point.value), point.ts)).collect()
}

#[test]
fn values_are_found_by_pointer_expression_and_topic() {
    let mut dialect = open(json!({ "name": "generic", "readings": [
        { "topic": "m/{device}/state", "time": "/at", "values": {
            "power": "/emeter/0/power", "relay": { "regex": "\"relay\":\"(on|off)\"" }, "none": "/none" } },
        { "topic": "s/{device}/{key}" },
        { "topic": "t/{device}", "key": "temp" },
        { "topic": "j/{device}" },
    ]}))
    .unwrap();
    let state = r#"{"emeter":[{"power":21.5}],"relay":"on","at":1795269297}"#;
    let at = Some(1_795_269_297_000);
    assert_eq!(
        points(&mut dialect, "m/a/state", state),
        [
            ("power".to_owned(), "Number(21.5)".to_owned(), at),
            ("relay".to_owned(), "Text(\"on\")".to_owned(), at)
        ]
    );
    for (payload, value) in [("21", "Integer(21)"), ("ON", "Text(\"ON\")"), ("\"x\"", "Text(\"x\")")] {
        assert_eq!(points(&mut dialect, "s/a/mode", payload), [("mode".to_owned(), value.to_owned(), None)]);
    }
    assert_eq!(points(&mut dialect, "t/a", "5")[0].0, "temp");
    assert_eq!(points(&mut dialect, "j/a", r#"{"x":{"y":1}}"#)[0].0, "x.y");
    assert_eq!(points(&mut dialect, "elsewhere", "{"), []);
    assert!(dialect.hear("m/a/state", b"{", 0).is_err());
    assert!(dialect.hear("s/a/mode", b"{}", 0).is_err());
}

#[test]
fn a_command_takes_the_first_words_that_fit() {
    let mut dialect = open(json!({ "name": "generic", "commands": [
        { "name": "switch", "topic": "m/{device}/set", "payload": "{\"on\":{params.on}}" },
        { "topic": "m/{device}/cmd/{name}", "payload": "{params}", "retain": true },
    ], "answers": [{ "topic": "m/{device}/ack/{id}", "error": "/error", "result": "/value" }]}))
    .unwrap();
    let params = json!({ "on": true });
    let mut word =
        |device, name| dialect.command(device, Command { id: "c1", name, params: &params }).unwrap();
    let switch = word(None, "switch");
    assert_eq!(
        (&*switch.messages[0].topic, &*switch.messages[0].payload),
        ("m/hub1/set", &b"{\"on\":true}"[..])
    );
    assert_eq!(switch.answer, Awaited::Answer);
    let other = word(Some("lamp"), "dim");
    assert_eq!((&*other.messages[0].topic, other.messages[0].retain), ("m/lamp/cmd/dim", true));
    let said = dialect.hear("m/lamp/ack/c1", br#"{"value":5}"#, 0).unwrap();
    let answer = Answer { id: Some("c1".to_owned()), name: None, outcome: Ok(json!(5)) };
    assert_eq!(said, [Said { about: About::Named("lamp".into()), what: What::Answer(answer) }]);
    let said = dialect.hear("m/lamp/ack/c1", br#"{"error":"stuck"}"#, 0).unwrap();
    assert!(matches!(&said[0].what, What::Answer(Answer { outcome: Err(error), .. }) if error == "stuck"));
}

#[test]
fn without_words_a_command_waits_and_without_fitting_ones_it_fails() {
    let params = json!({});
    let command = Command { id: "c1", name: "dim", params: &params };
    assert_eq!(open(json!("generic")).unwrap().command(None, command).unwrap().messages, []);
    let one = json!({ "name": "generic", "commands": [{ "name": "switch", "topic": "a", "payload": "b" }] });
    let why = open(one).unwrap().command(None, command).unwrap_err();
    assert_eq!(why.to_string(), "the profile has words for switch only");
    let bad = json!({ "name": "generic", "commands": [{ "topic": "a/{name}/+", "payload": "" }] });
    assert!(open(bad).unwrap().command(None, command).is_err());
}

#[test]
fn presence_and_state_have_topics_of_their_own() {
    let mut dialect = open(json!({ "name": "generic",
        "presence": [{ "topic": "m/{device}/lwt", "online": "1", "offline": "0" }],
        "reported": [{ "topic": "m/{device}/info" }] }))
    .unwrap();
    let mut hear = |topic: &'static str, payload: &'static str| {
        dialect
            .hear(topic, payload.as_bytes(), 0)
            .unwrap()
            .into_iter()
            .map(|said| said.what)
            .collect::<Vec<_>>()
    };
    assert_eq!(hear("m/a/lwt", "1"), [What::Presence(Presence::Online)]);
    assert_eq!(hear("m/a/lwt", "0"), [What::Presence(Presence::Offline)]);
    assert_eq!(hear("m/a/lwt", "?"), []);
    assert_eq!(
        hear("m/a/info", r#"{"fw":"1"}"#),
        [What::Reported(Map::from_iter([("fw".to_owned(), json!("1"))]))]
    );
}

#[test]
fn a_configuration_that_cannot_be_says_which_rule_and_why() {
    for (dialect, why) in [
        (json!({ "readings": [{ "topic": "a/{device}" }, { "topic": "a/{x}" }] }), "readings[1]"),
        (json!({ "readings": [{ "topic": "a", "values": { "t": "env/temp" } }] }), "begins with `/`"),
        (json!({ "readings": [{ "topic": "a", "values": { "t": { "regex": "(" } } }] }), "readings[0]"),
        (json!({ "readings": [{ "topic": "a", "values": {} }] }), "1 to 100"),
        (json!({ "readings": [{ "topic": "a", "time": "/ts" }] }), "`time` goes with `values`"),
        (json!({ "readings": [{ "topic": "a", "colour": 1 }] }), "colour"),
        (json!({ "commands": [{ "topic": "a" }] }), "payload"),
        (json!({ "reading": [] }), "reading"),
    ] {
        let error = open(dialect.clone()).unwrap_err();
        assert!(error.contains(why), "{dialect}: {error}");
    }
}

#[test]
fn j_29_an_expression_that_others_choke_on_is_tried_in_linear_time() {
    let mut dialect = open(json!({ "name": "generic", "readings": [
        { "topic": "a", "values": { "n": { "regex": "(a+)+$" }, "m": { "regex": "^(([a-z])+.)+[A-Z]([a-z])+$" } } },
    ]}))
    .unwrap();
    let text = format!("{}!", "a".repeat(10_000));
    assert_eq!(points(&mut dialect, "a", &text), []);
}

#[test]
fn j_29_the_work_that_expressions_make_of_one_message_is_bounded() {
    // Each state of it may be alive at each letter.
    let heavy = json!({ "regex": "(?:a?){1000}(x)" });
    let rule = json!({ "topic": "a", "values": { "one": heavy, "two": { "regex": "b=(1)" } } });
    let mut dialect = open(json!({ "name": "generic", "readings": [rule] })).unwrap();
    assert_eq!(points(&mut dialect, "a", "aaax b=1").len(), 2);
    let long = "a".repeat(1_000_000);
    let unread = dialect.hear("a", long.as_bytes(), 0).unwrap_err();
    assert!(unread.0.contains("too long for the regular expressions"), "{unread:?}");
    // Many cheap ones are as much as one dear one, over all rules that fit.
    let values: Map<String, Value> =
        (0..100).map(|n| (format!("k{n}"), json!({ "regex": "k=(1)" }))).collect();
    let rule = json!({ "topic": "#", "values": values });
    let mut many = open(json!({ "name": "generic", "readings": vec![rule; 100] })).unwrap();
    assert_eq!(points(&mut many, "a", "k=1").len(), 10_000);
    assert!(many.hear("a", &long.as_bytes()[..1_000], 0).is_err());
}

#[test]
fn j_29_an_expression_that_becomes_too_large_is_refused() {
    for (expression, reason) in [("(?:a{1000}){1000}", "size"), (&*"a".repeat(1_025), "at most 1024 bytes")] {
        let rule = json!({ "topic": "a", "values": { "t": { "regex": expression } } });
        let error = open(json!({ "name": "generic", "readings": [rule] })).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
}
