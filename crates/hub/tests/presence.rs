//! Presence by its public verbs.

use std::time::Duration;

use roost_hub::broker::Session;
use roost_hub::message::QoS;
use roost_testkit::world::{World, lamp, options, payloads, tenant};

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
