//! Questions and their answers.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parquet::errors::ParquetError;
use roost_hub::id::{DeviceId, TenantId};
use roost_hub::reading::{Quality, ReadingRef, Value};
use roost_hub::record::SourceRef;
use roost_hub::storage::{Position, StorageError};
use roost_hub::time::Timestamp;

use crate::aggregate::{Aggregate, Buckets, Width};
use crate::columns::{Row, spelled};
use crate::file::Wanted;
use crate::history::{History, READ_BYTES_MAX, for_each_message, read_over_damage};
use crate::merge::{Merged, Unreadable};

/// How much of the log a query reads by itself when memory has no room for it, in bytes.
const LOG_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Which readings of a device, and what is made of them.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Whose value.
    pub key: Arc<str>,
    /// The earliest time, inclusive.
    pub from: Timestamp,
    /// The end, exclusive.
    pub to: Timestamp,
    /// Readings that stand before this in the log are not looked at: where the device was created,
    /// so that an earlier device of the same name stays forgotten.
    pub born: Position,
    /// The width of buckets, which are aligned to 1970 and named by their start; less than a
    /// millisecond counts as one. Without an aggregate, buckets hold the mean.
    pub every: Option<Duration>,
    /// What is said of a bucket; without `every`, the whole range is one bucket named `from`.
    pub aggregate: Option<Aggregate>,
}

/// Which part of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// How many points at most; more than [`Page::LIMIT_MAX`] counts as that, 0 as 1.
    pub limit: usize,
    /// [`Points::next`] of the page before.
    pub after: Option<Timestamp>,
}

impl Page {
    /// The most points to a page.
    pub const LIMIT_MAX: usize = 10_000;
}

impl Default for Page {
    fn default() -> Self {
        Self { limit: Self::LIMIT_MAX, after: None }
    }
}

/// A reading, or a bucket of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// The time of the reading, or the start of the bucket.
    pub ts: Timestamp,
    /// The value. Whole numbers are integers, whatever they were written as; a gap is `null`.
    pub value: Value,
    /// The quality of the reading; good for buckets.
    pub quality: Quality,
}

/// One page of points in the order of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Points {
    /// The points.
    pub points: Vec<Point>,
    /// Where the next page begins; `None` when this is the last.
    pub next: Option<Timestamp>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The history is too far behind the log to answer in full: files cannot be written, or the
    /// program has just started after long being off. Ask again later.
    #[error("the history is behind the log")]
    Behind,
    /// A history file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: ParquetError,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The runtime is shutting down.
    #[error("the program is ending")]
    Ended,
}

impl From<Unreadable> for QueryError {
    fn from((path, source): Unreadable) -> Self {
        Self::File { path, source }
    }
}

pub(crate) type PointStream = Box<dyn Iterator<Item = Result<Point, Unreadable>> + Send>;

impl History {
    /// The readings, or buckets of them, that were durable in the log when this was called. Of
    /// readings with the same time the last in the log counts. Cancel safe.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn points(
        self: &Arc<Self>,
        tenant: &TenantId,
        device: &DeviceId,
        selection: &Selection,
        page: Page,
    ) -> Result<Points, QueryError> {
        let limit = page.limit.clamp(1, Page::LIMIT_MAX);
        let mut selection = selection.clone();
        let whole = selection.from;
        if let Some(after) = page.after {
            selection.from = selection.from.max(after);
        }
        let (tenant, device) = (tenant.clone(), device.clone());
        self.ask(move |history, durable| {
            let mut stream = history.stream(&tenant, &device, &selection, (whole, durable))?;
            let points = stream.by_ref().take(limit).collect::<Result<Vec<_>, _>>()?;
            let next = stream.next().transpose()?.map(|point| point.ts);
            Ok(Points { points, next })
        })
        .await
    }

    /// The keys of which the device has readings from `born` on, in order.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn keys(
        self: &Arc<Self>,
        tenant: &TenantId,
        device: &DeviceId,
        born: Position,
    ) -> Result<Vec<Arc<str>>, QueryError> {
        let (tenant, device) = (tenant.clone(), device.clone());
        self.ask(move |history, durable| {
            history.advance(durable)?;
            let mut keys = BTreeSet::new();
            let (sealed, files, to) = {
                let state = history.state();
                state.tail.collect_keys((&tenant, &device), born, &mut keys);
                let files = state.files.get(&tenant).cloned().unwrap_or_default();
                (state.sealed.clone(), files, state.tail.to)
            };
            if let Some(sealed) = sealed {
                sealed.collect_keys((&tenant, &device), born, &mut keys);
            }
            history.scan_log((to, durable), |position, source, readings| {
                let is_meant = source.tenant == tenant.as_str() && source.device == device.as_str();
                if is_meant && position >= born {
                    keys.extend(readings.iter().map(|reading| Arc::from(reading.key)));
                }
            })?;
            for file in files.iter().filter(|file| file.to >= born) {
                let read = history.footers.collect_keys(&file.path, &device, born, &mut keys);
                read.map_err(|source| QueryError::File { path: file.path.clone(), source })?;
            }
            Ok(keys.into_iter().collect())
        })
        .await
    }

    /// Runs a query off this thread, a few at a time, with the position up to which it must see.
    pub(crate) async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&Self, Position) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, QueryError> {
        let durable = self.log.durability().position();
        let Ok(turn) = Arc::clone(&self.queries).acquire_owned().await else { return Err(QueryError::Ended) };
        let history = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            query(&history, durable)
        })
        .await
        .unwrap_or(Err(QueryError::Ended))
    }

    /// The points of a selection; `whole` names the bucket where the whole range is one.
    pub(crate) fn stream(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        selection: &Selection,
        (whole, durable): (Timestamp, Position),
    ) -> Result<PointStream, QueryError> {
        let rows = self.rows(tenant, device, selection, durable)?;
        let width = match (selection.every, selection.aggregate) {
            (Some(every), _) => Width::every(every),
            (None, Some(_)) => Width::Whole(whole),
            (None, None) => {
                return Ok(Box::new(rows.map(|row| {
                    row.map(|row| Point { ts: row.ts, value: spelled(row.value), quality: row.quality })
                })));
            }
        };
        Ok(Box::new(Buckets::new(rows, width, selection.aggregate.unwrap_or(Aggregate::Mean))))
    }

    fn rows(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        selection: &Selection,
        durable: Position,
    ) -> Result<Merged, QueryError> {
        self.advance(durable)?;
        let wanted = Wanted {
            device: device.clone(),
            key: Arc::clone(&selection.key),
            from: selection.from,
            to: selection.to,
            born: selection.born,
        };
        let series = (tenant, device, &*selection.key);
        let has = |ts, position| wanted.has(ts, position);
        let (newest, sealed, files, to) = {
            let state = self.state();
            let files = state.files.get(tenant).into_iter().flatten();
            let files = files.filter(|file| wanted.may_be_in(file)).cloned().collect();
            (state.tail.rows_of(series, has), state.sealed.clone(), files, state.tail.to)
        };
        let sealed = sealed.map(|sealed| sealed.rows_of(series, has)).unwrap_or_default();
        let mut rest = Vec::new();
        self.scan_log((to, durable), |position, source, readings| {
            if source.tenant != tenant.as_str() || source.device != device.as_str() {
                return;
            }
            let of_series = readings.iter().filter(|reading| *reading.key == *selection.key);
            for ReadingRef { ts, value, quality, .. } in of_series {
                if wanted.has(*ts, position) {
                    rest.push(Row { ts: *ts, position, value: (*value).into(), quality: *quality });
                }
            }
        })?;
        Ok(Merged::new(Arc::clone(&self.footers), wanted, files, vec![sealed, newest, rest]))
    }

    /// Reads what stands in the log and found no room in memory.
    fn scan_log(
        &self,
        (mut after, durable): (Position, Position),
        mut each: impl FnMut(Position, SourceRef<'_>, &[ReadingRef<'_>]),
    ) -> Result<(), QueryError> {
        let mut room = LOG_BYTES_MAX;
        while after < durable {
            room = room.checked_sub(READ_BYTES_MAX).ok_or(QueryError::Behind)?;
            let batch = read_over_damage(&*self.log, after)?;
            if batch.next <= after {
                break;
            }
            for_each_message(&batch, &mut each);
            after = batch.next;
        }
        Ok(())
    }
}
