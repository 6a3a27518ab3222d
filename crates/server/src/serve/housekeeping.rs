//! What runs beside the connections: appointments, checkpoints, deferred messages, history.

use std::sync::Arc;
use std::time::Duration;

use roost_history::History;
use roost_hub::Hub;
use roost_hub::storage::{Position, StorageError};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// How often due things are done and views are saved.
const EVERY: Duration = Duration::from_secs(1);
/// Records that stay in the log although nobody needs them, for people who look for what happened.
const KEPT_RECORDS: u64 = 10_000;

/// Starts all of it; each ends when `ending` turns true.
pub(super) fn start(
    tasks: &mut JoinSet<()>,
    hub: &Arc<Hub>,
    history: &Arc<History>,
    ending: &watch::Receiver<bool>,
    sys_interval: Duration,
) {
    tasks.spawn(until(ending, keep_appointments(Arc::clone(hub))));
    tasks.spawn(checkpoint(Arc::clone(hub), Arc::clone(history), ending.clone()));
    tasks.spawn(until(ending, deferred(Arc::clone(hub))));
    tasks.spawn(until(ending, say_counts(Arc::clone(hub), sys_interval)));
    tasks.spawn(until(ending, erase(Arc::clone(hub))));
    let clock = Arc::clone(hub.clock());
    tasks.spawn(follow(Arc::clone(history), ending.clone(), clock));
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
async fn checkpoint(hub: Arc<Hub>, history: Arc<History>, mut ending: watch::Receiver<bool>) {
    let mut ticks = ticks();
    let mut was_refused = false;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = ending.wait_for(|is_over| *is_over) => return,
        }
        let (saver, reader) = (Arc::clone(&hub), Arc::clone(&history));
        let saved = tokio::task::spawn_blocking(move || save(&saver, &reader)).await;
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
