//! Power cuts and failing disks at every operation, on a simulated disk.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use roost_hub::storage::disk::Disk;
use roost_hub::storage::{Position, StorageError, Store};
use roost_store::{Embedded, OpenError, Options, Stepped};
use roost_testkit::sim_disk::{Fault, SimDisk};
use roost_testkit::store_suite::{History, read_all, wait_durable};

const OPTIONS: Options = Options { segment_bytes: 16 * 1024, ballast_bytes: 4096 };
const STEPS: u64 = 60;

fn open(disk: &SimDisk) -> Result<Embedded, OpenError> {
    Embedded::open_on(Arc::new(disk.clone()), OPTIONS)
}

/// Operations of a run in which nothing fails.
fn operations() -> u64 {
    let disk = SimDisk::new();
    let embedded = open(&disk).unwrap();
    History::default().work(&embedded.store(), STEPS, 1);
    drop(embedded);
    disk.operations()
}

/// Works until the fault, cuts the power, opens again and compares; three times over.
fn check(fault: Fault, at: u64, new_disk: fn() -> SimDisk) -> Result<(), String> {
    let mut disk = new_disk();
    let mut history = History::default();
    for round in 0..3 {
        disk.plan(at, fault);
        if let Ok(embedded) = open(&disk) {
            history.work(&embedded.store(), STEPS, at * 7 + round);
            // The power goes before there is time to close.
            disk.cut_power();
        }
        disk = disk.after_power_cut(at * 31 + round);
        let embedded = open(&disk).map_err(|error| error.to_string())?;
        history.check(&embedded.store())?;
        if let Some(damage) = embedded.damage().first() {
            return Err(format!("damage is reported where there was none: {damage:?}"));
        }
    }
    Ok(())
}

fn check_at_every_operation(fault: Fault) {
    let operations = operations();
    assert!(operations > 50);
    for at in 1..=operations {
        if let Err(text) = check(fault, at, SimDisk::new) {
            panic!("{fault:?} at operation {at} of {operations}: {text}");
        }
    }
}

#[test]
fn nothing_durable_is_lost_and_nothing_is_invented_wherever_the_power_is_cut() {
    check_at_every_operation(Fault::PowerCut);
}

#[test]
fn an_input_output_error_at_any_operation_loses_nothing_durable() {
    check_at_every_operation(Fault::Error);
}

#[test]
fn a_full_disk_at_any_operation_loses_nothing_durable() {
    check_at_every_operation(Fault::Full);
}

#[test]
fn a_disk_that_lies_about_syncs_is_caught_by_the_check() {
    let caught = (20..60).filter(|at| check(Fault::PowerCut, *at, SimDisk::lying).is_err()).count();
    assert!(caught > 30, "caught {caught} of 40");
}

fn append_durably(store: &Store, count: u64) -> Vec<Position> {
    let append = |number: u64| loop {
        match store.log.append(&[&number.to_le_bytes().repeat(20)]) {
            Ok(position) => return wait_durable(store, position).unwrap(),
            // Segments are so small here that the next one may not be ready yet.
            Err(StorageError::Full) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    };
    (0..count).map(append).collect()
}

#[test]
fn damage_in_the_last_segment_is_reported_and_the_rest_is_served() {
    let disk = SimDisk::new();
    let embedded = open(&disk).unwrap();
    let positions = append_durably(&embedded.store(), 20);
    drop(embedded);
    // In the third record.
    disk.flip("log/00000000000000000001.seg", 64 + 2 * 181 + 100).unwrap();
    for _ in 0..2 {
        let embedded = open(&disk).unwrap();
        let damage = embedded.damage();
        assert_eq!(damage.iter().map(|lost| (lost.first.0, lost.last.0)).collect::<Vec<_>>(), [(3, 3)]);
        let store = embedded.store();
        assert_eq!(store.log.read_after(Position(0), 1 << 20).unwrap().next, Position(2));
        assert!(store.log.read_after(Position(2), 1 << 20).is_err());
        assert!(store.log.read(Position(3)).is_err());
        let rest = read_all(&store, Position(3)).unwrap();
        assert!(rest.len() >= positions.len() - 3);
        append_durably(&store, 2);
    }
    assert!(disk.list("log").unwrap().contains(&"00000000000000000001.quarantine".to_owned()));
}

#[test]
fn damage_in_a_full_segment_is_found_by_reading_and_the_rest_is_served() {
    let disk = SimDisk::new();
    let embedded = open(&disk).unwrap();
    let positions = append_durably(&embedded.store(), 300);
    drop(embedded);
    disk.flip("log/00000000000000000001.seg", 64 + 9 * 181 + 100).unwrap();
    let embedded = open(&disk).unwrap();
    let store = embedded.store();
    assert!(store.log.read(Position(10)).is_err());
    assert_eq!(embedded.damage().len(), 1);
    let before = store.log.read_after(Position(0), 1 << 20).unwrap();
    assert_eq!((before.records.len(), before.next), (9, Position(9)));
    assert_eq!(read_all(&store, Position(10)).unwrap().len(), positions.len() - 10);
}

#[test]
fn a_segment_that_is_gone_is_damage_and_its_positions_are_not_used_again() {
    let disk = SimDisk::new();
    let embedded = open(&disk).unwrap();
    let end = *append_durably(&embedded.store(), 300).last().unwrap();
    drop(embedded);
    let mut names = disk.list("log").unwrap();
    names.retain(|name| name.ends_with(".seg"));
    names.sort();
    for name in [&names[1], names.last().unwrap()] {
        disk.remove(&format!("log/{name}")).unwrap();
    }
    let embedded = open(&disk).unwrap();
    assert_eq!(embedded.damage().len(), 2);
    assert_eq!(embedded.store().log.end(), end);
    assert!(append_durably(&embedded.store(), 1)[0] > end);
}

#[test]
fn indexes_are_made_anew_when_they_are_gone_or_damaged() {
    let disk = SimDisk::new();
    let embedded = open(&disk).unwrap();
    append_durably(&embedded.store(), 300);
    let records = read_all(&embedded.store(), Position(0)).unwrap();
    drop(embedded);
    let mut names = disk.list("log").unwrap();
    names.retain(|name| name.ends_with(".index"));
    assert!(names.len() > 1);
    for (number, name) in names.iter().enumerate() {
        let name = format!("log/{name}");
        if number % 2 == 0 { disk.remove(&name).unwrap() } else { disk.flip(&name, 30).unwrap() }
    }
    let embedded = open(&disk).unwrap();
    assert_eq!(read_all(&embedded.store(), Position(0)).unwrap(), records);
    assert!(embedded.damage().is_empty());
}

#[test]
fn tables_that_are_gone_are_made_anew_from_a_whole_log_and_missed_otherwise() {
    let disk = SimDisk::new();
    let mut history = History::default();
    let embedded = open(&disk).unwrap();
    history.work(&embedded.store(), 100, 3);
    drop(embedded);
    disk.remove("tables.redb").unwrap();
    let embedded = open(&disk).unwrap();
    history.check(&embedded.store()).unwrap();
    let end = *append_durably(&embedded.store(), 300).last().unwrap();
    drop(embedded);
    // Now everything is saved in the tables, and old segments may go.
    let embedded = open(&disk).unwrap();
    embedded.store().log.trim(end);
    drop(embedded);
    let embedded = open(&disk).unwrap();
    assert!(embedded.damage().is_empty());
    let first = read_all(&embedded.store(), Position(0)).unwrap()[0].0;
    drop(embedded);
    if first > Position(1) {
        disk.remove("tables.redb").unwrap();
        assert!(matches!(open(&disk), Err(OpenError::Damaged(_))));
    }
}

#[test]
fn the_log_is_kept_behind_a_view_until_the_newer_one_is_saved() {
    let disk = SimDisk::new();
    let stepped = Stepped::open(Arc::new(disk.clone()), OPTIONS).unwrap();
    let store = stepped.store();
    let append = |count: u32| {
        for _ in 0..count {
            while store.log.append(&[&[1; 500]]).is_err() {
                stepped.keep_room();
            }
            stepped.write();
        }
        store.log.end()
    };
    let first = append(50);
    store.table.save_view("reader", first, Vec::new()).unwrap();
    append(100);
    // The file has the first view, and the log up to here.
    assert!(stepped.save_tables());
    let second = append(100);
    store.table.save_view("reader", second, Vec::new()).unwrap();
    store.log.trim(second);
    (0..50).for_each(|_| stepped.keep_room());
    let found = Stepped::open(Arc::new(disk.after_kill()), OPTIONS).unwrap().store();
    assert_eq!(found.table.view_position("reader"), Ok(first));
    assert_eq!(read_all(&found, first).unwrap().len(), 200);
    // Once it is saved, the log may go.
    assert!(stepped.save_tables());
    (0..50).for_each(|_| stepped.keep_room());
    assert!(read_all(&store, Position(0)).unwrap().len() < 100);
}

#[test]
fn a_newer_format_is_refused() {
    let disk = SimDisk::new();
    drop(open(&disk).unwrap());
    disk.create("format").unwrap().write_at(b"roost store 2\nsalt 00000000\n", 0).unwrap();
    assert!(matches!(open(&disk), Err(OpenError::NewerFormat { found: 2, known: 1 })));
}
