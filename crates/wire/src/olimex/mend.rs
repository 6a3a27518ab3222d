//! JSON as this firmware writes it.

use serde_json::Value;

use crate::json::{JsonErrorKind, Limits, check};

/// The first JSON value of a text. What stands behind it is not looked at. A
/// text that is no JSON is tried once more with its strings mended.
pub(super) fn first_value(text: &str) -> Option<Value> {
    first(text).or_else(|| first(&mended(text)))
}

fn first(text: &str) -> Option<Value> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let value = values.next()?.ok()?;
    let read = text.get(..values.byte_offset())?;
    // Which of two members of one name is meant, nobody knows (J-03); all else is the reader's to judge.
    let limits =
        Limits { depth_max: 128, keys_max: usize::MAX, key_length_max: usize::MAX, elements_max: usize::MAX };
    let is_ambiguous =
        check(read.as_bytes(), &limits).is_err_and(|error| error.kind == JsonErrorKind::DuplicateKey);
    (!is_ambiguous).then_some(value)
}

/// The same text with what was printed into strings unescaped: control
/// characters, and backslashes that begin no escape.
fn mended(text: &str) -> String {
    let mut out = String::with_capacity(text.len().saturating_add(16));
    let mut characters = text.chars().peekable();
    let mut is_inside = false;
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                is_inside = !is_inside;
                out.push('"');
            }
            '\\' if is_inside => match characters.next_if(|next| "\"\\/bfnrt".contains(*next)) {
                Some(escaped) => out.extend(['\\', escaped]),
                None => out.push_str("\\\\"),
            },
            control if is_inside && control < ' ' => {
                out.push_str(&format!("\\u{:04x}", u32::from(control)));
            }
            other => out.push(other),
        }
    }
    out
}
