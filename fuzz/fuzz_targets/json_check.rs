//! What we accept, serde_json reads; what we call no JSON, it refuses too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roost_wire::json::{JsonErrorKind, Limits, check};

fuzz_target!(|bytes: &[u8]| {
    let theirs = serde_json::from_slice::<serde_json::Value>(bytes).is_ok();
    match check(bytes, &Limits::default()) {
        Ok(()) => assert!(theirs),
        Err(error) => {
            assert!(error.offset <= bytes.len());
            assert!(error.kind != JsonErrorKind::Syntax || !theirs);
        }
    }
});
