//! Any stream, cut anywhere, gives the same and never more than it holds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roost_wire::websocket::{Assembler, Decoder, Event, Limits, Message};

const LIMITS: Limits = Limits { message_max: 4_096 };

// The first byte is the size of the pieces.
fuzz_target!(|input: &[u8]| {
    let Some((size, stream)) = input.split_first() else {
        return;
    };
    for decoder in [Decoder::new(LIMITS), Decoder::for_client(LIMITS)] {
        let whole = run(decoder.clone(), stream, stream.len().max(1));
        let cut = run(decoder, stream, usize::from(*size).max(1));
        assert_eq!(whole, cut);
    }
});

/// The messages and the code that ended them.
fn run(mut decoder: Decoder, stream: &[u8], size: usize) -> (Vec<Message<'static>>, Option<u16>) {
    let mut assembler = Assembler::default();
    let mut buffer = Vec::new();
    let mut messages = Vec::new();
    for piece in stream.chunks(size) {
        buffer.extend_from_slice(piece);
        loop {
            let length = buffer.len();
            let step = match decoder.decode(&mut buffer) {
                Ok(step) => step,
                Err(error) => return (messages, Some(error.code)),
            };
            assert!(step.consumed <= length);
            let is_done = step.event == Event::NeedMore;
            if let Event::Data(data) = step.event
                && let Some(message) = assembler.push(data)
            {
                let payload = message.payload.into_owned();
                assert!(payload.len() <= 4_096);
                messages.push(Message { kind: message.kind, payload: payload.into() });
            }
            let consumed = step.consumed;
            buffer.drain(..consumed);
            if is_done {
                break;
            }
        }
    }
    (messages, None)
}
