//! What queries answer, wherever the readings are.

use std::time::Duration;

use crate::common::{all, append, ask, device, open, pairs, reading, record, tenant};
use roost_history::{Aggregate, Export, Format, Page};
use roost_hub::id::TenantId;
use roost_hub::reading::{Quality, Value};
use roost_hub::storage::Position;
use roost_hub::storage::memory::MemoryStore;
use roost_hub::time::Timestamp;
use tempfile::TempDir;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn integer(value: i64) -> Value {
    Value::Integer(value)
}

#[tokio::test]
async fn what_was_acknowledged_is_in_the_next_answer() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryStore::store().log);
    let history = open(dir.path(), &log);
    append(&log, "a", vec![reading("temp", 5, 21.5), reading("hum", 5, 40_i64)]);
    assert_eq!(pairs(&history, "a", &all("temp")).await, [(5, Value::Number(21.5))]);
    append(&log, "a", vec![reading("temp", 6, 22.0)]);
    history.flush(NOW).await.unwrap();
    append(&log, "a", vec![reading("temp", 7, 23.0)]);
    assert_eq!(
        pairs(&history, "a", &all("temp")).await,
        [(5, Value::Number(21.5)), (6, integer(22)), (7, integer(23))]
    );
    assert_eq!(pairs(&history, "b", &all("temp")).await, []);
}

#[tokio::test]
async fn every_kind_of_value_comes_back_the_same_from_memory_and_from_a_file() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryStore::store().log);
    let values = [
        integer(0),
        integer(-1),
        integer(1 << 53),
        integer((1 << 53) + 1),
        integer(1 << 60),
        integer(i64::MIN),
        integer(i64::MAX),
        Value::Unsigned(u64::MAX),
        Value::Unsigned(1 << 63),
        Value::Number(0.1),
        Value::Number(-0.0),
        Value::Number(1e300),
        Value::Number(f64::MIN_POSITIVE),
        Value::Boolean(true),
        Value::Boolean(false),
        Value::Text("true".into()),
        Value::Text("18446744073709551615".into()),
        Value::Text("".into()),
        Value::Text("ä\n\"=1\0".into()),
        Value::Gap,
    ];
    let readings = values.iter().zip(0..).map(|(value, ts)| reading("k", ts, value.clone())).collect();
    append(&log, "a", readings);
    let history = open(dir.path(), &log);
    let before: Vec<Value> = pairs(&history, "a", &all("k")).await.into_iter().map(|pair| pair.1).collect();
    assert_eq!(before, values);
    history.flush(NOW).await.unwrap();
    let after: Vec<Value> = pairs(&history, "a", &all("k")).await.into_iter().map(|pair| pair.1).collect();
    assert_eq!(after, values);
}

#[tokio::test]
async fn the_quality_of_a_reading_survives_the_file() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryStore::store().log);
    let qualities = [Quality::Good, Quality::Stale, Quality::Bad, Quality::Clock, Quality::Kind];
    let readings = qualities.iter().zip(0..).map(|(quality, ts)| {
        let mut reading = reading("k", ts, 1_i64);
        reading.quality = *quality;
        reading
    });
    append(&log, "a", readings.collect());
    let history = open(dir.path(), &log);
    history.flush(NOW).await.unwrap();
    let points = ask(&history, "a", &all("k")).await.unwrap().points;
    assert_eq!(points.into_iter().map(|point| point.quality).collect::<Vec<_>>(), qualities);
}

#[tokio::test]
async fn j_10_a_type_flip_never_breaks_a_query() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryStore::store().log);
    let history = open(dir.path(), &log);
    append(&log, "a", vec![reading("k", 1, 10_i64)]);
    history.flush(NOW).await.unwrap();
    append(&log, "a", vec![reading("k", 2, "warm"), reading("k", 3, true)]);
    history.flush(NOW).await.unwrap();
    append(&log, "a", vec![reading("k", 4, 0.5)]);
    let found = pairs(&history, "a", &all("k")).await;
    let values: Vec<Value> = found.into_iter().map(|pair| pair.1).collect();
    let told = [integer(10), Value::Text("warm".into()), Value::Boolean(true), Value::Number(0.5)];
    assert_eq!(values, told);
    for (aggregate, told) in [
        (Aggregate::Count, integer(4)),
        (Aggregate::Sum, Value::Number(11.5)),
        (Aggregate::Max, integer(10)),
        (Aggregate::First, integer(10)),
        (Aggregate::Last, Value::Number(0.5)),
    ] {
        let mut selection = all("k");
        selection.aggregate = Some(aggregate);
        selection.from = Timestamp(0);
        assert_eq!(pairs(&history, "a", &selection).await, [(0, told)], "{aggregate:?}");
    }
}

#[tokio::test]
async fn of_two_readings_at_one_time_the_later_in_the_log_counts() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryStore::store().log);
    let history = open(dir.path(), &log);
    append(&log, "a", vec![reading("k", 1, 1_i64), reading("k", 1, 2_i64)]);
    assert_eq!(pairs(&history, "a", &all("k")).await, [(1, integer(2))]);
    history.flush(NOW).await.unwrap();
    assert_eq!(pairs(&history, "a", &all("k")).await, [(1, integer(2))]);
    append(&log, "a", vec![reading("k", 1, 3_i64)]);
    history.flush(NOW).await.unwrap();
    assert_eq!(pairs(&history, "a", &all("k")).await, [(1, integer(3))]);
    append(&log, "a", vec![reading("k", 1, 4_i64)]);
    assert_eq!(pairs(&history, "a", &all("k")).await, [(1, integer(4))]);
}

#[tokio::test]
async fn buckets_are_aligned_to_1970_also_before_it() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryStore::store().log);
    let history = open(dir.path(), &log);
    let times = [-61_000, -60_000, -1, 0, 59_999, 60_000, 200_000];
    append(&log, "a", times.iter().map(|ts| reading("k", *ts, 2_i64)).collect());
    let mut selection = all("k");
    selection.every = Some(Duration::from_secs(60));
    selection.aggregate = Some(Aggregate::Count);
    let told = [(-120_000, 1), (-60_000, 2), (0, 2), (60_000, 1), (180_000, 1)];
    let told: Vec<_> = told.into_iter().map(|(ts, count)| (ts, integer(count))).collect();
    assert_eq!(pairs(&history, "a", &selection).await, told);
    selection.aggregate = None;
    assert!(pairs(&history, "a", &selection).await.iter().all(|(_, mean)| *mean == integer(2)));
}

#[tokio::test]
async fn a_sum_of_whole_numbers_keeps_its_digits_and_an_endless_sum_is_a_gap() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryStore::store().log);
    let history = open(dir.path(), &log);
    append(&log, "a", vec![reading("k", 1, i64::MAX), reading("k", 2, 3_i64)]);
    append(&log, "a", vec![reading("f", 1, 1e308), reading("f", 2, 1e308)]);
    append(&log, "a", vec![reading("t", 1, "x"), reading("g", 1, Value::Gap)]);
    for (key, aggregate, told) in [
        ("k", Aggregate::Sum, Value::Unsigned(9_223_372_036_854_775_810)),
        ("f", Aggregate::Sum, Value::Gap),
        ("t", Aggregate::Mean, Value::Gap),
        ("t", Aggregate::Count, integer(1)),
        ("g", Aggregate::Count, integer(0)),
        ("g", Aggregate::Last, Value::Gap),
    ] {
        let mut selection = all(key);
        (selection.from, selection.aggregate) = (Timestamp(0), Some(aggregate));
        assert_eq!(pairs(&history, "a", &selection).await, [(0, told)], "{key} {aggregate:?}");
    }
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_overlap() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryStore::store().log);
    let history = open(dir.path(), &log);
    append(&log, "a", (0..10).map(|ts| reading("k", ts, ts)).collect());
    history.flush(NOW).await.unwrap();
    append(&log, "a", (10..25).map(|ts| reading("k", ts, ts)).collect());
    for every in [None, Some(Duration::from_millis(2))] {
        let mut selection = all("k");
        (selection.from, selection.every) = (Timestamp(0), every);
        let whole = ask(&history, "a", &selection).await.unwrap();
        assert_eq!(whole.next, None);
        let (mut page, mut found) = (Page { limit: 4, after: None }, Vec::new());
        loop {
            let points = history.points(&tenant(), &device("a"), &selection, page).await.unwrap();
            assert!(points.points.len() <= 4);
            found.extend(points.points);
            page.after = points.next;
            if page.after.is_none() {
                break;
            }
        }
        assert_eq!(found, whole.points);
    }
}

#[tokio::test]
async fn from_is_inclusive_and_to_is_exclusive() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryStore::store().log);
    let history = open(dir.path(), &log);
    append(&log, "a", (0..10).map(|ts| reading("k", ts, ts)).collect());
    let mut selection = all("k");
    (selection.from, selection.to) = (Timestamp(3), Timestamp(5));
    assert_eq!(pairs(&history, "a", &selection).await, [(3, integer(3)), (4, integer(4))]);
    history.flush(NOW).await.unwrap();
    assert_eq!(pairs(&history, "a", &selection).await, [(3, integer(3)), (4, integer(4))]);
    selection.to = Timestamp(1);
    assert_eq!(pairs(&history, "a", &selection).await, []);
}

#[tokio::test]
async fn a_device_created_again_does_not_show_what_the_deleted_one_measured() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryStore::store().log);
    let history = open(dir.path(), &log);
    append(&log, "a", vec![reading("k", 1, 1_i64), reading("k", 2, 1_i64), reading("old", 1, 1_i64)]);
    let born = Position(log.end().0 + 1);
    append(&log, "a", vec![reading("k", 2, 2_i64), reading("k", 3, 2_i64)]);
    let mut selection = all("k");
    selection.born = born;
    for _ in 0..2 {
        assert_eq!(pairs(&history, "a", &selection).await, [(2, integer(2)), (3, integer(2))]);
        let keys = history.keys(&tenant(), &device("a"), born).await.unwrap();
        assert_eq!(keys, ["k".into()]);
        let keys = history.keys(&tenant(), &device("a"), Position(0)).await.unwrap();
        assert_eq!(keys, ["k".into(), "old".into()]);
        history.flush(NOW).await.unwrap();
    }
}

#[tokio::test]
async fn tenants_do_not_see_each_other() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryStore::store().log);
    let history = open(dir.path(), &log);
    let other = TenantId::parse("other").unwrap();
    log.append(&[&record(&other, "a", vec![reading("k", 1, 1_i64)])]).unwrap();
    append(&log, "b", vec![reading("k", 1, 1_i64)]);
    for _ in 0..2 {
        assert_eq!(pairs(&history, "a", &all("k")).await, []);
        let found = history.points(&other, &device("a"), &all("k"), Page::default()).await.unwrap();
        assert_eq!(found.points.len(), 1);
        history.flush(NOW).await.unwrap();
    }
}

async fn bytes_of(mut export: Export) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(piece) = export.next().await {
        bytes.extend_from_slice(&piece.unwrap());
    }
    bytes
}

#[tokio::test]
async fn j_13_csv_cells_that_look_like_formulas_are_prefixed_and_numbers_are_not() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryStore::store().log);
    let history = open(dir.path(), &log);
    let texts = ["=1+1", "+1", "-1", "@a", "\tx", "\rx", "plain", "a\"b,c", ""];
    let mut readings: Vec<_> = texts.iter().zip(0..).map(|(text, ts)| reading("=k", ts, *text)).collect();
    readings.push(reading("=k", 20, -5_i64));
    readings.push(reading("=k", 21, -0.5));
    readings.push(reading("=k", 22, true));
    readings.push(reading("=k", 23, Value::Gap));
    append(&log, "a", readings);
    let export = history.export(&tenant(), &device("a"), &all("=k"), Format::Csv).await.unwrap();
    let told = [
        "device,key,ts,value,quality",
        "a,\"'=k\",0,\"'=1+1\",good",
        "a,\"'=k\",1,\"'+1\",good",
        "a,\"'=k\",2,\"'-1\",good",
        "a,\"'=k\",3,\"'@a\",good",
        "a,\"'=k\",4,\"'\tx\",good",
        "a,\"'=k\",5,\"'\rx\",good",
        "a,\"'=k\",6,\"plain\",good",
        "a,\"'=k\",7,\"a\"\"b,c\",good",
        "a,\"'=k\",8,\"\",good",
        "a,\"'=k\",20,-5,good",
        "a,\"'=k\",21,-0.5,good",
        "a,\"'=k\",22,true,good",
        "a,\"'=k\",23,,good",
        "",
    ];
    assert_eq!(String::from_utf8(bytes_of(export).await).unwrap(), told.join("\r\n"));
}

#[tokio::test]
async fn an_export_has_every_point_however_many() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryStore::store().log);
    let history = open(dir.path(), &log);
    for start in (0..70_000).step_by(1_000) {
        append(&log, "a", (start..start + 1_000).map(|ts| reading("k", ts, ts)).collect());
    }
    history.flush(NOW).await.unwrap();
    let export = history.export(&tenant(), &device("a"), &all("k"), Format::Csv).await.unwrap();
    let text = String::from_utf8(bytes_of(export).await).unwrap();
    assert_eq!(text.lines().count(), 70_001);
    assert!(text.ends_with("\r\na,k,69999,69999,good\r\n"));
    let export = history.export(&tenant(), &device("a"), &all("k"), Format::Parquet).await.unwrap();
    let bytes = bytes::Bytes::from(bytes_of(export).await);
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let names: Vec<_> = reader.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["device", "key", "ts", "value", "int", "text", "quality"]);
    let rows: usize = reader.build().unwrap().map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(rows, 70_000);
}
