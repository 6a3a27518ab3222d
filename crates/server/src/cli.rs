//! The command line.

use std::io::{self, IsTerminal as _, Write as _};

use clap::builder::styling::Styles;
use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::client::{decode, device, history, inbox, retained, send, session, tail, token, user};
use crate::config::{Flags, annotated, file_path, gather, listing, load};
use crate::failure::Failure;
use crate::{doctor, serve, simulate};

/// Words that interface documents name and later versions bring.
const LATER: &[&str] = &["sql", "edge", "provision", "ca", "backup", "restore"];

/// An IoT server: devices connect, their readings are kept, commands reach them.
#[derive(Debug, Parser)]
#[command(name = "roost", version, disable_help_subcommand = true, styles = Styles::plain())]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the server
    Serve(Flags),
    /// Checks, shows or writes the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Devices and their credentials
    Device(device::Arguments),
    /// Devices that wait to be let in, and the rules that let them in
    Inbox(inbox::Arguments),
    /// API tokens, and the set-up link
    Token(token::Arguments),
    /// People who sign in
    User(user::Arguments),
    /// MQTT sessions, and what waits for them
    Session(session::Arguments),
    /// Retained messages
    Retained(retained::Arguments),
    /// Shows what happens, as it happens
    Tail(tail::Arguments),
    /// Sends a command to a device
    Send(send::Arguments),
    /// Shows what a device sent
    History(history::Arguments),
    /// Reads binary payloads by a profile's decoder, or by one in a file
    Decode(decode::Arguments),
    /// Runs virtual devices against a server
    Simulate(simulate::Arguments),
    /// Looks at this machine and the server on it, and says what to change
    Doctor(doctor::Arguments),
    /// Writes a completion script for a shell
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Says whether the configuration stands
    Check(Flags),
    /// Shows every setting in force and where it comes from
    Show(Flags),
    /// Writes an annotated file with every setting at its default
    Init {
        /// Where to; `-` for standard output
        #[arg(default_value = "roost.toml")]
        file: String,
    },
}

/// Does what the command line says.
pub(crate) fn run() -> Result<(), Failure> {
    let Some(cli) = parse()? else { return Ok(()) };
    match cli.command {
        Command::Serve(flags) => serve::run(&flags),
        Command::Config(command) => config(command),
        Command::Device(arguments) => device::run(arguments),
        Command::Inbox(arguments) => inbox::run(arguments),
        Command::Token(arguments) => token::run(arguments),
        Command::User(arguments) => user::run(arguments),
        Command::Session(arguments) => session::run(arguments),
        Command::Retained(arguments) => retained::run(arguments),
        Command::Tail(arguments) => tail::run(arguments),
        Command::Send(arguments) => send::run(&arguments),
        Command::History(arguments) => history::run(&arguments),
        Command::Decode(arguments) => decode::run(&arguments),
        Command::Simulate(arguments) => simulate::run(arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "roost", &mut script);
            Ok(io::stdout().write_all(&script)?)
        }
    }
}

/// `None` when help or the version was asked for and is printed.
fn parse() -> Result<Option<Cli>, Failure> {
    let asked_for = std::env::args().nth(1).filter(|word| LATER.contains(&word.as_str()));
    if let Some(word) = asked_for {
        return Err(Failure::Usage(format!("`roost {word}` is not in this version yet")));
    }
    let parsed = Cli::command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    match parsed {
        Ok(cli) => Ok(Some(cli)),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            error.print()?;
            Ok(None)
        }
        Err(error) => Err(Failure::Usage(one_line(&error))),
    }
}

/// What is wrong with the command line, without the usage that follows.
fn one_line(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "say what to do; `roost --help` lists it".to_owned();
    }
    let text = error.render().to_string();
    let lines = text.lines().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    words.join(" ").trim_start_matches("error: ").to_owned()
}

fn config(command: ConfigCommand) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match command {
        ConfigCommand::Check(flags) => {
            load(&flags)?;
            let file =
                file_path(&flags).map_or_else(|| "no file".to_owned(), |path| path.display().to_string());
            writeln!(out, "the configuration stands ({file})")?;
        }
        ConfigCommand::Show(flags) => out.write_all(listing(&gather(&flags)?).as_bytes())?,
        ConfigCommand::Init { file } if file == "-" => out.write_all(annotated().as_bytes())?,
        ConfigCommand::Init { file } => {
            let made = std::fs::OpenOptions::new().write(true).create_new(true).open(&file);
            made.and_then(|mut made| made.write_all(annotated().as_bytes()))
                .map_err(|error| anyhow::anyhow!("{file}: {error}; name another file"))?;
            writeln!(out, "{file} written")?;
        }
    }
    Ok(())
}

/// Whether what is printed has colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    On,
    Off,
}

impl Colour {
    /// On when a person looks at standard output and did not ask for none.
    pub(crate) fn of_stdout() -> Self {
        let is_wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        if is_wanted && io::stdout().is_terminal() { Self::On } else { Self::Off }
    }

    /// The text in a terminal's colour or weight, such as `1` for bold.
    pub(crate) fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::On => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            Self::Off => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_is_wrong_with_a_command_line_is_said_in_one_line() {
        for (words, wanted) in [
            (&["roost", "serve", "--mqt", "off"][..], "unexpected argument '--mqt' found"),
            (&["roost", "marmalade"], "unrecognized subcommand 'marmalade'"),
            (&["roost", "send"], "the following required arguments were not provided:"),
            (&["roost"], "say what to do"),
        ] {
            let error = Cli::try_parse_from(words).unwrap_err();
            let line = one_line(&error);
            assert!(line.starts_with(wanted) && !line.contains('\n'), "{line}");
        }
    }
}
