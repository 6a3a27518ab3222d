//! Log lines, on standard error only.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};

/// From here on, log lines are written. Called once.
pub(crate) fn start(config: &Config) {
    let filter =
        EnvFilter::try_new(&config.log_level).unwrap_or_else(|_checked_before| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match config.log_format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).with_target(false).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
}
