//! How the program ends when it could not do what it was asked to.

use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::config::ConfigError;

/// Why, and with which exit code.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was asked for something that there is not: 2.
    Usage(String),
    /// It did not work: 1.
    Run(anyhow::Error),
    /// Everything is said already: 1.
    Said,
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.0)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Run(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Run(error.into())
    }
}

impl Failure {
    /// Says it in one line on standard error.
    pub(crate) fn report(self) -> ExitCode {
        let (text, code) = match self {
            Self::Usage(text) => (text, 2),
            Self::Run(error) if is_broken_pipe(&error) => return ExitCode::FAILURE,
            Self::Run(error) => (format!("{error:#}"), 1),
            Self::Said => return ExitCode::FAILURE,
        };
        let line =
            text.split('\n').map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
        // Without a standard error there is nobody to tell.
        drop(writeln!(io::stderr(), "roost: {line}"));
        ExitCode::from(code)
    }
}

/// Whoever read what we write has gone: `roost tail | head`.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
