//! Restarts, crashes, and disks that refuse.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::{all, append, ask, open, pairs, reading, tenant};
use roost_history::{FlushRule, History, OpenError, QueryError};
use roost_hub::storage::Position;
use roost_hub::storage::memory::MemoryStore;
use roost_hub::time::{Clock, Timestamp};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn parquet_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(parquet_files(&path));
        } else if path.extension().is_some_and(|end| end == "parquet") {
            found.push(path);
        }
    }
    found.sort();
    found
}

async fn count(history: &Arc<History>) -> usize {
    pairs(history, "a", &all("k")).await.len()
}

#[tokio::test]
async fn after_a_restart_the_readings_in_no_file_come_from_the_log() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryStore::store().log);
    let history = open(dir.path(), &log);
    append(&log, "a", vec![reading("k", 1, 1_i64)]);
    history.flush(NOW).await.unwrap();
    let flushed = history.trim_position();
    assert_eq!(flushed, log.end());
    append(&log, "a", vec![reading("k", 2, 1_i64)]);
    assert_eq!(count(&history).await, 2);
    drop(history);
    log.trim(Position(flushed.0 + 1));
    let history = open(dir.path(), &log);
    assert_eq!(history.trim_position(), flushed);
    assert_eq!(count(&history).await, 2);
}

#[tokio::test]
async fn a_crash_between_the_files_and_the_position_makes_no_second_copy() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryStore::store().log);
    let history = open(dir.path(), &log);
    append(&log, "a", vec![reading("k", 1, 1_i64)]);
    history.flush(NOW).await.unwrap();
    let position = fs::read(dir.path().join(".position")).unwrap();
    append(&log, "a", vec![reading("k", 2, 1_i64)]);
    history.flush(NOW).await.unwrap();
    drop(history);
    fs::write(dir.path().join(".position"), position).unwrap();
    let day = dir.path().join("default").join("2023-11-14");
    fs::write(day.join(".1_9_0_0.parquet"), "cut short").unwrap();
    assert_eq!(parquet_files(dir.path()).len(), 3);
    let history = open(dir.path(), &log);
    assert_eq!(parquet_files(dir.path()).len(), 1);
    assert_eq!(count(&history).await, 2);
    history.flush(Timestamp(NOW.0 + 86_400_000)).await.unwrap();
    assert_eq!(count(&open(dir.path(), &log)).await, 2);
    assert_eq!(parquet_files(dir.path()).len(), 2);
}

#[tokio::test]
async fn a_position_of_a_newer_version_stops_the_start() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryStore::store().log);
    fs::write(dir.path().join(".position"), r#"{"format":2,"position":7}"#).unwrap();
    let opened = History::open(dir.path(), log, FlushRule::default());
    assert!(matches!(opened, Err(OpenError::Manifest(_))));
}

#[tokio::test]
async fn while_files_cannot_be_written_queries_go_on_and_nothing_is_lost() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryStore::store().log);
    let rule = FlushRule { readings_max: 10, ..FlushRule::default() };
    let history = History::open(dir.path(), Arc::clone(&log), rule).unwrap();
    // A file where the tenant's folder should be: every write is refused.
    let obstacle = dir.path().join(tenant().as_str());
    fs::write(&obstacle, "").unwrap();
    // More than fits into a read of the log, so that it is not all in memory at once.
    let filler = "x".repeat(10_000);
    for ts in 0..200 {
        append(&log, "a", vec![reading("k", ts, ts), reading("filler", ts, &*filler)]);
    }
    assert!(history.flush(NOW).await.is_err());
    assert_eq!(history.trim_position(), Position(0));
    assert_eq!(count(&history).await, 200);
    fs::remove_file(&obstacle).unwrap();
    history.flush(NOW).await.unwrap();
    assert_eq!(history.trim_position(), log.end());
    assert_eq!(count(&history).await, 200);
    assert!(parquet_files(dir.path()).len() > 2);
}

#[tokio::test]
async fn a_history_too_far_behind_says_so() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryStore::store().log);
    let rule = FlushRule { readings_max: 1, ..FlushRule::default() };
    let history = History::open(dir.path(), Arc::clone(&log), rule).unwrap();
    // More of the log than a query reads by itself, and no room in memory for it.
    let filler = "x".repeat(300_000);
    for ts in 0..300 {
        append(&log, "a", vec![reading("k", ts, &*filler)]);
    }
    assert!(matches!(ask(&history, "a", &all("k")).await, Err(QueryError::Behind)));
}

#[tokio::test]
async fn a_damaged_file_is_named() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryStore::store().log);
    let history = open(dir.path(), &log);
    append(&log, "a", vec![reading("k", 1, 1_i64)]);
    history.flush(NOW).await.unwrap();
    let files = parquet_files(dir.path());
    let file = files.first().unwrap();
    fs::write(file, "no Parquet").unwrap();
    match ask(&history, "a", &all("k")).await {
        Err(QueryError::File { path, .. }) => assert_eq!(path, *file),
        other => panic!("{other:?}"),
    }
}

#[derive(Debug)]
struct StoppedClock(Instant);

impl Clock for StoppedClock {
    fn wall(&self) -> Timestamp {
        NOW
    }

    fn now(&self) -> Instant {
        self.0
    }
}

#[expect(clippy::disallowed_methods, reason = "the only clock of these tests, and it stands still")]
fn clock() -> Arc<dyn Clock> {
    Arc::new(StoppedClock(Instant::now()))
}

#[tokio::test]
async fn the_runner_writes_files_by_the_flush_rule_and_stops_when_told() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryStore::store().log);
    for rule in [
        FlushRule { readings_max: 5, ..FlushRule::default() },
        FlushRule { age_max: Duration::ZERO, ..FlushRule::default() },
    ] {
        let history = History::open(dir.path(), Arc::clone(&log), rule).unwrap();
        let (shutdown, ends) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&history).run(ends, clock()));
        for ts in 0..20 {
            append(&log, "a", vec![reading("k", ts, ts)]);
        }
        history.flushed().wait_for(|position| *position >= log.end()).await.unwrap();
        shutdown.send(true).unwrap();
        tasks.join_next().await.unwrap().unwrap();
        assert_eq!(count(&history).await, 20);
    }
}

#[tokio::test]
async fn the_log_can_be_trimmed_although_nothing_in_it_is_telemetry() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryStore::store().log);
    log.append(&[b"\x03\x01\x01"]).unwrap();
    let history = open(dir.path(), &log);
    history.flush(NOW).await.unwrap();
    assert_eq!(history.trim_position(), log.end());
    assert_eq!(open(dir.path(), &log).trim_position(), log.end());
}
