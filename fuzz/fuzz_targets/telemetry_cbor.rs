//! No CBOR panics or gives more points than its bytes can hold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roost_wire::telemetry::{Limits, cbor, senml_cbor};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::default();
    match cbor(bytes, &limits) {
        Ok(points) => assert!(points.len() <= bytes.len()),
        Err(error) => assert!(error.offset <= bytes.len()),
    }
    if let Ok(value) = roost_wire::telemetry::cbor_to_json(bytes, &limits) {
        let again = roost_wire::telemetry::json_to_cbor(&value);
        assert_eq!(roost_wire::telemetry::cbor_to_json(&again, &limits).unwrap(), value);
    }
    if let Ok(payload) = senml_cbor(bytes, &limits, 1_795_269_864_000) {
        assert!(payload.points.len() <= bytes.len());
    }
});
