//! QoS 0 for readers that do not keep up, and for those that do.

use roost_hub::broker::{Outgoing, Session};
use roost_hub::message::QoS;
use roost_testkit::world::{World, message, options, with_qos};

fn payloads(session: &mut Session) -> Vec<String> {
    let mut out = Vec::new();
    session.next_outgoing(&mut out, 2_000);
    let text = |payload: &[u8]| String::from_utf8_lossy(payload).into_owned();
    out.iter()
        .filter_map(|one| match one {
            Outgoing::Publish(delivery) => Some(text(&delivery.message.payload)),
            Outgoing::Release(..) => None,
        })
        .collect()
}

#[test]
fn m_67_a_reader_that_stops_loses_qos_0_and_holds_back_nobody() {
    let world = World::new();
    let mut slow = world.connect("slow", options());
    world.subscribe(&mut slow, "a", QoS::AtMostOnce);
    let mut one = world.connect("one", options());
    let text = "x".repeat(1024);
    for _ in 0..1000 {
        one.publish(message("a", &text), None).unwrap();
    }
    let got = payloads(&mut slow).len();
    assert!((100..=257).contains(&got), "{got}");
    assert!(world.hub().counters.messages_dropped_slow_total.value() >= 700);
}

#[test]
fn a_burst_of_qos_0_reaches_a_reader_whose_socket_takes_all_it_is_given() {
    let world = World::new();
    let mut prompt = world.connect("prompt", options());
    world.subscribe(&mut prompt, "a", QoS::AtMostOnce);
    prompt.keeps_up();
    let mut one = world.connect("one", options());
    let text = "x".repeat(1024);
    for _ in 0..1000 {
        one.publish(message("a", &text), None).unwrap();
    }
    assert_eq!(payloads(&mut prompt).len(), 1000);
    assert_eq!(world.hub().counters.messages_dropped_slow_total.value(), 0);
}

#[test]
fn m_67_a_reader_that_stops_after_a_burst_keeps_no_more_of_it_than_any_slow_reader() {
    let world = World::new();
    let mut stopping = world.connect("stopping", options());
    world.subscribe(&mut stopping, "a", QoS::AtMostOnce);
    world.subscribe(&mut stopping, "b", QoS::AtLeastOnce);
    stopping.keeps_up();
    let mut one = world.connect("one", options());
    let text = "x".repeat(1024);
    for number in 0..500 {
        one.publish(message("a", &text), None).unwrap();
        if number % 100 == 99 {
            one.publish(with_qos(message("b", "kept"), QoS::AtLeastOnce), None).unwrap();
        }
    }
    stopping.falls_behind();
    let got = payloads(&mut stopping);
    let kept = got.iter().filter(|payload| payload.as_str() == "kept").count();
    assert_eq!(kept, 5);
    assert!((100..=257).contains(&(got.len() - kept)), "{}", got.len() - kept);
    assert!(world.hub().counters.messages_dropped_slow_total.value() >= 243);
}
