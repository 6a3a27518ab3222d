//! No declaration and no frame panics; what is decoded is within the limits. The input is a
//! declaration in JSON, a zero byte and a frame; without a declaration, one that has everything.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use roost_wire::decoder::{Decoder, Frame, from_base64, from_hex, hex, report};
use roost_wire::telemetry::{Limits, Value};

static EVERYTHING: LazyLock<Decoder> = LazyLock::new(|| {
    let declaration = include_str!("decoder/everything.json");
    Decoder::parse(&serde_json::from_str(declaration).expect("JSON")).expect("a declaration")
});

fuzz_target!(|bytes: &[u8]| {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (declaration, rest) = bytes.split_at(end);
    let frame = rest.get(1..).unwrap_or_default();
    if let Ok(text) = std::str::from_utf8(declaration) {
        for read in [from_hex(text), from_base64(text)].into_iter().flatten() {
            assert_eq!(from_hex(&hex(&read)), Some(read));
        }
    }
    let said = serde_json::from_slice(declaration).ok().and_then(|json| Decoder::parse(&json).ok());
    let decoder = said.as_ref().unwrap_or(&EVERYTHING);
    for port in [None, Some(2)] {
        let frame = Frame { bytes: frame, port };
        let decoded = decoder.decode(&frame, &Limits::default());
        match &decoded {
            Ok(points) => {
                assert!(!points.is_empty() && points.len() <= roost_wire::decoder::FIELDS_MAX);
                assert!(points.iter().all(|point| !point.key.is_empty()));
                let is_odd = |value: &Value<'_>| matches!(value, Value::Number(n) if !n.is_finite());
                assert!(!points.iter().any(|point| is_odd(&point.value)));
            }
            Err(error) => assert!(error.offset <= frame.bytes.len()),
        }
        assert_eq!(report(&frame, &decoded)["error"].is_null(), decoded.is_ok());
    }
});
