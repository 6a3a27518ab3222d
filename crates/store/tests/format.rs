//! A data directory that the first version wrote opens for ever. To write one anew, which only a
//! format that was never shipped allows: `ROOST_STORE_FIXTURE=DIRECTORY cargo test -p roost-store
//! --test format -- --ignored`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use bytes::Bytes;
use roost_hub::storage::{Expected, Key, Position, PutError, StorageError, Store, ViewChange};
use roost_store::{Embedded, Options};
use roost_testkit::store_suite::{read_all, wait_durable};

const OPTIONS: Options = Options { segment_bytes: 4096, ballast_bytes: 0 };

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

fn value(number: u64) -> Bytes {
    Bytes::from(format!("value {number}"))
}

/// Nine records and then a change of a fact, several times over.
fn write(store: &Store, rounds: u64) {
    for number in 1..=rounds * 10 {
        let position = loop {
            let written = if number % 10 == 0 {
                let key = key(&format!("facts/{}", number % 30));
                store.table.put(&key, Some(value(number)), Expected::Any).map(|change| change.position)
            } else {
                store.log.append(&[&value(number)]).map_err(Into::into)
            };
            match written {
                Ok(position) => break position,
                Err(PutError::Storage(StorageError::Full)) => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(wait_durable(store, position).unwrap(), Position(number));
    }
}

#[test]
#[ignore = "writes the fixture"]
fn write_the_fixture() {
    let Ok(directory) = std::env::var("ROOST_STORE_FIXTURE") else { return };
    let embedded = Embedded::open(Path::new(&directory), OPTIONS).unwrap();
    let store = embedded.store();
    write(&store, 30);
    let change = ViewChange { key: key("latest/a"), value: Some(value(300)) };
    store.table.save_view("latest", Position(300), vec![change]).unwrap();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn what_version_1_wrote_is_read_and_gone_on_with() {
    let directory = tempfile::tempdir().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1");
    copy(&fixture, directory.path());
    let embedded = Embedded::open(directory.path(), Options::default()).unwrap();
    assert_eq!(embedded.damage(), []);
    let store = embedded.store();
    let found = read_all(&store, Position(0)).unwrap();
    assert_eq!(found.len(), 270);
    assert!(found.iter().all(|(position, record)| *record == value(position.0)));
    for number in [280, 290, 300] {
        let entry = store.table.get(&key(&format!("facts/{}", number % 30))).unwrap().unwrap();
        assert_eq!((entry.value, entry.revision.0), (value(number), number));
    }
    assert_eq!(store.table.get(&key("latest/a")).unwrap().unwrap().value, value(300));
    assert_eq!(store.table.view_position("latest").unwrap(), Position(300));
    let next = store.log.append(&[b"more"]).unwrap();
    assert_eq!(wait_durable(&store, next).unwrap(), Position(301));
}
