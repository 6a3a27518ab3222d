//! No datagram panics, and what is read is what was written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roost_wire::coap::{Head, OptionWriter, Request, decode, encode_payload};

fuzz_target!(|bytes: &[u8]| {
    let Ok(message) = decode(bytes) else { return };
    let mut out = Vec::new();
    Head { kind: message.kind, code: message.code, id: message.id, token: message.token }.encode(&mut out);
    let mut writer = OptionWriter::new(&mut out);
    for (number, value) in message.options() {
        writer.push(number, value);
    }
    encode_payload(&mut out, message.payload);
    // What was written in a roundabout way comes out short, and says the same.
    assert!(out.len() <= bytes.len());
    let again = decode(&out).unwrap();
    assert!(again.options().eq(message.options()));
    assert_eq!((again.payload, again.token, again.id), (message.payload, message.token, message.id));
    if let Ok(request) = Request::read(message) {
        let _ = (request.path(), request.query("token"), request.etags().count());
    }
});
