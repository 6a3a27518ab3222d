//! The bare relay is this very program in another process, called with a word that only we use.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;

use super::{Launch, PeerKind, Programs, free_address, spawn_until_it_answers};

pub(crate) const WORD: &str = "--relay-on";

pub(super) fn launch(programs: &Programs, home: &Path) -> Result<Launch> {
    let address = free_address()?;
    let mut command = Command::new(programs.path(PeerKind::Relay)?);
    command.arg(WORD).arg(address.to_string()).stdout(Stdio::null());
    spawn_until_it_answers(command, programs.cores, home, address)
}
