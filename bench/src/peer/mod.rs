//! The programs under measurement: each started on the broker's core, watched through /proc, and stopped.

mod mosquitto;
mod relay;
mod roost;

pub(crate) use relay::WORD as RELAY_WORD;

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use tempfile::TempDir;

use crate::clock;
use crate::proc::{Cores, CpuTime};
use crate::wire::{Login, Session};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PeerKind {
    Mosquitto,
    Relay,
    Roost,
}

impl PeerKind {
    pub(crate) const ALL: [PeerKind; 3] = [PeerKind::Mosquitto, PeerKind::Relay, PeerKind::Roost];

    pub(crate) fn name(self) -> &'static str {
        match self {
            PeerKind::Mosquitto => "mosquitto",
            PeerKind::Relay => "relay",
            PeerKind::Roost => "roost",
        }
    }
}

/// Whether a peer keeps sessions on disk. Roost always does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    Nothing,
    Sessions,
}

/// Where the programs are and where they may run and write.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub(crate) mosquitto: PathBuf,
    pub(crate) roost: PathBuf,
    /// Data directories are made in here.
    pub(crate) folder: PathBuf,
    pub(crate) cores: Cores,
}

impl Programs {
    pub(crate) fn path(&self, kind: PeerKind) -> Result<PathBuf> {
        Ok(match kind {
            PeerKind::Mosquitto => self.mosquitto.clone(),
            PeerKind::Relay => std::env::current_exe()?,
            PeerKind::Roost => self.roost.clone(),
        })
    }
}

/// Roost takes it as the first owner's token; to the others it is any password.
pub(crate) const ADMIN_TOKEN: &str = "bench-admin-token-0123456789abcdef";
/// With 10,000 devices stored, or after a crash, a start may take its time; longer than this is a failure.
const START_MAX: Duration = Duration::from_secs(120);
const STOP_MAX: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Where a started peer listens.
#[derive(Debug, Clone, Copy)]
struct Doors {
    mqtt: SocketAddr,
    http: Option<SocketAddr>,
    coap: Option<SocketAddr>,
}

/// A running broker. Dropping it kills it.
pub(crate) struct Peer {
    pub(crate) kind: PeerKind,
    programs: Programs,
    home: TempDir,
    child: Child,
    doors: Doors,
    start_time: Duration,
}

impl Peer {
    pub(crate) fn start(kind: PeerKind, programs: &Programs, keeping: Keeping) -> Result<Peer> {
        let home = tempfile::Builder::new().prefix("roost-bench-").tempdir_in(&programs.folder)?;
        let launch = launch(kind, programs, home.path(), keeping)?;
        Ok(Peer {
            kind,
            programs: programs.clone(),
            home,
            child: launch.child,
            doors: launch.doors,
            start_time: launch.start_time,
        })
    }

    /// Starts the same program on the same data again; the earlier process must have ended.
    pub(crate) fn start_again(&mut self) -> Result<()> {
        let launch = launch(self.kind, &self.programs, self.home.path(), Keeping::Sessions)?;
        self.child = launch.child;
        self.doors = launch.doors;
        self.start_time = launch.start_time;
        Ok(())
    }

    /// From exec until it said that it was ready, or until its port answered.
    pub(crate) fn start_time(&self) -> Duration {
        self.start_time
    }

    pub(crate) fn mqtt(&self) -> SocketAddr {
        self.doors.mqtt
    }

    pub(crate) fn http(&self) -> Result<SocketAddr> {
        self.doors.http.context("this peer speaks no HTTP")
    }

    pub(crate) fn coap(&self) -> Result<SocketAddr> {
        self.doors.coap.context("this peer speaks no CoAP")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn cores(&self) -> Cores {
        self.programs.cores
    }

    pub(crate) fn cpu_time(&self) -> Result<CpuTime> {
        CpuTime::read(self.pid())
    }

    /// Bytes of all files in its data directory.
    pub(crate) fn stored_bytes(&self) -> Result<u64> {
        folder_bytes(self.home.path())
    }

    /// Kill -9: nothing is finished, nothing is flushed.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and wait.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("no process id")?, Signal::TERM)?;
        let deadline = clock::now() + STOP_MAX;
        while self.child.try_wait()?.is_none() {
            if clock::now() >= deadline {
                self.kill()?;
                bail!("{} did not end within {STOP_MAX:?} of SIGTERM", self.kind.name());
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Logins named `{name}-0`, `{name}-1`, …, good for any peer.
    pub(crate) fn logins(&self, name: &str, count: usize) -> Vec<Login> {
        (0..count).map(|number| login(format!("{name}-{number}"))).collect()
    }
}

pub(crate) fn login(client_id: String) -> Login {
    Login { client_id, username: "bench".into(), password: ADMIN_TOKEN.into(), session: Session::Clean }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended already; there is nobody left to tell of an error.
        self.kill().ok();
    }
}

struct Launch {
    child: Child,
    doors: Doors,
    start_time: Duration,
}

fn launch(kind: PeerKind, programs: &Programs, home: &Path, keeping: Keeping) -> Result<Launch> {
    let errors_path = home.join("stderr.log");
    let result = match kind {
        PeerKind::Mosquitto => mosquitto::launch(programs, home, keeping),
        PeerKind::Relay => relay::launch(programs, home),
        PeerKind::Roost => roost::launch(programs, home),
    };
    result.with_context(|| {
        let errors = fs::read_to_string(&errors_path).unwrap_or_default();
        let mut last: Vec<&str> = errors.lines().rev().take(5).collect();
        last.reverse();
        format!("starting {}; it said last: {}", kind.name(), last.join(" | "))
    })
}

/// Starts a command on the broker's core with its errors in a file.
fn spawn(mut command: Command, cores: Cores, home: &Path) -> Result<Child> {
    command.stdin(Stdio::null()).stderr(File::create(home.join("stderr.log"))?);
    let child = cores.on_broker_core(|| command.spawn())?;
    child.with_context(|| format!("running {}", command.get_program().display()))
}

/// A port that was free a moment ago, for programs that cannot be asked which one they took.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Starts a program that says nothing when it is ready, and waits until its port answers.
fn spawn_until_it_answers(command: Command, cores: Cores, home: &Path, mqtt: SocketAddr) -> Result<Launch> {
    let begun = clock::now();
    let mut child = spawn(command, cores, home)?;
    while TcpStream::connect(mqtt).is_err() {
        if let Some(status) = child.try_wait()? {
            bail!("it ended with {status}");
        }
        if begun.elapsed() > START_MAX {
            child.kill()?;
            bail!("it did not answer within {START_MAX:?}");
        }
        thread::sleep(LOOK_EVERY);
    }
    let doors = Doors { mqtt, http: None, coap: None };
    Ok(Launch { child, doors, start_time: begun.elapsed() })
}

fn folder_bytes(folder: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        total += if metadata.is_dir() { folder_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(total)
}
