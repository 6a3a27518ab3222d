//! Mosquitto with its limits taken off, so that it is never the configuration that is measured.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;

use super::{Keeping, Launch, Programs, free_address, spawn_until_it_answers};

pub(super) fn launch(programs: &Programs, home: &Path, keeping: Keeping) -> Result<Launch> {
    let address = free_address()?;
    let persistence = match keeping {
        Keeping::Nothing => "persistence false".to_owned(),
        // As shipped otherwise: in memory, saved every 30 minutes and at the end, never before an acknowledgement.
        Keeping::Sessions => format!("persistence true\npersistence_location {}/", home.display()),
    };
    let config = format!(
        "listener {} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0\n\
         set_tcp_nodelay true\nuser root\nlog_type error\nlog_dest stderr\n{persistence}\n",
        address.port()
    );
    let config_path = home.join("mosquitto.conf");
    fs::write(&config_path, config)?;
    let mut command = Command::new(&programs.mosquitto);
    command.arg("-c").arg(&config_path).stdout(Stdio::null());
    spawn_until_it_answers(command, programs.cores, home, address)
}
