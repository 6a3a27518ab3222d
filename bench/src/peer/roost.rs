//! Roost, and the one line that it prints when its doors are open.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};

use super::{ADMIN_TOKEN, Doors, Launch, Programs, START_MAX, spawn};
use crate::clock;

/// The ready line, once.
const READY_LINES: usize = 1;

pub(super) fn launch(programs: &Programs, home: &Path) -> Result<Launch> {
    let mut command = Command::new(&programs.roost);
    command.arg("serve").arg("--data").arg(home.join("data"));
    command.args(["--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"]);
    command.args(["--coap", "127.0.0.1:0", "--coaps", "off", "--admin_token", ADMIN_TOKEN]);
    // The data directory holds everything: no roost.toml of the caller's folder shall change what is measured.
    command.current_dir(home).stdout(Stdio::piped());
    let begun = clock::now();
    let mut child = spawn(command, programs.cores, home)?;
    let stdout = child.stdout.take().context("standard output was not piped")?;
    let (line, at) = match first_line(stdout) {
        Ok(found) => found,
        Err(error) => {
            child.kill()?;
            child.wait()?;
            return Err(error);
        }
    };
    let doors = doors(&line).with_context(|| format!("reading the ready line {line:?}"))?;
    Ok(Launch { child, doors, start_time: at.duration_since(begun) })
}

/// Reads on a thread, so that a silent program cannot hold the benchmark; the thread ends with the program.
fn first_line(stdout: ChildStdout) -> Result<(String, Instant)> {
    let (sender, receiver) = sync_channel(READY_LINES);
    thread::spawn(move || {
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        if let Some(line) = lines.next() {
            // The receiver may have given up waiting; nobody then needs the line.
            sender.send((line, clock::now())).ok();
        }
        lines.for_each(drop);
    });
    receiver.recv_timeout(START_MAX).context("it ended or stayed silent before it printed `roost ready`")
}

fn doors(line: &str) -> Result<Doors> {
    let words = line.strip_prefix("roost ready ").context("it begins otherwise")?;
    let find = |name: &str| -> Result<SocketAddr> {
        let mut pairs = words.split_whitespace().filter_map(|word| word.split_once('='));
        let (_, address) =
            pairs.find(|(key, _)| *key == name).with_context(|| format!("it names no {name}"))?;
        Ok(address.parse()?)
    };
    Ok(Doors { mqtt: find("mqtt")?, http: Some(find("http")?), coap: find("coap").ok() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_names_the_doors_in_any_order() {
        let found = doors("roost ready mqtt=127.0.0.1:7 coap=127.0.0.1:9 http=127.0.0.1:8").unwrap();
        assert_eq!(found.mqtt.port(), 7);
        assert_eq!((found.http.unwrap().port(), found.coap.unwrap().port()), (8, 9));
        assert!(doors("roost is here").is_err());
        assert!(doors("roost ready http=127.0.0.1:8").is_err());
    }
}
