//! The readings that are in no file yet, 40 bytes each and names stored once.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use roost_hub::id::{DeviceId, InvalidId, TenantId};
use roost_hub::reading::{Quality, ReadingRef, ValueRef};
use roost_hub::record::SourceRef;
use roost_hub::storage::Position;
use roost_hub::time::Timestamp;

use crate::columns::{Row, RowRef};

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

/// The series of one device.
#[derive(Debug, Default)]
struct DeviceSeries {
    /// Their numbers, in the order in which they first came.
    in_order: Vec<u32>,
    /// Where each stands in there.
    places: HashMap<Arc<str>, usize>,
}

impl DeviceSeries {
    /// The place and number of a series. A device names its keys in the same order every time, so the
    /// next one is looked at first.
    fn find(&self, series: &[Series], key: &str, next: usize) -> Option<(usize, u32)> {
        let next = if next < self.in_order.len() { next } else { 0 };
        let guess = self.in_order.get(next).copied()?;
        if series.get(guess as usize).is_some_and(|series| *series.key == *key) {
            return Some((next, guess));
        }
        let place = self.places.get(key).copied()?;
        Some((place, self.in_order.get(place).copied()?))
    }

    fn number(&self, key: &str) -> Option<u32> {
        self.in_order.get(*self.places.get(key)?).copied()
    }

    fn add(&mut self, key: Arc<str>, number: u32) -> usize {
        let place = self.in_order.len();
        self.in_order.push(number);
        self.places.insert(key, place);
        place
    }
}

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
    devices: HashMap<TenantId, HashMap<DeviceId, DeviceSeries>>,
    texts: String,
}

/// The rows of one tenant in the order of a file, later readings of the same time left out.
pub(crate) struct TenantRows<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) series: Vec<SeriesRows<'a>>,
    pub(crate) ts_min: Timestamp,
    pub(crate) ts_max: Timestamp,
}

/// The rows of one series in the order of time, each by its number.
pub(crate) struct SeriesRows<'a> {
    pub(crate) device: &'a DeviceId,
    pub(crate) key: &'a Arc<str>,
    pub(crate) rows: Vec<u32>,
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
            devices: HashMap::new(),
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

    /// # Errors
    /// [`InvalidId`] when the source is none; nothing is kept then.
    pub(crate) fn push(
        &mut self,
        position: Position,
        source: SourceRef<'_>,
        readings: &[ReadingRef<'_>],
    ) -> Result<(), InvalidId> {
        if !self.devices.contains_key(source.tenant) {
            self.devices.insert(TenantId::parse(source.tenant)?, HashMap::new());
        }
        let Some(devices) = self.devices.get_mut(source.tenant) else { return Ok(()) };
        if !devices.contains_key(source.device) {
            devices.insert(DeviceId::parse(source.device)?, DeviceSeries::default());
        }
        let Some(known) = devices.get_mut(source.device) else { return Ok(()) };
        let mut place = 0;
        for reading in readings {
            let number = match known.find(&self.series, reading.key, place) {
                Some((found, number)) => {
                    place = found + 1;
                    number
                }
                None => {
                    let (tenant, device) = (TenantId::parse(source.tenant)?, DeviceId::parse(source.device)?);
                    let key = Arc::from(reading.key);
                    let number = number_of(self.series.len());
                    place = known.add(Arc::clone(&key), number) + 1;
                    self.series.push(Series { tenant, device, key, last: NONE });
                    number
                }
            };
            let Some(series) = self.series.get_mut(number as usize) else { continue };
            let (kind, bits) = encode(reading.value, &mut self.texts);
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
        Ok(())
    }

    /// The readings of one series that `wanted` picks, in the order of the log.
    pub(crate) fn rows_of(
        &self,
        (tenant, device, key): (&TenantId, &DeviceId, &str),
        wanted: impl Fn(Timestamp, Position) -> bool,
    ) -> Vec<Row> {
        let known = self.devices.get(tenant).and_then(|devices| devices.get(device));
        let number = known.and_then(|known| known.number(key));
        let mut next = number.and_then(|number| self.series.get(number as usize)).map_or(NONE, |s| s.last);
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
        let Some(known) = self.devices.get(tenant).and_then(|devices| devices.get(device)) else { return };
        for series in known.in_order.iter().filter_map(|number| self.series.get(*number as usize)) {
            let last = self.rows.get(series.last as usize);
            if last.is_some_and(|last| last.position >= born.0) {
                keys.insert(Arc::clone(&series.key));
            }
        }
    }

    /// Every reading in the order of the files: by tenant, key, device, time. Of several readings
    /// of one series at one time only the last is in it.
    pub(crate) fn in_file_order(&self) -> Vec<TenantRows<'_>> {
        let mut rows_of: Vec<Vec<u32>> = vec![Vec::new(); self.series.len()];
        for (row, index) in self.rows.iter().zip(0..) {
            if let Some(rows) = rows_of.get_mut(row.series as usize) {
                rows.push(index);
            }
        }
        let mut series: Vec<(&Series, Vec<u32>)> = self.series.iter().zip(rows_of).collect();
        series.sort_unstable_by_key(|(series, _)| (&series.tenant, &series.key, &series.device));
        let mut tenants: Vec<TenantRows<'_>> = Vec::new();
        for (Series { tenant, device, key, .. }, mut rows) in series {
            self.put_in_order(&mut rows);
            let (Some(first), Some(last)) = (rows.first(), rows.last()) else { continue };
            let (first, last) = (Timestamp(self.ts(*first)), Timestamp(self.ts(*last)));
            let rows = SeriesRows { device, key, rows };
            match tenants.last_mut().filter(|of_last| of_last.tenant == tenant) {
                Some(of_last) => {
                    of_last.series.push(rows);
                    of_last.ts_min = of_last.ts_min.min(first);
                    of_last.ts_max = of_last.ts_max.max(last);
                }
                None => tenants.push(TenantRows { tenant, series: vec![rows], ts_min: first, ts_max: last }),
            }
        }
        tenants
    }

    /// Puts rows of a series from the order of the log into that of time, one for each time.
    fn put_in_order(&self, rows: &mut Vec<u32>) {
        // They nearly always are, and there is nothing to do then.
        if rows.is_sorted_by(|one, next| self.ts(*one) < self.ts(*next)) {
            return;
        }
        // The last one of a time first, so that it is the one that stays.
        rows.sort_unstable_by_key(|index| (self.ts(*index), std::cmp::Reverse(*index)));
        rows.dedup_by_key(|index| self.ts(*index));
    }

    fn ts(&self, index: u32) -> i64 {
        self.rows.get(index as usize).map_or(0, |row| row.ts)
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

fn encode(value: ValueRef<'_>, texts: &mut String) -> (Kind, u64) {
    match value {
        ValueRef::Boolean(value) => (Kind::Boolean, u64::from(value)),
        ValueRef::Integer(value) => (Kind::Integer, value.cast_unsigned()),
        ValueRef::Unsigned(value) => (Kind::Unsigned, value),
        ValueRef::Number(value) => (Kind::Number, value.to_bits()),
        ValueRef::Text(text) => {
            let start = u64::from(number_of(texts.len()));
            texts.push_str(text);
            (Kind::Text, start << 32 | u64::from(number_of(text.len())))
        }
        ValueRef::Gap => (Kind::Gap, 0),
    }
}
