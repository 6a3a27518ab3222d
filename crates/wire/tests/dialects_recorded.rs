//! What the libraries of three clouds write: sessions recorded from tb-mqtt-client 1.13.14 (as a gateway),
//! AWSIoTPythonSDK 1.6.2 and azure-iot-device 2.14.0, a line for each message with a tab behind the topic.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use roost_wire::dialect::{About, Presence, Said, What, open};
use roost_wire::telemetry::Point;
use serde_json::{Map, Value as Json};

const NOW: i64 = 1_795_269_864_000;

#[track_caller]
fn check(family: &str, session: &str, expected: &[&str]) {
    let mut dialect = open(family, &Map::new()).unwrap().unwrap();
    let mut heard = Vec::new();
    for (topic, payload) in session.lines().filter_map(|line| line.split_once('\t')) {
        let said = dialect.hear(topic, payload.trim().as_bytes(), NOW);
        heard.extend(said.unwrap_or_else(|unread| panic!("{topic}: {unread}")).into_iter().map(show));
    }
    assert_eq!(heard, expected);
}

fn show(said: Said<'_>) -> String {
    let about = match &said.about {
        About::Connection => "-",
        About::Named(name) => name,
    };
    let what = match said.what {
        What::Readings(points) => {
            points.iter().map(|point: &Point<'_>| &*point.key).collect::<Vec<_>>().join(" ")
        }
        What::Reported(members) => format!("reported {}", Json::Object(members)),
        What::Desired(members) => format!("desired {}", Json::Object(members)),
        What::Event { name, payload } => format!("event {name} {}", String::from_utf8_lossy(&payload)),
        What::Answer(answer) => format!("answer {:?}", answer.outcome.map(|result| result.to_string())),
        What::Presence(Presence::Online) => "online".to_owned(),
        What::Presence(Presence::Offline) => "offline".to_owned(),
        What::Description(description) => format!("is {}", description.name.unwrap_or_default()),
        What::AsksTwin(_) => "asks for the twin".to_owned(),
        What::Reply(reply) => format!("is told on {}", reply.topic),
        What::Stale(_) => "stale".to_owned(),
    };
    format!("{about}: {what}")
}

#[test]
fn a_gateway_of_thingsboards_library_is_understood() {
    check(
        "thingsboard",
        include_str!("dialects/recorded/thingsboard.tsv"),
        &[
            "-: is told on v1/devices/me/rpc/response/1",
            "-: temperature online note nested.a",
            "-: temperature temperature",
            r#"-: reported {"cfg":{"rate":5},"fw":"1.2"}"#,
            "Cellar 1: is Cellar 1",
            "Cellar 1: online",
            "Cellar 1: t",
            "Cellar 1: t",
            r#"Cellar 1: reported {"fw":"3"}"#,
            "Cellar 1: asks for the twin",
            "Cellar 1: asks for the twin",
            "-: asks for the twin",
            r#"Cellar 1: answer Ok("{\"done\":true}")"#,
            "Cellar 1: offline",
        ],
    );
}

#[test]
fn a_thing_of_awss_library_is_understood() {
    check(
        "aws",
        include_str!("dialects/recorded/aws.tsv"),
        &[
            "pump: asks for the twin",
            "pump: asks for the twin",
            r#"pump: reported {"led":"off","temp":20.5}"#,
            "pump: led temp",
            "pump: is told on $aws/things/pump/shadow/update/accepted",
            "pump: asks for the twin",
            "pump: asks for the twin",
            "pump: asks for the twin",
            r#"pump: reported {"led":"on"}"#,
            "pump: led",
            "pump: is told on $aws/things/pump/shadow/update/accepted",
            "pump: asks for the twin",
            "pump: asks for the twin",
            "pump: is told on $aws/things/pump/shadow/delete/rejected",
        ],
    );
}

#[test]
fn a_device_of_azures_library_is_understood() {
    check(
        "azure",
        include_str!("dialects/recorded/azure.tsv"),
        &[
            "-: temp",
            "-: plain",
            "-: event message hello",
            "-: asks for the twin",
            r#"-: reported {"fw":"1.2","nested":{"a":1}}"#,
            "-: fw nested.a",
            "-: is told on $iothub/twin/res/204/?$rid=3dd4442f-a57e-4b4f-b8a2-95abf049137f&$version=2",
            r#"-: answer Ok("{\"done\":true}")"#,
        ],
    );
}
