#![no_main]

#[path = "../../crates/wire/tests/mqtt/oracle.rs"]
#[expect(dead_code, reason = "each target uses one oracle of the file")]
mod oracle;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oracle::round_trip(bytes));
