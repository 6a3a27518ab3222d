//! What every store must do, whichever it is, and the check of what one tells after a crash.
//!
//! A store passes itself in as a function that makes an empty one.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};
use roost_hub::storage::memory::MemoryStore;
use roost_hub::storage::{
    Expected, Key, Page, Position, PutError, Revision, StorageError, Store, ViewChange,
};

use crate::sim_disk::Dice;

/// Makes an empty store.
pub type MakeStore<'a> = &'a mut dyn FnMut() -> Store;

/// A property of stores.
pub type Property = fn(MakeStore<'_>);

/// Every property, with a name to print.
pub const PROPERTIES: &[(&str, Property)] = &[
    ("records come back in order", records_come_back_in_order),
    ("a read gives at least one record and no more than asked for", a_read_is_bounded),
    ("a record can be read by its position before it is durable", a_record_is_read_by_position),
    ("trimmed records are passed over", trimmed_records_are_passed_over),
    ("the first position is that of the oldest record that can be read", the_first_is_known),
    ("a put happens only when the entry is as expected", a_put_compares),
    ("a scan gives pages in key order", a_scan_gives_pages),
    ("a saved view is there with its position", a_view_is_saved),
    ("positions of records and of changes rise together", positions_rise),
    ("it does what the store in memory does", behaves_like_memory),
];

/// Checks every property.
pub fn check_all(make: MakeStore<'_>) {
    for (name, property) in PROPERTIES {
        eprintln!("{name}");
        property(make);
    }
}

fn key(text: &str) -> Key {
    Key::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

fn ok<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// Waits until everything up to `position` is durable.
///
/// # Errors
/// As [`roost_hub::storage::Durability::reached`].
pub fn wait_durable(store: &Store, position: Position) -> Result<Position, StorageError> {
    let runtime = ok(tokio::runtime::Builder::new_current_thread().build());
    runtime.block_on(store.log.durability().reached(position))
}

/// All durable records after a position.
///
/// # Errors
/// As [`roost_hub::storage::Log::read_after`].
pub fn read_all(store: &Store, after: Position) -> Result<Vec<(Position, Bytes)>, StorageError> {
    let durable = store.log.durability().position();
    let (mut records, mut next) = (Vec::new(), after);
    while next < durable {
        let batch = store.log.read_after(next, 4096)?;
        assert!(batch.next > next, "a read at {next:?} gets nowhere");
        records.extend(batch.records);
        next = batch.next;
    }
    Ok(records)
}

fn records_come_back_in_order(make: MakeStore<'_>) {
    let store = make();
    let mut sent = Vec::new();
    for number in 0..500_u32 {
        let record = vec![7; (number % 97) as usize];
        let last = ok(store.log.append(&[&number.to_le_bytes(), &record]));
        sent.extend([number.to_le_bytes().to_vec(), record]);
        assert_eq!(store.log.end(), last);
    }
    assert_eq!(ok(wait_durable(&store, store.log.end())), store.log.durability().position());
    let found = ok(read_all(&store, Position(0)));
    assert!(found.is_sorted_by(|(one, _), (other, _)| one < other));
    assert_eq!(found.into_iter().map(|(_, record)| record.to_vec()).collect::<Vec<_>>(), sent);
}

fn a_read_is_bounded(make: MakeStore<'_>) {
    let store = make();
    let end = ok(store.log.append(&[&[1; 100], &[2; 100], &[3; 100], &[4; 100]]));
    ok(wait_durable(&store, end));
    let count = |bytes_max| ok(store.log.read_after(Position(0), bytes_max)).records.len();
    assert_eq!((count(1), count(100), count(101), count(1_000)), (1, 1, 2, 4));
    let nothing = ok(store.log.read_after(end, 1_000));
    assert_eq!((nothing.records.len(), nothing.next), (0, end));
}

fn a_record_is_read_by_position(make: MakeStore<'_>) {
    let store = make();
    let mut positions = Vec::new();
    for number in 0..300_u32 {
        let position = ok(store.log.append(&[&number.to_le_bytes()]));
        assert_eq!(ok(store.log.read(position)).as_deref(), Some(&number.to_le_bytes()[..]));
        positions.push(position);
    }
    let change = ok(store.table.put(&key("t/a"), Some(Bytes::new()), Expected::Any));
    assert_eq!(ok(store.log.read(change.position)), None);
    ok(wait_durable(&store, change.position));
    for (number, position) in positions.iter().enumerate() {
        let expected = u32::try_from(number).unwrap_or_default().to_le_bytes();
        assert_eq!(ok(store.log.read(*position)).as_deref(), Some(&expected[..]));
    }
    assert_eq!(ok(store.log.read(Position(change.position.0 + 1))), None);
}

fn the_first_is_known(make: MakeStore<'_>) {
    let store = make();
    assert!(store.log.first() <= Position(store.log.end().0 + 1));
    let end = ok(store.log.append(&[&[1; 100], &[2; 100], &[3; 100]]));
    ok(wait_durable(&store, end));
    let first = store.log.first();
    assert!(first <= Position(end.0 - 2), "{first:?}");
    store.log.keep(Position(0));
    store.log.trim(end);
    let oldest = ok(store.log.read_after(Position(0), 1)).records;
    assert!(oldest.iter().all(|(position, _)| *position >= store.log.first()), "{oldest:?}");
    assert!(store.log.last_bytes(u64::MAX) <= first);
}

fn trimmed_records_are_passed_over(make: MakeStore<'_>) {
    let store = make();
    let mut last = Position(0);
    for _ in 0..200 {
        last = ok(store.log.append(&[&[5; 1_000]]));
        ok(wait_durable(&store, last));
    }
    store.log.trim(last);
    let found = ok(read_all(&store, Position(0)));
    assert_eq!(found.last().map(|(position, _)| *position), Some(last));
    assert!(ok(store.log.read(last)).is_some());
}

fn a_put_compares(make: MakeStore<'_>) {
    let store = make();
    let (table, key) = (&store.table, key("users/a"));
    let value = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    let first = ok(table.put(&key, value("1"), Expected::Absent));
    let Err(PutError::Conflict(Some(found))) = table.put(&key, value("2"), Expected::Absent) else {
        panic!("put over an entry that must be absent");
    };
    assert_eq!((found.value, found.revision), (Bytes::from_static(b"1"), first.revision));
    let second = ok(table.put(&key, value("2"), Expected::Revision(first.revision)));
    assert!(second.revision > first.revision && second.position > first.position);
    let stale = table.put(&key, value("3"), Expected::Revision(first.revision));
    assert!(matches!(stale, Err(PutError::Conflict(Some(_)))));
    ok(table.put(&key, None, Expected::Revision(second.revision)));
    assert_eq!(ok(table.get(&key)), None);
    let gone = table.put(&key, None, Expected::Revision(second.revision));
    assert_eq!(gone, Err(PutError::Conflict(None)));
    let end = ok(table.put(&key, value("4"), Expected::Absent)).position;
    ok(wait_durable(&store, end));
    assert_eq!(ok(table.get(&key)).map(|entry| entry.value), value("4"));
}

fn a_scan_gives_pages(make: MakeStore<'_>) {
    let store = make();
    for name in ["b/1", "a/2", "a/1", "ab/1", "a/3", "c"] {
        ok(store.table.put(&key(name), Some(Bytes::from(name)), Expected::Any));
    }
    ok(store.table.put(&key("a/2"), None, Expected::Any));
    let names = |page: Page| page.into_iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>();
    assert_eq!(names(ok(store.table.scan("a/", None, 10))), ["a/1", "a/3"]);
    assert_eq!(names(ok(store.table.scan("a/", Some(&key("a/1")), 10))), ["a/3"]);
    assert_eq!(names(ok(store.table.scan("", None, 3))), ["a/1", "a/3", "ab/1"]);
    assert_eq!(names(ok(store.table.scan("d", None, 3))), Vec::<String>::new());
}

fn a_view_is_saved(make: MakeStore<'_>) {
    let store = make();
    assert_eq!(ok(store.table.view_position("twin")), Position(0));
    let end = ok(store.log.append(&[b"reading"]));
    ok(wait_durable(&store, end));
    let change = |name: &str, value| ViewChange { key: key(name), value };
    let value = Some(Bytes::from_static(b"21.5"));
    ok(store.table.save_view("twin", end, vec![change("twin/a", value.clone()), change("twin/b", None)]));
    assert_eq!(ok(store.table.view_position("twin")), end);
    let found = ok(store.table.get(&key("twin/a"))).map(|entry| (entry.value, entry.revision));
    assert_eq!(found, value.map(|value| (value, Revision(end.0))));
}

fn positions_rise(make: MakeStore<'_>) {
    let store = make();
    let mut last = Position(0);
    for number in 0..50 {
        let position = if number % 3 == 0 {
            ok(store.table.put(&key("t/x"), Some(Bytes::new()), Expected::Any)).position
        } else {
            ok(store.log.append(&[b"x"]))
        };
        assert!(position > last && store.log.end() == position);
        last = position;
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<Vec<u8>>),
    Put(u8, Option<Vec<u8>>, u8),
    Scan(u8, u8, usize),
    View(u8, Option<Vec<u8>>),
    Read(u8),
    Wait,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..60);
    let step = prop_oneof![
        3 => prop::collection::vec(bytes(), 0..4).prop_map(Step::Append),
        5 => (0..12_u8, prop::option::of(bytes()), any::<u8>()).prop_map(|(k, v, e)| Step::Put(k, v, e)),
        2 => (any::<u8>(), any::<u8>(), 0..8_usize).prop_map(|(p, a, l)| Step::Scan(p, a, l)),
        2 => (0..6_u8, prop::option::of(bytes())).prop_map(|(k, v)| Step::View(k, v)),
        2 => any::<u8>().prop_map(Step::Read),
        1 => Just(Step::Wait),
    ];
    prop::collection::vec(step, 0..60)
}

/// A store, the one in memory, and what the same things are called in each.
struct Pair {
    store: Store,
    memory: Store,
    positions: Vec<(Position, Position)>,
    revisions: Vec<(Revision, Revision)>,
}

impl Pair {
    fn put(&mut self, name: u8, value: Option<Bytes>, choice: u8) -> TestCaseResult {
        let key = key(&format!("facts/{}/{name}", name % 3));
        let known = self.revisions.get(usize::from(choice / 4) % self.revisions.len().max(1)).copied();
        let expected = match (choice % 4, known) {
            (0, _) | (_, None) => (Expected::Any, Expected::Any),
            (1, _) => (Expected::Absent, Expected::Absent),
            (_, Some((one, other))) => (Expected::Revision(one), Expected::Revision(other)),
        };
        let one = self.store.table.put(&key, value.clone(), expected.0);
        let other = self.memory.table.put(&key, value, expected.1);
        match (one, other) {
            (Ok(one), Ok(other)) => {
                self.positions.push((one.position, other.position));
                self.revisions.push((one.revision, other.revision));
            }
            (Err(PutError::Conflict(one)), Err(PutError::Conflict(other))) => {
                prop_assert_eq!(one.map(|entry| entry.value), other.map(|entry| entry.value));
            }
            (one, other) => prop_assert!(false, "{one:?} is not {other:?}"),
        }
        Ok(())
    }

    fn take(&mut self, step: Step) -> TestCaseResult {
        match step {
            Step::Append(records) => {
                let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
                let ends = (ok(self.store.log.append(&records)), ok(self.memory.log.append(&records)));
                self.positions.push(ends);
            }
            Step::Put(name, value, choice) => self.put(name, value.map(Bytes::from), choice)?,
            Step::Scan(prefix, after, limit) => {
                let prefix = ["", "facts/", "facts/1", "views/", "x"]
                    .get(usize::from(prefix % 5))
                    .copied()
                    .unwrap_or_default();
                let after = (after % 2 == 0).then(|| key(&format!("facts/{}/{after}", after % 3)));
                let pages = [&self.store, &self.memory].map(|store| {
                    let page = ok(store.table.scan(prefix, after.as_ref(), limit));
                    page.into_iter().map(|(key, entry)| (key, entry.value)).collect::<Vec<_>>()
                });
                prop_assert_eq!(&pages[0], &pages[1]);
            }
            Step::View(name, value) => {
                let change = ViewChange { key: key(&format!("views/{name}")), value: value.map(Bytes::from) };
                for store in [&self.store, &self.memory] {
                    let position = store.log.durability().position();
                    ok(store.table.save_view("reader", position, vec![change.clone()]));
                    prop_assert_eq!(ok(store.table.view_position("reader")), position);
                }
            }
            Step::Read(choice) => {
                let index = usize::from(choice) % self.positions.len().max(1);
                if let Some((one, other)) = self.positions.get(index).copied() {
                    prop_assert_eq!(ok(self.store.log.read(one)), ok(self.memory.log.read(other)));
                }
            }
            Step::Wait => {
                let end = self.store.log.end();
                prop_assert!(ok(wait_durable(&self.store, end)) >= end);
                let records = [&self.store, &self.memory].map(|store| {
                    let all = ok(read_all(store, Position(0)));
                    all.into_iter().map(|(_, record)| record).collect::<Vec<_>>()
                });
                prop_assert_eq!(&records[0], &records[1]);
            }
        }
        Ok(())
    }
}

fn behaves_like_memory(make: MakeStore<'_>) {
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    let make = std::cell::RefCell::new(make);
    let result = runner.run(&steps(), |steps| {
        let store = (make.borrow_mut())();
        let memory = MemoryStore::store();
        let mut pair = Pair { store, memory, positions: Vec::new(), revisions: Vec::new() };
        steps.into_iter().chain([Step::Wait]).try_for_each(|step| pair.take(step))
    });
    ok(result);
}

/// What a store was given and what it said, to be compared with what it still knows after a crash.
#[derive(Clone, Debug, Default)]
pub struct History {
    messages: BTreeMap<Position, Bytes>,
    facts: BTreeMap<Key, Vec<(Position, Option<Bytes>)>>,
    /// Everything up to here was said to be durable.
    durable: Position,
}

impl History {
    /// Appends and puts `steps` times, waiting now and then, until the store breaks. What does not
    /// fit is left out.
    pub fn work(&mut self, store: &Store, steps: u64, seed: u64) {
        let mut dice = Dice(seed);
        for _ in 0..steps {
            match self.step(store, &mut dice) {
                Ok(()) => {}
                Err(PutError::Storage(StorageError::Full)) => std::thread::yield_now(),
                Err(_broken) => break,
            }
        }
        // Whatever is said last counts too.
        if let Ok(durable) = wait_durable(store, store.log.end()) {
            self.durable = durable;
        }
        self.durable = self.durable.max(store.log.durability().position());
    }

    fn step(&mut self, store: &Store, dice: &mut Dice) -> Result<(), PutError> {
        let number = dice.below(1 << 32);
        match dice.below(8) {
            0..4 => {
                let record: Bytes = (0..=dice.below(40)).flat_map(|_| number.to_le_bytes()).collect();
                let position = store.log.append(&[&record])?;
                self.messages.insert(position, record);
            }
            4..7 => {
                let key = key(&format!("facts/{}", number % 7));
                let value = (!number.is_multiple_of(3)).then(|| Bytes::from(number.to_string()));
                let change = store.table.put(&key, value.clone(), Expected::Any)?;
                self.facts.entry(key).or_default().push((change.position, value));
            }
            _ => self.durable = wait_durable(store, store.log.end())?,
        }
        Ok(())
    }

    /// Compares with what a store knows that was opened after a crash. What was not said to be
    /// durable may be there or not; from then on the history is what was found.
    ///
    /// # Errors
    /// What was lost or invented, in words.
    pub fn check(&mut self, store: &Store) -> Result<(), String> {
        let found: BTreeMap<Position, Bytes> =
            read_all(store, Position(0)).map_err(|error| error.to_string())?.into_iter().collect();
        for (position, record) in self.messages.range(..=self.durable) {
            if found.get(position) != Some(record) {
                return Err(format!("the record at {position:?} was durable and is lost"));
            }
        }
        for (position, record) in &found {
            if self.messages.get(position) != Some(record) {
                return Err(format!("the record at {position:?} was never sent"));
            }
        }
        let end = store.log.end();
        if end < self.durable {
            return Err(format!("the log ends at {end:?}, and {:?} was durable", self.durable));
        }
        self.messages = found;
        self.durable = end;
        for (key, changes) in &mut self.facts {
            changes.retain(|(position, _)| *position <= end);
            let (position, expected) = changes.last().cloned().unwrap_or_default();
            let entry = store.table.get(key).map_err(|error| error.to_string())?;
            let found = entry.as_ref().map(|entry| (entry.value.clone(), entry.revision));
            if found != expected.map(|value| (value, Revision(position.0))) {
                return Err(format!("{key} is {entry:?} in place of what {position:?} made of it"));
            }
        }
        Ok(())
    }
}
