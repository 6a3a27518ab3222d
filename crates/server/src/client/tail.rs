//! `roost tail`: everything as it happens, or first what was recorded.

use std::io::{self, BufRead as _, Write as _};

use clap::Args;
use serde_json::Value;

use super::output::{Output, cell};
use super::{Connection, encoded};
use crate::cli::Colour;
use crate::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// Only these devices, or `+` for all, or topic filters such as devices/+/telemetry; may be repeated
    #[arg(default_value = "+")]
    devices: Vec<String>,
    /// Only these kinds: telemetry, presence, command, twin, event, log
    #[arg(long, value_delimiter = ',')]
    kinds: Vec<String>,
    /// First what was recorded since: 30s, 10m, 2h or 7d ago, or a time such as 2026-11-21T13:54:57Z
    #[arg(long)]
    since: Option<String>,
}

/// Ends when the server does, or whoever reads.
pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let wanted = Wanted::read(&arguments.devices, &arguments.kinds)?;
    let (connection, mut query) = (arguments.connection, Vec::new());
    if !wanted.devices.is_empty() {
        let names: Vec<String> = wanted.devices.iter().map(|device| encoded(device)).collect();
        query.push(format!("devices={}", names.join(",")));
    }
    if !wanted.kinds.is_empty() {
        query.push(format!("kinds={}", encoded(&wanted.kinds.join(","))));
    }
    if let Some(since) = &arguments.since {
        query.push(format!("since={}", encoded(since)));
    }
    let events = connection.api()?.stream(&format!("/api/v1/live?{}", query.join("&")))?;
    let colour = Colour::of_stdout();
    let mut kind = String::new();
    for line in events.lines() {
        let line = line.map_err(|error| anyhow::anyhow!("the feed broke off: {error}"))?;
        if let Some(name) = line.strip_prefix("event:") {
            kind = name.trim().to_owned();
        } else if let Some(data) = line.strip_prefix("data:") {
            let data: Value = serde_json::from_str(data.trim()).unwrap_or_else(|_no_json| data.into());
            let shown = match connection.output {
                Output::Json => serde_json::json!({ "kind": kind, "data": data }).to_string(),
                Output::Table => row(&kind, &data, colour),
            };
            let mut out = io::stdout().lock();
            writeln!(out, "{shown}")?;
            out.flush()?;
        }
    }
    Err(Failure::Run(anyhow::anyhow!("the server has ended the feed")))
}

/// What to follow; an empty list stands for all.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    devices: Vec<String>,
    kinds: Vec<String>,
}

impl Wanted {
    /// Reads devices and topic filters; the filters name kinds as well.
    fn read(words: &[String], kinds: &[String]) -> Result<Self, Failure> {
        let mut wanted = Self { devices: Vec::new(), kinds: kinds.to_vec() };
        let (mut all_devices, mut all_kinds) = (false, false);
        for word in words {
            let (device, rest) = match word.strip_prefix("devices/") {
                Some(rest) => rest.split_once('/').unwrap_or((rest, "#")),
                None if word.contains('/') => {
                    let text = format!(
                        "{word}: this follows devices, such as devices/+/telemetry; for other topics use an MQTT client with the user property roost-since"
                    );
                    return Err(Failure::Usage(text));
                }
                None => (word.as_str(), "#"),
            };
            match device {
                "+" | "#" => all_devices = true,
                device => wanted.devices.push(device.to_owned()),
            }
            match kind_of(rest) {
                Some("") => all_kinds = true,
                Some(kind) if !wanted.kinds.iter().any(|known| known == kind) && kinds.is_empty() => {
                    wanted.kinds.push(kind.to_owned());
                }
                Some(_) => {}
                None => {
                    let text = format!(
                        "{word}: the topics of a device here are telemetry, events, twin, commands and status"
                    );
                    return Err(Failure::Usage(text));
                }
            }
        }
        if all_devices {
            wanted.devices.clear();
        }
        if all_kinds && kinds.is_empty() {
            wanted.kinds.clear();
        }
        Ok(wanted)
    }
}

/// The kind of event that a device's topic brings, empty for all kinds.
fn kind_of(rest: &str) -> Option<&'static str> {
    Some(match rest.split('/').next().unwrap_or_default() {
        "#" => "",
        "telemetry" => "telemetry",
        "events" => "event",
        "twin" => "twin",
        "commands" => "command",
        "status" => "presence",
        _ => return None,
    })
}

fn row(kind: &str, data: &Value, colour: Colour) -> String {
    let member = |name| data.get(name).map(cell).unwrap_or_default();
    let rest: Vec<String> = match data.get("values").and_then(Value::as_object) {
        Some(values) => values
            .iter()
            .map(|(key, value)| format!("{}={}", cell(&key.as_str().into()), cell(value)))
            .collect(),
        None => {
            let members = data
                .as_object()
                .into_iter()
                .flatten()
                .filter(|(name, _)| !matches!(name.as_str(), "device" | "ts" | "at"));
            members.map(|(name, value)| format!("{name}={}", cell(value))).collect()
        }
    };
    let ts = data.get("ts").and_then(Value::as_i64).map(|ts| roost_hub::time::Timestamp(ts).to_string());
    let time = ts.unwrap_or_else(|| member("at"));
    let device = colour.paint("1", &member("device"));
    format!("{time:24}  {kind:9}  {device}  {}", rest.join(" "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let data = json!({ "device": "pump", "ts": 0, "values": { "temp": 21.5, "on": true } });
        assert_eq!(
            row("telemetry", &data, Colour::Off),
            "1970-01-01T00:00:00.000Z  telemetry  pump  on=true temp=21.5"
        );
    }

    fn wanted(words: &[&str], kinds: &[&str]) -> Option<(Vec<String>, Vec<String>)> {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let wanted = Wanted::read(&owned(words), &owned(kinds)).ok()?;
        Some((wanted.devices, wanted.kinds))
    }

    #[test]
    fn devices_and_topic_filters_say_what_to_follow() {
        for (words, kinds, devices, shown) in [
            (&["+"][..], &[][..], &[][..], &[][..]),
            (&["pump"], &[], &["pump"], &[]),
            (&["devices/+/telemetry"], &[], &[], &["telemetry"]),
            (&["devices/pump/#"], &[], &["pump"], &[]),
            (
                &["devices/pump/events/door", "devices/fan/status"],
                &[],
                &["pump", "fan"],
                &["event", "presence"],
            ),
            (&["devices/pump/telemetry", "fan"], &[], &["pump", "fan"], &[]),
            (&["devices/+/telemetry"], &["log"], &[], &["log"]),
        ] {
            let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(wanted(words, kinds), Some((owned(devices), owned(shown))), "{words:?}");
        }
        assert_eq!(wanted(&["home/#"], &[]), None);
        assert_eq!(wanted(&["devices/pump/marmalade"], &[]), None);
    }
}
