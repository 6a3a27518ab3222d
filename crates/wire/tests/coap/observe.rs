use roost_wire::coap::{Answer, Code, ContentFormat, EndpointOptions, Event, Kind, ObservationId, decode};

use crate::world::{Build, Sent, World, at, empty, one, peer, request, uint};

fn register(id: u16) -> Build {
    request(Code::GET, id).path("me/twin").uint(6, 0)
}

fn state(number: u32) -> Answer {
    Answer::content(ContentFormat::JSON, number.to_string())
}

fn observe(world: &mut World, from: u16, request: &Build) -> ObservationId {
    let ticket = world.ask(peer(from), request);
    let id = world.endpoint.observe(world.now, &ticket).unwrap();
    let ((), sent) = world.with_output(|endpoint, now, out| {
        endpoint.answer_observed(now, (&ticket, id), state(0), out);
    });
    assert!(uint(&one(&sent), 6).is_some());
    id
}

/// Says that something changed, and tells whoever can be told.
fn change(world: &mut World, id: ObservationId, number: u32) -> Vec<Sent> {
    world.endpoint.changed(world.now, id);
    tell(world, number)
}

fn tell(world: &mut World, number: u32) -> Vec<Sent> {
    let ((), sent) = world.with_output(|endpoint, now, out| {
        while let Some(id) = endpoint.next_notification() {
            endpoint.notify(now, id, state(number), out);
        }
    });
    sent
}

fn acknowledge(world: &mut World, from: u16, sent: &[Sent]) {
    let id = one(sent).id;
    assert!(world.give(peer(from), &empty(Kind::Acknowledgement, id)).1.is_empty());
}

#[test]
fn an_observer_is_told_with_its_token_and_rising_numbers() {
    let mut world = World::secure();
    let id = observe(&mut world, 1, &register(7));
    let mut last = 1;
    for number in 1..5 {
        let sent = change(&mut world, id, number);
        let message = one(&sent);
        assert_eq!((message.kind, message.code), (Kind::Confirmable, Code::CONTENT));
        assert_eq!(message.token.as_bytes(), 7_u16.to_be_bytes());
        assert_eq!(message.payload, number.to_string().as_bytes());
        let sequence = uint(&message, 6).unwrap();
        assert!(sequence > last);
        last = sequence;
        acknowledge(&mut world, 1, &sent);
        world.wait(100);
    }
}

#[test]
fn c_22_an_observer_gets_the_latest_when_it_has_acknowledged_what_came_before() {
    let mut world = World::secure();
    let id = observe(&mut world, 1, &register(7));
    let first = change(&mut world, id, 1);
    for number in 2..1_000 {
        assert!(change(&mut world, id, number).is_empty());
    }
    world.wait(100);
    acknowledge(&mut world, 1, &first);
    let sent = tell(&mut world, 1_000);
    assert_eq!(one(&sent).payload, b"1000");
    acknowledge(&mut world, 1, &sent);
    assert!(tell(&mut world, 1_001).is_empty(), "nothing has changed since");
}

#[test]
fn c_22_notifications_to_one_observer_keep_their_distance() {
    let mut world = World::secure();
    let id = observe(&mut world, 1, &register(7));
    let first = change(&mut world, id, 1);
    acknowledge(&mut world, 1, &first);
    assert!(change(&mut world, id, 2).is_empty());
    assert!(change(&mut world, id, 3).is_empty());
    assert!(world.wait(60).is_empty());
    assert_eq!(one(&tell(&mut world, 4)).payload, b"4");
}

#[test]
fn c_20_an_observer_that_rejects_a_notification_is_gone() {
    let mut world = World::secure();
    let id = observe(&mut world, 1, &register(7));
    let sent = change(&mut world, id, 1);
    world.give(peer(1), &empty(Kind::Reset, one(&sent).id));
    assert_eq!(world.events(), [Event::Ended(id)]);
    assert!(change(&mut world, id, 2).is_empty());
    assert_eq!(world.endpoint.observations(), 0);
}

#[test]
fn c_20_an_observer_that_never_acknowledges_is_gone_with_all_it_observes() {
    let mut world = World::secure();
    let (one_id, other_id) = (observe(&mut world, 1, &register(7)), observe(&mut world, 1, &register(8)));
    assert_eq!(change(&mut world, one_id, 1).len(), 1);
    assert_eq!(world.wait(200_000).len(), 4);
    assert_eq!(world.events(), [Event::Ended(one_id), Event::Ended(other_id)]);
    assert_eq!(world.endpoint.observations(), 0);
}

#[test]
fn c_20_an_unproven_observer_is_sent_no_more_than_three_times_what_came_from_there() {
    let mut world = World::new();
    let registration = register(7).option(15, "token=abcdefgh");
    let ticket = world.ask(peer(1), &registration);
    let id = world.endpoint.observe(world.now, &ticket).unwrap();
    let large = || Answer::content(ContentFormat::JSON, vec![b'1'; 5_000]);
    let mut total = 0;
    let ((), sent) = world.with_output(|endpoint, now, out| {
        endpoint.answer_observed(now, (&ticket, id), large(), out);
    });
    total += sent.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
    for _ in 0..100 {
        world.endpoint.changed(world.now, id);
        let ((), sent) = world.with_output(|endpoint, now, out| {
            while let Some(id) = endpoint.next_notification() {
                endpoint.notify(now, id, large(), out);
            }
        });
        total += sent.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        total += world.wait(10_000).iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
    }
    assert!(total <= 3 * registration.bytes().len(), "{total}");
}

#[test]
fn an_acknowledged_notification_proves_the_address() {
    let mut world = World::new();
    let id = observe(&mut world, 1, &register(7).option(15, "token=0123456789abcdef0123456789abcdef"));
    let sent = change(&mut world, id, 1);
    acknowledge(&mut world, 1, &sent);
    let large = Answer::content(ContentFormat::OCTETS, vec![0; 1_024]);
    let sent = world.exchange(peer(1), &request(Code::GET, 9).path("me/documents/x"), large);
    assert_eq!(one(&sent).payload.len(), 1_024);
}

#[test]
fn c_21_a_peer_has_so_many_observations() {
    let options = EndpointOptions {
        is_secure: true,
        observations_per_peer_max: 3,
        observations_max: 5,
        ..EndpointOptions::default()
    };
    let mut world = World::with(options);
    for id in 0..3 {
        observe(&mut world, 1, &register(id));
    }
    let ticket = world.ask(peer(1), &register(3));
    assert_eq!(world.endpoint.observe(world.now, &ticket), None);
    observe(&mut world, 2, &register(1));
    observe(&mut world, 2, &register(2));
    let ticket = world.ask(peer(2), &register(3));
    assert_eq!(world.endpoint.observe(world.now, &ticket), None);
    assert_eq!(world.endpoint.observations(), 5);
    // One that ends makes room.
    let ticket = world.ask(peer(1), &request(Code::GET, 0).path("me/twin").uint(6, 1));
    world.endpoint.unobserve(&ticket);
    let ticket = world.ask(peer(2), &register(4));
    assert!(world.endpoint.observe(world.now, &ticket).is_some());
}

#[test]
fn a_registration_under_the_same_token_takes_the_place_of_the_old_one() {
    let mut world = World::secure();
    let first = observe(&mut world, 1, &register(7));
    let mut again = register(8);
    again.head.token = register(7).head.token;
    let second = observe(&mut world, 1, &again);
    assert_eq!(world.events(), [Event::Ended(first)]);
    assert_eq!(world.endpoint.observations(), 1);
    assert_eq!(change(&mut world, second, 1).len(), 1);
}

#[test]
fn an_error_is_the_last_notification() {
    let mut world = World::secure();
    let id = observe(&mut world, 1, &register(7));
    world.endpoint.changed(world.now, id);
    let ((), sent) = world.with_output(|endpoint, now, out| {
        let id = endpoint.next_notification().unwrap();
        endpoint.notify(now, id, Answer::new(Code::NOT_FOUND), out);
    });
    assert_eq!((one(&sent).code, uint(&one(&sent), 6)), (Code::NOT_FOUND, None));
    assert_eq!(world.events(), [Event::Ended(id)]);
}

#[test]
fn what_was_told_is_known_when_it_is_acknowledged() {
    let mut world = World::secure();
    let id = observe(&mut world, 1, &register(7));
    world.endpoint.changed(world.now, id);
    let ((), sent) = world.with_output(|endpoint, now, out| {
        let id = endpoint.next_notification().unwrap();
        endpoint.notify(now, id, Answer { receipt: Some(9), ..state(1) }, out);
    });
    assert!(world.events().is_empty());
    let message = decode(&sent[0].1).unwrap();
    world.now += at(1_000);
    world.give(peer(1), &empty(Kind::Acknowledgement, message.id));
    assert_eq!(world.events(), [Event::Delivered(9)]);
}

#[test]
fn a_registration_under_the_same_token_goes_on_with_the_numbers() {
    let mut world = World::secure();
    let id = observe(&mut world, 1, &register(7));
    let mut last = 0;
    for number in 1..5 {
        let sent = change(&mut world, id, number);
        last = uint(&one(&sent), 6).unwrap();
        acknowledge(&mut world, 1, &sent);
        world.wait(60);
    }
    let mut again = register(8);
    again.head.token = register(7).head.token;
    let ticket = world.ask(peer(1), &again);
    let id = world.endpoint.observe(world.now, &ticket).unwrap();
    let ((), sent) = world.with_output(|endpoint, now, out| {
        endpoint.answer_observed(now, (&ticket, id), state(5), out);
    });
    // RFC 7641 section 3.4: otherwise the device takes it for an old one that was late.
    assert!(uint(&one(&sent), 6).unwrap() > last);
}

#[test]
fn numbers_follow_the_time_so_that_they_are_later_after_a_restart() {
    let number = |sequence_start, now| {
        let options = EndpointOptions { is_secure: true, sequence_start, ..EndpointOptions::default() };
        let mut world = World::with(options);
        world.now = at(now);
        let ticket = world.ask(peer(1), &register(7));
        let id = world.endpoint.observe(world.now, &ticket).unwrap();
        let ((), sent) = world.with_output(|endpoint, now, out| {
            endpoint.answer_observed(now, (&ticket, id), state(0), out);
        });
        uint(&one(&sent), 6).unwrap()
    };
    let (before, after) = (number(1_000, 16_000), number(3_000, 0));
    assert_eq!((before, after), (2_000, 3_000));
    assert_eq!(number(0xFF_FFFF, 32), 1, "they begin again from zero");
}

#[test]
fn an_answer_waits_for_a_notification_that_nobody_acknowledges_only_until_that_is_due_again() {
    let mut world = World::secure();
    let id = observe(&mut world, 1, &register(7));
    assert_eq!(change(&mut world, id, 1).len(), 1);
    let ticket = world.ask(peer(1), &request(Code::GET, 9).path("me/commands"));
    let sent = world.answer(&ticket, Answer { receipt: Some(2), ..state(2) });
    assert_eq!(one(&sent).code, Code::EMPTY);
    let sent = world.wait(3_100);
    assert_eq!((one(&sent).payload, one(&sent).kind), (&b"2"[..], Kind::Confirmable));
    acknowledge(&mut world, 1, &sent);
    assert_eq!(world.events(), [Event::Delivered(2)]);
    assert_eq!(one(&tell(&mut world, 3)).payload, b"3");
}

#[test]
fn a_device_that_slept_through_a_notification_is_answered_when_it_wakes() {
    let mut world = World::secure();
    let id = observe(&mut world, 1, &register(7));
    world.endpoint.changed(world.now, id);
    let ((), slept) = world.with_output(|endpoint, now, out| {
        let id = endpoint.next_notification().unwrap();
        endpoint.notify(now, id, Answer { receipt: Some(1), ..state(1) }, out);
    });
    assert!(!world.wait(20_000).is_empty());
    let ticket = world.ask(peer(1), &request(Code::GET, 9).path("me/commands"));
    let sent = world.answer(&ticket, Answer { receipt: Some(2), ..state(2) });
    let [(_, acknowledgement), (_, answer)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(decode(acknowledgement).unwrap().code, Code::EMPTY);
    let answer = decode(answer).unwrap();
    assert_eq!((answer.kind, answer.payload), (Kind::Confirmable, &b"2"[..]));
    assert_eq!(world.events(), [Event::Lost(1)]);
    let late = one(&slept).id;
    assert!(world.give(peer(1), &empty(Kind::Acknowledgement, late)).1.is_empty());
    world.give(peer(1), &empty(Kind::Acknowledgement, answer.id));
    assert_eq!(world.events(), [Event::Delivered(2)]);
    assert_eq!(one(&tell(&mut world, 3)).payload, b"3", "what it missed is told");
}
