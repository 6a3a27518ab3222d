//! `roost send`: a command to a device.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::device::{given, path};
use super::{Connection, encoded, print_item};
use crate::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// To which device
    device: String,
    /// The command's name
    name: String,
    /// Its parameters, as JSON
    #[arg(long, value_parser = parameters)]
    params: Option<Value>,
    /// How long to wait for the device's answer, such as 10s; 60s at most
    #[arg(long, value_parser = duration)]
    wait: Option<Duration>,
    /// When it is of no use any more, such as 10m
    #[arg(long)]
    expires_in: Option<String>,
}

fn parameters(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))
}

fn duration(text: &str) -> Result<Duration, String> {
    crate::config::duration(text).ok_or_else(|| "write it as 10s or 1m".to_owned())
}

/// Fails when the device answered that it did not do it, or did not answer in time.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut body = given(&[("name", Some(&arguments.name)), ("expires_in", arguments.expires_in.as_ref())]);
    if let Some(params) = &arguments.params {
        body.insert("params".to_owned(), params.clone());
    }
    let wait = arguments.wait.unwrap_or_default();
    let query = match wait {
        Duration::ZERO => String::new(),
        wait => format!("?wait={}", encoded(&format!("{}ms", wait.as_millis()))),
    };
    let path = format!("{}/commands{query}", path(&arguments.device));
    let command = arguments.connection.api()?.json_within("POST", &path, Some(&body.into()), wait)?;
    print_item(arguments.connection.output, &command)?;
    let state = command.get("state").cloned().unwrap_or_default();
    match wait {
        Duration::ZERO => Ok(()),
        _ if state == json!("succeeded") => Ok(()),
        _ => Err(Failure::Said),
    }
}
