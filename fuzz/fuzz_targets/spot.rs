//! Any stream, cut anywhere, gives the same messages, and what is encoded is read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roost_wire::spot::{Body, Broken, MESSAGE_LENGTH_MAX, Splitter, encode, read};

// The first byte is the size of the pieces.
fuzz_target!(|input: &[u8]| {
    let Some((size, stream)) = input.split_first() else {
        return;
    };
    let whole = split(stream, stream.len().max(1));
    assert_eq!(whole, split(stream, usize::from(*size).max(1)));
    for message in whole.into_iter().flatten() {
        assert!(message.len() <= MESSAGE_LENGTH_MAX);
        let Ok(message) = read(&message) else { continue };
        if let Body::Object(object) = &message.body {
            let mut out = Vec::new();
            encode(&message.resource, &message.action, object, &mut out);
            let again = split(&out, out.len());
            assert_eq!(again.len(), 1);
            let again = again.into_iter().next().unwrap().unwrap();
            assert_eq!(read(&again).unwrap(), message);
        }
    }
});

fn split(stream: &[u8], size: usize) -> Vec<Result<Vec<u8>, Broken>> {
    let mut splitter = Splitter::default();
    let mut found = Vec::new();
    for mut chunk in stream.chunks(size) {
        while let Some(message) = splitter.next(&mut chunk) {
            found.push(message.map(|bytes| bytes.into_owned()));
        }
    }
    found
}
