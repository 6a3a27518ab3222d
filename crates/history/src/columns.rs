//! How a reading stands in columns.
//!
//! `value` is the number. `int` stands beside it where a double could lose digits (beyond 2^53).
//! `text` without `value` is a text; `text` beside `value` is its exact spelling: `true` and
//! `false` beside 1 and 0, and the digits of a whole number beyond 64 bits signed. A reading with
//! neither is a gap. `position` is the reading's place in the log: of two readings of one series
//! at one time, the one with the larger position counts.

use std::sync::Arc;

use arrow_array::builder::{ArrayBuilder as _, Int64Builder, StringBuilder, StringDictionaryBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type, TimestampMillisecondType};
use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow_buffer::NullBufferBuilder;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use roost_hub::reading::{Quality, Value, ValueRef};
use roost_hub::storage::Position;
use roost_hub::time::Timestamp;

pub(crate) const DEVICE: usize = 0;
pub(crate) const KEY: usize = 1;
pub(crate) const TS: usize = 2;
pub(crate) const POSITION: usize = 7;

/// Readings to a row group: what a query of one series reads at least.
pub(crate) const ROW_GROUP_LENGTH: usize = 65_536;

/// Up to here a double holds every whole number.
const EXACT_MAX: u64 = 1 << 53;

/// One reading of a series.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) ts: Timestamp,
    pub(crate) position: Position,
    pub(crate) value: Value,
    pub(crate) quality: Quality,
}

/// One reading of a series on its way into columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowRef<'a> {
    pub(crate) ts: Timestamp,
    pub(crate) position: Position,
    pub(crate) value: ValueRef<'a>,
    pub(crate) quality: Quality,
}

/// Whether the columns are those of a stored file or of an answer, which has no positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    Stored,
    Answer,
}

pub(crate) fn schema(layout: Layout) -> SchemaRef {
    let names = || DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let mut fields = vec![
        Field::new("device", names(), false),
        Field::new("key", names(), false),
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, Some(Arc::from("UTC"))), false),
        Field::new("value", DataType::Float64, true),
        Field::new("int", DataType::Int64, true),
        Field::new("text", DataType::Utf8, true),
        Field::new("quality", names(), false),
    ];
    if layout == Layout::Stored {
        fields.push(Field::new("position", DataType::Int64, false));
    }
    Arc::new(Schema::new(fields))
}

/// How every file is written.
///
/// # Errors
/// When this build of the compressor does not know level 1.
pub(crate) fn properties() -> Result<WriterProperties, ParquetError> {
    let sorting = [KEY, DEVICE, TS]
        .iter()
        .filter_map(|column| i32::try_from(*column).ok())
        .map(|column_idx| SortingColumn { column_idx, descending: false, nulls_first: false })
        .collect();
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_LENGTH))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_sorting_columns(Some(sorting));
    for column in ["ts", "position", "int"] {
        let path = ColumnPath::from(column);
        builder = builder
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
    }
    // Neighbours of a series are much alike in their first bytes and often in their last; half the time
    // of a dictionary, and smaller for what moves slowly.
    let value = ColumnPath::from("value");
    builder = builder
        .set_column_dictionary_enabled(value.clone(), false)
        .set_column_encoding(value, Encoding::BYTE_STREAM_SPLIT);
    // No query looks for a quality.
    builder = builder.set_column_statistics_enabled(ColumnPath::from("quality"), EnabledStatistics::None);
    Ok(builder.build())
}

/// A column of names in which the same one stands many times in a row: looked up once for all of them.
#[derive(Default)]
struct Names {
    builder: StringDictionaryBuilder<Int32Type>,
    last: String,
    count: usize,
}

impl Names {
    fn push(&mut self, name: &str, count: usize) {
        if self.last != name {
            self.settle();
            self.last.replace_range(.., name);
        }
        self.count += count;
    }

    fn settle(&mut self) {
        if self.count > 0 {
            self.builder.append_values(&self.last, std::mem::take(&mut self.count));
        }
    }

    fn finish(mut self) -> ArrayRef {
        self.settle();
        Arc::new(self.builder.finish())
    }
}

/// Rows on their way into columns. Most have a number and nothing else, so `int` and `text` are filled
/// up only when one has.
pub(crate) struct Columns {
    layout: Layout,
    device: Names,
    key: Names,
    ts: Vec<i64>,
    value: Vec<f64>,
    has_value: NullBufferBuilder,
    int: Int64Builder,
    text: StringBuilder,
    quality: Names,
    position: Vec<i64>,
}

impl Columns {
    pub(crate) fn new(layout: Layout) -> Self {
        Self {
            layout,
            device: Names::default(),
            key: Names::default(),
            ts: Vec::new(),
            value: Vec::new(),
            has_value: NullBufferBuilder::new(ROW_GROUP_LENGTH),
            int: Int64Builder::new(),
            text: StringBuilder::new(),
            quality: Names::default(),
            position: Vec::new(),
        }
    }

    /// Puts rows of one series behind what is there.
    pub(crate) fn push_all<'a>(
        &mut self,
        device: &str,
        key: &str,
        rows: impl IntoIterator<Item = RowRef<'a>>,
    ) {
        let before = self.len();
        let rows = rows.into_iter();
        let more = rows.size_hint().0;
        self.ts.reserve(more);
        self.value.reserve(more);
        self.position.reserve(more);
        for row in rows {
            self.push(&row);
        }
        let count = self.len() - before;
        self.device.push(device, count);
        self.key.push(key, count);
    }

    fn push(&mut self, row: &RowRef<'_>) {
        self.quality.push(quality_name(row.quality), 1);
        let (mut number, mut int, mut text) = (None, None, None);
        let digits;
        match row.value {
            ValueRef::Boolean(value) => {
                number = Some(f64::from(u8::from(value)));
                text = Some(if value { "true" } else { "false" });
            }
            ValueRef::Integer(value) => {
                number = Some(value as f64);
                int = (value.unsigned_abs() > EXACT_MAX).then_some(value);
            }
            ValueRef::Unsigned(value) => {
                number = Some(value as f64);
                match i64::try_from(value) {
                    Ok(small) => int = (value > EXACT_MAX).then_some(small),
                    Err(_large) => {
                        digits = value.to_string();
                        text = Some(digits.as_str());
                    }
                }
            }
            ValueRef::Number(value) => number = Some(value),
            ValueRef::Text(value) => text = Some(value),
            ValueRef::Gap => {}
        }
        if let Some(int) = int {
            self.int.append_nulls(self.len().saturating_sub(self.int.len()));
            self.int.append_value(int);
        }
        if let Some(text) = text {
            self.text.append_nulls(self.len().saturating_sub(self.text.len()));
            self.text.append_value(text);
        }
        self.has_value.append(number.is_some());
        self.value.push(number.unwrap_or_default());
        self.ts.push(row.ts.0);
        self.position.push(row.position.0.cast_signed());
    }

    pub(crate) fn len(&self) -> usize {
        self.ts.len()
    }

    /// The columns so far; the next rows begin new ones.
    pub(crate) fn finish(self) -> Result<RecordBatch, ArrowError> {
        let count = self.len();
        let Self { layout, device, key, ts, value, mut has_value, mut int, mut text, quality, position } =
            self;
        int.append_nulls(count.saturating_sub(int.len()));
        text.append_nulls(count.saturating_sub(text.len()));
        let mut columns: Vec<ArrayRef> = vec![
            device.finish(),
            key.finish(),
            Arc::new(TimestampMillisecondArray::from(ts).with_timezone("UTC")),
            Arc::new(Float64Array::new(value.into(), has_value.finish())),
            Arc::new(int.finish()),
            Arc::new(text.finish()),
            quality.finish(),
        ];
        if layout == Layout::Stored {
            columns.push(Arc::new(Int64Array::from(position)));
        }
        RecordBatch::try_new(schema(layout), columns)
    }
}

/// The rows of a batch of a stored file; device and key need not be in it.
pub(crate) fn rows(batch: &RecordBatch) -> Result<Vec<Row>, ArrowError> {
    let wrong = || ArrowError::SchemaError("the columns are not those of a history file".to_owned());
    let column = |name: &str| batch.column_by_name(name).ok_or_else(wrong);
    let ts = column("ts")?.as_primitive_opt::<TimestampMillisecondType>().ok_or_else(wrong)?;
    let values = column("value")?.as_primitive_opt::<Float64Type>().ok_or_else(wrong)?;
    let ints = column("int")?.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?;
    let texts = column("text")?.as_string_opt::<i32>().ok_or_else(wrong)?;
    let qualities = column("quality")?.as_dictionary_opt::<Int32Type>().ok_or_else(wrong)?;
    let qualities = qualities.downcast_dict::<arrow_array::StringArray>().ok_or_else(wrong)?;
    let positions = column("position")?.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?;
    let texts = texts.iter().zip(qualities);
    let numbers = values.iter().zip(ints.iter());
    let places = ts.values().iter().zip(positions.values());
    let rows = places.zip(numbers).zip(texts).map(|(((ts, position), (number, int)), (text, quality))| Row {
        ts: Timestamp(*ts),
        position: Position(position.cast_unsigned()),
        value: value(number, int, text),
        quality: quality_named(quality.unwrap_or_default()),
    });
    Ok(rows.collect())
}

fn value(number: Option<f64>, int: Option<i64>, text: Option<&str>) -> Value {
    match (number, int, text) {
        (_, Some(int), _) => Value::Integer(int),
        (Some(_), None, Some("true")) => Value::Boolean(true),
        (Some(_), None, Some("false")) => Value::Boolean(false),
        (Some(number), None, Some(text)) => text.parse().map_or(Value::Number(number), Value::Unsigned),
        (Some(number), None, None) => Value::Number(number),
        (None, None, Some(text)) => Value::Text(Arc::from(text)),
        (None, None, None) => Value::Gap,
    }
}

/// The one spelling of a value in answers, whether it comes from a file or from memory: a whole
/// number is an integer, up to where a double holds every one of them.
pub(crate) fn spelled(value: Value) -> Value {
    match value {
        Value::Number(number) => whole(number).map_or(Value::Number(number), Value::Integer),
        Value::Unsigned(number) => i64::try_from(number).map_or(Value::Unsigned(number), Value::Integer),
        other => other,
    }
}

fn whole(number: f64) -> Option<i64> {
    let negative_zero = number == 0.0 && number.is_sign_negative();
    if number.fract() != 0.0 || number.abs() > EXACT_MAX as f64 || negative_zero {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "whole and at most 2^53, checked above")]
    Some(number as i64)
}

pub(crate) fn quality_name(quality: Quality) -> &'static str {
    match quality {
        Quality::Good => "good",
        Quality::Stale => "stale",
        Quality::Bad => "bad",
        Quality::Clock => "clock",
        Quality::Kind => "kind",
    }
}

fn quality_named(name: &str) -> Quality {
    match name {
        "good" => Quality::Good,
        "stale" => Quality::Stale,
        "clock" => Quality::Clock,
        "kind" => Quality::Kind,
        _ => Quality::Bad,
    }
}
