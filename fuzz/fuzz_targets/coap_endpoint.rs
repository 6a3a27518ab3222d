//! A stream of datagrams of three peers, with time between them: nothing panics, state stays within
//! its bounds, and no unproven address is sent more than three times what came from there.
#![no_main]

use std::net::SocketAddr;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use roost_wire::coap::{Answer, Assembler, ContentFormat, Endpoint, EndpointOptions, Output};

const OPTIONS: fn() -> EndpointOptions = || EndpointOptions {
    peers_max: 2,
    exchanges_per_peer_max: 4,
    exchanges_max: 6,
    observations_per_peer_max: 2,
    ..EndpointOptions::default()
};

// Each piece: a byte of length, a byte of peer (two bits) and of seconds to wait (the rest), the datagram.
fuzz_target!(|input: &[u8]| {
    let mut endpoint = Endpoint::new(OPTIONS(), [7; 40]);
    let mut assembler = Assembler::default();
    let (mut now, mut out, mut rest) = (Duration::ZERO, Output::default(), input);
    let (mut received, mut sent, mut is_settled, mut receipt) = ([0; 4], [0; 4], [false; 4], 0);
    while let [length, who, after @ ..] = rest {
        let (datagram, left) = after.split_at(usize::from(*length).min(after.len()));
        rest = left;
        let number = who & 3;
        let peer = SocketAddr::from(([192, 0, 2, number], 5683));
        received[usize::from(number)] += datagram.len();
        is_settled[usize::from(number)] |= datagram.first().is_some_and(|first| first & 0xE0 == 0x60);
        if let Some((ticket, request)) = endpoint.handle_datagram(now, peer, datagram, &mut out) {
            let body = assembler.take(now, peer, &request, 4_096);
            receipt += 1;
            let receipt = (receipt % 3 == 0).then_some(receipt);
            let answer =
                Answer { receipt, ..Answer::content(ContentFormat::JSON, vec![b'1'; datagram.len() * 9]) };
            match (request.observe, body) {
                (Some(0), _) => match endpoint.observe(now, &ticket) {
                    Some(id) => endpoint.answer_observed(now, (&ticket, id), answer, &mut out),
                    None => endpoint.answer(now, &ticket, answer, &mut out),
                },
                (Some(_), _) => drop(endpoint.unobserve(&ticket)),
                (None, Ok(_)) => endpoint.answer(now, &ticket, answer, &mut out),
                (None, Err(error)) => endpoint.answer(now, &ticket, Answer::new(error.code()), &mut out),
            }
        }
        for id in 0..4 {
            endpoint.changed(now, roost_wire::coap::ObservationId(id));
        }
        while let Some(id) = endpoint.next_notification() {
            endpoint.notify(now, id, Answer::content(ContentFormat::JSON, vec![b'2'; 2_000]), &mut out);
        }
        now += Duration::from_secs(u64::from(who >> 2));
        endpoint.handle_timeout(now, &mut out);
        while endpoint.next_event().is_some() {}
        for (peer, bytes) in out.datagrams() {
            let std::net::IpAddr::V4(ip) = peer.ip() else { unreachable!() };
            sent[usize::from(ip.octets()[3])] += bytes.len();
        }
        out.clear();
        assert!(endpoint.peers() <= 2 && endpoint.observations() <= 4);
    }
    // Nothing in the input can know the secret of an Echo; an id it may have guessed.
    for (number, sent) in sent.into_iter().enumerate() {
        assert!(sent <= 3 * received[number] || is_settled[number]);
    }
});
