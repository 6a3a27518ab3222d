//! The broker by its public verbs: who gets what, and what is still there after a restart.

use std::num::NonZeroU16;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use roost_hub::broker::{
    CloseReason, ConnectError, Leave, Outgoing, PublishError, Received, Session, Start, SubscriptionFlags,
    SubscriptionOptions, Will,
};
use roost_hub::message::{Message, QoS};
use roost_hub::storage::Position;
use roost_testkit::world::{World, message, options, packet_ids, payloads, with_qos};

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

fn wanted(qos: QoS, identifier: u32) -> SubscriptionOptions {
    SubscriptionOptions { qos, flags: SubscriptionFlags::default(), identifier }
}

#[test]
fn a_message_reaches_those_who_subscribed_and_nobody_else() {
    let world = World::new();
    let mut one = world.connect("one", options());
    let mut two = world.connect("two", options());
    world.subscribe(&mut one, "a/+", QoS::AtMostOnce);
    world.subscribe(&mut two, "b", QoS::AtMostOnce);
    let published = one.publish(message("a/x", "hello"), None).unwrap();
    assert!(published.is_routed && published.position.is_none());
    assert_eq!(payloads(&mut one), ["hello"]);
    assert_eq!(payloads(&mut two), Vec::<String>::new());
}

#[test]
fn overlapping_subscriptions_give_one_copy_with_the_highest_qos_and_all_identifiers() {
    let world = World::new();
    let mut one = world.connect("one", options());
    world.subscribe_with(&mut one, "a/#", wanted(QoS::AtMostOnce, 7));
    world.subscribe_with(&mut one, "a/b", wanted(QoS::AtLeastOnce, 9));
    one.publish(with_qos(message("a/b", "x"), QoS::ExactlyOnce), None).unwrap();
    let mut out = Vec::new();
    one.next_outgoing(&mut out, 10);
    let [Outgoing::Publish(delivery)] = out.as_slice() else { panic!("{out:?}") };
    assert_eq!(delivery.qos, QoS::AtLeastOnce);
    let mut identifiers = delivery.identifiers.as_slice().to_vec();
    identifiers.sort_unstable();
    assert_eq!(identifiers, [7, 9]);
}

#[test]
fn no_local_keeps_a_message_from_its_publisher() {
    let world = World::new();
    let mut one = world.connect("one", options());
    world.subscribe_with(
        &mut one,
        "a",
        SubscriptionOptions { flags: SubscriptionFlags::NO_LOCAL, ..wanted(QoS::AtMostOnce, 0) },
    );
    one.publish(message("a", "x"), None).unwrap();
    assert_eq!(payloads(&mut one), Vec::<String>::new());
}

#[test]
fn m_49_a_retained_message_waits_for_subscribers_and_an_empty_one_deletes_it() {
    let world = World::new();
    let mut one = world.connect("one", options());
    let mut kept = message("a/b", "kept");
    kept.retain = true;
    one.publish(kept, None).unwrap();
    world.subscribe(&mut one, "a/#", QoS::AtMostOnce);
    let mut out = Vec::new();
    one.next_outgoing(&mut out, 10);
    let [Outgoing::Publish(delivery)] = out.as_slice() else { panic!("{out:?}") };
    assert!(delivery.retain);
    let mut empty = message("a/b", "");
    empty.retain = true;
    one.publish(empty, None).unwrap();
    let mut two = world.connect("two", options());
    world.subscribe(&mut two, "#", QoS::AtMostOnce);
    assert_eq!(payloads(&mut two), Vec::<String>::new());
}

#[test]
fn a_persistent_session_gets_what_was_sent_while_it_was_away_even_after_a_restart() {
    let world = World::new();
    let mut away = world.connect("away", options().expiry(WEEK));
    world.subscribe(&mut away, "a/#", QoS::AtLeastOnce);
    away.leave(Leave::Normally, None);
    let mut one = world.connect("one", options());
    for text in ["1", "2", "3"] {
        let published = one.publish(with_qos(message("a/x", text), QoS::AtLeastOnce), None).unwrap();
        assert!(published.position.is_some());
    }
    for checkpoint in [false, true] {
        if checkpoint {
            world.hub().checkpoint().unwrap();
        }
        let world = world.restarted();
        let connected = world.try_connect("away", options().expiry(WEEK)).unwrap();
        assert!(connected.is_present);
        let mut away = connected.session;
        assert_eq!(payloads(&mut away), ["1", "2", "3"]);
        away.leave(Leave::ServerStops, None);
    }
}

#[test]
fn what_was_acknowledged_is_not_sent_again_after_a_restart() {
    let world = World::new();
    let mut away = world.connect("away", options().expiry(WEEK));
    world.subscribe(&mut away, "a", QoS::AtLeastOnce);
    for text in ["1", "2"] {
        away.publish(with_qos(message("a", text), QoS::AtLeastOnce), None).unwrap();
    }
    let sent = packet_ids(&mut away);
    assert_eq!(sent.len(), 2);
    away.acknowledge(sent[0].0);
    away.flush();
    let world = world.restarted();
    let mut away = world.try_connect("away", options().expiry(WEEK)).unwrap().session;
    // The second keeps its packet id and is marked as sent before.
    assert_eq!(packet_ids(&mut away), [(sent[1].0, true)]);
}

#[test]
fn a_qos_2_message_that_was_received_is_released_and_not_sent_again() {
    let world = World::new();
    let mut away = world.connect("away", options().expiry(WEEK));
    world.subscribe(&mut away, "a", QoS::ExactlyOnce);
    let mut one = world.connect("one", options());
    one.publish(with_qos(message("a", "x"), QoS::ExactlyOnce), NonZeroU16::new(5)).unwrap();
    world.deliver_deferred();
    let sent = packet_ids(&mut away);
    assert!(
        matches!(away.received(sent[0].0).unwrap(), Received::Release(position) if position > Position(0))
    );
    for checkpoint in [false, true] {
        if checkpoint {
            world.hub().checkpoint().unwrap();
        }
        let world = world.restarted();
        let mut away = world.try_connect("away", options().expiry(WEEK)).unwrap().session;
        assert_eq!(payloads(&mut away), [format!("release {}", sent[0].0)]);
    }
}

#[test]
fn a_resent_qos_2_message_is_not_delivered_twice_even_across_a_restart() {
    let world = World::new();
    let mut reader = world.connect("reader", options().expiry(WEEK));
    world.subscribe(&mut reader, "a", QoS::AtLeastOnce);
    let mut writer = world.connect("writer", options().expiry(WEEK));
    let id = NonZeroU16::new(9);
    writer.publish(with_qos(message("a", "x"), QoS::ExactlyOnce), id).unwrap();
    writer.publish(with_qos(message("a", "x"), QoS::ExactlyOnce), id).unwrap();
    world.deliver_deferred();
    assert_eq!(payloads(&mut reader), ["x"]);
    let world = world.restarted();
    let mut writer = world.try_connect("writer", options().expiry(WEEK)).unwrap().session;
    writer.publish(with_qos(message("a", "x"), QoS::ExactlyOnce), id).unwrap();
    world.deliver_deferred();
    let mut reader = world.try_connect("reader", options().expiry(WEEK)).unwrap().session;
    assert_eq!(payloads(&mut reader), ["x"], "the one copy, sent again since it was not acknowledged");
    assert!(writer.release(id.unwrap()).unwrap().was_in_use);
    assert!(!writer.release(id.unwrap()).unwrap().was_in_use, "the packet id is free");
    writer.publish(with_qos(message("a", "y"), QoS::ExactlyOnce), id).unwrap();
    world.deliver_deferred();
    assert_eq!(payloads(&mut reader), ["y"], "a free packet id is a new message");
}

#[test]
fn a_qos_2_message_that_is_durable_at_once_does_not_wait_for_the_next() {
    let world = World::new();
    let mut reader = world.connect("reader", options());
    world.subscribe(&mut reader, "a", QoS::AtMostOnce);
    let mut writer = world.connect("writer", options().expiry(WEEK));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            // Always awake, so that it looks between any two steps of a publish.
            let mut deferred = pin!(world.hub().run_deferred());
            while !is_over.load(Ordering::Relaxed) {
                assert!(deferred.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            }
        });
        let mut arrives = || {
            (0..200_000).any(|_| {
                std::thread::yield_now();
                payloads(&mut reader) == ["x"]
            })
        };
        let lost = (1..=600).find(|id| {
            writer.publish(with_qos(message("a", "x"), QoS::ExactlyOnce), NonZeroU16::new(*id)).unwrap();
            !arrives()
        });
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(lost, None);
    });
}

#[test]
fn retained_messages_survive_a_restart_with_and_without_a_checkpoint() {
    let world = World::new();
    let mut one = world.connect("one", options());
    for (topic, text) in [("a", "1"), ("b", "2"), ("a", "3")] {
        let mut kept = message(topic, text);
        kept.retain = true;
        one.publish(kept, None).unwrap();
        world.hub().checkpoint().unwrap();
    }
    let mut kept = message("b", "");
    kept.retain = true;
    one.publish(kept, None).unwrap();
    let world = world.restarted();
    let mut two = world.connect("two", options());
    world.subscribe(&mut two, "#", QoS::AtMostOnce);
    assert_eq!(payloads(&mut two), ["3"]);
}

#[test]
fn m_29_a_second_connection_takes_the_session_over_and_only_for_the_same_principal() {
    let world = World::new();
    let first = world.connect("twin", options());
    let second = world.connect("twin", options());
    assert_eq!(first.closing(), Some(CloseReason::TakenOver));
    assert_eq!(second.closing(), None);
    drop(first);
    assert_eq!(second.closing(), None, "the first one's end does not end the second");
    let other = world.device_principal("d1");
    let refused = world.hub().connect(&other, options().build("twin"));
    assert!(matches!(refused, Err(ConnectError::ClientIdTaken)));
}

#[test]
fn a_will_is_sent_when_the_connection_is_lost_and_not_after_a_good_bye() {
    let world = World::new();
    let mut reader = world.connect("reader", options());
    world.subscribe(&mut reader, "wills/#", QoS::AtMostOnce);
    let will = |topic: &str| Will { message: message(topic, "gone"), delay: Duration::ZERO, expiry: None };
    let polite = world.connect("polite", options().will(will("wills/polite")));
    polite.leave(Leave::Normally, None);
    let rude = world.connect("rude", options().will(will("wills/rude")));
    drop(rude);
    assert_eq!(payloads(&mut reader), ["gone"]);
}

#[test]
fn a_delayed_will_waits_and_is_dropped_when_the_client_is_back() {
    let world = World::new();
    let mut reader = world.connect("reader", options());
    world.subscribe(&mut reader, "wills/#", QoS::AtMostOnce);
    let will = || Will { message: message("wills/x", "gone"), delay: Duration::from_secs(10), expiry: None };
    drop(world.connect("x", options().expiry(WEEK).will(will())));
    world.advance(Duration::from_secs(5));
    let back = world.try_connect("x", options().expiry(WEEK).will(will())).unwrap();
    world.advance(Duration::from_secs(60));
    assert_eq!(payloads(&mut reader), Vec::<String>::new());
    drop(back.session);
    world.advance(Duration::from_secs(11));
    assert_eq!(payloads(&mut reader), ["gone"]);
}

#[test]
fn the_will_of_a_client_that_was_connected_when_the_server_died_is_sent_after_the_restart() {
    let world = World::new();
    let will = Will { message: message("wills/x", "gone"), delay: Duration::ZERO, expiry: None };
    let device = world.create_device("d1");
    let _lost = world.hub().connect(&device, options().will(will).build("x")).unwrap();
    let world = world.restarted();
    let mut reader = world.connect("reader", options());
    world.subscribe(&mut reader, "wills/#", QoS::AtMostOnce);
    world.advance(Duration::from_secs(1));
    assert_eq!(payloads(&mut reader), ["gone"]);
}

#[test]
fn a_session_ends_when_its_time_is_over() {
    let world = World::new();
    let mut away = world.connect("away", options().expiry(Duration::from_secs(60)));
    world.subscribe(&mut away, "a", QoS::AtLeastOnce);
    away.leave(Leave::Normally, None);
    world.advance(Duration::from_secs(61));
    let back = world.try_connect("away", options().expiry(WEEK)).unwrap();
    assert!(!back.is_present);
}

#[test]
fn a_shared_subscription_gives_each_message_to_one_member() {
    let world = World::new();
    let mut members: Vec<Session> = (0..3).map(|n| world.connect(&format!("m{n}"), options())).collect();
    for member in &mut members {
        world.subscribe(member, "$share/g/a", QoS::AtMostOnce);
    }
    for number in 0..9 {
        members[0].publish(message("a", &number.to_string()), None).unwrap();
    }
    let counts: Vec<usize> = members.iter_mut().map(|member| payloads(member).len()).collect();
    assert_eq!(counts, [3, 3, 3]);
}

#[test]
fn what_a_member_leaves_behind_goes_to_the_others_except_qos_2_that_was_sent() {
    let world = World::new();
    for expiry in [Duration::ZERO, WEEK] {
        let mut leaver = world.connect("leaver", options().expiry(expiry));
        world.subscribe(&mut leaver, "$share/g/a", QoS::ExactlyOnce);
        let mut one = world.connect("one", options());
        for (text, qos) in [("1", QoS::AtLeastOnce), ("2", QoS::ExactlyOnce), ("3", QoS::ExactlyOnce)] {
            one.publish(with_qos(message("a", text), qos), None).unwrap();
            world.deliver_deferred();
        }
        leaver.next_outgoing(&mut Vec::new(), 2);
        let mut other = world.connect("other", options().expiry(expiry));
        world.subscribe(&mut other, "$share/g/a", QoS::ExactlyOnce);
        leaver.leave(Leave::Lost, None);
        drop(world.try_connect("leaver", options().start(Start::Clean)).unwrap());
        world.deliver_deferred();
        assert_eq!(payloads(&mut other), ["1", "3"]);
        other.leave(Leave::Normally, Some(Duration::ZERO));
    }
}

#[test]
fn m_59_the_same_topic_in_two_tenants_is_two_topics() {
    let world = World::new();
    let mut ours = world.connect("a", options());
    world.subscribe(&mut ours, "#", QoS::AtMostOnce);
    let theirs = world.principal_of_tenant("other");
    let mut theirs = world.hub().connect(&theirs, options().build("a")).unwrap().session;
    theirs.publish(message("x", "theirs"), None).unwrap();
    assert_eq!(payloads(&mut ours), Vec::<String>::new());
}

#[test]
fn m_58_a_wide_filter_matches_what_its_owner_may_read() {
    let world = World::new();
    let device = world.device_principal("d1");
    let mut device = world.hub().connect(&device, options().build("d1")).unwrap().session;
    world.subscribe(&mut device, "#", QoS::AtMostOnce);
    let mut one = world.connect("one", options());
    one.publish(message("plain", "ok"), None).unwrap();
    let foreign = one.publish(message("devices/d2/other", "secret"), None);
    assert!(matches!(foreign, Err(PublishError::DeviceUnknown(_))) || foreign.is_ok());
    assert_eq!(payloads(&mut device), ["online", "ok"], "its own status, and what is open to all");
}

#[test]
fn a_message_whose_time_is_over_is_not_delivered() {
    let world = World::new();
    let mut away = world.connect("away", options().expiry(WEEK));
    world.subscribe(&mut away, "a", QoS::AtLeastOnce);
    away.leave(Leave::Normally, None);
    let mut one = world.connect("one", options());
    let mut short: Message = with_qos(message("a", "short"), QoS::AtLeastOnce);
    short.properties = Some(Box::new(roost_hub::message::Properties {
        expires_at: Some(world.hub().now().after(Duration::from_secs(5))),
        ..Default::default()
    }));
    one.publish(short, None).unwrap();
    one.publish(with_qos(message("a", "long"), QoS::AtLeastOnce), None).unwrap();
    world.advance(Duration::from_secs(6));
    let connected = world.try_connect("away", options().expiry(WEEK).start(Start::Resume)).unwrap();
    let mut away = connected.session;
    assert_eq!(payloads(&mut away), ["long"]);
}

#[test]
fn a_message_that_expires_after_it_was_sent_comes_again_all_the_same() {
    let world = World::new();
    let mut away = world.connect("away", options().expiry(WEEK));
    world.subscribe(&mut away, "a", QoS::ExactlyOnce);
    let mut one = world.connect("one", options());
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut short = with_qos(message("a", "short"), qos);
        short.properties = Some(Box::new(roost_hub::message::Properties {
            expires_at: Some(world.hub().now().after(Duration::from_secs(5))),
            ..Default::default()
        }));
        one.publish(short, None).unwrap();
    }
    world.deliver_deferred();
    let first = packet_ids(&mut away);
    assert_eq!(first.len(), 2);
    away.leave(Leave::Lost, None);
    world.advance(Duration::from_secs(6));
    let mut away = world.try_connect("away", options().expiry(WEEK)).unwrap().session;
    let again: Vec<_> = first.iter().map(|(id, _)| (*id, true)).collect();
    assert_eq!(packet_ids(&mut away), again);
}

#[test]
fn one_sleeper_does_not_hold_up_the_trimming_of_the_log() {
    let world = World::with(|settings| settings.forward_after = 10);
    let mut away = world.connect("away", options().expiry(WEEK));
    world.subscribe(&mut away, "a", QoS::AtLeastOnce);
    away.leave(Leave::Normally, None);
    let mut one = world.connect("one", options());
    let mut first = with_qos(message("a", "waits"), QoS::AtLeastOnce);
    first.retain = true;
    one.publish(first, None).unwrap();
    let mut newer = message("a", "retained");
    newer.retain = true;
    for _ in 0..50 {
        one.publish(newer.clone(), None).unwrap();
    }
    let needed = world.hub().checkpoint().unwrap();
    world.hub().store().log.trim(needed);
    assert!(needed > Position(40), "{needed:?}");
    let world = world.restarted();
    let mut away = world.try_connect("away", options().expiry(WEEK)).unwrap().session;
    assert_eq!(payloads(&mut away), ["waits"]);
    let mut two = world.connect("two", options());
    world.subscribe(&mut two, "a", QoS::AtMostOnce);
    assert_eq!(payloads(&mut two), ["retained"], "a copy is not retained again");
}

#[test]
fn m_47_a_tenant_keeps_so_many_retained_messages_and_no_more() {
    let world = World::with(|settings| settings.retained_max = 2);
    let mut one = world.connect("one", options());
    let retained = |topic: &str, text: &str| {
        let mut message = message(topic, text);
        message.retain = true;
        message
    };
    one.publish(retained("a", "1"), None).unwrap();
    one.publish(retained("b", "1"), None).unwrap();
    let refused = one.publish(retained("c", "1"), None);
    assert!(matches!(refused, Err(PublishError::QuotaExceeded(_))), "{refused:?}");
    one.publish(retained("a", "2"), None).unwrap();
    one.publish(retained("b", ""), None).unwrap();
    one.publish(retained("c", "1"), None).unwrap();
}
