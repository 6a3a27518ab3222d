//! Nodes answer `GET /config…` with every password they know, ours included.

use serde_json::{Map, Value};

/// What stands where a password stood.
pub const HIDDEN: &str = "(hidden)";

/// What the firmware's secrets are called, in any case.
const SECRETS: [&str; 2] = ["password", "privatekey"];

/// Hides the value of every member called `Password` or `PrivateKey`, in any case, at any depth.
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
        if SECRETS.iter().any(|secret| name.eq_ignore_ascii_case(secret)) {
            *value = Value::from(HIDDEN);
        } else {
            redact(value);
        }
    }
}

/// A text that could not be read as JSON, cut off where a secret may begin.
pub fn redact_text(text: &str) -> String {
    let end_of = |secret: &str| {
        let name = secret.as_bytes();
        let place = text.as_bytes().windows(name.len()).position(|window| window.eq_ignore_ascii_case(name));
        place.map(|place| place.saturating_add(name.len()))
    };
    match SECRETS.iter().filter_map(|secret| end_of(secret)).min().and_then(|end| text.split_at_checked(end))
    {
        Some((before, _)) => format!("{before}{HIDDEN}"),
        None => text.to_owned(),
    }
}
