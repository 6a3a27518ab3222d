//! `roost-bench`: roost, mosquitto and a bare relay beside each other, doing the same work on the same machine in one run.

mod answers;
mod args;
mod cases;
mod clock;
mod flow;
mod inbound;
mod meter;
mod outbox;
mod peer;
mod proc;
mod relay;
mod report;
mod rest;
mod sockets;
mod stamp;
mod stats;
mod swarm;
mod wire;

use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Parser;

use crate::args::Args;
use crate::cases::Variant;
use crate::peer::{PeerKind, Programs, RELAY_WORD};
use crate::proc::{Cores, Division};
use crate::report::{CaseResult, Report};

/// Descriptors beside the connections: files, epoll, pipes, on either side.
const SPARE_FILES: u64 = 200;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("roost-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [word, address] = words.as_slice()
        && word == RELAY_WORD
    {
        relay::run(address.parse()?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let args = Args::parse();
    let open_files = proc::raise_open_files()?;
    if (args.connections as u64).saturating_add(SPARE_FILES) > open_files {
        bail!(
            "--connections {} needs more than the {open_files} open files that are allowed: raise `ulimit -n`",
            args.connections
        );
    }
    let programs = Programs {
        mosquitto: args.mosquitto.clone(),
        roost: args.roost_path(),
        folder: args.folder.clone().unwrap_or_else(std::env::temp_dir),
        cores: Cores::choose(args.division())?,
    };
    let peers = present_peers(&args, &programs)?;
    programs.cores.pin_generator()?;
    let mut report = Report {
        machine: proc::machine(),
        peers: peers.iter().map(|kind| (*kind, version(*kind, &programs))).collect(),
        repeat: args.repeat,
        results: Vec::new(),
    };
    print_head(&report, &programs)?;
    let mut failures = 0;
    for variant in args.wanted_cases().into_iter().flat_map(cases::Case::variants) {
        let result = run_variant(variant, &args, &programs, &peers, &mut failures);
        print!("{}", result.table(&peers));
        report.results.push(result);
    }
    if let Some(path) = &args.json {
        fs::write(path, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    if failures > 0 {
        eprintln!("\n!! {failures} runs failed, see above");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// The wanted peers that are installed. One that is not is said loudly, and an error where it was asked for by name.
fn present_peers(args: &Args, programs: &Programs) -> Result<Vec<PeerKind>> {
    let mut present = Vec::new();
    for kind in args.wanted_peers() {
        let path = programs.path(kind)?;
        if path.is_file() {
            present.push(kind);
            continue;
        }
        if args.asks_for(kind) {
            bail!("{} was asked for and is not at {}", kind.name(), path.display());
        }
        eprintln!("!! {} IS ABSENT: no program at {}", kind.name().to_uppercase(), path.display());
        if kind == PeerKind::Mosquitto {
            eprintln!("!! without mosquitto there are no ratios: install the Debian package `mosquitto`");
        }
    }
    if present.is_empty() {
        bail!("none of the wanted peers is present");
    }
    Ok(present)
}

fn version(kind: PeerKind, programs: &Programs) -> String {
    let flag = match kind {
        PeerKind::Mosquitto => "-h",
        PeerKind::Relay => return format!("relay {}", env!("CARGO_PKG_VERSION")),
        PeerKind::Roost => "--version",
    };
    let path = programs.path(kind).unwrap_or_default();
    let said = Command::new(path).arg(flag).output().map(|output| output.stdout);
    let said = String::from_utf8_lossy(&said.unwrap_or_default()).into_owned();
    said.lines().next().unwrap_or("unknown version").to_owned()
}

fn print_head(report: &Report, programs: &Programs) -> Result<()> {
    let cores = programs.cores;
    println!("{}", report.machine);
    match cores.division {
        Division::OneEach => {
            println!("broker on core {}, generator on core {}", cores.broker, cores.generator)
        }
        Division::Shared => {
            println!("broker and generator on cores {} and {}", cores.broker, cores.generator)
        }
    }
    println!("{}", report.peers.values().cloned().collect::<Vec<_>>().join(", "));
    println!("medians of {} [least..most] xratio to mosquitto", report.repeat);
    if proc::is_in_memory(&programs.folder)? {
        println!("!! data directories are in memory: a sync costs nothing there, see --folder");
    }
    Ok(())
}

/// All repetitions, the peers in turn, so that a change of the machine's mood meets all of them.
fn run_variant(
    variant: Variant,
    args: &Args,
    programs: &Programs,
    peers: &[PeerKind],
    failures: &mut u32,
) -> CaseResult {
    let settings = args.settings();
    let mut result = CaseResult {
        name: variant.name(),
        configuration: variant.configuration(&settings),
        ..CaseResult::default()
    };
    for _ in 0..args.repeat {
        for kind in peers.iter().copied() {
            if result.missing.contains_key(&kind) {
                continue;
            }
            if let Some(reason) = variant.reason_to_skip(kind) {
                result.missing.insert(kind, format!("no part in this: it {reason}"));
                continue;
            }
            match variant.run(kind, programs, &settings) {
                Ok(figures) => result.add(kind, &figures),
                Err(error) => {
                    eprintln!("!! {} with {} FAILED: {error:#}", variant.name(), kind.name());
                    *failures += 1;
                    result.peers.remove(&kind);
                    result.missing.insert(kind, format!("FAILED: {error:#}"));
                }
            }
        }
    }
    result.finish();
    result
}
