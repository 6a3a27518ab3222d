//! `roost user`: people who sign in.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::device::{done, given};
use super::{Column, Connection, encoded, print_item, print_list};
use crate::failure::Failure;

const COLUMNS: &[Column] = &[
    ("ID", "id"),
    ("EMAIL", "email"),
    ("NAME", "name"),
    ("ROLE", "role"),
    ("DISABLED", "disabled"),
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
    /// Lists people
    List,
    /// Lets somebody sign in; the password is read from standard input
    Add {
        email: String,
        #[arg(long)]
        name: Option<String>,
        #[arg(long, value_parser = ["owner", "admin", "operator", "viewer"], default_value = "viewer")]
        role: String,
    },
    /// Removes somebody; what they have open ends
    Remove { id: String },
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let (api, output) = (arguments.connection.api()?, arguments.connection.output);
    match arguments.command {
        Command::List => print_list(output, &api.list("/api/v1/users")?, COLUMNS),
        Command::Add { email, name, role } => {
            let mut body = given(&[("email", Some(&email)), ("name", name.as_ref()), ("role", Some(&role))]);
            body.insert("password".to_owned(), read_password()?.into());
            print_item(output, &api.json("POST", "/api/v1/users", Some(&body.into()))?)
        }
        Command::Remove { id } => {
            api.json("DELETE", &format!("/api/v1/users/{}", encoded(&id)), None)?;
            done(output, &format!("user {id} removed"))
        }
    }
}

/// The first line of standard input: an argument would be seen by everybody on the machine.
fn read_password() -> anyhow::Result<String> {
    if io::stdin().is_terminal() {
        write!(io::stderr(), "Password (it is shown while you type): ")?;
    }
    let mut line = String::new();
    io::stdin().read_line(&mut line).context("reading the password from standard input")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
