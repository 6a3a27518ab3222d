//! Measures the history: readings a second into memory and into files, bytes a reading, query times.
//!
//! `cargo run --release -p roost-history --example ingest_rate -- [devices] [minutes]`
//! Each device sends four readings every ten seconds: a temperature, a humidity, a counter and a switch.
#![expect(clippy::print_stdout, reason = "an example that prints what it measured")]
#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roost_history::{Aggregate, FlushRule, History, Page, Selection};
use roost_hub::id::{DeviceId, TenantId};
use roost_hub::message::{Message, Telemetry};
use roost_hub::reading::{Quality, Reading, Value};
use roost_hub::record::encode_message;
use roost_hub::storage::memory::MemoryStore;
use roost_hub::storage::{Log, Position};
use roost_hub::time::Timestamp;
use roost_hub::topic::Topic;

const START: i64 = 1_700_000_000_000;

/// A small repeatable source of noise (xorshift).
struct Noise(u64);

impl Noise {
    fn next(&mut self, below: u64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below).cast_signed()
    }
}

fn message(device: u64, round: i64, noise: &mut Noise) -> Result<Message, Box<dyn Error>> {
    let name = format!("device-{device:06}");
    let ts = Timestamp(START + round * 10_000 + (device % 10_000).cast_signed() + noise.next(50));
    let day = (round as f64 / 8_640.0 * std::f64::consts::TAU).sin();
    let tenths = |value: f64| (value * 10.0).round() / 10.0;
    let values = [
        ("temperature", Value::Number(tenths(21.0 + 5.0 * day + noise.next(5) as f64 / 10.0))),
        ("humidity", Value::Number(tenths(50.0 + noise.next(30) as f64 / 10.0))),
        ("uptime", Value::Integer(round * 10 + device.cast_signed())),
        ("relay", Value::Boolean(noise.next(10) == 0)),
    ];
    let readings = values.into_iter().map(|(key, value)| Reading {
        key: Arc::from(key),
        ts,
        value,
        quality: Quality::Good,
    });
    let mut message = Message::new(Topic::parse(&format!("devices/{name}/telemetry"))?, "", ts);
    message.telemetry =
        Some(Box::new(Telemetry { device: DeviceId::parse(&name)?, readings: readings.collect() }));
    Ok(message)
}

fn size(dir: &Path) -> std::io::Result<u64> {
    let mut total = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        total += if entry.file_type()?.is_dir() { size(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(total)
}

async fn ask(history: &Arc<History>, what: &str, selection: &Selection) -> Result<(), Box<dyn Error>> {
    let (tenant, device) = (TenantId::parse("default")?, DeviceId::parse("device-000007")?);
    for turn in ["first", "again"] {
        let start = Instant::now();
        let points = history.points(&tenant, &device, selection, Page::default()).await?.points.len();
        println!("{what}, {turn}: {points} points in {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(())
}

async fn measure(devices: u64, minutes: i64) -> Result<(), Box<dyn Error>> {
    let log = MemoryStore::store().log;
    let tenant = TenantId::parse("default")?;
    let mut noise = Noise(88_172_645_463_325_252);
    let (mut total, mut bytes) = (0_u64, Vec::new());
    for round in 0..minutes * 6 {
        for device in 0..devices {
            bytes.clear();
            encode_message(&tenant, &message(device, round, &mut noise)?, &[], None, &mut bytes);
            log.append(&[&bytes])?;
            total += 4;
        }
    }
    println!("{total} readings of {devices} devices over {minutes} minutes");
    let dir = std::env::temp_dir().join(format!("roost-history-{}", std::process::id()));

    let roomy = FlushRule {
        readings_max: usize::try_from(total)? + 1,
        bytes_max: usize::MAX,
        ..FlushRule::default()
    };
    let history = History::open(&dir, Arc::clone(&log), roomy)?;
    let selection = Selection {
        key: Arc::from("temperature"),
        from: Timestamp(START),
        to: Timestamp(i64::MAX),
        born: Position(0),
        every: None,
        aggregate: None,
    };
    let start = Instant::now();
    history.keys(&tenant, &DeviceId::parse("device-000007")?, Position(0)).await?;
    println!(
        "log to memory: {:.2} million readings a second",
        total as f64 / start.elapsed().as_secs_f64() / 1e6
    );
    ask(&history, "one series from memory", &selection).await?;
    drop(history);

    let history = History::open(&dir, Arc::clone(&log), FlushRule::default())?;
    let start = Instant::now();
    history.flush(Timestamp(START)).await?;
    println!(
        "log to files: {:.2} million readings a second",
        total as f64 / start.elapsed().as_secs_f64() / 1e6
    );
    println!("{:.2} bytes a reading on disk", size(&dir)? as f64 / total as f64);
    drop(history);

    let start = Instant::now();
    let history = open_on(&dir, &log)?;
    println!("open: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    ask(&history, "one series from files", &selection).await?;
    let every = Some(Duration::from_secs(60));
    let means = Selection { every, aggregate: Some(Aggregate::Mean), ..selection.clone() };
    ask(&history, "its means by the minute", &means).await?;
    let short = Selection { to: Timestamp(START + 60_000), ..selection };
    ask(&history, "its first minute", &short).await?;
    println!("the files are in {}", dir.display());
    Ok(())
}

fn open_on(dir: &Path, log: &Arc<dyn Log>) -> Result<Arc<History>, Box<dyn Error>> {
    Ok(History::open(dir, Arc::clone(log), FlushRule::default())?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let devices = arguments.next().map_or(Ok(1_000), |text| text.parse())?;
    let minutes = arguments.next().map_or(Ok(120), |text| text.parse())?;
    tokio::runtime::Builder::new_multi_thread().enable_time().build()?.block_on(measure(devices, minutes))
}
