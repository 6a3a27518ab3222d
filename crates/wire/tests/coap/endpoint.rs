use roost_wire::coap::{Answer, Code, ContentFormat, EndpointOptions, Event, Kind, decode};

use crate::world::{World, at, empty, one, peer, request, uint};

fn post(id: u16) -> crate::world::Build {
    request(Code::POST, id).path("me/telemetry").option(15, "token=abcdefgh").payload("{\"t\":1}")
}

fn changed() -> Answer {
    Answer::new(Code::CHANGED)
}

#[test]
fn an_answer_that_is_there_in_time_comes_in_the_acknowledgement() {
    let mut world = World::new();
    let sent = world.exchange(peer(1), &post(7), changed());
    let answer = one(&sent);
    assert_eq!((answer.kind, answer.code, answer.id), (Kind::Acknowledgement, Code::CHANGED, 7));
    assert_eq!(answer.token.as_bytes(), 7_u16.to_be_bytes());
    assert!(world.wait(100_000).is_empty());
}

#[test]
fn an_answer_that_takes_longer_comes_in_a_message_of_its_own_until_it_is_acknowledged() {
    let mut world = World::new();
    let ticket = world.ask(peer(1), &post(7));
    assert!(world.wait(900).is_empty());
    let sent = world.wait(200);
    let ack = one(&sent);
    assert_eq!((ack.kind, ack.code, ack.id), (Kind::Acknowledgement, Code::EMPTY, 7));
    let sent = world.answer(&ticket, changed());
    let (kind, code, id, token) = {
        let answer = one(&sent);
        (answer.kind, answer.code, answer.id, answer.token)
    };
    assert_eq!((kind, code), (Kind::Confirmable, Code::CHANGED));
    assert_eq!(token.as_bytes(), 7_u16.to_be_bytes());
    assert_eq!(world.wait(3_100).len(), 1, "once more after two to three seconds");
    assert!(world.give(peer(1), &empty(Kind::Acknowledgement, id)).1.is_empty());
    assert!(world.wait(100_000).is_empty());
}

#[test]
fn a_request_that_asks_for_no_acknowledgement_is_answered_so_too() {
    let mut world = World::new();
    let sent = world.exchange(peer(1), &post(7).kind(Kind::NonConfirmable), changed());
    assert_eq!((one(&sent).kind, one(&sent).code), (Kind::NonConfirmable, Code::CHANGED));
    assert!(world.wait(100_000).is_empty());
}

#[test]
fn c_11_a_repeated_request_is_acted_on_once_and_answered_the_same() {
    let mut world = World::new();
    let ticket = world.ask(peer(1), &post(7));
    let (again, sent) = world.give(peer(1), &post(7).bytes());
    assert!(again.is_none() && sent.is_empty(), "it is being worked on");
    let first = world.answer(&ticket, changed());
    for seconds in [0, 1, 100, 140] {
        world.wait(seconds * 1_000);
        let (again, sent) = world.give(peer(1), &post(7).bytes());
        assert!(again.is_none());
        assert_eq!(sent, first);
    }
    assert_eq!(world.endpoint.counts.duplicates, 5);
    // After EXCHANGE_LIFETIME the id may be used again.
    world.wait(10_000);
    world.ask(peer(1), &post(7));
}

#[test]
fn c_11_a_repeated_request_with_a_body_in_its_answer_gets_that_again() {
    let mut world = World::secure();
    let answer = Answer { etag: Some([1; 8]), ..Answer::content(ContentFormat::JSON, "{\"a\":1}") };
    let get = request(Code::GET, 7).path("me/twin");
    let first = world.exchange(peer(1), &get, answer);
    assert_eq!(world.give(peer(1), &get.bytes()).1, first);
    // The same of another peer is another request.
    world.ask(peer(2), &get);
}

#[test]
fn c_11_a_repeated_request_whose_answer_is_separate_is_acknowledged_again() {
    let mut world = World::new();
    let ticket = world.ask(peer(1), &post(7));
    world.wait(1_100);
    world.answer(&ticket, changed());
    let (again, sent) = world.give(peer(1), &post(7).bytes());
    assert!(again.is_none());
    assert_eq!((one(&sent).code, one(&sent).id), (Code::EMPTY, 7));
}

#[test]
fn a_repeated_request_without_acknowledgement_is_ignored() {
    let mut world = World::new();
    let non = post(7).kind(Kind::NonConfirmable);
    world.exchange(peer(1), &non, changed());
    let (again, sent) = world.give(peer(1), &non.bytes());
    assert!(again.is_none() && sent.is_empty());
}

#[test]
fn c_12_message_ids_that_are_used_up_do_not_use_up_memory() {
    let options =
        EndpointOptions { exchanges_per_peer_max: 8, exchanges_max: 20, ..EndpointOptions::default() };
    let mut world = World::with(options);
    for id in 0..=u16::MAX {
        world.exchange(peer(1), &post(id), changed());
    }
    // The latest are known, the oldest are not.
    assert!(world.give(peer(1), &post(u16::MAX).bytes()).0.is_none());
    assert!(world.give(peer(1), &post(u16::MAX - 7).bytes()).0.is_none());
    assert!(world.give(peer(1), &post(3).bytes()).0.is_some());
    // All peers together stay within their bound, and are served beyond it.
    for number in 2..100 {
        world.exchange(peer(number), &post(1), changed());
    }
    let known = (2..100).filter(|number| world.give(peer(*number), &post(1).bytes()).0.is_none()).count();
    assert!((1..=20).contains(&known), "{known}");
}

#[test]
fn c_12_the_same_id_with_other_content_is_another_request() {
    let mut world = World::new();
    world.exchange(peer(1), &post(7), changed());
    let ticket = world.ask(peer(1), &post(7).payload("{\"t\":2}"));
    assert_eq!(one(&world.answer(&ticket, changed())).code, Code::CHANGED);
    assert!(world.give(peer(1), &post(7).payload("{\"t\":2}").bytes()).0.is_none());
}

#[test]
fn c_25_what_answers_nothing_of_ours_is_ignored() {
    let mut world = World::new();
    let response = request(Code::CONTENT, 7).payload("x");
    for datagram in [
        empty(Kind::Acknowledgement, 1),
        empty(Kind::Reset, 1),
        empty(Kind::NonConfirmable, 1),
        response.bytes(),
        response.clone().kind(Kind::NonConfirmable).bytes(),
        response.clone().kind(Kind::Acknowledgement).bytes(),
        post(7).kind(Kind::Acknowledgement).bytes(),
        post(7).kind(Kind::Reset).bytes(),
    ] {
        let (ticket, sent) = world.give(peer(1), &datagram);
        assert!(ticket.is_none() && sent.is_empty(), "{datagram:02x?}");
    }
}

#[test]
fn a_ping_is_answered_with_a_reset() {
    let (_, sent) = World::new().give(peer(1), &empty(Kind::Confirmable, 9));
    assert_eq!((one(&sent).kind, one(&sent).id), (Kind::Reset, 9));
}

#[test]
fn a_format_error_resets_what_asks_for_an_acknowledgement_and_nothing_else() {
    let mut world = World::new();
    let (_, sent) = world.give(peer(1), &[0x49, 1, 0x12, 0x34]);
    assert_eq!((one(&sent).kind, one(&sent).id), (Kind::Reset, 0x1234));
    assert!(world.give(peer(1), &[0x59, 1, 0x12, 0x34]).1.is_empty());
    assert!(world.give(peer(1), &[0x80, 1, 0x12, 0x34]).1.is_empty());
}

#[test]
fn c_07_a_bad_option_is_told_to_who_asks_for_an_acknowledgement() {
    let mut world = World::new();
    let bad = request(Code::GET, 7).path("me").option(9, []);
    let (ticket, sent) = world.give(peer(1), &bad.bytes());
    assert!(ticket.is_none());
    assert_eq!((one(&sent).kind, one(&sent).code), (Kind::Acknowledgement, Code::BAD_OPTION));
    assert!(world.give(peer(1), &bad.kind(Kind::NonConfirmable).bytes()).1.is_empty());
}

#[test]
fn c_26_who_never_acknowledges_is_sent_a_message_five_times_and_given_up() {
    let mut world = World::new();
    let ticket = world.ask(peer(1), &post(7));
    world.wait(1_100);
    let first = world.answer(&ticket, Answer { receipt: Some(42), ..changed() });
    let again = world.wait(200_000);
    assert_eq!(again.len(), 4);
    assert!(again.iter().all(|sent| *sent == first[0]));
    assert_eq!(world.events(), [Event::Lost(42)]);
    assert_eq!((world.endpoint.counts.retransmitted, world.endpoint.counts.given_up), (4, 1));
}

#[test]
fn c_26_one_confirmable_message_is_on_its_way_to_a_peer_at_a_time() {
    let mut world = World::secure();
    let answers: Vec<_> = (0..20)
        .map(|id| {
            let ticket = world.ask(peer(1), &post(id));
            world.answer(&ticket, Answer { receipt: Some(id.into()), ..changed() })
        })
        .collect();
    // Each is acknowledged; only the first one's answer is on its way.
    assert_eq!(answers[0].len(), 2);
    assert!(answers[1..].iter().all(|sent| sent.len() == 1));
    // Sixteen wait; for the others there was no room.
    let lost = world.events();
    assert_eq!(lost, [Event::Lost(17), Event::Lost(18), Event::Lost(19)]);
    let mut on_its_way = decode(&answers[0][1].1).unwrap().id;
    for number in 0..17 {
        let (_, sent) = world.give(peer(1), &empty(Kind::Acknowledgement, on_its_way));
        assert_eq!(world.events(), [Event::Delivered(number)]);
        if number < 16 {
            on_its_way = one(&sent).id;
        }
    }
    assert!(world.wait(100_000).is_empty());
}

#[test]
fn c_27_services_that_answer_anything_get_no_answer() {
    let mut world = World::new();
    for port in [0, 7, 19, 53, 123] {
        let address = std::net::SocketAddr::from(([192, 0, 2, 1], port));
        let (ticket, sent) = world.give(address, &post(1).bytes());
        assert!(ticket.is_none() && sent.is_empty(), "{port}");
        assert!(world.give(address, &empty(Kind::Confirmable, 1)).1.is_empty());
    }
}

#[test]
fn c_29_a_datagram_that_is_too_large_is_answered_with_what_fits() {
    let mut world = World::new();
    let (ticket, sent) = world.give(peer(1), &post(7).payload(vec![b'1'; 60_000]).bytes());
    assert!(ticket.is_none());
    let answer = one(&sent);
    assert_eq!((answer.code, uint(&answer, 60)), (Code::TOO_LARGE, Some(1_024)));
    // What RFC 7252 section 4.6 calls the largest message that is safe to assume, and well beyond.
    for length in [1_024, 1_152, 4_096] {
        world.ask(peer(1), &post(length).payload(vec![b'1'; usize::from(length)]));
    }
}

#[test]
fn c_13_a_flood_from_one_network_is_cut_and_others_are_served() {
    let options = EndpointOptions { non_confirmable_rate: 10, ..EndpointOptions::default() };
    let mut world = World::with(options);
    let mut flood = |network: u8, count: u16| {
        let of = |number: u16| std::net::SocketAddr::from(([198, 51, network, number as u8], 10_000));
        (0..count)
            .filter(|number| {
                let non = post(*number).kind(Kind::NonConfirmable);
                world.give(of(*number), &non.bytes()).0.is_some()
            })
            .count()
    };
    assert_eq!(flood(1, 200), 21, "what may come in two seconds");
    assert_eq!(flood(2, 5), 5);
    assert_eq!(world.endpoint.counts.dropped, 179);
    world.now += at(1_000);
    let non = post(1_000).kind(Kind::NonConfirmable);
    assert!(world.give(std::net::SocketAddr::from(([198, 51, 1, 9], 10_000)), &non.bytes()).0.is_some());
}

#[test]
fn an_answer_that_is_not_wanted_is_not_sent() {
    let mut world = World::new();
    let quiet = |id, bits| post(id).uint(258, bits);
    let sent = world.exchange(peer(1), &quiet(1, 2), changed());
    assert_eq!(one(&sent).code, Code::EMPTY, "the message is acknowledged all the same");
    assert!(world.exchange(peer(1), &quiet(2, 2).kind(Kind::NonConfirmable), changed()).is_empty());
    let sent = world.exchange(peer(1), &quiet(3, 2), Answer::new(Code::NOT_FOUND));
    assert_eq!(one(&sent).code, Code::NOT_FOUND);
    assert!(
        world
            .exchange(peer(1), &quiet(4, 26).kind(Kind::NonConfirmable), Answer::new(Code::UNAVAILABLE))
            .is_empty()
    );
}

#[test]
fn a_peer_whose_association_ends_is_forgotten_with_all_that_it_had() {
    let mut world = World::secure();
    let ticket = world.ask(peer(1), &request(Code::GET, 1).path("me/twin").uint(6, 0));
    let id = world.endpoint.observe(world.now, &ticket).unwrap();
    world.answer(&ticket, Answer { receipt: Some(3), ..changed() });
    world.endpoint.forget(peer(1));
    assert_eq!(world.events(), [Event::Ended(id), Event::Lost(3)]);
    assert_eq!((world.endpoint.peers(), world.endpoint.observations()), (0, 0));
    assert!(world.wait(100_000).is_empty());
}
