//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::cases::{Case, Settings};
use crate::peer::PeerKind;
use crate::proc::Division;

/// Runs mosquitto, a bare relay and roost beside each other with the same work and prints ratios.
#[derive(Debug, Parser)]
#[command(name = "roost-bench")]
pub(crate) struct Args {
    /// Which cases; all when none is named
    #[arg(value_enum)]
    pub(crate) cases: Vec<Case>,
    /// The roost program; when it is named and absent, nothing runs
    #[arg(long, value_name = "PATH")]
    pub(crate) roost: Option<PathBuf>,
    /// The mosquitto program
    #[arg(long, value_name = "PATH", default_value = "/usr/sbin/mosquitto")]
    pub(crate) mosquitto: PathBuf,
    /// Only these, comma-separated; when one of them is absent, nothing runs
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) peers: Option<Vec<PeerKind>>,
    /// How often each case runs with each peer; the medians are printed
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) repeat: u32,
    /// Seconds of a measured window; a quarter more is warm-up
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
    /// Connections of the case `idle`
    #[arg(long, default_value_t = 5_000, value_parser = parse_count)]
    pub(crate) connections: usize,
    /// Devices stored in the case `start`
    #[arg(long, default_value_t = 10_000, value_parser = parse_count)]
    pub(crate) devices: usize,
    /// Readers of the case `spot`, 150 hits a second each
    #[arg(long, default_value_t = 1_000, value_parser = parse_count)]
    pub(crate) spots: usize,
    /// Let broker and generator both use both cores; otherwise each has one of its own
    #[arg(long)]
    pub(crate) share_cores: bool,
    /// Where the programs' data directories are made; the system's temporary folder otherwise
    #[arg(long, value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,
    /// Also write the figures here, every repetition of them
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

impl Args {
    /// The named program, else the release build beside this workspace.
    pub(crate) fn roost_path(&self) -> PathBuf {
        let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/release/roost");
        self.roost.clone().unwrap_or_else(|| PathBuf::from(built))
    }

    /// Whether a peer was asked for by name, so that its absence is an error and not a gap.
    pub(crate) fn asks_for(&self, kind: PeerKind) -> bool {
        let is_named = self.peers.iter().flatten().any(|named| *named == kind);
        is_named || (kind == PeerKind::Roost && self.roost.is_some() && self.peers.is_none())
    }

    pub(crate) fn wanted_peers(&self) -> Vec<PeerKind> {
        let mut wanted = self.peers.clone().unwrap_or_else(|| PeerKind::ALL.to_vec());
        wanted.sort();
        wanted.dedup();
        wanted
    }

    pub(crate) fn wanted_cases(&self) -> Vec<Case> {
        if self.cases.is_empty() {
            return Case::ALL.to_vec();
        }
        self.cases.clone()
    }

    pub(crate) fn division(&self) -> Division {
        if self.share_cores { Division::Shared } else { Division::OneEach }
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            window: Duration::from_secs(self.seconds),
            idle_connections: self.connections,
            stored_devices: self.devices,
            spots: self.spots,
        }
    }
}

fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("it must be at least 1".to_owned()),
        Ok(count) => Ok(count),
        Err(error) => Err(format!("{error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_asked_for_by_name_may_not_be_absent() {
        let args = |words: &[&str]| Args::parse_from([&["roost-bench"], words].concat());
        assert!(!args(&[]).asks_for(PeerKind::Roost));
        assert!(args(&["--roost", "/x"]).asks_for(PeerKind::Roost));
        assert!(args(&["--peers", "relay,roost"]).asks_for(PeerKind::Roost));
        assert!(!args(&["--peers", "relay,mosquitto"]).asks_for(PeerKind::Roost));
        assert!(args(&["--peers", "mosquitto", "idle"]).asks_for(PeerKind::Mosquitto));
    }
}
