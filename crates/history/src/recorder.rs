//! The runner: follows the log, and has files written when the flush rule says so.

use std::sync::Arc;
use std::time::{Duration, Instant};

use roost_hub::storage::{Durability, Position, StorageError};
use roost_hub::time::Clock;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::history::{FlushError, History};

/// The log is looked at this often at most: queries catch up by themselves, so being a little
/// behind costs nothing, and reading in larger pieces costs less.
const LINGER: Duration = Duration::from_millis(250);
/// How long after a failed write the next one is tried.
const RETRY: Duration = Duration::from_secs(5);

enum Woken {
    Shutdown,
    Log(Result<Position, StorageError>),
    Written(Result<(), FlushError>),
    Time,
}

impl History {
    /// Keeps the history going until `shutdown` turns true (or its sender is gone); a write that
    /// has begun is finished then, and the readings in memory are read from the log again at the
    /// next start. Returns early, saying so in the operator's log, when the log is broken.
    pub async fn run(self: Arc<Self>, mut shutdown: watch::Receiver<bool>, clock: Arc<dyn Clock>) {
        let mut durability = self.log.durability();
        let mut writes = JoinSet::new();
        let mut retry_at = None;
        while !*shutdown.borrow() {
            let durable = durability.position();
            if self.reached() < durable
                && let Err(error) = self.read_on(durable).await
            {
                tracing::error!(%error, "the history cannot read the log any more");
                break;
            }
            let reached = self.reached();
            let now = clock.now();
            let due_at = self.due_by_age(now);
            if due_at.is_some_and(|due_at| due_at <= now) {
                self.seal(|_old| true);
            }
            let sealed = self.state().sealed.is_some();
            if sealed && writes.is_empty() && retry_at.is_none_or(|at| at <= now) {
                retry_at = None;
                let (history, wall) = (Arc::clone(&self), clock.wall());
                writes.spawn_blocking(move || history.write_sealed(wall));
            }
            let full = sealed && reached < durable;
            let wake_at = if sealed { retry_at } else { due_at };
            let woken = tokio::select! {
                _ = shutdown.wait_for(|ends| *ends) => Woken::Shutdown,
                Some(result) = writes.join_next() => Woken::Written(result.unwrap_or(Err(FlushError::Ended))),
                result = more(&mut durability, reached), if !full => Woken::Log(result),
                () = sleep_until(wake_at, now) => Woken::Time,
            };
            match woken {
                Woken::Shutdown => break,
                Woken::Log(Ok(_)) | Woken::Time | Woken::Written(Ok(())) => {}
                Woken::Log(Err(error)) => {
                    tracing::error!(%error, "the history cannot read the log any more");
                    break;
                }
                Woken::Written(Err(error)) => {
                    tracing::error!(%error, "history files cannot be written; readings wait in the log");
                    retry_at = Some(clock.now() + RETRY);
                }
            }
        }
        while let Some(result) = writes.join_next().await {
            if let Ok(Err(error)) = result {
                tracing::error!(%error, "the last history files were not written; the log has the readings");
            }
        }
    }

    fn reached(&self) -> Position {
        self.state().tail.to
    }

    async fn read_on(self: &Arc<Self>, durable: Position) -> Result<(), StorageError> {
        let history = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || history.advance(durable)).await;
        read.unwrap_or_else(|_ended| Err(StorageError::Broken(Arc::from("the program is ending"))))
    }
}

async fn more(durability: &mut Durability, reached: Position) -> Result<Position, StorageError> {
    tokio::time::sleep(LINGER).await;
    durability.reached(Position(reached.0 + 1)).await
}

async fn sleep_until(deadline: Option<Instant>, now: Instant) {
    match deadline {
        Some(deadline) => tokio::time::sleep(deadline.saturating_duration_since(now)).await,
        None => std::future::pending().await,
    }
}
