//! The latest values: what replaces what, and what is still there after a restart.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use roost_hub::Hub;
use roost_hub::broker::PublishError;
use roost_hub::id::{DeviceId, TenantId};
use roost_hub::message::{Message, Telemetry};
use roost_hub::principal::Principal;
use roost_hub::reading::{Quality, Reading, Value};
use roost_hub::time::Timestamp;
use roost_hub::topic::Topic;
use roost_testkit::world::World;

fn send(hub: &Hub, principal: &Principal, readings: &[(&str, i64, Value)]) -> Result<(), PublishError> {
    send_as(Quality::Good, hub, principal, readings)
}

fn send_as(
    quality: Quality,
    hub: &Hub,
    principal: &Principal,
    readings: &[(&str, i64, Value)],
) -> Result<(), PublishError> {
    let now = hub.now();
    let mut message = Message::new(Topic::parse("devices/d1/telemetry").unwrap(), "{}", now);
    let reading = |(key, offset, value): &(&str, i64, Value)| Reading {
        key: Arc::from(*key),
        ts: Timestamp(now.0 + offset),
        value: value.clone(),
        quality,
    };
    let readings = readings.iter().map(reading).collect();
    message.telemetry = Some(Box::new(Telemetry { device: DeviceId::parse("d1").unwrap(), readings }));
    hub.publish(principal, message).map(drop)
}

fn latest(hub: &Hub, key: &str) -> Option<(Value, Quality)> {
    let tenant = TenantId::parse("default").unwrap();
    let latest = hub.latest(&tenant, &DeviceId::parse("d1").unwrap()).unwrap();
    latest.get(key).map(|reading| (reading.value.clone(), reading.quality))
}

fn number(number: i64) -> Value {
    Value::Integer(number)
}

#[test]
fn j_20_an_old_reading_does_not_replace_a_newer_one_and_of_two_at_one_time_the_last_counts() {
    let world = World::new();
    let device = world.create_device("d1");
    let hub = world.hub();
    send(hub, &device, &[("t", 0, number(1))]).unwrap();
    send(hub, &device, &[("t", -3_600_000, number(2))]).unwrap();
    assert_eq!(latest(hub, "t"), Some((number(1), Quality::Good)));
    send(hub, &device, &[("t", 5, number(3)), ("t", 5, number(4))]).unwrap();
    assert_eq!(latest(hub, "t"), Some((number(4), Quality::Good)));
}

#[test]
fn j_22_a_reading_from_the_future_gives_way_to_the_next_one() {
    let world = World::new();
    let device = world.create_device("d1");
    let hub = world.hub();
    send(hub, &device, &[("t", 3_600_000, number(1))]).unwrap();
    send(hub, &device, &[("t", 0, number(2))]).unwrap();
    assert_eq!(latest(hub, "t"), Some((number(2), Quality::Good)));
}

#[test]
fn a_measurement_takes_the_place_of_a_stale_value_although_the_devices_clock_is_behind() {
    let world = World::new();
    let device = world.create_device("d1");
    let hub = world.hub();
    send(hub, &device, &[("t", -60_000, number(1))]).unwrap();
    send_as(Quality::Stale, hub, &device, &[("t", 0, number(1))]).unwrap();
    assert_eq!(latest(hub, "t"), Some((number(1), Quality::Stale)));
    send(hub, &device, &[("t", -30_000, number(2))]).unwrap();
    assert_eq!(latest(hub, "t"), Some((number(2), Quality::Good)));
    send_as(Quality::Stale, hub, &device, &[("t", -40_000, number(1))]).unwrap();
    assert_eq!(latest(hub, "t"), Some((number(2), Quality::Good)));
}

#[test]
fn j_10_text_where_numbers_were_is_kept_and_marked() {
    let world = World::new();
    let device = world.create_device("d1");
    let hub = world.hub();
    send(hub, &device, &[("t", 0, number(1))]).unwrap();
    let text = Value::Text(Arc::from("error 7"));
    send(hub, &device, &[("t", 1, text.clone())]).unwrap();
    assert_eq!(latest(hub, "t"), Some((text, Quality::Kind)));
}

#[test]
fn j_23_a_device_has_so_many_keys_and_no_more() {
    let world = World::with(|settings| settings.keys_max = 2);
    let device = world.create_device("d1");
    let hub = world.hub();
    send(hub, &device, &[("a", 0, number(1)), ("b", 0, number(1))]).unwrap();
    let refused = send(hub, &device, &[("a", 1, number(2)), ("c", 1, number(1))]);
    assert!(matches!(refused, Err(PublishError::QuotaExceeded(_))), "{refused:?}");
    assert_eq!(latest(hub, "a"), Some((number(1), Quality::Good)), "nothing of it was taken");
}

#[test]
fn j_23_a_new_key_that_comes_many_times_in_one_message_is_one_key() {
    let world = World::with(|settings| settings.keys_max = 2);
    let device = world.create_device("d1");
    let points: Vec<_> = (0..10).flat_map(|at| [("a", at, number(1)), ("b", at, number(2))]).collect();
    send(world.hub(), &device, &points).unwrap();
    assert_eq!(latest(world.hub(), "b"), Some((number(2), Quality::Good)));
}

#[test]
fn the_latest_values_are_there_after_a_restart_with_and_without_a_checkpoint() {
    let world = World::new();
    let device = world.create_device("d1");
    send(world.hub(), &device, &[("a", 0, number(1))]).unwrap();
    world.hub().checkpoint().unwrap();
    send(world.hub(), &device, &[("b", 0, number(2))]).unwrap();
    let world = world.restarted();
    for key in ["a", "b"] {
        assert!(latest(world.hub(), key).is_some(), "{key}");
    }
    // A checkpoint right after the restart must not lose what only the table had.
    world.hub().checkpoint().unwrap();
    let world = world.restarted();
    for key in ["a", "b"] {
        assert!(latest(world.hub(), key).is_some(), "{key}");
    }
}

#[test]
fn readings_that_arrive_in_one_millisecond_keep_a_time_each() {
    let world = World::new();
    let device = world.create_device("d1");
    let tenant = TenantId::parse("default").unwrap();
    let id = DeviceId::parse("d1").unwrap();
    let mut times = Vec::new();
    for value in 0..50 {
        send(world.hub(), &device, &[("t", 0, number(value)), ("u", 0, number(value))]).unwrap();
        let latest = world.hub().latest(&tenant, &id).unwrap();
        assert_eq!(latest["t"].ts, latest["u"].ts, "what came together stays together");
        times.push(latest["t"].ts);
    }
    assert!(times.is_sorted_by(|one, next| one < next));
    let world = world.restarted();
    send(world.hub(), &device, &[("t", 0, number(50))]).unwrap();
    assert!(world.hub().latest(&tenant, &id).unwrap()["t"].ts > times[49]);
}

#[test]
fn several_readings_of_a_key_in_one_message_without_times_keep_a_time_each() {
    let world = World::new();
    let device = world.create_device("d1");
    let tenant = TenantId::parse("default").unwrap();
    let id = DeviceId::parse("d1").unwrap();
    let all = [("t", 0, number(1)), ("u", 0, number(1)), ("t", 0, number(2)), ("t", 0, number(3))];
    send(world.hub(), &device, &all).unwrap();
    let latest = world.hub().latest(&tenant, &id).unwrap();
    assert_eq!(latest["t"].ts, latest["u"].ts.after(std::time::Duration::from_millis(2)));
    assert_eq!(latest["t"].value, number(3));
    send(world.hub(), &device, &[("t", 0, number(4))]).unwrap();
    assert!(world.hub().latest(&tenant, &id).unwrap()["t"].ts > latest["t"].ts);
}
