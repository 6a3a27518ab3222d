//! Points are within their limits, and what gives points is JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roost_wire::telemetry::{Limits, Value, bare, json, senml_json};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::default();
    match json(bytes, &limits) {
        Ok(points) => {
            assert!(serde_json::from_slice::<serde_json::Value>(bytes).is_ok());
            for point in points {
                assert!(!point.key.is_empty() && point.key.len() <= limits.key_length_max);
                assert!(!matches!(point.value, Value::Gap));
                assert!(!matches!(point.value, Value::Number(value) if !value.is_finite()));
            }
        }
        Err(error) => assert!(error.offset <= bytes.len()),
    }
    if let Ok(payload) = senml_json(bytes, &limits, 1_795_269_864_000) {
        assert!(payload.points.iter().all(|point| !point.key.is_empty()));
    }
    if let Ok(value) = bare(bytes, &limits) {
        assert!(value != Some(Value::Gap));
    }
});
