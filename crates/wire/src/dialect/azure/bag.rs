//! Property bags: `name=value&name=value`, both with percent signs where a topic could not have them.

use std::borrow::Cow;

/// Properties of one message that are looked at.
const PROPERTIES_MAX: usize = 64;

/// The value of a property.
pub(super) fn property<'a>(bag: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let pairs = bag.trim_start_matches('?').split('&').take(PROPERTIES_MAX);
    let mut named = pairs.filter_map(|pair| pair.split_once('='));
    named.find_map(|(key, value)| (decoded(key) == name).then(|| decoded(value)))
}

fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escaped = tail.split_at_checked(2).filter(|_| *first == b'%');
        let escaped = escaped.and_then(|(digits, after)| Some((byte(digits)?, after)));
        let (byte, after) = escaped.unwrap_or((*first, tail));
        bytes.push(byte);
        rest = after;
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

fn byte(digits: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
    u8::from_str_radix(digits, 16).ok()
}

/// With percent signs for all but letters, digits and `-._~`.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
