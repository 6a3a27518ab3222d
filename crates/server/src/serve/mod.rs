//! `roost serve`: opens everything in order, runs it, and ends it in the reverse order.

mod doors;
mod holder;
mod housekeeping;
mod keeping;
mod logging;
mod ports;
mod seal_key;
mod set_up;

use std::fs::DirBuilder;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use roost_api::{ApiState, ServerInfo};
use roost_history::{FlushRule, History};
use roost_hub::Hub;
use roost_store::{Embedded, Options};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::{Config, Flags, load};
use crate::failure::Failure;

use housekeeping::Household;
use keeping::Keeper;

pub(crate) use holder::{Transport, holder_of};
pub(crate) use ports::SystemClock;
pub(crate) use set_up::LINK_FILE;

/// From the signal to the end of the process, at the latest.
const SHUTDOWN_MAX: Duration = Duration::from_secs(9);
/// A signal that comes so soon after another is the same one: a terminal and a parent process may
/// both send it.
const SAME_SIGNAL: Duration = Duration::from_secs(1);
/// How long a broken store is left to tell clients so before a supervisor starts us again.
const BROKEN_PAUSE: Duration = Duration::from_secs(5);

/// Serves until it is told to stop.
pub(crate) fn run(flags: &Flags) -> Result<(), Failure> {
    let config = load(flags)?;
    logging::start(&config);
    raise_open_files();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = config.threads {
        builder.worker_threads(threads);
    }
    let runtime = builder.enable_all().build()?;
    let ended = runtime.block_on(serve(config));
    // What is still running now was given its time.
    runtime.shutdown_background();
    ended
}

/// Takes as many file descriptors as the system lets us: each connection needs one.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// What is open while the server runs.
struct Open {
    store: Embedded,
    history: Arc<History>,
    hub: Arc<Hub>,
}

async fn serve(config: Config) -> Result<(), Failure> {
    let mut stop = Stop::listen()?;
    // Rust ends at SIGXFSZ; taken as a signal, the write itself fails, and the store knows what to do.
    let _file_size = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
    let open = open(&config).await?;
    let (gateway, doors) = doors::open(&config, &open.hub, |doors| router(&config, &open, doors))?;
    // The wills of who was connected at a crash, before anybody can be back.
    open.hub.tick();
    let (end, ending) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let serving = ending.clone();
    tasks.spawn(async move { gateway.run(serving).await });
    let household = Household {
        hub: Arc::clone(&open.hub),
        history: Arc::clone(&open.history),
        keeper: Keeper::new(config.keep, config.data.clone()),
        sys_interval: config.sys_interval,
    };
    household.start(&mut tasks, &ending);
    if let Some(address) = doors.web() {
        set_up::start(&mut tasks, &config, Arc::clone(&open.hub), address, ending.clone())?;
    }
    doors.announce();
    let reason = tokio::select! {
        () = stop.received() => Reason::Asked,
        () = housekeeping::broken(&open.hub) => Reason::Broken,
        Some(ended) = tasks.join_next() => Reason::Ended(ended.err().map(|error| error.to_string())),
    };
    end_with(reason, open, (end, tasks), stop).await
}

/// Why the server ends.
enum Reason {
    Asked,
    /// The store writes no more.
    Broken,
    /// Something that runs as long as the server has ended, perhaps by a panic.
    Ended(Option<String>),
}

async fn end_with(
    reason: Reason,
    open: Open,
    (end, tasks): (watch::Sender<bool>, JoinSet<()>),
    mut stop: Stop,
) -> Result<(), Failure> {
    match &reason {
        Reason::Asked => tracing::info!("stopping: no new connections, open ones end"),
        Reason::Broken => {
            tracing::error!(
                "the store is broken: nothing is acknowledged any more; ending so that a new start can read what is on the disk"
            );
            tokio::select! {
                () = tokio::time::sleep(BROKEN_PAUSE) => {}
                () = stop.received() => {}
            }
        }
        Reason::Ended(error) => tracing::error!(?error, "a part of the server has ended: please report this"),
    }
    let asked_again = async {
        let same = async {
            loop {
                stop.received().await;
            }
        };
        tokio::select! {
            () = same => {}
            () = tokio::time::sleep(SAME_SIGNAL) => {}
        }
        stop.received().await;
    };
    let closing = close(open, end, tasks);
    tokio::select! {
        closed = tokio::time::timeout(SHUTDOWN_MAX, closing) => {
            if closed.is_err() {
                // Everything that was acknowledged is on the disk; the next start reads it from the log.
                tracing::warn!("some parts took too long to stop and were left behind");
            }
        }
        () = asked_again => tracing::warn!("asked twice: stopping at once"),
    }
    match reason {
        Reason::Asked => Ok(()),
        Reason::Broken | Reason::Ended(_) => Err(Failure::Said),
    }
}

async fn close(open: Open, end: watch::Sender<bool>, mut tasks: JoinSet<()>) {
    end.send_replace(true);
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a part of the server did not end well");
        }
    }
    let closing = tokio::task::spawn_blocking(move || {
        if let Err(error) = open.hub.checkpoint() {
            tracing::warn!(%error, "the last state was not saved; the next start reads it from the log");
        }
        open.store.close();
    });
    if let Err(error) = closing.await {
        tracing::error!(%error, "the store did not close well");
    }
    tracing::info!("stopped");
}

async fn open(config: &Config) -> Result<Open, Failure> {
    let store = open_store(&config.data)?;
    for lost in store.damage() {
        tracing::error!(first = lost.first.0, last = lost.last.0, file = %lost.file, "a part of the log is damaged; the rest is served");
    }
    let history = History::open(&config.data.join("history"), store.store().log, FlushRule::default())
        .context("opening the history")?;
    let ports = ports::real(|rng| seal_key::read(&config.data, config.seal_key_file.as_deref(), rng))?;
    let hub = Hub::open(store.store(), ports, config.hub.clone()).context("opening the store")?;
    seal_secrets(&hub).await?;
    if let Some(token) = &config.admin_token {
        let ensured = hub.ensure_admin_token(token.reveal()).await;
        ensured.map_err(|error| {
            Failure::Usage(format!("admin_token = (hidden): {error}; choose another text"))
        })?;
    }
    Ok(Open { store, history, hub })
}

/// Seals what an older version left unsealed.
async fn seal_secrets(hub: &Hub) -> anyhow::Result<()> {
    let sealed = hub.seal_secrets().context("sealing secrets")?;
    if sealed.now > 0 {
        hub.durable(hub.store().log.end()).await.context("sealing secrets")?;
        tracing::info!(count = sealed.now, "pre-shared keys of an older version are sealed now");
    }
    if sealed.with_another_key > 0 {
        tracing::error!(
            count = sealed.with_another_key,
            "pre-shared keys are sealed with another key than secrets.key_file: give these devices new ones"
        );
    }
    Ok(())
}

fn open_store(data: &Path) -> anyhow::Result<Embedded> {
    use roost_store::OpenError::{Locked, NotWritable};
    let made = DirBuilder::new().recursive(true).mode(0o700).create(data);
    let shown = format!("data = {data:?}");
    if let Err(error) = made {
        bail!("{shown}: {error}; name a directory that can be written with --data");
    }
    Embedded::open(data, Options::default()).map_err(|error| match error {
        Locked { pid, .. } => {
            let holder = pid.map_or_else(|| "another process".to_owned(), holder::process);
            anyhow!("{shown}: in use by {holder}; stop it, or name another directory with --data")
        }
        NotWritable { source, .. } => {
            anyhow!("{shown}: {source}; name a directory that can be written with --data")
        }
        other => anyhow::Error::new(other).context(shown),
    })
}

fn router(config: &Config, open: &Open, doors: Vec<(String, String)>) -> ApiState {
    let info = ServerInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: open.hub.now(),
        doors,
        acks: "synced".to_owned(),
        retention: config.retention.clone(),
    };
    ApiState { hub: Arc::clone(&open.hub), history: Arc::clone(&open.history), info }
}

/// The signals that end the server.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn listen() -> io::Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt })
    }

    /// Cancel safe.
    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The one line on standard output.
fn print_ready(line: &str) {
    let mut out = io::stdout().lock();
    if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) {
        tracing::debug!(%error, "nobody reads standard output");
    }
}
