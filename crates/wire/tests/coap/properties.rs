use std::net::SocketAddr;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};
use roost_wire::coap::{Answer, Code, Kind, Request, Token, decode};

use crate::world::{Build, World, append_options, at, peer, request, written};

fn options() -> impl Strategy<Value = Vec<(u16, Vec<u8>)>> {
    vec((any::<u16>(), vec(any::<u8>(), 0..300)), 0..8).prop_map(|mut options| {
        options.sort_by_key(|(number, _)| *number);
        options
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        options in options(),
        payload in vec(any::<u8>(), 0..64),
        token in vec(any::<u8>(), 0..=8),
        id: u16,
        kind in 0_usize..4,
    ) {
        let kinds = [Kind::Confirmable, Kind::NonConfirmable, Kind::Acknowledgement, Kind::Reset];
        let mut build = request(Code::POST, id).kind(kinds[kind]);
        build.head.token = Token::new(&token).unwrap();
        let bytes = Build { options: options.clone(), payload: payload.clone(), ..build }.bytes();
        let message = decode(&bytes).unwrap();
        prop_assert_eq!((message.kind, message.id), (kinds[kind], id));
        prop_assert_eq!(message.token.as_bytes(), &token[..]);
        prop_assert_eq!(message.payload, &payload[..]);
        let read: Vec<_> = message.options().map(|(number, value)| (number, value.to_vec())).collect();
        prop_assert_eq!(&read, &options);
        let mut expected = Vec::new();
        append_options(&mut expected, &options);
        prop_assert_eq!(written(&options, &[]), expected);
    }

    #[test]
    fn a_message_that_is_cut_is_never_read_as_longer(options in options(), cut in 0_usize..400) {
        let bytes = Build { options, ..request(Code::GET, 7).payload("payload") }.bytes();
        if let Ok(message) = decode(&bytes[..cut.min(bytes.len())]) {
            let length: usize = message.options().map(|(_, value)| value.len()).sum();
            prop_assert!(length + message.payload.len() <= bytes.len());
        }
    }

    #[test]
    fn no_bytes_make_anything_panic_nor_an_answer_longer_than_three_times_them(
        datagrams in vec((vec(any::<u8>(), 0..80), 0_u16..3, 0_u64..3_000), 0..40),
    ) {
        let mut world = World::new();
        let mut received = [0_usize; 3];
        let mut sent = [0_usize; 3];
        for (mut datagram, number, millis) in datagrams {
            if let Some(first) = datagram.first_mut() {
                *first = *first & 0x3F | 0x40;
            }
            received[usize::from(number)] += datagram.len();
            let (ticket, mut out) = world.give(peer(number), &datagram);
            if let Some(ticket) = ticket {
                out.extend(world.answer(&ticket, Answer::error(Code::NOT_FOUND, "there is nothing of this name")));
            }
            out.extend(world.wait(millis));
            for (address, bytes) in out {
                sent[usize::from(address.port() - 10_000)] += bytes.len();
            }
        }
        for (sent, received) in sent.into_iter().zip(received) {
            prop_assert!(sent <= 3 * received, "{sent} for {received}");
        }
    }

    #[test]
    fn no_options_make_reading_a_request_panic(options in options()) {
        let bytes = Build { options, ..request(Code::GET, 7) }.bytes();
        if let Ok(request) = Request::read(decode(&bytes).unwrap()) {
            drop(request.path());
            prop_assert!(request.etags().count() <= 8 && request.if_match().count() <= 8);
            prop_assert!(request.query("").is_none_or(|value| value.len() <= 254));
        }
    }
}

#[test]
fn the_state_of_strangers_goes_away_by_itself() {
    let mut world = World::new();
    for number in 0..200 {
        let address = SocketAddr::from(([198, 51, 100, 1], 20_000 + number));
        let ticket = world.ask(address, &request(Code::GET, 1).path("me/twin"));
        assert_eq!(world.answer(&ticket, Answer::new(Code::UNAUTHORIZED)).len(), 1);
    }
    assert_eq!(world.endpoint.peers(), 0, "who opens nothing takes no room");
    for number in 0..200 {
        let address = SocketAddr::from(([198, 51, 100, 1], 20_000 + number));
        world.exchange(address, &request(Code::POST, 1).path("me/telemetry"), Answer::new(Code::CHANGED));
    }
    assert_eq!(world.endpoint.peers(), 200);
    world.now += at(500_000);
    world.wait(31_000);
    assert_eq!(world.endpoint.peers(), 0);
    assert_eq!(world.endpoint.next_timeout(), None);
}
