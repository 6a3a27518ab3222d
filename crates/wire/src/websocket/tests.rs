use super::{
    Assembler, CloseError, Decoder, Event, Kind, Limits, Opcode, Part, encode_close, encode_frame,
    encode_masked_frame, frame_header,
};
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};

const LIMITS: Limits = Limits { message_max: 100_000 };
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Message(Kind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Error(u16),
}

/// Feeds pieces as a connection does, and notes what comes of it.
fn run(mut decoder: Decoder, pieces: &[&[u8]]) -> Vec<Seen> {
    let mut assembler = Assembler::default();
    let mut buffer = Vec::new();
    let mut seen = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let step = match decoder.decode(&mut buffer) {
                Ok(step) => step,
                Err(error) => {
                    seen.push(Seen::Error(error.code));
                    return seen;
                }
            };
            let consumed = step.consumed;
            let is_done = step.event == Event::NeedMore;
            match step.event {
                Event::NeedMore => {}
                Event::Data(data) => {
                    if let Some(message) = assembler.push(data) {
                        seen.push(Seen::Message(message.kind, message.payload.into_owned()));
                    }
                }
                Event::Ping(payload) => seen.push(Seen::Ping(payload.to_vec())),
                Event::Pong(payload) => seen.push(Seen::Pong(payload.to_vec())),
                Event::Close { code, reason } => seen.push(Seen::Close(code, reason.to_owned())),
            }
            buffer.drain(..consumed);
            if is_done {
                break;
            }
        }
    }
    seen
}

fn served(bytes: &[u8]) -> Vec<Seen> {
    run(Decoder::new(LIMITS), &[bytes])
}

/// A masked frame whose first byte is given as it shall be.
fn raw(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_masked_frame(Opcode::Binary, MASK, payload, &mut out);
    out[0] = first;
    out
}

fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_masked_frame(opcode, MASK, payload, &mut out);
    out
}

fn check_error(bytes: &[u8], code: u16) {
    let head = &bytes[..bytes.len().min(20)];
    assert_eq!(served(bytes).last(), Some(&Seen::Error(code)), "{head:02x?}");
}

#[test]
fn the_examples_of_the_rfc_are_read() {
    let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(served(&hello), [Seen::Message(Kind::Text, b"Hello".to_vec())]);
    let unmasked = [0x01, 0x03, b'H', b'e', b'l', 0x80, 0x02, b'l', b'o'];
    let seen = run(Decoder::for_client(LIMITS), &[&unmasked]);
    assert_eq!(seen, [Seen::Message(Kind::Text, b"Hello".to_vec())]);
}

#[test]
fn the_state_of_an_idle_connection_is_small() {
    assert!(size_of::<Decoder>() <= 64, "{}", size_of::<Decoder>());
}

#[test]
fn w_05_a_message_may_span_frames_and_parts_are_given_as_they_come() {
    let mut decoder = Decoder::new(LIMITS);
    let mut bytes = raw(0x02, b"abcdef");
    let tail = bytes.split_off(9);
    let step = decoder.decode(&mut bytes).unwrap();
    assert_eq!(step.consumed, 9);
    let Event::Data(data) = step.event else { panic!("{step:?}") };
    assert_eq!((data.payload, data.part), (b"abc".as_slice(), Part::First));
    let mut rest = tail;
    rest.extend(raw(0x80, b"gh"));
    let step = decoder.decode(&mut rest).unwrap();
    let Event::Data(data) = step.event else { panic!("{step:?}") };
    assert_eq!((data.payload, data.part), (b"def".as_slice(), Part::Middle));
    let consumed = step.consumed;
    assert!(decoder.is_inside_message());
    let step = decoder.decode(&mut rest[consumed..]).unwrap();
    let Event::Data(data) = step.event else { panic!("{step:?}") };
    assert_eq!((data.payload, data.part), (b"gh".as_slice(), Part::Last));
    assert!(!decoder.is_inside_message());
}

#[test]
fn w_06_an_unmasked_frame_of_a_client_is_refused() {
    check_error(&[0x81, 0x01, b'a'], 1002);
    check_error(&[0x89, 0x00], 1002);
    let seen = run(Decoder::for_client(LIMITS), &[&masked(Opcode::Text, b"a")]);
    assert_eq!(seen, [Seen::Error(1002)]);
}

#[test]
fn w_07_reserved_bits_and_opcodes_are_refused() {
    for first in [0xC1, 0xA1, 0x91, 0xF1, 0xC9] {
        check_error(&raw(first, b"a"), 1002);
    }
    for opcode in (0x3..=0x7).chain(0xB..=0xF) {
        check_error(&raw(0x80 | opcode, b""), 1002);
    }
    // Judged by the first byte alone.
    check_error(&[0x83], 1002);
}

#[test]
fn w_08_a_wrong_length_is_refused_before_anything_is_kept() {
    let long = |length: u64| [&[0x82, 0xFF][..], &length.to_be_bytes(), &MASK].concat();
    check_error(&long(1 << 63), 1002);
    check_error(&long(u64::MAX), 1002);
    check_error(&long(i64::MAX as u64), 1009);
    check_error(&long(100_001), 1009);
    check_error(&long(65_535), 1002);
    check_error(&[0x82, 0xFE, 0, 125, 0, 0, 0, 0], 1002);
    assert_eq!(served(&long(100_000)), []);
    // Fragments count together.
    let sum = [raw(0x02, &[0; 60_000]), raw(0x80, &[0; 40_001])].concat();
    check_error(&sum, 1009);
}

#[test]
fn w_09_a_long_or_fragmented_control_frame_is_refused() {
    for first in [0x89, 0x8A, 0x88] {
        check_error(&[first, 0x80 | 126], 1002);
        check_error(&[first, 0x80 | 127], 1002);
    }
    for first in [0x09, 0x0A, 0x08] {
        check_error(&raw(first, b""), 1002);
    }
    let longest = [7; 125];
    assert_eq!(served(&masked(Opcode::Ping, &longest)), [Seen::Ping(longest.to_vec())]);
}

#[test]
fn w_10_fragments_out_of_place_are_refused() {
    check_error(&raw(0x80, b"a"), 1002);
    check_error(&raw(0x00, b"a"), 1002);
    check_error(&[raw(0x01, b"a"), raw(0x81, b"b")].concat(), 1002);
    check_error(&[raw(0x82, b"a"), raw(0x80, b"b")].concat(), 1002);
}

#[test]
fn a_control_frame_may_stand_between_fragments() {
    let bytes = [raw(0x01, b"a"), masked(Opcode::Ping, b"p"), raw(0x80, b"b")].concat();
    let message = Seen::Message(Kind::Text, b"ab".to_vec());
    assert_eq!(served(&bytes), [Seen::Ping(b"p".to_vec()), message]);
}

#[test]
fn w_11_empty_fragments_are_bounded() {
    let mut bytes = raw(0x01, b"");
    bytes.extend(raw(0x00, b"").repeat(1_000_000));
    check_error(&bytes, 1009);
    let mut bytes = raw(0x01, b"");
    bytes.extend(raw(0x00, b"").repeat(1_022));
    bytes.extend(raw(0x80, b"x"));
    assert_eq!(served(&bytes), [Seen::Message(Kind::Text, b"x".to_vec())]);
}

#[test]
fn w_11_small_fragments_are_bounded_and_large_ones_by_the_length_of_the_message() {
    check_error(&[raw(0x02, b""), raw(0x00, &[7; 63]).repeat(1_024)].concat(), 1009);
    let bytes = [raw(0x02, b""), raw(0x00, &[7; 64]).repeat(1_500), raw(0x80, b"")].concat();
    assert_eq!(served(&bytes), [Seen::Message(Kind::Binary, vec![7; 96_000])]);
}

#[test]
fn w_12_text_must_be_utf8_across_fragments() {
    let good = [raw(0x01, b"\xf0\x9f"), raw(0x00, b""), raw(0x80, b"\x98\x80")].concat();
    assert_eq!(served(&good), [Seen::Message(Kind::Text, b"\xf0\x9f\x98\x80".to_vec())]);
    check_error(&[raw(0x01, b"\xf0\x9f"), raw(0x80, b"\x28")].concat(), 1007);
    check_error(&[raw(0x01, b"\xf0\x9f"), raw(0x80, b"")].concat(), 1007);
    check_error(&masked(Opcode::Text, b"\xff"), 1007);
    // Seen without waiting for the rest of the frame.
    check_error(&masked(Opcode::Text, b"\xc3\x28 and more")[..8], 1007);
    let binary = masked(Opcode::Binary, b"\xff");
    assert_eq!(served(&binary), [Seen::Message(Kind::Binary, b"\xff".to_vec())]);
}

#[test]
fn w_13_a_compressed_frame_is_refused() {
    check_error(&raw(0xC2, &[0; 10]), 1002);
}

#[test]
fn w_14_close_codes_that_may_not_be_sent_are_refused() {
    for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
        check_error(&masked(Opcode::Close, &code.to_be_bytes()), 1002);
    }
    check_error(&masked(Opcode::Close, &[3]), 1002);
    check_error(&masked(Opcode::Close, b"\x03\xe8\xff"), 1007);
    for code in [1000_u16, 1001, 1003, 1007, 1011, 1014, 3000, 4999] {
        let seen = served(&masked(Opcode::Close, &code.to_be_bytes()));
        assert_eq!(seen, [Seen::Close(Some(code), String::new())]);
    }
    let empty = served(&masked(Opcode::Close, b""));
    assert_eq!(empty, [Seen::Close(None, String::new())]);
}

#[test]
fn w_15_data_after_a_close_is_dropped() {
    let bytes = [masked(Opcode::Close, b"\x03\xe8bye"), vec![0xFF; 50]].concat();
    assert_eq!(served(&bytes), [Seen::Close(Some(1000), "bye".to_owned())]);
}

#[test]
fn what_a_server_sends_a_client_reads() {
    for length in [0, 1, 125, 126, 127, 65_535, 65_536, 100_000] {
        let payload = vec![7; length];
        let mut out = Vec::new();
        encode_frame(Opcode::Binary, &payload, &mut out);
        let header = frame_header(Opcode::Binary, length);
        assert_eq!(out, [header.as_slice(), &payload].concat());
        let seen = run(Decoder::for_client(LIMITS), &[&out]);
        assert_eq!(seen, [Seen::Message(Kind::Binary, payload)]);
    }
}

#[test]
fn a_close_reason_is_cut_between_characters() {
    let mut out = Vec::new();
    encode_close(1008, &"ü".repeat(100), &mut out);
    let seen = run(Decoder::for_client(LIMITS), &[&out]);
    assert_eq!(seen, [Seen::Close(Some(1008), "ü".repeat(61))]);
    let mut out = Vec::new();
    encode_frame(Opcode::Ping, &[0; 200], &mut out);
    let seen = run(Decoder::for_client(LIMITS), &[&out]);
    assert_eq!(seen, [Seen::Ping(vec![0; 125])]);
}

#[test]
fn an_error_names_its_code() {
    let error = Decoder::new(LIMITS).decode(&mut [0xF0]).unwrap_err();
    assert_eq!(error, CloseError { code: 1002, reason: error.reason });
    assert!(error.to_string().starts_with("websocket 1002: "));
}

/// Frames that mostly make sense, so that cuts fall into every state.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20),
        any::<String>().prop_map(String::into_bytes),
        Just(vec![b'x'; 300]),
    ];
    let first = prop_oneof![
        Just(0x81_u8),
        Just(0x82),
        Just(0x01),
        Just(0x02),
        Just(0x00),
        Just(0x80),
        Just(0x89),
        Just(0x8A),
    ];
    let frame = (first, any::<[u8; 4]>(), payload).prop_map(|(first, mask, payload)| {
        let is_control = first & 0x08 != 0;
        let length = if is_control { payload.len().min(125) } else { payload.len() };
        let mut out = Vec::new();
        encode_masked_frame(Opcode::Binary, mask, &payload[..length], &mut out);
        out[0] = first;
        out
    });
    prop::collection::vec(frame, 0..8).prop_map(|frames| frames.concat())
}

proptest! {
    #[test]
    fn the_messages_do_not_depend_on_where_the_stream_is_cut(
        stream in stream(), sizes in prop::collection::vec(1_usize..12, 1..20),
    ) {
        let mut pieces = Vec::new();
        let mut rest = stream.as_slice();
        for size in sizes.iter().cycle() {
            let (piece, after) = rest.split_at(rest.len().min(*size));
            pieces.push(piece);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        assert_eq!(run(Decoder::new(LIMITS), &pieces), served(&stream));
    }

    #[test]
    fn no_bytes_make_it_panic_or_consume_more_than_there_is(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        for mut decoder in [Decoder::new(LIMITS), Decoder::for_client(LIMITS)] {
            let length = bytes.len();
            if let Ok(step) = decoder.decode(&mut bytes) {
                assert!(step.consumed <= length);
            }
        }
    }
}
