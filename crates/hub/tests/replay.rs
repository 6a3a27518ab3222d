//! Subscriptions that begin in the past: nothing twice, nothing missing, in order.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use roost_hub::broker::{
    Leave, Outgoing, ReplayStart, RetainHandling, Session, Start, SubscribeError, SubscribeRequest,
    SubscriptionFlags, SubscriptionOptions,
};
use roost_hub::flight::FlightKind;
use roost_hub::id::{DeviceId, TenantId};
use roost_hub::message::{Message, QoS};
use roost_hub::storage::Position;
use roost_hub::time::Timestamp;
use roost_hub::topic::Subscribed;
use roost_testkit::world::{World, message, options, with_qos};

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
const FIRST: ReplayStart = ReplayStart::After(Position(0));

fn request(filter: &str, qos: QoS) -> SubscribeRequest {
    SubscribeRequest {
        subscribed: Subscribed::parse(filter).unwrap(),
        options: SubscriptionOptions { qos, flags: SubscriptionFlags::default(), identifier: 7 },
        retain_handling: RetainHandling::DoNotSend,
    }
}

/// Makes sure that what is published to `topic` with QoS 1 is recorded: a session that is away wants it.
fn record(world: &World, filter: &str) {
    let mut sleeper = world.connect("sleeper", options().expiry(WEEK));
    world.subscribe(&mut sleeper, filter, QoS::AtLeastOnce);
    sleeper.leave(Leave::Normally, None);
}

fn say(publisher: &mut Session, world: &World, text: &str) {
    let mut said = with_qos(message("a/b", text), QoS::AtLeastOnce);
    said.time = world.hub().now();
    publisher.publish(said, None).unwrap();
}

/// Everything that comes, with the log read as it is wanted and everything acknowledged.
fn drain(world: &World, session: &mut Session) -> Vec<String> {
    let mut texts = Vec::new();
    loop {
        let was = texts.len();
        let mut out = Vec::new();
        session.next_outgoing(&mut out, 1_000);
        for one in out {
            let Outgoing::Publish(delivery) = one else { continue };
            assert!(!delivery.retain);
            texts.push(String::from_utf8_lossy(&delivery.message.payload).into_owned());
            match (delivery.qos, delivery.packet_id) {
                (QoS::AtLeastOnce, Some(id)) => drop(session.acknowledge(id)),
                (QoS::ExactlyOnce, Some(id)) => {
                    session.received(id).unwrap();
                    session.complete(id);
                }
                _ => {}
            }
        }
        if world.replay() == 0 && texts.len() == was {
            return texts;
        }
    }
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[test]
fn what_was_recorded_comes_first_and_then_what_is_live() {
    let world = World::new();
    record(&world, "a/#");
    let mut publisher = world.connect("publisher", options());
    for text in numbers(0..10) {
        say(&mut publisher, &world, &text);
    }
    let mut reader = world.connect("reader", options());
    let granted = reader.subscribe_from(&[request("a/+", QoS::AtLeastOnce)], FIRST).granted;
    assert_eq!(granted, [Ok(QoS::AtLeastOnce)]);
    say(&mut publisher, &world, "10");
    let mut texts = drain(&world, &mut reader);
    say(&mut publisher, &world, "11");
    texts.extend(drain(&world, &mut reader));
    assert_eq!(texts, numbers(0..12));
}

#[test]
fn a_time_is_where_it_begins_and_other_topics_and_tenants_stay_out() {
    let world = World::new();
    record(&world, "#");
    let mut publisher = world.connect("publisher", options());
    say(&mut publisher, &world, "old");
    world.advance(Duration::from_secs(3_600));
    let since = world.hub().now();
    say(&mut publisher, &world, "new");
    let mut other = with_qos(message("other", "x"), QoS::AtLeastOnce);
    other.time = since;
    publisher.publish(other, None).unwrap();
    let stranger = world.principal_of_tenant("acme");
    let mut theirs = message("a/b", "theirs");
    (theirs.retain, theirs.time) = (true, since);
    world.hub().publish(&stranger, theirs).unwrap();
    let mut reader = world.connect("reader", options());
    let start = ReplayStart::Since(since);
    reader.subscribe_from(&[request("a/b", QoS::AtMostOnce)], start);
    assert_eq!(drain(&world, &mut reader), ["new"]);
}

#[test]
fn the_place_of_a_time_is_found_among_many() {
    let world = World::new();
    record(&world, "a/#");
    let mut publisher = world.connect("publisher", options());
    for text in numbers(0..1_000) {
        world.advance(Duration::from_secs(10));
        say(&mut publisher, &world, &text);
    }
    for ago in [0, 10, 55, 4_000, 9_990, 100_000] {
        let since = Timestamp(world.hub().now().0 - ago * 1_000);
        let place = world.hub().replay_place(ReplayStart::Since(since));
        let tenant = TenantId::parse("default").unwrap();
        let found = world.hub().read_recorded(&tenant, place.after, usize::MAX).unwrap();
        let wanted = found.messages.iter().filter(|message| message.time >= since).count();
        assert_eq!(wanted as i64, (ago / 10 + 1).min(1_000), "{ago}");
        // Little more than that was read.
        assert!(found.messages.len() - wanted <= 1, "{ago}: {}", found.messages.len());
    }
}

#[test]
fn a_slow_reader_is_given_a_piece_at_a_time_within_its_receive_maximum() {
    let world = World::new();
    record(&world, "a/#");
    let mut publisher = world.connect("publisher", options());
    let long = "x".repeat(10_000);
    for _ in 0..200 {
        say(&mut publisher, &world, &long);
    }
    let mut reader = world.connect("reader", options());
    reader.subscribe_from(&[request("a/b", QoS::AtLeastOnce)], FIRST);
    world.replay();
    world.replay();
    let tenant = TenantId::parse("default").unwrap();
    let waiting = world.hub().queue(&tenant, "reader", (0, 1_000)).unwrap().len();
    assert!((1..=40).contains(&waiting), "{waiting}");
    let mut out = Vec::new();
    reader.next_outgoing(&mut out, 1_000);
    assert!(out.len() <= 100, "{}", out.len());
    assert_eq!(drain(&world, &mut reader).len() + out.len(), 200);
}

#[test]
fn m_48_what_may_not_be_read_any_more_is_not_replayed() {
    let world = World::new();
    record(&world, "#");
    let mut publisher = world.connect("publisher", options());
    for topic in ["a/b", "devices/other/x", "devices/s1/x"] {
        if let Some(id) = topic.strip_prefix("devices/").and_then(|rest| rest.strip_suffix("/x")) {
            world.create_device(id);
        }
        publisher.publish(with_qos(message(topic, topic), QoS::AtLeastOnce), None).unwrap();
    }
    let device = world.device_principal("s1");
    let mut session = world.hub().connect(&device, options().build("s1")).unwrap().session;
    session.subscribe_from(&[request("#", QoS::AtMostOnce)], FIRST);
    // Its own `online` is a recorded message as well.
    assert_eq!(drain(&world, &mut session), ["a/b", "devices/s1/x", "online"]);
}

#[test]
fn a_shared_subscription_cannot_begin_in_the_past() {
    let world = World::new();
    let mut reader = world.connect("reader", options());
    let granted = reader.subscribe_from(&[request("$share/g/a", QoS::AtMostOnce)], FIRST).granted;
    assert_eq!(granted, [Err(SubscribeError::SharedReplay)]);
}

#[test]
fn what_waits_in_a_sessions_queue_is_not_sent_a_second_time() {
    let world = World::new();
    let mut reader = world.connect("reader", options().expiry(WEEK));
    world.subscribe(&mut reader, "a/b", QoS::ExactlyOnce);
    let mut publisher = world.connect("publisher", options());
    say(&mut publisher, &world, "had");
    assert_eq!(drain(&world, &mut reader), ["had"]);
    reader.leave(Leave::Lost, None);
    say(&mut publisher, &world, "queued");
    let mut reader = world.connect("reader", options().expiry(WEEK).start(Start::Resume));
    reader.subscribe_from(&[request("a/b", QoS::ExactlyOnce)], FIRST);
    say(&mut publisher, &world, "live");
    let texts = drain(&world, &mut reader);
    let sorted: BTreeSet<&str> = texts.iter().map(String::as_str).collect();
    assert_eq!((texts.len(), sorted), (3, BTreeSet::from(["had", "live", "queued"])), "{texts:?}");
}

#[test]
fn what_a_persistent_session_was_given_from_the_past_is_owed_after_a_restart() {
    let world = World::new();
    record(&world, "a/#");
    let mut publisher = world.connect("publisher", options());
    for text in numbers(0..5) {
        say(&mut publisher, &world, &text);
    }
    let mut reader = world.connect("reader", options().expiry(WEEK));
    reader.subscribe_from(&[request("a/b", QoS::AtLeastOnce)], FIRST);
    world.replay();
    let mut out = Vec::new();
    reader.next_outgoing(&mut out, 2);
    let Some(Outgoing::Publish(first)) = out.first() else { panic!("{out:?}") };
    reader.acknowledge(first.packet_id.unwrap());
    reader.flush();
    let world = world.restarted();
    let mut reader = world.connect("reader", options().expiry(WEEK).start(Start::Resume));
    assert_eq!(drain(&world, &mut reader), numbers(1..5));
}

#[test]
fn unsubscribing_ends_it_and_what_was_read_still_arrives() {
    let world = World::new();
    record(&world, "a/#");
    let mut publisher = world.connect("publisher", options());
    say(&mut publisher, &world, "one");
    let mut reader = world.connect("reader", options());
    reader.subscribe_from(&[request("a/b", QoS::AtLeastOnce)], FIRST);
    world.replay();
    reader.unsubscribe(&[Subscribed::parse("a/b").unwrap()]).unwrap();
    say(&mut publisher, &world, "two");
    assert_eq!(drain(&world, &mut reader), ["one"]);
}

#[test]
fn a_copy_for_a_sleeper_or_a_subscriber_is_not_replayed_as_well() {
    let world = World::with(|settings| settings.forward_after = 1);
    record(&world, "a/#");
    let mut publisher = world.connect("publisher", options());
    let mut kept = with_qos(message("a/b", "kept"), QoS::AtLeastOnce);
    kept.retain = true;
    publisher.publish(kept, None).unwrap();
    let mut wants = world.connect("wants", options().expiry(WEEK));
    world.subscribe(&mut wants, "a/b", QoS::AtLeastOnce);
    for _ in 0..3 {
        world.hub().checkpoint().unwrap();
    }
    let mut reader = world.connect("reader", options());
    reader.subscribe_from(&[request("a/b", QoS::AtMostOnce)], FIRST);
    assert_eq!(drain(&world, &mut reader), ["kept"]);
}

#[test]
fn a_device_is_told_when_the_log_does_not_go_back_so_far() {
    let world = World::new();
    record(&world, "a/#");
    let mut publisher = world.connect("publisher", options());
    for text in numbers(0..10) {
        say(&mut publisher, &world, &text);
    }
    let end = world.hub().store().log.end();
    world.hub().store().log.trim(Position(end.0 - 2));
    let device = world.create_device("s1");
    let mut session = world.hub().connect(&device, options().build("s1")).unwrap().session;
    session.subscribe_from(&[request("a/b", QoS::AtMostOnce)], FIRST);
    assert_eq!(drain(&world, &mut session), numbers(7..10));
    let id = DeviceId::parse("s1").unwrap();
    let entries = world.hub().flight_entries(&device.tenant, &id).unwrap();
    assert!(entries.iter().any(|entry| entry.kind == FlightKind::Error), "{entries:?}");
}

#[test]
fn nothing_is_lost_or_doubled_where_the_past_meets_what_is_live() {
    for round in 0..30 {
        let world = World::new();
        record(&world, "a/#");
        let hub = Arc::clone(world.hub());
        let principal = world.principal_of_tenant("default");
        let (is_over, mut texts) = (AtomicBool::new(false), Vec::new());
        let mut reader = world.connect("reader", options());
        std::thread::scope(|scope| {
            let publishing = scope.spawn(|| {
                for text in numbers(0..400) {
                    let said: Message = with_qos(message("a/b", &text), QoS::AtLeastOnce);
                    hub.publish(&principal, said).unwrap();
                }
                is_over.store(true, Ordering::SeqCst);
            });
            while hub.store().log.end().0 < round * 5 {
                std::thread::yield_now();
            }
            reader.subscribe_from(&[request("a/b", QoS::AtLeastOnce)], FIRST);
            while !is_over.load(Ordering::SeqCst) {
                texts.extend(drain(&world, &mut reader));
            }
            publishing.join().unwrap();
        });
        texts.extend(drain(&world, &mut reader));
        assert_eq!(texts, numbers(0..400), "round {round}");
    }
}
