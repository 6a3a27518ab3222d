//! No datagram panics, and a ClientHello without its cookie is one again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roost_wire::dtls::ClientHello;

fuzz_target!(|bytes: &[u8]| {
    let Some(hello) = ClientHello::read(bytes) else { return };
    let first = hello.without_cookie();
    let again = ClientHello::read(&first).unwrap();
    assert!(again.cookie.is_empty() && again.random == hello.random);
    assert!(again.cipher_suites().eq(hello.cipher_suites()));
});
