//! `roost device`: the registry.

use std::io::{self, Write as _};

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::{Api, Column, Connection, Output, encoded, print_item, print_list};
use crate::failure::Failure;

const COLUMNS: &[Column] = &[
    ("ID", "id"),
    ("NAME", "name"),
    ("PROFILE", "profile"),
    ("ONLINE", "online"),
    ("LAST SEEN", "last_seen"),
    ("LABELS", "labels"),
];
const CREDENTIAL_COLUMNS: &[Column] = &[
    ("ID", "id"),
    ("KIND", "kind"),
    ("IDENTITY", "identity"),
    ("COMMON NAME", "common_name"),
    ("CREATED", "created_at"),
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
    /// Lists devices
    List {
        /// A part of the id, the name or a label
        query: Option<String>,
        /// A label, as `name` or `name=value`
        #[arg(long)]
        label: Option<String>,
        /// Only those that are connected (true), or that are not (false)
        #[arg(long)]
        online: Option<bool>,
    },
    /// Adds a device and prints its token, this once
    Add {
        /// Its id; one is made up without
        id: Option<String>,
        #[arg(long)]
        name: Option<String>,
        /// `standard` or `strict`, or a profile of yours
        #[arg(long)]
        profile: Option<String>,
        /// A label, as `name=value`; may be repeated
        #[arg(long = "label", value_parser = label)]
        labels: Vec<(String, String)>,
        /// The gateway that speaks for it
        #[arg(long)]
        parent: Option<String>,
    },
    /// Shows a device
    Show { id: String },
    /// Deletes a device with everything that is its own
    Remove { id: String },
    /// What a device may show to log in
    #[command(subcommand)]
    Credentials(Credentials),
}

#[derive(Debug, Subcommand)]
enum Credentials {
    /// Lists them, without their secrets
    List { device: String },
    /// Adds one and prints its secret, this once
    Add(AddCredential),
    /// Revokes one; connections that it opened drop at once
    Revoke { device: String, id: String },
}

#[derive(Debug, Args)]
struct AddCredential {
    device: String,
    #[arg(long, value_parser = ["token", "password", "psk", "x509"], default_value = "token")]
    kind: String,
    /// The token, for devices whose token is burned in
    #[arg(long)]
    given: Option<String>,
    #[arg(long)]
    password: Option<String>,
    /// The name of a pre-shared key
    #[arg(long)]
    identity: Option<String>,
    /// A pre-shared key in hexadecimal digits; one is made up without
    #[arg(long)]
    key_hex: Option<String>,
    /// A pre-shared key in base64, as Azure's connection strings have it
    #[arg(long)]
    key_base64: Option<String>,
    /// The name in a client certificate; the device's id without
    #[arg(long)]
    common_name: Option<String>,
}

pub(super) fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as name=value")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// The path of a device.
pub(crate) fn path(id: &str) -> String {
    format!("/api/v1/devices/{}", encoded(id))
}

/// The members that were given.
pub(super) fn given(members: &[(&str, Option<&String>)]) -> Map<String, Value> {
    let members =
        members.iter().filter_map(|(name, value)| Some(((*name).to_owned(), (*value)?.as_str().into())));
    members.collect()
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let (api, output) = (arguments.connection.api()?, arguments.connection.output);
    match arguments.command {
        Command::List { query, label, online } => {
            let online = online.map(|online| online.to_string());
            let wanted = [("q", query), ("label", label), ("online", online)];
            let wanted =
                wanted.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(&value?))));
            let query = wanted.collect::<Vec<_>>().join("&");
            let joint = if query.is_empty() { "" } else { "?" };
            print_list(output, &api.list(&format!("/api/v1/devices{joint}{query}"))?, COLUMNS)
        }
        Command::Add { id, name, profile, labels, parent } => {
            let members = [
                ("id", id.as_ref()),
                ("name", name.as_ref()),
                ("profile", profile.as_ref()),
                ("parent", parent.as_ref()),
            ];
            let mut body = given(&members);
            if !labels.is_empty() {
                body.insert("labels".to_owned(), self::labels(labels));
            }
            print_made(output, &api.json("POST", "/api/v1/devices", Some(&body.into()))?)
        }
        Command::Show { id } => print_item(output, &api.json("GET", &path(&id), None)?),
        Command::Remove { id } => {
            // Deleting what is not there answers 404, which a person wants to know.
            api.json("DELETE", &path(&id), None)?;
            done(output, &format!("device {id} removed"))
        }
        Command::Credentials(command) => credentials(&api, output, command),
    }
}

/// Labels as a member of a body.
pub(super) fn labels(given: Vec<(String, String)>) -> Value {
    given.into_iter().map(|(name, value)| (name, Value::from(value))).collect()
}

/// Prints a device that was made, with its token.
pub(super) fn print_made(output: Output, made: &Value) -> Result<(), Failure> {
    if output == Output::Json {
        return print_item(output, made);
    }
    let text = |pointer| made.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (id, token) = (text("/id"), text("/credential/token"));
    writeln!(io::stdout(), "device  {id}\ntoken   {token}")?;
    writeln!(io::stderr(), "The token is shown this once.")?;
    Ok(())
}

/// Says that it is done, to people.
pub(super) fn done(output: Output, text: &str) -> Result<(), Failure> {
    if output == Output::Table {
        writeln!(io::stderr(), "{text}")?;
    }
    Ok(())
}

fn credentials(api: &Api, output: Output, command: Credentials) -> Result<(), Failure> {
    match command {
        Credentials::List { device } => {
            print_list(output, &api.list(&format!("{}/credentials", path(&device)))?, CREDENTIAL_COLUMNS)
        }
        Credentials::Add(new) => {
            let body = given(&[
                ("kind", Some(&new.kind)),
                ("token", new.given.as_ref()),
                ("password", new.password.as_ref()),
                ("identity", new.identity.as_ref()),
                ("key_hex", new.key_hex.as_ref()),
                ("key_base64", new.key_base64.as_ref()),
                ("common_name", new.common_name.as_ref()),
            ]);
            print_item(
                output,
                &api.json("POST", &format!("{}/credentials", path(&new.device)), Some(&body.into()))?,
            )
        }
        Credentials::Revoke { device, id } => {
            api.json("DELETE", &format!("{}/credentials/{}", path(&device), encoded(&id)), None)?;
            done(output, &format!("credential {id} revoked"))
        }
    }
}
