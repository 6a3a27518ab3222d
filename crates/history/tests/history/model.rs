//! Random readings, flushes and restarts against the simplest definition of an answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{all, append, ask, device, open, pairs, reading, tenant};
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use roost_history::{Aggregate, Page};
use roost_hub::reading::{Reading, Value};
use roost_hub::storage::Position;
use roost_hub::storage::memory::MemoryStore;
use roost_hub::time::Timestamp;
use tempfile::TempDir;

#[derive(Clone, Debug)]
enum Step {
    Append(&'static str, Vec<Reading>),
    Flush,
    Restart,
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Boolean),
        (-100_i64..100).prop_map(Value::Integer),
        any::<i64>().prop_map(Value::Integer),
        any::<u64>().prop_map(Value::Unsigned),
        (-10.0..10.0).prop_map(Value::Number),
        "[a-z0-9=]{0,4}".prop_map(|text| Value::Text(Arc::from(text))),
        Just(Value::Gap),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let name = || prop_oneof![Just("a"), Just("b")];
    let one = (prop_oneof![Just("k"), Just("l")], -20_i64..20, value());
    let readings = proptest::collection::vec(one.prop_map(|(key, ts, value)| reading(key, ts, value)), 1..6);
    prop_oneof![
        8 => (name(), readings).prop_map(|(name, readings)| Step::Append(name, readings)),
        2 => Just(Step::Flush),
        1 => Just(Step::Restart),
    ]
}

/// What an answer says of a value: see `Point::value`.
fn told(value: &Value) -> Value {
    match value {
        Value::Unsigned(value) => i64::try_from(*value).map_or(Value::Unsigned(*value), Value::Integer),
        other => other.clone(),
    }
}

async fn check(steps: Vec<Step>, (from, to, born, width, limit): (i64, i64, u64, u64, usize)) {
    let (dir, log) = (TempDir::new().unwrap(), MemoryStore::store().log);
    let mut history = open(dir.path(), &log);
    let mut model: BTreeMap<i64, Value> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Append(name, readings) => {
                let position = append(&log, name, readings.clone());
                for reading in readings {
                    let within = (from..to).contains(&reading.ts.0) && position.0 >= born;
                    if name == "a" && &*reading.key == "k" && within {
                        model.insert(reading.ts.0, told(&reading.value));
                    }
                }
            }
            Step::Flush => history.flush(Timestamp(0)).await.unwrap(),
            Step::Restart => {
                log.trim(Position(history.trim_position().0 + 1));
                history = open(dir.path(), &log);
            }
        }
    }
    let mut selection = all("k");
    (selection.from, selection.to, selection.born) = (Timestamp(from), Timestamp(to), Position(born));
    let rows: Vec<(i64, Value)> = model.into_iter().collect();
    assert_eq!(pairs(&history, "a", &selection).await, rows);

    let (mut page, mut found) = (Page { limit, after: None }, Vec::new());
    loop {
        let part = history.points(&tenant(), &device("a"), &selection, page).await.unwrap();
        found.extend(part.points.into_iter().map(|point| (point.ts.0, point.value)));
        page.after = part.next;
        if page.after.is_none() {
            break;
        }
    }
    assert_eq!(found, rows);

    selection.every = Some(Duration::from_millis(width));
    let width = i64::try_from(width).unwrap();
    for aggregate in [Aggregate::Count, Aggregate::First, Aggregate::Last] {
        selection.aggregate = Some(aggregate);
        let mut buckets: BTreeMap<i64, Vec<Value>> = BTreeMap::new();
        for (ts, value) in &rows {
            let bucket = buckets.entry(ts.div_euclid(width) * width).or_default();
            bucket.extend((*value != Value::Gap).then(|| value.clone()));
        }
        let expected = buckets.into_iter().map(|(start, values)| {
            let value = match aggregate {
                Aggregate::Count => Some(Value::Integer(i64::try_from(values.len()).unwrap())),
                Aggregate::First => values.first().cloned(),
                _ => values.last().cloned(),
            };
            (start, value.unwrap_or(Value::Gap))
        });
        assert_eq!(pairs(&history, "a", &selection).await, expected.collect::<Vec<_>>());
    }
    selection.aggregate = Some(Aggregate::Mean);
    assert!(ask(&history, "a", &selection).await.is_ok());
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 48, ..Default::default() })]

    #[test]
    fn answers_equal_the_definition_wherever_the_readings_are(
        steps in proptest::collection::vec(step(), 0..40),
        range in (-25_i64..5, 0_i64..25, 0_u64..10, 1_u64..15, 1_usize..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(check(steps, range));
    }
}
