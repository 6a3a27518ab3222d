//! The flight recorder by its public verbs.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use proptest::prelude::{ProptestConfig, prop_assert_eq, proptest};
use roost_hub::flight::{FLIGHT_DETAIL_LENGTH_MAX, FLIGHT_ENTRIES_MAX, FlightEntry, FlightKind};
use roost_hub::id::TenantId;
use roost_hub::live::{LiveKind, LiveNext};
use roost_testkit::world::{World, lamp, tenant};

fn note(world: &World, kind: FlightKind, detail: &str) {
    world.hub().note(&tenant(), &lamp(), kind, detail, world.hub().now());
}

fn entries(world: &World) -> Vec<FlightEntry> {
    world.hub().flight_entries(&tenant(), &lamp()).unwrap()
}

fn details(world: &World) -> Vec<String> {
    entries(world).into_iter().map(|entry| entry.detail).collect()
}

#[test]
fn consecutive_telemetry_is_one_entry_with_a_count() {
    let world = World::new();
    note(&world, FlightKind::Connected, "mqtt");
    let since = world.hub().now();
    for keys in ["temp", "temp, hum", "hum"] {
        note(&world, FlightKind::Telemetry, keys);
        world.advance(Duration::from_secs(1));
    }
    let [telemetry, _connected] = entries(&world).try_into().unwrap();
    assert_eq!((telemetry.count, telemetry.detail.as_str(), telemetry.since), (3, "hum", since));
    assert_eq!(telemetry.at.since(since), Duration::from_secs(2));
    note(&world, FlightKind::Event, "door");
    note(&world, FlightKind::Telemetry, "temp");
    assert_eq!(entries(&world).len(), 4);
}

#[test]
fn the_same_refusal_again_and_again_does_not_push_everything_else_out() {
    let world = World::new();
    note(&world, FlightKind::Connected, "mqtt");
    for _ in 0..1_000 {
        note(&world, FlightKind::Refused, "not allowed: x");
    }
    note(&world, FlightKind::Refused, "not allowed: y");
    let counts: Vec<u64> = entries(&world).iter().map(|entry| entry.count).collect();
    assert_eq!(counts, [1, 1_000, 1]);
}

#[test]
fn the_last_two_hundred_entries_are_kept_newest_first_over_restarts() {
    let mut world = World::new();
    for number in 0..=1_000 {
        note(&world, FlightKind::Event, &number.to_string());
        if number % 7 == 0 {
            world.hub().checkpoint().unwrap();
        }
        if number % 91 == 0 {
            world.hub().checkpoint().unwrap();
            world = world.restarted();
        }
    }
    let expected: Vec<String> = (801..=1_000).rev().map(|number| number.to_string()).collect();
    assert_eq!(details(&world), expected);
    world.hub().checkpoint().unwrap();
    assert_eq!(details(&world.restarted()), expected);
}

#[test]
fn a_count_that_goes_on_is_saved_now_and_then_and_with_the_next_entry() {
    let world = World::new();
    note(&world, FlightKind::Telemetry, "temp");
    world.hub().checkpoint().unwrap();
    note(&world, FlightKind::Telemetry, "temp");
    world.hub().checkpoint().unwrap();
    assert_eq!(entries(&world.restarted())[0].count, 1);
    world.advance(Duration::from_secs(10));
    world.hub().checkpoint().unwrap();
    assert_eq!(entries(&world.restarted())[0].count, 2);
    note(&world, FlightKind::Telemetry, "temp");
    note(&world, FlightKind::Disconnected, "bye");
    world.hub().checkpoint().unwrap();
    assert_eq!(entries(&world.restarted())[1].count, 3);
}

#[test]
fn a_detail_is_bounded_and_stays_text() {
    let world = World::new();
    note(&world, FlightKind::Refused, &"ä".repeat(1_000));
    note(&world, FlightKind::Telemetry, &format!("x{}", "ä".repeat(1_000)));
    for entry in entries(&world) {
        assert!((FLIGHT_DETAIL_LENGTH_MAX - 1..=FLIGHT_DETAIL_LENGTH_MAX).contains(&entry.detail.len()));
    }
}

#[test]
fn each_device_of_each_tenant_has_entries_of_its_own() {
    let world = World::new();
    note(&world, FlightKind::Event, "mine");
    let now = world.hub().now();
    let other = TenantId::parse("other").unwrap();
    world.hub().note(&other, &lamp(), FlightKind::Event, "theirs", now);
    world.hub().checkpoint().unwrap();
    assert_eq!(details(&world), ["mine"]);
    let theirs = world.restarted().hub().flight_entries(&other, &lamp()).unwrap();
    assert_eq!(theirs.len(), 1);
    assert_eq!(theirs[0].detail, "theirs");
}

#[tokio::test]
async fn a_note_is_a_live_event_unless_it_is_telemetry() {
    let world = World::new();
    let mut live = world.hub().live.follow(&tenant());
    note(&world, FlightKind::Telemetry, "temp");
    note(&world, FlightKind::Refused, "no");
    let Some(LiveNext::Event(event)) = live.next().await else { panic!("the feed ended") };
    assert!(matches!(&event.kind, LiveKind::Log(entry) if entry.detail == "no"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn saving_whenever_and_restarting_whenever_after_a_save_loses_nothing(
        steps in proptest::collection::vec((1_usize..60, 0_u8..3), 1..30),
    ) {
        let mut world = World::new();
        let mut number = 0;
        for (notes, then) in steps {
            for _ in 0..notes {
                number += 1;
                note(&world, FlightKind::Event, &number.to_string());
            }
            if then > 0 {
                world.hub().checkpoint().unwrap();
            }
            if then > 1 {
                world = world.restarted();
            }
            let oldest = number - FLIGHT_ENTRIES_MAX.min(number) + 1;
            let expected: Vec<String> = (oldest..=number).rev().map(|number| number.to_string()).collect();
            prop_assert_eq!(details(&world), expected);
        }
    }
}
