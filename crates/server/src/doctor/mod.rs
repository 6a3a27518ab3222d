//! `roost doctor`: looks at this machine and at the server on it, and says what to change.

mod disk;
mod machine;
mod server;

use std::io::{self, Write as _};

use clap::Args;
use roost_hub::time::{Clock as _, Timestamp};
use serde::Serialize;

use crate::cli::Colour;
use crate::client::Output;
use crate::config::{Config, Flags, load};
use crate::failure::Failure;
use crate::serve::SystemClock;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    flags: Flags,
    /// The server
    #[arg(long, env = "ROOST_URL")]
    url: Option<String>,
    /// How to print
    #[arg(long, env = "ROOST_OUTPUT", value_enum, default_value = "table")]
    output: Output,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Good,
    /// Works, and could work better.
    Warning,
    /// Does not work, or not for long.
    Problem,
}

/// Whether a server runs here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Runs,
    Absent,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) name: &'static str,
    pub(crate) state: State,
    pub(crate) found: String,
    /// What to change; empty when nothing is.
    pub(crate) mend: String,
}

impl Finding {
    pub(crate) fn good(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: State::Good, found: found.into(), mend: String::new() }
    }

    pub(crate) fn warning(name: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, state: State::Warning, found: found.into(), mend: mend.into() }
    }

    pub(crate) fn problem(name: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, state: State::Problem, found: found.into(), mend: mend.into() }
    }
}

/// Fails when there is a problem.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = load(&arguments.flags)?;
    let findings = look(&config, arguments.url.as_deref(), SystemClock.wall());
    let mut out = io::stdout().lock();
    match arguments.output {
        Output::Json => writeln!(out, "{}", serde_json::to_string(&findings).map_err(anyhow::Error::new)?)?,
        Output::Table => {
            for finding in &findings {
                writeln!(out, "{}", line(finding))?;
            }
        }
    }
    match findings.iter().any(|finding| finding.state == State::Problem) {
        true => Err(Failure::Said),
        false => Ok(()),
    }
}

fn look(config: &Config, url: Option<&str>, now: Timestamp) -> Vec<Finding> {
    let (server, presence) = server::look(config, url);
    let mut findings = vec![server];
    findings.extend(machine::doors(config, presence));
    findings.extend(machine::plain_coap(config));
    findings.push(machine::clock(now));
    findings.push(machine::open_files());
    findings.extend(disk::look(config));
    findings.extend(machine::certificate(config, now));
    findings
}

fn line(finding: &Finding) -> String {
    let (word, colour) = match finding.state {
        State::Good => ("good", "32"),
        State::Warning => ("warning", "33"),
        State::Problem => ("problem", "31"),
    };
    let word = Colour::of_stdout().paint(colour, &format!("{word:8}"));
    let mend = if finding.mend.is_empty() { String::new() } else { format!("; {}", finding.mend) };
    format!("{word} {:12} {}{mend}", finding.name, finding.found)
}
