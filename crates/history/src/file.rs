//! One Parquet file of one tenant: its name, writing it, and reading one series out of it.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMillisecondType};
use arrow_array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow_buffer::BooleanBuffer;
use arrow_schema::ArrowError;
use parquet::arrow::arrow_reader::{
    ArrowPredicateFn, ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder, RowFilter,
};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;
use roost_hub::id::DeviceId;
use roost_hub::storage::Position;
use roost_hub::time::Timestamp;

use crate::columns::{self, Columns, DEVICE, KEY, Layout, POSITION, ROW_GROUP_LENGTH, Row, TS};
use crate::tail::{Tail, TenantRows};

/// Rows that are decoded at once.
const BATCH_LENGTH: usize = 2_048;
/// Rows that are fetched at once to be written.
const GATHERED_LENGTH: usize = 512;
/// Footers that are kept in memory; when there are more, all are forgotten and read again.
const FOOTERS_LENGTH_MAX: usize = 512;

/// What a file's name tells: `{from}_{to}_{ts_min}_{ts_max}.parquet`, times in milliseconds since
/// 1970. The file has the tenant's readings at log positions after `from` up to `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HistoryFile {
    pub(crate) path: PathBuf,
    pub(crate) to: Position,
    pub(crate) ts_min: Timestamp,
    pub(crate) ts_max: Timestamp,
}

impl HistoryFile {
    pub(crate) fn name(from: Position, to: Position, ts_min: Timestamp, ts_max: Timestamp) -> String {
        format!("{}_{}_{}_{}.parquet", from.0, to.0, ts_min.0, ts_max.0)
    }

    /// Reads the name; `None` when it is no history file.
    pub(crate) fn parse(path: PathBuf) -> Option<Self> {
        let name = path.file_name()?.to_str()?.strip_suffix(".parquet")?;
        let mut parts = name.split('_');
        let _from: u64 = parts.next()?.parse().ok()?;
        let to = Position(parts.next()?.parse().ok()?);
        let ts_min = Timestamp(parts.next()?.parse().ok()?);
        let ts_max = Timestamp(parts.next()?.parse().ok()?);
        parts.next().is_none().then_some(Self { path, to, ts_min, ts_max })
    }
}

/// Writes the rows as one Parquet file; the caller syncs it.
pub(crate) fn write(file: &File, tail: &Tail, rows: &TenantRows<'_>) -> Result<(), ParquetError> {
    let schema = columns::schema(Layout::Stored);
    let mut writer = ArrowWriter::try_new(file, schema, Some(columns::properties()?))?;
    let mut columns = Columns::new(Layout::Stored);
    for series in &rows.series {
        let mut left = series.rows.as_slice();
        while !left.is_empty() {
            let room = ROW_GROUP_LENGTH.saturating_sub(columns.len()).min(GATHERED_LENGTH);
            let (now, later) = left.split_at_checked(room).unwrap_or((left, &[]));
            // They lie far apart in memory: fetched one after the other, the waits overlap.
            let found: Vec<_> = now.iter().filter_map(|index| tail.at(*index)).collect();
            columns.push_all(series.device.as_str(), series.key, found);
            left = later;
            if columns.len() >= ROW_GROUP_LENGTH {
                let full = std::mem::replace(&mut columns, Columns::new(Layout::Stored));
                writer.write(&full.finish()?)?;
            }
        }
    }
    writer.write(&columns.finish()?)?;
    writer.close()?;
    Ok(())
}

/// Which readings of which series of a tenant.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) device: DeviceId,
    pub(crate) key: Arc<str>,
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    pub(crate) born: Position,
}

impl Wanted {
    pub(crate) fn has(&self, ts: Timestamp, position: Position) -> bool {
        self.from <= ts && ts < self.to && self.born <= position
    }

    pub(crate) fn may_be_in(&self, file: &HistoryFile) -> bool {
        file.ts_min < self.to && self.from <= file.ts_max && self.born <= file.to
    }
}

/// The footers read lately.
#[derive(Debug, Default)]
pub(crate) struct Footers(Mutex<HashMap<PathBuf, ArrowReaderMetadata>>);

impl Footers {
    fn open(&self, path: &Path) -> Result<(File, ArrowReaderMetadata), ParquetError> {
        let file = File::open(path)?;
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
        if let Some(known) = known {
            return Ok((file, known));
        }
        let footer = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())?;
        let mut footers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if footers.len() >= FOOTERS_LENGTH_MAX {
            footers.clear();
        }
        footers.insert(path.to_owned(), footer.clone());
        Ok((file, footer))
    }

    /// The wanted rows of a file in the order of time.
    pub(crate) fn read(&self, path: &Path, wanted: &Wanted) -> Result<SeriesRows, ParquetError> {
        let (file, footer) = self.open(path)?;
        let groups = groups(&footer, |group| {
            may_hold_text(group, KEY, &wanted.key)
                && may_hold_text(group, DEVICE, wanted.device.as_str())
                && may_hold_between(group, TS, wanted.from.0, wanted.to.0)
        });
        // The time is looked at only where the names fit.
        let schema = footer.parquet_schema();
        let by_name =
            ArrowPredicateFn::new(ProjectionMask::leaves(schema, [DEVICE, KEY]), name_matcher(wanted));
        let by_time = ArrowPredicateFn::new(ProjectionMask::leaves(schema, [TS]), time_matcher(wanted));
        let projection = ProjectionMask::leaves(schema, TS..=POSITION);
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, footer)
            .with_row_groups(groups)
            .with_projection(projection)
            .with_row_filter(RowFilter::new(vec![Box::new(by_name), Box::new(by_time)]))
            .with_batch_size(BATCH_LENGTH)
            .build()?;
        Ok(SeriesRows { reader, rows: Vec::new().into_iter(), born: wanted.born })
    }

    /// Adds the keys of which `device` has readings from `born` on.
    pub(crate) fn collect_keys(
        &self,
        path: &Path,
        device: &DeviceId,
        born: Position,
        keys: &mut BTreeSet<Arc<str>>,
    ) -> Result<(), ParquetError> {
        let (file, footer) = self.open(path)?;
        let groups = groups(&footer, |group| {
            may_hold_text(group, DEVICE, device.as_str())
                && may_hold_between(group, POSITION, born.0.cast_signed(), i64::MAX)
        });
        let schema = footer.parquet_schema();
        let mask = ProjectionMask::leaves(schema, [DEVICE, POSITION]);
        let (name, born) = (device.clone(), born.0.cast_signed());
        let matches = move |batch: RecordBatch| match batch.columns() {
            [devices, positions] => {
                let positions = positions.as_primitive_opt::<Int64Type>().ok_or_else(wrong_type)?;
                let later = positions.values().iter().map(|position| *position >= born).collect();
                Ok(both(&is_text(devices, name.as_str())?, &later))
            }
            _ => Err(ArrowError::SchemaError("two columns were asked for".to_owned())),
        };
        let projection = ProjectionMask::leaves(schema, [KEY]);
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, footer)
            .with_row_groups(groups)
            .with_projection(projection)
            .with_row_filter(RowFilter::new(vec![Box::new(ArrowPredicateFn::new(mask, matches))]))
            .build()?;
        for batch in reader {
            let batch = batch?;
            let names = batch.columns().first().and_then(|column| column.as_dictionary_opt::<Int32Type>());
            let Some(names) = names.and_then(|names| names.downcast_dict::<StringArray>()) else { continue };
            let mut last = None;
            for name in names.into_iter().flatten() {
                if last != Some(name) {
                    keys.insert(Arc::from(name));
                    last = Some(name);
                }
            }
        }
        Ok(())
    }
}

type Match = Result<BooleanArray, ArrowError>;

fn wrong_type() -> ArrowError {
    ArrowError::SchemaError("a column has another type than this version writes".to_owned())
}

/// The rows in which a column of names has this one: looked up once among the names, then by number.
/// (The kernels that do this for any type cost a minute of build time more.)
fn is_text(column: &ArrayRef, text: &str) -> Result<BooleanBuffer, ArrowError> {
    let dictionary = column.as_dictionary_opt::<Int32Type>().ok_or_else(wrong_type)?;
    let names = dictionary.values().as_string_opt::<i32>().ok_or_else(wrong_type)?;
    let is_wanted: Vec<bool> = names.iter().map(|name| name == Some(text)).collect();
    let of_row = |number: Option<i32>| {
        let number = number.and_then(|number| usize::try_from(number).ok());
        number.and_then(|number| is_wanted.get(number)).copied().unwrap_or(false)
    };
    Ok(dictionary.keys().iter().map(of_row).collect())
}

fn both(one: &BooleanBuffer, other: &BooleanBuffer) -> BooleanArray {
    BooleanArray::new(one & other, None)
}

fn name_matcher(wanted: &Wanted) -> impl FnMut(RecordBatch) -> Match + Send + 'static {
    let (device, key) = (wanted.device.clone(), Arc::clone(&wanted.key));
    move |batch| match batch.columns() {
        [devices, keys] => Ok(both(&is_text(devices, device.as_str())?, &is_text(keys, &key)?)),
        _ => Err(ArrowError::SchemaError("two columns were asked for".to_owned())),
    }
}

fn time_matcher(wanted: &Wanted) -> impl FnMut(RecordBatch) -> Match + Send + 'static {
    let range = wanted.from.0..wanted.to.0;
    move |batch| match batch.columns() {
        [times] => {
            let times = times.as_primitive_opt::<TimestampMillisecondType>().ok_or_else(wrong_type)?;
            let within: BooleanBuffer = times.values().iter().map(|time| range.contains(time)).collect();
            Ok(BooleanArray::new(within, None))
        }
        _ => Err(ArrowError::SchemaError("one column was asked for".to_owned())),
    }
}

fn groups(footer: &ArrowReaderMetadata, keep: impl Fn(&RowGroupMetaData) -> bool) -> Vec<usize> {
    let groups = footer.metadata().row_groups().iter().enumerate();
    groups.filter(|(_, group)| keep(group)).map(|(index, _)| index).collect()
}

fn statistics(group: &RowGroupMetaData, column: usize) -> Option<&Statistics> {
    group.columns().get(column)?.statistics()
}

fn may_hold_text(group: &RowGroupMetaData, column: usize, text: &str) -> bool {
    let Some(found) = statistics(group, column) else { return true };
    let (Some(low), Some(high)) = (found.min_bytes_opt(), found.max_bytes_opt()) else { return true };
    low <= text.as_bytes() && text.as_bytes() <= high
}

fn may_hold_between(group: &RowGroupMetaData, column: usize, from: i64, to: i64) -> bool {
    let Some(Statistics::Int64(found)) = statistics(group, column) else { return true };
    let (Some(low), Some(high)) = (found.min_opt(), found.max_opt()) else { return true };
    *low < to && from <= *high
}

/// The rows of one series in one file, in the order of time.
pub(crate) struct SeriesRows {
    reader: ParquetRecordBatchReader,
    rows: std::vec::IntoIter<Row>,
    born: Position,
}

impl Iterator for SeriesRows {
    type Item = Result<Row, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            for row in self.rows.by_ref() {
                if row.position >= self.born {
                    return Some(Ok(row));
                }
            }
            let rows = self.reader.next()?.and_then(|batch| columns::rows(&batch));
            match rows {
                Ok(rows) => self.rows = rows.into_iter(),
                Err(error) => return Some(Err(error.into())),
            }
        }
    }
}
