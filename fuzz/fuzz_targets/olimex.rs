//! Whatever a node says is something, and nothing in it is a password.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roost_wire::olimex::{Command, FRAME_PAYLOAD_MAX, HIDDEN, Incoming, read};
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    match read(bytes) {
        Incoming::Event(event) => {
            for point in event.points() {
                assert!(!point.key.is_empty() && point.key.len() <= 256);
            }
            check(&event.clone().into_value());
            if let Some(url) = event.url() {
                let data = event.data().and_then(Value::as_object);
                if let Ok(frame) = (Command { url, data, reference: event.reference() }).encode() {
                    assert!(frame.len() <= FRAME_PAYLOAD_MAX);
                }
            }
        }
        Incoming::Unread(text) => {
            let lower = text.to_ascii_lowercase();
            assert!(!lower.contains("password") || text.ends_with(HIDDEN));
        }
        Incoming::LogIn(_) | Incoming::Identification(_) | Incoming::UnreadLogIn => {}
    }
});

fn check(value: &Value) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            assert!(!name.eq_ignore_ascii_case("password") || value == HIDDEN);
            check(value);
        }),
        Value::Array(elements) => elements.iter().for_each(check),
        _ => {}
    }
}
