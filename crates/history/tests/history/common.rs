//! A log in memory, a history over it, and short names for what is put in and asked.

use std::path::Path;
use std::sync::Arc;

use roost_history::{FlushRule, History, Page, Points, QueryError, Selection};
use roost_hub::id::{DeviceId, TenantId};
use roost_hub::message::{Message, Telemetry};
use roost_hub::reading::{Quality, Reading, Value};
use roost_hub::record::encode_message;
use roost_hub::storage::{Log, Position};
use roost_hub::time::Timestamp;
use roost_hub::topic::Topic;

pub(crate) fn tenant() -> TenantId {
    TenantId::parse("default").unwrap()
}

pub(crate) fn device(name: &str) -> DeviceId {
    DeviceId::parse(name).unwrap()
}

pub(crate) fn reading(key: &str, ts: i64, value: impl Into<TestValue>) -> Reading {
    Reading { key: Arc::from(key), ts: Timestamp(ts), value: value.into().0, quality: Quality::Good }
}

pub(crate) struct TestValue(Value);

impl From<i64> for TestValue {
    fn from(value: i64) -> Self {
        Self(Value::Integer(value))
    }
}

impl From<f64> for TestValue {
    fn from(value: f64) -> Self {
        Self(Value::Number(value))
    }
}

impl From<bool> for TestValue {
    fn from(value: bool) -> Self {
        Self(Value::Boolean(value))
    }
}

impl From<&str> for TestValue {
    fn from(value: &str) -> Self {
        Self(Value::Text(Arc::from(value)))
    }
}

impl From<Value> for TestValue {
    fn from(value: Value) -> Self {
        Self(value)
    }
}

pub(crate) fn record(tenant: &TenantId, owner: &str, readings: Vec<Reading>) -> Vec<u8> {
    let topic = Topic::parse(&format!("devices/{owner}/telemetry")).unwrap();
    let mut message = Message::new(topic, "", Timestamp(1_000));
    message.telemetry = Some(Box::new(Telemetry { device: device(owner), readings }));
    let mut bytes = Vec::new();
    encode_message(tenant, &message, &[], None, &mut bytes);
    bytes
}

pub(crate) fn append(log: &Arc<dyn Log>, owner: &str, readings: Vec<Reading>) -> Position {
    log.append(&[&record(&tenant(), owner, readings)]).unwrap()
}

pub(crate) fn open(dir: &Path, log: &Arc<dyn Log>) -> Arc<History> {
    History::open(dir, Arc::clone(log), FlushRule::default()).unwrap()
}

pub(crate) fn all(key: &str) -> Selection {
    Selection {
        key: Arc::from(key),
        from: Timestamp(i64::MIN),
        to: Timestamp(i64::MAX),
        born: Position(0),
        every: None,
        aggregate: None,
    }
}

pub(crate) async fn ask(
    history: &Arc<History>,
    owner: &str,
    selection: &Selection,
) -> Result<Points, QueryError> {
    history.points(&tenant(), &device(owner), selection, Page::default()).await
}

pub(crate) async fn pairs(history: &Arc<History>, owner: &str, selection: &Selection) -> Vec<(i64, Value)> {
    let points = ask(history, owner, selection).await.unwrap().points;
    points.into_iter().map(|point| (point.ts.0, point.value)).collect()
}
