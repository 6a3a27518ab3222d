//! What is in files, what is on its way there, and what is still only in memory.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use parquet::errors::ParquetError;
use roost_hub::reading::ReadingRef;
use roost_hub::record::{SourceRef, read_readings};
use roost_hub::storage::{Batch, Log, Position, StorageError};
use roost_hub::time::Timestamp;
use tokio::sync::{Semaphore, watch};

use crate::directory::{Directory, Files};
use crate::file::Footers;
use crate::tail::Tail;

/// How much of the log is read at once, in bytes.
pub(crate) const READ_BYTES_MAX: usize = 256 * 1024;
/// Queries that read files at the same time; more wait.
const QUERIES_MAX: usize = 4;

/// When readings in memory become files: as soon as one of the three is reached. Twice as much is
/// kept while files cannot be written; after that the rest waits in the log.
#[derive(Clone, Copy, Debug)]
pub struct FlushRule {
    /// Readings in memory.
    pub readings_max: usize,
    /// Memory that they take, in bytes.
    pub bytes_max: usize,
    /// Age of the oldest of them.
    pub age_max: Duration,
}

impl Default for FlushRule {
    fn default() -> Self {
        Self { readings_max: 500_000, bytes_max: 64 * 1024 * 1024, age_max: Duration::from_secs(600) }
    }
}

/// Why the history cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made, listed or cleaned.
    #[error("{path}: {source}")]
    Io {
        /// What could not be read or removed.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file that says up to where the history goes is damaged or of a newer version.
    #[error("{0}: not a position of this version")]
    Manifest(PathBuf),
}

/// Why readings are not in a file yet. They are still in memory and in the log.
#[derive(Debug, thiserror::Error)]
pub enum FlushError {
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file could not be written as Parquet (a full disk shows up here, too).
    #[error("{path}: {source}")]
    Parquet {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: ParquetError,
    },
    /// The log could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The runtime is shutting down.
    #[error("the program is ending")]
    Ended,
}

pub(crate) struct State {
    /// Full, and waiting for its files to be written.
    pub(crate) sealed: Option<Arc<Tail>>,
    pub(crate) tail: Tail,
    pub(crate) files: Files,
}

/// The history of all tenants. See [`History::run`] for who keeps it going.
pub struct History {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) footers: Arc<Footers>,
    pub(crate) queries: Arc<Semaphore>,
    pub(crate) rule: FlushRule,
    directory: Directory,
    state: Mutex<State>,
    flushed: watch::Sender<Position>,
    /// Held while the log is read into the tail: one reader at a time keeps the order.
    reading: Mutex<()>,
    /// Held while files are written.
    writing: Mutex<()>,
}

impl std::fmt::Debug for History {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("History").field("directory", &self.directory).finish_non_exhaustive()
    }
}

fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl History {
    /// Opens the history in `dir` (made if there is none). Only lists files; what is in the log
    /// and in no file is read by [`History::run`] or by the first query.
    ///
    /// # Errors
    /// [`OpenError`] names the path.
    pub fn open(dir: &Path, log: Arc<dyn Log>, rule: FlushRule) -> Result<Arc<Self>, OpenError> {
        let (directory, flushed, files) = Directory::open(dir)?;
        let tail = Tail::new(flushed, rule.readings_max);
        Ok(Arc::new(Self {
            log,
            footers: Arc::default(),
            queries: Arc::new(Semaphore::new(QUERIES_MAX)),
            rule,
            directory,
            state: Mutex::new(State { sealed: None, tail, files }),
            flushed: watch::Sender::new(flushed),
            reading: Mutex::default(),
            writing: Mutex::default(),
        }))
    }

    /// Up to here the history does not need the log any more: it is in files.
    #[must_use]
    pub fn trim_position(&self) -> Position {
        *self.flushed.borrow()
    }

    /// Watches [`History::trim_position`].
    #[must_use]
    pub fn flushed(&self) -> watch::Receiver<Position> {
        self.flushed.subscribe()
    }

    /// Writes everything that is durable in the log to files, now; `now` names their day. For
    /// backups and tests; [`History::run`] does it by the flush rule.
    ///
    /// # Errors
    /// [`FlushError`]; nothing is lost, and the next attempt does it again.
    pub async fn flush(self: &Arc<Self>, now: Timestamp) -> Result<(), FlushError> {
        let history = Arc::clone(self);
        let durable = self.log.durability().position();
        tokio::task::spawn_blocking(move || {
            loop {
                let before = history.trim_position();
                history.advance(durable)?;
                history.seal(|_tail| true);
                history.write_sealed(now)?;
                let after = history.trim_position();
                if after >= durable || after == before {
                    return Ok(());
                }
            }
        })
        .await
        .unwrap_or(Err(FlushError::Ended))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        hold(&self.state)
    }

    /// Reads the log into memory up to `durable`, or as far as there is room. Reads files never,
    /// but may wait for another thread that does the same.
    pub(crate) fn advance(&self, durable: Position) -> Result<(), StorageError> {
        loop {
            let _one_reader = hold(&self.reading);
            self.seal(|tail| tail.len() >= self.rule.readings_max || tail.bytes() >= self.rule.bytes_max);
            let after = {
                let state = self.state();
                let full =
                    state.tail.len() >= self.rule.readings_max || state.tail.bytes() >= self.rule.bytes_max;
                if full || state.tail.to >= durable {
                    return Ok(());
                }
                state.tail.to
            };
            let batch = read_over_damage(&*self.log, after)?;
            if batch.next <= after {
                return Ok(());
            }
            let mut state = self.state();
            for_each_message(&batch, |position, source, readings| {
                if let Err(invalid) = state.tail.push(position, source, readings) {
                    left_out(position, &invalid);
                }
            });
            state.tail.to = batch.next;
        }
    }

    /// Puts the tail aside to be written if `due` says so and nothing else is waiting there.
    pub(crate) fn seal(&self, due: impl Fn(&Tail) -> bool) {
        let mut state = self.state();
        if state.sealed.is_none() && state.tail.to > state.tail.from && due(&state.tail) {
            let next = Tail::new(state.tail.to, self.rule.readings_max);
            state.sealed = Some(Arc::new(std::mem::replace(&mut state.tail, next)));
        }
    }

    /// Notes when the tail began to fill; gives when it is due by its age.
    pub(crate) fn due_by_age(&self, now: Instant) -> Option<Instant> {
        let mut state = self.state();
        if state.tail.to == state.tail.from {
            return None;
        }
        let since = *state.tail.since.get_or_insert(now);
        Some(since + self.rule.age_max)
    }

    /// Writes what was put aside to files, if anything was.
    pub(crate) fn write_sealed(&self, now: Timestamp) -> Result<(), FlushError> {
        let _one_writer = hold(&self.writing);
        let Some(sealed) = self.state().sealed.clone() else { return Ok(()) };
        let filed = *sealed.filed.get_or_init(|| now);
        let files = self.directory.write(&sealed, filed)?;
        self.directory.set_position(sealed.to)?;
        let mut state = self.state();
        for (tenant, file) in files {
            state.files.entry(tenant).or_default().push(file);
        }
        state.sealed = None;
        drop(state);
        self.flushed.send_replace(sealed.to);
        Ok(())
    }
}

/// The next records of the log. A record that is damaged is passed over, and said so.
pub(crate) fn read_over_damage(log: &dyn Log, after: Position) -> Result<Batch, StorageError> {
    match log.read_after(after, READ_BYTES_MAX) {
        Err(StorageError::Damaged(what)) => {
            tracing::error!(position = after.0, %what, "the history leaves out a damaged part of the log");
            Ok(Batch { records: Vec::new(), next: Position(after.0 + 1) })
        }
        other => other,
    }
}

/// Shows the readings of a batch, message by message. A record that cannot be read is passed over, and
/// said so.
pub(crate) fn for_each_message(
    batch: &Batch,
    mut each: impl FnMut(Position, SourceRef<'_>, &[ReadingRef<'_>]),
) {
    let mut readings = Vec::new();
    for (position, record) in &batch.records {
        match read_readings(record, &mut readings) {
            Ok(Some(source)) => each(*position, source, &readings),
            Ok(None) => {}
            Err(error) => left_out(*position, &error),
        }
    }
}

fn left_out(position: Position, error: &dyn std::fmt::Display) {
    tracing::error!(position = position.0, %error, "the history leaves out a record");
}
