//! `roost token`: API tokens, and the set-up link.

use std::fs;
use std::io::{self, Write as _};

use clap::{Args, Subcommand};

use super::device::{done, given};
use super::{Column, Connection, encoded, print_item, print_list};
use crate::config::{Flags, gather};
use crate::failure::Failure;
use crate::serve::LINK_FILE;

const COLUMNS: &[Column] =
    &[("ID", "id"), ("NAME", "name"), ("ROLE", "role"), ("CREATED", "created_at"), ("EXPIRES", "expires_at")];

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists API tokens, without their secrets
    List {
        #[command(flatten)]
        connection: Connection,
    },
    /// Makes an API token and prints it, this once
    Create(Create),
    /// Deletes an API token; connections that it opened drop at once
    Remove {
        id: String,
        #[command(flatten)]
        connection: Connection,
    },
    /// Prints the set-up link of the server that runs on this machine under this user
    Setup(Flags),
}

#[derive(Debug, Args)]
struct Create {
    name: String,
    #[arg(long, value_parser = ["owner", "admin", "operator", "viewer"], default_value = "operator")]
    role: String,
    /// Such as 30d; for ever without
    #[arg(long)]
    expires_in: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::List { connection } => {
            print_list(connection.output, &connection.api()?.list("/api/v1/tokens")?, COLUMNS)
        }
        Command::Create(new) => {
            let body = given(&[
                ("name", Some(&new.name)),
                ("role", Some(&new.role)),
                ("expires_in", new.expires_in.as_ref()),
            ]);
            let made = new.connection.api()?.json("POST", "/api/v1/tokens", Some(&body.into()))?;
            print_item(new.connection.output, &made)
        }
        Command::Remove { id, connection } => {
            connection.api()?.json("DELETE", &format!("/api/v1/tokens/{}", encoded(&id)), None)?;
            done(connection.output, &format!("token {id} removed"))
        }
        Command::Setup(flags) => set_up(&flags),
    }
}

/// Whoever may read the server's data may make its first owner, so the data directory is the proof.
fn set_up(flags: &Flags) -> Result<(), Failure> {
    let given = gather(flags)?;
    let file = std::path::Path::new(given.text("data")).join(LINK_FILE);
    match fs::read_to_string(&file) {
        Ok(link) => Ok(writeln!(io::stdout(), "{}", link.trim())?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Failure::Run(anyhow::anyhow!(
            "{} is not there: the server does not run, has an owner already, or has its data elsewhere (--data)",
            file.display()
        ))),
        Err(error) => {
            Err(Failure::Run(anyhow::anyhow!("{}: {error}; run this as the server's user", file.display())))
        }
    }
}
