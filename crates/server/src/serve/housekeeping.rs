//! What runs beside the connections: appointments, checkpoints, deferred messages, history.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use roost_history::History;
use roost_hub::Hub;
use roost_hub::storage::{Position, StorageError};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::keeping::Keeper;

/// How often due things are done and views are saved.
const EVERY: Duration = Duration::from_secs(1);
/// Records that stay in the log although nobody needs them, for people who look for what happened.
const KEPT_RECORDS: u64 = 10_000;

/// What it works on.
pub(super) struct Household {
    pub(super) hub: Arc<Hub>,
    pub(super) history: Arc<History>,
    pub(super) keeper: Keeper,
    pub(super) sys_interval: Duration,
}

impl Household {
    /// Starts all of it; each ends when `ending` turns true.
    pub(super) fn start(self, tasks: &mut JoinSet<()>, ending: &watch::Receiver<bool>) {
        let Self { hub, history, keeper, sys_interval } = self;
        tasks.spawn(until(ending, keep_appointments(Arc::clone(&hub))));
        tasks.spawn(checkpoint(Arc::clone(&hub), Arc::clone(&history), keeper, ending.clone()));
        tasks.spawn(until(ending, deferred(Arc::clone(&hub))));
        tasks.spawn(until(ending, say_counts(Arc::clone(&hub), sys_interval)));
        tasks.spawn(until(ending, replay(Arc::clone(&hub))));
        let clock = Arc::clone(hub.clock());
        tasks.spawn(until(ending, erase(hub)));
        tasks.spawn(follow(history, ending.clone(), clock));
    }
}

/// Runs the future, and then waits, until it is time to end.
fn until(
    ending: &watch::Receiver<bool>,
    future: impl Future<Output = ()> + Send + 'static,
) -> impl Future<Output = ()> + Send + 'static {
    let mut ending = ending.clone();
    async move {
        let rest = async {
            future.await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = rest => {}
            _ = ending.wait_for(|is_over| *is_over) => {}
        }
    }
}

fn ticks() -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn keep_appointments(hub: Arc<Hub>) {
    let mut ticks = ticks();
    loop {
        ticks.tick().await;
        hub.tick();
    }
}

async fn say_counts(hub: Arc<Hub>, every: Duration) {
    let start = hub.clock().now();
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let uptime = hub.clock().now().saturating_duration_since(start);
        hub.publish_system_topics(env!("CARGO_PKG_VERSION"), uptime);
    }
}

async fn deferred(hub: Arc<Hub>) {
    hub.run_deferred().await;
}

/// Reads the log for the sessions whose subscriptions begin in the past, one after the other.
async fn replay(hub: Arc<Hub>) {
    loop {
        let wanted = hub.next_replay().await;
        let (reader, session) = (Arc::clone(&hub), wanted.clone());
        let done = match tokio::task::spawn_blocking(move || reader.read_replay(&session)).await {
            Ok(Ok(read)) => hub.finish_replay(read).await,
            Ok(Err(error)) => Err(error),
            Err(error) => {
                tracing::error!(%error, "reading the log ended in a panic: please report this");
                continue;
            }
        };
        if let Err(error) = done {
            // No room, or the end: there may be room in a moment.
            tracing::debug!(%error, "what was recorded is not given for now");
            tokio::time::sleep(EVERY).await;
            hub.put_back(wanted);
        }
    }
}

async fn erase(hub: Arc<Hub>) {
    if let Err(error) = hub.erase_deleted_tenants().await {
        tracing::warn!(%error, "what deleted tenants left is erased at the next start");
    }
}

async fn follow(
    history: Arc<History>,
    ending: watch::Receiver<bool>,
    clock: Arc<dyn roost_hub::time::Clock>,
) {
    let mut over = ending.clone();
    history.run(ending, clock).await;
    // A broken log ends it early; what to do then is decided elsewhere.
    drop(over.wait_for(|is_over| *is_over).await);
}

/// Saves views once a second and lets the log forget what nobody needs.
async fn checkpoint(hub: Arc<Hub>, history: Arc<History>, keeper: Keeper, mut ending: watch::Receiver<bool>) {
    let keeper = Arc::new(Mutex::new(keeper));
    let mut ticks = ticks();
    let mut was_refused = false;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = ending.wait_for(|is_over| *is_over) => return,
        }
        let (saver, reader, keeper) = (Arc::clone(&hub), Arc::clone(&history), Arc::clone(&keeper));
        let saved = tokio::task::spawn_blocking(move || {
            keeper.lock().unwrap_or_else(PoisonError::into_inner).apply(&saver);
            save(&saver, &reader)
        })
        .await;
        match saved {
            Ok(Ok(())) => was_refused = false,
            Ok(Err(error)) => {
                // Said once, not each second: the log has everything meanwhile.
                if !was_refused {
                    tracing::warn!(%error, "views are not saved for now; the log grows meanwhile");
                }
                was_refused = true;
            }
            Err(error) => tracing::error!(%error, "saving views ended in a panic: please report this"),
        }
    }
}

fn save(hub: &Hub, history: &History) -> Result<(), StorageError> {
    let needed = hub.checkpoint()?.min(history.trim_position());
    hub.store().log.trim(Position(needed.0.saturating_sub(KEPT_RECORDS)));
    Ok(())
}

/// Resolves when the store will never write again. Cancel safe.
pub(super) async fn broken(hub: &Hub) {
    let mut ticks = ticks();
    while hub.durability().broken().is_none() {
        ticks.tick().await;
    }
}
