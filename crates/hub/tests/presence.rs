//! Presence by its public verbs.

use std::sync::Arc;
use std::time::Duration;

use roost_hub::broker::Session;
use roost_hub::message::{QoS, Telemetry};
use roost_hub::reading::{Quality, Reading, Value};
use roost_hub::time::Timestamp;
use roost_testkit::world::{World, lamp, message, options, payloads, tenant};

fn watcher(world: &World) -> Session {
    let mut session = world.connect("watcher", options());
    world.subscribe(&mut session, "devices/+/status", QoS::AtMostOnce);
    session
}

fn connect(world: &World) {
    world.hub().presence_connected(&tenant(), &lamp(), "mqtt", Some("10.0.0.7:1234"), world.hub().now());
}

fn disconnect(world: &World) {
    world.hub().presence_disconnected(&tenant(), &lamp(), "bye", world.hub().now());
}

#[test]
fn a_device_is_online_from_its_first_connection_to_its_last() {
    let world = World::new();
    let mut watcher = watcher(&world);
    connect(&world);
    connect(&world);
    assert_eq!(world.hub().presence(&tenant(), &lamp()).sessions, 2);
    disconnect(&world);
    assert!(world.hub().is_online(&tenant(), &lamp()));
    assert_eq!(payloads(&mut watcher), ["online"]);
    disconnect(&world);
    disconnect(&world);
    assert!(!world.hub().is_online(&tenant(), &lamp()));
    assert_eq!(payloads(&mut watcher), ["offline"]);
}

#[test]
fn the_status_is_retained() {
    let world = World::new();
    connect(&world);
    assert_eq!(payloads(&mut watcher(&world)), ["online"]);
}

#[test]
fn after_a_crash_the_status_of_whoever_was_online_is_taken_back() {
    let world = World::new();
    connect(&world);
    // No checkpoint has seen the connection.
    let world = world.restarted();
    assert!(!world.hub().is_online(&tenant(), &lamp()));
    assert_eq!(payloads(&mut watcher(&world)), ["offline"]);
    connect(&world);
    assert_eq!(payloads(&mut watcher(&world)), ["online"]);
}

#[test]
fn when_a_device_was_last_seen_is_known_after_a_restart() {
    let world = World::new();
    world.advance(Duration::from_secs(5));
    let seen_at = world.hub().now();
    world.hub().presence_seen(&tenant(), &lamp(), "http", seen_at);
    assert_eq!(world.hub().presence(&tenant(), &lamp()).last_seen, Some(seen_at));
    world.hub().checkpoint().unwrap();
    let presence = world.restarted().hub().presence(&tenant(), &lamp());
    assert_eq!((presence.last_seen, presence.online), (Some(seen_at), false));
    assert_eq!(presence.protocol.as_deref(), Some("http"));
}

fn last_seen(world: &World) -> Option<Timestamp> {
    world.hub().presence(&tenant(), &lamp()).last_seen
}

#[test]
fn a_device_was_last_seen_with_its_last_message_of_any_kind() {
    let world = World::new();
    let device = world.create_device("lamp");
    connect(&world);
    for topic in ["telemetry", "twin/reported", "events/door", "anything"] {
        world.advance(Duration::from_secs(7));
        let mut said = message(&format!("devices/lamp/{topic}"), "{}");
        said.time = world.hub().now();
        if topic == "telemetry" {
            let (key, value) = (Arc::from("t"), Value::Integer(1));
            let readings = vec![Reading { key, ts: said.time, value, quality: Quality::Good }];
            said.telemetry = Some(Box::new(Telemetry { device: lamp(), readings }));
        }
        world.hub().publish(&device, said).unwrap();
        assert_eq!(last_seen(&world), Some(world.hub().now()), "{topic}");
    }
}

#[test]
fn whatever_comes_over_a_connection_says_that_its_device_is_there() {
    let world = World::new();
    let device = world.create_device("lamp");
    let mut session = world.hub().connect(&device, options().build("lamp")).unwrap().session;
    world.advance(Duration::from_secs(7));
    session.heard(world.hub().now());
    assert_eq!(last_seen(&world), Some(world.hub().now()));
    world.hub().checkpoint().unwrap();
    world.advance(Duration::from_secs(60));
    session.heard(world.hub().now());
    let heard_at = world.hub().now();
    world.hub().checkpoint().unwrap();
    assert_eq!(last_seen(&world.restarted()), Some(heard_at));
}

#[test]
fn a_device_that_was_never_seen_is_offline_since_ever() {
    let presence = World::new().hub().presence(&tenant(), &lamp());
    assert_eq!((presence.online, presence.last_seen, presence.sessions), (false, None, 0));
}

#[test]
fn however_connects_and_disconnects_race_the_last_status_is_the_truth() {
    let world = World::new();
    let mut watcher = watcher(&world);
    for round in 0..50 {
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    connect(&world);
                    disconnect(&world);
                });
            }
            if round % 2 == 0 {
                scope.spawn(|| connect(&world));
            }
        });
        let is_online = world.hub().is_online(&tenant(), &lamp());
        assert_eq!(is_online, round % 2 == 0);
        let expected = if is_online { "online" } else { "offline" };
        assert_eq!(payloads(&mut watcher).last().map(String::as_str), Some(expected));
        if is_online {
            disconnect(&world);
            assert_eq!(payloads(&mut watcher), ["offline"]);
        }
    }
}
