//! The readings that are in no file yet, 40 bytes each and names stored once.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use roost_hub::id::{DeviceId, TenantId};
use roost_hub::message::Telemetry;
use roost_hub::reading::{Quality, Value};
use roost_hub::storage::Position;
use roost_hub::time::Timestamp;

use crate::columns::{Row, RowRef, ValueRef};

/// What a series costs beside its rows: names, maps and their entries, roughly.
const SERIES_BYTES: usize = 256;
/// The most rows for which room is made beforehand.
const CAPACITY_MAX: usize = 1 << 20;
/// The `previous` of the first row of a series.
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Boolean,
    Integer,
    Unsigned,
    Number,
    Text,
    Gap,
}

/// One reading. `bits` is the value, or where its text stands: start and length, 32 bits each.
#[derive(Clone, Copy, Debug)]
struct Stored {
    ts: i64,
    position: u64,
    bits: u64,
    series: u32,
    previous: u32,
    kind: Kind,
    quality: Quality,
}

#[derive(Debug)]
struct Series {
    tenant: TenantId,
    device: DeviceId,
    key: Arc<str>,
    last: u32,
}

type KeyNumbers = HashMap<Arc<str>, u32>;

/// Readings of the log after `from` up to `to`, in the order of the log.
#[derive(Debug)]
pub(crate) struct Tail {
    /// Everything up to here is in files or in an earlier tail.
    pub(crate) from: Position,
    /// Everything up to here is in here, or earlier.
    pub(crate) to: Position,
    /// When the recorder first saw something in here.
    pub(crate) since: Option<Instant>,
    /// The time by which the files are filed, chosen once so that a retry writes the same names.
    pub(crate) filed: OnceLock<Timestamp>,
    rows: Vec<Stored>,
    series: Vec<Series>,
    numbers: HashMap<TenantId, HashMap<DeviceId, KeyNumbers>>,
    texts: String,
}

/// The rows of one tenant in the order of a file, later readings of the same time left out.
pub(crate) struct TenantRows<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) rows: Vec<(&'a DeviceId, &'a Arc<str>, u32)>,
    pub(crate) ts_min: Timestamp,
    pub(crate) ts_max: Timestamp,
}

impl Tail {
    pub(crate) fn new(from: Position, capacity: usize) -> Self {
        Self {
            from,
            to: from,
            since: None,
            filed: OnceLock::new(),
            rows: Vec::with_capacity(capacity.min(CAPACITY_MAX)),
            series: Vec::new(),
            numbers: HashMap::new(),
            texts: String::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// About how much memory the readings take, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.rows.len() * size_of::<Stored>() + self.series.len() * SERIES_BYTES + self.texts.len()
    }

    pub(crate) fn push(&mut self, position: Position, tenant: &TenantId, telemetry: &Telemetry) {
        if !self.numbers.contains_key(tenant) {
            self.numbers.insert(tenant.clone(), HashMap::new());
        }
        let Some(devices) = self.numbers.get_mut(tenant) else { return };
        if !devices.contains_key(&telemetry.device) {
            devices.insert(telemetry.device.clone(), HashMap::new());
        }
        let Some(keys) = devices.get_mut(&telemetry.device) else { return };
        for reading in &telemetry.readings {
            let number = match keys.get(&*reading.key) {
                Some(number) => *number,
                None => {
                    let number = number_of(self.series.len());
                    self.series.push(Series {
                        tenant: tenant.clone(),
                        device: telemetry.device.clone(),
                        key: Arc::clone(&reading.key),
                        last: NONE,
                    });
                    keys.insert(Arc::clone(&reading.key), number);
                    number
                }
            };
            let Some(series) = self.series.get_mut(number as usize) else { return };
            let (kind, bits) = encode(&reading.value, &mut self.texts);
            let previous = std::mem::replace(&mut series.last, number_of(self.rows.len()));
            self.rows.push(Stored {
                ts: reading.ts.0,
                position: position.0,
                bits,
                series: number,
                previous,
                kind,
                quality: reading.quality,
            });
        }
    }

    /// The readings of one series that `wanted` picks, in the order of the log.
    pub(crate) fn rows_of(
        &self,
        (tenant, device, key): (&TenantId, &DeviceId, &str),
        wanted: impl Fn(Timestamp, Position) -> bool,
    ) -> Vec<Row> {
        let number = self.numbers.get(tenant).and_then(|devices| devices.get(device)?.get(key));
        let mut next = number.and_then(|number| self.series.get(*number as usize)).map_or(NONE, |s| s.last);
        let mut rows = Vec::new();
        while let Some(stored) = self.rows.get(next as usize) {
            if wanted(Timestamp(stored.ts), Position(stored.position)) {
                let RowRef { ts, position, value, quality } = self.row(stored);
                rows.push(Row { ts, position, value: value.into(), quality });
            }
            next = stored.previous;
        }
        rows.reverse();
        rows
    }

    /// Adds the keys of which `device` has readings from `born` on.
    pub(crate) fn collect_keys(
        &self,
        (tenant, device): (&TenantId, &DeviceId),
        born: Position,
        keys: &mut BTreeSet<Arc<str>>,
    ) {
        let Some(numbers) = self.numbers.get(tenant).and_then(|devices| devices.get(device)) else { return };
        for (key, number) in numbers {
            let last =
                self.series.get(*number as usize).and_then(|series| self.rows.get(series.last as usize));
            if last.is_some_and(|last| last.position >= born.0) {
                keys.insert(Arc::clone(key));
            }
        }
    }

    /// Every reading in the order of the files: by tenant, key, device, time. Of several readings
    /// of one series at one time only the last is in it.
    pub(crate) fn in_file_order(&self) -> Vec<TenantRows<'_>> {
        let mut names: Vec<(&Series, u32)> = self.series.iter().zip(0..).collect();
        names.sort_unstable_by_key(|(series, _)| (&series.tenant, &series.key, &series.device));
        let mut ranks = vec![0_u32; names.len()];
        for ((_, number), rank) in names.iter().zip(0..) {
            if let Some(place) = ranks.get_mut(*number as usize) {
                *place = rank;
            }
        }
        let mut order: Vec<(u32, i64, u32)> = self
            .rows
            .iter()
            .zip(0..)
            .filter_map(|(row, index)| Some((*ranks.get(row.series as usize)?, row.ts, index)))
            .collect();
        order.sort_unstable();
        let mut tenants: Vec<TenantRows<'_>> = Vec::new();
        let mut order = order.into_iter().peekable();
        while let Some((rank, ts, index)) = order.next() {
            if order.peek().is_some_and(|(next_rank, next_ts, _)| (*next_rank, *next_ts) == (rank, ts)) {
                continue;
            }
            let Some((series, _)) = names.get(rank as usize) else { continue };
            let ts = Timestamp(ts);
            let row = (&series.device, &series.key, index);
            match tenants.last_mut().filter(|last| *last.tenant == series.tenant) {
                Some(last) => {
                    last.rows.push(row);
                    last.ts_min = last.ts_min.min(ts);
                    last.ts_max = last.ts_max.max(ts);
                }
                None => tenants.push(TenantRows {
                    tenant: &series.tenant,
                    rows: vec![row],
                    ts_min: ts,
                    ts_max: ts,
                }),
            }
        }
        tenants
    }

    /// The reading that [`Tail::in_file_order`] names by its number.
    pub(crate) fn at(&self, index: u32) -> Option<RowRef<'_>> {
        self.rows.get(index as usize).map(|stored| self.row(stored))
    }

    fn row(&self, stored: &Stored) -> RowRef<'_> {
        let value = match stored.kind {
            Kind::Boolean => ValueRef::Boolean(stored.bits != 0),
            Kind::Integer => ValueRef::Integer(stored.bits.cast_signed()),
            Kind::Unsigned => ValueRef::Unsigned(stored.bits),
            Kind::Number => ValueRef::Number(f64::from_bits(stored.bits)),
            Kind::Text => {
                let (start, length) = ((stored.bits >> 32) as usize, (stored.bits & 0xFFFF_FFFF) as usize);
                ValueRef::Text(self.texts.get(start..start + length).unwrap_or_default())
            }
            Kind::Gap => ValueRef::Gap,
        };
        let (ts, position) = (Timestamp(stored.ts), Position(stored.position));
        RowRef { ts, position, value, quality: stored.quality }
    }
}

fn number_of(length: usize) -> u32 {
    u32::try_from(length).expect("the flush rule keeps a tail far below four thousand million readings")
}

fn encode(value: &Value, texts: &mut String) -> (Kind, u64) {
    match value {
        Value::Boolean(value) => (Kind::Boolean, u64::from(*value)),
        Value::Integer(value) => (Kind::Integer, value.cast_unsigned()),
        Value::Unsigned(value) => (Kind::Unsigned, *value),
        Value::Number(value) => (Kind::Number, value.to_bits()),
        Value::Text(text) => {
            let start = u64::from(number_of(texts.len()));
            texts.push_str(text);
            (Kind::Text, start << 32 | u64::from(number_of(text.len())))
        }
        Value::Gap => (Kind::Gap, 0),
    }
}
