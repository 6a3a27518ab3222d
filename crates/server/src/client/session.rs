//! `roost session`: the MQTT sessions, and what waits for them.

use clap::{Args, Subcommand};
use roost_hub::time::Timestamp;
use serde_json::Value;

use super::device::done;
use super::{Column, Connection, Output, encoded, print_item, print_list};
use crate::failure::Failure;

const COLUMNS: &[Column] = &[
    ("CLIENT ID", "client_id"),
    ("OWNER", "owner"),
    ("CONNECTED", "connected"),
    ("PROTOCOL", "protocol"),
    ("ADDRESS", "address"),
    ("QUEUED", "queued"),
    ("FILTERS", "subscriptions"),
];
const QUEUE_COLUMNS: &[Column] = &[
    ("SEQUENCE", "sequence"),
    ("STATE", "state"),
    ("QOS", "qos"),
    ("SIZE", "size"),
    ("TIME", "ts"),
    ("POSITION", "position"),
    ("TOPIC", "topic"),
];

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists sessions, connected or not
    List {
        /// A part of the client id, the owner's id or the address
        query: Option<String>,
        /// Only those that have a connection (true), or that have none (false)
        #[arg(long)]
        connected: Option<bool>,
    },
    /// Shows a session with its subscriptions
    Show { client_id: String },
    /// Lists what waits for a session or is on its way to it, QoS 1 and 2
    Queue {
        client_id: String,
        /// At most so many, the oldest first
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
    },
    /// Ends a session: closes its connection and forgets what waits for it
    Kick { client_id: String },
}

fn path(client_id: &str) -> String {
    format!("/api/v1/sessions/{}", encoded(client_id))
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let (api, output) = (arguments.connection.api()?, arguments.connection.output);
    match arguments.command {
        Command::List { query, connected } => {
            let connected = connected.map(|connected| format!("connected={connected}"));
            let query = query.map(|query| format!("q={}", encoded(&query)));
            let query: Vec<String> = query.into_iter().chain(connected).collect();
            let mut sessions = api.list(&format!("/api/v1/sessions?{}", query.join("&")))?;
            if output == Output::Table {
                sessions.iter_mut().for_each(shorten);
            }
            print_list(output, &sessions, COLUMNS)
        }
        Command::Show { client_id } => print_item(output, &api.json("GET", &path(&client_id), None)?),
        Command::Queue { client_id, limit } => {
            let mut messages = api.list_at_most(&format!("{}/queue", path(&client_id)), limit)?;
            if output == Output::Table {
                messages.iter_mut().for_each(write_time);
            }
            print_list(output, &messages, QUEUE_COLUMNS)
        }
        Command::Kick { client_id } => {
            api.json("DELETE", &path(&client_id), None)?;
            done(output, &format!("session {client_id} ended"))
        }
    }
}

/// The owner and the subscriptions of a session in few words, for a row of a table.
fn shorten(session: &mut Value) {
    let text =
        |pointer: &str| session.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let owner = format!("{} {}", text("/owner/kind"), text("/owner/id"));
    let subscriptions = session.get("subscriptions").and_then(Value::as_array);
    let filters: Vec<&str> = subscriptions
        .into_iter()
        .flatten()
        .filter_map(|subscription| subscription.get("filter")?.as_str())
        .collect();
    let filters = filters.join(" ");
    if let Some(members) = session.as_object_mut() {
        members.insert("owner".to_owned(), owner.into());
        members.insert("subscriptions".to_owned(), filters.into());
    }
}

/// Milliseconds since 1970 as a time, for a row of a table.
pub(super) fn write_time(message: &mut Value) {
    if let Some(ts) = message.get_mut("ts")
        && let Some(milliseconds) = ts.as_i64()
    {
        *ts = Timestamp(milliseconds).to_string().into();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_names_the_owner_and_the_filters() {
        let mut session = json!({
            "owner": { "kind": "device", "id": "pump" },
            "subscriptions": [{ "filter": "a/#", "qos": 1 }, { "filter": "b", "qos": 0 }],
        });
        shorten(&mut session);
        assert_eq!(session, json!({ "owner": "device pump", "subscriptions": "a/# b" }));
    }
}
