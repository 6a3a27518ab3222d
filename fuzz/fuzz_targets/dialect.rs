//! No family panics, whatever is said to it in whatever order, and what it words is a topic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roost_wire::dialect::{Command, Outgoing, SPOKEN, Twin, TwinReason, What, open};
use serde_json::{Map, Value, json};

// The first byte is the family; lines of topic, tab, payload follow. A line without a tab is the name
// of a command, for the device of that name and for the connection's own.
fuzz_target!(|input: &[u8]| {
    let Some((family, lines)) = input.split_first() else { return };
    let Some(name) = SPOKEN.get(usize::from(*family) % SPOKEN.len()) else { return };
    let Some(Ok(mut dialect)) = open(name, &profile()) else { return };
    let params = json!({ "value": 1 });
    let (reported, desired) = (Map::new(), Map::from_iter([("a".to_owned(), json!(1))]));
    let twin = Twin { reported: &reported, desired: &desired, version: 1, now: 0 };
    for line in lines.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b'\t');
        let Ok(first) = std::str::from_utf8(parts.next().unwrap_or_default()) else { continue };
        let Some(payload) = parts.next() else {
            for device in [None, Some(first)] {
                let worded = dialect.command(device, Command { id: "c1", name: first, params: &params });
                worded.into_iter().for_each(|wording| check(&wording.messages));
                check(&dialect.twin(device, twin, &TwinReason::Changed));
            }
            continue;
        };
        for said in dialect.hear(first, payload, 1_795_269_864_000).unwrap_or_default() {
            match said.what {
                What::Readings(points) => assert!(points.iter().all(|point| !point.key.is_empty())),
                What::AsksTwin(request) => check(&dialect.twin(None, twin, &TwinReason::Asked(request))),
                What::Reply(reply) => check(&[reply]),
                _ => {}
            }
        }
    }
});

fn check(messages: &[Outgoing]) {
    assert!(messages.iter().all(|message| !message.topic.is_empty()));
}

fn profile() -> Map<String, Value> {
    let generic = json!({
        "readings": [
            { "topic": "m/{device}/state", "time": "/at", "values": { "p": "/p/0", "r": { "regex": "r=(on|off)" } } },
            { "topic": "s-{device}/{key}.x/#" },
            { "topic": "j/+/{device}" },
        ],
        "reported": [{ "topic": "m/{device}/info" }],
        "presence": [{ "topic": "m/{device}/lwt" }],
        "commands": [{ "topic": "m/{device}/{name}", "payload": "{json:params.value}" }],
        "answers": [{ "topic": "m/{device}/ack/{id}", "error": "/error" }],
    });
    Map::from_iter([("dialect".to_owned(), generic), ("device".to_owned(), json!("hub1"))])
}
