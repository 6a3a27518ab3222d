//! Real directories and real processes: kill -9, two processes on one directory, opening times.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use bytes::Bytes;
use roost_hub::storage::{Expected, Key, Position};
use roost_store::{Embedded, OpenError, Options};
use roost_testkit::sim_disk::Dice;
use roost_testkit::store_suite::{read_all, wait_durable};

const DIRECTORY: &str = "ROOST_STORE_TEST_DIRECTORY";
const OPTIONS: Options = Options { segment_bytes: 256 * 1024, ballast_bytes: 64 * 1024 };
const ROUNDS: u64 = 6;

fn record(position: Position) -> Vec<u8> {
    position.0.to_le_bytes().repeat(25)
}

#[test]
#[ignore = "the other half of the kill test, which starts it"]
fn append_until_killed() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let embedded = Embedded::open(Path::new(&directory), OPTIONS).unwrap();
    let store = embedded.store();
    let key = Key::parse("facts/last").unwrap();
    loop {
        for _ in 0..20 {
            // Nobody else appends: this is the position that it will get.
            let next = Position(store.log.end().0 + 1);
            let given = if next.0.is_multiple_of(10) {
                let value = Bytes::from(next.0.to_string());
                store.table.put(&key, Some(value), Expected::Any).map(|change| change.position).ok()
            } else {
                store.log.append(&[&record(next)]).ok()
            };
            // Without room just now, the next round tries again.
            assert!(given.is_none_or(|given| given == next));
        }
        let durable = wait_durable(&store, store.log.end()).unwrap();
        println!("durable {}", durable.0);
    }
}

/// Runs the other half, kills it after so many of its lines, and gives the last position it told.
fn run_and_kill(directory: &Path, lines: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["append_until_killed", "--exact", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let told = output.lines().map_while(Result::ok).filter_map(|line| {
        line.split_once("durable ").and_then(|(_, number)| number.trim().parse::<u64>().ok())
    });
    let mut told = told.peekable();
    let mut last = 0;
    for _ in 0..lines {
        last = told.next().unwrap();
    }
    child.kill().unwrap();
    // It may have told more before it died.
    last = told.last().unwrap_or(last);
    child.wait().unwrap();
    last
}

#[test]
fn what_was_durable_is_there_after_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let mut dice = Dice(u64::from(std::process::id()));
    for round in 0..ROUNDS {
        let told = run_and_kill(directory.path(), 1 + dice.below(60));
        let embedded = Embedded::open(directory.path(), OPTIONS).unwrap();
        assert_eq!(embedded.damage(), []);
        let store = embedded.store();
        let found: BTreeMap<Position, Bytes> = read_all(&store, Position(0)).unwrap().into_iter().collect();
        for position in (1..=told).filter(|position| !position.is_multiple_of(10)).map(Position) {
            assert!(found.contains_key(&position), "round {round}: {position:?} of {told} is lost");
        }
        assert!(found.iter().all(|(position, bytes)| *bytes == record(*position)));
        let fact = store.table.get(&Key::parse("facts/last").unwrap()).unwrap();
        let revision = fact.as_ref().map_or(0, |entry| entry.revision.0);
        assert!(revision >= told / 10 * 10, "round {round}: a fact of revision {revision}, {told} told");
        assert!(fact.is_none_or(|entry| entry.value == entry.revision.0.to_string()));
    }
}

#[test]
fn a_second_opening_says_which_process_holds_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let first = Embedded::open(directory.path(), OPTIONS).unwrap();
    match Embedded::open(directory.path(), OPTIONS) {
        Err(OpenError::Locked { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        result => panic!("{result:?}"),
    }
    drop(first);
    Embedded::open(directory.path(), OPTIONS).unwrap();
}

#[test]
fn nobody_else_may_read_the_files() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("data");
    drop(Embedded::open(&path, OPTIONS).unwrap());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&path.join("log"))), (0o700, 0o700));
    for directory in [path.clone(), path.join("log")] {
        for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
            assert!(entry.file_type().unwrap().is_dir() || mode(&entry.path()) == 0o600, "{entry:?}");
        }
    }
}

#[test]
fn a_directory_under_a_file_is_not_writable() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    std::fs::write(&file, "").unwrap();
    let result = Embedded::open(&file.join("data"), OPTIONS);
    assert!(matches!(result, Err(OpenError::NotWritable { .. })), "{result:?}");
}

#[test]
fn after_closing_everything_is_refused_and_nothing_was_left_behind() {
    let directory = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(directory.path(), OPTIONS).unwrap();
    let store = embedded.store();
    let position = store.log.append(&[b"last words"]).unwrap();
    embedded.close();
    assert_eq!(store.log.durability().position(), position);
    assert!(store.log.append(&[b"too late"]).is_err());
}
