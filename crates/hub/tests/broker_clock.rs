//! Sessions and wills when the wall clock jumps, and when the server starts on a wrong one.

use std::time::Duration;

use roost_hub::broker::{Leave, Will};
use roost_hub::message::QoS;
use roost_testkit::world::{World, message, options, payloads, with_qos};

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

#[test]
fn no_session_ends_and_no_will_is_sent_because_the_wall_clock_jumps() {
    const TEN_YEARS: i64 = 3_653 * 86_400_000;
    let world = World::new();
    let mut reader = world.connect("reader", options());
    world.subscribe(&mut reader, "wills/#", QoS::AtMostOnce);
    world.connect("away", options().expiry(Duration::from_secs(60))).leave(Leave::Normally, None);
    let will = Will { message: message("wills/x", "gone"), delay: Duration::from_secs(60), expiry: None };
    drop(world.connect("x", options().expiry(WEEK).will(will)));
    world.advance(Duration::from_secs(30));
    world.jump(TEN_YEARS);
    world.jump(-2 * TEN_YEARS);
    assert_eq!(payloads(&mut reader), Vec::<String>::new());
    assert!(world.try_connect("away", options().expiry(Duration::from_secs(60))).unwrap().is_present);
    // Their time is over by the clock that only runs.
    world.advance(Duration::from_secs(61));
    assert_eq!(payloads(&mut reader), ["gone"]);
    assert!(!world.try_connect("away", options()).unwrap().is_present);
}

#[test]
fn a_session_keeps_its_time_when_the_server_starts_on_a_clock_that_was_set_back() {
    let world = World::new();
    world.connect("away", options().expiry(Duration::from_secs(60))).leave(Leave::Normally, None);
    world.jump(-86_400_000);
    let world = world.restarted();
    world.advance(Duration::from_secs(59));
    assert!(world.try_connect("away", options().expiry(Duration::from_secs(60))).unwrap().is_present);
}

#[test]
fn a_delayed_will_whose_session_ended_with_the_server_does_not_take_the_next_one_along() {
    let world = World::new();
    let delayed = |text: &str| {
        options().will(Will {
            message: with_qos(message("wills/x", text), QoS::AtLeastOnce),
            delay: Duration::from_secs(10),
            expiry: None,
        })
    };
    let principal = world.principal_of_tenant("default");
    let _lost = world.hub().connect(&principal, delayed("first").build("x")).unwrap();
    let world = world.restarted();
    let mut reader = world.connect("reader", options().expiry(WEEK));
    world.subscribe(&mut reader, "wills/#", QoS::AtLeastOnce);
    world.advance(Duration::from_secs(1));
    let _lost_again = world.hub().connect(&principal, delayed("second").build("x")).unwrap();
    world.advance(Duration::from_secs(60));
    assert_eq!(payloads(&mut reader), ["first"]);
    let world = world.restarted();
    world.advance(Duration::from_secs(1));
    let mut reader = world.try_connect("reader", options().expiry(WEEK)).unwrap().session;
    let texts = payloads(&mut reader);
    assert_eq!(texts.last().map(String::as_str), Some("second"), "{texts:?}");
}
