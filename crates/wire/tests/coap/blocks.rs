use std::borrow::Cow;

use roost_wire::coap::{
    Answer, AssembleError, Assembled, Assembler, AssemblerOptions, Block, Code, ContentFormat, Request,
    decode,
};

use crate::world::{Build, World, at, one, peer, request, uint};

const BODY_MAX: usize = 10_000;

/// A block that others follow.
fn more(number: u32, szx: u8) -> Block {
    Block { number, more: true, szx }
}

/// The last block, or one that is asked for.
fn last(number: u32, szx: u8) -> Block {
    Block { number, more: false, szx }
}

fn put(block: Block, payload: &[u8]) -> Build {
    request(Code::PUT, 1).path("me/documents/x").uint(27, block.to_uint()).payload(payload)
}

fn take(assembler: &mut Assembler, from: u16, build: &Build) -> Result<Option<Vec<u8>>, AssembleError> {
    let bytes = build.bytes();
    let request = Request::read(decode(&bytes).unwrap()).unwrap();
    match assembler.take(at(0), peer(from), &request, BODY_MAX)? {
        Assembled::Continue(_) => Ok(None),
        Assembled::Whole(body, _) => Ok(Some(body.into_owned())),
    }
}

#[test]
fn a_body_in_blocks_is_whole_with_the_last_one() {
    let mut assembler = Assembler::default();
    let body: Vec<u8> = (0..2_500_u32).map(|number| number as u8).collect();
    let pieces: Vec<_> = body.chunks(1_024).collect();
    assert_eq!(take(&mut assembler, 1, &put(more(0, 6), pieces[0])), Ok(None));
    assert_eq!(take(&mut assembler, 1, &put(more(1, 6), pieces[1])), Ok(None));
    assert_eq!(take(&mut assembler, 1, &put(last(2, 6), pieces[2])), Ok(Some(body)));
    assert!(assembler.is_empty());
}

#[test]
fn a_body_without_blocks_or_in_one_needs_no_room() {
    let mut assembler = Assembler::default();
    let bytes = put(last(0, 0), b"short").bytes();
    let request = Request::read(decode(&bytes).unwrap()).unwrap();
    let taken = assembler.take(at(0), peer(1), &request, BODY_MAX).unwrap();
    assert_eq!(taken, Assembled::Whole(Cow::Borrowed(b"short"), Some(last(0, 0))));
    assert!(matches!(taken, Assembled::Whole(Cow::Borrowed(_), _)));
}

#[test]
fn smaller_blocks_may_follow_larger_ones() {
    let mut assembler = Assembler::default();
    assert_eq!(take(&mut assembler, 1, &put(more(0, 2), &[1; 64])), Ok(None));
    assert_eq!(take(&mut assembler, 1, &put(more(4, 0), &[2; 16])), Ok(None));
    assert_eq!(take(&mut assembler, 1, &put(last(5, 0), &[3])).unwrap().unwrap().len(), 81);
}

#[test]
fn c_14_blocks_out_of_order_are_not_put_together() {
    for (bad, error) in [
        (put(more(2, 0), &[0; 16]), AssembleError::Incomplete),
        (put(more(1, 1), &[0; 32]), AssembleError::Incomplete),
        (put(more((1 << 20) - 1, 0), &[0; 16]), AssembleError::TooLarge(BODY_MAX)),
        (put(more(1, 0), &[0; 15]), AssembleError::Malformed),
        (put(last(1, 0), &[0; 17]), AssembleError::Malformed),
    ] {
        let mut assembler = Assembler::default();
        assert_eq!(take(&mut assembler, 1, &put(more(0, 0), &[0; 16])), Ok(None));
        assert_eq!(take(&mut assembler, 1, &bad), Err(error));
        assert!(assembler.is_empty(), "a body with a hole is given up");
        assert_eq!(take(&mut assembler, 1, &put(last(1, 0), &[0; 3])), Err(AssembleError::Incomplete));
    }
}

#[test]
fn c_14_a_block_option_with_the_reserved_size_is_refused() {
    let mut world = World::secure();
    for number in [23, 27] {
        let (_, sent) = world.give(peer(1), &request(Code::PUT, number).uint(number, 7).bytes());
        assert_eq!(one(&sent).code, Code::BAD_REQUEST);
    }
}

#[test]
fn c_14_a_body_that_is_announced_as_too_large_is_refused_at_once() {
    let mut assembler = Assembler::default();
    let announced = put(more(0, 0), &[0; 16]).uint(60, 10_001);
    assert_eq!(take(&mut assembler, 1, &announced), Err(AssembleError::TooLarge(BODY_MAX)));
    assert!(assembler.is_empty());
}

#[test]
fn c_15_bodies_that_are_never_finished_take_bounded_room_and_go_away() {
    let options = AssemblerOptions { bodies_max: 100, bytes_max: 3_200, ..AssemblerOptions::default() };
    let mut assembler = Assembler::new(options);
    // One peer: the oldest goes.
    for tag in 0..10_000_u16 {
        let begin = put(more(0, 0), &[0; 16]).option(292, tag.to_be_bytes());
        assert_eq!(take(&mut assembler, 1, &begin), Ok(None));
    }
    assert_eq!(assembler.len(), options.bodies_per_peer_max);
    // Many peers: no more than so many.
    for from in 2..10_000 {
        drop(take(&mut assembler, from, &put(more(0, 0), &[0; 16])));
    }
    assert_eq!(assembler.len(), 100);
    let begin = put(more(0, 0), &[0; 16]);
    assert_eq!(take(&mut assembler, 20_000, &begin), Err(AssembleError::TooLarge(16)));
    assembler.expire(at(60_000));
    assert!(assembler.is_empty());
    assert_eq!(take(&mut assembler, 20_000, &begin), Ok(None));
    // And no more than so many bytes.
    assert_eq!(take(&mut assembler, 20_001, &put(more(0, 6), &[0; 1_024])), Ok(None));
    assert_eq!(take(&mut assembler, 20_001, &put(more(1, 6), &[0; 1_024])), Ok(None));
    assert_eq!(take(&mut assembler, 20_001, &put(more(2, 6), &[0; 1_024])), Ok(None));
    assert_eq!(
        take(&mut assembler, 20_001, &put(more(3, 6), &[0; 1_024])),
        Err(AssembleError::TooLarge(1_024))
    );
}

#[test]
fn c_16_bodies_to_the_same_path_are_told_apart_by_their_request_tag() {
    let mut assembler = Assembler::default();
    let tagged = |tag: u8, block, payload: &[u8]| put(block, payload).option(292, [tag]);
    assert_eq!(take(&mut assembler, 1, &tagged(1, more(0, 0), &[1; 16])), Ok(None));
    assert_eq!(take(&mut assembler, 1, &tagged(2, more(0, 0), &[2; 16])), Ok(None));
    assert_eq!(take(&mut assembler, 1, &tagged(1, last(1, 0), &[1])), Ok(Some(vec![1; 17])));
    assert_eq!(take(&mut assembler, 1, &tagged(2, last(1, 0), &[2])), Ok(Some(vec![2; 17])));
    // Without a tag, a new beginning ends the old one, and what follows of that does not fit.
    assert_eq!(take(&mut assembler, 1, &put(more(0, 0), &[1; 16])), Ok(None));
    assert_eq!(take(&mut assembler, 1, &put(more(1, 0), &[1; 16])), Ok(None));
    assert_eq!(take(&mut assembler, 1, &put(more(0, 0), &[2; 16])), Ok(None));
    assert_eq!(take(&mut assembler, 1, &put(last(2, 0), &[1])), Err(AssembleError::Incomplete));
    // Another peer is another peer.
    assert_eq!(take(&mut assembler, 1, &put(more(0, 0), &[1; 16])), Ok(None));
    assert_eq!(take(&mut assembler, 2, &put(last(1, 0), &[2])), Err(AssembleError::Incomplete));
}

fn get(id: u16) -> Build {
    request(Code::GET, id).path("me/documents/x")
}

fn document(length: usize) -> Answer {
    let body: Vec<u8> = (0..length).map(|number| number as u8).collect();
    Answer { etag: Some([7; 8]), ..Answer::content(ContentFormat::OCTETS, body) }
}

#[test]
fn a_large_body_goes_out_in_the_blocks_that_are_asked_for() {
    for szx in 0..=6_u8 {
        let mut world = World::secure();
        let size = 16 << szx;
        let mut whole = Vec::new();
        for number in 0.. {
            let wanted = last(number, szx);
            let sent =
                world.exchange(peer(1), &get(number as u16).uint(23, wanted.to_uint()), document(2_100));
            let answer = one(&sent);
            let got = Block::from_uint(uint(&answer, 23).unwrap()).unwrap();
            assert_eq!((got.number, got.szx, answer.code), (number, szx, Code::CONTENT));
            assert_eq!(answer.values(4).next(), Some(&[7; 8][..]));
            assert_eq!(uint(&answer, 28), (number == 0).then_some(2_100));
            assert!(answer.payload.len() == size || !got.more);
            whole.extend_from_slice(answer.payload);
            if !got.more {
                break;
            }
        }
        assert_eq!(whole, document(2_100).body);
    }
}

#[test]
fn a_body_that_fits_goes_out_whole_and_a_larger_one_begins_by_itself() {
    let mut world = World::secure();
    let sent = world.exchange(peer(1), &get(1), document(1_024));
    assert_eq!((one(&sent).payload.len(), uint(&one(&sent), 23)), (1_024, None));
    let sent = world.exchange(peer(1), &get(2), document(1_025));
    assert_eq!((one(&sent).payload.len(), uint(&one(&sent), 23)), (1_024, Some(more(0, 6).to_uint())));
}

#[test]
fn c_17_a_block_beyond_the_end_is_refused() {
    let mut world = World::secure();
    for (id, number) in [(1, 3), (2, 100), (3, (1 << 20) - 1)] {
        let wanted = last(number, 6);
        let sent = world.exchange(peer(1), &get(id).uint(23, wanted.to_uint()), document(3_072));
        assert_eq!(one(&sent).code, Code::BAD_REQUEST, "{number}");
    }
    let sent = world.exchange(peer(1), &get(4).uint(23, last(2, 6).to_uint()), document(3_072));
    assert_eq!(one(&sent).payload.len(), 1_024);
}

#[test]
fn a_receipt_is_for_the_last_block() {
    let mut world = World::secure();
    let answer = || Answer { receipt: Some(5), ..document(1_500) };
    let sent = world.exchange(peer(1), &get(1), answer());
    assert_eq!(sent.len(), 2, "acknowledged, and sent as a message of its own");
    let id = decode(&sent[1].1).unwrap().id;
    world.give(peer(1), &crate::world::empty(roost_wire::coap::Kind::Acknowledgement, id));
    assert!(world.events().is_empty());
    let sent = world.exchange(peer(1), &get(2).uint(23, last(1, 6).to_uint()), answer());
    let id = decode(&sent[1].1).unwrap().id;
    world.give(peer(1), &crate::world::empty(roost_wire::coap::Kind::Acknowledgement, id));
    assert_eq!(world.events(), [roost_wire::coap::Event::Delivered(5)]);
}
