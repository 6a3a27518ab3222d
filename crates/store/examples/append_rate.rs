//! How many records per second become durable, with so many on their way at any time.
//!
//! `cargo run --release -p roost-store --example append_rate -- DIRECTORY [RECORDS] [IN_FLIGHT [1: end as if killed]]`

#![expect(clippy::unwrap_used, reason = "an example ends by panicking")]
#![expect(clippy::print_stdout, reason = "figures are what it is for")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]
#![expect(clippy::cast_possible_truncation, reason = "a count of records fits")]

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use roost_hub::storage::{Expected, Key, Position, Store, ViewChange};
use roost_store::{Embedded, Options};

const RECORD: &[u8] = &[7; 200];
const VALUE: Bytes = Bytes::from_static(&[1; 300]);
const DEVICES: usize = 10_000;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().unwrap();
    let mut number = |or: u64| arguments.next().map_or(or, |text| text.parse().unwrap());
    let (records, in_flight, is_killed) = (number(2_000_000), number(2_000), number(0) > 0);
    let keys: Vec<Key> = (0..DEVICES)
        .map(|id| Key::of("devices").level("tenant").level(&id.to_string()).key().unwrap())
        .collect();

    let embedded = open(&directory, "open");
    append(&embedded.store(), records, in_flight).await;
    read(&embedded.store());
    write_tables(&embedded.store(), &keys);
    let started = Instant::now();
    drop(embedded);
    println!("close: {:?}", started.elapsed());

    let embedded = open(&directory, "open after close");
    read_tables(&embedded.store(), &keys);
    if is_killed {
        leave_behind(&embedded.store(), &keys).await;
        std::process::abort();
    }
}

fn open(directory: &str, what: &str) -> Embedded {
    let started = Instant::now();
    let embedded = Embedded::open(Path::new(directory), Options::default()).unwrap();
    println!("{what}: {:?}, the log ends at {:?}", started.elapsed(), embedded.store().log.end());
    embedded
}

fn each(started: Duration, count: usize) -> String {
    format!("{:.0} ns each", started.as_nanos() as f64 / count as f64)
}

async fn append(store: &Store, records: u64, in_flight: u64) {
    let mut durability = store.log.durability();
    let started = Instant::now();
    let (mut appended, mut spent) = (0, Duration::ZERO);
    let mut last = store.log.end();
    while appended < records {
        let start = Instant::now();
        let bound = durability.position().0 + in_flight;
        while appended < records && last.0 < bound {
            last = store.log.append(&[RECORD]).unwrap();
            appended += 1;
        }
        spent += start.elapsed();
        durability.reached(Position(last.0 - in_flight / 2)).await.unwrap();
    }
    durability.reached(last).await.unwrap();
    let rate = records as f64 / started.elapsed().as_secs_f64();
    println!("{rate:.0} durable records/s of {} bytes, {in_flight} in flight", RECORD.len());
    println!("append: {}", each(spent, appended as usize));
}

fn read(store: &Store) {
    let started = Instant::now();
    let (mut at, mut read) = (Position(0), 0);
    while at < store.log.end() {
        let batch = store.log.read_after(at, 256 * 1024).unwrap();
        read += batch.records.len();
        at = batch.next;
    }
    println!("read_after: {:.0} records/s", read as f64 / started.elapsed().as_secs_f64());
}

fn write_tables(store: &Store, keys: &[Key]) {
    let started = Instant::now();
    for key in keys {
        store.table.put(key, Some(VALUE), Expected::Any).unwrap();
    }
    println!("put: {}", each(started.elapsed(), DEVICES));
    let started = Instant::now();
    assert!(keys.iter().all(|key| store.table.get(key).unwrap().is_some()));
    println!("get, unsaved: {}", each(started.elapsed(), DEVICES));
    let changes = keys.iter().map(|key| ViewChange { key: key.clone(), value: Some(VALUE) }).collect();
    let started = Instant::now();
    store.table.save_view("twin", store.log.durability().position(), changes).unwrap();
    println!("save_view of {DEVICES}: {:?}", started.elapsed());
}

fn read_tables(store: &Store, keys: &[Key]) {
    for round in 1..=2 {
        let started = Instant::now();
        assert!(keys.iter().all(|key| store.table.get(key).unwrap().is_some()));
        println!("get, saved, round {round}: {}", each(started.elapsed(), DEVICES));
    }
    let started = Instant::now();
    let page = store.table.scan("devices/", None, 1_000).unwrap();
    println!("scan of {}: {:?}", page.len(), started.elapsed());
}

/// 200,000 records that the tables do not have yet, for the figure of opening after a kill.
async fn leave_behind(store: &Store, keys: &[Key]) {
    for key in keys.iter().cycle().take(20_000) {
        store.table.put(key, Some(VALUE), Expected::Any).unwrap();
    }
    let mut last = store.log.end();
    for _ in 0..180_000 {
        last = store.log.append(&[RECORD]).unwrap();
    }
    store.log.durability().reached(last).await.unwrap();
    println!("killed with the log at {last:?}");
}
