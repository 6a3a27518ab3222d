//! `roost decode`: binary payloads by a decoder, without a server or with one's profiles and frames.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;
use roost_wire::decoder::{Decoder, Frame, from_base64, from_hex, report};
use roost_wire::telemetry::Limits;
use serde_json::{Value, json};

use super::output::cell;
use super::{Connection, Output, encoded, table};
use crate::cli::Colour;
use crate::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A frame in hexadecimal, such as "01 67 00 D7"
    #[arg(value_name = "HEX")]
    frames: Vec<String>,
    /// A frame in base64
    #[arg(long, value_name = "TEXT")]
    base64: Vec<String>,
    /// A file that holds a frame, byte by byte
    #[arg(long, value_name = "FILE")]
    file: Vec<PathBuf>,
    /// The port by which the radio network tells kinds of messages apart
    #[arg(long)]
    port: Option<u8>,
    /// The decoder, in a JSON file: by itself, or as `decoder` of a profile
    #[arg(long, value_name = "FILE", required_unless_present_any = ["profile", "device"])]
    decoder: Option<PathBuf>,
    /// The decoder of this profile of the server
    #[arg(long, value_name = "ID", conflicts_with = "decoder")]
    profile: Option<String>,
    /// The last frames of this device of the server, by its profile's decoder unless another is named
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

/// A frame and where it came from.
struct Given {
    bytes: Vec<u8>,
    port: Option<u8>,
    at: Value,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let decoder = Decoder::parse(&declaration(arguments)?).map_err(|error| anyhow!("{error}"))?;
    let frames = frames(arguments)?;
    if frames.is_empty() {
        return Err(Failure::Usage(
            "no frame: write it in hexadecimal, or name --base64, --file or --device".into(),
        ));
    }
    let mut reports = Vec::new();
    for given in &frames {
        let frame = Frame { bytes: &given.bytes, port: given.port };
        let mut shown = report(&frame, &decoder.decode(&frame, &Limits::default()));
        shown.insert("at".to_owned(), given.at.clone());
        reports.push(Value::from(shown));
    }
    print(arguments.connection.output, &reports)?;
    let refused = reports.iter().filter(|report| report.get("error").is_some_and(|error| !error.is_null()));
    match refused.count() {
        0 => Ok(()),
        count => Err(anyhow!("{count} of {} frames cannot be read", reports.len()).into()),
    }
}

fn declaration(arguments: &Arguments) -> Result<Value, Failure> {
    if let Some(path) = &arguments.decoder {
        let shown = path.display();
        let text = read(path)?;
        let json: Value = serde_json::from_slice(&text).with_context(|| format!("{shown} is no JSON"))?;
        return Ok(json.get("decoder").cloned().unwrap_or(json));
    }
    let api = arguments.connection.api()?;
    let profile = match (&arguments.profile, &arguments.device) {
        (Some(profile), _) => profile.clone(),
        (None, device) => {
            let id = encoded(device.as_deref().unwrap_or_default());
            let device = api.json("GET", &format!("/api/v1/devices/{id}"), None)?;
            device.get("profile").and_then(Value::as_str).unwrap_or_default().to_owned()
        }
    };
    let found = api.json("GET", &format!("/api/v1/profiles/{}", encoded(&profile)), None)?;
    let decoder = found.get("decoder").cloned();
    Ok(decoder.ok_or_else(|| anyhow!("the profile {profile} has no decoder; name one with --decoder"))?)
}

fn frames(arguments: &Arguments) -> Result<Vec<Given>, Failure> {
    let port = arguments.port;
    let given = |bytes| Given { bytes, port, at: Value::Null };
    let no_frame = |text: &str, how| Failure::Usage(format!("{text:?} is not {how}"));
    let mut frames = Vec::new();
    for text in &arguments.frames {
        frames.push(given(from_hex(text).ok_or_else(|| no_frame(text, "hexadecimal"))?));
    }
    for text in &arguments.base64 {
        frames.push(given(from_base64(text).ok_or_else(|| no_frame(text, "base64"))?));
    }
    for path in &arguments.file {
        frames.push(given(read(path)?));
    }
    if let Some(device) = &arguments.device {
        let path = format!("/api/v1/devices/{}/frames", encoded(device));
        let found = arguments.connection.api()?.json("GET", &path, None)?;
        let items = found.get("items").and_then(Value::as_array);
        frames.extend(items.into_iter().flatten().map(recorded));
    }
    Ok(frames)
}

fn recorded(frame: &Value) -> Given {
    let port = frame.get("port").and_then(Value::as_u64);
    let hex = frame.get("hex").and_then(Value::as_str).unwrap_or_default();
    Given {
        bytes: from_hex(hex).unwrap_or_default(),
        port: port.and_then(|port| u8::try_from(port).ok()),
        at: frame.get("at").cloned().unwrap_or_default(),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let read = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()));
    Ok(read?)
}

fn print(output: Output, reports: &[Value]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    if output == Output::Json {
        writeln!(out, "{}", json!(reports))?;
        return Ok(());
    }
    for report in reports {
        let member = |name: &str| report.get(name).unwrap_or(&Value::Null);
        let text = |name: &str| cell(member(name));
        let head = [text("at"), text("hex")].join(" ");
        writeln!(out, "{}", head.trim())?;
        if let Some(detail) = member("error").get("detail") {
            writeln!(out, "cannot be read: {}\n", cell(detail))?;
            continue;
        }
        let cells = |reading: &Value| {
            ["key", "value"].iter().map(|name| cell(reading.get(name).unwrap_or(&Value::Null))).collect()
        };
        let rows: Vec<Vec<String>> = member("readings").as_array().into_iter().flatten().map(cells).collect();
        let heads = vec!["KEY".to_owned(), "VALUE".to_owned()];
        writeln!(out, "{}", table(heads, &rows, Colour::of_stdout()))?;
    }
    Ok(())
}
