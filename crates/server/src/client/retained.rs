//! `roost retained`: the retained messages.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::device::done;
use super::session::write_time;
use super::{Column, Connection, Output, encoded, print_item, print_list};
use crate::failure::Failure;

const COLUMNS: &[Column] = &[("TOPIC", "topic"), ("QOS", "qos"), ("TIME", "ts"), ("PAYLOAD", "payload")];

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists retained messages: those that `delete` with the same filter deletes, and the server's own
    List {
        /// A topic filter, such as home/#
        #[arg(default_value = "#")]
        filter: String,
    },
    /// Deletes the retained messages that match, except the server's own words
    Delete {
        /// A topic filter, such as home/#
        filter: String,
    },
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let (api, output) = (arguments.connection.api()?, arguments.connection.output);
    match arguments.command {
        Command::List { filter } => {
            let mut messages = api.list(&format!("/api/v1/retained?filter={}", encoded(&filter)))?;
            if output == Output::Table {
                messages.iter_mut().for_each(write_time);
            }
            print_list(output, &messages, COLUMNS)
        }
        Command::Delete { filter } => {
            let path = format!("/api/v1/retained?filter={}", encoded(&filter));
            let answer = api.json("DELETE", &path, None)?;
            if output == Output::Json {
                return print_item(output, &answer);
            }
            let count = answer.get("deleted").and_then(Value::as_u64).unwrap_or_default();
            done(output, &format!("{count} retained messages deleted"))
        }
    }
}
