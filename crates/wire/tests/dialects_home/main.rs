//! Families of devices at home, heard and answered: fixtures as their firmware and conventions have them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod esphome;
mod homeassistant;
mod homie;
mod properties;
mod shelly;
mod tasmota;
mod zigbee2mqtt;

use roost_wire::dialect::{
    About, Awaited, Command, Dialect, Outgoing, Said, Twin, TwinReason, What, Wording, open,
};
use roost_wire::telemetry::Value;
use serde_json::{Map, Value as Json};

/// A fixture of a family.
macro_rules! fixture {
    ($path:literal) => {
        include_str!(concat!("../dialects/", $path)).trim_end()
    };
}
pub(crate) use fixture;

const NOW: i64 = 1_795_269_864_000;

/// A family, with what it says in one line for each statement.
struct Family(Box<dyn Dialect>);

impl Family {
    fn new(name: &str) -> Self {
        Self(open(name, &Map::new()).unwrap().unwrap())
    }

    fn hear(&mut self, topic: &str, payload: &str) -> Vec<String> {
        let said = self.0.hear(topic, payload.as_bytes(), NOW);
        said.unwrap_or_else(|unread| panic!("{topic}: {unread}")).into_iter().map(show).collect()
    }

    #[track_caller]
    fn check(&mut self, topic: &str, payload: &str, expected: &[&str]) {
        assert_eq!(self.hear(topic, payload), expected, "{topic} {payload}");
    }

    /// What a recorded session says: a line for each message, topic and payload with a tab between.
    fn session(&mut self, session: &str) -> Vec<String> {
        let messages = session.lines().filter_map(|line| line.split_once('\t'));
        messages.flat_map(|(topic, payload)| self.hear(topic, payload)).collect()
    }

    #[track_caller]
    fn unread(&mut self, topic: &str, payload: &[u8], word: &str) {
        let unread = self.0.hear(topic, payload, NOW).unwrap_err().to_string();
        assert!(unread.contains(word), "{unread}");
    }

    fn word(&mut self, device: Option<&str>, name: &str, params: &Json) -> Result<Wording, String> {
        self.0.command(device, Command { id: "c-1", name, params }).map_err(|unsayable| unsayable.to_string())
    }

    /// Something that will be answered.
    #[track_caller]
    fn asks(&mut self, device: Option<&str>, name: &str, params: Json, expected: (&str, &str)) {
        let wording = self.word(device, name, &params).unwrap();
        assert_eq!(wording.messages.iter().map(shown).collect::<Vec<_>>(), [expected]);
        assert_eq!(wording.answer, Awaited::Answer, "{name}");
    }

    /// Something that is done once it is sent.
    #[track_caller]
    fn tells(&mut self, device: Option<&str>, name: &str, params: Json, expected: (&str, &str)) {
        let wording = self.word(device, name, &params).unwrap();
        assert_eq!(wording.messages.iter().map(shown).collect::<Vec<_>>(), [expected]);
        assert_eq!(wording.answer, Awaited::Nothing, "{name}");
    }

    #[track_caller]
    fn refuses(&mut self, device: Option<&str>, name: &str, params: Json, word: &str) {
        let unsayable = self.word(device, name, &params).unwrap_err();
        assert!(unsayable.contains(word), "{unsayable}");
    }

    fn wish(&mut self, device: Option<&str>, reported: Json, desired: Json) -> Vec<Outgoing> {
        let (Json::Object(reported), Json::Object(desired)) = (reported, desired) else {
            panic!("no objects")
        };
        let twin = Twin { reported: &reported, desired: &desired, version: 1, now: 0 };
        self.0.twin(device, twin, &TwinReason::Changed)
    }
}

fn shown(message: &Outgoing) -> (&str, &str) {
    (&message.topic, std::str::from_utf8(&message.payload).unwrap())
}

fn show(said: Said<'_>) -> String {
    let about = match &said.about {
        About::Connection => "-".to_owned(),
        About::Named(name) => name.clone().into_owned(),
    };
    format!("{about}: {}", show_what(said.what))
}

fn show_what(what: What<'_>) -> String {
    match what {
        What::Readings(points) => {
            let points = points.iter().map(|point| {
                let ts = point.ts.map(|ts| format!("@{ts}")).unwrap_or_default();
                format!("{}={}{ts}", point.key, show_value(&point.value))
            });
            points.collect::<Vec<_>>().join(" ")
        }
        What::Reported(members) => format!("reported {}", Json::Object(members)),
        What::Event { name, payload } => format!("event {name} {}", String::from_utf8_lossy(&payload)),
        What::Answer(answer) => {
            let id = answer.id.or(answer.name).unwrap_or_default();
            match answer.outcome {
                Ok(result) => format!("answer {id} {result}"),
                Err(refusal) => format!("refusal {id} {refusal}"),
            }
        }
        What::Presence(presence) => format!("{presence:?}"),
        What::Stale(keys) => format!("stale {}", keys.join(" ")),
        What::Description(description) => {
            let labels = description.labels.iter().map(|(name, value)| format!("{name}={value}"));
            let keys = description.keys.iter().map(|key| {
                let unit = key.unit.as_ref().map(|unit| format!("[{unit}]")).unwrap_or_default();
                let written = key.written_by.as_ref().map(|by| format!("<-{by}")).unwrap_or_default();
                format!("{}{unit}{written}", key.key)
            });
            let name = description.name.clone().unwrap_or_default();
            let parts = [labels.collect::<Vec<_>>().join(","), keys.collect::<Vec<_>>().join(" ")];
            format!("is {name:?} {}", parts.join(" | "))
        }
        other => panic!("nobody at home says {other:?}"),
    }
}

fn show_value(value: &Value<'_>) -> String {
    match value {
        Value::Number(number) => format!("{number:?}"),
        Value::Integer(number) => number.to_string(),
        Value::Unsigned(number) => number.to_string(),
        Value::Boolean(value) => value.to_string(),
        Value::Text(text) => format!("{text:?}"),
        Value::Gap => "gap".to_owned(),
    }
}
