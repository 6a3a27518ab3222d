//! A disk without room, and one that has room again.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use bytes::Bytes;
use roost_hub::storage::{Expected, Key, Position, StorageError, Store};
use roost_store::{Embedded, Options};
use roost_testkit::sim_disk::SimDisk;
use roost_testkit::store_suite::{read_all, wait_durable};

const OPTIONS: Options = Options { segment_bytes: 16 * 1024, ballast_bytes: 4096 };

fn open(disk: &SimDisk) -> Embedded {
    Embedded::open_on(Arc::new(disk.clone()), OPTIONS).unwrap()
}

/// Appends until there is no room and none is being made.
fn fill(embedded: &Embedded) -> u64 {
    let store = embedded.store();
    let mut count = 0;
    loop {
        match store.log.append(&[&[1; 500]]) {
            Ok(position) => {
                wait_durable(&store, position).unwrap();
                count += 1;
            }
            Err(StorageError::Full) if embedded.is_full() => return count,
            Err(StorageError::Full) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

fn append_when_there_is_room(store: &Store) -> Position {
    loop {
        match store.log.append(&[&[2; 500]]) {
            Ok(position) => return wait_durable(store, position).unwrap(),
            Err(StorageError::Full) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn messages_are_refused_when_there_is_no_room_and_taken_again_when_there_is() {
    let disk = SimDisk::new();
    let embedded = open(&disk);
    disk.set_capacity(Some(disk.allocated() + 200_000));
    let count = fill(&embedded);
    assert!(count > 100);
    let store = embedded.store();
    assert_eq!(read_all(&store, Position(0)).unwrap().len() as u64, count);
    disk.set_capacity(None);
    let position = append_when_there_is_room(&store);
    assert_eq!(position.0, count + 1);
    assert!(!embedded.is_full());
}

#[test]
fn tables_can_still_be_changed_when_messages_are_refused() {
    let disk = SimDisk::new();
    let embedded = open(&disk);
    disk.set_capacity(Some(disk.allocated() + 100_000));
    fill(&embedded);
    let (store, key) = (embedded.store(), Key::parse("users/a").unwrap());
    let change = store.table.put(&key, Some(Bytes::from_static(b"logged in")), Expected::Any).unwrap();
    wait_durable(&store, change.position).unwrap();
    assert!(matches!(store.log.append(&[&[1; 500]]), Err(StorageError::Full)));
    drop((store, embedded));
    let embedded = open(&disk);
    assert_eq!(embedded.store().table.get(&key).unwrap().unwrap().revision, change.revision);
    assert_eq!(embedded.damage(), []);
}

#[test]
fn what_became_of_messages_can_still_be_written_down_when_messages_are_refused() {
    let disk = SimDisk::new();
    let embedded = open(&disk);
    disk.set_capacity(Some(disk.allocated() + 100_000));
    let count = fill(&embedded);
    let store = embedded.store();
    let position = store.log.append_outcome(&[3; 50]).unwrap();
    wait_durable(&store, position).unwrap();
    // Not without end: deleting needs room, too.
    while store.log.append_outcome(&[3; 50]).is_ok() {}
    let key = Key::parse("users/a").unwrap();
    store.table.put(&key, None, Expected::Any).unwrap();
    drop((store, embedded));
    let outcomes = read_all(&open(&disk).store(), Position(count)).unwrap();
    assert!(outcomes.len() > 5, "{}", outcomes.len());
}

#[test]
fn trimming_makes_room() {
    let disk = SimDisk::new();
    let embedded = open(&disk);
    disk.set_capacity(Some(disk.allocated() + 200_000));
    fill(&embedded);
    // The tables' file must have caught up before the log may go; closing does that.
    drop(embedded);
    let embedded = open(&disk);
    let store = embedded.store();
    store.log.trim(store.log.end());
    append_when_there_is_room(&store);
}

#[test]
fn what_is_kept_for_people_only_gives_way_to_what_comes_in() {
    let disk = SimDisk::new();
    let embedded = open(&disk);
    disk.set_capacity(Some(disk.allocated() + 200_000));
    let count = fill(&embedded);
    // The tables' file must have caught up before the log may go; closing does that.
    drop(embedded);
    let embedded = open(&disk);
    let store = embedded.store();
    disk.set_capacity(Some(disk.allocated() + 50_000));
    store.log.keep(Position(0));
    store.log.trim(store.log.end());
    for _ in 0..count {
        append_when_there_is_room(&store);
    }
    // Only as much went as was needed.
    let left = read_all(&store, Position(0)).unwrap().len() as u64;
    assert!((count / 2..count + 100).contains(&left), "{left} of {count}");
    assert_eq!(store.log.end().0 + 1 - store.log.first().0, left);
}

#[test]
fn what_is_kept_stays_until_that_is_taken_back() {
    let disk = SimDisk::new();
    let embedded = open(&disk);
    for _ in 0..200 {
        append_when_there_is_room(&embedded.store());
    }
    drop(embedded);
    let embedded = open(&disk);
    let store = embedded.store();
    let end = store.log.end();
    let some = store.log.last_bytes(3 * 16 * 1024);
    assert!(some > Position(1) && some < store.log.last_bytes(0), "{some:?}");
    assert_eq!(store.log.last_bytes(1 << 40), Position(0));
    store.log.keep(some);
    store.log.trim(end);
    while store.log.first() < some {
        std::thread::yield_now();
    }
    assert_eq!(store.log.first(), some);
    store.log.keep(Position(u64::MAX));
    while store.log.first() < store.log.last_bytes(0) {
        std::thread::yield_now();
    }
}

#[test]
fn a_record_that_fits_no_segment_is_too_large() {
    let disk = SimDisk::new();
    let store = open(&disk).store();
    assert!(
        matches!(store.log.append(&[&[0; 16 * 1024]]), Err(StorageError::TooLarge(max)) if max < 16 * 1024)
    );
}

#[test]
fn a_failed_sync_ends_all_writing() {
    let disk = SimDisk::new();
    let embedded = open(&disk);
    let store = embedded.store();
    let before = append_when_there_is_room(&store);
    disk.cut_power();
    let position = loop {
        match store.log.append(&[b"lost"]) {
            Ok(position) => break position,
            Err(StorageError::Full) => std::thread::yield_now(),
            // The room keeper was the first to notice.
            Err(_broken) => return,
        }
    };
    assert!(matches!(wait_durable(&store, position), Err(StorageError::Broken(_))));
    assert_eq!(store.log.durability().position(), before);
    assert!(matches!(store.log.append(&[b"no"]), Err(StorageError::Broken(_))));
}
