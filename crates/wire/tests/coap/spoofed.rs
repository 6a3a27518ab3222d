//! Addresses that nobody has proven (RFC 7252 section 11.3, RFC 9175).

use roost_wire::coap::{Answer, Block, Code, ContentFormat, ECHO_LENGTH};

use crate::world::{Build, World, one, peer, request, uint};

fn get(id: u16) -> Build {
    request(Code::GET, id).path("me/documents/x").option(15, "token=abcdefgh")
}

fn large() -> Answer {
    Answer { etag: Some([7; 8]), ..Answer::content(ContentFormat::OCTETS, vec![1; 60_000]) }
}

#[test]
fn c_18_an_unproven_address_gets_at_most_three_times_what_came_from_there() {
    let mut world = World::new();
    let sent = world.exchange(peer(1), &get(1), large());
    let answer = one(&sent);
    assert_eq!(answer.code, Code::CONTENT);
    let block = Block::from_uint(uint(&answer, 23).unwrap()).unwrap();
    assert!(block.more && block.szx < 4);
    assert!(sent[0].1.len() <= 3 * get(1).bytes().len());
}

#[test]
fn c_18_where_nothing_fits_the_address_is_asked_to_prove_itself() {
    let mut world = World::new();
    let short = request(Code::GET, 1).path("a");
    let sent = world.exchange(peer(1), &short, large());
    // 3 * 8 bytes: not even an Echo fits.
    assert!(sent.is_empty());
    let longer = request(Code::GET, 2).path("a").option(15, "b=0123456");
    let sent = world.exchange(peer(1), &longer, large());
    let answer = one(&sent);
    assert_eq!(answer.code, Code::UNAUTHORIZED);
    assert_eq!(answer.values(252).next().unwrap().len(), ECHO_LENGTH);
}

fn echo_of(world: &mut World, from: u16) -> Vec<u8> {
    // Whoever shows a wrong Echo is given one.
    let (ticket, sent) = world.give(peer(from), &get(100).option(252, [0; ECHO_LENGTH]).bytes());
    assert!(ticket.is_none());
    assert_eq!(one(&sent).code, Code::UNAUTHORIZED);
    one(&sent).values(252).next().unwrap().to_vec()
}

#[test]
fn c_18_a_proven_address_gets_whole_blocks_from_then_on() {
    let mut world = World::new();
    let echo = echo_of(&mut world, 1);
    let sent = world.exchange(peer(1), &get(1).option(252, &echo), large());
    assert_eq!(one(&sent).payload.len(), 1_024);
    let sent = world.exchange(peer(1), &get(2), large());
    assert_eq!(one(&sent).payload.len(), 1_024);
}

#[test]
fn c_19_an_echo_that_is_old_or_somebody_elses_gets_a_new_one() {
    let mut world = World::new();
    let echo = echo_of(&mut world, 1);
    let (ticket, sent) = world.give(peer(2), &get(1).option(252, &echo).bytes());
    assert!(ticket.is_none());
    assert_ne!(one(&sent).values(252).next().unwrap(), echo);
    world.wait(61_000);
    let (ticket, sent) = world.give(peer(1), &get(2).option(252, &echo).bytes());
    assert!(ticket.is_none());
    assert_eq!(one(&sent).code, Code::UNAUTHORIZED);
    let fresh = one(&sent).values(252).next().unwrap().to_vec();
    assert!(world.give(peer(1), &get(3).option(252, fresh).bytes()).0.is_some());
}

#[test]
fn c_20_an_acknowledgement_of_nothing_proves_nothing() {
    let mut world = World::new();
    world.exchange(peer(1), &get(1), Answer::new(Code::NOT_FOUND));
    for id in 0..=u16::MAX {
        world.give(peer(1), &crate::world::empty(roost_wire::coap::Kind::Acknowledgement, id));
    }
    let sent = world.exchange(peer(1), &get(2), large());
    assert!(one(&sent).payload.len() < 1_024);
}
