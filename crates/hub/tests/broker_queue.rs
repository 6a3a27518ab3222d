//! The bounds of what waits for an absent session.

use std::time::Duration;

use roost_hub::SessionFull;
use roost_hub::broker::Leave;
use roost_hub::message::QoS;
use roost_testkit::world::{World, message, options, payloads, with_qos};

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

#[test]
fn m_66_a_full_queue_of_an_absent_session_refuses_what_is_more_and_counts_it() {
    let world = World::with(|settings| settings.session_messages_max = 3);
    let mut away = world.connect("away", options().expiry(WEEK));
    world.subscribe(&mut away, "a", QoS::AtLeastOnce);
    away.leave(Leave::Normally, None);
    let mut one = world.connect("one", options());
    for number in 0..5 {
        one.publish(with_qos(message("a", &number.to_string()), QoS::AtLeastOnce), None).unwrap();
    }
    let mut away = world.try_connect("away", options().expiry(WEEK)).unwrap().session;
    assert_eq!(payloads(&mut away), ["0", "1", "2"]);
    assert_eq!(world.hub().counters.messages_dropped_queue_total.value(), 2);
}

#[test]
fn m_66_a_queue_is_bounded_in_bytes_wherever_they_are() {
    let world = World::with(|settings| settings.session_bytes_max = 300 * 1024);
    let mut away = world.connect("away", options().expiry(WEEK));
    world.subscribe(&mut away, "a", QoS::AtLeastOnce);
    away.leave(Leave::Normally, None);
    let mut one = world.connect("one", options());
    // More than what a session keeps in memory.
    for _ in 0..400 {
        one.publish(with_qos(message("a", &"x".repeat(1023)), QoS::AtLeastOnce), None).unwrap();
    }
    assert_eq!(world.hub().counters.messages_dropped_queue_total.value(), 100);
}

#[test]
fn m_66_a_full_queue_gives_up_its_oldest_message_where_the_operator_wants_it() {
    let world = World::with(|settings| {
        settings.session_messages_max = 3;
        settings.session_full = SessionFull::DropOldest;
    });
    let mut away = world.connect("away", options().expiry(WEEK));
    world.subscribe(&mut away, "a", QoS::AtLeastOnce);
    away.leave(Leave::Normally, None);
    let mut one = world.connect("one", options());
    for number in 0..5 {
        one.publish(with_qos(message("a", &number.to_string()), QoS::AtLeastOnce), None).unwrap();
    }
    assert_eq!(world.hub().counters.messages_dropped_queue_total.value(), 2);
    drop(one);
    let world = world.restarted();
    let mut away = world.try_connect("away", options().expiry(WEEK)).unwrap().session;
    assert_eq!(payloads(&mut away), ["2", "3", "4"]);
}
