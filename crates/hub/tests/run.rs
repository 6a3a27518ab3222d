//! Readings that come together: the same as if each had come alone, for everybody who sees them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::{Strategy, any, prop, proptest};
use roost_hub::Hub;
use roost_hub::broker::{PublishError, Session};
use roost_hub::latest::Latest;
use roost_hub::message::{Message, QoS, Telemetry};
use roost_hub::reading::{Quality, Reading, ReadingRef, Value};
use roost_hub::record::read_readings;
use roost_hub::storage::Position;
use roost_hub::time::Timestamp;
use roost_hub::topic::Topic;
use roost_testkit::world::{World, id, options, payloads, tenant};

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// A key's number, whether it has a time of its own, and its value: a number or a text.
type Drawn = (u8, bool, Option<i8>);

fn message(hub: &Hub, number: usize, drawn: &[Drawn]) -> Message {
    let now = hub.now();
    let reading = |(key, is_timed, value): &Drawn| Reading {
        key: Arc::from(format!("k{key}")),
        ts: if *is_timed { Timestamp(now.0 - 1_000) } else { now },
        value: value.map_or(Value::Text(Arc::from("x")), |number| Value::Integer(number.into())),
        quality: Quality::Good,
    };
    let mut message = Message::new(Topic::parse("devices/d1/telemetry").unwrap(), number.to_string(), now);
    message.qos = QoS::AtLeastOnce;
    let readings = drawn.iter().map(reading).collect();
    message.telemetry = Some(Box::new(Telemetry { device: id("d1"), readings }));
    message
}

/// What the log has of readings, in its order.
fn logged(hub: &Hub) -> Vec<Vec<Reading>> {
    let mut found = Vec::new();
    let batch = hub.store().log.read_after(Position(0), usize::MAX).unwrap();
    for (_, record) in &batch.records {
        let mut readings: Vec<ReadingRef<'_>> = Vec::new();
        if read_readings(record, &mut readings).unwrap().is_some() {
            found.push(readings.into_iter().map(Reading::from).collect());
        }
    }
    found
}

/// Everything that can be seen of what was published.
#[derive(Debug, PartialEq)]
struct Seen {
    refused: Vec<Option<PublishError>>,
    latest: Latest,
    logged: Vec<Vec<Reading>>,
    subscriber: Vec<String>,
    counted: [u64; 3],
}

fn seen(keeps: Option<Duration>, publish: impl FnOnce(&World) -> Vec<Result<(), PublishError>>) -> Seen {
    let world = World::with(|settings| settings.keys_max = 3);
    let hub = world.hub();
    world.create_device("d1");
    let mut reader: Option<Session> = keeps.map(|expiry| world.connect("reader", options().expiry(expiry)));
    if let Some(reader) = &mut reader {
        world.subscribe(reader, "devices/#", QoS::AtLeastOnce);
    }
    let each = publish(&world);
    let counters = &hub.counters;
    Seen {
        refused: each.into_iter().map(Result::err).collect(),
        latest: hub.latest(&tenant(), &id("d1")).unwrap(),
        logged: logged(hub),
        subscriber: reader.map(|mut reader| payloads(&mut reader)).unwrap_or_default(),
        counted: [
            counters.messages_received_total.value(),
            counters.publishes_refused_total.value(),
            counters.readings_total.value(),
        ],
    }
}

fn messages() -> impl Strategy<Value = Vec<Vec<Drawn>>> {
    let drawn = (0_u8..5, any::<bool>(), any::<Option<i8>>());
    prop::collection::vec(prop::collection::vec(drawn, 1..4), 0..12)
}

proptest! {
    #[test]
    fn a_run_is_the_same_as_its_messages_one_by_one(
        drawn in messages(),
        keeps in prop::option::of(prop::sample::select(vec![Duration::ZERO, WEEK])),
    ) {
        let all = |world: &World| -> Vec<Message> {
            drawn.iter().enumerate().map(|(number, one)| message(world.hub(), number, one)).collect()
        };
        let together = seen(keeps, |world| {
            let each = world.hub().publish_run(&world.device_principal("d1"), all(world));
            each.into_iter().map(|one| one.map(drop)).collect()
        });
        let alone = seen(keeps, |world| {
            let device = world.device_principal("d1");
            all(world).into_iter().map(|one| world.hub().publish(&device, one).map(drop)).collect()
        });
        assert_eq!(together, alone);
    }
}

#[test]
fn a_run_of_a_device_that_does_not_exist_or_may_not_is_refused_message_by_message() {
    let world = World::new();
    let hub = world.hub();
    let run = || (0..3).map(|number| message(hub, number, &[(0, false, Some(1))])).collect::<Vec<_>>();
    let owner = world.principal_of_tenant("default");
    let unknown = hub.publish_run(&owner, run());
    assert_eq!(unknown, vec![Err(PublishError::DeviceUnknown(id("d1"))); 3]);
    world.create_device("d1");
    let other = world.create_device("d2");
    assert_eq!(hub.publish_run(&other, run()), vec![Err(PublishError::NotAuthorized); 3]);
    assert!(hub.publish_run(&owner, run()).iter().all(Result::is_ok));
    assert_eq!(logged(hub).len(), 3);
}

#[test]
fn each_message_of_a_run_knows_its_own_place_in_the_log() {
    let world = World::new();
    world.create_device("d1");
    let hub = world.hub();
    let run = (0..4).map(|number| message(hub, number, &[(0, false, Some(1))])).collect();
    let each = hub.publish_run(&world.device_principal("d1"), run);
    let positions: Vec<_> = each.into_iter().map(|one| one.unwrap().position.unwrap().0).collect();
    let first = positions[0];
    assert_eq!(positions, [first, first + 1, first + 2, first + 3]);
    assert_eq!(hub.store().log.end(), Position(first + 3));
}
