//! `roost tail`: everything as it happens.

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
    /// Only these devices, or `+` for all; may be repeated
    #[arg(default_value = "+")]
    devices: Vec<String>,
    /// Only these kinds: telemetry, presence, command, twin, event, log
    #[arg(long, value_delimiter = ',')]
    kinds: Vec<String>,
}

/// Ends when the server does, or whoever reads.
pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let (connection, mut query) = (arguments.connection, Vec::new());
    if !arguments.devices.iter().any(|device| matches!(device.as_str(), "+" | "#")) {
        let names: Vec<String> = arguments.devices.iter().map(|device| encoded(device_of(device))).collect();
        query.push(format!("devices={}", names.join(",")));
    }
    if !arguments.kinds.is_empty() {
        query.push(format!("kinds={}", encoded(&arguments.kinds.join(","))));
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

/// The device of a topic filter such as `devices/pump/#`; a device's id stays what it is.
fn device_of(filter: &str) -> &str {
    let rest = filter.strip_prefix("devices/").unwrap_or(filter);
    rest.split('/').next().unwrap_or(rest)
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

    #[test]
    fn a_topic_filter_names_its_device() {
        assert_eq!(device_of("devices/pump/#"), "pump");
        assert_eq!(device_of("pump"), "pump");
    }
}
