//! Nodes answer `GET /config…` with every password they know, ours included.

use serde_json::{Map, Value};

/// What stands where a password stood.
pub const HIDDEN: &str = "(hidden)";

/// Hides the value of every member called `Password`, in any case, at any depth.
pub fn redact(value: &mut Value) {
    match value {
        Value::Object(members) => redact_members(members),
        Value::Array(elements) => elements.iter_mut().for_each(redact),
        _ => {}
    }
}

// The depth is bounded by the reader's, which is 128.
pub(super) fn redact_members(members: &mut Map<String, Value>) {
    for (name, value) in members {
        if name.eq_ignore_ascii_case("password") {
            *value = Value::from(HIDDEN);
        } else {
            redact(value);
        }
    }
}

/// A text that could not be read as JSON, cut off where a password may begin.
pub fn redact_text(text: &str) -> String {
    const NAME: &[u8] = b"password";
    let bytes = text.as_bytes();
    let place = bytes.windows(NAME.len()).position(|window| window.eq_ignore_ascii_case(NAME));
    match place.and_then(|place| text.split_at_checked(place.saturating_add(NAME.len()))) {
        Some((before, _)) => format!("{before}{HIDDEN}"),
        None => text.to_owned(),
    }
}
