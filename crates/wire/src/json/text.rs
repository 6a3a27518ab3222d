//! JSON strings: borrowed where nothing is escaped.

use super::JsonError;
use std::borrow::Cow;

/// Reads the string whose first byte after the opening quote is `start`; gives
/// it and the offset after the closing quote.
pub(crate) fn read(text: &str, start: usize) -> Result<(Cow<'_, str>, usize), JsonError> {
    let (plain, mut at) = run(text, start);
    let mut owned = String::new();
    if text.as_bytes().get(at) == Some(&b'"') {
        return Ok((Cow::Borrowed(plain), at.saturating_add(1)));
    }
    owned.push_str(plain);
    loop {
        match text.as_bytes().get(at) {
            Some(b'"') => return Ok((Cow::Owned(owned), at.saturating_add(1))),
            Some(b'\\') => {
                let (character, end) = escape(text, at)?;
                owned.push(character);
                at = end;
            }
            Some(_) => {
                let detail = "a control character in a string must be escaped, such as \\n";
                return Err(JsonError::syntax(at, detail));
            }
            None => return Err(JsonError::syntax(at, "a string is not closed: add the quote")),
        }
        let (plain, end) = run(text, at);
        owned.push_str(plain);
        at = end;
    }
}

/// What needs no attention from `start` on, and where it ends.
fn run(text: &str, start: usize) -> (&str, usize) {
    let rest = text.as_bytes().get(start..).unwrap_or_default();
    let length = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len());
    let end = start.saturating_add(length);
    // All these bytes are ASCII, so both ends lie between characters.
    (text.get(start..end).unwrap_or_default(), end)
}

/// The escape whose backslash is at `at`, and where it ends.
fn escape(text: &str, at: usize) -> Result<(char, usize), JsonError> {
    let end = at.saturating_add(2);
    let character = match text.as_bytes().get(at.saturating_add(1)) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode(text, at),
        _ => {
            let detail = "a backslash must begin one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX";
            return Err(JsonError::syntax(at, detail));
        }
    };
    Ok((character, end))
}

fn unicode(text: &str, at: usize) -> Result<(char, usize), JsonError> {
    let first = unit(text, at)?;
    let end = at.saturating_add(6);
    if let Some(character) = char::from_u32(first) {
        return Ok((character, end));
    }
    let lone = || {
        let detail = "half of a surrogate pair: \\ud83d\\ude00 is one character, its halves are none";
        JsonError::syntax(at, detail)
    };
    if text.get(end..end.saturating_add(2)) != Some("\\u") {
        return Err(lone());
    }
    let second = unit(text, end)?;
    if !(0xD800..0xDC00).contains(&first) || !(0xDC00..0xE000).contains(&second) {
        return Err(lone());
    }
    let high = first.wrapping_sub(0xD800) << 10;
    let code = 0x1_0000_u32.wrapping_add(high).wrapping_add(second.wrapping_sub(0xDC00));
    let character = char::from_u32(code).ok_or_else(lone)?;
    Ok((character, end.saturating_add(6)))
}

/// The four hexadecimal digits of the `\u` at `at`.
fn unit(text: &str, at: usize) -> Result<u32, JsonError> {
    let start = at.saturating_add(2);
    text.get(start..start.saturating_add(4))
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .ok_or_else(|| JsonError::syntax(at, "\\u needs four hexadecimal digits"))
}
